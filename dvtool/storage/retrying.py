"""A backend that tries again, over any other: the only layer that does, so that tries do not multiply.

Only what may pass is tried again (:class:`~dvtool.storage.backend.UnavailableError`): a busy server, a lost
connection, silence.  A creation whose reply was lost finds its own work at the next try and reports that something is
there; who creates has to look whose it is, as the log does by its write id.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import msgspec

from dvtool.storage.backend import UnavailableError, close, keeping_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dvtool.effects import Entropy, View
    from dvtool.storage.backend import Abilities, Backend, Keeping, Listed, Purged

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


class RetryingBackend:
    """Asks the backend behind it again when it was unavailable."""

    def __init__(
        self,
        inner: Backend,
        *,
        entropy: Entropy,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Stand before ``inner``.

        Args:
            inner: what is asked.
            entropy: from which the pauses are drawn, so that many who were turned away do not come back together.
            patience: how often and how long.
            sleep: waits for so many seconds.
            now: a clock in seconds that never goes back.
        """
        self.inner = inner
        self._entropy = entropy
        self._patience = patience or Patience()
        self._sleep = sleep
        self._now = now

    @property
    def abilities(self) -> Abilities:
        """What the place can do."""
        return self.inner.abilities

    def prepare(self, directories: Iterable[str]) -> None:
        """Make what files need before they can be written."""
        self.inner.prepare(directories)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read, more than once if need be."""
        return self.again(lambda: self.inner.read(name, offset, length))

    def view(self, name: str) -> RetryingView:
        """Return a view whose slices are asked for more than once if need be."""
        return RetryingView(self, self.again(lambda: self.inner.view(name)))

    def size(self, name: str) -> int:
        """Return the length of ``name`` in bytes."""
        return self.again(lambda: self.inner.size(name))

    def modified(self, name: str) -> int:
        """Return when ``name`` was written, in microseconds since 1970."""
        return self.again(lambda: self.inner.modified(name))

    def exists(self, name: str) -> bool:
        """Return whether there is something at ``name``."""
        return self.again(lambda: self.inner.exists(name))

    def names(self, directory: str) -> Iterator[str]:
        """Yield names once all of them have come."""
        yield from self.again(lambda: list(self.inner.names(directory)))

    def listed(self, directory: str, *, after: str = "", most: int = 0) -> Iterator[Listed]:
        """Yield files as they come; a listing that breaks off is gone on with behind the last one."""
        last, left = after, most

        def following() -> tuple[Iterator[Listed], Listed | None]:
            files = iter(self.inner.listed(directory, after=last, most=left))
            return files, next(files, None)

        while True:
            files, found = self.again(following)
            try:
                while found is not None:
                    yield found
                    last = found.name
                    left -= 1
                    if most and not left:
                        return
                    found = next(files, None)
            except UnavailableError:
                continue
            return

    def create(self, name: str, data: bytes) -> None:
        """Create; after a lost reply this may find one's own work and raise ExistsError."""
        self.again(lambda: self.inner.create(name, data))

    def put(self, name: str, data: bytes) -> None:
        """Put, more than once if need be."""
        self.again(lambda: self.inner.put(name, data))

    def send(self, view: View, name: str) -> None:
        """Send, each time from the beginning."""
        self.again(lambda: self.inner.send(view, name))

    def replace(self, name: str, data: bytes) -> None:
        """Replace, more than once if need be."""
        self.again(lambda: self.inner.replace(name, data))

    def adopt(self, path: str, name: str) -> None:
        """Adopt, more than once if need be; the file is there until it has been taken."""
        self.again(lambda: self.inner.adopt(path, name))

    def workspace(self) -> str:
        """Return the local directory for unfinished files."""
        return self.inner.workspace()

    def flush(self) -> None:
        """Flush, more than once if need be."""
        self.again(self.inner.flush)

    def delete(self, name: str) -> None:
        """Remove ``name``, more than once if need be."""
        self.again(lambda: self.inner.delete(name))

    def purge(self, name: str) -> Purged:
        """Purge, more than once if need be; versions are counted by the last try."""
        return self.again(lambda: self.inner.purge(name))

    def keeping(self) -> Keeping:
        """Return what the place keeps, as far as it tells."""
        return self.again(lambda: keeping_of(self.inner))

    def close(self) -> None:
        """Close the connections of the place."""
        close(self.inner)

    def again(self, action: Callable[[], Result]) -> Result:
        """Return what ``action`` returns in one of its tries.

        Raises:
            UnavailableError: as the last try did, when patience has run out.
        """
        patience = self._patience
        ends = self._now() + patience.total
        for attempt in range(1, patience.tries):
            try:
                return action()
            except UnavailableError:
                part = int.from_bytes(self._entropy.bytes(4), "big") / 2**32
                pause = min(patience.longest, patience.first * 2 ** (attempt - 1)) * part
                if self._now() + pause > ends:
                    raise
            self._sleep(pause)
        return action()


class RetryingView:
    """A view whose slices are asked for more than once if need be."""

    __slots__ = ("_backend", "_view")

    def __init__(self, backend: RetryingBackend, view: View) -> None:
        """Stand before ``view``."""
        self._backend = backend
        self._view = view

    def __len__(self) -> int:
        """Return how many bytes there are."""
        return len(self._view)

    def __getitem__(self, part: slice, /) -> bytes | memoryview:
        """Return a slice."""
        return self._backend.again(lambda: self._view[part])
