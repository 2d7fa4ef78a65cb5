"""Sealing by AES-256-GCM, keys out of passphrases, and keys agreed upon.  The only door to ``cryptography``.

Nonces here are counters, safe because each key seals one pack (frame numbers never repeat in it) or one blob
(its key is derived from 32 random bytes of its own).
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dvtool.errors import IntegrityError, StorageError

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


def stretch(passphrase: bytes, salt: bytes, *, memory: int, iterations: int, lanes: int) -> bytes:
    """Return the 32-byte key that Argon2id (RFC 9106) makes of a passphrase; ``memory`` is in KiB and is really taken.

    The caller has checked that the numbers are bearable.

    Raises:
        StorageError: when the memory cannot be had.
    """
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        made = Argon2id(salt=salt, length=KEY_SIZE, iterations=iterations, lanes=lanes, memory_cost=memory)
        return made.derive(passphrase)
    except MemoryError:
        raise StorageError(
            "there is not enough memory to open a key that is sealed by a passphrase",
            why=f"it takes {memory // 1024:,} MiB",
            next="free some, or work on a machine that has more",
        ) from None


def public_key(private: bytes) -> bytes:
    """Return the X25519 public key (32 bytes) of a private one (any 32 bytes)."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree(private: bytes, public: bytes, salt: bytes, purpose: bytes) -> bytes:
    """Return the 32-byte key that two key pairs have in common: HKDF-SHA-256 of their X25519 secret.

    Args:
        private: one's own private key, 32 bytes.
        public: the other's public key, 32 bytes.
        salt: binds the key to both public keys, which X25519 alone does not.
        purpose: what the key is for.

    Raises:
        IntegrityError: when ``public`` is one of the few points with which any secret is the same for everybody.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    try:
        shared = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise IntegrityError("this is no public key", why="what is agreed upon with it is no secret") from None
    return HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=salt, info=purpose).derive(shared)


def sign(private: bytes, data: bytes) -> bytes:
    """Return the Ed25519 signature (RFC 8032, 64 bytes) of data by a private key of 32 bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private).sign(data)


def verifying_key(private: bytes) -> bytes:
    """Return the public key (32 bytes) by which signatures of a private key are checked."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def is_signed(public: bytes, signature: bytes, data: bytes) -> bool:
    """Return whether a signature is that of this data by the owner of a public key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
