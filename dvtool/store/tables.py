"""Tables in nodes: building them as objects, and looking pairs up without loading the rest."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, Protocol

from dvtool import digest, ids
from dvtool.errors import FormatError
from dvtool.formats import log, nodes, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_MISCUT: Final = "a table node was cut where the format does not cut"


class ObjectSource(Protocol):
    """Reads objects by kind and id."""

    def read_object(self, kind: int, identity: bytes) -> bytes:
        """Return the verified bytes of an object."""
        ...


class TableSource(ObjectSource, Protocol):
    """Reads the objects of tables out of the segments that the newest checkpoint names."""

    def follow(self, segments: Sequence[log.Segment]) -> None:
        """Take the segments of a checkpoint."""
        ...


class ObjectSink(Protocol):
    """Stores objects."""

    def put_object(self, kind: int, data: bytes) -> bytes:
        """Store an object and return its id."""
        ...


class Tables:
    """Reads the tables of a checkpoint."""

    def __init__(self, source: TableSource) -> None:
        """Remember where objects come from."""
        self._source = source
        self._nodes: dict[bytes, table.Node] = {}

    def follow(self, segments: Sequence[log.Segment]) -> None:
        """Take the segments in which the nodes of a checkpoint's tables lie, before any of them is asked for."""
        self._source.follow(segments)

    def get(self, which: log.Table, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        if not which.root:
            at = bisect_left(which.pairs, (key,))
            return which.pairs[at][1] if at < len(which.pairs) and which.pairs[at][0] == key else None
        node, low, last = self._root(which), None, True
        while True:
            at = bisect_left(node.keys, key)
            if at == len(node.keys):
                return None
            if not node.level:
                return node.values[at] if node.keys[at] == key else None
            node, low, last = self._child(node, at, low, last=last)

    def items(self, which: log.Table, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs whose key begins with ``prefix``, in order of key; all of them are counted."""
        if not which.root:
            yield from ((key, value) for key, value in which.pairs if key.startswith(prefix))
            return
        found = 0
        for pair in self._below(self._root(which), prefix, None, last=True):
            found += 1
            yield pair
        if not prefix and found != which.count:
            raise FormatError("a table does not hold as many pairs as the checkpoint says")

    def _below(
        self, node: table.Node, prefix: bytes, low: bytes | None, *, last: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        for at in range(bisect_left(node.keys, prefix), len(node.keys)):
            key = node.keys[at]
            if not node.level:
                if not key.startswith(prefix):
                    return
                yield key, node.values[at]
            else:
                child, before, is_last = self._child(node, at, low, last=last)
                yield from self._below(child, prefix, before, last=is_last)
                if key > prefix and not key.startswith(prefix):
                    return

    def _root(self, which: log.Table) -> table.Node:
        """Return the root of a table.

        Raises:
            FormatError: when a writer would have made none for so many pairs.
        """
        node = self._node(which.root)
        most = nodes.TABLE_SHAPE.maximum ** (node.level + 1)
        if (
            not log.INLINE_LIMIT < which.count <= most
            or (not node.level and len(node.keys) != which.count)
            or len(node.keys) == 1
        ):
            raise FormatError("a table does not hold as many pairs as the checkpoint says")
        return node

    def _child(
        self, node: table.Node, at: int, low: bytes | None, *, last: bool
    ) -> tuple[table.Node, bytes | None, bool]:
        """Return a node below ``node``, held against it, the key that it follows, and whether it is last of its level.

        Args:
            node: an inner node.
            at: the position of the child.
            low: the key that ``node`` follows.
            last: whether ``node`` is the last of its level; only such a node may be shorter than cuts make it.
        """
        child = self._node(node.values[at])
        low = node.keys[at - 1] if at else low
        last = last and at == len(node.keys) - 1
        if child.level != node.level - 1:
            raise FormatError("a table node stands on the wrong level")
        if not child.keys or child.keys[-1] != node.keys[at] or (low is not None and child.keys[0] <= low):
            raise FormatError("a table node is not what the node above it says")
        if not last and len(child.keys) < nodes.TABLE_SHAPE.minimum:
            raise FormatError(_MISCUT)
        return child, low, last

    def _node(self, identity: bytes) -> table.Node:
        node = self._nodes.get(identity)
        if node is None:
            node = self._nodes[identity] = table.decode(self._source.read_object(ids.TABLE, identity))
        return node


def build(pairs: list[tuple[bytes, bytes]], split: bytes, sink: ObjectSink) -> log.Table:
    """Store a sorted table, in the checkpoint itself while it is small, and return how to find it.

    Args:
        pairs: sorted by key, keys distinct.
        split: the key under which cut marks are made (32 bytes).
        sink: takes the nodes.
    """
    if len(pairs) <= log.INLINE_LIMIT:
        return log.Table(count=len(pairs), pairs=tuple(pairs))
    keys = [key for key, _value in pairs]
    values = [value for _key, value in pairs]
    level = 0
    while True:
        ends = nodes.cut(len(keys), nodes.TABLE_SHAPE, _marks(split, level, keys))
        start = 0
        upper: list[bytes] = []
        for end in ends:
            upper.append(sink.put_object(ids.TABLE, table.encode(level, keys[start:end], values[start:end])))
            start = end
        if len(ends) == 1:
            return log.Table(count=len(pairs), root=upper[0])
        keys = [keys[end - 1] for end in ends]
        values = upper
        level += 1


def check_cuts(which: log.Table, split: bytes, source: ObjectSource) -> None:
    """Hold every node of a table against the rule of cuts, which takes a hash of most keys.

    Args:
        which: a table with nodes of its own.
        split: the key under which cut marks are made (32 bytes).
        source: reads the nodes.

    Raises:
        FormatError: when a node begins or ends where the format does not cut.
        IntegrityError: when a node is damaged or gone.
    """
    pending = [(which.root, nodes.MAX_LEVEL + 1, True)]
    while pending:
        identity, above, last = pending.pop()
        node = table.decode(source.read_object(ids.TABLE, identity))
        if node.level >= above:
            raise FormatError("a table node stands on the wrong level")
        if not nodes.is_one(len(node.keys), nodes.TABLE_SHAPE, _marks(split, node.level, node.keys), last=last):
            raise FormatError(_MISCUT)
        if node.level:
            count = len(node.values)
            pending += [(below, node.level, last and i == count - 1) for i, below in enumerate(node.values)]


def _marks(split: bytes, level: int, keys: Sequence[bytes]) -> Callable[[int], bytes]:
    prefix = bytes([level])
    return lambda i: digest.keyed(split, prefix + keys[i])
