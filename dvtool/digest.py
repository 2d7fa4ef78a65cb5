"""Hashes: keyed BLAKE3 for identity, XXH3 for accidents.  The only door to ``blake3`` and ``xxhash``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash
from blake3 import blake3

from dvtool import ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Buffer = bytes | bytearray | memoryview


def derive(secret: bytes, purpose: bytes) -> bytes:
    """Return 32 bytes that depend on ``secret`` (32 bytes) and ``purpose``; BLAKE3 as a keyed PRF."""
    return blake3(purpose, key=secret).digest()


def keyed(key: bytes, data: Buffer) -> bytes:
    """Return the 32-byte BLAKE3 hash of ``data`` under ``key`` (32 bytes)."""
    return blake3(data, key=key).digest()


def keyed_of(key: bytes, parts: Iterable[Buffer]) -> bytes:
    """Return what :func:`keyed` does of the parts joined, without joining them."""
    hasher = blake3(key=key)
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def accident(data: Buffer) -> bytes:
    """Return the 16-byte XXH3 of ``data``, big endian.  Detects accidents, never an adversary."""
    return xxhash.xxh3_128_digest(data)


def accident_of(parts: Iterable[Buffer]) -> bytes:
    """Return what :func:`accident` does of the parts joined, without joining them."""
    hasher = xxhash.xxh3_128()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def sealed_name(data: Buffer) -> bytes:
    """Return the unkeyed BLAKE3 hash of sealed bytes; never call it with user content in the clear."""
    return blake3(data).digest()


class SealedHasher:
    """Running hashes over the sealed bytes of a pack: BLAKE3 for its name, XXH3-128 for its trailer."""

    __slots__ = ("_accident", "_name")

    def __init__(self) -> None:
        """Start with no bytes seen."""
        self._name = blake3()
        self._accident = xxhash.xxh3_128()

    def update(self, data: Buffer) -> None:
        """Take in the next bytes."""
        self._name.update(data)
        self._accident.update(data)

    def name_only(self, data: Buffer) -> None:
        """Take bytes into the name alone (the trailer is part of the name, not of itself)."""
        self._name.update(data)

    def accident(self) -> bytes:
        """Return the 16-byte XXH3 of all that :meth:`update` saw."""
        return self._accident.digest()

    def name(self) -> bytes:
        """Return the 32-byte BLAKE3 of everything seen."""
        return self._name.digest()


class IdHasher:
    """Makes ids: BLAKE3 keyed by a key of the object's kind, itself derived from the repository's id key.

    A key per kind separates the kinds as a leading kind byte would, without copying the content or hashing in two
    calls (``docs/adr/0003-kind-keys.md``).
    """

    __slots__ = ("_keys",)

    def __init__(self, id_key: bytes) -> None:
        """Derive the per-kind keys from ``id_key`` (32 bytes)."""
        self._keys = {kind: derive(id_key, b"kind" + bytes([kind])) for kind in ids.KIND_NAMES}

    def id(self, kind: int, data: Buffer) -> bytes:
        """Return the 32-byte id of an object of ``kind`` whose bytes are ``data``."""
        return blake3(data, key=self._keys[kind]).digest()

    def chunk_function(self) -> Callable[[Buffer], bytes]:
        """Return a function from content to chunk id with nothing to look up, for hot loops."""
        key = self._keys[ids.CHUNK]

        def chunk(data: Buffer) -> bytes:
            return blake3(data, key=key).digest()

        return chunk
