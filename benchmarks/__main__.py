"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.arena import Arena
from benchmarks.contenders import CONTENDERS
from benchmarks.contenders.contract import Found
from benchmarks.erasers import ERASERS
from benchmarks.machine import describe
from benchmarks.measure import remove
from benchmarks.page import page
from benchmarks.plans import DEFAULT_CONTENDERS, SUITES, Sizes, perform
from benchmarks.results import Record, load, save
from benchmarks.sharers import SHARERS
from benchmarks.trackers import TRACKERS

if TYPE_CHECKING:
    from collections.abc import Sequence

_KNOWN = tuple(dict.fromkeys([*CONTENDERS, *SHARERS, *TRACKERS, *ERASERS]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or make the page from measurements kept as JSON; 1 if a contender failed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given = _parser().parse_args(arguments)
    records = [record for path in given.records for record in load(path)]
    if given.suite or not given.records:
        given.work.mkdir(parents=True, exist_ok=True)
        _measure_all(given, records)
    if given.page is not None:
        given.page.write_text(page(records))
    else:
        print(page(records))
    return int(any(one.what != "not installed" for record in records for one in record.problems))


def _measure_all(given: argparse.Namespace, records: list[Record]) -> None:
    place = Path(tempfile.mkdtemp(prefix="run-", dir=given.work)).resolve()
    found = _find(given)
    try:
        for suite in given.suite or ["everyday"]:
            record = Record(suite=suite, command=_command(), started=_now(), machine=describe(place))
            records.append(record)

            def keep(record: Record = record) -> None:
                record.finished = _now()
                record.machine["load after"] = f"{os.getloadavg()[0]:.1f}"
                if given.json is not None:
                    save(records, given.json)

            arena = Arena(
                place=place,
                found=found,
                names=given.contenders or DEFAULT_CONTENDERS[suite],
                runs=given.runs or (1 if given.quick else 5),
                limit=given.limit,
                record=record,
                save=keep,
            )
            try:
                perform(suite, arena, Sizes.chosen(quick=given.quick, files=given.files, mib=given.mib))
            finally:
                keep()
    finally:
        remove(place)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare dv with tar, git and other tools, and print a page of the results.",
        epilog="example: python -m benchmarks --suite everyday --work /var/tmp/bench --json everyday.json",
    )
    add = parser.add_argument
    add("--suite", nargs="+", choices=SUITES, default=[], help="what to measure (default: everyday)")
    add("--files", type=int, metavar="N", help="number of files instead of the suite's own")
    add("--mib", type=_numbers, metavar="M,…", help="sizes of large files in MiB instead of the suite's own")
    add("--runs", type=int, metavar="K", help="runs of each operation (default: 5; 3 where one takes minutes)")
    add("--contenders", type=_names, metavar="A,B,…", help=f"some of {', '.join(_KNOWN)}")
    add("--work", type=Path, metavar="DIR", default=Path(tempfile.gettempdir()) / "dv-benchmarks",
        help="all files go here, on the disk to measure; DVC is looked for in DIR/dvc, and so on")  # fmt: skip
    add(
        "--dv",
        type=Path,
        metavar="PATH",
        help="the dv to measure (default: beside this Python, else on PATH)",
    )
    add("--json", type=Path, metavar="OUT", help="keep all values here, also after every round")
    add(
        "--from",
        dest="records",
        type=Path,
        nargs="+",
        default=[],
        metavar="JSON",
        help="start from kept values",
    )
    add("--page", type=Path, metavar="FILE", help="write the page here instead of printing it")
    add("--limit", type=float, default=3600.0, metavar="S", help="seconds after which a process is ended")
    add(
        "--quick",
        action="store_true",
        help="tiny data and one run: shows that everything works, measures nothing",
    )
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in _KNOWN]
    if unknown:
        message = f"unknown: {', '.join(unknown)}; known: {', '.join(_KNOWN)}"
        raise argparse.ArgumentTypeError(message)
    return names


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _locate_dv(given: Path | None) -> Path | None:
    """Find the dv that was named, else the one beside this Python, else the one on PATH."""
    if given is not None:
        return _program(given.absolute())
    on_path = shutil.which("dv")
    return _program(Path(sys.executable).parent / "dv") or (Path(on_path) if on_path else None)


def _find(given: argparse.Namespace) -> Found:
    """Find what is not on PATH: each peer of Python has an environment of its own."""
    work = given.work.resolve()
    return Found(
        dv=_locate_dv(given.dv),
        dvc=_program(work / "dvc" / "bin" / "dvc"),
        mlflow=_program(work / "mlflow" / "bin" / "python"),
        filter_repo=_program(work / "filter-repo" / "bin" / "git-filter-repo"),
        dvclive=_program(work / "dvclive" / "bin" / "python"),
    )


def _program(path: Path) -> Path | None:
    return path if os.access(path, os.X_OK) else None


def _command() -> str:
    return shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


if __name__ == "__main__":
    sys.exit(main())
