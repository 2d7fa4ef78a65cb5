"""Logs numbers to one run of MLflow, from one process or from several at once.

It is run by path, by a Python that has MLflow, so that it imports nothing of the benchmark.
"""

from __future__ import annotations

import os
import subprocess
import sys

import mlflow

STORE = "sqlite:///mlflow.db"
RUN = "BENCHMARK_RUN"
"""In the environment of processes that share a run: its id."""


def log(values: int) -> None:
    """Begin a run, or join the one that is named, and log one value a step."""
    mlflow.set_tracking_uri(STORE)
    with mlflow.start_run(run_id=os.environ.get(RUN)):
        for step in range(values):
            mlflow.log_metric("train/loss", step * 0.5, step=step)


def log_by(values: int, processes: int) -> None:
    """Begin a run, and have processes of their own log to it side by side."""
    mlflow.set_tracking_uri(STORE)
    with mlflow.start_run() as run:
        command = [sys.executable, "-P", __file__, str(values), "1"]
        environment = {**os.environ, RUN: run.info.run_id}
        children = [subprocess.Popen(command, env=environment) for _ in range(processes)]
        codes = [child.wait() for child in children]
        if any(codes):
            sys.exit("a process failed")


def count() -> int:
    """Return how many values the run with the most has."""
    mlflow.set_tracking_uri(STORE)
    client = mlflow.MlflowClient()
    runs = client.search_runs(["0"])
    return max(len(client.get_metric_history(run.info.run_id, "train/loss")) for run in runs)


if __name__ == "__main__":
    if sys.argv[1] == "version":
        print(f"mlflow {mlflow.__version__}")
    elif sys.argv[1] == "count":
        print(count())
    elif sys.argv[2] == "1":
        log(int(sys.argv[1]))
    else:
        log_by(int(sys.argv[1]), int(sys.argv[2]))
