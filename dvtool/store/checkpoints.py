"""Writes checkpoints: entries from which a reader can start, with index and key files merged in levels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from dvtool.crypto import KEY_SIZE
from dvtool.errors import ConflictError
from dvtool.formats import index, keyfile, log
from dvtool.storage.disk import temporary_name
from dvtool.store import joining, keys, tables
from dvtool.store.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dvtool.store.segments import Segment
    from dvtool.store.state import Overlay, State
    from dvtool.store.store import Store

_WRITE_SIZE: Final = 1024 * 1024


def is_due(state: State) -> bool:
    """Return whether enough entries have been appended since the last checkpoint."""
    return state.since_checkpoint >= log.CHECKPOINT_EVERY and not state.lock


def write(store: Store) -> None:
    """Append a checkpoint of the store as it is now; give up quietly when another writer was faster.

    Files merged away are condemned in the same entry and destroyed by garbage collection alone, because another
    process may still be reading them.

    Raises:
        StorageError: when the disk refuses; the store is as it was.
    """
    state = store.refresh()  # the segments below must be those of the same entry
    number = state.number
    with Transaction(store) as transaction:

        def table(overlay: Overlay) -> log.Table:
            if not overlay.changes and overlay.table.root:
                return overlay.table
            return tables.build(overlay.items(), store.secrets.split, transaction)

        checkpoint = {name: table(getattr(state, name)) for name in log.TABLES}
        segments = list(store.segments.live())[::-1]
        keep = first_to_merge([segment.description.records for segment in segments])
        tail = segments[keep:]
        kept = [segment.description for segment in segments[:keep]]
        condemned: list[str] = []
        joined = _join(store, tail) if len(tail) > 1 else None
        if joined is not None:
            kept.append(joined)
            for segment in tail:
                condemned += [segment.description.keys, segment.description.index]
        else:
            kept += [segment.description for segment in tail]
        new = transaction.write_only()

        def build(current: State) -> list[log.Action]:
            if current.number != number:
                raise ConflictError("another writer was faster")
            return [
                log.Checkpoint(
                    segments=tuple(kept),
                    lock=current.lock,
                    writes=tuple(current.writes),
                    condemn=tuple(sorted(condemned)),
                    **checkpoint,
                ),
                *new,  # after the checkpoint, which would else forget the packs of its own tables
            ]

        try:
            store.log.append("checkpoint", build, sections=state.sections)
        except ConflictError:
            return
    store.refresh()


def first_to_merge(records: list[int]) -> int:
    """Return where the run of segments to merge begins, oldest first; each level is at least twice the next.

    So an index of a million ids is not written anew for each small commit, and there are at most about twenty.
    """
    start = len(records)
    total = 0
    for i in range(len(records) - 1, -1, -1):
        if total and records[i] > 2 * total:
            break
        total += records[i]
        start = i
    return start


def _join(store: Store, segments: Sequence[Segment]) -> log.Segment | None:
    """Put one index file and one key file, not yet durable, that say what those of ``segments`` do.

    Returns:
        what the log is to say of them, or None when the segments hold different sections of one name, which only a
        program that knows these could bring together; nothing is written then.

    Raises:
        IntegrityError: when an index or key file is damaged, or what it says cannot be.
        StorageError: when the disk refuses.
    """
    of_index = joining.together([segment.index.directory.sections for segment in segments])
    of_keys = joining.together([segment.keys.sections for segment in segments])
    if of_index is None or of_keys is None:
        return None
    packs: list[index.PackEntry] = []
    pack_keys: dict[bytes, bytes] = {}
    for segment in segments:
        packs.extend(segment.index.directory.packs)
        pack_keys.update(segment.keys.packs)
    entropy = store.entropy
    key = entropy.bytes(KEY_SIZE)
    key_name = f"keys/{entropy.bytes(16).hex()}"
    index_name = f"index/{entropy.bytes(16).hex()}"
    key_file = keyfile.KeyFile(packs=pack_keys, index=key, sections=of_keys)
    keys.write_key_file(store.backend, store.format.store, store.secrets.wrap, key_name, key_file, entropy)
    salt = entropy.bytes(32)
    pages = index.paged(joining.merged(segments))
    _put(store, index_name, index.pieces(store.format.store, key, salt, packs, pages, of_index))
    count = sum(len(segment.index) for segment in segments)
    return log.Segment(keys=key_name, index=index_name, records=count, packs=len(packs))


def _put(store: Store, name: str, pieces: Iterable[bytes]) -> None:
    """Write a file of the store piece by piece."""
    path = f"{store.backend.workspace()}/{temporary_name()}"
    descriptor = store.disk.open_new(path)
    try:
        try:
            waiting = bytearray()
            for piece in pieces:
                waiting += piece
                if len(waiting) >= _WRITE_SIZE:
                    store.disk.append(descriptor, path, bytes(waiting))
                    waiting = bytearray()
            store.disk.append(descriptor, path, bytes(waiting))
        finally:
            os.close(descriptor)
        store.backend.adopt(path, name)
    except BaseException:
        store.disk.unlink(path)
        raise
