"""``.dvignore``: gitignore syntax by ``pathspec``, whose only door this is."""

from __future__ import annotations

import os
import re
from typing import Final, Protocol

from dvtool.errors import UsageError
from dvtool.storage.disk import read_regular

FILE: Final = ".dvignore"
REPAIR: Final = "move it away, or make it a file that can be read"


class _Spec(Protocol):
    def match_file(self, file: str) -> bool: ...


class Ignore:
    """Says which paths are left out."""

    __slots__ = ("_spec", "text")

    def __init__(self, text: bytes) -> None:
        """Read patterns; the library is loaded only when there are any.

        Raises:
            UsageError: when a pattern is malformed.
        """
        self.text = text
        self._spec: _Spec | None = None
        lines = text.decode("utf-8", "replace").splitlines()
        if any(line.strip() and not line.startswith("#") for line in lines):
            self._spec = _compiled(lines)

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is left out."""
        return self._spec is None

    def excludes(self, path: str, *, directory: bool) -> bool:
        """Return whether a repository path is left out, judged by itself (not by the directories above it)."""
        return self._spec is not None and self._spec.match_file(path + "/" if directory else path)

    def excludes_below(self, path: str) -> bool:
        """Return whether a path or any directory above it is left out."""
        if self._spec is None:
            return False
        parts = path.split("/")
        return any(
            self.excludes("/".join(parts[: i + 1]), directory=i + 1 < len(parts)) for i in range(len(parts))
        ) or self.excludes(path, directory=True)


def _compiled(lines: list[str]) -> _Spec:
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(lines)
    except (ValueError, re.error):
        pass
    for number, line in enumerate(lines, 1):
        try:
            GitIgnoreSpec.from_lines([line])
        except (ValueError, re.error) as error:
            raise UsageError(
                "a pattern is malformed", where=f"{FILE}, line {number}", why=f"{line!r}: {error}", next="mend the line"
            ) from None
    raise UsageError("the patterns are malformed", where=FILE, next="mend them")


def load(root: str) -> Ignore:
    """Return the rules of the repository at ``root``; none when it has no ``.dvignore``."""
    try:
        return Ignore(read_regular(os.path.join(root, FILE)))
    except FileNotFoundError:
        return Ignore(b"")
    except OSError as error:
        raise UsageError("the ignore rules cannot be read", where=FILE, why=error.strerror or "", next=REPAIR) from None
