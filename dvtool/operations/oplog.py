"""``dv oplog``: what was done to the store, newest first."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec

from dvtool.formats import log
from dvtool.history.describe import rfc3339

if TYPE_CHECKING:
    from dvtool.workspace import Workspace


class RefMove(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """A ref that moved: ids in hex, or the name of the ref it points to; None is "not there"."""

    ref: str
    before: str | None
    after: str | None


class OperationItem(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the log: number, time in RFC 3339 UTC, what command it was, refs moved, packs added."""

    number: int
    time: str
    operation: str
    refs: tuple[RefMove, ...]
    packs: int


def oplog(workspace: Workspace, *, limit: int | None = None) -> list[OperationItem]:
    """Return the operations that the log still tells of, newest first; upkeep that moved no ref is left out."""
    entries = (entry for entry in workspace.session.store.log.entries() if entry.operation != "checkpoint")
    return [_item(entry) for entry in itertools.islice(entries, limit)]


def _item(entry: log.Entry) -> OperationItem:
    moves = tuple(
        RefMove(ref=action.name, before=_value(action.old), after=_value(action.new))
        for action in entry.actions
        if isinstance(action, log.MoveRef)
    )
    packs = sum(len(action.packs) for action in entry.actions if isinstance(action, log.AddPacks))
    return OperationItem(
        number=entry.number, time=rfc3339(entry.time), operation=entry.operation, refs=moves, packs=packs
    )


def _value(value: bytes | None) -> str | None:
    name = log.symbolic(value)
    if name is not None:
        return name
    return value.hex() if value is not None else None
