import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import FormatError
from dvtool.formats import clone, codec, log, sealed

KEY = bytes(range(32))
STORE, OWN, ERASURE = bytes(16), b"c" * 16, b"e" * 16
GOOD = clone.Registration(id=OWN, nonce=bytes(31) + b"\1", registered=5, expires=6)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)


def is_record(vector):
    return "salt" not in vector.inputs


def changed(**changes):
    """A registration, encoded without a look at what it says."""
    return codec.encode(msgspec.structs.replace(GOOD, **changes))


def said(salt=bytes(32), time=7, key=KEY, erasure=ERASURE, identity=OWN, store=STORE):
    return clone.acknowledge(key, store, identity, erasure, salt, time)


def read(blob, key=KEY, erasure=ERASURE, identity=OWN, store=STORE):
    return clone.acknowledged(key, store, identity, erasure, blob)


def test_golden_bytes_say_what_they_said(vector, plain):
    if is_record(vector):
        assert plain(clone.decode(vector.data)) == vector.value
        return
    key, store, identity, erasure = (vector.input(name) for name in ("key", "store", "clone", "erasure"))
    assert plain(clone.acknowledged(key, store, identity, erasure, vector.data)) == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    if is_record(vector):
        assert clone.encode(clone.decode(vector.data)) == vector.data
        return
    key, store, identity, erasure = (vector.input(name) for name in ("key", "store", "clone", "erasure"))
    again = clone.acknowledge(key, store, identity, erasure, vector.input("salt"), vector.value["time"])
    assert again == vector.data


@given(
    registered=st.integers(0, 2**40),
    lifetime=st.integers(0, 2**40),
    name=TEXTS,
    gone=st.none() | st.tuples(st.integers(1, 2**40), TEXTS),
    nonce=st.binary(min_size=32, max_size=32),
)
def test_a_registration_comes_back_as_it_went_in(registered, lifetime, name, gone, nonce):
    forgotten, author = gone or (0, "")
    value = clone.Registration(
        id=nonce[:16],
        nonce=nonce,
        registered=registered,
        expires=registered + lifetime if lifetime else 0,
        name=name,
        forgotten=forgotten,
        author=author,
    )
    assert clone.decode(clone.encode(value)) == value


@pytest.mark.parametrize(
    "changes",
    [
        {"id": bytes(15)},
        {"id": bytes(32)},
        {"nonce": b""},
        {"nonce": bytes(33)},
        {"registered": -1},
        {"registered": codec.TIME_LIMIT, "expires": 0},
        {"expires": -1},
        {"expires": 5},
        {"expires": codec.TIME_LIMIT},
        {"forgotten": -1},
        {"forgotten": codec.TIME_LIMIT},
        {"author": "somebody"},
        {"name": "x" * (clone.TEXT_LIMIT + 1)},
        {"forgotten": 9, "author": "x" * (clone.TEXT_LIMIT + 1)},
        {"sections": {"x": msgspec.Raw(codec.encode("x" * clone.SIZE_LIMIT))}},
    ],
)
def test_an_impossible_registration_is_refused(changes):
    assert clone.decode(changed()) == GOOD
    with pytest.raises(FormatError):
        clone.decode(changed(**changes))
    with pytest.raises(FormatError):
        clone.encode(msgspec.structs.replace(GOOD, **changes))


def test_what_has_no_encoding_is_refused_before_it_is_written():
    with pytest.raises(FormatError):
        clone.encode(msgspec.structs.replace(GOOD, name="\ud800"))


def test_two_equal_registrations_differ_in_the_nonce_alone_and_so_in_every_id():
    assert clone.encode(GOOD) != clone.encode(msgspec.structs.replace(GOOD, nonce=bytes(32)))


def test_a_clone_is_awaited_until_it_expires_or_is_forgotten():
    lasting = msgspec.structs.replace(GOOD, expires=0)
    assert lasting.is_awaited(2**60)
    assert GOOD.is_awaited(5)
    assert not GOOD.is_awaited(6)
    assert not msgspec.structs.replace(lasting, forgotten=1).is_awaited(0)


def test_the_ref_of_a_clone_is_one_that_the_log_takes():
    log.check_ref(clone.ref_name(bytes(range(16))))


@given(st.integers(0, codec.TIME_LIMIT - 1), st.binary(min_size=32, max_size=32))
def test_an_acknowledgement_comes_back_as_it_went_in(time, salt):
    assert read(said(salt, time)) == clone.Acknowledgement(time=time)


@pytest.mark.parametrize("other", [{"key": bytes(32)}, {"erasure": OWN}, {"identity": ERASURE}, {"store": OWN}])
def test_an_acknowledgement_counts_at_its_own_place_alone(other):
    assert read(said(), **other) is None


@given(st.data())
def test_an_acknowledgement_that_was_changed_does_not_count(data):
    blob = bytearray(said())
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    assert read(bytes(blob)) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_no_acknowledgement(blob):
    assert read(blob) is None


@pytest.mark.parametrize("payload", [b"", b"\x00", codec.encode((-1, {})), codec.encode((codec.TIME_LIMIT, {}))])
def test_a_sealed_blob_that_says_no_time_does_not_count(payload):
    context = STORE + clone.file_name(OWN, ERASURE).encode()
    blob = sealed.seal(sealed.ACKNOWLEDGEMENT, KEY, bytes(16), bytes(32), context, payload)
    assert read(blob) is None


def test_an_overlong_file_is_not_even_opened():
    context = STORE + clone.file_name(OWN, ERASURE).encode()
    note = msgspec.Raw(codec.encode(bytes(clone.ACK_LIMIT)))
    payload = codec.encode(clone.Acknowledgement(time=1, sections={"note": note}))
    assert read(sealed.seal(sealed.ACKNOWLEDGEMENT, KEY, bytes(16), bytes(32), context, payload)) is None


@pytest.mark.parametrize("name", ["", "key-change", "g" * 32, "A" * 32, "a" * 31, "a" * 33, "a" * 32 + "\n"])
def test_names_that_are_no_ids_are_told(name):
    assert clone.is_id("0123456789abcdef" * 2)
    assert not clone.is_id(name)
