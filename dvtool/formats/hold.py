"""Holds: what must be kept although somebody asks for its erasure, and why (``docs/format/hold.md``)."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dvtool import ids, paths
from dvtool.errors import FormatError
from dvtool.formats import codec, log

NONCE_SIZE: Final = 32
ITEM_LIMIT: Final = 2**16
PATTERN_LIMIT: Final = 2**12
TEXT_LIMIT: Final = 2**16
SIZE_LIMIT: Final = 2**22

_MANY: Final = msgspec.Meta(max_length=ITEM_LIMIT)
"""More than any list of patterns may have; checked before it is read."""


class Hold(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A hold on what lies under some paths, or on all that is of one subject.

    ``paths`` are patterns from the root, sorted, as :mod:`dvtool.globs` reads them; the empty one is the root.  Either
    they or ``subject`` say what is held.  ``created`` and ``until`` are in microseconds since 1970 UTC; without
    ``until`` it holds until it is released.  ``nonce`` blinds the id: what is held names people.
    """

    id: bytes
    paths: Annotated[tuple[str, ...], _MANY]
    subject: str
    ground: str
    author: str
    created: int
    until: int | None
    nonce: bytes
    sections: dict[str, msgspec.Raw] = {}


def encode(hold: Hold) -> bytes:
    """Return the bytes of a hold.

    Raises:
        FormatError: when a reader would refuse them.
    """
    data = codec.encode_foreign(hold, what="hold")
    decode(data)
    return data


def decode(data: bytes) -> Hold:
    """Return the hold that ``data`` encodes.

    Raises:
        FormatError: when it is malformed.
    """
    if len(data) > SIZE_LIMIT:
        raise FormatError("a hold is larger than the format allows")
    found = codec.decode(Hold, data, what="hold")
    if len(found.id) != ids.SHORT_SIZE or len(found.nonce) != NONCE_SIZE:
        raise FormatError("a hold has an id or a nonce of the wrong length")
    if bool(found.paths) == bool(found.subject):
        raise FormatError("a hold is on neither paths nor a subject, or on both")
    if not found.ground or max(map(len, (found.subject, found.ground, found.author))) > TEXT_LIMIT:
        raise FormatError("a hold says no ground, or holds an overlong text")
    if "\0" in found.subject:
        raise FormatError("a hold is on a subject that cannot be")
    for time in (found.created, *([] if found.until is None else [found.until])):
        if not 0 <= time < codec.TIME_LIMIT:
            raise FormatError("a hold holds an impossible time")
    if found.until is not None and found.until <= found.created:
        raise FormatError("a hold ends before it begins")
    if list(found.paths) != sorted(set(found.paths)):
        raise FormatError("the paths of a hold are not sorted and distinct")
    for pattern in found.paths:
        check_pattern(pattern)
    return found


def check_pattern(pattern: str) -> None:
    """Check a pattern of paths as read from a store.

    Raises:
        FormatError: when it is too long, absolute, climbs, or holds NUL or an empty part.
    """
    parts = pattern.split("/") if pattern else []
    if "\0" in pattern or len(pattern) > PATTERN_LIMIT or any(part in {"", ".", ".."} for part in parts):
        raise FormatError(f"a hold is on the impossible path {paths.brief(pattern)!r}")


def ref_name(identity: bytes) -> str:
    """Return the ref that names the hold of this id."""
    return f"{log.HOLDS}/{identity.hex()}"
