"""What must not grow with the data set: a diff; and what may grow a little: memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.results import CHANGE, DIFF, FIRST, FULL, STATUS
from benchmarks.suites.everyday import empty
from benchmarks.trees import Tree, WrongContentError

if TYPE_CHECKING:
    from benchmarks.arena import Arena
    from benchmarks.contenders.contract import Contender, Slot


def run(arena: Arena, tree: Tree) -> None:
    """Commit a data set twice, once, then time the diff again and again."""
    case = tree.label
    for contender in arena.entrants(case):
        with arena.slots([contender]) as slots:
            slot = slots[contender.name]
            arena.each(case, [contender], partial(_diffs, arena, slot, tree))


def _diffs(arena: Arena, slot: Slot, tree: Tree, contender: Contender) -> None:
    arena.prepare(contender, slot)
    tree.write(slot.data)
    arena.untimed(contender, slot, contender.first(slot))
    tree.edit(slot.data)
    arena.untimed(contender, slot, contender.change(slot))
    script = contender.diff(slot)
    if script is None:
        return
    arena.untimed(contender, slot, script)
    for _ in range(arena.runs):
        arena.time(tree.label, DIFF, contender, slot, script)
        printed = arena.output(slot).read_text(errors="replace")
        if any(name not in printed for name in tree.names_in_diff()):
            message = "the diff does not name all that was edited"
            raise WrongContentError(message)


def weigh(arena: Arena, tree: Tree) -> None:
    """Measure the memory of the everyday operations on a large data set."""
    case = tree.label
    for contender in arena.entrants(case):
        with arena.slots([contender]) as slots:
            slot = slots[contender.name]
            arena.each(case, [contender], partial(_weigh, arena, slot, tree))


def _weigh(arena: Arena, slot: Slot, tree: Tree, contender: Contender) -> None:
    case = tree.label
    arena.prepare(contender, slot)
    tree.write(slot.data)
    arena.weigh(case, FIRST, contender, slot, contender.first(slot))
    status = contender.status(slot)
    if status is not None:
        arena.weigh(case, STATUS, contender, slot, status)
    tree.edit(slot.data)
    arena.weigh(case, CHANGE, contender, slot, contender.change(slot))
    diff = contender.diff(slot)
    if diff is not None:
        arena.weigh(case, DIFF, contender, slot, diff)
    empty(contender, slot)
    arena.weigh(case, FULL, contender, slot, contender.full(slot))
    tree.check(contender.checked_out(slot), edited=True)
