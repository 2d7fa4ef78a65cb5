"""``dv mv``: renames a tracked path in the worktree and in the stage."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.errors import ExistsError, NotFoundError, UsageError
from dvtool.formats.tree import DIRECTORY
from dvtool.store.editing import Changes, Editor
from dvtool.worktree import sparse, staging
from dvtool.worktree.index import Row
from dvtool.worktree.materialise import rename

if TYPE_CHECKING:
    from dvtool.formats.tree import Entry
    from dvtool.workspace import Workspace


class MoveResult(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """What moved where: repository paths, and how many files went along."""

    before: str
    after: str
    files: int


def move(workspace: Workspace, source: str, target: str) -> MoveResult:
    """Rename ``source`` to ``target``, or into it when it is a directory.

    Changes of the content that are not staged stay unstaged.  What was left out of the worktree moves in the stage
    alone, and stays left out.

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
        if _is_directory(workspace, after):
            after = paths.join(after, paths.split(before)[1])
        entry = session.trees.resolve(view.tree, before) if view.tree is not None else None
        if entry is None or not before:
            raise NotFoundError(f"{source!r} is not tracked", next="run 'dv ls -r' to see what is")
        left_out = session.left_out() or (lambda _path: False)
        is_here = os.path.lexists(f"{session.root}/{before}")
        if not is_here and not left_out(before):
            raise NotFoundError(f"{source!r} is not in the worktree", next=f"bring it back first: dv restore {source}")
        _check_target(workspace, target, before, after, entry, is_here=is_here)
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
            if is_here:
                rename(session.root, before, after)
            only, dropped = session.worktree.only, session.worktree.dropped
            _move_rules(workspace, before, after)
            try:
                transaction.commit("mv", lambda _state: actions)
            except BaseException:
                if is_here:
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


def _check_target(workspace: Workspace, target: str, before: str, after: str, entry: Entry, *, is_here: bool) -> None:
    """Check that ``before`` may go to ``after``; see :func:`move`."""
    session = workspace.session
    if paths.below(after, before) and entry.kind == DIRECTORY:
        raise UsageError(
            f"{target!r} cannot be the new place", why="it lies in what is moved", next="choose a place outside of it"
        )
    if paths.is_own(after):
        raise UsageError(f"{target!r} is never data", why="it belongs to dv or to Git", next="choose another place")
    if os.path.lexists(f"{session.root}/{after}") or _left_out_entry(workspace, after) is not None:
        raise ExistsError(f"{paths.shown(after)!r} exists already", next="remove it first, or choose another name")
    above = paths.split(after)[0]
    if os.path.isdir(f"{session.root}/{above}"):
        return
    if not _is_directory(workspace, above):
        raise NotFoundError(f"there is no directory {paths.shown(above)!r}", next="make it first: mkdir -p")
    if is_here:
        raise NotFoundError(
            f"the directory {paths.shown(above)!r} is not in the worktree",
            why="it was left out",
            next="bring it back first: dv get",
        )


def _is_directory(workspace: Workspace, path: str) -> bool:
    """Return whether a path is a directory in the worktree, or one of the stage that was left out of it."""
    place = f"{workspace.session.root}/{path}"
    if os.path.lexists(place):
        return os.path.isdir(place) and not os.path.islink(place)
    entry = _left_out_entry(workspace, path)
    return entry is not None and entry.kind == DIRECTORY


def _left_out_entry(workspace: Workspace, path: str) -> Entry | None:
    """Return what the stage has at a path that was left out of the worktree."""
    session = workspace.session
    staged = session.stage().tree
    left_out = session.left_out()
    if staged is None or left_out is None or not left_out(path):
        return None
    return session.trees.resolve(staged, path)


def _move_rules(workspace: Workspace, before: str, after: str) -> None:
    """Let what was left out at and below ``before`` be left out at and below ``after``."""
    session = workspace.session
    left_out = session.left_out()
    if left_out is None:
        return
    was_left_out = left_out(before)
    # What is said of the new place is of something that is not tracked any more; what is said of the old one stays,
    # and counts again if the move is undone.
    dropped = sparse.without(session.worktree.dropped, [after])
    dropped |= set(_follow(tuple(dropped), before, after))
    session.set_sparse(only=_follow(session.worktree.only, before, after), dropped=tuple(dropped))
    # A rule about a directory above may say of either place what is wrong for the other.
    left_out = session.left_out()
    if was_left_out and not (left_out and left_out(after)):
        session.set_sparse(only=session.worktree.only, dropped=(*dropped, after))
    elif not was_left_out:
        sparse.came_back(session, [after])


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
