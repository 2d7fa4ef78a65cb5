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
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from dvtool.capture.streams import Keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
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
AGAIN: Final = 2.0
"""Seconds in which a signal that may have been typed must come again, to be handed on where it may not have been."""


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
    handed: Sequence[int] = (),
) -> Ended:
    """Run a command to its end.

    Args:
        command: its words.
        environment: its environment.
        keepers: who keeps its streams, by descriptor (1 and 2); a stream that nobody keeps is left alone.
        every: seconds between calls of ``tick``.
        tick: is called with the number of the command's process while it goes.
        handed: descriptors that the command has as well, such as a lock that is to last as long as it does.
    """
    streams, ends = _between(keepers)
    with _Signals(streams) as signals:
        try:
            child = subprocess.Popen(  # noqa: S603 - running what it was told to is what it is for
                list(command), env=dict(environment), stdout=ends.get(1), stderr=ends.get(2), pass_fds=handed
            )
        except OSError as error:
            return _not_started(command[0], error)
        except ValueError as error:
            return Ended(code=NOT_EXECUTABLE, signal=None, why=str(error), cpu=0.0, memory=0)
        finally:
            for end in ends.values():
                os.close(end)
        signals.go_to(child.pid)
        ended = _follow(child, streams, every, tick)
    for keeper in keepers.values():
        keeper.finish()
    return ended


def _between(keepers: Mapping[int, Keeper]) -> tuple[list[Stream], dict[int, int]]:
    """Return the streams that come by here, and their other ends by descriptor; where there are none, all go past."""
    streams: list[Stream] = []
    ends: dict[int, int] = {}
    try:
        for descriptor, keeper in keepers.items():
            source, ends[descriptor] = _pseudo_terminal(descriptor) if os.isatty(descriptor) else os.pipe()
            streams.append(Stream(source=source, target=descriptor, keeper=keeper))
    except OSError:  # too many files are open
        for end in [*ends.values(), *(stream.source for stream in streams)]:
            os.close(end)
        return [], {}
    return streams, ends


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
                tick = _ticked(tick, child.pid)
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


def _ticked(tick: Callable[[int], None], pid: int) -> Callable[[int], None]:
    """Call ``tick`` and return it; one that fails is not called again, because the command is to be followed."""
    try:
        tick(pid)
    except Exception:  # noqa: BLE001 - whatever it is, the command comes first
        return _nothing
    return tick


def _nothing(_pid: int) -> None:
    """Look at nothing."""


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
    try:
        return _written(stream, data)
    finally:
        stream.keeper.feed(data)


def _written(stream: Stream, data: bytes) -> bool:
    """Hand data on, and return whether somebody still reads it."""
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


class _Signals:
    """Hands signals on to the command while it goes, those too that came before it had begun.

    What is typed on a terminal reaches every process in the foreground by itself.  With a terminal behind some of the
    streams alone, it may have been typed there or not; if it comes again, the command seems not to have got it.  What
    was ignored stays so, for the command too (``nohup``).
    """

    def __init__(self, streams: list[Stream]) -> None:
        self._streams = streams
        self._pid = 0
        self._early: list[int] = []
        self._before: dict[signal.Signals, Any] = {}
        self._is_sure = True
        self._waited: dict[int, float] = {}

    def __enter__(self) -> Self:
        terminals = [os.isatty(descriptor) for descriptor in (0, 1, 2)]
        has_keyboard, self._is_sure = any(terminals), all(terminals)
        wanted: dict[signal.Signals, Callable[[int, FrameType | None], None]] = dict.fromkeys(_FORWARDED, self._forward)
        wanted |= dict.fromkeys(_FROM_KEYBOARD, self._wait if has_keyboard else self._forward)
        wanted[signal.SIGWINCH] = self._resize
        if threading.current_thread() is threading.main_thread():  # nobody else may say what is done about signals
            for number, handler in wanted.items():
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, handler)
        return self

    def go_to(self, pid: int) -> None:
        """Hand on to this process, from now on and what came before."""
        self._pid = pid
        while self._early:
            self._forward(self._early.pop(0), None)

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if not self._pid:
            self._early.append(number)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)

    def _resize(self, _number: int, _frame: FrameType | None) -> None:
        for stream in self._streams:
            if stream.target is not None:
                _copy_size(stream.target, stream.source)

    def _wait(self, number: int, frame: FrameType | None) -> None:
        """Wait for the command, which got the same signal, if it was typed."""
        now = time.monotonic()
        if not self._is_sure and now - self._waited.get(number, -AGAIN) < AGAIN:
            self._forward(number, frame)
        self._waited[number] = now
