"""Stat data as the index keeps it, and when it may be trusted."""

from __future__ import annotations

import operator
import stat
import struct
from typing import TYPE_CHECKING, Final

from dvtool.formats import tree
from dvtool.formats.worktree_index import STAT_SIZE, UNKNOWN_STAT

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

Stat = tuple[int, int, int, int, int]
"""Size, mtime, ctime (nanoseconds), inode, mode."""

COARSE_WINDOW: Final = 2_100_000_000
"""Nanoseconds; FAT keeps times to two seconds, many network file systems to one."""
FINE_WINDOW: Final = 100_000_000
"""Nanoseconds; Linux stamps files at its timer's tick (1 to 10 ms), so ten ticks are left for doubt."""


of: Callable[[os.stat_result], Stat] = operator.attrgetter("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_mode")
"""Returns what the index keeps of a file's status; made to run in C, for a status of everything."""


def pack(rows: Sequence[int]) -> bytes:
    """Return stat data, flattened, as the index holds it: little-endian, 64 bits each."""
    layout = f"<{len(rows)}q"
    try:
        return struct.pack(layout, *rows)
    except struct.error:  # inode numbers of 2**63 and more, times beyond the year 2262
        return struct.pack(layout, *[(value + 2**63) % 2**64 - 2**63 for value in rows])


def trusted(rows: Sequence[int], now: int) -> bytes:
    """Return stat data, flattened, as the index holds it: UNKNOWN_STAT for each file that may change unseen.

    A file written within the clock's granularity of ``now`` (nanoseconds), the moment before it was read, can be
    written once more and keep its times; it is then looked at again by content.
    """
    packed = pack(rows)
    if now - max(max(rows[1::5], default=0), max(rows[2::5], default=0)) >= COARSE_WINDOW:
        return packed
    found = [packed[at : at + STAT_SIZE] for at in range(0, len(packed), STAT_SIZE)]
    return b"".join([row if is_old(row, now) else UNKNOWN_STAT for row in found])


def is_old(packed: bytes, now: int) -> bool:
    """Return whether packed stat data are old enough, at ``now`` (nanoseconds), to be trusted."""
    return not _is_fresh(int.from_bytes(packed[8:16], "little"), int.from_bytes(packed[16:24], "little"), now)


def _is_fresh(modified: int, changed: int, now: int) -> bool:
    age = now - max(modified, changed)
    if age >= COARSE_WINDOW:
        return False
    coarse = modified % 1_000_000_000 == 0 and changed % 1_000_000_000 == 0
    return coarse or age < FINE_WINDOW


def kind_of(mode: int) -> int | None:
    """Return ``tree.FILE``, ``tree.EXECUTABLE`` or ``tree.SYMLINK`` for a mode, or None for what cannot be stored."""
    if stat.S_ISREG(mode):
        return tree.EXECUTABLE if mode & stat.S_IXUSR else tree.FILE
    if stat.S_ISLNK(mode):
        return tree.SYMLINK
    return None


def is_same_kind(kind: int, mode: int) -> bool:
    """Return whether a file of ``mode`` still has the kind of a tree's entry."""
    found = kind_of(mode)
    if kind in tree.EXECUTABLES:
        return found == tree.EXECUTABLE
    if kind in tree.REGULAR:
        return found == tree.FILE
    return found == kind
