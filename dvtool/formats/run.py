"""Runs: recorded computations, what they read and what came of them (``docs/format/run.md``).

A run is one object with all that is small, and a tree with all that may be large: what was read lies below ``inputs``,
what was made below ``outputs``, and series, tables, source code and captured output below ``record``.  What a run read
is the same directory as in the snapshot that it was read from, so that it takes no room, and what is true of the files
of snapshots (that they are kept, moved, found by content, erased) is true of those of runs.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from dvtool import ids, paths, urls
from dvtool.errors import FormatError
from dvtool.formats import codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NONCE_SIZE: Final = 32
TEXT_LIMIT: Final = 2**16
ITEM_LIMIT: Final = 2**16
SIZE_LIMIT: Final = 2**24
PARAM_LIMIT: Final = 2**20
CHANGES_LIMIT: Final = 2**22
DEPTH_LIMIT: Final = 32

INPUTS: Final = "inputs"
"""The directory of a run's tree that holds what was read, one directory for each source, named by its number."""
OUTPUTS: Final = "outputs"
RECORD: Final = "record"

STAGES: Final = ("", "train", "tune", "eval", "prep")
STATUSES: Final = ("done", "failed", "killed")
"""Ended with exit code 0; with another code or an exception; by a signal, or with nobody left to say how."""
LEVELS: Final = ("declared", "audit", "preload", "dv")
"""How it is known that something was read: somebody said so; a hook in Python saw it opened; a library under all
programs did; dv handed it out itself."""
OUTSIDE: Final = -1
"""The source of an input that is not stored: it lies outside the repository, or was read and is in no snapshot."""

ERASED: Final = "erased"
"""Section of a run that says what erasures took from it."""

ID: Final = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-hjkmnp-tv-z]{10}")
"""UTC date and time of its start, then 1024ths of the second and 40 random bits, in digits of Crockford's base 32."""
DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
ID_BITS: Final = 50

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_MANY: Final = msgspec.Meta(max_length=ITEM_LIMIT)
"""More than any list of a run may have; checked before it is read."""


class Source(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Where inputs came from: a snapshot, or the outputs of another run, or (neither) files that were in no snapshot.

    ``dirty`` says that the snapshot was made for this run, of a worktree with changes that were not recorded.
    """

    snapshot: bytes = b""
    run: str = ""
    dirty: bool = False


class Input(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Something that was read.

    ``source`` is a position in the sources, ``path`` is where it lies in them; both are as they were when the run
    began, and so are ``files`` and ``size`` (bytes).  What is not stored has its absolute path, and
    ``known_as`` is a keyed hash of its content, empty where it is a directory or a URL, or could not be read.
    """

    source: int
    path: str
    role: str
    known: str
    files: int
    size: int
    known_as: bytes = b""


class Output(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Something that was made: its path in ``outputs``, where it was outside of the repository, files and bytes.

    ``missing`` says that it was promised, and not there at the end.
    """

    path: str
    origin: str
    kind: str
    files: int
    size: int
    missing: bool


class Metric(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a series of numbers comes to: its last value (that of the greatest step), least and greatest, and where."""

    name: str
    split: str
    count: int
    step: int | None
    last: float
    least: float
    least_step: int | None
    greatest: float
    greatest_step: int | None


class Change(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A parameter that was given another value while the run went on."""

    name: str
    time: int
    step: int | None
    value: Any


class Samples(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A table with a row for each sample: its path in ``record``, the column that names the sample, and its rows."""

    name: str
    path: str
    key: str
    rows: int


class Worker(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A process that logged to the run: its rank and shard if it has any, where it was, and how it ended."""

    rank: int | None
    shard: str
    pid: int
    host: str
    started: int
    ended: int
    lost: int


class Code(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The program: Git's commit, branch and remote, the script, and how far what was not committed has been kept.

    ``patch`` is ``none`` where nothing was changed, ``kept`` where the whole of it lies in ``record``, and else says
    why it does not; ``untracked`` are files that Git does not track, by path, with the same words.
    """

    commit: str = ""
    branch: str = ""
    remote: str = ""
    script: str = ""
    patch: str = "none"
    untracked: Annotated[tuple[tuple[str, str], ...], _MANY] = ()


class Prints(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Keyed hashes by which two runs are told to be alike, each empty where there is nothing to compare."""

    data: bytes = b""
    code: bytes = b""
    params: bytes = b""
    seed: bytes = b""
    environment: bytes = b""
    results: bytes = b""


class Ending(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How it ended: exit code, signal, seconds of processor time, and the most memory in bytes; None: not known."""

    code: int | None = None
    signal: int | None = None
    why: str = ""
    cpu: float | None = None
    memory: int | None = None


class Erased(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What an erasure took from a run: files and rows, and the snapshots that it named before and that are no more."""

    erasure: bytes
    files: int
    rows: int
    before: Annotated[tuple[bytes, ...], _MANY]


class Run(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One recorded computation.

    ``revision`` counts how often it was written anew, times are in microseconds since 1970 UTC, and ``environment`` is
    a document of texts, numbers and lists whose keys ``docs/format/run.md`` names.
    """

    id: str
    revision: int
    nonce: bytes
    tree: bytes
    name: str
    group: str
    stage: str
    parent: str
    status: str
    author: str
    started: int
    ended: int
    command: Annotated[tuple[str, ...], _MANY]
    directory: str
    sources: Annotated[tuple[Source, ...], _MANY]
    inputs: Annotated[tuple[Input, ...], _MANY]
    outputs: Annotated[tuple[Output, ...], _MANY]
    params: dict[str, Any]
    changes: Annotated[tuple[Change, ...], _MANY]
    seeds: dict[str, Any]
    metrics: Annotated[tuple[Metric, ...], _MANY]
    samples: Annotated[tuple[Samples, ...], _MANY]
    workers: Annotated[tuple[Worker, ...], _MANY]
    code: Code
    environment: dict[str, Any]
    prints: Prints
    ending: Ending
    notes: Annotated[tuple[str, ...], _MANY]
    sections: dict[str, msgspec.Raw] = {}


_TAKEN: Any = Annotated[tuple[Erased, ...], _MANY]
_PARTS: Any = Annotated[list[msgspec.Raw], msgspec.Meta(max_length=64)]
"""A run whose parts are only passed over: says how long each is, for next to no memory."""

_BOUNDS: Final = {
    "params": PARAM_LIMIT,
    "changes": CHANGES_LIMIT,
    "seeds": PARAM_LIMIT,
    "environment": PARAM_LIMIT,
    "sections": PARAM_LIMIT,
}
"""Bytes of the parts that may hold anything: a byte of them can take a hundred in memory, so they are not decoded first
and measured then."""


def encode(run: Run) -> bytes:
    """Return the bytes of a run.

    Raises:
        FormatError: when a reader would refuse them.
    """
    # Read back, because types are only promised: a whole number where a broken one belongs becomes one, and what a
    # reader would not take is not written.
    data = codec.encode(_read(codec.encode_foreign(run, what="run")))
    _check_sizes(data)
    return data


def decode(data: bytes) -> Run:
    """Return the run that ``data`` encodes.

    Raises:
        FormatError: when it is malformed.
    """
    found = _read(data)
    if codec.encode(found) != data:
        raise codec.second_encoding("run")
    return found


def erased_of(run: Run) -> tuple[Erased, ...]:
    """Return what erasures took from a run, the first one first.

    Raises:
        FormatError: when the section that says it is malformed.
    """
    raw = run.sections.get(ERASED)
    return decode_erased(bytes(raw)) if raw is not None else ()


def decode_erased(data: bytes) -> tuple[Erased, ...]:
    """Return what the section of a run says that erasures took from it.

    Raises:
        FormatError: when it is malformed.
    """
    found: tuple[Erased, ...] = codec.decode(_TAKEN, data, what="what was erased from a run")
    for each in found:
        good = len(each.erasure) == ids.SHORT_SIZE and min(each.files, each.rows) >= 0
        if not good or any(len(identity) != ids.ID_SIZE for identity in each.before):
            raise FormatError("a run says of no erasure that it took something")
    return found


def with_erased(run: Run, taken: Erased) -> Run:
    """Return a run that says of one more erasure what it took; raises as :func:`erased_of`."""
    marks = codec.encode((*erased_of(run), taken))
    return msgspec.structs.replace(run, sections={**run.sections, ERASED: msgspec.Raw(marks)})


def is_id(text: str) -> bool:
    """Return whether a text is the id of a run."""
    return ID.fullmatch(text) is not None


def new_id(started: str, random: bytes) -> str:
    """Return the id of a run that begins now.

    Args:
        started: UTC date and time as ``20261128-000321``.
        random: at least 7 bytes, of which the last 50 bits count.
    """
    number = int.from_bytes(random[:7], "big") & ((1 << ID_BITS) - 1)
    digits = [DIGITS[(number >> shift) & 31] for shift in range(ID_BITS - 5, -1, -5)]
    return f"{started}-{''.join(digits)}"


def ref_name(identity: str) -> str:
    """Return the ref that names the run's current object."""
    return f"runs/{identity}"


def names_of(run: Run) -> list[bytes]:
    """Return the ids of the snapshots that the run names."""
    return [source.snapshot for source in run.sources if source.snapshot]


def _read(data: bytes) -> Run:
    """Return a checked run of bytes that may not be the one encoding of it.

    The order matters: what may be in a document is checked before it is encoded again, which not everything can be.
    """
    _check_sizes(data)
    found = codec.decode(Run, data, what="run", exact=False)
    _check(found)
    return found


def _check_sizes(data: bytes) -> None:
    if len(data) > SIZE_LIMIT:
        raise FormatError("a run is larger than the format allows")
    parts = codec.decode(_PARTS, data, what="run", exact=False)
    for name, part in zip(Run.__struct_fields__, parts, strict=False):
        if len(memoryview(part)) > _BOUNDS.get(name, SIZE_LIMIT):
            raise FormatError("a run holds more than the format allows", where=name)


def _check(run: Run) -> None:
    if not is_id(run.id) or (run.parent and not is_id(run.parent)) or run.parent == run.id:
        raise FormatError("a run has no proper id")
    if len(run.nonce) != NONCE_SIZE or len(run.tree) != ids.ID_SIZE or run.revision < 0:
        raise FormatError("a run holds an id, a nonce or a count that cannot be")
    if run.stage not in STAGES or run.status not in STATUSES:
        raise FormatError("a run has a stage or a status that nobody knows", next="upgrade dv if a newer one wrote it")
    if any(len(text) > TEXT_LIMIT for text in _texts(run)):
        raise FormatError("a run holds an overlong text")
    for time in _times(run):
        check_time(time)
    prints = msgspec.structs.astuple(run.prints)
    if any(len(each) not in {0, ids.ID_SIZE} for each in prints):
        raise FormatError("a run holds a fingerprint of the wrong length")
    for document in (run.params, run.seeds, run.environment, *(change.value for change in run.changes)):
        check_value(document)
    _check_sources(run)
    _check_made(run)
    _check_numbers(run)


def _texts(run: Run) -> Iterator[str]:
    """Yield every text outside of the documents."""
    yield from (run.name, run.group, run.author, run.directory, *run.command, *run.notes)
    yield from (change.name for change in run.changes)
    for each in run.code.untracked:
        yield from each
    for record in (*run.inputs, *run.outputs, *run.metrics, *run.samples, *run.workers, run.code, run.ending):
        yield from (value for value in msgspec.structs.astuple(record) if isinstance(value, str))


def _times(run: Run) -> Iterator[int]:
    yield from (run.started, run.ended)
    yield from (change.time for change in run.changes)
    for worker in run.workers:
        yield from (worker.started, worker.ended)


def _check_sources(run: Run) -> None:
    """Check what the run says of what was read."""
    for source in run.sources:
        if len(source.snapshot) not in {0, ids.ID_SIZE} or (source.run and not is_id(source.run)):
            raise FormatError("a run names a source that cannot be")
        if source.snapshot and source.run:
            raise FormatError("a run names a source that is two things")
    for each in run.inputs:
        if not OUTSIDE <= each.source < len(run.sources) or each.known not in LEVELS:
            raise FormatError("a run holds an input of no source, or known in no known way")
        if each.source != OUTSIDE:
            paths.check_path(each.path, what="a run")
        elif not (each.path.startswith("/") or urls.is_url(each.path)) or "\0" in each.path:
            raise FormatError("a run holds an input outside of the repository with neither absolute path nor URL")
        if min(each.files, each.size) < 0 or len(each.known_as) not in {0, ids.ID_SIZE}:
            raise FormatError("a run holds an impossible total of an input, or a hash of the wrong length")


def _check_made(run: Run) -> None:
    """Check what the run says of what was made."""
    for records in (run.outputs, run.samples):
        places = [record.path for record in records]
        if "" in places or len(set(places)) < len(places):
            raise FormatError("a run holds two things at one place, or one at none")
        for path in places:
            paths.check_path(path, what="a run")
    if any(min(output.files, output.size) < 0 for output in run.outputs):
        raise FormatError("a run holds an impossible total of an output")
    if any(table.rows < 0 for table in run.samples):
        raise FormatError("a run holds a table with an impossible number of rows")


def _check_numbers(run: Run) -> None:
    """Check what the run says of series, processes and its end."""
    if any(metric.count < 1 for metric in run.metrics):
        raise FormatError("a run holds a series without a value")
    if len({(metric.name, metric.split) for metric in run.metrics}) < len(run.metrics):
        raise FormatError("a run holds two series of one name")
    if any(min(worker.pid, worker.lost) < 0 for worker in run.workers):
        raise FormatError("a run holds a process that cannot be")
    if (run.ending.memory or 0) < 0 or (run.ending.cpu or 0) < 0:
        raise FormatError("a run used less than nothing")


def check_time(time: int) -> None:
    """Check a time in microseconds since 1970 UTC.

    Raises:
        FormatError: when no calendar has it.
    """
    if not 0 <= time < codec.TIME_LIMIT:
        raise FormatError("a run holds an impossible time")


def check_value(value: object, depth: int = 0) -> None:
    """Check that a value is made of nothing but maps with texts as keys, lists, texts, numbers, true, false and null.

    Raises:
        FormatError: when it is not, or is nested too deep.
    """
    if depth > DEPTH_LIMIT:
        raise FormatError("a run holds a value that is nested too deep")
    inside: Iterable[object] = ()
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise FormatError("a run holds a map whose keys are no texts")
        inside = value.values()
    elif isinstance(value, list | tuple):
        inside = value
    elif value is not None and not isinstance(value, bool | int | float | str):
        raise FormatError("a run holds a value that is neither text nor number")
    for each in inside:
        if depth == DEPTH_LIMIT or type(each) not in _SCALARS:  # most are, and a call for each would take longest
            check_value(each, depth + 1)


def shown(value: object) -> object:
    """Return a value as JSON can say it: numbers that are none become the texts ``nan``, ``inf`` and ``-inf``."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: shown(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shown(each) for each in value]
    return value
