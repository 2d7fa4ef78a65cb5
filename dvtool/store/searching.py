"""Finds many records of an index file at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dvtool.formats import index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.formats.index import Location

_NOT_ZERO: Final = re.compile(rb"[^\0]", re.DOTALL)


def some(reader: index.Reader, bits: bytearray) -> Iterator[tuple[bytes, Location]]:
    """Yield (id, location) of the few records whose bits are set, reading the pages that they lie in."""
    for match in _NOT_ZERO.finditer(bits):
        at = match.start() * 8
        for bit in range(8):
            if bits[at >> 3] & (1 << bit):
                yield reader.identity(at + bit), reader.location(at + bit)


def many(reader: index.Reader, bits: bytearray) -> Iterator[tuple[bytes, Location]]:
    """Yield (id, location) of the records whose bits are set, page after page."""
    at = 0
    for page in reader.pages():
        for record in index.split(page):
            if bits[at >> 3] & (1 << (at & 7)):
                yield index.unpack(record)
            at += 1


def among(reader: index.Reader, wanted: set[bytes]) -> Iterator[tuple[bytes, int, Location]]:
    """Yield (id, number, location) of the records of an index file whose ids are among ``wanted``."""
    base = 0
    for page in reader.pages():
        found = index.identities(page)
        if not wanted.isdisjoint(found):
            for at, (identity, location) in enumerate(zip(found, index.locations(page), strict=True)):
                if identity in wanted:
                    yield identity, base + at, index.Location(*location)
        base += len(found)
