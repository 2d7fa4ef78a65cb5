"""``dv cat``: the content of one file in a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.errors import UsageError
from dvtool.formats import tree
from dvtool.workspace import require_regular
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
    if path is None:
        raise UsageError(f"{place!r} names no file", next="write it as REV:PATH, for example HEAD:data/labels.csv")
    _identity, where, entry = workspace.place(place)
    require_regular(entry, where)
    if entry.kind == tree.ERASED:
        raise erased(where)
    return Contents(workspace.session.store).pieces(entry)
