"""``dv restore``: brings paths back, from the stage or a snapshot, into the worktree or the stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.errors import NotFoundError
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.store.editing import Changes, Editor
from dvtool.store.treediff import diff_trees
from dvtool.worktree import apply, room, sparse, staging
from dvtool.worktree.inspect import scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.store.trees import Damage
    from dvtool.workspace import Workspace
    from dvtool.worktree.apply import Plan
    from dvtool.worktree.scan import Findings


class RestoreResult(msgspec.Struct, frozen=True, kw_only=True):
    """How many files were written to or removed from the worktree, or changed in the stage."""

    written: int
    removed: int
    staged: int


def restore(
    workspace: Workspace,
    arguments: Sequence[str],
    *,
    source: str | None = None,
    staged: bool = False,
    force: bool = False,
) -> RestoreResult:
    """Restore paths.

    By default the stage's content goes into the worktree; ``source`` takes a snapshot's instead; ``staged`` resets
    the stage (to HEAD, or to ``source``) and leaves the worktree alone.

    Raises:
        NotFoundError: when a path is in neither place.
        ConflictError: when content that is not stored would be lost and ``force`` was not said.
        IntegrityError: when some files are damaged; the others have been written.
        StorageError: when the disk does not let a directory be read; nothing has been changed then.
    """
    session = workspace.session
    with workspace.changing():
        view = session.stage()
        wanted = [session.relative(argument) for argument in arguments]
        identity = workspace.resolve_kept(source).id if source is not None else session.head().snapshot
        snapshot = workspace.sound_snapshot(identity) if identity is not None else None
        recorded = snapshot.root if snapshot is not None else None
        origin = recorded if staged or source is not None else view.tree
        for argument, path in zip(arguments, wanted, strict=True):
            if not any(tree is not None and session.trees.resolve(tree, path) for tree in (origin, view.tree)):
                raise NotFoundError(f"{argument!r} is not tracked", next="run 'dv ls -r' to see what is")
        if origin != view.tree:
            _require_room(workspace, wanted, origin, written=not staged and not session.worktree.is_sparse)
        if staged:
            roots = snapshot.roots if snapshot is not None else ()
            count = _stage(workspace, wanted, origin, roots)
            workspace.after_change()
            return RestoreResult(written=0, removed=0, staged=count)
        found = scan(session, [path for path in wanted if _is_tracked(workspace, path)], new=False)
        apply.require_readable(found.unreadable)
        damaged: Damage = []
        plan = _plan(workspace, wanted, origin, found, damaged)
        index = session.index()
        sparse.came_back(session, [path for path in plan.writes if index.row(path) is None])
        if not force:
            apply.refuse(
                apply.unstored(session, plan),
                what="these files hold content that is stored nowhere; nothing was changed",
                advice="store it with 'dv add', or overwrite it with --force",
            )
            apply.require_stored(session, plan)
        else:
            apply.clear_the_way(session, plan)
        outcome = apply.execute(session, plan)
        apply.record(session, plan, outcome)
        workspace.after_change()
    apply.raise_damage(outcome.damaged + damaged, done="every other file has been written")
    return RestoreResult(written=outcome.files, removed=outcome.removed, staged=0)


def _require_room(workspace: Workspace, wanted: list[str], origin: bytes | None, *, written: bool) -> None:
    """Check that what comes, less what is there, fits."""
    session = workspace.session
    files = size = 0
    for path in staging.merged_roots((), wanted):
        for tree, sign in ((origin, 1), (session.stage().tree, -1)):
            entry = session.trees.resolve(tree, path) if tree is not None else None
            if entry is not None:
                files += sign * entry.files
                size += sign * entry.size
    room.require(session.root, files=files, size=size, written=written)


def _is_tracked(workspace: Workspace, path: str) -> bool:
    index = workspace.session.index()
    return path in index or index.row(path) is not None


def _stage(workspace: Workspace, wanted: list[str], origin: bytes | None, roots: tuple[str, ...]) -> int:
    session = workspace.session
    view = session.stage()
    difference = diff_trees(session.trees, session.trees, view.tree, origin, tuple(wanted))
    edits: Changes = {}
    for path, (_old, new) in difference.files.items():
        directory, name = paths.split(path)
        edits.setdefault(directory, {})[name] = new
    for path, (before, after) in difference.directories.items():
        if after is None and path:
            directory, name = paths.split(path)
            edits.setdefault(directory, {})[name] = None
        elif before is None:
            edits.setdefault(path, {})
    for path in [path for path, (_before, after) in difference.directories.items() if after is None]:
        edits.pop(path, None)
    if not edits and view.tree is None:
        return 0
    with session.store.transaction() as transaction:
        editor = Editor(transaction, session.store.secrets.split)
        tree = editor.apply(view.tree, edits)
        kept = [root for root in view.roots if root in roots or editor.trees.resolve(tree, root) is not None]
        back = [root for root in roots if root not in kept and editor.trees.resolve(tree, root) is not None]
        actions = staging.stage_moves(session, transaction, tree, staging.merged_roots(kept, back), view.merging)
        if actions:
            transaction.commit("restore", lambda _state: actions)
    session.index()
    return len(difference.files)


def _plan(workspace: Workspace, wanted: list[str], origin: bytes | None, found: Findings, damaged: Damage) -> Plan:
    """Plan to bring paths back; ``damaged`` takes the directories of which it is not known what they hold."""
    session = workspace.session
    plan = apply.nothing()
    view = session.stage()
    difference = diff_trees(
        session.trees, session.trees, view.tree, origin, tuple(wanted), lost_before=[], lost_after=damaged
    )
    damaged += [
        (path, reason)
        for path, reason in session.index().damaged
        if any(paths.below(path, top) or paths.below(top, path) for top in wanted) and _is_same(workspace, path, origin)
    ]
    for path, (_old, new) in difference.files.items():
        if new is None:
            plan.removals.add(path)
        else:
            plan.writes[path] = new
    unstorable = [path for path, _reason in found.problems]  # a pipe in the place of a file, say
    for path in [*(path for path, _stat in found.doubtful), *found.removed, *unstorable]:
        if path not in plan.removals and path not in plan.writes:
            entry = _entry(workspace, path, origin, damaged)
            if entry is not None and entry.kind != DIRECTORY:
                plan.writes[path] = entry
    for path, (before, after) in difference.directories.items():
        if before is None:
            plan.new_directories.add(path)
        elif after is None:
            plan.gone_directories.add(path)
    for path in found.gone_directories:
        entry = session.trees.find(origin, path, damaged) if origin not in {None, view.tree} else None
        if origin == view.tree or (entry is not None and entry.kind == DIRECTORY):
            plan.new_directories.add(path)
    return plan


def _entry(workspace: Workspace, path: str, origin: bytes | None, damaged: Damage) -> Entry | None:
    """Return a file's entry; of the stage the index knows what is in directories that are damaged by now."""
    session = workspace.session
    if origin == session.stage().tree:
        row = session.index().row(path)
        return Entry(*row[:3]) if row is not None else None
    return session.trees.find(origin, path, damaged) if origin is not None else None


def _is_same(workspace: Workspace, path: str, origin: bytes | None) -> bool:
    """Return whether a directory of the stage is the same one in ``origin``, as far as what is above it can be read."""
    session = workspace.session
    tree = session.stage().tree
    if tree is None or origin is None or tree == origin:
        return tree == origin
    return session.trees.find(tree, path, []) == session.trees.find(origin, path, [])
