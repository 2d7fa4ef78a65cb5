"""The envelope of everything in a store that is not a pack (``docs/format/sealed.md``).

``header | ciphertext and tag | XXH3-128 of what stands before it``.  The key of each blob is derived from a
long-lived key and 32 random bytes in the blob's own header, so no nonce is ever used twice.
"""

from __future__ import annotations

import struct
from typing import Final

from dvtool import digest
from dvtool.crypto import TAG_SIZE, Sealer
from dvtool.errors import FormatError, IntegrityError, KeyAccessError

MAGIC: Final = b"DVSB"
VERSION: Final = 1
HEADER_SIZE: Final = 56
SALT_SIZE: Final = 32
LABEL_SIZE: Final = 16
TRAILER_SIZE: Final = 16
NUMBER_SIZE: Final = 8

LOG_ENTRY: Final = 1
KEY_FILE: Final = 2
LOG_KEY: Final = 4
CACHE: Final = 5
LOCATOR: Final = 6
LOCATOR_KEY: Final = 7
ACKNOWLEDGEMENT: Final = 8

_HEADER = struct.Struct("<4sBBH16s32s")


def seal(kind: int, longterm: bytes, label: bytes, salt: bytes, context: bytes, payload: bytes) -> bytes:
    """Return a sealed blob.

    Args:
        kind: what it is; part of what is authenticated.
        longterm: the 32-byte key from which this blob's own key is derived.
        label: 16 bytes, readable by anyone: which long-lived key was used.
        salt: 32 random bytes, never used before.
        context: store id and name; a blob does not open in another place.
        payload: what to seal.
    """
    header = _HEADER.pack(MAGIC, kind, VERSION, 0, label, salt)
    body = header + Sealer(_blob_key(longterm, kind, salt)).seal(0, payload, header + context)
    return body + digest.accident(body)


def label_of(blob: bytes, kind: int, *, what: str) -> bytes:
    """Return the label of a blob without opening it.

    Raises:
        FormatError: when it is not a blob of this kind and version.
        IntegrityError: when it is truncated or its trailer does not match.
    """
    if len(blob) < HEADER_SIZE + TAG_SIZE + TRAILER_SIZE:
        raise IntegrityError(f"{what} is truncated", why=f"it has {len(blob)} bytes")
    magic, found, version, _zero, label, _salt = _HEADER.unpack_from(blob)
    if digest.accident(memoryview(blob)[:-TRAILER_SIZE]) != blob[-TRAILER_SIZE:]:
        raise IntegrityError(f"{what} is damaged", why="its checksum does not match")
    if magic != MAGIC or found != kind:
        raise FormatError(f"{what} is something else", why="its first bytes are not those of its kind")
    if version != VERSION:
        raise FormatError(
            f"{what} has format version {version}",
            why=f"this dv reads version {VERSION}",
            next="install a newer dv",
        )
    return bytes(label)


def open_blob(kind: int, longterm: bytes, context: bytes, blob: bytes, *, what: str) -> bytes:
    """Return the payload of a blob.

    Raises:
        FormatError: when it is not a blob of this kind and version.
        IntegrityError: when it is damaged.
        KeyAccessError: when its bytes are whole but this key does not open it here.
    """
    label_of(blob, kind, what=what)
    header = blob[:HEADER_SIZE]
    sealed = memoryview(blob)[HEADER_SIZE:-TRAILER_SIZE]
    try:
        return Sealer(_blob_key(longterm, kind, header[-SALT_SIZE:])).open(0, sealed, header + context)
    except IntegrityError:
        raise KeyAccessError(
            f"{what} does not open",
            why="the key is not the one it was sealed with, or it was changed or moved on purpose",
            next="run the command again, in case the keys were replaced meanwhile; else check keys/repo, and restore "
            "it from your backup of the key if it was replaced",
        ) from None


def _blob_key(longterm: bytes, kind: int, salt: bytes) -> bytes:
    return digest.derive(longterm, b"blob" + bytes([kind]) + salt)
