"""Stat data as the index keeps it, and when it may be trusted."""

from __future__ import annotations

import stat
import sys
from array import array
from typing import TYPE_CHECKING, Final

from dvtool.formats import tree
from dvtool.formats.worktree_index import UNKNOWN_STAT

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

Stat = tuple[int, int, int, int, int]
"""Size, mtime, ctime (nanoseconds), inode, mode."""

COARSE_WINDOW: Final = 2_100_000_000
"""Nanoseconds; FAT keeps times to two seconds, many network file systems to one."""
FINE_WINDOW: Final = 100_000_000
"""Nanoseconds; Linux stamps files at its timer's tick (1 to 10 ms), so ten ticks are left for doubt."""


def of(result: os.stat_result) -> Stat:
    """Return what the index keeps of a file's status."""
    return (result.st_size, result.st_mtime_ns, result.st_ctime_ns, result.st_ino, result.st_mode)


def pack(rows: Sequence[int]) -> bytes:
    """Return stat data, flattened, as the index holds it: little-endian, 64 bits each."""
    values = array("q", rows)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def trusted(found: Stat, now: int) -> bytes:
    """Return 40 bytes to remember a file by, or UNKNOWN_STAT when it may change again without looking changed.

    A file written within the clock's granularity of ``now`` (nanoseconds) can be written once more and keep its
    times; it is then looked at again by content.
    """
    return UNKNOWN_STAT if _is_fresh(found[1], found[2], now) else pack(found)


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
