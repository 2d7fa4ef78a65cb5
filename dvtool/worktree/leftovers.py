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
from dvtool.storage.disk import sweep_directory, unfinished
from dvtool.worktree.layout import Layout, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.storage.disk import Disk


def sweep(place: Layout) -> None:
    """Remove what commands that are no more left unfinished; to be called with the worktree's lock held."""
    for directory, prefix in _own(place):
        sweep_directory(directory, prefix)
    if _noted(place) and all(sweep_directory(directory, paths.PARTIAL) for directory in _written(place)):
        try:
            os.unlink(place.writing)
        except OSError:
            return


def found(place: Layout) -> list[str]:
    """Return the paths of what :func:`sweep` would remove."""
    places = [*_own(place), *((directory, paths.PARTIAL) for directory in _written(place))]
    return sorted({path for directory, prefix in places for path in unfinished(directory, prefix)[0]})


def _own(place: Layout) -> list[tuple[str, str]]:
    """Return (directory, prefix of names) of where unfinished files may lie without a note of it."""
    directories = [(directory, paths.PARTIAL) for directory in (place.control, place.cache, place.root)]
    try:
        return [*directories, (os.path.join(os.path.dirname(place.store()), "tmp"), "")]
    except DvError:
        return directories  # a worktree without its store; whoever opens it says so


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


def _written(place: Layout) -> list[str]:
    """Return the noted directories, but for what has become a link since: it leads to what is not this worktree's."""
    directories = [f"{place.root}/{path}".rstrip("/") for path in _noted(place)]
    return [directory for directory in directories if os.path.realpath(directory) == directory]
