"""Index files: which frame of which pack holds an id; sorted, sealed page by page (``docs/format/index.md``).

``header | sealed pages | sealed directory | directory length | XXH3-128``.  A reader opens the directory and then
only the pages it asks for, so no command loads an index whole, and none of it lies on a disk in the clear.
"""

from __future__ import annotations

import functools
import operator
import struct
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dvtool import digest, ids
from dvtool.crypto import TAG_SIZE, Sealer
from dvtool.errors import MEND, FormatError, IntegrityError
from dvtool.formats import codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dvtool.effects import View

MAGIC: Final = b"DVINDEX\n"
VERSION: Final = 1
HEADER_SIZE: Final = 64
TAIL_SIZE: Final = 20
TRAILER_SIZE: Final = 16
RECORD_SIZE: Final = 52
PAGE_RECORDS: Final = 256
DIRECTORY_NUMBER: Final = 0xFFFFFFFF
PREFIX_SIZE: Final = 8
DIRECTORY_LIMIT: Final = 268435456

_HEADER = struct.Struct("<8sBBH4x16s32s")
_LOCATION = struct.Struct("<IIIII")
_SAID = struct.Struct(f"<{ids.ID_SIZE}xIIIII")


class Location(NamedTuple):
    """Where a frame lies: pack (its position in the index file's list), frame number, offset, lengths, flags."""

    pack: int
    number: int
    offset: int
    stored: int
    raw_flags: int

    @property
    def raw(self) -> int:
        """The length of the content, in bytes."""
        return self.raw_flags & 0x07FFFFFF

    @property
    def flags(self) -> int:
        """The kind of object, with the flag ``pack.COMPRESSED``."""
        top = self.raw_flags >> 27
        return (top & 0x0F) | (0x80 if top & 0x10 else 0)


_FLAG_BITS: Final = [((flags & 0x0F) | (0x10 if flags & 0x80 else 0)) << 27 for flags in range(256)]


def pack_raw_flags(raw: int, flags: int) -> int:
    """Return the content length and the flags of a frame in one number."""
    return raw | _FLAG_BITS[flags]


class PackEntry(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A pack that an index file covers: name, content (data or metadata), size in bytes, number of frames."""

    name: bytes
    content: int
    size: int
    frames: int
    raw: int


class _Directory(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the pages hold: the packs, how many records, and the first id (8 bytes of it) of each page."""

    packs: tuple[PackEntry, ...]
    records: int
    prefixes: bytes


class Directory(_Directory, frozen=True, kw_only=True, array_like=True):
    """The same with optional sections, a position that is left out when there are none."""

    sections: dict[str, msgspec.Raw] = {}


def encode(
    store: bytes,
    key: bytes,
    salt: bytes,
    packs: Sequence[PackEntry],
    records: Sequence[bytes],
    sections: Mapping[str, msgspec.Raw] | None = None,
) -> bytes:
    """Return an index file.

    Args:
        store: id of the store it belongs to (16 bytes).
        key: the file's own random key (32 bytes), kept in the key file named beside it.
        salt: 32 random bytes.
        packs: the packs covered.
        records: 52 bytes each, ``id | location``; sorted here in place of the caller.
        sections: optional additions.
    """
    return b"".join(pieces(store, key, salt, packs, paged([sorted(records)]), sections))


def paged(runs: Iterable[Sequence[bytes]]) -> Iterator[bytes]:
    """Yield the pages that sorted records make, which come in runs of any length."""
    rest: list[bytes] = []
    for run in runs:
        rest += run
        whole = len(rest) - len(rest) % PAGE_RECORDS
        for at in range(0, whole, PAGE_RECORDS):
            yield b"".join(rest[at : at + PAGE_RECORDS])
        del rest[:whole]
    if rest:
        yield b"".join(rest)


def pieces(
    store: bytes,
    key: bytes,
    salt: bytes,
    packs: Sequence[PackEntry],
    pages: Iterable[bytes],
    sections: Mapping[str, msgspec.Raw] | None = None,
) -> Iterator[bytes]:
    """Yield an index file piece by piece, so that nobody has to hold all of it; arguments as for :func:`encode`.

    ``pages`` are the records as :func:`paged` makes them.
    """
    header = _HEADER.pack(MAGIC, VERSION, 0, 0, store, salt)
    sealer = Sealer(key)
    hasher = digest.SealedHasher()
    prefixes = []
    count = 0
    hasher.update(header)
    yield header
    for number, page in enumerate(pages):
        prefixes.append(page[:PREFIX_SIZE])
        count += len(page) // RECORD_SIZE
        sealed = sealer.seal(number, page, header + number.to_bytes(4, "little"))
        hasher.update(sealed)
        yield sealed
    directory = encode_directory(
        Directory(packs=tuple(packs), records=count, prefixes=b"".join(prefixes), sections=dict(sections or {}))
    )
    sealed = sealer.seal(DIRECTORY_NUMBER, directory, header + DIRECTORY_NUMBER.to_bytes(4, "little"))
    end = sealed + len(sealed).to_bytes(4, "little")
    hasher.update(end)
    yield end + hasher.accident()


Pages = dict[tuple[str, int], bytes]
"""Opened pages, by the name of their file and their number."""


class Reader:
    """Looks ids up in one index file, opening pages as they are asked for."""

    def __init__(self, data: View, store: bytes, key: bytes, *, where: str = "", pages: Pages | None = None) -> None:
        """Open the directory of an index file.

        Args:
            data: the file.
            store: id of the store.
            key: the file's own key.
            where: what errors call the file.
            pages: where opened pages are kept, for several files together.

        Raises:
            FormatError: when it is not an index file of a version known here.
            IntegrityError: when it is damaged, or belongs to another store or key.
        """
        self._header = bytes(data[:HEADER_SIZE])
        if len(data) < HEADER_SIZE + TAIL_SIZE or len(self._header) < HEADER_SIZE or self._header[:8] != MAGIC:
            raise FormatError("an index file does not begin as one")
        _magic, version, _zero, _zero2, owner, _salt = _HEADER.unpack(self._header)
        if version != VERSION:
            raise FormatError(f"an index file has format version {version}", next="upgrade dv")
        if owner != store:
            raise IntegrityError("an index file belongs to another store")
        self._data = data
        self._where = where
        self._sealer = Sealer(key)
        length = int.from_bytes(data[-TAIL_SIZE:-TRAILER_SIZE], "little")
        at = len(data) - TAIL_SIZE - length
        if at < HEADER_SIZE:
            raise IntegrityError("an index file is truncated")
        if length > DIRECTORY_LIMIT:
            raise FormatError("an index file claims a longer directory than the format allows")
        plain = self._open(DIRECTORY_NUMBER, at, length)
        self.directory = _decode_directory(plain)
        prefixes = self.directory.prefixes
        self._firsts = [prefixes[i : i + PREFIX_SIZE] for i in range(0, len(prefixes), PREFIX_SIZE)]
        if any(map(operator.gt, self._firsts, self._firsts[1:])):
            raise FormatError("the pages of an index file are not in order")
        full = PAGE_RECORDS * RECORD_SIZE + TAG_SIZE
        count = len(self._firsts)
        last = self.directory.records - (count - 1) * PAGE_RECORDS if count else 0
        expected = HEADER_SIZE + (count - 1) * full + last * RECORD_SIZE + TAG_SIZE if count else HEADER_SIZE
        if len(prefixes) % PREFIX_SIZE or any(len(entry.name) != ids.ID_SIZE for entry in self.directory.packs):
            raise FormatError("the directory of an index file holds a name of the wrong length")
        if at != expected or (count and not 1 <= last <= PAGE_RECORDS) or (not count and self.directory.records):
            raise FormatError("the pages of an index file do not add up")
        self._last = last
        self._pages: Pages = pages if pages is not None else {}

    def __len__(self) -> int:
        """Return the number of records."""
        return self.directory.records

    def find(self, identity: bytes) -> Location | None:
        """Return where ``identity`` lies, or None.

        Raises:
            IntegrityError: when the page that would hold it is damaged.
        """
        at = self.position(identity)
        return None if at is None else self.location(at)

    def position(self, identity: bytes) -> int | None:
        """Return the number of a record of ``identity``, from 0 on in order of id, or None; raises as :meth:`find`.

        Records of one id, which lie in several packs, follow each other.
        """
        if not self._firsts:
            return None
        number = bisect_right(self._firsts, identity[:PREFIX_SIZE]) - 1
        while number >= 0:
            page = self.page(number)
            low, high = 0, len(page) // RECORD_SIZE
            while low < high:
                middle = (low + high) // 2
                if page[middle * RECORD_SIZE : middle * RECORD_SIZE + ids.ID_SIZE] < identity:
                    low = middle + 1
                else:
                    high = middle
            at = low * RECORD_SIZE
            if page[at : at + ids.ID_SIZE] == identity:
                return number * PAGE_RECORDS + low
            # Only ids that share all eight bytes of a page's first id can continue from the page before.
            if low or self._firsts[number] != identity[:PREFIX_SIZE]:
                return None
            number -= 1
        return None

    def location(self, position: int) -> Location:
        """Return what the record of this number says; raises as :meth:`find`."""
        number, at = divmod(position, PAGE_RECORDS)
        return Location(*_LOCATION.unpack_from(self.page(number), at * RECORD_SIZE + ids.ID_SIZE))

    def identity(self, position: int) -> bytes:
        """Return the id of the record of this number; raises as :meth:`find`."""
        number, at = divmod(position, PAGE_RECORDS)
        return self.page(number)[at * RECORD_SIZE : at * RECORD_SIZE + ids.ID_SIZE]

    def all(self, identity: bytes) -> Iterator[tuple[int, Location]]:
        """Yield (number, location) of each record of an id, which several packs may hold; raises as :meth:`find`."""
        at = self.position(identity)
        if at is None:
            return
        yield at, self.location(at)
        for step in (-1, 1):
            near = at + step
            while 0 <= near < len(self) and self.identity(near) == identity:
                yield near, self.location(near)
                near += step

    def between(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, Location]]:
        """Yield (id, location) of the ids from ``low`` to ``high``, both included, in order."""
        number = max(0, bisect_left(self._firsts, low[:PREFIX_SIZE]) - 1)
        for at in range(number, len(self._firsts)):
            if self._firsts[at] > high[:PREFIX_SIZE]:
                return
            page = self.page(at)
            for start in range(0, len(page), RECORD_SIZE):
                identity = page[start : start + ids.ID_SIZE]
                if low <= identity <= high:
                    yield identity, Location(*_LOCATION.unpack_from(page, start + ids.ID_SIZE))

    def page(self, number: int) -> bytes:
        """Return the records of a page, joined."""
        page = self._pages.get((self._where, number))
        if page is None:
            page = self._read(number)
            if len(self._pages) >= _PAGES_KEPT:
                self._pages.clear()
            self._pages[self._where, number] = page
        return page

    def pages(self) -> Iterator[bytes]:
        """Yield the records of every page, joined; none of them is kept.

        Raises:
            FormatError: when records are not in order.
        """
        last = b""
        for number in range(len(self._firsts)):
            page = self._read(number)
            found = split(page)
            if last > found[0] or any(map(operator.gt, found, found[1:])):
                raise FormatError("the records of an index file are not in order", where=self._where, next=MEND)
            last = found[-1]
            yield page

    def records(self) -> Iterator[bytes]:
        """Yield every record, in order of id; raises as :meth:`pages`."""
        for page in self.pages():
            yield from split(page)

    def verify(self) -> None:
        """Check the trailer over the whole file.

        Raises:
            IntegrityError: when it does not match.
        """
        if digest.accident(self._data[:-TRAILER_SIZE]) != bytes(self._data[-TRAILER_SIZE:]):
            raise self._damaged("its checksum does not match")

    def _read(self, number: int) -> bytes:
        full = PAGE_RECORDS * RECORD_SIZE + TAG_SIZE
        records = self._last if number == len(self._firsts) - 1 else PAGE_RECORDS
        page = self._open(number, HEADER_SIZE + number * full, records * RECORD_SIZE + TAG_SIZE)
        if page[:PREFIX_SIZE] != self._firsts[number]:
            raise self._damaged("a page does not begin as its directory says")
        return page

    def _open(self, number: int, at: int, length: int) -> bytes:
        try:
            return self._sealer.open(number, self._data[at : at + length], self._header + number.to_bytes(4, "little"))
        except IntegrityError as error:
            raise self._damaged(error.what) from None

    def _damaged(self, why: str) -> IntegrityError:
        return IntegrityError("an index file is damaged", where=self._where, why=why, next=MEND)


def encode_directory(directory: Directory) -> bytes:
    """Return the bytes of a directory before they are sealed."""
    if directory.sections:
        return codec.encode(directory)
    return codec.encode(_Directory(packs=directory.packs, records=directory.records, prefixes=directory.prefixes))


def _decode_directory(plain: bytes) -> Directory:
    """Return a directory; one without sections is written without their position, and in no other way."""
    directory = codec.decode(Directory, plain, what="index directory", exact=False)
    if encode_directory(directory) != plain:
        raise codec.second_encoding("index directory")
    return directory


_PAGES_KEPT = 2048
"""Opened pages kept together: 27 MB at most, half a million ids."""


def record(identity: bytes, location: Location) -> bytes:
    """Return the 52 bytes that say where ``identity`` lies."""
    return identity + _LOCATION.pack(*location)


def records(identities: Iterable[bytes], *locations: Iterable[int]) -> list[bytes]:
    """Return :func:`record` of many ids at once; ``locations`` are the columns of :class:`Location`."""
    return list(map(operator.add, identities, map(_LOCATION.pack, *locations)))


def unpack(data: bytes) -> tuple[bytes, Location]:
    """Return (id, location) of a record."""
    return data[: ids.ID_SIZE], Location(*_LOCATION.unpack_from(data, ids.ID_SIZE))


def split(page: bytes) -> tuple[bytes, ...]:
    """Return the records of a page."""
    return _columns(f"{RECORD_SIZE}s", len(page) // RECORD_SIZE).unpack(page)


def identities(page: bytes) -> tuple[bytes, ...]:
    """Return the ids of the records of a page, in order."""
    return _columns(f"{ids.ID_SIZE}s{RECORD_SIZE - ids.ID_SIZE}x", len(page) // RECORD_SIZE).unpack(page)


def locations(page: bytes) -> Iterator[tuple[int, ...]]:
    """Yield what the records of a page say, in order, as the columns of :class:`Location`."""
    return _SAID.iter_unpack(page)


@functools.lru_cache(maxsize=64)
def _columns(form: str, count: int) -> struct.Struct:
    """Return what takes a column apart, several times as fast as slices."""
    return struct.Struct(form * count)
