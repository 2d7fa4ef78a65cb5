"""Sealing: AES-256-GCM and nothing else.  The only door to ``cryptography``.

Nonces here are counters, safe because each key seals one pack (frame numbers never repeat in it) or one blob
(its key is derived from 32 random bytes of its own).
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dvtool.errors import IntegrityError

Buffer = bytes | bytearray | memoryview

KEY_SIZE: Final = 32
TAG_SIZE: Final = 16
NONCE_SIZE: Final = 12


class Sealer:
    """Seals and opens under one 32-byte key."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        """Prepare the key schedule once; it costs more than sealing a small frame."""
        self._aead = AESGCM(key)

    def seal_into(self, number: int, data: Buffer, associated: bytes, out: memoryview) -> None:
        """Seal ``data`` under nonce ``number`` into ``out``, which has exactly ``len(data) + TAG_SIZE`` bytes."""
        self._aead.encrypt_into(number.to_bytes(NONCE_SIZE, "little"), data, associated, out)

    def seal(self, number: int, data: Buffer, associated: bytes) -> bytes:
        """Return ``data`` sealed under nonce ``number``: ciphertext, then tag."""
        return self._aead.encrypt(number.to_bytes(NONCE_SIZE, "little"), data, associated)

    def open(self, number: int, sealed: Buffer, associated: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            IntegrityError: when a bit of the data, the number or the associated data differs.
        """
        try:
            return self._aead.decrypt(number.to_bytes(NONCE_SIZE, "little"), sealed, associated)
        except InvalidTag:
            raise IntegrityError(
                "sealed data does not open", why="it was changed after it was written, or belongs elsewhere"
            ) from None
