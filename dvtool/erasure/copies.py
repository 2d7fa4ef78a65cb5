"""Where files lie that have something in common with what goes: at which paths, in all trees that are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool import paths
from dvtool.formats import tree
from dvtool.formats.tree import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dvtool.formats.tree import Entry
    from dvtool.store.trees import Trees

    Held = tuple[list[tuple[str, Entry]], list[tuple[str, bytes]]]
    """Of a directory: the files that are wanted, and the directories below which some are."""


class Copies:
    """Finds files in trees.  Each directory is read once; those that hold nothing wanted are not gone through again."""

    def __init__(self, trees: Trees, is_wanted: Callable[[Entry], bool]) -> None:
        """Look for files of which ``is_wanted`` says yes."""
        self._trees = trees
        self._is_wanted = is_wanted
        self._held: dict[bytes, Held] = {}
        self._told: set[tuple[bytes, str | None]] = set()

    def below(self, root: bytes, *, is_run: bool = False) -> Iterator[tuple[str, Entry]]:
        """Yield path and entry of each wanted file below a directory, but for those that were told at this path.

        The tree of a run holds what was read under other paths than it lay at: of that only what lay nowhere is told.
        """
        self._look(root)
        pending = [("", root)]
        while pending:
            above, identity = pending.pop()
            if (identity, None if is_run else above) in self._told:
                continue
            self._told |= {(identity, above), (identity, None)}
            files, directories = self._held[identity]
            yield from ((paths.join(above, name), entry) for name, entry in files)
            pending += ((paths.join(above, name), each) for name, each in directories)

    def _look(self, root: bytes) -> None:
        """Find what is held by a directory and by each below it."""
        opened: dict[bytes, Held] = {}
        pending = [root]
        while pending:
            identity = pending[-1]
            if identity in self._held:
                pending.pop()
            elif identity not in opened:
                files, directories = opened[identity] = self._entries(identity)
                pending += (each for _name, each in directories)
            else:
                files, directories = opened.pop(identity)
                held = [(name, each) for name, each in directories if any(self._held[each])]
                self._held[identity] = (files, held)

    def _entries(self, identity: bytes) -> Held:
        files: list[tuple[str, Entry]] = []
        directories: list[tuple[str, bytes]] = []
        for name, entry in self._trees.entries(identity):
            if entry.kind == DIRECTORY:
                directories.append((name, entry.id))
            elif entry.kind != tree.ERASED and entry.size and self._is_wanted(entry):
                files.append((name, entry))
        return files, directories
