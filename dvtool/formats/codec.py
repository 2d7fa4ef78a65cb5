"""MessagePack by ``msgspec``: typed values or :class:`FormatError`, nothing else."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from dvtool.errors import FormatError

T = TypeVar("T")

TIME_LIMIT: Final = 253_402_300_800_000_000
"""Microseconds from 1970 to the year 10000, which calendars and most programs cannot write."""

_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECODERS: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def encode(value: object) -> bytes:
    """Return the deterministic MessagePack of ``value``: one value, one encoding."""
    return _ENCODER.encode(value)


def encode_foreign(value: object, *, what: str) -> bytes:
    """Return what :func:`encode` does, of a value in which there are things that a program or its user chose.

    Raises:
        FormatError: when there is something in it that has no encoding: a number of more than 64 bits, text that is
            not Unicode (as names of files may be), or an object of another type.
    """
    try:
        return _ENCODER.encode(value)
    except (msgspec.EncodeError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise FormatError(f"this {what} cannot be written", why=str(error)) from None


def decode(kind: type[T], data: bytes | bytearray | memoryview, *, what: str, exact: bool = True) -> T:
    """Return the value of type ``kind`` that ``data`` encodes.

    Args:
        kind: the msgspec type; built once per type and kept.
        data: exactly one MessagePack value.
        what: what the bytes are said to be, for the error.
        exact: refuse every encoding but the one that :func:`encode` writes: a key that comes twice, a number in a
            longer form, a column too many or too few.  Costs a third of decoding; only what a process tells itself,
            or what is looked at in part, goes without.

    Raises:
        FormatError: when they are not that.
    """
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.msgpack.Decoder(kind)
    try:
        value: T = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"malformed {what}", why=str(error)) from None
    if exact and _ENCODER.encode(value) != data:
        raise second_encoding(what)
    return value


def second_encoding(what: str) -> FormatError:
    """Return the error for bytes that say what they say in another way than :func:`encode`."""
    return FormatError(
        f"malformed {what}",
        why="it is not the one way in which its value is written",
        next="upgrade dv if a newer one wrote it; else take another copy of the store",
    )
