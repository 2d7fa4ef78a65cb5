"""The journal of a run that goes on: records appended to files under ``.dv/runs`` (``docs/format/journal.md``).

Each process has a file of its own, so that none waits for another, and a record that was cut off by the end of its
process ends the file without harm to those before it.
"""

from __future__ import annotations

import zlib
from struct import Struct as Layout
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool import ids
from dvtool.errors import FormatError
from dvtool.formats import codec
from dvtool.formats import run as runs

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC: Final = b"dvjournl"
VERSION: Final = 1
HEADER_SIZE: Final = 12
FRAME_SIZE: Final = 8
RECORD_LIMIT: Final = 2**22
"""The longest record, and the longest file ``end``.  Decoded, a byte can take a hundred in memory."""
BEGIN_LIMIT: Final = 2**23

_HEADER: Final = Layout("<8sI")
_FRAME: Final = Layout("<II")


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """A process joins: its rank and shard if it has any, its number, its machine, and when (microseconds)."""

    time: int
    rank: int | None
    shard: str
    pid: int
    host: str


class Values(msgspec.Struct, frozen=True, array_like=True, tag="values"):
    """Numbers at one moment, by name."""

    time: int
    split: str
    step: int | None
    values: dict[str, float]


class Params(msgspec.Struct, frozen=True, array_like=True, tag="params"):
    """Parameters that hold from now on."""

    time: int
    step: int | None
    values: dict[str, Any]


class Seeds(msgspec.Struct, frozen=True, array_like=True, tag="seeds"):
    """Seeds of random number generators, by the generator."""

    values: dict[str, Any]


class Said(msgspec.Struct, frozen=True, array_like=True, tag="said"):
    """What the program says that it reads (``kind`` empty) or makes (``model``, ``plot``, ``table`` or ``file``).

    ``path`` is absolute, or a revision with a path in it for what is read.
    """

    made: bool
    path: str
    kind: str
    role: str


class Table(msgspec.Struct, frozen=True, array_like=True, tag="table"):
    """A table of samples that lies beside the journal."""

    name: str
    file: str
    key: str
    rows: int


class Named(msgspec.Struct, frozen=True, array_like=True, tag="named"):
    """What the run is called, where it was not called anything before; empty texts say nothing."""

    name: str
    group: str
    stage: str


class System(msgspec.Struct, frozen=True, array_like=True, tag="system"):
    """What the machine and the run's processes used, by what it is called."""

    time: int
    values: dict[str, float]


class Environment(msgspec.Struct, frozen=True, array_like=True, tag="environment"):
    """What was found out about where the program runs."""

    values: dict[str, Any]


class Note(msgspec.Struct, frozen=True, array_like=True, tag="note"):
    """Something that whoever reads the run should know."""

    text: str


class Bye(msgspec.Struct, frozen=True, array_like=True, tag="bye"):
    """A process leaves: how many values could not be written, and why it failed if it did."""

    time: int
    lost: int
    why: str


Record = Hello | Values | Params | Seeds | Said | Table | Named | System | Environment | Note | Bye

_ANY: Any = Record


class Begin(msgspec.Struct, frozen=True, kw_only=True):
    """The file ``begin``: what is known of a run when it begins.

    ``snapshot`` is the one that inputs in the worktree are read from, empty where there is none, and ``dirty`` says
    that it was made for this run.  ``inputs`` are triples of (path or revision, role, level), ``outputs`` are pairs of
    (absolute path, kind).
    """

    version: int
    id: str
    started: int
    name: str
    group: str
    stage: str
    parent: str
    author: str
    command: tuple[str, ...]
    directory: str
    snapshot: bytes
    dirty: bool
    inputs: tuple[tuple[str, str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    params: dict[str, Any]
    code: dict[str, Any]
    environment: dict[str, Any]
    trace: str
    notes: tuple[str, ...]


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The file ``end``: how the command ended, where somebody was there to see it."""

    time: int
    code: int | None
    signal: int | None
    why: str
    cpu: float | None
    memory: int | None


class _Versioned(msgspec.Struct, frozen=True, kw_only=True):
    """As much of the file ``begin`` as every version has."""

    version: int


def header() -> bytes:
    """Return how the file of a process begins."""
    return _HEADER.pack(MAGIC, VERSION)


def framed(payload: bytes) -> bytes:
    """Return an encoded record with its length and checksum before it."""
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def encode(record: Record) -> bytes:
    """Return a record as it is appended.

    Raises:
        FormatError: when a reader would stop at it, and so lose all that follows.
    """
    payload = codec.encode_foreign(record, what="record of a run")
    _read(payload)
    return framed(payload)


def decode(data: bytes) -> tuple[list[Record], int]:
    """Return the records of a file, and how many bytes at its end are no whole record.

    Raises:
        FormatError: when it is no journal, or a newer dv wrote it.
    """
    found: list[Record] = []
    whole = HEADER_SIZE if len(data) >= HEADER_SIZE else 0
    for record, end in walk(data):
        found.append(record)
        whole = end
    return found, len(data) - whole


def walk(data: bytes | memoryview) -> Iterator[tuple[Record, int]]:
    """Yield the records of a file one by one, each with the position at which it ends.

    Nothing else is kept, so a journal of any length can be walked in little memory.

    Raises:
        FormatError: when it is no journal, or a newer dv wrote it.
    """
    view = memoryview(data)
    _check_header(bytes(view[:HEADER_SIZE]))
    at = HEADER_SIZE
    while at + FRAME_SIZE <= len(view):
        length, check = _FRAME.unpack_from(view, at)
        end = at + FRAME_SIZE + length
        if length > RECORD_LIMIT or end > len(view):
            return
        payload = view[at + FRAME_SIZE : end]
        if zlib.crc32(payload) != check:
            return
        try:
            record = _read(payload)
        except FormatError:
            return
        yield record, end
        at = end


def _check_header(found: bytes) -> None:
    """Check the first bytes of a file, which may have been cut off before all of its header was there."""
    if len(found) < HEADER_SIZE and header().startswith(found):
        return
    magic, version = _HEADER.unpack(found.ljust(HEADER_SIZE, b"\0"))
    if magic != MAGIC:
        raise FormatError("this is no journal of a run")
    if version != VERSION:
        raise _other_version(version)


def _read(payload: bytes | memoryview) -> Record:
    if len(payload) > RECORD_LIMIT:
        raise FormatError("a record of a run is larger than the format allows")
    record: Record = codec.decode(_ANY, payload, what="record of a run", exact=False)
    if isinstance(record, Values):
        # Most records are these, and whoever writes them trains.
        runs.check_time(record.time)
        return record
    time = getattr(record, "time", None)
    if time is not None:
        runs.check_time(time)
    if isinstance(record, Params | Seeds | Environment):
        runs.check_value(record.values)
    elif isinstance(record, Table) and (not _is_plain(record.file) or record.rows < 0):
        raise FormatError("a record of a run names a table that cannot be")
    return record


def _is_plain(name: str) -> bool:
    """Return whether a name leads to something beside the journal, and nowhere else."""
    return name not in {"", ".", ".."} and "/" not in name and "\0" not in name


def encode_begin(begin: Begin) -> bytes:
    """Return the bytes of the file ``begin``.

    Raises:
        FormatError: when a reader would refuse them.
    """
    data = codec.encode_foreign(begin, what="beginning of a run")
    decode_begin(data)
    return data


def decode_begin(data: bytes) -> Begin:
    """Return what the file ``begin`` says.

    Raises:
        FormatError: when it is malformed, or a newer dv wrote it.
    """
    what = "beginning of a run"
    if len(data) > BEGIN_LIMIT:
        raise FormatError(f"the {what} is larger than the format allows")
    version = codec.decode(_Versioned, data, what=what, exact=False).version
    if version != VERSION:
        raise _other_version(version)
    found = codec.decode(Begin, data, what=what, exact=False)
    if not runs.is_id(found.id) or (found.parent and not runs.is_id(found.parent)) or found.parent == found.id:
        raise FormatError(f"the {what} has no proper id")
    if found.stage not in runs.STAGES or len(found.snapshot) not in {0, ids.ID_SIZE}:
        raise FormatError(f"the {what} has a stage that nobody knows, or a snapshot that cannot be")
    if any(level not in runs.LEVELS for _path, _role, level in found.inputs):
        raise FormatError(f"the {what} holds an input that is known in no known way")
    runs.check_time(found.started)
    for document in (found.params, found.code, found.environment):
        runs.check_value(document)
    return found


def encode_end(end: End) -> bytes:
    """Return the bytes of the file ``end``.

    Raises:
        FormatError: when a reader would refuse them.
    """
    data = codec.encode_foreign(end, what="end of a run")
    decode_end(data)
    return data


def decode_end(data: bytes) -> End:
    """Return what the file ``end`` says.

    Raises:
        FormatError: when it is malformed.
    """
    if len(data) > RECORD_LIMIT:
        raise FormatError("the end of a run is larger than the format allows")
    found = codec.decode(End, data, what="end of a run", exact=False)
    runs.check_time(found.time)
    if (found.memory or 0) < 0 or (found.cpu or 0) < 0:
        raise FormatError("a run used less than nothing")
    return found


def _other_version(version: int) -> FormatError:
    return FormatError(
        f"the journal of a run has version {version}",
        why=f"this dv reads version {VERSION}",
        next="run the command with the dv that began the run, or with a newer one",
    )
