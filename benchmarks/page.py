"""The results page: Markdown made from records, with nothing written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contenders import CONTENDERS
from benchmarks.erasers import ERASERS
from benchmarks.limits import amount, judge
from benchmarks.results import (
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
    GET,
    LAZY,
    OPENS,
    PULL,
    PUSH,
    PUSH_EDIT,
    PUSH_NOTHING,
    STATUS,
    SWITCH,
    TINY,
    TRUE,
    VERIFY,
    Measurement,
    Record,
    received_of,
    requests_of,
    sent_of,
)
from benchmarks.sharers import SHARERS
from benchmarks.trackers import TRACKERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.contenders.contract import Tool

BASELINES = {
    STATUS: "git",
    CHANGE: "git",
    DIFF: "git",
    SWITCH: "git",
    FULL: "tar",
    FIRST: "tar",
    TINY: "git",
    VERIFY: "restic",
    PUSH: "plain",
    CLONE: "plain",
    PUSH_NOTHING: "dvc",
    FETCH_NOTHING: "dvc",
    PUSH_EDIT: "dvc",
    PULL: "dvc",
    LAZY: "dvc",
    GET: "dvc",
    BY_ONE: "dv",
    BY_EIGHT: "dv",
    TRUE: "unrecorded",
    OPENS: "unrecorded",
    **dict.fromkeys((ERASE_ONE, ERASE_FEW, ERASE_DIRECTORY, ERASE_MANY), "git-filter-repo"),
}
"""Whose median the ratio column divides by; ``tar`` where the work is not named."""

HOW = """\
Every figure is the wall-clock time of whole processes, from before the first is started until the last
has ended: `add` and `commit` are two processes, timed as one operation. All of a machine's unwritten pages
are flushed before each operation. Every run starts from a new repository and newly written files; what a
contender made is deleted after each. The page cache is warm: the files were written or read just before,
except where a remark says that they don't fit. What a tool leaves unsynced stays so; `dv` and the yardsticks
`tar` and `cp` sync what they store. The edit replaces 100 files, adds 100 and removes 100, unless the data
set is too small. Sizes are sums of file sizes. Memory is the larger of two: the largest resident set of any
one process (`wait4`, which cannot see below the size of the benchmark itself, some 30 MiB), and the largest
sum of proportional set sizes over the process tree, looked at every 50 ms; "largest process" is the first
alone. Sizes and memory are judged by their largest value, times by their median. Small and large files are
random bytes, the table is text. What checkouts and diffs of small files bring is compared with what was
stored.

The suite `remotes` has moto's S3 service on loopback, in a process of its own on the same machine, which keeps all
objects in memory; each tool has a bucket for itself, and one asks at a time. The service counts requests, and the
bytes of their bodies and of the replies' bodies, during each operation; the details have their medians. "Clone
without content" and the get of one of its directories, one of 1,000 files unless the data set is smaller, come after
the edit.

In the suite `runs`, the microseconds of a value are the time of a program that logs to one run, less that of one that
logs one value, divided by the number of the other values of all its processes: so what it takes to begin and end a
run and its processes is not in them, and what it takes to bring values to where they stay is (`dv` brings them into
its store when the run has ended, in one process). `dv` logs 200,000 values, the others 1,000. Where several processes
log to one run, they share that number, and the time is still divided by all values; two cores do not do more for
eight processes than for two, so eight are held against as many as there are cores, with a quarter more for what two
measurements differ by. The microseconds of an opened file are the time of a program that opens all of them under `dv
run --trace audit`, less that under `--trace declared`, divided by the number of files: what the hook in Python takes,
and what it takes to look the files up when the run has ended. Histories of runs are made through the library and not
timed. "Nothing remembered" is the first list, without `.dv/cache`.

In the suite `erase`, both tools have the same history, checked out: each snapshot edits five files. It is made once,
through the library and by `git fast-import`, then `dv gc --grace 0` and `git gc` collect it as it would be in time, and
it is copied for each measurement, all not timed. What Git takes is
`git-filter-repo` without its own collection, and then the collection that makes the data go; both are in the table by
themselves as well. "Contents written" are files of packs that were not there before."""


AGAIN = """\
This page is made from the values in `benchmarks/results` by

```sh
python -m benchmarks --from benchmarks/results/*.json --page docs/benchmarks.md
```

and the commands below measure them again. `benchmarks/install-peers` installs the tools to compare with."""


def page(records: Sequence[Record]) -> str:
    """Compose the page."""
    parts = ["# Benchmarks", "", AGAIN, "", HOW, ""]
    parts += ["## Requirements", "", *_verdicts(records), ""]
    for record in records:
        parts += _section(record)
    return "\n".join(parts).rstrip() + "\n"


def _verdicts(records: Iterable[Record]) -> list[str]:
    rows = [(one.title, one.case, one.measured, one.required, one.outcome) for one in judge(records)]
    return _table(("work", "data", "measured", "required", "verdict"), rows)


def _section(record: Record) -> list[str]:
    parts = [f"## {record.suite}", "", f"Started {record.started}, finished {record.finished}:", ""]
    parts += ["```sh", record.command, "```", ""]
    parts += [*_table(("machine", ""), list(record.machine.items())), ""]
    kinds = _kinds(record)
    versions = [(name, version, kinds[name].note if name in kinds else "") for name, version in record.versions.items()]
    parts += [*_table(("tool", "version", "remark"), versions)]
    notes = [f"- {remark}" for remark in dict.fromkeys([*_busy(record), *record.remarks])]
    notes += [f"- {one.case}, {one.contender}: {one.what}" for one in record.problems]
    parts += ["", *notes] if notes else []
    for case in record.cases():
        parts += [
            "",
            f"### {case[0].upper()}{case[1:]}",
            "",
            *_matrix(record, case),
            "",
            *_details(record, case),
        ]
    return [*parts, ""]


def _busy(record: Record) -> list[str]:
    """What to say of a machine that had other work before the suite began."""
    load, cores = (record.machine.get(name, "0") for name in ("load before", "cores"))
    if float(load) <= float(cores):
        return []
    return [f"the machine had other work: a load of {load} on {cores} cores before it began, so times may be too long"]


def _kinds(record: Record) -> Mapping[str, type[Tool]]:
    """The tools that take part in a suite."""
    kinds: dict[str, Mapping[str, type[Tool]]] = {"remotes": SHARERS, "runs": TRACKERS, "erase": ERASERS}
    return kinds.get(record.suite, CONTENDERS)


def _matrix(record: Record, case: str) -> list[str]:
    """Medians, one column for each contender."""
    here = [one for one in record.measurements if one.case == case and not _is_traffic(record, one)]
    order = ["python", *_kinds(record)]
    names = sorted({one.contender for one in here}, key=order.index)
    works = dict.fromkeys(one.work for one in here)
    rows = []
    for work in works:
        found = [record.find(case, work, name) for name in names]
        rows.append((work, *(amount(one.median, one.unit) if one else "-" for one in found)))
    return _table(("median", *names), rows)


def _details(record: Record, case: str) -> list[str]:
    """Every measurement, one row each; those with a service have what it counted in the same row."""
    here = [one for one in record.measurements if one.case == case]
    shown = [one for one in here if not _is_traffic(record, one)]
    with_traffic = len(shown) < len(here)
    rows = [
        (
            one.work,
            one.contender,
            amount(one.median, one.unit),
            f"{amount(min(one.values), one.unit)} to {amount(max(one.values), one.unit)}",
            str(len(one.values)),
            _ratio(record, one),
            *(_traffic(record, one) if with_traffic else ()),
        )
        for one in shown
    ]
    heads = ("work", "by", "median", "min to max", "runs", "ratio")
    return _table((*heads, "requests", "sent", "received") if with_traffic else heads, rows)


def _is_traffic(record: Record, one: Measurement) -> bool:
    """Whether a measurement is what a service counted during another."""
    work = one.work.rpartition(": ")[0]
    names = (requests_of(work), sent_of(work), received_of(work))
    return one.work in names and record.find(one.case, work, one.contender) is not None


def _traffic(record: Record, one: Measurement) -> list[str]:
    """What the service counted during some work: medians."""
    names = (requests_of(one.work), sent_of(one.work), received_of(one.work))
    found = [record.find(one.case, name, one.contender) for name in names]
    return [amount(each.median, each.unit) if each is not None else "-" for each in found]


def _ratio(record: Record, one: Measurement) -> str:
    baseline = record.find(one.case, one.work, BASELINES.get(one.work, "tar"))
    if baseline is None or baseline.median == 0:
        return "-"
    return f"{one.median / baseline.median:.2f}x {baseline.contender}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(heads), "|" + "---|" * len(heads), *(line(row) for row in rows)]
