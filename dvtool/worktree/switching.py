"""From one tree to another: what that takes in the worktree, and what of the user's would be lost by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.worktree import apply

if TYPE_CHECKING:
    from dvtool.store.treediff import TreeDiff
    from dvtool.worktree.apply import Plan
    from dvtool.worktree.session import Session


def plan_of(difference: TreeDiff) -> Plan:
    """Return the plan that brings a worktree which holds one side of a difference to the other."""
    plan = apply.nothing()
    for path, (_old, new) in difference.files.items():
        if new is None:
            plan.removals.add(path)
        else:
            plan.writes[path] = new
    for path, (before, after) in difference.directories.items():
        if before is None:
            plan.new_directories.add(path)
        elif after is None:
            plan.gone_directories.add(path)
    return plan


def refuse_conflicts(
    session: Session, plan: Plan, conflicts: set[str] | None = None, *, everywhere: bool = False
) -> None:
    """Take out of a plan what is done already, and refuse it when it would destroy what is not stored.

    Args:
        session: the worktree.
        plan: loses the writes whose content is there already.
        conflicts: paths that are known to be in the way.
        everywhere: as for :func:`dvtool.worktree.apply.execute`.

    Raises:
        ConflictError: listing every path in the way; nothing has been touched.
    """
    index = session.index()
    conflicts = conflicts or set()
    for path, entry in apply.examine(session, plan, everywhere=everywhere).items():
        if path in plan.writes and apply.same(entry, plan.writes[path]):
            del plan.writes[path]
        elif path in plan.obstacles:
            continue
        elif not apply.same(entry, index.row(path)):
            conflicts.add(path)
    apply.refuse(
        conflicts | plan.in_the_way,
        what="local changes are in the way; nothing was changed",
        advice="commit them, or drop them with 'dv restore --force', or overwrite them with --force",
    )
