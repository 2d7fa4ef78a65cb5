"""Zstandard where it pays.  The only door to ``zstandard``, opened when the first frame is tried."""

from __future__ import annotations

import importlib
from typing import Any, Final

from dvtool.errors import FormatError, IntegrityError
from dvtool.formats import pack

LEVEL: Final = 1
SAMPLE: Final = 2048
"""Bytes from the middle of a frame by which it is judged."""
WORTHWHILE: Final = 0.94
"""A frame is compressed when its sample shrinks below this share; less does not pay for opening it."""


class Compressor:
    """Compresses frames that a sample says will shrink."""

    __slots__ = ("_compress",)

    def __init__(self) -> None:
        """Prepare one compression context."""
        self._compress = (
            importlib.import_module("zstandard").ZstdCompressor(level=LEVEL, write_content_size=True).compress
        )

    def try_compress(self, data: bytes | memoryview) -> bytes | None:
        """Return ``data`` compressed, or None when it is better kept as it is."""
        length = len(data)
        if length < 64:  # noqa: PLR2004 - the frame header alone is a dozen bytes
            return None
        if length > 2 * SAMPLE:
            middle = length // 2
            sample = memoryview(data)[middle : middle + SAMPLE]
            if len(self._compress(sample)) > SAMPLE * WORTHWHILE:
                return None
        packed: bytes = self._compress(data)
        return packed if len(packed) < length * WORTHWHILE else None


_decompressor: Any = None


def decompress(data: bytes, raw: int) -> bytes:
    """Return the content of a compressed frame.

    Args:
        data: one zstd frame and nothing after it.
        raw: the length that the sealed footer claims; checked against the frame's own header before any memory
            is taken for the content.

    Raises:
        IntegrityError: when the lengths differ.
        FormatError: when it claims more than a frame may hold, or is not exactly one zstd frame.
    """
    global _decompressor  # noqa: PLW0603 - one context a process; making it costs more than a small frame
    if raw > pack.FRAME_LIMIT:
        raise FormatError("a frame claims more than the format allows", why=f"{raw:,} bytes")
    zstandard = importlib.import_module("zstandard")
    try:
        if zstandard.frame_content_size(data) != raw:
            raise IntegrityError("a frame claims another length than its footer", why="it was not written by dv")
        if _decompressor is None:
            _decompressor = zstandard.ZstdDecompressor()
        plain: bytes = _decompressor.decompress(data, max_output_size=raw, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FormatError("a frame does not decompress", why=str(error)) from None
    if len(plain) != raw:
        raise IntegrityError("a frame holds another length than its footer claims")
    return plain


def inflate(data: bytes, limit: int) -> bytes:
    """Return the first ``limit`` bytes of what zstd frames hold, whoever wrote them; nothing where they are none.

    For who searches what lies about, and knows neither the length nor whether these are frames at all.
    """
    zstandard = importlib.import_module("zstandard")
    found = bytearray()
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data, read_across_frames=True) as reader:
            while len(found) < limit and (piece := reader.read(min(limit - len(found), 1 << 20))):
                found += piece
    except zstandard.ZstdError:
        pass
    return bytes(found)
