"""Logs numbers to one run of dv, from one process or from several at once.

It is run by path, by a Python that has dv, so that it imports nothing of the benchmark.
"""

from __future__ import annotations

import subprocess
import sys

import dvtool


def log(values: int) -> None:
    """Begin a run, or join the one that goes on, and log one value a step."""
    with dvtool.run(trace="declared") as run:
        for step in range(values):
            run.log(step=step, split="train", loss=step * 0.5)


def log_by(values: int, processes: int) -> None:
    """Begin a run, and have processes of their own log to it side by side."""
    with dvtool.run(trace="declared"):
        command = [sys.executable, "-P", __file__, str(values), "1"]
        children = [subprocess.Popen(command) for _ in range(processes)]
        codes = [child.wait() for child in children]
        if any(codes):
            sys.exit("a process failed")


def count() -> int:
    """Return how many values the run with the most has."""
    return max(metric.count for run in dvtool.open(".").runs() for metric in run.metrics)


if __name__ == "__main__":
    if sys.argv[1] == "count":
        print(count())
    elif sys.argv[2] == "1":
        log(int(sys.argv[1]))
    else:
        log_by(int(sys.argv[1]), int(sys.argv[2]))
