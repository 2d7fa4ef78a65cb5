"""Where a repository keeps what: finding ``.dv`` and the files in it."""

from __future__ import annotations

import os
import re
from typing import Final

import msgspec

from dvtool import digest, paths
from dvtool.errors import FormatError, IntegrityError, NotFoundError, UsageError
from dvtool.storage.disk import Disk, as_ours, attempt, temporary_name

DIRECTORY: Final = ".dv"
RECOVERY: Final = (
    "run 'dv fsck --repair', which makes it anew where it is clear which worktree this was, or restore it from a "
    "backup; what is stored is unhurt"
)
VERSION: Final = 2
"""Version 1 knows no exceptions among ``dropped``; a file without any is still written as one of version 1."""


class NewerWorktreeError(FormatError):
    """A newer dv made the worktree file: it is sound, and nothing may take its place."""


class WorktreeFile(msgspec.Struct, frozen=True, kw_only=True):
    """``.dv/worktree``: this worktree's random id (32 hex digits) and which tracked paths are not materialised.

    ``only`` confines the worktree to these paths (empty: no confinement); ``dropped`` are paths taken out by
    ``dv drop`` and, beginning with ``/``, those below them that ``dv get`` brought back; the nearest one decides, see
    :func:`dvtool.paths.under`.  So a file out of a large directory is one more line and not a list of all others.
    Truth, not cache: without it, files left out on purpose would look removed.
    """

    version: int
    id: str
    only: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    check: str = ""

    def encode(self) -> bytes:
        """Return the bytes of the file: one line of JSON, which holds the XXH3 of itself without it."""
        version = VERSION if any(path.startswith(paths.BACK) for path in self.dropped) else 1
        bare = msgspec.structs.replace(self, version=version, check="")
        check = digest.accident(msgspec.json.encode(bare)).hex()
        return msgspec.json.encode(msgspec.structs.replace(bare, check=check)) + b"\n"

    @property
    def is_sparse(self) -> bool:
        """Return whether anything is left out."""
        return bool(self.only or self.dropped)


class Layout:
    """Absolute paths of one worktree."""

    __slots__ = ("control", "root")

    def __init__(self, root: str) -> None:
        """Name the root of the worktree (absolute, resolved)."""
        self.root = root
        self.control = f"{root}/{DIRECTORY}"

    @property
    def index(self) -> str:
        """The worktree's index."""
        return f"{self.control}/index"

    @property
    def cache(self) -> str:
        """The directory of caches."""
        return f"{self.control}/cache"

    @property
    def lock(self) -> str:
        """The file that one changing command at a time holds locked."""
        return f"{self.control}/lock"

    @property
    def writing(self) -> str:
        """The note of where files are being written; there only while that goes on, or after it was cut short."""
        return f"{self.control}/writing"

    @property
    def worktree(self) -> str:
        """The file with the worktree's id and what is left out of it."""
        return f"{self.control}/worktree"

    @property
    def config(self) -> str:
        """The worktree's own settings."""
        return f"{self.control}/config"

    def store(self) -> str:
        """Return the directory of the store, here or in another worktree.

        Raises:
            NotFoundError: when it is gone.
            StorageError: when the disk refuses to tell where it is.
        """
        place = f"{self.control}/store"
        if os.path.isdir(place):
            return place
        try:
            with open(place, "rb") as file:
                target = os.fsdecode(file.read(65536).removesuffix(b"\n"))
        except FileNotFoundError as error:
            raise NotFoundError(
                "the repository has no store",
                where=place,
                why=error.strerror or "",
                next="restore .dv/store from a backup",
            ) from None
        except OSError as error:
            raise as_ours(error, place) from None
        if "\0" in target or not os.path.isdir(target):
            raise NotFoundError(
                "the store of this worktree is gone",
                where=target,
                why="the worktree that holds it was moved or removed",
                next=f"write the store's new place into {place}",
            )
        return target

    def read_worktree(self) -> WorktreeFile:
        """Return the worktree file; raises as :func:`read_worktree_file`."""
        return read_worktree_file(self.worktree)

    def write_worktree(self, value: WorktreeFile, disk: Disk) -> None:
        """Replace the worktree file, durably."""
        write_file(self.worktree, value.encode(), disk)


def hide_from_git(control: str, disk: Disk) -> None:
    """Have Git ignore a control directory by a file of its own, if there is none yet.

    The block in the worktree's ``.gitignore`` is Git's to change: an old commit that is checked out does not have it,
    and ``git add -A`` would take the key.
    """
    path = f"{control}/.gitignore"
    if not os.path.lexists(path):
        write_file(path, b"*\n", disk, durable=False)


def read_worktree_file(path: str) -> WorktreeFile:
    """Return what the worktree file at ``path`` says.

    Raises:
        FormatError: when it is missing, malformed or of a newer version.
        IntegrityError: when its checksum does not match.
        StorageError: when the disk refuses it.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
        value = msgspec.json.decode(data, type=WorktreeFile)
    except FileNotFoundError:
        raise FormatError(
            "the worktree file is missing",
            where=path,
            why="it says which worktree this is, and what was left out of it",
            next=RECOVERY,
        ) from None
    except OSError as error:
        raise as_ours(error, path) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError("the worktree file is malformed", where=path, why=str(error), next=RECOVERY) from None
    if value.version > VERSION:
        raise NewerWorktreeError("a newer dv made this worktree", where=path, next="upgrade dv")
    if value.encode() != data or not re.fullmatch("[0-9a-f]{32}", value.id):
        raise IntegrityError(
            "the worktree file is damaged", where=path, why="its checksum does not match", next=RECOVERY
        )
    return value


def write_file(path: str, data: bytes, disk: Disk, *, durable: bool = True, mode: int = 0o600) -> None:
    """Replace a small file as a whole."""
    temporary = os.path.join(os.path.dirname(path), paths.PARTIAL + temporary_name())
    disk.unlink(temporary)
    try:
        disk.write(temporary, data, mode=mode)
        if durable:
            disk.sync(temporary)
        disk.rename(temporary, path)
    except BaseException:
        disk.unlink(temporary)
        raise
    if durable:
        disk.sync_directory(os.path.dirname(path))


def find(start: str) -> Layout:
    """Return the layout of the repository that holds ``start``.

    Raises:
        NotFoundError: when neither it nor a directory above it is a repository.
        UsageError: when ``start`` lies inside ``.dv`` itself, or holds a NUL.
    """
    if "\0" in start:
        raise UsageError("a path holds a NUL", where=ascii(start), next="leave it out")
    place = os.path.realpath(start)
    if f"/{DIRECTORY}/" in place + "/":
        raise UsageError(
            "this directory belongs to dv itself",
            where=place,
            next="change to the repository's own directory",
        )
    current = place
    while True:
        if os.path.isdir(f"{current}/{DIRECTORY}"):
            return Layout(current)
        parent = os.path.dirname(current)
        if parent == current:
            raise NotFoundError(
                "this is not a dv repository, nor is any directory above it",
                where=place,
                next="run 'dv init' to make one here",
            )
        current = parent


def enclosing(path: str) -> str | None:
    """Return the root of the repository that ``path`` lies in, or None."""
    try:
        return find(path).root
    except NotFoundError:
        return None


def make_directory(path: str) -> None:
    """Make one directory.

    Raises:
        ExistsError, StorageError: as the operating system says.
    """
    attempt(path, lambda: os.mkdir(path))
