"""Git with git-annex."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, Found, Slot, on_path, steps
from benchmarks.contenders.git import Git

if TYPE_CHECKING:
    from benchmarks.measure import Script


class GitAnnex(Git):
    """Locked files, its default: the worktree holds symbolic links into the store."""

    name: ClassVar[str] = "git-annex"
    note: ClassVar[str] = "moves content away and leaves links: a checkout writes links, not content"

    def _locate(self, found: Found) -> str | None:
        _ = found
        return on_path("git-annex")

    def _version_arguments(self) -> tuple[str, ...]:
        return ("version",)

    def setup(self, slot: Slot) -> Script:
        """Make an empty annex."""
        return super().setup(slot) + steps(slot.tree, (self._command(), "init", "--quiet", "bench"))

    def _commit(self, slot: Slot, message: str) -> Script:
        git = self._git()
        return steps(
            slot.tree,
            (self._command(), "add", "--quiet", DATA),
            (git, "add", "--update", DATA),
            (git, "commit", "--quiet", "-m", message),
        )
