"""Carries an erasure out, from the announcement to the end, and goes on where one was stopped.

The order is that of ``docs/design/erasure.md``: announced, committed by one entry, worktrees and caches cleaned while
the old objects can still be told, then keys, entries and packs destroyed, then verified, certified, finished.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.erasure import asking, certificate, journal, keyring, local, locating, proving, remotely
from dvtool.erasure.asking import Request
from dvtool.erasure.local import Cleaned
from dvtool.erasure.steps import Steps
from dvtool.erasure.targets import Targets
from dvtool.errors import (
    ConflictError,
    DvError,
    IntegrityError,
    KeyAccessError,
    NotFoundError,
)
from dvtool.formats import erasure as formats
from dvtool.formats import log
from dvtool.formats.erasure import Record
from dvtool.runs.lineage import Lineage
from dvtool.store import erasing
from dvtool.store.erasing import Destroyed
from dvtool.worktree import projects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from dvtool.erasure.planning import Plan
    from dvtool.formats.erasure import Decision
    from dvtool.store.state import State
    from dvtool.workspace import Workspace

ATTEMPTS: Final = 20
"""Times that an erasure is verified while others write."""
HERE: Final = "this repository"
ROWS: Final = "rows of tables"
UNREAD: Final = "this dv erases files: rows that a rule of dv.toml names were not looked at"
UNTOLD: Final = "it could not be told any more what this was about, so files in worktrees were not looked for"


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure came to: its record, what was destroyed, and what is left of it where."""

    record: Record
    destroyed: Destroyed
    cleaned: tuple[Cleaned, ...]
    request: Request | None
    """What it was about; None where nobody can tell any more."""


def refuse_pending(state: State) -> None:
    """Refuse to begin while another erasure is pending.

    Raises:
        ConflictError: when one is.
    """
    pending = state.pending()
    if pending:
        raise ConflictError(
            f"erasure {formats.short(pending[0][0])} is pending",
            why="it was stopped before its end",
            next="finish it with 'dv erasure resume', or, if nothing is erased yet, give it up with 'dv erasure abort'",
        )


def outstanding(record: Record) -> list[str]:
    """Return what of an erasure is not done yet, in words."""
    return certificate.outstanding(record)


def begin(
    workspace: Workspace,
    request: Request,
    plan: Plan,
    refuse: Callable[[State], None] = lambda _state: None,
    *,
    reached: AbstractSet[str] = frozenset(),
) -> Done:
    """Erase what was planned.

    Args:
        workspace: a worktree of the store.
        request: what is asked for.
        plan: what it comes to.
        refuse: is called with the state in which the erasure begins, and raises if it must not.
        reached: the remotes that have had it, when it is followed: then nobody is asked about what comes in between.

    Raises:
        ConflictError: when a run goes on, another erasure is under way, or the store changes all the time.
        UsageError: when it comes to more than one record can tell.
        IntegrityError: when something is missing or damaged; nothing is erased then.
        StorageError: when the disk refuses. After the commit the erasure is pending, and is finished by a resumption.
    """
    return _Executor(workspace, request, reached).begin(plan, refuse)


def resume(workspace: Workspace, erasure: bytes, *, reached: AbstractSet[str] = frozenset()) -> Done:
    """Go on with an erasure that was stopped; ``reached`` are remotes that are known to have had it.

    Once it is committed it is finished even if nobody can tell any more what it was about: what is left to do in the
    store follows from the log.  Then worktrees are not looked through, and the certificate says so.

    Raises:
        KeyAccessError: when it is not committed, and nobody here can tell any more what it was about.
        ConflictError, IntegrityError, StorageError: as :func:`begin`.
    """
    key = workspace.session.store.entropy.bytes(formats.KEY_SIZE)  # the real one is found out
    executor = _Executor(workspace, asking.Request(erasure=erasure, key=key, targets=Targets()), reached)
    return executor.resume()


class _Executor:
    """The steps of an erasure in the store of a worktree, and what lies beside it on this machine."""

    def __init__(self, workspace: Workspace, request: Request, reached: AbstractSet[str]) -> None:
        self.workspace = workspace
        self.reached = reached
        self.session = workspace.session
        self.store = workspace.session.store
        self.place = workspace.session.layout.store()
        self.disk = workspace.session.context.disk
        self.steps = Steps(
            self.store,
            request,
            self.session.context.progress,
            certified=functools.partial(certificate.certified, workspace),
            without_data=self.session.lazy is not None,
        )
        self.erasure = request.erasure
        self.is_blind = False
        """Whether it cannot be told any more what is erased."""

    def begin(self, plan: Plan, refuse: Callable[[State], None]) -> Done:
        with local.held(self.workspace) as worktrees:
            local.refuse_runs(self.workspace)
            # Who has waited for the worktrees must not write over the journal of one that was stopped meanwhile.
            refuse_pending(self.store.refresh())
            self._note()
            try:
                planned = self.steps.announce(plan, refuse)
            except BaseException:
                self._forget()
                raise
            try:
                if plan.number + 1 != self.store.state.number:
                    plan = self._planned_again(plan)
                self._record(planned, plan, worktrees)
            except DvError:
                if self.steps.give_up(planned):
                    self._forget()
                raise
            return self._from_committed(planned, worktrees)

    def resume(self) -> Done:
        with local.held(self.workspace) as worktrees:
            state = self.store.refresh()
            pending = {key: (step, write) for key, step, write in state.pending()}
            phase, planned = pending.get(self.erasure, (0, b""))
            if not phase:
                raise ConflictError(
                    "this erasure is not pending",
                    where=formats.short(self.erasure),
                    next="run 'dv erasure list' to see all",
                )
            self._recall(state, is_committed=phase == log.ERASED)
            if phase == log.ERASING:
                self._record(planned, self.steps.plan(), worktrees)
            return self._from_committed(planned, worktrees)

    def _recall(self, state: State, *, is_committed: bool) -> None:
        """Find out what the erasure is about, if that can still be told, and note how for who comes next."""
        noted = journal.read(self.place)
        known = noted if noted is not None and noted.erasure == self.erasure else None
        try:
            kept = keyring.keys(self.place)
            keys = [each for each in (known.key if known else None, kept.get(self.erasure)) if each is not None]
            locator, key = locating.locator_of(state, self.erasure, self.store, keys, kept)
        except KeyAccessError:
            if not is_committed:
                raise
            self.is_blind = True
            request = self.steps.request
        else:
            request = asking.request_of(self.erasure, key, locator)
        if known is not None:
            request = msgspec.structs.replace(request, reference=known.reference, ground=known.ground)
        self.steps.request = request
        if not self.is_blind:
            self._note()

    def _note(self) -> None:
        """Write the journal."""
        request = self.steps.request
        noted = journal.Journal(
            erasure=self.erasure, key=request.key, reference=request.reference, ground=request.ground
        )
        journal.write(self.place, noted, self.disk)

    def _forget(self) -> None:
        """Remove the journal, unless it is that of another erasure."""
        noted = journal.read(self.place)
        if noted is None or noted.erasure == self.erasure:
            journal.remove(self.place, self.disk)

    def _planned_again(self, before: Plan) -> Plan:
        """Plan again because something was recorded since the plan that was agreed to.

        Raises:
            ConflictError: when it must be said now what becomes of copies, or snapshots would go that were not told.
        """
        found = self.steps.plan()
        if self.reached:
            return found
        if (found.copies and not self.steps.request.copies) or set(found.forgotten) - set(before.forgotten):
            raise ConflictError(
                "something was recorded while the erasure began, about which nobody was asked",
                next="look at it anew with --plan; nothing was erased",
            )
        return found

    def _models(self, plan: Plan) -> tuple[Decision, ...]:
        """Return the runs that made something from what goes, with an open decision each."""
        if not plan.contents:
            return ()
        direct, all_of_them = Lineage(self.workspace).made_from(plan.contents.keys())
        return tuple(formats.Decision(run=each, direct=each in direct) for each in sorted(all_of_them))

    def _tell(self, text: str) -> None:
        self.session.context.tell(f"warning: {text}")

    def _record(self, planned: bytes, plan: Plan, worktrees: Sequence[tuple[str, Workspace | None]]) -> None:
        """Commit what was planned; raises as :meth:`Steps.commit`."""
        local.foresee(worktrees, plan)
        # A run may have been about to begin when it was looked before.
        self.steps.commit(planned, plan, self._models(plan), lambda: local.refuse_runs(self.workspace))

    def _from_committed(self, planned: bytes, worktrees: Sequence[tuple[str, Workspace | None]]) -> Done:
        """Clean this machine, destroy, verify, certify, finish."""
        self.workspace.rely_on(())  # a run that was stored just before was built on snapshots that are superseded now
        wish = asking.wish_of(self.steps.request)
        cleaned = []
        left = [UNTOLD] if self.is_blind else []
        for root, other in worktrees:
            if other is None:
                self._tell(f"the worktree at {root or 'an unknown place'} could not be opened")
                left.append("a worktree could not be opened: what lies there is there still")
                continue
            try:
                cleaned.append(local.clean(other, self.steps.matcher, self.steps.request.roots, wish.contents))
            except DvError as error:
                self._tell(f"the worktree at {root} could not be cleaned: {error.finding()}")
                left.append("a worktree could not be cleaned")
        destroyed = erasing.destroy(self.store)
        left += [f"{name}: {', '.join(found.left)}" for name, found in sorted(destroyed.left.items())]
        # What stays is told on the terminal alone: a certificate holds no path.
        for done in cleaned:
            for each in done.left:
                self._tell(f"in {done.root} stays {each}")
            if done.left:
                left.append(f"{len(done.left):,} files could not be removed from a worktree")
        left += self._verified()
        away = self._away()
        if not self.is_blind:
            keyring.keep(self.place, self.erasure, self.steps.request.key, away, self.disk)
        found = self._places(destroyed, left, away)
        record = self.steps.finish(planned, found, keep=remotely.is_awaited(found))
        self._forget()
        request = self.steps.request if not self.is_blind else None
        return Done(record=record, destroyed=destroyed, cleaned=tuple(cleaned), request=request)

    def _verified(self) -> list[str]:
        """Look whether anything is left; again where others wrote meanwhile: what they began looks as if it were.

        What was written anew was opened in full before the entry that committed it.
        """
        for _attempt in range(ATTEMPTS):
            number = self.store.refresh().number
            try:
                left = proving.verify(self.workspace, self.erasure, known=self.steps.known, opened=True)
            except (IntegrityError, NotFoundError):
                if self.store.refresh().number == number:
                    raise
                continue
            if not left or self.store.refresh().number == number:
                return left
        return proving.verify(self.workspace, self.erasure, known=self.steps.known, opened=True)

    def _away(self) -> list[str]:
        """Return the remotes that have not had it."""
        return sorted(projects.read(self.session.root).remotes.keys() - self.reached)

    def _places(self, destroyed: Destroyed, left: list[str], remotes: list[str]) -> tuple[formats.Place, ...]:
        """Return what was done where, and what is still to be done elsewhere."""
        here = formats.Place(name=HERE, done=not left, packs=destroyed.packs, left=remotely.told(left))
        away = [remotely.unreached(each) for each in remotes]
        rules = projects.read(self.session.root).subjects if self.steps.request.targets.subjects else ()
        if any(each.tables is not None for each in rules):
            away.append(formats.Place(name=ROWS, done=False, left=(UNREAD,)))
        return (here, *away)
