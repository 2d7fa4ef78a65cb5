"""Asks a place again that was busy or not reached: one request at a time, and the only layer that does.

It stands around single requests and not around a whole backend: removing all versions of a file, or sending one in
parts, takes several requests, and where one in ten fails, work that begins anew each time hardly ever ends.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.effects import Entropy

Result = TypeVar("Result")


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how long a place is asked again.

    ``tries`` counts the first one; before each further one there is a pause of a random part of ``first`` seconds,
    doubled each time and never more than ``longest``; none begins later than ``total`` seconds after the first try.
    """

    tries: int = 7
    first: float = 0.25
    longest: float = 8.0
    total: float = 120.0


class Persistence:
    """Makes requests, and makes those again that may succeed a moment later; safe to share among threads."""

    def __init__(
        self,
        *,
        entropy: Entropy,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Decide nothing yet.

        Args:
            entropy: from which the pauses are drawn, so that many who were turned away do not come back together.
            patience: how often and how long.
            sleep: waits for so many seconds.
            now: a clock in seconds that never goes back.
        """
        self._entropy = entropy
        self._patience = patience or Patience()
        self._sleep = sleep
        self._now = now

    def again(self, request: Callable[[], Result], passing: Callable[[Exception], bool]) -> Result:
        """Return what ``request`` returns in one of its tries.

        A creation whose reply was lost finds its own work at the next try and reports that something is there; who
        creates has to look whose it is, as the log does by its write id.

        Args:
            request: is called again with all of its effects, so it must bear that.
            passing: whether what it raised may pass; anything else is raised at once.

        Raises:
            Exception: what the last try raised, when patience has run out.
        """
        patience = self._patience
        ends = self._now() + patience.total
        for attempt in range(1, patience.tries):
            try:
                return request()
            except Exception as error:
                part = int.from_bytes(self._entropy.bytes(4), "big") / 2**32
                pause = min(patience.longest, patience.first * 2 ** (attempt - 1)) * part
                if not passing(error) or self._now() + pause > ends:
                    raise
            self._sleep(pause)
        return request()
