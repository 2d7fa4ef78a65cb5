"""Writes packs anew without what is erased, and reads them back, in several processes where that pays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from dvtool.history import rewriting
from dvtool.storage.local import LocalBackend
from dvtool.store import erasing
from dvtool.store.packs import FinishedPack
from dvtool.worktree import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from dvtool.effects import Progress
    from dvtool.formats import log
    from dvtool.history.marking import Marks, PackUse
    from dvtool.store.store import Store
    from dvtool.store.transaction import Transaction
    from dvtool.worktree.workers import Counter

    T = TypeVar("T")

SHARED: Final = 8 * 1024 * 1024
"""Bytes for which a process more pays."""


def processes(store: Store) -> int:
    """Return how many processes may share the work in a store: one where a fork would take connections with it."""
    return workers.count() if isinstance(store.backend, LocalBackend) else 1


def copy(
    transaction: Transaction,
    marks: Marks,
    uses: Sequence[PackUse],
    progress: Progress,
    meanwhile: Callable[[], None],
) -> None:
    """Write what is marked in some packs into others, which the transaction takes over.

    Args:
        transaction: takes the new packs.
        marks: says what is needed.
        uses: the packs.
        progress: hears how it goes.
        meanwhile: is called once, while other processes are at work or before this one is; it may use the transaction.

    Raises:
        IntegrityError: when one of the packs is missing or damaged.
        StorageError: when the disk refuses, or a process is killed.
    """
    store = transaction.store
    total = sum(use.kept for use in uses)

    def work(mine: list[PackUse], counter: Counter) -> list[FinishedPack]:
        with store.transaction() as own:
            rewriting.rewrite(own, marks, mine, counter.add)
            return own.finish_packs()

    parts = _parts(store, uses, [use.kept for use in uses])
    progress.start("writing packs anew", files=len(uses), size=total)
    try:
        if len(parts) < 2:  # noqa: PLR2004 - a process more would only be waited for
            meanwhile()
            counter = workers.told(progress)
            rewriting.rewrite(transaction, marks, uses, counter.add)
            return
        with workers.Beside(parts, work, list[FinishedPack], progress, clean=_cleaner(store)) as beside:
            meanwhile()
            for packs in beside.results():
                transaction.adopt(packs)
    finally:
        progress.finish()


def read_back(store: Store, added: Sequence[log.Action], progress: Progress) -> int:
    """Read new packs back from where they are to stay; return how many frames they have.

    Raises:
        IntegrityError: at the first that does not open as it should.
    """
    packs = erasing.packs_of(store, added)
    sizes = [segment.index.directory.packs[position].size for segment, position in packs]

    def work(mine: list[erasing.Added], counter: Counter) -> int:
        count = 0
        for segment, position in mine:
            count += erasing.require_readable(store, segment, position)
            counter.add(segment.index.directory.packs[position].size)
        return count

    parts = _parts(store, packs, sizes)
    progress.start("reading what was written back", files=len(packs), size=sum(sizes))
    try:
        return sum(workers.run(parts, work, int, progress, clean=lambda _process: None)) if parts else 0
    finally:
        progress.finish()


def _parts(store: Store, items: Sequence[T], sizes: Sequence[int]) -> list[list[T]]:
    """Return what to share out, in one part where sharing does not pay."""
    return workers.split(items, sizes, max(1, min(processes(store), sum(sizes) // SHARED)))


def _cleaner(store: Store) -> Callable[[int], None]:
    """Return what removes the unfinished files of a process that failed."""
    workspace = store.backend.workspace()

    def clean(process: int) -> None:
        for name in os.listdir(workspace):
            if name.startswith(f"{process}-"):
                store.disk.unlink(f"{workspace}/{name}")

    return clean
