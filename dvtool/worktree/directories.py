"""Opens and makes directories of the worktree without following a link on the way."""

from __future__ import annotations

import os
import stat as stat_module

from dvtool.errors import ConflictError
from dvtool.storage.disk import as_ours


def open_directory(root: str, path: str, *, make: bool) -> int:
    """Return a descriptor of the directory ``path`` below ``root``, following no link on the way.

    Raises:
        ConflictError: when a link or file stands where a directory must be.
        FileNotFoundError: when it is not there and is not to be made.
        StorageError: when it may not be read.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.split("/") if path else []:
            try:
                below = os.open(part, flags, dir_fd=current)
            except FileNotFoundError:
                if not make:
                    raise
                _make(part, current)
                below = os.open(part, flags, dir_fd=current)
            except NotADirectoryError:
                raise _in_the_way(path) from None
            except OSError as error:
                if _is_link(part, current):
                    raise _in_the_way(path) from None
                raise as_ours(error, path) from None
            os.close(current)
            current = below
    except BaseException:
        os.close(current)
        raise
    return current


def make_directory(root: str, path: str) -> None:
    """Make a directory and those above it, following no link; nothing happens when it is there."""
    try:
        os.close(open_directory(root, path, make=True))
    except OSError as error:
        raise as_ours(error, path) from None


def _make(name: str, directory: int) -> None:
    try:
        os.mkdir(name, dir_fd=directory)
    except FileExistsError:
        return  # another worker was faster


def _is_link(name: str, directory: int) -> bool:
    try:
        return stat_module.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _in_the_way(path: str) -> ConflictError:
    return ConflictError(
        "a file or link stands where a directory must be",
        where=path,
        next="move it away, then run the command again",
    )
