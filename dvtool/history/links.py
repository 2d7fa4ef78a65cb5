"""Follows every link of a store from its refs: what is missing, what does not add up, and which paths that hits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids, paths
from dvtool.errors import DvError
from dvtool.formats import clone, hold, log, pack, run, snapshot, stage, tree
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.history import graph, holds, recorded
from dvtool.store import manifests, tables
from dvtool.store.trees import DEPTH_LIMIT, Trees

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from dvtool.formats.run import Run
    from dvtool.store.state import State
    from dvtool.store.store import Store


LISTED: Final = 10_000
"""Damaged paths that are listed of one tree: a crafted one can have more of them than fit into memory."""

RECORDS: Final = {log.ERASURES: ids.ERASURE, log.CLONES: ids.CLONE, log.HOLDS: ids.HOLD}
"""What the refs name that lead to no tree, by the first part of their names."""
KINDS: Final = {"runs": ids.RUN, "stage": ids.STAGE}
"""What the other refs name that name no snapshots."""


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """An object that is missing, damaged, or not what the one that names it says: kind, id, and why."""

    kind: str
    id: bytes
    why: str


class _Watched:
    """Reads objects of a store and notes the ids of those that it does not get."""

    def __init__(self, store: Store, missing: set[bytes]) -> None:
        self._store = store
        self._missing = missing
        self.hasher = store.hasher

    def read_object(self, kind: int, identity: bytes) -> bytes:
        try:
            return self._store.read_object(kind, identity)
        except DvError:
            self._missing.add(identity)
            raise


class Links:
    """One walk over everything that the refs of a store reach, each object once."""

    def __init__(self, store: Store, lost: AbstractSet[bytes] = frozenset(), *, promised: bool = False) -> None:
        """Prepare a walk.

        Args:
            store: the store.
            lost: ids of which a copy is known to be damaged.
            promised: whether another place has the chunks that no index file lists, as in a clone without data.
        """
        self.missing: set[bytes] = set()
        """Ids of the objects and chunks that could not be read, or are not in the store; inner nodes among them."""
        self._store = store
        self._source = _Watched(store, self.missing)
        self._lost = lost
        self._promised = promised
        self._elsewhere = 0
        self.absent = 0
        """Contents of files that are sound, but lie elsewhere in whole or in part."""
        self._trees = Trees(self._source)
        self._contents: dict[tuple[bytes, bool], str] = {}
        self._below: dict[bytes, list[tuple[str, bytes]]] = {}
        self._hits: dict[bytes, list[tuple[str, str]]] = {}
        self.roots: dict[bytes, bytes] = {}
        """The snapshots, stages and runs that were met, and their trees."""
        self.runs: dict[bytes, str] = {}
        """The ids that the runs among them are called by."""
        self._ancestry: dict[bytes, list[bytes]] = {}
        self._circling: frozenset[bytes] = frozenset()
        self.broken: dict[bytes, Broken] = {}
        self.snapshots = 0

    def follow(self) -> None:
        """Walk from all refs: snapshots, stages and runs, their trees, and the contents these name."""
        state = self._store.refresh()
        self._tables(state)
        self._find_circles(state)
        pending: list[tuple[bytes, str]] = []
        for name, value in state.ref_names(""):
            kind = RECORDS.get(name.partition("/")[0])
            if kind is not None:
                self._record(kind, name, value)
            elif log.symbolic(value) is None:
                pending.append((value, name))
        seen: set[tuple[bytes, str]] = set()
        while pending:
            identity, name = pending.pop()
            place = (identity, name if name.startswith(recorded.PREFIX) else "")  # two names of a run are one too many
            if place in seen:
                continue
            seen.add(place)
            parents = self._ancestry[identity] = list(self._parents(identity, name))
            pending += ((parent, "") for parent in parents)
        for identity in graph.circles(self._ancestry):
            self.broken[identity] = Broken(kind="snapshot", id=identity, why="its ancestors lead in a circle")

    def _tables(self, state: State) -> None:
        """Check that the newest checkpoint's tables are cut by the rule; whoever reads them checks all else."""
        for name in log.TABLES:
            which: log.Table = getattr(state, name).table
            if not which.root:
                continue
            try:
                tables.check_cuts(which, self._store.secrets.split, self._source)
            except DvError as error:
                self._break("table", which.root, error)

    def _record(self, kind: int, name: str, identity: bytes) -> None:
        """Check an object that leads nowhere, which a ref names."""
        try:
            data = self._source.read_object(kind, identity)
            if kind == ids.HOLD:
                holds.check_name(name, hold.decode(data))
            elif kind == ids.CLONE:
                clone.check_name(name, clone.decode(data))
        except DvError as error:
            self._break(ids.KIND_NAMES[kind], identity, error)

    def damage(self) -> dict[str, list[tuple[bytes, str]]]:
        """Return, by path, (snapshot, stage or run, reason) of each in which it is damaged; the root is ``""``."""
        found: dict[str, list[tuple[bytes, str]]] = {}
        memo: dict[bytes, list[tuple[str, str]]] = {}
        for identity, root in self.roots.items():
            for path, why in self._damage_below(root, memo):
                found.setdefault(path, []).append((identity, why))
        return {path: sorted(found[path]) for path in sorted(found)}

    def _parents(self, identity: bytes, name: str) -> Iterator[bytes]:
        """Check one snapshot, stage or run, and yield the snapshots it leads to; the ref that names it has a name."""
        expected = KINDS.get(name.partition("/")[0], ids.SNAPSHOT)
        try:
            kind = ids.RUN if expected == ids.RUN else self._kind(identity)
            data = self._source.read_object(kind, identity)
            if kind == ids.RUN:
                yield from self._run(identity, recorded.check_name(name, run.decode(data)))
                return
            if kind == ids.STAGE:
                staged = stage.decode(data)
                self.roots[identity] = staged.tree
                self._tree(staged.tree)
                yield from staged.merging
                return
            found = snapshot.decode(data)
        except DvError as error:
            self._break(ids.KIND_NAMES[expected], identity, error)
            return
        self.snapshots += 1
        self.roots[identity] = found.root
        self._tree(found.root)
        for setting, content, size in found.settings:
            why = self._chunk(content, size)
            if why:
                self.broken[content] = Broken(kind=f"settings ({setting})", id=content, why=why)
        self._add_up(identity, found)
        yield from graph.standing(found.parents, self._standing)

    def _run(self, identity: bytes, found: Run) -> Iterator[bytes]:
        """Check what a run leads to, and yield the snapshots among that."""
        self.runs[identity] = found.id
        self.roots[identity] = found.tree
        self._tree(found.tree)
        yield from graph.standing(run.names_of(found), self._standing)

    def _kind(self, identity: bytes) -> int:
        """Return what a ref or a snapshot leads to: a snapshot, unless it is on record as something else."""
        try:
            found = self._store.segments.find(identity)
        except DvError:
            self.missing.add(identity)
            raise
        return found[1].flags & pack.KIND_MASK if found is not None else ids.SNAPSHOT

    def _find_circles(self, state: State) -> None:
        """Name the snapshots that are superseded in a circle, in which nothing stands for them."""
        try:
            steps = {old: [new] for old, new in state.superseded.items() if log.expired(new) is None}
        except DvError:
            return  # the table itself is damaged, which is told of it
        self._circling = frozenset(graph.circles(steps))
        for identity in self._circling:
            self.broken[identity] = Broken(kind="snapshot", id=identity, why="it is superseded in a circle")

    def _standing(self, identity: bytes) -> bytes | None:
        try:
            return None if identity in self._circling else self._store.state.standing(identity)
        except DvError as error:
            self._break("snapshot", identity, error)
            return None

    def _add_up(self, identity: bytes, found: snapshot.Snapshot) -> None:
        if found.root in self.broken:
            return
        totals = self._trees.totals(found.root)
        if (totals.files, totals.size) != (found.files, found.size):
            why = f"its tree has {totals.files:,} files of {totals.size:,} bytes, not {found.files:,} of "
            self.broken[identity] = Broken(kind="snapshot", id=identity, why=f"{why}{found.size:,}")

    def _tree(self, root: bytes) -> None:
        """Check a tree and all below that was not checked before."""
        pending: list[tuple[bytes, int]] = [(root, 0)]
        while pending:
            identity, depth = pending.pop()
            if identity in self._below:
                continue
            below = self._below[identity] = []
            hits = self._hits[identity] = []
            if depth > DEPTH_LIMIT:
                self.broken[identity] = Broken(kind="tree", id=identity, why="directories are nested too deep")
                hits.append(("", "directories are nested too deep"))
                continue
            try:
                for name, entry in self._trees.proven(identity, self._store.secrets.split):
                    if entry.kind == DIRECTORY:
                        below.append((name, entry.id))
                        pending.append((entry.id, depth + 1))
                        self._entry_of(name, entry, hits)
                    elif entry.kind != tree.ERASED and (why := self._content(entry)):
                        hits.append((name, why))
            except DvError as error:
                self._break("tree", identity, error)
                hits.append(("", error.what))

    def _entry_of(self, name: str, entry: Entry, hits: list[tuple[str, str]]) -> None:
        """Hold a directory against its entry above; one that cannot be read is reported when its turn comes."""
        try:
            totals = self._trees.totals(entry.id)
        except DvError:
            return
        if (totals.files, totals.size, totals.erased) != (entry.files, entry.size, entry.erased):
            why = "a directory does not hold what the directory above it says"
            self.broken[entry.id] = Broken(kind="tree", id=entry.id, why=why)
            hits.append((name, why))

    def _content(self, entry: Entry) -> str:
        """Return what is wrong with the content of a file or link, or nothing; each content is checked once."""
        if not entry.size:
            return ""
        is_link = entry.kind == tree.SYMLINK
        why = self._contents.get((entry.id, is_link))
        if why is None:
            before = self._elsewhere
            why = self._long(entry) if entry.kind in tree.LONG else self._chunk(entry.id, entry.size)
            is_here = self._elsewhere == before
            self.absent += not is_here and not why
            why = self._target(entry.id) if is_link and is_here and not why else why
            self._contents[entry.id, is_link] = why
            if why:
                kind = "manifest" if entry.kind in tree.LONG else "chunk"
                self.broken[entry.id] = Broken(kind=kind, id=entry.id, why=why)
        return why

    def _target(self, identity: bytes) -> str:
        """Return what keeps a link from being made, or nothing."""
        try:
            tree.link_target(self._source.read_object(ids.CHUNK, identity))
        except DvError as error:
            return error.what
        return ""

    def _long(self, entry: Entry) -> str:
        try:
            count, bad, why = manifests.faults(self._source, entry.id, entry.size, self._chunk)
        except DvError as error:
            return error.what
        return f"{bad:,} of its {count:,} chunks: {why}" if bad else ""

    def _chunk(self, identity: bytes, length: int) -> str:
        if identity in self._lost and not self._is_read(identity):
            self.missing.add(identity)
            return "its content is damaged or gone"
        try:
            found = self._store.segments.find(identity)
        except DvError as error:
            self.missing.add(identity)
            return error.what
        if found is None and self._promised:
            self._elsewhere += 1
            return ""
        if found is None:
            self.missing.add(identity)
            return "its content is missing from the store"
        if found[1].flags & pack.KIND_MASK != ids.CHUNK or found[1].raw != length:
            return "its content is not what its directory says"
        return ""

    def _is_read(self, identity: bytes) -> bool:
        """Return whether a chunk of which a copy is damaged can be read all the same, from another pack."""
        try:
            self._store.read_object(ids.CHUNK, identity)
        except DvError:
            return False
        return True

    def _break(self, kind: str, identity: bytes, error: DvError) -> None:
        self.broken[identity] = Broken(kind=kind, id=identity, why=error.what)

    def _damage_below(self, root: bytes, memo: dict[bytes, list[tuple[str, str]]]) -> list[tuple[str, str]]:
        """Return (path, why) of everything damaged in a tree; each tree is put together once."""
        pending = [root]
        while pending:
            identity = pending[-1]
            if identity in memo:
                pending.pop()
                continue
            waiting = [child for _name, child in self._below.get(identity, ()) if child not in memo]
            if waiting:
                pending += waiting
                continue
            found = list(self._hits.get(identity, ()))
            for name, child in self._below.get(identity, ()):
                found += [(paths.join(name, path) if path else name, why) for path, why in memo[child]]
            memo[identity] = found[:LISTED]
            pending.pop()
        return memo[root]
