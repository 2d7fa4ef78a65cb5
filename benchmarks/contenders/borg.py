"""The backup program Borg."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, Contender, Found, Slot, on_path, steps

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Script


class Borg(Contender):
    """Chunks, packs and seals; restores into another place."""

    name: ClassVar[str] = "borg"
    in_place: ClassVar[bool] = False
    note: ClassVar[str] = "sealed (`repokey-blake2`), lz4; a checkout always extracts everything"

    def _locate(self, found: Found) -> str | None:
        _ = found
        return on_path("borg")

    def environment(self, slot: Slot) -> dict[str, str]:
        """Name the repository, its passphrase, and a place for caches and keys."""
        named = {"BORG_REPO": str(slot.store / "borg"), "BORG_PASSPHRASE": "bench"}
        return {**super().environment(slot), **named, "BORG_BASE_DIR": str(slot.home)}

    def setup(self, slot: Slot) -> Script:
        """Make an empty repository."""
        return steps(slot.tree, (self._command(), "init", "--encryption=repokey-blake2"))

    def first(self, slot: Slot) -> Script:
        """Create the first archive."""
        return steps(slot.tree, (self._command(), "create", "::first", DATA))

    def change(self, slot: Slot) -> Script:
        """Create the second archive."""
        return steps(slot.tree, (self._command(), "create", "::second", DATA))

    def diff(self, slot: Slot) -> Script:
        """Compare the two archives."""
        return steps(slot.tree, (self._command(), "diff", "::first", "second"))

    def switch(self, slot: Slot) -> Script:
        """Extract all of the first archive."""
        return steps(slot.out, (self._command(), "extract", "::first"))

    def full(self, slot: Slot) -> Script:
        """Extract all of the second archive."""
        return steps(slot.out, (self._command(), "extract", "::second"))

    def verify(self, slot: Slot) -> Script:
        """Read and open all chunks."""
        return steps(slot.tree, (self._command(), "check", "--verify-data"))

    def stores(self, slot: Slot) -> tuple[Path, ...]:
        """Name the repository."""
        return (slot.store,)
