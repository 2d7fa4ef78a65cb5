"""Follows the erasures that others brought to a remote, before anything is exchanged with it.

Whoever still has something of what an erasure is about opens its locator and erases it in the same way: so what only
this clone has, snapshots, stages, runs and files, goes or stays as it would have there, and what both have becomes the
same.  Where nothing of it is here, the erasure is only taken over as known.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.capture.redaction import Redactor
from dvtool.erasure import asking, certificate, executing, keyring, locating, planning
from dvtool.errors import ConflictError, IntegrityError, KeyAccessError
from dvtool.formats import erasure as formats
from dvtool.formats import log
from dvtool.formats.erasure import Record
from dvtool.history import holds, recorded
from dvtool.runs import sealing
from dvtool.sharing import erased
from dvtool.sharing.erased import FollowedErasure
from dvtool.worktree import places, projects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.erasure.asking import Request
    from dvtool.erasure.executing import Done
    from dvtool.erasure.planning import Plan
    from dvtool.sharing.reaching import Remote
    from dvtool.store.state import State
    from dvtool.store.store import Store

OPERATION: Final = "follow"
SHOWN: Final = 20
ALONE: Final = (
    "there is something here that no remote has, and nothing by which it could be told whether this is in it: "
    "look, and erase it here"
)

TOLD: Final = ("heads/", "tags/", "worktrees/", recorded.PREFIX)
"""What the names of refs begin with that may lead to what no remote has."""

lacking = erased.lacking


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """The erasures that were followed, in the order in which that was done."""

    erasures: tuple[FollowedErasure, ...] = ()


def follow(remote: Remote) -> Followed:
    """Bring every erasure that a remote has, and the store here has not, into the store and its worktrees.

    Args:
        remote: the remote; it is opened if it was not.

    Raises:
        ConflictError: when one cannot be followed now: a run goes on, another command holds a worktree, an erasure is
            pending, something is held, or nobody can tell what it was about while something of it may be here.
        IntegrityError: when something here is missing or damaged, or the remote's history is not what comes of it.
        StorageError: when the disk or the remote refuses.
    """
    there = remote.open()
    return there.try_again(lambda: _Following(remote, there).run())


def followed(remote: Remote) -> tuple[FollowedErasure, ...]:
    """Follow, and return the erasures alone: for those below, who cannot know of this; raises as :func:`follow`."""
    return follow(remote).erasures


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the remote says of an erasure: its record, which snapshots it superseded, and all that came before them."""

    erasure: bytes
    record: Record | None
    pairs: tuple[tuple[bytes, bytes], ...]
    before: frozenset[bytes]
    """What it superseded, and what stood for that earlier: whoever has one of these is to follow."""
    after: frozenset[bytes]
    """What stands for these since."""


class _Following:
    def __init__(self, remote: Remote, there: Store) -> None:
        self.remote = remote
        self.workspace = remote.workspace
        self.session = remote.session
        self.here = remote.session.store
        self.there = there
        self.place = self.session.layout.store()
        self.done: list[FollowedErasure] = []

    def run(self) -> Followed:
        state = self.here.refresh()
        has = erased.committed(self.there.state)
        pending = [erasure for erasure, _phase, _planned in state.pending()]
        waiting = erased.lacking(state, self.there.state)
        if waiting or any(erasure in has for erasure in pending):
            self._finish(pending, has.keys())
            self._follow(erased.lacking(self.here.refresh(), self.there.state))
        self._forget_journal()
        if has:
            remotes = projects.read(self.session.root).remotes.keys()
            keyring.settle(self.place, self.remote.name, has.keys(), remotes, self.session.context.disk)
        return Followed(erasures=tuple(self.done))

    def _finish(self, pending: list[bytes], has: Iterable[bytes]) -> None:
        """Finish what was begun here and stopped, if the remote has it too; else it must be said what becomes of it."""
        if pending and pending[0] not in has:
            executing.refuse_pending(self.here.state)
        if pending:
            self._note(executing.resume(self.workspace, pending[0], reached={self.remote.name}))

    def _forget_journal(self) -> None:
        """Remove the journal of one that was finished by a command which was stopped right then."""
        if os.path.lexists(places.erasing_of(self.place)) and not self.here.refresh().pending():
            with self.session.lock():
                self.here.refresh()
                self.workspace.forget_erasure()

    def _follow(self, waiting: list[bytes]) -> None:
        """Follow erasures in the order in which they came to the remote, as far as clocks can tell that.

        One that is made of what another one made does not open before that was followed.
        """
        if not waiting:
            return
        sealing.seal_waiting(self.workspace, Redactor(os.environ))
        left = sorted(
            self._known(waiting), key=lambda each: (each.record.committed if each.record else 0, each.erasure)
        )
        known: list[_Known] = []
        while left:
            closed: list[_Known] = []
            for each in left:
                request = self._opened(each)
                if request is not None:
                    self._erase(each, request)
                elif self._has_some_of(each):
                    closed.append(each)
                else:
                    known.append(each)
            if len(closed) == len(left):
                raise self._closed(closed[0])
            left = closed
        if known:
            self._take_over(known)

    # ------------------------------------------------------------------------------------------ what is known of them

    def _known(self, waiting: list[bytes]) -> list[_Known]:
        state = self.there.state
        steps = dict(state.superseded.items())
        found = []
        for erasure in waiting:
            value = state.ref(formats.ref_name(erasure))
            record = formats.decode(self.there.read_object(ids.ERASURE, value)) if value is not None else None
            made = set(record.successors) if record is not None else set()
            pairs = tuple((old, new) for old, new in steps.items() if new in made)
            before, after = set(), set(made)
            for old in steps:
                way = _way(steps, old)
                at = next((number for number, each in enumerate(way) if each in made), None)
                if at is not None:
                    before.update(way[:at])
                    after.update(way[at:])
            # What it made may have been expired since.
            ends = tuple(
                (new, steps[new]) for new in sorted(made) if new in steps and log.expired(steps[new]) is not None
            )
            found.append(
                _Known(
                    erasure=erasure,
                    record=record,
                    pairs=(*pairs, *ends),
                    before=frozenset(before | self._wrapped_for(erasure)),
                    after=frozenset(after),
                )
            )
        return found

    def _wrapped_for(self, erasure: bytes) -> set[bytes]:
        """Return the objects that open a locator."""
        value = self.there.state.locators.get(erasure)
        return {each[: ids.ID_SIZE] for each in log.located(value)[1]} if value is not None else set()

    def _opened(self, known: _Known) -> Request | None:
        """Return what an erasure is about, if something here opens its locator."""
        kept = keyring.keys(self.place)
        try:
            locator, key = locating.locator_of(self.there.state, known.erasure, self.here, erased=kept)
        except KeyAccessError:
            return None
        return asking.request_of(known.erasure, key, locator)

    def _has_some_of(self, known: _Known) -> bool:
        """Return whether something is here that the erasure superseded, or that came of it otherwise than there."""
        state = self.here.refresh()
        for old in known.before:
            if self.here.has(old):
                return True
            stands = state.standing(old)
            if stands is not None and stands != old and stands not in known.after and self.here.has(stands):
                return True
        return False

    def _closed(self, known: _Known) -> ConflictError:
        return ConflictError(
            f"{self.remote.name} has an erasure that this clone cannot follow",
            where=formats.short(known.erasure),
            why="something of what it is about is here, and nothing that is left tells what that was: all who were "
            "waited for have followed it",
            next="nothing is exchanged until it is gone here: save what only this clone has ('dv archive REV DIR'), "
            "look that nothing of it is to be erased, and begin again in a new clone ('dv clone')",
        )

    # -------------------------------------------------------------------------------------------------- carried out

    def _erase(self, known: _Known, request: Request) -> None:
        """Erase here what was erased there."""
        self._pair(known.pairs)
        plan = planning.plan(
            self.here,
            asking.wish_of(request),
            self.session.context.progress,
            without_data=self.session.lazy is not None,
            certified=functools.partial(certificate.certified, self.workspace),
        )
        self._require_same(known, plan)
        if plan.forgotten:
            self.session.context.tell(
                f"note: {len(plan.forgotten):,} snapshots to which only 'dv undo' led go with "
                f"{formats.short(known.erasure)}"
            )
        if plan.copies and not request.copies:
            # Where it was decided there were none; what may be somebody else's is not erased unasked.
            request = msgspec.structs.replace(request, copies="keep")
        done = executing.begin(
            self.workspace,
            request,
            plan,
            lambda state: self._refuse_held(state, request, plan),
            reached={self.remote.name},
        )
        self._note(done)

    def _require_same(self, known: _Known, plan: Plan) -> None:
        """Refuse to make another history of the same snapshots than the remote has.

        Raises:
            IntegrityError: when that is what would come of it.
        """
        there = dict(known.pairs)
        for old, each in plan.snapshots.items():
            if old in there and there[old] != each.new:
                raise IntegrityError(
                    f"following an erasure of {self.remote.name} does not lead to what is there",
                    where=f"{formats.short(known.erasure)}, snapshot {old.hex()[:12]}",
                    why=f"it would become {each.new.hex()[:12]} here, and became {there[old].hex()[:12]} there",
                    next="bring the newest dv to both; if that is no help, one of the stores is damaged: run 'dv fsck' "
                    f"and 'dv fsck --remote {self.remote.name}'; nothing was erased here",
                )

    def _refuse_held(self, state: State, request: Request, plan: Plan) -> None:
        """Refuse to erase what is held here.

        Raises:
            ConflictError: when anything is.
        """
        found = holds.standing(self.here, state, self.session.context.clock.now())
        rules = projects.read(self.session.root).subjects if found else ()
        covered = holds.covering(found, sorted(plan.paths), request.targets.subjects, rules=rules)
        if covered:
            raise ConflictError(
                f"what was erased at {self.remote.name} is held here",
                where=formats.short(request.erasure),
                why="; ".join(dict.fromkeys(each.ground for each, _target in covered)),
                items=tuple(f"{target}: hold {each.id.hex()[:8]}" for each, target in covered[:SHOWN]),
                next="nothing is exchanged with the remote until it is decided: release the hold with "
                "'dv hold release', or wait until it is over",
            )

    def _note(self, done: Done) -> None:
        record = done.record
        self.done.append(
            FollowedErasure(
                erasure=record.id.hex(),
                short=formats.short(record.id),
                known=False,
                snapshots=record.snapshots,
                files=record.files,
                runs=len(record.runs),
                worktree=sum(each.files for each in done.cleaned),
                outstanding=tuple(executing.outstanding(record)),
            )
        )

    # --------------------------------------------------------------------------------------------------- taken over

    def _pair(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Let the ids of snapshots that were never here lead to what stands for them at the remote."""

        def build(state: State) -> list[log.Action]:
            found = self._new_pairs(state, pairs)
            return [log.Supersede(pairs=found)] if found else []

        if build(self.here.refresh()):
            self.here.log.append(OPERATION, build)
            self.here.refresh()

    def _new_pairs(self, state: State, pairs: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
        return tuple(
            (old, new)
            for old, new in sorted(pairs)
            if state.superseded.get(old) is None
            and not self.here.has(old)
            and (log.expired(new) is not None or state.standing(new) != old)
        )

    def _take_over(self, known: list[_Known]) -> None:
        """Know from now on of erasures that are about nothing that is here."""
        left = (ALONE,) if self._has_own() else ()
        records = [self._record(each, left) for each in known]
        pairs = [pair for each in known for pair in each.pairs]
        with self.here.transaction() as transaction:
            values = [transaction.put_object(ids.ERASURE, formats.encode(record)) for record in records]

            def build(state: State) -> list[log.Action]:
                found = self._new_pairs(state, pairs)
                actions: list[log.Action] = [log.Supersede(pairs=found)] if found else []
                for record, value in zip(records, values, strict=True):
                    name = formats.ref_name(record.id)
                    actions.append(log.MoveRef(name=name, old=state.ref(name), new=value))
                    actions.append(log.Erasure(erasure=record.id, phase=log.FINISHED, planned=log.TAKEN_OVER))
                return actions

            transaction.commit(OPERATION, build)
        self.here.refresh()
        for record in records:
            self.done.append(
                FollowedErasure(
                    erasure=record.id.hex(),
                    short=formats.short(record.id),
                    known=True,
                    snapshots=0,
                    files=0,
                    runs=0,
                    worktree=0,
                    outstanding=tuple(executing.outstanding(record)),
                )
            )

    def _record(self, known: _Known, left: tuple[str, ...]) -> Record:
        now = self.here.clock.now()
        record = formats.Record(
            id=known.erasure,
            revision=0,
            nonce=self.here.entropy.bytes(formats.NONCE_SIZE),
            store=self.here.format.store,
            started=now,
            committed=now,
            finished=now,
            copies="",
            keep_path=False,
            snapshots=0,
            files=0,
            contents=0,
            runs=(),
            successors=known.record.successors if known.record is not None else (),
            decisions=(),
            places=(formats.Place(name=executing.HERE, done=not left, left=left),),
        )
        return certificate.certified(self.workspace, record, searched=["ids"])

    def _has_own(self) -> bool:
        """Return whether anything is recorded here that the remote does not have."""
        for name, value in self.here.state.ref_names(""):
            if log.symbolic(value) is None and (
                name.startswith("stage/") or (name.startswith(TOLD) and not self.there.has(value))
            ):
                return True
        return False


def _way(steps: dict[bytes, bytes], identity: bytes) -> list[bytes]:
    """Return a snapshot, what stands for it, what stands for that, and so on to the end."""
    found = [identity]
    for _step in range(locating.STEPS):
        successor = steps.get(found[-1])
        if successor is None or log.expired(successor) is not None:
            return found
        found.append(successor)
    raise IntegrityError("the map of superseded snapshots leads in a circle", where=identity.hex())
