"""What a sharer is: a tool, and its command lines for each measured operation with a bucket."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from benchmarks.contenders.contract import DATA, Slot, Tool

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.bucket import Place
    from benchmarks.measure import Script

REGION = "us-east-1"
ACCESS = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Credentials as every tool takes them from its environment; the service does not look at them."""
PREFIX = "bench"


class Sharer(Tool):
    """A tool that brings data to a bucket and back. An operation that it does not have is None."""

    @abstractmethod
    def join(self, slot: Slot) -> Script:
        """Say where the remote is (not timed)."""

    def local(self, slot: Slot, *, edited: bool) -> Script | None:
        """Store the data here, for the first time or after the edit; None where a push reads the files themselves."""
        _ = slot, edited
        return None

    @abstractmethod
    def push(self, slot: Slot, *, edited: bool = False) -> Script:
        """Bring to the bucket what it lacks."""

    def push_nothing(self, slot: Slot) -> Script | None:
        """Find out that it lacks nothing."""
        return self.push(slot)

    def push_edit(self, slot: Slot) -> Script | None:
        """Bring the edit there."""
        return self.push(slot, edited=True)

    def fetch(self, slot: Slot) -> Script | None:
        """Find out that nothing has come into the bucket."""
        _ = slot
        return None

    @abstractmethod
    def clone(self, slot: Slot) -> Script:
        """Bring everything into an empty directory, with nothing but the bucket's place to begin with."""

    def pull(self, slot: Slot) -> Script | None:
        """Bring the edit into that clone."""
        _ = slot
        return None

    def lazy(self, slot: Slot) -> Script | None:
        """Make another clone that has no content of files."""
        _ = slot
        return None

    def get(self, slot: Slot, directory: str) -> Script | None:
        """Bring one directory below the data into the clone without content."""
        _ = slot, directory
        return None

    def checks(self) -> bool:
        """Whether the clones hold the files of the data set."""
        return True


def cloned(slot: Slot) -> Path:
    """Where the full clone is."""
    return slot.out / "clone"


def thin(slot: Slot) -> Path:
    """Where the clone without content is."""
    return slot.out / "thin"


def data_of(clone: Path) -> Path:
    """Where the data set is in a clone."""
    return clone / DATA


def place_of(slot: Slot) -> Place:
    """Where the bucket is."""
    assert slot.place is not None
    return slot.place
