"""Patterns of paths: which paths one covers (``docs/format/hold.md``).

Patterns come from files that others wrote as well.  So nothing here goes back and tries again: what a match costs is at
most the length of the pattern times that of the path.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dvtool import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    _Glob = tuple[Callable[[str], bool] | None, ...]
    """What tells of one part after another whether it is meant; None stands for any number of parts."""

ANYWHERE: Final = "**"
"""A part that stands for any number of parts."""

_SPECIAL: Final = re.compile(r"[*?\[]")


def is_plain(pattern: str) -> bool:
    """Return whether a pattern can only mean the path that it is."""
    return _SPECIAL.search(pattern) is None


def quoted(text: str) -> str:
    """Return a pattern, or part of one, that means ``text`` and nothing else."""
    return _SPECIAL.sub(lambda found: f"[{found[0]}]", text)


def literal(pattern: str) -> str:
    """Return the directory that everything a pattern can mean lies in, or the path that it is."""
    parts = pattern.split("/")
    plain = next((at for at, part in enumerate(parts) if not is_plain(part)), len(parts))
    return "/".join(parts[:plain])


class Patterns:
    """Some patterns, made ready to be held against many paths."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Take patterns as they stand in a hold: from the root, without a slash at either end."""
        self._texts = frozenset(patterns)
        self._globs = [
            tuple(None if part == ANYWHERE else _matcher(part) for part in pattern.split("/"))
            for pattern in sorted(self._texts)
            if not is_plain(pattern)
        ]

    def cover(self, path: str) -> bool:
        """Return whether one of the patterns means a path or a directory above it, or is one of these to the letter."""
        if path in self._texts or any(parent in self._texts for parent in paths.parents(path)):
            return True
        parts = path.split("/") if path else []
        return any(_begins(glob, parts) for glob in self._globs)


def covers(pattern: str, path: str) -> bool:
    """Return whether one pattern covers a path; for many paths, see :class:`Patterns`."""
    return Patterns([pattern]).cover(path)


def _begins(glob: _Glob, parts: list[str]) -> bool:
    """Return whether a glob matches the first so many parts of a path, none and all of them included."""
    places = _spread({0}, glob)
    for part in parts:
        if len(glob) in places:
            return True
        behind = set()
        for at in places:
            tells = glob[at]
            if tells is None:
                behind.add(at)
            elif tells(part):
                behind.add(at + 1)
        places = _spread(behind, glob)
    return len(glob) in places


def _spread(places: set[int], glob: _Glob) -> set[int]:
    """Return places in a glob with those behind ``**``, which may stand for nothing."""
    found = set(places)
    for at in places:
        behind = at
        while behind < len(glob) and glob[behind] is None and behind + 1 not in found:
            behind += 1
            found.add(behind)
    return found


def _matcher(part: str) -> Callable[[str], bool]:
    """Return what tells whether a name is meant by one part of a pattern."""
    if is_plain(part):
        return part.__eq__
    tokens = _tokens(part)
    return lambda name: _matches(tokens, name)


def _tokens(part: str) -> list[Callable[[str], bool] | None]:
    """Return what the characters of a part stand for: each for one letter, or (None) for any number of any."""
    found: list[Callable[[str], bool] | None] = []
    at = 0
    while at < len(part):
        letter = part[at]
        # A ']' that comes first is one of the letters.
        behind = at + 2 + part.startswith(("!", "^"), at + 1)
        end = part.find("]", behind) if letter == "[" else -1
        if end >= 0:
            found.append(_set(part[at + 1 : end]))
            at = end + 1
            continue
        if letter == "*":
            found.append(None)
        else:
            found.append((lambda _letter: True) if letter == "?" else letter.__eq__)
        at += 1
    return found


def _set(text: str) -> Callable[[str], bool]:
    """Return what tells whether a letter is among those of ``[…]``."""
    is_other = text.startswith(("!", "^"))
    rest = text[1:] if is_other else text
    ranges = []
    at = 0
    while at < len(rest):
        is_range = rest[at + 1 : at + 2] == "-" and at + 2 < len(rest)
        last = at + 2 if is_range else at
        ranges.append((rest[at], rest[last]))
        at = last + 1
    return lambda letter: any(first <= letter <= last for first, last in ranges) != is_other


def _matches(tokens: list[Callable[[str], bool] | None], name: str) -> bool:
    """Return whether a name is what tokens stand for.

    Of several stars only the last ever has to take in more: what lies before it was matched with as little as can be.
    """
    at = letter = 0
    star = taken = -1
    while letter < len(name):
        token = tokens[at] if at < len(tokens) else _nothing
        if token is None:
            star, taken = at, letter
            at += 1
        elif token(name[letter]):
            at += 1
            letter += 1
        elif star >= 0:
            taken += 1
            at, letter = star + 1, taken
        else:
            return False
    return all(token is None for token in tokens[at:])


def _nothing(_letter: str) -> bool:
    return False
