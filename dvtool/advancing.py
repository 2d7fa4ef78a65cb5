"""Moves a branch, and the worktree with it, to a snapshot that descends from its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.store.treediff import diff_trees
from dvtool.worktree import apply, recording, switching

if TYPE_CHECKING:
    from dvtool.workspace import Workspace
    from dvtool.worktree.apply import Outcome


def fast_forward(workspace: Workspace, theirs: bytes, *, operation: str) -> Outcome:
    """Move HEAD's branch forward and write what differs; called while the worktree is being changed.

    A branch without a snapshot moves to any.

    Args:
        workspace: the worktree.
        theirs: the snapshot, which descends from HEAD's.
        operation: the word for the operation log.

    Raises:
        ConflictError: when local changes would be lost; nothing has been touched then.
        IntegrityError: when some files are damaged; HEAD has moved, and the others have been written.
    """
    session = workspace.session
    before = session.head()
    other = workspace.sound_snapshot(theirs)
    plan = switching.plan_of(diff_trees(session.trees, session.trees, session.head_tree(), other.root))
    switching.refuse_conflicts(session, plan)
    apply.require_stored(session, plan)
    outcome = apply.execute(session, plan)
    moves = recording.moves(session, theirs)
    session.store.log.append(operation, lambda _state: moves)
    session.store.refresh()
    apply.record(session, plan, outcome)
    if not workspace.in_git():
        previous = session.snapshot(before.snapshot) if before.snapshot is not None else None
        recording.bring_settings(session, other, previous)
    workspace.update_git_ignore(other.roots)
    workspace.after_change(moved=True)
    apply.raise_damage(outcome.damaged, done="HEAD has moved, and every other file has been written")
    return outcome
