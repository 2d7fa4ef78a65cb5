"""Keeps copies of small files of a distant place on the local disk: sealed, as they lie there, and up to a size.

Only files that never change are kept, and none that holds keys: destroying a key silences every copy.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from dvtool import digest
from dvtool.errors import DvError, NotFoundError, StorageError
from dvtool.storage.disk import Disk, temporary_name
from dvtool.storage.local import FileView
from dvtool.storage.wrapping import Wrapper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.effects import View
    from dvtool.storage.backend import Backend, Purged

KEPT: Final = frozenset({"packs", "index"})
SMALL: Final = 16 * 1024 * 1024
"""Bytes up to which a pack is kept: a metadata pack has about half of that, a data pack four times as much."""
LIMIT: Final = 1024 * 1024 * 1024
"""Bytes that all copies may have together; the ones that were not used for longest go first."""
PIECE: Final = 8 * 1024 * 1024
"""Bytes that are copied at once."""
OPEN: Final = 64
"""Copies that are kept open; another one is verified again when it is opened again."""
BLOCK: Final = 256 * 1024
"""Bytes of a larger pack that are kept together, where parts of packs are kept."""
_TRAILER: Final = 16


class Mirror(Wrapper):
    """A place of which index files and small packs are read from a local copy, once there is one."""

    def __init__(
        self,
        below: Backend,
        directory: str,
        disk: Disk,
        *,
        limit: int = LIMIT,
    ) -> None:
        """Wrap ``below``.

        Args:
            below: the distant place.
            directory: where copies lie; made when there is the first.
            disk: the local disk.
            limit: bytes that all copies may have together.
        """
        super().__init__(below)
        self._directory = directory
        self._disk = disk
        self._limit = limit
        self._open: dict[str, FileView] = {}
        self.keeps_parts = False
        """Whether parts of larger packs are kept as well: for who reads a little here and there, and stores nothing."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of ``name``."""
        view = self._copy(name)
        if view is None:
            if self.keeps_parts and length is not None and name.startswith("packs/"):
                return self._part(name, offset, length)
            return self.below.read(name, offset, length)
        return view[offset:] if length is None else view[offset : offset + length]

    def view(self, name: str) -> View:
        """Return the bytes of ``name``, read as they are sliced."""
        return self._copy(name) or self.below.view(name)

    def put(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name``, and keep what is asked for again in a moment: an index file."""
        self.below.put(name, data)
        if name.partition("/")[0] == "index":
            self._keep(self._path(name), data, sealed=True)

    def delete(self, name: str) -> None:
        """Remove ``name``, and the copy of it."""
        self._drop(name)
        self.below.delete(name)

    def purge(self, name: str, *, older: bool = False) -> Purged:
        """Remove ``name``, or what was there before, so that it cannot come back, and the copy of it."""
        self._drop(name)
        return self.below.purge(name, older=older)

    def _copy(self, name: str) -> FileView | None:
        """Return the local copy of a file that is kept, made now if there is none; None for what is not kept."""
        directory = name.partition("/")[0]
        if directory not in KEPT:
            return None
        known = self._open.get(name)
        if known is not None:
            return known
        found = self._sound(name)
        if found is None:
            size = self.below.size(name)
            if directory == "packs" and size > SMALL:
                return None
            try:
                self._make(name, size)
            except StorageError:
                return None  # a cache that cannot be written is none
            found = self._sound(name)
        if found is not None:
            while len(self._open) >= OPEN:
                self._open.pop(next(iter(self._open)))
            self._open[name] = found
        return found

    def _part(self, name: str, offset: int, length: int) -> bytes:
        """Return bytes of a larger pack, of which whole blocks are read and kept; near each other, by one request."""
        end = min(offset + length, self.below.size(name))
        if end <= offset:
            return b""
        first = offset // BLOCK
        found = {number: self._block(name, number) for number in range(first, (end - 1) // BLOCK + 1)}
        for run in _runs([number for number, data in found.items() if data is None]):
            data = self.below.read(name, run[0] * BLOCK, len(run) * BLOCK)
            for at, number in enumerate(run):
                found[number] = data[at * BLOCK : (at + 1) * BLOCK]
                self._keep(f"{self._path(name)}.{number:x}", found[number] or b"")
        joined = b"".join(data or b"" for _number, data in sorted(found.items()))
        return joined[offset - first * BLOCK : end - first * BLOCK]

    def _block(self, name: str, number: int) -> bytes | None:
        path = f"{self._path(name)}.{number:x}"
        try:
            with open(path, "rb") as file:
                data = file.read(BLOCK + _TRAILER + 1)
            if len(data) > _TRAILER and digest.accident(data[:-_TRAILER]) == data[-_TRAILER:]:
                os.utime(path)
                return data[:-_TRAILER]
            self._disk.unlink(path)
        except (DvError, OSError):
            return None
        return None

    def _keep(self, path: str, data: bytes, *, sealed: bool = False) -> None:
        """Keep a block with its checksum, or a file that ends with one, if the disk takes it."""
        temporary = f"{self._directory}/{temporary_name()}"
        try:
            self._disk.make_directory(self._directory)
            self._make_room(len(data))
            self._disk.write(temporary, data if sealed else data + digest.accident(data))
            self._disk.rename(temporary, path)
        except DvError:
            return

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name.replace('/', '-')}"

    def _sound(self, name: str) -> FileView | None:
        """Return the copy of a file if it is there and its checksum matches; packs and index files end with one."""
        path = self._path(name)
        try:
            view = FileView(path)
            end = len(view) - _TRAILER
            pieces = (view[at : min(end, at + PIECE)] for at in range(0, end, PIECE))
            if end > 0 and digest.accident_of(pieces) == view[end:]:
                os.utime(path)
                return view
            self._disk.unlink(path)
        except (DvError, OSError):
            return None
        return None

    def _make(self, name: str, size: int) -> None:
        self._disk.make_directory(self._directory)
        self._make_room(size)
        temporary = f"{self._directory}/{temporary_name()}"
        descriptor = self._disk.open_new(temporary)
        try:
            try:
                for at in range(0, size, PIECE):
                    self._disk.append(descriptor, temporary, self.below.read(name, at, min(PIECE, size - at)))
            finally:
                os.close(descriptor)
            self._disk.rename(temporary, self._path(name))
        except BaseException:
            self._disk.unlink(temporary)
            raise

    def _make_room(self, size: int) -> None:
        found = []
        for entry in os.scandir(self._directory):
            try:
                status = entry.stat()
            except OSError:
                continue
            found.append((status.st_mtime_ns, status.st_size, entry.path))
        total = sum(length for _time, length, _path in found)
        for _time, length, path in sorted(found):
            if total + size <= self._limit:
                return
            self._disk.unlink(path)
            total -= length

    def _drop(self, name: str) -> None:
        self._open.pop(name, None)
        try:
            self._disk.unlink(self._path(name))
        except NotFoundError:
            return


def mirror_of(backend: Backend) -> Mirror | None:
    """Return the mirror through which a place is seen, whatever stands before it; None when there is none."""
    while isinstance(backend, Wrapper):
        if isinstance(backend, Mirror):
            return backend
        backend = backend.below
    return None


def _runs(numbers: list[int]) -> Iterator[list[int]]:
    """Yield numbers that follow each other, together."""
    run: list[int] = []
    for number in numbers:
        if run and number != run[-1] + 1:
            yield run
            run = []
        run.append(number)
    if run:
        yield run
