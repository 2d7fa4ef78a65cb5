"""Bringing data to a bucket of S3 and back: time, requests and bytes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks import bucket
from benchmarks.arena import MIB
from benchmarks.measure import bytes_below
from benchmarks.results import (
    CHANGE,
    CLONE,
    FETCH_NOTHING,
    FIRST,
    GET,
    LAZY,
    PULL,
    PUSH,
    PUSH_EDIT,
    PUSH_NOTHING,
    REQUESTS,
    Problem,
    received_of,
    requests_of,
    sent_of,
)
from benchmarks.sharers import SHARERS
from benchmarks.sharers.contract import cloned, data_of, thin
from benchmarks.trees import Tree, WrongContentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.arena import Arena
    from benchmarks.bucket import Service
    from benchmarks.contenders.contract import Slot
    from benchmarks.measure import Script
    from benchmarks.sharers.contract import Sharer

SERVICE = "moto"
NOTHINGS_PER_ROUND = 3
"""Operations that find nothing to do are short, so there are more of them."""
TOGETHER = frozenset({"dv", "plain", "plain-4"})
"""Those whose operations alternate, so that a machine's drift meets all of them."""
WEIGHED = frozenset({"dv"})
"""Whose memory is measured."""
Sharers = frozenset[str]


def label(tree: Tree) -> str:
    """Name the data set and where it goes in words."""
    return f"{tree.label}, by S3 on loopback"


def run(arena: Arena, parts: Iterable[tuple[Tree, Sharers]]) -> None:
    """Measure some sharers on each data set, then the memory that the largest takes."""
    known = list(parts)
    if not bucket.installed():
        arena.record.problems.append(Problem(case=label(known[0][0]), contender=SERVICE, what="not installed"))
        arena.say(f"{SERVICE}: not installed")
        return
    arena.record.versions[SERVICE] = bucket.version()
    with bucket.served(arena.place / "service") as service:
        for tree, allowed in known:
            _time(arena, service, tree, allowed)
        _weigh(arena, service, max((tree for tree, _ in known), key=lambda tree: tree.files))


def _time(arena: Arena, service: Service, tree: Tree, allowed: Sharers) -> None:
    case = label(tree)
    entrants = arena.entrants_of(SHARERS, case, allowed)
    together = [one for one in entrants if one.name in TOGETHER]
    batches = [together] * bool(together) + [[one] for one in entrants if one not in together]
    for number in range(arena.runs):
        for batch in batches:
            playing = [one for one in batch if arena.wanted(one, case, number)]
            if playing:
                with arena.slots(playing, service.fresh([one.name for one in playing])) as slots:
                    _Round(arena, service, tree, slots).play(playing)


class _Round:
    """One run of every operation, by sharers that alternate; each has a bucket for itself."""

    def __init__(self, arena: Arena, service: Service, tree: Tree, slots: dict[str, Slot]) -> None:
        self.arena = arena
        self.service = service
        self.tree = tree
        self.slots = slots
        self.case = label(tree)

    def play(self, sharers: list[Sharer]) -> None:
        acts = [self.begin, self.push]
        acts += NOTHINGS_PER_ROUND * [self.push_nothing] + NOTHINGS_PER_ROUND * [self.fetch_nothing]
        for act in (*acts, self.clone, self.push_edit, self.pull, self.lazy, self.get):
            self.arena.each(self.case, sharers, act)

    def begin(self, sharer: Sharer) -> None:
        slot = self.slots[sharer.name]
        begin(self.arena, sharer, slot, self.tree)
        self._local(FIRST, sharer, sharer.local(slot, edited=False))
        self.arena.untimed(sharer, slot, sharer.join(slot))

    def push(self, sharer: Sharer) -> None:
        self._measure(PUSH, sharer, sharer.push(self.slots[sharer.name]))

    def push_nothing(self, sharer: Sharer) -> None:
        self._measure(PUSH_NOTHING, sharer, sharer.push_nothing(self.slots[sharer.name]))

    def fetch_nothing(self, sharer: Sharer) -> None:
        self._measure(FETCH_NOTHING, sharer, sharer.fetch(self.slots[sharer.name]))

    def clone(self, sharer: Sharer) -> None:
        slot = self.slots[sharer.name]
        self._measure(CLONE, sharer, sharer.clone(slot))
        check(sharer, slot, self.tree)

    def push_edit(self, sharer: Sharer) -> None:
        slot = self.slots[sharer.name]
        script = sharer.push_edit(slot)
        if script is None:
            return
        self.tree.edit(slot.data)
        self._local(CHANGE, sharer, sharer.local(slot, edited=True))
        self._measure(PUSH_EDIT, sharer, script)

    def pull(self, sharer: Sharer) -> None:
        slot = self.slots[sharer.name]
        if self._measure(PULL, sharer, sharer.pull(slot)):
            self.tree.check(data_of(cloned(slot)), edited=True)

    def lazy(self, sharer: Sharer) -> None:
        self._measure(LAZY, sharer, sharer.lazy(self.slots[sharer.name]))

    def get(self, sharer: Sharer) -> None:
        slot = self.slots[sharer.name]
        if self._measure(GET, sharer, sharer.get(slot, self.tree.middle)):
            self.tree.check(data_of(thin(slot)), edited=True, within=f"{self.tree.middle}/")

    def _local(self, work: str, sharer: Sharer, script: Script | None) -> None:
        if script is not None:
            self.arena.time(self.case, work, sharer, self.slots[sharer.name], script)

    def _measure(self, work: str, sharer: Sharer, script: Script | None) -> bool:
        """Time an operation and count what the service was asked, if the sharer has it."""
        if script is None:
            return False
        self.service.taken()
        self.arena.time(self.case, work, sharer, self.slots[sharer.name], script)
        found = self.service.taken()
        record = self.arena.record
        record.add(self.case, requests_of(work), sharer.name, REQUESTS, found.requests)
        record.add(self.case, sent_of(work), sharer.name, "MiB", found.sent / MIB)
        record.add(self.case, received_of(work), sharer.name, "MiB", found.received / MIB)
        self.arena.say(f"    {found.requests:,} requests, {found.sent:,} bytes sent, {found.received:,} received")
        return True


def begin(arena: Arena, sharer: Sharer, slot: Slot, tree: Tree) -> None:
    """Make the empty repository and the data set."""
    arena.prepare(sharer, slot)
    tree.write(slot.data)


def check(sharer: Sharer, slot: Slot, tree: Tree) -> None:
    """Look whether a full clone has everything, before the edit.

    Raises:
        WrongContentError: it has something else.

    """
    if sharer.checks():
        tree.check(data_of(cloned(slot)), edited=False)
        return
    came, expected = bytes_below([cloned(slot)]), tree.files * tree.size
    if came != expected:
        message = f"{came} bytes came back, {expected} were sent"
        raise WrongContentError(message)


def _weigh(arena: Arena, service: Service, tree: Tree) -> None:
    case = label(tree)
    for sharer in arena.entrants_of(SHARERS, case, WEIGHED):
        with arena.slots([sharer], service.fresh([sharer.name])) as slots:
            arena.each(case, [sharer], partial(_weigh_one, arena, slots[sharer.name], tree))


def _weigh_one(arena: Arena, slot: Slot, tree: Tree, sharer: Sharer) -> None:
    case = label(tree)
    begin(arena, sharer, slot, tree)
    script = sharer.local(slot, edited=False)
    if script is not None:
        arena.untimed(sharer, slot, script)
    arena.untimed(sharer, slot, sharer.join(slot))
    arena.weigh(case, PUSH, sharer, slot, sharer.push(slot))
    arena.weigh(case, CLONE, sharer, slot, sharer.clone(slot))
    check(sharer, slot, tree)
