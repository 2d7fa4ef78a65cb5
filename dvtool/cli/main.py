"""The entry point: finds the command, loads only that, and turns what happens into an exit code."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from dvtool import __version__
from dvtool.cli import exits, output
from dvtool.errors import DvError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

# The collector's first generation counts 700 objects by default, and loading a command makes ten thousand that
# live to the end; looking through them again and again took 5 ms of each start, and seconds of a large commit.
gc.set_threshold(100_000, 20, 50)

COMMANDS: Final = {
    "init": "dvtool.cli.commands.basics",
    "add": "dvtool.cli.commands.basics",
    "rm": "dvtool.cli.commands.basics",
    "mv": "dvtool.cli.commands.basics",
    "status": "dvtool.cli.commands.status",
    "commit": "dvtool.cli.commands.basics",
    "log": "dvtool.cli.commands.reading",
    "show": "dvtool.cli.commands.reading",
    "ls": "dvtool.cli.commands.reading",
    "cat": "dvtool.cli.commands.reading",
    "du": "dvtool.cli.commands.reading",
    "diff": "dvtool.cli.commands.diff",
    "checkout": "dvtool.cli.commands.switching",
    "restore": "dvtool.cli.commands.switching",
    "get": "dvtool.cli.commands.switching",
    "drop": "dvtool.cli.commands.switching",
    "branch": "dvtool.cli.commands.refs",
    "tag": "dvtool.cli.commands.refs",
    "archive": "dvtool.cli.commands.reading",
    "worktree": "dvtool.cli.commands.worktree",
    "config": "dvtool.cli.commands.upkeep",
    "oplog": "dvtool.cli.commands.upkeep",
    "doctor": "dvtool.cli.commands.upkeep",
    "completion": "dvtool.cli.commands.upkeep",
    "demo": "dvtool.cli.demo",
}
"""Command by command, the module that has it as ``<name>_command``; loaded when it is called."""


class _ReaderGoneError(Exception):
    """Whoever read the output (head, less) has enough."""


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
        """Run the command; a reader that went away is for :func:`run` to notice, not for click to exit on."""
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

            near = difflib.get_close_matches(args[0], COMMANDS, n=1, cutoff=0)
            raise UsageError(
                f"there is no command {args[0]!r}", next=f"did you mean 'dv {near[0]}'? 'dv --help' lists all"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands with their first sentences."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                rows.append((name, command.get_short_help_str(90)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Settings:
    """What the options before the command said."""

    def __init__(self, *, directory: str, debug: bool, wait: float) -> None:
        """Remember the options."""
        self.directory = directory
        self.debug = debug
        self.wait = wait


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("-C", "directory", metavar="DIR", default=".", help="Work as if started in DIR.")
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=30.0,
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
    ctx.obj = Settings(directory=".", debug=debug, wait=wait)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing escapes but the interpreter's own exits."""
    json = wants_json(arguments)
    debug = "--debug" in arguments[: _first_command(arguments)]
    try:
        _refuse_undecodable(arguments)
        result: Any = dv.main(args=list(arguments), prog_name="dv", standalone_mode=False)
        code = result if isinstance(result, int) else exits.DONE
    except click.exceptions.Exit as request:
        code = int(request.exit_code)
    except click.exceptions.NoArgsIsHelpError as request:
        click.echo(request.format_message())
        code = exits.DONE
    except (click.Abort, KeyboardInterrupt):
        click.echo("dv: interrupted", err=True)
        code = exits.INTERRUPTED
    except (BrokenPipeError, _ReaderGoneError):
        # The reader (head, less) has enough; Python would complain once more when it closes the stream.
        _silence_stdout()
        code = exits.DONE
    except Exception as error:  # noqa: BLE001 - the last resort is a report, never a traceback
        voiced = _as_ours(error)
        code = _fail(voiced, json=json, debug=debug) if voiced else _report(error, json=json, debug=debug)
    return code


def _refuse_undecodable(arguments: Sequence[str]) -> None:
    for word in arguments:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError("an argument is not UTF-8", where=repr(word), next="rename the file first") from None


def _as_ours(error: Exception) -> DvError | None:
    """Return an error with the four voices, or None for a bug."""
    if isinstance(error, DvError):
        return error
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "dv"
        return UsageError(error.format_message().rstrip("."), next=f"run '{command} --help' for how it is called")
    if isinstance(error, OSError):
        where = str(error.filename or "")
        return StorageError("the operating system refused", where=where, why=error.strerror or str(error))
    return None


def _first_command(arguments: Sequence[str]) -> int:
    for at, word in enumerate(arguments):
        if word in COMMANDS:
            return at
    return len(arguments)


def wants_json(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON; known before it is parsed, because parsing may fail."""
    words = list(arguments)
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def _fail(error: DvError, *, json: bool, debug: bool) -> int:
    code = exits.code_of(error)
    if debug:
        import traceback

        traceback.print_exception(error)
    output.show_error(error, code, json=json)
    return code


def _report(error: Exception, *, json: bool, debug: bool) -> int:
    """Write a report of a bug to a file and say where it is."""
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    if debug:
        sys.stderr.write(text)
    try:
        descriptor, path = tempfile.mkstemp(prefix="dv-report-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"dv {__version__}, Python {sys.version}, {sys.platform}\n\n{text}")
    except OSError:
        path = "(no report could be written)"
    voiced = DvError(
        "this is a bug in dv",
        where=path,
        why=f"{type(error).__name__}: {error}",
        next="please report it with that file, after taking out what is confidential; nothing stored was lost",
    )
    voiced.kind = "bug"
    output.show_error(voiced, exits.BUG, json=json)
    return exits.BUG


def _terminate(_number: int, _frame: object) -> None:
    """End as Ctrl-C does, so that unfinished files go and worker processes with them."""
    sys.exit(exits.TERMINATED)


def _silence_stdout() -> None:
    """Send what is still buffered nowhere; Python would complain once more when it closes the stream."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def entry() -> None:
    """Run the command line of this process."""
    signal.signal(signal.SIGTERM, _terminate)
    arguments = sys.argv[1:]
    try:
        code = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        code = exits.DONE
    except OSError as error:
        _silence_stdout()
        voiced = StorageError("the output could not be written", why=error.strerror or "", next="free some space")
        code = _fail(voiced, json=wants_json(arguments), debug=False)
    # Everything is written: taking the interpreter apart object by object would only cost time (15 ms after a status
    # of 100,000 files).
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    entry()
