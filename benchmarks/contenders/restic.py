"""The backup program restic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, Contender, Found, Slot, on_path, steps
from benchmarks.measure import quietly

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Script


class Restic(Contender):
    """Chunks, packs and seals, as ``dv`` does; restores into another place."""

    name: ClassVar[str] = "restic"
    in_place: ClassVar[bool] = False
    note: ClassVar[str] = "sealed; status is `backup --dry-run`; a checkout always restores everything"

    def _locate(self, found: Found) -> str | None:
        _ = found
        return on_path("restic")

    def _version_arguments(self) -> tuple[str, ...]:
        return ("version",)

    def environment(self, slot: Slot) -> dict[str, str]:
        """Name the repository and its password."""
        named = {"RESTIC_REPOSITORY": str(slot.store / "restic"), "RESTIC_PASSWORD": "bench"}
        return {**super().environment(slot), **named, "RESTIC_CACHE_DIR": str(slot.home / "restic")}

    def _restic(self, slot: Slot, *arguments: str) -> Script:
        return steps(slot.tree, (self._command(), *arguments))

    def setup(self, slot: Slot) -> Script:
        """Make an empty repository."""
        return self._restic(slot, "init", "--quiet")

    def first(self, slot: Slot) -> Script:
        """Back up."""
        return self._restic(slot, "backup", "--quiet", DATA)

    def status(self, slot: Slot) -> Script:
        """Back up without writing."""
        return self._restic(slot, "backup", "--dry-run", DATA)

    def change(self, slot: Slot) -> Script:
        """Back up again."""
        return self._restic(slot, "backup", "--quiet", DATA)

    def _snapshots(self, slot: Slot) -> list[str]:
        """Ids of the snapshots, oldest first."""
        listed = quietly(self._restic(slot, "snapshots", "--json"), env=self.environment(slot))
        return [entry["id"] for entry in sorted(json.loads(listed), key=lambda entry: entry["time"])]

    def diff(self, slot: Slot) -> Script:
        """Compare the two snapshots."""
        return self._restic(slot, "diff", *self._snapshots(slot)[:2])

    def switch(self, slot: Slot) -> Script:
        """Restore all of the first snapshot."""
        return self._restic(slot, "restore", self._snapshots(slot)[0], "--target", str(slot.out))

    def full(self, slot: Slot) -> Script:
        """Restore all of the second snapshot."""
        return self._restic(slot, "restore", self._snapshots(slot)[1], "--target", str(slot.out))

    def verify(self, slot: Slot) -> Script:
        """Read all packs."""
        return self._restic(slot, "check", "--read-data")

    def collect(self, slot: Slot) -> Script:
        """Mark, and say what would be pruned."""
        return self._restic(slot, "prune", "--dry-run")

    def stores(self, slot: Slot) -> tuple[Path, ...]:
        """Name the repository."""
        return (slot.store,)
