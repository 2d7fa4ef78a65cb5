import zlib
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import FormatError
from dvtool.formats import codec, journal, run

OTHER = "20250615-150640-zzzzzzzzzz"

texts = st.text(max_size=8)
times = st.integers(0, codec.TIME_LIMIT - 1)
counts = st.integers(0, 2**63)
steps = st.none() | st.integers(-(2**63), 2**64 - 1)
numbers = st.dictionaries(texts, st.floats(allow_nan=False), max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(texts, values, max_size=3)
records = st.one_of(
    st.builds(journal.Hello, time=times, rank=steps, shard=texts, pid=counts, host=texts),
    st.builds(journal.Values, time=times, split=texts, step=steps, values=numbers),
    st.builds(journal.Params, time=times, step=steps, values=documents),
    st.builds(journal.Seeds, values=documents),
    st.builds(journal.Said, made=st.booleans(), path=texts, kind=texts, role=texts),
    st.builds(journal.Table, name=texts, file=st.sampled_from(["a", "a.b", "..."]), key=texts, rows=counts),
    st.builds(journal.Named, name=texts, group=texts, stage=texts),
    st.builds(journal.System, time=times, values=numbers),
    st.builds(journal.Environment, values=documents),
    st.builds(journal.Note, text=texts),
    st.builds(journal.Bye, time=times, lost=counts, why=texts),
)
begins = st.builds(
    journal.Begin,
    version=st.just(1),
    id=st.just(OTHER),
    started=times,
    name=texts,
    group=texts,
    stage=st.sampled_from(run.STAGES),
    parent=st.just(""),
    author=texts,
    command=st.lists(texts, max_size=3).map(tuple),
    directory=texts,
    snapshot=st.just(b"") | st.binary(min_size=32, max_size=32),
    dirty=st.booleans(),
    inputs=st.lists(st.tuples(texts, texts, st.sampled_from(run.LEVELS)), max_size=3).map(tuple),
    outputs=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    params=documents,
    code=documents,
    environment=documents,
    trace=texts,
    notes=st.lists(texts, max_size=3).map(tuple),
)
ends = st.builds(
    journal.End,
    time=times,
    code=steps,
    signal=steps,
    why=texts,
    cpu=st.none() | st.floats(0, allow_nan=False),
    memory=st.none() | counts,
)

HELLO = journal.Hello(time=1, rank=None, shard="", pid=2, host="h")
LOSS = journal.Values(time=3, split="train", step=4, values={"loss": 0.5})
LAST = journal.Bye(time=5, lost=0, why="")
SMALL = [HELLO, LOSS, journal.Seeds(values={"a": 6}), LAST]


def written(found):
    return journal.header() + b"".join(map(journal.encode, found))


def ends_of(found):
    """Where each record ends, the header first."""
    places = [journal.HEADER_SIZE]
    for record in found:
        places.append(places[-1] + len(journal.encode(record)))
    return places


def test_golden_bytes_say_what_they_said(vector, plain):
    if vector.name.startswith("begin"):
        assert plain(journal.decode_begin(vector.data)) == vector.value
    elif vector.name.startswith("end"):
        assert plain(journal.decode_end(vector.data)) == vector.value
    else:
        found, rest = journal.decode(vector.data)
        assert {"records": plain(found), "rest": rest} == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    if vector.name.startswith("begin"):
        assert journal.encode_begin(journal.decode_begin(vector.data)) == vector.data
    elif vector.name.startswith("end"):
        assert journal.encode_end(journal.decode_end(vector.data)) == vector.data
    else:
        found, rest = journal.decode(vector.data)
        assert written(found).startswith(vector.data[: len(vector.data) - rest])


def test_golden_bytes_show_every_kind_of_record(golden):
    found, rest = journal.decode(golden("journal", "every-record").data)
    assert rest == 0
    assert {type(record) for record in found} == set(journal.Record.__args__)


@given(found=st.lists(records, max_size=6))
def test_records_come_back_as_they_went_in(found):
    data = written(found)
    assert journal.decode(data) == (found, 0)
    assert list(journal.walk(memoryview(data))) == list(zip(found, ends_of(found)[1:], strict=True))


@given(begin=begins, end=ends)
def test_a_beginning_and_an_end_come_back_as_they_went_in(begin, end):
    assert journal.decode_begin(journal.encode_begin(begin)) == begin
    assert journal.decode_end(journal.encode_end(end)) == end


def test_a_journal_that_was_cut_anywhere_has_the_records_before():
    data, places = written(SMALL), ends_of(SMALL)
    for length in range(len(data)):
        whole = [at for at in places if at <= length]
        found, rest = journal.decode(data[:length])
        assert found == SMALL[: max(len(whole) - 1, 0)]
        assert rest == length - max(whole, default=0)


def test_a_journal_that_is_damaged_anywhere_has_the_records_before_and_nothing_else():
    data, places = written(SMALL), ends_of(SMALL)
    for at in range(len(data)):
        for change in (1, 0x80, 0xFF):
            bad = bytearray(data)
            bad[at] ^= change
            if at < journal.HEADER_SIZE:
                with pytest.raises(FormatError):
                    journal.decode(bytes(bad))
                continue
            before = [place for place in places if place <= at]
            found, rest = journal.decode(bytes(bad))
            assert found == SMALL[: len(before) - 1]
            assert rest == len(data) - before[-1]


def test_a_journal_whose_end_is_zeros_has_the_records_before():
    data = written(SMALL)
    for zeros in (1, 8, 9, 4096):
        assert journal.decode(data + bytes(zeros)) == (SMALL, zeros)
        assert journal.decode(data[:-3] + bytes(zeros + 3))[0] == SMALL[:-1]


def test_what_lies_behind_the_damage_is_not_looked_for():
    lost = journal.framed(b"\xc1")
    assert journal.decode(written([HELLO]) + lost + journal.encode(LAST)) == (
        [HELLO],
        len(lost) + len(journal.encode(LAST)),
    )


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"dvjourn\0",
        bytes(journal.HEADER_SIZE),
        b"DVJOURNL\1\0\0\0",
        b"not a journal of anything",
        b"PAR1" + bytes(20),
    ],
)
def test_other_files_are_no_journals(data):
    with pytest.raises(FormatError, match="no journal"):
        journal.decode(data)


@pytest.mark.parametrize("version", [0, 2, 256, 2**32 - 1])
def test_other_versions_are_refused(version, golden):
    data = journal.MAGIC + version.to_bytes(4, "little")
    for read in (journal.decode, lambda data: list(journal.walk(data))):
        with pytest.raises(FormatError, match=f"version {version}"):
            read(data + journal.encode(LAST))
    begin = msgspec.msgpack.decode(golden("journal", "begin").data)
    with pytest.raises(FormatError, match=f"version {version}"):
        journal.decode_begin(msgspec.msgpack.encode(begin | {"version": version}))
    with pytest.raises(FormatError, match=f"version {version}"):
        journal.decode_begin(msgspec.msgpack.encode({"version": version, "id": 1, "else": []}))


@pytest.mark.parametrize("length", [2**22 + 1, 2**31, 2**32 - 1])
def test_a_length_is_not_believed(length):
    frame = length.to_bytes(4, "little") + bytes(4)
    assert journal.decode(written([HELLO]) + frame + b"\x93") == ([HELLO], 9)


def test_a_record_above_the_limit_is_neither_written_nor_read():
    most = journal.RECORD_LIMIT - len(codec.encode(journal.Note(text=""))) - 4
    note = journal.Note(text="x" * most)
    assert len(journal.encode(note)) == journal.RECORD_LIMIT + journal.FRAME_SIZE
    assert journal.decode(written([note, LAST])) == ([note, LAST], 0)
    longer = journal.Note(text="x" * (most + 1))
    with pytest.raises(FormatError, match="larger"):
        journal.encode(longer)
    whole = journal.framed(codec.encode(longer))
    assert journal.decode(journal.header() + whole) == ([], len(whole))


ODD = [
    journal.Hello(time=-1, rank=None, shard="", pid=1, host=""),
    journal.Values(time=codec.TIME_LIMIT, split="", step=None, values={}),
    journal.System(time=-1, values={}),
    journal.Bye(time=2**64 - 1, lost=0, why=""),
    journal.Params(time=-1, step=None, values={}),
    journal.Params(time=1, step=None, values={"a": b"bytes"}),
    journal.Params(time=1, step=None, values={"a": [{1: 2}]}),
    journal.Params(time=1, step=None, values={"a": msgspec.msgpack.Ext(5, b"")}),
    journal.Seeds(values={"a": datetime(2025, 6, 15, tzinfo=UTC)}),
    journal.Environment(values={"a": {"b": b""}}),
    *(journal.Table(name="a", file=name, key="", rows=1) for name in ("", ".", "..", "a/b", "/etc/passwd", "a\0")),
    journal.Table(name="a", file="a", key="", rows=-1),
]


@pytest.mark.parametrize("record", ODD)
def test_an_impossible_record_ends_the_journal_and_is_not_written(record):
    with pytest.raises(FormatError):
        journal.encode(record)
    bad = journal.framed(msgspec.msgpack.encode(record))
    assert journal.decode(written([HELLO]) + bad + journal.encode(LAST))[0] == [HELLO]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x90",
        b"\xc0",
        b"\x91\xa6nobody",
        b"\x91\x01",
        b"\x91\xa4note",
        b"\x92\xa4note\x01",
        b"\x92\xa4note\xa2\xed\xa0",
        b"\x92\xa4note\xa1a\x00",
        b"\x95\xa6values\x01\xa0\xc0\x81\xa1a\xa1b",
        b"\x95\xa6values\xd6\xff\x00\x00\x00\x01\xa0\xc0\x80",
        b"\x94\xa6params\x01\xc0\x81\xa1a\xc7\x0c\xff" + b"\xff" * 12,
        b"\x94\xa6params\x01\xc0\x81\xa1a\x81\x80\x01",
        b"\x94\xa6params\x01\xc0\x81\xa1a\xdd\xff\xff\xff\xff",
        b"\x94\xa6params\x01\xc0\x81\xa1a" + b"\x91" * 100_000,
        b"\x92\xa5seeds\x81\x01\x01",
    ],
)
def test_a_payload_that_is_no_record_ends_the_journal(payload):
    assert journal.decode(written([HELLO]) + journal.framed(payload) + journal.encode(LAST))[0] == [HELLO]


@pytest.mark.parametrize("value", [2**64, "\ud800", {1: 1}, object(), 1j, [b""]])
def test_what_a_program_says_that_cannot_be_written_is_our_error(value):
    for record in (journal.Params(time=1, step=None, values={"a": value}), journal.Seeds(values={"a": value})):
        with pytest.raises(FormatError):
            journal.encode(record)


@pytest.mark.parametrize("value", [2**64, "0.5", None, True, b"", [0.5]])
def test_a_value_that_is_no_number_is_not_written(value):
    with pytest.raises(FormatError):
        journal.encode(journal.Values(time=1, split="", step=None, values={"a": value}))
    with pytest.raises(FormatError):
        journal.encode(journal.System(time=1, values={"a": value}))


def test_positions_that_a_newer_dv_adds_are_passed_over():
    longer = journal.framed(msgspec.msgpack.encode([*msgspec.msgpack.decode(codec.encode(LAST)), "more", {}]))
    assert journal.decode(written([HELLO]) + longer + journal.encode(LOSS)) == ([HELLO, LAST, LOSS], 0)


@pytest.fixture
def begin(golden):
    return journal.decode_begin(golden("journal", "begin").data)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "../../store"},
        {"parent": "x"},
        {"parent": "20250615-150640-0123456789"},
        {"stage": "sleep"},
        {"snapshot": bytes(31)},
        {"started": -1},
        {"started": codec.TIME_LIMIT},
        {"inputs": (("a", "", "guess"),)},
        {"params": {"a": b""}},
        {"code": {"a": b""}},
        {"environment": {"a": {"b": b""}}},
        {"params": {"a": "x" * journal.BEGIN_LIMIT}},
    ],
)
def test_an_impossible_beginning_is_refused(changes, begin):
    assert begin.id == "20250615-150640-0123456789"
    bad = msgspec.structs.replace(begin, **changes)
    with pytest.raises(FormatError):
        journal.decode_begin(msgspec.msgpack.encode(bad))
    with pytest.raises(FormatError):
        journal.encode_begin(bad)


@pytest.mark.parametrize(
    "changes",
    [
        {"time": -1},
        {"time": codec.TIME_LIMIT},
        {"memory": -1},
        {"cpu": -0.5},
        {"why": "x" * journal.RECORD_LIMIT},
    ],
)
def test_an_impossible_end_is_refused(changes, golden):
    bad = msgspec.structs.replace(journal.decode_end(golden("journal", "end").data), **changes)
    with pytest.raises(FormatError):
        journal.decode_end(msgspec.msgpack.encode(bad))
    with pytest.raises(FormatError):
        journal.encode_end(bad)


@pytest.mark.parametrize("name", ["begin", "end"])
def test_no_part_of_a_beginning_or_an_end_is_one(name, golden):
    data = golden("journal", name).data
    decode = {"begin": journal.decode_begin, "end": journal.decode_end}[name]
    for length in range(len(data)):
        with pytest.raises(FormatError):
            decode(data[:length])
    with pytest.raises(FormatError):
        decode(data + b"\0")
    kept = msgspec.msgpack.decode(data)
    assert decode(msgspec.msgpack.encode(kept | {"later": [1]})) == decode(data)
    for key in kept:
        with pytest.raises(FormatError):
            decode(msgspec.msgpack.encode({each: kept[each] for each in kept if each != key}))


def test_the_checksum_is_that_of_zlib():
    payload = codec.encode(LAST)
    assert (
        journal.encode(LAST) == len(payload).to_bytes(4, "little") + zlib.crc32(payload).to_bytes(4, "little") + payload
    )
