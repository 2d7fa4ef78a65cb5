"""Tables in nodes: building them as objects, and looking pairs up without loading the rest."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Protocol

from dvtool import digest, ids
from dvtool.errors import FormatError
from dvtool.formats import log, nodes, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


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
        node = self._node(which.root, None)
        while node.level:
            at = bisect_left(node.keys, key)
            if at == len(node.keys):
                return None
            node = self._node(node.values[at], node.level - 1)
        at = bisect_left(node.keys, key)
        return node.values[at] if at < len(node.keys) and node.keys[at] == key else None

    def items(self, which: log.Table, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs whose key begins with ``prefix``, in order of key."""
        if which.root:
            yield from self._below(self._node(which.root, None), prefix)
        else:
            yield from ((key, value) for key, value in which.pairs if key.startswith(prefix))

    def _below(self, node: table.Node, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        at = bisect_left(node.keys, prefix)
        for key, value in zip(node.keys[at:], node.values[at:], strict=True):
            if not node.level:
                if not key.startswith(prefix):
                    return
                yield key, value
            else:
                yield from self._below(self._node(value, node.level - 1), prefix)
                if key > prefix and not key.startswith(prefix):
                    return

    def _node(self, identity: bytes, level: int | None) -> table.Node:
        node = self._nodes.get(identity)
        if node is None:
            node = self._nodes[identity] = table.decode(self._source.read_object(ids.TABLE, identity))
        if level is not None and node.level != level:
            raise FormatError("a table node stands on the wrong level")
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


def _marks(split: bytes, level: int, keys: list[bytes]) -> Callable[[int], bytes]:
    prefix = bytes([level])
    return lambda i: digest.keyed(split, prefix + keys[i])
