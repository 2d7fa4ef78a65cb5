"""Reads the journal of a run back: what its processes said, and what hooks saw them open."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool.capture import recorder
from dvtool.errors import FormatError
from dvtool.formats import journal, run
from dvtool.tables.columns import Series

if TYPE_CHECKING:
    from collections.abc import Iterable

METRICS_LIMIT: Final = 10_000
"""Series of which the run itself says what they came to; those of others are in the table of values alone."""
NOTE_LIMIT: Final = 1000
"""Characters of a note that quotes a program."""
_STEP_LIMIT: Final = 2**63
"""Tables hold whole numbers of 64 bits with a sign, journals those without one too."""
_ESCAPED: Final = re.compile(r"\\([\\nrt])")
_UNESCAPED: Final = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}


class Opened(msgspec.Struct, kw_only=True):
    """What hooks in Python processes saw: absolute paths, libraries that read past them, and the Pythons themselves.

    ``pythons`` are (executable, version, prefix, base prefix, implementation, flags).
    """

    read: dict[str, None] = {}
    written: dict[str, None] = {}
    blind: set[str] = set()
    pythons: list[tuple[str, ...]] = []
    places: dict[str, None] = {}
    settings: dict[str, str] = {}
    processes: int = 0
    """How many of them could see what is opened; Pythons before 3.8 cannot."""


class Told(msgspec.Struct, kw_only=True):
    """What the processes of a run said."""

    workers: list[run.Worker] = []
    series: Series = msgspec.field(default_factory=Series)
    system: list[tuple[int, dict[str, float]]] = []
    params: dict[str, Any] = {}
    changes: list[run.Change] = []
    seeds: dict[str, Any] = {}
    said: list[journal.Said] = []
    tables: list[journal.Table] = []
    named: list[journal.Named] = []
    environment: dict[str, Any] = {}
    notes: list[str] = []
    failure: str = ""
    last: int = 0
    """When something was last said, in microseconds."""


def opened(directory: str) -> Opened:
    """Return what the hooks of a run noted."""
    found = Opened()
    for files in recorder.audits(directory):
        found.processes += 1
        own: set[str] = set()
        for path in files:
            data = _read(path)
            whole = data[: data.rfind(b"\n") + 1]
            for line in os.fsdecode(whole).split("\n")[:-1]:
                words = [_ESCAPED.sub(lambda match: _UNESCAPED[match[1]], word) for word in line.split("\t")]
                _note(found, own, words)
    return found


def _read(path: str) -> bytes:
    try:
        return recorder.read(path)
    except OSError:
        return b""


def _note(found: Opened, own: set[str], words: list[str]) -> None:
    """Take a line of a process, which has read the files in ``own``.

    What one process wrote and another one read is no input.  What a process read and then wrote over is one.
    """
    match words:
        case ["r", path]:
            own.add(path)
            found.read[path] = None
        case ["w", path]:
            if path not in own:
                found.written[path] = None
        case ["b", name]:
            found.blind.add(name)
        case ["p", *python] if len(python) == 6:  # noqa: PLR2004 - as many as the hook writes
            found.pythons.append(tuple(python))
        case ["s", place]:
            found.places[place] = None
        case ["d", name, value]:
            found.settings[name] = value
        case ["o"]:
            found.processes -= 1
        case _:
            return  # of another version of the hook


def told(directory: str, begin: journal.Begin) -> Told:
    """Return what the processes of a run said, in the order of time where they changed what others had said."""
    found = Told(params=dict(begin.params))
    records: list[journal.Params] = []
    for number, files in enumerate(recorder.logs(directory)):
        _take(found, [record for path in files for record in _said(found, path)], number, records)
    before = flat(found.params)
    for record in sorted(records, key=lambda each: each.time):
        before = _apply(found, before, record)
    ranks = [worker.rank for worker in found.workers if worker.rank is not None]
    for rank in sorted({rank for rank in ranks if ranks.count(rank) > 1}):
        found.notes.append(f"{ranks.count(rank)} processes logged as rank {rank}")
    return found


def _said(found: Told, path: str) -> Iterable[journal.Record]:
    """Return what is said in a file of a process; what cannot be read of it is noted."""
    try:
        said, torn = journal.decode(recorder.read(path))
    except (FormatError, OSError) as error:
        what = error.what if isinstance(error, FormatError) else error.strerror
        found.notes.append(f"the journal of a process could not be read: {what}")
        return ()
    if torn:
        found.notes.append("a process was stopped in the middle of a record, which is lost")
    return said


def _take(found: Told, said: Iterable[journal.Record], number: int, records: list[journal.Params]) -> None:
    """Take what one process said."""
    hello: journal.Hello | None = None
    bye: journal.Bye | None = None
    series = found.series
    for record in said:
        match record:
            case journal.Values(time, split, step, values):
                step = step if step is None or step < _STEP_LIMIT else None
                for name, value in values.items():
                    series.add(name, split, step, time, value, number)
                found.last = max(found.last, time)
            case journal.Hello():
                hello = record
            case journal.Bye():
                bye = record
            case journal.Params():
                records.append(record)
            case journal.System(time, values):
                found.system.append((time, values))
                found.last = max(found.last, time)
            case _:
                _take_rest(found, record)
    if hello is not None:
        found.last = max(found.last, hello.time, bye.time if bye is not None else 0)
        found.workers.append(_worker(hello, bye))
    if bye is not None and bye.why:
        found.failure = bye.why
    if bye is not None and bye.lost:
        found.notes.append(f"{bye.lost:,} records of a process could not be written and are lost")


def _take_rest(found: Told, record: journal.Record) -> None:
    match record:
        case journal.Seeds(values):
            found.seeds |= values
        case journal.Said(path=path) if "\0" in path:
            found.notes.append(f"no file can have this name, which was said to be read or made: {path!r}"[:NOTE_LIMIT])
        case journal.Said():
            found.said.append(record)
        case journal.Table():
            found.tables.append(record)
        case journal.Named():
            found.named.append(record)
        case journal.Environment(values):
            found.environment |= values
        case journal.Note(text):
            found.notes.append(text)
        case _:
            return


def _worker(hello: journal.Hello, bye: journal.Bye | None) -> run.Worker:
    return run.Worker(
        rank=hello.rank,
        shard=hello.shard,
        pid=hello.pid,
        host=hello.host,
        started=hello.time,
        ended=bye.time if bye is not None else 0,
        lost=bye.lost if bye is not None else 0,
    )


def _apply(found: Told, before: dict[str, Any], record: journal.Params) -> dict[str, Any]:
    """Merge parameters into those that are known (flat in ``before``), and return these.

    A value that takes the place of another is a change.
    """
    values = flat(record.values)
    for name, value in values.items():
        if name in before and not _same(before[name], value):
            found.changes.append(run.Change(name=name, time=record.time, step=record.step, value=value))
    _merge(found.params, record.values)
    # Schedules set the same parameter a million times; only where groups and values took each other's place must all
    # be looked at.
    return before | values if values.keys() <= before.keys() else flat(found.params)


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and (one == other or (one != one and other != other))  # noqa: PLR0124 - NaN


def _merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested parameters with dots between their names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def summaries(series: Series) -> tuple[run.Metric, ...]:
    """Return what each series of values comes to, by name and split.

    The last value is that of the greatest step, and the latest of that step; without steps, the latest.  A number that
    is none is neither the least nor the greatest.
    """
    rows: dict[tuple[str, str], list[int]] = {}
    for at, key in enumerate(zip(series.names, series.splits, strict=True)):
        rows.setdefault(key, []).append(at)
    found = []
    for name, split in sorted(rows)[:METRICS_LIMIT]:
        found_at = rows[name, split]
        last = max(found_at, key=lambda row: (_step(series.steps[row]), series.times[row], row))
        real = [row for row in found_at if not math.isnan(series.values[row])] or found_at
        least = min(real, key=lambda row: series.values[row])
        greatest = max(real, key=lambda row: series.values[row])
        found.append(
            run.Metric(
                name=name,
                split=split,
                count=len(found_at),
                step=series.steps[last],
                last=series.values[last],
                least=series.values[least],
                least_step=series.steps[least],
                greatest=series.values[greatest],
                greatest_step=series.steps[greatest],
            )
        )
    return tuple(found)


def _step(step: int | None) -> int:
    return step if step is not None else -(2**63)
