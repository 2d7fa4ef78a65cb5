"""What a tracker is: a tool, and its command lines for each measured way of recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import Slot, Tool, steps

if TYPE_CHECKING:
    from benchmarks.measure import Script

HERE = Path(__file__).parent
READER = HERE / "read_files.py"


class Tracker(Tool):
    """A tool that records runs. What it does not have is None."""

    values: ClassVar[int] = 0
    """How many values it is asked to log; slow ones log fewer. 0: it logs none."""

    def setup(self, slot: Slot) -> Script:
        """Nothing to prepare."""
        _ = slot
        return ()

    def logger(self) -> tuple[str, ...] | None:
        """Name the interpreter and the program that logs: its arguments are values and processes, or ``count``."""
        return None

    def log(self, slot: Slot, values: int, processes: int) -> Script | None:
        """Log so many values in each of so many processes to one run."""
        program = self.logger()
        return None if program is None else steps(slot.tree, (*program, str(values), str(processes)))

    def shares(self) -> bool:
        """Whether several processes can log to one run."""
        return False

    def count(self, slot: Slot) -> Script:
        """Print how many values the run with the most has."""
        return steps(slot.tree, (*(self.logger() or ()), "count"))

    def record(self, slot: Slot, command: tuple[str, ...]) -> Script | None:
        """Run a command, and record it."""
        _ = slot, command
        return None

    def commit(self, slot: Slot) -> Script:
        """Store the data set before that, if it is a part of what is recorded."""
        _ = slot
        return ()
