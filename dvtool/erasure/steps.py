"""The steps of an erasure in one store, wherever that lies: planned, announced, committed, destroyed, finished.

What lies beside a store on this machine, and the order of it all, is for the caller: see
:mod:`dvtool.erasure.executing`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.erasure import asking, carrying, certificate, planning, traces
from dvtool.errors import ConflictError, DvError, FormatError, IntegrityError, NotFoundError, UsageError
from dvtool.formats import erasure as formats
from dvtool.formats import log
from dvtool.store import erasing

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.effects import Progress
    from dvtool.erasure.asking import Request
    from dvtool.erasure.planning import Plan
    from dvtool.formats.erasure import Decision, Record
    from dvtool.globs import Matcher
    from dvtool.store.state import State
    from dvtool.store.store import Store

RECORD: Final = ids.ERASURE
ROOM: Final = 1 << 20
"""Bytes of a record that are left for what comes to it later: places that were not reached, decisions about models."""


class Steps:
    """One erasure in one store."""

    def __init__(
        self,
        store: Store,
        request: Request,
        progress: Progress,
        *,
        certified: Callable[..., Record],
        without_data: bool = False,
        wraps: tuple[bytes, ...] = (),
        is_searched: bool = True,
    ) -> None:
        """Prepare.

        Args:
            store: the store.
            request: what is asked for; it may be set again before the first step.
            progress: hears how it goes.
            certified: returns a record with its certificate: see :func:`dvtool.erasure.certificate.certified`, which
                it is but for the worktree.
            without_data: chunks may be missing, as in a lazy clone.
            wraps: the key of the locator for those who have what was superseded in another store.
            is_searched: whether files will be searched for what stands in the contents.
        """
        self.store = store
        self.request = request
        self.progress = progress
        self.known = traces.Traces()
        """What is known of the contents that went."""
        self._certified = certified
        self._without_data = without_data
        self._more_wraps = wraps
        self._is_searched = is_searched

    @property
    def erasure(self) -> bytes:
        """The id of the erasure."""
        return self.request.erasure

    @property
    def matcher(self) -> Matcher:
        """What says which paths go."""
        return asking.matcher_of(self.request)

    def plan(self) -> Plan:
        """Plan for the store as it is now; raises as :func:`~dvtool.erasure.planning.plan`."""
        found = planning.plan(
            self.store,
            asking.wish_of(self.request),
            self.progress,
            without_data=self._without_data,
            certified=self._certified,
        )
        self._follow(found)
        return found

    def announce(self, plan: Plan, refuse: Callable[[State], None] = lambda _state: None) -> bytes:
        """Announce what was planned, and return the write id of that; raises as :func:`erasing.announce`."""
        self._follow(plan)
        return erasing.announce(self.store, self.erasure, self._locator(), self._wraps(plan), refuse)

    def give_up(self, planned: bytes) -> bool:
        """Give the erasure up, unless it was committed; return whether that was done, else it is left pending."""
        with contextlib.suppress(DvError):
            pending = {key: step for key, step, _write in self.store.refresh().pending()}
            if pending.get(self.erasure) == log.ERASING:
                erasing.abort(self.store, self.erasure, planned)
                return True
        return False

    def commit(
        self,
        planned: bytes,
        plan: Plan,
        models: tuple[Decision, ...] = (),
        refuse: Callable[[], None] = lambda: None,
    ) -> None:
        """Write what was planned, and commit it.

        Args:
            planned: the write id of the announcement.
            plan: made since.
            models: runs that made something from what goes.
            refuse: is called right before the entry, and raises if it must not be.

        Raises:
            ConflictError: when another dv has given the erasure up or committed it; what is read may be gone then.
            UsageError: when it comes to more than one record can tell.
            IntegrityError: when something is missing or damaged.
            StorageError: when the place refuses.
        """
        try:
            self._commit(planned, plan, models, refuse)
        except (IntegrityError, NotFoundError):
            if (self.erasure, log.ERASING, planned) in self.store.refresh().pending():
                raise
            raise ConflictError(
                "another dv has given this erasure up, or gone on with it",
                where=formats.short(self.erasure),
                next="run 'dv erasure list' to see what became of it; if it was given up, begin again",
            ) from None

    def _commit(self, planned: bytes, plan: Plan, models: tuple[Decision, ...], refuse: Callable[[], None]) -> None:
        self.known = traces.taken(self.store, plan, words=self._is_searched)
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

            carrying.copy(transaction, plan.marks, plan.rewrite, self.progress, put_new)
            added = transaction.write_only()
            carrying.read_back(store, added, self.progress)
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

            refuse()
            erasing.commit(store, action, added, plan.gone.keys(), build)

    def finish(self, planned: bytes, places: tuple[formats.Place, ...], *, keep: bool) -> Record:
        """Write the certificate into the record, and the entry that ends the erasure; return the record.

        Args:
            planned: the write id of the announcement.
            places: what was done where.
            keep: whether the locator is kept: whoever holds old objects, here or at a place that was not reached, finds
                by it what it is about.

        Raises:
            ConflictError, StorageError: as :meth:`Transaction.commit <dvtool.store.transaction.Transaction.commit>`.
        """
        store = self.store
        name = formats.ref_name(self.erasure)
        before = store.state.ref(name)
        old = formats.decode(store.read_object(RECORD, before or b""))
        found = store.state.locators.get(self.erasure) if keep else None
        locator, wraps = log.located(found) if found is not None else (b"", ())
        record = msgspec.structs.replace(
            old,
            revision=old.revision + 1,
            nonce=store.entropy.bytes(formats.NONCE_SIZE),
            finished=store.clock.now(),
            places=places,
        )
        searched = ["ids", "contents"] if self.known.words else ["ids"]
        record = self._certified(record, self.request.reference, self.request.ground, searched)
        with store.transaction() as transaction:
            value = transaction.put_object(RECORD, formats.encode(record))
            action = log.Erasure(
                erasure=self.erasure, phase=log.FINISHED, planned=planned, locator=locator, wraps=wraps
            )
            moves: list[log.Action] = [log.MoveRef(name=name, old=before, new=value), action]
            transaction.commit(erasing.OPERATION, lambda _state: moves)
        return record

    def _follow(self, plan: Plan) -> None:
        """Take over what a plan found out about where it may lie in worktrees."""
        self.request = msgspec.structs.replace(self.request, roots=tuple(sorted({*self.request.roots, *plan.roots})))

    def _locator(self) -> bytes:
        seed = self.store.entropy.bytes(32)
        return formats.seal_locator(self.request.locator(), self.request.key, self.erasure, seed)

    def _wraps(self, plan: Plan) -> tuple[bytes, ...]:
        entropy = self.store.entropy
        found = {each[: ids.ID_SIZE]: each for each in self._more_wraps}
        for identity, nonce in plan.nonces().items():
            found[identity] = formats.wrap(self.request.key, identity, nonce, self.erasure, entropy.bytes(32))
        return tuple(wrapped for _identity, wrapped in sorted(found.items()))


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
