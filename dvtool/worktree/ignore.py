"""``.dvignore``: gitignore syntax by ``pathspec``, whose only door this is."""

from __future__ import annotations

import os
import re
import warnings
from typing import Final, Protocol

from dvtool.errors import UsageError
from dvtool.storage.disk import read_regular

FILE: Final = ".dvignore"
REPAIR: Final = "move it away, or make it a file that can be read"


# What pathspec makes regular expressions of.
_BEFORE: Final = "(?:.+/)?"
_BETWEEN: Final = "(?:/.+)?"
_STAR: Final = "[^/]*"
_ENDS: Final = ("(?:(?P<ps_d>/)|$)", "(?P<ps_d>/)")
_TOKEN: Final = re.compile(
    "|".join(map(re.escape, (_BEFORE, _BETWEEN, *_ENDS, _STAR, "[^/]+"))) + r"|\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|.",
    re.DOTALL,
)


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


def swift(source: str) -> str:
    """Return a regular expression that matches what ``pathspec``'s does, in time that no pattern can blow up.

    Its stars try each place where the next letters could stand, and each place for the next star after that: five of
    them in one name take seconds, twenty take for ever, and ``.dvignore`` may come from a store of somebody else's.
    The first place where a piece between two stars matches is always good enough, so what comes before the last star
    of a name, and before the last ``**``, is never tried a second time.
    """
    blocks: list[list[str]] = [[]]
    for token in _TOKEN.findall(source):
        if token == _BETWEEN:
            blocks.append([])
        else:
            blocks[-1].append(token)
    parts = []
    for number, block in enumerate(blocks):
        text = _swift_stars(block)
        if number == len(blocks) - 1:
            parts.append((_BETWEEN if number else "") + text)
        elif number:
            parts.append(f"(?>(?:/.+?)??{text}(?=/))")
        else:
            body = text.removeprefix("^")
            body = "(?:.+?/)??" + body.removeprefix(_BEFORE) if body.startswith(_BEFORE) else body
            parts.append(f"^(?>{body}(?=/))")
    return "".join(parts)


def _swift_stars(tokens: list[str]) -> str:
    """Return tokens joined, the stars of each name but the last settled once and for all."""
    parts: list[str] = []
    waiting: list[str] = []
    for token in tokens:
        if token in {"/", _BEFORE, *_ENDS}:
            parts += ["".join(waiting), token]
            waiting = []
        elif token == _STAR:
            if waiting and waiting[0] == _STAR:
                parts.append("(?>" + _STAR + "?" + "".join(waiting[1:]) + ")" if len(waiting) > 1 else "")
            else:
                parts.append("".join(waiting))
            waiting = [_STAR]
        else:
            waiting.append(token)
    return "".join([*parts, *waiting])


def _compiled(lines: list[str]) -> _Spec:
    from pathspec import GitIgnoreSpec

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of what looks like a set in a set, which here is none
            spec = GitIgnoreSpec.from_lines(lines)
            for pattern in spec.patterns:
                if pattern.regex is not None:
                    pattern.regex = re.compile(swift(pattern.regex.pattern))
            return spec
    except (ValueError, re.error):
        pass
    for number, line in enumerate(lines, 1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
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
