"""Logs numbers to one run of MLflow, from one process: eight take half a minute to begin, which drowns the values.

It is run by path, by a Python that has MLflow, so that it imports nothing of the benchmark.
"""

from __future__ import annotations

import sys

import mlflow

STORE = "sqlite:///mlflow.db"


def log(values: int) -> None:
    """Begin a run and log one value a step."""
    mlflow.set_tracking_uri(STORE)
    with mlflow.start_run():
        for step in range(values):
            mlflow.log_metric("train/loss", step * 0.5, step=step)


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
    else:
        log(int(sys.argv[1]))
