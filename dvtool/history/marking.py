"""Finds what a store must keep: every object and chunk that its roots lead to, each looked at once.

What was met is one bit for each record of the index files, so a store of a billion objects takes 125 MB to mark and no
id is held in memory for longer than it takes to look it up.  Chunks lead nowhere; they are looked up many at a time.
"""

from __future__ import annotations

import itertools
import operator
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.effects import Silence
from dvtool.errors import MEND, FormatError, IntegrityError
from dvtool.formats import log, manifest, pack, run, snapshot, stage, table, tree
from dvtool.history import graph
from dvtool.history.waves import Waves
from dvtool.store import searching

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dvtool.effects import Progress
    from dvtool.formats.index import Location
    from dvtool.store.segments import Segment
    from dvtool.store.state import State
    from dvtool.store.store import Store

    _Record = tuple[int, int, bytes, Location]
    """Where a copy of an object is listed: number of its segment, of the record there, its id, and what that says."""

BATCH: Final = 262144
"""Chunks that are looked up together; as many again are remembered as met, to pass over them at once."""
_ANY: Final = 0
_SOUND, _ASIDE, _DOOMED, _LOST = range(4)
RELIABLE: Final = (_SOUND, _ASIDE)
"""Ranks of packs that an entry may rely on."""
READABLE: Final = (*RELIABLE, _DOOMED)
"""Ranks of packs that are there, whole."""
_SPARSE: Final = 64
"""Where fewer than one record in so many is marked, pages are opened for those alone."""


class PackUse(msgspec.Struct, frozen=True, kw_only=True):
    """A pack that an index file lists, and how much of it is needed; sizes in bytes, ``kept`` as it is stored.

    ``condemned`` is when it was condemned, in microseconds, or None.
    """

    name: bytes
    content: int
    size: int
    frames: int
    live: int
    kept: int
    condemned: int | None
    segment: int
    position: int

    @property
    def file(self) -> str:
        """Where it lies in its store."""
        return pack.file_name(self.name)


class Marks:
    """Which records of a store's index files are needed, as far as the roots given to :meth:`follow` lead.

    Where several packs hold the same object, one of them is marked: one that is neither condemned nor dropped, if there
    is such a pack, and else one that is there.
    """

    def __init__(self, store: Store, progress: Progress) -> None:
        """Prepare to mark the store as it is now.

        Raises:
            IntegrityError: when an index file is damaged or missing.
        """
        self._store = store
        self._progress = progress
        self.state = store.refresh()
        self.segments: list[Segment] = list(store.segments.live())
        self._bits = [bytearray((len(segment.index) + 7) // 8) for segment in self.segments]
        self._condemned = dict(self.state.condemned.items(b"packs/"))
        self._lost = [self._lost_packs(segment) for segment in self.segments]
        self._ranks = [self._ranked(at, segment) for at, segment in enumerate(self.segments)]
        self._wanted: set[bytes] = set()
        self._recent: set[bytes] = set()
        self._passed: list[bytearray] = []
        self._counted_bits: dict[int, bytearray] = {}
        self._strict = True
        self._shallow = False
        self._chunks = True
        self.only: AbstractSet[bytes] | None = None
        """The snapshots that are followed; of others all that they lead to is known to be where it is wanted."""
        self.standing = self.state.standing
        """Returns the snapshot that stands for another now, or None when it was expired."""
        self.ranks: tuple[int, ...] = (_SOUND, _ASIDE, _DOOMED, _LOST)
        self.elsewhere: Callable[[set[bytes]], set[bytes]] | None = None
        """Returns those of some objects that are where they are wanted, and so do not count; they are followed."""
        self.lacking: Callable[[set[bytes]], None] | None = None
        """Takes the chunks that are not here, instead of an error."""
        self.snapshots = 0
        self.runs = 0
        self.objects = 0
        self.unsafe = 0
        """How many of the objects met lie in no pack but condemned ones."""

    def _ranked(self, number: int, segment: Segment) -> dict[int, int]:
        """Return how much copies in the packs at these places count, where they are not sound: less is better."""
        packs = segment.index.directory.packs
        ranks = {}
        for at, each in enumerate(packs):
            name = pack.file_name(each.name)
            if self.state.is_doomed(name):
                ranks[at] = _DOOMED
            elif self.state.aside(name) is not None:
                ranks[at] = _ASIDE
        return ranks | dict.fromkeys(self._lost[number], _LOST)

    def _lost_packs(self, segment: Segment) -> frozenset[int]:
        """Return the places of packs that are missing, or have another size than recorded: no copy to count on."""
        backend = self._store.backend
        lost = set()
        for at, entry in enumerate(segment.index.directory.packs):
            name = pack.file_name(entry.name)
            if not backend.exists(name) or backend.size(name) != entry.size:
                lost.add(at)
        return frozenset(lost)

    def follow(self, roots: Iterable[bytes], *, strict: bool = True) -> None:
        """Mark snapshots, stages, runs and records, and everything that they lead to.

        Args:
            roots: their ids.
            strict: whether everything must be there; otherwise what is not listed any more is passed over.

        Raises:
            IntegrityError: when something is missing or damaged: nobody can tell then what is needed.
            FormatError: when a newer dv wrote something here.
        """
        self._strict = strict
        self._follow({_ANY: set(roots)})

    def follow_from(self, roots: Iterable[bytes], made: Mapping[bytes, tuple[int, bytes]]) -> set[bytes]:
        """Mark what objects lead to that are not in the store yet; return those of them that are led to.

        Args:
            roots: ids of objects that are not in the store.
            made: by id, the kinds and the bytes of all that are not; what no root leads to is passed over.

        Raises:
            IntegrityError, FormatError: as :meth:`follow`.
        """
        self._strict = True
        reached: set[bytes] = set()
        stored: dict[int, set[bytes]] = {}
        pending = set(roots)
        while pending:
            identity = pending.pop()
            reached.add(identity)
            for kind, found in self._leads_to(made[identity][0], identity, made[identity][1]):
                stored.setdefault(kind, set()).update(found)
                pending |= made.keys() & (set(found) - reached)
        reached |= self._wanted & made.keys()
        self._wanted -= made.keys()
        self._follow({kind: found - made.keys() for kind, found in stored.items()})
        return reached

    def follow_parts(self, trees: set[bytes], manifests: set[bytes], chunks: set[bytes]) -> None:
        """Mark parts of trees, with all that they lead to; raises as :meth:`follow`."""
        self._strict = True
        self._want(chunks)
        self._follow({ids.TREE: trees, ids.MANIFEST: manifests})

    def be_silent(self) -> None:
        """Tell nobody how it goes: in a process that works for another."""
        self._progress = Silence()

    def bits(self) -> list[bytes]:
        """Return what is marked: for each index file, a bit for each of its records."""
        return [bytes(bits) for bits in self._bits]

    def take(self, bits: Sequence[bytes]) -> None:
        """Mark what others marked who followed everything from there."""
        self._bits = [
            bytearray((int.from_bytes(mine, "little") | int.from_bytes(theirs, "little")).to_bytes(len(mine), "little"))
            for mine, theirs in zip(self._bits, bits, strict=True)
        ]

    def _follow(self, roots: dict[int, set[bytes]]) -> None:
        """Mark objects and all that they lead to, by their kinds; many are looked up and read together."""
        self._progress.start("marking what is needed", files=0, size=0)
        waves = Waves(roots)
        try:
            while (taken := waves.take()) is not None:
                for found in self._read(self._mark(*taken)):
                    self.objects += 1
                    if not self.objects % 1024:
                        self._progress.advance(files=self.objects, size=0)
                    for kind, below in self._leads_to(*found):
                        waves.add(kind, below)
                    if len(self._wanted) >= BATCH:
                        self._look_up()
            self._look_up()
        finally:
            self._progress.finish()

    def _read(self, marked: Iterable[_Record]) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield (kind, id, bytes) of objects in the order in which they lie.

        It is the very copy that is marked: if it is damaged, a sound one in another pack must not go.
        """
        listed = sorted(
            (number, location.pack, location.offset, identity, location) for number, _at, identity, location in marked
        )
        for (number, position), group in itertools.groupby(listed, key=operator.itemgetter(0, 1)):
            wanted = [(identity, location) for _number, _pack, _offset, identity, location in group]
            yield from self.segments[number].read_many(position, wanted, self._store.hasher)

    def pass_over(self, roots: Iterable[bytes]) -> None:
        """Read the trees of snapshots whose contents do not count, so that they are not read with others again.

        Args:
            roots: their ids; what is not here is passed over as well.

        Raises:
            IntegrityError, FormatError: as :meth:`follow`.
        """
        self._shallow, self._chunks = True, False
        try:
            self.follow(roots, strict=False)
        finally:
            self._shallow, self._chunks = False, True
        self._passed = [bytearray(bits) for bits in self._bits]
        self.snapshots = self.objects = 0

    def rely_on_sound_packs(self) -> None:
        """Take what lies in condemned packs, or in those that are missing or cut short, as not there."""
        self.ranks = RELIABLE

    def among(self, identities: AbstractSet[bytes]) -> set[bytes]:
        """Return those of some objects of which a copy is marked."""
        found: set[bytes] = set()
        for number, segment in enumerate(self.segments):
            bits = self._bits[number]
            for identity in sorted(identities - found):
                if any(bits[at >> 3] & (1 << (at & 7)) for at, _location in segment.index.all(identity)):
                    found.add(identity)
        return found

    def pass_over_lacking(self) -> None:
        """Take chunks that no index file lists as kept elsewhere, as in a clone without data; objects must be here."""
        self.lacking = lambda _chunks: None

    def read_what_is_there(self) -> None:
        """Take what lies in packs that are missing or cut short as not there.

        What is needed can lie in condemned packs alone, if it was not when they were condemned; it is saved from there
        before they go.
        """
        self.ranks = READABLE

    def hold(self, wanted: set[bytes]) -> set[bytes]:
        """Mark those of some objects that are here, whatever kind they are, and return them."""
        return wanted - self._take(_ANY, wanted)

    def want(self, chunks: set[bytes]) -> None:
        """Mark chunks.

        Raises:
            IntegrityError: when one of them is in no pack.
        """
        self._want(chunks)
        self._look_up()

    def _pass(self, number: int, at: int) -> None:
        """Note that what is marked does not count."""
        if not self._passed:
            self._passed = [bytearray(len(bits)) for bits in self._bits]
        self._passed[number][at >> 3] |= 1 << (at & 7)

    def _leads_to(self, kind: int, identity: bytes, data: bytes) -> Iterator[tuple[int, Collection[bytes]]]:
        """Yield (kind, ids) of what an object names, except chunks, which are noted to be looked up."""
        if kind == ids.TREE:
            below = tree.references(data)
            self._want(below.chunks)
            yield ids.TREE, below.trees
            yield ids.MANIFEST, below.manifests
        elif kind == ids.MANIFEST:
            node = manifest.decode(data)
            if node.level:
                yield ids.MANIFEST, manifest.ids_of(node)
            else:
                self._want(set(manifest.ids_of(node)))
        elif kind == ids.SNAPSHOT:
            recorded = snapshot.decode(data)
            self.snapshots += 1
            yield ids.TREE, (recorded.root,)
            if self._shallow:
                return
            yield ids.SNAPSHOT, self._followed(recorded.parents)
            self._want({content for _name, content, size in recorded.settings if size})
        elif kind == ids.TABLE:
            rows = table.decode(data)
            yield ids.TABLE, rows.values if rows.level else ()
        elif kind == ids.STAGE:
            staged = stage.decode(data)
            yield ids.TREE, (staged.tree,)
            yield ids.SNAPSHOT, list(graph.standing(staged.merging, self.standing))
        elif kind == ids.RUN:
            self.runs += 1
            ran = run.decode(data)
            yield ids.TREE, (ran.tree,)
            yield ids.SNAPSHOT, self._followed(run.names_of(ran))
        elif kind not in {ids.CHUNK, ids.ERASURE, ids.CLONE, ids.HOLD}:
            raise FormatError(
                f"a ref names a {ids.KIND_NAMES[kind]}",
                where=identity.hex(),
                next="upgrade dv: this one cannot read it",
            )

    def _followed(self, snapshots: Iterable[bytes]) -> list[bytes]:
        """Return those of some snapshots that are followed, as they stand now."""
        found = graph.standing(snapshots, self.standing)
        return [each for each in found if self.only is None or each in self.only]

    def _mark(self, kind: int, wanted: set[bytes]) -> list[_Record]:
        """Mark objects, and return those that were not marked before and are not passed over."""
        marked: list[_Record] = []
        left = self._take(kind, wanted, marked)
        for identity in sorted(left)[:1]:
            self._miss(identity, ids.KIND_NAMES.get(kind, "object"))
        if self.elsewhere is not None and not self._shallow and marked:
            known = self.elsewhere({identity for _number, _at, identity, _location in marked})
            for number, at, identity, _location in marked:
                if identity in known:
                    self._pass(number, at)
        return marked

    def _take(self, kind: int, wanted: set[bytes], marked: list[_Record] | None = None) -> set[bytes]:
        """Mark a copy of each of some objects, a sound one where there is one, and return those that are nowhere.

        Those that were not marked before are added to ``marked``.
        """
        left = wanted
        for rank in self.ranks:
            for number in range(len(self.segments)):
                if left and (rank == _SOUND or rank in self._ranks[number].values()):
                    left = left - self._sweep(number, left, rank, kind, marked)
        return left

    def _want(self, chunks: set[bytes]) -> None:
        """Note chunks; most of a directory that changed a little were met with its earlier versions."""
        if not self._chunks:
            return
        fresh = chunks - self._recent
        self._wanted |= fresh
        if len(self._recent) > BATCH:
            self._recent = fresh
        else:
            self._recent |= fresh

    def _look_up(self) -> None:
        """Mark the chunks that were noted: in sound packs if they are there, else in condemned ones."""
        left = self._wanted
        if self.elsewhere is not None:
            left = left - self.elsewhere(left)
        left = self._take(ids.CHUNK, left)
        if self.lacking is not None:
            self.lacking(left)
        else:
            for identity in sorted(left)[:1]:
                self._miss(identity, ids.KIND_NAMES[ids.CHUNK])
        self._wanted = set()

    def _sweep(
        self, number: int, wanted: set[bytes], rank: int, kind: int, fresh: list[_Record] | None = None
    ) -> set[bytes]:
        """Mark the objects of a kind that one index file lists in packs of this rank, and return their ids.

        Those that were not marked before are added to ``fresh``.
        """
        marked: set[bytes] = set()
        bits = self._bits[number]
        for identity, at, location in self._listed(number, wanted, rank, kind):
            if identity in marked:
                continue
            marked.add(identity)
            if not bits[at >> 3] & (1 << (at & 7)):
                bits[at >> 3] |= 1 << (at & 7)
                self.unsafe += rank > _ASIDE
                if fresh is not None:
                    fresh.append((number, at, identity, location))
        return marked

    def _listed(self, number: int, wanted: set[bytes], rank: int, kind: int) -> Iterator[tuple[bytes, int, Location]]:
        """Yield (id, number, location) of the records of one index file for objects in packs of this rank.

        Raises:
            IntegrityError: when one of them is of another kind.
        """
        reader = self.segments[number].index
        ranks = self._ranks[number]
        found: Iterator[tuple[bytes, int, Location]]
        if len(reader) > 16 * len(wanted):
            found = ((identity, *each) for identity in sorted(wanted) for each in reader.all(identity))
        else:
            found = searching.among(reader, wanted)
        for identity, at, location in found:
            if ranks and ranks.get(location.pack, _SOUND) != rank:
                continue
            if kind not in {_ANY, location.flags & pack.KIND_MASK}:
                raise IntegrityError(
                    f"object {identity.hex()[:16]} is not the {ids.KIND_NAMES[kind]} it should be",
                    where=identity.hex(),
                    next=MEND,
                )
            yield identity, at, location

    def read(self, kind: int, wanted: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield (id, bytes) of objects in the order in which they lie, without marking them.

        Raises:
            IntegrityError: when one is missing, damaged or of another kind.
        """
        left = wanted
        listed: dict[bytes, _Record] = {}
        for rank in self.ranks:
            for number in range(len(self.segments)):
                if left and (rank == _SOUND or rank in self._ranks[number].values()):
                    for identity, at, location in self._listed(number, left, rank, kind):
                        listed[identity] = (number, at, identity, location)
                    left = left - listed.keys()
        for identity in sorted(left)[:1]:
            self._miss(identity, ids.KIND_NAMES[kind])
        for _kind, identity, data in self._read(listed.values()):
            yield identity, data

    def _miss(self, identity: bytes, kind: str) -> None:
        if self._strict:
            raise IntegrityError(
                f"{kind} {identity.hex()[:16]} is missing from the store",
                why="while something is missing nobody can tell what is needed",
                next="run 'dv fsck' to see what is damaged",
            )

    def packs(self) -> list[PackUse]:
        """Return every pack that an index file lists, oldest index file first, and how much of it is marked.

        Raises:
            IntegrityError: when something that is marked lies in no pack but one that is missing or cut short.
        """
        found = []
        self._counted_bits.clear()
        for number in range(len(self.segments) - 1, -1, -1):
            reader = self.segments[number].index
            entries = reader.directory.packs
            live = [0] * len(entries)
            kept = [0] * len(entries)
            for _identity, location in self._marked(number):
                live[location.pack] += 1
                kept[location.pack] += location.stored
            for position in sorted(self._lost[number]):
                if live[position]:
                    raise IntegrityError(
                        "a pack that is needed is missing, or has another size than recorded",
                        where=pack.file_name(entries[position].name),
                        why="while something is missing nobody can tell what is needed",
                        next="run 'dv fsck' to see what is damaged",
                    )
            found += [
                PackUse(
                    name=entry.name,
                    content=entry.content,
                    size=entry.size,
                    frames=entry.frames,
                    live=live[position],
                    kept=kept[position],
                    condemned=self._since(pack.file_name(entry.name)),
                    segment=number,
                    position=position,
                )
                for position, entry in enumerate(entries)
            ]
        return found

    def _since(self, file: str) -> int | None:
        since = self._condemned.get(file.encode())
        return int.from_bytes(since, "big") if since is not None else None

    def _marked(self, number: int) -> Iterator[tuple[bytes, Location]]:
        """Yield (id, location) of what is marked in one index file and counts, in order of id.

        Raises:
            IntegrityError: when a record points outside the packs of its index file.
        """
        segment = self.segments[number]
        reader = segment.index
        bits = self._counted(number)
        count = len(reader.directory.packs)
        marked = int.from_bytes(bits, "little").bit_count()
        found = searching.some(reader, bits) if marked * _SPARSE < len(reader) else searching.many(reader, bits)
        for identity, location in found:
            if location.pack >= count:
                raise IntegrityError(
                    "an index file points outside its packs", where=segment.description.index, next=MEND
                )
            yield identity, location

    def _counted(self, number: int) -> bytearray:
        """Return the bits of what is marked in one index file and counts."""
        bits = self._bits[number]
        if not self._passed:
            return bits
        known = self._counted_bits.get(number)
        if known is None:
            both = int.from_bytes(bits, "little") & ~int.from_bytes(self._passed[number], "little")
            known = self._counted_bits[number] = bytearray(both.to_bytes(len(bits), "little"))
        return known

    def frames(self, files: AbstractSet[str]) -> dict[str, list[tuple[bytes, Location]]]:
        """Return what is marked in some packs and counts: by pack, (id, location) in the order of the pack.

        Args:
            files: the packs.

        Raises:
            IntegrityError: when an index file is damaged.
        """
        found: dict[str, list[tuple[bytes, Location]]] = {file: [] for file in files}
        for number, segment in enumerate(self.segments):
            packs = [pack.file_name(entry.name) for entry in segment.index.directory.packs]
            if files.isdisjoint(packs):
                continue
            for identity, location in self._marked(number):
                if packs[location.pack] in found:
                    found[packs[location.pack]].append((identity, location))
        for listed in found.values():
            listed.sort(key=lambda each: each[1].offset)
        return found

    def needed(self, uses: Iterable[PackUse]) -> dict[tuple[int, int], set[bytes]]:
        """Return the ids of which the copy in some packs is the one that is marked: by (segment, position) of the pack.

        Raises:
            IntegrityError: when an index file is damaged.
        """
        found: dict[tuple[int, int], set[bytes]] = {(use.segment, use.position): set() for use in uses}
        for number in sorted({segment for segment, _position in found}):
            for identity, location in self._marked(number):
                listed = found.get((number, location.pack))
                if listed is not None:
                    listed.add(identity)
        return found


def roots(state: State) -> list[bytes]:
    """Return the ids that must be kept whatever was done when: those in refs, and the tables of the checkpoint."""
    tables = {getattr(state, name).table.root for name in log.TABLES} - {b""}
    return sorted(tables | {value for _name, value in state.ref_names("") if log.symbolic(value) is None})
