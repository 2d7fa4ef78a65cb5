"""``dv remote check``: what a remote can do, and what follows from that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.errors import ConflictError, DvError, NotFoundError, StorageError
from dvtool.sharing import reaching, vetting
from dvtool.sharing.vetting import OFF, UNKNOWN, YES
from dvtool.storage.probing import Findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.formats.project import Remote as Settings
    from dvtool.workspace import Workspace

DAY: Final = 24 * 3600 * 1_000_000
MINUTE: Final = 60 * 1_000_000
SAFETY: Final = "safety"
ERASURE: Final = "erasure"
CLOCK: Final = "clock"
STORE: Final = "store"


class Consequence(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from a finding.

    ``about`` is ``safety``, ``erasure``, ``clock`` or ``store``; ``serious`` ones are in the way of using the remote.
    """

    about: str
    serious: bool
    text: str


class RemoteStore(msgspec.Struct, frozen=True, kw_only=True):
    """The store at a remote: whether there is one, whether it opens with the keys here, and its format version.

    ``opens`` is None where there is none; ``why`` says what keeps it from opening.
    """

    there: bool
    opens: bool | None
    version: int | None
    entries: int | None
    why: str


class RemoteReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of a remote, and what follows; ``safe`` when nothing serious does."""

    remote: str
    url: str
    single_writer: bool
    safe: bool
    place: Findings
    store: RemoteStore
    follows: tuple[Consequence, ...]


def check(workspace: Workspace, name: str | None = None) -> RemoteReport:
    """Find out what a remote can do by doing it, and look at the store there; nothing of it changes.

    Raises:
        NotFoundError: when there is no such remote.
        StorageError: when it cannot be reached.
    """
    remote = reaching.reach(workspace, name)
    place = vetting.examine(remote.place, workspace.session.context)
    if place.reachable != YES:
        raise StorageError(
            "the remote cannot be reached",
            where=remote.settings.url,
            why=place.reachable.removeprefix("no: "),
            next="check the URL, the network and your access, then try again",
        )
    store = _store(remote)
    follows = (*_safety(place, remote.settings), *_erasure(place), *_clock(place), *_of_store(store))
    return RemoteReport(
        remote=remote.name,
        url=remote.settings.url,
        single_writer=remote.settings.single_writer is True,
        safe=not any(each.serious for each in follows),
        place=place,
        store=store,
        follows=follows,
    )


def _store(remote: reaching.Remote) -> RemoteStore:
    try:
        found = remote.open()
    except NotFoundError as error:
        if remote.memory is None or not remote.memory.format:
            return RemoteStore(there=False, opens=None, version=None, entries=None, why="")
        return RemoteStore(there=False, opens=None, version=None, entries=None, why=f"it was there: {error.finding()}")
    except ConflictError as error:
        return RemoteStore(there=True, opens=False, version=None, entries=None, why=error.what)
    except DvError as error:
        return RemoteStore(there=True, opens=False, version=None, entries=None, why=error.finding())
    return RemoteStore(there=True, opens=True, version=found.format.version, entries=found.state.number, why="")


def _safety(place: Findings, settings: Settings) -> Iterator[Consequence]:
    for what, found in (("read", place.reading), ("listed", place.listing)):
        if found.startswith("no"):
            yield _serious(SAFETY, f"files there cannot be {what} ({_why(found)}), so nothing works")
    if place.writing != YES:
        yield _note(SAFETY, f"nothing can be pushed ({_why(place.writing)}); it can be fetched and cloned from")
    elif vetting.excludes(place):
        yield _note(SAFETY, "two who push at the same moment do not lose each other's work")
    elif settings.single_writer is True:
        yield _note(
            SAFETY,
            f"two who push at the same moment can lose each other's work ({_why(place.exclusive)}): "
            "the remote is for a single writer, as dv.toml says, and nobody checks that there is one only",
        )
    else:
        yield _serious(
            SAFETY,
            f"two who push at the same moment can lose each other's work ({_why(place.exclusive)}): no store is made "
            "there unless dv.toml says single-writer = true",
        )


def _erasure(place: Findings) -> Iterator[Consequence]:
    """Say what becomes of what is deleted: an erasure has to destroy all of it."""
    if place.deleting.startswith("no"):
        yield _note(
            ERASURE,
            f"nothing can be deleted ({_why(place.deleting)}): 'dv gc --remote' and an erasure free nothing there",
        )
    if place.versioning.startswith(UNKNOWN):
        yield _note(
            ERASURE, f"whether older versions are kept is not known ({_why(place.versioning)}): ask who runs it"
        )
    elif place.versioning != OFF:
        yield _note(
            ERASURE,
            f"deleted files are kept as older versions (versioning is {place.versioning}): 'dv gc --remote' and an "
            "erasure purge every version, for which they need the right to list and to delete versions",
        )
    if place.soft_delete.startswith(UNKNOWN):
        yield _note(ERASURE, f"whether deleted files can be restored is not known ({_why(place.soft_delete)})")
    elif place.soft_delete != OFF:
        yield _note(
            ERASURE,
            f"deleted files can be restored by the place for {place.soft_delete}, and nothing ends that earlier: "
            "until then an erasure is not complete there, though the keys of what it destroyed are gone",
        )
    if place.lock.startswith(UNKNOWN):
        yield _note(ERASURE, f"whether files are locked is not known ({_why(place.lock)})")
    elif place.lock != OFF:
        yield _note(
            ERASURE,
            f"files can be locked against deletion ({place.lock}): a locked one stays until its lock ends, an erasure "
            "cannot reach it before, and 'dv gc --remote' lists it with the date",
        )
    if (place.versioning, place.soft_delete, place.lock) == (OFF, OFF, OFF):
        yield _note(ERASURE, "what is deleted there is gone at once, as far as the place tells")


def _clock(place: Findings) -> Iterator[Consequence]:
    if place.skew is None:
        yield _note(CLOCK, "the place does not tell its time")
        return
    ahead = -place.skew
    seconds = abs(ahead) / 1_000_000
    if ahead > DAY:
        yield _note(
            CLOCK, f"this machine's clock is {seconds:,.0f} s ahead of the place's: 'dv gc --remote' collects nothing"
        )
    elif abs(ahead) > MINUTE:
        behind = "ahead of" if ahead > 0 else "behind"
        yield _note(CLOCK, f"this machine's clock is {seconds:,.0f} s {behind} the place's: set one of them")


def _of_store(store: RemoteStore) -> Iterator[Consequence]:
    if store.opens:
        return
    if store.there or store.why:
        yield _serious(STORE, f"the store there does not open: {store.why}")
    else:
        yield _note(STORE, "there is no store yet: the first 'dv push' makes it")


def _why(found: str) -> str:
    return found.partition(": ")[2] or found


def _note(about: str, text: str) -> Consequence:
    return Consequence(about=about, serious=False, text=text)


def _serious(about: str, text: str) -> Consequence:
    return Consequence(about=about, serious=True, text=text)
