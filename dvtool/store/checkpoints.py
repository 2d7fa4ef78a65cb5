"""Writes checkpoints: entries from which a reader can start, with index and key files merged in levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.crypto import KEY_SIZE
from dvtool.errors import ConflictError, IntegrityError, NotFoundError
from dvtool.formats import index, keyfile, log
from dvtool.storage import pieces
from dvtool.store import joining, keys, tables
from dvtool.store.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import msgspec

    from dvtool.store.segments import Segment
    from dvtool.store.state import Overlay, State
    from dvtool.store.store import Store


def is_due(state: State, *, soon: bool = False) -> bool:
    """Return whether enough entries have been appended since the last checkpoint, or ``soon`` any at all."""
    return (soon or state.since_checkpoint >= log.CHECKPOINT_EVERY) and not state.lock


class _OvertakenError(ConflictError):
    """Another writer appended an entry while the checkpoint was made."""


def _refuse_overtaken(current: State, number: int) -> None:
    if current.number != number:
        raise _OvertakenError("another writer was faster")


def write(
    store: Store,
    *,
    operation: str = "checkpoint",
    without: AbstractSet[bytes] = frozenset(),
    more: Callable[[State], list[log.Action]] = lambda _state: [],
    merge: bool = True,
    renew: Callable[[Sequence[Segment]], tuple[list[log.Segment], list[str]]] | None = None,
    label: bytes = b"",
    sections: Mapping[str, msgspec.Raw] | None = None,
) -> bool:
    """Append a checkpoint of the store as it is now and return True; False when another writer was faster.

    Files merged away are condemned in the same entry and destroyed by garbage collection alone, because another
    process may still be reading them.

    Args:
        store: the store.
        operation: the word for the operation log.
        without: packs (their names) that index and key files no longer list from here on.
        more: returns what else the entry does, after the checkpoint.
        merge: write index and key files anew where that is due; without it none of them is read.
        renew: does something else with index and key files; is handed the segments, oldest first, and returns those
            from here on and the files given up.
        label: the log key to seal under from this entry on, if it is to be another.
        sections: what else the entry says.

    Raises:
        ConflictError: whatever ``more`` raises, or because an erasure is under way.
        StorageError: when the disk refuses; the store is as it was.
    """
    state = store.refresh()
    segments = list(store.segments.live())[::-1]  # of this very state
    number = state.number

    def table(overlay: Overlay, transaction: Transaction) -> log.Table:
        if not overlay.changes and overlay.table.root:
            return overlay.table
        return tables.build(overlay.items(), store.secrets.split, transaction)

    try:
        with Transaction(store) as transaction:
            checkpoint = {name: table(getattr(state, name), transaction) for name in log.TABLES}
            kept, condemned = [segment.description for segment in segments], list[str]()
            if renew is not None:
                kept, condemned = renew(segments)
            elif merge:
                kept, condemned = _merge(store, segments, without)
            new = transaction.write_only()

            def build(current: State) -> list[log.Action]:
                _refuse_overtaken(current, number)
                return [
                    log.Checkpoint(
                        segments=tuple(kept),
                        lock=current.lock,
                        writes=tuple(current.writes),
                        condemn=tuple(sorted(condemned)),
                        **checkpoint,
                    ),
                    *new,  # after the checkpoint, which would else forget the packs of its own tables
                    *more(current),
                ]

            store.log.append(operation, build, sections={**state.sections, **(sections or {})}, label=label)
    except _OvertakenError:
        return False
    except (IntegrityError, NotFoundError):
        if store.refresh().number == number:
            raise
        return False  # a collection that waits for no grace was faster, and has deleted what was being read
    store.refresh()
    return True


def _merge(
    store: Store, segments: Sequence[Segment], without: AbstractSet[bytes]
) -> tuple[list[log.Segment], list[str]]:
    """Write index and key files anew where that is due; return the segments from here on and the files given up.

    Args:
        store: the store.
        segments: oldest first.
        without: packs that are no longer listed.
    """
    keep = first_to_merge([segment.description.records for segment in segments])
    tail = segments[keep:]
    groups = [[segment] for segment in segments[:keep]]
    groups += [list(tail)] if _agree(tail) else [[segment] for segment in tail]
    kept: list[log.Segment] = []
    condemned: list[str] = []
    for group in groups:
        if len(group) == 1 and not any(entry.name in without for entry in group[0].index.directory.packs):
            kept += [segment.description for segment in group]
            continue
        joined = _join(store, group, without)
        kept += [joined] if joined is not None else []
        for segment in group:
            condemned += [segment.description.keys, segment.description.index]
    return kept, condemned


def first_to_merge(records: list[int]) -> int:
    """Return where the run of segments to merge begins, oldest first; each kept one is over twice all that follow.

    So an index of a million ids is not written anew for each small commit, and there are at most about twenty, however
    many came since the last checkpoint.
    """
    after = sum(records)
    for start, count in enumerate(records):
        after -= count
        if count <= 2 * after:
            return start
    return max(0, len(records) - 1)


def _agree(segments: Sequence[Segment]) -> bool:
    """Return whether no two segments hold different sections of one name, which only who knows them could join."""
    of_index = joining.together([segment.index.directory.sections for segment in segments])
    of_keys = joining.together([segment.keys.sections for segment in segments])
    return of_index is not None and of_keys is not None


def _join(store: Store, segments: Sequence[Segment], without: AbstractSet[bytes]) -> log.Segment | None:
    """Put one index file and one key file, not yet durable, that say what those of ``segments`` do.

    Returns:
        what the log is to say of them, or None when no pack is left of them; nothing is written then.

    Raises:
        IntegrityError: when an index or key file is damaged, or what it says cannot be.
        StorageError: when the disk refuses.
    """
    packs = [entry for segment in segments for entry in segment.index.directory.packs if entry.name not in without]
    if not packs:
        return None
    pack_keys = {name: key for segment in segments for name, key in segment.keys.packs.items() if name not in without}
    entropy = store.entropy
    key = entropy.bytes(KEY_SIZE)
    key_name = f"keys/{entropy.bytes(16).hex()}"
    index_name = f"index/{entropy.bytes(16).hex()}"
    key_file = keyfile.KeyFile(
        packs=pack_keys, index=key, sections=joining.together([segment.keys.sections for segment in segments]) or {}
    )
    keys.write_key_file(store.backend, store.format.store, store.secrets.wrap, key_name, key_file, entropy)
    of_index = joining.together([segment.index.directory.sections for segment in segments])
    count = 0

    def pages() -> Iterator[bytes]:
        nonlocal count
        for page in index.paged(joining.merged(segments, without)):
            count += len(page) // index.RECORD_SIZE
            yield page

    salt = entropy.bytes(32)
    written = index.pieces(store.format.store, key, salt, packs, pages(), of_index)
    pieces.put(store.backend, store.disk, index_name, written)
    return log.Segment(keys=key_name, index=index_name, records=count, packs=len(packs))
