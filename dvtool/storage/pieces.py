"""Puts a file into a place piece by piece, for those who cannot hold all of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from dvtool.storage.disk import temporary_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.storage.backend import Backend
    from dvtool.storage.disk import Disk

WRITE_SIZE: Final = 1024 * 1024
"""Bytes that are gathered before they are written."""


def put(backend: Backend, disk: Disk, name: str, pieces: Iterable[bytes]) -> None:
    """Write a file at ``name``, which is not durable before the next ``flush``; nothing is left of one that fails.

    Raises:
        StorageError: when the disk refuses.
    """
    path = f"{backend.workspace()}/{temporary_name()}"
    descriptor = disk.open_new(path)
    try:
        try:
            waiting = bytearray()
            for piece in pieces:
                waiting += piece
                if len(waiting) >= WRITE_SIZE:
                    disk.append(descriptor, path, bytes(waiting))
                    waiting = bytearray()
            disk.append(descriptor, path, bytes(waiting))
        finally:
            os.close(descriptor)
        backend.adopt(path, name)
    except BaseException:
        disk.unlink(path)
        raise
