"""Mends a store from what is left of it: index files from packs, packs from what is sound in them, objects by id.

Nothing is taken unverified: whatever is stored again has the id of what was lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool import ids
from dvtool.errors import DvError
from dvtool.formats import index, keyfile, log, manifest, pack, run, snapshot, stage, tree
from dvtool.store import keys, scrub
from dvtool.store.packs import FinishedPack, PackReader
from dvtool.store.segments import Segment
from dvtool.store.state import segment_of
from dvtool.store.transaction import write_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dvtool.effects import Entropy
    from dvtool.storage.backend import Backend
    from dvtool.store.keys import Wrapping
    from dvtool.store.log import Log
    from dvtool.store.store import Store
    from dvtool.store.transaction import Transaction

OPERATION: Final = "repair"


class Rebuilt:
    """Key files and index files written anew from what the packs themselves say.

    An index file repeats the footers of its packs, and the key of a pack may stand in a second key file: of the
    segments that were merged into a larger one, until they are collected.
    """

    def __init__(
        self,
        store_log: Log,
        backend: Backend,
        store: bytes,
        wrap: Wrapping,
        entropy: Entropy,
        *,
        known: Callable[[], Mapping[bytes, bytes]] = dict,
    ) -> None:
        """Look at the live segments of a log; nothing is written yet.

        Args:
            store_log: the log.
            backend: the place of the store.
            store: its id.
            wrap: the keys under which key files are sealed.
            entropy: makes names and keys.
            known: returns keys of packs that were learnt elsewhere: a pack has the same key in every store.
        """
        self._elsewhere = known
        self._backend = backend
        self._store = store
        self._wrap = wrap
        self._entropy = entropy
        self._segments = list(store_log.described())
        self._known: dict[bytes, bytes] | None = None
        self.instead: dict[str, log.Segment] = {}
        """By the name of an index file that is lost: the segment that stands for it now."""
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
            if own is None:
                own = keyfile.KeyFile(packs=self._keys_of(description, packs), index=b"")
            self._write(description, own)

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
            self._known = dict(self._elsewhere())
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

    def _write(self, description: log.Segment, own: keyfile.KeyFile) -> None:
        """Write an index file of those packs that can be read, and a key file of all, for who brings one back."""
        entries: list[index.PackEntry] = []
        records: list[bytes] = []
        for name in sorted(own.packs):
            found = self._footer(name, own.packs[name])
            if found is not None:
                records += found.records(len(entries))
                entries.append(found.entry())
        if not entries:
            return
        added = write_segment(
            self._backend, self._store, self._wrap, self._entropy, packs=entries, records=records, held=own
        )
        self._backend.flush()
        self.left += [description.keys, description.index]
        self.instead[description.index] = segment_of(added)

    def _footer(self, name: bytes, key: bytes) -> FinishedPack | None:
        """Return what a pack says of itself, or None when its header or footer cannot be read."""
        file = pack.file_name(name)
        try:
            content = pack.decode_header(self._backend.read(file, 0, pack.HEADER_SIZE)).content
            entry = index.PackEntry(name=name, content=content, size=0, frames=0, raw=0)
            return PackReader(self._backend, entry, key).described()
        except DvError:
            return None


def adoptable(store: Store) -> list[log.AddPacks]:
    """Return the actions that would add the files which were written for an entry that is lost.

    An index file goes with the key file that opens it. What a command left behind that was killed before its entry
    looks the same; then it is garbage as before, and listed.
    """
    state, backend = store.state, store.backend
    live = {name for segment in state.segments for name in (segment.keys, segment.index)}
    loose = {
        directory: sorted(
            name
            for name in (f"{directory}/{each}" for each in backend.names(directory))
            if name not in live and scrub.is_name(name) and not state.is_doomed(name)
        )
        for directory in ("keys", "index")
    }
    found: list[log.AddPacks] = []
    for key_name in loose["keys"]:
        try:
            opened = keys.read_key_file(backend, store.format.store, store.secrets.wrap, key_name)
        except DvError:
            continue
        for index_name in loose["index"]:
            try:
                reader = index.Reader(backend.view(index_name), store.format.store, opened.index)
                reader.verify()
            except DvError:
                continue
            packs = reader.directory.packs
            names = tuple(entry.name for entry in packs)
            files = [pack.file_name(name) for name in names]
            if opened.packs.keys() >= set(names) and all(
                not state.is_doomed(file)
                and state.packs.get(entry.name) is None
                and backend.exists(file)
                and backend.size(file) == entry.size
                for file, entry in zip(files, packs, strict=True)
            ):
                found.append(log.AddPacks(keys=key_name, index=index_name, packs=names, records=len(reader)))
    return found


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
        for _name, segment, identity, location in store.segments.listed({name}):
            if identity in copied or store.segments.is_held(identity, bad):
                continue
            kind = location.flags & pack.KIND_MASK
            try:
                content = segment.read(kind, identity, location, store.hasher)
            except DvError:
                lost.add(identity)
            else:
                transaction.copy(kind, identity, content)
                copied.add(identity)
    return len(copied), lost - copied


class Wanted:
    """Takes exactly the objects that are lost, from whatever makes them again; a sink for readers of files."""

    def __init__(
        self, store: Store, transaction: Transaction, lost: Iterable[bytes], *, with_data: bool = True
    ) -> None:
        """Put those of ``lost`` that turn up into ``transaction``.

        Args:
            store: the store.
            transaction: takes them.
            lost: their ids.
            with_data: whether chunks that they lead to are wanted as well; in a clone without data they are not.
        """
        self._with_data = with_data
        self._store = store
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
        """Take what another store of the same repository holds, and what that leads to and no index file lists here.

        Without the latter a lost history would come back one snapshot at a time, each after a look at everything.
        """
        pending = sorted(self.lost)
        met = set(pending)
        while pending:
            identity = pending.pop()
            try:
                found = other.segments.find(identity)
                if found is None:
                    continue
                kind = found[1].flags & pack.KIND_MASK
                data = other.read_object(kind, identity)
                below = set(self._named_by(kind, data))
            except DvError:
                continue  # it is damaged there too
            self.put_object(kind, data)
            for each in sorted(below - met):
                met.add(each)
                if self._misses(each, other):
                    self.lost.add(each)
                    pending.append(each)

    def _misses(self, identity: bytes, other: Store) -> bool:
        """Return whether no index file lists an object here, and the other store has it."""
        if self._store.segments.is_held(identity, frozenset()):
            return False
        try:
            found = other.segments.find(identity)
        except DvError:
            return False
        return found is not None and (self._with_data or found[1].flags & pack.KIND_MASK != ids.CHUNK)

    def _named_by(self, kind: int, data: bytes) -> Iterator[bytes]:
        """Yield the ids of what an object leads to, but for history that was expired."""
        if kind == ids.TREE:
            blob = tree.decode(data).ids
            yield from (blob[at : at + ids.ID_SIZE] for at in range(0, len(blob), ids.ID_SIZE))
        elif kind == ids.MANIFEST:
            yield from manifest.ids_of(manifest.decode(data))
        elif kind in {ids.SNAPSHOT, ids.STAGE, ids.RUN}:
            before: Sequence[bytes]
            if kind == ids.SNAPSHOT:
                recorded = snapshot.decode(data)
                yield recorded.root
                yield from (content for _name, content, _size in recorded.settings)
                before = recorded.parents
            elif kind == ids.RUN:
                computed = run.decode(data)
                yield computed.tree
                before = run.names_of(computed)
            else:
                staged = stage.decode(data)
                yield staged.tree
                before = staged.merging
            standing = map(self._store.state.standing, before)
            yield from (each for each in standing if each is not None)
