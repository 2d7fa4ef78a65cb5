"""``dv commit``: records the stage as a snapshot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from dvtool import ids
from dvtool.errors import ChecksFailedError, UsageError
from dvtool.formats import log, snapshot
from dvtool.store.editing import Editor
from dvtool.store.trees import Trees
from dvtool.worktree import staging

if TYPE_CHECKING:
    from dvtool.store.transaction import Transaction
    from dvtool.workspace import Workspace
    from dvtool.worktree.session import StageView

SETTINGS = ("dv.toml", ".dvignore")


class CommitResult(msgspec.Struct, frozen=True, kw_only=True):
    """The snapshot that was recorded: ids in hex, totals of files and bytes."""

    snapshot: str
    parents: tuple[str, ...]
    root: str
    files: int
    bytes: int


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
    if not message.strip():
        raise UsageError("the message is empty", next="say what changed: dv commit -m MESSAGE")
    if len(message) > snapshot.TEXT_LIMIT:
        raise UsageError("the message is too long", why=f"it may have {snapshot.TEXT_LIMIT} characters")
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
                session.index()
                found = staging.look(session, roots, force=False)
                found.leave(workspace.refuse_git_tracked(found.added_paths(), skip=True))
                found.new_directories = workspace.without_gits(found.new_directories, found.added_paths(), roots)
                staged = staging.bring_in(session, transaction, found, roots)
                tree = staged.tree
            if tree is None:
                tree = Editor(transaction, session.store.secrets.split).empty()
            _refuse_nothing(workspace, tree, view, allow_empty=allow_empty)
            totals = Trees(transaction).totals(tree)
            value = snapshot.Snapshot(
                root=tree,
                roots=roots,
                parents=tuple(parent for parent in (head.snapshot, *view.merging) if parent is not None),
                author=who,
                time=session.context.clock.now(),
                message=message,
                files=totals.files,
                size=totals.size,
                nonce=session.context.entropy.bytes(snapshot.NONCE_SIZE),
                settings=() if workspace.in_git() else _settings(session.root, transaction),
            )
            identity = transaction.put_object(ids.SNAPSHOT, snapshot.encode(value))
            moves: list[log.Action] = []
            if head.branch is not None:
                moves.append(log.MoveRef(name=f"heads/{head.branch}", old=head.snapshot, new=identity))
            else:
                moves.append(log.MoveRef(name=session.head_ref, old=head.value, new=identity))
            if view.value is not None:
                moves.append(log.MoveRef(name=session.stage_ref, old=view.value, new=None))
            transaction.commit("commit", lambda _state: moves)
        if staged is not None:
            staging.update_index(session, view, staged)
        workspace.after_change(moved=True)
    return CommitResult(
        snapshot=identity.hex(),
        parents=tuple(parent.hex() for parent in value.parents),
        root=tree.hex(),
        files=totals.files,
        bytes=totals.size,
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


def _settings(root: str, transaction: Transaction) -> tuple[tuple[str, bytes, int], ...]:
    found = []
    for name in SETTINGS:
        path = os.path.join(root, name)
        if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) < snapshot.TEXT_LIMIT:
            with open(path, "rb") as file:
                data = file.read()
            if data:
                found.append((name, transaction.put_chunk(data), len(data)))
    return tuple(found)
