"""The live index files and key files of a store: finds the pack of an id and the key of a pack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool.errors import DvError, FormatError, IntegrityError, KeyAccessError, NotFoundError, StorageError
from dvtool.formats import index, pack
from dvtool.store import keys
from dvtool.store.packs import PackReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dvtool.digest import IdHasher
    from dvtool.formats import keyfile, log
    from dvtool.formats.index import Location
    from dvtool.storage.backend import Backend

RESTORE: Final = "restore the file from a backup or another copy of the store"


class Segment:
    """One index file with its key file, opened when first asked."""

    def __init__(self, backend: Backend, store: bytes, wrap: bytes, description: log.Segment) -> None:
        """Remember which files; nothing is read yet."""
        self._backend = backend
        self._store = store
        self._wrap = wrap
        self.description = description
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
                raise IntegrityError("a key file of the store is missing", where=name, next=RESTORE) from None
            except (FormatError, IntegrityError) as error:
                raise IntegrityError(
                    "a key file of the store is damaged", where=name, why=error.what, next=RESTORE
                ) from None
        return self._keys

    @property
    def index(self) -> index.Reader:
        """The opened index file."""
        if self._index is None:
            name = self.description.index
            key = self.keys.index
            try:
                reader = index.Reader(self._backend.view(name), self._store, key)
                if len(reader) != self.description.records:
                    raise IntegrityError("it has another number of records than the log says")
            except NotFoundError:
                raise IntegrityError("an index file of the store is missing", where=name, next=RESTORE) from None
            except (KeyAccessError, StorageError):
                raise
            except DvError as error:
                raise IntegrityError("an index file is damaged", where=name, why=error.what, next=RESTORE) from None
            self._index = reader
        return self._index

    def find(self, identity: bytes) -> Location | None:
        """Return where ``identity`` lies, or None; within the bounds of its pack, before memory is taken for it.

        Raises:
            IntegrityError: when the page that would hold it is damaged, or points outside its pack.
        """
        try:
            location = self.index.find(identity)
        except IntegrityError as error:
            where = error.where or self.description.index
            raise IntegrityError(error.what, where=where, why=error.why, next=error.next or RESTORE) from None
        if location is None:
            return None
        packs = self.index.directory.packs
        if (
            location.pack >= len(packs)
            or location.stored > pack.FRAME_LIMIT + 4096
            or location.raw > pack.FRAME_LIMIT
            or location.offset + location.stored > packs[location.pack].size
        ):
            raise IntegrityError("an index file points outside its packs", where=self.description.index, next=RESTORE)
        return location

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
                reader = PackReader(self._backend, entry, key, self._store)
            except NotFoundError:
                raise IntegrityError(
                    f"pack {entry.name.hex()[:16]} is missing",
                    where=pack.file_name(entry.name),
                    next="restore it from a backup or another copy of the store",
                ) from None
            self._packs[position] = reader
        return reader


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
            IntegrityError: when it is missing or damaged.
        """
        found = self._segments.find(identity)
        if found is None or found[1].flags & pack.KIND_MASK != kind:
            raise IntegrityError("a table of the log is missing", where=identity.hex()[:16], next=RESTORE)
        data = found[0].pack(found[1].pack).read(identity, found[1])
        if self._hasher.id(kind, data) != identity:
            raise IntegrityError("a table of the log is damaged", where=identity.hex()[:16], next=RESTORE)
        return data


class Segments:
    """All live segments, newest first."""

    def __init__(
        self, backend: Backend, store: bytes, wrap: bytes, instead: Mapping[str, log.Segment] | None = None
    ) -> None:
        """Start with none; :meth:`follow` tells which there are.

        ``instead`` has, by the name of their index file, the segments that are lost and what was made in their place.
        """
        self._backend = backend
        self._instead = instead or {}
        self._store = store
        self._wrap = wrap
        self._open: dict[str, Segment] = {}
        self._live: list[Segment] = []

    def follow(self, descriptions: Sequence[log.Segment]) -> None:
        """Take the segments that a fold names."""
        self._live = []
        for named in reversed(descriptions):
            description = self._instead.get(named.index, named)
            segment = self._open.get(description.index)
            if segment is None:
                segment = self._open[description.index] = Segment(self._backend, self._store, self._wrap, description)
            self._live.append(segment)
        self._open = {segment.description.index: segment for segment in self._live}

    def find(self, identity: bytes) -> tuple[Segment, index.Location] | None:
        """Return where ``identity`` lies, or None.

        Raises:
            IntegrityError: when it is in no sound index file, and one that might list it is damaged or missing.
        """
        failed: IntegrityError | None = None
        for segment in self._live:
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
        """Return whether a pack holds ``identity`` that is none of those ``without`` which to do (names of files).

        Raises:
            IntegrityError: when an index file is damaged.
        """
        for segment in self._live:
            packs = segment.index.directory.packs
            for _number, location in segment.index.all(identity):
                if location.pack < len(packs) and pack.file_name(packs[location.pack].name) not in without:
                    return True
        return False

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
