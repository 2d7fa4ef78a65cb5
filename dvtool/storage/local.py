"""A store in a local directory."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from typing import TYPE_CHECKING, Final

from dvtool.errors import IntegrityError, NotFoundError, StorageError
from dvtool.storage.backend import TOGETHER, Abilities, Listed, Purged, too_long, whole_limit
from dvtool.storage.disk import Disk, attempt, temporary_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dvtool.effects import Entropy, View


READING: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""How files are opened; without the last, a pipe under the name of a file would keep dv waiting for ever."""
PIECE: Final = 8 * 1024 * 1024
"""Bytes of a view that are copied at once."""
ATTEMPTS: Final = 3
"""Times that directories are made anew because they went meanwhile."""
GROUP: Final = 0o070
"""What a group may do with a directory, in its mode."""


class FileView:
    """A file that does not change, read slice by slice.

    It is not mapped into memory: if a mapped file is cut short, or its disk fails, the next look at it ends the process
    with SIGBUS, where a read returns fewer bytes or an error.
    """

    __slots__ = ("_descriptor", "_length", "_path")

    def __init__(self, path: str) -> None:
        """Open the file; it stays readable when its name goes."""
        self._path = path
        self._descriptor = -1
        self._descriptor = attempt(path, lambda: os.open(path, READING))
        self._length = attempt(path, lambda: os.fstat(self._descriptor)).st_size

    def __len__(self) -> int:
        """Return the length of the file when it was opened, in bytes."""
        return self._length

    def __getitem__(self, part: slice, /) -> bytes:
        """Return a slice of the file; a shorter one if the file was cut short since."""
        start, stop, _step = part.indices(self._length)
        return pread(self._descriptor, self._path, start, stop - start)

    def __del__(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)


def pread(descriptor: int, path: str, offset: int, wanted: int) -> bytes:
    """Return ``wanted`` bytes from ``offset`` on, or those up to the end of the file.

    Raises:
        StorageError: when the disk refuses.
    """
    parts = []
    while wanted > 0:
        part = attempt(path, lambda at=offset, n=wanted: os.pread(descriptor, n, at))  # type: ignore[misc]
        if not part:
            break
        parts.append(part)
        offset += len(part)
        wanted -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class LocalBackend:
    """Files below ``root``; unfinished ones in ``scratch``, a directory on the same file system.

    Files are their owner's alone.  If the store is ``shared``, and the group may write to ``root``, the group may read
    and write everything below it, whatever the umask of who writes.  Others never may.
    """

    def __init__(
        self, root: str, scratch: str, *, entropy: Entropy, disk: Disk | None = None, shared: bool = False
    ) -> None:
        """Name the two directories; neither is touched before it is needed."""
        self.abilities = Abilities()
        self.root = root
        self.scratch = scratch
        self.disk = disk or Disk()
        self._entropy = entropy
        self._may_share = shared
        self._files: list[str] = []
        self._directories: set[str] = set()

    def path(self, name: str) -> str:
        """Return the absolute path of ``name``."""
        return f"{self.root}/{name}"

    def prepare(self, directories: Iterable[str]) -> None:
        """Make the directories of a store, and those above it, durably."""
        names = tuple(directories)
        for _attempt in range(ATTEMPTS):
            with contextlib.suppress(
                NotFoundError
            ):  # who only tried what this place can do has taken an empty one away
                self._prepare(names)
                return
        self._prepare(names)

    def _prepare(self, directories: Iterable[str]) -> None:
        changed = {self.root}
        above = self.root
        while not os.path.isdir(above) and above != os.path.dirname(above):
            above = os.path.dirname(above)
            changed.add(above)
        for name in directories:
            self._make_directory(self.path(name))
            changed.add(self.path(name))
        for path in sorted(changed):
            self.disk.sync_directory(path)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of ``name``; see :class:`~dvtool.storage.backend.Backend`."""
        path = self.path(name)
        descriptor = attempt(path, lambda: os.open(path, READING))
        try:
            if length is None:
                length = attempt(path, lambda: os.fstat(descriptor)).st_size - offset
                if length > whole_limit(name):
                    raise too_long(name, path)
            return pread(descriptor, path, offset, length)
        finally:
            os.close(descriptor)

    def view(self, name: str) -> FileView:
        """Return the bytes of ``name``, read as they are sliced; files of a store never change."""
        return FileView(self.path(name))

    def size(self, name: str) -> int:
        """Return the length of ``name`` in bytes."""
        path = self.path(name)
        return attempt(path, lambda: os.stat(path)).st_size

    def modified(self, name: str) -> int:
        """Return when ``name`` was written, in microseconds since 1970-01-01 UTC."""
        path = self.path(name)
        return attempt(path, lambda: os.stat(path)).st_mtime_ns // 1000

    def exists(self, name: str) -> bool:
        """Return whether there is something at ``name``."""
        return os.path.lexists(self.path(name))

    def names(self, directory: str) -> Iterator[str]:
        """Yield the names right below ``directory``."""
        try:
            yield from attempt(directory, lambda: os.listdir(self.path(directory)))
        except NotFoundError:
            return

    def listed(self, directory: str, *, after: str = "", most: int = 0) -> Iterator[Listed]:
        """Yield the files right below ``directory``; see :class:`~dvtool.storage.backend.Backend`."""
        count = 0
        for name in sorted(self.names(directory)):
            if name <= after:
                continue
            path = self.path(f"{directory}/{name}")
            try:
                found = attempt(path, lambda path=path: os.stat(path))  # type: ignore[misc]
            except NotFoundError:
                continue  # it went meanwhile
            yield Listed(name, found.st_size, found.st_mtime_ns // 1000)
            count += 1
            if count == most:
                return

    def create(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name`` if nothing is there: a durable temporary file, then a link."""
        temporary = self._temporary()
        path = self.path(name)
        try:
            self.disk.write(temporary, data)
            self._share(temporary)
            self.disk.sync(temporary)
            self.disk.link(temporary, path)
        finally:
            self.disk.unlink(temporary)
        self.disk.sync_directory(os.path.dirname(path))

    def put(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name``; durable after :meth:`flush`."""
        temporary = self._temporary()
        try:
            self.disk.write(temporary, data)
            self._place(temporary, name)
        except BaseException:
            self.disk.unlink(temporary)
            raise

    def send(self, view: View, name: str) -> None:
        """Write what ``view`` holds at ``name``, piece by piece; durable after :meth:`flush`."""
        temporary = self._temporary()
        descriptor = self.disk.open_new(temporary)
        try:
            try:
                for at in range(0, len(view), PIECE):
                    self.disk.append(descriptor, temporary, view[at : at + PIECE])
            finally:
                os.close(descriptor)
            self._place(temporary, name)
        except BaseException:
            self.disk.unlink(temporary)
            raise

    def replace(self, name: str, data: bytes) -> None:
        """Write ``data`` over ``name``, durably."""
        temporary = self._temporary()
        try:
            self.disk.write(temporary, data)
            self._share(temporary)
            self.disk.sync(temporary)
            self.disk.rename(temporary, self.path(name))
        except BaseException:
            self.disk.unlink(temporary)
            raise
        self.disk.sync_directory(os.path.dirname(self.path(name)))

    def overwrite(self, names: Sequence[str], data: bytes) -> None:
        """Write ``data`` over files, durably: many names of one file have to be waited for once."""
        for start in range(0, len(names), TOGETHER):
            batch = names[start : start + TOGETHER]
            first = self._temporary()
            try:
                self.disk.write(first, data)
                self._share(first)
                self.disk.sync(first)
                for name in batch:
                    self._overwrite(first, self.path(name))
            finally:
                self.disk.unlink(first)
            for directory in sorted({os.path.dirname(self.path(name)) for name in batch}):
                self.disk.sync_directory(directory)

    def _overwrite(self, source: str, target: str) -> None:
        temporary = self._temporary()
        try:
            self.disk.link(source, temporary)
            self.disk.rename(temporary, target)
        except BaseException:
            self.disk.unlink(temporary)
            raise

    def adopt(self, path: str, name: str) -> None:
        """Take the finished file at ``path`` as ``name``; durable after :meth:`flush`.

        It counts as written now: one that waited for the rest of a long command must not look like one left behind.
        """
        self.disk.touch(path)
        self._place(path, name)

    def settle(self, name: str) -> None:
        """Have a file that is there durable after :meth:`flush`."""
        path = self.path(name)
        self._files.append(path)
        self._directories.add(os.path.dirname(path))

    def workspace(self) -> str:
        """Return the directory for unfinished files."""
        self._make_directory(self.scratch)
        return self.scratch

    def flush(self) -> None:
        """Make all files written since the last call durable, then the directories that name them."""
        for path in self._files:
            self.disk.sync(path)
        self._files.clear()
        for directory in sorted(self._directories):
            self.disk.sync_directory(directory)
        self._directories.clear()

    def delete(self, name: str) -> None:
        """Remove ``name``; nothing happens when it is not there.

        Raises:
            IntegrityError: when its directory is a link, which would have files of another place removed.
        """
        directory = os.path.dirname(self.path(name))
        if directory != self.root and os.path.islink(directory):
            raise IntegrityError(
                "a directory of the store is a link",
                where=directory,
                why="what lies behind it may belong to another store",
                next="put a directory in its place",
            )
        path = self.path(name)
        self.disk.unlink(path)
        if path in self._files:
            self._files.remove(path)  # else the next flush would look for it

    def purge(self, name: str, *, older: bool = False) -> Purged:
        """Remove ``name``, durably after :meth:`flush`; a file system keeps no versions that could be asked for."""
        if older:
            return Purged(versions=0)
        there = self.exists(name)
        self.delete(name)
        if self.exists(name):
            raise StorageError("a file of the store is there again", where=self.path(name), next="try again")
        self._directories.add(os.path.dirname(self.path(name)))
        return Purged(versions=int(there))

    def _place(self, temporary: str, name: str) -> None:
        path = self.path(name)
        self._share(temporary)
        self.disk.rename(temporary, path)
        self._files.append(path)
        self._directories.add(os.path.dirname(path))

    def _make_directory(self, path: str) -> None:
        if not os.path.isdir(path):
            self.disk.make_directory(path)
            if self._shared:
                self.disk.permit(path, 0o700 | self._shared)

    def _share(self, path: str) -> None:
        if self._shared:
            self.disk.permit(path, 0o600 | self._shared & 0o060)

    @functools.cached_property
    def _shared(self) -> int:
        """What the group may do below the root, and whether what is new belongs to it; 0 where it may not write."""
        mode = attempt(self.root, lambda: os.stat(self.root)).st_mode if self._may_share else 0
        return mode & (stat.S_ISGID | GROUP) if mode & stat.S_IWGRP else 0

    def _temporary(self) -> str:
        return f"{self.workspace()}/{temporary_name()}"
