"""What a backend in the cloud asks of the library behind it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from dvtool.storage.backend import Purged
from dvtool.storage.cloud.failures import is_passing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dvtool.effects import View
    from dvtool.storage.backend import Abilities, Keeping, Listed, Version
    from dvtool.storage.retrying import Persistence

Result = TypeVar("Result")

WHOLE: Final = 100 * 1024 * 1024
"""Bytes up to which an object is written by one request; a full data pack has 64 MiB and a little."""
PIECE: Final = 4 * 1024 * 1024
"""Bytes of a body that are read at once."""
PART: Final = 64 * 1024 * 1024
"""Bytes of each part of a larger one; S3 takes 10,000 parts, so up to 625 GiB."""
PAGE: Final = 1000
"""Most names that S3 and GCS list at once."""
CONNECT_SECONDS: Final = 10
"""How long a connection may take to come about."""
SILENT_SECONDS: Final = 60
"""How long a server may be silent in the middle of a request."""


class Stat(NamedTuple):
    """The length of an object in bytes, and when it was written, in microseconds since 1970."""

    size: int
    modified: int


class Client(Protocol):
    """Objects by key in one bucket, or files by path.  It raises whatever its library raises, after some patience."""

    @property
    def abilities(self) -> Abilities:
        """What the place can do."""
        ...

    def read(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` up to ``end``; both may lie behind the last byte."""
        ...

    def stat(self, key: str) -> Stat:
        """Return length and time."""
        ...

    def listed(self, prefix: str, after: str, most: int) -> Iterator[Listed]:
        """Yield the files right below ``prefix``, which ends in ``/`` or is empty, sorted, those after ``after``."""
        ...

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names right below ``prefix``, those of directories as well."""
        ...

    def create(self, key: str, data: bytes) -> None:
        """Write where nothing is."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Write by one request, over what is there."""
        ...

    def send(self, key: str, view: View) -> None:
        """Write what a view holds, by one request where the place has such."""
        ...

    def upload(self, key: str, view: View) -> None:
        """Write more than :data:`WHOLE` bytes; nothing of a failed attempt is left."""
        ...

    def delete(self, key: str) -> None:
        """Remove; what is not there is no error."""
        ...

    def purge(self, key: str, *, older: bool = False) -> Purged:
        """Remove every version, or every one but that which is there now."""
        ...

    def versions(self, prefix: str) -> Iterator[Version]:
        """Yield every version of what is below ``prefix``, which ends in ``/``, and every mark of a deletion.

        Raises:
            UntoldError: when this user may not ask.
        """
        ...

    def keeping(self) -> Keeping:
        """Return what the place keeps of what was deleted."""
        ...

    def sweep(self, prefix: str, before: int) -> int:
        """Give up uploads in parts below ``prefix`` that began before a time (microseconds); return how many."""
        ...

    def close(self) -> None:
        """Close connections; the next request opens new ones."""
        ...


class Opened:
    """A library's file system, made when it is first wanted, once for each process: connections survive no fork."""

    def __init__(self, make: Callable[[], Any], end: Callable[[Any], None], persistence: Persistence) -> None:
        """Say how it is made, how its connections are closed, and how often it is asked."""
        self._make = make
        self._end = end
        self._persistence = persistence
        self._found: Any = None
        self._of_others: list[Any] = []
        self._process = os.getpid()
        self._lock = threading.Lock()

    def ask(self, request: Callable[[Any], Result]) -> Result:
        """Return what ``request`` makes of the file system; it is made again while what it raises may pass."""
        return self._persistence.again(lambda: request(self.get()), is_passing)

    def get(self) -> Any:  # noqa: ANN401 - published without types
        """Return it."""
        if self._process != os.getpid():
            # Closing the other process's connections here would take them out of the set that its loop watches, which
            # both processes share, and leave it waiting for replies; so they are kept, untouched.
            self._of_others.append(self._found)
            self._found, self._process, self._lock = None, os.getpid(), threading.Lock()
        with self._lock:
            if self._found is None:
                self._found = self._make()
            return self._found

    def close(self) -> None:
        """Close its connections; it is made again when it is wanted again."""
        if self._process == os.getpid() and self._found is not None:
            found, self._found = self._found, None
            self._end(found)


class Remains:
    """What a purge has done so far, and what it had to leave."""

    def __init__(self) -> None:
        self.versions = 0
        self._left: list[str] = []
        self._until: int | None = 0

    def leave(self, why: str, until: int | None) -> None:
        """Note what could not be done: why, and until when in microseconds, or None when nobody knows."""
        if why not in self._left:
            self._left.append(why)
        self._until = None if until is None or self._until is None else max(self._until, until)

    def report(self) -> Purged:
        """Return what came of it."""
        return Purged(versions=self.versions, left=tuple(self._left), until=(self._until or None))


def days(seconds: float) -> str:
    """Return a time in words: ``7 days``, ``36 hours``."""
    hours = round(seconds / 3600)
    return f"{hours // 24} days" if hours % 24 == 0 and hours else f"{hours} hours"
