"""Makes new trees out of old ones: only the nodes that a change touches are written."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Protocol

from dvtool import ids, paths
from dvtool.errors import DvError, FormatError
from dvtool.formats import nodes, tree
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.store.trees import REPAIR, LostTreeError, Trees, TreeSource, unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    import msgspec

    from dvtool.digest import IdHasher
    from dvtool.store.tables import ObjectSource

Sections = dict[str, "msgspec.Raw"]

Changes = dict[str, dict[str, Entry | None]]
"""By directory, by name: the new entry, or None for "not there any more".

A directory that stands here with no names at all is made if it is missing.  Directories below need no entry in
their parents; those that are to go have None there.
"""


class ObjectStore(TreeSource, Protocol):
    """Reads and stores objects."""

    def put_object(self, kind: int, data: bytes) -> bytes:
        """Store an object and return its id."""
        ...


class Scratch:
    """An object store in memory over a real one: for trees that are looked at and never kept."""

    def __init__(self, source: ObjectSource, hasher: IdHasher) -> None:
        """Read what is not here from ``source``; ``hasher`` is the repository's."""
        self._source = source
        self.hasher = hasher
        self._objects: dict[bytes, bytes] = {}
        self._kinds: dict[bytes, int] = {}

    def read_object(self, kind: int, identity: bytes) -> bytes:
        """Return an object."""
        data = self._objects.get(identity)
        return data if data is not None else self._source.read_object(kind, identity)

    def held(self, identity: bytes) -> bytes | None:
        """Return an object that was put here, or None."""
        return self._objects.get(identity)

    def put_object(self, kind: int, data: bytes) -> bytes:
        """Keep an object in memory."""
        identity = self.hasher.id(kind, data)
        self._objects[identity] = data
        self._kinds[identity] = kind
        return identity

    def take(self, made: Mapping[bytes, tuple[int, bytes]]) -> None:
        """Keep objects that another process of this command has made: by id, their kinds and their bytes."""
        for identity, (kind, data) in made.items():
            self._kinds[identity], self._objects[identity] = kind, data

    def made(self) -> dict[bytes, tuple[int, bytes]]:
        """Return all objects that were put here: by id, their kinds and their bytes."""
        return {identity: (self._kinds[identity], data) for identity, data in self._objects.items()}


class Editor:
    """Applies changes to trees."""

    def __init__(self, objects: ObjectStore, split: bytes) -> None:
        """Read from and write to ``objects``; ``split`` is the key of cut marks (32 bytes)."""
        self._objects = objects
        self._split = split
        self.trees = Trees(objects)

    def empty(self) -> bytes:
        """Return the id of the empty directory."""
        return self._objects.put_object(ids.TREE, tree.encode_leaf([], [])[0])

    def apply(
        self,
        root: bytes | None,
        changes: Changes,
        whole: Mapping[str, tree.Columns] | None = None,
        anew: AbstractSet[str] = frozenset(),
    ) -> bytes:
        """Return the root of the tree that ``changes`` make of ``root`` (None: of nothing).

        Args:
            root: the tree to start from.
            changes: taken over; what it holds afterwards is of no use.
            whole: the files of directories that ``root`` does not have, by directory; ``changes`` may add to them.
            anew: directories that are made as if ``root`` did not have them.

        Raises:
            LostTreeError, FormatError: when a directory to be changed cannot be read; its path is where.
        """
        whole = whole or {}
        for directory in whole:
            changes.setdefault(directory, {})
        if not changes:
            return root if root is not None else self.empty()
        for directory in list(changes):
            for parent in paths.parents(directory):
                if parent in changes:
                    break
                changes[parent] = {}
        ordered = sorted(changes, key=lambda path: (path.count("/") + bool(path), path))
        # Down once, to find what each directory was, parents before children so that each is read while it is at hand;
        bases: dict[str, bytes | None] = {"": root}
        for directory in ordered[1:]:
            parent, name = paths.split(directory)
            above = bases[parent]
            entry = self._get(above, name, parent) if above is not None and directory not in anew else None
            bases[directory] = entry.id if entry is not None and entry.kind == DIRECTORY else None
        # then up, each directory once its children are known.
        for directory in reversed(ordered):
            try:
                identity = self._make(bases[directory], changes.pop(directory), whole.get(directory))
                if not directory:
                    return identity
                parent, name = paths.split(directory)
                changes[parent][name] = self.trees.directory_entry(identity)
            except (LostTreeError, FormatError) as error:
                raise _unchangeable(error, directory) from None
        raise AssertionError("the root is above every directory")

    def _get(self, directory: bytes, name: str, path: str) -> Entry | None:
        try:
            return self.trees.get(directory, name)
        except (LostTreeError, FormatError) as error:
            raise _unchangeable(error, path) from None

    def _make(self, base: bytes | None, changes: Mapping[str, Entry | None], whole: tree.Columns | None) -> bytes:
        if whole is None:
            return self.edit(base, changes)
        if base is not None or changes:
            return self.edit(base, {**whole.entries(), **changes})
        out: list[tuple[str, bytes, tree.Totals]] = []
        start = 0
        for end in nodes.cut(len(whole.names), nodes.TREE_SHAPE, nodes.name_marks(self._split, whole.names, 0)):
            data, totals = tree.encode_files(whole, start, end)
            out.append((whole.names[end - 1], self._objects.put_object(ids.TREE, data), totals))
            start = end
        return self._raise(out, (), {})

    def edit(self, base: bytes | None, changes: Mapping[str, Entry | None], erased: tree.Tally = ()) -> bytes:
        """Return the directory that ``changes`` (by name) make of the directory ``base`` alone.

        ``erased`` is added to what the directory says was erased from it.
        """
        if not changes and not erased:
            return base if base is not None else self.empty()
        leaves = self.trees.leaves(base) if base is not None else []
        by_leaf: dict[int, dict[str, Entry | None]] = {}
        lasts = [last for last, _identity, _totals in leaves]
        for name, entry in changes.items():
            at = min(bisect_left(lasts, name), max(len(leaves) - 1, 0))
            by_leaf.setdefault(at, {})[name] = entry
        if erased:
            by_leaf.setdefault(0, {})  # the tally stands in the first leaf
        out: list[tuple[str, bytes, tree.Totals]] = []
        carry: dict[str, Entry] = {}
        here: tree.Tally = erased
        sections: Sections = {}
        for i in range(max(len(leaves), 1)):
            # A first leaf that went altogether leaves its tally and sections to the next.
            if leaves and i not in by_leaf and not carry and (out or not (here or sections)):
                out.append(leaves[i])
                continue
            entries = carry
            if leaves and base is not None:
                leaf = self.trees.leaf_at(base, i)
                if i == 0:
                    here, sections = tree.merge_tallies([erased, leaf.here]), leaf.sections
                if not carry and (out or i == 0):
                    patch = _patch(leaf, by_leaf.get(i, {}), alone=len(leaves) == 1)
                    if patch is not None:
                        data, totals = tree.encode_patched(leaf, patch, *(((), {}) if out else (here, sections)))
                        out.append((leaves[i][0], self._objects.put_object(ids.TREE, data), totals))
                        continue
                entries = {**carry, **dict(zip(tree.names_of(leaf), tree.entries_of(leaf), strict=True))}
            for name, entry in by_leaf.get(i, {}).items():
                if entry is None:
                    entries.pop(name, None)
                else:
                    entries[name] = entry
            first = (here, sections) if not out else ((), {})
            carry = self._emit(entries, out, *first, last=i >= len(leaves) - 1)
        return self._raise(out, here, sections)

    def _emit(
        self,
        entries: dict[str, Entry],
        out: list[tuple[str, bytes, tree.Totals]],
        here: tree.Tally,
        sections: Sections,
        *,
        last: bool,
    ) -> dict[str, Entry]:
        """Write the leaves that ``entries`` make, and return those that belong into a node with what follows."""
        names = sorted(entries)
        mark = nodes.name_marks(self._split, names, 0)
        start = 0
        for end in nodes.cut(len(names), nodes.TREE_SHAPE, mark):
            run = names[start:end]
            if end == len(names) and not last and not nodes.is_natural(end - start, nodes.TREE_SHAPE, mark(end - 1)):
                return {name: entries[name] for name in run}
            data, totals = tree.encode_leaf(run, [entries[name] for name in run], here, sections)
            here, sections = (), {}
            out.append((run[-1], self._objects.put_object(ids.TREE, data), totals))
            start = end
        return {}

    def _raise(self, out: list[tuple[str, bytes, tree.Totals]], here: tree.Tally, sections: Sections) -> bytes:
        """Write the inner nodes over leaves, and return the root's id."""
        if not out:
            return self._objects.put_object(ids.TREE, tree.encode_leaf([], [], here, sections)[0])
        level = 1
        while len(out) > 1:
            names = [name for name, _identity, _totals in out]
            upper = []
            start = 0
            for end in nodes.cut(len(out), nodes.TREE_SHAPE, nodes.name_marks(self._split, names, level)):
                run = out[start:end]
                children = [totals for _name, _identity, totals in run]
                data = tree.encode_inner(level, names[start:end], [identity for _n, identity, _t in run], children)
                upper.append((names[end - 1], self._objects.put_object(ids.TREE, data), tree.sum_totals(children)))
                start = end
            out = upper
            level += 1
        self.trees.remember(out[0][1], out[0][2])
        return out[0][1]


def _patch(leaf: tree.Leaf, changes: Mapping[str, Entry | None], *, alone: bool) -> dict[int, Entry | None] | None:
    """Return the changes by position if they leave the leaf cut as it was: names decide that, of as many as may be cut.

    None if they may not.  ``alone`` is whether the leaf is its whole directory.
    """
    names = tree.names_of(leaf)
    patch: dict[int, Entry | None] = {}
    for name, entry in changes.items():
        at = bisect_left(names, name)
        if at == len(names) or names[at] != name:
            return None
        if entry is None:
            if not alone or len(names) > nodes.TREE_SHAPE.minimum:
                return None
        elif (leaf.kinds[at] == DIRECTORY) != (entry.kind == DIRECTORY):
            return None
        patch[at] = entry
    return patch if len(patch) < len(names) or None not in patch.values() else None


def _unchangeable(error: DvError, path: str) -> DvError:
    """Return the error that a directory to be changed cannot be read, with both ways out."""
    named = unreadable(error, path)
    if isinstance(named, LostTreeError):
        place = paths.shown(path) or "."
        named.next = f"{REPAIR}; or take it anew as the worktree has it: 'dv rm --cached {place}', 'dv add {place}'"
    return named
