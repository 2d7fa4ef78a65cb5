"""``dv commit``: records the stage as a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.errors import ChecksFailedError, ConflictError
from dvtool.history import merging
from dvtool.store.editing import Editor
from dvtool.store.treediff import diff_trees
from dvtool.store.trees import Trees
from dvtool.worktree import recording, staging

if TYPE_CHECKING:
    from dvtool.store.transaction import Transaction
    from dvtool.workspace import Workspace
    from dvtool.worktree.recording import CommitResult
    from dvtool.worktree.session import StageView


def commit(
    workspace: Workspace,
    message: str,
    *,
    everything: bool = False,
    author: str | None = None,
    allow_empty: bool = False,
) -> CommitResult:
    """Record what is staged (with ``everything``: all changes below tracked roots first) and move the branch.

    Raises:
        ChecksFailedError: when there is nothing to record.
        ConflictError: when ``dv.lock`` names another snapshot, or another command was faster.
        UsageError: when the message is empty or nobody is named as the author.
    """
    session = workspace.session
    recording.check_message(message)
    who = workspace.author(author)
    with workspace.changing():
        session.require_unlocked_refs()
        workspace.require_lock()
        view = session.stage()
        head = session.head()
        with session.store.transaction() as transaction:
            staged = None
            tree, roots = view.tree, view.roots
            if everything and roots:
                found = workspace.look_everywhere(roots)
                staged = staging.bring_in(session, transaction, found, roots)
                tree = staged.tree
            if tree is None:
                tree = Editor(transaction, session.store.secrets.split).empty()
            _refuse_nothing(workspace, tree, view, allow_empty=allow_empty)
            _refuse_copies(workspace, transaction, tree, view)
            identity, value = recording.make(
                session,
                transaction,
                tree=tree,
                roots=roots,
                parents=tuple(parent for parent in (head.snapshot, *view.merging) if parent is not None),
                author=who,
                message=message,
                with_settings=not workspace.in_git(),
            )
            moves = recording.moves(session, identity)
            transaction.commit("commit", lambda _state: moves)
        if staged is not None:
            staging.update_index(session, view, staged)
        workspace.after_change(moved=True)
    return recording.describe(identity, value)


def _refuse_copies(workspace: Workspace, transaction: Transaction, tree: bytes, view: StageView) -> None:
    """Refuse to record the copies that a merge put beside files in conflict, to be looked at and removed."""
    session = workspace.session
    for other in [session.snapshot(parent).root for parent in view.merging]:
        difference = diff_trees(session.trees, Trees(transaction), session.head_tree(), tree)
        copies = []
        for path, (old, _new) in difference.files.items():
            stem = path.removesuffix(merging.COPY)
            if old is None and stem != path and session.trees.resolve(other, path) is None:
                copies += [path] if session.trees.resolve(other, stem) is not None else []
        if copies:
            raise ConflictError(
                "the other side's copies of files in conflict are still there; nothing was recorded",
                items=tuple(sorted(copies)),
                next="decide what the files are to be, remove the copies (or 'dv rm' them), then commit again",
            )


def _refuse_nothing(workspace: Workspace, tree: bytes, view: StageView, *, allow_empty: bool) -> None:
    session = workspace.session
    head = session.head().snapshot
    if allow_empty or view.merging:
        return
    if head is None:
        if view.value is not None or view.roots:
            return
    else:
        recorded = session.snapshot(head)
        if tree != recorded.root or view.roots != recorded.roots:
            return
    raise ChecksFailedError(
        "there is nothing to commit",
        why="the stage equals HEAD",
        next="stage changes with 'dv add PATH', take all of them with -a, or record anyway with --allow-empty",
    )
