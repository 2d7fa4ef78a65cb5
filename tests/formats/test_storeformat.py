import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import digest
from dvtool.errors import DvError, FormatError, IntegrityError
from dvtool.formats import codec, storeformat
from dvtool.store.chunker import Chunker

SHORT = bytes(15) + b"\1"


def good():
    return storeformat.StoreFormat(version=1, flags=(), chunking=storeformat.Chunking(), repository=SHORT, store=SHORT)


def changed(**changes):
    return storeformat.encode(msgspec.structs.replace(good(), **changes))


def with_trailer(body):
    return body + digest.accident(body)


@st.composite
def chunkings(draw):
    average = draw(st.integers(256, 2**22))
    return storeformat.Chunking(
        minimum=draw(st.integers(64, min(average, 2**20))),
        average=average,
        maximum=draw(st.integers(max(average, 1024), 2**24)),
    )


def test_golden_bytes_say_what_they_said(vector, plain):
    assert plain(storeformat.decode(vector.data)) == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    assert storeformat.encode(storeformat.decode(vector.data)) == vector.data


ids16 = st.binary(min_size=16, max_size=16)


@given(repository=ids16, store=ids16, chunking=chunkings())
def test_a_format_comes_back_as_it_went_in(repository, store, chunking):
    value = storeformat.StoreFormat(version=1, flags=(), chunking=chunking, repository=repository, store=store)
    assert storeformat.decode(storeformat.encode(value)) == value


@given(chunking=chunkings())
def test_every_size_that_is_accepted_can_be_cut_with(chunking):
    Chunker(chunking, 1).cut(bytes(chunking.minimum + 1))


def test_a_flipped_bit_anywhere_is_noticed():
    data = changed()
    for at in range(len(data)):
        bad = bytearray(data)
        bad[at] ^= 1
        with pytest.raises(DvError):
            storeformat.decode(bytes(bad))


def test_no_part_of_a_format_is_a_format():
    data = changed()
    for length in range(len(data)):
        with pytest.raises(DvError):
            storeformat.decode(data[:length])
    for length in range(len(data) - storeformat.TRAILER_SIZE):
        with pytest.raises(DvError):
            storeformat.decode(with_trailer(data[:length]))


def test_damage_is_told_from_something_else():
    data = bytearray(changed())
    data[20] ^= 1
    with pytest.raises(IntegrityError):
        storeformat.decode(bytes(data))
    with pytest.raises(FormatError):
        storeformat.decode(b"PK\3\4" + bytes(100))
    with pytest.raises(FormatError):
        storeformat.decode(b"")


@pytest.mark.parametrize("changes", [{"version": 2}, {"version": 2**40}, {"flags": ("later",)}])
def test_a_newer_store_is_refused_by_name(changes):
    with pytest.raises(FormatError, match="newer dv"):
        storeformat.decode(changed(**changes))


def test_an_unknown_flag_is_named():
    with pytest.raises(FormatError) as raised:
        storeformat.decode(changed(flags=("feature-b", "feature-a")))
    assert "feature-a, feature-b" in raised.value.why


def test_a_newer_store_is_told_by_its_version_whatever_else_it_holds():
    later = {"version": 2, "layout": {"of": ["another", "kind"]}}
    with pytest.raises(FormatError, match="newer dv"):
        storeformat.decode(with_trailer(storeformat.MAGIC + codec.encode(later)))


@pytest.mark.parametrize("changes", [{"version": 0}, {"version": -1}, {"repository": b""}, {"store": bytes(17)}])
def test_impossible_values_are_refused(changes):
    with pytest.raises(FormatError, match="impossible"):
        storeformat.decode(changed(**changes))


@pytest.mark.parametrize(
    ("minimum", "average", "maximum"),
    [
        (0, 65536, 262144),
        (-1, 65536, 262144),
        (63, 65536, 262144),
        (64, 255, 262144),
        (64, 256, 1023),
        (64, 64, 64),
        (65537, 65536, 262144),
        (16384, 262145, 262144),
        (2**20 + 1, 2**21, 2**22),
        (16384, 2**22 + 1, 2**23),
        (16384, 65536, 2**24 + 1),
        (16384, 65536, 2**63),
    ],
)
def test_sizes_that_cannot_be_cut_with_are_refused(minimum, average, maximum):
    chunking = storeformat.Chunking(minimum=minimum, average=average, maximum=maximum)
    with pytest.raises(FormatError, match="impossible"):
        storeformat.decode(changed(chunking=chunking))


def test_an_unknown_way_of_cutting_is_refused():
    with pytest.raises(FormatError, match="algorithm"):
        storeformat.decode(changed(chunking=storeformat.Chunking(algorithm="rabin")))
