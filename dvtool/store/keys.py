"""What follows from the secrets in ``keys/repo``, and the keys of packs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import digest
from dvtool.crypto import KEY_SIZE
from dvtool.errors import FormatError, IntegrityError, KeyAccessError, NotFoundError, StorageError
from dvtool.formats import keyfile, repokey, sealed
from dvtool.formats.repokey import LOCKED

if TYPE_CHECKING:
    from dvtool.effects import Entropy
    from dvtool.formats.repokey import Opened, Protection, Unlock
    from dvtool.storage.backend import Backend
    from dvtool.storage.disk import Disk

REPOSITORY_KEY: Final = repokey.PLACE


class Wrapping(msgspec.Struct, frozen=True, kw_only=True):
    """The key (32 bytes) under which key files and log keys are sealed, and the one that a rotation gives up."""

    current: bytes
    previous: bytes | None = None

    def __repr__(self) -> str:
        """Return nothing that could be used."""
        return "Wrapping(...)"

    def open(self, kind: int, context: bytes, blob: bytes, *, what: str) -> bytes:
        """Return the payload of a blob sealed under either key; raises as :func:`~dvtool.formats.sealed.open_blob`."""
        try:
            return sealed.open_blob(kind, self.current, context, blob, what=what)
        except KeyAccessError:
            if self.previous is None:
                raise
        return sealed.open_blob(kind, self.previous, context, blob, what=what)


class Secrets:
    """Keys derived from what ``keys/repo`` protects; that itself is not kept."""

    __slots__ = ("acks", "cache", "id_key", "seed", "split", "wrap")

    def __init__(self, opened: Opened) -> None:
        """Derive everything."""
        self.id_key = digest.derive(opened.secret, b"id key")
        self.wrap = Wrapping(
            current=digest.derive(opened.wrapping, b"wrapping key"),
            previous=digest.derive(opened.previous, b"wrapping key") if opened.previous is not None else None,
        )
        self.split = digest.derive(opened.secret, b"split key")
        self.cache = digest.derive(opened.secret, b"cache key")
        self.acks = digest.derive(opened.secret, b"acknowledgement key")
        # pyfastcdc takes the seed as a signed 64-bit number, hence 63 bits; 0 would mean "no seed".
        self.seed = (int.from_bytes(digest.derive(opened.secret, b"gear seed")[:8], "little") & (2**63 - 1)) or 1

    def with_wrap(self, wrap: Wrapping) -> Secrets:
        """Return the secrets of another store of the same repository, with the wrapping key of that one."""
        found = object.__new__(Secrets)
        found.id_key, found.split, found.cache, found.seed = self.id_key, self.split, self.cache, self.seed
        found.acks = self.acks
        found.wrap = wrap
        return found


def read_repokey(backend: Backend, name: str = REPOSITORY_KEY) -> bytes:
    """Return the bytes of a store's ``keys/repo``.

    Raises:
        KeyAccessError: when it is missing or unreadable.
    """
    try:
        if backend.size(name) > repokey.SIZE_LIMIT:
            raise KeyAccessError(
                "the repository key is damaged", where=name, why="it is too long", next=repokey.RESTORE
            )
        return backend.read(name)
    except NotFoundError as error:
        raise KeyAccessError("the repository key is missing", where=error.where, next=repokey.RESTORE) from None
    except StorageError as error:
        raise KeyAccessError(
            "the repository key cannot be read",
            where=error.where,
            why=error.why,
            next="check its permissions (0600, yours)",
        ) from None


def open_repokey(
    backend: Backend, repository: bytes, unlock: Unlock | None = None, *, name: str = REPOSITORY_KEY
) -> Opened:
    """Return what a store's ``keys/repo`` protects; most callers want :func:`load_secrets`.

    Raises:
        KeyAccessError: when it is missing, unreadable, damaged, of another repository, or does not open with what
            ``unlock`` has.
        FormatError: when it is of a kind that only a newer dv knows.
    """
    return repokey.decode(read_repokey(backend, name), repository, unlock or LOCKED)


def write_repokey(
    backend: Backend, name: str, repository: bytes, opened: Opened, protection: Protection, *, entropy: Entropy
) -> None:
    """Write ``keys/repo`` over what is there, durably; a local one is readable by its owner only.

    Raises:
        UsageError: when a passphrase is empty, or recipients are none, too many or unusable; nothing is written then.
        StorageError: when the place refuses.
    """
    backend.replace(name, repokey.encode(repository, opened, protection, entropy))


def load_secrets(backend: Backend, repository: bytes, unlock: Unlock | None = None) -> Secrets:
    """Return the secrets of a store; raises as :func:`open_repokey`."""
    return Secrets(open_repokey(backend, repository, unlock))


def new_secret(entropy: Entropy) -> Opened:
    """Return the secrets of a new repository and its first store."""
    return repokey.Opened(secret=entropy.bytes(repokey.SECRET_SIZE), wrapping=entropy.bytes(repokey.SECRET_SIZE))


def for_another_store(opened: Opened, entropy: Entropy) -> Opened:
    """Return the secrets of a new store of the same repository: the repository's, and a wrapping secret of its own."""
    return repokey.Opened(secret=opened.secret, wrapping=entropy.bytes(repokey.SECRET_SIZE))


def create_secret(disk: Disk, path: str, repository: bytes, entropy: Entropy, opened: Opened | None = None) -> None:
    """Write secrets, those of a new repository by default, to ``path``, readable by its owner only, durably."""
    data = repokey.encode(repository, opened or new_secret(entropy), repokey.Plain(), entropy)
    disk.write(path, data, mode=0o600)
    disk.sync(path)


def write_key_file(
    backend: Backend, store: bytes, wrap: Wrapping, name: str, keys: keyfile.KeyFile, entropy: Entropy
) -> None:
    """Seal ``keys`` and put them at ``name``."""
    blob = sealed.seal(
        sealed.KEY_FILE,
        wrap.current,
        bytes(sealed.LABEL_SIZE),
        entropy.bytes(sealed.SALT_SIZE),
        store + name.encode(),
        keyfile.encode(keys),
    )
    backend.put(name, blob)


def read_key_file(backend: Backend, store: bytes, wrap: Wrapping, name: str) -> keyfile.KeyFile:
    """Return the keys at ``name``.

    Raises:
        KeyAccessError: when the wrapping key does not open it.
        IntegrityError: when it is damaged.
    """
    blob = backend.read(name)
    return keyfile.decode(wrap.open(sealed.KEY_FILE, store + name.encode(), blob, what=f"key file {name}"))


def log_key_name(label: bytes) -> str:
    """Return where the log key with this label (16 bytes) lies."""
    return f"keys/log-{label.hex()}"


class LogKey(msgspec.Struct, frozen=True, kw_only=True):
    """A log key (32 bytes), and the number of the last entry that it opens; None for one that is in use."""

    key: bytes
    last: int | None = None

    def __repr__(self) -> str:
        """Return nothing that could be used."""
        return f"LogKey(..., last={self.last})"

    def require(self, number: int, what: str) -> None:
        """Refuse an entry of this number that was sealed after the key was given up.

        Raises:
            IntegrityError: when there was no such entry by then.
        """
        if self.last is not None and number > self.last:
            raise IntegrityError(
                f"{what} is sealed under a log key that was given up",
                why="it was written with secrets from before the last 'dv key rotate'",
                next="find out who can still write to this store and should not; then run 'dv fsck --repair', or, at a "
                "remote, delete the file of this entry there",
            )


def write_log_key(backend: Backend, store: bytes, wrap: Wrapping, entropy: Entropy) -> bytes:
    """Make a new log key, put it, and return its label."""
    label = entropy.bytes(sealed.LABEL_SIZE)
    made = LogKey(key=entropy.bytes(KEY_SIZE))
    backend.put(log_key_name(label), _sealed_log_key(store, wrap, label, made, entropy))
    return label


def replace_log_key(
    backend: Backend, store: bytes, wrap: Wrapping, label: bytes, key: LogKey, entropy: Entropy
) -> None:
    """Write a log key over the one with this label, durably."""
    backend.replace(log_key_name(label), _sealed_log_key(store, wrap, label, key, entropy))


def _sealed_log_key(store: bytes, wrap: Wrapping, label: bytes, key: LogKey, entropy: Entropy) -> bytes:
    until = key.last.to_bytes(sealed.NUMBER_SIZE, "little") if key.last is not None else b""
    return sealed.seal(
        sealed.LOG_KEY,
        wrap.current,
        bytes(sealed.LABEL_SIZE),
        entropy.bytes(sealed.SALT_SIZE),
        store + log_key_name(label).encode(),
        key.key + until,
    )


def read_log_key(backend: Backend, store: bytes, wrap: Wrapping, label: bytes) -> LogKey:
    """Return the log key with this label.

    Raises:
        NotFoundError: when it was destroyed (entries under it count as stubs).
        FormatError: when it is no key.
    """
    name = log_key_name(label)
    found = wrap.open(sealed.LOG_KEY, store + name.encode(), backend.read(name), what=f"log key {name}")
    if len(found) not in {KEY_SIZE, KEY_SIZE + sealed.NUMBER_SIZE}:
        raise FormatError("a log key has the wrong length", where=name, why=f"{len(found)} bytes, not {KEY_SIZE}")
    until = found[KEY_SIZE:]
    return LogKey(key=found[:KEY_SIZE], last=int.from_bytes(until, "little") if until else None)
