"""One large table as text, and two ways to edit 0.1% of its rows."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.blobs import Table, read_through
from benchmarks.measure import remove
from benchmarks.results import BLOCK, BLOCK_GROWTH, FIRST, SCATTER, SCATTER_GROWTH, STORE

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.arena import Arena
    from benchmarks.contenders.contract import Contender, Slot

NAME = "table.csv"


def label(table: Table) -> str:
    """Name the data set in words."""
    return f"one CSV file of {table.size // (1 << 20):,} MiB"


@dataclass(frozen=True, slots=True)
class _Masters:
    """The table and its two edited forms, made once and copied for every run."""

    place: Path

    @property
    def plain(self) -> Path:
        return self.place / "plain"

    def edited(self, *, scattered: bool) -> Path:
        return self.place / ("scattered" if scattered else "block")

    def make(self, table: Table) -> None:
        self.place.mkdir()
        rows = table.write(self.plain)
        table.write_block_edited(self.edited(scattered=False), rows)
        table.write_scatter_edited(self.edited(scattered=True), rows)


def run(arena: Arena, table: Table) -> None:
    """Measure every contender; each edit starts from a store that holds the unedited table only."""
    masters = _Masters(arena.place / "masters")
    try:
        masters.make(table)
        _rounds(arena, masters, label(table))
    finally:
        remove(masters.place)


def _rounds(arena: Arena, masters: _Masters, case: str) -> None:
    entrants = arena.entrants(case)
    for number in range(arena.runs):
        for contender in entrants:
            for scattered in (False, True):
                if not arena.wanted(contender, case, number):
                    continue
                with arena.slots([contender]) as slots:
                    play = _Play(arena, masters, case, slots[contender.name])
                    arena.each(case, [contender], play.scattered if scattered else play.block)


@dataclass(frozen=True, slots=True)
class _Play:
    """One run of one kind of edit."""

    arena: Arena
    masters: _Masters
    case: str
    slot: Slot

    def block(self, contender: Contender) -> None:
        self._play(contender, self.masters.edited(scattered=False), BLOCK, BLOCK_GROWTH)

    def scattered(self, contender: Contender) -> None:
        self._play(contender, self.masters.edited(scattered=True), SCATTER, SCATTER_GROWTH)

    def _play(self, contender: Contender, edited: Path, work: str, growth: str) -> None:
        target = self.slot.data / NAME
        self.arena.prepare(contender, self.slot)
        self.slot.data.mkdir()
        shutil.copyfile(self.masters.plain, target)
        read_through(target)
        self.arena.time(self.case, FIRST, contender, self.slot, contender.first(self.slot))
        before = contender.store_bytes(self.slot)
        self.arena.size(self.case, STORE, contender, before)
        target.unlink()
        shutil.copyfile(edited, target)
        read_through(target)
        self.arena.time(self.case, work, contender, self.slot, contender.change(self.slot))
        self.arena.size(self.case, growth, contender, contender.store_bytes(self.slot) - before)
