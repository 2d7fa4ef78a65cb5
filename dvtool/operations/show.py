"""``dv show``: what a revision, or a path in it, is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool.formats import tree
from dvtool.history import describe
from dvtool.history.describe import SnapshotItem
from dvtool.runs import catalogue

if TYPE_CHECKING:
    from dvtool.workspace import Workspace


class Shown(SnapshotItem, frozen=True, kw_only=True):
    """A snapshot as ``dv log`` tells of it, and one path in it.

    ``path``, ``kind``, ``size``, ``files_below`` and ``id`` describe the path that was asked for (the root by
    default).  When the snapshot named was superseded, ``superseded_by`` is the one described, and ``erasures`` says
    by which erasures.
    """

    roots: tuple[str, ...]
    path: str
    kind: str
    size: int
    files_below: int
    id: str
    superseded_by: str | None
    erasures: tuple[str, ...]


def show(workspace: Workspace, revision: str = "HEAD") -> Shown:
    """Return what ``REV`` or ``REV:PATH`` is.

    Raises:
        NotFoundError: when it does not exist.
    """
    session = workspace.session
    identity, path, entry = workspace.place(revision)
    found = workspace.revisions.resolve(workspace.revisions.split_path(revision)[0] or "HEAD")
    snapshot = session.snapshot(identity)
    head = session.head()
    erased = session.trees.totals(snapshot.root).erased
    names = describe.ref_names(session.state, head.snapshot, head.branch)
    runs = catalogue.users(workspace).get(identity, ())
    return Shown(
        **msgspec.structs.asdict(describe.snapshot_item(identity, snapshot, erased, names, session.state, runs)),
        roots=snapshot.roots,
        path=path,
        kind=describe.KIND_WORDS[entry.kind],
        size=entry.size,
        files_below=entry.files if entry.kind == tree.DIRECTORY else 1,
        id=entry.id.hex(),
        superseded_by=identity.hex() if found.superseded is not None else None,
        erasures=tuple(erasure.hex() for erasure, _count in erased),
    )
