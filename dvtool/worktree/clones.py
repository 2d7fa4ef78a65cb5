"""Which clone this is: a random id beside the store, bound to the machine and the place, so that a copy gets its own.

With it stands what the clone has said of itself to other stores (``docs/format/local.md``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import digest, ids
from dvtool.storage.disk import attempt
from dvtool.worktree.layout import write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dvtool.effects import Entropy
    from dvtool.storage.disk import Disk

VERSION: Final = 1
_MACHINES: Final = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_CONTAINERS: Final = ("/.dockerenv", "/run/.containerenv")
_ID: Final = re.compile("[0-9a-f]{32}")
_LOCAL: Final = 1 << 40
"""This bit of a hardware address says that nobody assigned it; such a one may be another at the next start."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the clone has told one store.

    ``record`` is its registration there, in hexadecimal, and ``expires`` when that ends (microseconds, 0: never);
    ``acknowledged`` are ids of erasures, each with the write id that announced it there.
    """

    record: str = ""
    expires: int = 0
    acknowledged: tuple[str, ...] = ()


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """``.dv/clone``: the clone's id, what it is bound to, for how many days it registers (0: for good), what it told.

    ``place`` is a keyed hash of the machine and the path, ``directory`` one of the machine and of how its file system
    numbers the directory, by which one that was moved is known again.
    """

    version: int
    id: str
    place: str
    directory: str
    days: int = 0
    stores: dict[str, Told] = {}

    @property
    def identity(self) -> bytes:
        """The id of the clone."""
        return bytes.fromhex(self.id)

    def told(self, store: bytes) -> Told:
        """Return what this clone has told a store."""
        return self.stores.get(store.hex(), Told())

    def having_told(self, store: bytes, told: Told) -> Own:
        """Return the same with what it has told a store now."""
        return msgspec.structs.replace(self, stores={**self.stores, store.hex(): told})


def machine() -> str:
    """Return what this machine is known by to itself; it is never sent or written down, only hashed.

    In a container that is its name as well: many are made from one image.
    """
    found = ""
    for path in _MACHINES:
        with contextlib.suppress(OSError, UnicodeDecodeError), open(path, encoding="ascii") as file:
            found = found or file.read(100).strip()
    name = os.uname().nodename
    if found:
        return f"{found} {name}" if any(map(os.path.exists, _CONTAINERS)) else found
    import uuid

    address = uuid.getnode()
    return name if address & _LOCAL else f"{address:012x}"


def read(control: str, *, on: str | None = None) -> Own | None:
    """Return what the clone's file in a directory says; None if there is none, or it is that of another clone.

    Args:
        control: the directory in which the store lies.
        on: what the machine is known by; by default :func:`machine` is asked.
    """
    try:
        with open(f"{control}/clone", "rb") as file:
            found = msgspec.json.decode(file.read(), type=Own)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if found.version != VERSION or not _ID.fullmatch(found.id) or not _is_hex(found):
        return None
    place, directory = _bound(found.identity, control, machine() if on is None else on)
    return found if found.place == place or found.directory == directory else None


def change(
    control: str, entropy: Entropy, disk: Disk, edit: Callable[[Own], Own] = lambda own: own, *, on: str | None = None
) -> Own:
    """Return what the clone's file says, made if there is none and changed by ``edit``.

    Args:
        control: the directory in which the store lies.
        entropy: makes ids.
        disk: writes.
        edit: returns what it is to say, for what it says.
        on: as for :func:`read`.

    Raises:
        StorageError: when the disk refuses.
    """
    where = machine() if on is None else on
    with _held(control):
        before = read(control, on=where)
        identity = before.identity if before is not None else entropy.bytes(ids.SHORT_SIZE)
        place, directory = _bound(identity, control, where)
        # A copy registers for as long as what it was copied from, and has told nobody anything.
        days = before.days if before is not None else _days(control)
        own = before or Own(version=VERSION, id=identity.hex(), place="", directory="", days=days)
        own = edit(msgspec.structs.replace(own, place=place, directory=directory))
        if own != before:
            write_file(f"{control}/clone", msgspec.json.encode(own) + b"\n", disk)
    return own


def _is_hex(found: Own) -> bool:
    try:
        return all(bytes.fromhex(told.record) or not told.record for told in found.stores.values())
    except ValueError:
        return False


def _days(control: str) -> int:
    try:
        with open(f"{control}/clone", "rb") as file:
            return msgspec.json.decode(file.read(), type=Own).days
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0


def _bound(identity: bytes, control: str, where: str) -> tuple[str, str]:
    """Return what a clone at this place is bound to: hashes that say nothing without its id."""
    key = identity + identity
    status = attempt(control, lambda: os.stat(control))
    path = os.fsencode(os.path.realpath(control))
    machine = where.encode(errors="surrogateescape")
    number = f"{status.st_dev}:{status.st_ino}".encode()
    return (
        digest.derive(key, b"place\0" + machine + b"\0" + path).hex(),
        digest.derive(key, b"directory\0" + machine + b"\0" + number).hex(),
    )


@contextlib.contextmanager
def _held(control: str) -> Iterator[None]:
    """Have two commands at once make one id; the directory itself is locked, for a moment."""
    descriptor = attempt(control, lambda: os.open(control, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    try:
        with contextlib.suppress(OSError):  # a file system without locks: the worst is an id that nobody uses
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
