"""Manifests: one long file's ordered chunks, in nodes (``docs/format/manifest.md``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from dvtool import ids
from dvtool.errors import FormatError
from dvtool.formats import codec, nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

CHUNK_LIMIT: Final = 2**24
"""No chunk is longer (16 MiB); the chunker's own maximum is far below."""
_MOST: Final = msgspec.Meta(max_length=nodes.MANIFEST_SHAPE.maximum)
"""Checked when the length of a list is read, before its items are."""


class Node(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A run of chunks (level 0) or of nodes one level below: ids, and how many bytes each covers."""

    level: int
    ids: bytes
    lengths: Annotated[list[int], _MOST]
    size: int
    sections: dict[str, msgspec.Raw] = {}


def encode(level: int, identities: Sequence[bytes], lengths: Sequence[int]) -> bytes:
    """Return the bytes of a node."""
    return codec.encode(Node(level=level, ids=b"".join(identities), lengths=list(lengths), size=sum(lengths)))


def decode(data: bytes) -> Node:
    """Return the node that ``data`` encodes.

    Raises:
        FormatError: when it is malformed, or its lengths do not add up.
    """
    node = codec.decode(Node, data, what="manifest node")
    count = len(node.lengths)
    if len(node.ids) != count * ids.ID_SIZE or not 1 <= count <= nodes.MANIFEST_SHAPE.maximum:
        raise FormatError("the columns of a manifest node differ in length or exceed the format's maximum")
    if not 0 <= node.level <= nodes.MAX_LEVEL:
        raise FormatError("a manifest node is higher than the format allows")
    if min(node.lengths) < 1 or sum(node.lengths) != node.size:
        raise FormatError("the lengths of a manifest node do not add up")
    if node.level == 0 and max(node.lengths) > CHUNK_LIMIT:
        raise FormatError("a manifest names a chunk longer than the format allows")
    return node


def ids_of(node: Node) -> list[bytes]:
    """Return the ids of a node, in order."""
    return list(ids.split(node.ids))
