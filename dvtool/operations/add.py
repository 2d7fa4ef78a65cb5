"""``dv add``: brings files into the stage."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.errors import NotFoundError, UsageError
from dvtool.git import beside
from dvtool.store.trees import LostTreeError
from dvtool.worktree import staging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.workspace import Workspace
    from dvtool.worktree.scan import Findings


class AddResult(msgspec.Struct, frozen=True, kw_only=True):
    """What ``dv add`` staged: counts of files, the bytes of what was added or modified, and all tracked roots.

    ``directories_added`` and ``directories_removed`` count those that no added or removed file tells of: empty ones,
    mostly.  ``roots_added`` and ``roots_removed`` are how the tracked roots changed.
    """

    added: int
    modified: int
    removed: int
    bytes: int
    roots: tuple[str, ...]
    directories_added: int
    directories_removed: int
    roots_added: tuple[str, ...]
    roots_removed: tuple[str, ...]


def add(workspace: Workspace, arguments: Sequence[str], *, skip_git: bool = False, force: bool = False) -> AddResult:
    """Stage the paths that ``arguments`` name.

    A path outside every tracked root becomes one.  A tracked path that is missing is staged as removed.  A directory
    that the store has lost is made anew of what the worktree holds, when something in it is to be staged.

    Raises:
        IntegrityError: when a damaged directory is to be changed that was not named, or of which parts are left out.
        NotFoundError: when a path neither exists nor is tracked.
        UsageError: when a path is outside the repository, dv's or Git's own, ignored, or cannot be stored.
        ConflictError: when Git tracks some of the files, or another command was faster.
    """
    session = workspace.session
    with workspace.changing():
        session.require_unlocked_refs()
        view = session.stage()
        index = session.index()
        tops = [session.relative(argument) for argument in arguments]
        here = []
        for argument, top in zip(arguments, tops, strict=True):
            known = top in index or index.row(top) is not None if top else bool(view.roots)
            if os.path.lexists(f"{session.root}/{top}"):
                _check_addable(workspace, argument, top, known=known, force=force)
                here.append(top)
            elif not known:
                raise NotFoundError(f"{argument!r} does not exist", next="check the spelling")
        tracked = set(view.roots)
        wanted = staging.merged_roots(view.roots, [top for top in here if not paths.under(top, tracked)])
        anew = staging.forget_damaged(session, tops, [path for path, _reason in index.damaged])
        with session.store.transaction() as transaction:
            staged = None
            while staged is None:
                found, roots = _look(workspace, tops, wanted, skip_git=skip_git, force=force)
                try:
                    staged = staging.bring_in(session, transaction, found, roots, anew)
                except LostTreeError as error:
                    # The worktree is the intact copy: what the user named is taken as it is there.
                    more = staging.forget_damaged(session, tops, [error.where])
                    if more <= anew:
                        raise
                    anew |= more
            actions = staging.stage_moves(session, transaction, staged.tree, roots, view.merging)
            if actions:
                transaction.commit("add", lambda _state: actions)
        staging.update_index(session, view, staged)
        index.damaged = [item for item in index.damaged if item[0] not in anew]
        workspace.update_git_ignore(roots)
        workspace.after_change()
    return AddResult(
        added=staged.added,
        modified=staged.modified,
        removed=len(staged.removed),
        bytes=staged.size,
        roots=roots,
        directories_added=len(paths.untold(staged.new_directories, found.added_paths())),
        directories_removed=len(paths.untold(staged.gone_directories, staged.removed)),
        roots_added=tuple(root for root in roots if root not in view.roots),
        roots_removed=tuple(root for root in view.roots if root not in roots),
    )


def _look(
    workspace: Workspace, tops: Sequence[str], roots: tuple[str, ...], *, skip_git: bool, force: bool
) -> tuple[Findings, tuple[str, ...]]:
    """Return what there is to add and the roots that follow, without what is Git's.

    Raises:
        ConflictError: when Git tracks some of the files and they are not to be left to it.
    """
    found = staging.look(workspace.session, tops, force=force)
    held = workspace.refuse_git_tracked(found.added_paths(), skip=skip_git)
    if held:
        found.leave(held)
        roots = tuple(root for root in roots if root not in held)
        found.new_directories = workspace.without_gits(found.new_directories, found.added_paths(), roots)
    return found, roots


def _check_addable(workspace: Workspace, argument: str, top: str, *, known: bool, force: bool) -> None:
    if top and paths.is_own(top):
        raise UsageError(f"{argument!r} is never data", why="it belongs to dv or to Git", next="name the data itself")
    if top in beside.OWN and not known and workspace.in_git():
        raise UsageError(f"{argument!r} is Git's", why="it says what Git is to do here", next="give it to Git")
    if any(paths.is_partial(part) for part in top.split("/")):
        raise UsageError(f"{argument!r} is never data", why="a command that was stopped left it, or is writing it")
    if top and not force and not known and workspace.session.ignore.excludes_below(top):
        raise UsageError(f"{argument!r} is excluded by .dvignore", next="add it all the same with --force")
