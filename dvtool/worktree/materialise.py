"""Writes files of a tree into the worktree: each one whole, under a temporary name first, and verified.

Nothing that lies above a path is trusted: every directory on the way is opened without following links, so a store
that names ``a`` as a link and then a file below ``a`` writes nothing outside.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from dvtool import paths
from dvtool.effects import Silence
from dvtool.errors import ConflictError, DvError, FormatError, IntegrityError, StorageError
from dvtool.formats import tree
from dvtool.storage.disk import as_ours, temporary_name
from dvtool.store import manifests
from dvtool.worktree import stats, workers
from dvtool.worktree.directories import open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dvtool.effects import Progress
    from dvtool.formats.tree import Entry
    from dvtool.store.store import Store

FILE_COST: Final = 40_000
SHARED_COST: Final = 64_000_000
TOLD_EVERY: Final = 64
"""Pieces of a long file between two words on progress."""
ROUND: Final = 131_072
"""Files written by one set of workers: the memory of its parent that a process touches is its own until it ends."""


class Written(msgspec.Struct, kw_only=True, array_like=True):
    """Stat data (40 bytes each) of the files written, zeros where one failed; and the failures by path."""

    stats: bytearray
    damaged: list[tuple[str, str]]


class Frames(Protocol):
    """Reads chunks, about in the order of their packs."""

    def chunk(self, identity: bytes) -> bytes:
        """Return a chunk, verified."""
        ...


class Contents:
    """Reads the content of entries, verified chunk by chunk."""

    def __init__(self, store: Store, frames: Frames | None = None) -> None:
        """Read from ``store`` through windows of read-ahead; chunks from ``frames``, where they come from elsewhere."""
        self._store = store
        self._frames = frames or store.frames()

    def pieces(self, entry: Entry) -> Iterator[bytes]:
        """Yield the content of a file or the target of a link, piece by piece.

        Raises:
            IntegrityError: when a piece is damaged or missing.
        """
        if entry.kind in tree.LONG:
            for identity, length in manifests.chunks_of(self._store, entry.id, entry.size):
                data = self._frames.chunk(identity)
                if len(data) != length:
                    raise _mismatch(entry)
                yield data
        elif entry.size:
            data = self._frames.chunk(entry.id)
            if len(data) != entry.size:
                raise _mismatch(entry)
            yield data

    def whole(self, entry: Entry) -> bytes:
        """Return the content of a small file or the target of a link."""
        return b"".join(self.pieces(entry))


class Writer:
    """Writes entries below a root directory."""

    def __init__(
        self, store: Store, root: str, counter: workers.Counter, judged: dict[str, bytes] | None = None
    ) -> None:
        """Write below ``root`` (absolute); see :class:`dvtool.worktree.apply.Plan` for ``judged``.

        ``counter`` is told of bytes as they are written; files are for the caller to count.
        """
        self._contents = Contents(store)
        self._counter = counter
        self._judged = judged
        self._root = root
        self._parent: str | None = None
        self._descriptor = -1

    def close(self) -> None:
        """Let go of the open directory."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._parent = None

    def write(self, path: str, entry: Entry) -> bytes:
        """Write one file or link over whatever file is there, and return its stat data for the index.

        Raises:
            IntegrityError: when its content is damaged.
            ConflictError: when something other than a directory stands in its way, or what lies at its place is not
                what was judged.
            StorageError: when the disk refuses.
        """
        parent, name = paths.split(path)
        if paths.is_own(path):
            raise FormatError("a tree holds a file of dv's or Git's own as data", where=path)
        try:
            directory = self._open(parent)
            temporary = f"{paths.PARTIAL}{temporary_name()}"
            try:
                if entry.kind == tree.SYMLINK:
                    self._link(directory, temporary, entry)
                else:
                    self._file(directory, temporary, entry)
                if self._judged is not None:
                    require_judged(directory, name, path, self._judged)
                os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                _forget(temporary, directory)
                raise
            return stats.pack(stats.of(os.stat(name, dir_fd=directory, follow_symlinks=False)))
        except IsADirectoryError:
            raise ConflictError("a directory stands where a file must go", where=path, next="move it away") from None
        except OSError as error:
            raise as_ours(error, path) from None

    def _file(self, directory: int, temporary: str, entry: Entry) -> None:
        mode = 0o777 if entry.kind in tree.EXECUTABLES else 0o666
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=directory)
        try:
            for number, piece in enumerate(self._contents.pieces(entry), 1):
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
                self._counter.size += len(piece)
                if not number % TOLD_EVERY:
                    self._counter.tell(0)
        finally:
            os.close(descriptor)

    def _link(self, directory: int, temporary: str, entry: Entry) -> None:
        if not 0 < entry.size <= tree.SYMLINK_LIMIT:
            raise _mismatch(entry)
        os.symlink(tree.link_target(self._contents.whole(entry)), temporary, dir_fd=directory)
        self._counter.size += entry.size

    def _open(self, parent: str) -> int:
        if parent != self._parent:
            self.close()
            self._descriptor = open_directory(self._root, parent, make=True)
            self._parent = parent
        return self._descriptor


def require_judged(directory: int, name: str, path: str, judged: dict[str, bytes]) -> None:
    """Check that what lies at a place now is what lay there when it was decided that it may go.

    Raises:
        ConflictError: when it is something else.
    """
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stats.pack(stats.of(found)) != judged.get(path):
        raise ConflictError(
            "a file was changed while this command ran, and is kept",
            where=path,
            why="its content is stored nowhere",
            next="look at it, then run the command again: it goes on where it stopped",
        )


def remove_file(root: str, path: str, judged: dict[str, bytes] | None = None) -> bool:
    """Remove a file or link, following no link on the way, and return whether there was one.

    Raises:
        ConflictError: when it is not what was judged.
    """
    parent, name = paths.split(path)
    try:
        directory = open_directory(root, parent, make=False)
    except (FileNotFoundError, ConflictError):
        return False
    except OSError as error:
        raise as_ours(error, path) from None
    try:
        if judged is not None:
            require_judged(directory, name, path, judged)
        os.unlink(name, dir_fd=directory)
    except (FileNotFoundError, IsADirectoryError):
        return False
    except OSError as error:
        raise as_ours(error, path) from None
    finally:
        os.close(directory)
    return True


def rename(root: str, before: str, after: str) -> None:
    """Move a file or directory, following no link on the way.

    Raises:
        StorageError: when the disk refuses.
        ConflictError: when a link stands on the way.
    """
    source, old = paths.split(before)
    target, new = paths.split(after)
    try:
        from_directory = open_directory(root, source, make=False)
        try:
            to_directory = open_directory(root, target, make=False)
            try:
                os.rename(old, new, src_dir_fd=from_directory, dst_dir_fd=to_directory)
            finally:
                os.close(to_directory)
        finally:
            os.close(from_directory)
    except OSError as error:
        raise as_ours(error, before) from None


def remove_directory(root: str, path: str) -> bool:
    """Remove a directory if nothing is left in it, and return whether it is gone."""
    parent, name = paths.split(path)
    try:
        directory = open_directory(root, parent, make=False)
        try:
            os.rmdir(name, dir_fd=directory)
        finally:
            os.close(directory)
    except (FileNotFoundError, ConflictError):
        return True
    except OSError:
        return False
    return True


def write_all(
    store: Store,
    root: str,
    files: Sequence[str],
    entries: Mapping[str, Entry],
    progress: Progress,
    *,
    judged: dict[str, bytes] | None = None,
) -> Written:
    """Write files, with all cores.

    Damaged files are named in the result; the others are written all the same.

    Args:
        store: what holds their content.
        root: where they go.
        files: their paths, in the order in which to write them.
        entries: what they are.
        progress: is told how far it has come.
        judged: by path, stat data of what may be overwritten; None when nothing can be there.

    Raises:
        StorageError: when the disk refuses.
        ConflictError: when something is in the way of a file.
    """
    store.refresh()
    progress.start("writing", files=len(files), size=sum(entries[path].size for path in files))

    def work(part: list[str], counter: workers.Counter) -> Written:
        writer = Writer(store, root, counter, judged)
        result = Written(stats=bytearray(), damaged=[])
        try:
            for path in part:
                entry = entries[path]
                try:
                    result.stats += writer.write(path, entry)
                except (ConflictError, StorageError):
                    raise
                except DvError as error:
                    result.damaged.append((path, str(error)))
                    result.stats += bytes(40)
                counter.tell(1)
        finally:
            writer.close()
        return result

    joined = Written(stats=bytearray(), damaged=[])
    done = _Before(progress)
    try:
        for start in range(0, len(files), ROUND):
            some = files[start : start + ROUND]
            weights = [entries[path].size + FILE_COST for path in some]
            parts = [list(some)]
            if sum(weights) > SHARED_COST and len(some) > 1:
                parts = workers.split(some, weights, workers.count())
            for result in workers.run(parts, work, Written, done, clean=lambda _process: None):
                joined.stats += result.stats
                joined.damaged += result.damaged
            done.files += len(some)
            done.size += sum(entries[path].size for path in some)
    finally:
        progress.finish()
    return joined


class _Before(Silence):
    """Progress of one round of several, told with what the rounds before it did."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.files = 0
        self.size = 0

    def advance(self, *, files: int, size: int) -> None:
        self._progress.advance(files=self.files + files, size=self.size + size)


def _forget(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:
        return


def _mismatch(entry: Entry) -> IntegrityError:
    return IntegrityError(f"object {entry.id.hex()[:16]} has another length than its directory says")
