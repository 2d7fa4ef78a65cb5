"""What is required of ``dv``, and whether measurements meet it. Verdicts are computed, never typed."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from benchmarks.contenders import PLAIN
from benchmarks.results import (
    BY_CORES,
    BY_EIGHT,
    BY_ONE,
    CHANGE,
    CLONE,
    DIFF,
    ERASE_DIRECTORY,
    ERASE_FEW,
    ERASE_MANY,
    ERASE_ONE,
    FETCH_NOTHING,
    FIRST,
    FULL,
    INSERT_GROWTH,
    LINEAGE_ALL,
    LINEAGE_FEW,
    LIST_COLD,
    LIST_WARM,
    OPENED,
    OPENS,
    PUSH,
    PYTHON,
    REQUESTS,
    STATUS,
    TIMES,
    TINY,
    TRUE,
    Measurement,
    Record,
    largest_process_of,
    peak_of,
    requests_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

SUBJECT = "dv"
PEERS = "peers"
"""Stands for every measured contender but ``dv`` and the plain yardsticks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A bound on the median of some work of ``dv`` (for memory and requests: on the largest value).

    ``against`` names a contender and its work; then ``at_most`` is a factor, else an amount in the
    measurement's unit. No ``at_most``: the figure is shown, and judged by the reader.
    """

    title: str
    cases: str
    works: str
    against: tuple[str, str] | None = None
    at_most: float | None = None
    strict: bool = False
    unit: str = "MiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A limit, what was measured for it, and what follows."""

    title: str
    case: str
    measured: str
    required: str
    outcome: str


EVERYDAY = "100,000 files of 8 KiB"
SHARED = f"{EVERYDAY}, by S3 on loopback"
LOGGING = "one run that logs values"
RECORDED = "10,000 runs on 1,000 snapshots of 1,000 files"
ERASED = "1,000 snapshots of 20,000 files of 8 KiB"
LIMITS = (
    Limit(
        title="first add + commit, against `tar` + sync",
        cases=EVERYDAY,
        works=FIRST,
        against=("tar", FIRST),
        at_most=1.5,
    ),
    Limit(
        title="first add + commit, against the fastest peer",
        cases=EVERYDAY,
        works=FIRST,
        against=(PEERS, FIRST),
        at_most=1.0,
        strict=True,
    ),
    Limit(
        title="status, unchanged, against `git status`",
        cases=EVERYDAY,
        works=STATUS,
        against=("git", STATUS),
        at_most=1.5,
    ),
    Limit(
        title="add + commit after the edit, against status",
        cases=EVERYDAY,
        works=CHANGE,
        against=(SUBJECT, STATUS),
    ),
    Limit(
        title="checkout of all files, against `tar x`",
        cases=EVERYDAY,
        works=FULL,
        against=("tar", FULL),
        at_most=1.5,
    ),
    Limit(
        title="status in a tiny repository, against `python -c pass`",
        cases="10 files of 1 KiB",
        works=TINY,
        against=("python", PYTHON),
        at_most=8.0,
    ),
    Limit(
        title="diff, 100 changes among 1,000,000 files",
        cases="1,000,000 files of 64 bytes",
        works=DIFF,
        at_most=0.5,
        unit="s",
        strict=True,
    ),
    Limit(
        title="large file, first add + commit, against `tar` + sync",
        cases="one file of * GiB",
        works=FIRST,
        against=("tar", FIRST),
    ),
    Limit(
        title="1 KiB inserted into a large file: growth of the store",
        cases="one file of * GiB",
        works=INSERT_GROWTH,
        at_most=1.0,
        strict=True,
    ),
    Limit(
        title="memory with a large file",
        cases="one file of * GiB",
        works=peak_of("*"),
        at_most=300.0,
        strict=True,
    ),
    Limit(
        title="memory with a large file",
        cases="one file of * GiB",
        works=largest_process_of("*"),
        at_most=300.0,
        strict=True,
    ),
    Limit(
        title="memory with 1,000,000 files",
        cases="1,000,000 files of *",
        works=peak_of("*"),
        at_most=1024.0,
        strict=True,
    ),
    Limit(
        title="push, against an upload of the same bytes, one object after the other",
        cases=SHARED,
        works=PUSH,
        against=("plain", PUSH),
        at_most=1.3,
    ),
    Limit(
        title="push, against an upload of the same bytes, four objects at a time",
        cases=SHARED,
        works=PUSH,
        against=("plain-4", PUSH),
    ),
    Limit(
        title="requests of the first push",
        cases=SHARED,
        works=requests_of(PUSH),
        at_most=100,
        strict=True,
        unit=REQUESTS,
    ),
    Limit(
        title="requests of a fetch that finds nothing new",
        cases=SHARED,
        works=requests_of(FETCH_NOTHING),
        at_most=1,
        unit=REQUESTS,
    ),
    Limit(
        title="clone, against a download of the same bytes, one object after the other",
        cases=SHARED,
        works=CLONE,
        against=("plain", CLONE),
    ),
    Limit(
        title="memory with 100,000 files and a remote",
        cases=SHARED,
        works=peak_of("*"),
    ),
    Limit(
        title="logging, one process",
        cases=LOGGING,
        works=BY_ONE,
        at_most=20.0,
        strict=True,
        unit="us",
    ),
    Limit(
        title="logging, one process, against the fastest peer",
        cases=LOGGING,
        works=BY_ONE,
        against=(PEERS, BY_ONE),
        at_most=1.0,
        strict=True,
    ),
    Limit(
        title="logging by eight processes to one run, against the same values by one process for each core",
        cases=LOGGING,
        works=BY_EIGHT,
        against=(SUBJECT, BY_CORES),
        at_most=1.25,
    ),
    Limit(
        title="`dv run -- true`, against `true`",
        cases="a command beside *",
        works=TRUE,
        against=("unrecorded", TRUE),
    ),
    Limit(
        title="a Python program under `dv run`, against the program",
        cases="a Python program that reads *",
        works=OPENS,
        against=("unrecorded", OPENS),
    ),
    Limit(
        title="the audit of one file that a program opens",
        cases="a Python program that reads *",
        works=OPENED,
        unit="us",
    ),
    Limit(
        title="list of 10,000 runs, nothing remembered",
        cases=RECORDED,
        works=LIST_COLD,
    ),
    Limit(
        title="list of 10,000 runs",
        cases=RECORDED,
        works=LIST_WARM,
        at_most=0.5,
        strict=True,
        unit="s",
    ),
    Limit(
        title="what was made from a file, among 10,000 runs on 1,000 snapshots",
        cases=RECORDED,
        works=LINEAGE_FEW,
        at_most=2.0,
        strict=True,
        unit="s",
    ),
    Limit(
        title="what was made from a file, where all 10,000 runs were",
        cases=RECORDED,
        works=LINEAGE_ALL,
        at_most=2.0,
        strict=True,
        unit="s",
    ),
    *(
        Limit(
            title=f"erasure of {work}, against `git-filter-repo` and `git gc`",
            cases=ERASED,
            works=work,
            against=("git-filter-repo", work),
            at_most=1.0,
            strict=True,
        )
        for work in (ERASE_ONE, ERASE_FEW, ERASE_DIRECTORY, ERASE_MANY)
    ),
    *(
        Limit(
            title=f"erasure of {work}, against that of one file of all snapshots",
            cases=ERASED,
            works=work,
            against=(SUBJECT, ERASE_ONE),
        )
        for work in (ERASE_FEW, ERASE_MANY)
    ),
)


def judge(records: Iterable[Record]) -> list[Verdict]:
    """Judge every limit by every measurement it speaks of; a limit without any is not measured."""
    verdicts: list[Verdict] = []
    known = list(records)
    for limit in LIMITS:
        found = [
            _verdict(limit, record, one)
            for record in known
            for one in record.measurements
            if one.contender == SUBJECT and fnmatchcase(one.case, limit.cases) and fnmatchcase(one.work, limit.works)
        ]
        verdicts += found or [
            Verdict(
                title=limit.title,
                case=limit.cases,
                measured="-",
                required=_required(limit),
                outcome="not measured",
            )
        ]
    return verdicts


def _verdict(limit: Limit, record: Record, one: Measurement) -> Verdict:
    title = limit.title if "*" not in limit.works else f"{limit.title}: {one.work}"
    value = one.median if one.unit in TIMES else max(one.values)
    if limit.against is None:
        return Verdict(
            title=title,
            case=one.case,
            measured=amount(value, one.unit),
            required=_required(limit),
            outcome=_outcome(limit, value),
        )
    rival = _rival(record, one.case, *limit.against)
    if rival is None:
        return Verdict(
            title=title,
            case=one.case,
            measured=amount(value, one.unit),
            required=_required(limit),
            outcome="not judged: no figure to compare with in the same run",
        )
    ratio = value / rival.median
    both = f"{ratio:.2f}x ({amount(value, one.unit)}; {rival.contender} {amount(rival.median, one.unit)})"
    return Verdict(
        title=title,
        case=one.case,
        measured=both,
        required=_required(limit),
        outcome=_outcome(limit, ratio),
    )


def _rival(record: Record, case: str, contender: str, work: str) -> Measurement | None:
    """Find the measurement to compare with: by name, or the fastest of the peers."""
    if contender != PEERS:
        return record.find(case, work, contender)
    peers = [
        one
        for one in record.measurements
        if (one.case, one.work) == (case, work) and one.contender not in PLAIN | {SUBJECT}
    ]
    return min(peers, key=lambda one: one.median, default=None)


def _required(limit: Limit) -> str:
    if limit.at_most is None:
        return "no number set"
    words = "under" if limit.strict else "at most"
    if limit.against is not None:
        return f"{words} {limit.at_most:g}x"
    return f"{words} {limit.at_most:g}" if limit.unit == REQUESTS else f"{words} {limit.at_most:g} {limit.unit}"


def _outcome(limit: Limit, value: float) -> str:
    if limit.at_most is None:
        return "no verdict"
    return "met" if value < limit.at_most or (value == limit.at_most and not limit.strict) else "NOT MET"


def amount(value: float, unit: str) -> str:
    """Three significant digits, and never fewer than the whole number; requests are whole."""
    if unit == REQUESTS:
        return f"{value:,.0f}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f} {unit}"
