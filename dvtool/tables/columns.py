"""Columns of values in memory, which need no library."""

from __future__ import annotations

import msgspec


class Series(msgspec.Struct, kw_only=True):
    """Values that were logged, as columns; times in microseconds since 1970, ``workers`` are positions in the run."""

    names: list[str] = []
    splits: list[str] = []
    steps: list[int | None] = []
    times: list[int] = []
    values: list[float] = []
    workers: list[int] = []

    def add(self, name: str, split: str, step: int | None, time: int, value: float, worker: int = 0) -> None:
        """Append a value."""
        self.names.append(name)
        self.splits.append(split)
        self.steps.append(step)
        self.times.append(time)
        self.values.append(value)
        self.workers.append(worker)

    def __len__(self) -> int:
        return len(self.values)
