"""Which suite measures what, by whom, and on how much data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from benchmarks.blobs import Table
from benchmarks.contenders import CONTENDERS
from benchmarks.erasers import ERASERS
from benchmarks.sharers import SHARERS
from benchmarks.suites import erase, everyday, large, remotes, runs, scale, startup, table, upkeep
from benchmarks.trackers import TRACKERS
from benchmarks.trees import Tree

if TYPE_CHECKING:
    from benchmarks.arena import Arena

SUITES = (
    "everyday", "files", "large", "csv", "startup", "memory", "scale", "upkeep", "remotes", "runs", "erase",
)  # fmt: skip
KIB = 1 << 10
MIB = 1 << 20
EDITED = 100
EDITED_OF_MANY = 5
"""Files that each snapshot of a long history edits."""
COMMITTED = 1000
"""Files beside which runs are recorded."""

_ALL = tuple(CONTENDERS)
DEFAULT_CONTENDERS: dict[str, tuple[str, ...]] = {
    "everyday": _ALL,
    "files": ("dv", "tar", "git"),
    "large": _ALL,
    "csv": _ALL,
    "startup": _ALL,
    "memory": ("dv",),
    "scale": ("dv",),
    "upkeep": ("dv", "git", "restic", "borg"),
    "remotes": tuple(SHARERS),
    "runs": tuple(TRACKERS),
    "erase": tuple(ERASERS),
}
HISTORY_CONTENDERS = frozenset({"dv"})
"""Those for which a history of a thousand snapshots is made; with a few seconds for each, the others take an hour."""
MANY_BY = frozenset({"dv", "plain", "plain-4"})
"""Those that bring a large number of files to a bucket; one that makes a request for each takes minutes for fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much data each suite works on.

    ``large`` is None for 1 GiB, 4 GiB and the largest that fits; ``shared_by_few`` is None for no such data set,
    ``values`` for as many as suit each tracker.
    """

    everyday: int = 100_000
    counts: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    many: int = 1_000_000
    large: tuple[int, ...] | None = None
    weighed: tuple[int, ...] = (4096 * MIB,)
    table: int = 1024 * MIB
    history: int = 1000
    shared: int = 20_000
    shared_by_few: int | None = 100_000
    values: int | None = None
    erased: int = 20_000
    read: int = 10_000
    ran: int = 10_000

    @classmethod
    def chosen(cls, *, quick: bool, files: int | None, mib: tuple[int, ...] | None) -> Self:
        """Defaults, or tiny ones for a trial, with the sizes that were given in their place."""
        sizes = cls(
            everyday=600,
            counts=(600,),
            many=600,
            large=(16 * MIB,),
            weighed=(16 * MIB,),
            table=8 * MIB,
            history=5,
            shared=600,
            shared_by_few=None,
            values=80,
            erased=600,
            read=200,
            ran=30,
        )
        if not quick:
            sizes = cls()
        if files is not None:
            sizes = replace(
                sizes, everyday=files, counts=(files,), many=files, shared=files, erased=files, shared_by_few=None
            )
        if mib is not None:
            given = tuple(one * MIB for one in mib)
            sizes = replace(sizes, large=given, weighed=given)
        return sizes


def perform(suite: str, arena: Arena, sizes: Sizes) -> None:
    """Run one suite."""
    match suite:
        case "everyday" | "files":
            for count in (sizes.everyday,) if suite == "everyday" else sizes.counts:
                everyday.run(arena, tree(count))
        case "large":
            _large(arena, sizes)
        case "csv":
            table.run(arena, Table(size=sizes.table))
        case "startup":
            startup.run(arena)
        case "memory":
            _weigh(arena, sizes)
        case "scale":
            edited = min(EDITED, sizes.many // 4)
            scale.run(arena, Tree(files=sizes.many, size=64, changed=edited, added=0, gone=0))
        case "upkeep":
            upkeep.verify(arena, tree(sizes.everyday))
            upkeep.collect(arena, tree(sizes.everyday), sizes.history, HISTORY_CONTENDERS)
        case "remotes":
            few = [] if sizes.shared_by_few is None else [(sizes.shared_by_few, MANY_BY)]
            parts = [*few, (sizes.shared, frozenset(SHARERS))]
            remotes.run(arena, [(replace(tree(count), directories=10), allowed) for count, allowed in parts])
        case "runs":
            runs.run(
                arena,
                values=sizes.values,
                command=tree(COMMITTED),
                read=Tree(files=sizes.read, size=KIB),
                past=runs.Past(
                    tree=Tree(files=COMMITTED, size=KIB, directories=5), snapshots=sizes.history, runs=sizes.ran
                ),
            )
        case "erase":
            data = Tree(files=sizes.erased, size=8 * KIB, changed=EDITED_OF_MANY, directories=2)
            erase.run(arena, erase.History(tree=data, snapshots=max(sizes.history, 20)))
        case _:
            message = f"no suite {suite}"
            raise ValueError(message)


def _weigh(arena: Arena, sizes: Sizes) -> None:
    for size in sizes.weighed:
        large.weigh(arena, size)
    scale.weigh(arena, tree(sizes.many))


def tree(count: int) -> Tree:
    """Files of 8 KiB, with an edit of 100 of each kind or a quarter of them."""
    edited = min(EDITED, count // 4)
    return Tree(files=count, size=8 * KIB, changed=edited, added=edited, gone=edited)


def _large(arena: Arena, sizes: Sizes) -> None:
    if sizes.large is not None:
        for size in sizes.large:
            large.run(arena, size, restricted=False)
        return
    for size in (1024 * MIB, 4096 * MIB):
        large.run(arena, size, restricted=False)
    most = large.largest(arena.place)
    if most > 4096 * MIB:
        large.run(arena, most, restricted=True)
    else:
        arena.record.remarks.append("no space for a file of more than 4 GiB that leaves four times itself free")
