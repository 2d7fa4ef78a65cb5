"""How a command begins: where it works, what it reports to, and the repository that it opens.

Nothing here needs the parser of arguments, so that a plain ``dv status`` starts without it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dvtool.cli import output, progress
from dvtool.errors import NotFoundError

if TYPE_CHECKING:
    from dvtool.repo import Repo
    from dvtool.worktree.session import Context

WAIT_SECONDS = 30.0
"""How long a command waits for another one that changes the worktree, unless ``--wait`` says otherwise."""


class Settings:
    """What the options before the command said."""

    def __init__(self, *, directory: str = ".", wait: float = WAIT_SECONDS) -> None:
        """Remember the options."""
        self.directory = directory
        self.wait = wait


def context(settings: Settings) -> Context:
    """Return what a verb is handed on this terminal.

    Raises:
        NotFoundError: when the current directory was removed.
    """
    from dvtool.cli import passphrase
    from dvtool.worktree.session import Context

    try:
        place = os.path.realpath(settings.directory)
    except FileNotFoundError:
        raise NotFoundError("the current directory is gone", next="change to one that is there") from None
    return Context(
        progress=progress.choose(), tell=output.warn, wait=settings.wait, cwd=place, unlock=passphrase.unlock()
    )


def open_repo(settings: Settings, *, writes: bool = True) -> Repo:
    """Open the repository that holds the current directory, and store runs that have ended unless nothing is to change.

    Raises:
        NotFoundError: when there is none.
    """
    from dvtool.repo import Repo

    repo = Repo.open(settings.directory, context(settings))
    if writes and os.path.isdir(f"{repo.root}/.dv/runs"):
        repo.store_waiting_runs()
    return repo


def open_or_found(settings: Settings) -> Repo:
    """Open the repository, or make it from the remote that a ``dv.toml`` above names, as after ``git clone``.

    Raises:
        NotFoundError: when there is neither.
    """
    from dvtool.repo import Repo

    return Repo.open_or_found(settings.directory, context(settings))
