"""Passphrases on the terminal, and the options that say how a key is protected."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from dvtool.errors import KeyAccessError, UsageError
from dvtool.formats import repokey
from dvtool.worktree import unlocking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dvtool.formats.repokey import Protection, Unlock


def unlock() -> Unlock:
    """Return what opens a sealed key: the environment, or else whoever sits at the terminal, who is asked once."""

    @functools.cache
    def asked() -> str | None:
        text = unlocking.passphrase()
        if text is None and _is_terminal():
            return _prompt("passphrase of the repository key")
        return text

    return repokey.Unlock(passphrase=asked, identities=unlocking.ENVIRONMENT.identities)


def new() -> Protection:
    """Return protection by a passphrase that is chosen now: that of the environment, or one that is typed twice.

    Raises:
        UsageError: when the two differ.
        KeyAccessError: when there is nobody to ask.
    """
    text = unlocking.passphrase()
    if text is not None:
        return repokey.Passphrase(text=text)
    if not _is_terminal():
        raise KeyAccessError(
            "there is no passphrase to seal the key by, and nobody to ask for one",
            next="give --passphrase-file FILE, DV_PASSPHRASE or DV_PASSPHRASE_FILE, --recipient FILE, or --plain-keys",
        )
    text = _prompt("new passphrase")
    if _prompt("the same again") != text:
        raise UsageError("the two passphrases differ", next="run the command again")
    return repokey.Passphrase(text=text)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options by which a key is protected; :func:`named` reads them."""
    import click

    for option in (
        click.option("--plain-keys", is_flag=True, help="Leave the key in the clear: whoever reads the file has it."),
        click.option(
            "--recipient",
            "recipients",
            multiple=True,
            metavar="FILE",
            help="Seal it for the recipients in FILE, or for one given as its line; may be given several times.",
        ),
        click.option("--passphrase-file", metavar="FILE", help="Seal it by the passphrase in the first line of FILE."),
    ):
        command = option(command)
    return command


def named(
    directory: str, *, passphrase_file: str | None, recipients: Sequence[str], plain_keys: bool
) -> Protection | None:
    """Return the protection that the options say, or None if there are none of them.

    Args:
        directory: what paths are relative to.
        passphrase_file: the value of its option.
        recipients: likewise.
        plain_keys: likewise.

    Raises:
        UsageError: when they contradict each other, or a passphrase is unfit.
        NotFoundError, FormatError: when a file of recipients is not there, or malformed.
    """
    from dvtool.operations import keys

    if sum([passphrase_file is not None, bool(recipients), plain_keys]) > 1:
        raise UsageError(
            "a key is protected in one way", next="give one of --passphrase-file, --recipient and --plain-keys"
        )
    if plain_keys:
        return repokey.Plain()
    if recipients:
        return repokey.Recipients(recipients=keys.recipients_of(recipients, directory))
    return repokey.Passphrase(text=unlocking.read_passphrase(passphrase_file)) if passphrase_file is not None else None


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _prompt(text: str) -> str:
    import click

    try:
        found: str = click.prompt(text, hide_input=True, err=True)
    except click.Abort:
        raise KeyboardInterrupt from None
    return found
