"""DVCLive, which logs for DVC."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.trackers.contract import HERE, Tracker

if TYPE_CHECKING:
    from benchmarks.contenders.contract import Found, Slot

LOGGER = HERE / "log_dvclive.py"


class DvcLive(Tracker):
    """Numbers in text files; one process to a directory."""

    name: ClassVar[str] = "dvclive"
    note: ClassVar[str] = "`log_metric` and `next_step` for each value, without report and experiment; one process only"
    values: ClassVar[int] = 1000

    def _locate(self, found: Found) -> str | None:
        return str(found.dvclive) if found.dvclive is not None else None

    def _version_arguments(self) -> tuple[str, ...]:
        return ("-P", str(LOGGER), "version")

    def environment(self, slot: Slot) -> dict[str, str]:
        """Keep its caches inside the slot, and keep it from calling home."""
        quiet = {"DVC_SITE_CACHE_DIR": str(slot.home / "dvc"), "DVC_NO_ANALYTICS": "1", "GIT_PYTHON_REFRESH": "quiet"}
        return {**super().environment(slot), **quiet}

    def logger(self) -> tuple[str, ...]:
        """Log by Live.log_metric."""
        return (self._command(), "-P", str(LOGGER))
