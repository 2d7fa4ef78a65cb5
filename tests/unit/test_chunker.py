import hashlib
import io
import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.formats.storeformat import Chunking
from dvtool.store import chunker

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "chunker" / "v1"
SEED = 0x1234_5678_9ABC_DEF1
SMALL = Chunking(minimum=64, average=256, maximum=1024)
WORD = 2**64 - 1


def vector(name):
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def data_of(inputs):
    label = inputs["shake256"]
    return hashlib.shake_256(label.encode()).digest(inputs["length"]) if label else bytes(inputs["length"])


@cache
def words(name):
    return [int(word, 16) for word in vector("gear")["value"][name]]


def cut_by_the_page(data, sizes, seed):
    """The cuts as docs/format/chunking.md describes them, by no library at all."""
    gear = [word ^ seed for word in words("gear")]
    bits = ((2 * sizes.average**2).bit_length() - 1) // 2  # the base-2 logarithm, rounded
    strict, loose = words("masks")[bits + 1], words("masks")[bits - 1]
    ends, start = [], 0
    while start < len(data):
        left = len(data) - start
        length = min(left, sizes.maximum)
        if left > sizes.minimum:
            middle = min(length, sizes.average) // 2 * 2
            value = 0
            for at in range(sizes.minimum // 2 * 2, length // 2 * 2):
                mask = strict if at < middle else loose
                word = gear[data[start + at]]
                if at % 2:
                    value = (value + word) & WORD
                    hit = value & mask
                else:
                    value = ((value << 2) + (word << 1)) & WORD
                    hit = value & (mask << 1)
                if not hit:
                    length = at
                    break
        start += length
        ends.append(start)
    return ends


def ends(data, sizes=SMALL, seed=SEED):
    return [end for _start, end in chunker.Chunker(sizes, seed).cut(data)]


@pytest.mark.parametrize("name", sorted(path.stem for path in VECTORS.glob("*.json") if path.stem != "gear"))
def test_cuts_are_those_of_the_golden_vector(name):
    kept = vector(name)
    inputs = kept["inputs"]
    sizes = Chunking(minimum=inputs["minimum"], average=inputs["average"], maximum=inputs["maximum"])
    assert ends(data_of(inputs), sizes, inputs["seed"]) == kept["value"]


@pytest.mark.parametrize("name", ["random-small", "above-the-minimum", "random-largest-seed"])
def test_the_page_describes_the_golden_cuts(name):
    kept = vector(name)
    inputs = kept["inputs"]
    sizes = Chunking(minimum=inputs["minimum"], average=inputs["average"], maximum=inputs["maximum"])
    assert cut_by_the_page(data_of(inputs), sizes, inputs["seed"]) == kept["value"]


@given(
    label=st.text(max_size=3),
    length=st.integers(0, 8000),
    seed=st.integers(1, 2**63 - 1),
    sizes=st.sampled_from(
        [
            SMALL,
            Chunking(minimum=65, average=257, maximum=1025),
            Chunking(minimum=100, average=363, maximum=1024),
        ]
    ),
)
def test_the_page_describes_every_cut(label, length, seed, sizes):
    data = hashlib.shake_256(label.encode()).digest(length)
    assert ends(data, sizes, seed) == cut_by_the_page(data, sizes, seed)


def test_the_compiled_library_is_there():
    assert chunker.is_fast()


@given(data=st.binary(max_size=5000) | st.integers(0, 5000).map(bytes), seed=st.integers(1, 2**63 - 1))
def test_chunks_cover_the_data_within_the_sizes(data, seed):
    found = chunker.Chunker(SMALL, seed).cut(data)
    assert b"".join(data[start:end] for start, end in found) == data
    lengths = [end - start for start, end in found]
    assert all(SMALL.minimum <= length <= SMALL.maximum for length in lengths[:-1])
    assert all(0 < length <= SMALL.maximum for length in lengths[-1:])


@pytest.mark.parametrize("length", [0, 1, 63, 64])
def test_data_up_to_the_minimum_is_one_chunk(length):
    assert chunker.Chunker(SMALL, SEED).cut(bytes(length)) == ([(0, length)] if length else [])


@given(label=st.text(max_size=3), length=st.integers(0, 20_000), step=st.integers(1, 5000))
def test_a_stream_is_cut_where_the_whole_is(label, length, step):
    data = hashlib.shake_256(label.encode()).digest(length)
    source = io.BytesIO(data)

    def read_into(view):
        return source.readinto(view[:step])

    cutter = chunker.Chunker(SMALL, SEED)
    chunks = [bytes(chunk) for chunk in cutter.stream(read_into)]
    assert b"".join(chunks) == data
    assert [len(chunk) for chunk in chunks] == [end - start for start, end in cutter.cut(data)]


def test_cuts_follow_the_content_past_an_insertion():
    data = hashlib.shake_256(b"insertion").digest(200_000)
    before = {end for end in ends(data) if end > 110_000}
    after = {end - 7 for end in ends(data[:100_000] + b"7 bytes" + data[100_000:])}
    assert before <= after


def test_another_seed_cuts_elsewhere():
    data = hashlib.shake_256(b"seeds").digest(200_000)
    one, two = set(ends(data)), set(ends(data, seed=SEED + 2))
    assert len(one & two) < len(one) / 10


def test_one_cutter_may_cut_twice():
    data = hashlib.shake_256(b"twice").digest(20_000)
    cutter = chunker.Chunker(SMALL, SEED)
    assert cutter.cut(data) == cutter.cut(data)
