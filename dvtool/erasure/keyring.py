"""The keys of the locators of erasures that some remote has not had yet, kept beside the store until it has.

Of what was superseded here nothing is left by which their locators could be opened.  But somebody else may have erased
something from the same snapshots meanwhile, and brought that to the remote: then neither place has what opens the
locator of the other, and who has the key of one finds the nonces by which the other opens.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool import ids
from dvtool.formats import codec
from dvtool.formats.erasure import KEY_SIZE
from dvtool.storage.disk import read_note
from dvtool.worktree import places
from dvtool.worktree.layout import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from dvtool.storage.disk import Disk

SIZE_LIMIT: Final = 1 << 24


class Kept(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An erasure, the key of its locator, and the remotes that have not had it yet."""

    erasure: bytes
    key: bytes
    remotes: tuple[str, ...]


_MANY: Any = tuple[Kept, ...]


def read(store: str) -> dict[bytes, Kept]:
    """Return what is kept beside a store (its directory), by the ids of erasures.

    Raises:
        StorageError: when it cannot be read.
        FormatError: when it is malformed.
    """
    data = read_note(places.erasure_keys_of(store), SIZE_LIMIT)
    if data is None:
        return {}
    found: tuple[Kept, ...] = codec.decode(_MANY, data, what="keys of erasures")
    return {each.erasure: each for each in found if (len(each.erasure), len(each.key)) == (ids.SHORT_SIZE, KEY_SIZE)}


def keys(store: str) -> dict[bytes, bytes]:
    """Return the keys that are kept, by the ids of erasures; raises as :func:`read`."""
    return {erasure: each.key for erasure, each in read(store).items()}


def keep(store: str, erasure: bytes, key: bytes, remotes: Iterable[str], disk: Disk) -> None:
    """Keep the key of an erasure until some remotes have had it; durably, for its owner only.

    Raises:
        StorageError: when the disk refuses.
    """
    kept = Kept(erasure=erasure, key=key, remotes=tuple(sorted(remotes)))
    _write(store, {**read(store), erasure: kept} if kept.remotes else _without(read(store), erasure), disk)


def settle(store: str, remote: str, erasures: AbstractSet[bytes], configured: AbstractSet[str], disk: Disk) -> None:
    """Forget the keys of the erasures that a remote has had by now, unless another one has not.

    Args:
        store: the directory of the store.
        remote: the remote.
        erasures: what it has had.
        configured: the remotes that there are; what is said of others counts no more.
        disk: writes.

    Raises:
        StorageError: when the disk refuses.
    """
    found = {}
    for erasure, each in read(store).items():
        left = [name for name in each.remotes if name in configured and not (name == remote and erasure in erasures)]
        if left:
            found[erasure] = msgspec.structs.replace(each, remotes=tuple(left))
    _write(store, found, disk)


def _without(kept: dict[bytes, Kept], erasure: bytes) -> dict[bytes, Kept]:
    return {other: each for other, each in kept.items() if other != erasure}


def _write(store: str, kept: dict[bytes, Kept], disk: Disk) -> None:
    if kept == read(store):
        return
    path = places.erasure_keys_of(store)
    if kept:
        write_file(path, codec.encode(tuple(each for _erasure, each in sorted(kept.items()))), disk)
    else:
        disk.unlink(path)
        disk.sync_directory(os.path.dirname(path))
