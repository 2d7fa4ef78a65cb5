"""Runs a command, hands on what it prints, and learns how it ends.

The command must not notice: it has the terminal that it would have had, is in the same group of processes, gets the
signals that were meant for it, and what it left behind may go on to print after it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.capture.streams import Keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
SIGNALLED: Final = 128
"""Exit codes by which shells tell of a command that is not there, cannot be run, or was ended by a signal (added)."""
PIECE: Final = 65536
LINGER: Final = 0.2
"""Seconds without a word, after the command has ended, until what it left behind is served by a process of its own."""
_FORWARDED: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FROM_KEYBOARD: Final = (signal.SIGINT, signal.SIGQUIT)


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended: exit code or signal, why it could not be started, processor time and most memory (bytes)."""

    code: int | None
    signal: int | None
    why: str
    cpu: float
    memory: int

    @property
    def exit(self) -> int:
        """The exit code by which a shell would tell of it."""
        if self.code is not None:
            return self.code
        return SIGNALLED + (self.signal or 0)


class Stream(msgspec.Struct, kw_only=True):
    """One of the command's streams: where it is read, where it goes on to (None: nowhere any more), who keeps it."""

    source: int
    target: int | None
    keeper: Keeper


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    keepers: Mapping[int, Keeper],
    *,
    every: float,
    tick: Callable[[int], None],
) -> Ended:
    """Run a command to its end.

    Args:
        command: its words.
        environment: its environment.
        keepers: who keeps its streams, by descriptor (1 and 2); a stream that nobody keeps is left alone.
        every: seconds between calls of ``tick``.
        tick: is called with the number of the command's process while it goes.
    """
    streams: list[Stream] = []
    ends: dict[int, int] = {}
    for descriptor, keeper in keepers.items():
        source, ends[descriptor] = _pseudo_terminal(descriptor) if os.isatty(descriptor) else os.pipe()
        streams.append(Stream(source=source, target=descriptor, keeper=keeper))
    try:
        child = subprocess.Popen(  # noqa: S603 - running what it was told to is what it is for
            list(command), env=dict(environment), stdout=ends.get(1), stderr=ends.get(2)
        )
    except OSError as error:
        return _not_started(command[0], error)
    except ValueError as error:
        return Ended(code=NOT_EXECUTABLE, signal=None, why=str(error), cpu=0.0, memory=0)
    finally:
        for end in ends.values():
            os.close(end)
    with _signals_for(child.pid, streams):
        ended = _follow(child, streams, every, tick)
    for keeper in keepers.values():
        keeper.finish()
    return ended


def _not_started(name: str, error: OSError) -> Ended:
    missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    why = f"{name!r} was not found" if missing else f"{name!r} cannot be run: {error.strerror}"
    return Ended(code=NOT_FOUND if missing else NOT_EXECUTABLE, signal=None, why=why, cpu=0.0, memory=0)


def _follow(child: subprocess.Popen[bytes], streams: list[Stream], every: float, tick: Callable[[int], None]) -> Ended:
    """Hand on what is printed until the command has ended and nothing more comes."""
    ended: Ended | None = None
    due = time.monotonic()
    end = _watch(child.pid)
    try:
        while ended is None or streams:
            if ended is None and time.monotonic() >= due:
                tick(child.pid)
                due = time.monotonic() + every
            wait = LINGER if ended is not None else max(0.0, min(due - time.monotonic(), every))
            waiting = [stream.source for stream in streams] + ([end] if ended is None and end >= 0 else [])
            ready, _, _ = select.select(waiting, (), (), wait if end >= 0 else min(wait, 0.05))
            for stream in list(streams):
                if stream.source in ready and not _hand_on(stream):
                    os.close(stream.source)
                    streams.remove(stream)
            if ended is None and (end in ready or end < 0):
                ended = _reap(child)
            elif ended is not None and not ready:
                _leave(streams)
                break
    finally:
        if end >= 0:
            os.close(end)
    return ended


def _watch(pid: int) -> int:
    """Return a descriptor that can be read when a process has ended, or -1 where the kernel has none."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def _reap(child: subprocess.Popen[bytes]) -> Ended | None:
    pid, status, usage = os.wait4(child.pid, os.WNOHANG)
    if not pid:
        return None
    code = os.waitstatus_to_exitcode(status)
    child.returncode = code  # else its destructor would wait for it again
    return Ended(
        code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        why="",
        cpu=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss * 1024,
    )


def _hand_on(stream: Stream) -> bool:
    """Hand on what can be read of a stream, and return whether there may be more."""
    try:
        data = os.read(stream.source, PIECE)
    except OSError as error:
        if error.errno == errno.EIO:  # a pseudo terminal whose other end is closed
            return False
        raise
    if not data:
        return False
    stream.keeper.feed(data)
    view = memoryview(data)
    try:
        while view and stream.target is not None:
            view = view[os.write(stream.target, view) :]
    except BlockingIOError:
        return _rest(stream, view)
    except OSError:
        # Whoever read it is gone.  Without us, the command would hear of that when it next prints; it does with us.
        return False
    return True


def _rest(stream: Stream, view: memoryview) -> bool:
    """Hand on the rest where the reader's pipe was set not to block."""
    target = stream.target
    if target is None:
        return True
    try:
        while view:
            select.select((), (target,), ())
            with contextlib.suppress(BlockingIOError):
                view = view[os.write(target, view) :]
    except OSError:
        return False
    return True


def _leave(streams: list[Stream]) -> None:
    """Leave the streams of processes that outlive the command to a process that goes on handing them on."""
    if not streams:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    closed, open_here = os.pipe()
    if os.fork():
        os.close(open_here)
        os.read(closed, 1)  # ends when the other process has closed everything, locks among it
        os.close(closed)
        for stream in streams:
            os.close(stream.source)
        streams.clear()
        return
    try:
        wanted = {stream.source for stream in streams} | {0, 1, 2}
        for name in os.listdir("/proc/self/fd"):
            if int(name) not in wanted:
                with contextlib.suppress(OSError):
                    os.close(int(name))
        for number in (*_FORWARDED, *_FROM_KEYBOARD):
            signal.signal(number, signal.SIG_DFL)
        while streams:
            ready, _, _ = select.select([stream.source for stream in streams], (), ())
            for stream in list(streams):
                stream.keeper = _NOBODY
                if stream.source in ready and not _hand_on(stream):
                    os.close(stream.source)
                    streams.remove(stream)
    finally:
        os._exit(0)


class _Nobody:
    """Keeps nothing."""

    def feed(self, data: bytes) -> None:
        """Forget it."""


_NOBODY: Keeper = _Nobody()  # type: ignore[assignment]


def _pseudo_terminal(descriptor: int) -> tuple[int, int]:
    """Return both ends of a terminal like the one behind a descriptor; what is printed passes it as it is."""
    ours, theirs = os.openpty()
    with contextlib.suppress(termios.error, OSError):
        settings = termios.tcgetattr(descriptor)
        settings[1] &= ~termios.OPOST
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
    _copy_size(descriptor, ours)
    return ours, theirs


def _copy_size(descriptor: int, terminal: int) -> None:
    with contextlib.suppress(OSError):
        size = fcntl.ioctl(descriptor, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)


@contextlib.contextmanager
def _signals_for(pid: int, streams: list[Stream]) -> Iterator[None]:
    """Hand signals on to the command while it goes.

    What is typed on a terminal reaches every process in the foreground by itself.
    """
    has_keyboard = any(os.isatty(descriptor) for descriptor in (0, 1, 2))

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def resize(_number: int, _frame: FrameType | None) -> None:
        for stream in streams:
            if stream.target is not None:
                _copy_size(stream.target, stream.source)

    def ignore(_number: int, _frame: FrameType | None) -> None:
        """Wait for the command, which got the same signal."""

    wanted: dict[signal.Signals, Callable[[int, FrameType | None], None]] = dict.fromkeys(_FORWARDED, forward)
    wanted |= dict.fromkeys(_FROM_KEYBOARD, ignore if has_keyboard else forward)
    wanted[signal.SIGWINCH] = resize
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
