"""The entry point: runs one command line, and turns what happens into words and an exit code."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from dvtool import __version__
from dvtool.cli import exits, opening, output
from dvtool.cli.catalogue import COMMANDS
from dvtool.errors import DvError, StorageError, UsageError
from dvtool.paths import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

# The collector's first generation counts 700 objects by default, and loading a command makes ten thousand that
# live to the end; looking through them again and again took 5 ms of each start, and seconds of a large commit.
gc.set_threshold(100_000, 20, 50)

UNPARSED: Final = {("status",): False, ("status", "--json"): True}
"""Calls that need no parser, and whether they ask for JSON.

Loading click takes 11 of the 70 ms of a status in a small repository, and prompts and editors ask for one all the time.
"""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing escapes but the interpreter's own exits."""
    json = wants_json(arguments)
    debug = "--debug" in arguments[: _first_command(arguments)]
    try:
        _refuse_undecodable(arguments)
        code = _perform(arguments)
    except KeyboardInterrupt:
        code = _stopped("interrupted", exits.INTERRUPTED, json=json)
    except _TerminatedError:
        code = _stopped("told to end", exits.TERMINATED, json=json)
    except BrokenPipeError:
        # The reader (head, less) has enough; Python would complain once more when it closes the stream.
        _silence_stdout()
        code = exits.DONE
    except Exception as error:  # noqa: BLE001 - the last resort is a report, never a traceback
        voiced = _as_ours(error)
        code = _fail(voiced, json=json, debug=debug) if voiced else _report(error, json=json, debug=debug)
    return code


def _perform(arguments: Sequence[str]) -> int:
    json = UNPARSED.get(tuple(arguments))
    if json is not None:
        from dvtool.cli import status

        status.show(opening.Settings(), json=json)
        return exits.DONE
    from dvtool.cli import program

    return program.perform(arguments)


def _refuse_undecodable(arguments: Sequence[str]) -> None:
    is_run = "run" in arguments
    for word in arguments:
        if is_run and word == "--":
            return  # what follows is another program's concern
        if "\0" in word:  # which no shell can pass on, but a caller of run() can
            raise UsageError("an argument holds a NUL", where=ascii(word), next="leave it out")
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError("an argument is not UTF-8", where=shown(word), next="rename the file first") from None


def _stopped(what: str, code: int, *, json: bool) -> int:
    if json:
        voiced = DvError(
            what,
            why="a signal stopped it",
            next="run it again: nothing stored was lost, and nothing was done by halves",
        )
        voiced.kind = "interrupted"
        output.show_error(voiced, code, json=True)
    else:
        output.warn(f"dv: {what}")
    return code


def _as_ours(error: Exception) -> DvError | None:
    """Return an error with the four voices, or None for a bug."""
    if isinstance(error, DvError):
        return error
    if isinstance(error, OSError):
        from dvtool.storage.disk import as_ours

        return as_ours(error, str(error.filename or ""))
    if isinstance(error, MemoryError):
        return StorageError(
            "there is not enough memory",
            why="the system gives this process no more",
            next="free some, or name a part of the data; nothing stored was lost",
        )
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


class _TerminatedError(SystemExit):
    """This process was told to end; nothing but :func:`run` and the ends of worker processes catches it."""


def _terminate(_number: int, _frame: object) -> None:
    """End as Ctrl-C does, so that unfinished files go and worker processes with them."""
    raise _TerminatedError(exits.TERMINATED)


def _silence_stdout() -> None:
    """Send what is still buffered nowhere; Python would complain once more when it closes the stream."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_streams() -> None:
    """Make streams of those that the caller closed, and show what their encoding lacks instead of failing on it."""
    # None where the descriptor is closed, whatever the stubs say.  Descriptors are taken in order, so that no file of
    # the store gets the number of a standard stream and with it what is printed.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def entry() -> None:
    """Run the command line of this process."""
    if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:  # what was ignored stays so, for what is started too
        signal.signal(signal.SIGTERM, _terminate)
    _open_streams()
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
