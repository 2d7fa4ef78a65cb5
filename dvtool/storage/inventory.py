"""Knows from one listing which files a place has, where each question would be a request.

A store asks of every pack whether it is there and whole.  What another process adds meanwhile is asked for by itself;
what it removes is met when a file is read, as everywhere, and by the next listing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from dvtool.errors import NotFoundError
from dvtool.storage.backend import Listed
from dvtool.storage.wrapping import Wrapper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.effects import View
    from dvtool.storage.backend import Backend, Purged

COUNTED: Final = frozenset({"packs", "index", "keys"})
"""Directories of files that are written once.  The log is not among them: others append to it all the time."""
REPLACED: Final = frozenset({"keys/repo"})
"""Files there that are written over: what a listing said of them may be about another file by now."""


class Ranges:
    """A file of which slices are read, one request each; its length was known before."""

    __slots__ = ("_backend", "_length", "_name")

    def __init__(self, backend: Backend, name: str, length: int) -> None:
        """Name the file; nothing is asked of the place."""
        self._backend = backend
        self._name = name
        self._length = length

    def __len__(self) -> int:
        """Return the length of the file when it was listed, in bytes."""
        return self._length

    def __getitem__(self, part: slice, /) -> bytes:
        """Return a slice; a shorter one where the file ends before."""
        start, stop, _step = part.indices(self._length)
        return self._backend.read(self._name, start, stop - start) if start < stop else b""


class Inventory(Wrapper):
    """A place that is listed once, directory by directory, when it is first asked about a file there."""

    def __init__(self, below: Backend) -> None:
        """Wrap ``below``; nothing is listed yet."""
        super().__init__(below)
        self._known: dict[str, dict[str, Listed]] = {}

    def view(self, name: str) -> View:
        """Return the bytes of ``name``, read as they are sliced; their number is known."""
        return Ranges(self.below, name, self.size(name)) if _is_counted(name) else self.below.view(name)

    def size(self, name: str) -> int:
        """Return the length of ``name`` in bytes."""
        found = self._listed(name)
        if found is not None:
            return found.size
        size = self.below.size(name)
        self._note(name, size)
        return size

    def modified(self, name: str) -> int:
        """Return when ``name`` was written, in microseconds since 1970."""
        found = self._listed(name)
        return (found.modified if found is not None else 0) or self.below.modified(name)

    def exists(self, name: str) -> bool:
        """Return whether there is something at ``name``."""
        if not _is_counted(name):
            return self.below.exists(name)
        try:
            self.size(name)
        except NotFoundError:
            return False
        return True

    def names(self, directory: str) -> Iterator[str]:
        """Yield the names right below ``directory``, listed anew."""
        if directory not in COUNTED:
            yield from self.below.names(directory)
            return
        self._known.pop(directory, None)
        yield from list(self._of(directory))

    def listed(self, directory: str, *, after: str = "", most: int = 0) -> Iterator[Listed]:
        """Yield the files right below ``directory``, listed anew."""
        if directory not in COUNTED or after or most:
            yield from self.below.listed(directory, after=after, most=most)
            return
        self._known.pop(directory, None)
        yield from list(self._of(directory).values())

    def put(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name``."""
        self.below.put(name, data)
        self._note(name, len(data))

    def send(self, view: View, name: str) -> None:
        """Write what ``view`` holds at ``name``."""
        self.below.send(view, name)
        self._note(name, len(view))

    def replace(self, name: str, data: bytes) -> None:
        """Write ``data`` over ``name``."""
        self.below.replace(name, data)
        self._note(name, len(data))

    def create(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name`` if nothing is there."""
        self.below.create(name, data)
        self._note(name, len(data))

    def adopt(self, path: str, name: str) -> None:
        """Take the finished file at ``path`` as ``name``."""
        size = os.stat(path).st_size
        self.below.adopt(path, name)
        self._note(name, size)

    def delete(self, name: str) -> None:
        """Remove ``name``."""
        self.below.delete(name)
        self._forget(name)

    def purge(self, name: str, *, older: bool = False) -> Purged:
        """Remove ``name``, or what was there before, so that it cannot come back."""
        found = self.below.purge(name, older=older)
        if not older:
            self._forget(name)
        return found

    def _of(self, directory: str) -> dict[str, Listed]:
        known = self._known.get(directory)
        if known is None:
            known = self._known[directory] = {each.name: each for each in self.below.listed(directory)}
        return known

    def _listed(self, name: str) -> Listed | None:
        """Return what the listing says of a file, or None where it says nothing: it may have come since."""
        directory, _, last = name.rpartition("/")
        return self._of(directory).get(last) if _is_counted(name) else None

    def _note(self, name: str, size: int) -> None:
        directory, _, last = name.rpartition("/")
        if directory in self._known:
            self._known[directory][last] = Listed(last, size, 0)

    def _forget(self, name: str) -> None:
        directory, _, last = name.rpartition("/")
        if directory in self._known:
            self._known[directory].pop(last, None)


def _is_counted(name: str) -> bool:
    return name.partition("/")[0] in COUNTED and name not in REPLACED
