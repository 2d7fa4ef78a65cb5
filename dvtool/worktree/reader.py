"""Turns files of the worktree into entries: into chunks that are stored, or only to learn their ids.

Each file is opened once and read once.  Its status is taken before and after; a file that changed meanwhile is read
again, and named if it does not hold still.
"""

from __future__ import annotations

import errno
import os
import stat as stat_module
import time
from typing import TYPE_CHECKING, Final, Protocol, Self

import msgspec

from dvtool import ids, paths
from dvtool.errors import ConflictError, DvError, StorageError
from dvtool.formats import tree
from dvtool.store import manifests
from dvtool.store.chunker import WHOLE_LIMIT
from dvtool.worktree import stats
from dvtool.worktree.directories import open_directory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.digest import IdHasher
    from dvtool.store.store import Store
    from dvtool.worktree.stats import Stat
    from dvtool.worktree.workers import Counter

ATTEMPTS: Final = 5
PAUSE_SECONDS: Final = 0.02
TOLD_EVERY: Final = 64
"""Files, or chunks of a long one, between two words on progress."""

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""A link is not followed; a pipe that took a file's place does not block."""
_MISSING: Final = bytes(ids.ID_SIZE)

Found = tuple[int, int, bytes, "Stat"]
"""Kind, size in bytes, id and status of a file."""


class _ChangedError(Exception):
    """A file is not as its status said; read it again."""


class Columns(msgspec.Struct, kw_only=True, array_like=True):
    """What became of files, in the order given: ``kinds`` is 0 where a file vanished or could not be read.

    ``ids`` has 32 bytes for each, ``stats`` 40 as the worktree's index keeps them.
    """

    kinds: bytearray
    sizes: list[int]
    ids: bytearray
    stats: bytearray


class Trouble(msgspec.Struct, kw_only=True, array_like=True):
    """Files that could not be read: (path, reason), and paths that are no longer there."""

    problems: list[tuple[str, str]]
    vanished: list[str]


class Sink(Protocol):
    """Takes what files are made of, and tells the ids."""

    def put_object(self, kind: int, data: bytes) -> bytes:
        """Return the id of an object; of manifests, here."""
        ...

    def put_chunk(self, data: bytes | memoryview) -> bytes:
        """Return the id of a chunk."""
        ...


class IdSink:
    """Makes ids without storing anything."""

    def __init__(self, hasher: IdHasher) -> None:
        """Use the repository's id hasher."""
        self._hasher = hasher

    def put_object(self, kind: int, data: bytes) -> bytes:
        """Return the id that the object would have."""
        return self._hasher.id(kind, data)

    def put_chunk(self, data: bytes | memoryview) -> bytes:
        """Return the id that the chunk would have."""
        return self._hasher.id(ids.CHUNK, data)


class _Place:
    """A directory of the worktree, opened when it is first needed, with no link on the way.

    Files are opened by their names in it, which spares the kernel the way there.  Nothing changes the working
    directory: what is imported late must not be looked for among the data.
    """

    __slots__ = ("_descriptor", "_path", "_root")

    def __init__(self, root: str, path: str) -> None:
        self._root = root
        self._path = path
        self._descriptor = -1

    def descriptor(self) -> int:
        if self._descriptor < 0:
            try:
                self._descriptor = open_directory(self._root, self._path, make=False)
            except StorageError as error:  # the worktree's, not the store's: its files are named and the rest is read
                raise PermissionError(0, error.why) from None
            except ConflictError as error:
                raise PermissionError(0, error.what) from None
        return self._descriptor

    def is_old(self) -> bool:
        """Return whether another directory stands at the path by now, or none."""
        if self._descriptor < 0:
            return False
        try:
            now = open_directory(self._root, self._path, make=False)
        except (OSError, DvError):
            return True
        try:
            return not os.path.samestat(os.fstat(now), os.fstat(self._descriptor))
        finally:
            os.close(now)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Reader:
    """Reads files, handing their chunks to a sink."""

    def __init__(self, store: Store, sink: Sink, root: str, counter: Counter) -> None:
        """Prepare to read files below ``root`` (absolute), handing chunks to ``sink`` and telling ``counter``."""
        self._sink = sink
        self._chunker = store.chunker()
        self._minimum = self._chunker.minimum
        self._root = root
        self._counter = counter
        self.trouble = Trouble(problems=[], vanished=[])

    def read(self, directory: str, names: Sequence[str]) -> Columns:
        """Return what the files ``names`` of a directory hold; what goes wrong is noted in :attr:`trouble`.

        Raises:
            StorageError: when the store cannot be written.
            ConflictError: when it cannot be written now: an erasure is under way, say.
        """
        found = Columns(kinds=bytearray(), sizes=[], ids=bytearray(), stats=bytearray())
        flat: list[int] = []
        began = time.time_ns()
        counter = self._counter
        with _Place(self._root, directory) as place:
            for number, name in enumerate(names, 1):
                try:
                    kind, size, identity, stat = self._still(place, name)
                except (OSError, UnicodeError) as error:
                    self._note(paths.join(directory, name), error)
                    kind, size, identity, stat = 0, 0, _MISSING, (0, 0, 0, 0, 0)
                found.kinds.append(kind)
                found.sizes.append(size)
                found.ids += identity
                flat.extend(stat)
                counter.size += size
                if not number % TOLD_EVERY:
                    counter.tell(TOLD_EVERY)
        counter.tell(len(names) % TOLD_EVERY)
        found.stats += stats.trusted(flat, began)
        return found

    def _note(self, path: str, error: OSError | UnicodeError) -> None:
        if isinstance(error, BlockingIOError):
            self.trouble.problems.append((path, "it changes while it is being read"))
        elif isinstance(error, FileNotFoundError):
            self.trouble.vanished.append(path)
        elif isinstance(error, UnicodeError):
            self.trouble.problems.append((path, "its link target is not UTF-8"))
        else:
            self.trouble.problems.append((path, error.strerror or str(error)))

    def _still(self, place: _Place, name: str) -> Found:
        """Return what a file holds, once it holds still.

        Raises:
            BlockingIOError: when it does not.
            FileNotFoundError: when it is not there, also in the directory that stands at the path now.
            OSError, UnicodeError: when it cannot be read or stored, or its directory became something else.
        """
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE_SECONDS * attempt)
            try:
                return self.one(name, place.descriptor())
            except FileNotFoundError:
                # Programs that write a directory anew put the new one in the place of the old.
                if not place.is_old():
                    raise
                place.close()
            except _ChangedError:
                continue
        raise BlockingIOError

    def one(self, name: str, directory: int) -> Found:
        """Return what one file holds, by its name in an open directory.

        Raises:
            OSError, UnicodeError: when it cannot be read or stored.
            _ChangedError: when it changed meanwhile.
        """
        try:
            descriptor = os.open(name, _FLAGS, dir_fd=directory)
        except OSError as error:
            if error.errno == errno.ELOOP:
                return self._link(name, directory)
            raise
        try:
            found = stats.of(os.fstat(descriptor))
            size, mode = found[0], found[4]
            if not stat_module.S_ISREG(mode):
                raise OSError(0, "it is no longer a file that can be stored")
            kind = tree.EXECUTABLE if mode & stat_module.S_IXUSR else tree.FILE
            if size > WHOLE_LIMIT:
                content = self._stream(descriptor)
            else:
                data = os.read(descriptor, size + 1)
                if len(data) != size:
                    data += _rest(descriptor, size + 1 - len(data))
                if len(data) != size or stats.of(os.fstat(descriptor)) != found:
                    raise _ChangedError
                if size <= self._minimum:
                    return kind, size, self._sink.put_chunk(data), found
                view = memoryview(data)
                content = manifests.Builder(self._sink)
                for start, end in self._chunker.cut(data):
                    content.add(self._sink.put_chunk(view[start:end]), end - start)
            if content.size != size or stats.of(os.fstat(descriptor)) != found:
                raise _ChangedError
        finally:
            os.close(descriptor)
        identity, is_long = content.finish()
        if is_long:
            kind = tree.LONG_EXECUTABLE if kind == tree.EXECUTABLE else tree.LONG_FILE
        return kind, size, identity, found

    def _link(self, name: str, directory: int) -> Found:
        found = stats.of(os.lstat(name, dir_fd=directory))
        if not stat_module.S_ISLNK(found[4]):
            raise _ChangedError
        target = os.readlink(name, dir_fd=directory).encode("utf-8")
        if stats.of(os.lstat(name, dir_fd=directory)) != found:
            raise _ChangedError
        return tree.SYMLINK, len(target), self._sink.put_chunk(target), found

    def _stream(self, descriptor: int) -> manifests.Builder:
        content = manifests.Builder(self._sink)
        put = self._sink.put_chunk
        counter = self._counter
        before = counter.size
        for number, data in enumerate(self._chunker.stream(lambda view: os.readv(descriptor, [view])), 1):
            content.add(put(data), len(data))
            counter.size += len(data)
            if not number % TOLD_EVERY:
                counter.tell(0)
        counter.size = before  # the caller counts the whole file
        return content


def _rest(descriptor: int, wanted: int) -> bytes:
    """Return what short reads left: up to ``wanted`` more bytes."""
    parts = []
    while wanted > 0:
        part = os.read(descriptor, wanted)
        if not part:
            break
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)
