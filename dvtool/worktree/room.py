"""Whether what is to be written fits, judged by declared totals before anything is listed or written.

Totals add up from directory to directory, and each is checked when it is walked; so a small store that declares a
thousand million files (each directory naming the next one twice) is refused by its first node.
"""

from __future__ import annotations

import os
from typing import Final

from dvtool.errors import StorageError
from dvtool.storage.disk import attempt
from dvtool.store import listing

INODE_SIZE: Final = 256
"""Bytes that a file takes beside its content, at the least, where a disk makes room for inodes as they come."""


def require(place: str, *, files: int, size: int, written: bool = True) -> None:
    """Check that more files can be planned in memory and, where they are ``written``, kept at a place.

    Args:
        place: an absolute path, there or to be made.
        files: how many more there will be; less than none always fit.
        size: how many more bytes they hold.
        written: whether all of them are to be written; if not, only memory counts.

    Raises:
        StorageError: when they do not fit.
    """
    while not os.path.isdir(place) and place != "/":
        place = os.path.dirname(place)
    memory = listing.memory()
    if files * listing.PLANNED_SIZE > memory:
        raise _too_much(place, files, size, f"to list them takes more than the {memory:,} bytes of memory here")
    if not written:
        return
    found = attempt(place, lambda: os.statvfs(place))
    free = found.f_bavail * found.f_frsize
    needed = size if found.f_files else size + max(files, 0) * INODE_SIZE
    if needed > free:
        raise _too_much(place, files, size, f"{free:,} bytes are free there")
    if found.f_files and files > found.f_favail:
        raise _too_much(place, files, size, f"there is room for {found.f_favail:,} more files")


def free(place: str) -> int:
    """Return how many bytes may still be written below a directory."""
    found = attempt(place, lambda: os.statvfs(place))
    return found.f_bavail * found.f_frsize


def _too_much(place: str, files: int, size: int, why: str) -> StorageError:
    return StorageError(
        f"{max(files, 0):,} more files of {max(size, 0):,} bytes do not fit, and nothing was written",
        where=place,
        why=why,
        next="free some space, or bring part of it with 'dv checkout --only PATH'",
    )
