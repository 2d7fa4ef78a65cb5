"""What keeps a store sound and small: checking all of it, and finding what nothing needs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.results import COLLECT, VERIFY

if TYPE_CHECKING:
    from benchmarks.arena import Arena
    from benchmarks.contenders.contract import Contender, Slot
    from benchmarks.trees import Tree

FILES_OF_HISTORY = 50
"""So many files beside the others are written again and again, one in each snapshot."""


def verify(arena: Arena, tree: Tree) -> None:
    """Store a data set, then time the check of everything that was stored."""
    for contender in arena.entrants(tree.label):
        with arena.slots([contender]) as slots:
            arena.each(tree.label, [contender], partial(_verify, arena, slots[contender.name], tree))


def _verify(arena: Arena, slot: Slot, tree: Tree, contender: Contender) -> None:
    script = contender.verify(slot)
    if script is None:
        return
    arena.prepare(contender, slot)
    tree.write(slot.data)
    arena.untimed(contender, slot, contender.first(slot))
    for _ in range(arena.runs):
        arena.time(tree.label, VERIFY, contender, slot, script)


def collect(arena: Arena, tree: Tree, snapshots: int, allowed: frozenset[str]) -> None:
    """Make a long history in which each snapshot changes one file, then time the search for garbage."""
    case = f"{snapshots:,} snapshots of {tree.label}"
    for contender in arena.entrants(case, allowed):
        with arena.slots([contender]) as slots:
            act = partial(_collect, arena, slots[contender.name], tree, case, snapshots)
            arena.each(case, [contender], act)


def _collect(arena: Arena, slot: Slot, tree: Tree, case: str, snapshots: int, contender: Contender) -> None:
    script = contender.collect(slot)
    if script is None:
        return
    arena.prepare(contender, slot)
    tree.write(slot.data)
    arena.untimed(contender, slot, contender.first(slot))
    place = slot.data / "history"
    place.mkdir()
    for number in range(1, snapshots):
        (place / f"{number % FILES_OF_HISTORY}").write_text(f"snapshot {number}\n")
        arena.untimed(contender, slot, contender.change(slot))
    for _ in range(arena.runs):
        arena.time(case, COLLECT, contender, slot, script)
    arena.weigh(case, COLLECT, contender, slot, script)
