"""A clock and randomness that a test decides, so that the same run happens again."""

from __future__ import annotations

import hashlib


class SteppedClock:
    """A clock that moves on by a fixed step each time it is asked."""

    def __init__(self, start: int = 1_700_000_000_000_000, step: int = 1_000_000) -> None:
        """Begin at ``start`` (microseconds since 1970) and move on by ``step`` microseconds."""
        self._next = start
        self._step = step

    def now(self) -> int:
        """Return microseconds since 1970-01-01 UTC, later than at the call before."""
        found = self._next
        self._next += self._step
        return found


class SeededEntropy:
    """Bytes that look random and follow from a seed.  Never for anything that must stay secret."""

    def __init__(self, seed: int | str = 0) -> None:
        """Begin the stream that belongs to ``seed``."""
        self._seed = str(seed).encode()
        self._count = 0

    def bytes(self, count: int) -> bytes:
        """Return the next ``count`` bytes of the stream."""
        self._count += 1
        return hashlib.shake_256(self._seed + b"/" + str(self._count).encode()).digest(count)
