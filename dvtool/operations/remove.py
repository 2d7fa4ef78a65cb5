"""``dv rm``: stops tracking paths, and removes them from the worktree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.errors import IntegrityError, NotFoundError
from dvtool.formats.tree import DIRECTORY
from dvtool.store.editing import Changes, Editor
from dvtool.store.trees import REPAIR
from dvtool.worktree import apply, staging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.store.trees import Damage
    from dvtool.workspace import Workspace


class RemoveResult(msgspec.Struct, frozen=True, kw_only=True):
    """Files whose removal was staged, and how many of them were also removed from the worktree.

    ``directories`` are those, gone as well, that no removed file tells of; ``roots`` is what is no longer tracked.
    """

    removed: tuple[str, ...]
    deleted: int
    directories: tuple[str, ...]
    roots: tuple[str, ...]


def remove(
    workspace: Workspace, arguments: Sequence[str], *, cached: bool = False, force: bool = False
) -> RemoveResult:
    """Stage the removal of tracked paths and, unless ``cached``, remove them from the worktree.

    Raises:
        NotFoundError: when a path is not tracked.
        ConflictError: when content that is not stored would be lost; nothing has been changed then.
        IntegrityError: when it is not known what is to go, because a directory is damaged, and neither ``cached`` nor
            ``force`` was said; nothing has been changed then.
        StorageError: when the disk does not let files go; nothing is staged then.
    """
    session = workspace.session
    with workspace.changing():
        session.require_unlocked_refs()
        view = session.stage()
        named = [session.relative(argument) for argument in arguments]
        wanted = staging.merged_roots((), named)
        plan = apply.nothing()
        damaged: Damage = []
        for argument, path in zip(arguments, named, strict=True):
            entry = session.trees.resolve(view.tree, path) if view.tree is not None else None
            if entry is None or (not path and not view.roots):
                raise NotFoundError(f"{argument!r} is not tracked", next="run 'dv ls -r' to see what is")
            if entry.kind != DIRECTORY:
                plan.removals.add(path)
                continue
            plan.gone_directories.add(path)
            for below, found in session.trees.walk(entry.id, path, damaged=damaged):
                (plan.gone_directories if found.kind == DIRECTORY else plan.removals).add(below)
        if damaged and not cached and not force:
            raise _unknown(damaged)
        if not cached and not force:
            apply.refuse(
                apply.unstored(session, plan),
                what="these files hold content that is stored nowhere; nothing was removed",
                advice="keep the files with --cached, or remove them all the same with --force",
            )
            apply.require_stored(session, plan)
        # Files first: what the disk refuses then leaves nothing staged, and a crash a command that can be given again.
        deleted = 0
        if not cached:
            plan.gone_directories.discard("")
            deleted = apply.execute(session, plan).removed
        with session.store.transaction() as transaction:
            edits: Changes = {}
            for path in wanted:
                directory, name = paths.split(path)
                edits.setdefault(directory, {})[name] = None
            editor = Editor(transaction, session.store.secrets.split)
            tree = editor.empty() if "" in wanted else editor.apply(view.tree, edits)
            roots = tuple(root for root in view.roots if not paths.covered(root, wanted))
            actions = staging.stage_moves(session, transaction, tree, roots, view.merging)
            if actions:
                transaction.commit("rm", lambda _state: actions)
        session.index()
        workspace.update_git_ignore(roots)
        workspace.after_change()
    removed = tuple(sorted(plan.removals))
    return RemoveResult(
        removed=removed,
        deleted=deleted,
        directories=paths.untold(plan.gone_directories, removed),
        roots=tuple(root for root in view.roots if root not in roots),
    )


def _unknown(damaged: Damage) -> IntegrityError:
    return IntegrityError(
        "it is not known what is in these directories; nothing was removed",
        items=tuple(f"{path}: {reason}" for path, reason in sorted(damaged)),
        why="the store's record of them is damaged, and the worktree's files may be the only copy",
        next=f"{REPAIR}; or take the directory out of the stage with --cached and make it anew with 'dv add'; --force "
        "removes the files that are known",
    )
