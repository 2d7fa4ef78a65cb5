"""Git with its Large File Storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, Found, Slot, on_path, steps
from benchmarks.contenders.git import Git

if TYPE_CHECKING:
    from benchmarks.measure import Script


class GitLfs(Git):
    """Every file of the data directory goes through the filter process."""

    name: ClassVar[str] = "git-lfs"
    note: ClassVar[str] = "everything below `data` is tracked by it; plain files, not sealed"

    def _locate(self, found: Found) -> str | None:
        _ = found
        return on_path("git-lfs")

    def setup(self, slot: Slot) -> Script:
        """Make an empty repository whose data directory is tracked."""
        git = self._git()
        lfs = self._command()
        return super().setup(slot) + steps(
            slot.tree,
            (lfs, "install", "--local"),
            (lfs, "track", f"{DATA}/**"),
            (git, "add", ".gitattributes"),
            (git, "commit", "--quiet", "-m", "attributes"),
        )
