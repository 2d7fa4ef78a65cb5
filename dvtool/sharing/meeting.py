"""How the histories of two stores of a repository meet: what one of them has, and where either ends.

What a store has is what its own refs lead to by its own map of expired snapshots; that an object happens to lie in it
says nothing of what it leads to.  A history that was expired in either store ends there for what moves between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool import ids
from dvtool.formats import log, snapshot
from dvtool.history import graph

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.formats.snapshot import Snapshot
    from dvtool.store.state import State
    from dvtool.store.store import Store

NAMED: Final = ("heads/", "tags/", "remotes/")
"""What the names of refs begin with that name snapshots for good, here or at a remote."""


class Meeting:
    """What some snapshots of one store lead to that another does not have."""

    def __init__(self, source: Store, target: Store, tips: Iterable[bytes], *, here: Store) -> None:
        """Walk from ``tips`` to where both histories meet.

        Args:
            source: the store that has what the tips lead to.
            target: the store to whose refs they are to be added.
            tips: ids of snapshots.
            here: that of the two which is on this machine; where it has a snapshot, the other is not asked.

        Raises:
            IntegrityError: when a snapshot of the source is missing or damaged.
        """
        self._source = source
        self._target = target
        self._stores = (here, target if here is source else source)
        self._read: dict[bytes, Snapshot] = {}
        known = [value for value in _named(target.state) if here.has(value)]
        self.fresh = graph.beyond(tips, known, self.snapshot, self.standing)
        """The snapshots that the target's refs do not lead to, by id."""
        parents = {parent for each in self.fresh.values() for parent in each.parents}
        standing = set(graph.standing(parents, self.standing))
        self.border = standing - self.fresh.keys()
        """The snapshots that they descend from, and that the target has with all they lead to."""
        expired = {parent for parent in parents if self._ends_at_source(parent)}
        ended = {parent for parent in expired if target.state.expiry(parent) is None}
        self.cut = {parent for parent in parents if target.state.expiry(parent) is not None} - expired
        """The snapshots before the fresh ones that the target has expired: what comes before them is not kept there."""
        self.endings = ended - self._reached(target.state, ended)
        """The snapshots that were expired in the source, and that the target does not have: it has to be told."""

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
        said = self._source.state.superseded
        return tuple((each, value) for each in sorted(self.endings) if (value := said.get(each)) is not None)

    def holds(self, state: State) -> bool:
        """Return whether all this is still so at a later state of the target."""
        wanted = self.border | self.endings
        return not wanted or self._reached(state, wanted) == self.border

    def _ends_at_source(self, identity: bytes) -> bool:
        value = self._source.state.superseded.get(identity)
        return value is not None and log.expired(value) is not None

    def _reached(self, state: State, wanted: set[bytes]) -> set[bytes]:
        """Return those of some snapshots that the target's refs lead to."""
        if not wanted:
            return set()
        return graph.reached(_named(state), wanted, self.snapshot, state.standing)


def _named(state: State) -> list[bytes]:
    """Return the snapshots that refs name."""
    return [value for name, value in state.ref_names("") if name.startswith(NAMED) and log.symbolic(value) is None]
