"""Which process stores a chunk when several read files at once: the one that claims it first.

A table in shared memory, without locks: two processes that claim the same id in the same instant both store it,
which costs a few bytes and nothing else.
"""

from __future__ import annotations

import mmap
from typing import Final

PROBES: Final = 64
"""Slots looked at before a crowded table answers "store it" to everybody."""


LIMIT: Final = 1 << 24
"""Slots at most, 128 MiB: enough to spread four million ids, and what is expected may be a bad guess."""


class Claims:
    """A hash table of the first eight bytes of ids; shared with every process forked after it was made."""

    __slots__ = ("_map", "_mask", "_slots")

    def __init__(self, expected: int) -> None:
        """Make room for ``expected`` ids, up to a limit (more are allowed); untouched pages cost no memory."""
        count = min(1 << max(16, (4 * expected).bit_length()), LIMIT)
        self._map = mmap.mmap(-1, count * 8)
        self._slots = memoryview(self._map).cast("Q")
        self._mask = count - 1

    def claim(self, identity: bytes) -> bool:
        """Return whether the caller is the first to claim ``identity`` and must store it."""
        value = int.from_bytes(identity[:8], "little") or 1
        slots = self._slots
        mask = self._mask
        at = value & mask
        for _ in range(PROBES):
            found = slots[at]
            if found == value:
                return False
            if not found:
                slots[at] = value
                return True
            at = (at + 1) & mask
        return True
