"""Finds content in trees: which of some contents lie below a directory, and where first.

Snapshots, and what runs read of them, have most of their directories in common; each is looked into once.  Who asks
again for other contents, as whoever follows what was made from what does, finds the directories still in memory, as
long as they are not too large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dvtool import ids, paths
from dvtool.formats import tree
from dvtool.formats.tree import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from dvtool.formats.tree import Entry
    from dvtool.store.trees import Trees


KEPT: Final = 64 << 20
"""Bytes of ids that are kept in memory: those of two million files."""


class Held(NamedTuple):
    """What a directory holds: the names and ids of directories in it, and the ids of files, one after the other."""

    directories: tuple[tuple[str, bytes], ...]
    files: bytes

    def any_of(self, wanted: AbstractSet[bytes]) -> bool:
        """Return whether one of the files has one of some contents."""
        found = self.files
        return not wanted.isdisjoint([found[at : at + ids.ID_SIZE] for at in range(0, len(found), ids.ID_SIZE)])


class Directories:
    """Reads what directories hold, and keeps it in memory."""

    def __init__(self, trees: Trees) -> None:
        """Keep nothing yet."""
        self.trees = trees
        self._known: dict[bytes, Held] = {}
        self._room = KEPT

    def held(self, directory: bytes) -> Held:
        """Return what a directory holds; what was erased is not there."""
        found = self._known.get(directory)
        if found is None:
            found = self._read(directory)
            size = len(found.files) + sum(ids.ID_SIZE + len(name) for name, _identity in found.directories)
            if size <= self._room:
                self._room -= size
                self._known[directory] = found
        return found

    def _read(self, directory: bytes) -> Held:
        below: list[tuple[str, bytes]] = []
        files: list[bytes] = []
        for at in range(len(self.trees.leaves(directory))):
            leaf = self.trees.leaf_at(directory, at)
            if DIRECTORY not in leaf.kinds and tree.ERASED not in leaf.kinds:
                files.append(leaf.ids)
                continue
            for name, entry in zip(tree.names_of(leaf), tree.entries_of(leaf), strict=True):
                if entry.kind == DIRECTORY:
                    below.append((name, entry.id))
                elif entry.kind != tree.ERASED:
                    files.append(entry.id)
        return Held(tuple(below), b"".join(files))


class Finder:
    """Looks for contents in directories."""

    def __init__(self, directories: Directories, wanted: AbstractSet[bytes]) -> None:
        """Look for contents by the ids of files."""
        self._directories = directories
        self._wanted = wanted
        self._known: dict[bytes, dict[bytes, str]] = {}

    def below(self, directory: bytes) -> dict[bytes, str]:
        """Return the contents that lie below a directory, each with the first path at which it does."""
        pending = [directory]
        while pending:
            identity = pending[-1]
            if identity in self._known:
                pending.pop()
                continue
            held = self._directories.held(identity)
            waiting = [each for _name, each in held.directories if each not in self._known]
            if waiting:
                pending += waiting
                continue
            self._known[identity] = self._found(identity, held)
            pending.pop()
        return self._known[directory]

    def _found(self, identity: bytes, held: Held) -> dict[bytes, str]:
        """Return what lies below a directory, once that is known of all directories in it."""
        if not held.any_of(self._wanted):
            found: dict[bytes, str] = {}
            for name, each in held.directories:
                self._take(found, name, each)
            return found
        # The names of files are not kept, because few are asked for.
        found = {}
        for name, entry in self._directories.trees.entries(identity):
            if entry.kind == DIRECTORY:
                self._take(found, name, entry.id)
            elif entry.id in self._wanted and entry.kind != tree.ERASED:
                found.setdefault(entry.id, name)
        return found

    def _take(self, found: dict[bytes, str], name: str, directory: bytes) -> None:
        for content, path in self._known[directory].items():
            found.setdefault(content, paths.join(name, path))


def files(trees: Trees, directory: bytes, path: str = "") -> Iterator[tuple[str, Entry]]:
    """Yield (path, entry) of all files and links below a directory, sorted within each."""
    pending = [(path, directory)]
    while pending:
        above, identity = pending.pop()
        for name, entry in trees.entries(identity):
            place = paths.join(above, name)
            if entry.kind == DIRECTORY:
                pending.append((place, entry.id))
            elif entry.kind != tree.ERASED:
                yield place, entry


def of(trees: Trees, entry: Entry) -> set[bytes]:
    """Return the contents of a file, or of all files below a directory; nothing is no content."""
    if entry.kind == DIRECTORY:
        return {each.id for _path, each in files(trees, entry.id) if each.size}
    return {entry.id} if entry.size else set()


def parts(trees: Trees, inputs: bytes | None, sources: int) -> Iterator[tuple[int, bytes]]:
    """Yield the directories of what a run read, each with the position of its source.

    A run from elsewhere may hold directories of no source, which are passed over.
    """
    if inputs is None:
        return
    positions = {str(number): number for number in range(sources)}
    for name, entry in trees.entries(inputs):
        if name in positions and entry.kind == DIRECTORY:
            yield positions[name], entry.id
