"""What a pure program must be handed: the clock, randomness, bytes too many to hold, a place to report progress."""

from __future__ import annotations

import os
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> int:
        """Return microseconds since 1970-01-01 UTC."""
        ...


class Entropy(Protocol):
    """Gives random bytes fit for keys and nonces."""

    def bytes(self, count: int) -> bytes:
        """Return ``count`` unpredictable bytes."""
        ...


class View(Protocol):
    """Bytes of which slices are read as they are asked for; ``bytes`` and ``memoryview`` are views too."""

    def __len__(self) -> int:
        """Return how many bytes there are."""
        ...

    def __getitem__(self, part: slice, /) -> bytes | memoryview:
        """Return a slice; a shorter one when bytes have gone since the view was made."""
        ...


class Progress(Protocol):
    """Hears how far long work has come; may be called any number of times, from one thread."""

    def start(self, label: str, *, files: int, size: int) -> None:
        """Begin a phase; ``files`` and ``size`` (bytes) are the totals, 0 when unknown."""
        ...

    def advance(self, *, files: int, size: int) -> None:
        """Say what has been done *so far* in this phase (not since the last call)."""
        ...

    def finish(self) -> None:
        """End the phase."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000


class SystemEntropy:
    """The kernel's random number generator; safe after a fork, it keeps no state in the process."""

    def bytes(self, count: int) -> bytes:
        """Return ``count`` unpredictable bytes."""
        return os.urandom(count)


class Silence:
    """Progress that nobody watches."""

    def start(self, label: str, *, files: int, size: int) -> None:
        """Ignore the beginning of a phase."""

    def advance(self, *, files: int, size: int) -> None:
        """Ignore how far it has come."""

    def finish(self) -> None:
        """Ignore its end."""
