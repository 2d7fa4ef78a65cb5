"""``dv drop`` takes copies out of the worktree that are verified stored; ``dv get`` brings them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.errors import DvError, IntegrityError, NotFoundError
from dvtool.formats import tree
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.worktree import apply, sparse, staging
from dvtool.worktree.inspect import inspect
from dvtool.worktree.materialise import Contents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.store.trees import Damage
    from dvtool.workspace import Workspace


class SparseResult(msgspec.Struct, frozen=True, kw_only=True):
    """How many files came or went, and their bytes."""

    files: int
    bytes: int


def drop(workspace: Workspace, arguments: Sequence[str]) -> SparseResult:
    """Remove tracked paths from the worktree after reading every byte of them back from the store.

    They stay tracked and are not taken for removed.

    Raises:
        NotFoundError: when a path is not tracked.
        ConflictError: when a path holds changes that are not staged; nothing has been removed then.
        IntegrityError: when the store's copy is damaged; nothing has been removed then.
    """
    session = workspace.session
    with workspace.changing():
        wanted = _tracked(workspace, arguments)
        files, directories = _below(workspace, wanted)
        _verify(workspace, files)
        # Looked at after the long part, and each file once more at the moment it goes.
        changes = inspect(session, wanted)
        plan = apply.nothing()
        plan.removals = {path for path, _entry in files}
        plan.gone_directories = directories
        different = [
            path
            for path, entry in apply.examine(session, plan).items()
            if not apply.same(entry, session.index().row(path))
        ]
        apply.refuse(
            [*changes.modified, *changes.added, *different, *(path for path, _reason in changes.problems)],
            what="these paths hold changes that are not staged, or cannot be read; nothing was removed",
            advice="stage them with 'dv add', or undo them with 'dv restore --force'",
        )
        apply.require_writable(session.root, (), plan.removals)
        # Recorded before anything is removed: a crash in between leaves files that are there and marked as left out.
        rules = sparse.without(session.worktree.dropped, wanted)
        rules |= {path for path in staging.merged_roots((), wanted) if not paths.under(path, rules)}
        session.set_sparse(only=session.worktree.only, dropped=tuple(rules))
        apply.execute(session, plan)
        workspace.after_change()
    return SparseResult(files=len(files), bytes=sum(entry.size for _path, entry in files))


def get(workspace: Workspace, arguments: Sequence[str]) -> SparseResult:
    """Bring tracked paths that were left out back into the worktree.

    Raises:
        NotFoundError: when a path is not tracked.
        ConflictError: when another file lies there.
        IntegrityError: when some files are damaged; the others have been written.
    """
    session = workspace.session
    with workspace.changing():
        wanted = _tracked(workspace, arguments)
        left_out = session.left_out() or (lambda _path: False)
        damaged: Damage = []
        files, directories = _below(workspace, wanted, damaged)
        missing = [(path, entry) for path, entry in files if left_out(path) and entry.kind != tree.ERASED]
        plan = apply.nothing()
        plan.writes = dict(missing)
        plan.new_directories = directories
        conflicts = []
        for path, entry in apply.examine(session, plan, everywhere=True).items():
            if path in plan.writes and apply.same(entry, plan.writes[path]):
                del plan.writes[path]
            elif path not in plan.obstacles:
                conflicts.append(path)
        apply.refuse(
            [*conflicts, *plan.in_the_way],
            what="other files lie where these would go; nothing was changed",
            advice="move them away, then run the command again",
        )
        rules = sparse.without(session.worktree.dropped, wanted)
        # What is above a path that comes back stays dropped except for it.
        rules |= {paths.BACK + path for path in staging.merged_roots((), wanted) if paths.under(path, rules)}
        rules = sparse.shorter(session, rules)
        # What cannot be read did not come back: it stays left out, and so is not taken for removed.
        rules |= {path for path, _reason in damaged if not paths.under(path, rules)}
        only = session.worktree.only
        if only:
            only = () if "" in wanted else staging.merged_roots(only, wanted)
        # Written first, recorded second: a crash in between leaves files that are there and marked as left out.
        outcome = apply.execute(session, plan, everywhere=True)
        session.set_sparse(only=tuple(only), dropped=tuple(rules))
        apply.record(session, plan, outcome)
        workspace.after_change()
    apply.raise_damage(outcome.damaged + damaged, done="every other file has been written")
    return SparseResult(files=outcome.files, bytes=outcome.size)


def _tracked(workspace: Workspace, arguments: Sequence[str]) -> list[str]:
    session = workspace.session
    view = session.stage()
    wanted = []
    for argument in arguments:
        path = session.relative(argument)
        if view.tree is None or session.trees.resolve(view.tree, path) is None:
            raise NotFoundError(f"{argument!r} is not tracked", next="run 'dv ls -r' to see what is")
        wanted.append(path)
    return wanted


def _below(
    workspace: Workspace, wanted: Sequence[str], damaged: Damage | None = None
) -> tuple[list[tuple[str, Entry]], set[str]]:
    """Return the files at and below paths of the stage, sorted, and the directories.

    Raises:
        IntegrityError: when a directory cannot be read and ``damaged`` is not there to take it.
    """
    session = workspace.session
    files: dict[str, Entry] = {}
    directories: set[str] = set()
    view = session.stage()
    for path in wanted:
        entry = session.trees.resolve(view.tree, path) if view.tree is not None else None
        if entry is None:
            continue
        if entry.kind != DIRECTORY:
            files[path] = entry
            continue
        if path:
            directories.add(path)
        for below, found in session.trees.walk(entry.id, path, damaged=damaged):
            if found.kind == DIRECTORY:
                directories.add(below)
            else:
                files[below] = found
    return sorted(files.items()), directories


def _verify(workspace: Workspace, files: Sequence[tuple[str, Entry]]) -> None:
    session = workspace.session
    contents = Contents(session.store)
    progress = session.context.progress
    damaged = []
    progress.start("verifying", files=len(files), size=sum(entry.size for _path, entry in files))
    done = 0
    for at, (path, entry) in enumerate(files):
        try:
            for _piece in contents.pieces(entry):
                pass
        except DvError as error:
            damaged.append(f"{path}: {error}")
        done += entry.size
        progress.advance(files=at + 1, size=done)
    progress.finish()
    if damaged:
        raise IntegrityError(
            "the store's copies of these files are damaged; nothing was removed",
            items=tuple(damaged),
            next="keep the worktree's copies: they may be the last ones",
        )
