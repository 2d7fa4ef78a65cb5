"""The live index files and key files of a store: finds the pack of an id and the key of a pack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool import ids
from dvtool.errors import MEND, DvError, FormatError, IntegrityError, KeyAccessError, NotFoundError, StorageError
from dvtool.formats import index, pack
from dvtool.store import keys
from dvtool.store.packs import PackReader, missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dvtool.digest import IdHasher
    from dvtool.formats import keyfile, log
    from dvtool.formats.index import Location
    from dvtool.storage.backend import Backend
    from dvtool.store.keys import Wrapping

OFTEN: Final = 500
"""Questions after which it pays to list what small index files hold, if there are more than :data:`FEW`."""
FEW: Final = 3
SMALL: Final = 16384
"""Records of an index file that is listed whole, and of all such together: a hundred bytes of memory each."""
MOST: Final = 262144
_POSITION_BITS: Final = 32
_POSITIONS: Final = (1 << _POSITION_BITS) - 1
GAP: Final = 16384
"""Bytes between two objects that are read with them, which costs less than reading again."""
SPAN: Final = 1048576
"""Bytes that are read at once."""
_FAILED: Final = (IntegrityError, NotFoundError, StorageError)
"""What keeps one copy of an object from being read, and leaves the others as they are."""


class Segment:
    """One index file with its key file, opened when first asked."""

    def __init__(
        self, backend: Backend, store: bytes, wrap: Wrapping, description: log.Segment, pages: index.Pages | None = None
    ) -> None:
        """Remember which files; nothing is read yet. ``pages`` are kept together with those of other segments."""
        self._backend = backend
        self._store = store
        self._wrap = wrap
        self.description = description
        self._pages = pages
        self._index: index.Reader | None = None
        self._keys: keyfile.KeyFile | None = None
        self._packs: dict[int, PackReader] = {}

    @property
    def keys(self) -> keyfile.KeyFile:
        """The opened key file."""
        if self._keys is None:
            name = self.description.keys
            try:
                self._keys = keys.read_key_file(self._backend, self._store, self._wrap, name)
            except NotFoundError:
                raise IntegrityError("a key file of the store is missing", where=name, next=MEND) from None
            except (FormatError, IntegrityError) as error:
                raise IntegrityError(
                    "a key file of the store is damaged", where=name, why=error.what, next=MEND
                ) from None
        return self._keys

    @property
    def index(self) -> index.Reader:
        """The opened index file."""
        if self._index is None:
            name = self.description.index
            key = self.keys.index
            try:
                reader = index.Reader(self._backend.view(name), self._store, key, where=name, pages=self._pages)
                if len(reader) != self.description.records:
                    raise IntegrityError("it has another number of records than the log says")
            except NotFoundError:
                raise IntegrityError("an index file of the store is missing", where=name, next=MEND) from None
            except (KeyAccessError, StorageError):
                raise
            except DvError as error:
                raise IntegrityError(
                    "an index file is damaged", where=name, why=error.why or error.what, next=MEND
                ) from None
            self._index = reader
        return self._index

    def find(self, identity: bytes) -> Location | None:
        """Return where ``identity`` lies, or None; within the bounds of its pack, before memory is taken for it.

        Raises:
            IntegrityError: when the page that would hold it is damaged, or points outside its pack.
        """
        location = self.index.find(identity)
        if location is not None:
            self.require_bounds(location)
        return location

    def copies(self, identity: bytes) -> Iterator[Location]:
        """Yield where each copy of ``identity`` lies; raises as :meth:`find`."""
        for _number, location in self.index.all(identity):
            self.require_bounds(location)
            yield location

    def require_bounds(self, location: Location) -> None:
        """Refuse a record that says more of a frame than can be, before memory is taken for it.

        Raises:
            IntegrityError: when it does.
        """
        packs = self.index.directory.packs
        if (
            location.pack >= len(packs)
            or location.number >= min(packs[location.pack].frames, pack.FRAMES_LIMIT)
            or location.stored > pack.FRAME_LIMIT + 4096
            or location.raw > pack.FRAME_LIMIT
            or location.offset + location.stored > packs[location.pack].size
        ):
            raise IntegrityError("an index file points outside its packs", where=self.description.index, next=MEND)

    def read(self, kind: int, identity: bytes, location: Location, hasher: IdHasher) -> bytes:
        """Return the bytes of one copy of an object, verified.

        Raises:
            IntegrityError: when this copy is missing or damaged, or lies outside its pack.
        """
        self.require_bounds(location)
        reader = self.pack(location.pack)
        data = reader.read(identity, location)
        if hasher.id(kind, data) != identity:
            raise wrong(kind, identity, reader.file)
        return data

    def read_many(
        self, position: int, wanted: Iterable[tuple[bytes, Location]], hasher: IdHasher
    ) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield (kind, id, bytes) of objects in one pack, verified; what lies close together is read at once.

        Args:
            position: the pack's place in the index file.
            wanted: ids, and where they lie, in the order of the pack.
            hasher: makes ids.

        Raises:
            IntegrityError: as :meth:`read`, at the first that is damaged.
        """
        reader = self.pack(position)
        for run in _runs(wanted):
            for _identity, location in run:
                self.require_bounds(location)
            start, last = run[0][1].offset, run[-1][1]
            window = memoryview(reader.sealed(start, last.offset + last.stored - start))
            for identity, location in run:
                at = location.offset - start
                data = reader.open(identity, location, window[at : at + location.stored])
                kind = location.flags & pack.KIND_MASK
                if hasher.id(kind, data) != identity:
                    raise wrong(kind, identity, reader.file)
                yield kind, identity, data

    def pack(self, position: int) -> PackReader:
        """Return a reader of the pack at ``position`` of the index file's list.

        Raises:
            IntegrityError: when the key file has no key for it, or the pack is damaged.
        """
        reader = self._packs.get(position)
        if reader is None:
            packs = self.index.directory.packs
            if position >= len(packs):
                raise IntegrityError("an index file points to a pack it does not list", where=self.description.index)
            entry = packs[position]
            key = self.keys.packs.get(entry.name)
            if key is None:
                raise IntegrityError(f"there is no key for pack {entry.name.hex()[:16]}", where=self.description.keys)
            try:
                reader = PackReader(self._backend, entry, key)
            except NotFoundError:
                raise missing(pack.file_name(entry.name)) from None
            self._packs[position] = reader
        return reader


def _runs(wanted: Iterable[tuple[bytes, Location]]) -> Iterator[list[tuple[bytes, Location]]]:
    """Yield runs of records that are worth reading at once, as long as their claims are."""
    run: list[tuple[bytes, Location]] = []
    for each in wanted:
        location = each[1]
        if run:
            first, last = run[0][1], run[-1][1]
            gap = location.offset - last.offset - last.stored
            if not 0 <= gap <= GAP or location.offset + location.stored - first.offset > SPAN:
                yield run
                run = []
        run.append(each)
    if run:
        yield run


def wrong(kind: int, identity: bytes, file: str) -> IntegrityError:
    """Return what is said of an object whose bytes, as they lie in a pack, have another id."""
    return IntegrityError(
        f"{ids.KIND_NAMES[kind]} {identity.hex()[:16]} holds something else",
        where=f"{file}, object {identity.hex()[:16]}",
        why="its bytes do not have the id under which they are stored",
        next=MEND,
    )


class SegmentObjects:
    """Reads objects out of given segments, asking nobody else; what the fold of the log stands on."""

    def __init__(self, segments: Segments, hasher: IdHasher) -> None:
        """Read from ``segments``, which are this object's own."""
        self._segments = segments
        self._hasher = hasher

    def follow(self, segments: Sequence[log.Segment]) -> None:
        """Take the segments of a checkpoint."""
        self._segments.follow(segments)

    def read_object(self, kind: int, identity: bytes) -> bytes:
        """Return an object, verified.

        Raises:
            IntegrityError: when it is missing, or no copy of it is sound.
        """
        return self._segments.read(kind, identity, self._hasher)


class Segments:
    """All live segments, newest first."""

    def __init__(
        self, backend: Backend, store: bytes, wrap: Wrapping, instead: Mapping[str, log.Segment] | None = None
    ) -> None:
        """Start with none; :meth:`follow` tells which there are.

        ``instead`` has, by the name of their index file, the segments that are lost and what was made in their place.
        """
        self._backend = backend
        self._instead = instead or {}
        self._store = store
        self._wrap = wrap
        self._pages: index.Pages = {}
        self._open: dict[str, Segment] = {}
        self._live: list[Segment] = []
        self._asked = 0
        self._listed: dict[bytes, int] = {}
        """By id the number of a segment and, below it, that of the record: of small index files, once that pays."""
        self._unlisted: list[Segment] | None = None

    def follow(self, descriptions: Sequence[log.Segment]) -> None:
        """Take the segments that a fold names."""
        self._live = []
        for named in reversed(descriptions):
            description = self._instead.get(named.index, named)
            segment = self._open.get(description.index)
            if segment is None or segment.description != description:
                segment = self._open[description.index] = Segment(
                    self._backend, self._store, self._wrap, description, self._pages
                )
            self._live.append(segment)
        self._open = {segment.description.index: segment for segment in self._live}
        self._asked = 0
        self._listed = {}
        self._unlisted = None

    def _list_small(self) -> None:
        """Read small index files whole, so that they need not be looked through one by one for every id."""
        room = MOST
        self._unlisted = []
        for number in reversed(range(len(self._live))):  # the newest is to win
            segment = self._live[number]
            try:
                if len(segment.index) > min(SMALL, room):
                    self._unlisted.insert(0, segment)
                    continue
                found = [identity for page in segment.index.pages() for identity in index.identities(page)]
            except (IntegrityError, FormatError):
                self._unlisted.insert(0, segment)
                continue
            room -= len(found)
            base = number << _POSITION_BITS
            self._listed.update(zip(found, range(base, base + len(found)), strict=True))

    def unnamed(self, description: log.Segment) -> Segment:
        """Return a segment that no entry names yet."""
        return Segment(self._backend, self._store, self._wrap, description, {})

    def find(self, identity: bytes) -> tuple[Segment, index.Location] | None:
        """Return where ``identity`` lies, or None.

        Raises:
            IntegrityError: when it is in no sound index file, and one that might list it is damaged or missing.
        """
        self._asked += 1
        if self._asked == OFTEN and len(self._live) > FEW:
            self._list_small()
        place = self._listed.get(identity)
        if place is not None:
            segment = self._live[place >> _POSITION_BITS]
            listed = segment.index.location(place & _POSITIONS)
            segment.require_bounds(listed)
            return segment, listed
        failed: IntegrityError | None = None
        for segment in self._live if self._unlisted is None else self._unlisted:
            try:
                location = segment.find(identity)
            except IntegrityError as error:
                failed = failed or error
                continue
            if location is not None:
                return segment, location
        if failed is not None:
            raise failed
        return None

    def is_held(self, identity: bytes, without: AbstractSet[str]) -> bool:
        """Return whether a pack holds ``identity`` that is none of those ``without`` which to do (names of files)."""
        return any(
            pack.file_name(segment.index.directory.packs[location.pack].name) not in without
            for segment, location in self.copies(identity)
        )

    def listed(self, names: AbstractSet[str]) -> Iterator[tuple[str, Segment, bytes, index.Location]]:
        """Yield (name, segment, id, location) of all objects that index files place in packs, by their files' names.

        Index files that are damaged are passed over.
        """
        for segment in self._live:
            try:
                packs = segment.index.directory.packs
                files = [pack.file_name(entry.name) for entry in packs]
                places = {position: name for position, name in enumerate(files) if name in names}
                for record in segment.index.records() if places else ():
                    identity, location = index.unpack(record)
                    if location.pack in places:
                        yield places[location.pack], segment, identity, location
            except (IntegrityError, FormatError, KeyAccessError):
                continue

    def locate(self, kind: int, identity: bytes) -> tuple[Segment, index.Location]:
        """Return where the newest copy of an object lies.

        Raises:
            IntegrityError: when no index file lists it, or the newest that does lists it as another kind.
        """
        found = self.find(identity)
        if found is None:
            raise IntegrityError(
                f"{ids.KIND_NAMES[kind]} {identity.hex()[:16]} is missing from the store",
                next=MEND,
            )
        if found[1].flags & pack.KIND_MASK != kind:
            raise IntegrityError(f"object {identity.hex()[:16]} is not the {ids.KIND_NAMES[kind]} it should be")
        return found

    def copies(self, identity: bytes) -> Iterator[tuple[Segment, index.Location]]:
        """Yield where each copy of ``identity`` lies, newest index file first; damaged index files are passed over."""
        for segment in self._live:
            try:
                for location in segment.copies(identity):
                    yield segment, location
            except IntegrityError:
                continue

    def read(self, kind: int, identity: bytes, hasher: IdHasher) -> bytes:
        """Return the bytes of an object, verified: of its newest copy, or of any other when that one is damaged.

        Raises:
            IntegrityError, StorageError: what is wrong with the newest copy, when there is no sound one.
        """
        try:
            segment, location = self.locate(kind, identity)
            return segment.read(kind, identity, location, hasher)
        except _FAILED as error:
            return self.read_another(kind, identity, hasher, error)

    def read_another(self, kind: int, identity: bytes, hasher: IdHasher, failed: DvError) -> bytes:
        """Return the bytes of any sound copy of an object, verified.

        Raises:
            DvError: ``failed``, which the newest copy raised, when there is none.
        """
        for segment, location in self.copies(identity):
            if location.flags & pack.KIND_MASK != kind:
                continue
            try:
                return segment.read(kind, identity, location, hasher)
            except _FAILED:
                continue
        raise failed

    def is_empty(self) -> bool:
        """Return whether there is nothing to find at all."""
        return not self._live

    def live(self) -> list[Segment]:
        """Return the segments, newest first."""
        return self._live

    def order(self, identity: bytes) -> tuple[str, int, int]:
        """Return a key by which ids sort into the order of reading them: index file, pack, offset."""
        found = self.find(identity)
        if found is None:
            return ("", 0, 0)
        segment, location = found
        return segment.description.index, location.pack, location.offset
