"""A store in memory: for tests, and for virtual trees that are never kept."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING

from dvtool.errors import ExistsError, NotFoundError
from dvtool.storage.backend import Abilities, Listed, Purged, too_long, whole_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dvtool.effects import View


class MemoryBackend:
    """A dictionary that keeps the contract of a backend."""

    def __init__(self) -> None:
        """Start empty."""
        self.abilities = Abilities()
        self.blobs: dict[str, bytes] = {}
        self._scratch: str | None = None

    def prepare(self, directories: Iterable[str]) -> None:
        """Do nothing: memory has no directories."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of ``name``."""
        blob = self._blob(name)
        if length is None and len(blob) - offset > whole_limit(name):
            raise too_long(name, name)
        return blob[offset:] if length is None else blob[offset : offset + length]

    def view(self, name: str) -> memoryview:
        """Return the bytes of ``name``."""
        return memoryview(self._blob(name))

    def size(self, name: str) -> int:
        """Return the length of ``name`` in bytes."""
        return len(self._blob(name))

    def modified(self, name: str) -> int:
        """Return 0: memory has no clock, so everything in it is as old as can be."""
        self._blob(name)
        return 0

    def exists(self, name: str) -> bool:
        """Return whether there is something at ``name``."""
        return name in self.blobs

    def names(self, directory: str) -> Iterator[str]:
        """Yield the names right below ``directory``."""
        prefix = f"{directory}/" if directory else ""
        yield from sorted({name[len(prefix) :].split("/")[0] for name in self.blobs if name.startswith(prefix)})

    def listed(self, directory: str, *, after: str = "", most: int = 0) -> Iterator[Listed]:
        """Yield the files right below ``directory``, in order of name."""
        found = [name for name in self.names(directory) if name > after]
        for name in found[:most] if most else found:
            yield Listed(name, self.size(f"{directory}/{name}"), self.modified(f"{directory}/{name}"))

    def create(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name`` if nothing is there."""
        if name in self.blobs:
            raise ExistsError("a file of the store exists already", where=name)
        self.blobs[name] = bytes(data)

    def put(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name``."""
        self.blobs[name] = bytes(data)

    def send(self, view: View, name: str) -> None:
        """Write what ``view`` holds at ``name``."""
        self.put(name, bytes(view[: len(view)]))

    def replace(self, name: str, data: bytes) -> None:
        """Write ``data`` over ``name``."""
        self.blobs[name] = bytes(data)

    def adopt(self, path: str, name: str) -> None:
        """Take the finished file at ``path`` as ``name``."""
        with open(path, "rb") as file:
            self.blobs[name] = file.read()

    def settle(self, name: str) -> None:
        """Do nothing: what is there is as durable as it will be."""

    def workspace(self) -> str:
        """Return a directory for unfinished files, removed with this object."""
        if self._scratch is None:
            self._scratch = tempfile.mkdtemp(prefix="dv-memory-")
        return self._scratch

    def flush(self) -> None:
        """Do nothing: memory survives no loss of power."""

    def delete(self, name: str) -> None:
        """Remove ``name``."""
        self.blobs.pop(name, None)

    def purge(self, name: str, *, older: bool = False) -> Purged:
        """Remove ``name``; nothing is kept of what was there before."""
        if older:
            return Purged(versions=0)
        there = self.exists(name)
        self.delete(name)
        return Purged(versions=int(there))

    def __del__(self) -> None:
        """Remove the directory for unfinished files."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _blob(self, name: str) -> bytes:
        try:
            return self.blobs[name]
        except KeyError:
            raise NotFoundError("a file of the store is missing", where=name) from None
