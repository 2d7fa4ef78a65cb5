"""``dv worktree``: several worktrees of one store."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.capture.redaction import Redactor
from dvtool.errors import ConflictError, DvError, ExistsError, NotFoundError, UsageError
from dvtool.formats import log
from dvtool.formats.tree import DIRECTORY
from dvtool.history.revisions import check_name
from dvtool.runs import journals, sealing
from dvtool.storage.disk import sweep_directory, temporary_name
from dvtool.workspace import MISSING, Workspace, free_target
from dvtool.worktree import apply, layout, places, recording, room
from dvtool.worktree.inspect import inspect

if TYPE_CHECKING:
    from dvtool.storage.disk import Disk
    from dvtool.store.state import State
    from dvtool.store.trees import Damage
    from dvtool.worktree.apply import Plan
    from dvtool.worktree.session import Context, Session


class WorktreeItem(msgspec.Struct, frozen=True, kw_only=True):
    """A worktree: its id, the path where it was last (None: not known), branch, snapshot, whether it is this one.

    ``gone`` says that it is missing: not at the path any more, since it was moved or removed by hand.  A moved one is
    found again by the first command that runs in it.
    """

    id: str
    path: str | None
    branch: str | None
    snapshot: str | None
    current: bool
    gone: bool = False


def list_worktrees(workspace: Workspace) -> list[WorktreeItem]:
    """Return the worktrees of this store, this one first."""
    session = workspace.session
    there = workspace.worktree_places()
    found = []
    for name, value in session.state.ref_names("worktrees/"):
        identity = name.removeprefix("worktrees/")
        branch = log.symbolic(value)
        snapshot = session.state.ref(branch) if branch is not None else value
        found.append(
            WorktreeItem(
                id=identity,
                path=paths.shown(there[identity]) if identity in there else None,
                branch=branch.removeprefix("heads/") if branch is not None else None,
                snapshot=snapshot.hex() if snapshot is not None else None,
                current=name == session.head_ref,
                gone=identity not in there or not places.is_worktree(there[identity], identity, session.layout.store()),
            )
        )
    return sorted(found, key=lambda item: (not item.current, item.path or "", item.id))


def add_worktree(
    workspace: Workspace, directory: str, revision: str | None, *, new_branch: str | None, context: Context
) -> WorktreeItem:
    """Make another worktree of this store in ``directory``, at ``revision`` (detached unless it is a free branch).

    Raises:
        ExistsError: when the directory holds something, or there is a branch of the new one's name.
        ConflictError: when it lies in a repository.
        NotFoundError: when the revision does not exist.
    """
    session = workspace.session
    session.store.refresh()
    target = _free_place(directory)
    resolved = workspace.resolve_kept(revision or "HEAD")
    whole = workspace.sound_snapshot(resolved.id)
    room.require(target, files=whole.files, size=whole.size)
    damaged: Damage = []
    plan = _everything(session, whole.root, damaged)
    value = resolved.id
    moves: list[log.Action] = []
    branch_wanted = ""
    if new_branch is not None:
        _check_new(session, new_branch)
        value = log.to_symbolic(f"heads/{new_branch}")
        moves.append(log.MoveRef(name=f"heads/{new_branch}", old=None, new=resolved.id))
    elif resolved.branch is not None:
        value = log.to_symbolic(f"heads/{resolved.branch}")
        branch_wanted = resolved.branch
        workspace.refuse_taken(session.state, branch_wanted, here=True)
    identity = context.entropy.bytes(16).hex()
    context.disk.make_directory(target)
    fresh = f"{target}/{paths.PARTIAL}{temporary_name()}"
    control = f"{target}/{layout.DIRECTORY}"
    # Files first, entry second: a worktree without its ref refuses to work and can be removed, while a ref without
    # its worktree would hold the branch for ever.
    try:
        _make_control(fresh, session.layout.store(), identity, context.disk)
        context.disk.rename(fresh, control)
        context.disk.sync_directory(target)
        context.disk.sync_directory(os.path.dirname(target))
        workspace.remember_worktree_place(identity, target)
        head = log.MoveRef(name=f"worktrees/{identity}", old=None, new=value)

        def build(state: State) -> list[log.Action]:
            if branch_wanted:
                workspace.refuse_taken(state, branch_wanted, here=True)
            return [*moves, head]

        session.store.log.append("worktree", build)
    except BaseException:
        ours = not os.path.lexists(fresh)  # else whatever is at its place was there before
        shutil.rmtree(fresh, ignore_errors=True)
        if ours and session.store.refresh().ref(f"worktrees/{identity}") is None:
            shutil.rmtree(control, ignore_errors=True)
        raise
    session.store.refresh()
    other = Workspace.open(target, context)
    other.session.bring = session.bring
    _fill(other, plan if other.session.stage().tree == whole.root else None, damaged)
    branch = log.symbolic(value)
    return WorktreeItem(
        id=identity,
        path=target,
        branch=branch.removeprefix("heads/") if branch else None,
        snapshot=resolved.id.hex(),
        current=False,
    )


def _make_control(directory: str, store: str, identity: str, disk: Disk) -> None:
    """Make the control directory of a worktree whose store is elsewhere."""
    disk.make_directory(directory)
    os.chmod(directory, 0o700)
    disk.write(f"{directory}/store", os.fsencode(store) + b"\n")
    disk.sync(f"{directory}/store")
    layout.hide_from_git(directory, disk)
    file = layout.WorktreeFile(version=layout.VERSION, id=identity)
    layout.write_file(f"{directory}/worktree", file.encode(), disk)
    disk.sync_directory(directory)


def _check_new(session: Session, branch: str) -> None:
    """Check that a branch may be called so, and that there is none yet."""
    check_name(branch, what="branch")
    if session.state.ref(f"heads/{branch}") is not None:
        raise ExistsError(
            f"there is a branch {branch!r} already", next="choose another name, or leave out -b to work on it"
        )


def _free_place(directory: str) -> str:
    """Return the absolute path of a directory in which a worktree may be made."""
    if not directory or "\0" in directory:
        raise UsageError("the path is empty", next="name a directory for the worktree")
    target = os.path.realpath(directory)
    sweep_directory(target, paths.PARTIAL)
    free_target(target, what=f"{directory!r}")
    try:
        target.encode()
    except UnicodeEncodeError:
        raise UsageError("the path is not UTF-8", where=paths.shown(target), next="choose another place") from None
    outer = layout.enclosing(os.path.dirname(target))
    if outer is not None:
        raise ConflictError(
            "a worktree cannot lie inside a repository",
            where=target,
            why=f"{outer} is one",
            next="name a directory elsewhere, for example beside it",
        )
    return target


def remove_worktree(workspace: Workspace, directory: str, *, force: bool, context: Context) -> WorktreeItem:
    """Remove another worktree of this store: its files, if all are stored, and its HEAD and stage.

    Raises:
        NotFoundError: when there is none at this place.
        UsageError: when it is this one, or the one that holds the store.
        ConflictError: when it holds changes or cannot be found, and ``force`` was not said.
    """
    session = workspace.session
    session.store.refresh()
    target = os.path.realpath(directory) if "\0" not in directory else ""
    there = [item for item in list_worktrees(workspace) if target == item.path or directory == item.id]
    found = min(there, key=lambda item: item.gone, default=None)
    if found is None:
        _sweep(target)
        raise NotFoundError(f"there is no worktree at {directory!r}", next="run 'dv worktree list'")
    target = found.path or target
    if found.current or (not found.gone and os.path.isdir(f"{target}/{layout.DIRECTORY}/store")):
        raise UsageError("this worktree holds the store, or is the one you are in", next="change to another one first")
    going = ""
    if found.gone and not force and not _is_half_removed(target, found.id):
        raise _missing(session, target, found)
    if not found.gone:
        there_now = Workspace.open(target, context)
        if not force:
            _require_stored_runs(there_now)
        _empty(there_now, target, force=force)
        # Out of sight in one step: killed from here on, the next call finds it half removed and drops its refs.
        going = f"{target}/{paths.PARTIAL}{temporary_name()}"
        context.disk.rename(f"{target}/{layout.DIRECTORY}", going)
        context.disk.sync_directory(target)
    moves: list[log.Action] = []
    for name in (f"worktrees/{found.id}", f"stage/{found.id}"):
        value = session.state.ref(name)
        if value is not None:
            moves.append(log.MoveRef(name=name, old=value, new=None))
    session.store.log.append("worktree", lambda _state: moves)
    if len(moves) > 1:
        context.tell(f"what was staged in {target} and not committed is lost")
    if going:
        shutil.rmtree(going)
    _sweep(target)
    workspace.after_change()
    return found


def _require_stored_runs(workspace: Workspace) -> None:
    """Store the runs of a worktree that is about to be removed, of which nothing is left else.

    Raises:
        ConflictError: when one goes on, or cannot be stored.
    """
    sealing.seal_waiting(workspace, Redactor(os.environ))
    left = journals.waiting(workspace.session.layout.control)
    if left:
        raise ConflictError(
            "runs in this worktree go on, or could not be stored",
            items=tuple(left),
            next="wait for their end, or remove the worktree and what is known of them with --force",
        )


def _missing(session: Session, place: str, item: WorktreeItem) -> ConflictError:
    staged_there = " and what is staged in it" if session.state.ref(f"stage/{item.id}") is not None else ""
    return ConflictError(
        "the worktree cannot be found",
        where=place,
        why=MISSING,
        next=f"run 'dv status' in it where it is now, or say --force, which drops its HEAD{staged_there}",
    )


def _empty(other: Workspace, place: str, *, force: bool) -> None:
    """Remove the tracked files of a worktree.

    Raises:
        ConflictError: when it holds changes and ``force`` was not said.
    """
    with other.session.lock():
        changes = other.leave_to_git(inspect(other.session))
        staged = other.session.stage().value
        if not force and (not changes.is_clean or staged is not None):
            raise ConflictError(
                "the worktree holds changes that are not committed",
                where=place,
                items=tuple(sorted([*changes.modified, *changes.added, *changes.removed])),
                next="commit them there, or remove it all the same with --force",
            )
        plan = apply.nothing()
        view = other.session.stage()
        if view.tree is not None:
            for path, entry in other.session.trees.walk(view.tree):
                (plan.gone_directories if entry.kind == DIRECTORY else plan.removals).add(path)
        if not force:
            apply.refuse(
                apply.unstored(other.session, plan),
                what="these files hold content that is stored nowhere; nothing was removed",
                advice="commit them there, or remove the worktree all the same with --force",
            )
            apply.require_stored(other.session, plan)
        apply.execute(other.session, plan)


def _is_half_removed(place: str, identity: str) -> bool:
    """Return whether the removal of this worktree was cut short: its control directory is out of sight already."""
    try:
        names = [name for name in os.listdir(place) if paths.is_partial(name)]
    except OSError:
        return False
    for name in names:
        try:
            if layout.read_worktree_file(f"{place}/{name}/worktree").id == identity:
                return True
        except DvError:
            continue
    return False


def _sweep(place: str) -> None:
    """Remove what a removal that was cut short left of a worktree."""
    if os.path.isdir(place) and not os.path.lexists(f"{place}/{layout.DIRECTORY}"):
        sweep_directory(place, paths.PARTIAL)
        if not os.listdir(place):
            os.rmdir(place)


def _everything(session: Session, root: bytes, damaged: Damage) -> Plan:
    """Return a plan to write a whole tree into an empty worktree, but for directories that are damaged."""
    plan = apply.nothing()
    for path, entry in session.trees.walk(root, damaged=damaged):
        if entry.kind == DIRECTORY:
            plan.new_directories.add(path)
        else:
            plan.writes[path] = entry
    return plan


def _fill(other: Workspace, plan: Plan | None, damaged: Damage) -> None:
    """Write the files of a new worktree; without a plan its branch has moved since one was made."""
    session = other.session
    with session.lock():
        tree = session.stage().tree
        plan = plan or (_everything(session, tree, damaged) if tree is not None else apply.nothing())
        outcome = apply.execute(session, plan)
        apply.record(session, plan, outcome)
        head = session.head().snapshot
        if head is not None and not other.in_git():
            recording.bring_settings(session, session.snapshot(head), None)
        other.after_change()
    apply.raise_damage(outcome.damaged + damaged, done="the worktree was made, and every other file has been written")
