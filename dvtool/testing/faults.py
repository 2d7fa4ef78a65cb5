"""Disks that refuse, in every way and at every call."""

from __future__ import annotations

import enum
import errno
import os
import signal
from typing import TYPE_CHECKING

from dvtool.storage.disk import Disk, as_ours

if TYPE_CHECKING:
    from collections.abc import Callable


class Fault(enum.Enum):
    """How a disk refuses."""

    FULL = errno.ENOSPC
    """No space: from the failing call on nothing new fits; what was begun stays half written; removing works."""
    BROKEN = errno.EIO
    """One call fails with an I/O error, the next works."""
    INTERRUPTED = errno.EINTR
    """One call is interrupted before it did anything, the next works."""
    READ_ONLY = errno.EROFS
    """The file system became read-only: from the failing call on every change fails."""


class FaultyDisk(Disk):
    """Works until a given call."""

    def __init__(self, fault: Fault, at: int) -> None:
        """Fail at call number ``at``, counted from 0; a number beyond the last call never fails."""
        self.fault = fault
        self.at = at
        self.calls = 0
        self.failed = 0

    def open_new(self, path: str) -> int:
        """Open a new file, or fail."""
        self._pass(path)
        return super().open_new(path)

    def append(self, descriptor: int, path: str, data: bytes | memoryview) -> None:
        """Write everything, or half of it and fail."""
        if self._is_due():
            os.write(descriptor, bytes(data[: len(data) // 2]))
            self._fail(path)
        super().append(descriptor, path, data)

    def append_behind(self, descriptor: int, path: str, data: memoryview) -> Callable[[], None]:
        """Return a wait that writes, or fails when its turn is the one."""
        return lambda: self.append(descriptor, path, data)

    def sync(self, path: str) -> None:
        """Do nothing, or fail: nothing here is ever lost by a loss of power."""
        self._pass(path, frees=self.fault is Fault.FULL)

    def sync_behind(self, descriptor: int, path: str) -> Callable[[], None]:
        """Return a wait that fails when its turn is the one."""
        os.close(descriptor)
        return lambda: self.sync(path)

    def sync_directory(self, path: str) -> None:
        """Do nothing, or fail."""
        self._pass(path, frees=self.fault is Fault.FULL)

    def link(self, source: str, target: str) -> None:
        """Link, or fail."""
        self._pass(target)
        super().link(source, target)

    def rename(self, source: str, target: str) -> None:
        """Rename, or fail."""
        self._pass(target)
        super().rename(source, target)

    def permit(self, path: str, mode: int) -> None:
        """Set the mode, or fail; a full disk has room for one."""
        self._pass(path, frees=True)
        super().permit(path, mode)

    def touch(self, path: str) -> None:
        """Touch, or fail; a full disk has room for a time."""
        self._pass(path, frees=True)
        super().touch(path)

    def unlink(self, path: str) -> None:
        """Unlink, or fail; a full disk can still remove."""
        self._pass(path, frees=True)
        super().unlink(path)

    def make_directory(self, path: str) -> None:
        """Make a directory, or fail."""
        self._pass(path)
        super().make_directory(path)

    def _pass(self, path: str, *, frees: bool = False) -> None:
        if self._is_due() and not (frees and self.fault is Fault.FULL):
            self._fail(path)

    def _is_due(self) -> bool:
        number = self.calls
        self.calls += 1
        return number == self.at if self.fault in {Fault.BROKEN, Fault.INTERRUPTED} else number >= self.at

    def _fail(self, path: str) -> None:
        self.failed += 1
        raise as_ours(OSError(self.fault.value, os.strerror(self.fault.value)), path)


class DyingDisk(FaultyDisk):
    """Works until a given call, at which the process ends as it does under ``kill -9``."""

    def __init__(self, at: int) -> None:
        """Die at call number ``at``, counted from 0."""
        super().__init__(Fault.READ_ONLY, at)

    def _fail(self, path: str) -> None:
        _ = path
        os.kill(os.getpid(), signal.SIGKILL)
