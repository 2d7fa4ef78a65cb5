"""The worktree's index: stat data last seen, beside the ids they stood for (``docs/format/worktree_index.md``).

A cache: it mirrors the tree of the stage and can be made anew from it and the worktree.  It lies in ``.dv/index``
in the clear, keyed ids included, and never leaves the machine.

``header | directory records | table | table length | XXH3-128``
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import digest
from dvtool.errors import FormatError
from dvtool.formats import codec

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC: Final = b"DVWTIDX\n"
VERSION: Final = 1
HEADER_SIZE: Final = 48
TRAILER_SIZE: Final = 16
TAIL_SIZE: Final = 24
STAT_SIZE: Final = 40

_HEADER = struct.Struct("<8sB7x32s")

UNKNOWN_STAT: Final = bytes(40)
"""Stands for "look at the content": no file has inode 0."""


class Record(msgspec.Struct, kw_only=True, array_like=True):
    """One directory: its files (sorted by name) as columns, and the names of its subdirectories (sorted).

    ``stats`` has 40 bytes for each file: size, mtime, ctime (nanoseconds), inode, mode; little-endian, 64 bits each.
    ``kinds`` and ``ids`` (32 bytes each) are those of the tree.  Erased entries are files here without a stat.
    """

    names: str
    kinds: bytes
    stats: bytes
    ids: bytes
    sizes: list[int]
    directories: str

    def file_names(self) -> list[str]:
        """Return the names of the files, in order."""
        return self.names.split("\0") if self.kinds else []

    def directory_names(self) -> list[str]:
        """Return the names of the subdirectories, in order."""
        return self.directories.split("\0") if self.directories else []


class Glance(msgspec.Struct, kw_only=True, array_like=True):
    """A record without what only a closer look needs; columns are views of the index, nothing is copied but names.

    Decodes in a tenth of the time: a status looks at every record, and at one in a thousand closely.
    """

    names: str
    kinds: memoryview
    stats: memoryview
    ids: msgspec.Raw
    sizes: msgspec.Raw
    directories: str


class Table(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Where each directory's record lies: paths joined by NUL (the root is the empty path), offsets, lengths."""

    paths: str
    offsets: list[int]
    lengths: list[int]


def encode(tree: bytes, records: Sequence[tuple[str, bytes | memoryview]]) -> bytes:
    """Return the bytes of an index that mirrors ``tree`` (32 bytes), of ``records`` (path, encoded record)."""
    parts: list[bytes | memoryview] = [_HEADER.pack(MAGIC, VERSION, tree)]
    at = HEADER_SIZE
    offsets, lengths = [], []
    for _path, data in records:
        offsets.append(at)
        lengths.append(len(data))
        at += len(data)
        parts.append(data)
    table = codec.encode(Table(paths="\0".join(path for path, _data in records), offsets=offsets, lengths=lengths))
    parts += [table, len(table).to_bytes(8, "little")]
    parts.append(digest.accident_of(parts))
    return b"".join(parts)


def decode(data: bytes) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """Return the id of the tree that is mirrored and, by path, (offset, length) of each directory's record.

    Raises:
        FormatError: when it is damaged or of another version; the caller then makes a new one.
    """
    if len(data) < HEADER_SIZE + TAIL_SIZE or not data.startswith(MAGIC):
        raise FormatError("the worktree index does not begin as one")
    view = memoryview(data)
    if digest.accident(view[:-TRAILER_SIZE]) != data[-TRAILER_SIZE:]:
        raise FormatError("the worktree index is damaged")
    _magic, version, tree = _HEADER.unpack_from(data)
    if version != VERSION:
        raise FormatError("the worktree index is of another version")
    length = int.from_bytes(data[-TAIL_SIZE:-TRAILER_SIZE], "little")
    at = len(data) - TAIL_SIZE - length
    if at < HEADER_SIZE:
        raise FormatError("the worktree index does not add up")
    table = codec.decode(Table, view[at:-TAIL_SIZE], what="worktree index", exact=False)
    names = table.paths.split("\0") if table.offsets else []
    if not len(names) == len(table.offsets) == len(table.lengths):
        raise FormatError("the worktree index does not add up")
    places = dict(zip(names, zip(table.offsets, table.lengths, strict=True), strict=True))
    if any(offset < HEADER_SIZE or length < 0 or offset + length > at for offset, length in places.values()):
        raise FormatError("the worktree index does not add up")
    return tree, places


def decode_record(data: memoryview) -> Record:
    """Return a directory's record.

    Raises:
        FormatError: when its columns differ in length.
    """
    record = codec.decode(Record, data, what="worktree index record", exact=False)
    count = _count(record)
    if len(record.ids) != count * 32 or len(record.sizes) != count:
        raise FormatError("the columns of a worktree index record differ in length")
    return record


def decode_glance(data: memoryview) -> Glance:
    """Return what a first look at a directory's record needs.

    Raises:
        FormatError: when the columns that are looked at differ in length.
    """
    record = codec.decode(Glance, data, what="worktree index record", exact=False)
    _count(record)
    return record


def _count(record: Record | Glance) -> int:
    """Return the number of files, which names and stat data must agree on."""
    count = len(record.kinds)
    if len(record.stats) != count * STAT_SIZE or (count and record.names.count("\0") != count - 1):
        raise FormatError("the columns of a worktree index record differ in length")
    return count
