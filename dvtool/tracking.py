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

import atexit
import contextlib
import gc
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from dvtool import urls
from dvtool.capture import inject, plain, recorder
from dvtool.capture.inject import dv_trace
from dvtool.capture.redaction import Redactor
from dvtool.errors import DvError
from dvtool.formats import journal
from dvtool.formats.run import TEXT_LIMIT
from dvtool.tables import series

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from dvtool.runs.beginning import Begun, Request
    from dvtool.workspace import Workspace

RANKS: Final = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Variables by which launchers tell a process which of several it is."""
REPR: Final = 1000
"""Characters of an error that are said."""
NAME: Final = 1000
"""Characters of a name that are kept."""
MANY: Final = 1000
"""Numbers that stand in one record at most, so that it is never too long."""
_ROOT: Final = "DV_TRACE_ROOT"


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
        inputs: what it reads: paths, ``REV:PATH``, ``RUN:PATH`` or URLs; or pairs of one of these and a role.
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
            name=name, group=group, stage=stage, params=plain.document(params or {}), inputs=inputs, outputs=outputs,
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
        except (OSError, DvError) as error:
            self._tell(f"this run cannot be recorded: {_reason(error)}; the program goes on")

    def log(
        self, values: Mapping[str, Any] | None = None, /, *, step: int | None = None, split: str = "", **more: Any
    ) -> None:
        """Record numbers at a step: ``run.log(step=1, split="train", loss=0.5)``.

        Anything that ``float`` takes is a number, so tensors and arrays of one element are; NaN and infinities are
        recorded as what they are.
        """
        with self._quietly():
            if self._recorder is None:
                return
            found: dict[str, float] = {}
            for name, value in ({**values, **more} if values else more).items():
                try:
                    found[plain.text(name, NAME)] = float(value)
                except Exception:  # noqa: BLE001 - whatever an object of somebody else's does, the program goes on
                    self._tell(f"{str(name)[:NAME]!r} was not recorded: {type(value).__name__} is no number")
            if not found:
                return
            at, label = self._step(step), plain.text(split, NAME)
            names = list(found)
            for first in range(0, len(names), MANY):
                part = {name: found[name] for name in names[first : first + MANY]}
                self._say(journal.Values(recorder.now(), label, at, part))

    def _step(self, step: object) -> int | None:
        if step is None:
            return None
        found = plain.whole(step)
        if found is None:
            self._tell(f"step {step!r} is no whole number, and was left out"[:REPR])
        return found

    def params(self, values: Mapping[str, Any] | None = None, /, *, step: int | None = None, **more: Any) -> None:
        """Record parameters; one that is given another value later keeps both, as schedules want."""
        with self._quietly():
            found = plain.document({**(values or {}), **more})
            clean = {self._redact.text(name): self._redact.value(name, value) for name, value in found.items()}
            at = self._step(step)
            if self._try(journal.Params(recorder.now(), at, clean)):
                return
            for name, value in clean.items():
                self._say(journal.Params(recorder.now(), at, {name: value}))

    def seeds(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Record with what random number generators were seeded: ``run.seeds(numpy=0, torch=0)``."""
        with self._quietly():
            found = plain.document({**(values or {}), **more})
            self._say(journal.Seeds({name: self._redact.value(name, value) for name, value in found.items()}))

    def input(self, path: str, role: str = "") -> None:
        """Say that something is read: a path, ``REV:PATH``, ``RUN:PATH`` or a URL."""
        with self._quietly():
            place = os.path.abspath(path) if os.path.lexists(path) or ":" not in path else path
            place = self._redact.text(place) if urls.is_url(place) else place
            if self._is_name(place):
                self._say(journal.Said(made=False, path=place, kind="", role=plain.text(role, NAME)))

    def output(self, path: str, kind: str = "file") -> None:
        """Say that something is made; it is stored when the run ends, as it is then."""
        with self._quietly():
            place = os.path.abspath(path)
            if self._is_name(place):
                self._say(journal.Said(made=True, path=place, kind=plain.text(kind, NAME), role=""))

    def _is_name(self, place: str) -> bool:
        """Return whether a file can have this name at all."""
        if "\0" not in place:
            return True
        self._tell(f"{place[:NAME]!r} was not recorded: no file can have this name")
        return False

    def log_samples(self, table: Any, key: str = "path", name: str = "samples") -> None:
        """Record a table with a row for each sample: its key, what was predicted, what was right, and so on.

        Args:
            table: a data frame of pandas or polars, a table of pyarrow, columns by name, or rows as mappings.
            key: the column that names the sample: the path of a file, or the key of a row.
            name: what the table is called.
        """
        with self._quietly():
            _load_on_own_behalf()
            file = f"{recorder.SAMPLES}{os.getpid()}-{os.urandom(4).hex()}.parquet"
            try:
                rows = series.write_samples(table, key, f"{self.directory}/{file}")
            except (DvError, OSError) as error:
                self._tell(f"samples {name!r} were not recorded: {_reason(error)}")
                return
            self._say(journal.Table(plain.text(name, NAME), file, key, rows))

    def note(self, text: str) -> None:
        """Record something that whoever reads the run should know."""
        with self._quietly():
            self._say(journal.Note(self._redact.text(plain.text(text))[:TEXT_LIMIT]))

    def say_named(self, name: str, group: str, stage: str) -> None:
        """Say what the run is called, if nobody has said it before."""
        with self._quietly():
            if name or group or stage:
                named = (self._redact.text(plain.text(word, NAME)) for word in (name, group, stage))
                self._say(journal.Named(*named))

    def _say(self, record: journal.Record) -> None:
        if not self._try(record):
            what = type(record).__name__.lower()
            self._tell(f"something was not recorded, because it has no Unicode name or is too large ({what})")

    def _try(self, record: journal.Record) -> bool:
        """Record something; return whether it is such that it can be recorded."""
        if self._recorder is None:
            return True
        try:
            self._recorder.append(record)
        except DvError:
            return False
        return True

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        """Keep from the program whatever goes wrong with recording, and say it once."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - nothing that is said of a program may end it
            self._tell(f"something was not recorded: {type(error).__name__}: {error}"[:REPR])

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            _say_aside(f"dv: {text}")

    def finish(self, why: str = "", code: int | None = 0) -> None:
        """Leave the run; whoever began it ends it, with a reason if it failed."""
        if self._recorder is not None:
            self._recorder.close(self._redact.text(plain.text(why)))
            self._recorder = None
        if self._own is not None and os.getpid() == self._pid:
            self._own.end(self.directory, self._redact.text(plain.text(why)), code)
            self._own = None
            atexit.unregister(self.at_exit)

    def at_exit(self) -> None:
        """Finish a run that the program forgot, when the interpreter ends."""
        if self._own is None or os.getpid() != self._pid:
            return
        # What ended the program; in a session with a prompt it only ended what was typed.
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        if error is not None:
            self.finish(f"{type(error).__name__}: {error}"[:REPR], 1)
            return
        self.note("the program ended without finishing its run, so with which exit code is not known")
        self.finish(code=None)

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
        self._root = ""
        self._cwd = os.path.realpath(".")
        self._before: dict[str, str | None] = {}
        self._stop = threading.Event()
        self._sampler: threading.Thread | None = None
        self._untrace: Any = None
        self._held = -1
        self._held_is: tuple[int, int] | None = None

    def begin(
        self, *, name: str, group: str, stage: str, params: dict[str, Any], inputs: Sequence[str | tuple[str, str]],
        outputs: Sequence[str], trace: str, require_clean: bool, rank: int | None, shard: str,
    ) -> Run:  # fmt: skip
        from dvtool.runs import beginning

        redactor = Redactor(os.environ)
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
        begun = self._begun(request, redactor)
        _close_stores()
        self._held, self._held_is = begun.held, recorder.identity(begun.held)
        found = Run(begun.directory, rank=rank, shard=shard, own=self)
        atexit.register(found.at_exit)
        self._reach_children(begun.directory, trace)
        self._sampler = threading.Thread(target=self._sample, args=(begun.directory,), daemon=True, name="dv-sampler")
        self._sampler.start()
        return found

    def _begun(self, request: Request, redactor: Redactor) -> Begun:
        from dvtool.runs import beginning, sealing

        workspace = self._open(self._directory)
        self._root = workspace.session.root
        sealing.seal_waiting(workspace, redactor)
        return beginning.begin(workspace, request, os.environ, redactor)

    def _open(self, directory: str) -> Workspace:
        """Open the repository; whoever does drops it, and has :func:`_close_stores` called then."""
        from dvtool.workspace import Workspace
        from dvtool.worktree.session import Context

        return Workspace.open(directory, Context(cwd=self._cwd, tell=_say_aside))

    def _reach_children(self, directory: str, trace: str) -> None:
        """Have processes that begin from now on find the run, and note what this one opens."""
        root = self._root + "/"
        wanted = {recorder.RUN_VARIABLE: directory}
        if trace == "audit":
            before = os.environ.get("PYTHONPATH")
            own = os.path.dirname(inject.__file__)
            wanted |= {_ROOT: root, "PYTHONPATH": os.pathsep.join([own, before] if before else [own])}
            with contextlib.suppress(OSError):  # the journal refuses; whoever logs to it says so
                self._untrace = dv_trace.begin(directory, (root,))  # type: ignore[no-untyped-call]
        self._before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)

    def _sample(self, directory: str) -> None:
        """Look at the machine now and then, in a thread of its own."""
        from dvtool.capture import machine
        from dvtool.capture.sampler import Sampler

        try:
            watching = recorder.Recorder(directory, silent=True)
        except (OSError, DvError):
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
        self._store(directory, end)
        _close_stores()

    def _store(self, directory: str, end: journal.End) -> None:
        from dvtool.runs import beginning, sealing

        try:
            try:
                beginning.write(f"{directory}/{recorder.END}", journal.encode_end(end))
            finally:
                recorder.let_go(self._held, self._held_is)
            _load_on_own_behalf()
            stored = sealing.seal(self._open(self._root), directory, Redactor(os.environ))
            if stored is None and os.path.exists(directory):
                _say_aside("dv: a process of this run goes on; it is stored when that has ended")
        except Exception as error:  # noqa: BLE001 - whatever it is, the program goes on
            why = sealing.reason(error)
            _say_aside(f"dv: this run is not stored yet: {why}; the next command tries again")


def _close_stores() -> None:
    """Close what a store that nobody uses any more keeps open: a descriptor for each of its files that were read.

    While the program goes on it may close them and use their numbers, or need as many as there are.
    """
    gc.collect()  # the parts of a store know each other


def _reason(error: DvError | OSError) -> str:
    return error.finding() if isinstance(error, DvError) else error.strerror or str(error)


def _load_on_own_behalf() -> None:
    """Have hooks know that pyarrow, if it is loaded now, is loaded for dv and reads nothing of the program's.

    It loads pandas, where that is installed, to ask of what it is handed whether it is pandas's.
    """
    fresh = {"pyarrow", "pandas"} - sys.modules.keys()
    if "pyarrow" in fresh:
        for module in ("dv_trace", dv_trace.__name__):  # the hook of dv run, and that of this module
            own: set[str] = getattr(sys.modules.get(module), "OWN", set())
            own |= fresh


def _say_aside(text: str) -> None:
    """Write a line to stderr, if there is one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{text}\n")
