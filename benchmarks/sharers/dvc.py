"""DVC beside Git, with a remote in S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, Slot, steps
from benchmarks.contenders.dvc import Dvc
from benchmarks.sharers.contract import ACCESS, PREFIX, Sharer, cloned, place_of, thin

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Script


class SharingDvc(Dvc, Sharer):
    """One object for each file; Git's repository is cloned and pulled from its directory."""

    note: ClassVar[str] = "one object for each file, not sealed; Git's part goes from directory to directory"

    def environment(self, slot: Slot) -> dict[str, str]:
        """Add credentials."""
        return {**super().environment(slot), **ACCESS}

    def join(self, slot: Slot) -> Script:
        """Name the remote."""
        dvc, place = self._command(), place_of(slot)
        return steps(
            slot.tree,
            (dvc, "remote", "add", "--quiet", "--default", "origin", f"s3://{place.bucket}/{PREFIX}"),
            (dvc, "remote", "modify", "origin", "endpointurl", place.endpoint),
            (self._git(), "add", ".dvc/config"),
            (self._git(), "commit", "--quiet", "-m", "remote"),
        )

    def local(self, slot: Slot, *, edited: bool) -> Script:
        """Add and commit."""
        return self._commit(slot, "second" if edited else "first")

    def push(self, slot: Slot, *, edited: bool = False) -> Script:
        """Push the cache."""
        _ = edited
        return steps(slot.tree, (self._command(), "push", "--quiet"))

    def fetch(self, slot: Slot) -> Script:
        """Fetch into the cache."""
        return steps(slot.tree, (self._command(), "fetch", "--quiet"))

    def _cloned(self, slot: Slot, to: Path) -> Script:
        return steps(slot.out, (self._git(), "clone", "--quiet", str(slot.tree), str(to)))

    def clone(self, slot: Slot) -> Script:
        """Clone with Git, then pull."""
        return self._cloned(slot, cloned(slot)) + steps(cloned(slot), (self._command(), "pull", "--quiet"))

    def pull(self, slot: Slot) -> Script:
        """Pull with Git, then with DVC."""
        return steps(cloned(slot), (self._git(), "pull", "--quiet"), (self._command(), "pull", "--quiet"))

    def lazy(self, slot: Slot) -> Script:
        """Clone with Git alone."""
        return self._cloned(slot, thin(slot))

    def get(self, slot: Slot, directory: str) -> Script:
        """Pull a directory of the data."""
        return steps(thin(slot), (self._command(), "pull", "--quiet", f"{DATA}/{directory}"))
