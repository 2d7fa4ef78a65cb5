"""Where long sequences are cut into nodes: at places that their content decides.

The same sequence is always cut at the same places, whatever edits led to it, and an edit moves only the cuts next
to it.  Trees, manifests and tables share this rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How large nodes become.

    After ``minimum`` entries, an entry ends its node when the first eight bytes of its mark, read as a big-endian
    number, are below ``2**64 // spread``; so nodes hold ``minimum + spread`` entries on average and never more
    than ``maximum``.
    """

    minimum: int
    spread: int
    maximum: int

    @property
    def threshold(self) -> bytes:
        """The eight bytes below which a mark ends its node."""
        return (2**64 // self.spread).to_bytes(8, "big")


TREE_SHAPE = Shape(minimum=256, spread=768, maximum=4096)
MANIFEST_SHAPE = Shape(minimum=64, spread=192, maximum=1024)
TABLE_SHAPE = Shape(minimum=64, spread=192, maximum=1024)

MAX_LEVEL = 12
"""No sequence that fits on a disk needs more levels; deeper input is refused."""


def cut(count: int, shape: Shape, mark: Callable[[int], bytes], start: int = 0) -> list[int]:
    """Return the ends (exclusive) of the nodes of entries ``start`` to ``count``; the last end is ``count``.

    Args:
        count: where the entries end.
        shape: the sizes.
        mark: the mark of entry ``i``: 8 bytes or more that depend on its content alone.
        start: where the first node begins; cuts do not depend on anything before it.
    """
    ends = []
    threshold = shape.threshold
    while start < count:
        limit = min(start + shape.maximum, count)
        end = limit
        for i in range(start + shape.minimum - 1, limit):
            if mark(i) < threshold:
                end = i + 1
                break
        ends.append(end)
        start = end
    return ends


def is_natural(size: int, shape: Shape, mark: bytes) -> bool:
    """Return whether a node of ``size`` entries whose last has ``mark`` ends by the rule, not for want of entries."""
    return size == shape.maximum or (size >= shape.minimum and mark < shape.threshold)


def name_marks(key: bytes, names: Sequence[str], level: int) -> Callable[[int], bytes]:
    """Return the marks of names: their keyed hashes, so that where a directory is cut tells nothing of its names."""
    prefix = bytes([level])

    def mark(i: int) -> bytes:
        return digest.keyed(key, prefix + names[i].encode())

    return mark


def is_one(count: int, shape: Shape, mark: Callable[[int], bytes], *, last: bool) -> bool:
    """Return whether ``count`` entries with these marks are one node, ``last`` of its level, by the rule of cuts."""
    return cut(count, shape, mark) == [count] and (last or is_natural(count, shape, mark(count - 1)))
