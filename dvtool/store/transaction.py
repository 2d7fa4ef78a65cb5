"""Collects new objects and chunks, and makes them part of the store together with the refs that need them.

Order of writes (``docs/design/architecture.md``): packs, then key file, then index file, all durable, and only then
the entry.  Until the entry is there nothing has happened; what was written is garbage that no one refers to.

A transaction with very much to store puts packs aside on the way, by entries that move no ref (ADR 14): so what it
remembers does not grow with the data, and a command that is stopped and run again does not begin at the beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import msgspec

from dvtool import ids
from dvtool.crypto import KEY_SIZE
from dvtool.errors import FormatError, IntegrityError
from dvtool.formats import index, keyfile, log, pack
from dvtool.store import keys
from dvtool.store.relying import Relied

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.digest import IdHasher
    from dvtool.effects import Entropy
    from dvtool.storage.backend import Backend
    from dvtool.store.claims import Claims
    from dvtool.store.keys import Wrapping
    from dvtool.store.packs import FinishedPack, PackWriter
    from dvtool.store.state import State
    from dvtool.store.store import Store

SPAN: Final = 64
"""Finished packs that are put aside together: 4 GiB of data, so that entries are few beside what they add."""
SPANS: Final = 8
"""Times that packs are put aside before their index files are merged, by a checkpoint."""
PUT_ASIDE: Final = "store"
"""The operation of an entry that puts packs aside."""


class Transaction:
    """New content on its way into a store; use it as a context manager."""

    def __init__(self, store: Store, claims: Claims | None = None) -> None:
        """Start with nothing new; ``claims`` is shared with other processes that store chunks at the same time."""
        self.store = store
        self._claims = claims
        self.skipped: set[bytes] = set()
        self.relied = Relied(store)
        self.added: list[int] = []
        """Sizes in bytes of the packs that entries of this transaction have added, or are about to."""
        self._spans = 0
        self._pending: dict[bytes, bytes] = {}
        self._chunks: set[bytes] = set()
        self._writers: dict[int, PackWriter] = {}
        self._finished: list[FinishedPack] = []
        self._unlisted: list[FinishedPack] = []
        self._waits: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        """Return the transaction itself."""
        return self

    def __exit__(self, *_failure: object) -> None:
        """Remove unfinished files; after :meth:`commit` there are none."""
        self.abandon()

    @property
    def hasher(self) -> IdHasher:
        """What makes the ids of this repository."""
        return self.store.hasher

    def put_object(self, kind: int, data: bytes) -> bytes:
        """Store a metadata object unless it is there already, sound, and return its id.

        The one that is there is read: of a directory that is made anew because the stored one is damaged, the two have
        one id.  Few objects come twice, and they are small.
        """
        identity = self.store.hasher.id(kind, data)
        if identity not in self._pending and not self._is_stored(identity, kind):
            self._writer(pack.METADATA).add(kind, identity, data)
            self._pending[identity] = data
        return identity

    def put_chunk(self, data: bytes | memoryview) -> bytes:
        """Store a chunk unless it is there already, and return its id; the empty chunk is never stored."""
        identity = self.store.hasher.id(ids.CHUNK, data)
        if self._unlisted:
            self._list_adopted()
        if len(data) and identity not in self._chunks and not self._is_stored(identity):
            if self._claims is not None and not self._claims.claim(identity):
                self.skipped.add(identity)
            else:
                writer = self._writer(pack.DATA)
                if len(self._finished) >= SPAN:
                    self._put_aside()
                writer.add(ids.CHUNK, identity, data)
                self._chunks.add(identity)
        return identity

    def _is_stored(self, identity: bytes, kind: int = ids.CHUNK) -> bool:
        """Return whether the store holds ``identity``, and remember the frame that is relied on; objects are read."""
        place = self.store.place(identity)
        if place is None or (kind != ids.CHUNK and not self._is_sound(kind, identity)):
            return False
        self.relied.note(*place)
        return True

    def _is_sound(self, kind: int, identity: bytes) -> bool:
        try:
            self.store.read_object(kind, identity)
        except (IntegrityError, FormatError):
            return False
        return True

    def read_object(self, kind: int, identity: bytes) -> bytes:
        """Return an object, new or stored."""
        data = self._pending.get(identity)
        return data if data is not None else self.store.read_object(kind, identity)

    def finish_packs(self) -> list[FinishedPack]:
        """Finish what is being written and hand it over; for a process that cannot append the entry itself."""
        for content in sorted(self._writers):
            self._finish(self._writers[content])
            del self._writers[content]
        self._settle()
        finished, self._finished = self._finished, []
        return finished

    def _settle(self) -> None:
        """Wait until all finished packs are durable."""
        while self._waits:
            self._waits.pop()()

    def _finish(self, writer: PackWriter) -> None:
        self._finished.append(writer.finish())
        self._waits.append(writer.wait)

    def stores(self, identity: bytes) -> bool:
        """Return whether a finished pack, or the store, holds ``identity``."""
        self._list_adopted()
        return identity in self._chunks or self.store.has(identity)

    def _list_adopted(self) -> None:
        """Take the ids of adopted packs among ours; put off until somebody asks, since most commands don't."""
        while self._unlisted:
            self._chunks.update(ids.split(self._unlisted.pop().ids))

    def adopt(self, packs: list[FinishedPack]) -> None:
        """Take packs that others finished in the store's workspace, or that came from another store of the repository.

        Those without a path lie where they belong already.
        """
        self._finished += packs
        self._unlisted += [finished for finished in packs if finished.content == pack.DATA]

    def commit(self, operation: str, build: Callable[[State], list[log.Action]]) -> log.Entry:
        """Write everything and append one entry.

        Args:
            operation: one word for the operation log.
            build: returns the refs to move for a given state; may be called again after a lost race.

        Raises:
            ConflictError: when a ref moved meanwhile.
            StorageError: when the disk refuses; nothing has happened then.
        """
        taking = self.relied.take(self.copy)
        added = self._write()

        def actions(state: State) -> list[log.Action]:
            self.relied.refuse_condemned(state)
            return [*added, *build(state)]

        entry = self.store.log.append(operation, actions, sections=taking)
        self.store.refresh()
        return entry

    def copy(self, kind: int, identity: bytes, data: bytes) -> None:
        """Store an object or chunk once more, in a pack of this transaction, although the store holds it."""
        self._writer(pack.DATA if kind == ids.CHUNK else pack.METADATA).add(kind, identity, data)

    def copy_packed(self, flags: int, identity: bytes, packed: bytes, raw: int) -> None:
        """Store once more what lies in another pack: see :meth:`~dvtool.store.packs.PackWriter.add_packed`."""
        content = pack.DATA if flags & pack.KIND_MASK == ids.CHUNK else pack.METADATA
        self._writer(content).add_packed(flags, identity, packed, raw)

    def put_aside(self) -> None:
        """Make what was written so far part of the store by an entry that moves no ref.

        Who is stopped after that, and runs again, finds it there.

        Raises:
            ConflictError: when an erasure is under way.
            StorageError: when the place refuses.
        """
        self._finished = self.finish_packs()
        if self._finished:
            self._put_aside()

    def write_only(self) -> list[log.Action]:
        """Write everything but the entry, and return the action that would make it part of the store."""
        return self._write()

    def abandon(self) -> None:
        """Remove what was written and not committed."""
        for writer in self._writers.values():
            writer.abandon()
        self._writers.clear()
        for finished in self._finished:
            if finished.path:
                self.store.disk.unlink(finished.path)
        self._finished.clear()

    def _writer(self, content: int) -> PackWriter:
        writer = self._writers.get(content)
        target = pack.DATA_TARGET if content == pack.DATA else pack.METADATA_TARGET
        if writer is not None and writer.size >= target:
            self._finish(writer)
            writer = None
        if writer is None:
            writer = self._writers[content] = self.store.new_pack(content)
        return writer

    def _write(self) -> list[log.Action]:
        self._finished = self.finish_packs()
        if self._finished:
            return [self._add_packs()]
        self.store.backend.flush()
        return []

    def _put_aside(self) -> None:
        """Make the finished packs part of the store by an entry that moves no ref, and forget what is in them."""
        self._settle()
        added = self._add_packs()
        self.store.log.append(PUT_ASIDE, lambda _state: [added], sections=log.putting_aside())
        self.relied.aside.update(pack.file_name(name) for name in added.packs)
        self._unlisted.clear()
        self._spans += 1
        self.store.refresh()
        # Index files that are not merged yet are looked through one by one, for every chunk.
        self.store.maintain(due=self._spans % SPANS == 0)
        self.skipped = {identity for identity in self.skipped if not self.store.has(identity)}
        unfinished = {identity for writer in self._writers.values() for identity in writer.ids}
        self._chunks &= unfinished
        self._pending = {identity: data for identity, data in self._pending.items() if identity in unfinished}

    def _add_packs(self) -> log.AddPacks:
        records: list[bytes] = []
        packs: list[index.PackEntry] = []
        pack_keys: dict[bytes, bytes] = {}
        while self._finished:
            finished = self._finished[0]
            records += finished.records(len(packs))
            if finished.path:
                self.store.backend.adopt(finished.path, pack.file_name(finished.name))
            self._finished.pop(0)
            packs.append(finished.entry())
            self.added.append(finished.size)
            pack_keys[finished.name] = finished.key
        store = self.store
        held = keyfile.KeyFile(packs=pack_keys, index=b"")
        action = write_segment(
            store.backend,
            store.format.store,
            store.secrets.wrap,
            store.entropy,
            packs=packs,
            records=records,
            held=held,
        )
        self.store.backend.flush()
        return action


def write_segment(
    backend: Backend,
    store: bytes,
    wrap: Wrapping,
    entropy: Entropy,
    *,
    packs: list[index.PackEntry],
    records: list[bytes],
    held: keyfile.KeyFile,
) -> log.AddPacks:
    """Put a key file and an index file for packs, not yet durable, and return the action that adds them.

    Args:
        backend: the place of the store.
        store: its id.
        wrap: the keys under which key files are sealed.
        entropy: makes names, and the key of the index file: its pages are numbered, and a number serves once under one.
        packs: what the index file says of each.
        records: where their frames lie.
        held: the keys of the packs, and what else the key file is to say.
    """
    key = entropy.bytes(KEY_SIZE)
    key_name = f"keys/{entropy.bytes(16).hex()}"
    index_name = f"index/{entropy.bytes(16).hex()}"
    keys.write_key_file(backend, store, wrap, key_name, msgspec.structs.replace(held, index=key), entropy)
    backend.put(index_name, index.encode(store, key, entropy.bytes(32), packs, records))
    return log.AddPacks(
        keys=key_name, index=index_name, packs=tuple(entry.name for entry in packs), records=len(records)
    )
