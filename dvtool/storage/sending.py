"""A backend that sends several files at once, over any other.

What is sent or adopted goes out by threads while the caller makes the next file; ``flush`` waits for all of it.
Whoever asks for a name that is under way waits for that one, so nobody sees less than they have written.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from dvtool.storage.backend import close, keeping_of, sweep, versions_of
from dvtool.storage.disk import attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dvtool.effects import View
    from dvtool.storage.backend import Abilities, Backend, Keeping, Listed, Purged, Version

THREADS: Final = 4
"""Files under way at once: enough to hide the latency of a request of 64 MiB."""
ROOM: Final = 288 * 1024 * 1024
"""Bytes under way at once: four full packs.  Where a body is read while it is sent, they take little memory."""


class SendingBackend:
    """Passes files on by threads, and everything else at once."""

    def __init__(self, inner: Backend, *, threads: int = THREADS, room: int = ROOM) -> None:
        """Stand before ``inner``.

        Args:
            inner: takes the files; several threads call it.
            threads: how many files are under way at once.
            room: how many bytes are; a larger file goes alone.
        """
        self.inner = inner
        self._threads = threads
        self._room = room
        self._begin()

    @property
    def abilities(self) -> Abilities:
        """What the place can do."""
        return self.inner.abilities

    def prepare(self, directories: Iterable[str]) -> None:
        """Make what files need before they can be written."""
        self.inner.prepare(directories)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read, after what is under way to this name."""
        self._settle(name)
        return self.inner.read(name, offset, length)

    def view(self, name: str) -> View:
        """View, after what is under way to this name."""
        self._settle(name)
        return self.inner.view(name)

    def size(self, name: str) -> int:
        """Return the length of ``name`` in bytes, after what is under way to it."""
        self._settle(name)
        return self.inner.size(name)

    def modified(self, name: str) -> int:
        """Return when ``name`` was written, in microseconds since 1970, after what is under way to it."""
        self._settle(name)
        return self.inner.modified(name)

    def exists(self, name: str) -> bool:
        """Return whether there is something at ``name``, after what is under way to it."""
        self._settle(name)
        return self.inner.exists(name)

    def names(self, directory: str) -> Iterator[str]:
        """Yield names, after all that is under way."""
        self._settle(None)
        yield from self.inner.names(directory)

    def listed(self, directory: str, *, after: str = "", most: int = 0) -> Iterator[Listed]:
        """Yield files in order of name, after all that is under way."""
        self._settle(None)
        yield from self.inner.listed(directory, after=after, most=most)

    def create(self, name: str, data: bytes) -> None:
        """Create, after what is under way to this name."""
        self._settle(name)
        self.inner.create(name, data)

    def put(self, name: str, data: bytes) -> None:
        """Put, after what is under way to this name."""
        self._settle(name)
        self.inner.put(name, data)

    def send(self, view: View, name: str) -> None:
        """Begin to send what ``view`` holds, which must not change before ``flush``; waits for a free thread and room.

        Raises:
            StorageError: when something that was sent before has failed; ``flush`` says it again.
        """
        self._start(name, len(view), lambda: self.inner.send(view, name))

    def replace(self, name: str, data: bytes) -> None:
        """Replace, after what is under way to this name."""
        self._settle(name)
        self.inner.replace(name, data)

    def adopt(self, path: str, name: str) -> None:
        """Begin to send the file at ``path``, which is removed when it has been taken; raises as :meth:`send`."""
        size = attempt(path, lambda: os.stat(path)).st_size
        self._start(name, size, lambda: self.inner.adopt(path, name))

    def settle(self, name: str) -> None:
        """Have a file that is there durable after :meth:`flush`."""
        self.inner.settle(name)

    def workspace(self) -> str:
        """Return the local directory for unfinished files."""
        return self.inner.workspace()

    def flush(self) -> None:
        """Wait for all that is under way.

        Raises:
            StorageError: the first failure since the last flush; what else was sent may be there, and nothing names it.
        """
        self._settle(None)
        with self._changed:
            failures = list(self._failures)
            self._failures.clear()
        if failures:
            raise failures[0]
        self.inner.flush()

    def delete(self, name: str) -> None:
        """Remove ``name``, after what is under way to it."""
        self._settle(name)
        self.inner.delete(name)

    def purge(self, name: str, *, older: bool = False) -> Purged:
        """Purge ``name``, or what was there before, after what is under way to it."""
        self._settle(name)
        return self.inner.purge(name, older=older)

    def keeping(self) -> Keeping:
        """Return what the place keeps, as far as it tells."""
        return keeping_of(self.inner)

    def versions(self, directory: str) -> Iterator[Version]:
        """Yield every version that the place keeps of the files right below ``directory``, as it is asked now."""
        self._settle(None)
        return versions_of(self.inner, directory)

    def sweep(self, before: int) -> int:
        """Give up uploads that never ended, after all that is under way."""
        self._settle(None)
        return sweep(self.inner, before)

    def close(self) -> None:
        """Wait for what is under way, whatever becomes of it, and close the connections."""
        self._settle(None)
        close(self.inner)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._under_way: dict[str, int] = {}
        self._failures: list[BaseException] = []

    def _start(self, name: str, size: int, work: Callable[[], Any]) -> None:
        self._settle(name)
        with self._changed:
            self._changed.wait_for(lambda: self._has_room(size) or self._failures)
            if self._failures:
                raise self._failures[0]
            self._under_way[name] = size
        thread = threading.Thread(target=self._run, args=(name, work), name=f"dv-send-{name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be had
            self._run(name, work)

    def _run(self, name: str, work: Callable[[], Any]) -> None:
        failure: list[BaseException] = []
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the file is not there
            failure.append(error)
        with self._changed:
            self._failures += failure
            del self._under_way[name]
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        if not self._under_way:
            return True
        return len(self._under_way) < self._threads and sum(self._under_way.values()) + size <= self._room

    def _settle(self, name: str | None) -> None:
        """Wait until nothing is under way to ``name``, or anywhere; a failure is left to ``flush``."""
        if self._process != os.getpid():  # after a fork the threads, and what they send, are the other process's
            self._begin()
        with self._changed:
            self._changed.wait_for(lambda: name not in self._under_way if name is not None else not self._under_way)
