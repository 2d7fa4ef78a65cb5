"""Crafts what a store vouches for and no dv would write: valid seals under the store's own keys, hostile content.

A store from elsewhere comes with its key, so nothing in it is to be believed merely because it opens.  Whoever writes
a reader of such stores can hold it against what is forged here; :mod:`dvtool.testing.hostile` is a collection of it.
"""

from __future__ import annotations

import itertools
import os
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from dvtool import digest, ids
from dvtool.crypto import KEY_SIZE, Sealer
from dvtool.formats import codec, index, log, manifest, pack, sealed, snapshot, table, tree
from dvtool.formats.tree import DIRECTORY, FILE, LONG_FILE, SYMLINK, Entry
from dvtool.repo import Repo
from dvtool.storage.disk import temporary_name
from dvtool.store import keys
from dvtool.store.packs import FinishedPack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dvtool.store.segments import Segment

PLANTED: Final = b"planted\n"
"""What forged files hold unless something else is asked for."""
BRANCH: Final = "evil"
"""The branch under which a forged snapshot is published."""
TIME: Final = 1_700_000_000_000_000
"""When forged snapshots were made, in microseconds since 1970 UTC."""

BLOCK: Final = 131072
"""The most that one block of a zstd frame holds (RFC 8878, 3.1.1.2.3)."""


class Frame(NamedTuple):
    """A frame of a pack as it is sealed: kind, id, the bytes before sealing, the length it claims, its flag."""

    kind: int
    identity: bytes
    body: bytes
    raw: int
    compressed: bool = True


class Forger:
    """Writes what it is told into a repository that has everything else in order."""

    def __init__(self, root: str) -> None:
        """Open the repository at ``root``; nothing is part of its store before :meth:`publish` or :meth:`keep`."""
        self.root = root
        self.store = Repo.open(root).workspace.session.store
        self.transaction = self.store.transaction()

    def chunk(self, data: bytes) -> bytes:
        """Store a chunk and return its id."""
        return self.transaction.put_chunk(data)

    def put(self, kind: int, data: bytes) -> bytes:
        """Store any bytes as an object of a kind, under the id that they have, and return that."""
        return self.transaction.put_object(kind, data)

    def file(self, data: bytes = PLANTED) -> Entry:
        """Return the entry of a file of one chunk, which is stored."""
        return Entry(FILE, len(data), self.chunk(data))

    def long_file(self, lengths: Sequence[int], pieces: Sequence[bytes], *, size: int | None = None) -> Entry:
        """Return the entry of a file whose manifest says of each piece that it has the length beside it.

        Args:
            lengths: what is said; in bytes.
            pieces: what is stored.
            size: what manifest and entry say of the whole; by default the sum of ``lengths``.
        """
        identity = self.manifest([self.chunk(piece) for piece in pieces], lengths, size=size)
        return Entry(LONG_FILE, sum(lengths) if size is None else size, identity)

    def link(self, target: bytes) -> Entry:
        """Return the entry of a link."""
        return Entry(SYMLINK, len(target), self.chunk(target))

    def directory(self, names: Sequence[str], entries: Sequence[Entry]) -> Entry:
        """Return the entry of a directory with any names in any order, its totals as they should be."""
        files = sum(entry.files for entry in entries)
        size = sum(entry.size for entry in entries)
        leaf = tree.Leaf(
            names="\0".join(names),
            kinds=bytes(entry.kind for entry in entries),
            sizes=[entry.size for entry in entries],
            ids=b"".join(entry.id for entry in entries),
            counts=[entry.files for entry in entries if entry.kind == DIRECTORY],
            tallies=[],
            here=(),
            totals=tree.Totals(entries=len(names), files=files, size=size),
        )
        return Entry(DIRECTORY, size, self.put(ids.TREE, codec.encode(leaf)), files)

    def inner(self, children: Sequence[tuple[str, Entry]], *, level: int = 1, entries: int = 1) -> Entry:
        """Return the entry of a directory in several nodes, each (last name, what it holds).

        Args:
            children: the nodes one level below.
            level: the level that this node claims.
            entries: how many entries it claims for each of them.
        """
        totals = [tree.Totals(entries=entries, files=entry.files, size=entry.size) for _name, entry in children]
        node = tree.Inner(
            level=level,
            names="\0".join(name for name, _entry in children),
            ids=b"".join(entry.id for _name, entry in children),
            children=totals,
            totals=tree.sum_totals(totals),
        )
        return Entry(DIRECTORY, node.totals.size, self.put(ids.TREE, codec.encode(node)), node.totals.files)

    def doubled(self, levels: int, entry: Entry | None = None) -> Entry:
        """Return a directory of ``levels`` nodes, each naming the next one twice: 2**``levels`` files."""
        found = entry or self.directory(["f"], [self.file()])
        for _level in range(levels):
            found = self.directory(["a", "b"], [found, found])
        return found

    def nested(self, levels: int, *, every: int = 50_000) -> Entry:
        """Return directories in directories, ``levels`` deep; after each ``every`` of them what there is is kept."""
        found = self.directory(["f"], [self.file()])
        for level in range(levels):
            found = self.directory(["d"], [found])
            if level % every == every - 1:
                self.keep()
        return found

    def manifest(
        self, identities: Sequence[bytes], lengths: Sequence[int], *, level: int = 0, size: int | None = None
    ) -> bytes:
        """Store a node of a manifest and return its id; ``size`` is what it claims, by default the sum of lengths."""
        node = manifest.Node(
            level=level,
            ids=b"".join(identities),
            lengths=list(lengths),
            size=sum(lengths) if size is None else size,
        )
        return self.put(ids.MANIFEST, codec.encode(node))

    def snapshot(
        self,
        top: Entry,
        *,
        roots: tuple[str, ...] = ("data",),
        parents: tuple[bytes, ...] = (),
        author: str = "Mallory <mallory@example.org>",
        message: str = "harmless",
        files: int | None = None,
        size: int | None = None,
        settings: tuple[tuple[str, bytes, int], ...] = (),
    ) -> bytes:
        """Store a snapshot whose root is ``top`` and return its id; whatever is not given is as it should be."""
        value = snapshot.Snapshot(
            root=top.id,
            roots=roots,
            parents=parents,
            author=author,
            time=TIME,
            message=message,
            files=top.files if files is None else files,
            size=top.size if size is None else size,
            nonce=bytes(snapshot.NONCE_SIZE),
            settings=settings,
        )
        return self.put(ids.SNAPSHOT, codec.encode(value))

    def publish(self, identity: bytes, branch: str = BRANCH) -> None:
        """Make everything so far part of the store, and ``branch`` name an object of it."""
        move = log.MoveRef(name=f"heads/{branch}", old=None, new=identity)
        self.transaction.commit("forge", lambda _state: [move])
        self.transaction = self.store.transaction()

    def below(self, entries: Iterable[tuple[str, Entry]]) -> Entry:
        """Return the root of a snapshot whose tracked root ``data`` holds these entries."""
        names, found = zip(*entries, strict=True)
        return self.directory(["data"], [self.directory(names, found)])

    def plant(self, entries: Iterable[tuple[str, Entry]]) -> bytes:
        """Publish a snapshot whose tracked root ``data`` holds these entries, and return its id."""
        identity = self.snapshot(self.below(entries))
        self.publish(identity)
        return identity

    def keep(self) -> None:
        """Make everything so far part of the store, named by nothing yet."""
        self.transaction.commit("forge", lambda _state: [])
        self.transaction = self.store.transaction()

    def frames(self, content: int, frames: Sequence[Frame]) -> None:
        """Put a pack of these frames, whatever they claim, among what is published next."""
        self.transaction.adopt([self._seal_pack(content, frames)])

    def frame(self, kind: int, identity: bytes, body: bytes, raw: int, *, compressed: bool = True) -> bytes:
        """Put a pack of one frame among what is published next, and return ``identity``."""
        content = pack.DATA if kind == ids.CHUNK else pack.METADATA
        self.frames(content, [Frame(kind, identity, body, raw, compressed)])
        return identity

    def entry(self, *actions: log.Action, checkpoint: bool = False) -> None:
        """Append an entry of the log with any actions, which no dv would let pass.

        Args:
            actions: what it says.
            checkpoint: let it say that it holds a checkpoint.
        """
        state = self.store.refresh()
        number = state.number + 1
        value = log.Entry(
            version=log.VERSION,
            store=self.store.format.store,
            number=number,
            previous=state.head,
            write=os.urandom(log.WRITE_ID_SIZE),
            time=TIME,
            operation="forge",
            checkpoint=number if checkpoint else state.checkpoint,
            actions=actions,
        )
        name = log.file_name(number)
        store = self.store
        blob = sealed.seal(
            sealed.LOG_ENTRY,
            keys.read_log_key(store.backend, store.format.store, store.secrets.wrap, state.label).key,
            state.label,
            os.urandom(sealed.SALT_SIZE),
            store.format.store + name.encode(),
            codec.encode(value),
        )
        store.backend.create(name, blob)

    def table(self, runs: Sequence[Sequence[tuple[bytes, bytes]]], *, count: int) -> log.Table:
        """Store a table of two levels, its nodes of these pairs, and return what a checkpoint says of it."""
        nodes = [self.put(ids.TABLE, table.encode(0, *_columns(run))) for run in runs]
        root = self.put(ids.TABLE, table.encode(1, [run[-1][0] for run in runs], nodes))
        return log.Table(count=count, root=root)

    def _seal_pack(self, content: int, frames: Sequence[Frame]) -> FinishedPack:
        key = os.urandom(KEY_SIZE)
        sealer = Sealer(key)
        header = pack.encode_header(pack.Header(content=content, store=self.store.format.store, salt=os.urandom(32)))
        bodies = [
            sealer.seal(number, frame.body, pack.associated(header, number)) for number, frame in enumerate(frames)
        ]
        footer = pack.Footer(
            ids=b"".join(frame.identity for frame in frames),
            flags=bytes(frame.kind | (pack.COMPRESSED if frame.compressed else 0) for frame in frames),
            stored=array("I", map(len, bodies)),
            raw=array("I", (frame.raw for frame in frames)),
        )
        end = sealer.seal(pack.FOOTER_NUMBER, pack.encode_footer(footer), pack.associated(header, pack.FOOTER_NUMBER))
        data = b"".join((header, *bodies, end, len(end).to_bytes(4, "little")))
        data += digest.accident(data)
        path = f"{self.store.backend.workspace()}/{temporary_name()}"
        self.store.disk.write(path, data)
        return FinishedPack(
            path=path,
            name=digest.sealed_name(data),
            key=key,
            content=content,
            size=len(data),
            ids=footer.ids,
            flags=footer.flags,
            stored=array("I", footer.stored).tobytes(),
            raw=array("I", footer.raw).tobytes(),
        )


def forge_index(
    root: str,
    segment: Segment,
    *,
    record: Callable[[index.Location], index.Location] = lambda location: location,
    entry: Callable[[index.PackEntry], index.PackEntry] = lambda entry: entry,
) -> None:
    """Seal an index file anew, with its own key, after changing its records and what it says of packs.

    Args:
        root: the repository.
        segment: one of its store's.
        record: returns what is said of a frame instead.
        entry: returns what is said of a pack instead.
    """
    found = [index.unpack(each) for each in segment.index.records()]
    records = [index.record(identity, record(location)) for identity, location in found]
    packs = [entry(each) for each in segment.index.directory.packs]
    store = Repo.open(root).workspace.session.store
    data = index.encode(store.format.store, segment.keys.index, os.urandom(32), packs, records)
    store.backend.replace(segment.description.index, data)


def zstd_frame(holds: int, *, claims: int | None, window: int | None = None) -> bytes:
    """Return a zstd frame (RFC 8878) of zeros, a few bytes for each 128 KiB of them.

    Args:
        holds: how many bytes it inflates to.
        claims: the content size in its header; None leaves it out.
        window: the logarithm of the window that it asks for, from 10 to 41.  By default its content is its window
            if it claims a size, and else 128 KiB.
    """
    single = window is None and claims is not None
    descriptor = (0x20 if single else 0) | (0xC0 if claims is not None else 0)
    header = b"\x28\xb5\x2f\xfd" + bytes([descriptor])
    if not single:
        header += bytes([((window or 17) - 10) << 3])
    if claims is not None:
        header += claims.to_bytes(8, "little")
    sizes = [*itertools.repeat(BLOCK, holds // BLOCK), holds % BLOCK]
    blocks = []
    for number, size in enumerate(sizes):
        last = number == len(sizes) - 1
        blocks.append((size << 3 | 1 << 1 | last).to_bytes(3, "little") + b"\0")  # RLE: one byte, repeated
    return header + b"".join(blocks)


def _columns(run: Sequence[tuple[bytes, bytes]]) -> tuple[list[bytes], list[bytes]]:
    return [key for key, _value in run], [value for _key, value in run]
