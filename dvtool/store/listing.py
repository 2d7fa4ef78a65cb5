"""How many files may be listed in memory at once.

A few nodes that name each other twice make more paths than any memory holds.  Where their totals declare them they are
refused at once; directories without files declare nothing, so what is kept is also counted.
"""

from __future__ import annotations

import contextlib
import os
import resource
from typing import Final

from dvtool.errors import StorageError

PLANNED_SIZE: Final = 512
"""Bytes of memory that a planned file takes at the least: its path, its entry, and their places in tables."""
_GROUPS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says how much memory this process and those of its group may take, in versions 2 and 1."""


def memory() -> int:
    """Return how many bytes of memory this process can have: the machine's, or what it is confined to."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    soft, _hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        found.append(soft)
    for path in _GROUPS:
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            found.append(int(file.read()))
    return min(found)


class Listing:
    """Counts what a command keeps in memory of directories that it reads, and refuses more than there is room for."""

    __slots__ = ("_declared", "_kept", "_limit")

    def __init__(self) -> None:
        """Start with nothing; half of the memory is for what the paths are kept for."""
        self._limit = memory() // (2 * PLANNED_SIZE)
        self._kept = 0
        self._declared = 0

    def keep(self, path: str) -> None:
        """Count one more path.

        Raises:
            StorageError: when there are too many.
        """
        self._kept += 1
        if self._kept > self._limit:
            raise _too_many(self._kept, path)

    def declare(self, files: int, path: str) -> None:
        """Count the files that a directory declares, before they are listed.

        Raises:
            StorageError: when there are too many.
        """
        self._declared += files
        if self._declared > self._limit:
            raise _too_many(self._declared, path)


def _too_many(count: int, path: str) -> StorageError:
    return StorageError(
        "a directory holds more files and directories than can be listed",
        where=path[:80] or "the root of the snapshot",
        why=f"memory here does not take {count:,} paths",
        next="name a part of it, or work where there is more memory",
    )
