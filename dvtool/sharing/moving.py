"""Moves packs between two stores of a repository: whole as they are, or what is needed of them in new ones.

A pack is named by the hash of its bytes, and the log of the store that it comes from vouches for the name.  So one that
moved whole is verified by its name and by opening its footer; what is taken out of a pack is opened frame by frame.
"""

from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final

from dvtool import digest
from dvtool.errors import IntegrityError, NotFoundError
from dvtool.formats import pack
from dvtool.storage.disk import temporary_name
from dvtool.storage.local import LocalBackend
from dvtool.storage.mirror import mirror_of
from dvtool.storage.wrapping import Wrapper
from dvtool.store import scrub
from dvtool.store.packs import PackReader, missing
from dvtool.store.segments import wrong
from dvtool.store.transaction import SPAN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dvtool.effects import Progress
    from dvtool.formats.index import Location
    from dvtool.history.marking import Marks, PackUse
    from dvtool.store.packs import FinishedPack
    from dvtool.store.segments import Segment
    from dvtool.store.store import Store
    from dvtool.store.transaction import Transaction

WHOLE: Final = 4
"""A pack moves whole when at most one byte in so many of it is not needed."""
SMALL: Final = 16
"""A pack is small when it has less than its target divided by this; several small ones are written together."""
THREADS: Final = 4
"""Packs that are received at the same time."""
PIECE: Final = 8 * 1024 * 1024
"""Bytes of a pack that are asked for at once."""
GAP: Final = 512 * 1024
"""Bytes between two frames that are read along, because another request would take longer."""
_TARGETS: Final = {pack.DATA: pack.DATA_TARGET, pack.METADATA: pack.METADATA_TARGET}


class Shipment:
    """What is to move: packs that move whole, and packs of which something is copied."""

    def __init__(self, marks: Marks, target: Store) -> None:
        """Divide what ``marks`` marked in one store, and counts, for its way to ``target``."""
        self.marks = marks
        uses = [use for use in marks.packs() if use.live]
        doomed = {use.file for use in uses if target.state.is_doomed(use.file)}
        small: dict[int, list[PackUse]] = {pack.DATA: [], pack.METADATA: []}
        self.whole: list[PackUse] = []
        self.partly: list[PackUse] = []
        for use in uses:
            wasteful = use.live < use.frames and (use.size - use.kept) * WHOLE > use.size
            if use.file in doomed or wasteful:
                self.partly.append(use)
            elif use.size < _TARGETS[use.content] // SMALL:
                small[use.content].append(use)
            else:
                self.whole.append(use)
        for content, several in small.items():
            together = len(several) + sum(use.content == content for use in self.partly) > 1
            (self.partly if together else self.whole).extend(several)

    @property
    def files(self) -> int:
        """How many packs are read."""
        return len(self.whole) + len(self.partly)

    @property
    def size(self) -> int:
        """How many bytes move, in whole packs or as frames."""
        return sum(use.size for use in self.whole) + sum(use.kept for use in self.partly)

    @property
    def objects(self) -> int:
        """How many objects and chunks are needed."""
        return sum(use.live for use in (*self.whole, *self.partly))


class Meter:
    """Counts the bytes that have moved, for whoever watches."""

    def __init__(self, progress: Progress, label: str, *, files: int, size: int) -> None:
        """Begin to report ``files`` packs of ``size`` bytes."""
        self._progress = progress
        self.size = 0
        self.files = 0
        progress.start(label, files=files, size=size)

    def tell(self) -> None:
        """Report how far it has come."""
        self._progress.advance(files=self.files, size=self.size)

    def finish(self) -> None:
        """End the report."""
        self._progress.finish()


def send(source: Store, target: Store, shipment: Shipment, transaction: Transaction, meter: Meter) -> list[str]:
    """Write a shipment into the place of another store, and hand it to a transaction there.

    Packs that an earlier command brought there whole are not sent again.

    Args:
        source: the store here.
        target: the other store.
        shipment: what to send.
        transaction: a transaction of ``target``.
        meter: told of bytes as they are handed over.

    Returns:
        the packs (their files) that lie there now, or will when the place was flushed.

    Raises:
        IntegrityError: when a pack here is damaged; nothing that lies in it was sent.
        StorageError: when either side refuses.
    """
    names: list[str] = []
    there = {each.name: each.size for each in target.backend.listed("packs")} if shipment.whole else {}
    for use in shipment.whole:
        finished = _segment(shipment.marks, use).pack(use.position).described()
        if there.get(use.name.hex()) == use.size and _is_whole(target, use):
            target.backend.settle(use.file)
        else:
            _require_sound(source, use)
            target.backend.send(source.backend.view(use.file), use.file)
        transaction.adopt([finished])
        if len(names) % SPAN == SPAN - 1:
            transaction.put_aside()
        names.append(use.file)
        meter.files += 1
        meter.size += use.size
        meter.tell()
    _copy(source, shipment, transaction, meter)
    return names


def _is_whole(target: Store, use: PackUse) -> bool:
    """Return whether a pack that lies at the place has the bytes that its name says.

    A directory may hold one that a loss of power tore; an object store has a file whole or not at all, and a look at it
    would cost what sending does.
    """
    place = target.backend
    while isinstance(place, Wrapper):
        place = place.below
    return not isinstance(place, LocalBackend) or scrub.pack_file(place, use.name) == (use.size, None)


def _require_sound(store: Store, use: PackUse) -> None:
    """Refuse to hand a damaged pack on."""
    size, damage = scrub.pack_file(store.backend, use.name)
    if damage is not None or size != use.size:
        why = damage.why if damage is not None else f"it has {size:,} bytes, not {use.size:,}"
        raise IntegrityError(
            "a pack is damaged, and was not sent",
            where=use.file,
            why=why,
            next="run 'dv fsck' to see what is damaged, then 'dv fsck --repair'",
        )


def receive(source: Store, target: Store, shipment: Shipment, transaction: Transaction, meter: Meter) -> None:
    """Bring a shipment from a remote's store into the store here, and hand it to a transaction.

    Packs are received side by side.  One that an earlier command received and could not record is used if it is sound.

    Args:
        source: the remote's store.
        target: the store here.
        shipment: what to bring.
        transaction: a transaction of ``target``.
        meter: told of bytes as they come.

    Raises:
        IntegrityError: when what comes is not what the remote's log says; it is not kept.
        StorageError: when either side refuses.
    """
    for number, finished in enumerate(_received(source, target, shipment, meter), 1):
        transaction.adopt([finished])
        meter.files += 1
        if not number % SPAN:
            transaction.put_aside()
    _copy(source, shipment, transaction, meter)


def _received(source: Store, target: Store, shipment: Shipment, meter: Meter) -> Iterator[FinishedPack]:
    """Yield the packs that move whole as they come in."""
    pending = set()
    waiting = iter(shipment.whole)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="receive") as pool:
        try:
            for use in waiting:
                pending.add(pool.submit(_receive_one, source, target, shipment.marks, use, meter))
                if len(pending) < THREADS + 1:
                    continue
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                while not done:
                    meter.tell()
                    done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
                meter.tell()
            while pending:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
                meter.tell()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _receive_one(source: Store, target: Store, marks: Marks, use: PackUse, meter: Meter) -> FinishedPack:
    """Bring one pack into the place of the store here, and return what it says of itself.

    Its bytes have the name that the remote's log has for it, and every frame in it opens and has the id that it is
    listed under.  Deduplication relies on ids, so what does not hold what it says must never count as stored.
    """
    if target.backend.exists(use.file) and scrub.pack_file(target.backend, use.name) == (use.size, None):
        target.backend.settle(use.file)
        meter.size += use.size
    else:
        _download(source, target, use, meter)
    segment = _segment(marks, use)
    key = segment.keys.packs.get(use.name)
    if key is None:
        raise IntegrityError("there is no key for a pack of the remote", where=segment.description.keys)
    reader = PackReader(target.backend, segment.index.directory.packs[use.position], key)
    lost = scrub.lost(reader, target.backend.view(use.file), source.hasher)
    if lost:
        raise _not_as_said(use, f"{len(lost):,} objects in it are not what they say")
    return reader.described()


def _download(source: Store, target: Store, use: PackUse, meter: Meter) -> None:
    """Bring the bytes of a pack, held against its name, into the place of the store here."""
    path = f"{target.backend.workspace()}/{temporary_name()}"
    mirror = mirror_of(source.backend)
    place = mirror.below if mirror is not None else source.backend  # one copy here is enough
    disk = target.disk
    descriptor = disk.open_new(path)
    try:
        try:
            hasher = digest.SealedHasher()
            for at in range(0, use.size, PIECE):
                wanted = min(PIECE, use.size - at)
                data = place.read(use.file, at, wanted)
                if len(data) != wanted:
                    raise _not_as_said(use, f"it ends after {at + len(data):,} of {use.size:,} bytes")
                hasher.name_only(data)
                disk.append(descriptor, path, data)
                meter.size += wanted
        except NotFoundError:
            raise missing(use.file) from None
        finally:
            os.close(descriptor)
        _require_name(hasher, use)
        target.backend.adopt(path, use.file)
    except BaseException:
        disk.unlink(path)
        raise


def _require_name(hasher: digest.SealedHasher, use: PackUse) -> None:
    if hasher.name() != use.name:
        raise _not_as_said(use, "its bytes do not have its name")


def _not_as_said(use: PackUse, why: str) -> IntegrityError:
    return IntegrityError(
        "a pack of the remote is damaged",
        where=use.file,
        why=why,
        next="run 'dv fsck --remote NAME --repair', which takes a good copy from a clone that has one",
    )


def _copy(source: Store, shipment: Shipment, transaction: Transaction, meter: Meter) -> None:
    """Copy what is needed of packs that do not move whole, in the order of their frames."""
    listed = shipment.marks.frames({use.file for use in shipment.partly}) if shipment.partly else {}
    for use in shipment.partly:
        _copy_frames(source, _segment(shipment.marks, use), use, listed[use.file], transaction, meter)
        meter.files += 1
        meter.tell()


def _copy_frames(
    source: Store,
    segment: Segment,
    use: PackUse,
    frames: Sequence[tuple[bytes, Location]],
    transaction: Transaction,
    meter: Meter,
) -> None:
    reader = segment.pack(use.position)
    for _identity, location in frames:
        segment.require_bounds(location)
    for run in _runs(frames):
        start = run[0][1].offset
        end = run[-1][1].offset + run[-1][1].stored
        window = memoryview(reader.sealed(start, end - start))
        for identity, location in run:
            at = location.offset - start
            data = reader.open(identity, location, window[at : at + location.stored])
            kind = location.flags & pack.KIND_MASK
            if source.hasher.id(kind, data) != identity:
                raise wrong(kind, identity, reader.file)
            transaction.copy(kind, identity, data)
            meter.size += location.stored
        meter.tell()


def _runs(frames: Sequence[tuple[bytes, Location]]) -> Iterator[list[tuple[bytes, Location]]]:
    """Yield frames that are read by one request each: near each other, and not too much together."""
    run: list[tuple[bytes, Location]] = []
    for each in frames:
        location = each[1]
        if run:
            first, last = run[0][1], run[-1][1]
            far = location.offset - (last.offset + last.stored) > GAP
            if far or location.offset + location.stored - first.offset > PIECE:
                yield run
                run = []
        run.append(each)
    if run:
        yield run


def refuse_lacking(chunks: set[bytes]) -> None:
    """Refuse a remote that does not have the chunks that its branches lead to.

    Raises:
        IntegrityError: when it lacks any.
    """
    if chunks:
        raise IntegrityError(
            f"the remote lacks {len(chunks):,} chunks of data that its branches lead to",
            where=min(chunks).hex()[:16],
            next="run 'dv fsck --remote NAME' to see what is damaged; a clone that has them can mend it with --repair",
        )


def _segment(marks: Marks, use: PackUse) -> Segment:
    return marks.segments[use.segment]
