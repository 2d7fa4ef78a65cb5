"""The yardstick: the command itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import steps
from benchmarks.trackers.contract import Tracker

if TYPE_CHECKING:
    from benchmarks.contenders.contract import Found, Slot
    from benchmarks.measure import Script


class Unrecorded(Tracker):
    """Nothing is recorded."""

    name: ClassVar[str] = "unrecorded"
    note: ClassVar[str] = "the command itself"

    def _locate(self, found: Found) -> str | None:
        _ = found
        return sys.executable

    def record(self, slot: Slot, command: tuple[str, ...]) -> Script:
        """Run it and do nothing else."""
        return steps(slot.tree, command)
