"""``.dvignore``: gitignore syntax by ``pathspec``, whose only door this is."""

from __future__ import annotations

import os
from typing import Final, Protocol

from dvtool.errors import UsageError

FILE: Final = ".dvignore"


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
            from pathspec import GitIgnoreSpec

            try:
                self._spec = GitIgnoreSpec.from_lines(lines)
            except ValueError as error:
                raise UsageError("a pattern is malformed", where=FILE, why=str(error), next="mend the line") from None

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


def load(root: str) -> Ignore:
    """Return the rules of the repository at ``root``; none when it has no ``.dvignore``."""
    try:
        with open(os.path.join(root, FILE), "rb") as file:
            return Ignore(file.read())
    except FileNotFoundError:
        return Ignore(b"")
    except OSError as error:
        raise UsageError("the ignore rules cannot be read", where=FILE, why=error.strerror or "") from None
