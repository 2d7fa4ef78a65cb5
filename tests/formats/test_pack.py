from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import digest, ids
from dvtool.crypto import Sealer
from dvtool.errors import DvError, FormatError, IntegrityError
from dvtool.formats import index, pack
from dvtool.storage.memory import MemoryBackend
from dvtool.store.packs import PackReader

KEY = bytes(range(32))
STORE = bytes(15) + b"\1"
SALT = bytes(31) + b"\2"
ONE = bytes(31) + b"\1"

frames = st.lists(
    st.tuples(
        st.binary(min_size=32, max_size=32),
        st.sampled_from([kind | flag for kind in ids.KIND_NAMES for flag in (0, pack.COMPRESSED)]),
        st.integers(16, pack.FRAME_LIMIT),
        st.integers(0, pack.FRAME_LIMIT),
    ),
    max_size=8,
)


def locations(footer):
    """What an index says of the frames of a pack."""
    at = pack.HEADER_SIZE
    found = []
    for number in range(len(footer)):
        raw_flags = index.pack_raw_flags(footer.raw[number], footer.flags[number])
        found.append(index.Location(0, number, at, footer.stored[number], raw_flags))
        at += footer.stored[number]
    return found


def opened(data, content=pack.DATA, key=KEY):
    """A reader of a pack that is handed over as bytes."""
    backend = MemoryBackend()
    entry = index.PackEntry(name=ONE, content=content, size=len(data), frames=0, raw=0)
    backend.put(pack.file_name(ONE), data)
    return PackReader(backend, entry, key)


def read(data, **opening):
    """Everything in a pack: the footer, then the content of each frame."""
    reader = opened(data, **opening)
    footer = reader.footer()
    return footer, [reader.read(ONE, location) for location in locations(footer)]


def one_frame(sealed_content, *, flags=ids.CHUNK, raw=None):
    """A pack of one frame that holds these bytes, and an index that says they are so long."""
    header = pack.encode_header(pack.Header(content=pack.DATA, store=STORE, salt=SALT))
    frame = Sealer(KEY).seal(0, sealed_content, pack.associated(header, 0))
    length = len(sealed_content) if raw is None else raw
    location = index.Location(0, 0, len(header), len(frame), index.pack_raw_flags(length, flags))
    return header + frame, location


def test_golden_bytes_say_what_they_said(vector, plain):
    kept = vector.value
    header = pack.decode_header(vector.data)
    assert (header.content, header.store, header.salt.hex()) == (
        kept["content"],
        vector.input("store"),
        kept["salt"],
    )
    assert digest.sealed_name(vector.data).hex() == kept["name"]
    assert digest.accident(vector.data[: -pack.TRAILER_SIZE]) == vector.data[-pack.TRAILER_SIZE :]
    footer, contents = read(vector.data, content=kept["content"], key=vector.input("key"))
    assert plain(footer) == kept["footer"]
    assert [content.hex() for content in contents] == kept["frames"]


def test_the_ids_in_golden_bytes_are_those_of_their_frames(vector):
    hasher = digest.IdHasher(vector.input("id_key"))
    footer = vector.value["footer"]
    made = [
        hasher.id(flags & pack.KIND_MASK, bytes.fromhex(content)).hex()
        for flags, content in zip(bytes.fromhex(footer["flags"]), vector.value["frames"], strict=True)
    ]
    assert "".join(made) == footer["ids"]


@given(content=st.sampled_from([pack.DATA, pack.METADATA]), store=st.binary(min_size=16, max_size=16))
def test_a_header_comes_back_as_it_went_in(content, store):
    header = pack.Header(content=content, store=store, salt=SALT)
    data = pack.encode_header(header)
    assert len(data) == pack.HEADER_SIZE
    assert pack.decode_header(data) == header


@given(frames=frames)
def test_a_footer_comes_back_as_it_went_in(frames):
    footer = pack.Footer(
        ids=b"".join(identity for identity, _flags, _stored, _raw in frames),
        flags=bytes(flags for _identity, flags, _stored, _raw in frames),
        stored=array("I", [stored for _identity, _flags, stored, _raw in frames]),
        raw=array("I", [raw for _identity, _flags, _stored, raw in frames]),
    )
    data = pack.encode_footer(footer)
    assert len(data) == 4 + len(frames) * 41
    assert pack.decode_footer(data) == footer


def test_lengths_stand_in_little_endian():
    footer = pack.Footer(ids=ONE, flags=b"\1", stored=array("I", [0x01020304]), raw=array("I", [5]))
    assert pack.encode_footer(footer).endswith(b"\4\3\2\1\5\0\0\0")


def test_a_flipped_bit_anywhere_is_noticed(golden):
    good = golden("pack", "data")
    opening = {"key": good.input("key")}
    for at in range(len(good.data) - pack.TRAILER_SIZE):
        bad = bytearray(good.data)
        bad[at] ^= 1
        assert digest.sealed_name(bytes(bad)).hex() != good.value["name"]
        assert digest.accident(bytes(bad[: -pack.TRAILER_SIZE])) != good.data[-pack.TRAILER_SIZE :]
        with pytest.raises(DvError):
            read(bytes(bad), **opening)


def test_no_part_of_a_pack_is_a_pack(golden):
    good = golden("pack", "data")
    for length in range(len(good.data)):
        with pytest.raises(DvError):
            read(good.data[:length], key=good.input("key"))


def test_a_pack_of_another_sort_or_key_does_not_open(golden):
    good = golden("pack", "data")
    right = {"key": good.input("key")}
    assert read(good.data, **right)
    for wrong in ({"content": pack.METADATA}, {"key": bytes(32)}):
        with pytest.raises(IntegrityError):
            read(good.data, **(right | wrong))


def test_a_frame_does_not_open_under_another_number(golden):
    good = golden("pack", "data")
    reader = opened(good.data, key=good.input("key"))
    first, second = locations(reader.footer())
    with pytest.raises(IntegrityError):
        reader.read(ONE, first._replace(number=1))
    with pytest.raises(IntegrityError):
        reader.read(ONE, second._replace(number=0))
    with pytest.raises(IntegrityError):
        reader.read(ONE, first._replace(number=pack.FOOTER_NUMBER))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"DVPACK\r\n",
        b"DVPACK\n\n" + bytes(56),
        b"DVPACK\r\n\x01\x01" + bytes(53),
        b"DVPACK\r\n\x02\x01" + bytes(54),
        b"DVPACK\r\n\x00\x01" + bytes(54),
        b"DVPACK\r\n\x01\x00" + bytes(54),
        b"DVPACK\r\n\x01\x03" + bytes(54),
    ],
)
def test_a_malformed_header_is_refused(data):
    with pytest.raises(FormatError):
        pack.decode_header(data)


def footer_bytes(count, *, flags=b"\1", stored=100, raw=100, frames=1):
    return (
        count.to_bytes(4, "little")
        + ONE * frames
        + flags * frames
        + stored.to_bytes(4, "little") * frames
        + raw.to_bytes(4, "little") * frames
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0",
        footer_bytes(0),
        footer_bytes(2),
        footer_bytes(1)[:-1],
        footer_bytes(1) + b"\0",
        footer_bytes(2**32 - 1),
        footer_bytes(pack.FRAMES_LIMIT + 1),
        footer_bytes(1, raw=pack.FRAME_LIMIT + 1),
        footer_bytes(1, stored=pack.FRAME_LIMIT + 4097),
        footer_bytes(1, raw=2**32 - 1),
        footer_bytes(1, flags=b"\0"),
        footer_bytes(1, flags=b"\x0f"),
        footer_bytes(1, flags=b"\x11"),
        footer_bytes(1, flags=b"\x41"),
        footer_bytes(1, flags=b"\xff"),
    ],
)
def test_a_footer_that_does_not_add_up_is_refused(data):
    assert len(pack.decode_footer(footer_bytes(1))) == 1
    with pytest.raises(FormatError):
        pack.decode_footer(data)


def test_more_frames_than_the_format_allows_are_refused():
    with pytest.raises(FormatError):
        pack.decode_footer(footer_bytes(pack.FRAMES_LIMIT + 1, frames=pack.FRAMES_LIMIT + 1))


ZSTD_OF_64 = bytes.fromhex("28b52ffd2040030200") + b"a"
# A frame that claims 4 GiB of content, and one that does not say how long its content is.
ZSTD_GIANT = bytes.fromhex("28b52ffda00000000001000000030200")[:9] + bytes.fromhex("030200") + b"a"
ZSTD_UNSIZED = bytes.fromhex("28b52ffd0058030200") + b"a"


@pytest.mark.parametrize(
    ("content", "raw"),
    [
        (ZSTD_OF_64, 63),
        (ZSTD_OF_64, 65),
        (ZSTD_OF_64, 0),
        (ZSTD_OF_64, 2**27 - 1),
        (ZSTD_OF_64[:-1], 64),
        (ZSTD_OF_64[:4], 64),
        (ZSTD_OF_64.replace(b"\x03\x02\x00", b"\x03\x04\x00"), 64),
        (ZSTD_GIANT, 64),
        (ZSTD_UNSIZED, 64),
        (b"", 64),
        (b"not zstd at all", 64),
    ],
)
def test_a_compressed_frame_of_another_length_is_refused(content, raw):
    good, location = one_frame(ZSTD_OF_64, flags=ids.CHUNK | pack.COMPRESSED, raw=64)
    assert opened(good).read(ONE, location) == b"a" * 64
    bad, location = one_frame(content, flags=ids.CHUNK | pack.COMPRESSED, raw=raw)
    with pytest.raises(IntegrityError):
        opened(bad).read(ONE, location)


@pytest.mark.parametrize("raw", [0, 4, 6, 2**27 - 1])
def test_a_plain_frame_of_another_length_is_refused(raw):
    data, location = one_frame(b"hello", raw=raw)
    with pytest.raises(IntegrityError):
        opened(data).read(ONE, location)


@pytest.mark.parametrize("change", [{"stored": 0}, {"stored": 15}, {"stored": 2**32 - 1}, {"offset": 2**32 - 1}])
def test_a_location_outside_the_pack_is_refused(change):
    data, location = one_frame(b"hello")
    assert opened(data).read(ONE, location) == b"hello"
    with pytest.raises(IntegrityError):
        opened(data).read(ONE, location._replace(**change))


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**32 - 1])
def test_a_wrong_length_of_the_footer_is_refused(length, golden):
    good = golden("pack", "data")
    bad = good.data[: -pack.TAIL_SIZE] + length.to_bytes(4, "little") + good.data[-pack.TRAILER_SIZE :]
    with pytest.raises(IntegrityError):
        opened(bad, key=good.input("key")).footer()


def test_the_tail_is_the_length_and_the_trailer(golden):
    data = golden("pack", "data").data
    length = int.from_bytes(data[-pack.TAIL_SIZE : -pack.TRAILER_SIZE], "little")
    assert pack.encode_tail(length, data[-pack.TRAILER_SIZE :]) == data[-pack.TAIL_SIZE :]
