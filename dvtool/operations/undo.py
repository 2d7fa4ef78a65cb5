"""``dv undo``: takes back what the last operation did to refs, HEAD and stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool.errors import ConflictError, NotFoundError
from dvtool.formats import log
from dvtool.history import expiry, oplog
from dvtool.store.state import expired_error

if TYPE_CHECKING:
    from dvtool.store.state import State
    from dvtool.workspace import Workspace


class UndoResult(msgspec.Struct, frozen=True, kw_only=True):
    """The operation that was taken back, and where that left the worktree."""

    undone: oplog.OperationItem
    snapshot: str | None
    branch: str | None


def undo(workspace: Workspace, *, redo: bool = False) -> UndoResult:
    """Append an entry that moves refs back to where they were before the last operation; files stay as they are.

    Repeated, it goes further back.

    Args:
        workspace: the worktree; what others did to their own HEADs and stages is left alone.
        redo: take back the last undo instead.

    Raises:
        ErasedError: when it would lead to a snapshot that was expired since.
        NotFoundError: when there is nothing to take back, or the store no longer holds what it would bring back.
        ConflictError: when a ref has moved since, or an erasure is under way.
    """
    session = workspace.session
    with workspace.changing():
        session.require_unlocked_refs()
        workspace.require_lock()
        entry = oplog.latest(session.store.log.entries(), session.worktree.id, redo=redo)
        if entry is None or any(move.name == session.head_ref and move.old is None for move in oplog.moves(entry)):
            raise NotFoundError(
                "there is nothing to redo" if redo else "there is nothing to undo",
                why="no undo came last" if redo else "the operation log goes no further back, or an erasure came since",
                next="run 'dv oplog' to see what was done",
            )
        back = [log.MoveRef(name=move.name, old=move.new, new=move.old) for move in oplog.moves(entry)]
        _refuse_expired(workspace, session.state, entry, back)
        _refuse_lost(workspace, entry, back)
        workspace.rely_on(move.new for move in back if move.new is not None and log.symbolic(move.new) is None)

        def build(state: State) -> list[log.Action]:
            _refuse_expired(workspace, state, entry, back)
            _refuse_moved(workspace, state, entry, back)
            return list(back)

        word = oplog.REDO if redo else oplog.UNDO
        session.store.log.append(word, build, sections=log.taking_back(entry.number))
        session.store.refresh()
        workspace.update_git_ignore(session.stage().roots)
        workspace.after_change(moved=True)
    head = session.head()
    return UndoResult(
        undone=oplog.describe(entry),
        snapshot=head.snapshot.hex() if head.snapshot is not None else None,
        branch=head.branch,
    )


def _refuse_expired(workspace: Workspace, state: State, entry: log.Entry, back: list[log.MoveRef]) -> None:
    """Refuse to bring back what would need a snapshot that was expired since."""
    for move in back:
        if move.new is not None and log.symbolic(move.new) is None:
            found = expiry.what_expired(workspace.session.store, state, move.new)
            if found is not None:
                what = (
                    f"operation {entry.number} ({entry.operation}) cannot be taken back: it leads to what was expired"
                )
                raise expired_error(*found, what=what)


def _refuse_lost(workspace: Workspace, entry: log.Entry, back: list[log.MoveRef]) -> None:
    """Refuse to bring back what was collected as garbage since."""
    for move in back:
        if move.new is None or log.symbolic(move.new) is not None:
            continue
        if not workspace.session.store.has(move.new):
            raise NotFoundError(
                f"operation {entry.number} ({entry.operation}) cannot be taken back",
                where=move.name,
                why="what it replaced is no longer in the store",
                next="run 'dv oplog' to see what was done",
            )


def _refuse_moved(workspace: Workspace, state: State, entry: log.Entry, back: list[log.MoveRef]) -> None:
    """Refuse to take back what something else was built on since."""
    for move in back:
        if state.ref(move.name) != move.old:
            raise ConflictError(
                f"operation {entry.number} ({entry.operation}) cannot be taken back",
                where=move.name,
                why="it was moved again since, from another worktree perhaps",
                next="run 'dv oplog' to see what was done, and move it yourself with 'dv checkout', 'dv branch' or "
                "'dv tag'",
            )
        top, _, branch = move.name.partition("/")
        if top == "heads":
            workspace.refuse_taken(state, branch)
