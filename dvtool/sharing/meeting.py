"""How the histories of two stores of a repository meet: what one of them has, and where either ends.

What a store has is what its own refs lead to by its own map of expired snapshots; that an object happens to lie in it
says nothing of what it leads to.  A history that was expired in either store ends there for what moves between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool import ids
from dvtool.formats import log, snapshot
from dvtool.history import graph, recorded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.formats.snapshot import Snapshot
    from dvtool.store.state import State
    from dvtool.store.store import Store

NAMED: Final = ("heads/", "tags/", "remotes/")
"""What the names of refs begin with that name snapshots for good, here or at a remote; runs lead to others."""


class Meeting:
    """What some snapshots of one store lead to that another does not have."""

    def __init__(
        self, source: Store, target: Store, tips: Iterable[bytes], *, here: Store, runs: Iterable[bytes] = ()
    ) -> None:
        """Walk from ``tips``, and from what ``runs`` name, to where both histories meet.

        Args:
            source: the store that has what the tips lead to.
            target: the store to whose refs they are to be added.
            tips: ids of snapshots.
            here: that of the two which is on this machine; where it has an object, the other is not asked.
            runs: ids of runs.

        Raises:
            IntegrityError: when a snapshot of the source is missing or damaged, or a run is.
        """
        self._source = source
        self._target = target
        self._stores = (here, target if here is source else source)
        self._read: dict[bytes, Snapshot] = {}
        self._sources: dict[bytes, list[bytes]] = {}
        tips = list(tips)
        named = self._named_by(runs)
        self.fresh = self._beyond([*tips, *named])
        """The snapshots that the target's refs do not lead to, by id."""
        parents = {parent for each in self.fresh.values() for parent in each.parents} | set(named)
        standing = set(graph.standing(parents, self.standing))
        self.border = standing - self.fresh.keys()
        """The snapshots that these and the runs come from, and that the target has with all they lead to."""
        self._known = self.border | (set(graph.standing(tips, self.standing)) - self.fresh.keys())
        expired = {parent for parent in parents if self._ends_at_source(parent)}
        said = source.state.superseded
        ended = {each for each in parents if said.get(each) is not None and target.state.superseded.get(each) is None}
        self.cut = {parent for parent in parents if target.state.expiry(parent) is not None} - expired
        """The snapshots before the fresh ones that the target has expired: what comes before them is not kept there."""
        self.endings = ended - self._reached(target.state, ended)
        """The snapshots that were expired or superseded in the source, and that the target does not have.

        It has to be told, or something there would lead to what is nowhere.
        """

    def standing(self, identity: bytes) -> bytes | None:
        """Return the snapshot that stands for another in both stores; None when either has expired it."""
        found = self._source.state.standing(identity)
        if found is None or self._target.state.expiry(found) is not None:
            return None
        return self._target.state.standing(found)

    def snapshot(self, identity: bytes) -> Snapshot:
        """Return a snapshot, from whichever store has it; raises as :meth:`Store.read_object`."""
        found = self._read.get(identity)
        if found is None:
            here, there = self._stores
            store = here if here.has(identity) or not there.has(identity) else there
            found = self._read[identity] = snapshot.decode(store.read_object(ids.SNAPSHOT, identity))
        return found

    def pairs(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return what the target's log is to say of :attr:`endings`."""
        return tuple((each, self._last_word(each)) for each in sorted(self.endings))

    def _last_word(self, identity: bytes) -> bytes:
        """Return what the source says of a snapshot in the end: which one stands for it, or when it was expired."""
        state = self._source.state
        time = state.expiry(identity)
        return log.to_expired(time) if time is not None else state.standing(identity) or identity

    def holds(self, state: State) -> bool:
        """Return whether all this is still so at a later state of the target."""
        wanted = self._known | self.endings
        return not wanted or self._reached(state, wanted) == self._known

    def _ends_at_source(self, identity: bytes) -> bool:
        value = self._source.state.superseded.get(identity)
        return value is not None and log.expired(value) is not None

    def _beyond(self, tips: list[bytes]) -> dict[bytes, Snapshot]:
        """Return the snapshots that ``tips`` lead to and the target's refs do not.

        Its runs, of which there may be very many, are only read where its other refs do not lead to all of them.
        """
        here, state = self._stores[0], self._target.state
        known = [value for value in _named(state) if here.has(value)]
        fresh = graph.beyond(tips, known, self.snapshot, self.standing)
        if fresh:
            named = self._named_by(value for value in recorded.values(state) if here.has(value))
            known += [each for each in named if here.has(each)]
            fresh = graph.beyond(tips, known, self.snapshot, self.standing)
        return fresh

    def _named_by(self, runs: Iterable[bytes]) -> list[bytes]:
        """Return the snapshots that runs name, each once; they are read here, or where else they are."""
        here, there = self._stores
        found: dict[bytes, None] = {}
        for identity in runs:
            if identity not in self._sources:
                store = here if here.has(identity) or not there.has(identity) else there
                self._sources[identity] = recorded.snapshots(store, [identity])
            found |= dict.fromkeys(self._sources[identity])
        return list(found)

    def _reached(self, state: State, wanted: set[bytes]) -> set[bytes]:
        """Return those of some snapshots that the target's refs lead to; what costs least is looked at first."""
        found: set[bytes] = set()
        for starts in (_named, self._named_by_near, self._named_by_far):
            if len(found) < len(wanted):
                found |= graph.reached(starts(state), wanted - found, self.snapshot, state.standing)
        return found

    def _named_by_near(self, state: State) -> list[bytes]:
        """Return the snapshots named by those of the target's runs that are on this machine."""
        return self._named_by(value for value in recorded.values(state) if self._stores[0].has(value))

    def _named_by_far(self, state: State) -> list[bytes]:
        """Return the snapshots named by the others, for each of which the other store may have to be asked."""
        return self._named_by(value for value in recorded.values(state) if not self._stores[0].has(value))


def _named(state: State) -> list[bytes]:
    """Return the snapshots that refs name."""
    return [value for name, value in state.ref_names("") if name.startswith(NAMED) and log.symbolic(value) is None]
