"""Finds content in trees: which of some contents lie below a directory, and where first.

Snapshots, and what runs read of them, have most of their directories in common; each is looked into once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool import paths
from dvtool.formats import tree
from dvtool.formats.tree import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from dvtool.formats.tree import Entry
    from dvtool.store.trees import Trees


class Finder:
    """Looks for contents in directories."""

    def __init__(self, trees: Trees, wanted: AbstractSet[bytes]) -> None:
        """Look for contents by the ids of files."""
        self._trees = trees
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
            entries = list(self._trees.entries(identity))
            waiting = [each.id for _name, each in entries if each.kind == DIRECTORY and each.id not in self._known]
            if waiting:
                pending += waiting
                continue
            found: dict[bytes, str] = {}
            for name, each in entries:
                if each.kind == DIRECTORY:
                    for content, path in self._known[each.id].items():
                        found.setdefault(content, paths.join(name, path))
                elif each.id in self._wanted and each.kind != tree.ERASED:
                    found.setdefault(each.id, name)
            self._known[identity] = found
            pending.pop()
        return self._known[directory]


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
