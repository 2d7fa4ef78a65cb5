"""The everyday operations on many small files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.machine import free_bytes, memory_bytes
from benchmarks.measure import Script, remove
from benchmarks.results import CHANGE, DIFF, FIRST, FULL, GROWTH, STATUS, STORE, SWITCH
from benchmarks.trees import Tree, WrongContentError

if TYPE_CHECKING:
    from benchmarks.arena import Arena
    from benchmarks.contenders.contract import Contender, Slot

TOGETHER = ("dv", "tar", "git")
"""Contenders whose operations alternate, so that a machine's drift meets all of them."""
STATUS_PER_ROUND = 3
SPACE_EACH = 3.3
"""Space a contender may need, in sizes of the data set: the data, one or two stores, a checkout."""


def run(arena: Arena, tree: Tree) -> None:
    """Measure every contender on one data set."""
    case = tree.label
    entrants = arena.entrants(case)
    together = [one for one in entrants if one.name in TOGETHER]
    if len(together) * SPACE_EACH * tree.files * tree.size > free_bytes(arena.place):
        arena.record.remarks.append(f"{case}: no space for several at once, so contenders ran one by one")
        together = []
    if 2 * tree.files * tree.size > memory_bytes() // 2:
        arena.record.remarks.append(f"{case}: data and stores exceed half of memory, so partly cold")
    batches = [together] * bool(together) + [[one] for one in entrants if one not in together]
    for number in range(arena.runs):
        for batch in batches:
            playing = [one for one in batch if arena.wanted(one, case, number)]
            with arena.slots(playing) as slots:
                _Round(arena, tree, slots).play(playing)


class _Round:
    """One run of every operation, by contenders that alternate."""

    def __init__(self, arena: Arena, tree: Tree, slots: dict[str, Slot]) -> None:
        self.arena = arena
        self.tree = tree
        self.slots = slots
        self.case = tree.label
        self.first_bytes: dict[str, int] = {}

    def play(self, contenders: list[Contender]) -> None:
        arena, case = self.arena, self.case
        arena.each(case, contenders, self.first)
        arena.each(case, contenders, self.settle)
        for _ in range(STATUS_PER_ROUND):
            arena.each(case, contenders, self.status)
        for act in (self.change, self.diff, self.switch, self.full):
            arena.each(case, contenders, act)

    def _time(self, work: str, contender: Contender, script: Script) -> None:
        self.arena.time(self.case, work, contender, self.slots[contender.name], script)

    def first(self, contender: Contender) -> None:
        """Write the files, which leaves them in the page cache, and store them."""
        slot = self.slots[contender.name]
        self.arena.prepare(contender, slot)
        self.tree.write(slot.data)
        self._time(FIRST, contender, contender.first(slot))
        self.first_bytes[contender.name] = contender.store_bytes(slot)
        self.arena.size(self.case, STORE, contender, self.first_bytes[contender.name])

    def settle(self, contender: Contender) -> None:
        """One status that doesn't count: it may still complete an index."""
        slot = self.slots[contender.name]
        script = contender.status(slot)
        if script is not None:
            self.arena.untimed(contender, slot, script)

    def status(self, contender: Contender) -> None:
        script = contender.status(self.slots[contender.name])
        if script is not None:
            self._time(STATUS, contender, script)

    def change(self, contender: Contender) -> None:
        slot = self.slots[contender.name]
        self.tree.edit(slot.data)
        self._time(CHANGE, contender, contender.change(slot))
        growth = contender.store_bytes(slot) - self.first_bytes[contender.name]
        self.arena.size(self.case, GROWTH, contender, growth)

    def diff(self, contender: Contender) -> None:
        slot = self.slots[contender.name]
        script = contender.diff(slot)
        if script is None:
            return
        self._time(DIFF, contender, script)
        printed = self.arena.output(slot).read_text(errors="replace")
        for name in self.tree.names_in_diff():
            if name not in printed:
                message = f"the diff does not name {name}"
                raise WrongContentError(message)

    def switch(self, contender: Contender) -> None:
        slot = self.slots[contender.name]
        script = contender.switch(slot)
        if script is None:
            return
        self._time(SWITCH, contender, script)
        self.tree.check(contender.checked_out(slot), edited=False)

    def full(self, contender: Contender) -> None:
        slot = self.slots[contender.name]
        empty(contender, slot)
        self._time(FULL, contender, contender.full(slot))
        self.tree.check(contender.checked_out(slot), edited=True)


def empty(contender: Contender, slot: Slot) -> None:
    """Clear the place that a full checkout will fill."""
    remove(slot.data if contender.in_place else slot.out)
    slot.out.mkdir(exist_ok=True)
