"""Logs numbers by DVCLive, from one process.

It is run by path, by a Python that has DVCLive, so that it imports nothing of the benchmark.
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

from dvclive import Live

PLACE = "live"


def log(values: int) -> None:
    """Log one value a step."""
    with Live(PLACE, report=None, save_dvc_exp=False, dvcyaml=None) as live:
        for step in range(values):
            live.log_metric("train/loss", step * 0.5)
            live.next_step()


def count() -> int:
    """Return how many values the last run has; the file begins with a line of names."""
    file = Path(PLACE) / "plots" / "metrics" / "train" / "loss.tsv"
    return len(file.read_text().splitlines()) - 1 if file.exists() else 0


if __name__ == "__main__":
    if sys.argv[1] == "version":
        print(f"dvclive {importlib.metadata.version('dvclive')}")
    elif sys.argv[1] == "count":
        print(count())
    else:
        log(int(sys.argv[1]))
