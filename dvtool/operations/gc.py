"""``dv gc``: takes out of the store what nothing needs any more."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.erasure import following
from dvtool.errors import ConflictError, IntegrityError, KeyAccessError, NotFoundError, StorageError, UsageError
from dvtool.formats import codec, pack
from dvtool.history import expiry, marking, oplog, rewriting
from dvtool.history.describe import Amount, amount, rfc3339
from dvtool.sharing import clones, examining, fetching
from dvtool.sharing.erased import FollowedErasure
from dvtool.storage.backend import sweep
from dvtool.store import collecting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.effects import Progress
    from dvtool.history.marking import Marks, PackUse
    from dvtool.sharing.reaching import Remote
    from dvtool.storage.backend import Purged
    from dvtool.store.store import Store
    from dvtool.store.transaction import Transaction
    from dvtool.workspace import Workspace

DAY: Final = 24 * 3600
GRACE: Final = 14 * DAY
"""Seconds between condemning and deleting: longer than any command reads from, or writes to, a store."""
RETENTION: Final = 90 * DAY
"""Seconds for which the operation log keeps what refs had."""
FRESH: Final = DAY
"""Seconds after which a file that no entry names is taken for left behind, if the grace is not shorter still."""
WASTE: Final = 4
"""A pack is written anew when at least one byte in so many is garbage."""
WASTED: Final = 1024 * 1024
"""And at least so many bytes of it: below that it is not worth reading for."""
SMALL: Final = 2
"""A pack is small when it has less than its target divided by this."""
MERGE_FROM: Final = 8
"""So many small packs of one content are written together; fewer are not worth reading for."""
ROUNDS: Final = 4
"""Without a grace: condemn, drop the packs, drop the index and key files that listed them, and one for a lost race."""

SKEW: Final = DAY * 1_000_000
"""Microseconds by which clocks may differ before it is said, or refused."""
ATTEMPTS: Final = 3
"""Times that marking begins again because another collection came in between."""

_RANDOM: Final = re.compile("[0-9a-f]{32}")
_NAMES: Final = {"packs": re.compile("[0-9a-f]{64}"), "index": _RANDOM, "keys": _RANDOM}


class LeftFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was to go and of which the place keeps something: why, and until when (None: nobody knows)."""

    file: str
    why: tuple[str, ...]
    until: str | None


class GcResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was collected, or would be.

    ``snapshots``, ``runs`` and ``objects`` were followed; ``kept`` are packs that stay as they are.  ``rewritten``
    packs were small, or partly garbage, and what is needed of them lies in new ones.  ``condemned`` files are to be
    deleted when the grace is over, and nothing relies on them from here on; ``waiting`` were condemned earlier, and the
    first of them is due at ``due``; ``deleted`` are gone.  Index and key files that only listed other packs are not
    counted.
    ``remote`` is the remote whose store it was, None for the store here; ``uploads`` counts what commands that never
    came to their end had uploaded to it in part, and is given up (0 in a dry run).  Of the files in ``left`` a place
    that keeps versions, or locks them, still has something; the next collection tries again.  ``followed`` are the
    erasures of others that were carried out here first, because the remote was looked at.
    """

    remote: str | None
    dry_run: bool
    snapshots: int
    runs: int
    objects: int
    kept: Amount
    rewritten: Amount
    condemned: Amount
    waiting: Amount
    due: str | None
    deleted: Amount
    uploads: int
    left: tuple[LeftFile, ...]
    followed: tuple[FollowedErasure, ...] = ()


class _Plan:
    """One round: what is written anew, condemned, dropped and deleted; files with their sizes in bytes."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.number = marks.state.number
        self.erasures = marks.state.erasures.items()
        self.rewrite: list[PackUse] = []
        self.rescue: list[PackUse] = []
        self.condemn: dict[str, int] = {}
        self.drop: dict[str, int] = {}
        self.leftovers: dict[str, int] = {}
        self.waiting: dict[str, int] = {}
        self.kept: dict[str, int] = {}
        self.due: int | None = None

    def is_done(self) -> bool:
        return not (self.condemn or self.drop or self.leftovers)


def gc(
    workspace: Workspace,
    *,
    dry_run: bool = False,
    grace: int = GRACE,
    retention: int = RETENTION,
    remote: str | None = None,
) -> GcResult:
    """Collect garbage: condemn what nothing needs, delete what was condemned long enough ago, merge small packs.

    Needed is what refs lead to (branches, tags, HEADs and stages of all worktrees), and what they led to within the
    retention, so that it can be brought back with ``dv undo``.

    Args:
        workspace: the worktree.
        dry_run: find out and change nothing; the result is what the same call without it would do.
        grace: seconds between condemning and deleting; with 0 both happen now, which is safe only while no other
            process reads the store.
        retention: seconds for which the operation log keeps what refs had.
        remote: the remote whose store is meant instead of the one here. Its own log, with its branches and tags, tells
            what is needed there, and a place that keeps versions of deleted files gives them up as far as it can.

    Raises:
        NotFoundError: when there is no such remote, or no store there.
        StorageError: when the disk refuses, or the remote cannot be reached.
        ConflictError: when an erasure is under way, or other writers leave no room.
        IntegrityError: when something needed is missing or damaged; then nothing is collected.
        UsageError: when a time is negative.
    """
    if grace < 0 or retention < 0:
        raise UsageError("a time cannot be negative", next="write it as '14d', '12h' or '0'")
    if remote is not None:
        return _collect_remote(workspace, remote, dry_run=dry_run, grace=grace, retention=retention)
    session = workspace.session
    ahead = session.store.refresh().time - session.store.clock.now()
    if ahead > SKEW and (grace or retention):
        session.context.tell(
            f"warning: the newest entry of the log is {ahead // SKEW:,} days ahead of this machine's clock; "
            "what was written under that time waits so much longer. If the clock is right, '--grace 0' waits no more"
        )
    return collect(
        session.store,
        session.context.progress,
        dry_run=dry_run,
        grace=grace,
        retention=retention,
        without_data=session.lazy is not None,
    )


def _collect_remote(workspace: Workspace, name: str, *, dry_run: bool, grace: int, retention: int) -> GcResult:
    """Collect the garbage of a remote, as its own log tells what is needed there."""
    remote, place = examining.reach(workspace, name)
    progress = workspace.session.context.progress
    if retention:
        place.read_log(workspace.session.context.clock.now() - retention * 1_000_000)
    followed: tuple[FollowedErasure, ...] = ()
    try:
        store = remote.open()
        followed = () if dry_run else following.followed(remote)
        result = collect(store, progress, dry_run=dry_run, grace=grace, retention=retention)
    except KeyAccessError:
        # A rotation that was stopped leaves log keys under two secrets, of which a clone remembers one.
        result = collect(remote.open_with_key(), progress, dry_run=dry_run, grace=grace, retention=retention)
    uploads = 0
    if not dry_run:
        uploads = _sweep(workspace, remote, max(grace, FRESH))
        clones.tidy(remote.open())
    fetching.note(remote)
    return msgspec.structs.replace(result, remote=remote.name, uploads=uploads, followed=followed)


def _sweep(workspace: Workspace, remote: Remote, age: int) -> int:
    """Give up what was uploaded in part and not gone on with for so many seconds; it is in no listing of files."""
    context = workspace.session.context
    try:
        return sweep(remote.backend, context.clock.now() - age * 1_000_000)
    except StorageError as error:
        context.tell(f"warning: unfinished uploads could not be looked for: {error.finding()}")
        return 0


def collect(
    store: Store, progress: Progress, *, dry_run: bool, grace: int, retention: int, without_data: bool = False
) -> GcResult:
    """Collect the garbage of one store; see :func:`gc`.

    ``without_data`` says that another place has the chunks which are not here, so that they may be missing.
    """
    if not dry_run and (grace or retention):
        _require_clock(store)
    collector = _Collector(store, progress, grace, retention, without_data=without_data)
    plan = collector.plan(anew=True)
    first = plan
    for _round in range(0 if dry_run else ROUNDS):
        if plan.is_done():
            break
        collector.execute(plan)
        if grace:
            break
        plan = collector.plan(anew=False)
    return collector.result(first, dry_run=dry_run)


def _require_clock(store: Store) -> None:
    """Refuse to tell by a wrong clock how long something has waited: others condemned it under theirs.

    Where machines share a place, its clock is the one to hold this machine's against.  One that is behind only waits
    longer; on a disk of this machine both are the same, and nobody knows better.

    Raises:
        ConflictError: when this machine's clock is more than a day ahead.
    """
    drift = store.drift()
    if drift is not None and drift > SKEW:
        raise ConflictError(
            f"this machine's clock is {drift // SKEW:,} days ahead of the clock of the disk that holds the store",
            why="what waits for its grace would be deleted too early",
            next="set the machine's clock, then run 'dv gc' again; nothing was collected",
        )


class _Collector:
    def __init__(
        self, store: Store, progress: Progress, grace: int, retention: int, *, without_data: bool = False
    ) -> None:
        self.store = store
        self.without_data = without_data
        self.left: dict[str, Purged] = {}
        self.grace = grace * 1_000_000
        self.retention = retention * 1_000_000
        self.progress = progress

    def plan(self, *, anew: bool) -> _Plan:
        """Mark what is needed and decide what becomes of every file.

        What another collection deletes meanwhile looks as if it were missing; the newest entries know better.
        """
        for _attempt in range(ATTEMPTS):
            number = self.store.refresh().number
            try:
                return self._plan(anew=anew)
            except (IntegrityError, NotFoundError):
                if self.store.refresh().number == number:
                    raise
        return self._plan(anew=anew)

    def _plan(self, *, anew: bool) -> _Plan:
        marks = marking.Marks(self.store, self.progress)
        if self.without_data:
            marks.pass_over_lacking()
        state = marks.state
        now = self.store.clock.now()
        marks.follow(marking.roots(state))
        if self.retention:
            entries = self.store.log.entries(state.number, whole=True)
            expired = functools.cache(lambda value: expiry.what_expired(self.store, state, value) is not None)
            marks.follow(oplog.undoable(entries, now - self.retention, expired), strict=False)
        uses = marks.packs()
        plan = _Plan(marks)
        # A command may still be on its way to the entry that needs them, or be run again where it was stopped.
        fresh = {use.file for use in uses if (put := state.aside(use.file)) is not None and not self._is_over(put, now)}
        plan.rewrite = _to_rewrite([use for use in uses if use.file not in fresh]) if anew else []
        rewritten = {use.file for use in plan.rewrite}
        for use in uses:
            if use.condemned is not None:
                if self._sentence(plan, use.file, use.size, use.condemned, now) and use.live:
                    plan.rescue.append(use)
            elif use.file in rewritten or (not use.live and use.file not in fresh):
                plan.condemn[use.file] = use.size
            else:
                plan.kept[use.file] = use.size
        self._others(plan, {use.file for use in uses}, now)
        return plan

    def _sentence(self, plan: _Plan, name: str, size: int, since: int, now: int) -> bool:
        """Note a condemned file as due or waiting, and return whether it is due."""
        if self._is_over(since, now):
            plan.drop[name] = size
            return True
        plan.waiting[name] = size
        due = since + self.grace
        plan.due = due if plan.due is None else min(plan.due, due)
        return False

    def _is_over(self, since: int, now: int) -> bool:
        """Return whether the grace that began at a time is over.

        A clock that is behind the log waits longer, so no entry under a time to come shortens the grace of what was
        condemned before it.  With no grace there is nothing to wait for, whatever the clock says.
        """
        return not self.grace or since + self.grace <= now

    def _others(self, plan: _Plan, listed: set[str], now: int) -> None:
        """Decide about files that are no listed packs: condemned ones, dropped ones, and what no entry names."""
        state, backend = plan.marks.state, self.store.backend
        live = {name for segment in state.segments for name in (segment.keys, segment.index)}
        for name in self._names():
            if name in listed or name in live:
                continue
            since = state.condemned.get(name.encode())
            try:
                size = backend.size(name)
                modified = backend.modified(name)
            except NotFoundError:
                continue  # another collection has just deleted it
            if state.dropped.get(name.encode()) is not None:
                plan.leftovers[name] = size
            elif since is not None:
                self._sentence(plan, name, size, int.from_bytes(since, "big"), now)
            elif self._is_over(modified, now) or modified + FRESH * 1_000_000 <= now:
                plan.condemn[name] = size
        for key, since in state.condemned.items():
            name = key.decode()
            if name not in listed and not backend.exists(name) and self._is_over(int.from_bytes(since, "big"), now):
                plan.drop[name] = 0  # gone already: what is left is its entry among the condemned

    def _names(self) -> Iterator[str]:
        """Yield the files of the store that could be garbage."""
        for directory, form in _NAMES.items():
            for name in sorted(self.store.backend.names(directory)):
                if form.fullmatch(name):
                    yield f"{directory}/{name}"

    def execute(self, plan: _Plan) -> None:
        """Write anew, record, delete."""
        if plan.condemn or plan.drop:
            with self.store.transaction() as transaction:
                try:
                    self._copy(plan, [*plan.rescue, *plan.rewrite], transaction)
                except (IntegrityError, NotFoundError):
                    if self.store.refresh().number == plan.number:
                        raise
                    raise ConflictError(
                        "another collection deleted what this one was reading",
                        why="it waits for no grace, or has waited longer",
                        next="run 'dv gc' again; nothing was lost",
                    ) from None
                collecting.record(
                    self.store,
                    transaction,
                    plan.erasures,
                    condemn=frozenset(plan.condemn),
                    drop=frozenset(plan.drop),
                )
        self.left |= collecting.delete(self.store.backend, [*plan.leftovers, *plan.drop])

    def _copy(self, plan: _Plan, uses: list[PackUse], transaction: Transaction) -> None:
        total = sum(use.kept for use in uses)
        done = files = 0

        def told(size: int) -> None:
            nonlocal done, files
            done, files = done + size, files + 1
            self.progress.advance(files=files, size=done)

        self.progress.start("writing packs anew", files=len(uses), size=total)
        try:
            rewriting.rewrite(transaction, plan.marks, uses, told)
        finally:
            self.progress.finish()

    def result(self, plan: _Plan, *, dry_run: bool) -> GcResult:
        """Return what a plan comes to, with the later rounds if there is no grace to wait for."""
        condemned, deleted = dict(plan.condemn), plan.drop | plan.leftovers
        if not self.grace:
            condemned, deleted = {}, deleted | condemned
        deleted = {name: size for name, size in deleted.items() if name not in self.left}
        return GcResult(
            remote=None,
            dry_run=dry_run,
            snapshots=plan.marks.snapshots,
            runs=plan.marks.runs,
            objects=plan.marks.objects,
            kept=amount(plan.kept.values()),
            rewritten=amount(use.size for use in plan.rewrite),
            condemned=amount(condemned.values()),
            waiting=amount(plan.waiting.values()),
            due=_moment(plan.due),
            deleted=amount(deleted.values()),
            uploads=0,
            left=tuple(
                LeftFile(file=name, why=found.left, until=_moment(found.until))
                for name, found in sorted(self.left.items())
            ),
        )


def _moment(time: int | None) -> str | None:
    return rfc3339(min(time, codec.TIME_LIMIT - 1)) if time is not None else None


def _to_rewrite(uses: list[PackUse]) -> list[PackUse]:
    """Return the packs of which too much is garbage, and small ones if there are many, oldest first."""
    sound = [use for use in uses if use.condemned is None and use.live]
    chosen = {
        use.file for use in sound if use.live < use.frames and use.size - use.kept >= max(WASTED, use.size // WASTE)
    }
    for content, target in ((pack.DATA, pack.DATA_TARGET), (pack.METADATA, pack.METADATA_TARGET)):
        small = [use.file for use in sound if use.content == content and use.kept < target // SMALL]
        if len(small) >= MERGE_FROM:
            chosen.update(small)
    return [use for use in sound if use.file in chosen]
