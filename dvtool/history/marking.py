"""Finds what a store must keep: every object and chunk that its roots lead to, each looked at once.

What was met is one bit for each record of the index files, so a store of a billion objects takes 125 MB to mark and no
id is held in memory for longer than it takes to look it up.  Chunks lead nowhere; they are looked up many at a time.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.errors import MEND, FormatError, IntegrityError
from dvtool.formats import index, log, manifest, pack, run, snapshot, stage, table, tree
from dvtool.formats.tree import DIRECTORY, Leaf
from dvtool.history import graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from dvtool.effects import Progress
    from dvtool.formats.index import Location
    from dvtool.formats.run import Run
    from dvtool.store.segments import Segment
    from dvtool.store.state import State
    from dvtool.store.store import Store

BATCH: Final = 262144
"""Chunks that are looked up together; as many again are remembered as met, to pass over them at once."""
_ANY: Final = 0
_SOUND, _ASIDE, _DOOMED, _LOST = range(4)
RELIABLE: Final = (_SOUND, _ASIDE)
"""Ranks of packs that an entry may rely on."""
READABLE: Final = (*RELIABLE, _DOOMED)
"""Ranks of packs that are there, whole."""
_NO_FILES: Final = frozenset({*tree.LONG, DIRECTORY, tree.ERASED})
_STEP: Final = ids.ID_SIZE
_SPARSE: Final = 64
"""Where fewer than one record in so many is marked, pages are opened for those alone."""
_NOT_ZERO: Final = re.compile(rb"[^\0]", re.DOTALL)


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
        self._follow([(_ANY, identity) for identity in roots])

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
        stored: dict[tuple[int, bytes], None] = {}
        pending = list(roots)
        while pending:
            identity = pending.pop()
            if identity in reached:
                continue
            reached.add(identity)
            for kind, each in self._leads_to(made[identity][0], identity, made[identity][1]):
                if each in made:
                    pending.append(each)
                else:
                    stored[kind, each] = None
        reached |= self._wanted & made.keys()
        self._wanted -= made.keys()
        self._follow(list(stored))
        return reached

    def _follow(self, pending: list[tuple[int, bytes]]) -> None:
        self._progress.start("marking what is needed", files=0, size=0)
        met: set[tuple[int, bytes]] = set()
        try:
            while pending:
                kind, identity = each = pending.pop()
                if each in met:  # most of a large directory that changed a little was met with its earlier versions
                    continue
                if len(met) > BATCH:
                    met.clear()
                met.add(each)
                found = self._mark(kind, identity)
                if found is None:
                    continue
                segment, location = found
                self.objects += 1
                if not self.objects % 1024:
                    self._progress.advance(files=self.objects, size=0)
                found_kind = location.flags & pack.KIND_MASK
                # The very copy that is marked: if it is damaged, a sound one in another pack must not go.
                data = segment.read(found_kind, identity, location, self._store.hasher)
                pending += self._leads_to(found_kind, identity, data)
                if len(self._wanted) >= BATCH:
                    self._look_up()
            self._look_up()
        finally:
            self._progress.finish()

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
        found: set[bytes] = set()
        for rank in self.ranks:
            for number in range(len(self.segments)):
                if len(found) < len(wanted) and (rank == _SOUND or rank in self._ranks[number].values()):
                    found |= self._sweep(number, wanted - found, rank, kind=_ANY)
        return found

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

    def _leads_to(self, kind: int, identity: bytes, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (kind, id) of what an object names, except chunks, which are noted to be looked up."""
        if kind == ids.TREE:
            yield from self._tree(data)
        elif kind == ids.MANIFEST:
            node = manifest.decode(data)
            if node.level:
                yield from zip(itertools.repeat(ids.MANIFEST), manifest.ids_of(node))
            else:
                self._want(set(manifest.ids_of(node)))
        elif kind == ids.SNAPSHOT:
            recorded = snapshot.decode(data)
            self.snapshots += 1
            yield ids.TREE, recorded.root
            if self._shallow:
                return
            parents = graph.standing(recorded.parents, self.standing)
            yield from ((ids.SNAPSHOT, parent) for parent in parents if self.only is None or parent in self.only)
            self._want({content for _name, content, size in recorded.settings if size})
        elif kind == ids.TABLE:
            rows = table.decode(data)
            yield from zip(itertools.repeat(ids.TABLE), rows.values if rows.level else ())
        elif kind == ids.STAGE:
            staged = stage.decode(data)
            yield ids.TREE, staged.tree
            yield from zip(itertools.repeat(ids.SNAPSHOT), graph.standing(staged.merging, self.standing))
        elif kind == ids.RUN:
            self.runs += 1
            yield from self._run(run.decode(data))
        elif kind not in {ids.CHUNK, ids.ERASURE, ids.CLONE, ids.HOLD}:
            raise FormatError(
                f"a ref names a {ids.KIND_NAMES[kind]}",
                where=identity.hex(),
                next="upgrade dv: this one cannot read it",
            )

    def _run(self, recorded: Run) -> Iterator[tuple[int, bytes]]:
        yield ids.TREE, recorded.tree
        sources = graph.standing(run.names_of(recorded), self.standing)
        yield from ((ids.SNAPSHOT, each) for each in sources if self.only is None or each in self.only)

    def _tree(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        node = tree.decode(data)
        blob = node.ids
        found = [blob[at : at + _STEP] for at in range(0, len(blob), _STEP)]
        if not isinstance(node, Leaf):
            yield from zip(itertools.repeat(ids.TREE), found)
            return
        if _NO_FILES.isdisjoint(node.kinds) and all(node.sizes):
            self._want(set(found))
            return
        chunks = set()
        for kind, size, identity in zip(node.kinds, node.sizes, found, strict=True):
            if kind == DIRECTORY:
                yield ids.TREE, identity
            elif kind in tree.LONG:
                yield ids.MANIFEST, identity
            elif kind != tree.ERASED and size:
                chunks.add(identity)
        self._want(chunks)

    def _mark(self, kind: int, identity: bytes) -> tuple[Segment, Location] | None:
        """Mark an object and return where the copy lies, or None when it was marked before, or is passed over."""
        home: tuple[int, int, Location] | None = None
        rank = _LOST + 1
        for number, segment in enumerate(self.segments):
            for at, location in segment.index.all(identity):
                if (each := self._ranks[number].get(location.pack, _SOUND)) < rank:
                    home, rank = (number, at, location), each
            if rank == _SOUND:
                break
        if home is None or rank not in self.ranks:
            self._miss(identity, ids.KIND_NAMES.get(kind, "object"))
            return None
        number, at, location = home
        if kind not in {_ANY, location.flags & pack.KIND_MASK}:
            raise IntegrityError(
                f"object {identity.hex()[:16]} is not the {ids.KIND_NAMES[kind]} it should be",
                where=identity.hex(),
                next=MEND,
            )
        bits = self._bits[number]
        if bits[at >> 3] & (1 << (at & 7)):
            return None
        bits[at >> 3] |= 1 << (at & 7)
        self.unsafe += rank > _ASIDE
        if self.elsewhere is not None and not self._shallow and self.elsewhere({identity}):
            self._pass(number, at)
        return self.segments[number], location

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
        for rank in self.ranks:
            for number in range(len(self.segments)):
                if left and (rank == _SOUND or rank in self._ranks[number].values()):
                    left = left - self._sweep(number, left, rank)
        if self.lacking is not None:
            self.lacking(left)
        else:
            for identity in sorted(left)[:1]:
                self._miss(identity, ids.KIND_NAMES[ids.CHUNK])
        self._wanted = set()

    def _sweep(self, number: int, wanted: set[bytes], rank: int, *, kind: int = ids.CHUNK) -> set[bytes]:
        """Mark the objects of a kind that one index file lists in packs of this rank, and return their ids."""
        reader = self.segments[number].index
        marked: set[bytes] = set()
        found: Iterator[tuple[bytes, int, Location]]
        if len(reader) > 16 * len(wanted):
            found = ((identity, *each) for identity in sorted(wanted) for each in reader.all(identity))
        else:
            found = _records_among(reader, wanted)
        bits = self._bits[number]
        ranks = self._ranks[number]
        for identity, at, location in found:
            if ranks.get(location.pack, _SOUND) != rank or identity in marked:
                continue
            if kind not in {_ANY, location.flags & pack.KIND_MASK}:
                raise IntegrityError(
                    f"object {identity.hex()[:16]} is not the chunk it should be", where=identity.hex(), next=MEND
                )
            marked.add(identity)
            if not bits[at >> 3] & (1 << (at & 7)):
                bits[at >> 3] |= 1 << (at & 7)
                self.unsafe += rank > _ASIDE
        return marked

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
        found = _some(reader, bits) if marked * _SPARSE < len(reader) else _many(reader, bits)
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

    def is_marked(self, use: PackUse, identity: bytes) -> bool:
        """Return whether the copy of an object in this pack is the one that is marked."""
        bits = self._counted(use.segment)
        found = self.segments[use.segment].index.all(identity)
        return any(location.pack == use.position and bits[at >> 3] & (1 << (at & 7)) for at, location in found)


def _some(reader: index.Reader, bits: bytearray) -> Iterator[tuple[bytes, Location]]:
    """Yield (id, location) of the few records whose bits are set, reading the pages that they lie in."""
    for match in _NOT_ZERO.finditer(bits):
        at = match.start() * 8
        for bit in range(8):
            if bits[at >> 3] & (1 << bit):
                yield reader.identity(at + bit), reader.location(at + bit)


def _many(reader: index.Reader, bits: bytearray) -> Iterator[tuple[bytes, Location]]:
    """Yield (id, location) of the records whose bits are set, page after page."""
    at = 0
    for page in reader.pages():
        for record in index.split(page):
            if bits[at >> 3] & (1 << (at & 7)):
                yield index.unpack(record)
            at += 1


def roots(state: State) -> list[bytes]:
    """Return the ids that must be kept whatever was done when: those in refs, and the tables of the checkpoint."""
    tables = {getattr(state, name).table.root for name in log.TABLES} - {b""}
    return sorted(tables | {value for _name, value in state.ref_names("") if log.symbolic(value) is None})


def _records_among(reader: index.Reader, wanted: set[bytes]) -> Iterator[tuple[bytes, int, Location]]:
    """Yield (id, number, location) of the records of an index file whose ids are among ``wanted``."""
    base = 0
    for page in reader.pages():
        found = [page[at : at + _STEP] for at in range(0, len(page), index.RECORD_SIZE)]
        if not wanted.isdisjoint(found):
            for at, identity in enumerate(found):
                if identity in wanted:
                    start = at * index.RECORD_SIZE
                    yield identity, base + at, index.unpack(page[start : start + index.RECORD_SIZE])[1]
        base += len(found)
