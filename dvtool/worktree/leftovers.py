"""What killed commands left unfinished, and how the next one finds it without looking everywhere.

Unfinished files lie in ``.dv/tmp``, in ``.dv`` and ``.dv/cache``, at the worktree's root, and beside the files that
were being written.  For the last, a command notes in ``.dv/writing`` where it is going to write, before it does.
Whoever takes the worktree's lock next looks into these few directories and nowhere else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dvtool import paths
from dvtool.errors import DvError
from dvtool.storage.disk import sweep_directory
from dvtool.worktree.layout import Layout, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.storage.disk import Disk


def sweep(place: Layout) -> None:
    """Remove what commands that are no more left unfinished; to be called with the worktree's lock held."""
    for directory in (place.control, place.cache, place.root):
        sweep_directory(directory, paths.PARTIAL)
    try:
        sweep_directory(os.path.join(os.path.dirname(place.store()), "tmp"))
    except DvError:
        return  # a worktree without its store; whoever opens it says so
    noted = _noted(place)
    if noted and all(_sweep_noted(place, path) for path in noted):
        try:
            os.unlink(place.writing)
        except OSError:
            return


def note(place: Layout, directories: Iterable[str], disk: Disk) -> None:
    """Note, durably, the directories (repository paths) in which files are going to be written."""
    wanted = {*directories, *_noted(place)}
    write_file(place.writing, "\0".join(sorted(wanted)).encode() + b"\0", disk)


def done(place: Layout, disk: Disk) -> None:
    """Remove the note: every file is under its own name."""
    disk.unlink(place.writing)


def _noted(place: Layout) -> list[str]:
    try:
        with open(place.writing, encoding="utf-8") as file:
            return file.read().split("\0")[:-1]
    except (OSError, UnicodeDecodeError):
        return []


def _sweep_noted(place: Layout, path: str) -> bool:
    directory = f"{place.root}/{path}".rstrip("/")
    # What has become a link since leads to files that are not this worktree's.
    return os.path.realpath(directory) != directory or sweep_directory(directory, paths.PARTIAL)
