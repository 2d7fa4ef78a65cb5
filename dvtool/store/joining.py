"""Joins several segments into one: a merge of their sorted records, a few pages of each at a time.

Memory follows the number of segments and packs, and that of records only by the eight bytes that a directory has of
each page.
"""

from __future__ import annotations

import itertools
import sys
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from dvtool import ids
from dvtool.errors import MEND, FormatError, IntegrityError
from dvtool.formats import index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import msgspec

    from dvtool.store.segments import Segment

PAGES_AT_ONCE: Final = 16
"""Pages of one segment that are taken in together; 4,096 records, half a megabyte as Python holds them."""
SAME_ID_LIMIT: Final = 65536
"""Records of one id in one segment; a pack or two hold an object twice, never so many."""

LEFT_OUT: Final = 0xFFFFFFFF
"""Place of a pack that is no longer listed; no index file lists so many."""
_PACK_WORD: Final = ids.ID_SIZE // 4
_RECORD_WORDS: Final = index.RECORD_SIZE // 4

Sections = dict[str, "msgspec.Raw"]


def together(several: Iterable[Mapping[str, msgspec.Raw]]) -> Sections | None:
    """Return all sections of several files, or None when two have one of the same name that differs."""
    found: Sections = {}
    for sections in several:
        for name, value in sections.items():
            if bytes(found.setdefault(name, value)) != bytes(value):
                return None
    return found


def merged(segments: Sequence[Segment], without: AbstractSet[bytes] = frozenset()) -> Iterator[list[bytes]]:
    """Yield the records of all segments in order, run by run, their packs numbered through.

    Args:
        segments: which ones.
        without: names of packs whose records are left out, and which get no number.

    Raises:
        IntegrityError: when an index file is damaged, not in order, or points outside its packs.
    """
    inputs = []
    count = itertools.count()
    for segment in segments:
        packs = segment.index.directory.packs
        places = [LEFT_OUT if entry.name in without else next(count) for entry in packs]
        inputs.append(_Input(segment, places))
    while inputs:
        # Below the least of the last ids in hand nothing can follow any more.
        bound = min((each.last for each in inputs if each.fill()), default=None)
        run: list[bytes] = []
        for each in inputs:
            run += each.take(bound)
        run.sort()
        if run:
            yield run
        if bound is None:
            return


class _Input:
    """The records of one segment that are in hand, and those that follow."""

    def __init__(self, segment: Segment, places: list[int]) -> None:
        self._segment = segment
        self._places = places
        self._pages = segment.index.pages()
        self._records: list[bytes] = []
        self._more = True

    @property
    def last(self) -> bytes:
        """The last id in hand."""
        return self._records[-1][: ids.ID_SIZE]

    def fill(self) -> bool:
        """Take in what follows until there are two ids in hand; return whether there is more."""
        while self._more and (not self._records or self._records[0][: ids.ID_SIZE] == self.last):
            if len(self._records) > SAME_ID_LIMIT:
                raise self._damaged("it lists one object over and over")
            self._more = False
            try:
                for page in itertools.islice(self._pages, PAGES_AT_ONCE):
                    self._records += renumbered(page, self._places)
                    self._more = True
            except (FormatError, IntegrityError) as error:
                raise self._damaged(error.what) from None
        return self._more

    def take(self, bound: bytes | None) -> list[bytes]:
        """Hand over the records of all ids below ``bound``."""
        at = len(self._records) if bound is None else bisect_left(self._records, bound)
        taken = self._records[:at]
        del self._records[:at]
        return taken

    def _damaged(self, why: str) -> IntegrityError:
        return IntegrityError("an index file is damaged", where=self._segment.description.index, why=why, next=MEND)


def renumbered(page: bytes, places: Sequence[int]) -> list[bytes]:
    """Return the records of a page, each pack at its new place and none of those that are :data:`LEFT_OUT`.

    Args:
        page: the records, joined.
        places: where each pack of the page's index file stands from here on.

    Raises:
        FormatError: when a record names a pack beyond these.
    """
    words = array("I", page)
    if sys.byteorder == "big":
        words.byteswap()
    packs = words[_PACK_WORD::_RECORD_WORDS]
    if max(packs) >= len(places):
        raise FormatError("an index file points outside its packs")
    moved = array("I", [places[pack] for pack in packs])
    words[_PACK_WORD::_RECORD_WORDS] = moved
    if sys.byteorder == "big":
        words.byteswap()
    found = list(index.split(words.tobytes()))
    if LEFT_OUT in moved:
        return [each for each, place in zip(found, moved, strict=True) if place != LEFT_OUT]
    return found
