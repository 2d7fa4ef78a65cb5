"""Which snapshots a history can do without, and what the operation log cannot bring back once they are expired."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.errors import DvError
from dvtool.formats import log, pack, snapshot, stage
from dvtool.history import graph, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from dvtool.formats.snapshot import Snapshot
    from dvtool.store.state import State
    from dvtool.store.store import Store

BRANCHES: Final = ("heads/", "remotes/", "worktrees/")
"""Refs from which the newest snapshots are counted; the others keep what they name, and nothing before it."""
OTHERS: Final = ("stage/", "tags/", recorded.PREFIX)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept besides what refs name: what is not older than ``before`` (microseconds), or the newest ``last``."""

    before: int | None = None
    last: int | None = None


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """A ref, the snapshots that it names, and which it keeps that no ref before it in the list does."""

    ref: str
    names: tuple[bytes, ...]
    keeps: tuple[bytes, ...]


class Expiry(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule comes to: snapshots that go, each after those that it descends from, and which ref keeps which.

    ``forgotten`` are those among them that only the operation log still leads to; of others of that kind ``spared``
    counts those that stay.
    """

    going: tuple[bytes, ...]
    forgotten: frozenset[bytes]
    kept: tuple[Keeping, ...]
    spared: int


class History:
    """The snapshots of a store as an expiry must know them: each is read once, however often it plans."""

    def __init__(self, store: Store) -> None:
        """Start with nothing read."""
        self._store = store
        self._read: dict[bytes, Snapshot] = {}
        self._logged: set[bytes] = set()
        self._sources: dict[bytes, list[bytes]] = {}
        self._lost: set[bytes] = set()
        self._seen = 0

    def time(self, identity: bytes) -> int:
        """Return when a snapshot was made, in microseconds since 1970."""
        return self.read(identity).time

    def read(self, identity: bytes) -> Snapshot:
        """Return a snapshot, without its words.

        Raises:
            IntegrityError: when it is missing or damaged.
        """
        found = self._read.get(identity)
        if found is None:
            whole = snapshot.decode(self._store.read_object(ids.SNAPSHOT, identity))
            found = msgspec.structs.replace(whole, author="", message="", settings=(), sections={})
            self._read[identity] = found
        return found

    def _is_readable(self, identity: bytes) -> bool:
        try:
            self.read(identity)
        except DvError:
            return False
        return True

    def plan(self, rule: Rule) -> Expiry:
        """Return what a rule comes to in the store as it is now.

        What a ref names stays.  So does, from each branch, the newest so many, or whatever is not older than a date.
        A snapshot counts as no older than what it descends from, whatever its clock said; so from every snapshot that
        stays there is a way up to a ref that leads over snapshots that stay.

        Raises:
            IntegrityError: when a snapshot is missing or damaged: nobody can tell then what it leads to.
        """
        while True:
            state = self._store.refresh()
            number = state.number
            found = self._plan(rule, state)
            if state.number == number:  # else a state between two was looked at
                return found

    def _plan(self, rule: Rule, state: State) -> Expiry:
        named = dict(self._named(state))
        tips = list(dict.fromkeys(itertools.chain.from_iterable(named.values())))
        self._lost = set()
        order = self._ancestors_first(tips, state)
        reached = set(order)
        left = [identity for identity in self._once_named(state) if identity not in reached]
        order = self._ancestors_first([*tips, *left], state, strict=reached)
        young = self._young(order, state, rule)
        kept = self._kept(named, young, state, rule)
        stay = {identity for keeping in kept for identity in keeping.keeps}
        spared = self._spared(set(order) - reached, young, state, rule) - stay
        going = tuple(identity for identity in order if identity not in stay and identity not in spared)
        return Expiry(going=going, forgotten=frozenset(going) - reached, kept=tuple(kept), spared=len(spared))

    def whole(self, going: Iterable[bytes], agreed: AbstractSet[bytes]) -> list[bytes]:
        """Return those of the snapshots that go (ancestors first) on which was agreed, with all before them that go.

        Others would leave ancestors behind to which nothing leads, though they are not expired.
        """
        stay: set[bytes] = set()
        found = []
        state = self._store.state
        for identity in going:
            if identity in agreed and stay.isdisjoint(self._parents(identity, state)):
                found.append(identity)
            else:
                stay.add(identity)
        return found

    def _named(self, state: State) -> Iterator[tuple[str, tuple[bytes, ...]]]:
        """Yield (ref, the snapshots that it names), branches first."""
        for prefix in (*BRANCHES, *OTHERS):
            for name, value in state.ref_names(prefix):
                if log.symbolic(value) is not None:
                    continue  # the branch that it follows is a ref of its own
                if prefix == "stage/":
                    merging = stage.decode(self._store.read_object(ids.STAGE, value)).merging
                    if merging:
                        yield name, merging
                elif prefix == recorded.PREFIX:
                    sources = graph.standing(self._named_by(value), state.standing)
                    if sources:
                        yield name, tuple(dict.fromkeys(sources))
                else:
                    yield name, (value,)

    def _once_named(self, state: State) -> list[bytes]:
        """Return the snapshots that refs had at any time of which the log still tells, if they are still there.

        Those that a run names which is gone, or was written anew, are among them.
        """
        for entry in self._store.log.entries(state.number):
            if entry.number <= self._seen:
                break
            moves = (action for action in entry.actions if isinstance(action, log.MoveRef))
            values = {value for move in moves for value in (move.old, move.new) if value is not None}
            for value in values:
                if log.symbolic(value) is None:
                    self._logged.add(value)
                    self._logged.update(self._once_named_by(value))
        self._seen = state.number
        found = []
        for identity in sorted(self._logged):
            place = self._store.segments.find(identity)
            is_snapshot = place is not None and place[1].flags & pack.KIND_MASK == ids.SNAPSHOT
            if is_snapshot and state.standing(identity) == identity:
                found.append(identity)
        return found

    def _named_by(self, identity: bytes) -> list[bytes]:
        """Return the snapshots that a run names."""
        found = self._sources.get(identity)
        if found is None:
            found = self._sources[identity] = recorded.snapshots(self._store, [identity])
        return found

    def _once_named_by(self, identity: bytes) -> list[bytes]:
        """Return the snapshots that a run names which may have been collected; nothing where it is none, or gone."""
        try:
            return self._named_by(identity) if recorded.is_run(self._store, identity) else []
        except DvError:
            return []

    def _standing(self, state: State) -> Callable[[bytes], bytes | None]:
        def standing(identity: bytes) -> bytes | None:
            found = state.standing(identity)
            return None if found in self._lost else found

        return standing

    def _parents(self, identity: bytes, state: State) -> list[bytes]:
        return graph.standing(self.read(identity).parents, self._standing(state))

    def _ancestors_first(
        self, tips: Iterable[bytes], state: State, strict: AbstractSet[bytes] | None = None
    ) -> list[bytes]:
        """Return everything that ``tips`` lead to, each after those that it descends from.

        Args:
            tips: where to start.
            state: where the store stands.
            strict: what must be readable, all by default; of the rest, some may have been collected as garbage already.
        """
        order: dict[bytes, None] = {}
        pending = [(tip, False) for tip in reversed(list(tips))]
        met: set[bytes] = set()
        while pending:
            identity, is_left = pending.pop()
            if is_left:
                order[identity] = None
            elif identity not in met:
                met.add(identity)
                if strict is not None and identity not in strict and not self._is_readable(identity):
                    self._lost.add(identity)
                    continue
                pending.append((identity, True))
                pending += [(parent, False) for parent in self._parents(identity, state)]
        return list(order)

    def _young(self, order: list[bytes], state: State, rule: Rule) -> set[bytes]:
        """Return the snapshots that a date keeps: those not older than it, and what descends from them."""
        young: set[bytes] = set()
        if rule.before is not None:
            for identity in order:
                if self.time(identity) >= rule.before or not young.isdisjoint(self._parents(identity, state)):
                    young.add(identity)
        return young

    def _kept(self, named: dict[str, tuple[bytes, ...]], young: set[bytes], state: State, rule: Rule) -> list[Keeping]:
        found = []
        taken: set[bytes] = set()
        for ref, names in named.items():
            keeps = set(names)
            if rule.before is not None:
                keeps |= self._below(names, young, taken, state)
            elif ref.startswith(BRANCHES):
                keeps |= set(itertools.islice(self._walk(names, state), rule.last))
            keeps -= taken
            taken |= keeps
            found.append(Keeping(ref=ref, names=names, keeps=tuple(sorted(keeps))))
        return found

    def _below(
        self, tips: Iterable[bytes], young: AbstractSet[bytes], taken: AbstractSet[bytes], state: State
    ) -> set[bytes]:
        """Return what ``tips`` lead to over snapshots that are young and were not counted yet."""
        found: set[bytes] = set()
        pending = list(tips)
        while pending:
            identity = pending.pop()
            if identity in young and identity not in found and identity not in taken:
                found.add(identity)
                pending += self._parents(identity, state)
        return found

    def _spared(self, forgotten: set[bytes], young: set[bytes], state: State, rule: Rule) -> set[bytes]:
        """Return those of the snapshots to which no ref leads that the rule spares, as if a branch named their tips."""
        if rule.before is not None:
            return forgotten & young
        above = {parent for identity in forgotten for parent in self._parents(identity, state)}
        spared: set[bytes] = set()
        for tip in sorted(forgotten - above):
            spared |= forgotten.intersection(itertools.islice(self._walk([tip], state), rule.last))
        return spared

    def _walk(self, tips: Iterable[bytes], state: State) -> Iterator[bytes]:
        return (identity for identity, _snapshot in graph.walk(tips, self.read, self._standing(state)))


def what_expired(store: Store, state: State, value: bytes) -> tuple[bytes, int] | None:
    """Return (snapshot, when) of the expired one that a ref would need that had ``value``; None if there is none.

    Args:
        store: the store.
        state: where it stands.
        value: the id of a snapshot, or of a stage, which needs what it merges.
    """
    if not state.superseded.table.count and not state.superseded.changes:
        return None
    needed = [value]
    place = store.segments.find(value)
    if place is not None and place[1].flags & pack.KIND_MASK == ids.STAGE:
        needed = list(stage.decode(store.read_object(ids.STAGE, value)).merging)
    for identity in needed:
        time = state.expiry(identity)
        if time is not None:
            return identity, time
    return None
