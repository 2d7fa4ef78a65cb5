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
        FormatError: when the nodes do not add up to ``size`` or stand on wrong levels.
    """
    yield from _below(source, identity, size, None)


def _below(source: ObjectSource, identity: bytes, size: int, level: int | None) -> Iterator[tuple[bytes, int]]:
    node = manifest.decode(source.read_object(ids.MANIFEST, identity))
    if node.size != size or (level is not None and node.level != level):
        raise FormatError("a manifest does not describe the file that names it", where=identity.hex()[:16])
    for child, length in zip(manifest.ids_of(node), node.lengths, strict=True):
        if node.level:
            yield from _below(source, child, length, node.level - 1)
        else:
            yield child, length
