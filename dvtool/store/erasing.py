"""The steps of an erasure in one store: announced, committed by one entry, then everything destroyed that it gave up.

Until the commit nothing has happened; after it, whoever finds the store can finish what is left, because all of it
follows from the log and from which files are there (rules 1 to 9 of ``docs/format/log.md``).  What is to be erased is
for the caller to know.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.errors import ConflictError, DvError, IntegrityError, NotFoundError
from dvtool.formats import log, pack
from dvtool.storage.backend import TOGETHER, Purged, UntoldError, overwrite, versions_of
from dvtool.store import checkpoints, keys, scrub
from dvtool.store.state import segment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from dvtool.storage.backend import Backend
    from dvtool.store.segments import Segment
    from dvtool.store.state import State
    from dvtool.store.store import Store

OPERATION: Final = "erase"
ATTEMPTS: Final = 20
"""Lost races of an entry with a checkpoint before giving up; each one costs building it anew."""
_LOG_KEYS: Final = "keys/log-"
_NAMES: Final = {
    "packs": re.compile("[0-9a-f]{64}"),
    "index": re.compile("[0-9a-f]{32}"),
    "keys": re.compile("(log-)?[0-9a-f]{32}"),
}


class Destroyed(msgspec.Struct, frozen=True, kw_only=True):
    """What was destroyed: packs, index and key files, log keys, entries; and of which files a place keeps something."""

    packs: int
    files: int
    log_keys: int
    entries: int
    left: dict[str, Purged]


def announce(
    store: Store,
    erasure: bytes,
    locator: bytes,
    wraps: tuple[bytes, ...],
    refuse: Callable[[State], None] = lambda _state: None,
) -> bytes:
    """Append the entry from which on nobody else can move refs or change packs and keys; return its write id.

    Args:
        store: the store.
        erasure: the id of the erasure.
        locator: what others find by it, sealed.
        wraps: the key of that, for those who have what is superseded.
        refuse: is called with the state that the entry will follow; what it raises keeps it from being written.

    Raises:
        ConflictError: when another erasure is under way, or is not over yet.
    """
    write = store.entropy.bytes(log.WRITE_ID_SIZE)
    action = log.Erasure(erasure=erasure, phase=log.ERASING, planned=write, locator=locator, wraps=wraps)

    def build(state: State) -> list[log.Action]:
        refuse(state)
        return [action]

    store.log.append(OPERATION, build, write=write)
    store.refresh()
    return write


def abort(store: Store, erasure: bytes, planned: bytes) -> None:
    """Give up an erasure that was announced and not committed.

    Raises:
        ConflictError: when it was committed, or given up already.
    """
    action = log.Erasure(erasure=erasure, phase=log.ABORTED, planned=planned)
    store.log.append(OPERATION, lambda _state: [action])
    store.refresh()


def commit(
    store: Store,
    erasure: log.Erasure,
    added: Sequence[log.Action],
    gone: AbstractSet[str],
    build: Callable[[State], list[log.Action]],
) -> None:
    """Append the entry that is the erasure: new packs, refs, superseded snapshots; old packs condemned and dropped.

    It is a checkpoint as well, under a new log key, whose index and key files list none of the old packs.

    Args:
        store: the store, in which the erasure is announced.
        erasure: the action that commits it.
        added: the actions that add the new packs, which are there.
        gone: the files of the packs that go.
        build: returns the moves of refs and what is superseded, for a state.

    Raises:
        ConflictError: when the erasure was aborted, or others write all the time.
    """
    without = frozenset(bytes.fromhex(name.removeprefix("packs/")) for name in gone)
    store.give_up(gone)
    label = b""

    def more(state: State) -> list[log.Action]:
        names = tuple(sorted(name for name in gone if state.dropped.get(name.encode()) is None))
        doomed = tuple(name for name in names if state.condemned.get(name.encode()) is None)
        found: list[log.Action] = [*added, *build(state)]
        found += [log.Condemn(names=doomed)] if doomed else []
        found += [log.Drop(names=names)] if names else []
        return [*found, erasure]

    for _attempt in range(ATTEMPTS):
        # One that lay there unnamed for too long may have been condemned by who still destroys for another erasure.
        if not label or store.refresh().is_doomed(keys.log_key_name(label)):
            label = keys.write_log_key(store.backend, store.format.store, store.secrets.wrap, store.entropy)
        if checkpoints.write(store, operation=OPERATION, without=without, more=more, label=label):
            return
    raise ConflictError(
        "the erasure could not be committed while others write all the time",
        next="run 'dv erasure resume' when fewer are at work; nothing was lost",
    )


Added = tuple["Segment", int]
"""A pack that no entry names yet: the index file that lists it, and its place there."""


def packs_of(store: Store, added: Sequence[log.Action]) -> list[Added]:
    """Return the packs that actions are to add, which are in their place already."""
    segments = [store.segments.unnamed(segment_of(action)) for action in added if isinstance(action, log.AddPacks)]
    return [(segment, position) for segment in segments for position in range(len(segment.index.directory.packs))]


def require_readable(store: Store, segment: Segment, position: int) -> int:
    """Read a pack that was just written back from its place, with the key written beside it; return its frames.

    Raises:
        IntegrityError: when it does not open as it should: the old packs must not go then.
    """
    _size, frames, damage = scrub.frames(store, segment, position)
    if damage is not None:
        raise IntegrityError(
            "a pack that was written anew cannot be read back",
            where=damage.file,
            why=damage.what,
            next="check the disk, then run the command again; nothing was erased",
        )
    return frames


def destroy(store: Store, *, before: int | None = None) -> Destroyed:
    """Destroy what a committed erasure gave up, and everything that no entry names; can be stopped and run again.

    Keys go first, so that nothing which stays behind can be opened.  Where a place keeps versions all of them go.

    Args:
        store: the store.
        before: a time, in microseconds since 1970: of what no entry names, only what was written before it goes. None:
            all of it, whoever may be on the way to an entry that names it.

    Raises:
        StorageError: when the place refuses; what is left can be destroyed by the next call.
    """
    state = _condemned(store, before)
    left: dict[str, Purged] = {}
    gone = [name for name in _kept(store.backend) if state.dropped.get(name.encode()) is not None]
    old = [name for name in gone if name.startswith(_LOG_KEYS)]
    first = [name for name in gone if name.startswith("keys/") and not name.startswith(_LOG_KEYS)]
    rest = [name for name in gone if not name.startswith("keys/")]
    _purge(store.backend, first, left)
    entries = empty_entries(store, state)
    _purge(store.backend, old, left)
    _purge(store.backend, rest, left)
    _purge(store.backend, _emptied(store.backend, state), left, older=True)
    return Destroyed(
        packs=sum(name.startswith("packs/") for name in rest),
        files=len(first) + sum(name.startswith("index/") for name in rest),
        log_keys=len(old),
        entries=entries,
        left=left,
    )


def _condemned(store: Store, before: int | None = None) -> State:
    """Condemn every file that no entry names, drop those that are condemned, and return the state then.

    A stale writer may just have uploaded what was erased, so there is no grace; its entry fails.  What is condemned and
    named all the same is left to the collector that condemned it: there may be something in it that is needed.
    """
    state = store.refresh()
    live = {name for segment in state.segments for name in (segment.keys, segment.index)}
    live |= {pack.file_name(entry.name) for segment in store.segments.live() for entry in segment.index.directory.packs}
    strays = [name for name in _files(store.backend, before) if name not in live and not state.is_doomed(name)]

    def condemn(current: State) -> list[log.Action]:
        named = _named(current)
        names = tuple(sorted(name for name in strays if name not in named and not current.is_doomed(name)))
        return [log.Condemn(names=names)] if names else []

    def drop(current: State) -> list[log.Action]:
        named = _named(current)
        names = tuple(name for key, _time in current.condemned.items() if (name := key.decode()) not in named)
        return [log.Drop(names=names)] if names else []

    if condemn(state):
        store.log.append(OPERATION, condemn)
    if drop(store.refresh()):
        store.log.append(OPERATION, drop)
    return store.refresh()


def _named(state: State) -> set[str]:
    """Return the files that the log names: packs, index and key files, and the log key of the newest entry."""
    named = {name for segment in state.segments for name in (segment.keys, segment.index)}
    named |= {pack.file_name(name) for name, _time in state.packs.items()}
    return named | {keys.log_key_name(state.label)}


def empty_entries(store: Store, state: State) -> int:
    """Overwrite the entries before the newest checkpoint, the oldest first; return how many there were.

    Before so many stubs in a row there is no entry, even if the power was lost when some had been written.
    """
    left: list[str] = []
    stubs = 0
    for number in range(state.checkpoint - 1, 0, -1):
        name = log.file_name(number)
        if log.is_stub(store.backend.read(name)):
            stubs += 1
            if stubs == TOGETHER:
                break
        else:
            stubs = 0
            left.append(name)
    overwrite(store.backend, left[::-1], log.STUB)
    return len(left)


def _emptied(backend: Backend, state: State) -> list[str]:
    """Return the entries before the newest checkpoint of which the place keeps what they were."""
    try:
        older = {each.name for each in versions_of(backend, "log") if not each.is_latest}
    except UntoldError:
        return []
    names = map(log.file_name, range(1, state.checkpoint)) if older else ()
    return [name for name in names if name.removeprefix("log/") in older]


def _purge(backend: Backend, names: Sequence[str], left: dict[str, Purged], *, older: bool = False) -> None:
    """Delete files with all their versions; note what stays.  Raises the first error when all others are gone."""
    failed: DvError | None = None
    for name in sorted(names):
        try:
            found = backend.purge(name, older=older)
        except NotFoundError:
            continue
        except DvError as error:
            failed = failed or error
            continue
        if found.left:
            left[name] = found
    backend.flush()
    if failed is not None:
        raise failed


def _files(backend: Backend, before: int | None = None) -> Iterator[str]:
    """Yield the packs, index and key files that are there, or those written before a time."""
    for directory, form in _NAMES.items():
        if before is None:
            names = sorted(backend.names(directory))
        else:
            names = [each.name for each in backend.listed(directory) if each.modified < before]
        yield from (f"{directory}/{name}" for name in names if form.fullmatch(name))


def _kept(backend: Backend) -> Iterator[str]:
    """Yield the same with those of which only an older version is there, as far as the place tells."""
    for directory, form in _NAMES.items():
        try:
            names = {each.name for each in versions_of(backend, directory)}
        except UntoldError:
            names = set(backend.names(directory))
        yield from (f"{directory}/{name}" for name in sorted(names) if form.fullmatch(name))
