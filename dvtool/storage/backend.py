"""The contract of every place that can hold a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from dvtool.errors import IntegrityError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dvtool.effects import View


WHOLE_LIMIT: Final = 2**28
"""No file is read whole that has more bytes: a key file with the keys of 250 TiB of packs still fits."""
SMALL_LIMITS: Final = {"format": 2**16, "keys/repo": 2**20}
"""The same for files that are small in every store, and are read before anything about it is trusted."""

TOGETHER: Final = 64
"""Files that are overwritten together at most: a loss of power may leave some of so many undone, in any order."""


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a place can do.

    ``exclusive``: of several who create one name, one wins and the others are told.  ``versions``: what was deleted or
    written over may still be kept.  ``ranges``: a part of a file is read without the rest.  ``writing``: it is not
    there to be read only.
    """

    exclusive: bool = True
    versions: bool = False
    ranges: bool = True
    writing: bool = True


class Listed(NamedTuple):
    """A file of a place: the last part of its name, its length in bytes, and when it was written (microseconds)."""

    name: str
    size: int
    modified: int


class Version(NamedTuple):
    """A version of a file of a place, by the last part of its name; what was deleted has none that is the latest."""

    name: str
    is_latest: bool


class Purged(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a purge: how many versions went, and what could not be done and why, and until when.

    ``left`` is empty when nothing at all is left; ``until`` is in microseconds since 1970, None where nobody knows.
    """

    versions: int
    left: tuple[str, ...] = ()
    until: int | None = None


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """What a place keeps of that which was deleted or written over, in words: ``off``, or ``unknown: `` and why.

    ``versioning`` may also be ``on`` or ``suspended``; ``soft_delete`` and ``lock`` say how long otherwise.
    """

    versioning: str = "off"
    soft_delete: str = "off"
    lock: str = "off"


class UnavailableError(StorageError):
    """A place did not answer, or asked to be left alone for a while: the same call may succeed a moment later."""


class UntoldError(StorageError):
    """A place keeps older versions and does not tell which: others may see them."""


class Historian(Protocol):
    """A backend whose place may keep older versions of files, and those of files that were deleted."""

    def versions(self, directory: str) -> Iterator[Version]:
        """Yield every version, and every mark of a deletion, of the files right below ``directory``.

        Raises:
            UntoldError: when the place does not let this user ask.
        """
        ...


class Keeper(Protocol):
    """A backend whose place may keep what was deleted."""

    def keeping(self) -> Keeping:
        """Return what the place keeps; what it does not tell is unknown, and no error."""
        ...


class Sweeper(Protocol):
    """A backend whose place keeps what was uploaded in part."""

    def sweep(self, before: int) -> int:
        """Give up uploads to names of a store that began before a time and never ended; return how many.

        Args:
            before: the time, in microseconds since 1970 by the place's clock.

        Raises:
            StorageError: when the place refuses.
        """
        ...


class Overwriter(Protocol):
    """A backend that writes the same over many files in less time than over one after the other."""

    def overwrite(self, names: Sequence[str], data: bytes) -> None:
        """Write ``data`` over files, durably, in this order.

        Where the power is lost, those that are written and those that are not differ in order within
        :data:`TOGETHER` names at most.
        """
        ...


class Backend(Protocol):
    """Bytes by name.  Names are relative, with ``/``; what is at a name appears whole or not at all.

    ``put``, ``send``, ``adopt`` and ``purge`` become durable at the next ``flush``; ``create`` and ``replace`` are
    durable when they return.  Several threads may use one backend, but for ``flush``, which waits for what all of them
    began.
    """

    @property
    def abilities(self) -> Abilities:
        """What this place can do, as far as it says of itself."""
        ...

    def prepare(self, directories: Iterable[str]) -> None:
        """Make what files need before they can be written: directories, where the place has such; durable."""
        ...

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of ``name``; fewer than ``length`` when it ends before.

        Without ``length``, no more than :func:`whole_limit` allows are taken into memory, and one byte to notice it.

        Raises:
            NotFoundError: when there is nothing at this name.
            IntegrityError: without ``length``, when there are more bytes than a file of a store has that is read whole.
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

    def listed(self, directory: str, *, after: str = "", most: int = 0) -> Iterator[Listed]:
        """Yield the files right below ``directory`` in the order of their names.

        Args:
            directory: where to look.
            after: only those whose last part sorts after this.
            most: how many at most; 0 for all.
        """
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

    def send(self, view: View, name: str) -> None:
        """Write what ``view`` holds at a ``name`` that nothing refers to yet, in pieces where the place can do that.

        It may still be under way when this returns; a failure is then raised by ``flush``.
        """
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Write ``data`` at ``name``, over what is there."""
        ...

    def settle(self, name: str) -> None:
        """Have a file durable at the next flush which another command wrote, and perhaps did not live to make so."""
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

    def purge(self, name: str, *, older: bool = False) -> Purged:
        """Remove ``name`` so that it cannot come back: every version of it, and what was uploaded in part.

        It reads back, and says what it could not do; nothing happens when there is nothing.

        Args:
            name: what to remove.
            older: leave what is there now, and remove only what was there before it.

        Raises:
            StorageError: when the place cannot be asked.
        """
        ...


def whole_limit(name: str) -> int:
    """Return the most bytes that a file of this name may have when it is read without saying how many."""
    return SMALL_LIMITS.get(name, WHOLE_LIMIT)


def too_long(name: str, where: str) -> IntegrityError:
    """Return the error that says that a file is longer than :func:`whole_limit` allows; ``where`` it lies."""
    return IntegrityError(
        "a file of the store is far too long",
        where=where,
        why=f"none of this name that is read as a whole has more than {whole_limit(name):,} bytes",
        next="put the right file in its place: 'dv fsck --repair' brings back what there is a copy of",
    )


def keeping_of(backend: Backend) -> Keeping:
    """Return what a place keeps of what was deleted; nothing, if it has no notion of it."""
    ask = getattr(backend, "keeping", None)
    found = ask() if ask is not None else Keeping()
    return found if isinstance(found, Keeping) else Keeping()


def versions_of(backend: Backend, directory: str) -> Iterator[Version]:
    """Yield the versions of files as :class:`Historian` does; where a place keeps one each, the files."""
    ask = getattr(backend, "versions", None)
    if ask is None:
        return (Version(name, is_latest=True) for name in backend.names(directory))
    found: Iterator[Version] = ask(directory)
    return found


def sweep(backend: Backend, before: int) -> int:
    """Give up uploads that never ended, as :class:`Sweeper` does; return how many, 0 if the place has no such thing."""
    ask = getattr(backend, "sweep", None)
    return int(ask(before)) if ask is not None else 0


def overwrite(backend: Backend, names: Sequence[str], data: bytes) -> None:
    """Write the same over many files, as :class:`Overwriter` does."""
    act = getattr(backend, "overwrite", None)
    if act is not None:
        act(names, data)
        return
    for name in names:
        backend.replace(name, data)


def close(backend: Backend) -> None:
    """Close the connections of a backend that has any; it opens them again when it is asked for something."""
    end = getattr(backend, "close", None)
    if end is not None:
        end()
