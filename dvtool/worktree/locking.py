"""One changing command at a time in a worktree.

The lock is the kernel's (``flock``), so a process that dies, however it dies, lets go of it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING, Final, Self

from dvtool.errors import ConflictError
from dvtool.storage.disk import attempt
from dvtool.worktree import leftovers
from dvtool.worktree.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_SECONDS: Final = 0.05


class WorktreeLock:
    """Holds a worktree's lock while in its ``with`` block."""

    def __init__(self, path: str, *, wait: float, tell: Callable[[str], None]) -> None:
        """Prepare to lock.

        Args:
            path: the lock file.
            wait: seconds to wait for another command; 0 gives up at once.
            tell: hears, once, that another command is being waited for.
        """
        self._path = path
        self.wait = wait
        self._tell = tell
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock, and remove what a killed command left unfinished.

        Raises:
            ConflictError: when another process still holds it after the time to wait.
        """
        self._descriptor = attempt(
            self._path, lambda: os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        )
        deadline = time.monotonic() + self.wait
        told = False
        while not self._try():
            holder = self._holder()
            if time.monotonic() >= deadline:
                os.close(self._descriptor)
                self._descriptor = -1
                raise ConflictError(
                    "another dv command is changing this worktree",
                    where=self._path,
                    why=f"process {holder} holds the lock" if holder else "it holds the lock",
                    next="wait for it to end, or give it more time with --wait SECONDS",
                )
            if not told:
                self._tell(f"waiting for another dv command{f' (process {holder})' if holder else ''} …")
                told = True
            time.sleep(POLL_SECONDS)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)
        leftovers.sweep(Layout(os.path.dirname(os.path.dirname(self._path))))
        return self

    def __exit__(self, *_failure: object) -> None:
        """Let go of the lock; the file stays, an empty one locks as well as a new one."""
        os.close(self._descriptor)
        self._descriptor = -1

    def _try(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                return False
            if error.errno in {errno.ENOLCK, errno.EOPNOTSUPP}:
                return True  # a file system without locks: the log itself still keeps writers apart
            raise
        return True

    def _holder(self) -> str:
        text = os.pread(self._descriptor, 20, 0).decode("ascii", "replace")
        return text if text.isdigit() else ""
