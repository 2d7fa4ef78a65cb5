"""The file ``keys/repo``: the repository secret (``docs/format/repokey.md``)."""

from __future__ import annotations

import struct
from typing import Final

from dvtool import digest
from dvtool.errors import FormatError, KeyAccessError

MAGIC: Final = b"DVKEY\n"
VERSION: Final = 1
PLAIN: Final = 0
SECRET_SIZE: Final = 32
FILE_SIZE: Final = 88

_LAYOUT = struct.Struct("<6sBB16s32s16s")


def encode(repository: bytes, secret: bytes) -> bytes:
    """Return the file that keeps ``secret`` (32 bytes) of ``repository`` (16 bytes) in the clear."""
    head = _LAYOUT.pack(MAGIC, VERSION, PLAIN, repository, secret, _check(repository, secret))
    return head + digest.accident(head)


def decode(data: bytes, repository: bytes) -> bytes:
    """Return the repository secret.

    Raises:
        KeyAccessError: when the file is damaged, or belongs to another repository.
        FormatError: when it protects the secret in a way this version does not know.
    """
    advice = "restore keys/repo from your backup of the key; without it nothing in this store can be read"
    if len(data) < 24 or not data.startswith(MAGIC) or digest.accident(data[:-16]) != data[-16:]:  # noqa: PLR2004
        raise KeyAccessError("the repository key is damaged", where="keys/repo", next=advice)
    # Before the length, which other ways of protecting the secret may well change.
    if data[6] != VERSION or data[7] != PLAIN:
        raise FormatError("the repository key is of a kind this dv does not know", where="keys/repo", next="upgrade dv")
    if len(data) != FILE_SIZE:
        raise KeyAccessError("the repository key is damaged", where="keys/repo", next=advice)
    _magic, _version, _protection, owner, secret, check = _LAYOUT.unpack(data[:-16])
    if owner != repository or check != _check(owner, secret):
        raise KeyAccessError("the repository key belongs to another repository", where="keys/repo", next=advice)
    return bytes(secret)


def _check(repository: bytes, secret: bytes) -> bytes:
    return digest.derive(secret, b"key check" + repository)[:16]
