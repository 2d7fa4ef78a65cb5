"""The file ``format`` of a store: what must be known before any key is (``docs/format/storeformat.md``)."""

from __future__ import annotations

from typing import Final

import msgspec

from dvtool import digest
from dvtool.errors import FormatError, IntegrityError
from dvtool.formats import codec

MAGIC: Final = b"DVSTORE\n"
VERSION: Final = 1
TRAILER_SIZE: Final = 16
DIRECTORIES: Final = ("packs", "index", "keys", "log", "acks")
"""What lies beside this file, and nothing else."""
KNOWN_FLAGS: Final[frozenset[str]] = frozenset()


class Chunking(msgspec.Struct, frozen=True, kw_only=True):
    """Chunk sizes in bytes, and the algorithm that cuts."""

    algorithm: str = "fastcdc-2020-nc1"
    minimum: int = 16 * 1024
    average: int = 64 * 1024
    maximum: int = 256 * 1024


class StoreFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Version, feature flags, chunker parameters, and the random ids of repository and store (16 bytes each)."""

    version: int
    flags: tuple[str, ...]
    chunking: Chunking
    repository: bytes
    store: bytes


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    flags: tuple[str, ...] = ()


def encode(value: StoreFormat) -> bytes:
    """Return the bytes of the file."""
    body = MAGIC + codec.encode(value)
    return body + digest.accident(body)


def decode(data: bytes) -> StoreFormat:
    """Return what the file says.

    Raises:
        IntegrityError: when it is damaged.
        FormatError: when a newer dv made it, or it names features that this one lacks.
    """
    if not data.startswith(MAGIC):
        raise FormatError("this is not a dv store", why="the file 'format' does not begin as one")
    body = data[:-TRAILER_SIZE]
    if digest.accident(body) != data[-TRAILER_SIZE:]:
        raise IntegrityError("the file 'format' of the store is damaged", why="its checksum does not match")
    claimed = codec.decode(_Version, body[len(MAGIC) :], what="store format", exact=False)
    unknown = sorted(set(claimed.flags) - KNOWN_FLAGS)
    if claimed.version > VERSION or unknown:
        raise FormatError(
            "this store was made by a newer dv",
            why=f"it uses {', '.join(unknown)}"
            if unknown
            else f"its format is {claimed.version}, this dv reads {VERSION}",
            next="upgrade dv: pip install --upgrade dvtool",
        )
    value = codec.decode(StoreFormat, body[len(MAGIC) :], what="store format")
    sizes = value.chunking
    if (
        value.version < 1
        or len(value.repository) != 16  # noqa: PLR2004 - the documented length of both ids
        or len(value.store) != 16  # noqa: PLR2004
        or not sizes.minimum <= sizes.average <= sizes.maximum
        # The bounds of the chunker, which would raise an error of its own.
        or not 64 <= sizes.minimum <= 2**20  # noqa: PLR2004
        or not 256 <= sizes.average <= 2**22  # noqa: PLR2004
        or not 1024 <= sizes.maximum <= 2**24  # noqa: PLR2004
    ):
        raise FormatError("the file 'format' of the store holds impossible values")
    if sizes.algorithm != Chunking().algorithm:
        raise FormatError(f"unknown chunking algorithm {sizes.algorithm!r}", next="upgrade dv")
    return value
