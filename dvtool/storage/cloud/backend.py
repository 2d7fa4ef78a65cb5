"""A store at a URL: keeps the contract of a backend over a client, one request after the other.

What sends several files at once is a wrapper, in ``dvtool.storage.sending``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING, Final

from dvtool.errors import NotFoundError, StorageError
from dvtool.storage.backend import too_long, whole_limit
from dvtool.storage.cloud.client import WHOLE
from dvtool.storage.cloud.failures import translated
from dvtool.storage.disk import Disk
from dvtool.storage.local import FileView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from dvtool.effects import View
    from dvtool.storage.backend import Keeping, Listed, Purged, Version
    from dvtool.storage.cloud.client import Client, Stat


WRITTEN: Final = ("packs", "index", "keys")
"""Directories of files that may be large enough to be uploaded in parts."""


class CloudView:
    """An object of which slices are read by range requests; its length is known from the beginning."""

    __slots__ = ("_backend", "_length", "_name")

    def __init__(self, backend: CloudBackend, name: str) -> None:
        """Ask for the length."""
        self._backend = backend
        self._name = name
        self._length = backend.size(name)

    def __len__(self) -> int:
        """Return the length of the object when the view was made, in bytes."""
        return self._length

    def __getitem__(self, part: slice, /) -> bytes:
        """Return a slice, by one request; nothing is asked for an empty one.

        Raises:
            NotFoundError: when the object has gone meanwhile.
        """
        start, stop, _step = part.indices(self._length)
        return self._backend.read(self._name, start, stop - start) if start < stop else b""


class CloudBackend:
    """Objects below ``prefix`` in one bucket, or files below a directory."""

    def __init__(
        self, client: Client, prefix: str, *, where: str, disk: Disk | None = None, scratch: str | None = None
    ) -> None:
        """Name the place; nothing is asked of it yet.

        Args:
            client: what speaks with the place.
            prefix: what every key begins with, without a ``/`` at its end; empty for all of a bucket.
            where: the URL as errors name it, without credentials and without a ``/`` at its end.
            disk: removes what was adopted.
            scratch: a local directory for unfinished files, which others keep clear of what killed commands leave;
                one of this process alone by default.
        """
        self.abilities = client.abilities
        self.where = where
        self.disk = disk or Disk()
        self._client = client
        self._prefix = prefix
        self._given = scratch
        self._scratch: str | None = None
        self._process = os.getpid()

    def prepare(self, directories: Iterable[str]) -> None:
        """Do nothing: object stores have no directories, and elsewhere they are made for the first file in them."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of ``name``, by one request.

        All of it is asked for as a range that ends one byte behind the longest that it may be.

        Raises:
            IntegrityError: when there is more.
        """
        limit = whole_limit(name)
        with self._asking("read", name):
            if length == 0:
                self._stat(name)  # nothing is no answer to whether there is something
                return b""
            found = self._client.read(self._key(name), offset, offset + (limit + 1 if length is None else length))
        if length is None and len(found) > limit:
            raise too_long(name, f"{self.where}/{name}")
        return found

    def view(self, name: str) -> CloudView:
        """Return the bytes of ``name``, of which only slices are read."""
        return CloudView(self, name)

    def size(self, name: str) -> int:
        """Return the length of ``name`` in bytes."""
        return self._stat(name).size

    def modified(self, name: str) -> int:
        """Return when ``name`` was written, in microseconds since 1970 by the place's clock; 0 where it has none."""
        return self._stat(name).modified

    def exists(self, name: str) -> bool:
        """Return whether there is something at ``name``."""
        try:
            self._stat(name)
        except NotFoundError:
            return False
        return True

    def names(self, directory: str) -> Iterator[str]:
        """Yield the names right below ``directory``."""
        with self._asking("list", directory):
            yield from self._client.names(self._below(directory))

    def listed(self, directory: str, *, after: str = "", most: int = 0) -> Iterator[Listed]:
        """Yield the files right below ``directory``, in order of name; of no more than ``most`` the place is asked."""
        with self._asking("list", directory):
            yield from self._client.listed(self._below(directory), after, most)

    def create(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name`` by a request that the place refuses when something is there.

        Raises:
            ExistsError: when something is; when the reply to an earlier try was lost, that may be one's own.
        """
        with self._changing("write", name):
            self._client.create(self._key(name), data)

    def put(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name``; durable when it returns, as everything here."""
        self.replace(name, data)

    def send(self, view: View, name: str) -> None:
        """Write what ``view`` holds, by one request up to 100 MiB."""
        with self._changing("write", name):
            if len(view) <= WHOLE:
                self._client.send(self._key(name), view)
            else:
                self._client.upload(self._key(name), view)

    def replace(self, name: str, data: bytes) -> None:
        """Write ``data`` over ``name``, by one request."""
        with self._changing("write", name):
            self._client.write(self._key(name), data)

    def adopt(self, path: str, name: str) -> None:
        """Send the file at ``path``, and remove it here."""
        self.send(FileView(path), name)
        self.disk.unlink(path)

    def settle(self, name: str) -> None:
        """Do nothing: what is there is as durable as it will be."""

    def workspace(self) -> str:
        """Return the local directory for unfinished files; one of this process alone is removed with this object."""
        if self._given is not None:
            self.disk.make_directory(self._given)
            return self._given
        if self._scratch is None or not os.path.isdir(self._scratch):
            self._scratch = tempfile.mkdtemp(prefix="dv-remote-")
            self._process = os.getpid()
            weakref.finalize(self, _remove, self._scratch, self._process)
        return self._scratch

    def flush(self) -> None:
        """Do nothing: what a place in the cloud has taken is durable."""

    def delete(self, name: str) -> None:
        """Remove ``name``; older versions stay where the place keeps them."""
        with self._changing("delete", name):
            self._client.delete(self._key(name))

    def purge(self, name: str, *, older: bool = False) -> Purged:
        """Remove every version of ``name``, or every older one, that the place lets go, and say what it does not."""
        with self._changing("delete", name):
            return self._client.purge(self._key(name), older=older)

    def versions(self, directory: str) -> Iterator[Version]:
        """Yield every version of the files right below ``directory``, and every mark of a deletion."""
        with self._asking("list", directory):
            yield from self._client.versions(self._below(directory))

    def keeping(self) -> Keeping:
        """Return what the place keeps of what was deleted."""
        with self._asking("read", ""):
            return self._client.keeping()

    def sweep(self, before: int) -> int:
        """Give up uploads to files of a store that began before a time and never ended."""
        with self._changing("delete", ""):
            return sum(self._client.sweep(self._below(directory), before) for directory in WRITTEN)

    def close(self) -> None:
        """Close the connections and remove the workspace; both are made anew when they are wanted."""
        self._client.close()
        if self._scratch is not None:
            _remove(self._scratch, self._process)
            self._scratch = None

    def _stat(self, name: str) -> Stat:
        with self._asking("read", name):
            return self._client.stat(self._key(name))

    def _asking(self, doing: str, name: str) -> AbstractContextManager[None]:
        return translated(doing, f"{self.where}/{name}" if name else self.where)

    def _changing(self, doing: str, name: str) -> AbstractContextManager[None]:
        if not self.abilities.writing:
            raise StorageError("this place can only be read", where=self.where, next="write to another remote")
        return self._asking(doing, name)

    def _below(self, directory: str) -> str:
        """Return what the keys below a directory begin with; that of the store itself has no name."""
        key = self._key(directory) if directory else self._prefix
        return f"{key}/" if key else ""

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


def _remove(directory: str, process: int) -> None:
    if process == os.getpid():  # a forked child leaves it to its parent
        shutil.rmtree(directory, ignore_errors=True)
