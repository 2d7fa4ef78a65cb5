"""``dv cat``: the content of one file in a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.errors import UsageError
from dvtool.formats import tree
from dvtool.worktree.materialise import Contents
from dvtool.worktree.session import erased

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.workspace import Workspace


def cat(workspace: Workspace, place: str) -> Iterator[bytes]:
    """Yield the content of ``REV:PATH`` piece by piece, each verified before it is handed out.

    Raises:
        NotFoundError: when it does not exist.
        UsageError: when it names no file.
        ErasedError: when it was erased.
        IntegrityError: when a piece is damaged.
    """
    _revision, path = workspace.revisions.split_path(place)
    if not path:
        raise UsageError(f"{place!r} names no file", next="write it as REV:PATH, for example HEAD:data/labels.csv")
    _identity, where, entry = workspace.place(place)
    if entry.kind == tree.DIRECTORY:
        raise UsageError(f"{place!r} is a directory", next=f"run 'dv ls {place}' to see what is in it")
    if entry.kind == tree.ERASED:
        raise erased(where)
    session = workspace.session
    return Contents(session.store, session.frames()).pieces(entry)
