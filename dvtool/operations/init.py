"""``dv init``: makes a repository."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from dvtool import paths
from dvtool.errors import ConflictError, ExistsError, UsageError
from dvtool.git import beside
from dvtool.storage.disk import sweep_directory, temporary_name
from dvtool.worktree import founding, layout

if TYPE_CHECKING:
    from dvtool.worktree.session import Context


def init(path: str, context: Context) -> str:
    """Make a repository in the directory ``path`` (made if missing) and return its root.

    The repository appears as a whole or not at all.

    Raises:
        ExistsError: when there is one already.
        ConflictError: when ``path`` lies inside another.
        UsageError: when the path is empty or holds a NUL.
        StorageError: when the disk refuses.
    """
    if not path or "\0" in path:
        raise UsageError("an empty path names nothing", next="give '.' for the current directory")
    root = os.path.realpath(path)
    outer = layout.enclosing(root) if os.path.isdir(root) else layout.enclosing(os.path.dirname(root))
    if outer == root:
        raise ExistsError("there is a repository already", where=root, next="just use it: dv add PATH")
    if outer is not None:
        raise ConflictError(
            "a repository cannot lie inside another",
            where=root,
            why=f"{outer} is one, and its roots could not be told from this one's",
            next="run the command outside of it, or use that one",
        )
    if beside.find(root) is not None:
        beside.require_file(root)
    context.disk.make_directory(root)
    sweep_directory(root, paths.PARTIAL)
    fresh = f"{root}/{paths.PARTIAL}{temporary_name()}"
    try:
        context.disk.make_directory(fresh)
        os.chmod(fresh, 0o700)
        founding.make_control(fresh, context)
        context.disk.rename(fresh, f"{root}/{layout.DIRECTORY}")
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    context.disk.sync_directory(root)
    beside.ignore_roots(root, [], context.disk)
    return root
