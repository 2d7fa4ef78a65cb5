"""What lies where something else must go: a file in the place of a directory, a directory in the place of a file."""

from __future__ import annotations

import os
import stat as stat_module
from typing import TYPE_CHECKING

from dvtool import paths
from dvtool.errors import ConflictError
from dvtool.storage.disk import as_ours

if TYPE_CHECKING:
    from collections.abc import Iterable


def find(root: str, files: Iterable[str], directories: Iterable[str]) -> dict[str, bool]:
    """Return what must be removed before files can be written and directories made, and whether it is a directory.

    In the place of a directory that is a file, link or the like; in the place of a file it is a directory with all
    that it holds.  No link is followed.

    Args:
        root: the worktree's root.
        files: repository paths that are to become files or links.
        directories: repository paths that are to be directories; those above ``files`` need not be named.

    Raises:
        ConflictError: when a directory that would have to go holds a repository of Git or dv: with the files, its
            whole history would go.
        StorageError: when a directory cannot be read.
    """
    look = _Look(root)
    for path in directories:
        look.is_there(path)
    for path in files:
        if look.is_there(paths.split(path)[0]) and stat_module.S_ISDIR(_mode(f"{root}/{path}")):
            look.gather(path)
    return look.found


class _Look:
    def __init__(self, root: str) -> None:
        self._root = root
        self._there = {"": True}
        self.found: dict[str, bool] = {}

    def is_there(self, directory: str) -> bool:
        """Return whether a directory is there, noting what stands in its place or in that of one above it."""
        pending = []
        while directory not in self._there:
            pending.append(directory)
            directory = paths.split(directory)[0]
        there = self._there[directory]
        for path in reversed(pending):
            if there:
                mode = _mode(f"{self._root}/{path}")
                there = stat_module.S_ISDIR(mode)
                if mode and not there:
                    self.found[path] = False
            self._there[path] = there
        return there

    def gather(self, directory: str) -> None:
        """Note a directory and everything in it."""
        pending = [directory]
        while pending:
            current = pending.pop()
            self.found[current] = True
            try:
                with os.scandir(f"{self._root}/{current}") as entries:
                    inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            except OSError as error:
                raise as_ours(error, current) from None
            for name, is_directory in inside:
                path = paths.join(current, name)
                if name in paths.REPOSITORIES:
                    raise ConflictError(
                        "a repository lies where a file must go, and is not removed",
                        where=paths.shown(path),
                        why="its history would go with it",
                        next=f"move {paths.shown(current)!r} away, then run the command again",
                    )
                if is_directory:
                    pending.append(path)
                else:
                    self.found[path] = False


def _mode(path: str) -> int:
    """Return the mode of what is at a path itself; 0 when nothing is, or it cannot be looked at."""
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0
