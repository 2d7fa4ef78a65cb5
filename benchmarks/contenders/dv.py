"""The tool of this project."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, Contender, Found, Slot, steps

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Script


class Dv(Contender):
    """Content-defined chunks, compressed and sealed; durable when a command returns."""

    name: ClassVar[str] = "dv"
    note: ClassVar[str] = "stores sealed chunks; its store is `.dv/store`"

    def _locate(self, found: Found) -> str | None:
        return str(found.dv) if found.dv is not None else None

    def environment(self, slot: Slot) -> dict[str, str]:
        """Say who the author is."""
        return {**super().environment(slot), "DV_AUTHOR": "Bench Mark <bench@example.org>"}

    def setup(self, slot: Slot) -> Script:
        """Make an empty repository."""
        return steps(slot.tree, (self._command(), "init"))

    def _commit(self, slot: Slot, message: str) -> Script:
        dv = self._command()
        return steps(slot.tree, (dv, "add", DATA), (dv, "commit", "-m", message))

    def first(self, slot: Slot) -> Script:
        """Add and commit."""
        return self._commit(slot, "first")

    def status(self, slot: Slot) -> Script:
        """Compare the worktree with HEAD."""
        return steps(slot.tree, (self._command(), "status"))

    def change(self, slot: Slot) -> Script:
        """Add and commit again."""
        return self._commit(slot, "second")

    def diff(self, slot: Slot) -> Script:
        """Compare the two snapshots."""
        return steps(slot.tree, (self._command(), "diff", "HEAD~1", "HEAD"))

    def switch(self, slot: Slot) -> Script:
        """Check out the first snapshot, detached."""
        return steps(slot.tree, (self._command(), "checkout", "HEAD~1"))

    def full(self, slot: Slot) -> Script:
        """Check out the branch; the data directory is missing, hence the force."""
        return steps(slot.tree, (self._command(), "checkout", "--force", "main"))

    def verify(self, slot: Slot) -> Script:
        """Open every frame, hold it against its id, and follow every link."""
        return steps(slot.tree, (self._command(), "fsck", "--full"))

    def collect(self, slot: Slot) -> Script:
        """Mark, and say what would be collected."""
        return steps(slot.tree, (self._command(), "gc", "--dry-run"))

    def stores(self, slot: Slot) -> tuple[Path, ...]:
        """Name the store without caches and worktree index."""
        return (slot.tree / ".dv" / "store",)
