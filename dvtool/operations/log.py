"""``dv log``: the history of a revision, or of a path in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.history import describe, graph

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
        NotFoundError: when the revision does not exist.
    """
    session = workspace.session
    head = session.head()
    if limit == 0 or (revision is None and head.snapshot is None):
        return []
    start = workspace.resolve(revision or "HEAD").id
    names = describe.ref_names(session.state, head.snapshot, head.branch)
    items: list[SnapshotItem] = []
    for identity, snapshot in graph.walk([start], session.snapshot, session.resolve_superseded):
        if path is None or _touches(workspace, snapshot, path):
            erased = session.trees.totals(snapshot.root).erased
            items.append(describe.snapshot_item(identity, snapshot, erased, names))
            if len(items) == limit:
                break  # before the walk is asked for more, which would read it
    return items


def _touches(workspace: Workspace, snapshot: Snapshot, path: str) -> bool:
    session = workspace.session
    here = session.trees.resolve(snapshot.root, path)
    if not snapshot.parents:
        return here is not None
    for parent in snapshot.parents:
        before = session.trees.resolve(session.snapshot(session.resolve_superseded(parent)).root, path)
        if before == here:
            return False
    return True
