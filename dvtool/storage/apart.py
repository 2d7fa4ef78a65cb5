"""A place of which one file lies at another place, which guards it better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.storage.backend import close
from dvtool.storage.disk import Disk
from dvtool.storage.wrapping import Wrapper

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.effects import View
    from dvtool.storage.backend import Backend, Purged


class Apart(Wrapper):
    """Hands questions about one name on to another place, and all others to the place below.

    It has to be the outermost wrapper: what stands before it could answer for the name from the place below, where
    anybody may have put something under it.  Listings are those of the place below.
    """

    def __init__(self, below: Backend, name: str, elsewhere: Backend, *, disk: Disk | None = None) -> None:
        """Look for ``name`` at ``elsewhere``; ``disk`` removes what was adopted there."""
        super().__init__(below)
        self._name = name
        self._elsewhere = elsewhere
        self._disk = disk or Disk()

    def prepare(self, directories: Iterable[str]) -> None:
        """Make what files need at both places."""
        self.below.prepare(directories)
        self._elsewhere.prepare((self._name.rpartition("/")[0],))

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of ``name``."""
        return self._of(name).read(name, offset, length)

    def view(self, name: str) -> View:
        """Return the bytes of ``name``, read as they are sliced."""
        return self._of(name).view(name)

    def size(self, name: str) -> int:
        """Return the length of ``name`` in bytes."""
        return self._of(name).size(name)

    def modified(self, name: str) -> int:
        """Return when ``name`` was written, in microseconds since 1970."""
        return self._of(name).modified(name)

    def exists(self, name: str) -> bool:
        """Return whether there is something at ``name``."""
        return self._of(name).exists(name)

    def create(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name`` if nothing is there."""
        self._of(name).create(name, data)

    def put(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name``."""
        self._of(name).put(name, data)

    def send(self, view: View, name: str) -> None:
        """Write what ``view`` holds at ``name``."""
        self._of(name).send(view, name)

    def replace(self, name: str, data: bytes) -> None:
        """Write ``data`` over ``name``."""
        self._of(name).replace(name, data)

    def adopt(self, path: str, name: str) -> None:
        """Take the finished file at ``path`` as ``name``; it was made in the workspace of the place below."""
        if name != self._name:
            self.below.adopt(path, name)
            return
        with open(path, "rb") as file:
            self._elsewhere.put(name, file.read())
        self._disk.unlink(path)

    def flush(self) -> None:
        """Return when what was written at either place would survive a loss of power."""
        self._elsewhere.flush()
        self.below.flush()

    def delete(self, name: str) -> None:
        """Remove ``name``."""
        self._of(name).delete(name)

    def purge(self, name: str, *, older: bool = False) -> Purged:
        """Remove ``name``, or what was there before, so that it cannot come back."""
        return self._of(name).purge(name, older=older)

    def close(self) -> None:
        """Close the connections of both places."""
        close(self._elsewhere)
        super().close()

    def _of(self, name: str) -> Backend:
        return self._elsewhere if name == self._name else self.below
