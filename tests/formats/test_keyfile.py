import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import FormatError
from dvtool.formats import keyfile

ONE = bytes(31) + b"\1"
keys = st.binary(min_size=32, max_size=32)


def test_golden_bytes_say_what_they_said(vector, plain):
    assert plain(keyfile.decode(vector.data)) == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    assert keyfile.encode(keyfile.decode(vector.data)) == vector.data


@given(packs=st.dictionaries(keys, keys, max_size=10), index=keys)
def test_a_key_file_comes_back_as_it_went_in(packs, index):
    value = keyfile.KeyFile(packs=packs, index=index)
    assert keyfile.decode(keyfile.encode(value)) == value


@given(packs=st.dictionaries(keys, keys, min_size=2, max_size=10))
def test_the_bytes_do_not_depend_on_the_order_of_the_packs(packs):
    backwards = dict(reversed(packs.items()))
    assert keyfile.encode(keyfile.KeyFile(packs=packs, index=ONE)) == keyfile.encode(
        keyfile.KeyFile(packs=backwards, index=ONE)
    )


def test_unknown_sections_are_kept():
    value = keyfile.KeyFile(packs={}, index=ONE, sections={"b": msgspec.Raw(b"\x01"), "a": msgspec.Raw(b"\x02")})
    assert keyfile.decode(keyfile.encode(value)).sections.keys() == {"a", "b"}
    assert keyfile.encode(keyfile.decode(keyfile.encode(value))) == keyfile.encode(value)


@pytest.mark.parametrize(
    ("packs", "index"),
    [
        ({}, b""),
        ({}, bytes(31)),
        ({}, bytes(33)),
        ({ONE: b""}, ONE),
        ({ONE: bytes(31)}, ONE),
        ({ONE: bytes(64)}, ONE),
        ({b"": ONE}, ONE),
        ({bytes(31): ONE}, ONE),
    ],
)
def test_keys_and_names_of_the_wrong_length_are_refused(packs, index):
    with pytest.raises(FormatError):
        keyfile.decode(keyfile.encode(keyfile.KeyFile(packs=packs, index=index)))


def test_packs_out_of_order_or_named_twice_are_refused():
    first, second = bytes(32), ONE
    for pairs in ([second, first], [first, first]):
        head = b"\x93\x82" + b"".join(b"\xc4\x20" + name + b"\xc4\x20" + ONE for name in pairs)
        with pytest.raises(FormatError, match="malformed"):
            keyfile.decode(head + b"\xc4\x20" + ONE + b"\x80")
