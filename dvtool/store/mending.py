"""Mends a store, when asked to: takes files and objects from other copies, and writes anew what follows from the rest.

Nothing is thrown away: what is damaged is linked into a quarantine before anything takes its place.  Nothing is taken
unverified: a file must open, or have the bytes that its name says, and an object must have its id.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from dvtool import ids
from dvtool.crypto import KEY_SIZE
from dvtool.errors import DvError
from dvtool.formats import index, keyfile, log, pack, repokey, sealed, storeformat
from dvtool.storage.disk import temporary_name
from dvtool.store import keys, scrub
from dvtool.store.log import Log
from dvtool.store.packs import FinishedPack, PackReader
from dvtool.store.segments import Segment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from dvtool.effects import Clock, Entropy
    from dvtool.storage.disk import Disk
    from dvtool.storage.local import LocalBackend
    from dvtool.store.store import Store
    from dvtool.store.transaction import Transaction

OPERATION: Final = "repair"
PIECE: Final = 8 * 1024 * 1024
"""Bytes of a file that are copied at once."""


class Quarantine:
    """A directory that keeps what was damaged, under the names that it had in the store."""

    def __init__(self, backend: LocalBackend, place: str, disk: Disk) -> None:
        """Name the directory; it is made when there is something to keep."""
        self._backend = backend
        self._disk = disk
        self.place = place
        self.held: list[str] = []

    def keep(self, name: str) -> None:
        """Link a file of the store into the quarantine, durably; nothing happens when it is not there.

        Raises:
            StorageError: when the disk refuses; then nothing may take the file's place.
        """
        source = self._backend.path(name)
        if not os.path.lexists(source) or name in self.held:
            return
        directory = os.path.dirname(f"{self.place}/{name}")
        missing = []
        while not os.path.isdir(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        for each in reversed(missing):
            self._disk.make_directory(each)
            self._disk.sync_directory(os.path.dirname(each))
        if os.path.isdir(source) and not os.path.islink(source):
            self._disk.rename(source, f"{self.place}/{name}")
        else:
            self._disk.link(source, f"{self.place}/{name}")
        self._disk.sync_directory(os.path.dirname(f"{self.place}/{name}"))
        self.held.append(name)

    def take(self, name: str) -> None:
        """Move a file of the store into the quarantine."""
        self.keep(name)
        if os.path.lexists(self._backend.path(name)):
            self._backend.delete(name)


class Spare:
    """Another copy of the store, or of another store of the same repository, from which files are taken by name."""

    def __init__(self, backend: LocalBackend) -> None:
        """Take from the store that ``backend`` reads."""
        self.backend = backend
        self.taken: set[str] = set()
        """What was taken already: a file that is damaged again would be so a third time."""

    def offers(self, name: str) -> bool:
        """Return whether there is a file of this name that is sound by itself and was not taken before."""
        return name not in self.taken and self.backend.exists(name) and scrub.look(self.backend, name) is None


class Restorer:
    """Puts files back by name: a file of a store has its name for ever, so any copy of the store will do."""

    def __init__(
        self, backend: LocalBackend, spares: list[Spare], quarantine: Quarantine, clock: Clock, entropy: Entropy
    ) -> None:
        """Mend the store that ``backend`` holds."""
        self._backend = backend
        self._spares = spares
        self._quarantine = quarantine
        self._clock = clock
        self._entropy = entropy
        self.restored: list[str] = []

    def restore(self, names: Collection[str]) -> bool:
        """Put back those of the named files that another copy has; return whether there were any.

        Raises:
            StorageError: when the disk refuses.
        """
        order = {"format": 0, keys.REPOSITORY_KEY: 1}
        found = [name for name in sorted(names, key=lambda name: (order.get(name, 2), name)) if self._one(name)]
        self._backend.flush()
        self.restored += found
        return bool(found)

    def extend_log(self) -> bool:
        """Take the entries that another copy has behind the last one that is here; return whether there were any.

        Only for a store of which it is known that its log went further.
        """
        numbers = [int(name, 16) for name in self._backend.names("log") if scrub.is_number(name)]
        number = max(numbers, default=0)
        while self.restore([log.file_name(number + 1)]):
            number += 1
        return number > max(numbers, default=0)

    def _one(self, name: str) -> bool:
        if not scrub.is_name(name):
            return False
        for spare in self._spares:
            if spare.offers(name) and self._fits(spare, name):
                self._quarantine.keep(name)
                _copy(spare.backend, self._backend, name)
                spare.taken.add(name)
                return True
        return False

    def _fits(self, spare: Spare, name: str) -> bool:
        """Return whether a file of another copy is this store's as well.

        A pack's name is the hash of its bytes; an index file that is not ours will not open, and is then damage again.
        """
        try:
            if name == "format":
                return self._is_own_format(spare)
            if name == keys.REPOSITORY_KEY:
                repokey.decode(spare.backend.read(name), self._format().repository)
                return True
            if name.startswith("keys/"):
                return self._opens(spare, name)
            if name.startswith("log/"):
                label = sealed.label_of(spare.backend.read(name), sealed.LOG_ENTRY, what=name)
                if not self._backend.exists(keys.log_key_name(label)):
                    self.restore([keys.log_key_name(label)])
                secrets = keys.load_secrets(self._backend, self._format().repository)
                own = Log(self._backend, self._format().store, secrets.wrap, clock=self._clock, entropy=self._entropy)
                return own.accepts(int(name.removeprefix("log/"), 16), spare.backend.read(name))
        except DvError:
            return False
        return True

    def _format(self) -> storeformat.StoreFormat:
        return storeformat.decode(self._backend.read("format"))

    def _is_own_format(self, spare: Spare) -> bool:
        """Return whether what another copy says of itself goes with the key that is here, if one is."""
        offered = storeformat.decode(spare.backend.read("format"))
        if self._backend.exists(keys.REPOSITORY_KEY):
            repokey.decode(self._backend.read(keys.REPOSITORY_KEY), offered.repository)
        return True

    def _opens(self, spare: Spare, name: str) -> bool:
        own = self._format()
        secrets = keys.load_secrets(self._backend, own.repository)
        kind = sealed.LOG_KEY if name.startswith("keys/log-") else sealed.KEY_FILE
        sealed.open_blob(kind, secrets.wrap, own.store + name.encode(), spare.backend.read(name), what="key file")
        return True


def _copy(source: LocalBackend, target: LocalBackend, name: str) -> None:
    """Copy a file of one store into the same place of another, in pieces."""
    view = source.view(name)
    path = f"{target.workspace()}/{temporary_name()}"
    descriptor = target.disk.open_new(path)
    try:
        try:
            for at in range(0, len(view), PIECE):
                target.disk.append(descriptor, path, view[at : at + PIECE])
        finally:
            os.close(descriptor)
        target.adopt(path, name)
    except BaseException:
        target.disk.unlink(path)
        raise


class Rebuilt:
    """Key files and index files written anew from what the packs themselves say.

    An index file repeats the footers of its packs, and the key of a pack may stand in a second key file: of the
    segments that were merged into a larger one, until they are collected.
    """

    def __init__(self, store_log: Log, backend: LocalBackend, store: bytes, wrap: bytes, entropy: Entropy) -> None:
        """Look at the live segments of a log; nothing is written yet."""
        self._backend = backend
        self._store = store
        self._wrap = wrap
        self._entropy = entropy
        self._segments = list(store_log.described())
        self._known: dict[bytes, bytes] | None = None
        self.instead: dict[str, log.Segment] = {}
        """By the name of an index file that is lost: the segment that stands for it now."""
        self.unreadable: list[str] = []
        """Packs of which an index file cannot be written anew."""
        self.left: list[str] = []
        """Key files and index files that are replaced."""

    def rebuild(self) -> None:
        """Write what is damaged or missing anew, under new names; the caller makes it part of the store.

        Raises:
            StorageError: when the disk refuses.
        """
        for description, packs in self._segments:
            own = self._key_file(description.keys)
            if own is not None and self._is_sound(description):
                continue
            pack_keys = own.packs if own is not None else self._keys_of(description, packs)
            if pack_keys:
                self._write(description, pack_keys)

    def _key_file(self, name: str) -> keyfile.KeyFile | None:
        try:
            return keys.read_key_file(self._backend, self._store, self._wrap, name)
        except DvError:
            return None

    def _is_sound(self, description: log.Segment) -> bool:
        try:
            Segment(self._backend, self._store, self._wrap, description).index.verify()
        except DvError:
            return False
        return True

    def _keys_of(self, description: log.Segment, packs: tuple[bytes, ...]) -> dict[bytes, bytes]:
        """Return the keys of the packs of a segment whose key file is lost, as far as other key files have them."""
        if self._known is None:
            self._known = {}
            for name in sorted(self._backend.names("keys")):
                found = self._key_file(f"keys/{name}") if scrub.is_name(f"keys/{name}") else None
                self._known.update(found.packs if found is not None else {})
        if not packs:  # merged: all that no other segment has
            elsewhere: set[bytes] = set()
            for other, _packs in self._segments:
                found = self._key_file(other.keys) if other != description else None
                elsewhere.update(found.packs if found is not None else ())
            packs = tuple(name for name in self._known if name not in elsewhere)
        return {name: self._known[name] for name in packs if name in self._known}

    def _write(self, description: log.Segment, pack_keys: dict[bytes, bytes]) -> None:
        """Write a key file and an index file of those packs that can be read.

        Both get a new key: pages of an index file are numbered, and a number serves once under one key.
        """
        entries: list[index.PackEntry] = []
        records: list[bytes] = []
        for name in sorted(pack_keys):
            found = self._footer(name, pack_keys[name])
            if found is None:
                self.unreadable.append(pack.file_name(name))
                continue
            records += found.records(len(entries))
            entries.append(found.entry())
        if not entries:
            return
        entropy = self._entropy
        key = entropy.bytes(KEY_SIZE)
        key_name, index_name = f"keys/{entropy.bytes(16).hex()}", f"index/{entropy.bytes(16).hex()}"
        held = {entry.name: pack_keys[entry.name] for entry in entries}
        file = keyfile.KeyFile(packs=held, index=key)
        keys.write_key_file(self._backend, self._store, self._wrap, key_name, file, entropy)
        self._backend.put(index_name, index.encode(self._store, key, entropy.bytes(32), entries, records))
        self._backend.flush()
        self.left += [description.keys, description.index]
        self.instead[description.index] = log.Segment(
            keys=key_name, index=index_name, records=len(records), packs=len(entries)
        )

    def _footer(self, name: bytes, key: bytes) -> FinishedPack | None:
        """Return what a pack says of itself, or None when its header or footer cannot be read."""
        file = pack.file_name(name)
        try:
            content = pack.decode_header(self._backend.read(file, 0, pack.HEADER_SIZE)).content
            size = self._backend.size(file)
            entry = index.PackEntry(name=name, content=content, size=size, frames=0, raw=0)
            footer = PackReader(self._backend, entry, key, self._store).footer()
        except DvError:
            return None
        return FinishedPack(
            path="",
            name=name,
            key=key,
            content=content,
            size=size,
            ids=footer.ids,
            flags=footer.flags,
            stored=list(footer.stored),
            raw=list(footer.raw),
        )


def listed(store: Store, name: str) -> Iterator[tuple[Segment, bytes, index.Location]]:
    """Yield (segment, id, location) of every object that index files place in a pack."""
    wanted = bytes.fromhex(name.removeprefix("packs/"))
    for segment in store.segments.live():
        packs = segment.index.directory.packs
        places = {position for position, entry in enumerate(packs) if entry.name == wanted}
        if places:
            for record in segment.index.records():
                identity, location = index.unpack(record)
                if location.pack in places:
                    yield segment, identity, location


def salvage(store: Store, transaction: Transaction, bad: AbstractSet[str]) -> tuple[int, set[bytes]]:
    """Copy what still opens in damaged packs and lies in no other; return the number of objects, and the ids lost.

    Args:
        store: the store.
        transaction: takes the copies.
        bad: names of packs that are damaged or missing.
    """
    copied: set[bytes] = set()
    lost: set[bytes] = set()
    for name in sorted(bad):
        for segment, identity, location in listed(store, name):
            if identity in copied or store.segments.is_held(identity, bad):
                continue
            kind = location.flags & pack.KIND_MASK
            try:
                content = segment.pack(location.pack).read(identity, location)
            except DvError:
                lost.add(identity)
                continue
            if store.hasher.id(kind, content) == identity:
                transaction.copy(kind, identity, content)
                copied.add(identity)
            else:
                lost.add(identity)
    return len(copied), lost - copied


class Wanted:
    """Takes exactly the objects that are lost, from whatever makes them again; a sink for readers of files."""

    def __init__(self, store: Store, transaction: Transaction, lost: Iterable[bytes]) -> None:
        """Put those of ``lost`` that turn up into ``transaction``."""
        self._hasher = store.hasher
        self._transaction = transaction
        self.lost = set(lost)
        self.found = 0

    def put_object(self, kind: int, data: bytes) -> bytes:
        """Return the id of an object, and store it if it is wanted."""
        return self.take(kind, self._hasher.id(kind, data), data)

    def put_chunk(self, data: bytes | memoryview) -> bytes:
        """Return the id of a chunk, and store it if it is wanted."""
        return self.take(ids.CHUNK, self._hasher.id(ids.CHUNK, data), data)

    def take(self, kind: int, identity: bytes, data: bytes | memoryview) -> bytes:
        """Store an object whose id was made here if it is wanted, and return the id."""
        if identity in self.lost:
            self._transaction.copy(kind, identity, bytes(data))
            self.lost.discard(identity)
            self.found += 1
        return identity

    def take_from(self, other: Store) -> None:
        """Take what another store of the same repository holds."""
        for identity in sorted(self.lost):
            try:
                found = other.segments.find(identity)
                if found is not None:
                    kind = found[1].flags & pack.KIND_MASK
                    self.put_object(kind, other.read_object(kind, identity))
            except DvError:
                continue  # it is damaged there too
