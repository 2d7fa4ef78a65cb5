"""Frames come out of zstd as they went in, and a frame that lies about itself takes no memory."""

import importlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import DvError, FormatError, IntegrityError
from dvtool.formats import pack
from dvtool.store.compression import Compressor, decompress

zstandard = importlib.import_module("zstandard")
TEXT = b"once upon a time " * 1000
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"


@given(data=st.binary(max_size=300).map(lambda part: part * 40))
def test_what_was_compressed_comes_back(data):
    packed = Compressor().try_compress(data)
    if packed is not None:
        assert len(packed) < len(data)
        assert decompress(packed, len(data)) == data


def packed():
    found = Compressor().try_compress(TEXT)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "more",
    [b"\0", b"more", SKIPPABLE, zstandard.ZstdCompressor(level=1).compress(b""), packed()],
    ids=["zero", "bytes", "a skippable frame", "an empty frame", "itself"],
)
def test_nothing_follows_the_frame(more):
    assert decompress(packed(), len(TEXT)) == TEXT
    with pytest.raises(DvError):
        decompress(packed() + more, len(TEXT))
    with pytest.raises(DvError):
        decompress(more + packed(), len(TEXT))


@pytest.mark.parametrize("raw", [0, 1, len(TEXT) - 1, len(TEXT) + 1])
def test_another_length_than_the_footers_is_refused(raw):
    with pytest.raises(IntegrityError):
        decompress(packed(), raw)


def test_a_frame_without_a_length_is_refused():
    with pytest.raises(DvError):
        decompress(zstandard.ZstdCompressor(level=1, write_content_size=False).compress(TEXT), len(TEXT))


@pytest.mark.parametrize("raw", [pack.FRAME_LIMIT + 1, 2**40])
def test_more_than_a_frame_may_hold_is_refused_before_memory_is_taken(raw):
    # Magic, one segment with eight bytes of content size, one last block that repeats a byte.
    claim = bytes.fromhex("28b52ffde0") + raw.to_bytes(8, "little") + bytes.fromhex("030200") + b"a"
    assert zstandard.frame_content_size(claim) == raw
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="more than the format allows"):
            decompress(claim, raw)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_as_much_as_a_frame_may_hold_is_taken():
    data = bytes(pack.FRAME_LIMIT)
    packed = Compressor().try_compress(data)
    assert packed is not None
    assert decompress(packed, len(data)) == data
