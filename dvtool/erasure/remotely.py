"""Applies an erasure to the store of a remote, goes on where that was stopped, and notes in the record how far it is.

At a remote it is one announcement, one commit, and one entry that ends it, as here: see :mod:`dvtool.erasure.steps`.
The new snapshots are the same as here, and what others have pushed since is written anew as well.
"""

from __future__ import annotations

import functools
import shutil
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.erasure import asking, certificate, keyring, locating, proving, traces
from dvtool.erasure.steps import Steps
from dvtool.erasure.targets import Targets
from dvtool.errors import ConflictError, DvError, IntegrityError, KeyAccessError, NotFoundError
from dvtool.formats import erasure as formats
from dvtool.formats import log
from dvtool.history.describe import rfc3339
from dvtool.sharing import configuring, fetching, memory, reaching
from dvtool.storage.backend import sweep
from dvtool.store import erasing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dvtool.erasure.asking import Request
    from dvtool.formats.erasure import Place, Record
    from dvtool.sharing.reaching import Remote
    from dvtool.store.state import State
    from dvtool.store.store import Store
    from dvtool.workspace import Workspace

ATTEMPTS: Final = 20
"""Times that is begun anew because others write at the remote, or go on with the same erasure."""
DAY: Final = 24 * 3600 * 1_000_000
LATE: Final = 15 * DAY
"""Microseconds from the end of an erasure at a remote to the second look: the grace of a collection, and a day."""
FRESH: Final = DAY
"""Microseconds for which what no entry names is left to who may be on the way to one, in the second look."""
LEFT: Final = 1000
"""Things that are left at a place, and that its record names."""
REMOTE: Final = "remote "
THERE: Final = "this store"
"""What the store of a remote is called in the record that lies in it."""
UNREACHED: Final = "what it has of this is there still"
UNFINISHED: Final = "it is erased there, and not everything that was given up is destroyed"
UNCONFIGURED: Final = "no remote of this name is configured any more"


def name_of(remote: str) -> str:
    """Return what a remote is called in a record."""
    return f"{REMOTE}{remote}"


def unreached(remote: str, why: str = "") -> Place:
    """Return the place of a remote that was not reached yet; ``why`` is told if it was tried."""
    left = f"it was not reached{f' ({why})' if why else ''}: {UNREACHED}"
    return formats.Place(name=name_of(remote), done=False, left=(left,))


def is_remote(place: Place) -> bool:
    """Return whether a place of a record is a remote."""
    return place.name.startswith(REMOTE)


def is_reached(place: Place) -> bool:
    """Return whether a place was reached, whatever is left there."""
    return not any(each.endswith(UNREACHED) for each in place.left)


def unreached_of(record: Record) -> list[str]:
    """Return the remotes that an erasure has not reached."""
    return [each.name.removeprefix(REMOTE) for each in record.places if not is_reached(each)]


def is_awaited(places: Iterable[Place]) -> bool:
    """Return whether a remote is outstanding: then the locator is kept, by which it is found there what goes."""
    return any(is_remote(each) and not each.done for each in places)


def told(left: Sequence[str]) -> tuple[str, ...]:
    """Return what is left at a place, as its record has it."""
    return tuple(left if len(left) <= LEFT else [*left[:LEFT], f"and {len(left) - LEFT:,} more"])


# ----------------------------------------------------------------------------------------------------- at one remote


def carry_out(remote: Remote, erasure: bytes, request: Request | None = None) -> Place:
    """Erase at a remote what was erased here, or go on with that, and return its place for the record.

    Whatever is under way there is finished first, whoever began it.  The second look for late uploads is made if it is
    due.  Copies of files of the remote that were kept here are removed.

    Args:
        remote: the remote; it is opened if it was not.
        erasure: one that is committed or finished here.
        request: what it is about, if that is known; else it is found out by what the remote still has.

    Raises:
        NotFoundError, StorageError, IntegrityError: when the remote cannot be reached, or something there is missing or
            damaged; nothing is erased there then.
        KeyAccessError: when nobody can tell any more what the erasure was about.
        ConflictError: when others write there all the time.
    """
    if _is_to_be_made(remote):
        _settle(remote, erasure)
        return formats.Place(name=name_of(remote.name), done=True)
    remote.open()
    try:
        place = _tried(remote, erasure, request)
    finally:
        shutil.rmtree(memory.mirror(remote.session, remote.name), ignore_errors=True)
    _settle(remote, erasure)
    return place


def _tried(remote: Remote, erasure: bytes, request: Request | None) -> Place:
    for _attempt in range(ATTEMPTS - 1):
        try:
            return _Remotely(remote, erasure, request).run()
        except ConflictError:
            continue  # another has announced one of theirs, or gone on with this one
    return _Remotely(remote, erasure, request).run()


def _settle(remote: Remote, erasure: bytes) -> None:
    """Forget the key of the locator, if no other remote has still to have it."""
    session = remote.session
    configured = configuring.remotes(remote.workspace).keys()
    keyring.settle(session.layout.store(), remote.name, {erasure}, configured, session.context.disk)


def _is_to_be_made(remote: Remote) -> bool:
    """Return whether a remote was added here and never pushed to; where nobody knows that, it may be out of reach."""
    return bool(remote.pending_key) and remote.may_create()


class _Remotely:
    """One try."""

    def __init__(self, remote: Remote, erasure: bytes, request: Request | None) -> None:
        self.remote = remote
        self.session = remote.session
        self.store = remote.open()
        self.erasure = erasure
        self.request = request
        self.known = traces.Traces()

    def run(self) -> Place:
        for other, _phase, _planned in self.store.refresh().pending():
            if other != self.erasure:
                self._complete(other)
        phase, planned = self._phase()
        if phase == log.FINISHED:
            place = self._looked_again()
        elif phase not in {log.ERASING, log.ERASED} and self.request is None and self._has_nothing():
            place = formats.Place(name=THERE, done=True)
        else:
            if phase != log.ERASED:
                planned = self._commit(self._asked(), phase, planned)
                self.remote.remember(brought=b"")
            place = self._ended(planned)
        fetching.note(self.remote)
        return msgspec.structs.replace(place, name=name_of(self.remote.name))

    def _ended(self, planned: bytes) -> Place:
        """Do what is left after the commit; what the place refuses is outstanding then."""
        try:
            return self._end(self.erasure, planned)
        except ConflictError:
            raise
        except DvError as error:
            self.session.context.tell(f"warning: at {self.remote.name}: {error.finding()}")
            return formats.Place(name=THERE, done=False, left=(f"{UNFINISHED}: {error.what}",))

    def _phase(self) -> tuple[int, bytes]:
        value = self.store.refresh().erasures.get(self.erasure)
        return log.step(value) if value is not None else (0, b"")

    # ------------------------------------------------------------------------------------------------ what it is about

    def _asked(self) -> Request:
        """Return what is to go, as the log here tells it to who has what it superseded."""
        if self.request is not None:
            return self.request
        try:
            return self._opened(self.session.store.refresh(), self.erasure)
        except KeyAccessError:
            if self.store.state.locators.get(self.erasure) is None:
                raise
        return self._opened(self.store.state, self.erasure)

    def _opened(self, state: State, erasure: bytes) -> Request:
        """Return what an erasure is about by the log of a store, and by what the remote has still."""
        locator, key = self.store.try_again(lambda: locating.locator_of(state, erasure, self.store))
        return asking.request_of(erasure, key, locator)

    def _has_nothing(self) -> bool:
        """Return whether the remote has nothing but what is here as well, where nothing is left of it.

        Then nobody can tell by the remote what the erasure was about, and nobody needs to.
        """
        here = self.session.store
        refs = [value for top in ("heads/", "tags/", "runs/") for _name, value in self.store.state.ref_names(top)]
        return all(here.state.superseded.get(value) is None and here.has(value) for value in refs)

    def _complete(self, other: bytes) -> None:
        """Finish an erasure that another clone has begun at the remote, and may not live to finish."""
        phase, planned = log.step(self.store.state.erasures.get(other) or b"")
        if phase == log.ERASING:
            planned = self._commit(self._opened(self.store.state, other), phase, planned)
        self._end(other, planned)

    # ----------------------------------------------------------------------------------------------------- the steps

    def _steps(self, request: Request) -> Steps:
        found = self.session.store.state.locators.get(request.erasure)
        return Steps(
            self.store,
            request,
            self.session.context.progress,
            certified=functools.partial(certificate.certified, self.remote.workspace),
            wraps=log.located(found)[1] if found is not None else (),
            is_searched=False,  # packs are sealed, and nothing else lies there
        )

    def _commit(self, request: Request, phase: int, planned: bytes) -> bytes:
        """Plan, announce and commit; return the write id of the announcement."""
        steps = self._steps(msgspec.structs.replace(request, reference="", ground=""))
        plan = steps.plan()
        if phase != log.ERASING:
            planned = steps.announce(plan)
            try:
                if plan.number + 1 != self.store.state.number:
                    plan = steps.plan()
                steps.commit(planned, plan)
            except DvError:
                steps.give_up(planned)
                raise
        else:
            steps.commit(planned, plan)
        self.known = steps.known
        if plan.copies and not request.copies:
            self.session.context.tell(
                f"warning: {len(plan.copies):,} files that others have pushed to {self.remote.name} have content in "
                f"common with what {formats.short(request.erasure)} erases, and stay"
            )
        return planned

    def _end(self, erasure: bytes, planned: bytes) -> Place:
        """Destroy what was given up, look whether anything is left, and write the entry that ends it."""
        destroyed = erasing.destroy(self.store)
        now = self.session.context.clock.now()
        sweep(self.remote.backend, now)
        left = _left(destroyed)
        left += self._verified(erasure)
        left.append(_due(now + LATE))
        place = formats.Place(name=THERE, done=False, packs=destroyed.packs, left=told(left))
        request = asking.Request(erasure=erasure, key=bytes(formats.KEY_SIZE), targets=Targets())
        # Other clones find by the locator what they have to erase.
        self._steps(request).finish(planned, (place,), keep=True)
        return place

    def _verified(self, erasure: bytes) -> list[str]:
        """Look whether anything is left; again where others wrote meanwhile: what they began looks as if it were."""
        for _attempt in range(ATTEMPTS):
            number = self.store.refresh().number
            try:
                left = proving.verify_store(self.store, erasure, known=self.known, opened=True)
            except (IntegrityError, NotFoundError):
                if self.store.refresh().number == number:
                    raise
                continue
            if not left or self.store.refresh().number == number:
                return left
        return proving.verify_store(self.store, erasure, known=self.known, opened=True)

    # -------------------------------------------------------------------------------------------- the second look

    def _looked_again(self) -> Place:
        """Return what the remote's own record says of the erasure there, after the second look if that is due."""
        before = self.store.state.ref(formats.ref_name(self.erasure))
        record = formats.decode(self.store.read_object(ids.ERASURE, before or b""))
        place = record.places[0] if record.places else formats.Place(name=THERE, done=False)
        now = self.session.context.clock.now()
        if place.done or (now < record.finished + LATE and _is_only_late(place)):
            return place
        is_due = now >= record.finished + LATE
        destroyed = erasing.destroy(self.store, before=now - FRESH)
        if is_due:
            sweep(self.remote.backend, now - FRESH)
        left = [*_left(destroyed), *self._verified_again(now), *([] if is_due else [_due(record.finished + LATE)])]
        found = formats.Place(name=THERE, done=not left, packs=place.packs, left=told(left))
        if found != place:
            write(self.remote.workspace, self.store, self.erasure, (found,))
        return found

    def _verified_again(self, now: int) -> list[str]:
        """Look again whether anything is left; what somebody may just be adding is not counted."""
        fresh = {
            f"{directory}/{each.name}"
            for directory in ("packs", "index", "keys")
            for each in self.store.backend.listed(directory)
            if each.modified >= now - FRESH
        }
        return [each for each in self._verified(self.erasure) if each.rpartition(" ")[2] not in fresh]


def _left(destroyed: erasing.Destroyed) -> list[str]:
    """Return what a place did not let go, and why; with the date up to which it is locked, where it has one."""
    return [f"{name}: {', '.join(found.left)}" for name, found in sorted(destroyed.left.items())]


def _due(time: int) -> str:
    return f"late uploads are looked for once more from {rfc3339(time)} on: run 'dv erasure resume' then"


def _is_only_late(place: Place) -> bool:
    """Return whether nothing is outstanding but the second look."""
    return len(place.left) == 1 and place.left[0].startswith("late uploads")


# ------------------------------------------------------------------------------------------------ at all of them


def everywhere(workspace: Workspace, erasure: bytes, request: Request | None = None, *, anew: bool = False) -> Record:
    """Carry an erasure out at every remote where it is outstanding; return the record as it is then.

    What stands in the way at one remote is told, stands in the record, and keeps no other from being reached.

    Args:
        workspace: the worktree.
        erasure: one that is finished here.
        request: what it is about, if that is known.
        anew: also look at remotes that are done or were not known then, and may have got it from somewhere.

    Raises:
        ConflictError, StorageError: when the record cannot be written.
    """
    store = workspace.session.store
    configured = configuring.remotes(workspace)
    record = _record(store, erasure)
    places = {each.name.removeprefix(REMOTE): each for each in record.places if is_remote(each)}
    for name in sorted({*places, *(configured if anew else ())}):
        if name in places and places[name].done and not (anew and name in configured):
            continue
        found: Place | None
        if name not in configured:
            found = formats.Place(name=name_of(name), done=False, left=(UNCONFIGURED,))
        else:
            found = reached(workspace, name, erasure, request, is_known=name in places)
        if found is not None:
            record = note(workspace, erasure, found)
    return note(workspace, erasure)


def reached(
    workspace: Workspace, name: str, erasure: bytes, request: Request | None, *, is_known: bool = True
) -> Place | None:
    """Carry an erasure out at a remote; return its place, which says so when it could not be reached.

    Of a remote that is not known to the record, and never had anything that was erased, nothing is said: None.
    """
    try:
        remote = reaching.reach(workspace, name)
        if not is_known and (remote.may_create() or not _concerns(workspace, remote, erasure)):
            return None
        return carry_out(remote, erasure, request)
    except DvError as error:
        workspace.session.context.tell(f"warning: at {name}: {error.finding()}")
        return unreached(name, error.what) if is_known else None


def _concerns(workspace: Workspace, remote: Remote, erasure: bytes) -> bool:
    """Return whether a remote has a snapshot that an erasure superseded, or has begun to erase it."""
    here, there = workspace.session.store, remote.open()
    if there.state.erasures.get(erasure) is not None:
        return True
    old = proving.superseded(here.state, _record(here, erasure))
    return any(there.segments.find(each) is not None for each in old)


def verified(workspace: Workspace, name: str, erasure: bytes, *, deep: bool = False) -> list[str]:
    """Return what is wrong with an erasure at a remote, in words.

    Raises:
        NotFoundError, StorageError, IntegrityError, KeyAccessError: when the remote cannot be reached or read.
    """
    remote = reaching.reach(workspace, name)
    if _is_to_be_made(remote):
        return []
    store = remote.open()
    try:
        value = store.refresh().erasures.get(erasure)
        if value is None or log.step(value)[0] not in {log.ERASED, log.FINISHED}:
            return ["nothing of this erasure is done there yet"]
        return store.try_again(lambda: proving.verify_store(store, erasure, deep=deep))
    finally:
        shutil.rmtree(memory.mirror(remote.session, remote.name), ignore_errors=True)


# ------------------------------------------------------------------------------------------------------ the record


def note(workspace: Workspace, erasure: bytes, *found: Place) -> Record:
    """Write into the record here how far an erasure is at some places, with its certificate; return it.

    When no remote is outstanding any more, the locator goes from the log.

    Raises:
        ConflictError, StorageError: when it cannot be written.
    """
    store = workspace.session.store
    names = {each.name: each for each in found}
    old = _record(store, erasure)
    places = tuple(names.pop(each.name, each) for each in old.places) + tuple(names.values())
    return write(workspace, store, erasure, places, keep=is_awaited(places))


def write(
    workspace: Workspace, store: Store, erasure: bytes, places: tuple[Place, ...], *, keep: bool = True
) -> Record:
    """Write the places of a record anew, in a store here or at a remote, unless they are what they were.

    Args:
        workspace: the worktree, whose clone signs the certificate.
        store: the store.
        erasure: a finished erasure.
        places: what the record is to say.
        keep: whether the log keeps the locator.

    Raises:
        ConflictError: when others write the same record all the time.
        StorageError: when the place refuses.
    """
    for _attempt in range(ATTEMPTS - 1):
        try:
            return _write(workspace, store, erasure, places, keep=keep)
        except ConflictError:
            continue  # somebody has just noted a decision, say
    return _write(workspace, store, erasure, places, keep=keep)


def _write(workspace: Workspace, store: Store, erasure: bytes, places: tuple[Place, ...], *, keep: bool) -> Record:
    state = store.refresh()
    name = formats.ref_name(erasure)
    before = state.ref(name)
    record = _record(store, erasure)
    actions: list[log.Action] = []
    if not keep and state.locators.get(erasure) is not None:
        _phase, planned = log.step(state.erasures.get(erasure) or b"")
        actions.append(log.Erasure(erasure=erasure, phase=log.FINISHED, planned=planned))
    with store.transaction() as transaction:
        if places != record.places:
            changed = msgspec.structs.replace(
                record, revision=record.revision + 1, nonce=store.entropy.bytes(formats.NONCE_SIZE), places=places
            )
            record = certificate.certified(workspace, changed)
            value = transaction.put_object(ids.ERASURE, formats.encode(record))
            actions.append(log.MoveRef(name=name, old=before, new=value))
        if actions:
            transaction.commit(erasing.OPERATION, lambda _state: actions)
    return record


def _record(store: Store, erasure: bytes) -> Record:
    """Return the record of an erasure in a store.

    Raises:
        KeyAccessError: when there is none.
    """
    value = store.state.ref(formats.ref_name(erasure))
    if value is None:
        raise KeyAccessError("an erasure has no record", where=formats.short(erasure), next="run 'dv fsck'")
    return formats.decode(store.read_object(ids.ERASURE, value))
