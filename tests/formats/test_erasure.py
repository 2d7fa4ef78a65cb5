import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import DvError, FormatError, IntegrityError, KeyAccessError
from dvtool.formats import codec, erasure, run, sealed

KEY = bytes(range(32))
SALT = bytes(31) + b"\2"
ID = bytes(range(16))
OTHER = bytes(16)
OLD = bytes(range(100, 132))
NONCE = bytes(range(50, 82))
LONG = "x" * (erasure.TEXT_LIMIT + 1)

texts = st.text(max_size=8)
times = st.integers(0, codec.TIME_LIMIT - 1)
counts = st.integers(0, 2**63)
hashes = st.binary(min_size=32, max_size=32)
run_ids = st.integers(0, 2**50 - 1).map(lambda bits: run.new_id("20250615-150640", bits.to_bytes(7, "big")))


def several(each):
    return st.lists(each, max_size=3).map(tuple)


decisions = st.builds(
    erasure.Decision,
    run=run_ids,
    direct=st.booleans(),
    decision=st.sampled_from(erasure.DECISIONS),
    note=texts,
    author=texts,
    time=times,
)
records = st.builds(
    erasure.Record,
    id=st.binary(min_size=16, max_size=16),
    revision=counts,
    nonce=hashes,
    store=st.binary(min_size=16, max_size=16),
    started=times,
    committed=times,
    finished=times,
    copies=st.sampled_from(erasure.COPIES),
    keep_path=st.booleans(),
    snapshots=counts,
    files=counts,
    contents=counts,
    runs=several(run_ids),
    successors=several(hashes),
    decisions=several(decisions),
    places=several(st.builds(erasure.Place, name=texts, done=st.booleans(), packs=counts, left=several(texts))),
    certificate=st.binary(max_size=20),
    sections=st.just({}),
)
locators = st.builds(
    erasure.Locator,
    patterns=several(texts),
    subjects=several(texts),
    authors=several(texts),
    rules=several(texts),
    contents=several(hashes),
    roots=several(texts),
    copies=st.sampled_from(erasure.COPIES),
    keep_path=st.booleans(),
    redact=st.booleans(),
    sections=st.just({}),
)


@pytest.fixture
def good(golden):
    """A record with something in every place."""
    return erasure.decode(golden("erasure", "everything").data)


@pytest.fixture
def locator(golden):
    """A locator with something in every place."""
    kept = golden("erasure", "locator")
    return erasure.open_locator(kept.data, kept.input("key"), kept.input("erasure"))


def replaced(record, /, **changes):
    return msgspec.structs.replace(record, **changes)


def refused(value):
    """A reader refuses these bytes, and a writer does not make them."""
    with pytest.raises(FormatError):
        erasure.decode(msgspec.msgpack.encode(value, order="deterministic"))
    with pytest.raises(FormatError):
        erasure.encode(value)


def refused_locator(value):
    """As :func:`refused`, of a locator, rightly sealed."""
    payload = msgspec.msgpack.encode(value, order="deterministic")
    with pytest.raises(FormatError):
        erasure.open_locator(sealed.seal(sealed.LOCATOR, KEY, bytes(16), SALT, ID, payload), KEY, ID)
    with pytest.raises(FormatError):
        erasure.seal_locator(value, KEY, ID, SALT)


def test_golden_bytes_say_what_they_said(vector, plain):
    if "key" in vector.inputs:
        found = plain(erasure.open_locator(vector.data, vector.input("key"), vector.input("erasure")))
    elif "nonce" in vector.inputs:
        key = erasure.unwrap(vector.data, vector.input("nonce"), vector.input("erasure"))
        assert erasure.is_for(vector.data, bytes.fromhex(vector.value["superseded"]))
        found = {"superseded": vector.data[:32].hex(), "key": key.hex()}
    else:
        found = plain(erasure.decode(vector.data))
    assert found == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    if "key" in vector.inputs:
        key, about, salt = (vector.input(name) for name in ("key", "erasure", "salt"))
        again = erasure.seal_locator(erasure.open_locator(vector.data, key, about), key, about, salt)
    elif "nonce" in vector.inputs:
        key, superseded = (bytes.fromhex(vector.value[name]) for name in ("key", "superseded"))
        again = erasure.wrap(key, superseded, *(vector.input(name) for name in ("nonce", "erasure", "salt")))
    else:
        again = erasure.encode(erasure.decode(vector.data))
    assert again == vector.data


@given(value=records)
def test_a_record_comes_back_as_it_went_in(value):
    data = erasure.encode(value)
    assert erasure.decode(data) == value
    assert erasure.encode(erasure.decode(data)) == data


@given(value=locators, key=hashes, about=st.binary(min_size=16, max_size=16), salt=hashes)
def test_a_locator_comes_back_as_it_went_in(value, key, about, salt):
    blob = erasure.seal_locator(value, key, about, salt)
    assert erasure.open_locator(blob, key, about) == value


@pytest.mark.parametrize("which", ["record", "locator"])
def test_sections_that_nobody_knows_are_kept_as_they_are(which, good, locator):
    odd = msgspec.Raw(b"\x82\xcd\x00\x01\xc4\x00\xc7\x01\x05\x00\x92\xcf\0\0\0\0\0\0\0\1\xc0")
    if which == "record":
        sections = erasure.decode(erasure.encode(replaced(good, sections={"x-a": odd}))).sections
    else:
        blob = erasure.seal_locator(replaced(locator, sections={"x-a": odd}), KEY, ID, SALT)
        sections = erasure.open_locator(blob, KEY, ID).sections
    assert bytes(sections["x-a"]) == bytes(odd)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": b""},
        {"id": bytes(15)},
        {"id": bytes(32)},
        {"store": bytes(17)},
        {"nonce": b""},
        {"nonce": bytes(31)},
        {"revision": -1},
        {"started": -1},
        {"started": codec.TIME_LIMIT},
        {"committed": -1},
        {"committed": codec.TIME_LIMIT},
        {"finished": -1},
        {"finished": 2**64 - 1},
        {"snapshots": -1},
        {"files": -1},
        {"contents": -1},
        {"copies": "burn"},
        {"runs": ("../../x",)},
        {"runs": ("",)},
        {"successors": (bytes(31),)},
        {"successors": (bytes(32), b"")},
        {"successors": (bytes(32),) * 2**19},
        {"runs": ("20250615-150640-0123456789",) * (2**19 + 2**18)},
        {"certificate": bytes(erasure.SIZE_LIMIT)},
        {"sections": {"x": msgspec.Raw(b"\xc6" + (2**24).to_bytes(4, "big") + bytes(2**24))}},
    ],
    ids="-".join,
)
def test_an_impossible_record_is_refused(changes, good):
    assert erasure.decode(erasure.encode(good)) == good
    refused(replaced(good, **changes))


@pytest.mark.parametrize(
    ("column", "changes"),
    [
        ("decisions", {"run": ""}),
        ("decisions", {"run": "20250615-150640-012345678O"}),
        ("decisions", {"decision": ""}),
        ("decisions", {"decision": "burn"}),
        ("decisions", {"time": -1}),
        ("decisions", {"time": codec.TIME_LIMIT}),
        ("decisions", {"note": LONG}),
        ("decisions", {"author": LONG}),
        ("places", {"packs": -1}),
        ("places", {"name": LONG}),
        ("places", {"left": ("a", LONG)}),
        ("places", {"left": ("",) * (erasure.ITEM_LIMIT + 1)}),
    ],
)
def test_an_impossible_part_of_a_record_is_refused(column, changes, good):
    before = getattr(good, column)
    refused(replaced(good, **{column: (*before[:-1], replaced(before[-1], **changes))}))


@pytest.mark.parametrize("at", range(18))
def test_a_list_longer_than_the_format_allows_is_refused_before_it_is_read(at, good):
    """A header that claims more than there is must not take memory for it."""
    parts = [getattr(good, name) for name in erasure.Record.__struct_fields__]
    assert len(parts) == 18
    parts[at] = msgspec.Raw(b"\xdd\xff\xff\xff\xff")
    with pytest.raises(FormatError):
        erasure.decode(msgspec.msgpack.encode(parts))


def test_what_is_true_of_odd_records_is_taken(good):
    odd = {
        "started": codec.TIME_LIMIT - 1,
        "committed": 0,
        "runs": (),
        "places": (erasure.Place(name="", done=False, left=("x" * erasure.TEXT_LIMIT,)),),
        "copies": "keep",
        "certificate": b"\xff\0",
    }
    for name, value in odd.items():
        assert getattr(erasure.decode(erasure.encode(replaced(good, **{name: value}))), name) == value


@pytest.mark.parametrize(
    "changes",
    [{"files": 2**64}, {"copies": "\udcff"}, {"places": (erasure.Place(name="\udcff", done=True),)}, {"files": "1"}],
)
def test_what_cannot_be_written_is_our_error(changes, good):
    with pytest.raises(FormatError):
        erasure.encode(replaced(good, **changes))


def test_what_a_user_gave_that_cannot_be_written_is_our_error(locator):
    with pytest.raises(FormatError):
        erasure.seal_locator(replaced(locator, patterns=("\udcff",)), KEY, ID, SALT)


@pytest.mark.parametrize(
    "changes",
    [
        {"copies": "burn"},
        {"contents": (bytes(31),)},
        {"contents": (bytes(32), b"")},
        {"patterns": ("a",) * (erasure.ITEM_LIMIT + 1)},
        {"subjects": ("x" * erasure.LOCATOR_LIMIT,)},
        {"redact": 1},
    ],
    ids="-".join,
)
def test_an_impossible_locator_is_refused(changes, locator):
    refused_locator(replaced(locator, **changes))


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x90", b"\x98", bytes(200)])
def test_a_payload_that_is_no_locator_is_refused(data):
    with pytest.raises(FormatError):
        erasure.open_locator(sealed.seal(sealed.LOCATOR, KEY, bytes(16), SALT, ID, data), KEY, ID)


def test_a_locator_opens_with_its_key_and_for_its_erasure_only(locator):
    blob = erasure.seal_locator(locator, KEY, ID, SALT)
    for key, about in [(bytes(32), ID), (KEY, OTHER), (KEY, b"")]:
        with pytest.raises(KeyAccessError):
            erasure.open_locator(blob, key, about)


def test_a_sealed_locator_shows_nothing_of_what_it_is_about(locator):
    blob = erasure.seal_locator(locator, KEY, ID, SALT)
    for text in (*locator.patterns, *locator.subjects, *locator.authors, *locator.rules):
        assert text.encode() not in blob
    assert locator.contents[0] not in blob


def test_the_key_of_a_locator_opens_with_the_nonce_of_the_object_and_for_its_erasure_only():
    wrapped = erasure.wrap(KEY, OLD, NONCE, ID, SALT)
    assert erasure.unwrap(wrapped, NONCE, ID) == KEY
    for nonce, about in [(bytes(32), ID), (NONCE, OTHER), (KEY, ID), (OLD, ID)]:
        with pytest.raises(KeyAccessError):
            erasure.unwrap(wrapped, nonce, about)


def test_a_wrapped_key_that_is_said_to_be_for_another_object_does_not_open():
    wrapped = erasure.wrap(KEY, OLD, NONCE, ID, SALT)
    moved = bytes(32) + wrapped[32:]
    assert erasure.is_for(moved, bytes(32))
    assert not erasure.is_for(moved, OLD)
    with pytest.raises(KeyAccessError):
        erasure.unwrap(moved, NONCE, ID)


def test_a_locator_is_not_taken_for_its_key_nor_the_key_for_a_locator(locator):
    wrapping = erasure.wrap(KEY, OLD, NONCE, ID, SALT)
    with pytest.raises(FormatError):
        erasure.open_locator(wrapping[32:], KEY, ID)
    with pytest.raises(FormatError):
        erasure.unwrap(OLD + erasure.seal_locator(locator, KEY, ID, SALT), NONCE, ID)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(size):
    with pytest.raises(FormatError):
        erasure.unwrap(erasure.wrap(bytes(size), OLD, NONCE, ID, SALT), NONCE, ID)


def test_damage_to_a_wrapped_key_is_noticed_wherever_it_is():
    wrapped = erasure.wrap(KEY, OLD, NONCE, ID, SALT)
    for length in range(len(wrapped)):
        with pytest.raises(DvError):
            erasure.unwrap(wrapped[:length], NONCE, ID)
    for at in range(len(wrapped)):
        bad = bytearray(wrapped)
        bad[at] ^= 1
        with pytest.raises((IntegrityError, KeyAccessError)):
            erasure.unwrap(bytes(bad), NONCE, ID)


def test_two_objects_have_the_key_under_keys_that_have_nothing_in_common():
    one, two = (erasure.wrap(KEY, OLD, nonce, ID, SALT) for nonce in (NONCE, bytes(32)))
    assert one[:32] == two[:32]
    assert one[32 + sealed.HEADER_SIZE :] != two[32 + sealed.HEADER_SIZE :]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("E-7f3a", "7f3a"),
        ("e-7F3A", "7f3a"),
        ("7f3a", "7f3a"),
        ("E-" + "0" * 32, "0" * 32),
        ("E-7f3", None),
        ("E-", None),
        ("", None),
        ("E-" + "0" * 33, None),
        ("E-7f3g", None),
        ("E-E-7f3a", None),
        ("7f 3a", None),
        ("E-\u0662\u0662\u0662\u0662", None),
    ],
)
def test_an_erasure_is_meant_by_its_first_digits(text, meant):
    assert erasure.parse_id(text) == meant


@given(st.binary(min_size=16, max_size=16))
def test_what_people_call_an_erasure_means_it(identity):
    digits = erasure.parse_id(erasure.short(identity))
    assert digits is not None
    assert identity.hex().startswith(digits)
    assert erasure.ref_name(identity) == f"erasures/{identity.hex()}"
