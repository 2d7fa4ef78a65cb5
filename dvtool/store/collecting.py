"""Takes garbage out of a store: writes packs anew without it, condemns, drops and deletes by entries of the log.

Nothing is deleted that an entry has not dropped, and nothing dropped that an earlier entry has not condemned: see the
rules in ``docs/format/log.md``.  Which objects are needed is for the caller to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool import ids
from dvtool.errors import ConflictError, DvError, IntegrityError
from dvtool.formats import index, log, pack
from dvtool.formats.index import Location
from dvtool.store import checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dvtool.storage.backend import Backend, Purged
    from dvtool.store.segments import Segment
    from dvtool.store.state import State
    from dvtool.store.store import Store
    from dvtool.store.transaction import Transaction

OPERATION: Final = "gc"
ATTEMPTS: Final = 20
"""Lost races of an entry with a checkpoint before giving up; each one costs building it anew."""
SLICE: Final = 8 * 1024 * 1024
"""Bytes of a pack read at once."""


def copy(transaction: Transaction, segment: Segment, position: int, needs: Callable[[bytes], bool]) -> int:
    """Write the needed objects of a pack into packs of the transaction, in the order they have, and count them.

    Args:
        transaction: takes the copies.
        segment: the index file that lists the pack.
        position: the pack's place in it.
        needs: says of an id whether this pack's copy of the object is needed.

    Raises:
        IntegrityError: when the pack is missing or one of these objects is damaged; then nothing is collected.
    """
    store = transaction.store
    reader = segment.pack(position)
    footer = reader.footer()
    view = store.backend.view(reader.file)
    offset = pack.HEADER_SIZE
    start, window = 0, memoryview(b"")
    copied: set[bytes] = set()
    for number, (flags, stored, raw) in enumerate(zip(footer.flags, footer.stored, footer.raw, strict=True)):
        identity = footer.ids[number * ids.ID_SIZE : (number + 1) * ids.ID_SIZE]
        if identity not in copied and needs(identity):
            at = offset - start
            if at + stored > len(window):
                start, window, at = offset, memoryview(bytes(view[offset : offset + max(SLICE, stored)])), 0
            location = Location(position, number, offset, stored, index.pack_raw_flags(raw, flags))
            packed = reader.packed(identity, location, window[at : at + stored])
            if store.hasher.id(flags & pack.KIND_MASK, reader.unpacked(identity, location, packed)) != identity:
                raise IntegrityError(
                    f"pack {reader.file[6:22]} is damaged",
                    where=f"{reader.file}, object {identity.hex()[:16]}",
                    why="its bytes do not have the id under which they are stored",
                    next="run 'dv fsck' to see what is damaged; nothing was removed",
                )
            transaction.copy_packed(flags, identity, packed, raw)
            copied.add(identity)
        offset += stored
    return len(copied)


def record(
    store: Store,
    transaction: Transaction,
    erasures: list[tuple[bytes, bytes]],
    *,
    condemn: frozenset[str] = frozenset(),
    drop: frozenset[str] = frozenset(),
    operation: str = OPERATION,
) -> None:
    """Append the entry that adds what was copied, condemns files and drops others.

    Args:
        store: the store.
        transaction: what was copied.
        erasures: the log's table of erasures when the store was marked.
        condemn: files that hold nothing which is needed and was not copied.
        drop: the same of files that were condemned already when the store was marked.
        operation: the word for the operation log.

    Raises:
        ConflictError: when an erasure is under way or came in between, or others write all the time.
    """
    added = transaction.write_only()

    def actions(current: State) -> list[log.Action]:
        if added and current.erasures.items() != erasures:
            raise ConflictError(
                "an erasure came while garbage was collected",
                why="what was written anew may hold what was erased",
                next="run the command again",
            )
        condemned = tuple(sorted(name for name in condemn if not current.is_doomed(name)))
        dropped = tuple(sorted(name for name in drop if current.condemned.get(name.encode()) is not None))
        found: list[log.Action] = [*added]
        found += [log.Condemn(names=condemned)] if condemned else []
        found += [log.Drop(names=dropped)] if dropped else []
        return found

    gone = frozenset(bytes.fromhex(name.removeprefix("packs/")) for name in drop if name.startswith("packs/"))
    if not gone:
        store.log.append(operation, actions)
        store.refresh()
        return
    for _attempt in range(ATTEMPTS):
        if checkpoints.write(store, operation=operation, without=gone, more=actions):
            return
    raise ConflictError(
        "packs could not be taken out of the log while others write all the time",
        next="run the command again when fewer are at work; nothing was lost",
    )


def delete(backend: Backend, names: Iterable[str]) -> dict[str, Purged]:
    """Delete dropped files; those that stay because the disk refuses are deleted by the next collection.

    Where a place keeps versions all of them go.

    Returns:
        the files of which the place still has something, and why.

    Raises:
        StorageError, IntegrityError: that of the first that does not go, when all others are gone.
    """
    failed: DvError | None = None
    left: dict[str, Purged] = {}
    for name in sorted(names):
        try:
            if not backend.abilities.versions:
                backend.delete(name)
            elif (found := backend.purge(name)).left:
                left[name] = found
        except DvError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return left
