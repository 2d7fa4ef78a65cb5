"""Reads ``dv.toml``, what people say about their data."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

from dvtool import paths
from dvtool.formats import project
from dvtool.storage.disk import as_ours, read_regular

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dvtool.formats.project import Project

FILE: Final = "dv.toml"
_GLOB: Final = re.compile(r"[*?]")


def read(root: str) -> Project:
    """Return what ``dv.toml`` in the directory ``root`` says; nothing when there is none.

    Raises:
        FormatError: when it cannot be used.
        StorageError: when it cannot be read.
    """
    path = f"{root}/{FILE}"
    try:
        return project.decode(read_regular(path, project.SIZE_LIMIT + 1))
    except FileNotFoundError:
        return project.Project()
    except OSError as error:
        raise as_ours(error, path) from None


def role_of(path: str, splits: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """Return the role that ``[splits]`` gives a repository path, and the path that has it; empty texts for none.

    Of several that lie above each other the nearest decides.
    """
    found = [
        (len(top), role, top)
        for role, patterns in splits.items()
        for pattern in patterns
        if (top := matched(path, pattern)) is not None
    ]
    _length, role, top = max(found, default=(0, "", ""))
    return role, top


def matched(path: str, pattern: str) -> str | None:
    """Return the path that a pattern of ``[splits]`` means, if a path is it or lies below it; None if not.

    ``*`` and ``?`` stand for letters of one name, ``**`` for any number of directories.  What matches a directory
    matches all below it, so of several the shortest is returned.
    """
    pattern = pattern.strip("/")
    if not _GLOB.search(pattern):
        return pattern if paths.below(path, pattern) else None
    rule = _compiled(pattern)
    ways = [*reversed(paths.parents(path)), path]
    return next((way for way in ways if way and rule.fullmatch(way)), None)


def literal(pattern: str) -> str:
    """Return the directory that everything a pattern can mean lies in, or the path that it is."""
    found = _GLOB.search(pattern)
    return pattern.strip("/") if found is None else pattern[: found.start()].rpartition("/")[0].strip("/")


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(parts.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)
