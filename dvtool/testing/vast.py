"""A distant store of any size, of which only the metadata is real: to count what a command asks of it.

The packs with the data of everybody else have names, sizes, keys and records in the index files, as they would have,
but no bytes: whoever reads one is told.

``python -m dvtool.testing.vast`` prints what an erasure asks of such stores.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.crypto import KEY_SIZE, TAG_SIZE
from dvtool.effects import Silence, SystemClock, SystemEntropy
from dvtool.erasure import asking, targets
from dvtool.erasure.steps import Steps
from dvtool.errors import NotFoundError
from dvtool.formats import erasure, index, keyfile, log, pack, snapshot
from dvtool.formats.tree import FILE, Entry
from dvtool.storage.backend import Listed, Purged
from dvtool.storage.disk import Disk
from dvtool.storage.inventory import Inventory, Ranges
from dvtool.storage.memory import MemoryBackend
from dvtool.storage.mirror import Mirror
from dvtool.store import erasing
from dvtool.store.editing import Editor
from dvtool.store.store import Store
from dvtool.store.transaction import write_segment
from dvtool.testing.stores import make_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dvtool.effects import View

FRAME: Final = pack.FRAME_LIMIT
"""Bytes of a file in it, each one frame."""
FRAMES: Final = 4
"""Frames of a pack: as many as come to the size that packs with data aim at."""
PAGE: Final = 1000
"""Names that a request for a list returns, as with S3."""
TOGETHER: Final = 1024
"""Packs that one entry of the log adds."""


class VastBackend(MemoryBackend):
    """A place that counts requests and bytes, and has files that are nothing but a size."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.hollow: dict[str, int] = {}
        """Files without bytes, and their sizes."""
        self.requests: Counter[str] = Counter()
        """Requests so far, by kind."""
        self.received = 0
        """Bytes that were read."""
        self.sent = 0
        """Bytes that were written."""

    def start(self) -> None:
        """Count from here on."""
        self.requests.clear()
        self.received = self.sent = 0

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of ``name``."""
        self._refuse_hollow(name)
        found = super().read(name, offset, length)
        self.requests["read"] += 1
        self.received += len(found)
        return found

    def view(self, name: str) -> View:  # type: ignore[override]
        """Return the bytes of ``name``, each slice by one request."""
        return Ranges(self, name, self.size(name))

    def size(self, name: str) -> int:
        """Return the length of ``name`` in bytes."""
        self.requests["head"] += 1
        return self._size(name)

    def exists(self, name: str) -> bool:
        """Return whether there is something at ``name``."""
        self.requests["head"] += 1
        return name in self.hollow or super().exists(name)

    def names(self, directory: str) -> Iterator[str]:
        """Yield the names right below ``directory``."""
        yield from (each.name for each in self.listed(directory))

    def listed(self, directory: str, *, after: str = "", most: int = 0) -> Iterator[Listed]:
        """Yield the files right below ``directory``, in order of name; a request for each thousand."""
        prefix = f"{directory}/"
        everything = (name.removeprefix(prefix) for name in (*self.blobs, *self.hollow) if name.startswith(prefix))
        found = sorted(name for name in everything if name > after and "/" not in name)
        found = found[:most] if most else found
        self.requests["list"] += max(1, -(-len(found) // PAGE))
        for name in found:
            yield Listed(name, self._size(prefix + name), 0)

    def create(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name`` if nothing is there."""
        self._count_sent(len(data))
        super().create(name, data)

    def put(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name``."""
        self._count_sent(len(data))
        super().put(name, data)

    def replace(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name``."""
        self._count_sent(len(data))
        super().replace(name, data)

    def adopt(self, path: str, name: str) -> None:
        """Take the finished file at ``path`` as ``name``."""
        super().adopt(path, name)
        self._count_sent(len(self.blobs[name]))

    def delete(self, name: str) -> None:
        """Remove ``name``."""
        self.requests["delete"] += 1
        self.hollow.pop(name, None)
        super().delete(name)

    def purge(self, name: str, *, older: bool = False) -> Purged:
        """Remove ``name``: a request that lists its versions, one that removes them, and one that looks again."""
        self.requests["purge"] += 3
        there = name in self.hollow or name in self.blobs
        if not older:
            self.hollow.pop(name, None)
            self.blobs.pop(name, None)
        return Purged(versions=int(there and not older))

    def _count_sent(self, size: int) -> None:
        self.requests["write"] += 1
        self.sent += size

    def _size(self, name: str) -> int:
        hollow = self.hollow.get(name)
        return hollow if hollow is not None else len(self._blob(name))

    def _refuse_hollow(self, name: str) -> None:
        if name in self.hollow:
            raise NotFoundError("a pack was read that holds nothing of what it is about", where=name)


def add_hollow(store: Store, backend: VastBackend, count: int) -> list[bytes]:
    """Make packs without bytes part of a store, and return the ids of their chunks.

    Args:
        store: the store.
        backend: its place.
        count: how many packs, of 64 MiB.
    """
    entropy = store.entropy
    made: list[bytes] = []
    for start in range(0, count, TOGETHER):
        entries: list[index.PackEntry] = []
        records: list[bytes] = []
        for at in range(min(TOGETHER, count - start)):
            stored = FRAME + TAG_SIZE
            size = pack.HEADER_SIZE + FRAMES * stored + 4 + FRAMES * (ids.ID_SIZE + 9) + TAG_SIZE + pack.TAIL_SIZE
            entry = index.PackEntry(
                name=entropy.bytes(ids.ID_SIZE), content=pack.DATA, size=size, frames=FRAMES, raw=FRAMES * FRAME
            )
            entries.append(entry)
            backend.hollow[pack.file_name(entry.name)] = size
            for number in range(FRAMES):
                identity = entropy.bytes(ids.ID_SIZE)
                made.append(identity)
                flags = index.pack_raw_flags(FRAME, ids.CHUNK)
                offset = pack.HEADER_SIZE + number * stored
                records.append(index.record(identity, index.Location(at, number, offset, stored, flags)))
        held = keyfile.KeyFile(packs={entry.name: entropy.bytes(KEY_SIZE) for entry in entries}, index=b"")
        action: log.Action = write_segment(
            backend, store.format.store, store.secrets.wrap, entropy, packs=entries, records=records, held=held
        )
        store.log.append("vast", lambda _state, action=action: [action])  # type: ignore[misc]
        store.refresh()
    return made


def commit(
    store: Store, parent: bytes | None, files: Mapping[str, Mapping[str, bytes]], hollow: Mapping[str, Sequence[bytes]]
) -> bytes:
    """Record a snapshot on the branch ``main``, and return its id.

    Args:
        store: the store.
        parent: the snapshot before, whose files stay.
        files: by directory and name, files and what is in them.
        hollow: by directory, the ids of chunks without bytes, each a file.
    """
    with store.transaction() as transaction:
        editor = Editor(transaction, store.secrets.split)
        before = snapshot.decode(store.read_object(ids.SNAPSHOT, parent)).root if parent is not None else None
        changes: dict[str, dict[str, Entry | None]] = {
            directory: {f"{at:06}.bin": Entry(FILE, FRAME, identity) for at, identity in enumerate(found)}
            for directory, found in hollow.items()
        }
        for directory, named in files.items():
            changes.setdefault(directory, {}).update(
                {name: Entry(FILE, len(data), transaction.put_chunk(data)) for name, data in named.items()}
            )
        root = editor.apply(before, changes)
        totals = editor.trees.totals(root)
        new = snapshot.Snapshot(
            root=root,
            roots=("data",),
            parents=(parent,) if parent is not None else (),
            author="Vast <vast@example.org>",
            time=store.clock.now(),
            message="vast",
            files=totals.files,
            size=totals.size,
            nonce=store.entropy.bytes(snapshot.NONCE_SIZE),
        )
        identity = transaction.put_object(ids.SNAPSHOT, snapshot.encode(new))
        move = log.MoveRef(name="heads/main", old=parent, new=identity)
        transaction.commit("vast", lambda _state: [move])
    return identity


PERSON: Final = "data/people/p17"
"""Whose files are erased."""
DIRECTORIES: Final = 256


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure asked of a place: requests by kind, bytes; and what it had to do there."""

    stored: int
    requests: dict[str, int]
    received: int
    sent: int
    snapshots: int
    rewritten: int
    """Bytes of packs that were written anew."""
    gone: int
    """Packs that went."""
    metadata: int
    """Bytes of index and key files."""


def opened(backend: VastBackend, copies: str) -> Store:
    """Return the store at a place as a remote is opened, with an empty directory for copies of its metadata."""
    return Store(Mirror(Inventory(backend), copies, Disk()), clock=SystemClock(), entropy=SystemEntropy())


def build(copies: str, packs: int, snapshots: int) -> VastBackend:
    """Return a store of hollow packs, and of some small files of people in each of some snapshots."""
    backend = make_store(VastBackend(), SystemEntropy())
    store = opened(backend, copies)
    chunks = add_hollow(store, backend, packs)
    each = max(1, len(chunks) // DIRECTORIES)
    hollow = {f"data/many/{at:03}": chunks[at * each : (at + 1) * each] for at in range(DIRECTORIES)}
    parent = None
    for number in range(snapshots):
        scans = {f"data/people/p{who}": {"scan.bin": f"{who} at {number}".encode() * 400} for who in (17, 18)}
        parent = commit(store, parent, scans, hollow if parent is None else {})
    return backend


def erase(backend: VastBackend, copies: str) -> Asked:
    """Erase a person at a place, as is done at a remote, and return what was asked of it."""
    store = opened(backend, copies)
    backend.start()
    request = asking.Request(
        erasure=store.entropy.bytes(ids.SHORT_SIZE),
        key=store.entropy.bytes(KEY_SIZE),
        targets=targets.Targets(patterns=(PERSON,)),
        copies="keep",
    )
    steps = Steps(store, request, Silence(), certified=lambda record, *_words: record)
    plan = steps.plan()
    planned = steps.announce(plan)
    steps.commit(planned, plan)
    erasing.destroy(store)
    steps.finish(planned, (erasure.Place(name="there", done=True),), keep=False)
    files = {**backend.hollow, **{name: len(blob) for name, blob in backend.blobs.items()}}
    return Asked(
        stored=sum(files.values()),
        requests=dict(backend.requests),
        received=backend.received,
        sent=backend.sent,
        snapshots=len(plan.snapshots),
        rewritten=sum(use.kept for use in plan.rewrite),
        gone=len(plan.gone),
        metadata=sum(size for name, size in files.items() if name.startswith(("index/", "keys/"))),
    )


def main(sizes: Sequence[int] = (64, 1024, 16384)) -> None:
    """Print what it takes to erase a person's file, in each of 20 snapshots, from stores of so many packs."""
    line = "| {:>10} | {:>8} | {:>12} | {:>10} | {:>15} | {:>10} |\n"
    sys.stdout.write(line.format("stored", "requests", "received", "sent", "written anew", "packs gone"))
    for packs in sizes:
        with tempfile.TemporaryDirectory() as place:
            asked = erase(build(f"{place}/made", packs, snapshots=20), f"{place}/copies")
        told = [f"{size / 2**20:,.1f} MiB" for size in (asked.received, asked.sent, asked.rewritten)]
        requests = sum(asked.requests.values())
        sys.stdout.write(line.format(f"{asked.stored / 2**30:,.0f} GiB", requests, *told, asked.gone))


if __name__ == "__main__":
    main()
