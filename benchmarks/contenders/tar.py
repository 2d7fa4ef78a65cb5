"""The baseline: one sequential pass over the files, made durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, Contender, Found, Slot, on_path, steps

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Script


class Tar(Contender):
    """An archive of everything for each state."""

    name: ClassVar[str] = "tar"
    in_place: ClassVar[bool] = False
    note: ClassVar[str] = "`tar cf` and `sync` of the archive, a whole one each time; `tar xf` without sync"

    def _locate(self, found: Found) -> str | None:
        _ = found
        return on_path("tar")

    def setup(self, slot: Slot) -> Script:
        """Nothing to prepare."""
        _ = slot
        return ()

    def _archive(self, slot: Slot, name: str) -> Script:
        archive = str(slot.store / name)
        return steps(slot.tree, (self._command(), "cf", archive, DATA), ("sync", archive))

    def _extract(self, slot: Slot, name: str) -> Script:
        return steps(slot.out, (self._command(), "xf", str(slot.store / name)))

    def first(self, slot: Slot) -> Script:
        """Archive and sync."""
        return self._archive(slot, "first.tar")

    def change(self, slot: Slot) -> Script:
        """Archive and sync the whole again."""
        return self._archive(slot, "second.tar")

    def full(self, slot: Slot) -> Script:
        """Extract the second archive."""
        return self._extract(slot, "second.tar")

    def stores(self, slot: Slot) -> tuple[Path, ...]:
        """Name both archives."""
        return (slot.store,)
