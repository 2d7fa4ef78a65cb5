"""What a command costs before it does anything: status in a tiny repository."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.contenders.contract import steps
from benchmarks.measure import run as measure
from benchmarks.results import PYTHON, TINY
from benchmarks.trees import Tree

if TYPE_CHECKING:
    from benchmarks.arena import Arena
    from benchmarks.contenders.contract import Contender

CASE = "10 files of 1 KiB"
TREE = Tree(files=10, size=1024, changed=0, added=0, gone=0)
AT_LEAST = 20
"""Runs are short here, so there are more of them."""
YARDSTICK = "python"


def run(arena: Arena) -> None:
    """Alternate ``python -c pass`` and every contender's status."""
    entrants = arena.entrants(CASE)
    arena.record.remarks.append(f"{PYTHON} is the interpreter that runs the benchmark")
    with arena.slots(entrants) as slots:

        def begin(contender: Contender) -> None:
            slot = slots[contender.name]
            arena.prepare(contender, slot)
            TREE.write(slot.data)
            script = contender.status(slot)
            if script is not None:
                arena.untimed(contender, slot, contender.first(slot))
                arena.untimed(contender, slot, script)

        def status(contender: Contender) -> None:
            slot = slots[contender.name]
            script = contender.status(slot)
            if script is not None:
                arena.time(CASE, TINY, contender, slot, script)

        arena.each(CASE, entrants, begin)
        for _ in range(max(arena.runs, AT_LEAST)):
            _python(arena)
            arena.each(CASE, entrants, status)


def _python(arena: Arena) -> None:
    sample = measure(
        steps(arena.place, (sys.executable, "-c", "pass")),
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        output=arena.place / "output",
        limit=arena.limit,
    )
    arena.record.add(CASE, PYTHON, YARDSTICK, "s", sample.seconds)
