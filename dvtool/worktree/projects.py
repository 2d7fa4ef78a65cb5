"""Reads ``dv.toml``, what people say about their data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool import globs
from dvtool.formats import project
from dvtool.storage.disk import as_ours, read_regular

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dvtool.formats.project import Project

FILE: Final = "dv.toml"


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
        if (top := globs.top(pattern, path)) is not None
    ]
    _length, role, top = max(found, default=(0, "", ""))
    return role, top
