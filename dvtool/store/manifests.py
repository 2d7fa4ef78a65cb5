"""Manifests in nodes: building one from a file's chunks, and reading the chunks back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool import ids
from dvtool.errors import FormatError
from dvtool.formats import manifest, nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dvtool.store.tables import ObjectSink, ObjectSource


def build(chunks: Sequence[bytes], lengths: Sequence[int], sink: ObjectSink) -> bytes:
    """Store the manifest of a file's chunks (at least two) and return its id."""
    level = 0
    while True:
        marks = chunks
        ends = nodes.cut(len(chunks), nodes.MANIFEST_SHAPE, marks.__getitem__)
        upper: list[bytes] = []
        sizes: list[int] = []
        start = 0
        for end in ends:
            upper.append(sink.put_object(ids.MANIFEST, manifest.encode(level, chunks[start:end], lengths[start:end])))
            sizes.append(sum(lengths[start:end]))
            start = end
        if len(upper) == 1:
            return upper[0]
        chunks, lengths = upper, sizes
        level += 1


def chunks_of(source: ObjectSource, identity: bytes, size: int) -> Iterator[tuple[bytes, int]]:
    """Yield (chunk id, length) of a file of ``size`` bytes, in order.

    Raises:
        FormatError: when the nodes do not add up to ``size``, stand on wrong levels, or are cut otherwise than
            :func:`build` cuts: the same chunks would then have two manifests.
    """
    node = _node(source, identity, size, last=True)
    if len(node.lengths) == 1:
        raise FormatError("a manifest lists a single chunk or node, which says the same", where=identity.hex()[:16])
    yield from _below(source, node, last=True)


def _below(source: ObjectSource, node: manifest.Node, *, last: bool) -> Iterator[tuple[bytes, int]]:
    end = len(node.lengths) - 1
    for i, (child, length) in enumerate(zip(manifest.ids_of(node), node.lengths, strict=True)):
        if not node.level:
            yield child, length
            continue
        below = _node(source, child, length, last=last and i == end)
        if below.level != node.level - 1:
            raise _other(child)
        yield from _below(source, below, last=last and i == end)


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
