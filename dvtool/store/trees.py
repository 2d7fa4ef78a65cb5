"""Reads directories out of their nodes."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, Protocol

from dvtool import ids, paths
from dvtool.errors import DvError, FormatError, IntegrityError, NotFoundError
from dvtool.formats import nodes, tree
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.store.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dvtool.digest import IdHasher

DEPTH_LIMIT: Final = 2048
"""Directories nest no deeper; Linux itself refuses paths of more than 4,096 bytes, so 2,048 names."""

_NODES_KEPT: Final = 256

_UNREADABLE: Final = "a directory cannot be read"
_MISCUT: Final = "a tree node was cut where the format does not cut"
REPAIR: Final = (
    "run 'dv fsck --repair', which looks for an intact copy, also in this worktree, or with --from in a backup"
)

Damage = list[tuple[str, str]]
"""(Path, reason) of directories that cannot be read."""


class LostTreeError(IntegrityError):
    """The bytes of a tree are damaged or gone.

    What can be read and is malformed, or is not what the directory above it says, is no accident: somebody wrote it.
    It is refused as a whole and never raises this.
    """


class TreeSource(Protocol):
    """Reads objects, and knows how ids are made."""

    @property
    def hasher(self) -> IdHasher:
        """What makes ids of contents."""
        ...

    def read_object(self, kind: int, identity: bytes) -> bytes:
        """Return the verified bytes of an object."""
        ...


class Trees:
    """Reads trees from a source of objects."""

    def __init__(self, source: TreeSource) -> None:
        """Remember the source; decoded nodes are kept, up to a number."""
        self._source = source
        self._nothing = source.hasher.id(ids.CHUNK, b"")
        self._nodes: dict[bytes, tree.Leaf | tree.Inner] = {}
        self._names: dict[bytes, list[str]] = {}
        self._leaves: dict[bytes, list[tuple[str, bytes, tree.Totals]]] = {}
        self._made: dict[bytes, tree.Totals] = {}

    def node(self, identity: bytes) -> tree.Leaf | tree.Inner:
        """Return a node, verified and checked.

        Raises:
            LostTreeError: when its bytes are damaged or gone.
            FormatError: when they are malformed.
        """
        node = self._nodes.get(identity)
        if node is None:
            try:
                data = self._source.read_object(ids.TREE, identity)
            except (IntegrityError, NotFoundError) as error:
                raise LostTreeError(error.what, where=error.where, why=error.why, next=error.next) from None
            node = tree.decode(data)
            if isinstance(node, tree.Leaf) and 0 in node.sizes:
                self._require_nothing(node)
            if len(self._nodes) >= _NODES_KEPT:
                self._nodes.clear()
                self._names.clear()
                self._leaves.clear()
            self._nodes[identity] = node
        return node

    def _require_nothing(self, leaf: tree.Leaf) -> None:
        """Check that every empty file has the one id that an empty file has, so that it has no second form."""
        for i, (kind, size) in enumerate(zip(leaf.kinds, leaf.sizes, strict=True)):
            if not size and kind in tree.REGULAR and leaf.ids[i * ids.ID_SIZE : (i + 1) * ids.ID_SIZE] != self._nothing:
                raise FormatError("a tree node names an empty file by another id than that of no bytes")

    def totals(self, identity: bytes) -> tree.Totals:
        """Return what lies in and below a directory."""
        made = self._made.get(identity)
        return made if made is not None else self.node(identity).totals

    def remember(self, identity: bytes, totals: tree.Totals) -> None:
        """Take note of the totals of a directory that was just made."""
        if len(self._made) >= _NODES_KEPT:
            self._made.clear()
        self._made[identity] = totals

    def directory_entry(self, identity: bytes) -> Entry:
        """Return the entry that stands for a directory in its parent."""
        totals = self.totals(identity)
        return Entry(DIRECTORY, totals.size, identity, totals.files, totals.erased)

    def require(self, entry: Entry, path: str) -> None:
        """Check that a directory holds what its entry in the directory above says; its node is about to be read.

        Raises:
            IntegrityError: when files, bytes or erased files differ.
        """
        found = self.totals(entry.id)
        if (found.files, found.size, found.erased) != (entry.files, entry.size, entry.erased):
            raise IntegrityError(
                "a directory does not hold what the directory above it says",
                where=path,
                why=f"{found.files:,} files of {found.size:,} bytes, not {entry.files:,} of {entry.size:,}",
                next="the store was not written by dv, or badly: take another copy of it",
            )

    def leaves(self, identity: bytes) -> list[tuple[str, bytes, tree.Totals]]:
        """Return (last name, id, totals) of each leaf of a directory, in order; ``""`` stands for no name."""
        found = self._leaves.get(identity)
        if found is not None:
            return found
        node = self.node(identity)
        found = []
        if isinstance(node, tree.Leaf):
            names = self._names_of(identity, node)
            found.append((names[-1] if names else "", identity, node.totals))
        else:
            if len(node.children) == 1:
                raise FormatError("a tree node stands over a single other one, which says the same")
            self._gather(node, node.level, found, last=True)
            if any(before[0] >= after[0] for before, after in itertools.pairwise(found)):
                raise _unsaid()
        self._leaves[identity] = found
        return found

    def _names_of(self, identity: bytes, leaf: tree.Leaf) -> list[str]:
        names = self._names.get(identity)
        if names is None:
            names = self._names[identity] = tree.names_of(leaf)
        return names

    def _gather(self, node: tree.Inner, level: int, found: list[tuple[str, bytes, tree.Totals]], *, last: bool) -> None:
        if node.level != level:
            raise FormatError("a tree node stands on the wrong level")
        least = nodes.TREE_SHAPE.minimum
        if not last and (len(node.children) < least or node.children[-1].entries < least**level):
            raise FormatError(_MISCUT)
        names = tree.names_of(node)
        for i, (name, totals) in enumerate(zip(names, node.children, strict=True)):
            identity = node.ids[i * ids.ID_SIZE : (i + 1) * ids.ID_SIZE]
            if level == 1:
                found.append((name, identity, totals))
                continue
            child = self.node(identity)
            if not isinstance(child, tree.Inner):
                raise FormatError("a tree node stands on the wrong level")
            if child.totals != totals or tree.names_of(child)[-1] != name:
                raise _unsaid()
            self._gather(child, level - 1, found, last=last and i == len(names) - 1)

    def leaf(self, identity: bytes) -> tree.Leaf:
        """Return a leaf.

        Raises:
            FormatError: when the node is none.
        """
        node = self.node(identity)
        if not isinstance(node, tree.Leaf):
            raise FormatError("a tree node stands on the wrong level")
        return node

    def entries(self, identity: bytes) -> Iterator[tuple[str, Entry]]:
        """Yield (name, entry) of one directory, sorted by name."""
        for at in range(len(self.leaves(identity))):
            leaf = self.leaf_at(identity, at)
            yield from zip(tree.names_of(leaf), tree.entries_of(leaf), strict=True)

    def listing(self, identity: bytes, path: str) -> Iterator[tuple[str, Entry]]:
        """Yield what :meth:`entries` does of the directory at ``path``.

        Raises:
            LostTreeError, FormatError, IntegrityError: naming the path, when the directory cannot be read.
        """
        try:
            yield from self.entries(identity)
        except (IntegrityError, FormatError) as error:
            raise unreadable(error, path) from None

    def proven(self, identity: bytes, split: bytes) -> Iterator[tuple[str, Entry]]:
        """Yield what :meth:`entries` does, holding every node against the rule of cuts.

        This hashes most names, which no reader but a full check has the time for.

        Args:
            identity: the directory.
            split: the key of cut marks (32 bytes).

        Raises:
            FormatError: after the last entry, when a node begins or ends where the format does not cut.
        """
        sound = self._is_cut_well(identity, split, last=True)
        leaves = self.leaves(identity)
        for at in range(len(leaves)):
            leaf = self.leaf_at(identity, at)
            names = tree.names_of(leaf)
            sound = sound and is_cut_well(names, 0, split, last=at == len(leaves) - 1)
            yield from zip(names, tree.entries_of(leaf), strict=True)
        if not sound:
            raise FormatError(_MISCUT)

    def _is_cut_well(self, identity: bytes, split: bytes, *, last: bool) -> bool:
        """Return whether the inner nodes at and below one were cut by the rule."""
        node = self.node(identity)
        if isinstance(node, tree.Leaf):
            return True
        if not is_cut_well(tree.names_of(node), node.level, split, last=last):
            return False
        count = len(node.children) if node.level > 1 else 0
        return all(
            self._is_cut_well(node.ids[i * ids.ID_SIZE : (i + 1) * ids.ID_SIZE], split, last=last and i == count - 1)
            for i in range(count)
        )

    def leaf_at(self, identity: bytes, at: int) -> tree.Leaf:
        """Return a leaf of the directory ``identity``, by its position among them, held against the nodes above it.

        Raises:
            IntegrityError: when its totals are not those that stand above it, it does not end with the name that does,
                or it does not begin after the leaf before it ends.
        """
        leaves = self.leaves(identity)
        last, leaf_id, totals = leaves[at]
        leaf = self.leaf(leaf_id)
        if len(leaves) > 1:
            names = self._names_of(leaf_id, leaf)
            if leaf.totals != totals or not names or names[-1] != last or (at and names[0] <= leaves[at - 1][0]):
                raise _unsaid()
        return leaf

    def get(self, identity: bytes, name: str) -> Entry | None:
        """Return the entry of ``name`` in one directory, or None."""
        leaves = self.leaves(identity)
        at = bisect_left(leaves, name, key=lambda leaf: leaf[0])
        if at == len(leaves):
            return None
        leaf = self.leaf_at(identity, at)
        names = self._names_of(leaves[at][1], leaf)
        i = bisect_left(names, name)
        return tree.entry_at(leaf, i) if i < len(names) and names[i] == name else None

    def resolve(self, root: bytes, path: str) -> Entry | None:
        """Return the entry at a path below the tree ``root``, or None; ``""`` is the root itself."""
        entry: Entry | None = self.directory_entry(root)
        above = ""
        for part in path.split("/") if path else []:
            if entry is None or entry.kind != DIRECTORY:
                return None
            try:
                self.require(entry, above)
                entry = self.get(entry.id, part)
            except (IntegrityError, FormatError) as error:
                raise unreadable(error, above) from None
            above = paths.join(above, part)
        return entry

    def find(self, root: bytes, path: str, damaged: Damage) -> Entry | None:
        """Return what :meth:`resolve` does, but None where a directory on the way cannot be read, which is noted."""
        try:
            return self.resolve(root, path)
        except LostTreeError as error:
            note(damaged, error)
        return None

    def walk(
        self, identity: bytes, prefix: str = "", *, damaged: Damage | None = None, kept: bool = True
    ) -> Iterator[tuple[str, Entry]]:
        """Yield (path, entry) of everything below a directory: each directory, then what it holds.

        Args:
            identity: the directory.
            prefix: its path.
            damaged: takes the directories that cannot be read; the walk then goes on beside them.
            kept: whether the caller keeps all that is yielded, so that there must be memory for it.

        Raises:
            FormatError: when directories are nested deeper than :data:`DEPTH_LIMIT`.
            StorageError: when there is more than memory takes, and it is ``kept``.
            IntegrityError: when a directory is damaged, or does not hold what its entry says.
        """
        listing = Listing() if kept else None
        stack = [(prefix, self.entries(identity))]
        while stack:
            parent, entries = stack[-1]
            try:
                found = next(entries, None)
            except (IntegrityError, FormatError) as error:
                named = unreadable(error, parent)
                if damaged is None or not isinstance(error, LostTreeError):
                    raise named from None
                note(damaged, named)
                found = None
            if found is None:
                stack.pop()
                continue
            name, entry = found
            path = paths.join(parent, name)
            if listing is not None:
                listing.keep(path)
            yield path, entry
            if entry.kind == DIRECTORY:
                if len(stack) >= DEPTH_LIMIT:
                    raise FormatError("directories are nested deeper than the format allows", where=path[:80])
                stack.append((path, self._required(entry, path)))

    def _required(self, entry: Entry, path: str) -> Iterator[tuple[str, Entry]]:
        """Yield what a directory holds, once it is held against its entry."""
        self.require(entry, path)
        yield from self.entries(entry.id)


def is_cut_well(names: Sequence[str], level: int, split: bytes, *, last: bool) -> bool:
    """Return whether names are those of one node of a level, ``last`` of it, by the rule of cuts."""
    return not names or nodes.is_one(len(names), nodes.TREE_SHAPE, nodes.name_marks(split, names, level), last=last)


def unreadable(error: DvError, path: str) -> DvError:
    """Return the error that a directory cannot be read, which names its path; one that does already stays."""
    if error.what == _UNREADABLE:
        return error
    place = f" ({error.where})" if error.where and error.where != path else ""
    return type(error)(
        _UNREADABLE,
        where=path or "the root of the snapshot",
        why=f"{error.what}{place}" + (f": {error.why}" if error.why else ""),
        next=REPAIR if isinstance(error, LostTreeError) or not error.next else error.next,
    )


def note(damaged: Damage, error: DvError) -> None:
    """Note an error of :func:`unreadable`, once."""
    found = (error.where, error.why)
    if found not in damaged:
        damaged.append(found)


def _unsaid() -> IntegrityError:
    return IntegrityError(
        "a tree node is not what the node above it says",
        next="the store was not written by dv, or badly: take another copy of it",
    )
