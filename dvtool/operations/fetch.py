"""``dv fetch`` and ``dv pull``: what others brought to a remote, here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool import advancing
from dvtool.erasure import following
from dvtool.errors import ConflictError, NotFoundError, UsageError
from dvtool.history import graph
from dvtool.sharing import fetching, reaching
from dvtool.sharing.fetching import FetchResult

if TYPE_CHECKING:
    from dvtool.workspace import Workspace


class PullResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a pull came to.

    ``result`` is ``up-to-date`` or ``fast-forward``; ``snapshot`` and ``branch`` are where the worktree is now, and
    ``written`` and ``removed`` count its files that changed.
    """

    fetched: FetchResult
    result: str
    branch: str
    snapshot: str
    written: int
    removed: int


def fetch(workspace: Workspace, name: str | None = None) -> FetchResult:
    """Bring the branches and tags of a remote here, after its erasures were followed.

    The worktree is free meanwhile, unless an erasure is followed: others add and commit as they like.

    Raises:
        DvError: as :func:`dvtool.erasure.following.follow` and :func:`dvtool.sharing.fetching.fetch`.
    """
    remote = reaching.reach(workspace, name)
    result = fetching.fetch(remote, with_data=workspace.session.lazy != remote.name, follow=following.followed)
    workspace.session.store.maintain()
    return result


def pull(workspace: Workspace, name: str | None = None) -> PullResult:
    """Fetch, then move the current branch, and the worktree with it, forward to the remote's branch of the same name.

    Raises:
        ConflictError: when both have gone on since they parted, or local changes would be lost; nothing was moved.
        NotFoundError: when the remote has no such branch.
        UsageError: when HEAD is on no branch.
        DvError: as :func:`fetch`.
    """
    session = workspace.session
    remote = reaching.reach(workspace, name)
    if session.head().branch is None:
        raise UsageError("HEAD is on no branch", next="switch to one first: dv checkout BRANCH")
    # Which may take long, and needs no worktree, unless others have erased something.
    fetched = fetching.fetch(remote, with_data=session.lazy != remote.name, follow=following.followed)
    with workspace.changing():
        branch = session.head().branch
        if branch is None:
            raise ConflictError("HEAD is on no branch any more", next="switch to one, then run 'dv pull' again")
        theirs = session.state.ref(remote.prefix + branch)
        if theirs is None:
            raise NotFoundError(
                f"the remote {remote.name!r} has no branch {branch!r}", next=f"push it: dv push {remote.name} {branch}"
            )
        theirs = session.state.standing(theirs) or theirs
        ours = session.head().snapshot
        written = removed = 0
        result = "up-to-date"
        if ours is None or not graph.is_ancestor(theirs, ours, session.snapshot, session.resolve_superseded):
            if ours is not None and not graph.is_ancestor(ours, theirs, session.snapshot, session.resolve_superseded):
                raise ConflictError(
                    f"{branch!r} has gone on here and at {remote.name!r}, so neither can simply follow",
                    next=f"bring the two together: dv merge {remote.name}/{branch}",
                )
            workspace.require_lock()
            workspace.refuse_merging()
            outcome = advancing.fast_forward(workspace, theirs, operation="pull")
            result, written, removed = "fast-forward", outcome.files, outcome.removed
            reaching.tell_elsewhere(workspace, remote.name, remote.memory)
        else:
            workspace.after_change()
        now = session.head().snapshot or theirs
    return PullResult(
        fetched=fetched, result=result, branch=branch, snapshot=now.hex(), written=written, removed=removed
    )
