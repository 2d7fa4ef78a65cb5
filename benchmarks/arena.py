"""Where contenders meet: their directories, their timed runs, and what went wrong."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from benchmarks.contenders import CONTENDERS
from benchmarks.contenders.contract import Contender, Found, Slot, Tool
from benchmarks.measure import Sample, Script, StepFailedError, quietly, remove, run
from benchmarks.results import Problem, Record, peak_of
from benchmarks.trees import WrongContentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.bucket import Place

MINUTES = 60.0
"""Seconds from which an operation counts as taking minutes, so that fewer runs are made."""
FEWER_RUNS = 3
MIB = 1 << 20

Kind = TypeVar("Kind", bound=Tool)


@dataclass(slots=True, kw_only=True)
class Arena:
    """Everything the suites share. ``place`` is a directory of this process alone."""

    place: Path
    found: Found
    names: tuple[str, ...]
    runs: int
    limit: float
    record: Record
    save: Callable[[], None]
    _slow: set[tuple[str, str]] = field(default_factory=set)
    _out: set[tuple[str, str]] = field(default_factory=set)

    def entrants(self, case: str, allowed: frozenset[str] | None = None) -> list[Contender]:
        """List the contenders asked for that are installed, and put the others on record as missing."""
        return self.entrants_of(CONTENDERS, case, allowed)

    def entrants_of(
        self, kinds: Mapping[str, type[Kind]], case: str, allowed: frozenset[str] | None = None
    ) -> list[Kind]:
        """Do so among tools of some kind; the others that were asked for have no part in it."""
        entered: list[Kind] = []
        for name in self.names:
            if name not in kinds or (allowed is not None and name not in allowed):
                continue
            contender = kinds[name](self.found)
            if contender.program is None:
                self.record.problems.append(Problem(case=case, contender=name, what="not installed"))
                self.say(f"{name}: not installed")
                continue
            self.record.versions.setdefault(name, contender.version())
            entered.append(contender)
        return entered

    def wanted(self, contender: Tool, case: str, number: int) -> bool:
        """Whether a contender takes part in this round: not if it failed, or is slow and ran enough."""
        key = (case, contender.name)
        return key not in self._out and not (key in self._slow and number >= FEWER_RUNS)

    @contextmanager
    def slots(self, contenders: Sequence[Tool], places: Mapping[str, Place] | None = None) -> Iterator[dict[str, Slot]]:
        """Fresh directories for each contender, gone afterwards whatever happens; with a bucket where there is one."""
        made = {one.name: Slot(self.place / one.name, (places or {}).get(one.name)) for one in contenders}
        try:
            for slot in made.values():
                remove(slot.base)
                slot.make()
            yield made
        finally:
            for slot in made.values():
                remove(slot.base)
            self.save()

    def prepare(self, contender: Tool, slot: Slot) -> None:
        """Make the empty repository."""
        quietly(contender.setup(slot), env=contender.environment(slot))

    def untimed(self, contender: Tool, slot: Slot, script: Script) -> None:
        """Run an operation that only leads up to a measured one."""
        quietly(script, env=contender.environment(slot))

    def time(self, case: str, work: str, contender: Tool, slot: Slot, script: Script) -> Sample:
        """Run an operation and record its seconds."""
        sample = run(script, env=contender.environment(slot), output=self.output(slot), limit=self.limit)
        if sample.seconds >= MINUTES:
            self._slow.add((case, contender.name))
        self.record.add(case, work, contender.name, "s", sample.seconds)
        self.say(f"{case} | {work} | {contender.name}: {sample.seconds:.3f} s")
        return sample

    def weigh(self, case: str, work: str, contender: Tool, slot: Slot, script: Script) -> None:
        """Run an operation and record its memory: the larger of the process tree's and any process's."""
        sample = run(script, env=contender.environment(slot), output=self.output(slot), limit=self.limit, tree=True)
        peak = max(sample.largest_kib, sample.tree_kib or 0) / 1024
        self.record.add(case, peak_of(work), contender.name, "MiB", peak)
        self.say(f"{case} | {peak_of(work)} | {contender.name}: {peak:.0f} MiB ({sample.seconds:.1f} s)")

    def note(self, case: str, work: str, contender: Tool, unit: str, value: float) -> None:
        """Record a number that was computed from times."""
        self.record.add(case, work, contender.name, unit, value)
        self.say(f"{case} | {work} | {contender.name}: {value:.2f} {unit}")

    def size(self, case: str, work: str, contender: Tool, count: int) -> None:
        """Record a number of bytes."""
        self.record.add(case, work, contender.name, "MiB", count / MIB)
        self.say(f"{case} | {work} | {contender.name}: {count / MIB:.2f} MiB")

    def each(self, case: str, contenders: list[Kind], act: Callable[[Kind], None]) -> None:
        """Let every contender that has not failed do the same; a failure is recorded and ends its part."""
        for contender in contenders:
            if (case, contender.name) in self._out:
                continue
            try:
                act(contender)
            except (StepFailedError, WrongContentError) as error:
                self._out.add((case, contender.name))
                what = str(error).replace(str(self.place), "WORK")
                self.record.problems.append(Problem(case=case, contender=contender.name, what=what))
                self.say(f"{case} | {contender.name}: {what}")

    def output(self, slot: Slot) -> Path:
        """File that takes what a timed script prints."""
        return slot.base / "output"

    @staticmethod
    def say(line: str) -> None:
        """Tell the person waiting."""
        print(line, file=sys.stderr, flush=True)
