import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import FormatError
from dvtool.formats import codec


class Thing(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Something with a required and an optional column."""

    number: int
    sections: dict[str, msgspec.Raw] = {}


@given(number=st.integers(-(2**63), 2**64 - 1))
def test_a_value_comes_back_as_it_went_in(number):
    assert codec.decode(Thing, codec.encode(Thing(number=number)), what="thing").number == number


@given(keys=st.permutations(["a", "b", "ba", "\u00fc", ""]))
def test_one_value_has_one_encoding(keys):
    sections = {key: msgspec.Raw(msgspec.msgpack.encode(key)) for key in keys}
    in_order = dict(sorted(sections.items()))
    assert codec.encode(Thing(number=1, sections=sections)) == codec.encode(Thing(number=1, sections=in_order))


@pytest.mark.parametrize("value", [2**64, "\ud800", {1: 1}, 1j, object(), [{"a": -(2**63) - 1}]])
def test_what_has_no_encoding_is_refused_with_its_name(value):
    with pytest.raises(FormatError, match="this thing cannot be written"):
        codec.encode_foreign(value, what="thing")
    assert codec.encode_foreign({"b": 1, "a": [None]}, what="thing") == codec.encode({"a": [None], "b": 1})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x90",
        b"\x91",
        b"\x91\xc0",
        b"\x91\xc3",
        b"\x91\xa11",
        b"\x91\xcb" + bytes(8),
        b"\x91\x01\x00",
        b"\x92\x01\x81\x01\x01",
        b"\x92\x01\x81\xa2\xff\xfe\x01",
        b"\xc1",
        b"\xd4\x01\x01",
        b"\x81\xa6number\x01",
        b"\x92\x01\x81\xa1x" + b"\x91" * 100_000,
    ],
)
def test_what_is_not_the_value_is_refused_with_its_name(data):
    with pytest.raises(FormatError, match="malformed thing"):
        codec.decode(Thing, data, what="thing")


@pytest.mark.parametrize(
    "second",
    [
        b"\x92\xcf" + (5).to_bytes(8, "big") + b"\x80",
        b"\xdc\x00\x02\x05\x80",
        b"\x91\x05",
        b"\x93\x05\x80\x00",
        b"\x92\x05\xde\x00\x00",
    ],
    ids=["a long number", "a long array", "too few columns", "too many columns", "a long map"],
)
def test_a_second_encoding_of_a_value_is_refused(second):
    assert codec.decode(Thing, codec.encode(Thing(number=5)), what="thing").number == 5
    assert codec.decode(Thing, second, what="thing", exact=False).number == 5
    with pytest.raises(FormatError, match="the one way"):
        codec.decode(Thing, second, what="thing")


@pytest.mark.parametrize("sections", [b"\x82\xa1a\x01\xa1a\x01", b"\x82\xa1a\x01\xa1a\x02", b"\x82\xa1b\x01\xa1a\x01"])
def test_keys_that_come_twice_or_out_of_order_are_refused(sections):
    with pytest.raises(FormatError, match="the one way"):
        codec.decode(Thing, b"\x92\x05" + sections, what="thing")
