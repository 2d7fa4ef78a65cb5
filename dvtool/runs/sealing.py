"""Turns the journal of a run that has ended into the run, and stores it with all that belongs to it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool import ids, paths
from dvtool.capture import machine, recorder, streams
from dvtool.errors import DvError, FormatError
from dvtool.formats import codec, journal, log, run
from dvtool.git.code import is_source
from dvtool.runs import catalogue, fitting, journals, reading
from dvtool.runs.beginning import OPERATION, RECORD, write
from dvtool.runs.files import Files
from dvtool.storage.disk import as_ours
from dvtool.tables import series

if TYPE_CHECKING:
    from dvtool.capture.redaction import Redactor
    from dvtool.runs.reading import Opened, Told
    from dvtool.store.state import State
    from dvtool.store.transaction import Transaction
    from dvtool.workspace import Workspace

METRICS: Final = "metrics.parquet"
SYSTEM: Final = "system.parquet"
SAMPLES: Final = "samples"
TEXTS: Final = {"stdout": "stdout.txt", "stderr": "stderr.txt"}


BROKEN: Final = "broken-"
"""What the names of journals begin with that nobody can read."""


def seal_waiting(workspace: Workspace, redactor: Redactor) -> list[str]:
    """Store the runs of this worktree whose processes have all ended, and return their ids.

    What cannot be stored now waits for the next command; a warning says so.
    """
    control = workspace.session.layout.control
    journals.sweep(control)
    done = []
    for identity in journals.waiting(control):
        directory = f"{control}/{journals.DIRECTORY}/{identity}"
        try:
            if seal(workspace, directory, redactor) is not None:
                done.append(identity)
        except Exception as error:  # noqa: BLE001 - one run is not to keep all others, and their users, waiting
            workspace.session.context.tell(f"warning: run {identity} is not stored yet: {reason(error)}")
    return done


def reason(error: Exception) -> str:
    """Return why something failed, in a line."""
    if isinstance(error, DvError):
        return error.finding()
    return f"{type(error).__name__}: {error}"


def seal(workspace: Workspace, directory: str, redactor: Redactor) -> run.Run | None:
    """Store the run with this journal, and remove the journal.

    Returns:
        the run; None when a process still takes part in it, so that it is stored later, or somebody else stored it.

    Raises:
        StorageError, IntegrityError: when it cannot be stored; the journal stays.
    """
    with journals.alone(directory) as is_alone:
        if not is_alone:
            return None
        path = f"{directory}/{recorder.BEGIN}"
        if not os.path.lexists(path):
            journals.remove(directory)
            return None
        try:
            begin = journal.decode_begin(recorder.read(path) if os.path.isfile(path) else b"")
        except FormatError as error:
            aside = f"{os.path.dirname(directory)}/{BROKEN}{os.path.basename(directory)}"
            os.rename(directory, aside)  # else each command would stumble over it
            error.next = f"what is left of its journal lies at {aside}"
            raise
        value = _Sealing(workspace, directory, begin, redactor).finish()
        journals.remove(directory)
    workspace.session.store.maintain()
    return value


class _Sealing:
    """One run on its way into the store."""

    def __init__(self, workspace: Workspace, directory: str, begin: journal.Begin, redactor: Redactor) -> None:
        self.workspace = workspace
        self.session = workspace.session
        self.directory = directory
        self.begin = begin
        self.redact = redactor
        self.notes = list(begin.notes)
        self.opened: Opened = reading.opened(directory)
        self.told: Told = reading.told(directory, begin)

    def finish(self) -> run.Run:
        begin, told = self.begin, self.told
        end = self._end()
        self.notes += told.notes
        metrics = reading.summaries(told.series)
        if len(metrics) == reading.METRICS_LIMIT:
            self.notes.append(f"there are summaries of {len(metrics):,} metrics at most; all values are in the table")
        self.session.store.refresh()  # runs that were stored meanwhile may have made what this one read
        with self.session.store.transaction() as transaction:
            files = Files(self.workspace, transaction, self.notes)
            said = [(each.path, each.role, "declared") for each in told.said if not each.made]
            files.inputs(begin, said, self.opened)
            made = [(each.path, each.kind) for each in told.said if each.made]
            outputs = files.outputs(begin.outputs, made, begin.started)
            samples = self._record()
            files.record(f"{self.directory}/{RECORD}")
            base = catalogue.begun(begin)
            value = msgspec.structs.replace(
                base,
                nonce=self.session.context.entropy.bytes(run.NONCE_SIZE),
                tree=files.tree(),
                name=begin.name or self._named("name"),
                group=begin.group or self._named("group"),
                stage=begin.stage or self._named("stage"),
                status=self._status(end),
                ended=end.time if end is not None else max(told.last, begin.started),
                sources=tuple(files.sources),
                inputs=tuple(files.found),
                outputs=outputs,
                params=told.params,
                changes=tuple(told.changes),
                seeds=told.seeds,
                metrics=metrics,
                samples=samples,
                workers=tuple(told.workers),
                environment=self._environment(),
                ending=self._ending(end),
            )
            value = fitting.whole(value, self.notes)
            value = msgspec.structs.replace(value, notes=tuple(map(self.redact.text, value.notes)))
            value = msgspec.structs.replace(value, prints=self._prints(value, files))
            value = self._rely(value)
            self._store(transaction, value)
        return value

    def _rely(self, value: run.Run) -> run.Run:
        """Hold the snapshots that the run names against what is being collected, when its entry is written.

        One that is gone is still named: what the run read of it lies in the run's own tree.
        """
        try:
            self.workspace.rely_on(run.names_of(value))
        except DvError as error:
            self.workspace.rely_on(())
            note = f"a snapshot that it read from was dropped while it went on: {error.what}"
            return msgspec.structs.replace(value, notes=(*value.notes, note))
        return value

    def _store(self, transaction: Transaction, value: run.Run) -> None:
        ref = run.ref_name(value.id)
        before = self.session.store.refresh().ref(ref)
        if before is not None:
            # Its first form, from when a snapshot was made for it.
            known = run.decode(self.session.store.read_object(ids.RUN, before))
            value = msgspec.structs.replace(value, revision=known.revision + 1)
        identity = transaction.put_object(ids.RUN, run.encode(value))

        def build(_state: State) -> list[log.Action]:
            return [log.MoveRef(name=ref, old=before, new=identity)]

        transaction.commit(OPERATION, build)
        self.session.store.refresh()

    def _end(self) -> journal.End | None:
        data = recorder.read(f"{self.directory}/{recorder.END}")
        try:
            return journal.decode_end(data) if data else None
        except FormatError as error:
            self.notes.append(f"how it ended could not be read: {error.what}")
            return None

    def _status(self, end: journal.End | None) -> str:
        if end is None or end.signal is not None:
            return "killed"
        # No exit code is known of a program that ended by itself without finishing the run that it had begun.
        return "done" if end.code in {0, None} and not end.why else "failed"

    def _ending(self, end: journal.End | None) -> run.Ending:
        if end is None:
            return run.Ending(why=self.redact.text(self.told.failure) or "nobody saw it end")
        return run.Ending(
            code=end.code, signal=end.signal, why=self.redact.text(end.why), cpu=end.cpu, memory=end.memory
        )

    def _named(self, what: str) -> str:
        found = (self.redact.text(str(getattr(each, what))) for each in self.told.named)
        return next((value for value in found if value and (what != "stage" or value in run.STAGES)), "")

    def _environment(self) -> dict[str, Any]:
        found = {**self.begin.environment, **self.told.environment}
        opened = self.opened
        if opened.pythons:
            executable, version, prefix, _base, implementation, flags = opened.pythons[0]
            found["python"] = {
                "executable": executable,
                "version": version.split()[0] if version else "",
                "build": version,
                "prefix": prefix,
                "implementation": implementation,
                "flags": flags,
            }
            found["packages"] = machine.packages(opened.places, self.redact)
        if opened.blind:
            found["loaded"] = sorted(opened.blind)
        if opened.settings:
            found["determinism"] = {**found.get("determinism", {}), **opened.settings}
        return found

    def _record(self) -> tuple[run.Samples, ...]:
        """Write series, tables and output beside the code that was kept when the run began."""
        top = f"{self.directory}/{RECORD}"
        try:
            self._series(top)
            for stream, name in TEXTS.items():
                text = streams.kept(f"{self.directory}/{stream}")
                if text:
                    write(f"{top}/{name}", text)
            return self._samples(top)
        except OSError as error:
            raise as_ours(error, top) from None

    def _series(self, top: str) -> None:
        if not self.told.series and not self.told.system:
            return
        if self.told.series:
            write(f"{top}/{METRICS}", series.encode_metrics(self.told.series))
        if self.told.system:
            write(f"{top}/{SYSTEM}", series.encode_system(self.told.system))

    def _samples(self, top: str) -> tuple[run.Samples, ...]:
        found = []
        taken: set[str] = set()
        for each in self.told.tables:
            place = f"{self.directory}/{os.path.basename(each.file)}"
            name = _free(each.name, taken)
            path = f"{SAMPLES}/{name}.parquet"
            os.makedirs(f"{top}/{SAMPLES}", mode=0o700, exist_ok=True)
            try:
                shutil.copyfile(place, f"{top}/{path}")  # not all disks have links
            except FileNotFoundError:
                self.notes.append(f"the table of samples {each.name!r} is lost")
                continue
            found.append(run.Samples(name=each.name, path=path, key=each.key, rows=each.rows))
        return tuple(found)

    def _prints(self, value: run.Run, files: Files) -> run.Prints:
        """Return what the run is compared with others by; each is keyed, and tells nobody anything without the key."""
        hasher = self.session.store.hasher

        def over(*what: object) -> bytes:
            return hasher.id(ids.RUN, codec.encode(what))

        seeds = {name: each for name, each in reading.flat(value.params).items() if _is_seed(name)} | value.seeds
        environment = {key: value.environment.get(key) for key in ("python", "packages", "variables", "cpu", "gpus")}
        code = [value.code.commit, value.code.script, files.code_id()]
        has_code = value.code.patch in {"none", "kept"} and not any(
            word != "kept" and is_source(path) for path, word in value.code.untracked
        )
        outside = [(each.path, each.known_as) for each in value.inputs if each.source == run.OUTSIDE]
        read = [(each.path, each.role) for each in value.inputs]
        results = [[(each.name, each.split, each.last) for each in value.metrics], files.output_id()]
        return run.Prints(
            data=over("data", files.input_id(), read, outside) if value.inputs and files.is_known else b"",
            code=over("code", value.command, code) if has_code else b"",
            params=over("params", {k: v for k, v in reading.flat(value.params).items() if not _is_seed(k)}),
            seed=over("seed", seeds) if seeds else b"",
            environment=over("environment", environment),
            results=over("results", results) if value.metrics or value.outputs else b"",
        )


def _is_seed(name: str) -> bool:
    last = name.rpartition(".")[2].lower()
    return last in {"seed", "random_state", "random_seed"} or last.endswith("_seed")


def _free(name: str, taken: set[str]) -> str:
    """Return a file name for a table, which no other has."""
    is_fine = (letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "_" for letter in name[:100])
    stem = "".join(is_fine).strip(".") or "samples"
    found, number = stem, 1
    while found.lower() in taken or paths.is_reserved(found):
        number += 1
        found = f"{stem}-{number}"
    taken.add(found.lower())
    return found
