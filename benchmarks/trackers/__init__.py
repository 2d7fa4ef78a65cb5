"""The tools that record what programs do, one module each, and the programs that they record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.trackers.dv import TrackingDv, TrackingDvDeclared
from benchmarks.trackers.dvclive import DvcLive
from benchmarks.trackers.mlflow import MLflow
from benchmarks.trackers.plain import Unrecorded

if TYPE_CHECKING:
    from benchmarks.trackers.contract import Tracker

TRACKERS: dict[str, type[Tracker]] = {
    kind.name: kind for kind in (TrackingDv, TrackingDvDeclared, Unrecorded, MLflow, DvcLive)
}
"""Every one by name, in the order of the tables."""
