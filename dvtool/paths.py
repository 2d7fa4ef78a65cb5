"""Rules for names and paths: which may be data, how arguments become repository paths, and back.

A repository path is relative to the repository's root, with ``/``, without a trailing slash; the root itself is
``""``.  Python's order of strings is by code point, which is also the order of their UTF-8 bytes.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from dvtool.errors import FormatError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

REPOSITORIES: Final = frozenset({".git", ".dv"})
"""Directories in which Git and dv keep everything that they know."""

RESERVED: Final = REPOSITORIES | {"dv.toml", "dv.lock"}
"""Directory entries that are never data, at any depth and in any case (``.GIT`` is ``.git`` on some disks)."""

ROOT_FILES: Final = frozenset({"dv.toml", "dv.lock", ".dvignore"})
"""Names in the repository's root directory that belong to dv itself."""

RARE: Final = (".git", ".dv", "dv.", "~", "\\")
"""One of these stands in small letters in every ASCII name that :func:`is_reserved`, and in few others.

The search for a single character that is not there costs next to nothing, so ``~`` stands for ``~1``.
"""

# What FAT and NTFS call .git, .dv, dv.toml and dv.lock where names have eight letters and three more.
_SHORT: Final = frozenset({"git~1", "dv~1", "dv~1.tom", "dv~1.loc"})

PARTIAL: Final = ".dv-partial-"
"""Prefix of files under construction in the worktree; what a crash leaves of them is never data."""

BACK: Final = "/"
"""Begins the exceptions in a list of paths; no repository path begins with it."""

NAME_LIMIT: Final = 255
"""The longest name in bytes that common file systems take (NAME_MAX on Linux)."""

BRIEF: Final = 80
"""Letters of a name from elsewhere that are shown in a message."""

# Code points that HFS+ ignores when it compares names, so that ``.g<U+200C>it`` opens ``.git`` there.
_IGNORABLE: Final = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])


def is_partial(name: str) -> bool:
    """Return whether ``name`` is that of a file under construction; other names with the prefix are data."""
    if not name.startswith(PARTIAL):
        return False
    return re.fullmatch("[0-9]+-[0-9a-f]+-[0-9a-f]{16}", name[len(PARTIAL) :]) is not None


def is_reserved(name: str) -> bool:
    """Return whether ``name`` is, or could be taken by some file system for, a reserved one, or a way there.

    Where a backslash separates names it could lead out of its directory as well, and what follows a colon names a
    stream of the file before it (NTFS).
    """
    if "\\" in name:
        return any(part in {".", ".."} or is_reserved(part) for part in name.split("\\"))
    visible = name if name.isascii() else name.translate(_IGNORABLE)
    lowered = visible.lower().partition(":")[0].rstrip(" .")
    return lowered in RESERVED or lowered in _SHORT


def is_rare(lowered: str) -> bool:
    """Return whether ASCII names, joined and in small letters, must be looked at one by one for reserved ones."""
    return any(part in lowered for part in RARE)


def is_own(path: str) -> bool:
    """Return whether a repository path names one of dv's or Git's own files, which are never data."""
    first, _, _rest = path.partition("/")
    return path in ROOT_FILES or is_reserved(first) or any(is_reserved(part) for part in path.split("/"))


def check_names(names: Sequence[str], joined: str) -> None:
    """Check the names of one directory as read from a store: sorted, distinct, and harmless.

    Args:
        names: the names, in their stored order.
        joined: the same, joined by NUL; searched as a whole because that is much faster than name by name.

    Raises:
        FormatError: at the first name that could lead outside its directory or shadow a reserved one.
    """
    if names != sorted(names) or len(set(names)) != len(names):
        raise FormatError("the names of a directory are not sorted and distinct")
    lowered = joined.lower()
    harmless = (
        joined.isascii()
        and "/" not in joined
        and "." not in names
        and ".." not in names
        and not (names and names[0] == "")
        and not is_rare(lowered)
        and max(map(len, names), default=0) <= NAME_LIMIT
    )
    if harmless:
        return
    for name in names:
        if name in {"", ".", ".."} or "/" in name or is_reserved(name) or is_partial(name) or _too_long(name):
            raise FormatError(f"a directory holds the forbidden name {brief(name)!r}")


def _too_long(name: str) -> bool:
    if len(name) * 4 <= NAME_LIMIT:
        return False
    return len(name.encode("utf-8", "surrogatepass")) > NAME_LIMIT


def check_path(path: str, *, what: str) -> str:
    """Return ``path`` if it is a well-formed repository path that may be data.

    Raises:
        FormatError: when it is absolute, climbs, holds NUL or an empty part, or is reserved.
    """
    parts = path.split("/") if path else []
    if "\0" in path or path in ROOT_FILES or any(part in {"", ".", ".."} or is_reserved(part) for part in parts):
        raise FormatError(f"{what} holds the forbidden path {brief(path)!r}")
    return path


def join(parent: str, name: str) -> str:
    """Return the path of ``name`` in the directory ``parent``."""
    return f"{parent}/{name}" if parent else name


def split(path: str) -> tuple[str, str]:
    """Return (parent, name) of a path; the parent of a top-level name is ``""``."""
    parent, _, name = path.rpartition("/")
    return parent, name


def parents(path: str) -> list[str]:
    """Return every directory above ``path``, nearest first, ending with ``""``."""
    found = []
    while path:
        path = split(path)[0]
        found.append(path)
    return found


def below(path: str, directory: str) -> bool:
    """Return whether ``path`` is ``directory`` or lies below it."""
    return not directory or path == directory or path.startswith(directory + "/")


def untold(directories: Iterable[str], files: Iterable[str]) -> tuple[str, ...]:
    """Return the directories below which none of ``files`` lies, sorted; never the root, which never comes or goes."""
    wanted = {path for path in directories if path}
    if not wanted:
        return ()
    return tuple(sorted(wanted - {parent for path in files for parent in parents(path)}))


def covered(path: str, roots: Iterable[str]) -> bool:
    """Return whether ``path`` is, or lies below, one of ``roots``."""
    return any(below(path, root) for root in roots)


def shown(path: str) -> str:
    """Return a path as it can be printed: bytes of a name that are not UTF-8 as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def brief(text: str) -> str:
    """Return the beginning of a name for a message; one from elsewhere may be as long as its object."""
    return text if len(text) <= BRIEF else text[:BRIEF] + "…"


def under(path: str, tops: set[str] | frozenset[str]) -> bool:
    """Return what :func:`covered` does, in the time of the path's depth, however many ``tops`` there are.

    A path among ``tops`` that begins with ``/`` is an exception: it takes out what lies at and below it.  The nearest
    one decides.
    """
    for place in (path, *parents(path)):
        if place in tops:
            return True
        if BACK + place in tops:
            return False
    return False


def from_argument(argument: str, *, root: str, cwd: str) -> str:
    """Return the repository path that a command-line argument means.

    Symbolic links on the way *to* the last part are resolved, the last part is not: links are data.

    Args:
        argument: as the user wrote it, relative to ``cwd`` or absolute.
        root: absolute, resolved path of the repository's root.
        cwd: absolute path of the current directory.

    Raises:
        UsageError: when the path is empty, not UTF-8, or outside the repository.
    """
    if not argument or "\0" in argument:
        raise UsageError("an empty path names nothing", next="give '.' for the current directory")
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise UsageError("a path is not UTF-8", where=shown(argument), next="rename it, then try again") from None
    absolute = os.path.normpath(os.path.join(cwd, argument))
    parent = os.path.realpath(os.path.dirname(absolute))
    absolute = os.path.realpath(root) if absolute == root else os.path.join(parent, os.path.basename(absolute))
    inside = absolute.startswith(root.rstrip("/") + "/")
    # Inside, a link to the root is data like any other link; outside, it is a way to the root.
    if not inside and os.path.realpath(absolute) == root:
        return ""
    if not inside:
        raise UsageError(
            f"{argument!r} is outside the repository",
            where=absolute,
            why=f"the repository is {root}",
            next="copy the data into the repository, or run 'dv init' where it is",
        )
    return absolute[len(root.rstrip("/")) + 1 :]
