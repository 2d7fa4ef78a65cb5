"""The program as click knows it: finds the command, loads only that, and parses its arguments."""

from __future__ import annotations

import importlib
import math
import os
from typing import TYPE_CHECKING, Any

import click

from dvtool import __version__
from dvtool.cli import exits, opening
from dvtool.cli.catalogue import COMMANDS
from dvtool.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


class _ReaderGoneError(Exception):
    """Whoever read the output (head, less) has enough; click would end the process on a BrokenPipeError."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of a day's work."""
        _ = ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None when there is none of this name."""
        _ = ctx
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(importlib.import_module(module), f"{cmd_name}_command")
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - a command returns what it likes
        """Run the command; a reader that went away is for the caller to hear of, not for click to exit on."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderGoneError from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, naming the nearest when there is none."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1, cutoff=0.5)
            guess = f"did you mean 'dv {near[0]}'? " if near else ""
            raise UsageError(f"there is no command {args[0]!r}", next=f"{guess}'dv --help' lists all")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands with their first sentences, and what the exit codes mean."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                rows.append((name, command.get_short_help_str(90)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, _kind, meaning in exits.table()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("-C", "directory", metavar="DIR", default=".", help="Work as if started in DIR.")
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=opening.WAIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for another dv that is changing this worktree.",
)
@click.version_option(__version__, prog_name="dv", message="%(prog)s %(version)s")
@click.pass_context
def dv(ctx: click.Context, *, directory: str, debug: bool, wait: float) -> None:
    """Version control for data sets.

    \b
    Example:
      dv init && dv add data && dv commit -m "first data" && dv status
    """  # noqa: D301 - \b keeps click from reflowing the example
    if directory != ".":
        try:
            os.chdir(directory)
        except OSError as error:
            raise UsageError(f"cannot work in {directory!r}", why=error.strerror or "", next="check the path") from None
    if math.isnan(wait):
        raise UsageError("--wait takes a number of seconds", next="write --wait 0 for not at all, or --wait inf")
    _ = debug  # read before anything is parsed, since parsing may fail
    ctx.obj = opening.Settings(wait=wait)


def _called(arguments: Sequence[str]) -> str:
    """Return the command that is called, for an error of click's parser, which does not say where it arose."""
    words = ["dv"]
    found: click.Command | None = dv
    for word in arguments:
        below = found.get_command(click.Context(found), word) if isinstance(found, click.Group) else None
        if below is not None:
            words.append(word)
            found = below
    return " ".join(words)


def perform(arguments: Sequence[str]) -> int:
    """Parse a command line, do what it says and return its exit code.

    Raises:
        DvError: as the command does; a wrong call is a UsageError.
        BrokenPipeError: when nobody reads the output any more.
        KeyboardInterrupt: when the user stopped it.
    """
    try:
        result: Any = dv.main(args=list(arguments), prog_name="dv", standalone_mode=False)
    except click.exceptions.Exit as request:
        return int(request.exit_code)
    except click.exceptions.NoArgsIsHelpError as request:
        click.echo(request.format_message())
        return exits.DONE
    except click.Abort:
        raise KeyboardInterrupt from None
    except _ReaderGoneError:
        raise BrokenPipeError from None
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else _called(arguments)
        what = " ".join(error.format_message().split()).rstrip(".")
        raise UsageError(what, next=f"run '{command} --help' for how it is called") from None
    return result if isinstance(result, int) else exits.DONE
