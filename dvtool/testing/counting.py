"""Readers that remember what they were asked for, to tell how much a command reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class CountingReader:
    """Reads objects in place of a store's ``read_object``, and keeps (kind, id) of each reading in order."""

    def __init__(self, read: Callable[[int, bytes], bytes]) -> None:
        """Pass every reading on to ``read``."""
        self._read = read
        self.readings: list[tuple[int, bytes]] = []

    def __call__(self, kind: int, identity: bytes) -> bytes:
        """Return the object, as the store does."""
        self.readings.append((kind, identity))
        return self._read(kind, identity)

    def count(self, kind: int) -> int:
        """Return how often an object of this kind was read."""
        return sum(1 for found, _identity in self.readings if found == kind)
