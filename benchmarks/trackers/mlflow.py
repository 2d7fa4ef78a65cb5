"""MLflow with the store that it has by default."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.trackers.contract import HERE, Tracker

if TYPE_CHECKING:
    from benchmarks.contenders.contract import Found, Slot

LOGGER = HERE / "log_mlflow.py"


class MLflow(Tracker):
    """Numbers by its fluent interface, one call each."""

    name: ClassVar[str] = "mlflow"
    note: ClassVar[str] = "`mlflow.log_metric`, a SQLite store, synchronous as it is by default; one process only"
    values: ClassVar[int] = 1000

    def _locate(self, found: Found) -> str | None:
        return str(found.mlflow) if found.mlflow is not None else None

    def _version_arguments(self) -> tuple[str, ...]:
        return ("-P", str(LOGGER), "version")

    def environment(self, slot: Slot) -> dict[str, str]:
        """Keep it from calling home."""
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
        return {**super().environment(slot), **quiet}

    def logger(self) -> tuple[str, ...]:
        """Log by mlflow.log_metric."""
        return (self._command(), "-P", str(LOGGER))
