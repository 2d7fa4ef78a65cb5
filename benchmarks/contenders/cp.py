"""A plain copy, made durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, Contender, Found, Slot, on_path, steps

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Script


class Cp(Contender):
    """A directory of copies for each state."""

    name: ClassVar[str] = "cp"
    in_place: ClassVar[bool] = False
    note: ClassVar[str] = "`cp -r` and `sync -f` of the file system, a whole copy each time"

    def _locate(self, found: Found) -> str | None:
        _ = found
        return on_path("cp")

    def setup(self, slot: Slot) -> Script:
        """Nothing to prepare."""
        _ = slot
        return ()

    def _copy(self, slot: Slot, name: str) -> Script:
        target = str(slot.store / name)
        copy = (self._command(), "-r", "--reflink=never", DATA, target)
        return steps(slot.tree, copy, ("sync", "-f", target))

    def first(self, slot: Slot) -> Script:
        """Copy and sync."""
        return self._copy(slot, "first")

    def change(self, slot: Slot) -> Script:
        """Copy and sync the whole again."""
        return self._copy(slot, "second")

    def full(self, slot: Slot) -> Script:
        """Copy back, without sync."""
        copy = (self._command(), "-r", "--reflink=never", str(slot.store / "second"), str(slot.out / DATA))
        return steps(slot.out, copy)

    def stores(self, slot: Slot) -> tuple[Path, ...]:
        """Name both copies."""
        return (slot.store,)
