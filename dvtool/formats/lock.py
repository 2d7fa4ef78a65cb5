"""``dv.lock``: which snapshot goes with this state of the code (``docs/format/lock.md``).

Git keeps it for ever, so it holds a blinded id and nothing that could confirm a guess of the data.
"""

from __future__ import annotations

from typing import Final

import msgspec

from dvtool import ids
from dvtool.errors import FormatError
from dvtool.formats import log

VERSION: Final = 1
SIZE_LIMIT: Final = 65536


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """Format version, snapshot id (64 hex digits) and branch (None when detached)."""

    version: int
    snapshot: str
    branch: str | None


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    """What every version of the file says."""

    version: int


def encode(lock: Lock) -> bytes:
    """Return the file: JSON, one key a line, so that Git's merges and diffs stay readable."""
    return msgspec.json.format(msgspec.json.encode(lock), indent=2) + b"\n"


def decode(data: bytes) -> Lock:
    """Return what the file says.

    Raises:
        FormatError: when it is malformed (a merge conflict, say) or of a newer version.
    """
    advice = "run 'dv checkout --lock' after mending it, or 'dv checkout HEAD' to write it anew"
    if len(data) > SIZE_LIMIT:
        raise FormatError("dv.lock is far too large", where="dv.lock", next=advice)
    try:
        if msgspec.json.decode(data, type=_Version).version > VERSION:
            raise FormatError(
                "dv.lock was written by a newer dv",
                where="dv.lock",
                next="upgrade dv, or run 'dv checkout HEAD' to write it anew",
            )
        lock = msgspec.json.decode(data, type=Lock)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = "it holds conflict markers of a merge" if b"<<<<<<<" in data else str(error)
        raise FormatError("dv.lock is malformed", where="dv.lock", why=why, next=advice) from None
    if len(lock.snapshot) != 2 * ids.ID_SIZE or not set(lock.snapshot) <= set("0123456789abcdef"):
        raise FormatError("dv.lock names no snapshot id", where="dv.lock", next=advice)
    if lock.version < 1:
        raise FormatError("dv.lock has an impossible version", where="dv.lock", next=advice)
    if lock.branch is not None:
        try:
            log.check_ref(f"heads/{lock.branch}")
        except FormatError:
            raise FormatError("dv.lock names an impossible branch", where="dv.lock", next=advice) from None
    return lock
