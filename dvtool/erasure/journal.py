"""The crash journal of an erasure: ids and the key of its locator, never what is erased; it goes with the erasure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.formats import codec
from dvtool.formats.erasure import KEY_SIZE
from dvtool.storage.disk import read_note
from dvtool.worktree import places
from dvtool.worktree.layout import write_file

if TYPE_CHECKING:
    from dvtool.storage.disk import Disk


SIZE_LIMIT: Final = 1 << 20


class Journal(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What has to be known to go on: which erasure, and the key of its locator, which stands in the log.

    ``reference`` and ``ground`` are for the certificate, which is their only place in the end.
    """

    erasure: bytes
    key: bytes
    reference: str = ""
    ground: str = ""


def write(store: str, journal: Journal, disk: Disk) -> None:
    """Write the journal, durably, for its owner only.

    Raises:
        StorageError: when the disk refuses.
    """
    write_file(places.erasing_of(store), codec.encode(journal), disk)


def read(store: str) -> Journal | None:
    """Return the journal, or None when there is none.

    Raises:
        StorageError: when it cannot be read.
        FormatError: when it is malformed.
    """
    data = read_note(places.erasing_of(store), SIZE_LIMIT)
    if data is None:
        return None
    found = codec.decode(Journal, data, what="journal of an erasure")
    if len(found.erasure) != ids.SHORT_SIZE or len(found.key) != KEY_SIZE:
        return None
    return found


def remove(store: str, disk: Disk) -> None:
    """Remove the journal, durably."""
    disk.unlink(places.erasing_of(store))
    disk.sync_directory(os.path.dirname(store))
