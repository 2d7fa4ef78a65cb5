"""What every command starts with: the repository, and the options that all reads have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvtool.cli import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.cli.main import Settings
    from dvtool.repo import Repo
    from dvtool.worktree.session import Context

json_option = click.option("--json", "json", is_flag=True, help="Print one JSON document.")


def context(settings: Settings) -> Context:
    """Return what a verb is handed on this terminal."""
    import os

    from dvtool.worktree.session import Context

    return Context(
        progress=progress.choose(),
        tell=lambda text: click.echo(text, err=True),
        wait=settings.wait,
        cwd=os.path.realpath(settings.directory),
    )


def open_repo(settings: Settings) -> Repo:
    """Open the repository that holds the current directory.

    Raises:
        NotFoundError: when there is none.
    """
    from dvtool.repo import Repo

    return Repo.open(settings.directory, context(settings))


def example(*lines: str) -> str:
    """Return an epilog that shows how a command is called."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def command(name: str, *examples: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Return a decorator that makes a command with examples in its help."""
    return click.command(
        name, epilog=example(*examples), context_settings={"help_option_names": ["-h", "--help"]}
    )
