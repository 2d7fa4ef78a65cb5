"""``dv erasure``: what was erased, whether it is whole, what is pending, and what was decided about models."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool import paths
from dvtool.erasure import certificate, executing, journal, proving, remotely, steps
from dvtool.errors import ConflictError, DvError, ExistsError, NotFoundError, UsageError
from dvtool.formats import erasure as formats
from dvtool.formats import log
from dvtool.history.describe import rfc3339
from dvtool.runs import catalogue
from dvtool.sharing import clones, configuring, reaching
from dvtool.store import erasing
from dvtool.worktree.layout import write_file

if TYPE_CHECKING:
    from dvtool.formats.erasure import Record
    from dvtool.store.state import State
    from dvtool.workspace import Workspace

STATES: Final = {log.ERASING: "announced", log.ERASED: "committed", log.ABORTED: "aborted", log.FINISHED: "finished"}


class ErasureItem(msgspec.Struct, frozen=True, kw_only=True):
    """One erasure: how far it is, when, how much went, and what is outstanding, in words.

    ``state`` is ``announced`` (nothing is erased yet), ``committed`` (erased, and something still to be destroyed),
    or ``finished``.  What is not known yet is None.
    """

    id: str
    short: str
    state: str
    started: str | None
    committed: str | None
    finished: str | None
    snapshots: int | None
    files: int | None
    runs: int | None
    open_decisions: int | None
    outstanding: tuple[str, ...]


class DecisionItem(msgspec.Struct, frozen=True, kw_only=True):
    """A run that made something from erased data, directly or through another run, and what was decided about it."""

    run: str
    name: str | None
    direct: bool
    decision: str
    note: str | None
    author: str | None
    time: str | None


class PlaceItem(msgspec.Struct, frozen=True, kw_only=True):
    """A place that the erasure reaches: whether all is done there, and what is left."""

    name: str
    done: bool
    packs: int
    left: tuple[str, ...]


class WaitingItem(msgspec.Struct, frozen=True, kw_only=True):
    """A clone that has not acknowledged the erasure at a remote; ``name`` is what its user calls it."""

    remote: str
    id: str
    name: str | None


class ErasureDetails(ErasureItem, frozen=True, kw_only=True):
    """One erasure as a whole: ``superseded`` are the old snapshots, each with the one that stands for it.

    ``clones`` are those that it waits for at the remotes, which are asked as long as anything is outstanding.
    """

    contents: int | None
    copies: str | None
    names_kept: bool | None
    superseded: dict[str, str]
    affected: tuple[str, ...]
    decisions: tuple[DecisionItem, ...]
    places: tuple[PlaceItem, ...]
    clones: tuple[WaitingItem, ...]
    certificate: bool


class VerifiedPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an erasure is whole at a place, and what is wrong there; nobody knows if it was not ``reached``."""

    name: str
    reached: bool
    clean: bool
    problems: tuple[str, ...]


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an erasure is whole here and at the remotes, and what is wrong; ``deep``: every frame was opened.

    ``clean`` says that no place that was reached has a problem; ``problems`` are all of them.
    """

    id: str
    deep: bool
    clean: bool
    problems: tuple[str, ...]
    places: tuple[VerifiedPlace, ...]


def erasures(workspace: Workspace) -> list[ErasureItem]:
    """Return all erasures that were announced and not given up, the oldest first.

    Raises:
        IntegrityError: when a record is damaged.
    """
    state = workspace.session.store.refresh()
    found = []
    for identity, value in state.erasures.items():
        phase, _planned = log.step(value)
        if phase != log.ABORTED:
            found.append((_record(workspace, state, identity), identity, phase))
    found.sort(key=lambda each: (each[0].started if each[0] is not None else 1 << 62, each[1]))
    return [_item(identity, phase, record) for record, identity, phase in found]


def details(workspace: Workspace, word: str | None) -> ErasureDetails:
    """Return one erasure as a whole.

    Raises:
        NotFoundError, UsageError: when there is none, or several begin so.
        IntegrityError: when its record is damaged.
    """
    state = workspace.session.store.refresh()
    identity = _meant(workspace, word)
    record = _record(workspace, state, identity)
    item = msgspec.structs.asdict(_item(identity, log.step(state.erasures.get(identity) or b"")[0], record))
    awaited, words = _awaited(workspace, state, identity)
    item["outstanding"] += words
    names = {each.id: each.run.name for each in catalogue.everything(workspace)} if record is not None else {}
    successors = set(record.successors) if record is not None else set()
    return ErasureDetails(
        **item,
        contents=record.contents if record is not None else None,
        copies=(record.copies or None) if record is not None else None,
        names_kept=record.keep_path if record is not None else None,
        superseded={old.hex(): new.hex() for old, new in state.superseded.items() if new in successors},
        affected=record.runs if record is not None else (),
        decisions=tuple(
            DecisionItem(
                run=each.run,
                name=names.get(each.run) or None,
                direct=each.direct,
                decision=each.decision,
                note=each.note or None,
                author=each.author or None,
                time=rfc3339(each.time) if each.time else None,
            )
            for each in (record.decisions if record is not None else ())
        ),
        places=tuple(
            PlaceItem(name=each.name, done=each.done, packs=each.packs, left=each.left)
            for each in (record.places if record is not None else ())
        ),
        clones=awaited,
        certificate=bool(record is not None and record.certificate),
    )


def _awaited(workspace: Workspace, state: State, identity: bytes) -> tuple[tuple[WaitingItem, ...], tuple[str, ...]]:
    """Return the clones that an erasure waits for at the remotes, and what is outstanding for that, in words.

    While its locator is kept here something may be; else nobody is asked.
    """
    found: list[WaitingItem] = []
    words: list[str] = []
    known = sorted(configuring.remotes(workspace)) if state.locators.get(identity) is not None else []
    for name in known:
        try:
            store = reaching.reach(workspace, name).open()
            is_kept = store.state.locators.get(identity) is not None
            waiting = clones.waiting(store, identity) if is_kept else []
        except DvError as error:
            words.append(f"clones of {name}: it was not asked: {error.finding()}")
            continue
        found += [WaitingItem(remote=name, id=each.id.hex(), name=each.name or None) for each in waiting]
    for each in found:
        called = f" ({each.name})" if each.name else ""
        words.append(f"clone {each.id[:8]}{called} of {each.remote}: it has not acknowledged this")
    return tuple(found), tuple(words)


def _meant(workspace: Workspace, word: str | None) -> bytes:
    """Return the erasure that a word means; by default the newest."""
    if word is not None:
        return find(workspace.session.store.state, word)
    known = erasures(workspace)
    if not known:
        raise NotFoundError(
            "nothing was erased in this repository", next="run 'dv erase --help' to see how that is done"
        )
    return bytes.fromhex(known[-1].id)


def find(state: State, word: str) -> bytes:
    """Return the erasure that a word means: the beginning of its id, with ``E-`` before it or without.

    Raises:
        NotFoundError: when there is none.
        UsageError: when several begin so, or it can mean none.
    """
    digits = formats.parse_id(word)
    if digits is None:
        raise UsageError(f"{word!r} is no id of an erasure", next="run 'dv erasure list' to see them")
    found = [identity for identity, _value in state.erasures.items() if identity.hex().startswith(digits)]
    if not found:
        raise NotFoundError(f"there is no erasure {word!r}", next="run 'dv erasure list' to see all")
    if len(found) > 1:
        raise UsageError(
            f"{word!r} can mean several erasures",
            items=tuple(formats.short(each) for each in found),
            next="write more of its id",
        )
    return found[0]


def verify(workspace: Workspace, word: str | None, *, deep: bool = False) -> VerifyResult:
    """Look whether anything is left of an erasure in this repository, and at the remotes that it had to reach.

    Raises:
        ConflictError: when it is not committed yet.
        NotFoundError, UsageError: as :func:`find`.
    """
    state = workspace.session.store.refresh()
    identity = _meant(workspace, word)
    if log.step(state.erasures.get(identity) or b"")[0] not in {log.ERASED, log.FINISHED}:
        raise ConflictError(
            "nothing of this erasure is done yet", where=formats.short(identity), next="run 'dv erasure resume'"
        )
    problems = tuple(proving.verify(workspace, identity, deep=deep))
    here = VerifiedPlace(name=executing.HERE, reached=True, clean=not problems, problems=problems)
    record = _record(workspace, state, identity)
    names = [each.name for each in (record.places if record is not None else ()) if remotely.is_remote(each)]
    places = (here, *(_verified_there(workspace, name, identity, deep=deep) for name in names))
    told = [f"{each.name}: {problem}" for each in places[1:] for problem in each.problems]
    return VerifyResult(
        id=identity.hex(),
        deep=deep,
        clean=all(each.clean for each in places if each.reached),
        problems=(*problems, *told),
        places=places,
    )


def _verified_there(workspace: Workspace, name: str, identity: bytes, *, deep: bool) -> VerifiedPlace:
    try:
        problems = tuple(remotely.verified(workspace, name.removeprefix(remotely.REMOTE), identity, deep=deep))
    except DvError as error:
        workspace.session.context.tell(f"warning: {name} was not reached: {error.finding()}")
        return VerifiedPlace(name=name, reached=False, clean=False, problems=())
    return VerifiedPlace(name=name, reached=True, clean=not problems, problems=problems)


def resume(workspace: Workspace, word: str | None = None) -> ErasureItem:
    """Go on with an erasure that was stopped, or is outstanding at remotes, and return what it is then.

    Args:
        workspace: the worktree.
        word: which one; remotes where it was done, or that are new, are looked at as well then. By default the one that
            is pending, and all that are outstanding at remotes; the first of them is returned.

    Raises:
        NotFoundError: when none is pending or outstanding.
        ConflictError, IntegrityError, KeyAccessError, StorageError: as :func:`dvtool.erasure.executing.resume`.
    """
    store = workspace.session.store
    state = store.refresh()
    pending = [identity for identity, _phase, _planned in state.pending()]
    wanted = [find(state, word)] if word is not None else [*pending[:1], *_outstanding(workspace, state)]
    if not wanted:
        raise NotFoundError("no erasure is pending, or outstanding anywhere", next="run 'dv erasure list' to see all")
    found = [_resumed(workspace, identity, anew=word is not None) for identity in wanted]
    return found[0]


def _resumed(workspace: Workspace, identity: bytes, *, anew: bool) -> ErasureItem:
    """Go on with one erasure, here and then at the remotes."""
    store = workspace.session.store
    state = store.refresh()
    request = None
    if identity in {each for each, _phase, _planned in state.pending()}:
        request = executing.resume(workspace, identity).request
        store.maintain()
    elif not (identity in _outstanding(workspace, state) or (anew and _is_finished_with_remotes(workspace, identity))):
        raise ConflictError(f"erasure {formats.short(identity)} is not pending", next="run 'dv erasure list'")
    record = remotely.everywhere(workspace, identity, request, anew=anew)
    return _item(identity, log.FINISHED, record)


def _is_finished_with_remotes(workspace: Workspace, identity: bytes) -> bool:
    """Return whether an erasure is over here, and there are remotes that may have something of it all the same."""
    phase, _planned = log.step(workspace.session.store.state.erasures.get(identity) or b"")
    return phase == log.FINISHED and bool(configuring.remotes(workspace))


def _outstanding(workspace: Workspace, state: State) -> list[bytes]:
    """Return the finished erasures of which something is outstanding at a remote, the oldest first."""
    found = []
    for identity, value in state.erasures.items():
        record = _record(workspace, state, identity) if log.step(value)[0] == log.FINISHED else None
        if record is not None and remotely.is_awaited(record.places):
            found.append((record.started, identity))
    return [identity for _time, identity in sorted(found)]


def abort(workspace: Workspace, word: str | None = None) -> str:
    """Give up an erasure of which nothing is done yet; return its id.

    Raises:
        NotFoundError: when none is pending.
        ConflictError: when it is committed: then it can only be finished.
    """
    session = workspace.session
    identity = _pending(workspace, word)
    phase, planned = log.step(session.store.state.erasures.get(identity) or b"")
    if phase != log.ERASING:
        raise ConflictError(
            "this erasure is committed: what it was about is erased, and cannot be brought back",
            where=formats.short(identity),
            next="finish it with 'dv erasure resume'",
        )
    erasing.abort(session.store, identity, planned)
    noted = journal.read(session.layout.store())
    if noted is not None and noted.erasure == identity:
        journal.remove(session.layout.store(), session.context.disk)
    return identity.hex()


def _pending(workspace: Workspace, word: str | None) -> bytes:
    """Return the erasure that a word means if it is pending, or the one that is."""
    state = workspace.session.store.refresh()
    pending = [identity for identity, _phase, _planned in state.pending()]
    if word is not None:
        identity = find(state, word)
        if identity not in pending:
            raise ConflictError(f"erasure {formats.short(identity)} is not pending", next="run 'dv erasure list'")
        return identity
    if not pending:
        raise NotFoundError("no erasure is pending", next="run 'dv erasure list' to see all")
    return pending[0]


def certify(workspace: Workspace, word: str | None) -> bytes:
    """Return the certificate of an erasure.

    Raises:
        NotFoundError: when there is none: it is not finished, or its certificate was removed.
    """
    state = workspace.session.store.refresh()
    identity = _meant(workspace, word)
    record = _record(workspace, state, identity)
    if record is None or not record.certificate:
        raise NotFoundError(
            "this erasure has no certificate",
            where=formats.short(identity),
            why="it is not finished" if record is None or not record.finished else "it was removed",
            next="run 'dv erasure resume'" if record is None or not record.finished else "",
        )
    return record.certificate


def save_certificate(workspace: Workspace, word: str | None, target: str) -> None:
    """Write the certificate of an erasure to a file that is not there yet.

    Raises:
        ExistsError: when there is something.
        StorageError: when the disk refuses.
        NotFoundError: as :func:`certify`.
    """
    data = certify(workspace, word)
    path = os.path.join(workspace.session.context.cwd or os.getcwd(), target)
    if os.path.lexists(path):
        raise ExistsError("there is something already", where=paths.shown(target), next="choose another name")
    write_file(path, data, workspace.session.context.disk, mode=0o644)


def decide(workspace: Workspace, word: str, run: str, decision: str, note: str = "") -> DecisionItem:
    """Note what becomes of what a run made from erased data; the certificate says so from then on.

    Args:
        workspace: the worktree.
        word: the erasure.
        run: one of its models: the id or name of a run.
        decision: ``keep``, ``retrain`` or ``delete``.
        note: why.

    Raises:
        NotFoundError: when the run is none of the erasure's models.
        ConflictError: when the erasure is not finished.
        UsageError: when this is no decision.
    """
    if decision not in formats.DECISIONS[1:]:
        raise UsageError(f"{decision!r} is no decision", next=f"choose one of {', '.join(formats.DECISIONS[1:])}")
    session = workspace.session
    state = session.store.refresh()
    identity = find(state, word)
    name = formats.ref_name(identity)
    before = state.ref(name)
    record = _record(workspace, state, identity)
    if before is None or record is None or not record.finished:
        raise ConflictError("this erasure is not finished", next="run 'dv erasure resume'")
    wanted = _model(workspace, record, run)
    decided = formats.Decision(
        run=wanted.run,
        direct=wanted.direct,
        decision=decision,
        note=note,
        author=workspace.author(None),
        time=session.context.clock.now(),
    )
    changed = msgspec.structs.replace(
        record,
        revision=record.revision + 1,
        nonce=session.store.entropy.bytes(formats.NONCE_SIZE),
        decisions=tuple(decided if each.run == wanted.run else each for each in record.decisions),
    )
    changed = certificate.certified(workspace, changed)
    with session.store.transaction() as transaction:
        value = transaction.put_object(steps.RECORD, formats.encode(changed))
        transaction.commit("decide", lambda _state: [log.MoveRef(name=name, old=before, new=value)])
    return DecisionItem(
        run=decided.run,
        name=None,
        direct=decided.direct,
        decision=decision,
        note=note or None,
        author=decided.author,
        time=rfc3339(decided.time),
    )


def _model(workspace: Workspace, record: Record, run: str) -> formats.Decision:
    for each in record.decisions:
        if each.run == run:
            return each
    try:
        identity = catalogue.find(workspace, run)
    except NotFoundError:
        identity = ""
    for each in record.decisions:
        if each.run == identity:
            return each
    raise NotFoundError(
        f"{run!r} is none of the runs that made something of what was erased",
        items=tuple(each.run for each in record.decisions),
        next="name one of these" if record.decisions else "no run did",
    )


def _record(workspace: Workspace, state: State, identity: bytes) -> Record | None:
    value = state.ref(formats.ref_name(identity))
    if value is None:
        return None
    return formats.decode(workspace.session.store.read_object(steps.RECORD, value))


def _item(identity: bytes, phase: int, record: Record | None) -> ErasureItem:
    known: dict[str, Any] = {}
    if record is not None:
        waiting = [each for each in record.decisions if each.decision == formats.OPEN]
        known = {
            "snapshots": record.snapshots,
            "files": record.files,
            "runs": len(record.runs),
            "open_decisions": len(waiting),
            "outstanding": tuple(certificate.outstanding(record)),
            "started": rfc3339(record.started),
            "committed": rfc3339(record.committed),
            "finished": rfc3339(record.finished) if record.finished else None,
        }
    nothing = dict.fromkeys(("snapshots", "files", "runs", "open_decisions", "started", "committed", "finished"))
    if phase != log.FINISHED:
        word = "nothing is erased yet" if phase == log.ERASING else "not everything is destroyed yet"
        known["outstanding"] = (f"{word}: run 'dv erasure resume'",)
    fields = {**nothing, "outstanding": (), **known}
    return ErasureItem(id=identity.hex(), short=formats.short(identity), state=STATES[phase], **fields)
