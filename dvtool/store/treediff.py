"""What differs between two trees: files and directories.

Directories and nodes with equal ids are equal and are not read, so a comparison costs what differs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.errors import FormatError, IntegrityError
from dvtool.formats import tree
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.store.listing import Listing
from dvtool.store.trees import DEPTH_LIMIT, Damage, LostTreeError, Trees, note, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator


class TreeDiff(msgspec.Struct, kw_only=True):
    """The difference of two trees.

    ``files`` maps each path whose file or link differs to (entry before, entry after); ``directories`` maps each
    directory whose checksum differs to (id before, id after), None where it is not there.
    """

    files: dict[str, tuple[Entry | None, Entry | None]]
    directories: dict[str, tuple[bytes | None, bytes | None]]


def diff_trees(
    before: Trees,
    after: Trees,
    a: bytes | None,
    b: bytes | None,
    only: tuple[str, ...] = ("",),
    prefix: str = "",
    *,
    lost_before: Damage | None = None,
    lost_after: Damage | None = None,
) -> TreeDiff:
    """Return how the directory ``b`` differs from ``a``.

    Args:
        before: where ``a`` is read.
        after: where ``b`` is read.
        a: the tree before; None is "not there".
        b: the tree after.
        only: paths to which the comparison is confined.
        prefix: path of the two directories.
        lost_before: takes directories before that cannot be read; they then count as not there.
        lost_after: takes directories after, below the first, that cannot be read; nothing is then said of what they
            hold and held.

    Raises:
        IntegrityError: when a directory that is compared is damaged, or does not hold what its entry says.
        StorageError: when more differs than memory takes.
    """
    result = TreeDiff(files={}, directories={})
    _Walk(before, after, only, result, lost_before, lost_after).run(prefix, a, b)
    return result


_Pair = tuple[str, bytes | None, bytes | None, int, Entry | None, Entry | None]
"""Path, tree before, tree after, depth, and the entries of the two in the directories above them."""


class _Walk:
    def __init__(
        self,
        before: Trees,
        after: Trees,
        only: tuple[str, ...],
        result: TreeDiff,
        lost_before: Damage | None,
        lost_after: Damage | None,
    ) -> None:
        self.before = before
        self.after = after
        self.lost_before = lost_before
        self.lost_after = lost_after
        self.only = only
        self.all = "" in only
        self.result = result
        self.listing = Listing()

    def wanted(self, path: str) -> bool:
        return self.all or any(paths.below(path, top) for top in self.only)

    def leads(self, path: str) -> bool:
        return self.wanted(path) or any(paths.below(top, path) for top in self.only)

    def run(self, prefix: str, a: bytes | None, b: bytes | None) -> None:
        """Compare directories until none is left; a list of what is to do, since names may nest 2,048 deep."""
        pending: list[_Pair] = [(prefix, a, b, 0, None, None)]
        while pending:
            path, old_tree, new_tree, depth, was, now = pending.pop()
            if old_tree == new_tree:
                continue
            if depth > DEPTH_LIMIT:
                raise FormatError("directories are nested deeper than the format allows", where=path[:80])
            self.listing.keep(path)
            try:
                changed = self.changed(path, old_tree, new_tree, was, now)
            except (IntegrityError, FormatError) as error:
                if not self.can_do_without_old(path, old_tree, was):
                    if not self.can_do_without_new(path, new_tree, now):
                        raise unreadable(error, path) from None
                elif new_tree is not None:
                    pending.append((path, None, new_tree, depth, None, now))
                continue
            if self.wanted(path):
                self.result.directories[path] = (old_tree, new_tree)
            for name, old, new in changed:
                here = paths.join(path, name)
                if self.leads(here):
                    below = self.entry(here, old, new)
                    if below is not None:
                        self.declare(here, old, new, known=old_tree is None or new_tree is None)
                        pending.append((here, *below, depth + 1, old, new))

    def declare(self, path: str, old: Entry | None, new: Entry | None, *, known: bool) -> None:
        """Count the files of a directory that is on one side only, all of which differ, unless the one above did."""
        one = old or new
        if one is not None and not known and (old is None or new is None) and self.wanted(path):
            self.listing.declare(one.files, path)

    def changed(
        self, path: str, old_tree: bytes | None, new_tree: bytes | None, was: Entry | None, now: Entry | None
    ) -> list[tuple[str, Entry | None, Entry | None]]:
        """Return what differs between two directories that are held against their entries."""
        if was is not None and old_tree is not None:
            self.before.require(was, path)
        if now is not None and new_tree is not None:
            self.after.require(now, path)
        return list(changed_entries(self.before, self.after, old_tree, new_tree))

    def can_do_without_old(self, path: str, tree_id: bytes | None, was: Entry | None) -> bool:
        """Note a directory before that cannot be read; False when it can, or must be."""
        return self.lost_before is not None and _is_lost(self.before, path, tree_id, was, self.lost_before)

    def can_do_without_new(self, path: str, tree_id: bytes | None, now: Entry | None) -> bool:
        """Note a directory after that cannot be read; False when it can, or must be."""
        if self.lost_after is None or now is None:
            return False
        return _is_lost(self.after, path, tree_id, now, self.lost_after)

    def entry(self, path: str, old: Entry | None, new: Entry | None) -> tuple[bytes | None, bytes | None] | None:
        """Record a file that differs, and return the two directories to compare, if there are any."""
        old_tree = old.id if old is not None and old.kind == DIRECTORY else None
        new_tree = new.id if new is not None and new.kind == DIRECTORY else None
        old_file = old if old_tree is None else None
        new_file = new if new_tree is None else None
        if (old_file is not None or new_file is not None) and self.wanted(path):
            self.listing.keep(path)
            self.result.files[path] = (old_file, new_file)
        return (old_tree, new_tree) if old_tree is not None or new_tree is not None else None


def _is_lost(trees: Trees, path: str, identity: bytes | None, entry: Entry | None, damaged: Damage) -> bool:
    """Return whether a directory cannot be read, and note it."""
    if identity is None:
        return False
    try:
        if entry is not None:
            trees.require(entry, path)
        for _found in trees.entries(identity):
            pass
    except LostTreeError as error:
        note(damaged, unreadable(error, path))
        return True
    return False


def changed_entries(
    before: Trees, after: Trees, a: bytes | None, b: bytes | None
) -> Iterator[tuple[str, Entry | None, Entry | None]]:
    """Yield (name, entry before, entry after) of what differs between two directories, not going below."""
    old_leaves = before.leaves(a) if a is not None else []
    new_leaves = after.leaves(b) if b is not None else []
    shared = {leaf[1] for leaf in old_leaves} & {leaf[1] for leaf in new_leaves}
    old = _Side([before.leaf_at(a, at) for at, leaf in enumerate(old_leaves) if a and leaf[1] not in shared])
    new = _Side([after.leaf_at(b, at) for at, leaf in enumerate(new_leaves) if b and leaf[1] not in shared])
    if not new.rows:
        yield from ((name, entry, None) for name, entry in old.all())
        return
    if not old.rows:
        yield from ((name, None, entry) for name, entry in new.all())
        return
    for name in sorted(name for name in old.rows.keys() | new.rows.keys() if old.rows.get(name) != new.rows.get(name)):
        yield name, old.entry(name), new.entry(name)


class _Side:
    """Nodes of one directory that the other does not have, in order.

    Where of a thousand files one has changed, entries are made of that one: ``rows`` tells by name, at a third of the
    cost, which they are.
    """

    def __init__(self, leaves: list[tree.Leaf]) -> None:
        self._leaves = leaves
        self._starts = [0]
        self._names: list[str] = []
        rows: list[object] = []
        for leaf in leaves:
            self._names += tree.names_of(leaf)
            self._starts.append(len(self._names))
            rows += tree.rows_of(leaf)
        self.rows = dict(zip(self._names, rows, strict=True))

    def all(self) -> Iterator[tuple[str, Entry]]:
        for leaf in self._leaves:
            yield from zip(tree.names_of(leaf), tree.entries_of(leaf), strict=True)

    def entry(self, name: str) -> Entry | None:
        if name not in self.rows:
            return None
        position = bisect_left(self._names, name)
        at = bisect_right(self._starts, position) - 1
        return tree.entry_at(self._leaves[at], position - self._starts[at])
