"""``dvtool.run``: records what a Python program does, from inside of it.

::

    import dvtool

    with dvtool.run("baseline", stage="train") as run:
        run.params(lr=0.1, model={"depth": 3})
        for step in range(100):
            run.log(step=step, split="train", loss=0.5)
        run.output("model.pkl", kind="model")

In a program that ``dv run`` started, or in a process of one that has a run, the run that goes on is joined; its
processes log side by side.  Nothing here raises once a run has begun: what cannot be recorded is said on stderr, once,
and the program goes on.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from dvtool.capture import inject, recorder
from dvtool.capture.inject import dv_trace
from dvtool.capture.redaction import Redactor
from dvtool.errors import DvError
from dvtool.formats import journal
from dvtool.formats.run import DEPTH_LIMIT, TEXT_LIMIT
from dvtool.tables import series

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from dvtool.workspace import Workspace

RANKS: Final = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Variables by which launchers tell a process which of several it is."""
REPR: Final = 1000
"""Characters that are kept of a parameter that is neither text nor number nor made of such."""
_ROOTS: Final = "DV_TRACE_ROOTS"


def run(
    name: str = "",
    *,
    group: str = "",
    stage: str = "",
    params: Mapping[str, Any] | None = None,
    inputs: Sequence[str | tuple[str, str]] = (),
    outputs: Sequence[str] = (),
    rank: int | None = None,
    shard: str = "",
    nested: bool = False,
    trace: str = "audit",
    require_clean: bool = False,
    directory: str = ".",
) -> Run:
    """Begin a run, or join the one that this process is part of.

    Args:
        name: what it is called.
        group: the group that it belongs to.
        stage: ``train``, ``tune``, ``eval`` or ``prep``.
        params: parameters, by name; may be nested.
        inputs: what it reads: paths, or ``REV:PATH``, or ``RUN:PATH``; or pairs of one of these and a role.
        outputs: paths of what it makes.
        rank: which of several workers this is; by default what the launcher says.
        shard: which part of the data it works on.
        nested: begin a run of its own inside the one that goes on.
        trace: ``audit`` to note which files of the repository Python opens, ``declared`` to take only what is said.
        require_clean: refuse if the worktree has changes that are not recorded.
        directory: where the repository is.

    Raises:
        NotFoundError: when there is no repository, or an input does not exist.
        ConflictError: when the worktree has changes, and must not.
        UsageError: when an argument makes no sense.
    """
    joined = os.environ.get(recorder.RUN_VARIABLE, "")
    if rank is None:
        rank = _rank()
    if joined and os.path.isdir(joined) and not nested:
        found = Run(joined, rank=rank, shard=shard)
        found.say_named(name, group, stage)
    else:
        own = _Own(os.path.basename(joined) if joined and nested else "", directory)
        return own.begin(
            name=name, group=group, stage=stage, params=_plain(params or {}), inputs=inputs, outputs=outputs,
            trace=trace, require_clean=require_clean, rank=rank, shard=shard,
        )  # fmt: skip
    if params:
        found.params(params)
    for each in inputs:
        found.input(each) if isinstance(each, str) else found.input(*each)
    for path in outputs:
        found.output(path)
    return found


def _rank() -> int | None:
    for name in RANKS:
        with contextlib.suppress(ValueError):
            return int(os.environ.get(name, ""))
    return None


class Run:
    """A run that goes on, as one of its processes sees it."""

    def __init__(self, directory: str, *, rank: int | None = None, shard: str = "", own: _Own | None = None) -> None:
        """Join the run with this journal; use :func:`run`."""
        self.id = os.path.basename(directory)
        self.directory = directory
        self._own = own
        self._pid = os.getpid()
        self._redact = Redactor(os.environ)
        self._told: set[str] = set()
        self._recorder: recorder.Recorder | None = None
        try:
            self._recorder = recorder.Recorder(directory, rank=rank, shard=shard)
        except OSError as error:
            self._tell(f"this run cannot be recorded: {error.strerror or error}; the program goes on")

    def log(
        self, values: Mapping[str, Any] | None = None, /, *, step: int | None = None, split: str = "", **more: Any
    ) -> None:
        """Record numbers at a step: ``run.log(step=1, split="train", loss=0.5)``.

        Anything that ``float`` takes is a number, so tensors and arrays of one element are; NaN and infinities are
        recorded as what they are.
        """
        if self._recorder is None:
            return
        found: dict[str, float] = {}
        for name, value in ({**values, **more} if values else more).items():
            try:
                found[str(name)] = float(value)
            except (TypeError, ValueError, RuntimeError):
                self._tell(f"{name!r} was not recorded: {type(value).__name__} is no number")
        try:
            at = None if step is None else int(step)
        except (TypeError, ValueError, OverflowError):
            self._tell(f"step {step!r} is no whole number, and was left out")
            at = None
        self._say(journal.Values(recorder.now(), str(split), at, found))

    def params(self, values: Mapping[str, Any] | None = None, /, *, step: int | None = None, **more: Any) -> None:
        """Record parameters; one that is given another value later keeps both, as schedules want."""
        found = _plain({**(values or {}), **more})
        clean = {name: self._redact.value(name, value) for name, value in found.items()}
        self._say(journal.Params(recorder.now(), step, clean))

    def seeds(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Record with what random number generators were seeded: ``run.seeds(numpy=0, torch=0)``."""
        self._say(journal.Seeds(_plain({**(values or {}), **more})))

    def input(self, path: str, role: str = "") -> None:
        """Say that something is read: a path, ``REV:PATH`` or ``RUN:PATH``."""
        place = os.path.abspath(path) if os.path.lexists(path) or ":" not in path else path
        self._say(journal.Said(made=False, path=place, kind="", role=str(role)))

    def output(self, path: str, kind: str = "file") -> None:
        """Say that something is made; it is stored when the run ends, as it is then."""
        self._say(journal.Said(made=True, path=os.path.abspath(path), kind=str(kind), role=""))

    def log_samples(self, table: Any, key: str = "path", name: str = "samples") -> None:
        """Record a table with a row for each sample: its key, what was predicted, what was right, and so on.

        Args:
            table: a data frame of pandas or polars, a table of pyarrow, columns by name, or rows as mappings.
            key: the column that names the sample: the path of a file, or the key of a row.
            name: what the table is called.
        """
        if "pyarrow" not in sys.modules:
            for module in ("dv_trace", dv_trace.__name__):  # the hook of dv run, and that of this module
                own: set[str] = getattr(sys.modules.get(module), "OWN", set())
                own.add("pyarrow")
        file = f"{recorder.SAMPLES}{os.getpid()}-{os.urandom(4).hex()}.parquet"
        try:
            rows = series.write_samples(table, key, f"{self.directory}/{file}")
        except (DvError, OSError) as error:
            why = error.finding() if isinstance(error, DvError) else error.strerror or str(error)
            self._tell(f"samples {name!r} were not recorded: {why}")
            return
        self._say(journal.Table(str(name), file, key, rows))

    def note(self, text: str) -> None:
        """Record something that whoever reads the run should know."""
        self._say(journal.Note(self._redact.text(str(text))[:TEXT_LIMIT]))

    def say_named(self, name: str, group: str, stage: str) -> None:
        """Say what the run is called, if nobody has said it before."""
        if name or group or stage:
            self._say(journal.Named(name, group, stage))

    def _say(self, record: journal.Record) -> None:
        if self._recorder is None:
            return
        try:
            self._recorder.append(record)
        except DvError as error:
            self._tell(f"something was not recorded: {error.finding()}")

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            _say_aside(f"dv: {text}")

    def finish(self, why: str = "", code: int | None = 0) -> None:
        """Leave the run; whoever began it ends it, with a reason if it failed."""
        if self._recorder is not None:
            self._recorder.close(self._redact.text(why))
            self._recorder = None
        if self._own is not None and os.getpid() == self._pid:
            self._own.end(self.directory, self._redact.text(why), code)
            self._own = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        elif isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
            self.finish("" if code == 0 else f"ended with exit code {code}", code)
        else:
            self.finish(f"{kind.__name__}: {error}"[:REPR], 1)


class _Own:
    """The beginning and the end of a run that this process began."""

    def __init__(self, parent: str, directory: str) -> None:
        self._parent = parent
        self._directory = directory
        self._workspace: Workspace | None = None
        self._before: dict[str, str | None] = {}
        self._stop = threading.Event()
        self._sampler: threading.Thread | None = None
        self._untrace: Any = None

    def begin(
        self, *, name: str, group: str, stage: str, params: dict[str, Any], inputs: Sequence[str | tuple[str, str]],
        outputs: Sequence[str], trace: str, require_clean: bool, rank: int | None, shard: str,
    ) -> Run:  # fmt: skip
        from dvtool.runs import beginning, sealing
        from dvtool.workspace import Workspace
        from dvtool.worktree.session import Context

        context = Context(cwd=os.path.realpath("."), tell=_say_aside)
        self._workspace = Workspace.open(self._directory, context)
        redactor = Redactor(os.environ)
        sealing.seal_waiting(self._workspace, redactor)
        request = beginning.Request(
            command=tuple(map(os.fsdecode, map(os.fsencode, [sys.executable, *sys.argv]))),
            name=name,
            group=group,
            stage=stage,
            parent=self._parent,
            params=params,
            inputs=tuple((each, "") if isinstance(each, str) else each for each in inputs),
            outputs=tuple((path, "") for path in outputs),
            trace=trace,
            require_clean=require_clean,
        )
        begun = beginning.begin(self._workspace, request, os.environ, redactor)
        found = Run(begun.directory, rank=rank, shard=shard, own=self)
        self._reach_children(begun.directory, trace)
        self._sampler = threading.Thread(target=self._sample, args=(begun.directory,), daemon=True, name="dv-sampler")
        self._sampler.start()
        return found

    def _reach_children(self, directory: str, trace: str) -> None:
        """Have processes that begin from now on find the run, and note what this one opens."""
        root = self._workspace.session.root + "/" if self._workspace is not None else ""
        wanted = {recorder.RUN_VARIABLE: directory}
        if trace == "audit":
            before = os.environ.get("PYTHONPATH")
            own = os.path.dirname(inject.__file__)
            wanted |= {_ROOTS: root, "PYTHONPATH": os.pathsep.join([own, before] if before else [own])}
            self._untrace = dv_trace.begin(directory, (root,))  # type: ignore[no-untyped-call]
        self._before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)

    def _sample(self, directory: str) -> None:
        """Look at the machine now and then, in a thread of its own."""
        from dvtool.capture import machine
        from dvtool.capture.sampler import Sampler

        try:
            watching = recorder.Recorder(directory, silent=True)
        except OSError:
            return
        sampler = Sampler()
        looks = 0
        try:
            while not self._stop.wait(sampler.pause):
                looks += 1
                if looks == 1 and (found := machine.gpus()):
                    watching.append(journal.Environment({"gpus": found}))
                if looks == 2 and (libraries := machine.libraries(os.getpid())):  # noqa: PLR2004 - two seconds
                    watching.append(journal.Environment({"blas": libraries}))
                watching.append(journal.System(recorder.now(), sampler.look(os.getpid())))
        finally:
            watching.close()

    def end(self, directory: str, why: str, code: int | None) -> None:
        """End the run and store it; what keeps it from that is said."""
        import resource

        from dvtool.runs import beginning, sealing

        self._stop.set()
        if self._sampler is not None:
            self._sampler.join(timeout=2)
        if self._untrace is not None:
            self._untrace()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        usage = resource.getrusage(resource.RUSAGE_SELF)
        end = journal.End(
            time=recorder.now(),
            code=code,
            signal=None,
            why=why,
            cpu=usage.ru_utime + usage.ru_stime,
            memory=usage.ru_maxrss * 1024,
        )
        try:
            beginning.write(f"{directory}/{recorder.END}", journal.encode_end(end))
            if self._workspace is not None:
                stored = sealing.seal(self._workspace, directory, Redactor(os.environ))
                if stored is None:
                    _say_aside("dv: a process of this run goes on; it is stored when that has ended")
        except (DvError, OSError) as error:
            told = error.finding() if isinstance(error, DvError) else error.strerror or str(error)
            _say_aside(f"dv: this run is not stored yet: {told}; the next command tries again")


def _say_aside(text: str) -> None:
    """Write a line to stderr, if there is one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{text}\n")


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as they can be kept: what is neither text nor number becomes a text."""
    return {str(name): _value(value, 0) for name, value in values.items()}


def _value(value: Any, depth: int) -> Any:  # noqa: PLR0911 - a case for each kind
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str(value)[:TEXT_LIMIT].encode("utf-8", "backslashreplace").decode()
    if depth < DEPTH_LIMIT - 2:
        if isinstance(value, dict):
            return {str(name): _value(each, depth + 1) for name, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            ordered = sorted(value, key=str) if isinstance(value, set | frozenset) else value
            return [_value(each, depth + 1) for each in ordered]
    for way in ("item", "tolist", "isoformat"):  # scalars and small arrays of numpy and torch, dates
        method = getattr(value, way, None)
        if callable(method):
            try:
                return _value(method(), depth + 1)
            except Exception:  # noqa: BLE001, S112 - whatever an object of somebody else's does, the program goes on
                continue
    try:
        return repr(value)[:REPR].encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - as above
        return f"<{type(value).__name__}>"
