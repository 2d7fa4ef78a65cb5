"""Writes packs anew with what is marked in them, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool.errors import IntegrityError
from dvtool.store import collecting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dvtool.history.marking import Marks, PackUse
    from dvtool.store.transaction import Transaction

TOGETHER: Final = 1_000_000
"""Frames whose ids are held in memory at once, unless one pack has more."""


def rewrite(
    transaction: Transaction, marks: Marks, uses: Sequence[PackUse], told: Callable[[int], None] = lambda _size: None
) -> None:
    """Write what is marked in some packs into packs of a transaction.

    Args:
        transaction: takes the copies.
        marks: says what is needed.
        uses: the packs.
        told: hears of each pack when it is done: how many bytes of it were needed.

    Raises:
        IntegrityError: when one of the packs is missing or damaged, or does not hold what its index file says.
    """
    for some in _batches(uses):
        needed = marks.needed(some)
        for use in some:
            needs = needed[use.segment, use.position].__contains__
            if collecting.copy(transaction, marks.segments[use.segment], use.position, needs) != use.live:
                raise IntegrityError(
                    "a pack does not hold what its index file says",
                    where=use.file,
                    next="run 'dv fsck' to see what is damaged; nothing was removed",
                )
            told(use.kept)


def _batches(uses: Sequence[PackUse]) -> Iterator[list[PackUse]]:
    batch: list[PackUse] = []
    frames = 0
    for use in uses:
        if batch and frames + use.live > TOGETHER:
            yield batch
            batch, frames = [], 0
        batch.append(use)
        frames += use.live
    if batch:
        yield batch
