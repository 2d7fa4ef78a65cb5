"""Seals a store's ``keys/repo`` anew, and says whether a key is the one of a store.

Whoever calls this has made sure that nobody else changes the same file meanwhile: it has no history, and what one
writes over is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.errors import ConflictError, DvError, IntegrityError, KeyAccessError, NotFoundError, UsageError
from dvtool.formats import repokey
from dvtool.formats.repokey import Passphrase, Plain, Protection, Recipients, Unlock
from dvtool.store import keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.effects import Entropy
    from dvtool.formats.repokey import Opened
    from dvtool.formats.storeformat import StoreFormat
    from dvtool.storage.backend import Backend


def current(backend: Backend, repository: bytes, unlock: Unlock, *, name: str = keys.REPOSITORY_KEY) -> Protection:
    """Return how a store's key is protected, with all that is needed to protect it so again.

    Raises:
        KeyAccessError: when it is missing or damaged, or is sealed by a passphrase and none is given.
    """
    found = repokey.describe(keys.read_repokey(backend, name), repository)
    if found.protection == repokey.RECIPIENTS:
        return Recipients(recipients=found.recipients)
    if found.protection == repokey.PASSPHRASE:
        return Passphrase(text=unlock.passphrase() or "")
    return Plain()


def opening(protection: Protection, unlock: Unlock) -> Unlock:
    """Return what opens a key that is protected so, for the one who protects it."""
    if isinstance(protection, Passphrase):
        text = protection.text
        return Unlock(passphrase=lambda: text, identities=unlock.identities)
    return unlock


def seal(repository: bytes, opened: Opened, protection: Protection, unlock: Unlock, entropy: Entropy) -> bytes:
    """Return the bytes of ``keys/repo``, of which is known that they open again.

    Raises:
        UsageError: as :func:`dvtool.formats.repokey.encode`; also when nobody here could open it any more.
    """
    data = repokey.encode(repository, opened, protection, entropy)
    try:
        again = repokey.decode(data, repository, opening(protection, unlock))
    except KeyAccessError as error:
        raise UsageError(
            "you could not open the key yourself any more",
            why=error.why or error.what,
            next="name your own recipient as well: 'dv key identity' prints it",
        ) from None
    if again != opened:
        raise IntegrityError("the key does not open as it was sealed", where=keys.REPOSITORY_KEY, next="try again")
    return data


def change(
    backend: Backend,
    repository: bytes,
    unlock: Unlock,
    protection: Protection,
    *,
    entropy: Entropy,
    become: Callable[[Opened], Opened] = lambda opened: opened,
    hold: Callable[[], None] = lambda: None,
    name: str = keys.REPOSITORY_KEY,
) -> Opened:
    """Seal a store's key anew, durably, and return what it protects; nothing else in the store is written.

    Args:
        backend: the place of the key.
        repository: the id of the repository, 16 bytes.
        unlock: opens the key as it is.
        protection: how it is protected from now on.
        entropy: makes what is used once.
        become: what it is to protect, of what it protects now.
        hold: makes sure that others are still held off.
        name: where it lies.

    Raises:
        KeyAccessError: when the key does not open as it is.
        UsageError: as :func:`seal`.
        ConflictError: when somebody else changed it meanwhile, or is not held off any more.
        StorageError: when the place refuses; the key is then as it was, or as it was to be.
    """
    before = keys.read_repokey(backend, name)
    opened = become(repokey.decode(before, repository, unlock))
    data = seal(repository, opened, protection, unlock, entropy)
    hold()
    if keys.read_repokey(backend, name) != before:
        raise ConflictError(
            "the repository key was changed by somebody else meanwhile", where=name, next="run the command again"
        )
    backend.replace(name, data)
    return opened


def require_fit(backend: Backend, form: StoreFormat, opened: Opened) -> int:
    """Refuse a key that is not the one with which a store is sealed now; return how many log keys it opens.

    Raises:
        KeyAccessError: when it does not open the log keys that are there.
    """
    wrap = keys.Secrets(opened).wrap
    count = 0
    for name in sorted(backend.names("keys")):
        if not name.startswith("log-"):
            continue
        try:
            keys.read_log_key(backend, form.store, wrap, bytes.fromhex(name.removeprefix("log-")))
            count += 1
        except KeyAccessError:
            raise KeyAccessError(
                "this key does not open the store",
                where=f"keys/{name}",
                why="it is of this repository, and not of this store as it is now: it may be that of another clone, or "
                "older than the last 'dv key rotate'",
                next="look for a newer backup, made of this very store",
            ) from None
        except (DvError, ValueError):
            continue  # damaged, or no log key at all: it tells nothing about the key
    return count


def is_working(backend: Backend, form: StoreFormat) -> bool:
    """Return whether the key that is there is sound, and opens the store as far as that can be told without asking.

    A sealed one that is whole is taken for working.
    """
    try:
        found = repokey.describe(keys.read_repokey(backend), form.repository)
        if found.protection == repokey.PLAIN:
            require_fit(backend, form, keys.open_repokey(backend, form.repository))
    except (KeyAccessError, NotFoundError):
        return False
    return True
