"""One large file: first commit, a small insertion, growth."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.blobs import insert_in_middle, read_through, write_random
from benchmarks.machine import free_bytes, memory_bytes
from benchmarks.results import FIRST, FULL, INSERT, INSERT_GROWTH, STORE, largest_process_of, peak_of
from benchmarks.suites.everyday import empty
from benchmarks.trees import WrongContentError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.arena import Arena
    from benchmarks.contenders.contract import Contender, Slot

GIB = 1 << 30
MIB = 1 << 20
NAME = "large.bin"
INSERTED = 1024
UNFIT = frozenset({"git"})
"""Contenders that are not asked to store files of this size."""
LARGEST_BY = frozenset({"dv", "tar", "cp"})
"""Contenders that meet the largest file; others may need more space than is left."""


def label(size: int) -> str:
    """Name the data set in words."""
    return f"one file of {size // GIB} GiB" if size % GIB == 0 else f"one file of {size // MIB} MiB"


def largest(place: Path) -> int:
    """Largest size in whole GiB that leaves four times itself free; 0 if below 1 GiB."""
    return free_bytes(place) // 5 // GIB * GIB


def run(arena: Arena, size: int, *, restricted: bool) -> None:
    """Measure every contender with a file of ``size`` bytes; ``restricted`` is for the largest file."""
    case = label(size)
    allowed = LARGEST_BY if restricted else frozenset(arena.names) - UNFIT
    left_out = [name for name in arena.names if name not in allowed]
    if left_out:
        arena.record.remarks.append(f"{case}: not asked of {', '.join(left_out)}")
    if 2 * size > memory_bytes():
        arena.record.remarks.append(f"{case}: file and store exceed memory, so the page cache is cold in part")
    entrants = arena.entrants(case, allowed)
    for number in range(arena.runs):
        for contender in entrants:
            if arena.wanted(contender, case, number):
                with arena.slots([contender]) as slots:
                    slot = slots[contender.name]
                    arena.each(case, [contender], partial(_play, arena, slot, size))


def _play(arena: Arena, slot: Slot, size: int, contender: Contender) -> None:
    case = label(size)
    target = slot.data / NAME
    arena.prepare(contender, slot)
    slot.data.mkdir()
    write_random(target, size)
    read_through(target)
    sample = arena.time(case, FIRST, contender, slot, contender.first(slot))
    arena.size(case, largest_process_of(FIRST), contender, sample.largest_kib * 1024)
    before = contender.store_bytes(slot)
    arena.size(case, STORE, contender, before)
    insert_in_middle(target, INSERTED)
    read_through(target)
    arena.time(case, INSERT, contender, slot, contender.change(slot))
    arena.size(case, INSERT_GROWTH, contender, contender.store_bytes(slot) - before)


def weigh(arena: Arena, size: int) -> None:
    """Measure the memory of storing one file and of checking it out."""
    case = label(size)
    for contender in arena.entrants(case):
        with arena.slots([contender]) as slots:
            slot = slots[contender.name]
            arena.each(case, [contender], partial(_weigh, arena, slot, size))


def _weigh(arena: Arena, slot: Slot, size: int, contender: Contender) -> None:
    case = label(size)
    target = slot.data / NAME
    arena.prepare(contender, slot)
    slot.data.mkdir()
    write_random(target, size)
    arena.weigh(case, FIRST, contender, slot, contender.first(slot))
    insert_in_middle(target, INSERTED)
    expected = target.stat().st_size
    arena.weigh(case, INSERT, contender, slot, contender.change(slot))
    empty(contender, slot)
    arena.weigh(case, FULL, contender, slot, contender.full(slot))
    came_back = (contender.checked_out(slot) / NAME).stat().st_size
    if came_back != expected:
        message = f"{came_back} bytes came back, {expected} were stored: not counted as {peak_of(FULL)}"
        raise WrongContentError(message)
