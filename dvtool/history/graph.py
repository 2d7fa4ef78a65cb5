"""The graph of snapshots: walking it from its tips, children before parents, newest first."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from dvtool.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dvtool.formats.snapshot import Snapshot


def walk(
    tips: Iterable[bytes], read: Callable[[bytes], Snapshot], current: Callable[[bytes], bytes | None]
) -> Iterator[tuple[bytes, Snapshot]]:
    """Yield (id, snapshot) of everything reachable from ``tips``, each once, reading no further than it must.

    Children come before parents, whatever the clocks said that dated them; among those whose children have all been
    yielded the newest comes first.  Dates alone cannot promise that: under a clock that jumped back, a snapshot may
    be older than its parent, and numbers of generations are not recorded.  So the walk goes from one *narrow place*
    to the next.  That is a snapshot from which everything not yet read descends; nothing unread can then have a
    parent among what was read, and what was read can be put in order.  In a linear history each snapshot is one, so
    the first K cost K reads; after a merge the two sides are read down to where they meet.  Dates only say in which
    order to read, which keeps that short when they are right.

    Args:
        tips: where to start.
        read: returns a snapshot.
        current: maps the id of a parent to the one that stands for it now, or to None when it was expired: the walk
            ends there as at a snapshot without parents.

    Raises:
        IntegrityError: when a snapshot is its own ancestor.
    """
    region = _Region(read, current)
    region.meet(tips)
    while region.found:
        region.narrow()
        yield from region.ordered()
        region.leave()


def standing(identities: Iterable[bytes], current: Callable[[bytes], bytes | None]) -> list[bytes]:
    """Return the ids that stand for ``identities`` now, without those of expired snapshots."""
    return [found for identity in identities if (found := current(identity)) is not None]


class _Region:
    """Snapshots that were read and not yet left behind, from one narrow place to the next."""

    def __init__(self, read: Callable[[bytes], Snapshot], current: Callable[[bytes], bytes | None]) -> None:
        self.read = read
        self.current = current
        self.found: dict[bytes, Snapshot] = {}
        self.parents: dict[bytes, list[bytes]] = {}
        self.ends: list[tuple[int, bytes]] = []
        self.past: set[bytes] = set()

    def meet(self, identities: Iterable[bytes]) -> list[bytes]:
        """Read snapshots that were not met before; return the ids that stand for ``identities`` now, each once."""
        met = list(dict.fromkeys(standing(identities, self.current)))
        for identity in met:
            if identity in self.past:
                raise _circle(identity)
            if identity not in self.found:
                self.found[identity] = self.read(identity)
                heapq.heappush(self.ends, (-self.found[identity].time, identity))
        return met

    def narrow(self) -> None:
        """Follow the ends, newest first, until one is left to which all others lead, or none.

        A snapshot without parents leads nowhere: once one was met, only the end of everything will do.
        """
        rooted = False
        while self.ends and (len(self.ends) > 1 or rooted):
            identity = heapq.heappop(self.ends)[1]
            self.parents[identity] = self.meet(self.found[identity].parents)
            rooted = rooted or not self.parents[identity]

    def ordered(self) -> Iterator[tuple[bytes, Snapshot]]:
        """Yield what was read, children before parents, newest first."""
        children = dict.fromkeys(self.found, 0)
        for parents in self.parents.values():
            for parent in parents:
                children[parent] += 1
        ready = [(-self.found[identity].time, identity) for identity, count in children.items() if not count]
        heapq.heapify(ready)
        while ready:
            identity = heapq.heappop(ready)[1]
            del children[identity]
            yield identity, self.found[identity]
            for parent in self.parents.get(identity, ()):
                children[parent] -= 1
                if not children[parent]:
                    heapq.heappush(ready, (-self.found[parent].time, parent))
        if children:
            raise _circle(min(children))

    def leave(self) -> None:
        """Go on with the parents of the narrow place."""
        last = [self.found[identity] for _time, identity in self.ends]
        self.past.update(self.found)
        self.found, self.parents, self.ends = {}, {}, []
        for snapshot in last:
            self.meet(snapshot.parents)


def _circle(identity: bytes) -> IntegrityError:
    return IntegrityError(
        "the history leads in a circle",
        where=f"snapshot {identity.hex()}",
        why="a snapshot is its own ancestor, which only a map of superseded snapshots that was tampered with can do",
        next="compare with another copy of the store before you go on",
    )


def is_ancestor(
    ancestor: bytes, tip: bytes, read: Callable[[bytes], Snapshot], current: Callable[[bytes], bytes | None]
) -> bool:
    """Return whether ``ancestor`` is ``tip`` or reachable from it."""
    seen = set()
    pending = standing([tip], current)
    while pending:
        identity = pending.pop()
        if identity == ancestor:
            return True
        if identity not in seen:
            seen.add(identity)
            pending += standing(read(identity).parents, current)
    return False


def reached(
    starts: Iterable[bytes],
    wanted: set[bytes],
    read: Callable[[bytes], Snapshot],
    current: Callable[[bytes], bytes | None],
) -> set[bytes]:
    """Return those of ``wanted`` that are among ``starts`` or reachable from them, reading no further than it must.

    Args:
        starts: where to start.
        wanted: ids of snapshots.
        read: returns a snapshot.
        current: as for :func:`walk`.
    """
    found: set[bytes] = set()
    seen: set[bytes] = set()
    heap: list[tuple[int, bytes, tuple[bytes, ...]]] = []

    def meet(identities: Iterable[bytes]) -> None:
        met = [identity for identity in dict.fromkeys(standing(identities, current)) if identity not in seen]
        seen.update(met)
        found.update(wanted.intersection(met))
        for identity in met if len(found) < len(wanted) else ():
            snapshot = read(identity)
            heapq.heappush(heap, (-snapshot.time, identity, snapshot.parents))

    meet(starts)
    while heap and len(found) < len(wanted):
        meet(heapq.heappop(heap)[2])
    return found


def beyond(
    tips: Iterable[bytes],
    known: Iterable[bytes],
    read: Callable[[bytes], Snapshot],
    current: Callable[[bytes], bytes | None],
) -> dict[bytes, Snapshot]:
    """Return the snapshots that ``tips`` lead to and ``known`` do not, by id.

    The walk goes newest first from both, and ends when everything left to read is reached from ``known``.  Dates only
    say in which order to read: under a clock that jumped, the result may hold some that ``known`` lead to as well.

    Args:
        tips: where to start.
        known: snapshots that can be read, and what they lead to.
        read: returns a snapshot.
        current: as for :func:`walk`.
    """
    new, old = 1, 2
    reached: dict[bytes, int] = {}
    heap: list[tuple[int, bytes]] = []
    snapshots: dict[bytes, Snapshot] = {}

    def reach(identity: bytes, marks: int) -> None:
        before = reached.get(identity, 0)
        if before | marks == before:
            return
        if identity not in snapshots:
            snapshots[identity] = read(identity)
        reached[identity] = before | marks
        heapq.heappush(heap, (-snapshots[identity].time, identity))

    for starts, mark in ((known, old), (tips, new)):
        for identity in standing(starts, current):
            reach(identity, mark)
    passed: set[tuple[bytes, int]] = set()
    while heap and any(reached[identity] == new for _time, identity in heap):
        identity = heapq.heappop(heap)[1]
        marks = reached[identity]
        if (identity, marks) in passed:
            continue
        passed.add((identity, marks))
        for parent in standing(snapshots[identity].parents, current):
            reach(parent, marks)
    return {identity: snapshots[identity] for identity, marks in reached.items() if marks == new}


def merge_bases(
    ours: bytes, theirs: bytes, read: Callable[[bytes], Snapshot], current: Callable[[bytes], bytes | None]
) -> list[bytes]:
    """Return the best common ancestors of two snapshots, sorted: those from which no other common one descends.

    Two histories that were merged both ways have several; two that never met have none.

    The walk goes newest first from both ends and notes for each snapshot from which end it was reached; below one that
    was reached from both, everything is a worse answer.  Dates only say in which order to read: it ends when nothing
    but worse answers is left, and a candidate that another one descends from is taken out at last, so the result is
    the same under any clock.
    """
    one, other, worse = 1, 2, 4
    reached: dict[bytes, int] = {}
    heap: list[tuple[int, bytes]] = []
    snapshots: dict[bytes, Snapshot] = {}

    def reach(identity: bytes, marks: int) -> None:
        if reached.get(identity, 0) | marks != reached.get(identity, 0):
            if identity not in snapshots:
                snapshots[identity] = read(identity)
            reached[identity] = reached.get(identity, 0) | marks
            heapq.heappush(heap, (-snapshots[identity].time, identity))

    for tips, mark in (([ours], one), ([theirs], other)):
        for tip in standing(tips, current):
            reach(tip, mark)
    while any(not reached[identity] & worse for _time, identity in heap):
        identity = heapq.heappop(heap)[1]
        marks = reached[identity]
        if marks & one and marks & other:
            marks |= worse
        for parent in standing(snapshots[identity].parents, current):
            reach(parent, marks)
    common = [identity for identity, marks in reached.items() if marks == one | other]
    return sorted(
        identity
        for identity in common
        if not any(each != identity and is_ancestor(identity, each, read, current) for each in common)
    )


def circles(leads: Mapping[bytes, Sequence[bytes]]) -> list[bytes]:
    """Return, sorted, what is left of a graph when all that leads to an end is taken away: circles, and ways to them.

    Args:
        leads: by node, where it leads; what is no key is an end.
    """
    waiting = {node: sum(1 for end in ends if end in leads) for node, ends in leads.items()}
    sources: dict[bytes, list[bytes]] = {}
    for node, ends in leads.items():
        for end in ends:
            sources.setdefault(end, []).append(node)
    done = [node for node, count in waiting.items() if not count]
    while done:
        node = done.pop()
        del waiting[node]
        for source in sources.get(node, ()):
            waiting[source] -= 1
            if not waiting[source]:
                done.append(source)
    return sorted(waiting)
