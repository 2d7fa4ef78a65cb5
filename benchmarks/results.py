"""What was measured, as values that go to JSON and back."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FIRST = "add + commit, first"
STATUS = "status, unchanged"
CHANGE = "add + commit after the edit"
DIFF = "diff of the two"
SWITCH = "checkout of the other"
FULL = "checkout of all files"
STORE = "store after the first"
GROWTH = "growth by the edit"
INSERT = "1 KiB inserted: add + commit"
INSERT_GROWTH = "1 KiB inserted: growth"
BLOCK = "0.1% of rows edited in one block: add + commit"
BLOCK_GROWTH = "0.1% of rows edited in one block: growth"
SCATTER = "0.1% of rows edited, scattered: add + commit"
SCATTER_GROWTH = "0.1% of rows edited, scattered: growth"
VERIFY = "check, everything read"
COLLECT = "collection of garbage, marking only"
TINY = "status in a tiny repository"
PYTHON = "python -c pass"
PUSH = "push, first"
PUSH_NOTHING = "push, nothing new"
FETCH_NOTHING = "fetch, nothing new"
CLONE = "clone"
PUSH_EDIT = "push after the edit"
PULL = "pull of the edit by the clone"
LAZY = "clone without content"
GET = "get of one directory without content"
REQUESTS = "requests"
BY_ONE = "a value, logged by one process"
BY_CORES = "a value, logged by as many processes as there are cores"
BY_EIGHT = "a value, logged by eight processes"
START = "a run with one value of each process"
PROGRAM = "the run with all values"
TRUE = "`true`"
OPENS = "all of it"
OPENED = "a file that is opened: audit"
LIST_COLD = "list of all runs, nothing remembered"
LIST_WARM = "list of all runs"
LINEAGE_FEW = "what was made from a file of few snapshots"
LINEAGE_ALL = "what was made from a file of all snapshots"
ERASE_ONE = "one file of all snapshots"
ERASE_FEW = "one file of ten snapshots"
ERASE_DIRECTORY = "a directory of 200 files"
ERASE_MANY = "100 requests together"
TIMES = frozenset({"s", "us"})
"""Units of which the median counts, and not the largest value."""


def peak_of(work: str) -> str:
    """Name of the measurement of the memory that some work takes."""
    return f"{work}: peak memory"


def largest_process_of(work: str) -> str:
    """Name of the measurement of the memory of the largest single process of some work."""
    return f"{work}: largest process"


def requests_of(work: str) -> str:
    """Name of the measurement of the requests that some work makes."""
    return f"{work}: requests"


def sent_of(work: str) -> str:
    """Name of the measurement of the bytes that some work sends by them."""
    return f"{work}: sent"


def received_of(work: str) -> str:
    """Name of the measurement of the bytes that come in reply."""
    return f"{work}: received"


def packs_gone_of(work: str) -> str:
    """Name of the measurement of the packs that an erasure destroys."""
    return f"{work}: packs that go"


def packs_written_of(work: str) -> str:
    """Name of the measurement of what an erasure writes in their place, and keeps."""
    return f"{work}: contents written"


@dataclass(slots=True, kw_only=True)
class Measurement:
    """All values of one kind of work by one contender on one data set; unit ``s``, ``us``, ``MiB`` or ``requests``."""

    case: str
    work: str
    contender: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median of the runs."""
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a contender has no figures, or not all of them."""

    case: str
    contender: str
    what: str


@dataclass(slots=True, kw_only=True)
class Record:
    """One suite, run once."""

    suite: str
    command: str
    started: str
    finished: str = ""
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def find(self, case: str, work: str, contender: str) -> Measurement | None:
        """Look a measurement up."""
        for one in self.measurements:
            if (one.case, one.work, one.contender) == (case, work, contender):
                return one
        return None

    def add(self, case: str, work: str, contender: str, unit: str, value: float) -> None:
        """Add the value of one run."""
        found = self.find(case, work, contender)
        if found is None:
            found = Measurement(case=case, work=work, contender=contender, unit=unit)
            self.measurements.append(found)
        found.values.append(value)

    def cases(self) -> list[str]:
        """All data sets, in the order they were measured."""
        return list(dict.fromkeys(one.case for one in self.measurements))


def save(records: Iterable[Record], path: Path) -> None:
    """Write records as one JSON document, by a new file that takes the old one's place."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps({"records": [asdict(one) for one in records]}, indent=1) + "\n")
    fresh.replace(path)


def load(path: Path) -> list[Record]:
    """Read records that ``save`` wrote."""
    found: list[dict[str, Any]] = json.loads(path.read_text())["records"]
    return [
        Record(
            **{
                **one,
                "measurements": [Measurement(**entry) for entry in one["measurements"]],
                "problems": [Problem(**entry) for entry in one["problems"]],
            }
        )
        for one in found
    ]
