"""``dv checkout``: brings the worktree to a snapshot, changing only what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.errors import ExistsError, NotFoundError, UsageError
from dvtool.formats import log
from dvtool.formats import tree as tree_format
from dvtool.formats.tree import DIRECTORY
from dvtool.history.revisions import check_name
from dvtool.store.editing import Changes, Editor
from dvtool.store.treediff import TreeDiff, diff_trees
from dvtool.worktree import apply, recording, room, sparse, staging, switching
from dvtool.worktree.inspect import inspect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.formats.snapshot import Snapshot
    from dvtool.store.state import State
    from dvtool.store.transaction import Transaction
    from dvtool.store.trees import Damage
    from dvtool.workspace import Workspace
    from dvtool.worktree.apply import Outcome, Plan
    from dvtool.worktree.inspect import WorktreeChanges
    from dvtool.worktree.session import Session


class CheckoutResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where the worktree stands now, and what it took: files written and removed, local changes kept."""

    snapshot: str | None
    branch: str | None
    written: int
    removed: int
    kept: tuple[str, ...]


class _Target(msgspec.Struct, frozen=True, kw_only=True):
    identity: bytes | None
    branch: str | None
    create: bool


def checkout(
    workspace: Workspace,
    revision: str | None = None,
    *,
    new_branch: str | None = None,
    from_lock: bool = False,
    only: Sequence[str] = (),
    force: bool = False,
) -> CheckoutResult:
    """Switch to a branch, or to a snapshot (detached).

    Local changes that the switch does not touch are kept.

    Args:
        workspace: the worktree.
        revision: branch, tag, id; HEAD by default.
        new_branch: make this branch at the revision and switch to it.
        from_lock: go where ``dv.lock`` says.
        only: repository paths to which the worktree is confined from now on; ``("",)`` ends a confinement.
        force: overwrite local changes, whether their content is stored or not.

    Raises:
        NotFoundError: when the revision does not exist.
        ConflictError: when local changes would be lost; nothing has been touched then.
        ExistsError: when the new branch exists.
        IntegrityError: when some files are damaged; the others have been written.
        StorageError: when the disk has no room for all of it, or with ``force`` does not let a directory be read;
            nothing has been touched then.
    """
    session = workspace.session
    with workspace.changing():
        session.require_unlocked_refs()
        target = _target(workspace, revision, new_branch, from_lock=from_lock)
        if not force and target.identity != session.head().snapshot:
            workspace.refuse_merging()
        if target.branch is not None and not target.create:
            workspace.refuse_taken(session.state, target.branch)
        if target.identity is None:
            return _unborn(workspace, target)
        snapshot = workspace.sound_snapshot(target.identity)
        previous = session.head().snapshot
        view = session.stage()
        here = session.trees.totals(view.tree) if view.tree is not None else tree_format.Totals()
        room.require(
            session.root,
            files=snapshot.files - here.files,
            size=snapshot.size - here.size,
            written=not session.worktree.is_sparse and not any(only),
        )
        head_tree = session.head_tree()
        damaged: Damage = []
        switch = diff_trees(session.trees, session.trees, head_tree, snapshot.root, lost_before=[], lost_after=damaged)
        local = TreeDiff(files={}, directories={})
        if view.tree != head_tree and not force:
            local = diff_trees(session.trees, session.trees, head_tree, view.tree, lost_before=[])
        changes = inspect(session, staging.merged_roots(view.roots, snapshot.roots), new=False)
        staging.remove_leftovers(session.root, changes.leftovers)
        if force:
            plan, kept = _forced(workspace, snapshot, switch, changes, damaged), set[str]()
        else:
            plan, kept = _careful(workspace, switch, local, changes)
        confinement, left_out = _confinement(workspace, plan, snapshot, only, damaged)
        if force:
            apply.clear_the_way(session, plan)
            apply.clear_the_way(session, confinement, everywhere=True)
        else:
            switching.refuse_conflicts(session, confinement, everywhere=True)
            apply.require_stored(session, plan)
        with session.store.transaction() as transaction:
            if target.identity == previous and not force:
                roots, stage = view.roots, view.value  # a merge under way included
            else:
                roots, stage = _stage(workspace, transaction, snapshot, switch, local)
            outcome = _switch(session, plan, left_out)
            _move(workspace, transaction, target, stage)
        apply.record(session, plan, outcome)
        if only:
            _confine(workspace, confinement, only, outcome, force=force)
        if not workspace.in_git():
            recording.bring_settings(session, snapshot, session.snapshot(previous) if previous else None)
        workspace.update_git_ignore(roots)
        workspace.after_change(moved=True)
    apply.raise_damage(outcome.damaged + damaged, done="HEAD has moved, and every other file has been written")
    return CheckoutResult(
        snapshot=target.identity.hex(),
        branch=target.branch,
        written=outcome.files,
        removed=outcome.removed,
        kept=tuple(sorted(kept)),
    )


def _target(workspace: Workspace, revision: str | None, new_branch: str | None, *, from_lock: bool) -> _Target:
    session = workspace.session
    if from_lock:
        if revision is not None or new_branch is not None:
            raise UsageError("--lock takes the revision from dv.lock", next="leave out the other revision")
        lock = workspace.read_lock()
        if lock is None:
            raise NotFoundError("there is no dv.lock", where="dv.lock", next="name a revision instead")
        identity = workspace.resolve_kept(lock.snapshot).id
        at_tip = lock.branch is not None and session.state.ref(f"heads/{lock.branch}") == identity
        return _Target(identity=identity, branch=lock.branch if at_tip else None, create=False)
    head = session.head()
    if new_branch is not None:
        check_name(new_branch, what="branch")
        if session.state.ref(f"heads/{new_branch}") is not None:
            raise ExistsError(
                f"there is a branch {new_branch!r} already", next=f"switch to it: dv checkout {new_branch}"
            )
        session.state.require_free(f"heads/{new_branch}")  # now, since the entry that makes it comes after the files
        here = workspace.resolve_kept(revision).id if revision is not None else head.snapshot
        return _Target(identity=here, branch=new_branch, create=True)
    if revision is None or revision == "HEAD":
        return _Target(identity=head.snapshot, branch=head.branch, create=False)
    found = workspace.resolve_kept(revision)
    return _Target(identity=found.id, branch=found.branch, create=False)


def _unborn(workspace: Workspace, target: _Target) -> CheckoutResult:
    """Give the branch to be another name, before anything was recorded."""
    session = workspace.session
    if target.branch is None:
        raise NotFoundError("there is no snapshot yet", next="make one: 'dv add PATH', then 'dv commit -m MESSAGE'")
    value = log.to_symbolic(f"heads/{target.branch}")
    head = session.head()
    if value != head.value:
        move = log.MoveRef(name=session.head_ref, old=head.value, new=value)
        session.store.log.append("checkout", lambda _state: [move])
    workspace.after_change(moved=True)
    return CheckoutResult(snapshot=None, branch=target.branch, written=0, removed=0, kept=())


def _forced(
    workspace: Workspace, snapshot: Snapshot, switch: TreeDiff, changes: WorktreeChanges, damaged: Damage
) -> Plan:
    """Plan to make everything tracked as the snapshot has it, whatever lies there."""
    session = workspace.session
    apply.require_readable(changes.unreadable)
    view = session.stage()
    difference = switch
    if view.tree != session.head_tree():
        difference = diff_trees(
            session.trees, session.trees, view.tree, snapshot.root, lost_before=[], lost_after=damaged
        )
    plan = switching.plan_of(difference)
    unstorable = [path for path, _reason in changes.problems]  # a pipe in the place of a file, say
    for path in [*changes.modified, *changes.removed, *unstorable]:
        if path not in plan.writes and path not in plan.removals:
            entry = session.trees.find(snapshot.root, path, damaged)
            if entry is not None and entry.kind != DIRECTORY:
                plan.writes[path] = entry
    for path in changes.gone_directories:
        entry = session.trees.find(snapshot.root, path, damaged)
        if entry is not None and entry.kind == DIRECTORY:
            plan.new_directories.add(path)
    return plan


def _careful(
    workspace: Workspace, switch: TreeDiff, local: TreeDiff, changes: WorktreeChanges
) -> tuple[Plan, set[str]]:
    """Plan the switch alone, and refuse it when local changes are in its way; return what is kept beside the plan."""
    plan = switching.plan_of(switch)
    staged_otherwise = set()
    for path, (_old, new) in switch.files.items():
        if path not in local.files:
            continue
        if local.files[path][1] == new:
            # The stage is there already, and the worktree is the user's affair: it may hold what comes next.
            plan.removals.discard(path)
            plan.writes.pop(path, None)
        else:
            staged_otherwise.add(path)
    switching.refuse_conflicts(workspace.session, plan, staged_otherwise)
    return plan, {*local.files, *changes.modified, *changes.removed} - switch.files.keys()


def _confinement(
    workspace: Workspace, switch: Plan, snapshot: Snapshot, only: Sequence[str], damaged: Damage
) -> tuple[Plan, list[str]]:
    """Plan what confining the worktree to ``only`` takes, once the switch is done; nothing if it is empty.

    Returns:
        the plan, and the files that the switch need not write; it removes what is there of them.
    """
    session = workspace.session
    if not only:
        return apply.nothing(), []
    wanted = tuple(path for path in only if path)
    for path in wanted:
        if session.trees.resolve(snapshot.root, path) is None:
            raise NotFoundError(f"{path!r} is not in the snapshot", next="run 'dv ls -r' to see what is")
    plan = apply.nothing()
    left_out = []
    before = session.left_out()
    for path, entry in session.trees.walk(snapshot.root, damaged=damaged):
        inside = not wanted or paths.covered(path, wanted)
        if entry.kind == DIRECTORY:
            if inside or any(paths.below(top, path) for top in wanted):
                plan.new_directories.add(path)
            else:
                plan.gone_directories.add(path)
                switch.new_directories.discard(path)
        elif inside:
            if before is not None and before(path):
                plan.writes[path] = entry
        else:
            if switch.writes.pop(path, None) is not None:
                switch.removals.add(path)  # with HEAD at the new snapshot, the old version would look like a change
                left_out.append(path)
            plan.removals.add(path)
    apply.require_writable(session.root, (), plan.removals)
    return plan, left_out


def _switch(session: Session, plan: Plan, left_out: list[str]) -> Outcome:
    """Carry out a switch, and record before HEAD moves what it removes because it is to be left out.

    It would look removed by the user else, if this is stopped before the confinement is recorded.
    """
    outcome = apply.execute(session, plan)
    if left_out:
        sparse.stays_away(session, left_out)
    return outcome


def _confine(workspace: Workspace, plan: Plan, only: Sequence[str], outcome: Outcome, *, force: bool) -> None:
    """Carry out a confinement.

    What comes is written first, then the confinement is recorded, then what is left out goes: at no moment is a
    missing file one that the record expects.
    """
    session = workspace.session
    if not force:
        apply.require_stored(session, plan)
    coming = apply.nothing()
    coming.writes, coming.new_directories, coming.judged = plan.writes, plan.new_directories, plan.judged
    coming.obstacles = plan.obstacles
    came = apply.execute(session, coming, everywhere=True)
    apply.record(session, coming, came)
    outcome.files += came.files
    outcome.damaged += came.damaged
    outcome.removed += came.removed
    session.set_sparse(only=tuple(path for path in only if path), dropped=())
    apply.stays_away(session, outcome)
    going = apply.nothing()
    going.removals, going.gone_directories, going.judged = plan.removals, plan.gone_directories, plan.judged
    outcome.removed += apply.execute(session, going).removed


def _stage(
    workspace: Workspace, transaction: Transaction, snapshot: Snapshot, switch: TreeDiff, local: TreeDiff
) -> tuple[tuple[str, ...], bytes | None]:
    """Return the roots after the switch, and the stage's ref to be: None when it equals the snapshot."""
    tree, roots = _staged_tree(workspace, transaction, snapshot, switch, local)
    if tree == snapshot.root and roots == snapshot.roots:
        return roots, None
    return roots, staging.put_stage(workspace.session, transaction, tree, roots)


def _staged_tree(
    workspace: Workspace, transaction: Transaction, snapshot: Snapshot, switch: TreeDiff, local: TreeDiff
) -> tuple[bytes, tuple[str, ...]]:
    """Return the tree and the roots of the stage after the switch: the snapshot's, with staged local changes kept."""
    session = workspace.session
    edits: Changes = {}
    gone = {path for path, (_before, after) in local.directories.items() if after is None}
    for path, (_old, new) in local.files.items():
        directory, name = paths.split(path)
        if path not in switch.files and directory not in gone:
            edits.setdefault(directory, {})[name] = new
    for path, (before, after) in local.directories.items():
        directory, name = paths.split(path)
        if before is None and after is not None and path not in switch.directories:
            edits.setdefault(path, {})
        elif after is None and path not in switch.directories and directory not in gone:
            edits.setdefault(directory, {})[name] = None
    before_roots = session.snapshot(head).roots if (head := session.head().snapshot) is not None else ()
    more = [root for root in session.stage().roots if root not in before_roots] if local.directories else []
    if not edits and not more:
        return snapshot.root, snapshot.roots
    editor = Editor(transaction, session.store.secrets.split)
    tree = editor.apply(snapshot.root, edits) if edits else snapshot.root
    staying = [root for root in more if editor.trees.resolve(tree, root) is not None]
    return tree, staging.merged_roots(snapshot.roots, staying)


def _move(workspace: Workspace, transaction: Transaction, target: _Target, stage: bytes | None) -> None:
    """Append the entry that moves HEAD and the stage."""
    session = workspace.session
    head = session.head()
    view = session.stage()
    actions: list[log.Action] = []
    if target.create and target.branch is not None:
        actions.append(log.MoveRef(name=f"heads/{target.branch}", old=None, new=target.identity))
    value = log.to_symbolic(f"heads/{target.branch}") if target.branch is not None else target.identity
    if value != head.value:
        actions.append(log.MoveRef(name=session.head_ref, old=head.value, new=value))
    if stage != view.value:
        actions.append(log.MoveRef(name=session.stage_ref, old=view.value, new=stage))
    if actions:

        def build(state: State) -> list[log.Action]:
            if target.branch is not None and not target.create:
                workspace.refuse_taken(state, target.branch)  # again: another worktree may have come since
            return actions

        transaction.commit("checkout", build)
