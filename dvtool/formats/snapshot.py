"""Snapshots: a root tree, where it came from and who said so (``docs/format/snapshot.md``)."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dvtool import ids, paths
from dvtool.errors import FormatError
from dvtool.formats import codec

NONCE_SIZE: Final = 32
PARENT_LIMIT: Final = 64
TEXT_LIMIT: Final = 2**20
SETTINGS: Final = frozenset({"dv.toml", ".dvignore"})


_FEW: Final = msgspec.Meta(max_length=1024)
"""More parents or settings than any snapshot has; checked before they are read."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One state of the data, for ever.

    ``time`` is in microseconds since 1970 UTC, ``size`` the total of the files in bytes.  ``nonce`` blinds the id:
    without it nobody can confirm a guess of the content.  ``settings`` holds (name, chunk id, size) of ``dv.toml``
    and ``.dvignore`` where no Git keeps them.
    """

    root: bytes
    roots: tuple[str, ...]
    parents: Annotated[tuple[bytes, ...], _FEW]
    author: str
    time: int
    message: str
    files: int
    size: int
    nonce: bytes
    settings: Annotated[tuple[tuple[str, bytes, int], ...], _FEW] = ()
    sections: dict[str, msgspec.Raw] = {}


def encode(snapshot: Snapshot) -> bytes:
    """Return the bytes of a snapshot."""
    return codec.encode(snapshot)


def decode(data: bytes) -> Snapshot:
    """Return the snapshot that ``data`` encodes.

    Raises:
        FormatError: when it is malformed.
    """
    snapshot = codec.decode(Snapshot, data, what="snapshot")
    if any(len(identity) != ids.ID_SIZE for identity in (snapshot.root, *snapshot.parents)):
        raise FormatError("a snapshot holds an id of the wrong length")
    if len(snapshot.nonce) != NONCE_SIZE or len(snapshot.parents) > PARENT_LIMIT:
        raise FormatError("a snapshot has no proper nonce, or more parents than the format allows")
    if min(snapshot.files, snapshot.size) < 0 or max(len(snapshot.message), len(snapshot.author)) > TEXT_LIMIT:
        raise FormatError("a snapshot holds an impossible total or an overlong text")
    if not 0 <= snapshot.time < codec.TIME_LIMIT:
        raise FormatError("a snapshot holds an impossible time")
    names = [name for name, _identity, _size in snapshot.settings]
    if not SETTINGS.issuperset(names) or len(set(names)) != len(names):
        raise FormatError("a snapshot keeps settings under an impossible name")
    if any(len(identity) != ids.ID_SIZE or size < 0 for _name, identity, size in snapshot.settings):
        raise FormatError("a snapshot keeps settings of an impossible id or size")
    check_roots(snapshot.roots)
    return snapshot


def check_roots(roots: tuple[str, ...]) -> None:
    """Check tracked roots: sorted, distinct, well-formed, none below another.

    Raises:
        FormatError: when they are not.
    """
    if list(roots) != sorted(set(roots)):
        raise FormatError("tracked roots are not sorted and distinct")
    known = set(roots)
    for root in roots:
        paths.check_path(root, what="a list of tracked roots")
        if any(parent in known for parent in paths.parents(root)):
            raise FormatError("a tracked root lies below another")
