"""What recording costs: a value, a command, a file that is opened; and what asking costs when there are many runs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contenders.contract import DATA
from benchmarks.machine import cores
from benchmarks.measure import quietly, remove
from benchmarks.results import (
    BY_CORES,
    BY_EIGHT,
    BY_ONE,
    LINEAGE_ALL,
    LINEAGE_FEW,
    LIST_COLD,
    LIST_WARM,
    OPENED,
    OPENS,
    PROGRAM,
    START,
    TRUE,
)
from benchmarks.trackers import TRACKERS
from benchmarks.trackers.contract import READER
from benchmarks.trackers.dv import TrackingDv
from benchmarks.trees import Tree, WrongContentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.arena import Arena
    from benchmarks.contenders.contract import Slot
    from benchmarks.measure import Sample
    from benchmarks.trackers.contract import Tracker

LOGGING = "one run that logs values"
MANY = 8
MICROSECONDS = 1e6
SHORT_PER_ROUND = 3
"""Operations that are short, so there are more of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A history: runs that spread over the snapshots of a data set."""

    tree: Tree
    snapshots: int
    runs: int

    @property
    def label(self) -> str:
        return f"{self.runs:,} runs on {self.snapshots:,} snapshots of {self.tree.files:,} files"


def run(arena: Arena, *, values: int | None, command: Tree, read: Tree, past: Past) -> None:
    """Measure all of it; ``values`` is None for as many as each tracker is asked for."""
    _log(arena, values)
    _commands(arena, command)
    _reads(arena, read)
    _asks(arena, past)


# ------------------------------------------------------------------------------------------------------ values


def _log(arena: Arena, values: int | None) -> None:
    """Log values from one process, and the same number by as many as there are cores, and by eight."""
    entrants = [one for one in arena.entrants_of(TRACKERS, LOGGING) if one.logger() is not None]
    for number in range(arena.runs):
        for tracker in entrants:
            if arena.wanted(tracker, LOGGING, number):
                arena.each(LOGGING, [tracker], partial(_log_all, arena, values))


def _log_all(arena: Arena, values: int | None, tracker: Tracker) -> None:
    _log_by(arena, values, BY_ONE, 1, tracker)
    if isinstance(tracker, TrackingDv):
        _log_by(arena, values, BY_CORES, min(MANY, cores()), tracker)
    if tracker.shares():
        _log_by(arena, values, BY_EIGHT, MANY, tracker)


def _log_by(arena: Arena, values: int | None, work: str, processes: int, tracker: Tracker) -> None:
    """Time a program that logs values, less one that logs a single one: what a run itself takes counts for nothing."""
    each = (values or tracker.values) // processes
    with arena.slots([tracker]) as slots:
        slot = slots[tracker.name]
        arena.prepare(tracker, slot)
        arena.untimed(tracker, slot, tracker.log(slot, 1, 1) or ())  # makes what only a first run makes
        begun = arena.time(LOGGING, f"{work}: {START}", tracker, slot, tracker.log(slot, 1, processes) or ())
        whole = arena.time(LOGGING, f"{work}: {PROGRAM}", tracker, slot, tracker.log(slot, each, processes) or ())
        counted = quietly(tracker.count(slot), env=tracker.environment(slot)).strip()
        if counted != str(each * processes):
            message = f"{each * processes} values were logged, and {counted} are there"
            raise WrongContentError(message)
    taken = (whole.seconds - begun.seconds) / ((each - 1) * processes)
    arena.note(LOGGING, work, tracker, "us", taken * MICROSECONDS)


# ------------------------------------------------------------------------------------------------------ commands


def _commands(arena: Arena, tree: Tree) -> None:
    """Run a command that does nothing, recorded and not, beside a committed data set."""
    case = f"a command beside {tree.label}"
    entrants = _recording(arena, case)
    with arena.slots(entrants) as slots:
        arena.each(case, entrants, partial(_begin, arena, slots, tree))
        for _ in range(arena.runs * SHORT_PER_ROUND):
            arena.each(case, entrants, partial(_nothing, arena, slots, case))


def _reads(arena: Arena, tree: Tree) -> None:
    """Run a Python program that reads every file of the data set."""
    case = f"a Python program that reads {tree.label}"
    entrants = _recording(arena, case)
    with arena.slots(entrants) as slots:
        arena.each(case, entrants, partial(_begin, arena, slots, tree))
        for _ in range(arena.runs):
            reading = _Reading(arena, slots, case, tree.files)
            arena.each(case, entrants, reading.play)
            reading.compare(entrants)


class _Reading:
    """One round of the program, recorded in different ways."""

    def __init__(self, arena: Arena, slots: dict[str, Slot], case: str, files: int) -> None:
        self.arena = arena
        self.slots = slots
        self.case = case
        self.files = files
        self.taken: dict[str, float] = {}

    def play(self, tracker: Tracker) -> None:
        command = (sys.executable, "-P", str(READER), DATA)
        sample = _record(self.arena, self.slots, self.case, OPENS, command, tracker)
        printed = self.arena.output(self.slots[tracker.name]).read_text()
        if str(self.files) not in printed.splitlines():
            message = f"the program did not read {self.files} files"
            raise WrongContentError(message)
        self.taken[tracker.name] = sample.seconds

    def compare(self, entrants: Sequence[Tracker]) -> None:
        """Note what the audit of one file takes."""
        found = {one.name: one for one in entrants}
        if {"dv", "dv-declared"} <= self.taken.keys():
            more = (self.taken["dv"] - self.taken["dv-declared"]) / self.files
            self.arena.note(self.case, OPENED, found["dv"], "us", more * MICROSECONDS)


def _recording(arena: Arena, case: str) -> list[Tracker]:
    """List those that record commands."""
    entrants = arena.entrants_of(TRACKERS, case, frozenset({"dv", "dv-declared", "unrecorded"}))
    return [one for one in entrants if one.logger() is None or isinstance(one, TrackingDv)]


def _begin(arena: Arena, slots: dict[str, Slot], tree: Tree, tracker: Tracker) -> None:
    slot = slots[tracker.name]
    arena.prepare(tracker, slot)
    tree.write(slot.data)
    arena.untimed(tracker, slot, tracker.commit(slot))


def _record(
    arena: Arena, slots: dict[str, Slot], case: str, work: str, command: tuple[str, ...], tracker: Tracker
) -> Sample:
    slot = slots[tracker.name]
    script = tracker.record(slot, command)
    assert script is not None
    return arena.time(case, work, tracker, slot, script)


def _nothing(arena: Arena, slots: dict[str, Slot], case: str, tracker: Tracker) -> None:
    _record(arena, slots, case, TRUE, ("true",), tracker)


# ------------------------------------------------------------------------------------------------------ questions


def _asks(arena: Arena, past: Past) -> None:
    """Make a long history, then ask for all runs, and for what was made from a file."""
    for tracker in arena.entrants_of(TRACKERS, past.label, frozenset({"dv"})):
        with arena.slots([tracker]) as slots:
            arena.each(past.label, [tracker], partial(_ask, arena, slots, past))


def _ask(arena: Arena, slots: dict[str, Slot], past: Past, tracker: Tracker) -> None:
    assert isinstance(tracker, TrackingDv)
    case, slot = past.label, slots[tracker.name]
    _begin(arena, slots, past.tree, tracker)
    arena.untimed(tracker, slot, tracker.fill(slot, past.snapshots, past.runs))
    remove(slot.tree / ".dv" / "cache")
    arena.time(case, LIST_COLD, tracker, slot, tracker.list_runs(slot))
    for _ in range(arena.runs):
        arena.time(case, LIST_WARM, tracker, slot, tracker.list_runs(slot))
        _require(arena, slot, past.runs)
    for work, number, least in ((LINEAGE_FEW, 1, 1), (LINEAGE_ALL, 0, past.runs // 2)):
        script = tracker.lineage(slot, f"{DATA}/{past.tree.path(number)}")
        for _ in range(arena.runs):
            arena.time(case, work, tracker, slot, script)
            _require(arena, slot, least)


def _require(arena: Arena, slot: Slot, least: int) -> None:
    found = len(arena.output(slot).read_text().splitlines())
    if found < least:
        message = f"{found} lines were printed, and there must be {least} at least"
        raise WrongContentError(message)
