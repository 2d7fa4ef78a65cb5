"""Checks the store of a remote as the one here is checked: all its files, every frame, and all that its refs lead to.

What is read is what lies there, and no copy that was kept here.  Packs are read a few pieces ahead by several threads;
they are opened by this one alone, which is faster than any network.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from dvtool.checking import Examination
from dvtool.errors import DvError, NotFoundError, StorageError
from dvtool.formats import log, pack, repokey, storeformat
from dvtool.sharing import configuring, memory, reaching
from dvtool.storage.backend import UnavailableError
from dvtool.storage.inventory import Inventory
from dvtool.storage.local import LocalBackend
from dvtool.storage.mirror import Mirror
from dvtool.storage.opening import UNFINISHED
from dvtool.storage.wrapping import Wrapper
from dvtool.store import keys, scrub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dvtool.checking import Looked, Report
    from dvtool.effects import View
    from dvtool.storage.backend import Backend, Listed, Purged
    from dvtool.store.segments import Segment
    from dvtool.store.store import Store
    from dvtool.workspace import Workspace

THREADS: Final = 4
"""Pieces of packs that are under way at once."""
AHEAD: Final = 8
"""Pieces that wait or are under way: with 8 MiB each that is all the memory that packs take, whatever their size."""
ASKED: Final = 8
"""Small files that are asked for at once."""
ENTRIES: Final = 128 * 1024 * 1024
"""Bytes of log entries that are kept in memory: each is looked at several times in one check."""

COPIES: Final = 16 * 1024 * 1024 * 1024
"""Bytes that the copies of index files and small packs may have together while a check runs."""

T = TypeVar("T")


class RemoteCheck(Examination):
    """One look at the store of a remote, which need not open."""

    def __init__(self, workspace: Workspace, name: str | None, max_bytes: int | None = None) -> None:
        """Prepare to check the store of a remote, reading packs of about ``max_bytes`` at most.

        Raises:
            NotFoundError, UsageError: as :func:`dvtool.sharing.configuring.find`, and of a URL that names no place.
        """
        found, settings = configuring.find(workspace, name)
        self._repository = workspace.session.store.format.repository
        self._disk = workspace.session.context.disk
        self._remove_copies: Callable[[], object] = lambda: None
        self._is_directory = False
        self.remote = reaching.Remote(workspace, found, settings, through=self._through)
        cache = f"{os.path.dirname(workspace.session.layout.store())}/cache"
        suffix = "-" + found.replace("/", "%2F")
        super().__init__(self.remote.backend, workspace.session.context, cache, max_bytes, suffix=suffix)
        self._ahead: _Ahead | None = None

    def close(self) -> None:
        """Remove the copies that were made for this check; nothing can be asked of its store any more."""
        self._remove_copies()

    def _through(self, place: Backend) -> Backend:
        """Return the place as it is read for this check."""
        self._is_directory = isinstance(place, LocalBackend)
        self._answering = Answering(place if self._is_directory else Inventory(place))
        if self._is_directory:
            return self._answering
        # Index files are read page by page and from end to end, and objects one by one: from copies that are made for
        # this check alone.
        copies = tempfile.mkdtemp(prefix="dv-check-")
        self._remove_copies = weakref.finalize(self, shutil.rmtree, copies, ignore_errors=True)
        return Mirror(self._answering, copies, self._disk, limit=COPIES)

    def run(self, *, quick: bool) -> Report:
        """Look at everything; see :meth:`dvtool.checking.Examination.run`.

        Raises:
            NotFoundError: when there is no store.
            StorageError: when the place does not answer.
            ConflictError: when it is that of another repository.
            KeyAccessError: when its key does not open; a quick check needs none.
        """
        report = super().run(quick=quick)
        self.require_answers()
        return report

    def surface(self, *, quick: bool = False) -> tuple[list[bytes], dict[bytes, tuple[Segment, int]]]:
        """Look at everything outside packs; raises as :meth:`run`."""
        if not self.backend.exists(reaching.FORMAT) and not any(
            next(iter(self.backend.listed(directory, most=1)), None) for directory in storeformat.DIRECTORIES
        ):
            raise NotFoundError(
                "there is no store at this place",
                where=self.remote.settings.url,
                next="check the URL with 'dv remote list'; the first 'dv push' makes a store in an empty place",
            )
        found = super().surface(quick=quick)
        self._look_at_format()
        self._look_at_key()
        self.require_answers()
        return found

    def require_answers(self) -> None:
        """Refuse to take for damage what was only not answered.

        Raises:
            StorageError: when the place has left a question without an answer.
        """
        if self._answering.failed is not None:
            raise self._answering.failed

    def _look_at_format(self) -> None:
        """Hold what the place says of itself against the store that opened there with what is remembered of it."""
        if self.store is None or any(damage.file == reaching.FORMAT for damage in self.damages):
            return
        if storeformat.decode(self.backend.read(reaching.FORMAT)) != self.store.format:
            self.damages.append(scrub.Damage(file=reaching.FORMAT, what="it describes another store"))

    def _look_at_key(self) -> None:
        """Look whether the key of the store is there; without it no further clone can be made."""
        name = keys.REPOSITORY_KEY
        try:
            repokey.describe(self.backend.read(name), self._repository)
        except NotFoundError:
            what = "the key of the repository is missing: no further clone can be made"
            self.damages.append(scrub.Damage(file=name, what=what))
        except StorageError:
            return  # whoever guards it at another place need not let us read it
        except DvError as error:
            self.damages.append(scrub.Damage(file=name, what=error.what, why=error.why))

    def _look_at_log(self, store: Store) -> list[scrub.Damage]:
        found = super()._look_at_log(store)
        if found:
            # A rotation that was stopped leaves files under two secrets, and a clone remembers one of them.
            try:
                self.store = self.remote.open_with_key()
            except DvError:
                return found
            return super()._look_at_log(self.store)
        return found

    def _strangers(self) -> Iterable[str]:
        expected = {*scrub.TOP, UNFINISHED} if self._is_directory else scrub.TOP
        return set(self.backend.names("")) - expected

    def _opened(self) -> Store:
        return self.remote.open()

    def _load_secrets(self) -> object:
        return self.remote.unlock(self._repository)

    def _name_of(self, where: str) -> str:
        url = self.remote.settings.url.rstrip("/")
        if where.startswith(f"{url}/"):
            return where.removeprefix(f"{url}/")
        if where.rstrip("/") not in {url, ""}:
            return where
        seen = self.remote.memory  # it was rolled back: the last entry that was seen is gone, or another one
        return log.file_name(seen.number) if seen is not None and seen.number else "log"

    def _each(self, look: Callable[[str], T], names: Sequence[str]) -> Iterable[T]:
        with ThreadPoolExecutor(ASKED, thread_name_prefix="check") as pool:
            yield from pool.map(look, names)

    def _view(self, file: str) -> View | None:
        return self._ahead.view(file) if self._ahead is not None else None

    def _work(self, chosen: Sequence[bytes], look: Callable[[bytes], Looked]) -> list[scrub.Scrubbed]:
        sizes = {pack.file_name(name): self._size(name) for name in chosen}
        self._ahead = _Ahead(self._answering, sizes)
        try:
            return super()._work(chosen, look)
        finally:
            self._ahead.close()
            self._ahead = None


def reach(workspace: Workspace, name: str) -> tuple[reaching.Remote, Answering]:
    """Return a remote that is asked nothing more once it has not answered, and what says whether that was so.

    Raises:
        NotFoundError, UsageError: as :func:`dvtool.sharing.configuring.find`, and of a URL that names no place.
    """
    found, settings = configuring.find(workspace, name)
    asked: list[Answering] = []

    def through(place: Backend) -> Backend:
        is_directory = isinstance(place, LocalBackend)
        asked.append(Answering(place if is_directory else Inventory(place)))
        copies = memory.mirror(workspace.session, found)
        return asked[0] if is_directory else Mirror(asked[0], copies, workspace.session.context.disk)

    return reaching.Remote(workspace, found, settings, through=through), asked[0]


class Answering(Wrapper):
    """A place that is asked nothing more once it has not answered: what it holds is not known then, and no damage.

    Nor is anything written then: what was decided on a guess would do harm.
    """

    def __init__(self, below: Backend) -> None:
        """Wrap ``below``."""
        super().__init__(below)
        self.failed: UnavailableError | None = None
        """The first question that was left without an answer."""
        self._entries: dict[str, bytes] = {}
        self._kept = 0

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of ``name``; log entries, which never change, are asked for once."""
        if not name.startswith("log/") or offset or length is not None:
            with self.asking():
                return self.below.read(name, offset, length)
        found = self._entries.get(name)
        if found is None:
            with self.asking():
                found = self.below.read(name)
            if self._kept + len(found) <= ENTRIES:
                self._entries[name] = found
                self._kept += len(found)
        return found

    def read_log(self, since: int) -> None:
        """Read the log entries that were written since a time (microseconds), several at once, for who asks for them.

        Raises:
            StorageError: when the place does not answer.
        """

        def read(name: str) -> None:
            try:
                self.read(name)
            except NotFoundError:
                return  # an erasure takes entries away

        names = [f"log/{each.name}" for each in self.listed("log") if each.modified >= since]
        with ThreadPoolExecutor(ASKED, thread_name_prefix="log") as pool:
            for _done in pool.map(read, names):
                pass

    def view(self, name: str) -> View:
        """Return the bytes of ``name``, read as they are sliced."""
        with self.asking():
            return _Asked(self, self.below.view(name))

    def size(self, name: str) -> int:
        """Return the length of ``name`` in bytes."""
        with self.asking():
            return self.below.size(name)

    def exists(self, name: str) -> bool:
        """Return whether there is something at ``name``."""
        with self.asking():
            return self.below.exists(name)

    def names(self, directory: str) -> Iterator[str]:
        """Yield the names right below ``directory``."""
        with self.asking():
            yield from self.below.names(directory)

    def listed(self, directory: str, *, after: str = "", most: int = 0) -> Iterator[Listed]:
        """Yield the files right below ``directory``, in order of name."""
        with self.asking():
            yield from self.below.listed(directory, after=after, most=most)

    def modified(self, name: str) -> int:
        """Return when ``name`` was written, in microseconds since 1970."""
        with self.asking():
            return self.below.modified(name)

    def prepare(self, directories: Iterable[str]) -> None:
        """Make what files need before they can be written."""
        with self.asking():
            self.below.prepare(directories)

    def create(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name`` if nothing is there."""
        with self.asking():
            self.below.create(name, data)

    def put(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name``."""
        with self.asking():
            self.below.put(name, data)

    def send(self, view: View, name: str) -> None:
        """Write what ``view`` holds at ``name``."""
        with self.asking():
            self.below.send(view, name)

    def replace(self, name: str, data: bytes) -> None:
        """Write ``data`` over ``name``."""
        self._entries.pop(name, None)
        with self.asking():
            self.below.replace(name, data)

    def adopt(self, path: str, name: str) -> None:
        """Take the finished file at ``path`` as ``name``."""
        with self.asking():
            self.below.adopt(path, name)

    def flush(self) -> None:
        """Return when what was written would survive a loss of power."""
        with self.asking():
            self.below.flush()

    def delete(self, name: str) -> None:
        """Remove ``name``."""
        self._entries.pop(name, None)
        with self.asking():
            self.below.delete(name)

    def purge(self, name: str, *, older: bool = False) -> Purged:
        """Remove ``name``, or what was there before it, so that it cannot come back."""
        self._entries.pop(name, None)
        with self.asking():
            return self.below.purge(name, older=older)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Note it if the place does not answer.

        Raises:
            UnavailableError: when it did not answer before.
        """
        if self.failed is not None:
            raise self.failed
        try:
            yield
        except UnavailableError as error:
            self.failed = error
            raise


class _Asked:
    """A view whose slices are questions to the place."""

    __slots__ = ("_place", "_view")

    def __init__(self, place: Answering, view: View) -> None:
        self._place = place
        self._view = view

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, part: slice, /) -> bytes | memoryview:
        with self._place.asking():
            return self._view[part]


class _Ahead:
    """Reads files one after the other from front to back, some pieces ahead of whoever looks at them."""

    def __init__(self, backend: Backend, sizes: dict[str, int]) -> None:
        """Begin to read files, by name with their lengths in bytes, in this order."""
        self._backend = backend
        self._sizes = sizes
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="check")
        self._wanted = ((file, at) for file, size in sizes.items() for at in range(0, size, scrub.PIECE))
        self._pending: deque[tuple[str, int, Future[bytes]]] = deque()

    def view(self, file: str) -> View | None:
        """Return the bytes of the next file, or None of one that is missing or empty."""
        size = self._sizes.get(file, 0)
        return _AheadView(self, file, size) if size else None

    def next(self, file: str, at: int) -> bytes:
        """Return the piece that begins at ``at``; pieces before it that nobody asked for are passed over."""
        found: Future[bytes] | None = None
        while found is None:
            self._fill()
            if not self._pending:
                return self.read(file, at, scrub.PIECE)
            name, start, future = self._pending.popleft()
            if (name, start) == (file, at):
                found = future
            else:
                future.cancel()
        self._fill()
        return found.result()

    def read(self, file: str, at: int, length: int) -> bytes:
        """Return bytes that are asked for now."""
        return self._backend.read(file, at, length)

    def close(self) -> None:
        """Give up what is under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _fill(self) -> None:
        while len(self._pending) < AHEAD and (wanted := next(self._wanted, None)) is not None:
            self._pending.append((*wanted, self._pool.submit(self.read, *wanted, scrub.PIECE)))


class _AheadView:
    """A file of those that are read ahead: fast from front to back, and right in any order."""

    __slots__ = ("_ahead", "_at", "_file", "_held", "_size")

    def __init__(self, ahead: _Ahead, file: str, size: int) -> None:
        self._ahead = ahead
        self._file = file
        self._size = size
        self._at = 0
        """Where the next piece begins."""
        self._held = b""
        """The piece before it."""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _step = part.indices(self._size)
        found = []
        while start < stop:
            if start == self._at:
                self._held = self._ahead.next(self._file, start)
                self._at += scrub.PIECE
            before = self._at - scrub.PIECE
            if not before <= start < self._at:
                found.append(self._ahead.read(self._file, start, stop - start))
                break
            piece = self._held[start - before : stop - before]
            if not piece:
                break  # it was cut short meanwhile
            found.append(piece)
            start += len(piece)
        return found[0] if len(found) == 1 else b"".join(found)
