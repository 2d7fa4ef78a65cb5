"""One store: opens it, reads from it, and starts transactions on it."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from dvtool import digest, ids
from dvtool.errors import (
    MEND,
    ConflictError,
    DvError,
    FormatError,
    IntegrityError,
    NotFoundError,
    StorageError,
)
from dvtool.formats import log, pack, storeformat
from dvtool.storage import holding
from dvtool.storage.disk import Disk
from dvtool.storage.local import LocalBackend
from dvtool.store import checkpoints, keys
from dvtool.store.chunker import Chunker
from dvtool.store.log import Log
from dvtool.store.packs import PackWriter
from dvtool.store.segments import SegmentObjects, Segments, wrong
from dvtool.store.tables import Tables
from dvtool.store.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from dvtool.effects import Clock, Entropy
    from dvtool.formats.index import Location
    from dvtool.formats.repokey import Opened, Unlock
    from dvtool.storage.backend import Backend
    from dvtool.store.claims import Claims
    from dvtool.store.segments import Segment
    from dvtool.store.state import State

T = TypeVar("T")

WINDOW: Final = 4 * 1024 * 1024
"""Bytes read ahead at most, when frames are read in the order of their pack."""
FIRST_WINDOW: Final = 128 * 1024
"""Bytes read where nothing was read just before it; each that goes on from there is four times as long."""
WINDOWS: Final = 4
"""Packs read side by side: the files of a directory lie in those of the commits that changed them last."""
_NO_WINDOW: Final = (0, memoryview(b""), FIRST_WINDOW)


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What must be known of a store before anything of it can be read: its format, and its keys."""

    format: storeformat.StoreFormat
    secrets: keys.Secrets


class Store:
    """Packs, indexes, keys and log at one place."""

    def __init__(
        self,
        backend: Backend,
        *,
        clock: Clock,
        entropy: Entropy,
        disk: Disk | None = None,
        instead: Mapping[str, log.Segment] | None = None,
        known: Known | None = None,
        unlock: Unlock | None = None,
    ) -> None:
        """Open the store that ``backend`` holds.

        Args:
            backend: its place.
            clock: the machine's clock.
            entropy: the source of keys and names.
            disk: the local disk.
            instead: by index file, what is read instead of segments that are lost.
            known: what was read of the store before, which is then not read again.
            unlock: where a passphrase and identities come from, if its key is sealed.

        Raises:
            NotFoundError: when there is none.
            FormatError: when a newer dv made it; nothing else has been read then.
            KeyAccessError: when its secret is missing, unreadable or wrong.
            IntegrityError: when its format file is damaged.
        """
        self.backend = backend
        self.clock = clock
        self.entropy = entropy
        self.disk = disk or Disk()
        self._instead = instead or {}
        if known is None:
            self.format = storeformat.decode(backend.read("format"))
            self.secrets = keys.load_secrets(backend, self.format.repository, unlock)
        else:
            self.format, self.secrets = known.format, known.secrets
        self.hasher = digest.IdHasher(self.secrets.id_key)
        self.log = Log(backend, self.format.store, self.secrets.wrap, clock=clock, entropy=entropy)
        self.log.reader = Tables(SegmentObjects(self._new_segments(), self.hasher))
        self.segments = self._new_segments()
        self._sound: dict[str, bool] = {}
        self._sound_at = -1
        self._giving_up: frozenset[str] = frozenset()
        self._followed = -1

    def _new_segments(self) -> Segments:
        return Segments(self.backend, self.format.store, self.secrets.wrap, self._instead)

    @property
    def state(self) -> State:
        """The state at the head of the log as last folded by :meth:`refresh`."""
        if self._followed < 0:
            self.refresh()
        return self._state

    def refresh(self) -> State:
        """Fold what is new in the log and return the state."""
        self._state = self.log.fold()
        if self._followed != self._state.number:
            self.segments.follow(self._state.segments)
            self._followed = self._state.number
        return self._state

    def chunker(self) -> Chunker:
        """Return a new chunker with this repository's sizes and seed; one is used by one stream at a time."""
        return Chunker(self.format.chunking, self.secrets.seed)

    def has(self, identity: bytes) -> bool:
        """Return whether ``identity`` is stored; see :meth:`holder`."""
        return self.holder(identity) is not None

    def holder(self, identity: bytes) -> str | None:
        """Return the pack that holds ``identity`` for good, or None; see :meth:`place`."""
        found = self.place(identity)
        return found[0] if found is not None else None

    def place(self, identity: bytes) -> tuple[str, int] | None:
        """Return the pack that holds ``identity`` for good, and the number of the frame in it; or None.

        This is what deduplication relies on, so a pack that is missing, has another size than recorded, or is
        condemned or dropped (rule 3 of the protocol) does not count; the content is then stored anew.
        """
        try:
            return self._place(identity)
        except IntegrityError:
            return self.try_again(lambda: self._place(identity))

    def _place(self, identity: bytes) -> tuple[str, int] | None:
        state = self.state
        if self._sound_at != state.number:
            self._sound.clear()
            self._sound_at = state.number
        found = self.segments.find(identity)
        if found is None:
            return None
        if (name := self._sound_name(*found)) is not None:
            return name, found[1].number
        return next(self._places(identity), None)

    def _places(self, identity: bytes) -> Iterator[tuple[str, int]]:
        for segment, location in self.segments.copies(identity):
            if (name := self._sound_name(segment, location)) is not None:
                yield name, location.number

    def keeps(self, identity: bytes) -> bool:
        """Return whether ``identity`` is stored and not only put aside by a command that did not come to its end."""
        found = self.place(identity)
        if found is None:
            return False
        places = itertools.chain([found], self._places(identity))
        return any(self.state.aside(name) is None for name, _number in places)

    def _sound_name(self, segment: Segment, location: Location) -> str | None:
        """Return the name of the pack that holds a frame, if it can be relied on."""
        packs = segment.index.directory.packs
        if location.pack >= len(packs):
            return None
        entry = packs[location.pack]
        name = pack.file_name(entry.name)
        if name not in self._sound:
            whole = self.backend.exists(name) and self.backend.size(name) == entry.size
            self._sound[name] = whole and not self.state.is_doomed(name) and name not in self._giving_up
        return name if self._sound[name] else None

    def give_up(self, packs: AbstractSet[str]) -> None:
        """Rely no more on packs that an entry to come will take away."""
        self._giving_up = frozenset(packs)
        self._sound.clear()

    def locate(self, kind: int, identity: bytes) -> tuple[Segment, Location]:
        """Return where the newest copy of an object lies; raises as :meth:`Segments.locate`."""
        _ = self.state
        return self.segments.locate(kind, identity)

    def packs_of(self, identity: bytes) -> Iterator[tuple[str, int]]:
        """Yield the files that hold a chunk, newest first, and the size that each must have in bytes.

        Raises:
            IntegrityError: when no index file lists the chunk.
        """
        newest = self.locate(ids.CHUNK, identity)
        yield _file(*newest)
        for copy in self.segments.copies(identity):
            if copy != newest and copy[1].flags & pack.KIND_MASK == ids.CHUNK:
                yield _file(*copy)

    def read_object(self, kind: int, identity: bytes) -> bytes:
        """Return the bytes of an object, verified: of its newest copy, or of any other when that one is damaged.

        Raises:
            IntegrityError: when it is missing, damaged, of another kind, or its bytes have another id.
            StorageError: when the disk refuses, and there is no other copy.
        """
        return self.try_again(lambda: self.segments.read(kind, identity, self.hasher))

    def try_again(self, read: Callable[[], T]) -> T:
        """Return what ``read`` does; where it finds damage, again as long as the log has grown meanwhile.

        A collection that waits for no grace may have moved what it looks for since these segments were the live ones.
        """
        _ = self.state
        while True:
            followed = self._followed
            try:
                return read()
            except (IntegrityError, NotFoundError):
                self.refresh()
                if self._followed == followed:
                    raise

    def snapshots_with(self, prefix: str) -> list[bytes]:
        """Return the ids of all stored snapshots that begin with the hex digits ``prefix``, sorted."""
        _ = self.state
        low = bytes.fromhex(prefix.ljust(2 * ids.ID_SIZE, "0"))
        high = bytes.fromhex(prefix.ljust(2 * ids.ID_SIZE, "f"))
        found = set()
        for segment in self.segments.live():
            for identity, location in segment.index.between(low, high):
                if location.flags & pack.KIND_MASK == ids.SNAPSHOT:
                    found.add(identity)
        return sorted(found)

    def frames(self) -> FrameReader:
        """Return a reader for many frames in the order of their packs."""
        return FrameReader(self)

    def new_pack(self, content: int) -> PackWriter:
        """Return a writer of a new pack in the workspace; call it after any fork."""
        return PackWriter(
            self.disk,
            self.backend.workspace(),
            content=content,
            store=self.format.store,
            entropy=self.entropy,
        )

    def transaction(self, claims: Claims | None = None) -> Transaction:
        """Return a new, empty transaction."""
        return Transaction(self, claims)

    def drift(self) -> int | None:
        """Return by how much this machine's clock is ahead of that of the place, in microseconds.

        None where the place has no clock.  It is asked by writing a small file, which goes again.

        Raises:
            StorageError: when the place refuses.
        """
        written = holding.time_of(self.backend, self.entropy)
        return self.clock.now() - written if written else None

    def maintain(self, *, due: bool = False) -> None:
        """Write a checkpoint when one is due; a failure leaves the store as it is and the next command tries again."""
        try:
            if checkpoints.is_due(self.refresh(), soon=due):
                checkpoints.write(self)
        except (StorageError, ConflictError):
            return  # what the command did is recorded; the checkpoint is the next command's affair


def _file(segment: Segment, location: Location) -> tuple[str, int]:
    """Return the file of the pack that holds a frame, and its size."""
    entry = segment.index.directory.packs[location.pack]
    return pack.file_name(entry.name), entry.size


class FrameReader:
    """Reads many frames, about in the order of their packs, through a few windows of read-ahead."""

    def __init__(self, store: Store) -> None:
        """Start without windows."""
        self._store = store
        self._windows: dict[str, tuple[int, memoryview, int]] = {}
        """By pack: where its window begins, what is in it, and how many bytes it was meant to have."""

    def chunk(self, identity: bytes) -> bytes:
        """Return a chunk, verified, from any sound copy; raises as :meth:`Store.read_object`."""
        return self._store.try_again(lambda: self._copy(identity))

    def _copy(self, identity: bytes) -> bytes:
        try:
            return self._read(identity)
        except (IntegrityError, NotFoundError, StorageError) as error:
            return self._store.segments.read_another(ids.CHUNK, identity, self._store.hasher, error)

    def _read(self, identity: bytes) -> bytes:
        segment, location = self._store.locate(ids.CHUNK, identity)
        reader = segment.pack(location.pack)
        start, window, ahead = self._windows.get(reader.file, _NO_WINDOW)
        at = location.offset - start
        if at < 0 or at + location.stored > len(window):
            if reader.file not in self._windows and len(self._windows) >= WINDOWS:
                del self._windows[next(iter(self._windows))]
            # Of a directory that changed here and there a few frames of each pack are read, and nothing between them.
            goes_on = len(window) > 0 and 0 <= at <= len(window) + ahead
            ahead = min(4 * ahead, WINDOW) if goes_on else FIRST_WINDOW
            window = memoryview(reader.sealed(location.offset, max(ahead, location.stored)))
            self._windows[reader.file] = (location.offset, window, ahead)
            at = 0
        data = reader.open(identity, location, window[at : at + location.stored])
        if self._store.hasher.id(ids.CHUNK, data) != identity:
            raise wrong(ids.CHUNK, identity, reader.file)
        return data


def local_backend(directory: str, *, entropy: Entropy, disk: Disk | None = None) -> LocalBackend:
    """Return the place of the store at ``directory``; unfinished files go beside it."""
    return LocalBackend(directory, os.path.join(os.path.dirname(directory), "tmp"), entropy=entropy, disk=disk)


def open_local(
    directory: str, *, clock: Clock, entropy: Entropy, disk: Disk | None = None, unlock: Unlock | None = None
) -> Store:
    """Open the store at ``directory``; unfinished files go beside it.

    Raises:
        NotFoundError, FormatError, KeyAccessError, IntegrityError: see :class:`Store`.
    """
    backend = local_backend(directory, entropy=entropy, disk=disk)
    try:
        return Store(backend, clock=clock, entropy=entropy, disk=disk, unlock=unlock)
    except NotFoundError as error:
        raise FormatError(
            "the store has no format file",
            where=error.where,
            why="it is incomplete, or not a dv store",
            next=MEND,
        ) from None
    except DvError as error:
        error.where = error.where if error.where.startswith("/") else f"{directory}/{error.where or 'format'}"
        error.next = error.next or MEND
        raise


def new_format(entropy: Entropy) -> storeformat.StoreFormat:
    """Return what a new store says of itself: the version written here, and ids of its own."""
    return storeformat.StoreFormat(
        version=storeformat.VERSION,
        flags=(),
        chunking=storeformat.Chunking(),
        repository=entropy.bytes(16),
        store=entropy.bytes(16),
    )


def create_local(
    directory: str,
    *,
    clock: Clock,
    entropy: Entropy,
    disk: Disk | None = None,
    described: storeformat.StoreFormat | None = None,
    opened: Opened | None = None,
) -> Store:
    """Make a new store in ``directory`` (which must not exist) and return it.

    The caller makes the directory visible as a whole, so a crash leaves no half-made store behind.

    Args:
        directory: where.
        clock: the machine's clock.
        entropy: the source of keys, ids and names.
        disk: the local disk.
        described: the repository that it is to be a store of, with an id of its own; a new one by default.
        opened: that repository's secret, and a wrapping secret for this store.
    """
    disk = disk or Disk()
    for name in storeformat.DIRECTORIES:
        disk.make_directory(f"{directory}/{name}")
    value = described or new_format(entropy)
    keys.create_secret(disk, f"{directory}/{keys.REPOSITORY_KEY}", value.repository, entropy, opened)
    disk.write(f"{directory}/format", storeformat.encode(value))
    disk.sync(f"{directory}/format")
    for name in (*storeformat.DIRECTORIES, ""):
        disk.sync_directory(f"{directory}/{name}")
    return open_local(directory, clock=clock, entropy=entropy, disk=disk)


def first_entry(store: Store, refs: dict[str, bytes]) -> log.Entry:
    """Append the entry that begins a store's log."""
    return store.log.append(
        "init",
        lambda _state: [log.MoveRef(name=name, old=None, new=value) for name, value in sorted(refs.items())],
    )
