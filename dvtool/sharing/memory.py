"""What a clone remembers of each remote, so that one that was rolled back or replaced is noticed.

It lies beside the store, sealed, and is no cache: without it the next look at the remote believes what it sees.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import paths
from dvtool.errors import DvError
from dvtool.formats import codec, sealed
from dvtool.worktree.layout import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.formats.project import Remote as Settings
    from dvtool.worktree.session import Session

DIRECTORY: Final = "remotes"
UNKNOWN: Final = -1
"""Nobody has looked how the key is protected."""
_ANYWHERE: Final = frozenset(
    {"addressing_style", "anon", "profile", "project", "region", "region_name", "requester_pays"}
)
"""Options that say how to reach a place, and cannot lead to one that somebody else keeps."""


class Aim(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A place as settings name it: the URL, where the key lies if not with it, and options that lead elsewhere."""

    url: str
    keys: str = ""
    options: str = ""

    def __str__(self) -> str:
        """Return it as people are told of it."""
        keys = f", with its key at {self.keys}" if self.keys else ""
        return self.url + keys + (f", with the options {self.options}" if self.options else "")


def aim(settings: Settings) -> Aim:
    """Return the place that the settings of a remote name; options are JSON, with sorted keys."""
    options = {name: value for name, value in settings.options.items() if name not in _ANYWHERE}
    shown = json.dumps(options, sort_keys=True, ensure_ascii=False, default=str) if options else ""
    return Aim(url=settings.url, keys=settings.keys or "", options=shown)


class Memory(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What was seen of a remote: its ``format`` file, its wrapping key (and the one before), how far its log went.

    ``number`` and ``head`` are those of the last entry, ``checkpoint`` that of its newest checkpoint.  ``key`` is the
    file ``keys/repo`` that a store is to get which is not made yet; ``format`` is empty then.  ``brought`` is the keyed
    hash of the branches and tags here by which all of the remote's were brought; it is empty while some were not.
    ``place`` is where that was.  ``protection`` is how ``keys/repo`` was protected when it was last opened, as
    :class:`dvtool.formats.repokey.Description` has it, or ``UNKNOWN``.
    """

    place: Aim
    format: bytes
    wrap: bytes
    previous: bytes
    number: int
    head: bytes
    checkpoint: int
    key: bytes = b""
    brought: bytes = b""
    protection: int = UNKNOWN


def recall(session: Session, name: str) -> Memory | None:
    """Return what is remembered of a remote, or None."""
    try:
        with open(_path(session, name), "rb") as file:
            blob = file.read()
        context = _context(session, name)
        payload = sealed.open_blob(sealed.CACHE, session.store.secrets.cache, context, blob, what="memory of a remote")
        return codec.decode(Memory, payload, what="memory of a remote")
    except (OSError, DvError):
        return None


def remember(session: Session, name: str, memory: Memory) -> None:
    """Write what was seen of a remote, durably.

    Raises:
        StorageError: when the disk refuses.
    """
    if recall(session, name) == memory:
        return
    context = session.context
    blob = sealed.seal(
        sealed.CACHE,
        session.store.secrets.cache,
        bytes(sealed.LABEL_SIZE),
        context.entropy.bytes(sealed.SALT_SIZE),
        _context(session, name),
        codec.encode(memory),
    )
    path = _path(session, name)
    if not os.path.isdir(os.path.dirname(path)):
        context.disk.make_directory(os.path.dirname(path))
    write_file(path, blob, context.disk)


def forget(session: Session, name: str) -> None:
    """Forget what was seen of a remote."""
    session.context.disk.unlink(_path(session, name))


def known(session: Session) -> Iterator[str]:
    """Yield the names of the remotes of which something is remembered."""
    try:
        names = sorted(os.listdir(os.path.dirname(_path(session, "x"))))
    except OSError:
        return
    yield from (name for name in names if not paths.is_partial(name))


def mirror(session: Session, name: str) -> str:
    """Return the directory of copies of a remote's small files."""
    return f"{os.path.dirname(session.layout.store())}/cache/remotes/{name}"


def _path(session: Session, name: str) -> str:
    return f"{os.path.dirname(session.layout.store())}/{DIRECTORY}/{name}"


def _context(session: Session, name: str) -> bytes:
    return session.store.format.store + b"remote" + name.encode()
