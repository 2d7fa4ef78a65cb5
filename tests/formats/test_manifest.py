import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import FormatError
from dvtool.formats import codec, manifest, nodes

ONE = bytes(31) + b"\1"

chunks = st.lists(
    st.tuples(st.binary(min_size=32, max_size=32), st.integers(1, manifest.CHUNK_LIMIT)),
    min_size=1,
    max_size=20,
)


def node(**changes):
    """The bytes of a manifest of two chunks, with some of its columns replaced."""
    good = manifest.decode(manifest.encode(0, [ONE, ONE], [65536, 1]))
    return codec.encode(msgspec.structs.replace(good, **changes))


def test_golden_bytes_say_what_they_said(vector, plain):
    assert plain(manifest.decode(vector.data)) == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    kept = manifest.decode(vector.data)
    assert manifest.encode(kept.level, manifest.ids_of(kept), kept.lengths) == vector.data


@given(chunks=chunks, level=st.integers(0, nodes.MAX_LEVEL))
def test_a_node_comes_back_as_it_went_in(chunks, level):
    identities, lengths = [each for each, _length in chunks], [length for _each, length in chunks]
    kept = manifest.decode(manifest.encode(level, identities, lengths))
    assert (kept.level, manifest.ids_of(kept), kept.lengths, kept.size) == (
        level,
        identities,
        lengths,
        sum(lengths),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"level": -1},
        {"level": nodes.MAX_LEVEL + 1},
        {"ids": ONE},
        {"ids": bytes(63)},
        {"ids": bytes(96)},
        {"lengths": [65537]},
        {"lengths": [65536, 1, 1]},
        {"lengths": [65537, 0]},
        {"lengths": [65538, -1]},
        {"lengths": [2**64 - 1, 2**64 - 1]},
        {"size": 65536},
        {"size": 65538},
        {"size": -1},
        {"size": 2**64 - 1},
        {"ids": b"", "lengths": [], "size": 0},
        {"lengths": [manifest.CHUNK_LIMIT + 1, 1], "size": manifest.CHUNK_LIMIT + 2},
    ],
)
def test_a_node_that_does_not_add_up_is_refused(changes):
    manifest.decode(node())
    with pytest.raises(FormatError):
        manifest.decode(node(**changes))


def test_a_node_of_more_chunks_than_the_format_allows_is_refused():
    limit = nodes.MANIFEST_SHAPE.maximum
    assert manifest.decode(manifest.encode(0, [ONE] * limit, [1] * limit)).size == limit
    with pytest.raises(FormatError):
        manifest.decode(manifest.encode(0, [ONE] * (limit + 1), [1] * (limit + 1)))
