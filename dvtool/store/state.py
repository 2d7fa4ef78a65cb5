"""The fold: what a store is, as the entries of its log add up.  Pure; all reading is done elsewhere.

Tables of a checkpoint stay on disk; the fold keeps what entries changed since, over a way to look the rest up.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, Protocol

from dvtool.errors import ConflictError, ErasedError, ExistsError, IntegrityError
from dvtool.formats import log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    import msgspec


class TableReader(Protocol):
    """Looks pairs up in the tables that a checkpoint names."""

    def get(self, table: log.Table, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        ...

    def items(self, table: log.Table, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs whose key begins with ``prefix``, in order of key."""
        ...

    def follow(self, segments: Sequence[log.Segment]) -> None:
        """Take the segments in which the nodes of a checkpoint's tables lie, before any of them is asked for."""
        ...


EMPTY = log.Table(count=0)
STEPS: Final = 1024
"""Erasures after which one snapshot's stand-ins are taken for a circle."""


class ChainError(IntegrityError):
    """An entry of the log does not follow from those before it."""


class Overlay:
    """A checkpoint's table with the changes made since."""

    __slots__ = ("changes", "name", "reader", "table")

    def __init__(self, name: str, table: log.Table, reader: TableReader) -> None:
        """Start from a table without changes; ``name`` says which of a checkpoint's it is."""
        self.name = name
        self.table = table
        self.reader = reader
        self.changes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        if key in self.changes:
            return self.changes[key]
        value = self.reader.get(self.table, key) if self.table.count else None
        if value is not None and self.table.root:
            log.check_row(self.name, key, value)
        return value

    def set(self, key: bytes, value: bytes | None) -> None:
        """Change one pair; None removes it."""
        self.changes[key] = value

    def items(self, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Return the pairs whose key begins with ``prefix``, in order of key."""
        found = dict(self.reader.items(self.table, prefix)) if self.table.count else {}
        if self.table.root:
            for key, row in found.items():
                log.check_row(self.name, key, row)
        for key, value in self.changes.items():
            if key.startswith(prefix):
                if value is None:
                    found.pop(key, None)
                else:
                    found[key] = value
        return sorted(found.items())

    def has(self, prefix: bytes) -> bool:
        """Return whether there is a pair whose key begins with ``prefix``, without reading all of them."""
        if any(value is not None and key.startswith(prefix) for key, value in self.changes.items()):
            return True
        rows = self.reader.items(self.table, prefix) if self.table.count else ()
        return any(key not in self.changes for key, _value in rows)


class State:
    """A store at one entry of its log."""

    def __init__(self, reader: TableReader, *, replaying: bool = False) -> None:
        """Start before the first entry.

        With ``replaying`` all entries follow, and what a checkpoint says of the entries before it is passed over: its
        tables may be lost.
        """
        self._reader = reader
        self._replaying = replaying
        self.number = 0
        self.head = bytes(32)
        self.time = 0
        self.checkpoint = 0
        self.since_checkpoint = 0
        self.label = b""
        self.segments: list[log.Segment] = []
        self.writes: list[tuple[int, bytes]] = []
        self.lock = b""
        self.sections: dict[str, msgspec.Raw] = {}
        """What the newest checkpoint says besides, for those who know of it; the next one says it again."""
        self._load(
            log.Checkpoint(
                refs=EMPTY,
                packs=EMPTY,
                superseded=EMPTY,
                condemned=EMPTY,
                dropped=EMPTY,
                erasures=EMPTY,
                locators=EMPTY,
                segments=(),
                lock=b"",
                writes=(),
            )
        )

    def _load(self, checkpoint: log.Checkpoint) -> None:
        self.refs = Overlay("refs", checkpoint.refs, self._reader)
        self.packs = Overlay("packs", checkpoint.packs, self._reader)
        self.superseded = Overlay("superseded", checkpoint.superseded, self._reader)
        self.condemned = Overlay("condemned", checkpoint.condemned, self._reader)
        self.dropped = Overlay("dropped", checkpoint.dropped, self._reader)
        self.erasures = Overlay("erasures", checkpoint.erasures, self._reader)
        self.locators = Overlay("locators", checkpoint.locators, self._reader)
        self.segments = list(checkpoint.segments)
        self.lock = checkpoint.lock
        self.writes = list(checkpoint.writes)

    def ref(self, name: str) -> bytes | None:
        """Return the value of a ref, or None; none has a name that is not UTF-8."""
        return self.refs.get(name.encode("utf-8", "surrogatepass"))

    def ref_names(self, prefix: str) -> list[tuple[str, bytes]]:
        """Return (name, value) of the refs that begin with ``prefix``, sorted."""
        return [(name.decode(), value) for name, value in self.refs.items(prefix.encode())]

    def read_tables(self) -> None:
        """Read all tables to their end.

        Raises:
            IntegrityError: when one is damaged or missing.
        """
        for name in log.TABLES:
            getattr(self, name).items()

    def apply(self, entry: log.Entry, head: bytes, label: bytes) -> None:
        """Fold one entry in.

        Args:
            entry: the entry after the one folded last, or one that holds a checkpoint when nothing was folded yet.
            head: its chain hash.
            label: the label of the log key it is sealed under.

        Raises:
            ChainError: when it does not follow from what was folded; nothing has changed then.
            IntegrityError: when a table of the checkpoint cannot be read.
        """
        if self.number and (entry.number != self.number + 1 or entry.previous != self.head):
            why = "an entry does not name the one before it: the store was rolled back, forked or tampered with"
            raise broken_chain(entry.number, why)
        # A checkpoint's tables may lie in packs that the same entry adds, so those are known before it is taken.
        added = [segment_of(action) for action in entry.actions if isinstance(action, log.AddPacks)]
        for action in entry.actions:
            if isinstance(action, log.Checkpoint):
                self._reader.follow([*action.segments, *added])
        for action in entry.actions:
            self._act(action, entry)
        for name in log.takes(entry):
            if self.packs.get(name):
                self.packs.set(name, b"")
        self.number = entry.number
        self.head = head
        self.time = entry.time
        self.label = label
        self.writes = [*self.writes[-(log.CHECKPOINT_EVERY - 1) :], (entry.number, entry.write)]
        self.since_checkpoint += 1
        if any(isinstance(action, log.Checkpoint) for action in entry.actions):
            self.checkpoint = entry.number
            self.since_checkpoint = 0
            self.sections = log.carried(entry)

    def _act(self, action: log.Action, entry: log.Entry) -> None:
        match action:
            case log.MoveRef():
                self.refs.set(action.name.encode(), action.new)
            case log.AddPacks():
                self._add(action, entry.time.to_bytes(log.TIME_SIZE, "big") if log.is_aside(entry) else b"")
            case log.Condemn():
                self._condemn(action.names, entry.time)
            case log.Drop():
                self._drop(action.names)
            case log.Supersede():
                for old, new in action.pairs:
                    self.superseded.set(old, new)
            case log.Erasure():
                self.lock = action.planned if action.phase == log.ERASING else b""
                self.erasures.set(action.erasure, log.to_step(action.phase, action.planned))
                self._locate(action)
            case log.Checkpoint():
                self._begin(action)
                self._condemn(action.condemn, entry.time)

    def _locate(self, action: log.Erasure) -> None:
        """Take the locator of an erasure; when that is over, one which is not said again is not needed any more."""
        if action.locator:
            self.locators.set(action.erasure, log.to_located(action.locator, action.wraps))
        elif action.phase in {log.ABORTED, log.FINISHED}:
            self.locators.set(action.erasure, None)

    def _begin(self, checkpoint: log.Checkpoint) -> None:
        if self._replaying:
            self.segments = list(checkpoint.segments)
        else:
            self._load(checkpoint)

    def _add(self, action: log.AddPacks, aside: bytes) -> None:
        # No sound writer adds what was dropped.  To refuse it here would close the log for every reader, for ever.
        if all(self.dropped.get(name.encode()) is None for name in files_of(action)):
            self.segments.append(segment_of(action))
            for pack_name in action.packs:
                self.packs.set(pack_name, aside)

    def _drop(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.condemned.set(name.encode(), None)
            self.dropped.set(name.encode(), b"")
            if name.startswith("packs/"):
                self.packs.set(bytes.fromhex(name[6:]), None)
        gone = set(names)
        self.segments = [each for each in self.segments if each.keys not in gone and each.index not in gone]

    def _condemn(self, names: tuple[str, ...], time: int) -> None:
        for name in names:
            self.condemned.set(name.encode(), time.to_bytes(log.TIME_SIZE, "big"))

    def standing(self, identity: bytes) -> bytes | None:
        """Return the snapshot that stands for ``identity`` now: itself, unless its data was erased; None if it expired.

        Raises:
            IntegrityError: when the map of superseded snapshots leads in a circle.
        """
        last, time = self._last(identity)
        return last if time is None else None

    def expiry(self, identity: bytes) -> int | None:
        """Return when (microseconds since 1970) a snapshot, or what stands for it, was expired; None if it was not."""
        return self._last(identity)[1]

    def _last(self, identity: bytes) -> tuple[bytes, int | None]:
        for _step in range(STEPS):
            successor = self.superseded.get(identity)
            if successor is None:
                return identity, None
            time = log.expired(successor)
            if time is not None:
                return identity, time
            identity = successor
        raise IntegrityError("the map of superseded snapshots leads in a circle", where=identity.hex())

    def aside(self, name: str) -> int | None:
        """Return when (microseconds since 1970) a pack was put aside to which no ref leads yet; None if it was not."""
        time = self.packs.get(bytes.fromhex(name.removeprefix("packs/")))
        return int.from_bytes(time, "big") if time else None

    def is_doomed(self, name: str) -> bool:
        """Return whether a file of the store was condemned or dropped: nobody may add it or rely on it any more."""
        key = name.encode()
        return self.condemned.get(key) is not None or self.dropped.get(key) is not None

    def check_addable(self, action: log.AddPacks) -> None:
        """Check that an entry may add these packs now (rules 2, 3 and 5 of the protocol).

        Raises:
            ConflictError: when one of the names was condemned or dropped.
        """
        for name in files_of(action):
            if self.is_doomed(name):
                raise ConflictError(
                    "what this command wrote was condemned as garbage before it could be recorded",
                    where=name,
                    why="the command stood still for longer than the collector's grace period",
                    next="run it again; nothing was lost",
                )

    def check_log_key(self, name: str) -> None:
        """Check that an entry may be sealed under a log key (its file) that none was sealed under so far (rule 2).

        Raises:
            ConflictError: when it was condemned or dropped.
        """
        if self.is_doomed(name):
            raise ConflictError(
                "a new log key was condemned as garbage before an entry could be sealed under it",
                where=name,
                why="an erasure destroys what no entry names",
                next="run the command again; nothing was lost",
            )

    def check(self, actions: list[log.Action]) -> None:
        """Check that an entry with these actions may follow.

        Raises:
            ConflictError: when a ref is no longer where the writer saw it, when a pack was condemned, or when an
                erasure that is not the writer's own is under way.
            ErasedError: when a ref would move to an expired snapshot.
            ExistsError: when a new ref's name is below another's, or another's below it.
        """
        own = any(isinstance(action, log.Erasure) and action.planned == self.lock for action in actions)
        if self.lock and actions and not own:
            raise ConflictError(
                "an erasure is under way in this store",
                why="refs, packs and keys stay as they are until it is done",
                next="wait for it; if it was stopped, run 'dv erasure resume'",
            )
        for action in actions:
            if isinstance(action, log.AddPacks):
                self.check_addable(action)
            if isinstance(action, log.Erasure):
                self._check_phase(action)
        for move in actions:
            if isinstance(move, log.MoveRef) and self.ref(move.name) != move.old:
                raise ConflictError(
                    f"{describe_ref(move.name)} moved while this command ran",
                    where=move.name,
                    why="another dv changed it at the same time",
                    next="look at 'dv status', then run the command again",
                )
        self._check_expired(actions)
        self._check_names([action for action in actions if isinstance(action, log.MoveRef)])

    def _check_expired(self, actions: list[log.Action]) -> None:
        """Check that no ref moves to what was expired, and that nothing is expired which a ref names."""
        for action in actions:
            if isinstance(action, log.MoveRef) and action.new is not None and log.symbolic(action.new) is None:
                self.require_unexpired(action.new)
                if self.superseded.get(action.new) is not None:
                    raise ConflictError(
                        f"{describe_ref(action.name)} would move to a snapshot whose data was erased meanwhile",
                        where=action.new.hex(),
                        next="run the command again",
                    )
            elif isinstance(action, log.Supersede):
                gone = {old for old, new in action.pairs if log.expired(new) is not None}
                for name, value in self.ref_names("") if gone else ():
                    if value in gone:
                        raise ConflictError(
                            f"{describe_ref(name)} names a snapshot that was to be expired",
                            where=name,
                            next="run the command again",
                        )

    def require_unexpired(self, identity: bytes) -> None:
        """Refuse a snapshot that was expired.

        Raises:
            ErasedError: when it was.
        """
        time = self.expiry(identity)
        if time is not None:
            raise expired_error(identity, time)

    def pending(self) -> list[tuple[bytes, int, bytes]]:
        """Return (id, phase, announcing write id) of the erasures that were announced and are not over, by id."""
        steps = [(key, *log.step(value)) for key, value in self.erasures.items()]
        return [each for each in steps if each[1] in {log.ERASING, log.ERASED}]

    def _check_phase(self, action: log.Erasure) -> None:
        """Check that a step of an erasure follows from the one before (rules 6 and 9 of the protocol).

        Raises:
            ConflictError: when it was not announced, was announced anew by another, is over, or another is not.
        """
        known = self.erasures.get(action.erasure)
        phase, planned = log.step(known) if known is not None else (0, b"")
        if action.phase == log.ERASING:
            follows = phase in {0, log.ABORTED} and not self.pending()
        elif action.phase == log.FINISHED and action.planned == log.TAKEN_OVER:
            follows = phase in {0, log.ABORTED}
        else:
            # Finished may be said again, to keep another locator or none: what was outstanding elsewhere is done.
            before = {log.ERASED, log.FINISHED} if action.phase == log.FINISHED else {log.ERASING}
            follows = phase in before and planned == action.planned
        if not follows:
            raise ConflictError(
                "an erasure is not where this step of it begins",
                where=action.erasure.hex(),
                why="it was not announced, was aborted, or was announced again by another dv; or another is under way",
                next="look at what is pending, then begin again",
            )

    def _check_names(self, moves: list[log.MoveRef]) -> None:
        """Check the names that an entry brings: its new refs, and branches that a HEAD will make when it commits."""
        going = {move.name for move in moves if move.new is None}
        coming = {move.name for move in moves if move.old is None and move.new is not None}
        coming |= {name for move in moves if (name := log.symbolic(move.new)) is not None and self.ref(name) is None}
        for name in sorted(coming):
            self.require_free(name, going=going, coming=coming)

    def require_free(
        self, name: str, *, going: AbstractSet[str] = frozenset(), coming: AbstractSet[str] = frozenset()
    ) -> None:
        """Check that a ref's name and another's are not as a directory's and a file's in it: ``a`` and ``a/b``.

        Args:
            name: the ref to be made.
            going: refs that the same entry removes.
            coming: refs that the same entry makes; one of these below ``name`` finds ``name`` above itself.

        Raises:
            ExistsError: when there is such another.
        """
        parts = name.split("/")
        above = ["/".join(parts[:length]) for length in range(2, len(parts))]
        near = [each for each in above if each in coming or self.ref(each) is not None]
        near += [each for each, _value in self.ref_names(name + "/")]
        for other in near:
            if other not in going:
                raise ExistsError(
                    f"{describe_ref(other)} is in the way of {describe_ref(name)}",
                    why="a name cannot lie below another",
                    next="choose another name",
                )


def segment_of(action: log.AddPacks) -> log.Segment:
    """Return the segment that an entry adds."""
    return log.Segment(keys=action.keys, index=action.index, records=action.records, packs=len(action.packs))


def files_of(action: log.AddPacks) -> list[str]:
    """Return the names of the files that an entry adds."""
    return [action.keys, action.index, *(f"packs/{name.hex()}" for name in action.packs)]


def added_again(entry: log.Entry, doomed: set[str]) -> list[str]:
    """Return the files that an entry adds although they were condemned or dropped, and note those that it gives up."""
    found: set[str] = set()
    for action in entry.actions:
        match action:
            case log.AddPacks():
                found |= doomed.intersection(files_of(action))
            case log.Condemn() | log.Drop():
                doomed.update(action.names)
            case log.Checkpoint():
                doomed.update(action.condemn)
    return sorted(found)


def describe_ref(name: str) -> str:
    """Return a ref's name as people say it."""
    top, _, rest = name.partition("/")
    words = {
        "heads": f"branch {rest!r}",
        "tags": f"tag {rest!r}",
        "runs": f"run {rest}",
        "holds": f"hold {rest}",
        "stage": "the stage",
        "worktrees": "HEAD",
    }
    return words.get(top, name)


def expired_error(identity: bytes, time: int, *, what: str = "") -> ErasedError:
    """Return the error for a snapshot that was expired.

    Args:
        identity: the snapshot.
        time: when, in microseconds since 1970.
        what: what cannot be done for that; by default that the snapshot was expired.
    """
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=time)
    short = identity.hex()[:12]
    return ErasedError(
        what or f"snapshot {short} was expired",
        where=identity.hex(),
        why=f"'dv expire' dropped it from the history at {moment.isoformat(timespec='seconds')}".replace("+00:00", "Z"),
        next="run 'dv log' to see what is kept",
    )


def broken_chain(number: int, why: str) -> ChainError:
    """Return the error for an entry that does not follow from the one before it, or from what was seen before."""
    return ChainError(
        "the log does not hang together",
        where=log.file_name(number),
        why=why,
        next="compare with another copy of the store before you go on",
    )
