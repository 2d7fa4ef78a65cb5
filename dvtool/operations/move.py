"""``dv mv``: renames a tracked path in the worktree and in the stage."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.errors import ExistsError, NotFoundError, UsageError
from dvtool.formats.tree import DIRECTORY
from dvtool.store.editing import Changes, Editor
from dvtool.worktree import staging
from dvtool.worktree.index import Row
from dvtool.worktree.materialise import rename

if TYPE_CHECKING:
    from dvtool.workspace import Workspace


class MoveResult(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """What moved where: repository paths, and how many files went along."""

    before: str
    after: str
    files: int


def move(workspace: Workspace, source: str, target: str) -> MoveResult:
    """Rename ``source`` to ``target``, or into it when it is a directory.

    Changes of the content that are not staged stay unstaged.

    Raises:
        NotFoundError: when the source is not tracked, or the target's directory does not exist.
        ExistsError: when there is something at the target.
        UsageError: when the target lies in the source, or is not data.
    """
    session = workspace.session
    with workspace.changing():
        session.require_unlocked_refs()
        view = session.stage()
        before = session.relative(source)
        after = session.relative(target)
        if os.path.isdir(f"{session.root}/{after}") and not os.path.islink(f"{session.root}/{after}"):
            after = paths.join(after, paths.split(before)[1])
        entry = session.trees.resolve(view.tree, before) if view.tree is not None else None
        if entry is None or not before:
            raise NotFoundError(f"{source!r} is not tracked", next="run 'dv ls -r' to see what is")
        if not os.path.lexists(f"{session.root}/{before}"):
            raise NotFoundError(f"{source!r} is not in the worktree", next="bring it back first: dv restore")
        if paths.is_own(after) or (paths.below(after, before) and entry.kind == DIRECTORY):
            raise UsageError(f"{target!r} cannot be the new place", why="it is not data, or lies in what is moved")
        if os.path.lexists(f"{session.root}/{after}"):
            raise ExistsError(f"{target!r} exists already", next="remove it first, or choose another name")
        if not os.path.isdir(f"{session.root}/{paths.split(after)[0]}"):
            raise NotFoundError(f"the directory of {target!r} does not exist", next="make it first: mkdir -p")
        edits: Changes = {}
        edits.setdefault(paths.split(before)[0], {})[paths.split(before)[1]] = None
        edits.setdefault(paths.split(after)[0], {})[paths.split(after)[1]] = entry
        left = [root for root in view.roots if not paths.below(root, before)]
        roots = staging.merged_roots(left, () if paths.covered(after, left) else (after,))
        seen = _rows(workspace, before)
        with session.store.transaction() as transaction:
            tree = Editor(transaction, session.store.secrets.split).apply(view.tree, edits)
            actions = staging.stage_moves(session, transaction, tree, roots, view.merging)
            # The file moves first: if the entry then fails, the worktree says so and nothing is lost.
            rename(session.root, before, after)
            only, dropped = session.worktree.only, session.worktree.dropped
            session.set_sparse(only=_follow(only, before, after), dropped=_follow(dropped, before, after))
            try:
                transaction.commit("mv", lambda _state: actions)
            except BaseException:
                rename(session.root, after, before)
                session.set_sparse(only=only, dropped=dropped)
                raise
        index = session.index()
        for path, row in seen:
            moved = after + path[len(before) :]
            directory, name = paths.split(moved)
            known = index.row(moved)
            if known is not None and known[:3] == row[:3]:
                index.set(directory, name, Row(row.kind, row.size, row.id, row.stat))
        workspace.update_git_ignore(roots)
        workspace.after_change()
    return MoveResult(before=before, after=after, files=entry.files)


def _follow(listed: tuple[str, ...], before: str, after: str) -> tuple[str, ...]:
    """Return paths with those at and below ``before`` moved to ``after``."""
    found = []
    for rule in listed:
        path = rule.removeprefix(paths.BACK)
        moved = after + path[len(before) :] if paths.below(path, before) else path
        found.append(rule[: len(rule) - len(path)] + moved)
    return tuple(found)


def _rows(workspace: Workspace, path: str) -> list[tuple[str, Row]]:
    index = workspace.session.index()
    row = index.row(path)
    if row is not None:
        return []  # a rename changes the ctime of a file, so its stat data must be taken anew
    found = []
    pending = [path]
    while pending:
        directory = pending.pop()
        found += [(paths.join(directory, name), row) for name, row in index.rows(directory).items()]
        pending += [paths.join(directory, name) for name in index.subdirectories(directory)]
    return found
