"""The backup program restic, with a repository in S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, Slot, steps
from benchmarks.contenders.restic import Restic
from benchmarks.sharers.contract import ACCESS, PREFIX, Sharer, cloned, place_of, thin

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Script


class SharingRestic(Restic, Sharer):
    """Stores nothing here, so its push is a backup and its clone a restore."""

    note: ClassVar[str] = "sealed; a push is `backup`, which reads and seals the files, a clone is `restore`"

    def environment(self, slot: Slot) -> dict[str, str]:
        """Add credentials, and name the bucket."""
        place = place_of(slot)
        named = {"RESTIC_REPOSITORY": f"s3:{place.endpoint}/{place.bucket}/{PREFIX}"}
        return {**super().environment(slot), **ACCESS, **named}

    def join(self, slot: Slot) -> Script:
        """Nothing to say: the repository was made there."""
        _ = slot
        return ()

    def push(self, slot: Slot, *, edited: bool = False) -> Script:
        """Back up."""
        _ = edited
        return self._restic(slot, "backup", "--quiet", DATA)

    def _restored(self, slot: Slot, to: Path, *which: str) -> Script:
        """Restore with a cache of its own, as another machine would."""
        cache = str(to.with_name(f"{to.name}-cache"))
        return steps(
            slot.out, (self._command(), "restore", "latest", "--cache-dir", cache, "--target", str(to), *which)
        )

    def clone(self, slot: Slot) -> Script:
        """Restore everything."""
        return self._restored(slot, cloned(slot))

    def get(self, slot: Slot, directory: str) -> Script:
        """Restore a directory."""
        return self._restored(slot, thin(slot), "--include", f"/{DATA}/{directory}")
