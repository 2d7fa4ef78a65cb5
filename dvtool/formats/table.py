"""Tables: sorted maps from bytes to bytes, in nodes; what checkpoints name (``docs/format/table.md``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from dvtool import ids
from dvtool.errors import FormatError
from dvtool.formats import codec, nodes

if TYPE_CHECKING:
    from collections.abc import Sequence


_MOST: Final = msgspec.Meta(max_length=nodes.TABLE_SHAPE.maximum)
"""Checked when the length of a list is read, before its items are."""


class Node(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A run of pairs (level 0), or of nodes one level below: the last key in each, and its id as the value."""

    level: int
    keys: Annotated[list[bytes], _MOST]
    values: Annotated[list[bytes], _MOST]
    sections: dict[str, msgspec.Raw] = {}


def encode(level: int, keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """Return the bytes of a node."""
    return codec.encode(Node(level=level, keys=list(keys), values=list(values)))


def decode(data: bytes) -> Node:
    """Return the node that ``data`` encodes.

    Raises:
        FormatError: when it is malformed or unsorted.
    """
    node = codec.decode(Node, data, what="table node")
    if len(node.keys) != len(node.values) or len(node.keys) > nodes.TABLE_SHAPE.maximum:
        raise FormatError("the columns of a table node differ in length or exceed the format's maximum")
    if any(a >= b for a, b in zip(node.keys, node.keys[1:], strict=False)):
        raise FormatError("the keys of a table node are not sorted")
    if not 0 <= node.level <= nodes.MAX_LEVEL:
        raise FormatError("a table node is higher than the format allows")
    if node.level and (not node.keys or any(len(value) != ids.ID_SIZE for value in node.values)):
        raise FormatError("an inner table node holds something other than ids")
    return node
