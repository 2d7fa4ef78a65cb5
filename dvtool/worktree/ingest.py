"""Reads files of the worktree: into chunks that are stored, or only to learn their ids.

Each file is read once.  Its status is taken again after reading; a file that changed meanwhile is read again, and
named if it does not hold still.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.formats import tree
from dvtool.formats.tree import Entry
from dvtool.formats.worktree_index import STAT_SIZE
from dvtool.store import manifests
from dvtool.store.chunker import WHOLE_LIMIT
from dvtool.store.claims import Claims
from dvtool.store.packs import FinishedPack
from dvtool.worktree import stats, workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.digest import IdHasher
    from dvtool.effects import Progress
    from dvtool.store.store import Store
    from dvtool.store.transaction import Transaction
    from dvtool.worktree.stats import Stat

ATTEMPTS: Final = 5
PAUSE_SECONDS: Final = 0.02
FILE_COST: Final = 40_000
"""Bytes of reading that opening and closing one file costs about as much as; balances the workers."""
SHARED_COST: Final = 64_000_000
"""Cost from which a second process is worth its start."""
READ_SIZE: Final = 1024 * 1024


class _ChangedError(Exception):
    """A file is not as its status said; read it again."""


class Ingested(msgspec.Struct, kw_only=True, array_like=True):
    """What became of each file, in the order given.

    ``kinds`` is 0 where a file vanished or could not be read; ``stats`` is as the index keeps it (40 bytes each).
    """

    kinds: bytearray
    sizes: list[int]
    ids: bytearray
    stats: bytearray
    problems: list[tuple[str, str]]
    vanished: list[str]
    packs: list[FinishedPack]
    skipped: list[bytes]
    relied: list[str]


class IdSink:
    """Makes ids without storing anything."""

    def __init__(self, hasher: IdHasher) -> None:
        """Use the repository's id hasher."""
        self._hasher = hasher

    def put_object(self, kind: int, data: bytes) -> bytes:
        """Return the id that the object would have."""
        return self._hasher.id(kind, data)

    def put_chunk(self, data: bytes | memoryview) -> bytes:
        """Return the id that the chunk would have."""
        return self._hasher.id(ids.CHUNK, data)


class Reader:
    """Turns files into entries, handing their chunks to a sink."""

    def __init__(self, store: Store, sink: Transaction | IdSink, root: str) -> None:
        """Read files below ``root`` (absolute)."""
        self._sink = sink
        self._chunker = store.chunker()
        self._minimum = self._chunker.minimum
        self._root = root
        self._buffer = bytearray(READ_SIZE)

    def read(self, path: str, expected: Stat) -> tuple[Entry, bytes]:
        """Return the entry of a file and the stat data to remember it by.

        Raises:
            FileNotFoundError: when it is gone.
            OSError: when it cannot be read.
            BlockingIOError: when it does not hold still.
        """
        absolute = f"{self._root}/{path}"
        for attempt in range(ATTEMPTS):
            began = time.time_ns()
            try:
                return self._once(absolute, expected), stats.trusted(expected, began)
            except _ChangedError:
                time.sleep(PAUSE_SECONDS * attempt)
                expected = stats.of(os.lstat(absolute))
        raise BlockingIOError

    def _once(self, path: str, expected: Stat) -> Entry:
        kind = stats.kind_of(expected[4])
        size = expected[0]
        if kind is None:
            raise OSError(0, "it is no longer a file that can be stored")
        if kind == tree.SYMLINK:
            target = os.readlink(path).encode("utf-8")
            if stats.of(os.lstat(path)) != expected:
                raise _ChangedError
            return Entry(kind, len(target), self._sink.put_chunk(target))
        descriptor = _open_file(path)
        try:
            if size > WHOLE_LIMIT:
                chunks, lengths = self._stream(descriptor)
            else:
                data = os.read(descriptor, size + 1)
                if len(data) != size:
                    data += _rest(descriptor, size + 1 - len(data))
                if len(data) != size or stats.of(os.fstat(descriptor)) != expected:
                    raise _ChangedError
                if size <= self._minimum:
                    return Entry(kind, size, self._sink.put_chunk(data))
                view = memoryview(data)
                cuts = self._chunker.cut(data)
                chunks = [self._sink.put_chunk(view[start:end]) for start, end in cuts]
                lengths = [end - start for start, end in cuts]
            if sum(lengths) != size or stats.of(os.fstat(descriptor)) != expected:
                raise _ChangedError
        finally:
            os.close(descriptor)
        if len(chunks) == 1:
            return Entry(kind, size, chunks[0])
        long_kind = tree.LONG_EXECUTABLE if kind == tree.EXECUTABLE else tree.LONG_FILE
        return Entry(long_kind, size, manifests.build(chunks, lengths, self._sink))

    def _stream(self, descriptor: int) -> tuple[list[bytes], list[int]]:
        chunks, lengths = [], []
        put = self._sink.put_chunk
        for data in self._chunker.stream(lambda view: os.readv(descriptor, [view])):
            chunks.append(put(data))
            lengths.append(len(data))
        return chunks, lengths


def ingest(
    store: Store,
    root: str,
    files: Sequence[tuple[str, Stat]],
    transaction: Transaction | None,
    progress: Progress,
) -> Ingested:
    """Read files and return what they hold.

    Args:
        store: whose ids are made.
        root: the worktree's root.
        files: paths with their status, in the order in which they are to be packed.
        transaction: takes the chunks; None only makes ids.
        progress: is told of each phase.

    Raises:
        StorageError: when the store cannot be written.
    """
    weights = [found[0] + FILE_COST for _path, found in files]
    total = sum(weights)
    parts = [list(files)]
    if total > SHARED_COST and len(files) > 1:
        parts = workers.split(files, weights, workers.count())
    progress.start("reading", files=len(files), size=sum(found[0] for _path, found in files))
    try:
        if len(parts) == 1:
            results = workers.run(
                parts,
                lambda part, counter: _read_all(
                    Reader(store, transaction or IdSink(store.hasher), root), part, counter
                ),
                Ingested,
                progress,
                clean=lambda _process: None,
            )
        else:
            results = _in_parallel(store, root, parts, transaction, progress, expected=len(files) + total // 49152)
    finally:
        progress.finish()
    return results[0] if len(results) == 1 else _joined(results)


def _in_parallel(
    store: Store,
    root: str,
    parts: list[list[tuple[str, Stat]]],
    transaction: Transaction | None,
    progress: Progress,
    *,
    expected: int,
) -> list[Ingested]:
    claims = Claims(expected)
    workspace = store.backend.workspace()

    def work(part: list[tuple[str, Stat]], counter: workers.Counter) -> Ingested:
        if transaction is None:
            return _read_all(Reader(store, IdSink(store.hasher), root), part, counter)
        with store.transaction(claims) as own:
            result = _read_all(Reader(store, own, root), part, counter)
            result.packs = own.finish_packs()
            result.skipped = sorted(own.skipped)
            result.relied = sorted(own.relied)
        return result

    def clean(process: int) -> None:
        for name in os.listdir(workspace):
            if name.startswith(f"{process}-"):
                store.disk.unlink(f"{workspace}/{name}")

    results = workers.run(parts, work, Ingested, progress, clean=clean)
    if transaction is not None:
        for result in results:
            transaction.adopt(result.packs)
            transaction.relied.update(result.relied)
        for part, result in zip(parts, results, strict=True):
            # Two ids that share eight bytes look alike to the claims; such a chunk nobody stored is read again.
            if any(not transaction.stores(identity) for identity in result.skipped):
                again = _read_all(Reader(store, transaction, root), part, _uncounted())
                result.kinds, result.sizes, result.ids, result.stats = again.kinds, again.sizes, again.ids, again.stats
                result.problems, result.vanished = again.problems, again.vanished
    return results


def _uncounted() -> workers.Counter:
    return workers.Counter(memoryview(bytearray(16)).cast("Q"), 0)


def _read_all(reader: Reader, files: Sequence[tuple[str, Stat]], counter: workers.Counter) -> Ingested:
    result = Ingested(
        kinds=bytearray(),
        sizes=[],
        ids=bytearray(),
        stats=bytearray(),
        problems=[],
        vanished=[],
        packs=[],
        skipped=[],
        relied=[],
    )
    missing = Entry(0, 0, bytes(ids.ID_SIZE))
    for path, found in files:
        entry, stat = missing, bytes(40)
        try:
            entry, stat = reader.read(path, found)
        except BlockingIOError:
            result.problems.append((path, "it changes while it is being read"))
        except FileNotFoundError:
            result.vanished.append(path)
        except UnicodeError:
            result.problems.append((path, "its link target is not UTF-8"))
        except OSError as error:
            result.problems.append((path, error.strerror or str(error)))
        result.kinds.append(entry.kind)
        result.sizes.append(entry.size)
        result.ids += entry.id
        result.stats += stat
        counter.add(found[0])
    return result


def entries(result: Ingested, files: Sequence[tuple[str, Stat]]) -> list[tuple[str, Entry, bytes]]:
    """Return (path, entry, stat) of every file that was read."""
    identities, found = bytes(result.ids), bytes(result.stats)
    columns = zip(
        files,
        result.kinds,
        result.sizes,
        range(0, len(identities), ids.ID_SIZE),
        range(0, len(found), STAT_SIZE),
        strict=True,
    )
    return [
        (path, Entry(kind, size, identities[at : at + ids.ID_SIZE]), found[seen : seen + STAT_SIZE])
        for (path, _stat), kind, size, at, seen in columns
        if kind
    ]


def _joined(results: Sequence[Ingested]) -> Ingested:
    first = results[0]
    for other in results[1:]:
        first.kinds += other.kinds
        first.sizes += other.sizes
        first.ids += other.ids
        first.stats += other.stats
        first.problems += other.problems
        first.vanished += other.vanished
    return first


def _open_file(path: str) -> int:
    """Return a descriptor of a regular file; a pipe that took its place does not block."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        if os.path.islink(path):
            raise _ChangedError from None
        raise


def _rest(descriptor: int, wanted: int) -> bytes:
    """Return what short reads left: up to ``wanted`` more bytes."""
    parts = []
    while wanted > 0:
        part = os.read(descriptor, wanted)
        if not part:
            break
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)
