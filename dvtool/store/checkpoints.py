"""Writes checkpoints: entries from which a reader can start, with index and key files merged in levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.errors import ConflictError
from dvtool.formats import log
from dvtool.store import tables
from dvtool.store.segments import merge
from dvtool.store.transaction import Transaction, write_segment

if TYPE_CHECKING:
    from dvtool.store.state import Overlay, State
    from dvtool.store.store import Store


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
        if len(tail) > 1:
            packs, records, pack_keys = merge(tail)
            added = write_segment(store, packs, records, pack_keys)
            kept.append(log.Segment(keys=added.keys, index=added.index, records=len(records), packs=len(packs)))
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
