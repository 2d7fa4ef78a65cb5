"""Patterns of paths, for all that takes some: what one means is said in ``docs/format/hold.md``.

Patterns come from files that others wrote as well, so nothing here goes back and tries again.  What a part of a pattern
costs for a name is at most the product of their lengths; and a path is read once, part after part, for all patterns
together, by a machine whose steps are worked out when they are first taken.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Test = Callable[[str], bool]
    """Says of one letter whether it is meant."""
    Chunk = str | list[Test]
    """What stands between two stars: letters, or where some may be of several kinds a test for each."""

ANYWHERE: Final = "**"
"""A part that stands for any number of parts."""
_SPECIAL: Final = re.compile(r"[*?\[]")
_DIRECTORIES: Final = 4096
"""Directories whose state is remembered."""
_KEPT: Final = 1 << 17
"""Places that the steps worked out so far may stand for together, before they are forgotten."""


class Glob(msgspec.Struct, frozen=True, kw_only=True):
    """A pattern; ``word`` stands between the two halves, and means itself, whatever characters are in it.

    ``named`` is how its user called it.
    """

    named: str
    before: str
    word: str = ""
    after: str = ""

    def parts(self) -> list[list[tuple[str, bool]]]:
        """Return the parts, each as texts, and whether these mean themselves."""
        found: list[list[tuple[str, bool]]] = [[]]
        for text, is_word in ((self.before, False), (self.word, True), (self.after, False)):
            for number, piece in enumerate(text.split("/")):
                if number:
                    found.append([])
                if piece:
                    found[-1].append((piece, is_word))
        return found if found != [[]] else []

    def literal(self) -> str:
        """Return the directory that everything it can mean lies in, or the path that it is."""
        found = []
        for part in self.parts():
            if not _is_plain(part):
                break
            found.append(_text(part))
        return "/".join(found)

    def is_plain(self) -> bool:
        """Return whether it can only mean the path that it is."""
        return all(map(_is_plain, self.parts()))


def by_path(pattern: str) -> Glob:
    """Return a pattern as its user wrote it; a slash at either end, and what says "and all below", change nothing."""
    return Glob(named=pattern, before=_whole(pattern.lstrip("/")))


def by_word(pattern: str, placeholder: str, word: str, *, named: str = "") -> Glob:
    """Return a pattern in which a word takes the place of a placeholder."""
    before, _, after = pattern.partition(placeholder)
    return Glob(named=named or word, before=before.lstrip("/"), word=word, after=_whole(after))


def is_plain(pattern: str) -> bool:
    """Return whether a pattern can only mean the path that it is."""
    return by_path(pattern).is_plain()


def literal(pattern: str) -> str:
    """Return the directory that everything a pattern can mean lies in, or the path that it is."""
    return by_path(pattern).literal()


def top(pattern: str, path: str) -> str | None:
    """Return the shortest of a path and the directories above it (not the root) that a pattern means; None for none."""
    return _matcher(pattern).top(path)


@functools.lru_cache(maxsize=256)
def _matcher(pattern: str) -> Matcher:
    return Matcher([by_path(pattern)])


def _whole(pattern: str) -> str:
    """Return a pattern without the end that says "and all below", which is meant anyway."""
    while (shorter := pattern.rstrip("/").removesuffix("/" + ANYWHERE)) != pattern:
        pattern = shorter
    return pattern


class Matcher:
    """Some patterns, made ready to be held against many paths.

    The parts of all patterns stand in a row, each pattern with an end behind it.  A state is a set of places in that
    row: those at which a part of the path, read from the root down, may be the next.
    """

    def __init__(self, globs: Iterable[Glob]) -> None:
        """Take patterns; of several that mean the same path, the first is the one that is told."""
        self.globs = tuple(dict.fromkeys(globs))
        self._row: list[_Part | str | Glob | None] = []
        starts = []
        for glob in self.globs:
            starts.append(len(self._row))
            self._row += [_compiled(part) for part in glob.parts()]
            self._row.append(glob)
        self._states: dict[frozenset[int], _State] = {}
        self._kept = 0
        self._start = self._state(starts)
        self._known: dict[str, _State] = {}

    def rule_of(self, path: str) -> Glob | None:
        """Return a pattern that means a path itself, none of whose directories is meant; None for none."""
        above, name = paths.split(path)
        return self._next(self._at(above), name).end if path else None

    def covering(self, path: str) -> Glob | None:
        """Return a pattern that means a path or a directory above it other than the root; None for none."""
        return next((state.end for _length, state in self._way(path) if state.end is not None), None)

    def top(self, path: str) -> str | None:
        """Return the shortest of a path and the directories above it (not the root) that is meant; None for none."""
        return next((path[:length] for length, state in self._way(path) if state.end is not None), None)

    def covers(self, path: str) -> bool:
        """Return whether a path or a directory above it, the root included, is meant."""
        return self._start.end is not None or self.covering(path) is not None

    def reaches(self, directory: str) -> bool:
        """Return whether something below a directory may be meant; directories of which not need no look."""
        state = self._at(directory)
        return bool(state.plain or state.wild or state.anywhere)

    def names_in(self, directory: str) -> frozenset[str] | None:
        """Return the names in a directory that are meant, or below which something may be; None for any name."""
        state = self._at(directory)
        return None if state.wild or state.anywhere else frozenset(state.plain)

    def _at(self, directory: str) -> _State:
        """Return the state below a directory; most often it is asked about many names of one."""
        state = self._known.get(directory)
        if state is None:
            state = self._start
            for _length, found in self._way(directory):
                state = found
            if len(self._known) >= _DIRECTORIES:
                self._known.clear()
            self._known[directory] = state
        return state

    def _way(self, path: str) -> Iterator[tuple[int, _State]]:
        """Yield the length of each directory on the way to a path, the root left out, and of the path; with its state.

        Where nothing below can be meant it ends with the state that says so.
        """
        state, length = self._start, -1
        for name in path.split("/") if path else ():
            length += 1 + len(name)
            state = self._next(state, name)
            yield length, state
            if not (state.plain or state.wild or state.anywhere):
                if length < len(path):
                    yield len(path), self._state(())
                return

    def _next(self, state: _State, name: str) -> _State:
        """Return the state behind one more part; of the parts that patterns name it is remembered."""
        known = state.known.get(name)
        if known is not None:
            return known
        plain = state.plain.get(name, ())
        found = [*plain, *(behind for part, behind in state.wild if part.means(name))]
        if found:
            following = self._state([*state.anywhere, *found])
            if plain:
                state.known[name] = following
            return following
        if state.rest is None:
            state.rest = self._state(state.anywhere)
        return state.rest

    def _state(self, places: Iterable[int]) -> _State:
        """Return the state for places in the row; behind ``**``, which may stand for nothing, the next is one too."""
        found = set()
        for place in places:
            at = place
            found.add(at)
            while self._row[at] is None:
                at += 1
                found.add(at)
        key = frozenset(found)
        state = self._states.get(key)
        if state is None:
            if self._kept > _KEPT:
                self._states.clear()
                self._kept = 0
            self._kept += 1 + len(key)
            state = self._states[key] = _State(self._row, sorted(key))
        return state


class _State:
    """Some places in a row: the first pattern that ends there, and what the next part of a path may be."""

    __slots__ = ("anywhere", "end", "known", "plain", "rest", "wild")

    def __init__(self, row: list[_Part | str | Glob | None], places: list[int]) -> None:
        self.end: Glob | None = None
        self.anywhere: list[int] = []
        self.plain: dict[str, list[int]] = {}
        self.wild: list[tuple[_Part, int]] = []
        self.known: dict[str, _State] = {}
        self.rest: _State | None = None
        """Where every name leads that nothing but ``**`` means."""
        for place in places:
            found = row[place]
            if found is None:
                self.anywhere.append(place)
            elif isinstance(found, str):
                self.plain.setdefault(found, []).append(place + 1)
            elif isinstance(found, _Part):
                self.wild.append((found, place + 1))
            elif self.end is None:
                self.end = found


def _text(part: list[tuple[str, bool]]) -> str:
    return "".join(text for text, _is_word in part)


def _is_plain(part: list[tuple[str, bool]]) -> bool:
    return all(is_word or _SPECIAL.search(text) is None for text, is_word in part)


def _compiled(part: list[tuple[str, bool]]) -> _Part | str | None:
    """Return what stands for one part: itself as a text, None for any number of parts, or what tells names."""
    if part == [(ANYWHERE, False)]:
        return None
    return _text(part) if _is_plain(part) else _Part(part)


class _Part:
    """One part of a pattern: what stands before, between and behind its stars."""

    def __init__(self, part: list[tuple[str, bool]]) -> None:
        self._itself = _text(part)
        chunks: list[list[str | Test]] = [[]]
        for text, is_word in part:
            for token in text if is_word else _tokens(text):
                if token is None:
                    chunks.append([])
                else:
                    chunks[-1].append(token)
        first, *rest = map(_chunk, chunks)
        self._first = first
        self._between = [chunk for chunk in rest[:-1] if chunk]
        self._last = rest[-1] if rest else None
        self._shortest = sum(map(len, chunks))

    def means(self, name: str) -> bool:
        """Return whether a name is meant.

        What stands between two stars is taken where it is met first: whatever comes behind has the most room then.
        """
        if name == self._itself:
            return True
        size = len(name)
        if size < self._shortest or not _stands(self._first, name, 0):
            return False
        if self._last is None:
            return size == self._shortest
        end = size - len(self._last)
        if not _stands(self._last, name, end):
            return False
        at = len(self._first)
        for chunk in self._between:
            at = _found(chunk, name, at, end)
            if at < 0:
                return False
            at += len(chunk)
        return True


def _chunk(tokens: list[str | Test]) -> Chunk:
    letters = [token for token in tokens if isinstance(token, str)]
    if len(letters) == len(tokens):
        return "".join(letters)
    return [token.__eq__ if isinstance(token, str) else token for token in tokens]


def _stands(chunk: Chunk, name: str, at: int) -> bool:
    """Return whether a chunk is what stands at a place, at which there is room for it."""
    if isinstance(chunk, str):
        return name.startswith(chunk, at)
    return all(test(name[at + number]) for number, test in enumerate(chunk))


def _found(chunk: Chunk, name: str, start: int, end: int) -> int:
    """Return the first place from ``start`` on at which a chunk stands, and ends before ``end``; -1 for none."""
    if isinstance(chunk, str):
        return name.find(chunk, start, end)
    return next((at for at in range(start, end - len(chunk) + 1) if _stands(chunk, name, at)), -1)


def _tokens(text: str) -> Iterator[str | Test | None]:
    """Yield what characters stand for: each for itself, for one letter, or (None) for any number of any."""
    at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        if letter == "[":
            # A ']' that comes first is one of the letters.
            end = text.find("]", at + 1 + text.startswith(("!", "^"), at))
            if end >= 0:
                yield _set(text[at:end])
                at = end + 1
                continue
        yield None if letter == "*" else _any if letter == "?" else letter


def _any(_letter: str) -> bool:
    return True


def _set(text: str) -> Test:
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
