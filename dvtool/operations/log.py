"""``dv log``: the history of a revision, or of a path in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dvtool import paths
from dvtool.errors import NotFoundError
from dvtool.history import describe, graph
from dvtool.runs import catalogue

if TYPE_CHECKING:
    from dvtool.formats.snapshot import Snapshot
    from dvtool.history.describe import SnapshotItem
    from dvtool.workspace import Workspace


def log(
    workspace: Workspace, revision: str | None = None, path: str | None = None, *, limit: int | None = None
) -> list[SnapshotItem]:
    """Return the snapshots reachable from ``revision`` (HEAD by default), newest first, children before parents.

    Args:
        workspace: the worktree.
        revision: where to start.
        path: only snapshots in which this repository path differs from every parent.
        limit: at most so many.

    Raises:
        NotFoundError: when the revision does not exist, or the path in none of them, nor in stage or worktree.
    """
    session = workspace.session
    head = session.head()
    if limit is not None and limit <= 0:
        return []
    if revision is None and head.snapshot is None:
        _require(workspace, path)
        return []
    start = workspace.resolve(revision or "HEAD").id
    names = describe.ref_names(session.state, head.snapshot, head.branch)
    users = catalogue.users(workspace)
    items: list[SnapshotItem] = []
    for identity, snapshot in graph.walk([start], session.snapshot, session.resolve_superseded):
        if path is None or _touches(workspace, snapshot, path):
            erased = session.trees.totals(snapshot.root).erased
            runs = users.get(identity, ())
            items.append(describe.snapshot_item(identity, snapshot, erased, names, session.state, runs))
            if len(items) == limit:
                break  # before the walk is asked for more, which would read it
    if not items:
        _require(workspace, path)
    return items


def _require(workspace: Workspace, path: str | None) -> None:
    """Refuse a path that no snapshot had, unless it is staged or in the worktree and waits for its first one."""
    session = workspace.session
    staged = session.stage().tree
    if not path or os.path.lexists(f"{session.root}/{path}"):
        return
    if staged is None or session.trees.resolve(staged, path) is None:
        raise NotFoundError(
            f"there was never a {paths.shown(path)!r}",
            why="no snapshot of this history has it, nor has the stage or the worktree",
            next="check the spelling; paths are relative to the current directory",
        )


def _touches(workspace: Workspace, snapshot: Snapshot, path: str) -> bool:
    session = workspace.session
    here = session.trees.resolve(snapshot.root, path)
    parents = graph.standing(snapshot.parents, session.resolve_superseded)
    if not parents:
        return here is not None
    for parent in parents:
        before = session.trees.resolve(session.snapshot(parent).root, path)
        if before == here:
            return False
    return True
