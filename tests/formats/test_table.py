import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import FormatError
from dvtool.formats import codec, nodes, table

ONE = bytes(31) + b"\1"


def node(**changes):
    """The bytes of a node over two others, with some of its columns replaced."""
    good = table.decode(table.encode(1, [b"a", b"b"], [ONE, ONE]))
    return codec.encode(msgspec.structs.replace(good, **changes))


def test_golden_bytes_say_what_they_said(vector, plain):
    assert plain(table.decode(vector.data)) == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    kept = table.decode(vector.data)
    assert table.encode(kept.level, kept.keys, kept.values) == vector.data


@given(pairs=st.dictionaries(st.binary(max_size=40), st.binary(max_size=40), max_size=20))
def test_a_node_comes_back_as_it_went_in(pairs):
    keys = sorted(pairs)
    kept = table.decode(table.encode(0, keys, [pairs[key] for key in keys]))
    assert dict(zip(kept.keys, kept.values, strict=True)) == pairs


@pytest.mark.parametrize(
    "changes",
    [
        {"level": -1},
        {"level": nodes.MAX_LEVEL + 1},
        {"keys": [b"a"]},
        {"keys": [b"b", b"a"]},
        {"keys": [b"a", b"a"]},
        {"keys": [b"a", b"b", b"c"]},
        {"values": [ONE]},
        {"values": [ONE, b"short"]},
        {"values": [ONE, ONE + b"\0"]},
        {"keys": [], "values": []},
    ],
)
def test_a_malformed_node_is_refused(changes):
    table.decode(node())
    with pytest.raises(FormatError):
        table.decode(node(**changes))


def test_a_node_of_more_pairs_than_the_format_allows_is_refused():
    limit = nodes.TABLE_SHAPE.maximum
    keys = [f"{i:08}".encode() for i in range(limit + 1)]
    assert table.decode(table.encode(0, keys[:limit], keys[:limit])).keys == keys[:limit]
    with pytest.raises(FormatError):
        table.decode(table.encode(0, keys, keys))
