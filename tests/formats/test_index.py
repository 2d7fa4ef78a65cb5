import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import digest, ids
from dvtool.crypto import Sealer
from dvtool.errors import DvError, FormatError, IntegrityError
from dvtool.formats import codec, index, pack

KEY = bytes(range(32))
STORE = bytes(15) + b"\1"
SALT = bytes(31) + b"\2"
ONE = bytes(31) + b"\1"

ENTRY = index.PackEntry(name=ONE, content=1, size=1000, frames=3, raw=900)

numbers = st.integers(0, 2**32 - 1)
# Few leading bytes, so that many ids share the eight that a directory keeps.
identities = st.builds(
    lambda head, tail: head * 8 + tail,
    st.sampled_from([b"\0", b"\1", b"\xff"]),
    st.binary(min_size=24, max_size=24),
)
places = st.builds(index.Location, numbers, numbers, numbers, numbers, numbers)


def location(number):
    return index.Location(0, number, 64 + 100 * number, 100, index.pack_raw_flags(84, ids.CHUNK))


def file_of(count):
    """An index file of so many records, and what it holds."""
    held = {digest.sealed_name(number.to_bytes(4, "big")): location(number) for number in range(count)}
    records = [index.record(identity, place) for identity, place in held.items()]
    return index.encode(STORE, KEY, SALT, [ENTRY], records), held


def read(data, store=STORE, key=KEY):
    """Everything in an index file, and its checksum."""
    reader = index.Reader(data, store, key)
    records = list(reader.records())
    reader.verify()
    return reader.directory, records


def with_directory(directory, pages=b""):
    """An index file with these pages and this directory, rightly sealed."""
    header = file_of(0)[0][: index.HEADER_SIZE]
    number = index.DIRECTORY_NUMBER
    plain = index.encode_directory(directory) if isinstance(directory, index.Directory) else codec.encode(directory)
    sealed = Sealer(KEY).seal(number, plain, header + number.to_bytes(4, "little"))
    body = header + pages + sealed + len(sealed).to_bytes(4, "little")
    return body + digest.accident(body)


def test_golden_bytes_say_what_they_said(vector, plain):
    reader = index.Reader(vector.data, vector.input("store"), vector.input("key"))
    reader.verify()
    assert plain(reader.directory.packs) == vector.value["packs"]
    assert len(reader) == vector.value["records"] == len(list(reader.records()))
    first = [index.unpack(record) for record in list(reader.records())[:3]]
    assert [
        {"id": identity.hex(), **place._asdict(), "raw": place.raw, "flags": place.flags} for identity, place in first
    ] == vector.value["first"]


def test_golden_bytes_are_written_again_as_they_were(vector):
    reader = index.Reader(vector.data, vector.input("store"), vector.input("key"))
    records = list(reader.records())[::-1]
    store, key, salt = (vector.input(name) for name in ("store", "key", "salt"))
    directory = reader.directory
    assert index.encode(store, key, salt, directory.packs, records, directory.sections) == vector.data


@given(held=st.dictionaries(identities, places, max_size=40), missing=st.lists(identities, max_size=5))
def test_every_id_is_found_and_no_other(held, missing):
    records = [index.record(identity, place) for identity, place in held.items()]
    reader = index.Reader(index.encode(STORE, KEY, SALT, [ENTRY], records), STORE, KEY)
    assert {identity: reader.find(identity) for identity in held} == held
    for identity in set(missing) - held.keys():
        assert reader.find(identity) is None
    assert [index.unpack(record) for record in reader.records()] == sorted(held.items())


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 511, 512, 513, 1000])
def test_every_id_is_found_in_files_around_the_size_of_a_page(count):
    data, held = file_of(count)
    reader = index.Reader(data, STORE, KEY)
    assert len(reader) == count
    assert {identity: reader.find(identity) for identity in held} == held
    assert reader.find(bytes(32)) is None
    assert reader.find(b"\xff" * 32) is None


def test_ids_that_share_a_prefix_over_several_pages_are_found():
    held = {bytes(30) + number.to_bytes(2, "big"): location(number) for number in range(700)}
    records = [index.record(identity, place) for identity, place in held.items()]
    reader = index.Reader(index.encode(STORE, KEY, SALT, [ENTRY], records), STORE, KEY)
    assert {identity: reader.find(identity) for identity in held} == held
    assert reader.find(bytes(30) + b"\xff\xff") is None


def test_a_lookup_opens_only_the_pages_it_needs():
    data, held = file_of(2000)
    bad = bytearray(data)
    full = index.PAGE_RECORDS * index.RECORD_SIZE + 16
    bad[index.HEADER_SIZE + 3 * full] ^= 1
    reader = index.Reader(bytes(bad), STORE, KEY)
    in_order = sorted(held)
    assert reader.find(in_order[0]) == held[in_order[0]]
    with pytest.raises(IntegrityError):
        reader.find(in_order[3 * index.PAGE_RECORDS + 5])


@given(
    raw=st.integers(0, pack.FRAME_LIMIT),
    kind=st.sampled_from(sorted(ids.KIND_NAMES)),
    compressed=st.sampled_from([0, pack.COMPRESSED]),
)
def test_length_and_flags_come_back_from_their_one_number(raw, kind, compressed):
    packed = index.pack_raw_flags(raw, kind | compressed)
    assert packed < 2**32
    place = index.Location(0, 0, 0, 0, packed)
    assert (place.raw, place.flags) == (raw, kind | compressed)


def test_a_flipped_bit_anywhere_is_noticed():
    data, _held = file_of(3)
    for at in range(len(data)):
        bad = bytearray(data)
        bad[at] ^= 1
        with pytest.raises(DvError):
            read(bytes(bad))


def test_a_flipped_bit_is_noticed_even_when_the_checksum_was_made_to_match():
    body = file_of(3)[0][: -index.TRAILER_SIZE]
    for at in range(len(body)):
        bad = bytearray(body)
        bad[at] ^= 1
        with pytest.raises(DvError):
            read(bytes(bad) + digest.accident(bytes(bad)))


def test_no_part_of_an_index_is_an_index():
    data, _held = file_of(3)
    for length in range(len(data)):
        with pytest.raises(DvError):
            read(data[:length])


def test_an_index_of_another_store_or_key_does_not_open():
    data, _held = file_of(3)
    with pytest.raises(IntegrityError, match="another store"):
        read(data, store=bytes(16))
    with pytest.raises(IntegrityError):
        read(data, key=bytes(32))


def test_pages_that_changed_places_do_not_open():
    data, _held = file_of(2 * index.PAGE_RECORDS)
    full = index.PAGE_RECORDS * index.RECORD_SIZE + 16
    start = index.HEADER_SIZE
    pages = data[start + full : start + 2 * full] + data[start : start + full]
    with pytest.raises(IntegrityError):
        read(data[:start] + pages + data[start + 2 * full :])


def test_other_magic_and_versions_are_named():
    data, _held = file_of(1)
    with pytest.raises(FormatError):
        index.Reader(b"DVPACK\r\n" + data[8:], STORE, KEY)
    for version in (0, 2, 255):
        with pytest.raises(FormatError, match=f"version {version}"):
            index.Reader(data[:8] + bytes([version]) + data[9:], STORE, KEY)


@pytest.mark.parametrize("length", [0, 15, 2**31, 2**32 - 1])
def test_a_wrong_length_of_the_directory_is_refused(length):
    data, _held = file_of(1)
    bad = data[: -index.TAIL_SIZE] + length.to_bytes(4, "little") + data[-index.TRAILER_SIZE :]
    with pytest.raises(IntegrityError):
        index.Reader(bad, STORE, KEY)


NOTHING = index.Directory(packs=(), records=0, prefixes=b"")


@pytest.mark.parametrize(
    "changes",
    [
        {"records": 1},
        {"records": -1},
        {"records": 2**63},
        {"prefixes": bytes(8)},
        {"prefixes": bytes(7)},
        {"prefixes": bytes(8), "records": 1},
        {"prefixes": bytes(8), "records": 257},
        {"prefixes": bytes(16), "records": 256},
        {"prefixes": bytes(16), "records": 513},
        {"packs": (msgspec.structs.replace(ENTRY, name=b"short"),)},
        {"packs": (msgspec.structs.replace(ENTRY, name=b""),)},
    ],
)
def test_a_directory_that_does_not_add_up_is_refused(changes):
    assert len(index.Reader(with_directory(NOTHING), STORE, KEY)) == 0
    with pytest.raises(FormatError):
        index.Reader(with_directory(msgspec.structs.replace(NOTHING, **changes)), STORE, KEY)


def test_prefixes_of_a_broken_length_are_refused_even_when_the_pages_add_up():
    data, _held = file_of(1)
    page = data[index.HEADER_SIZE : index.HEADER_SIZE + index.RECORD_SIZE + 16]
    right = index.Directory(packs=(ENTRY,), records=1, prefixes=bytes(8))
    assert len(index.Reader(with_directory(right, page), STORE, KEY)) == 1
    with pytest.raises(FormatError):
        index.Reader(with_directory(msgspec.structs.replace(right, prefixes=bytes(5)), page), STORE, KEY)


@given(
    records=st.integers(-(2**63), 2**64 - 1) | st.integers(0, 600),
    prefixes=st.binary(max_size=24),
    identity=identities,
)
def test_whatever_a_directory_claims_only_our_errors_are_raised(records, prefixes, identity):
    data, _held = file_of(3)
    pages = data[index.HEADER_SIZE : index.HEADER_SIZE + 3 * index.RECORD_SIZE + 16]
    directory = index.Directory(packs=(ENTRY,), records=records, prefixes=prefixes)
    with contextlib.suppress(DvError):
        reader = index.Reader(with_directory(directory, pages), STORE, KEY)
        reader.find(identity)
        list(reader.records())


NOTE = {"x-note": msgspec.Raw(msgspec.msgpack.encode("kept as it is"))}


def test_sections_come_back_and_take_no_room_where_there_are_none():
    packs = [index.PackEntry(name=bytes(32), content=1, size=1, frames=1, raw=1)]
    bare = index.encode(STORE, KEY, bytes(32), packs, [])
    assert index.encode(STORE, KEY, bytes(32), packs, [], {}) == bare
    assert index.Reader(bare, STORE, KEY).directory.sections == {}
    more = index.encode(STORE, KEY, bytes(32), packs, [], NOTE)
    assert index.Reader(more, STORE, KEY).directory.sections == NOTE


def test_a_directory_has_one_encoding_only():
    index.Reader(with_directory([(), 0, b""]), STORE, KEY)
    for second in ([(), 0, b"", {}], [(), 0, b"", {}, 0], [(), 0, b"", NOTE, 0]):
        with pytest.raises(FormatError, match="the one way"):
            index.Reader(with_directory(second), STORE, KEY)


def test_pages_that_are_not_what_the_directory_says_are_refused():
    records = [index.record(bytes([number // 8]) * 32, location(number)) for number in range(600)]
    good = index.encode(STORE, KEY, SALT, [ENTRY], records)
    pages = good[index.HEADER_SIZE : index.HEADER_SIZE + 600 * index.RECORD_SIZE + 3 * 16]
    first, second, third = (bytes([number // 8]) * 8 for number in (0, 256, 512))

    def opened(*prefixes):
        return index.Reader(with_directory([(ENTRY,), 600, b"".join(prefixes)], pages), STORE, KEY)

    assert opened(first, second, third).find(bytes([74]) * 32) is not None
    with pytest.raises(FormatError, match="order"):
        opened(first, third, second)
    with pytest.raises(IntegrityError, match="does not begin"):
        opened(first, second, bytes([74]) * 8).find(bytes([74]) * 32)
