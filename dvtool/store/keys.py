"""What follows from the repository secret, and the keys of packs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool import digest
from dvtool.crypto import KEY_SIZE
from dvtool.errors import FormatError, KeyAccessError, NotFoundError, StorageError
from dvtool.formats import keyfile, repokey, sealed

if TYPE_CHECKING:
    from dvtool.effects import Entropy
    from dvtool.storage.backend import Backend
    from dvtool.storage.disk import Disk

REPOSITORY_KEY: Final = "keys/repo"


class Secrets:
    """Keys derived from the repository secret; the secret itself is not kept."""

    __slots__ = ("cache", "id_key", "seed", "split", "wrap")

    def __init__(self, secret: bytes) -> None:
        """Derive everything from ``secret`` (32 bytes)."""
        self.id_key = digest.derive(secret, b"id key")
        self.wrap = digest.derive(secret, b"wrapping key")
        self.split = digest.derive(secret, b"split key")
        self.cache = digest.derive(secret, b"cache key")
        # pyfastcdc takes the seed as a signed 64-bit number, hence 63 bits; 0 would mean "no seed".
        self.seed = (int.from_bytes(digest.derive(secret, b"gear seed")[:8], "little") & (2**63 - 1)) or 1

    def with_wrap(self, wrap: bytes) -> Secrets:
        """Return the secrets of another store of the same repository, whose wrapping key is ``wrap`` (32 bytes)."""
        found = object.__new__(Secrets)
        found.id_key, found.split, found.cache, found.seed = self.id_key, self.split, self.cache, self.seed
        found.wrap = wrap
        return found


def load_secrets(backend: Backend, repository: bytes) -> Secrets:
    """Return the secrets of a store.

    Raises:
        KeyAccessError: when ``keys/repo`` is missing, unreadable, damaged or of another repository.
    """
    return Secrets(read_secret(backend, repository))


def read_secret(backend: Backend, repository: bytes) -> bytes:
    """Return the repository secret that a store keeps; raises as :func:`load_secrets`."""
    advice = "restore keys/repo from your backup of the key; without it nothing in this store can be read"
    try:
        data = backend.read(REPOSITORY_KEY)
    except NotFoundError as error:
        raise KeyAccessError("the repository key is missing", where=error.where, next=advice) from None
    except StorageError as error:
        raise KeyAccessError(
            "the repository key cannot be read",
            where=error.where,
            why=error.why,
            next="check its permissions (0600, yours)",
        ) from None
    return repokey.decode(data, repository)


def create_secret(disk: Disk, path: str, repository: bytes, entropy: Entropy, secret: bytes | None = None) -> None:
    """Write a repository secret, a new one unless it is given, to ``path``, readable by its owner only, durably."""
    disk.write(path, repokey.encode(repository, secret or entropy.bytes(repokey.SECRET_SIZE)), mode=0o600)
    disk.sync(path)


def write_key_file(
    backend: Backend, store: bytes, wrap: bytes, name: str, keys: keyfile.KeyFile, entropy: Entropy
) -> None:
    """Seal ``keys`` and put them at ``name``."""
    blob = sealed.seal(
        sealed.KEY_FILE,
        wrap,
        bytes(sealed.LABEL_SIZE),
        entropy.bytes(sealed.SALT_SIZE),
        store + name.encode(),
        keyfile.encode(keys),
    )
    backend.put(name, blob)


def read_key_file(backend: Backend, store: bytes, wrap: bytes, name: str) -> keyfile.KeyFile:
    """Return the keys at ``name``.

    Raises:
        KeyAccessError: when the wrapping key does not open it.
        IntegrityError: when it is damaged.
    """
    blob = backend.read(name)
    return keyfile.decode(sealed.open_blob(sealed.KEY_FILE, wrap, store + name.encode(), blob, what=f"key file {name}"))


def log_key_name(label: bytes) -> str:
    """Return where the log key with this label (16 bytes) lies."""
    return f"keys/log-{label.hex()}"


def write_log_key(backend: Backend, store: bytes, wrap: bytes, entropy: Entropy) -> bytes:
    """Make a new log key, put it, and return its label."""
    label = entropy.bytes(sealed.LABEL_SIZE)
    name = log_key_name(label)
    blob = sealed.seal(
        sealed.LOG_KEY,
        wrap,
        bytes(sealed.LABEL_SIZE),
        entropy.bytes(sealed.SALT_SIZE),
        store + name.encode(),
        entropy.bytes(KEY_SIZE),
    )
    backend.put(name, blob)
    return label


def read_log_key(backend: Backend, store: bytes, wrap: bytes, label: bytes) -> bytes:
    """Return the log key with this label.

    Raises:
        NotFoundError: when it was destroyed (entries under it count as stubs).
        FormatError: when it is no key.
    """
    name = log_key_name(label)
    key = sealed.open_blob(sealed.LOG_KEY, wrap, store + name.encode(), backend.read(name), what=f"log key {name}")
    if len(key) != KEY_SIZE:
        raise FormatError("a log key has the wrong length", where=name, why=f"{len(key)} bytes, not {KEY_SIZE}")
    return key
