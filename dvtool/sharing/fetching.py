"""Brings what a remote has into the store here: history first, then the data that it needs.

Nothing counts before all of it is there: refs move by one entry at the end, and each of them leads only to what lies in
sound packs here (or, in a lazy clone, to data that the remote has).  What came in before that is put aside, so a fetch
that is stopped and run again goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.errors import ConflictError, IntegrityError
from dvtool.formats import codec, index, log, pack, snapshot
from dvtool.history import recorded
from dvtool.history.marking import Marks
from dvtool.sharing import clones, erased, moving, runs
from dvtool.sharing.erased import FollowedErasure
from dvtool.sharing.meeting import Meeting
from dvtool.store.state import describe_ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dvtool.formats.snapshot import Snapshot
    from dvtool.sharing.reaching import Remote
    from dvtool.store.state import State
    from dvtool.store.store import Store
    from dvtool.store.transaction import Transaction

ATTEMPTS: Final = 5
"""Times that a fetch begins again because packs that it built on were collected meanwhile."""
OPERATION: Final = "fetch"


class RefChange(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """A ref that moved: its name as people say it, and the snapshots before and after (None: it was not there)."""

    name: str
    before: str | None
    after: str | None


class FetchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came from a remote: refs that moved here, and how many packs, objects and bytes were received.

    ``followed`` are the erasures of others that were carried out here first.
    """

    remote: str
    refs: tuple[RefChange, ...]
    packs: int
    objects: int
    bytes: int
    followed: tuple[FollowedErasure, ...] = ()


class Tally(msgspec.Struct, kw_only=True):
    """How much has been received."""

    packs: int = 0
    objects: int = 0
    size: int = 0


class _AgainError(ConflictError):
    """What a fetch built on was collected meanwhile."""


def _nothing(_remote: Remote) -> tuple[FollowedErasure, ...]:
    return ()


def fetch(
    remote: Remote,
    *,
    with_data: bool = True,
    follow: Callable[[Remote], tuple[FollowedErasure, ...]] = _nothing,
) -> FetchResult:
    """Bring the remote's branches, tags and runs here, with everything that they lead to.

    Args:
        remote: which one.
        with_data: whether the content of files comes along; in a lazy clone it does not.
        follow: follows the erasures that the opened remote has and the store here has not, and returns them.

    Raises:
        NotFoundError: when there is no store at the remote.
        ConflictError: when it has data that was erased here.
        IntegrityError: when the remote was rolled back, or something it has is damaged or missing.
        KeyAccessError: when its key cannot be opened.
        StorageError: when the remote or the disk refuses.
        UsageError: when the environment has the clone register for no number of days.
    """
    tally = Tally()
    if not remote.has_news() and remote.memory is not None and remote.memory.brought == _refs_here(remote):
        return FetchResult(remote=remote.name, refs=(), packs=0, objects=0, bytes=0)
    clones.wanted_days()
    store = remote.open()
    tell = remote.session.context.tell
    followed: list[FollowedErasure] = []

    def bring() -> list[log.MoveRef]:
        choice = runs.Choice(yields=True)
        state = store.refresh()
        followed.extend(follow(remote))
        erased.refuse_return(remote.session.store, store, remote.name)
        _adopt(remote, store, with_data=with_data, tally=tally)
        moves = _moves(remote, _wanted(state), choice, tell=tell)
        if moves:
            moves = _Fetch(remote, store, moves, choice, with_data=with_data, tally=tally).run()
        _tell_of_runs(remote, choice)
        return moves

    changes: tuple[RefChange, ...] = ()
    for attempt in range(ATTEMPTS):
        try:
            changes = tuple(_change(move) for move in store.try_again(bring))
            break
        except _AgainError:
            if attempt == ATTEMPTS - 1:
                raise
    clones.meet(remote)
    note(remote)
    return FetchResult(
        remote=remote.name,
        refs=changes,
        packs=tally.packs,
        objects=tally.objects,
        bytes=tally.size,
        followed=tuple(followed),
    )


def note(remote: Remote) -> None:
    """Remember how far the log of an opened remote goes, and whether all that it names is here.

    Whoever has looked at a remote for other reasons than to fetch may have seen branches move that they did not bring.

    Raises:
        StorageError: when the disk refuses.
    """
    lacking = _moves(remote, _wanted(remote.open().state), runs.Choice(yields=True), tell=lambda _text: None)
    remote.remember(brought=b"" if lacking else _refs_here(remote))


def _adopt(remote: Remote, store: Store, *, with_data: bool, tally: Tally) -> None:
    """Let what the remote has stand for what came out otherwise here although both have had the same erasures.

    That happens where two erasures which were made apart met the same file: each place counts it under the one that
    took it first.
    """
    pairs = erased.parted(remote.session.store, store)
    if pairs:
        _Fetch(remote, store, [], runs.Choice(), with_data=with_data, tally=tally).adopt(pairs)


def _refs_here(remote: Remote) -> bytes:
    """Return a keyed hash of the refs here that a fetch from the remote may move, and of the erasures that are known.

    Runs are left out: each that is recorded here would cost the next fetch another look at a remote without news.  So
    one that was removed here, and is still at the remote, comes back with the next news.
    """
    store = remote.session.store
    state = store.refresh()
    known = sorted(erased.committed(state))
    return store.hasher.id(
        ids.TABLE, codec.encode([*state.ref_names(remote.prefix), *state.ref_names("tags/"), *known])
    )


def _wanted(state: State) -> dict[str, bytes]:
    """Return the branches, tags and runs of a remote by their names there."""
    return {name: value for top in ("heads/", "tags/", recorded.PREFIX) for name, value in state.ref_names(top)}


def _moves(
    remote: Remote, wanted: dict[str, bytes], choice: runs.Choice, *, tell: Callable[[str], None]
) -> list[log.MoveRef]:
    """Return how refs here have to move to be as the remote's.

    Its branches are under its name here; tags come that are not here, and runs that are not here, or older.
    """
    state = remote.session.store.refresh()
    moves: list[log.MoveRef] = []
    tracked = dict(state.ref_names(remote.prefix))
    there = {
        remote.prefix + name.removeprefix("heads/"): value
        for name, value in wanted.items()
        if name.startswith("heads/") and log.symbolic(value) is None
    }
    for name in sorted(tracked.keys() | there.keys()):
        old, new = tracked.get(name), there.get(name)
        if new is not None and state.expiry(new) is not None:
            tell(f"warning: {name.removeprefix('remotes/')} names a snapshot that was expired here, and stays as it is")
            continue
        if old != new:
            moves.append(log.MoveRef(name=name, old=old, new=new))
    taken: set[str] = set()
    for name, value in sorted(wanted.items()):
        if not name.startswith("tags/") or log.symbolic(value) is not None:
            continue
        here = state.ref(name)
        if here is None and (other := _in_the_way(state, name, taken)) is not None:
            tell(
                f"warning: tag {name.removeprefix('tags/')!r} of {remote.name!r} is left out: "
                f"{describe_ref(other)} is there, and a name cannot lie below another"
            )
        elif here is None and state.expiry(value) is None:
            taken.add(name)
            moves.append(log.MoveRef(name=name, old=None, new=value))
        elif here is not None and here != value:
            tell(f"warning: tag {name.removeprefix('tags/')!r} is another here than at {remote.name!r}, and stays")
    return moves + runs.incoming(remote.session.store, wanted, choice)


def _tell_of_runs(remote: Remote, choice: runs.Choice) -> None:
    """Say which runs are not as they are at the remote."""
    tell = remote.session.context.tell
    runs.say(tell, choice.apart, f"warning: {{}} here and at {remote.name!r} differ, written equally often; ours stays")
    for name, error in sorted(choice.unread.items()):
        tell(f"warning: {runs.title(name)} of {remote.name!r} is left out: {error.finding()}")


def _in_the_way(state: State, name: str, taken: set[str]) -> str | None:
    """Return a ref, there or among those that are ``taken``, that lies above or below a name; None if it is free."""
    parts = name.split("/")
    for above in ("/".join(parts[:length]) for length in range(2, len(parts))):
        if above in taken or state.ref(above) is not None:
            return above
    below = [each for each, _value in state.ref_names(name + "/")]
    return min([*below, *(each for each in taken if each.startswith(name + "/"))], default=None)


def _change(move: log.MoveRef) -> RefChange:
    top, _, rest = move.name.partition("/")
    return RefChange(
        name={"remotes": "", "tags": "tag ", "runs": "run "}[top] + rest,
        before=move.old.hex() if move.old is not None else None,
        after=move.new.hex() if move.new is not None else None,
    )


class _Fetch:
    """One fetch of refs that are known to have moved."""

    def __init__(
        self,
        remote: Remote,
        store: Store,
        moves: list[log.MoveRef],
        choice: runs.Choice,
        *,
        with_data: bool,
        tally: Tally,
    ) -> None:
        self.session = remote.session
        self.here = remote.session.store
        self.there = store
        self.moves = moves
        self.choice = choice
        self.with_data = with_data
        self.tally = tally

    def run(self) -> list[log.MoveRef]:
        """Bring everything, then move the refs; return how they moved.

        Raises:
            _AgainError: when what this built on here was collected, or is led to no more.
        """
        with self.here.transaction() as transaction:
            self._metadata(transaction)
            self.moves = runs.settled(self.here, self.moves, self.choice)
            if not self.moves:
                return []
            tips, computed = runs.divided(self.moves)
            meeting = Meeting(self.there, self.here, tips, here=self.here, runs=computed)
            here = self._marks(meeting.fresh.keys(), meeting.standing)
            here.pass_over(sorted(meeting.border))
            require = self._follow(transaction, here, [*sorted(meeting.fresh), *computed])

            def build(state: State) -> list[log.Action]:
                require(state)
                if not meeting.holds(state):
                    raise _AgainError("the history that came in has nothing to stand on any more", next="run it again")
                pairs = meeting.pairs()
                return [*([log.Supersede(pairs=pairs)] if pairs else []), *self.moves]

            transaction.commit(OPERATION, build)
            self.tally.packs += len(transaction.added)
            self.tally.size += sum(transaction.added)
        return self.moves

    def adopt(self, pairs: Mapping[bytes, bytes]) -> None:
        """Bring some snapshots, and let them stand for others that are here; their parents stay what they are.

        Raises:
            _AgainError: as :meth:`run`.
            IntegrityError: when they were no versions of the same before something was erased.
        """
        with self.here.transaction() as transaction:
            self._metadata(transaction)
            for old, new in pairs.items():
                ours, theirs = self._snapshot(old), self._snapshot(new)
                if (ours.parents, ours.time) != (theirs.parents, theirs.time):
                    raise IntegrityError(
                        "what is said to stand for a snapshot since an erasure is no version of it",
                        where=f"{old.hex()[:12]} here, {new.hex()[:12]} at the remote",
                        why="its parents or its time are others",
                        next="ask who writes to the remote; nothing was changed here",
                    )
            here = self._marks(set(pairs.values()), lambda _parent: None)
            require = self._follow(transaction, here, sorted(pairs.values()))

            def build(state: State) -> list[log.Action]:
                require(state)
                found = tuple((old, new) for old, new in sorted(pairs.items()) if state.superseded.get(old) is None)
                gone = dict(found)
                moves = [
                    log.MoveRef(name=name, old=value, new=gone[value])
                    for name, value in state.ref_names("")
                    if value in gone
                ]
                return [log.Supersede(pairs=found), *moves] if found else []

            transaction.commit(OPERATION, build)
        self.here.refresh()

    def _snapshot(self, identity: bytes) -> Snapshot:
        return snapshot.decode(self.here.read_object(ids.SNAPSHOT, identity))

    def _marks(self, only: AbstractSet[bytes], standing: Callable[[bytes], bytes | None]) -> Marks:
        """Return marks for some snapshots, with all but other snapshots that they lead to."""

        def stands(identity: bytes) -> bytes | None:
            return standing(identity)

        here = Marks(self.here, self.session.context.progress)
        here.rely_on_sound_packs()
        here.standing = stands
        here.only = only
        return here

    def _metadata(self, transaction: Transaction) -> None:
        """Bring the objects that are not here: all that the remote's metadata packs hold, but for its own tables.

        What a history is made of is small beside the data, and reading it here is faster than asking for each object.
        """
        marks = Marks(self.there, self.session.context.progress)
        marks.read_what_is_there()
        here = Marks(self.here, self.session.context.progress)
        here.rely_on_sound_packs()
        for segment in marks.segments:
            packs = segment.index.directory.packs
            wanted = {
                at
                for at, entry in enumerate(packs)
                if entry.content == pack.METADATA and not self._has_pack(entry.name)
            }
            if not wanted:
                continue
            found: set[bytes] = set()
            for page in segment.index.pages():
                found |= _objects_in(page, wanted)
            marks.hold(found - here.hold(found))
        shipment = moving.Shipment(marks, self.here)
        if not shipment.files:
            return
        self._receive(shipment, transaction, "receiving history")
        transaction.put_aside()

    def _has_pack(self, name: bytes) -> bool:
        """Return whether a pack is here already, whole, and will stay."""
        file = pack.file_name(name)
        state = self.here.state
        return state.packs.get(name) is not None and not state.is_doomed(file) and self.here.backend.exists(file)

    def _follow(self, transaction: Transaction, here: Marks, identities: Sequence[bytes]) -> Callable[[State], None]:
        """Find what some objects lead to that is not here, and bring it.

        Returns:
            what raises :class:`_AgainError` unless the packs here that were built on are there still, in a state.
        """
        there = Marks(self.there, self.session.context.progress)
        there.read_what_is_there()
        there.lacking = moving.refuse_lacking
        here.lacking = there.want if self.with_data else lambda _chunks: None
        here.follow(identities)
        shipment = moving.Shipment(there, self.here)
        if shipment.files:
            self._receive(shipment, transaction, "receiving data")
        relied = {use.file for use in here.packs() if use.live}
        transaction.relied.aside.update(name for name in relied if self.here.state.aside(name) is not None)
        erasures = self.here.state.erasures.items()

        def require(state: State) -> None:
            if state.erasures.items() != erasures:
                raise _AgainError("something was erased here meanwhile", next="run it again")
            if any(state.is_doomed(name) for name in relied):
                raise _AgainError("packs were collected while they were being built on", next="run it again")

        return require

    def _receive(self, shipment: moving.Shipment, transaction: Transaction, label: str) -> None:
        meter = moving.Meter(self.session.context.progress, label, files=shipment.files, size=shipment.size)
        try:
            moving.receive(self.there, self.here, shipment, transaction, meter)
        finally:
            meter.finish()
        self.tally.objects += shipment.objects


def _objects_in(page: bytes, wanted: set[int]) -> set[bytes]:
    """Return the ids of the records of a page that lie in these packs, and are no nodes of a table."""
    found = set()
    for record in index.split(page):
        identity, location = index.unpack(record)
        if location.pack in wanted and location.flags & pack.KIND_MASK != ids.TABLE:
            found.add(identity)
    return found
