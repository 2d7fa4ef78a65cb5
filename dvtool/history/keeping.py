"""Holds what a command is about to refer to against what is being collected (rule 3 of the protocol).

A pack that nothing needed may be condemned, or gone already, while a snapshot that lies in it can still be named by its
id.  A ref that moved there would lead to something that is about to be deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool import ids
from dvtool.errors import IntegrityError, NotFoundError
from dvtool.formats import log, pack, snapshot
from dvtool.history import graph, recorded
from dvtool.history.marking import Marks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dvtool.effects import Progress
    from dvtool.store.state import State
    from dvtool.store.store import Store


class Reliance:
    """The snapshots, stages and runs that a command named, and the check that each entry it appends has to pass."""

    def __init__(self, store: Store, progress: Progress, *, without_data: Callable[[], bool] = lambda: False) -> None:
        """Begin with none, and take part in every entry that the store's log is about to get.

        Args:
            store: the store.
            progress: told of long work.
            without_data: whether another place has the chunks that are not here, as in a clone without data.
        """
        self._without_data = without_data
        self._store = store
        self._progress = progress
        self._named: set[bytes] = set()
        self._base: tuple[str, bytes] | None = None
        self._parents: dict[bytes, tuple[bytes, ...]] = {}
        self._checked = -1
        store.log.checks.append(self.check)

    def name(self, identities: Iterable[bytes]) -> None:
        """Note the snapshots, stages and runs that what is written next may refer to, in the place of those before."""
        self._named = set(identities)
        self._checked = -1

    def stand_on(self, ref: str, identity: bytes | None) -> None:
        """Note the snapshot that a ref leads to now, on which everything is built that is written next.

        It is kept while the ref leads there; should another process move the ref meanwhile, it is checked like those
        that are named.  None takes the note back; names that were given before are forgotten.
        """
        self._base = (ref, identity) if identity is not None else None
        self.name(())

    def check(self, state: State) -> None:
        """Check that all of them are kept, with everything that they lead to.

        That is so without a further look where no pack is condemned or was dropped, and for what refs lead to.

        Raises:
            ErasedError: when one was expired.
            NotFoundError: when one was collected as garbage, or is being collected.
        """
        while self._checked != state.number:
            number = state.number
            try:
                self._check(state)
            except IntegrityError:
                # What refs led to then may have been collected since; what they lead to now was not.
                state = self._store.refresh()
                if state.number == number:
                    raise

    def _check(self, state: State) -> None:
        wanted = self._named | self._moved(state)
        expired = {identity for identity in wanted if state.expiry(identity) is not None}
        self._named -= expired  # refused, they are not in the way of what is written later
        for identity in sorted(expired):
            state.require_unexpired(identity)
        if wanted and (state.condemned.has(b"packs/") or state.dropped.has(b"packs/")):
            left = wanted - self._reached(state, wanted)
            named = self._named & left
            self._named -= left  # as above
            for identity in sorted(left):
                self._require(identity)
            self._named |= named
        self._checked = state.number

    def _moved(self, state: State) -> set[bytes]:
        """Return what this command stands on, if the ref no longer leads there."""
        if self._base is None:
            return set()
        ref, identity = self._base
        value = state.ref(ref)
        target = log.symbolic(value)
        return set() if identity == (state.ref(target) if target is not None else value) else {identity}

    def _reached(self, state: State, wanted: set[bytes]) -> set[bytes]:
        """Return those of the ids that a ref names, or a snapshot that a ref leads to.

        A long history is walked only as far as it has to be, and read once in the life of a process.  Runs, of which
        there may be very many, are read last.
        """
        values = {value for _name, value in state.ref_names("") if log.symbolic(value) is None}
        left = wanted - values
        seen: set[bytes] = set()
        runs = recorded.values(state) if left else []
        pending = [*runs, *(values.difference(runs))] if left else []
        while pending and left:
            identity = pending.pop()
            if identity in seen:
                continue
            seen.add(identity)
            if identity not in self._parents:
                found = self._led_to(identity)
                if found is None:
                    continue
                self._parents[identity] = found
            left.discard(identity)
            pending += graph.standing(self._parents[identity], state.standing)
        return wanted - left

    def _led_to(self, identity: bytes) -> tuple[bytes, ...] | None:
        """Return the snapshots that a snapshot or a run names; None for anything else."""
        place = self._store.segments.find(identity)
        kind = place[1].flags & pack.KIND_MASK if place is not None else None
        if kind == ids.SNAPSHOT:
            return snapshot.decode(self._store.read_object(kind, identity)).parents
        if kind == ids.RUN:
            return tuple(recorded.snapshots(self._store, [identity]))
        return None

    def _require(self, identity: bytes) -> None:
        marks = Marks(self._store, self._progress)
        if self._without_data():
            marks.pass_over_lacking()
        why = "nothing led to it any more, so parts of it were collected as garbage"
        try:
            marks.follow([identity])
        except IntegrityError as error:
            why = f"{why} ({error.what})"
        else:
            if not marks.unsafe:
                return
            why = "nothing led to it any more, so it is being collected as garbage"
        short = identity.hex()[:16]
        if recorded.is_run(self._store, identity):
            raise NotFoundError("a run is not kept any more", where=identity.hex(), why=why)
        raise NotFoundError(
            f"snapshot {short} is not kept any more",
            where=identity.hex(),
            why=why,
            next=f"take out what is still there with 'dv archive {short} DIR', and add it again",
        )
