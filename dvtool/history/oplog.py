"""Entries of the log as operations: what they did to refs, and which of them can be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.formats import log
from dvtool.history import holds, recorded
from dvtool.history.describe import rfc3339
from dvtool.store.transaction import PUT_ASIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

UNDO: Final = "undo"
REDO: Final = "redo"
UPKEEP: Final = frozenset({"checkpoint", PUT_ASIDE})
"""Operations that are the store's own affair and move no ref."""


class RefMove(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """A ref that moved: ids in hex, or the name of the ref it points to; None is "not there"."""

    ref: str
    before: str | None
    after: str | None


class OperationItem(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the log: number, time in RFC 3339 UTC, what command it was, refs moved, packs added.

    ``undoes`` is the number of the operation that this one took back, or None.
    """

    number: int
    time: str
    operation: str
    refs: tuple[RefMove, ...]
    packs: int
    undoes: int | None


def describe(entry: log.Entry) -> OperationItem:
    """Return an entry as it is shown."""
    packs = sum(len(action.packs) for action in entry.actions if isinstance(action, log.AddPacks))
    return OperationItem(
        number=entry.number,
        time=rfc3339(entry.time),
        operation=entry.operation,
        refs=tuple(RefMove(ref=move.name, before=_value(move.old), after=_value(move.new)) for move in moves(entry)),
        packs=packs,
        undoes=log.undoes(entry),
    )


def moves(entry: log.Entry) -> list[log.MoveRef]:
    """Return how an entry moved refs."""
    return [action for action in entry.actions if isinstance(action, log.MoveRef)]


def latest(entries: Iterable[log.Entry], worktree: str, *, redo: bool) -> log.Entry | None:
    """Return the operation to take back next, or None when there is none.

    An operation that was taken back is passed over, and so is the one that did it, so that repeated undoing goes
    further back; a redo takes back the last undo that was not itself taken back, unless something was done since.
    What was done from another worktree is that one's affair.  Nothing can be taken back that came before an erasure.

    Args:
        entries: newest first.
        worktree: id of the worktree that asks.
        redo: whether to take back an undo.
    """
    void: set[int] = set()
    for entry in entries:
        if any(_erases(action) for action in entry.actions):
            return None
        if not is_of(entry, worktree):
            continue
        taken_back = log.undoes(entry)
        if entry.number in void:
            continue
        if taken_back is None:
            return None if redo else entry
        if redo and entry.operation == UNDO:
            return entry
        void.add(taken_back)
    return None


def undoable(entries: Iterable[log.Entry], since: int, expired: Callable[[bytes], bool]) -> list[bytes]:
    """Return the ids that refs had since a point in time (microseconds), which can be brought back.

    Undoing goes back one operation after the other, in each worktree by itself, so what it cannot take back because a
    snapshot was expired hides everything that the same worktree did before.

    Args:
        entries: newest first.
        since: what was left before then is given up.
        expired: whether what a ref had cannot be brought back because it, or what it needs, was expired.
    """
    found: set[bytes] = set()
    void: set[int] = set()
    hidden: set[str] = set()
    for entry in entries:
        if entry.time < since:
            break
        worktree = log.origin(entry)
        if worktree in hidden:
            continue
        taken_back = log.undoes(entry)
        if entry.number not in void and taken_back is not None:
            void.add(taken_back)
        elif (
            entry.number not in void
            and is_of(entry, worktree)
            and any(move.old is not None and expired(move.old) for move in moves(entry))
        ):
            hidden.add(worktree)
            continue
        values = {value for move in moves(entry) if not _is_final(move) for value in (move.old, move.new)}
        found.update(
            value for value in values if value is not None and log.symbolic(value) is None and not expired(value)
        )
    return sorted(found)


def _erases(action: log.Action) -> bool:
    """Return whether an action is part of an erasure; snapshots that were expired have nothing that stands for them."""
    if isinstance(action, log.Supersede):
        return any(log.expired(new) is None for _old, new in action.pairs)
    return isinstance(action, log.Erasure)


def is_of(entry: log.Entry, worktree: str) -> bool:
    """Return whether an entry was made from a worktree, and moved refs that it may move back.

    That a run took place cannot be taken back, so what only records runs is passed over; removing them can. Holds come
    and go by their own command alone.
    """
    tops = [move.name.partition("/")[::2] for move in moves(entry)]
    others = any(top in {"worktrees", "stage"} and rest != worktree for top, rest in tops)
    if log.origin(entry) != worktree or others:
        return False
    return log.undoes(entry) is not None or any(_may_go_back(move) for move in moves(entry))


def _may_go_back(move: log.MoveRef) -> bool:
    """Return whether a move is one that somebody would want to take back by itself."""
    return not _is_final(move) and not move.name.startswith(
        ("remotes/", *([recorded.PREFIX] if move.new is not None else []))
    )


def _is_final(move: log.MoveRef) -> bool:
    """Return whether nobody ever takes a move back, so that what it left need not be kept."""
    return move.name.startswith(holds.PREFIX)


def _value(value: bytes | None) -> str | None:
    name = log.symbolic(value)
    if name is not None:
        return name
    return value.hex() if value is not None else None
