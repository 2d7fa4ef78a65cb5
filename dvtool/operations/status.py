"""``dv status``: what would be committed, and what would not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool.errors import ConflictError, FormatError
from dvtool.formats import log
from dvtool.store.treediff import diff_trees
from dvtool.worktree.inspect import inspect

if TYPE_CHECKING:
    from dvtool.workspace import Workspace


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Paths by what happened to them, each list sorted."""

    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Return whether there are none."""
        return not (self.added or self.modified or self.removed)


class LockState(msgspec.Struct, frozen=True, kw_only=True):
    """What ``dv.lock`` names (None: nothing, or it is malformed) and whether that is HEAD."""

    snapshot: str | None
    matches: bool


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a worktree.

    ``sparse`` lists paths that are left out or, when the worktree is confined to some, says so; ``ahead`` and
    ``behind`` are None without a remote branch to compare with.  ``unstorable`` holds "path: reason".
    """

    snapshot: str | None
    branch: str | None
    clean: bool
    staged: Paths
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
    staged = Paths()
    if view.value is not None:
        head_tree = session.head_tree()
        if head_tree != view.tree:
            diff = diff_trees(session.trees, session.trees, head_tree, view.tree)
            staged = Paths(
                added=tuple(sorted(path for path, (old, _new) in diff.files.items() if old is None)),
                modified=tuple(sorted(path for path, (old, new) in diff.files.items() if old and new)),
                removed=tuple(sorted(path for path, (_old, new) in diff.files.items() if new is None)),
            )
    changes = inspect(session)
    unstaged = Paths(
        added=tuple(sorted(changes.added)),
        modified=tuple(sorted(changes.modified)),
        removed=tuple(changes.removed),
    )
    _save(workspace)
    pending = [key.hex() for key, phase in session.state.erasures.items() if phase[0] in {log.ERASING, log.ERASED}]
    return Status(
        snapshot=head.snapshot.hex() if head.snapshot else None,
        branch=head.branch,
        clean=staged.is_empty and unstaged.is_empty,
        staged=staged,
        unstaged=unstaged,
        sparse=tuple(sorted({*session.worktree.only, *session.worktree.dropped})),
        lock=_lock(workspace),
        ahead=None,
        behind=None,
        pending_erasures=tuple(pending),
        merging=tuple(parent.hex() for parent in view.merging),
        unstorable=tuple(f"{path}: {reason}" for path, reason in sorted(changes.problems)),
    )


def _lock(workspace: Workspace) -> LockState:
    try:
        found = workspace.read_lock()
    except FormatError:
        return LockState(snapshot=None, matches=False)
    return LockState(snapshot=found.snapshot if found else None, matches=workspace.lock_matches())


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
