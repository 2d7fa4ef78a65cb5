"""``dv status``: what would be committed, and what would not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.errors import ConflictError, FormatError
from dvtool.formats import log
from dvtool.history import graph
from dvtool.store.treediff import diff_trees
from dvtool.worktree.inspect import inspect

if TYPE_CHECKING:
    from dvtool.workspace import Workspace
    from dvtool.worktree.session import Head, Session, StageView


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Paths by what happened to them, each list sorted.

    ``added``, ``modified`` and ``removed`` are files and links.  The directories are those that no added or removed
    file tells of: empty ones, mostly.
    """

    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    directories_added: tuple[str, ...] = ()
    directories_removed: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Return whether there are none."""
        return not any(msgspec.structs.astuple(self))


class StagedPaths(Paths, frozen=True, kw_only=True):
    """What is staged: paths, and the roots that the next snapshot tracks and HEAD's does not, or the other way."""

    roots_added: tuple[str, ...] = ()
    roots_removed: tuple[str, ...] = ()


class LockState(msgspec.Struct, frozen=True, kw_only=True):
    """What ``dv.lock`` names (None: nothing, or it cannot be read) and whether that is HEAD.

    ``interrupted`` says that a command was stopped before it could write ``dv.lock``: it is behind, which counts as
    matching, and the next command that changes something writes it.  ``problem`` says why the file cannot be read.
    """

    snapshot: str | None
    matches: bool
    interrupted: bool
    problem: str | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a worktree.

    ``clean`` is: all lists of ``staged`` and ``unstaged`` are empty, those of directories and roots included.  So a new
    empty directory is not clean, though the lists of files are empty; nor are roots that changed, which ``dv diff``,
    comparing what lies below them, does not show.  What is ``unstorable``, a merge under way (``merging``) and
    ``dv.lock`` do not count.  ``sparse`` lists the paths that are left out of the worktree, each with what is below it,
    though files there may have been brought back; ``ahead`` and
    ``behind`` are None without a remote branch to compare with.  ``unstorable`` holds "path: reason".
    """

    snapshot: str | None
    branch: str | None
    clean: bool
    staged: StagedPaths
    unstaged: Paths
    sparse: tuple[str, ...]
    lock: LockState
    ahead: int | None
    behind: int | None
    pending_erasures: tuple[str, ...]
    merging: tuple[str, ...]
    unstorable: tuple[str, ...]


def status(workspace: Workspace) -> Status:
    """Return the state of the worktree, and remember what was learnt about unchanged files."""
    session = workspace.session
    head = session.head()
    view = session.stage()
    changes = workspace.leave_to_git(inspect(session))
    staged = _staged(workspace, view) if view.value is not None else StagedPaths()
    unstaged = Paths(
        added=tuple(sorted(changes.added)),
        modified=tuple(sorted(changes.modified)),
        removed=tuple(changes.removed),
        directories_added=paths.untold(changes.new_directories, changes.added),
        directories_removed=paths.untold(changes.gone_directories, changes.removed),
    )
    _save(workspace)
    ahead, behind = _apart(workspace, head)
    pending = [erasure.hex() for erasure, _phase, _planned in session.state.pending()]
    return Status(
        snapshot=head.snapshot.hex() if head.snapshot else None,
        branch=head.branch,
        clean=staged.is_empty and unstaged.is_empty,
        staged=staged,
        unstaged=unstaged,
        sparse=_sparse(session),
        lock=_lock(workspace),
        ahead=ahead,
        behind=behind,
        pending_erasures=tuple(pending),
        merging=tuple(parent.hex() for parent in view.merging),
        unstorable=tuple(f"{path}: {reason}" for path, reason in sorted(changes.problems)),
    )


def _apart(workspace: Workspace, head: Head) -> tuple[int | None, int | None]:
    """Return how many snapshots the branch has that its remote's does not, and the other way, as last fetched.

    That is the branch of the same name of ``origin``, or of the only remote that has one.
    """
    session = workspace.session
    if head.branch is None or head.snapshot is None:
        return None, None
    there = {
        name: value
        for name, value in session.state.ref_names("remotes/")
        if name.split("/", 2)[2] == head.branch and log.symbolic(value) is None
    }
    theirs = there.get(f"remotes/origin/{head.branch}") or (next(iter(there.values())) if len(there) == 1 else None)
    if theirs is None:
        return None, None
    if theirs == head.snapshot:
        return 0, 0
    read, current = session.snapshot, session.resolve_superseded
    ahead = graph.beyond([head.snapshot], [theirs], read, current)
    behind = graph.beyond([theirs], [head.snapshot], read, current)
    return len(ahead), len(behind)


def _sparse(session: Session) -> tuple[str, ...]:
    """Return the paths that are left out, by confinement to others or dropped, none below another."""
    only = set(session.worktree.only)
    index = session.index()
    found = set()
    leading = {parent for top in only for parent in paths.parents(top)}
    for directory in leading:
        for name in (*index.subdirectories(directory), *index.rows(directory)):
            path = paths.join(directory, name)
            if path not in leading and not paths.under(path, only):
                found.add(path)
    lost = {path for path, _reason in index.damaged}
    dropped = {
        top
        for top in session.worktree.dropped
        if top[:1] != paths.BACK and (top in index or index.row(top) is not None or paths.under(top, lost))
    }
    found |= {top for top in dropped if not paths.under(top, found)}
    return tuple(sorted(found))


def _staged(workspace: Workspace, view: StageView) -> StagedPaths:
    """Return how a stage with a ref of its own differs from HEAD."""
    session = workspace.session
    head = session.head().snapshot
    recorded = set(session.snapshot(head).roots) if head is not None else set()
    diff = diff_trees(session.trees, session.trees, session.head_tree(), view.tree)
    added = sorted(path for path, (old, _new) in diff.files.items() if old is None)
    removed = sorted(path for path, (_old, new) in diff.files.items() if new is None)
    directories = diff.directories.items()
    return StagedPaths(
        added=tuple(added),
        modified=tuple(sorted(path for path, (old, new) in diff.files.items() if old and new)),
        removed=tuple(removed),
        directories_added=paths.untold((path for path, (old, _new) in directories if old is None), added),
        directories_removed=paths.untold((path for path, (_old, new) in directories if new is None), removed),
        roots_added=tuple(sorted(set(view.roots) - recorded)),
        roots_removed=tuple(sorted(recorded - set(view.roots))),
    )


def _lock(workspace: Workspace) -> LockState:
    try:
        found = workspace.read_lock()
    except FormatError as error:
        problem = f"{error.what} ({error.why})" if error.why else error.what
        return LockState(snapshot=None, matches=False, interrupted=False, problem=problem)
    return LockState(
        snapshot=found.snapshot if found else None,
        matches=workspace.lock_matches(),
        interrupted=workspace.lock_is_behind(),
    )


def _save(workspace: Workspace) -> None:
    """Write the caches unless another command is changing the worktree right now, which then writes its own."""
    session = workspace.session
    index = session.opened_index
    if index is None or not index.changed:
        return
    lock = session.lock()
    lock.wait = 0.0
    try:
        with lock:
            session.save()
    except ConflictError:
        return
