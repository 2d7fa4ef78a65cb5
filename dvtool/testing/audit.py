"""A complete check of a store, for tests: everything every ref reaches is read and compared with its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dvtool import digest, ids
from dvtool.errors import IntegrityError
from dvtool.formats import clone, erasure, hold, log, pack, run, snapshot, stage, tree
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.history import graph
from dvtool.store import manifests
from dvtool.store.trees import Trees

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.store.packs import PackReader
    from dvtool.store.store import Store


class Audit(NamedTuple):
    """What a store has: refs by name, snapshots (and the like) with their files, and how many frames were read."""

    refs: dict[str, bytes]
    snapshots: dict[bytes, dict[str, bytes]]
    frames: int


def audit(store: Store) -> Audit:
    """Read everything in a store and return what it holds.

    Raises:
        DvError: at the first thing that is missing, damaged or not what it should be.
    """
    state = store.refresh()
    refs = dict(state.ref_names(""))
    snapshots: dict[bytes, dict[str, bytes]] = {}
    pending = []
    for name, value in refs.items():
        if name.startswith(f"{log.ERASURES}/"):
            erasure.decode(store.read_object(ids.ERASURE, value))
        elif name.startswith(f"{log.CLONES}/"):
            clone.check_name(name, clone.decode(store.read_object(ids.CLONE, value)))
        elif log.symbolic(value) is None:
            pending.append(value)
    while pending:
        identity = pending.pop()
        if identity in snapshots:
            continue
        found = root_of(store, identity)
        snapshots[identity] = dict(files(store, found[0]))
        pending += found[1]
    return Audit(refs=refs, snapshots=snapshots, frames=scrub(store))


def files(store: Store, root: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of every file and link below a tree, and (path + "/", b"") of every directory.

    Of ``b""``, which is no tree, nothing.
    """
    for path, entry in Trees(store).walk(root) if root else ():
        if entry.kind == DIRECTORY:
            yield path + "/", b""
        elif entry.kind != tree.ERASED:
            yield path, content(store, entry)


def content(store: Store, entry: Entry) -> bytes:
    """Return the content of a file or link, read frame by frame.

    Raises:
        IntegrityError: when it is damaged.
    """
    if entry.kind in tree.LONG:
        data = b"".join(
            store.read_object(ids.CHUNK, chunk) for chunk, _length in manifests.chunks_of(store, entry.id, entry.size)
        )
    else:
        data = store.read_object(ids.CHUNK, entry.id) if entry.size else b""
    if len(data) != entry.size:
        raise IntegrityError("a file has another length than its directory says", where=entry.id.hex())
    return data


def scrub(store: Store) -> int:
    """Read every byte of every index file and pack that the log names, and return the number of frames.

    Names, trailers, footers, records and ids are all held against each other.

    Raises:
        DvError: at the first that does not fit.
    """
    total = 0
    for segment in store.segments.live():
        count = 0
        segment.index.verify()
        packs = segment.index.directory.packs
        readers = [segment.pack(position) for position in range(len(packs))]
        for entry, reader in zip(packs, readers, strict=True):
            _scrub_pack(store, reader, entry.name)
        for identity, location in segment.index.between(bytes(ids.ID_SIZE), b"\xff" * ids.ID_SIZE):
            data = readers[location.pack].read(identity, location)
            if store.hasher.id(location.flags & pack.KIND_MASK, data) != identity:
                raise IntegrityError("a frame holds something else", where=identity.hex())
            count += 1
        if count != len(segment.index):
            raise IntegrityError("an index file holds another number of records than it says")
        total += count
    return total


def _scrub_pack(store: Store, reader: PackReader, name: bytes) -> None:
    data = store.backend.read(reader.file)
    if digest.sealed_name(data) != name or digest.accident(data[: -pack.TRAILER_SIZE]) != data[-16:]:
        raise IntegrityError("a pack is not what its name says", where=reader.file)
    reader.footer()


def root_of(store: Store, identity: bytes) -> tuple[bytes, list[bytes]]:
    """Return the tree that a snapshot, a stage or a run names, and what else it leads to; b"" of a hold."""
    found = store.segments.find(identity)
    if found is None:
        raise IntegrityError("a ref or snapshot leads to something that is not in the store", where=identity.hex())
    kind = found[1].flags & pack.KIND_MASK
    data = store.read_object(kind, identity)
    if kind == ids.STAGE:
        staged = stage.decode(data)
        return staged.tree, list(staged.merging)
    if kind == ids.RUN:
        computed = run.decode(data)
        return computed.tree, graph.standing(run.names_of(computed), store.state.standing)
    if kind == ids.HOLD:
        hold.decode(data)
        return b"", []
    recorded = snapshot.decode(data)
    for _name, chunk, size in recorded.settings:
        if len(store.read_object(ids.CHUNK, chunk)) != size:
            raise IntegrityError("a setting has another length than its snapshot says")
    return recorded.root, graph.standing(recorded.parents, store.state.standing)
