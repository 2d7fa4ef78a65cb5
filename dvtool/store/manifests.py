"""Manifests in nodes: building one from a file's chunks, and reading the chunks back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool import ids
from dvtool.errors import FormatError
from dvtool.formats import manifest, nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dvtool.store.tables import ObjectSink, ObjectSource


class Builder:
    """Builds the manifest of a file while its chunks come in, and holds one unfinished node of each level at most."""

    def __init__(self, sink: ObjectSink) -> None:
        """Hand finished nodes to ``sink``."""
        self._sink = sink
        self._levels = [_Level()]
        self.size = 0
        """Bytes of the chunks so far."""

    def add(self, identity: bytes, length: int) -> None:
        """Take the next chunk: its id, and how many bytes it has."""
        self.size += length
        self._add(0, identity, length)

    def finish(self) -> tuple[bytes, bool]:
        """Return the id of the manifest, or that of the only chunk of all, and whether it is a manifest.

        There is at least one chunk.
        """
        bottom = self._levels[0]
        if not bottom.ended and len(bottom.ids) == 1:
            return bottom.ids[0], False
        for level, open_node in enumerate(self._levels):  # which grows on the way
            if open_node.ids:
                self._end(level)
            if open_node.ended == 1:
                return self._levels[level + 1].ids[0], True
        raise ValueError("a manifest has at least one chunk")

    def _add(self, level: int, identity: bytes, length: int) -> None:
        node = self._levels[level]
        node.ids.append(identity)
        node.lengths.append(length)
        if nodes.is_natural(len(node.ids), nodes.MANIFEST_SHAPE, identity):
            self._end(level)

    def _end(self, level: int) -> None:
        node = self._levels[level]
        identity = self._sink.put_object(ids.MANIFEST, manifest.encode(level, node.ids, node.lengths))
        length = sum(node.lengths)
        node.ids.clear()
        node.lengths.clear()
        node.ended += 1
        if level + 1 == len(self._levels):
            self._levels.append(_Level())
        self._add(level + 1, identity, length)


class _Level:
    """The unfinished node of one level: what it holds, and how many nodes of the level came before it."""

    __slots__ = ("ended", "ids", "lengths")

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self.lengths: list[int] = []
        self.ended = 0


def build(chunks: Sequence[bytes], lengths: Sequence[int], sink: ObjectSink) -> bytes:
    """Store the manifest of a file's chunks (at least two) and return its id."""
    builder = Builder(sink)
    for identity, length in zip(chunks, lengths, strict=True):
        builder.add(identity, length)
    return builder.finish()[0]


def chunks_of(source: ObjectSource, identity: bytes, size: int) -> Iterator[tuple[bytes, int]]:
    """Yield (chunk id, length) of a file of ``size`` bytes, in order.

    Raises:
        FormatError: when the nodes do not add up to ``size``, stand on wrong levels, or are cut otherwise than
            :func:`build` cuts: the same chunks would then have two manifests.
    """
    yield from _below(source, _root(source, identity, size), last=True)


def _below(source: ObjectSource, node: manifest.Node, *, last: bool) -> Iterator[tuple[bytes, int]]:
    end = len(node.lengths) - 1
    for i, (child, length) in enumerate(zip(manifest.ids_of(node), node.lengths, strict=True)):
        if not node.level:
            yield child, length
            continue
        below = _child(source, child, length, node, last=last and i == end)
        yield from _below(source, below, last=last and i == end)


_Known = dict[tuple[bytes, int, bool], tuple[int, int, str]]
"""What was found of nodes, by id, length, and whether they end their file."""


def faults(
    source: ObjectSource,
    identity: bytes,
    size: int,
    fault: Callable[[bytes, int], str],
) -> tuple[int, int, str]:
    """Return how many chunks a file has, how many of them are at fault, and the first fault; each node is read once.

    A few nodes that name each other again and again stand for more chunks than anybody could look at one by one.

    Args:
        source: where nodes are read.
        identity: the root of the manifest.
        size: of the file, in bytes.
        fault: returns what is wrong with a chunk of this id and length, or nothing.

    Raises:
        FormatError, IntegrityError: as :func:`chunks_of`.
    """
    return _faults_below(source, _root(source, identity, size), fault, {}, last=True)


def _faults_below(
    source: ObjectSource,
    node: manifest.Node,
    fault: Callable[[bytes, int], str],
    known: _Known,
    *,
    last: bool,
) -> tuple[int, int, str]:
    count = bad = 0
    first = ""
    end = len(node.lengths) - 1
    for i, (child, length) in enumerate(zip(manifest.ids_of(node), node.lengths, strict=True)):
        if not node.level:
            why = fault(child, length)
            found = (1, 1 if why else 0, why)
        else:
            ends = last and i == end
            seen = known.get((child, length, ends))
            if seen is None:
                below = _child(source, child, length, node, last=ends)
                seen = known[child, length, ends] = _faults_below(source, below, fault, known, last=ends)
            found = seen
        count, bad, first = count + found[0], bad + found[1], first or found[2]
    return count, bad, first


def _root(source: ObjectSource, identity: bytes, size: int) -> manifest.Node:
    node = _node(source, identity, size, last=True)
    if len(node.lengths) == 1:
        raise FormatError("a manifest lists a single chunk or node, which says the same", where=identity.hex()[:16])
    return node


def _child(source: ObjectSource, identity: bytes, length: int, above: manifest.Node, *, last: bool) -> manifest.Node:
    node = _node(source, identity, length, last=last)
    if node.level != above.level - 1:
        raise _other(identity)
    return node


def _node(source: ObjectSource, identity: bytes, size: int, *, last: bool) -> manifest.Node:
    node = manifest.decode(source.read_object(ids.MANIFEST, identity))
    if node.size != size:
        raise _other(identity)
    marks = manifest.ids_of(node)
    if not nodes.is_one(len(marks), nodes.MANIFEST_SHAPE, marks.__getitem__, last=last):
        raise FormatError("a manifest was cut where the format does not cut", where=identity.hex()[:16])
    return node


def _other(identity: bytes) -> FormatError:
    return FormatError("a manifest does not describe the file that names it", where=identity.hex()[:16])
