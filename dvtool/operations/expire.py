"""``dv expire``: drops old snapshots from the history; ``dv gc`` then frees what only they held."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.errors import UsageError
from dvtool.formats import log
from dvtool.history import expiry, holds
from dvtool.history.describe import rfc3339

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Set as AbstractSet

    from dvtool.history.expiry import Expiry, History, Rule
    from dvtool.store.state import State
    from dvtool.store.store import Store
    from dvtool.workspace import Workspace

OPERATION: Final = "expire"
BATCH: Final = 16384
"""Snapshots that one entry of the log expires, in some 1.2 MB; the next entry goes on with those that came after."""


class RefKeeps(msgspec.Struct, frozen=True, kw_only=True):
    """A ref, the snapshot that it names, and how many it keeps that no ref before it in the list does."""

    ref: str
    snapshot: str
    kept: int


class ExpireResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was expired, or would be.

    ``before`` and ``keep_last`` are the rule.  ``snapshots`` go, sorted by id; ``oldest`` and ``newest`` are the times
    of the first and the last of them.  ``unreferenced`` of them were led to by the operation log only.  ``kept`` stay.
    """

    plan: bool
    before: str | None
    keep_last: int | None
    expired: int
    unreferenced: int
    oldest: str | None
    newest: str | None
    kept: int
    refs: tuple[RefKeeps, ...]
    snapshots: tuple[str, ...]


def expire(
    workspace: Workspace,
    *,
    before: dt.datetime | None = None,
    keep_last: int | None = None,
    plan: bool = False,
    only: Collection[str] | None = None,
) -> ExpireResult:
    """Drop old snapshots from the history: nothing leads to them any more, and nothing can.

    Ids of the snapshots that stay do not change.  What branches, tags, stages, runs and the HEADs of all worktrees name
    stays whatever the rule says, and from there a snapshot stays that the rule keeps for any of them.

    Args:
        workspace: the worktree.
        before: what was made before goes; with a time zone.
        keep_last: of each branch, and of each detached HEAD, so many of the newest stay.
        plan: find out and change nothing.
        only: snapshots (ids in hex) that may go, as a plan has shown them; the others stay.

    Raises:
        ConflictError: when an erasure is under way.
        IntegrityError: when a snapshot is missing or damaged; then nothing is expired.
        UsageError: when not exactly one rule is given, or one that says nothing.
    """
    rule = _rule(before, keep_last)
    history = expiry.History(workspace.session.store)
    found = history.plan(rule)
    names = None if only is None else frozenset(only)
    agreed = {identity for identity in found.going if names is None or identity.hex() in names}
    gone = history.whole(found.going, agreed)
    if plan and gone and workspace.session.state.ref_names(holds.PREFIX):
        workspace.session.context.tell(
            "note: there are holds, and an expiry does not ask what they cover: 'dv hold list' shows them"
        )
    if not plan and gone:
        gone = drop(workspace.session.store, history, rule, frozenset(gone))
        workspace.after_change()
    return _result(history, found, rule, gone, plan=plan)


def _rule(before: dt.datetime | None, keep_last: int | None) -> Rule:
    if (before is None) == (keep_last is None):
        raise UsageError(
            "one rule says what goes",
            why="there is none" if before is None else "there are two",
            next="give either --before DATE or --keep-last N",
        )
    if keep_last is not None:
        if keep_last < 1:
            raise UsageError("at least one snapshot of each branch stays", next="write --keep-last 1, or more")
        return expiry.Rule(last=keep_last)
    if before is None or before.tzinfo is None:
        raise UsageError("a date needs a time zone", next="use a datetime that has one, in UTC perhaps")
    try:
        since = before.astimezone(dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    except OverflowError:
        raise UsageError("this date is beyond the calendar", next="choose one between the years 1 and 9999") from None
    return expiry.Rule(before=since // dt.timedelta(microseconds=1))


class _NothingLeftError(Exception):
    """All that was to go is gone, or is kept by now."""


def drop(store: Store, history: History, rule: Rule, agreed: AbstractSet[bytes]) -> list[bytes]:
    """Append the entries that expire what was agreed on and still goes, and return it, ancestors first.

    Each looks at the store as it is then: whatever others have committed, branched or tagged meanwhile keeps what it
    leads to.  Every entry goes on where the one before ended, and ancestors go first; so wherever this is stopped, what
    has not gone is led to as before.

    Args:
        store: the store.
        history: what was read of it.
        rule: what is kept.
        agreed: what may go.
    """
    gone: list[bytes] = []

    def build(state: State) -> list[log.Action]:
        going = history.whole(history.plan(rule).going, agreed)[:BATCH]
        if not going:
            raise _NothingLeftError
        mark = log.to_expired(max(store.clock.now(), state.time))
        return [log.Supersede(pairs=tuple((identity, mark) for identity in going))]

    while True:
        try:
            entry = store.log.append(OPERATION, build)
        except _NothingLeftError:
            return gone
        gone += [old for action in entry.actions if isinstance(action, log.Supersede) for old, _mark in action.pairs]


def _result(history: History, found: Expiry, rule: Rule, gone: list[bytes], *, plan: bool) -> ExpireResult:
    times = [history.time(identity) for identity in gone]
    return ExpireResult(
        plan=plan,
        before=rfc3339(rule.before) if rule.before is not None else None,
        keep_last=rule.last,
        expired=len(gone),
        unreferenced=len(found.forgotten.intersection(gone)),
        oldest=rfc3339(min(times)) if times else None,
        newest=rfc3339(max(times)) if times else None,
        kept=sum(len(keeping.keeps) for keeping in found.kept) + found.spared + len(found.going) - len(gone),
        refs=tuple(
            RefKeeps(ref=keeping.ref, snapshot=keeping.names[0].hex(), kept=len(keeping.keeps))
            for keeping in found.kept
        ),
        snapshots=tuple(sorted(identity.hex() for identity in gone)),
    )
