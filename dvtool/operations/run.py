"""``dv run``: runs a command and records what it read, what came of it, and under which circumstances.

The command comes first: whatever goes wrong with recording, it runs, it ends as it would have, and its exit code is
handed on.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.capture import inject, machine, recorder, relay
from dvtool.capture.redaction import Redactor
from dvtool.capture.sampler import Sampler
from dvtool.capture.streams import Keeper
from dvtool.errors import ConflictError, DvError
from dvtool.formats import journal
from dvtool.formats import run as formats
from dvtool.formats.run import Run
from dvtool.runs import beginning, catalogue, journals, sealing

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.capture.relay import Ended
    from dvtool.runs.beginning import Begun, Request
    from dvtool.workspace import Workspace

INJECTED: Final = os.path.dirname(inject.__file__)


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a command: its exit code, and the run, if it was recorded and has ended."""

    exit: int
    id: str | None
    run: Run | None


def run(workspace: Workspace, request: Request, *, capture: bool = True) -> RunResult:
    """Run a command and record it.

    Args:
        workspace: the worktree.
        request: the command, and what is to be recorded of it.
        capture: whether what it prints is kept.

    Raises:
        ConflictError, NotFoundError, UsageError: when the request cannot be met; the command was not started then.
    """
    variables = dict(os.environ)
    redactor = Redactor(variables)
    tell = workspace.session.context.tell
    try:
        sealing.seal_waiting(workspace, redactor)
        inside = msgspec.structs.replace(request, parent=request.parent or _around(workspace, variables))
        begun = beginning.begin(workspace, inside, variables, redactor)
    except beginning.NO_RECORD as error:
        return unrecorded(request, error, tell)
    except ConflictError as error:
        if request.require_clean:
            raise
        return unrecorded(request, error, tell)
    try:
        ended = _Watching(begun, request, redactor, variables).run(capture=capture)
    finally:
        recorder.let_go(begun.held)
    if ended.why:
        tell(f"dv: {ended.why}")
    return RunResult(exit=ended.exit, id=begun.id, run=_store(workspace, begun, redactor))


def unrecorded(request: Request, error: DvError | OSError, tell: Callable[[str], None]) -> RunResult:
    """Run a command of which nothing can be recorded, and say why."""
    if not request.command:
        raise error
    tell(f"warning: this run is not recorded: {sealing.reason(error)}; the command goes on")
    ended = relay.run(request.command, dict(os.environ), {}, every=60.0, tick=_nothing)
    if ended.why:
        tell(f"dv: {ended.why}")
    return RunResult(exit=ended.exit, id=None, run=None)


def _around(workspace: Workspace, variables: dict[str, str]) -> str:
    """Return the run of this repository that this process is part of, or nothing."""
    top, name = os.path.split(variables.get(recorder.RUN_VARIABLE, ""))
    is_here = os.path.realpath(top) == os.path.realpath(f"{workspace.session.layout.control}/{journals.DIRECTORY}")
    return name if is_here and formats.is_id(name) else ""


def _nothing(_pid: int) -> None:
    """Look at nothing."""


def _store(workspace: Workspace, begun: Begun, redactor: Redactor) -> Run | None:
    """Store the run; what keeps it from that is said, and the next command tries again."""
    tell = workspace.session.context.tell
    try:
        value = sealing.seal(workspace, begun.directory, redactor)
    except Exception as error:  # noqa: BLE001 - whatever it is, the command's exit code is handed on
        why = sealing.reason(error)
        tell(f"warning: run {begun.id} is not stored yet: {why}; the next command tries again")
        return None
    if value is None and not os.path.exists(begun.directory):
        with contextlib.suppress(DvError):  # another command was here first
            workspace.session.store.refresh()
            return catalogue.read(workspace, begun.id)
    if value is None:
        tell(f"note: a process of run {begun.id} goes on; the run is stored when that has ended")
    return value


class _Watching:
    """Looks at a command while it goes."""

    def __init__(self, begun: Begun, request: Request, redactor: Redactor, variables: dict[str, str]) -> None:
        self.begun = begun
        self.request = request
        self.redactor = redactor
        self.variables = variables
        self.sampler = Sampler()
        self.looks = 0
        self.recorder: recorder.Recorder | None = None

    def run(self, *, capture: bool) -> Ended:
        directory = self.begun.directory
        try:
            self.recorder = recorder.Recorder(directory, silent=True)
        except (DvError, OSError):
            self.recorder = None  # said by what follows, which cannot be written either
        streams = dict(zip((1, 2), recorder.STREAMS, strict=True)) if capture else {}
        keepers = {number: Keeper(f"{directory}/{name}", self.redactor) for number, name in streams.items()}
        # With the lock in its hands the command is waited for even if this process is killed and it goes on.
        handed = [self.begun.held] if self.begun.held >= 0 else []
        ended = relay.run(self.request.command, self._environment(), keepers, every=1.0, tick=self._tick, handed=handed)
        self._end(ended)
        return ended

    def _environment(self) -> dict[str, str]:
        """Return the environment of the command, by which its processes find the run."""
        found = {**self.variables, recorder.RUN_VARIABLE: self.begun.directory}
        if self.request.trace == "audit":
            root = os.path.dirname(os.path.dirname(os.path.dirname(self.begun.directory)))
            before = [self.variables["PYTHONPATH"]] if self.variables.get("PYTHONPATH") else []
            found["PYTHONPATH"] = os.pathsep.join([INJECTED, *before])
            found["DV_TRACE_ROOT"] = root + "/"
        return found

    def _tick(self, pid: int) -> None:
        """Look at the machine; at first often, then every ten seconds."""
        if self.recorder is None:
            return
        self.looks += 1
        if self.looks == 1:
            found = machine.gpus()
            if found:
                self.recorder.append(journal.Environment({"gpus": found}))
            return
        if self.looks == 3:  # noqa: PLR2004 - two seconds: what is loaded at all is loaded by then
            libraries = machine.libraries(pid)
            if libraries:
                self.recorder.append(journal.Environment({"blas": libraries}))
        if self.looks <= 60 or not self.looks % 10:  # noqa: PLR2004 - see above
            self.recorder.append(journal.System(recorder.now(), self.sampler.look(pid)))

    def _end(self, ended: Ended) -> None:
        memory = max(ended.memory, self.sampler.peak)
        why = ended.why or (f"ended by {signal.Signals(ended.signal).name}" if ended.signal else "")
        value = journal.End(
            time=recorder.now(), code=ended.code, signal=ended.signal, why=why, cpu=ended.cpu, memory=memory
        )
        with contextlib.suppress(OSError, DvError):  # the run then counts as one that nobody saw end
            beginning.write(f"{self.begun.directory}/{recorder.END}", journal.encode_end(value))
        if self.recorder is not None:
            self.recorder.close()
