"""DVC beside Git."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, Found, Slot, on_path, steps
from benchmarks.contenders.git import Git

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Script


class Dvc(Git):
    """The data directory is one output of DVC; Git keeps its small file."""

    name: ClassVar[str] = "dvc"
    note: ClassVar[str] = "default cache type (reflink, else copy); plain files, not sealed; Git included"

    def _locate(self, found: Found) -> str | None:
        return str(found.dvc) if found.dvc is not None else on_path("dvc")

    def environment(self, slot: Slot) -> dict[str, str]:
        """Keep its site-wide cache inside the slot, and keep it from calling home."""
        cache = {"DVC_SITE_CACHE_DIR": str(slot.home / "dvc"), "DVC_NO_ANALYTICS": "1"}
        return {**super().environment(slot), **cache}

    def setup(self, slot: Slot) -> Script:
        """Make an empty repository of both."""
        dvc = self._command()
        return super().setup(slot) + steps(
            slot.tree,
            (dvc, "init", "--quiet"),
            (dvc, "config", "core.analytics", "false"),
            (dvc, "config", "core.check_update", "false"),
            (self._git(), "add", ".dvc", ".dvcignore"),
            (self._git(), "commit", "--quiet", "-m", "init"),
        )

    def _commit(self, slot: Slot, message: str) -> Script:
        git = self._git()
        return steps(
            slot.tree,
            (self._command(), "add", "--quiet", DATA),
            (git, "add", f"{DATA}.dvc", ".gitignore"),
            (git, "commit", "--quiet", "-m", message),
        )

    def status(self, slot: Slot) -> Script:
        """Compare the data directory with its small file."""
        return steps(slot.tree, (self._command(), "status"))

    def diff(self, slot: Slot) -> Script:
        """Compare two Git revisions."""
        return steps(slot.tree, (self._command(), "diff", "HEAD~1", "HEAD"))

    def switch(self, slot: Slot) -> Script:
        """Check out with Git, then with DVC."""
        return super().switch(slot) + steps(slot.tree, (self._command(), "checkout", "--quiet"))

    def full(self, slot: Slot) -> Script:
        """Check out with Git, then with DVC, into a missing data directory."""
        return super().full(slot) + steps(slot.tree, (self._command(), "checkout", "--quiet"))

    def stores(self, slot: Slot) -> tuple[Path, ...]:
        """Name the cache and the Git repository."""
        return (slot.tree / ".dvc" / "cache", slot.tree / ".git")
