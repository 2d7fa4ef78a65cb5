"""Clones at a remote: registered there, so that erasures wait for them, and what they acknowledge (format ``clone``).

A clone registers by an entry of the remote's log, with its first push or when it has fetched.  One that may only read
there stays unknown; nobody waits for it.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.errors import ConflictError, DvError, ExistsError, FormatError, NotFoundError, StorageError, UsageError
from dvtool.formats import clone, log
from dvtool.formats.clone import Registration
from dvtool.worktree import clones, settings
from dvtool.worktree.clones import Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dvtool.sharing.reaching import Remote
    from dvtool.storage.backend import Backend
    from dvtool.store.state import State
    from dvtool.store.store import Store
    from dvtool.workspace import Workspace
    from dvtool.worktree.clones import Own
    from dvtool.worktree.session import Session

PREFIX: Final = f"{log.CLONES}/"
"""What the names of refs begin with that name registered clones."""
EXPIRES: Final = "DV_CLONE_EXPIRES"
"""Says for how many days a clone registers, for machines that are there for an hour."""
NAME: Final = "clone.name"
OPERATION: Final = "register"
SETTLED: Final = "acknowledged"
DAY: Final = 24 * 3600 * 1_000_000
LONGEST: Final = 36_500
"""Days for which a clone may register at most."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A registration that is to be stored, as ``data``, and named by an entry."""

    name: str
    value: bytes
    data: bytes
    expires: int

    def moves(self, state: State) -> list[log.Action]:
        """Return the actions that register the clone, for a state of the remote."""
        return [log.MoveRef(name=self.name, old=state.ref(self.name), new=self.value)]


def me(workspace: Workspace) -> bytes:
    """Return this clone's id, made when it is first wanted.

    Raises:
        StorageError: when the disk refuses.
    """
    return _own(workspace.session).identity


def set_lifetime(workspace: Workspace, days: int) -> None:
    """Have this clone register for so many days from now on, each time that it does; 0 is for good.

    Raises:
        UsageError: when no clone can.
        StorageError: when the disk refuses.
    """
    check_days(days)
    _change(workspace.session, lambda own: msgspec.structs.replace(own, days=days))


def check_days(days: int) -> int:
    """Return a number of days for which a clone may register.

    Raises:
        UsageError: when it may not.
    """
    if not 0 <= days <= LONGEST:
        raise UsageError(
            f"a clone cannot expire after {days:,} days", next=f"write a number from 1 to {LONGEST:,}; 0 is never"
        )
    return days


def wanted_days() -> int | None:
    """Return for how many days the environment has clones register; None when it does not say.

    Raises:
        UsageError: when what it says is no such number.
    """
    text = os.environ.get(EXPIRES, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > len(str(LONGEST)):
        raise UsageError(f"{EXPIRES} is {text!r}", next="write a number of days, such as 1")
    return check_days(int(text))


def draft(remote: Remote) -> Draft | None:
    """Return how this clone registers at an opened remote; None when it is registered.

    Raises:
        UsageError: when what the user calls this clone, or for how long it is to be known, cannot be.
        StorageError: when the disk refuses.
    """
    session = remote.session
    store = remote.open()
    now = store.clock.now()
    own = _own(session)
    told, name = own.told(store.format.store), clone.ref_name(own.identity)
    known = store.state.ref(name)
    same = known is not None and bool(told.record) and known == store.hasher.id(ids.CLONE, bytes.fromhex(told.record))
    if same and (not told.expires or now < told.expires):
        return None
    wanted = wanted_days()
    days = own.days if wanted is None else wanted
    expires = now + days * DAY if days else 0
    found = Registration(
        id=own.identity,
        nonce=store.entropy.bytes(clone.NONCE_SIZE),
        registered=now,
        expires=expires,
        name=_name(session),
    )
    try:
        data = clone.encode(found)
    except FormatError as error:
        raise UsageError("this clone cannot register", why=error.what, next=f"look at 'dv config {NAME}'") from None
    return Draft(name=name, value=store.hasher.id(ids.CLONE, data), data=data, expires=expires)


def note(remote: Remote, made: Draft) -> None:
    """Remember that this clone is registered at a remote; what it acknowledged before may be gone there.

    Raises:
        StorageError: when the disk refuses.
    """
    store = remote.open().format.store
    told = Told(record=made.data.hex(), expires=made.expires)
    _change(remote.session, lambda own: own.having_told(store, told))


def own_record(remote: Remote) -> bytes | None:
    """Return the record by which this clone has registered at an opened remote, for one that has lost it."""
    told = _own(remote.session).told(remote.open().format.store)
    return bytes.fromhex(told.record) if told.record else None


def register(remote: Remote) -> bool:
    """Register this clone at an opened remote, unless it is; return whether it is now.

    It is not where it may not write, where several writers are not kept apart, or while an erasure is under way there;
    the next contact tries again.

    Raises:
        UsageError: as :func:`draft`.
        StorageError: when the disk here refuses.
    """
    made = draft(remote)
    if made is None:
        return True
    store = remote.open()
    able = remote.backend.abilities
    if not (able.writing and able.exclusive) or remote.settings.single_writer is True or store.state.lock:
        return False
    try:
        with store.transaction() as transaction:
            transaction.put_object(ids.CLONE, made.data)
            transaction.commit(OPERATION, made.moves)
    except (ConflictError, NotFoundError, StorageError):
        return False
    store.refresh()
    note(remote, made)
    return True


def due(here: State, there: State) -> list[bytes]:
    """Return the erasures that are done here, and of which a remote waits to hear that: it has their locators still."""
    found = []
    for identity, value in there.erasures.items():
        own = here.erasures.get(identity)
        is_known = own is not None and log.step(own)[0] == log.FINISHED
        if is_known and there.locators.get(identity) is not None and log.step(value)[0] in {log.ERASED, log.FINISHED}:
            found.append(identity)
    return found


def acknowledge(remote: Remote, erasures: Iterable[bytes]) -> list[bytes]:
    """Say at an opened remote that this clone has followed erasures; return those of which it had not said so.

    Nothing is asked where there is nothing to say.  Who is the last to say it ends the erasure's locator there.

    Raises:
        UsageError: as :func:`draft`.
        StorageError: when the remote refuses, or the disk here.
        IntegrityError, FormatError: when what the remote says of its clones is damaged.
    """
    store = remote.open()
    told = _own(remote.session).told(store.format.store)
    fresh = [each for each in erasures if (mark := _mark(store.state, each)) and mark not in told.acknowledged]
    if not fresh or not register(remote):
        return []
    identity = me(remote.workspace)
    for each in fresh:
        _say(store, identity, each)
    state = store.state
    marks = {mark for each, _value in state.locators.items() if (mark := _mark(state, each))}

    def noted(own: Own) -> Own:
        told = own.told(store.format.store)
        kept = {*told.acknowledged, *filter(None, (_mark(state, each) for each in fresh))} & marks
        said = msgspec.structs.replace(told, acknowledged=tuple(sorted(kept)))
        return own.having_told(store.format.store, said)

    _change(remote.session, noted)
    with contextlib.suppress(ConflictError):  # another erasure is under way there; who comes next sees to it
        settle(store)
    return fresh


def meet(remote: Remote) -> None:
    """Register at a remote with which this clone has just exchanged something, and say what it has followed.

    What has come or gone stands, whatever the remote refuses of this.

    Raises:
        UsageError: as :func:`draft`.
    """
    try:
        register(remote)
        acknowledge(remote, due(remote.session.store.refresh(), remote.open().state))
    except UsageError:
        raise
    except DvError as error:
        remote.session.context.tell(
            f"warning: {remote.name} does not know what this clone has followed: {error.finding()}"
        )


def registered(store: Store) -> list[Registration]:
    """Return all clones that a store knows, the oldest first, expired and forgotten ones among them.

    Raises:
        IntegrityError, FormatError: when a record is missing, damaged, or another than its ref says.
    """
    found = [named(store, name, value) for name, value in store.state.ref_names(PREFIX)]
    return sorted(found, key=lambda each: (each.registered, each.id))


def named(store: Store, name: str, value: bytes) -> Registration:
    """Return the clone that a ref names; raises as :func:`registered`."""
    return clone.check_name(name, clone.decode(store.read_object(ids.CLONE, value)))


def waiting(store: Store, erasure: bytes) -> list[Registration]:
    """Return the clones that an erasure in a store waits for, the oldest first.

    They are registered there, have not expired and were not forgotten, and have not acknowledged it.  For none where
    the locator is gone: nobody could follow any more.

    Raises:
        IntegrityError, FormatError: as :func:`registered`.
        StorageError: when the place refuses.
    """
    if store.state.locators.get(erasure) is None:
        return []
    now = store.clock.now()
    awaited = [each for each in registered(store) if each.is_awaited(now)]
    return [each for each in awaited if not has_acknowledged(store, each.id, erasure)]


def has_acknowledged(store: Store, identity: bytes, erasure: bytes) -> bool:
    """Return whether a clone has said in a store that it has followed an erasure.

    Raises:
        StorageError: when the place refuses.
    """
    try:
        blob = store.backend.read(clone.file_name(identity, erasure), 0, clone.ACK_LIMIT + 1)
    except NotFoundError:
        return False
    return clone.acknowledged(store.secrets.acks, store.format.store, identity, erasure, blob) is not None


def settle(store: Store) -> list[bytes]:
    """End the locators of finished erasures that wait for no clone, by one entry; return these erasures.

    Raises:
        ConflictError: when an erasure is under way.
        IntegrityError, FormatError, StorageError: as :func:`waiting`.
    """
    over = [each for each in _located(store.state) if not waiting(store, each)]

    def build(state: State) -> list[log.Action]:
        located = _located(state)
        return [
            log.Erasure(erasure=each, phase=log.FINISHED, planned=located[each]) for each in over if each in located
        ]

    if over:
        store.log.append(SETTLED, build)
        store.refresh()
    return over


def _located(state: State) -> dict[bytes, bytes]:
    """Return the erasures that are finished and have a locator still, with the write ids that announced them."""
    found = {}
    for identity, value in state.erasures.items():
        phase, planned = log.step(value)
        if phase == log.FINISHED and state.locators.get(identity) is not None:
            found[identity] = planned
    return found


def forget(remote: Remote, identity: bytes) -> Registration:
    """Record at an opened remote that a clone is gone, so that nothing waits for it; return its record.

    A clone that comes back all the same registers again.

    Raises:
        NotFoundError: when no such clone is registered there.
        UsageError: when nobody is named as who says so.
        ConflictError: when an erasure is under way there.
        IntegrityError, FormatError, StorageError: as :func:`settle`.
    """
    store = remote.open()
    name = clone.ref_name(identity)
    before = store.refresh().ref(name)
    if before is None:
        raise NotFoundError(f"no clone {identity.hex()} is registered at {remote.name}")
    found = named(store, name, before)
    if found.forgotten:
        return found
    gone = msgspec.structs.replace(
        found,
        nonce=store.entropy.bytes(clone.NONCE_SIZE),
        forgotten=store.clock.now(),
        author=remote.workspace.author(None),
    )
    with store.transaction() as transaction:
        value = transaction.put_object(ids.CLONE, clone.encode(gone))
        transaction.commit("forget-clone", lambda _state: [log.MoveRef(name=name, old=before, new=value)])
    store.refresh()
    settle(store)
    return gone


def tidy(store: Store) -> int:
    """Remove the acknowledgements of a store that nobody needs, and the records of expired clones; return how many.

    Raises:
        ConflictError: when an erasure is under way.
        IntegrityError, FormatError, StorageError: as :func:`settle`.
    """
    files = list(_files(store.backend))
    # What is judged by this state was there before: who acknowledges what was announced later is not met here.
    state = store.refresh()
    settle(store)
    state = store.state
    now = store.clock.now()
    known = registered(store)
    awaited = {each.id.hex() for each in known if each.is_awaited(now)}
    located = {each.hex() for each, _value in state.locators.items()}
    gone = [name for own, erasure, name in files if own not in awaited or erasure not in located]
    for name in gone:
        store.backend.purge(name)
    store.backend.flush()
    over = [clone.ref_name(each.id) for each in known if not each.is_awaited(now) and not each.forgotten]

    def build(current: State) -> list[log.Action]:
        same = [name for name in over if current.ref(name) == state.ref(name) is not None]
        return [log.MoveRef(name=name, old=current.ref(name), new=None) for name in same]

    if over:
        store.log.append(OPERATION, build)
        store.refresh()
    return len(gone) + len(over)


def _files(backend: Backend) -> Iterable[tuple[str, str, str]]:
    """Yield the acknowledgements that lie in a store: the clone, the erasure, the name; none is opened."""
    for own in sorted(backend.names(clone.DIRECTORY)):
        erasures: list[str] = []
        if clone.is_id(own):
            with contextlib.suppress(StorageError):  # it may be a file, which nobody has asked for
                erasures = sorted(backend.names(f"{clone.DIRECTORY}/{own}"))
        for erasure in filter(clone.is_id, erasures):
            yield own, erasure, f"{clone.DIRECTORY}/{own}/{erasure}"


def _say(store: Store, identity: bytes, erasure: bytes) -> None:
    blob = clone.acknowledge(
        store.secrets.acks,
        store.format.store,
        identity,
        erasure,
        store.entropy.bytes(32),
        store.clock.now(),
    )
    name = clone.file_name(identity, erasure)
    store.backend.prepare([clone.directory(identity)])
    try:
        store.backend.create(name, blob)
    except ExistsError:
        if not has_acknowledged(store, identity, erasure):  # somebody else has put something there
            store.backend.replace(name, blob)


def _mark(state: State, erasure: bytes) -> str:
    """Return an erasure as it is remembered: one that is carried out anew in a restored store is another."""
    value = state.erasures.get(erasure)
    return f"{erasure.hex()} {log.step(value)[1].hex()}" if value is not None else ""


def _name(session: Session) -> str:
    """Return what the user calls this clone; by default nothing, which tells nobody anything."""
    files = (session.layout.config, settings.user_path())
    return next((found for path in files if (found := settings.load(path).get(NAME))), "")


def _control(session: Session) -> str:
    return os.path.dirname(session.layout.store())


def _own(session: Session) -> Own:
    return clones.read(_control(session)) or _change(session, lambda own: own)


def _change(session: Session, edit: Callable[[Own], Own]) -> Own:
    return clones.change(_control(session), session.context.entropy, session.context.disk, edit)
