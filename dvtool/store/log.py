"""Reads the log up to its head and appends to it.

Appending creates entry *n + 1* exclusively.  Losing the race for a number is no conflict: the writer folds again,
checks its expectations against the new state and tries the next number.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from dvtool.errors import (
    MEND,
    ConflictError,
    DvError,
    ExistsError,
    FormatError,
    IntegrityError,
    KeyAccessError,
    NotFoundError,
    StorageError,
)
from dvtool.formats import log, sealed
from dvtool.store import keys
from dvtool.store.state import (
    ChainError,
    State,
    TableReader,
    added_again,
    broken_chain,
    describe_ref,
    segment_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import msgspec

    from dvtool.effects import Clock, Entropy
    from dvtool.storage.backend import Backend
    from dvtool.store.keys import LogKey, Wrapping

ATTEMPTS: Final = 1000
"""Lost races before giving up; eight busy writers lose a few at most."""
_ASTRAY: Final = "it does not follow from what was seen before"


class _KeyGoneError(IntegrityError):
    """The key that an entry is sealed under was destroyed, or lost."""


class Log:
    """The log of one store."""

    def __init__(self, backend: Backend, store: bytes, wrap: Wrapping, *, clock: Clock, entropy: Entropy) -> None:
        """Remember where the log is; nothing is read yet."""
        self._backend = backend
        self._store = store
        self._wrap = wrap
        self._clock = clock
        self._entropy = entropy
        self._keys: dict[bytes, LogKey] = {}
        self._state: State | None = None
        self._hint = 0
        self._seen = (0, b"")
        self.reader: TableReader | None = None
        self.origin = ""
        """The worktree that entries are made from."""
        self.checks: list[Callable[[State], None]] = []
        """Called with the state that an entry will follow; what one of them raises keeps it from being written."""
        self.base: dict[str, bytes | None] = {}
        """What refs were when the work on the next entry began, for those that must not have moved meanwhile."""

    def hint(self, number: int) -> None:
        """Take a guess at the number of the newest checkpoint; a wrong one costs time and nothing else."""
        self._hint = number

    def fold(self) -> State:
        """Return the state at the head of the log, reading only what is new.

        Raises:
            IntegrityError: when an entry is damaged or missing in the middle, the chain of hashes is broken, or the log
                is no longer the one that was folded before.
            FormatError: when an entry is of a newer version.
        """
        if self._state is None and self._hint:
            try:
                return self._fold()
            except IntegrityError:
                self._hint = 0  # so old a checkpoint that what its tables need has been collected, perhaps
        return self._fold()

    def _fold(self) -> State:
        state = self._state
        anew = state is None
        cold = anew and not self._hint
        if state is None:
            state = self._start()
        else:
            self._seen = (state.number, state.head)
        while True:
            blob = self._read(state.number + 1)
            if blob is None:
                break
            try:
                opened = None if log.is_stub(blob) else self._open(state.number + 1, blob)
            except _KeyGoneError:
                opened = None  # as good as a stub: its key went with an erasure (rule 8 of the protocol)
            if opened is None:
                # An erasure swept behind this reader: only a checkpoint can be trusted from here.
                before, state = state.number, self._from_checkpoint(self._gallop(state.number + 1))
                if state.number <= before:
                    raise IntegrityError(
                        "the log ends in entries that nobody can open",
                        where=log.file_name(before + 1),
                        next=MEND,
                    )
                continue
            entry, label = opened
            try:
                state.apply(entry, log.chain(blob), label)
            except ChainError:
                raise  # nothing was applied
            except DvError as error:
                self._state = None  # half of the entry was applied
                if anew or not isinstance(error, IntegrityError):
                    raise
                self._hint = 0
                return self._fold()  # what the tables of so old a checkpoint need was collected since, perhaps
        self._refuse_gap(state.number, thorough=cold)
        if anew:
            self._refuse_another(state)
        self._state = state
        return state

    def _refuse_another(self, state: State) -> None:
        """Refuse a log that is not the one that was folded here before."""
        number, head = self._seen
        if number and (state.number < number or self.is_forked(number, head)):
            why = "this entry was read before and is gone, or is another now: the store was rolled back or forked"
            raise broken_chain(number, why)

    def _refuse_gap(self, last: int, *, thorough: bool) -> None:
        """Refuse to take a missing entry for the end of the log.

        Who cannot remember how far the log went looks at all names once; later one look behind the gap is enough,
        because entries before the last one seen are never asked for again.
        """
        beyond = self._backend.exists(log.file_name(last + 2)) and not self._backend.exists(log.file_name(last + 1))
        if thorough and not beyond:
            # Others may append while the names are read: an entry that is there now was no gap.
            beyond = newest_name(self._backend) > last and self._read(last + 1) is None
        if beyond:
            raise IntegrityError(
                "a log entry is missing",
                where=log.file_name(last + 1),
                why="there are later ones",
                next=MEND,
            )

    def is_forked(self, number: int, head: bytes) -> bool:
        """Return whether entry ``number`` is another than the one with this chain hash; a stub tells nothing."""
        blob = self._read(number)
        return blob is None or (not log.is_stub(blob) and log.chain(blob) != head)

    def require_course(self, number: int, head: bytes, *, last: int | None = None) -> None:
        """Refuse a log unless each entry from ``number`` on opens with the keys here and follows the one before it.

        Whoever opens a store with other keys than before asks this: a checkpoint vouches for what is before it only as
        far as its writer can be trusted, and only who knows the keys of an entry can make keys that open it.  A stub
        opens for everybody, and a key that is gone proves nothing, so neither passes.

        Args:
            number: of the entry that was seen with the keys before.
            head: its chain hash.
            last: the number of the entry to end with; by default the head.

        Raises:
            IntegrityError: when an entry is missing, a stub, damaged, or follows another than the one before it.
            KeyAccessError: when one does not open with the keys here.
            StorageError: when the place refuses.
        """
        state = self.fold() if last is None else None
        end = state.number if state is not None else last or 0
        before = head
        for at in range(number, end + 1):
            blob = self._read(at)
            if blob is None or log.is_stub(blob):
                why = "it is missing" if blob is None else "it was emptied"
                raise IntegrityError("a log entry cannot be followed", where=log.file_name(at), why=why, next=MEND)
            entry, _label = self._open(at, blob)
            if (log.chain(blob) if at == number else entry.previous) != before:
                raise broken_chain(at, _ASTRAY)
            before = log.chain(blob)
        if state is not None and before != state.head:
            raise broken_chain(end, _ASTRAY)

    def entries(self, newest: int | None = None, *, whole: bool = False) -> Iterator[log.Entry]:
        """Yield the entries that can still be read, newest first.

        Args:
            newest: the number of the first one; by default the head, up to which the log is then folded.
            whole: take nothing but a stub for the end; for who destroys what no entry speaks of.

        Raises:
            IntegrityError: with ``whole``, when an entry or its key is missing and no erasure took it away.
        """
        number = self.fold().number if newest is None else newest
        while number > 0:
            blob = self._read(number)
            if blob is None and whole:
                raise IntegrityError("a log entry is missing", where=log.file_name(number), next=MEND)
            if blob is None or log.is_stub(blob):
                return
            try:
                entry, _label = self._open(number, blob)
            except _KeyGoneError:
                if whole and not self.fold().erasures.items():
                    raise
                return
            yield entry
            number -= 1

    def faults(self) -> Iterator[tuple[str, str]]:
        """Read every entry from the first to the head and yield (file, what is wrong with it)."""
        head = self.fold().number
        before: bytes | None = None
        doomed: set[str] = set()
        for number in range(1, head + 1):
            name = log.file_name(number)
            blob = self._read(number)
            if blob is None:
                yield name, "a log entry is missing"
            elif log.is_stub(blob):
                blob = None
            else:
                try:
                    entry, _label = self._open(number, blob)
                    if before is not None and entry.previous != log.chain(before):
                        yield name, "it does not name the entry before it"
                    again = added_again(entry, doomed)
                    if again:
                        more = f" and {len(again) - 1:,} more" if len(again) > 1 else ""
                        yield name, f"it adds what was condemned or dropped before: {again[0]}{more}"
                except _KeyGoneError:
                    blob = None
                except DvError as error:
                    yield name, error.what
            before = blob

    def replay(self) -> State:
        """Fold every entry from the first one on, without the tables of any checkpoint, and go on from there.

        That is the same state, and takes longer. A checkpoint spares the time, and has to be written anew where its
        tables are lost.

        Raises:
            IntegrityError: when an entry is missing or damaged, or an erasure took some away.
        """
        state = State(self._table_reader(), replaying=True)
        while (blob := self._read(state.number + 1)) is not None:
            if log.is_stub(blob):
                raise IntegrityError(
                    "the log does not begin at its beginning any more",
                    where=log.file_name(state.number + 1),
                    why="an erasure took entries away",
                )
            entry, label = self._open(state.number + 1, blob)
            state.apply(entry, log.chain(blob), label)
        self._refuse_gap(state.number, thorough=True)
        self._state = state
        return state

    def bridge(self) -> list[int]:
        """Fold all entries that can be opened, pass over the others, and go on from there; return the others' numbers.

        What those alone did to refs is lost by it, and the files that they add are named by nothing. It is the way on
        where the log cannot be folded, and nobody has another copy of what it lacks.

        Raises:
            ConflictError: when the log knows of an erasure: what it lacks may have been taken away on purpose.
            IntegrityError: when entries that follow each other do not hang together.
            KeyAccessError: when no entry opens with the key that is here.
        """
        last = newest_name(self._backend)
        lost: list[int] = []
        opened: list[tuple[log.Entry, bytes, bytes]] = []
        begun = False
        failed: DvError | None = None
        for number in range(last, 0, -1):
            blob = self._read(number)
            if blob is not None and log.is_stub(blob):
                continue
            try:
                entry, label = self._open(number, blob or b"")
            except DvError as error:
                lost.append(number)
                if not isinstance(failed, KeyAccessError):
                    failed = error
                continue
            if not begun:
                opened.append((entry, log.chain(blob or b""), label))
                begun = any(isinstance(action, log.Checkpoint) for action in entry.actions)
        if not opened and isinstance(failed, KeyAccessError):
            raise failed  # it is the key that is another: not one entry of the log is lost
        state = State(self._table_reader())
        for entry, head, label in reversed(opened):
            if entry.number != state.number + 1:
                state.number, state.head = entry.number - 1, entry.previous
            state.apply(entry, head, label)
        if state.erasures.items():
            raise ConflictError(
                "entries of the log are lost, and there was an erasure in this store",
                why="what is missing may have been taken away on purpose",
                next="take a copy of the store that has followed the erasure",
            )
        if last and state.number != last:
            state.number, state.head = last, log.chain(log.STUB)
        self._state = state
        return sorted(lost)

    def accepts(self, number: int, blob: bytes) -> bool:
        """Return whether a file from another copy of the store can stand as entry ``number`` here.

        It has to open, and to hang together with those of its neighbours that are here.  A stub cannot: it opens for
        everybody, and in the place of an entry that somebody lost it would hide what happened.
        """
        try:
            entry, _label = self._open(number, blob)
        except DvError:
            return False
        before, after = self._read(number - 1), self._read(number + 1)
        if before is not None and not log.is_stub(before) and log.chain(before) != entry.previous:
            return False
        try:
            return after is None or log.is_stub(after) or self._open(number + 1, after)[0].previous == log.chain(blob)
        except DvError:
            return True  # the next one is damaged as well, and is held against this one when its turn comes

    def described(self) -> list[tuple[log.Segment, tuple[bytes, ...]]]:
        """Return the live segments and, of those added since the newest checkpoint, their packs; reads no table.

        Nothing is returned when an entry that would tell cannot be opened.
        """
        entries: list[log.Entry] = []
        number = self._gallop(1) if self._backend.exists(log.file_name(1)) else 0
        try:
            while number > 0:
                blob = self._read(number)
                if blob is None or log.is_stub(blob):
                    break
                entries.append(self._open(number, blob)[0])
                if any(isinstance(action, log.Checkpoint) for action in entries[-1].actions):
                    break
                number -= 1
        except DvError:
            return []
        found: dict[str, tuple[log.Segment, tuple[bytes, ...]]] = {}
        for entry in reversed(entries):
            for action in entry.actions:
                match action:
                    case log.Checkpoint():
                        found = {segment.index: (segment, ()) for segment in action.segments}
                    case log.AddPacks():
                        found[action.index] = (segment_of(action), action.packs)
                    case log.Drop():
                        for name in action.names:
                            found.pop(name, None)
                    case _:
                        pass
        return list(found.values())

    def append(
        self,
        operation: str,
        build: Callable[[State], list[log.Action]],
        *,
        sections: dict[str, msgspec.Raw] | None = None,
        label: bytes = b"",
        write: bytes = b"",
    ) -> log.Entry:
        """Append one entry and return it.

        Args:
            operation: one word for the operation log.
            build: returns the actions for a given state; called again after each lost race, so it has no other effect
                and checks its expectations against the state it is handed.
            sections: what else the entry says, for those who know of it.
            label: the log key that it and those after it are sealed under; by default that of the entry before.
            write: the id by which its writer knows it again, where that has to be known before; 16 random bytes.

        Raises:
            ConflictError: whatever ``build`` or the fold's own checks raise, or because ``label`` was condemned.
            StorageError: when the entry cannot be written.
        """
        write = write or self._entropy.bytes(log.WRITE_ID_SIZE)
        for attempt in range(ATTEMPTS):
            state = self.fold()
            number = state.number
            actions = build(state)
            state.check(actions)
            if label:
                state.check_log_key(keys.log_key_name(label))
            moved = [action for action in actions if isinstance(action, log.MoveRef)]
            if moved:
                for check in self.checks:
                    check(state)
                self._refuse_moved(moved)
            if state.number != number:
                continue  # a check has folded what others wrote meanwhile, and the actions are for what was before
            entry = self._entry(state, operation, actions, write, sections or {})
            under = label or state.label or self._first_label()
            name = log.file_name(entry.number)
            blob = sealed.seal(
                sealed.LOG_ENTRY,
                self._key(under).key,
                under,
                self._entropy.bytes(sealed.SALT_SIZE),
                self._store + name.encode(),
                log.encode(entry),
            )
            try:
                self._backend.create(name, blob)
            except ExistsError:
                # Lost the race, or an earlier try of ours arrived although its reply did not.
                # The fold remembers recent write ids, because an erasure may have stubbed the entry since.
                if any(known == write for _number, known in self.fold().writes):
                    self._built_on(moved)
                    return entry
                jitter = self._entropy.bytes(1)[0] / 255
                time.sleep(min(0.2, 0.001 * 2 ** min(attempt, 8)) * jitter)
                continue
            state.apply(entry, log.chain(blob), under)
            self._built_on(moved)
            return entry
        raise StorageError(
            "the log is too busy",
            why=f"{ATTEMPTS} other writers were faster",
            next="run the command again when fewer are at work",
        )

    def _built_on(self, moved: list[log.MoveRef]) -> None:
        """Take refs for what an entry of this work has made of them."""
        self.base.update({move.name: move.new for move in moved if move.name in self.base})

    def _refuse_moved(self, moved: list[log.MoveRef]) -> None:
        """Refuse to move a ref that is no longer what it was when this work began, however new what is known of it.

        Raises:
            ConflictError: at the first.
        """
        for move in moved:
            if move.name in self.base and self.base[move.name] != move.old:
                raise ConflictError(
                    f"{describe_ref(move.name)} was moved by another command meanwhile",
                    where=move.name,
                    next="run the command again; nothing was lost",
                )

    def _entry(
        self,
        state: State,
        operation: str,
        actions: list[log.Action],
        write: bytes,
        sections: dict[str, msgspec.Raw],
    ) -> log.Entry:
        number = state.number + 1
        has_checkpoint = any(isinstance(action, log.Checkpoint) for action in actions)
        return log.Entry(
            version=log.VERSION,
            store=self._store,
            number=number,
            previous=state.head,
            write=write,
            # Never behind the entry before, so that the operation log reads in order under a clock that jumps back.
            time=max(self._clock.now(), state.time),
            operation=operation,
            checkpoint=number if has_checkpoint else state.checkpoint,
            actions=tuple(actions),
            sections={**log.made_from(self.origin), **sections},
        )

    def _start(self) -> State:
        state = State(self._table_reader())
        if self._hint > 1:
            try:
                return self._from_checkpoint(self._hint)
            except DvError:
                self._hint = 0
        if self._read(1) is None:
            return state
        head = self._gallop(1)
        return self._from_checkpoint(head)

    def _from_checkpoint(self, number: int) -> State:
        """Return the state at the newest checkpoint that entry ``number`` knows of, or before the first entry."""
        blob = self._read(number)
        if blob is None or log.is_stub(blob):
            raise IntegrityError("a log entry is missing", where=log.file_name(number), next=MEND)
        entry, label = self._open(number, blob)
        state = State(self._table_reader())
        if entry.checkpoint == 0:
            return state
        if entry.checkpoint != number:
            number = entry.checkpoint
            blob = self._read(number)
            if blob is None or log.is_stub(blob):
                raise IntegrityError("the checkpoint of the log is missing", where=log.file_name(number), next=MEND)
            entry, label = self._open(number, blob)
        if not any(isinstance(action, log.Checkpoint) for action in entry.actions):
            raise IntegrityError("a log entry names a checkpoint that is none", where=log.file_name(number), next=MEND)
        state.apply(entry, log.chain(blob), label)
        return state

    def _gallop(self, low: int) -> int:
        """Return the number of the head, given that entry ``low`` exists; numbers have no gaps."""
        step = 1
        while self._backend.exists(log.file_name(low + step)):
            low += step
            step *= 2
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            if self._backend.exists(log.file_name(middle)):
                low = middle
            else:
                high = middle
        return low

    def begins(self, label: bytes) -> int:
        """Return the number of the first entry under the log key of the newest one; all after it are under it too."""
        low, high = 0, self.fold().number
        while high - low > 1:
            middle = (low + high) // 2
            try:
                found = sealed.label_of(self._read(middle) or b"", sealed.LOG_ENTRY, what="log entry")
            except (FormatError, IntegrityError):
                found = b""  # a stub, or damaged: the entries under a new log key are neither
            low, high = (low, middle) if found == label else (middle, high)
        return high

    def _read(self, number: int) -> bytes | None:
        try:
            return self._backend.read(log.file_name(number))
        except NotFoundError:
            return None

    def _open(self, number: int, blob: bytes) -> tuple[log.Entry, bytes]:
        name = log.file_name(number)
        what = f"log entry {number}"
        try:
            label = sealed.label_of(blob, sealed.LOG_ENTRY, what=what)
            context = self._store + name.encode()
            key = self._key(label)
            key.require(number, what)
            entry = log.decode(sealed.open_blob(sealed.LOG_ENTRY, key.key, context, blob, what=what))
        except (IntegrityError, FormatError, KeyAccessError) as error:
            error.where = error.where or name
            error.next = error.next or MEND
            raise
        if entry.number != number or entry.store != self._store:
            raise IntegrityError(
                f"{what} says it is another", where=name, why="it was moved or copied from elsewhere", next=MEND
            )
        return entry, label

    def _key(self, label: bytes) -> LogKey:
        if label not in self._keys:
            try:
                self._keys[label] = keys.read_log_key(self._backend, self._store, self._wrap, label)
            except KeyAccessError as error:
                if self._state is not None:  # entries have been read: it is not that the key is another store's
                    error.why = "the keys of this store were replaced while this command ran"
                    error.next = "run the command again; nothing was lost"
                raise
            except NotFoundError as error:
                raise _KeyGoneError(
                    "a log key is missing",
                    where=error.where,
                    why="entries of the log cannot be opened without it",
                    next=MEND,
                ) from None
        return self._keys[label]

    def _first_label(self) -> bytes:
        label = keys.write_log_key(self._backend, self._store, self._wrap, self._entropy)
        self._backend.flush()
        return label

    def _table_reader(self) -> TableReader:
        if self.reader is None:
            raise RuntimeError("the log was opened without a reader for its tables")
        return self.reader


def newest_name(backend: Backend) -> int:
    """Return the highest number that a file of a log has by its name, whatever is in it; 0 where there is none."""
    return max(filter(None, map(log.number_of, backend.names("log"))), default=0)
