"""The contract of every place that can hold a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.effects import View


class Backend(Protocol):
    """Bytes by name.  Names are relative, with ``/``; what is at a name appears whole or not at all.

    ``put`` and ``adopt`` become durable at the next ``flush``; ``create`` and ``replace`` are durable when they return.
    """

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of ``name``; fewer than ``length`` when it ends before.

        Raises:
            NotFoundError: when there is nothing at this name.
            StorageError: when the place refuses.
        """
        ...

    def view(self, name: str) -> View:
        """Return the bytes of ``name``, read only as they are sliced where the place can do that.

        Raises:
            NotFoundError: when there is nothing at this name.
            StorageError: when the place refuses, now or when it is sliced.
        """
        ...

    def size(self, name: str) -> int:
        """Return the length of ``name`` in bytes; raises as :meth:`read`."""
        ...

    def modified(self, name: str) -> int:
        """Return when ``name`` was written, in microseconds since 1970 by the place's clock; raises as :meth:`read`."""
        ...

    def exists(self, name: str) -> bool:
        """Return whether there is something at ``name``."""
        ...

    def names(self, directory: str) -> Iterator[str]:
        """Yield the names right below ``directory``, in no order."""
        ...

    def create(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name`` if nothing is there, else change nothing.

        Raises:
            ExistsError: when something is there.
        """
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write ``data`` at a random or content-derived ``name`` that nothing refers to yet."""
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name``, over what is there."""
        ...

    def adopt(self, path: str, name: str) -> None:
        """Take the finished file at ``path``, made in :meth:`workspace`, as ``name``, written now."""
        ...

    def workspace(self) -> str:
        """Return a local directory for files that :meth:`adopt` will take."""
        ...

    def flush(self) -> None:
        """Return when all that was put or adopted would survive a loss of power."""
        ...

    def delete(self, name: str) -> None:
        """Remove ``name``; nothing happens when it is not there."""
        ...
