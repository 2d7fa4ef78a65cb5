"""The tool of this project, with a remote."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, Slot, steps
from benchmarks.contenders.dv import Dv
from benchmarks.sharers.contract import ACCESS, PREFIX, REGION, Sharer, cloned, place_of, thin

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Script

PASSPHRASE = "bench"  # noqa: S105 - it protects random bytes


class SharingDv(Dv, Sharer):
    """The remote's key is sealed by a passphrase."""

    note: ClassVar[str] = "sealed packs, the key sealed by a passphrase; clones have the history as well"

    def environment(self, slot: Slot) -> dict[str, str]:
        """Add credentials, and the passphrase."""
        return {**super().environment(slot), **ACCESS, "DV_PASSPHRASE": PASSPHRASE}

    def _options(self, slot: Slot) -> tuple[str, ...]:
        return ("--option", f"endpoint_url={place_of(slot).endpoint}", "--option", f"region={REGION}")

    def _url(self, slot: Slot) -> str:
        return f"s3://{place_of(slot).bucket}/{PREFIX}"

    def join(self, slot: Slot) -> Script:
        """Name the remote."""
        secret = slot.home / "passphrase"
        add = (self._command(), "remote", "add", "origin", self._url(slot), *self._options(slot))
        return steps(
            slot.tree,
            ("/bin/sh", "-c", f'umask 077 && printf %s "$DV_PASSPHRASE" >"{secret}"'),
            (*add, "--passphrase-file", str(secret)),
        )

    def local(self, slot: Slot, *, edited: bool) -> Script:
        """Add and commit."""
        return self._commit(slot, "second" if edited else "first")

    def push(self, slot: Slot, *, edited: bool = False) -> Script:
        """Push the branch."""
        _ = edited
        return steps(slot.tree, (self._command(), "push"))

    def fetch(self, slot: Slot) -> Script:
        """Fetch."""
        return steps(slot.tree, (self._command(), "fetch"))

    def _clone(self, slot: Slot, to: Path, *how: str) -> Script:
        return steps(slot.out, (self._command(), "clone", *how, *self._options(slot), self._url(slot), str(to)))

    def clone(self, slot: Slot) -> Script:
        """Clone."""
        return self._clone(slot, cloned(slot))

    def pull(self, slot: Slot) -> Script:
        """Pull."""
        return steps(cloned(slot), (self._command(), "pull"))

    def lazy(self, slot: Slot) -> Script:
        """Clone without the content of files."""
        return self._clone(slot, thin(slot), "--lazy")

    def get(self, slot: Slot, directory: str) -> Script:
        """Get a directory."""
        return steps(thin(slot), (self._command(), "get", f"{DATA}/{directory}"))
