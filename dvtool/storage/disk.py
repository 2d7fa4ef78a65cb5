"""The few system calls by which a store changes a disk, in one place, so that tests can record or fail each one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import re
import stat
import threading
import time
from typing import TYPE_CHECKING, Final

from dvtool.errors import MEND, ExistsError, NotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


ABANDONED_AFTER: Final = 86400
"""Seconds after which an unfinished file of a process that cannot be looked up is taken for abandoned."""
ALIGNMENT: Final = 4096
"""What memory, length and place of a write past the page cache must be multiples of; a block of every usual disk."""
CLOCK_DOUBT: Final = 2.0
"""Seconds by which the start of a process and the time of a file may be wrong against each other."""

_DIRECT: Final = getattr(os, "O_DIRECT", 0)
_TEMPORARY: Final = re.compile("([0-9]+)-([0-9a-f]+)-[0-9a-f]{16}")


def attempt(path: str, action: Callable[[], T]) -> T:
    """Return what ``action`` returns, with the errors of the operating system as ours.

    Raises:
        NotFoundError: when the file is not there.
        ExistsError: when it is there and must not be.
        StorageError: for everything else (full disk, permissions, I/O errors, read-only file systems).
    """
    try:
        return action()
    except FileNotFoundError:
        raise NotFoundError("a file of the store is missing", where=path, next=MEND) from None
    except FileExistsError:
        raise ExistsError("a file of the store exists already", where=path) from None
    except OSError as error:
        raise as_ours(error, path) from None


def as_ours(error: OSError, path: str) -> StorageError:
    """Return the error that says what the operating system refused, and what to do."""
    advice = {
        errno.ENOSPC: "free some space, then run the command again; nothing was lost",
        errno.EDQUOT: "free some space or raise the quota, then run the command again; nothing was lost",
        errno.EROFS: "make the file system writable, or work on a copy",
        errno.EACCES: "check the permissions of the path",
        errno.EPERM: "check the permissions of the path",
        errno.ENOTDIR: "something else lies where a directory belongs: move it away, then run the command again",
        errno.EIO: "the disk reports an error: check its health and its log before anything else",
    }.get(error.errno or 0, "try again; if it stays, check the path by hand")
    return StorageError("the disk refused", where=path, why=error.strerror or str(error), next=advice)


def read_regular(path: str, limit: int = -1) -> bytes:
    """Return what a file holds, or the first ``limit`` bytes of it; a pipe or device in its place keeps nobody waiting.

    Raises:
        FileNotFoundError: when nothing is there.
        OSError: when it cannot be read, or is no file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, f"it is {word_for(mode)}", path)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def read_note(path: str, limit: int) -> bytes | None:
    """Return the first ``limit`` bytes of a file of dv's own, or None when it is not there.

    Raises:
        StorageError: when it cannot be read, or something else stands in its place.
    """
    try:
        return read_regular(path, limit)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise as_ours(error, path) from None


def word_for(mode: int) -> str:
    """Return what a file of this mode is, in words."""
    for test, word in (
        (stat.S_ISREG, "a file"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISCHR, "a device"),
    ):
        if test(mode):
            return word
    return "neither a file, a directory nor a symbolic link"


def temporary_name() -> str:
    """Return a name for an unfinished file: process, where processes are numbered so, and 64 random bits."""
    return f"{os.getpid()}-{_namespace()}-{os.urandom(8).hex()}"


def is_abandoned(path: str, name: str) -> bool:
    """Return whether the process that made the unfinished file ``path`` under ``name`` is certainly no more.

    A process of this boot and of this process-number space is looked up.  One of another container or host cannot be,
    and is given a day; so is one whose number runs, if that process began only after the file was last changed.
    """
    match = _TEMPORARY.fullmatch(name)
    if match is None:
        return False
    process, namespace = match.groups()
    began = _began(process) if namespace == _namespace() else time.time()
    if began is None:
        return True
    try:
        changed = os.lstat(path).st_mtime
    except OSError:
        return False
    return time.time() - changed > ABANDONED_AFTER and began > changed + CLOCK_DOUBT


def unfinished(directory: str, prefix: str = "") -> tuple[list[str], bool]:
    """Return (abandoned, left) of one directory: paths of abandoned files and directories, and whether others stay.

    Args:
        directory: where to look; one that cannot be read holds none.
        prefix: what their names begin with, before a temporary name.
    """
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return [], False
    paths = [
        (f"{directory}/{name}", name[len(prefix) :])
        for name in names
        if name.startswith(prefix) and _TEMPORARY.fullmatch(name, len(prefix))
    ]
    abandoned = [path for path, name in paths if is_abandoned(path, name)]
    return abandoned, len(abandoned) < len(paths)


def sweep_directory(directory: str, prefix: str = "") -> bool:
    """Remove abandoned files, and directories, from one directory: those named ``prefix`` and a temporary name.

    Returns:
        Whether no unfinished file is left; False when one belongs to a process that may still be there.
    """
    abandoned, left = unfinished(directory, prefix)
    for path in abandoned:
        if os.path.isdir(path) and not os.path.islink(path):
            import shutil  # a status, which sweeps nothing, is spared it

            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                os.unlink(path)
    return not left


def _began(process: str) -> float | None:
    """Return when a process began, in seconds since 1970; None when there is none of this number."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])  # field 22, proc_pid_stat(5)
    except (OSError, ValueError, IndexError):
        return None if not os.path.isdir(f"/proc/{process}") else 0.0
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


@functools.cache
def _namespace() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read()[:8]
        return boot + format(os.stat("/proc/self/ns/pid").st_ino, "x")
    except (OSError, ValueError):
        return "0"


def _waiting(work: Callable[[], None], path: str, failures: list[BaseException]) -> Callable[[], None]:
    """Start ``work`` in a thread, and return what waits for it and raises the first of its ``failures`` as ours.

    Where no thread can be had, the work is done at once.
    """
    thread = threading.Thread(target=work, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        work()

    def wait() -> None:
        if thread.ident is not None:
            thread.join()
        if failures and isinstance(failures[0], OSError):
            raise as_ours(failures[0], path)
        if failures:
            raise failures[0]

    return wait


def _bypass_cache(descriptor: int, *, wanted: bool) -> bool:
    """Switch writing past the page cache on or off, and return whether anything changed."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    changed = flags | _DIRECT if wanted else flags & ~_DIRECT
    if changed == flags:
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, changed)
    except OSError:
        if not wanted:
            raise
        return False  # the file system has no such thing
    return True


class Disk:
    """Changes files; each method is one step that either happens or does not."""

    def write(self, path: str, data: bytes | memoryview, *, mode: int = 0o600) -> None:
        """Make a new file with these bytes; not yet durable.  Only its owner may read it unless ``mode`` says more."""
        descriptor = self.open_new(path)
        try:
            os.fchmod(descriptor, mode)  # before the first byte is in it
            self.append(descriptor, path, data)
        finally:
            os.close(descriptor)

    def open_new(self, path: str) -> int:
        """Return a descriptor of a new, empty file that is written piece by piece; only its owner may read it."""
        return attempt(path, lambda: os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def append(self, descriptor: int, path: str, data: bytes | memoryview) -> None:
        """Write all of ``data`` at the descriptor's position; ``path`` is for errors."""
        view = memoryview(data)
        while view:
            written = attempt(path, functools.partial(os.write, descriptor, view))
            view = view[written:]

    def append_behind(self, descriptor: int, path: str, data: memoryview) -> Callable[[], None]:
        """Begin to write a large piece at the descriptor's position while the caller works on, past the page cache.

        What goes through the page cache costs more in fresh memory than in sealing, and pushes out the very files
        that the user works with.  File systems that cannot do it are written to in the usual way.

        Args:
            descriptor: at a multiple of :data:`ALIGNMENT`; nothing else writes to it before the wait.
            path: for errors.
            data: a multiple of :data:`ALIGNMENT` of page-aligned memory, left alone until the wait.

        Returns:
            A function that waits, and raises StorageError if the disk refused.  It must be called.
        """
        failures: list[BaseException] = []

        def work() -> None:
            view = data
            try:
                _bypass_cache(descriptor, wanted=True)
                while view:
                    try:
                        view = view[os.write(descriptor, view) :]
                    except OSError as error:
                        if error.errno != errno.EINVAL or not _bypass_cache(descriptor, wanted=False):
                            raise
                    if len(view) % ALIGNMENT:
                        _bypass_cache(descriptor, wanted=False)
                _bypass_cache(descriptor, wanted=False)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the piece is not written
                failures.append(error)

        return _waiting(work, path, failures)

    def sync(self, path: str) -> None:
        """Make a file's bytes durable."""
        descriptor = attempt(path, lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        try:
            attempt(path, lambda: os.fsync(descriptor))
        finally:
            os.close(descriptor)

    def sync_behind(self, descriptor: int, path: str) -> Callable[[], None]:
        """Begin to make a file durable while the caller works on, and take over its descriptor.

        Returns:
            A function that waits, and raises StorageError if the disk refused.  It must be called: the kernel
            reports a failed write-back once, to whoever asks first.
        """
        failures: list[BaseException] = []

        def work() -> None:
            try:
                os.fsync(descriptor)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the file is not durable
                failures.append(error)
            finally:
                os.close(descriptor)

        return _waiting(work, path, failures)

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable."""
        self.sync(path)

    def link(self, source: str, target: str) -> None:
        """Give a file a second name, unless that name is taken.

        Raises:
            ExistsError: when it is.
        """
        attempt(target, lambda: os.link(source, target))

    def rename(self, source: str, target: str) -> None:
        """Move a file over whatever is at ``target``."""
        attempt(target, lambda: os.replace(source, target))

    def permit(self, path: str, mode: int) -> None:
        """Set who may read and write a file or directory."""
        attempt(path, lambda: os.chmod(path, mode))

    def touch(self, path: str) -> None:
        """Let a file count as changed now."""
        attempt(path, lambda: os.utime(path))

    def unlink(self, path: str) -> None:
        """Remove a name; nothing happens when it is not there."""
        try:
            attempt(path, lambda: os.unlink(path))
        except NotFoundError:
            return

    def make_directory(self, path: str) -> None:
        """Make a directory and those above it; nothing happens when it is there."""
        attempt(path, lambda: os.makedirs(path, exist_ok=True))
