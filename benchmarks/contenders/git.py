"""Git by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, Contender, Found, Slot, on_path, steps

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Script


class Git(Contender):
    """Loose objects; automatic packing is off, so that it takes no part in the times."""

    name: ClassVar[str] = "git"
    note: ClassVar[str] = "`gc.auto=0`; loose objects, not synced, as Git does by default"

    def _locate(self, found: Found) -> str | None:
        _ = found
        return on_path("git")

    def environment(self, slot: Slot) -> dict[str, str]:
        """Shut out the machine's settings and say who the author is."""
        who = {f"GIT_{role}_NAME": "Bench Mark" for role in ("AUTHOR", "COMMITTER")}
        where = {f"GIT_{role}_EMAIL": "bench@example.org" for role in ("AUTHOR", "COMMITTER")}
        return {**super().environment(slot), **who, **where, "GIT_CONFIG_NOSYSTEM": "1"}

    def _git(self) -> str:
        return on_path("git") or "git"

    def setup(self, slot: Slot) -> Script:
        """Make an empty repository."""
        git = self._git()
        return steps(
            slot.tree,
            (git, "init", "--quiet", "--initial-branch=main"),
            (git, "config", "gc.auto", "0"),
            (git, "config", "advice.detachedHead", "false"),
        )

    def _commit(self, slot: Slot, message: str) -> Script:
        git = self._git()
        return steps(slot.tree, (git, "add", DATA), (git, "commit", "--quiet", "-m", message))

    def first(self, slot: Slot) -> Script:
        """Add and commit."""
        return self._commit(slot, "first")

    def status(self, slot: Slot) -> Script:
        """Compare the worktree with the index and HEAD."""
        return steps(slot.tree, (self._git(), "status"))

    def change(self, slot: Slot) -> Script:
        """Add and commit again."""
        return self._commit(slot, "second")

    def diff(self, slot: Slot) -> Script:
        """Name what differs between the two commits."""
        return steps(slot.tree, (self._git(), "diff", "--name-status", "HEAD~1", "HEAD"))

    def switch(self, slot: Slot) -> Script:
        """Check out the first commit, detached."""
        return steps(slot.tree, (self._git(), "checkout", "--quiet", "HEAD~1"))

    def full(self, slot: Slot) -> Script:
        """Check out the branch; the data directory is missing, hence the force."""
        return steps(slot.tree, (self._git(), "checkout", "--quiet", "--force", "main"))

    def verify(self, slot: Slot) -> Script:
        """Read all objects and hold them against their ids."""
        return steps(slot.tree, (self._git(), "fsck", "--full"))

    def stores(self, slot: Slot) -> tuple[Path, ...]:
        """Name the repository."""
        return (slot.tree / ".git",)
