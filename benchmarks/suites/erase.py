"""What it takes to erase files from every version of a long history."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contenders.contract import DATA, steps
from benchmarks.erasers import ERASERS
from benchmarks.measure import quietly, remove
from benchmarks.results import (
    ERASE_DIRECTORY,
    ERASE_FEW,
    ERASE_MANY,
    ERASE_ONE,
    packs_gone_of,
    packs_written_of,
)
from benchmarks.trees import WrongContentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.arena import Arena
    from benchmarks.contenders.contract import Slot
    from benchmarks.erasers.contract import Eraser
    from benchmarks.trees import Tree

REQUESTS = 100
"""Paths that are erased together."""
HELD = 10
"""Snapshots that hold the file which few do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A data set of which each further snapshot edits some files: ``tree.changed`` of them."""

    tree: Tree
    snapshots: int

    @property
    def label(self) -> str:
        return f"{self.snapshots:,} snapshots of {self.tree.label}"

    @property
    def brief(self) -> str:
        """A file that only few snapshots hold, in the middle of the history."""
        return f"{self._path(0).rpartition('/')[0]}/brief.bin"

    def _path(self, number: int) -> str:
        return f"{DATA}/{self.tree.path(number)}"

    def works(self) -> dict[str, tuple[str, ...]]:
        """Name what is erased in each measurement: paths that hold files which some snapshots edit, and others."""
        step = max(1, self.tree.files // REQUESTS)
        return {
            ERASE_ONE: (self._path(self.tree.files // 2),),
            ERASE_FEW: (self.brief,),
            ERASE_DIRECTORY: (self._path(self.tree.files // 2).rsplit("/", 2)[0],),
            ERASE_MANY: tuple(self._path(number) for number in range(0, self.tree.files, step))[:REQUESTS],
        }

    def edits(self) -> Iterator[dict[str, bytes | None]]:
        """Yield what each snapshot after the first edits, by path; the one file of all snapshots is never edited."""
        middle = self.snapshots // 2
        for number in range(1, self.snapshots):
            chosen = ((number * 7919 + each * 3571) % self.tree.files for each in range(self.tree.changed))
            edits: dict[str, bytes | None] = {
                self._path(one): self.tree.content(one, number) for one in chosen if one != self.tree.files // 2
            }
            if number == middle:
                edits[self.brief] = self.tree.content(self.tree.files, number)
            elif number == middle + min(HELD, self.snapshots // 4):
                edits[self.brief] = None
            yield edits

    def write_edits(self, target: Path) -> None:
        """Write them, a line for each snapshot."""
        with target.open("w") as file:
            for edits in self.edits():
                as_text = {path: data and base64.b64encode(data).decode() for path, data in edits.items()}
                file.write(json.dumps(as_text) + "\n")


def run(arena: Arena, history: History) -> None:
    """Make the history once for each tool, and erase from copies of it."""
    entrants = arena.entrants_of(ERASERS, history.label)
    bench = _Bench(arena, history, arena.place / "masters", arena.place / "edits")
    history.write_edits(bench.edits)
    bench.masters.mkdir()
    try:
        with arena.slots(entrants) as slots:
            arena.each(history.label, entrants, partial(bench.make, slots))
            for number in range(arena.runs):
                for work, paths in history.works().items():
                    wanted = [one for one in entrants if arena.wanted(one, history.label, number)]
                    arena.each(history.label, wanted, partial(bench.erase, slots, work, paths))
                arena.save()
    finally:
        remove(bench.masters)


@dataclass(frozen=True, slots=True)
class _Bench:
    """Where the histories lie that are copied for each measurement."""

    arena: Arena
    history: History
    masters: Path
    edits: Path

    def make(self, slots: dict[str, Slot], eraser: Eraser) -> None:
        slot = slots[eraser.name]
        self.arena.prepare(eraser, slot)
        self.history.tree.write(slot.data)
        self.arena.untimed(eraser, slot, eraser.history(slot, self.edits))
        slot.tree.rename(self.masters / eraser.name)
        self.arena.say(f"{self.history.label}: {eraser.name} has it")

    def erase(self, slots: dict[str, Slot], work: str, paths: tuple[str, ...], eraser: Eraser) -> None:
        arena, case, slot = self.arena, self.history.label, slots[eraser.name]
        remove(slot.tree)
        # At the path where it was made, so that nothing in it leads elsewhere.
        copy = ("cp", "-a", "--reflink=auto", str(self.masters / eraser.name), str(slot.tree))
        quietly(steps(slot.base, copy), env=eraser.environment(slot))
        arena.untimed(eraser, slot, eraser.settle(slot))
        before = eraser.contents(slot)
        parts = eraser.erase(slot, paths)
        seconds = 0.0
        for part, script in parts.items():
            seconds += arena.time(case, f"{work}: {part}" if part else work, eraser, slot, script).seconds
            gone = eraser.gone(arena.output(slot).read_text())
            if gone is not None:
                arena.size(case, packs_gone_of(work), eraser, gone)
        if "" not in parts:
            arena.note(case, work, eraser, "s", seconds)
        written = sum(size for name, size in eraser.contents(slot).items() if name not in before)
        arena.size(case, packs_written_of(work), eraser, written)
        _require_gone(eraser, slot, paths)


def _require_gone(eraser: Eraser, slot: Slot, paths: tuple[str, ...]) -> None:
    for path in {paths[0], paths[-1]}:
        left = eraser.left(slot, path)
        if left or (slot.tree / path).exists():
            message = f"{path} is still known: {left[:200]}"
            raise WrongContentError(message)
