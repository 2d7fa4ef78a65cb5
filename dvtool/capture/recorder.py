"""Writes the journal of a run: a file for each process, to which records are appended.

Logging must neither slow a program down nor break it.  So a record is one call of the kernel on a file that no other
process writes to, nothing is synced, and a disk that refuses costs the values and not the program.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

from dvtool.capture import plain
from dvtool.formats import journal

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK: Final = "lock"
"""Held by every process of a run, shared, until it ends, however it ends; who gets it alone may seal the run."""
BEGIN: Final = "begin"
END: Final = "end"
LOG: Final = "log-"
AUDIT: Final = "audit-"
SAMPLES: Final = "samples-"
MORE: Final = "."
"""In the name of a file that goes on where another one of the same process ended: before its number, after the name."""
STREAMS: Final = ("stdout", "stderr")
RUN_VARIABLE: Final = "DV_RUN"
"""In the environment of a run's processes: the directory of its journal."""

_MODE: Final = 0o600
_alive: weakref.WeakSet[Recorder] = weakref.WeakSet()


def now() -> int:
    """Return microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def hold(directory: str, *, alone: bool = False) -> int | None:
    """Take part in a run until the descriptor is closed, which the end of the process does.

    Args:
        directory: the run's journal.
        alone: whether nobody else may; otherwise those who hold it alone are waited for.

    Returns:
        the descriptor, or None when others take part and nobody else was to.

    Raises:
        OSError: when there is no such journal.
    """
    descriptor = os.open(f"{directory}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def identity(descriptor: int) -> tuple[int, int] | None:
    """Return which file is behind a descriptor, None when none is.

    Programs close descriptors by number, ours among them, and then open files of their own, which get these numbers;
    whoever keeps a descriptor while a program goes on looks at it before each use.
    """
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def let_go(descriptor: int, known: tuple[int, int] | None = None) -> None:
    """Take part no more, and nobody else by this descriptor, which processes that were forked share.

    Args:
        descriptor: what :func:`hold` returned; nothing is done with a negative one.
        known: its :func:`identity`; if it is that of another file by now, it is left alone.
    """
    if descriptor >= 0 and (known is None or identity(descriptor) == known):
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


class Recorder:
    """Appends what one process says of a run to the journal; after a fork, the child has a file of its own."""

    def __init__(self, directory: str, *, rank: int | None = None, shard: str = "", silent: bool = False) -> None:
        """Join a run.

        Args:
            directory: its journal.
            rank: which of several workers this is.
            shard: which part of the data it works on.
            silent: whether it only watches, and is none of those that work.

        Raises:
            OSError: when its journal cannot be written.
        """
        self.directory = directory
        self.rank = plain.whole(rank)
        self.shard = plain.text(shard)
        self._silent = silent
        self.lost = 0
        """How many records could not be written."""
        self._guard = threading.Lock()
        self._file = -1
        self._file_is: tuple[int, int] | None = None
        self._held = -1
        self._held_is: tuple[int, int] | None = None
        self._is_in = True
        self._name = ""
        self._files = 0
        self._size = 0
        self._told = False
        self._take_part()
        try:
            self._open()
        except OSError:
            self._release()
            raise
        _alive.add(self)

    def _take_part(self) -> None:
        held = hold(self.directory)
        self._held = -1 if held is None else held
        self._held_is = identity(self._held)

    def _open(self) -> None:
        """Open the process's file or, where its descriptor was lost, one that goes on where that ended."""
        if not self._files:
            self._name = f"{self.directory}/{LOG}{os.getpid()}-{os.urandom(4).hex()}"
        name = self._name + (f"{MORE}{self._files:06}" if self._files else "")
        self._file = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        self._file_is = identity(self._file)
        self._size = 0
        try:
            self._write(journal.header())
            if not self._silent and not self._files:
                host = plain.text(socket.gethostname())
                self._write(journal.encode(journal.Hello(now(), self.rank, self.shard, os.getpid(), host)))
        except OSError:  # what came after half of this could not be read
            with contextlib.suppress(OSError):
                os.unlink(name)
            os.close(self._file)
            self._file = -1
            raise
        self._files += 1

    def append(self, record: journal.Record) -> bool:
        """Append a record and return whether it could be written; a disk that refuses is said once, on stderr.

        Raises:
            FormatError: when it is no record that a reader would take.
        """
        data = journal.encode(record)
        with self._guard:
            if not self._is_in:
                return False
            try:
                # A number that is another file's by now is forgotten, and not closed.
                if identity(self._held) != self._held_is or self._held < 0:
                    self._held = -1
                    self._take_part()
                if self._file < 0 or identity(self._file) != self._file_is:
                    self._file = -1
                    self._open()
                self._write(data)
            except OSError as error:
                self._refused(error)
                return False
        return True

    def _write(self, data: bytes) -> None:
        written = os.write(self._file, data)
        if written != len(data):
            # What follows a piece of a record could not be read.
            os.ftruncate(self._file, self._size)
            raise OSError(28, "no space left on device")
        self._size += written

    def _refused(self, error: OSError) -> None:
        self.lost += 1
        if not self._told:
            self._told = True
            why = error.strerror or str(error)
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"dv: values of this run are being lost: {why}; the program goes on\n")

    def close(self, why: str = "") -> None:
        """Say how this process leaves the run, and leave it."""
        if self._file >= 0:
            self.append(journal.Bye(now(), self.lost, plain.text(why)))
        with self._guard:
            self._release()

    def _release(self) -> None:
        if self._silent:
            let_go(self._held, self._held_is)
        else:
            _close(self._held, self._held_is)
        _close(self._file, self._file_is)
        self._file = self._held = -1
        self._is_in = False

    def after_fork(self) -> None:
        """Let the child begin a file of its own when it has something to say; the parent's goes on to be the parent's.

        The child takes part from the start, because the lock is one with the parent's, and lasts until both close it.
        """
        self._guard = threading.Lock()
        _close(self._file, self._file_is)
        self._file = -1
        self._files = 0
        self.lost = 0


def _close(descriptor: int, known: tuple[int, int] | None) -> None:
    """Close a descriptor unless it is that of another file by now."""
    if descriptor >= 0 and identity(descriptor) == known:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _after_fork() -> None:
    for recorder in list(_alive):
        recorder.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def read(path: str) -> bytes:
    """Return a file of a journal; nothing where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def logs(directory: str) -> Iterator[list[str]]:
    """Yield the files of each process of a run, which go on one after the other, in order of their names."""
    yield from _by_process(directory, LOG)


def audits(directory: str) -> Iterator[list[str]]:
    """Yield the files in which the hook of each process noted what was opened, as :func:`logs` does."""
    yield from _by_process(directory, AUDIT)


def _by_process(directory: str, prefix: str) -> Iterator[list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(directory)):
        if name.startswith(prefix):
            found.setdefault(name.partition(MORE)[0], []).append(f"{directory}/{name}")
    yield from found.values()
