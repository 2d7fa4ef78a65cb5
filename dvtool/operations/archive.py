"""``dv archive``: writes a snapshot's files to a new directory, or as a tar stream."""

from __future__ import annotations

import io
import os
import tarfile
from typing import IO, TYPE_CHECKING, Final

import msgspec

from dvtool.errors import FormatError, IntegrityError, UsageError
from dvtool.formats import tree
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.workspace import free_target
from dvtool.worktree import apply, directories, materialise, room

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.store.trees import Damage
    from dvtool.workspace import Workspace


KEPT_SIZE: Final = 1 << 24
"""Bytes of a file up to which it is kept in memory between being verified and being written to a tar stream."""


class ArchiveResult(msgspec.Struct, frozen=True, kw_only=True):
    """How many files were written, and their bytes."""

    files: int
    bytes: int


def to_directory(workspace: Workspace, revision: str, directory: str) -> ArchiveResult:
    """Write the files of ``REV`` or ``REV:PATH`` into a directory that is missing or empty.

    Raises:
        ExistsError: when the directory holds something.
        UsageError: when the path is a file, or no directory is named.
        IntegrityError: when some files are damaged; the others have been written.
    """
    free_target(directory, what=f"{directory!r}")
    session = workspace.session
    _identity, _path, top = workspace.place(revision)
    room.require(os.path.abspath(directory), files=top.files, size=top.size)
    damaged: Damage = []
    entries = list(_entries(workspace, revision, damaged, kept=True))
    os.makedirs(directory, exist_ok=True)
    root = os.path.realpath(directory)
    for path, entry in entries:
        if entry.kind == DIRECTORY:
            directories.make_directory(root, path)
    files = {path: entry for path, entry in entries if entry.kind not in {DIRECTORY, tree.ERASED}}
    session.bring(files.values())
    written = materialise.write_all(session.store, root, list(files), files, session.context.progress)
    apply.raise_damage(written.damaged + damaged, done="every other file has been written")
    return ArchiveResult(files=len(files), bytes=sum(entry.size for entry in files.values()))


def to_stream(workspace: Workspace, revision: str, stream: IO[bytes]) -> ArchiveResult:
    """Write the files of ``REV`` or ``REV:PATH`` as a tar archive; the same snapshot gives the same bytes.

    Raises:
        UsageError: when the path is a file.
        IntegrityError: when some files are damaged; the others have been written, and the archive is a valid one.
    """
    session = workspace.session
    contents = materialise.Contents(session.store, session.frames())
    identity, _path, _entry = workspace.place(revision)
    moment = session.snapshot(identity).time // 1_000_000
    count = size = 0
    damaged: Damage = []
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path, entry in _entries(workspace, revision, damaged, kept=False):
            archive.getmembers().clear()  # which it keeps to look names up in; a stream has no end that anybody knows
            info = tarfile.TarInfo(path)
            info.mtime = moment
            if entry.kind == DIRECTORY:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
                continue
            if entry.kind == tree.ERASED:
                continue
            # Verified before its header goes out: what follows a header must be as long as it says.
            try:
                if entry.kind == tree.SYMLINK:
                    info.type, info.mode = tarfile.SYMTYPE, 0o777
                    info.linkname = tree.link_target(contents.whole(entry))
                    archive.addfile(info)
                else:
                    info.size = entry.size
                    info.mode = 0o755 if entry.kind in tree.EXECUTABLES else 0o644
                    pieces = _verified(contents, entry)
                    archive.addfile(info, io.BufferedReader(_Pieces(pieces), 1 << 20))
                    size += entry.size
            except (IntegrityError, FormatError) as error:
                damaged.append((path, str(error)))
                continue
            count += 1
    apply.raise_damage(damaged, done="every other file has been written")
    return ArchiveResult(files=count, bytes=size)


def _verified(contents: materialise.Contents, entry: Entry) -> Iterator[bytes]:
    """Return the pieces of a file, all of which have been read: those of a long one are read twice, not kept.

    Raises:
        IntegrityError: when one is damaged.
    """
    if entry.size <= KEPT_SIZE:
        return iter(list(contents.pieces(entry)))
    for _piece in contents.pieces(entry):
        pass
    return contents.pieces(entry)


class _Pieces(io.RawIOBase):
    """A file object over verified pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _entries(workspace: Workspace, revision: str, damaged: Damage, *, kept: bool) -> Iterator[tuple[str, Entry]]:
    _identity, where, entry = workspace.place(revision)
    if entry.kind != DIRECTORY:
        raise UsageError(f"{where!r} is a file", next=f"write it out with 'dv cat {revision}'")
    return workspace.session.trees.walk(entry.id, damaged=damaged, kept=kept)
