"""The erasure of this project."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, steps
from benchmarks.erasers.contract import HERE, Eraser, Sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.contenders.contract import Found, Slot
    from benchmarks.measure import Script

HISTORY = HERE / "make_edits.py"


class ErasingDv(Eraser):
    """Writes anew what held the files, destroys the old packs and their keys, and certifies it."""

    name: ClassVar[str] = "dv"
    note: ClassVar[str] = "finds, rewrites, reads back, destroys, verifies and certifies"

    def _locate(self, found: Found) -> str | None:
        return str(found.dv) if found.dv is not None else None

    def environment(self, slot: Slot) -> dict[str, str]:
        """Say who the author is."""
        return {**super().environment(slot), "DV_AUTHOR": "Bench Mark <bench@example.org>"}

    def _python(self) -> str:
        return str(Path(self._command()).parent / "python")

    def setup(self, slot: Slot) -> Script:
        """Make an empty repository."""
        return steps(slot.tree, (self._command(), "init"))

    def history(self, slot: Slot, edits: Path) -> Script:
        """Add and commit; a library makes the other snapshots, and garbage is collected, as it would be in time."""
        dv = self._command()
        return steps(
            slot.tree,
            (dv, "add", DATA),
            (dv, "commit", "-m", "first"),
            (self._python(), "-P", str(HISTORY), str(slot.tree), str(edits)),
            (dv, "checkout", "--force", "main"),
            (dv, "gc", "--grace", "0"),
        )

    def settle(self, slot: Slot) -> Script:
        """Compare the worktree with HEAD."""
        return steps(slot.tree, (self._command(), "status"))

    def erase(self, slot: Slot, paths: Sequence[str]) -> dict[str, Script]:
        """Erase, in one operation."""
        listed = slot.base / "targets"
        listed.write_text("".join(f"{path}\n" for path in paths))
        return {"": steps(slot.tree, (self._command(), "erase", "--targets-from", str(listed), "--yes", "--json"))}

    def left(self, slot: Slot, path: str) -> str:
        """Ask for it again: nothing of this may be known."""
        asked = (self._command(), "erase", path, "--plan")
        done = subprocess.run(
            asked, cwd=slot.tree, env=self.environment(slot), capture_output=True, text=True, check=False
        )
        return "" if "nothing of this was ever stored" in done.stderr else f"{done.stdout}{done.stderr}"

    def contents(self, slot: Slot) -> Sizes:
        """Name the packs."""
        return {path.name: path.stat().st_size for path in (slot.tree / ".dv" / "store" / "packs").iterdir()}

    def gone(self, output: str) -> int | None:
        """Read it from what was printed."""
        said = json.loads(output[output.index("{") :])
        assert not said["outstanding"], said["outstanding"]
        return int(said["bytes"])
