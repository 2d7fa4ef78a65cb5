"""``dv cache prune``: removes what dv makes anew by itself, and what killed commands left unfinished."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import paths
from dvtool.errors import IntegrityError
from dvtool.history.describe import Amount, amount
from dvtool.storage.disk import as_ours
from dvtool.worktree import layout, leftovers, locking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.worktree.layout import Layout
    from dvtool.worktree.session import Context

REMOTES: Final = "remotes"
"""The directory among the caches with what was read of remotes."""
KEPT: Final = "head"
"""The file among the caches that stays: it is what notices a store that was rolled back."""


class PruneResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed, or would be: caches, and what commands that are no more left unfinished."""

    dry_run: bool
    caches: Amount
    leftovers: Amount


def prune(path: str, context: Context, *, dry_run: bool = False) -> PruneResult:
    """Remove the caches of the worktree that holds ``path``, and the unfinished files of commands that are no more.

    The store need not open for that, and no file in it is touched, nor any of the user's.  What the worktree remembers
    of its store (``.dv/cache/head``) and its index stay.

    Args:
        path: where to look for the repository.
        context: how long to wait for another command, and through what to change the disk.
        dry_run: find out and change nothing.

    Raises:
        NotFoundError: when neither ``path`` nor a directory above it is a repository.
        ConflictError: when another command is changing the worktree for too long.
        IntegrityError: when ``.dv/cache`` is a link: what it leads to is not known to be caches.
        StorageError: when the disk refuses; what is gone by then would have gone anyway.
    """
    place = layout.find(path)
    caches = _caches(place)
    left = {name: _size(name) for name in leftovers.found(place)}
    if not dry_run:
        with locking.WorktreeLock(place.lock, wait=context.wait, tell=context.tell):  # which removes what is left
            for name in caches:
                context.disk.unlink(name)
        left = {name: size for name, size in left.items() if not os.path.lexists(name)}
    return PruneResult(dry_run=dry_run, caches=amount(caches.values()), leftovers=amount(left.values()))


def _caches(place: Layout) -> dict[str, int]:
    """Return the caches that can go, with their sizes in bytes; unfinished files among them are not cache yet."""
    if os.path.islink(place.cache):
        raise IntegrityError(
            "the directory of caches is a link",
            where=place.cache,
            why="what it leads to may be something else, and nothing was removed",
            next="remove the link; dv makes the directory anew",
        )
    found = {}
    try:
        with os.scandir(place.cache) as entries:
            for entry in entries:
                if entry.name == REMOTES and entry.is_dir(follow_symlinks=False):
                    found.update({path: _size(path) for path in _below(entry.path)})
                elif entry.name != KEPT and not paths.is_partial(entry.name) and entry.is_file(follow_symlinks=False):
                    found[entry.path] = _size(entry.path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise as_ours(error, place.cache) from None
    return found


def _below(directory: str) -> Iterator[str]:
    """Yield the files below a directory, links not followed."""
    for above, _directories, names in os.walk(directory):
        yield from (f"{above}/{name}" for name in names if not os.path.islink(f"{above}/{name}"))


def _size(path: str) -> int:
    """Return the bytes of a file, or of all files in a directory; 0 for what has gone meanwhile."""
    try:
        found = os.lstat(path)
    except OSError:
        return 0
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size
    return sum(_size(f"{above}/{name}") for above, _directories, names in os.walk(path) for name in names)
