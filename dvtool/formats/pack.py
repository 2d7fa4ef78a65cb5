"""Packs: immutable files of sealed frames, named by the hash of their own ciphertext (``docs/format/pack.md``)."""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Final

import msgspec

from dvtool import ids
from dvtool.errors import FormatError

MAGIC: Final = b"DVPACK\r\n"
VERSION: Final = 1
HEADER_SIZE: Final = 64
TAIL_SIZE: Final = 20
TRAILER_SIZE: Final = 16
FOOTER_NUMBER: Final = 0xFFFFFFFF
DATA: Final = 1
METADATA: Final = 2
COMPRESSED: Final = 0x80
KIND_MASK: Final = 0x0F

DATA_TARGET: Final = 67108864
METADATA_TARGET: Final = 8388608
FRAME_LIMIT: Final = 16777216
FRAMES_LIMIT: Final = 4194304
FOOTER_LIMIT: Final = 171966484

_HEADER = struct.Struct("<8sBBH4x16s32s")
_FLAGS: Final = bytes(kind | flag for kind in ids.KIND_NAMES for flag in (0, COMPRESSED))


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a pack says of itself in the clear; authenticated with every frame."""

    content: int
    store: bytes
    salt: bytes


class Footer(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in a pack, frame by frame: ids, kinds with the flag COMPRESSED, stored and raw lengths in bytes."""

    ids: bytes
    flags: bytes
    stored: array[int]
    raw: array[int]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.flags)


def encode_header(header: Header) -> bytes:
    """Return the 64 bytes that begin a pack."""
    return _HEADER.pack(MAGIC, VERSION, header.content, 0, header.store, header.salt)


def decode_header(data: bytes) -> Header:
    """Return the header of a pack.

    Raises:
        FormatError: when ``data`` does not begin as a pack of a version known here.
    """
    if len(data) < HEADER_SIZE or not data.startswith(MAGIC):
        raise FormatError("a pack does not begin as one")
    _magic, version, content, _zero, store, salt = _HEADER.unpack_from(data)
    if version != VERSION:
        raise FormatError(f"a pack has format version {version}", why=f"this dv reads {VERSION}", next="upgrade dv")
    if content not in {DATA, METADATA}:
        raise FormatError("a pack holds neither data nor metadata")
    return Header(content=content, store=store, salt=salt)


def associated(header: bytes, number: int) -> bytes:
    """Return what is authenticated with frame ``number`` of the pack that begins with ``header``."""
    return header + number.to_bytes(4, "little")


def encode_footer(footer: Footer) -> bytes:
    """Return the footer's bytes, before they are sealed."""
    count = len(footer)
    return b"".join(
        (count.to_bytes(4, "little"), footer.ids, footer.flags, _little(footer.stored), _little(footer.raw))
    )


def decode_footer(data: bytes) -> Footer:
    """Return the footer that ``data`` encodes.

    Raises:
        FormatError: when its lengths do not agree, or exceed the limits.
    """
    count = int.from_bytes(data[:4], "little")
    if count > FRAMES_LIMIT or len(data) != 4 + count * (ids.ID_SIZE + 9):
        raise FormatError("the footer of a pack does not add up")
    at = 4 + count * ids.ID_SIZE
    if data[at : at + count].translate(None, _FLAGS):
        raise FormatError("a pack holds a frame of unknown kind", next="upgrade dv")
    stored = _unlittle(data[at + count : at + 5 * count])
    raw = _unlittle(data[at + 5 * count :])
    if count and (max(raw) > FRAME_LIMIT or max(stored) > FRAME_LIMIT + 4096):
        raise FormatError("a pack claims a frame longer than the format allows")
    return Footer(ids=data[4:at], flags=data[at : at + count], stored=stored, raw=raw)


def encode_tail(footer_length: int, trailer: bytes) -> bytes:
    """Return the last 20 bytes: the sealed footer's length, then XXH3-128 of everything before the trailer."""
    return footer_length.to_bytes(4, "little") + trailer


def file_name(name: bytes) -> str:
    """Return where a pack lies in its store."""
    return f"packs/{name.hex()}"


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values = array("I", values)
        values.byteswap()
    return values.tobytes()


def _unlittle(data: bytes) -> array[int]:
    values = array("I")
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
