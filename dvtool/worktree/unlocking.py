"""What opens a sealed key: the passphrase of the environment, and the user's identity in the home directory."""

from __future__ import annotations

import os
import stat
from typing import Final

from dvtool.errors import KeyAccessError, UsageError
from dvtool.formats import identity
from dvtool.formats.repokey import PASSPHRASE_LIMIT, Unlock
from dvtool.storage.disk import read_regular
from dvtool.worktree import settings

MAKE: Final = "make one with 'dv key identity --new'"


def identity_path() -> str:
    """Return where the identity of this user lies."""
    return os.environ.get("DV_IDENTITY") or os.path.join(os.path.dirname(settings.user_path()), "identity")


def load_identities(path: str) -> tuple[bytes, ...]:
    """Return the identities (private keys, 32 bytes each) in a file; none when it is not there.

    Raises:
        KeyAccessError: when others may read it, or it cannot be read.
        FormatError: when it is malformed.
    """
    try:
        # Without the last flag a pipe in its place would keep dv waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KeyAccessError(
            "the identity cannot be read",
            where=path,
            why=error.strerror or "",
            next="check its permissions (0600, yours)",
        ) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise KeyAccessError("the identity is no file", where=path, next=f"move it away, then {MAKE}")
        if stat.S_IMODE(found.st_mode) & 0o077 or (found.st_uid != os.geteuid() and os.geteuid() != 0):
            raise KeyAccessError(
                "others can read the identity",
                where=path,
                why=f"its mode is {stat.S_IMODE(found.st_mode):04o}, and its owner is user {found.st_uid}",
                next=f"chmod 600 {path}; if somebody may have read it, {MAKE} elsewhere (DV_IDENTITY) and "
                "have the old one removed from the recipients",
            )
        with open(descriptor, "rb", closefd=False) as file:
            return identity.decode_identities(file.read(identity.FILE_LIMIT + 1))
    finally:
        os.close(descriptor)


def read_passphrase(path: str) -> str:
    """Return the first line of a file, without its end.

    Raises:
        UsageError: when the file cannot be read, or the line is empty, too long or not UTF-8.
    """
    try:
        line = read_regular(path, PASSPHRASE_LIMIT + 2).split(b"\n")[0].removesuffix(b"\r")
    except OSError as error:
        raise UsageError(
            "the file with the passphrase cannot be read",
            where=path,
            why=error.strerror or "",
            next="check --passphrase-file, or DV_PASSPHRASE_FILE",
        ) from None
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = ""
    if not text or len(line) > PASSPHRASE_LIMIT:
        raise UsageError(
            "the file holds no passphrase",
            where=path,
            why=f"its first line is empty, not UTF-8, or has more than {PASSPHRASE_LIMIT:,} bytes",
            next="write the passphrase into its first line",
        )
    return text


def passphrase() -> str | None:
    """Return the passphrase that the environment gives, or None; raises as :func:`read_passphrase`."""
    text = os.environ.get("DV_PASSPHRASE")
    if text:
        return text
    path = os.environ.get("DV_PASSPHRASE_FILE")
    return read_passphrase(path) if path else None


def _identities() -> tuple[bytes, ...]:
    return load_identities(identity_path())


ENVIRONMENT: Final = Unlock(passphrase=passphrase, identities=_identities)
"""Asks nobody: what the environment and the home directory have."""
