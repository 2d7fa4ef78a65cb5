"""How a key is to be kept, as the options of several commands say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.errors import UsageError
from dvtool.formats import identity, repokey
from dvtool.storage.disk import read_regular
from dvtool.worktree import unlocking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.formats.repokey import Protection


def chosen(passphrase_file: str | None, recipients: Sequence[str], *, plain: bool) -> Protection | None:
    """Return the protection that options chose, or None when there were none.

    Raises:
        UsageError: when they chose several, or a file cannot be used.
    """
    if sum((passphrase_file is not None, bool(recipients), plain)) > 1:
        raise UsageError(
            "a key is kept in one way", next="choose one of --passphrase-file, --recipient and --plain-keys"
        )
    if passphrase_file is not None:
        return repokey.Passphrase(text=unlocking.read_passphrase(passphrase_file))
    if recipients:
        return repokey.Recipients(recipients=tuple(each for path in recipients for each in _recipients(path)))
    return repokey.Plain() if plain else None


def _recipients(path: str) -> tuple[identity.Recipient, ...]:
    """Return the recipients that a file names, one in a line."""
    try:
        data = read_regular(path, identity.FILE_LIMIT + 1)
    except OSError as error:
        raise UsageError("the file of a recipient cannot be read", where=path, why=error.strerror or "") from None
    return identity.decode_recipients(data)
