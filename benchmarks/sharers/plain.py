"""The yardstick: a small program that sends the same bytes in large objects."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import steps
from benchmarks.sharers.contract import ACCESS, Sharer, cloned, place_of

if TYPE_CHECKING:
    from benchmarks.contenders.contract import Found, Slot
    from benchmarks.measure import Script

PROGRAM = Path(__file__).with_name("plain_client.py")


class Plain(Sharer):
    """Objects of 64 MiB, one after the other; no names of files, no history, no seal."""

    name: ClassVar[str] = "plain"
    note: ClassVar[str] = (
        "boto3; the bytes of all files in objects of 64 MiB, one after the other; writes them unsynced"
    )
    threads: ClassVar[int] = 1

    def _locate(self, found: Found) -> str | None:
        _ = found
        return sys.executable if importlib.util.find_spec("boto3") is not None else None

    def _version_arguments(self) -> tuple[str, ...]:
        return ("-P", str(PROGRAM), "version")

    def environment(self, slot: Slot) -> dict[str, str]:
        """Add credentials."""
        return {**super().environment(slot), **ACCESS}

    def setup(self, slot: Slot) -> Script:
        """Nothing to prepare."""
        _ = slot
        return ()

    def join(self, slot: Slot) -> Script:
        """Cut the data set into pieces, each of which becomes an object."""
        return steps(slot.tree, (self._command(), "-P", str(PROGRAM), "cut", str(slot.data), str(slot.store)))

    def _transfer(self, slot: Slot, what: str, where: Path) -> Script:
        place = place_of(slot)
        arguments = (what, str(where), place.endpoint, place.bucket, str(self.threads))
        return steps(slot.tree, (self._command(), "-P", str(PROGRAM), *arguments))

    def push(self, slot: Slot, *, edited: bool = False) -> Script:
        """Upload all pieces."""
        _ = edited
        return self._transfer(slot, "upload", slot.store)

    def push_nothing(self, slot: Slot) -> None:
        """It would upload everything again."""

    def push_edit(self, slot: Slot) -> None:
        """As above."""

    def clone(self, slot: Slot) -> Script:
        """Download all objects."""
        return self._transfer(slot, "download", cloned(slot))

    def checks(self) -> bool:
        """What comes back are the pieces."""
        return False


class PlainByFour(Plain):
    """The same by four threads."""

    name: ClassVar[str] = "plain-4"
    note: ClassVar[str] = "as plain, four at a time"
    threads: ClassVar[int] = 4
