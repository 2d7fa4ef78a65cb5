"""Clones that are registered at a remote, and what they say of an erasure there (``docs/format/clone.md``)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from dvtool import ids
from dvtool.errors import DvError, FormatError
from dvtool.formats import codec, log, sealed

NONCE_SIZE: Final = 32
TEXT_LIMIT: Final = 2**10
SIZE_LIMIT: Final = 2**16
ACK_LIMIT: Final = 2**12
"""Most bytes of an acknowledgement, sealed."""
DIRECTORY: Final = "acks"

_HEX: Final = re.compile("[0-9a-f]{32}")


class Registration(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A clone that erasures wait for, until it has followed them, expires, or is forgotten.

    ``id`` is random; ``name`` is what its user calls it, empty by default.  Times are in microseconds since 1970 UTC, 0
    for never; ``author`` is who has said that it is gone.
    """

    id: bytes
    nonce: bytes
    registered: int
    expires: int
    name: str = ""
    forgotten: int = 0
    author: str = ""
    sections: dict[str, msgspec.Raw] = {}

    def is_awaited(self, now: int) -> bool:
        """Return whether erasures wait for this clone at a time."""
        return not self.forgotten and not (self.expires and self.expires <= now)


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a clone says when it has followed an erasure: when that was, in microseconds since 1970 UTC."""

    time: int
    sections: dict[str, msgspec.Raw] = {}


def encode(registration: Registration) -> bytes:
    """Return the bytes of a registration.

    Raises:
        FormatError: when a reader would refuse them.
    """
    data = codec.encode_foreign(registration, what="clone record")
    decode(data)
    return data


def decode(data: bytes) -> Registration:
    """Return the registration that ``data`` encodes.

    Raises:
        FormatError: when it is malformed.
    """
    if len(data) > SIZE_LIMIT:
        raise FormatError("a clone record is larger than the format allows")
    found = codec.decode(Registration, data, what="clone record")
    if len(found.id) != ids.SHORT_SIZE or len(found.nonce) != NONCE_SIZE:
        raise FormatError("a clone record has an id or a nonce of the wrong length")
    if max(len(found.name), len(found.author)) > TEXT_LIMIT:
        raise FormatError("a clone record holds an overlong text")
    if not all(0 <= time < codec.TIME_LIMIT for time in (found.registered, found.expires, found.forgotten)):
        raise FormatError("a clone record holds an impossible time")
    if found.expires and found.expires <= found.registered:
        raise FormatError("a clone expires before it is registered")
    if found.author and not found.forgotten:
        raise FormatError("a clone record says who has forgotten the clone, and not when")
    return found


def ref_name(identity: bytes) -> str:
    """Return the ref that names the registration of the clone of this id."""
    return f"{log.CLONES}/{identity.hex()}"


def check_name(name: str, found: Registration) -> Registration:
    """Return a registration that a ref names.

    Raises:
        FormatError: when the ref has the name of another clone.
    """
    if ref_name(found.id) != name:
        raise FormatError("a ref names another clone than its name says", where=name, why=f"it is {found.id.hex()}")
    return found


def file_name(identity: bytes, erasure: bytes) -> str:
    """Return where in a store a clone acknowledges an erasure."""
    return f"{directory(identity)}/{erasure.hex()}"


def directory(identity: bytes) -> str:
    """Return the directory in a store in which the acknowledgements of a clone lie."""
    return f"{DIRECTORY}/{identity.hex()}"


def is_id(name: str) -> bool:
    """Return whether a name found below ``acks/`` is the id of a clone or an erasure."""
    return _HEX.fullmatch(name) is not None


def acknowledge(key: bytes, store: bytes, identity: bytes, erasure: bytes, salt: bytes, time: int) -> bytes:
    """Return the file by which a clone acknowledges an erasure.

    Args:
        key: the acknowledgement key of the repository.
        store: the id of the store.
        identity: that of the clone.
        erasure: that of the erasure.
        salt: 32 random bytes, never used before.
        time: when, in microseconds since 1970 UTC.
    """
    context = store + file_name(identity, erasure).encode()
    payload = codec.encode(Acknowledgement(time=time))
    return sealed.seal(sealed.ACKNOWLEDGEMENT, key, bytes(sealed.LABEL_SIZE), salt, context, payload)


def acknowledged(key: bytes, store: bytes, identity: bytes, erasure: bytes, blob: bytes) -> Acknowledgement | None:
    """Return what a file says that lies where a clone acknowledges an erasure; None when it does not count.

    Whoever can write to the place of a store can put anything there, and need not know its key.
    """
    if len(blob) > ACK_LIMIT:
        return None
    context = store + file_name(identity, erasure).encode()
    try:
        payload = sealed.open_blob(sealed.ACKNOWLEDGEMENT, key, context, blob, what="acknowledgement")
        found = codec.decode(Acknowledgement, payload, what="acknowledgement")
    except DvError:
        return None
    return found if 0 <= found.time < codec.TIME_LIMIT else None
