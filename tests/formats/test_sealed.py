import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import digest
from dvtool.errors import DvError, FormatError, IntegrityError, KeyAccessError
from dvtool.formats import sealed

KEY = bytes(range(32))
LABEL = bytes(15) + b"\1"
SALT = bytes(31) + b"\2"
KINDS = [
    sealed.LOG_ENTRY,
    sealed.KEY_FILE,
    sealed.LOG_KEY,
    sealed.CACHE,
    sealed.LOCATOR,
    sealed.LOCATOR_KEY,
    sealed.ACKNOWLEDGEMENT,
]


def blob(payload=b"payload", context=b"here", kind=sealed.KEY_FILE):
    return sealed.seal(kind, KEY, LABEL, SALT, context, payload)


def read(data, context=b"here", kind=sealed.KEY_FILE, key=KEY):
    return sealed.open_blob(kind, key, context, data, what="it")


def context_of(vector):
    """Where a golden blob belongs: to a place in a store, or to an erasure."""
    if "context" in vector.inputs:
        return vector.input("context")
    return vector.input("store") + vector.inputs["place"].encode()


def with_trailer(body):
    return body + digest.accident(body)


def test_golden_bytes_say_what_they_said(vector):
    kind = vector.value["kind"]
    context = context_of(vector)
    payload = sealed.open_blob(kind, vector.input("longterm"), context, vector.data, what="it")
    assert payload.hex() == vector.value["payload"]
    assert sealed.label_of(vector.data, kind, what="it").hex() == vector.value["label"]


def test_golden_bytes_are_written_again_as_they_were(vector):
    kept, context = vector.value, context_of(vector)
    again = sealed.seal(
        kept["kind"],
        vector.input("longterm"),
        bytes.fromhex(kept["label"]),
        vector.input("salt"),
        context,
        bytes.fromhex(kept["payload"]),
    )
    assert again == vector.data


def test_every_kind_has_golden_bytes(generator):
    found = {vector.value["kind"] for vector in generator.vectors() if vector.format == "sealed"}
    assert found == set(KINDS)


@given(payload=st.binary(max_size=300), context=st.binary(max_size=80), kind=st.sampled_from(KINDS))
def test_a_payload_comes_back_as_it_went_in(payload, context, kind):
    data = blob(payload, context, kind)
    assert len(data) == sealed.HEADER_SIZE + len(payload) + 16 + sealed.TRAILER_SIZE
    assert read(data, context, kind) == payload
    assert sealed.label_of(data, kind, what="it") == LABEL


@given(payload=st.binary(min_size=16, max_size=100))
def test_a_blob_does_not_show_its_payload(payload):
    assert payload not in blob(payload)[sealed.HEADER_SIZE :]


def test_a_flipped_bit_anywhere_is_noticed():
    good = blob()
    for at in range(len(good)):
        for bit in (1, 128):
            bad = bytearray(good)
            bad[at] ^= bit
            with pytest.raises(DvError):
                read(bytes(bad))


def test_a_flipped_bit_is_noticed_even_when_the_checksum_was_made_to_match():
    body = blob()[: -sealed.TRAILER_SIZE]
    for at in range(len(body)):
        bad = bytearray(body)
        bad[at] ^= 1
        with pytest.raises(DvError):
            read(with_trailer(bytes(bad)))


def test_no_part_of_a_blob_opens():
    good = blob()
    for length in range(len(good)):
        with pytest.raises(DvError):
            read(good[:length])
    for length in range(len(good) - sealed.TRAILER_SIZE):
        with pytest.raises(DvError):
            read(with_trailer(good[:length]))


def test_bytes_after_a_blob_are_noticed():
    with pytest.raises(IntegrityError):
        read(blob() + b"\0")
    with pytest.raises(KeyAccessError):
        read(with_trailer(blob()))


def test_damage_is_told_from_a_wrong_key():
    bad = bytearray(blob())
    bad[sealed.HEADER_SIZE] ^= 1
    with pytest.raises(IntegrityError):
        read(bytes(bad))
    with pytest.raises(KeyAccessError):
        read(blob(), key=bytes(32))


def test_a_blob_opens_only_where_it_was_put():
    with pytest.raises(KeyAccessError):
        read(blob(), context=b"there")
    with pytest.raises(KeyAccessError):
        read(blob(), context=b"")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != sealed.KEY_FILE])
def test_a_blob_is_not_taken_for_one_of_another_kind(kind):
    with pytest.raises(FormatError):
        read(blob(), kind=kind)
    relabelled = bytearray(blob()[: -sealed.TRAILER_SIZE])
    relabelled[4] = kind
    with pytest.raises(KeyAccessError):
        read(with_trailer(bytes(relabelled)), kind=kind)


@pytest.mark.parametrize(
    ("at", "new", "words"),
    [
        (0, b"else", "something else"),
        (5, b"\x02", "version 2"),
        (5, b"\x00", "version 0"),
        (5, b"\xff", "version 255"),
    ],
)
def test_other_magic_and_versions_are_named(at, new, words):
    body = blob()[: -sealed.TRAILER_SIZE]
    with pytest.raises(FormatError, match=words):
        read(with_trailer(body[:at] + new + body[at + len(new) :]))


def test_two_salts_give_unrelated_bytes():
    one = sealed.seal(sealed.CACHE, KEY, LABEL, SALT, b"", bytes(64))
    two = sealed.seal(sealed.CACHE, KEY, LABEL, bytes(32), b"", bytes(64))
    assert one[sealed.HEADER_SIZE :] != two[sealed.HEADER_SIZE :]
