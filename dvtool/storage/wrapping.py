"""A place seen through another object, which changes some of what it does; wrappers are places themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.storage.backend import close, keeping_of, sweep, versions_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dvtool.effects import View
    from dvtool.storage.backend import Abilities, Backend, Keeping, Listed, Purged, Version


class Wrapper:
    """Hands everything on to the place below; see :class:`~dvtool.storage.backend.Backend`."""

    def __init__(self, below: Backend) -> None:
        """Wrap ``below``."""
        self.below = below

    @property
    def abilities(self) -> Abilities:
        """What the place below can do."""
        return self.below.abilities

    def prepare(self, directories: Iterable[str]) -> None:
        """Make what files need before they can be written."""
        self.below.prepare(directories)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of ``name``."""
        return self.below.read(name, offset, length)

    def view(self, name: str) -> View:
        """Return the bytes of ``name``, read as they are sliced."""
        return self.below.view(name)

    def size(self, name: str) -> int:
        """Return the length of ``name`` in bytes."""
        return self.below.size(name)

    def modified(self, name: str) -> int:
        """Return when ``name`` was written, in microseconds since 1970."""
        return self.below.modified(name)

    def exists(self, name: str) -> bool:
        """Return whether there is something at ``name``."""
        return self.below.exists(name)

    def names(self, directory: str) -> Iterator[str]:
        """Yield the names right below ``directory``."""
        yield from self.below.names(directory)

    def listed(self, directory: str, *, after: str = "", most: int = 0) -> Iterator[Listed]:
        """Yield the files right below ``directory``, in order of name."""
        yield from self.below.listed(directory, after=after, most=most)

    def create(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name`` if nothing is there."""
        self.below.create(name, data)

    def put(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name``."""
        self.below.put(name, data)

    def send(self, view: View, name: str) -> None:
        """Write what ``view`` holds at ``name``."""
        self.below.send(view, name)

    def replace(self, name: str, data: bytes) -> None:
        """Write ``data`` over ``name``."""
        self.below.replace(name, data)

    def adopt(self, path: str, name: str) -> None:
        """Take the finished file at ``path`` as ``name``."""
        self.below.adopt(path, name)

    def settle(self, name: str) -> None:
        """Have a file that is there durable after :meth:`flush`."""
        self.below.settle(name)

    def workspace(self) -> str:
        """Return a local directory for unfinished files."""
        return self.below.workspace()

    def flush(self) -> None:
        """Return when what was written would survive a loss of power."""
        self.below.flush()

    def delete(self, name: str) -> None:
        """Remove ``name``."""
        self.below.delete(name)

    def purge(self, name: str, *, older: bool = False) -> Purged:
        """Remove ``name``, or what was there before, so that it cannot come back."""
        return self.below.purge(name, older=older)

    def keeping(self) -> Keeping:
        """Return what the place keeps of what was deleted."""
        return keeping_of(self.below)

    def versions(self, directory: str) -> Iterator[Version]:
        """Yield every version that the place keeps of the files right below ``directory``."""
        return versions_of(self.below, directory)

    def sweep(self, before: int) -> int:
        """Give up uploads that began before a time (microseconds since 1970) and never ended; return how many."""
        return sweep(self.below, before)

    def close(self) -> None:
        """Close the connections of the place below, if it has any."""
        close(self.below)
