"""Carries an erasure out, from the announcement to the end, and goes on where one was stopped.

The order is that of ``docs/design/erasure.md``: announced, committed by one entry, worktrees and caches cleaned while
the old objects can still be told, then keys, entries and packs destroyed, then verified, certified, finished.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import globs, ids
from dvtool.erasure import carrying, certificate, journal, local, planning, proving, targets, traces
from dvtool.erasure.local import Cleaned
from dvtool.erasure.targets import Targets
from dvtool.errors import (
    ConflictError,
    DvError,
    FormatError,
    IntegrityError,
    KeyAccessError,
    NotFoundError,
    UsageError,
)
from dvtool.formats import erasure as formats
from dvtool.formats import log, project
from dvtool.formats.erasure import Record
from dvtool.globs import Matcher
from dvtool.runs.lineage import Lineage
from dvtool.store import erasing
from dvtool.store.erasing import Destroyed
from dvtool.worktree import projects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dvtool.erasure.planning import Plan, Wish
    from dvtool.formats.erasure import Decision, Locator
    from dvtool.store.state import State
    from dvtool.store.store import Store
    from dvtool.workspace import Workspace

RECORD: Final = ids.ERASURE
ATTEMPTS: Final = 20
"""Times that an erasure is verified while others write."""
ROOM: Final = 2**20
"""Bytes of a record that are left for what comes to it later: places that were not reached, decisions about models."""
LEFT: Final = 1000
"""Things that are left at a place, and that its record names."""
HERE: Final = "this repository"
ROWS: Final = "rows of tables"
UNREAD: Final = "this dv erases files: rows that a rule of dv.toml names were not looked at"
UNTOLD: Final = "it could not be told any more what this was about, so files in worktrees were not looked for"
UNREACHED: Final = "it was not reached: what it has of this is there still"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for: see :func:`dvtool.operations.erase.erase`."""

    erasure: bytes
    targets: Targets
    rules: tuple[str, ...] = ()
    contents: tuple[bytes, ...] = ()
    roots: tuple[str, ...] = ()
    copies: str = ""
    keep_path: bool = False
    redact: bool = False
    reference: str = ""
    ground: str = ""

    def locator(self) -> Locator:
        """Return what others find it by."""
        return formats.Locator(
            patterns=self.targets.patterns,
            subjects=self.targets.subjects,
            authors=self.targets.authors,
            rules=self.rules,
            contents=self.contents,
            roots=self.roots,
            copies=self.copies,
            keep_path=self.keep_path,
            redact=self.redact,
        )


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure came to: its record, what was destroyed, and what is left of it where."""

    record: Record
    destroyed: Destroyed
    cleaned: tuple[Cleaned, ...]


def request_of(erasure: bytes, locator: Locator) -> Request:
    """Return the request that a locator was made for, as far as it says."""
    return Request(
        erasure=erasure,
        targets=Targets(patterns=locator.patterns, subjects=locator.subjects, authors=locator.authors),
        rules=locator.rules,
        contents=locator.contents,
        roots=locator.roots,
        copies=locator.copies,
        keep_path=locator.keep_path,
        redact=locator.redact,
    )


def matcher_of(request: Request) -> Matcher:
    """Return what says which paths a request is about."""
    subjects = [project.Subject(paths=pattern) for pattern in request.rules]
    rules = [globs.by_path(pattern) for pattern in request.targets.patterns]
    for identity in request.targets.subjects:
        rules += targets.by_subject(identity, subjects)
    return Matcher(rules)


def wish_of(request: Request) -> Wish:
    """Return what is to be planned for a request."""
    words = {*request.targets.subjects, *request.targets.authors}
    words |= {glob.literal() for glob in matcher_of(request).globs if glob.is_plain()}
    return planning.Wish(
        erasure=request.erasure,
        matcher=matcher_of(request),
        authors=frozenset(each.lower() for each in request.targets.authors),
        contents=frozenset(request.contents) if request.copies == "erase" else frozenset(),
        keep_path=request.keep_path,
        words=tuple(sorted(word for word in words if word)),
        redact=request.redact,
    )


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


def new_record(store: Store, request: Request, plan: Plan, models: tuple[Decision, ...]) -> Record:
    """Return the record of an erasure that is about to be committed.

    Raises:
        UsageError: when it comes to more than a record and its certificate can tell: then it could not be finished.
    """
    now = store.clock.now()
    record = formats.Record(
        id=request.erasure,
        revision=0,
        nonce=store.entropy.bytes(formats.NONCE_SIZE),
        store=store.format.store,
        started=now,
        committed=now,
        finished=0,
        copies=request.copies,
        keep_path=request.keep_path,
        snapshots=len(plan.snapshots),
        files=plan.files,
        contents=len(plan.contents),
        runs=tuple(sorted(plan.affected)),
        successors=tuple(sorted(each.new for each in plan.snapshots.values())),
        decisions=models,
        places=(),
    )
    try:
        size = len(formats.encode(certificate.drafted(record, request.reference, request.ground)))
    except FormatError:
        size = formats.SIZE_LIMIT
    if size + ROOM > formats.SIZE_LIMIT:
        raise UsageError(
            "too much is to be erased at once",
            why=f"{len(plan.snapshots):,} snapshots and {len(plan.affected) + len(models):,} runs are more than the "
            "record of one erasure can tell",
            next="drop old snapshots first ('dv expire'), or erase fewer paths at once; nothing was erased",
        )
    return record


def begin(
    workspace: Workspace, request: Request, plan: Plan, refuse: Callable[[State], None] = lambda _state: None
) -> Done:
    """Erase what was planned.

    ``refuse`` is called with the state in which the erasure begins, and raises if it must not.

    Raises:
        ConflictError: when a run goes on, another erasure is under way, or the store changes all the time.
        UsageError: when it comes to more than one record can tell.
        IntegrityError: when something is missing or damaged; nothing is erased then.
        StorageError: when the disk refuses. After the commit the erasure is pending, and is finished by a resumption.
    """
    return _Executor(workspace, request).begin(plan, refuse)


def resume(workspace: Workspace, erasure: bytes) -> Done:
    """Go on with an erasure that was stopped.

    Once it is committed it is finished even if nobody can tell any more what it was about: what is left to do in the
    store follows from the log.  Then worktrees are not looked through, and the certificate says so.

    Raises:
        KeyAccessError: when it is not committed, and nobody here can tell any more what it was about.
        ConflictError, IntegrityError, StorageError: as :func:`begin`.
    """
    executor = _Executor(workspace, Request(erasure=erasure, targets=Targets()))
    return executor.resume()


def _locator_of(workspace: Workspace, state: State, erasure: bytes) -> tuple[Locator, bytes]:
    """Return what an erasure is about, by the journal or by an object that it supersedes, and the key of that.

    Raises:
        KeyAccessError: when neither is left.
    """
    value = state.locators.get(erasure)
    noted = journal.read(workspace.session.layout.store())
    if value is not None:
        blob, wraps = log.located(value)
        keys = [noted.key] if noted is not None and noted.erasure == erasure else []
        keys += _unwrapped(workspace.session.store, wraps, erasure)
        for key in keys:
            try:
                return formats.open_locator(blob, key, erasure), key
            except KeyAccessError:
                continue
    raise KeyAccessError(
        "it cannot be told any more what this erasure was about",
        where=formats.short(erasure),
        why="its journal is gone, and so is every snapshot that it superseded",
        next="nothing is erased yet: give it up with 'dv erasure abort', and begin again",
    )


def _unwrapped(store: Store, wraps: Sequence[bytes], erasure: bytes) -> list[bytes]:
    """Return the key of a locator by the first object that is still here and opens it; nothing when there is none."""
    for wrapped in wraps:
        nonce = planning.nonce_of(store, wrapped[: ids.ID_SIZE])
        if nonce is not None:
            with contextlib.suppress(DvError):
                return [formats.unwrap(wrapped, nonce, erasure)]
    return []


class _Executor:
    def __init__(self, workspace: Workspace, request: Request) -> None:
        self.workspace = workspace
        self.session = workspace.session
        self.store = workspace.session.store
        self.place = workspace.session.layout.store()
        self.disk = workspace.session.context.disk
        self.request = request
        self.erasure = request.erasure
        self.matcher = matcher_of(request)
        self.key = b""
        self.known = traces.Traces()
        self.is_blind = False
        """Whether it cannot be told any more what is erased."""

    def begin(self, plan: Plan, refuse: Callable[[State], None]) -> Done:
        with local.held(self.workspace) as worktrees:
            local.refuse_runs(self.workspace)
            # Who has waited for the worktrees must not write over the journal of one that was stopped meanwhile.
            refuse_pending(self.store.refresh())
            self.request = msgspec.structs.replace(self.request, roots=tuple(sorted(plan.roots)))
            self.key = self.store.entropy.bytes(formats.KEY_SIZE)
            self._note()
            try:
                planned = erasing.announce(self.store, self.erasure, self._locator(), self._wraps(plan), refuse)
            except BaseException:
                self._forget()
                raise
            try:
                if plan.number + 1 != self.store.state.number:
                    plan = self._planned_again(plan)
                self._record(planned, plan, worktrees)
            except DvError:
                self._give_up(planned)
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
                self._record(planned, self._plan(), worktrees)
            return self._from_committed(planned, worktrees)

    def _recall(self, state: State, *, is_committed: bool) -> None:
        """Find out what the erasure is about, if that can still be told, and note how for who comes next."""
        noted = journal.read(self.place)
        if noted is not None and noted.erasure == self.erasure:
            self.request = msgspec.structs.replace(self.request, reference=noted.reference, ground=noted.ground)
        try:
            locator, self.key = _locator_of(self.workspace, state, self.erasure)
        except KeyAccessError:
            if not is_committed:
                raise
            self.is_blind = True
            return
        given = self.request
        self.request = request_of(self.erasure, locator)
        self.request = msgspec.structs.replace(self.request, reference=given.reference, ground=given.ground)
        self.matcher = matcher_of(self.request)
        self._note()

    def _note(self) -> None:
        """Write the journal."""
        noted = journal.Journal(
            erasure=self.erasure, key=self.key, reference=self.request.reference, ground=self.request.ground
        )
        journal.write(self.place, noted, self.disk)

    def _forget(self) -> None:
        """Remove the journal, unless it is that of another erasure."""
        noted = journal.read(self.place)
        if noted is None or noted.erasure == self.erasure:
            journal.remove(self.place, self.disk)

    def _plan(self) -> Plan:
        """Plan for the store as it is now, and from which on nobody else changes it."""
        found = planning.plan(
            self.store,
            wish_of(self.request),
            self.session.context.progress,
            without_data=self.session.lazy is not None,
            certified=functools.partial(certificate.certified, self.workspace),
        )
        self.request = msgspec.structs.replace(self.request, roots=tuple(sorted(found.roots)))
        return found

    def _planned_again(self, before: Plan) -> Plan:
        """Plan again because something was recorded since the plan that was agreed to.

        Raises:
            ConflictError: when it must be said now what becomes of copies, or snapshots would go that were not told.
        """
        found = self._plan()
        if (found.copies and not self.request.copies) or set(found.forgotten) - set(before.forgotten):
            raise ConflictError(
                "something was recorded while the erasure began, about which nobody was asked",
                next="look at it anew with --plan; nothing was erased",
            )
        return found

    def _give_up(self, planned: bytes) -> None:
        """Give the erasure up, unless it was committed; whatever keeps that from being done leaves it pending."""
        with contextlib.suppress(DvError):
            pending = {key: step for key, step, _write in self.store.refresh().pending()}
            if pending.get(self.erasure) == log.ERASING:
                erasing.abort(self.store, self.erasure, planned)
                self._forget()

    def _models(self, plan: Plan) -> tuple[Decision, ...]:
        """Return the runs that made something from what goes, with an open decision each."""
        if not plan.contents:
            return ()
        direct, all_of_them = Lineage(self.workspace).made_from(plan.contents.keys())
        return tuple(formats.Decision(run=each, direct=each in direct) for each in sorted(all_of_them))

    def _tell(self, text: str) -> None:
        self.session.context.tell(f"warning: {text}")

    def _locator(self) -> bytes:
        entropy = self.store.entropy
        return formats.seal_locator(self.request.locator(), self.key, self.erasure, entropy.bytes(32))

    def _wraps(self, plan: Plan) -> tuple[bytes, ...]:
        entropy = self.store.entropy
        return tuple(
            formats.wrap(self.key, identity, nonce, self.erasure, entropy.bytes(32))
            for identity, nonce in sorted(plan.nonces().items())
        )

    def _record(self, planned: bytes, plan: Plan, worktrees: Sequence[tuple[str, Workspace | None]]) -> None:
        """Commit what was planned.

        Raises:
            ConflictError: when another dv has given the erasure up or committed it; what is read may be gone then.
        """
        local.foresee(worktrees, plan)
        try:
            self._commit(planned, plan, self._models(plan))
        except (IntegrityError, NotFoundError):
            if (self.erasure, log.ERASING, planned) in self.store.refresh().pending():
                raise
            raise ConflictError(
                "another dv has given this erasure up, or gone on with it",
                where=formats.short(self.erasure),
                next="run 'dv erasure list' to see what became of it; if it was given up, begin again",
            ) from None

    def _commit(self, planned: bytes, plan: Plan, models: tuple[Decision, ...]) -> None:
        self.known = traces.taken(self.store, plan)
        record = new_record(self.store, self.request, plan, models)
        store = self.store
        store.give_up(plan.gone.keys())
        with store.transaction() as transaction:
            data = formats.encode(record)
            name, value = formats.ref_name(self.erasure), store.hasher.id(RECORD, data)

            def put_new() -> None:
                for identity, (kind, made) in plan.made.items():
                    transaction.copy(kind, identity, made)
                transaction.copy(RECORD, value, data)

            progress = self.session.context.progress
            carrying.copy(transaction, plan.marks, plan.rewrite, progress, put_new)
            added = transaction.write_only()
            carrying.read_back(store, added, progress)
            action = log.Erasure(
                erasure=self.erasure,
                phase=log.ERASED,
                planned=planned,
                locator=self._locator(),
                wraps=self._wraps(plan),
            )

            def build(state: State) -> list[log.Action]:
                moves = [*plan.moves, log.MoveRef(name=name, old=state.ref(name), new=value)]
                pairs = plan.pairs()
                return [*([log.Supersede(pairs=pairs)] if pairs else []), *moves]

            local.refuse_runs(self.workspace)  # one may have been about to begin when it was looked before
            erasing.commit(store, action, added, plan.gone.keys(), build)

    def _from_committed(self, planned: bytes, worktrees: Sequence[tuple[str, Workspace | None]]) -> Done:
        """Clean this machine, destroy, verify, certify, finish."""
        self.workspace.rely_on(())  # a run that was stored just before was built on snapshots that are superseded now
        cleaned = []
        left = [UNTOLD] if self.is_blind else []
        for root, other in worktrees:
            if other is None:
                self._tell(f"the worktree at {root or 'an unknown place'} could not be opened")
                left.append("a worktree could not be opened: what lies there is there still")
                continue
            try:
                cleaned.append(local.clean(other, self.matcher, self.request.roots, wish_of(self.request).contents))
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
        record = self._finish(planned, destroyed, left)
        self._forget()
        return Done(record=record, destroyed=destroyed, cleaned=tuple(cleaned))

    def _verified(self) -> list[str]:
        """Look whether anything is left; again where others wrote meanwhile: what they began looks as if it were.

        What was written anew was opened in full before the entry that committed it.
        """
        for _attempt in range(ATTEMPTS):
            number = self.store.refresh().number
            try:
                left = proving.verify(self.workspace, self.erasure, known=self.known, opened=True)
            except (IntegrityError, NotFoundError):
                if self.store.refresh().number == number:
                    raise
                continue
            if not left or self.store.refresh().number == number:
                return left
        return proving.verify(self.workspace, self.erasure, known=self.known, opened=True)

    def _finish(self, planned: bytes, destroyed: Destroyed, left: list[str]) -> Record:
        """Write the certificate into the record, and the entry that ends the erasure."""
        store = self.store
        name = formats.ref_name(self.erasure)
        before = store.state.ref(name)
        old = formats.decode(store.read_object(RECORD, before or b""))
        told = left if len(left) <= LEFT else [*left[:LEFT], f"and {len(left) - LEFT:,} more"]
        here = formats.Place(name=HERE, done=not left, packs=destroyed.packs, left=tuple(told))
        remotes = sorted(projects.read(self.session.root).remotes)
        away = [formats.Place(name=f"remote {each}", done=False, left=(UNREACHED,)) for each in remotes]
        rules = projects.read(self.session.root).subjects if self.request.targets.subjects else ()
        if any(each.tables is not None for each in rules):
            away.append(formats.Place(name=ROWS, done=False, left=(UNREAD,)))
        # Whoever holds old objects there, and comes here again, finds by the locator what it is about.
        found = store.state.locators.get(self.erasure) if away else None
        locator, wraps = log.located(found) if found is not None else (b"", ())
        record = msgspec.structs.replace(
            old,
            revision=old.revision + 1,
            nonce=store.entropy.bytes(formats.NONCE_SIZE),
            finished=store.clock.now(),
            places=(here, *away),
        )
        searched = ["ids", "contents"] if self.known.words else ["ids"]
        record = certificate.certified(self.workspace, record, self.request.reference, self.request.ground, searched)
        with store.transaction() as transaction:
            value = transaction.put_object(RECORD, formats.encode(record))
            action = log.Erasure(
                erasure=self.erasure, phase=log.FINISHED, planned=planned, locator=locator, wraps=wraps
            )
            moves: list[log.Action] = [log.MoveRef(name=name, old=before, new=value), action]
            transaction.commit(erasing.OPERATION, lambda _state: moves)
        return record
