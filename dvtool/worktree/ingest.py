"""Reads many files of the worktree, in as many processes as pay, and puts what they found in order again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dvtool import ids, paths
from dvtool.formats import tree
from dvtool.formats.tree import Entry
from dvtool.formats.worktree_index import STAT_SIZE, Record
from dvtool.store.claims import Claims
from dvtool.store.packs import FinishedPack
from dvtool.worktree import workers
from dvtool.worktree.reader import Columns, IdSink, Reader, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dvtool.effects import Progress
    from dvtool.store.store import Store
    from dvtool.store.transaction import Transaction

FILE_COST: Final = 40_000
"""Bytes of reading that opening and closing one file costs about as much as."""
SHARED_COST: Final = 64_000_000
"""Cost from which a second process is worth its start."""
LOOKED_AT: Final = 4096
"""Files whose sizes are asked for beforehand; of more, as many are, and the sum is an estimate."""
TURN_FILES: Final = 256
"""Files read at one turn at most: enough to make turns cheap, and few beside what a worker does in all."""
TURNS_EACH: Final = 16
"""Turns that each worker gets at least, if there are files enough, so that all of them end at about the same time."""

Files = dict[str, list[str]]
"""Names of files, sorted, by their directory."""


class Seen(msgspec.Struct, kw_only=True):
    """What the files of one directory hold, as columns in order of their names; those that could be read.

    ``kinds``, ``sizes`` (bytes) and ``ids`` (32 bytes each) are those of the tree, ``stats`` (40 bytes each) those of
    the worktree's index.
    """

    names: list[str]
    kinds: bytes
    sizes: list[int]
    ids: bytes
    stats: bytes

    def columns(self) -> tree.Columns:
        """Return what a tree says of the files."""
        return tree.Columns(names=self.names, kinds=self.kinds, sizes=self.sizes, ids=self.ids)

    def record(self) -> Record:
        """Return what the worktree's index says of the files."""
        names = "\0".join(self.names)
        return Record(names=names, kinds=self.kinds, stats=self.stats, ids=self.ids, sizes=self.sizes, directories="")

    def rows(self) -> Iterator[tuple[str, Entry, bytes]]:
        """Yield (name, entry, stat) of each file."""
        identities, found = self.ids, self.stats
        for at, (name, kind, size) in enumerate(zip(self.names, self.kinds, self.sizes, strict=True)):
            identity = identities[at * ids.ID_SIZE : (at + 1) * ids.ID_SIZE]
            yield name, Entry(kind, size, identity), found[at * STAT_SIZE : (at + 1) * STAT_SIZE]


class Ingested(msgspec.Struct, kw_only=True):
    """What became of files: by directory what they hold, (path, reason) of those unreadable, paths that vanished."""

    directories: dict[str, Seen]
    problems: list[tuple[str, str]]
    vanished: list[str]

    def entries(self) -> Iterator[tuple[str, Entry, bytes]]:
        """Yield (path, entry, stat) of every file that was read."""
        for directory, seen in self.directories.items():
            for name, entry, stat in seen.rows():
                yield paths.join(directory, name), entry, stat


class _Run(NamedTuple):
    """Some of the names of one directory: those from ``start`` to ``end``."""

    directory: str
    start: int
    end: int


class _Share(msgspec.Struct, kw_only=True, array_like=True):
    """What one worker did: (turn, columns of its runs), and what it left in the store's workspace."""

    turns: list[tuple[int, list[Columns]]]
    trouble: Trouble
    packs: list[FinishedPack]
    skipped: list[bytes]
    relied: list[tuple[str, bytes]]
    aside: list[str]


def by_directory(files: Iterable[str]) -> Files:
    """Return paths as the names in their directories, sorted."""
    found: Files = {}
    for path in sorted(files):
        directory, name = paths.split(path)
        found.setdefault(directory, []).append(name)
    return found


def together(some: Mapping[str, Sequence[str]], more: Mapping[str, Sequence[str]]) -> Files:
    """Return the files of both, sorted."""
    return {
        directory: sorted({*some.get(directory, ()), *more.get(directory, ())})
        if directory in some and directory in more
        else list(some.get(directory) or more.get(directory) or ())
        for directory in sorted({*some, *more})
    }


def ingest(store: Store, root: str, files: Files, transaction: Transaction | None, progress: Progress) -> Ingested:
    """Read files and return what they hold.

    Args:
        store: whose ids are made.
        root: the worktree's root.
        files: what to read; packed in this order.
        transaction: takes the chunks; None only makes ids.
        progress: is told how far it has come.

    Raises:
        StorageError: when the store cannot be written.
    """
    count = sum(map(len, files.values()))
    size, exact = _size(root, files, count)
    cost = size + count * FILE_COST
    processes = workers.count() if cost > SHARED_COST and count > 1 else 1
    turns = list(_turns(files, max(1, min(TURN_FILES, count // (processes * TURNS_EACH)))))
    crew = _Crew(store, root, files, turns)
    progress.start("reading", files=count, size=size if exact else 0)
    try:
        if processes == 1:
            shares = crew.one(transaction, progress)
        elif transaction is None:
            shares = crew.many(processes, progress)
        else:
            shares = crew.storing(processes, transaction, Claims(count + 2 * size // 49152), progress)
    finally:
        progress.finish()
    return _joined(files, turns, shares)


def _size(root: str, files: Files, count: int) -> tuple[int, bool]:
    """Return how many bytes files have, and whether that is exact and not an estimate."""
    step = 1 + count // LOOKED_AT
    total = 0
    at = 0
    for directory, names in files.items():
        for name in names[at::step]:
            try:
                total += os.lstat(f"{root}/{directory}/{name}").st_size
            except OSError:
                continue  # reading it will say what is wrong
        at = (at - len(names)) % step
    return total * step, step == 1


def _turns(files: Files, size: int) -> Iterator[list[_Run]]:
    """Yield runs of names, ``size`` files at a time (fewer at the end), in order."""
    turn: list[_Run] = []
    room = size
    for directory, names in files.items():
        start = 0
        while start < len(names):
            end = min(len(names), start + room)
            turn.append(_Run(directory, start, end))
            room -= end - start
            start = end
            if not room:
                yield turn
                turn, room = [], size
    if turn:
        yield turn


class _Crew:
    """The processes that read, one or more, and what they read: names of directories, in turns."""

    def __init__(self, store: Store, root: str, files: Files, turns: list[list[_Run]]) -> None:
        self._store = store
        self._root = root
        self._files = files
        self._turns = turns

    def one(self, transaction: Transaction | None, progress: Progress) -> list[_Share]:
        """Read everything in this process."""

        def work(mine: range, counter: workers.Counter) -> _Share:
            return self._read(self._reader(transaction, counter), mine)

        return workers.run([range(len(self._turns))], work, _Share, progress, clean=lambda _process: None)

    def many(self, processes: int, progress: Progress) -> list[_Share]:
        """Make ids in several processes."""
        given = workers.Turns(len(self._turns))

        def work(_number: int, counter: workers.Counter) -> _Share:
            return self._read(self._reader(None, counter), given)

        try:
            return workers.run(range(processes), work, _Share, progress, clean=lambda _process: None)
        finally:
            given.close()

    def storing(self, processes: int, transaction: Transaction, claims: Claims, progress: Progress) -> list[_Share]:
        """Store content in several processes, each in packs of its own, which ``transaction`` takes over."""
        store = self._store
        workspace = store.backend.workspace()
        given = workers.Turns(len(self._turns))

        def work(_number: int, counter: workers.Counter) -> _Share:
            with store.transaction(claims) as own:
                share = self._read(self._reader(own, counter), given)
                share.packs = own.finish_packs()
                share.skipped = sorted(own.skipped)
                share.relied = [(name, bytes(held)) for name, held in sorted(own.relied.frames.items())]
                share.aside = sorted(own.relied.aside)
            return share

        def clean(process: int) -> None:
            for name in os.listdir(workspace):
                if name.startswith(f"{process}-"):
                    store.disk.unlink(f"{workspace}/{name}")

        try:
            shares = workers.run(range(processes), work, _Share, progress, clean=clean)
        finally:
            given.close()
        for share in shares:
            transaction.adopt(share.packs)
            for name, held in share.relied:
                transaction.relied.add(name, held)
            transaction.relied.aside.update(share.aside)
        if transaction.relied.aside:
            store.refresh()
        for at, share in enumerate(shares):
            # Two ids that share eight bytes look alike to the claims; such a chunk nobody stored is read again.
            if any(not transaction.stores(identity) for identity in share.skipped):
                reader = self._reader(transaction, workers.unseen())
                shares[at] = self._read(reader, [turn for turn, _columns in share.turns])
        return shares

    def _reader(self, sink: Transaction | None, counter: workers.Counter) -> Reader:
        return Reader(self._store, sink or IdSink(self._store.hasher), self._root, counter)

    def _read(self, reader: Reader, mine: Iterable[int]) -> _Share:
        done = []
        for turn in mine:
            runs = self._turns[turn]
            done.append(
                (turn, [reader.read(run.directory, self._files[run.directory][run.start : run.end]) for run in runs])
            )
        return _Share(turns=done, trouble=reader.trouble, packs=[], skipped=[], relied=[], aside=[])


def _joined(files: Files, turns: list[list[_Run]], shares: list[_Share]) -> Ingested:
    """Return what all workers found, in the order of ``files``."""
    columns: list[list[Columns]] = [[] for _turn in turns]
    for share in shares:
        for turn, found in share.turns:
            columns[turn] = found
    gathered: dict[str, Columns] = {}
    for runs, found in zip(turns, columns, strict=True):
        for run, part in zip(runs, found, strict=True):
            whole = gathered.get(run.directory)
            if whole is None:
                gathered[run.directory] = part
            else:
                whole.kinds += part.kinds
                whole.sizes += part.sizes
                whole.ids += part.ids
                whole.stats += part.stats
    return Ingested(
        directories={directory: _seen(files[directory], whole) for directory, whole in gathered.items()},
        problems=[item for share in shares for item in share.trouble.problems],
        vanished=[path for share in shares for path in share.trouble.vanished],
    )


def _seen(names: list[str], found: Columns) -> Seen:
    """Return the columns of the files that could be read."""
    if 0 not in found.kinds:
        return Seen(
            names=names, kinds=bytes(found.kinds), sizes=found.sizes, ids=bytes(found.ids), stats=bytes(found.stats)
        )
    kept = [at for at, kind in enumerate(found.kinds) if kind]
    return Seen(
        names=[names[at] for at in kept],
        kinds=bytes([found.kinds[at] for at in kept]),
        sizes=[found.sizes[at] for at in kept],
        ids=b"".join([bytes(found.ids[at * ids.ID_SIZE : (at + 1) * ids.ID_SIZE]) for at in kept]),
        stats=b"".join([bytes(found.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]) for at in kept]),
    )
