"""Three-way merging by file: what each side did since they parted, and where both did something else to one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import paths
from dvtool.formats.tree import Entry
from dvtool.store.treediff import TreeDiff, diff_trees

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dvtool.store.editing import Changes
    from dvtool.store.trees import Trees

OURS: Final = "ours"
THEIRS: Final = "theirs"
COPY: Final = ".theirs"
"""What is added to the name of a file in conflict for the other side's copy of it."""


class Merge(msgspec.Struct, kw_only=True):
    """What a merge takes over from the other side, and what it cannot decide.

    ``taken`` maps a path to the entry that it gets from the other side, None for "not there any more"; ``conflicts``
    maps one that both sides changed to what it is on each: (ours, theirs).  ``new_directories`` come from the other
    side, ``gone_directories`` were removed there and have nothing left in them here.
    """

    taken: dict[str, Entry | None]
    conflicts: dict[str, tuple[Entry | None, Entry | None]]
    new_directories: set[str]
    gone_directories: set[str]

    def edits(self) -> Changes:
        """Return what the merge changes in our tree, for an editor."""
        edits: Changes = {path: {} for path in self.new_directories}
        ended = self.gone_directories | {path for path, entry in self.taken.items() if entry is not None}
        removed = {path: None for path, entry in self.taken.items() if entry is None} | dict.fromkeys(
            self.gone_directories
        )
        for path in removed:
            directory, name = paths.split(path)
            if ended.isdisjoint(paths.parents(path)):
                edits.setdefault(directory, {})[name] = None
        for path, entry in self.taken.items():
            if entry is not None:
                directory, name = paths.split(path)
                edits.setdefault(directory, {})[name] = entry
        return edits


def merge(
    trees: Trees,
    bases: Sequence[bytes | None],
    ours: bytes | None,
    theirs: bytes | None,
    decide: Callable[[str], str | None] = lambda _path: None,
) -> Merge:
    """Return what merging ``theirs`` into ``ours`` takes.

    A file that one side left as it was is taken from the other; with several bases only if all of them agree that it
    was left.  A file and a directory of one name can't both stay, so if either is in doubt both are.

    Args:
        trees: reads all of the trees.
        bases: root trees of the best common ancestors; none when the histories never met.
        ours: our root tree.
        theirs: theirs.
        decide: says for a path in conflict whether ``OURS`` or ``THEIRS`` wins, or None to leave it undecided.
    """
    apart = diff_trees(trees, trees, ours, theirs)
    since = [diff_trees(trees, trees, base, ours) for base in bases] or [diff_trees(trees, trees, None, ours)]
    merging = _Merging(apart, since)
    merging.judge()
    merging.decide(decide)
    new, gone = merging.directories()
    return Merge(taken=merging.taken, conflicts=merging.conflicts, new_directories=new, gone_directories=gone)


class _Merging:
    """How two sides differ, how ours differs from each base, and what follows for each path."""

    def __init__(self, apart: TreeDiff, since: Sequence[TreeDiff]) -> None:
        self.apart = apart
        self.since = since
        self.taken: dict[str, Entry | None] = {}
        self.conflicts: dict[str, tuple[Entry | None, Entry | None]] = {}

    def judge(self) -> None:
        """Sort what differs into what is taken, what stays, and what both sides changed."""
        for path, (mine, other) in self.apart.files.items():
            before = {diff.files[path][0] if path in diff.files else mine for diff in self.since}
            if before == {mine}:
                self.taken[path] = other
            elif before != {other}:
                self.conflicts[path] = (mine, other)
        # A new directory, empty perhaps, and a file that stands in its place: both sides made something there.
        for path, (mine_id, other_id) in self.apart.directories.items():
            if (mine_id is None) != (other_id is None) and not self._was_directory(path):
                for each in (path, *paths.parents(path)):
                    if each in self.apart.files and self._final(each) is not None:
                        self._doubt(each)
        self._doubt_together()

    def decide(self, decide: Callable[[str], str | None]) -> None:
        """Let somebody else say which side wins."""
        for path in list(self.conflicts):
            decision = decide(path)
            if decision is not None:
                _mine, other = self.conflicts.pop(path)
                if decision == THEIRS:
                    self.taken[path] = other

    def directories(self) -> tuple[set[str], set[str]]:
        """Return the directories that the other side made, and those it removed that nothing here keeps."""
        files = {path for path in self.apart.files if self._final(path) is not None}
        kept = {parent for path in files for parent in paths.parents(path)}
        new: set[str] = set()
        gone: set[str] = set()
        for path, (mine, other) in sorted(self.apart.directories.items(), reverse=True):
            was = self._was_directory(path)
            if mine is None and not was and files.isdisjoint((path, *paths.parents(path))):
                new.add(path)
            elif other is None and path and path not in kept:
                if was:
                    gone.add(path)
                else:
                    kept.update(paths.parents(path))  # ours is new, and so what holds it stays
        return new, gone

    def _doubt_together(self) -> None:
        """Put into doubt what cannot stay beside something else: a file, and files below it."""
        pairs = [
            (above, path) for path in self.apart.files for above in paths.parents(path) if above in self.apart.files
        ]
        again = True
        while again:
            again = False
            for above, path in pairs:
                doubtful = {above, path} & self.conflicts.keys()
                if doubtful or (self._final(above) is not None and self._final(path) is not None):
                    again = self._doubt(above) or again
                    again = self._doubt(path) or again

    def _doubt(self, path: str) -> bool:
        """Put a path in conflict, and return whether it was not yet."""
        if path in self.conflicts:
            return False
        self.taken.pop(path, None)
        self.conflicts[path] = self.apart.files[path]
        return True

    def _final(self, path: str) -> Entry | None:
        """Return what a path that differs comes to, as far as it is decided."""
        return self.taken[path] if path in self.taken else self.apart.files[path][0]

    def _was_directory(self, path: str) -> bool:
        """Return whether a directory that is on one side was in one of the bases."""
        unchanged = (self.apart.directories[path][0],)
        return any(diff.directories.get(path, unchanged)[0] is not None for diff in self.since)
