"""Deterministic schedules: several writers on one store in memory, interleaved call by call as a seed decides.

Each writer runs in a thread of its own, but only the one that holds the baton moves; it hands the baton on at each
call of its backend.  So a schedule is a list of choices, and the same seed gives the same run.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Final

from dvtool.errors import ExistsError, StorageError
from dvtool.storage.memory import MemoryBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LONGEST_STALL: Final = 400
"""Turns of others for which a writer stands still at most: about as many as a collection takes."""
STUCK_SECONDS: Final = 60.0
"""A writer that does not come back to its backend for so long has found a deadlock."""


class Crashed(BaseException):
    """The process of this writer ended here."""


class Schedule:
    """Runs writers in an order that a seed decides."""

    def __init__(self, seed: int, *, crash: float = 0.0, lose: float = 0.0, stall: float = 0.0) -> None:
        """Decide with the random numbers that belong to ``seed``.

        Args:
            seed: the same seed gives the same run.
            crash: the chance, at each call, that the writer ends before it.
            lose: the chance, at each exclusive creation, that the reply is lost although it succeeded.
            stall: the chance, at each call, that the writer then stands still while others go on.
        """
        self.random = random.Random(seed)  # noqa: S311 - a schedule, wanted again exactly as it was
        self.crash = crash
        self.lose = lose
        self.stall = stall
        self._stalled: dict[int, int] = {}
        self.trace: list[tuple[int, str, str]] = []
        self._turn = threading.Condition()
        self._waiting: set[int] = set()
        self._running: set[int] = set()
        self._chosen = -1

    def run(self, writers: Sequence[Callable[[], None]]) -> list[BaseException | None]:
        """Run all writers to their ends and return how each ended: None, or what it raised.

        Raises:
            TimeoutError: when one stands still.
        """
        ends: list[BaseException | None] = [None] * len(writers)

        def live(number: int) -> None:
            _LOCAL.number = number
            try:
                self.step("begin", "")
                writers[number]()
            except BaseException as error:  # noqa: BLE001 - every end is reported to the test
                ends[number] = error
            finally:
                with self._turn:
                    self._running.discard(number)
                    self._choose()

        self._running = set(range(len(writers)))
        threads = [threading.Thread(target=live, args=(number,), daemon=True) for number in self._running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(STUCK_SECONDS)
            if thread.is_alive():
                raise TimeoutError(f"a writer stands still; the last steps were {self.trace[-5:]}")
        return ends

    def step(self, action: str, name: str) -> None:
        """Wait for the baton; called by a writer before each call of its backend.

        Raises:
            Crashed: when this is where the writer ends.
        """
        number = getattr(_LOCAL, "number", None)
        if number is None:
            return
        with self._turn:
            self._waiting.add(number)
            self._choose()
            while self._chosen != number:
                if not self._turn.wait(STUCK_SECONDS):
                    raise TimeoutError(f"writer {number} never had its turn")
            self._chosen = -1
            self._waiting.discard(number)
            self.trace.append((number, action, name))
            ends_here = action != "begin" and self.random.random() < self.crash
            if self.stall and self.random.random() < self.stall:
                self._stalled[number] = self.random.randrange(LONGEST_STALL)
        if ends_here:
            raise Crashed(f"writer {number} before {action} {name}")

    def reply(self) -> str:
        """Return what becomes of the reply to a writer: it is ``heard``, ``none``, or the call is tried ``again``."""
        if getattr(_LOCAL, "number", None) is None:
            return "heard"
        draw = self.random.random()
        return "again" if draw < self.lose / 2 else "none" if draw < self.lose else "heard"

    def _choose(self) -> None:
        """Give the baton to one of the writers, once every one that still runs waits for it."""
        if self._chosen < 0 and self._running and self._waiting >= self._running:
            self._stalled = {number: left - 1 for number, left in self._stalled.items() if left}
            awake = self._running - self._stalled.keys() or self._running
            self._chosen = self.random.choice(sorted(awake))
            self._turn.notify_all()


_LOCAL = threading.local()


class ScheduledBackend(MemoryBackend):
    """A store in memory whose callers take turns, and whose replies may be lost."""

    def __init__(self, schedule: Schedule) -> None:
        """Hand the baton on at each call."""
        super().__init__()
        self.schedule = schedule

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of ``name``, in turn."""
        self.schedule.step("read", name)
        return super().read(name, offset, length)

    def exists(self, name: str) -> bool:
        """Return whether there is something at ``name``, in turn."""
        self.schedule.step("exists", name)
        return super().exists(name)

    def names(self, directory: str) -> Iterator[str]:
        """Yield names, in turn."""
        self.schedule.step("names", directory)
        yield from super().names(directory)

    def create(self, name: str, data: bytes) -> None:
        """Create, in turn; now and then the reply is lost.

        A lost reply looks as it does on a network: to a client that tries again, something is there already; to
        one that does not, the place failed.
        """
        self.schedule.step("create", name)
        super().create(name, data)
        match self.schedule.reply():
            case "again":
                raise ExistsError("a file of the store exists already", where=name, why="the reply was lost")
            case "none":
                raise StorageError("the place did not answer", where=name, why="the reply was lost")

    def put(self, name: str, data: bytes) -> None:
        """Put, in turn."""
        self.schedule.step("put", name)
        super().put(name, data)

    def replace(self, name: str, data: bytes) -> None:
        """Replace, in turn."""
        self.schedule.step("replace", name)
        super().replace(name, data)

    def adopt(self, path: str, name: str) -> None:
        """Adopt, in turn."""
        self.schedule.step("adopt", name)
        super().adopt(path, name)

    def delete(self, name: str) -> None:
        """Delete, in turn."""
        self.schedule.step("delete", name)
        super().delete(name)
