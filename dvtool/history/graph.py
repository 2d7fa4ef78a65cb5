"""The graph of snapshots: walking it from its tips, children before parents, newest first."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dvtool.formats.snapshot import Snapshot


def walk(
    tips: Iterable[bytes], read: Callable[[bytes], Snapshot], current: Callable[[bytes], bytes]
) -> Iterator[tuple[bytes, Snapshot]]:
    """Yield (id, snapshot) of everything reachable from ``tips``, each once.

    Args:
        tips: where to start.
        read: returns a snapshot.
        current: maps the id of a parent to the one that stands for it now.
    """
    found: dict[bytes, Snapshot] = {}
    children: dict[bytes, int] = {}
    pending = [current(tip) for tip in tips]
    starts = set(pending)
    while pending:
        identity = pending.pop()
        if identity in found:
            continue
        found[identity] = read(identity)
        for parent in found[identity].parents:
            parent_id = current(parent)
            children[parent_id] = children.get(parent_id, 0) + 1
            pending.append(parent_id)
    ready = [(-found[tip].time, tip) for tip in starts if not children.get(tip)]
    heapq.heapify(ready)
    while ready:
        _time, identity = heapq.heappop(ready)
        yield identity, found[identity]
        for parent in found[identity].parents:
            parent_id = current(parent)
            children[parent_id] -= 1
            if not children[parent_id]:
                heapq.heappush(ready, (-found[parent_id].time, parent_id))


def is_ancestor(
    ancestor: bytes, tip: bytes, read: Callable[[bytes], Snapshot], current: Callable[[bytes], bytes]
) -> bool:
    """Return whether ``ancestor`` is ``tip`` or reachable from it."""
    seen = set()
    pending = [current(tip)]
    while pending:
        identity = pending.pop()
        if identity == ancestor:
            return True
        if identity not in seen:
            seen.add(identity)
            pending += [current(parent) for parent in read(identity).parents]
    return False
