"""Work shared with child processes, one for each core that this process may use.

Children are forked, so they start in a millisecond with everything loaded, and answer over a pipe in MessagePack.
They never return into the caller's code: whatever happens there, they end.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import signal
import sys
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from dvtool.effects import Silence
from dvtool.errors import DvError, StorageError, Voices
from dvtool.formats import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from dvtool.effects import Progress

T = TypeVar("T")
R = TypeVar("R")

LIMIT: Final = 8
"""More workers than this wait for the disk rather than help."""


class _Bug(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    trace: str


class Counter:
    """How much a worker has done so far: files and bytes, in memory shared with the parent."""

    __slots__ = ("_base", "_cells", "_parent", "files", "size")

    def __init__(self, cells: memoryview, base: int, parent: int = 0) -> None:
        """Use two cells of ``cells`` from ``base`` on; of a child of ``parent``, which ends when that does."""
        self._cells = cells
        self._base = base
        self._parent = parent
        self.files = 0
        self.size = 0
        """Bytes read; the worker adds to it and tells now and then."""

    def tell(self, files: int) -> None:
        """Count ``files`` more, and let the parent see how far it has come.

        A child whose parent was killed ends here: it still holds the worktree's lock, and could store and even append
        to the log for hours after the command is no more.
        """
        if self._parent and os.getppid() != self._parent:
            os._exit(1)
        self.files += files
        self._cells[self._base] = self.files
        self._cells[self._base + 1] = self.size

    def add(self, size: int) -> None:
        """Count one file of ``size`` bytes, and tell."""
        self.size += size
        self.tell(1)


class Turns:
    """Numbers from 0 up to a count, each given to exactly one of the processes that ask.

    So nobody waits for the slower half of a division made beforehand.  The next number stands in shared memory, under
    a lock that the kernel takes from a process that dies.  (The offset of a shared file would do without one, but
    moving it is not one step: two processes have been seen to get the same.)
    """

    def __init__(self, count: int) -> None:
        """Give out ``count`` numbers, here and in every process forked from now on."""
        self._count = count
        self._file = os.memfd_create("turns")
        self._next = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")

    def __iter__(self) -> Iterator[int]:
        """Yield numbers that nobody else gets, in rising order."""
        while (number := self._take()) < self._count:
            yield number

    def close(self) -> None:
        """Let go of the lock's file in this process."""
        os.close(self._file)

    def _take(self) -> int:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            number = self._next[0]
            self._next[0] = number + 1
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
        return number


def leave_imports() -> None:
    """Let this child process change its working directory: what is imported late is not looked for there.

    A relative entry of the search path would lead into the data, whose files are nobody's code.
    """
    sys.path[:] = [entry for entry in sys.path if os.path.isabs(entry)]


def count() -> int:
    """Return how many workers this machine can feed; ``DV_WORKERS`` overrides it."""
    wanted = os.environ.get("DV_WORKERS", "")
    if wanted.isdigit() and int(wanted):
        return min(int(wanted), 64)
    return max(1, min(LIMIT, len(os.sched_getaffinity(0))))


def split(items: Sequence[T], weights: Sequence[int], parts: int) -> list[list[T]]:
    """Return ``items`` in up to ``parts`` runs of about equal weight, in order; none is empty."""
    total = sum(weights)
    found: list[list[T]] = [[]]
    done = 0
    for item, weight in zip(items, weights, strict=True):
        if found[-1] and len(found) < parts and done + weight // 2 >= total * len(found) / parts:
            found.append([])
        found[-1].append(item)
        done += weight
    return [part for part in found if part]


def run(
    parts: Sequence[T],
    work: Callable[[T, Counter], R],
    kind: type[R],
    progress: Progress,
    *,
    clean: Callable[[int], None],
) -> list[R]:
    """Return ``work(part, counter)`` for each part, each in a process of its own; a single part stays in this one.

    Args:
        parts: what to do; at most a few.
        work: must not change anything that the parent should see.
        kind: the msgspec type of its result.
        progress: is told the sums of the counters; started and finished by the caller.
        clean: removes what a process (by its id) has left behind; called when one fails.

    Raises:
        DvError: the first that a worker raised, as it was.
        StorageError: when a worker was killed.
    """
    if len(parts) == 1:
        return [work(parts[0], _Told(progress))]
    with Beside(parts, work, kind, progress, clean=clean) as beside:
        return beside.results()


class Beside(Generic[T, R]):
    """Work of child processes, one for each part, that goes on while this one does something else.

    Leaving the context before the results were asked for ends them.
    """

    def __init__(
        self,
        parts: Sequence[T],
        work: Callable[[T, Counter], R],
        kind: type[R],
        progress: Progress,
        *,
        clean: Callable[[int], None] = lambda _process: None,
    ) -> None:
        """Prepare; the arguments are those of :func:`run`, but that there may be no parts."""
        self._parts = parts
        self._work = work
        self._kind = kind
        self._progress = progress
        self._clean = clean
        self._shared = memoryview(mmap.mmap(-1, max(mmap.PAGESIZE, 16 * len(parts)))).cast("Q")
        self._children: dict[int, tuple[int, bytearray]] = {}
        self._done = False

    def __enter__(self) -> Self:
        """Begin."""
        try:
            for i, part in enumerate(self._parts):
                descriptor, child = _fork(part, self._work, Counter(self._shared, 2 * i, os.getpid()))
                self._children[descriptor] = (child, bytearray())
        except BaseException:
            self._end()
            raise
        return self

    def results(self) -> list[R]:
        """Wait, and return what was found of each part, in their order; raises as :func:`run`."""
        failed = _gather(self._children, self._shared, self._progress, len(self._parts))
        if failed is not None:
            _result(bytes(self._children[failed][1]), self._kind, self._children[failed][0])
        found = [_result(bytes(data), self._kind, child) for child, data in self._children.values()]
        self._done = True
        return found

    def __exit__(self, *_failure: object) -> None:
        """Wait for the children, and end them first if their results are of no use."""
        self._end()

    def _end(self) -> None:
        for descriptor, (child, _data) in self._children.items():
            if not self._done:
                _kill(child)
            os.close(descriptor)
            _reap(child)
            if not self._done:
                self._clean(child)


def unseen() -> Counter:
    """Return a counter that nobody looks at."""
    return _Told(Silence())


def told(progress: Progress) -> Counter:
    """Return a counter of this process, whose progress is told."""
    return _Told(progress)


class _Told(Counter):
    """A counter in this process: reports straight away, now and then."""

    __slots__ = ("_progress",)

    def __init__(self, progress: Progress) -> None:
        super().__init__(memoryview(bytearray(16)).cast("Q"), 0)
        self._progress = progress

    def tell(self, files: int) -> None:
        super().tell(files)
        self._progress.advance(files=self.files, size=self.size)


def _fork(part: T, work: Callable[[T, Counter], R], counter: Counter) -> tuple[int, int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return reading, child
    try:
        os.close(reading)
        _send(writing, _answer(part, work, counter))
    finally:
        os._exit(0)


def _answer(part: T, work: Callable[[T, Counter], R], counter: Counter) -> bytes:
    try:
        return b"R" + codec.encode(work(part, counter))
    except DvError as error:
        return b"F" + codec.encode(error.voices())
    except BaseException:  # noqa: BLE001 - the parent raises it again, with this trace
        import traceback  # only where something went wrong

        return b"B" + codec.encode(_Bug(trace=traceback.format_exc()))


def _send(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.close(descriptor)


def _gather(
    children: dict[int, tuple[int, bytearray]], shared: memoryview, progress: Progress, parts: int
) -> int | None:
    """Take all answers in; stop at the first that is no result, and return whose it is."""
    waiting = set(children)
    poll = select.poll()  # select() takes no descriptor above 1,023, and this process may have many files open
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    while waiting:
        for descriptor, _event in poll.poll(100):
            piece = os.read(descriptor, 1 << 20)
            if piece:
                children[descriptor][1].extend(piece)
            else:
                waiting.discard(descriptor)
                poll.unregister(descriptor)
                if not children[descriptor][1].startswith(b"R"):
                    return descriptor
        progress.advance(files=sum(shared[0 : 2 * parts : 2]), size=sum(shared[1 : 2 * parts : 2]))
    return None


def _result(data: bytes, kind: type[R], child: int) -> R:
    if data[:1] == b"R":
        return codec.decode(kind, memoryview(data)[1:], what="answer of a worker", exact=False)
    if data[:1] == b"F":
        raise codec.decode(Voices, data[1:], what="answer of a worker").error()
    if data[:1] == b"B":
        raise RuntimeError(codec.decode(_Bug, data[1:], what="answer of a worker").trace)
    raise StorageError(
        "a worker process was killed",
        where=f"process {child}",
        why="the machine may have run out of memory",
        next="run the command again; with DV_WORKERS=1 it needs less memory",
    )


def _kill(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
    except ProcessLookupError:
        return


def _reap(child: int) -> None:
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        return
