"""The runs of this project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, steps
from benchmarks.trackers.contract import HERE, Tracker

if TYPE_CHECKING:
    from benchmarks.contenders.contract import Found, Slot
    from benchmarks.measure import Script

LOGGER = HERE / "log_dv.py"
HISTORY = HERE / "make_history.py"


class TrackingDv(Tracker):
    """What Python programs open is noted by a hook, which is the default."""

    name: ClassVar[str] = "dv"
    note: ClassVar[str] = "`dv run`, `dvtool.run`; values are in the sealed store when a program has ended"
    values: ClassVar[int] = 200_000
    trace: ClassVar[str] = "audit"

    def _locate(self, found: Found) -> str | None:
        return str(found.dv) if found.dv is not None else None

    def environment(self, slot: Slot) -> dict[str, str]:
        """Say who the author is."""
        return {**super().environment(slot), "DV_AUTHOR": "Bench Mark <bench@example.org>"}

    def python(self) -> str:
        """Name the interpreter that has dv as a library: the one beside the program."""
        return str(Path(self._command()).parent / "python")

    def setup(self, slot: Slot) -> Script:
        """Make an empty repository."""
        return steps(slot.tree, (self._command(), "init"))

    def logger(self) -> tuple[str, ...]:
        """Log by dvtool.run."""
        return (self.python(), "-P", str(LOGGER))

    def shares(self) -> bool:
        """Every process of a run logs to it."""
        return True

    def record(self, slot: Slot, command: tuple[str, ...]) -> Script:
        """Run it by dv."""
        return steps(slot.tree, (self._command(), "run", "--trace", self.trace, "--", *command))

    def commit(self, slot: Slot) -> Script:
        """Add and commit."""
        dv = self._command()
        return steps(slot.tree, (dv, "add", DATA), (dv, "commit", "-m", "first"))

    def fill(self, slot: Slot, snapshots: int, runs: int) -> Script:
        """Make a long history of snapshots and runs, and check out the end of it."""
        made = (self.python(), "-P", str(HISTORY), str(slot.tree), str(snapshots), str(runs))
        return steps(slot.tree, made, (self._command(), "checkout", "--force", "main"))

    def list_runs(self, slot: Slot) -> Script:
        """List all runs."""
        return steps(slot.tree, (self._command(), "runs", "list"))

    def lineage(self, slot: Slot, path: str) -> Script:
        """Tell what was made from the content of a file."""
        return steps(slot.tree, (self._command(), "lineage", path, "--down"))


class TrackingDvDeclared(TrackingDv):
    """Only what is said to be read is recorded as read."""

    name: ClassVar[str] = "dv-declared"
    note: ClassVar[str] = "`dv run --trace declared`"
    values: ClassVar[int] = 0
    trace: ClassVar[str] = "declared"

    def logger(self) -> None:  # type: ignore[override]
        """It would log the same way."""

    def shares(self) -> bool:
        """As above."""
        return False
