import tracemalloc
from enum import IntEnum

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import paths
from dvtool.errors import FormatError
from dvtool.formats import codec, run

ONE = bytes(31) + b"\1"
ID = "20250615-150640-0123456789"
OTHER = "20250615-150640-zzzzzzzzzz"
LONG = "x" * (run.TEXT_LIMIT + 1)

texts = st.text(max_size=8)
times = st.integers(0, codec.TIME_LIMIT - 1)
counts = st.integers(0, 2**63)
steps = st.none() | st.integers(-(2**63), 2**64 - 1)
hashes = st.just(b"") | st.binary(min_size=32, max_size=32)
numbers = st.floats(allow_nan=False)
places = st.lists(st.text("abc\u00fc .", min_size=1, max_size=4), min_size=1, max_size=3).map("/".join)
places = places.filter(lambda path: not any(part in {".", ".."} or paths.is_reserved(part) for part in path.split("/")))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(texts, values, max_size=3)
run_ids = st.integers(0, 2**50 - 1).map(lambda bits: run.new_id("20250615-150640", bits.to_bytes(7, "big")))


def several(record, *unique):
    """Up to three records, no two of which agree in all of these fields."""
    by = (lambda each: tuple(getattr(each, name) for name in unique)) if unique else None
    return st.lists(record, max_size=3, unique_by=by).map(tuple)


inputs = st.builds(
    run.Input,
    source=st.integers(0, 1),
    path=places | st.just(""),
    role=texts,
    known=st.sampled_from(run.LEVELS),
    files=counts,
    size=counts,
    known_as=hashes,
)
outputs = st.builds(run.Output, path=places, origin=texts, kind=texts, files=counts, size=counts, missing=st.booleans())
metrics = st.builds(
    run.Metric,
    name=texts,
    split=texts,
    count=st.integers(1, 2**63),
    step=steps,
    last=numbers,
    least=numbers,
    least_step=steps,
    greatest=numbers,
    greatest_step=steps,
)
workers = st.builds(
    run.Worker, rank=steps, shard=texts, pid=counts, host=texts, started=times, ended=times, lost=counts
)
runs = st.builds(
    run.Run,
    id=run_ids,
    revision=counts,
    nonce=st.binary(min_size=32, max_size=32),
    tree=st.binary(min_size=32, max_size=32),
    name=texts,
    group=texts,
    stage=st.sampled_from(run.STAGES),
    parent=st.just(""),
    status=st.sampled_from(run.STATUSES),
    author=texts,
    started=times,
    ended=times,
    command=st.lists(texts, max_size=3).map(tuple),
    directory=texts,
    sources=st.tuples(st.builds(run.Source, snapshot=hashes, dirty=st.booleans()), st.builds(run.Source, run=run_ids)),
    inputs=several(inputs),
    outputs=several(outputs, "path"),
    params=documents,
    changes=several(st.builds(run.Change, name=texts, time=times, step=steps, value=values)),
    seeds=documents,
    metrics=several(metrics, "name", "split"),
    samples=several(st.builds(run.Samples, name=texts, path=places, key=texts, rows=counts), "path"),
    workers=several(workers),
    code=st.builds(
        run.Code, commit=texts, patch=texts, untracked=st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
    ),
    environment=documents,
    prints=st.builds(run.Prints, data=hashes, results=hashes),
    ending=st.builds(
        run.Ending,
        code=steps,
        signal=steps,
        why=texts,
        cpu=st.none() | st.floats(0, allow_nan=False),
        memory=st.none() | counts,
    ),
    notes=st.lists(texts, max_size=3).map(tuple),
    sections=st.just({}),
)


@pytest.fixture
def good(golden):
    """A run with something in every place."""
    return run.decode(golden("run", "everything").data)


def replaced(record, /, **changes):
    return msgspec.structs.replace(record, **changes)


def first(records, /, **changes):
    """The same records, the first of them changed."""
    return (replaced(records[0], **changes), *records[1:])


def refused(value):
    """A reader refuses these bytes, and a writer does not make them."""
    with pytest.raises(FormatError):
        run.decode(msgspec.msgpack.encode(value, order="deterministic"))
    with pytest.raises(FormatError):
        run.encode(value)


def test_golden_bytes_say_what_they_said(vector, plain):
    assert plain(run.decode(vector.data)) == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    assert run.encode(run.decode(vector.data)) == vector.data


@given(value=runs)
def test_a_run_comes_back_as_it_went_in(value):
    data = run.encode(value)
    assert run.decode(data) == value
    assert run.encode(run.decode(data)) == data


def test_sections_that_nobody_knows_are_kept_as_they_are(good):
    odd = msgspec.Raw(b"\x82\xcd\x00\x01\xc4\x00\xc7\x01\x05\x00\x92\xcf\0\0\0\0\0\0\0\1\xc0")
    data = run.encode(replaced(good, sections={"x-a": odd, "x-b": msgspec.Raw(b"\xc3")}))
    again = run.decode(data)
    assert bytes(again.sections["x-a"]) == bytes(odd)
    assert run.encode(again) == data


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": ID.upper() + "Z"},
        {"id": ID[:-1] + "o"},
        {"id": ID + "\n"},
        {"id": "../../../../heads/main"},
        {"id": "\u0662" + ID[1:]},
        {"parent": "somebody"},
        {"parent": ID},
        {"revision": -1},
        {"nonce": b""},
        {"nonce": bytes(31)},
        {"nonce": bytes(33)},
        {"tree": b""},
        {"tree": bytes(33)},
        {"stage": "sleep"},
        {"status": ""},
        {"status": "running"},
        {"started": -1},
        {"started": codec.TIME_LIMIT},
        {"ended": -1},
        {"ended": 2**64 - 1},
        {"name": LONG},
        {"group": LONG},
        {"author": LONG},
        {"directory": LONG},
        {"command": ("a", LONG)},
        {"notes": (LONG,)},
        {"sources": (run.Source(snapshot=bytes(31)),) * 3},
        {"sources": (run.Source(run="x"),) * 3},
        {"sources": (run.Source(snapshot=ONE, run=OTHER),) * 3},
        {"sources": ()},
        {"prints": run.Prints(data=bytes(31))},
        {"prints": run.Prints(results=bytes(33))},
        {"ending": run.Ending(memory=-1)},
        {"ending": run.Ending(cpu=-0.5)},
        {"ending": run.Ending(why=LONG)},
        {"code": run.Code(patch=LONG)},
        {"code": run.Code(untracked=(("a", LONG),))},
        {"command": ("a",) * (run.ITEM_LIMIT + 1)},
        {"code": run.Code(untracked=(("a", ""),) * (run.ITEM_LIMIT + 1))},
    ],
)
def test_an_impossible_run_is_refused(changes, good):
    assert run.decode(run.encode(good)).id == good.id == ID
    refused(replaced(good, **changes))


@pytest.mark.parametrize(
    ("column", "changes"),
    [
        ("inputs", {"source": -2}),
        ("inputs", {"source": 3}),
        ("inputs", {"source": 2**63}),
        ("inputs", {"known": ""}),
        ("inputs", {"known": "guess"}),
        ("inputs", {"path": "../a"}),
        ("inputs", {"path": "/etc/passwd"}),
        ("inputs", {"path": "a//b"}),
        ("inputs", {"path": "a\0b"}),
        ("inputs", {"path": ".git/config"}),
        ("inputs", {"path": "a/.DV/store"}),
        ("inputs", {"source": run.OUTSIDE, "path": "a"}),
        ("inputs", {"source": run.OUTSIDE, "path": ""}),
        ("inputs", {"source": run.OUTSIDE, "path": "/a\0b"}),
        ("inputs", {"source": run.OUTSIDE, "path": "s3:/a"}),
        ("inputs", {"source": run.OUTSIDE, "path": "3s://a"}),
        ("inputs", {"source": run.OUTSIDE, "path": "s3://a\0b"}),
        ("inputs", {"source": run.OUTSIDE, "path": "/" + LONG}),
        ("inputs", {"role": LONG}),
        ("inputs", {"files": -1}),
        ("inputs", {"size": -1}),
        ("inputs", {"known_as": bytes(31)}),
        ("outputs", {"path": ""}),
        ("outputs", {"path": "../../../.bashrc"}),
        ("outputs", {"path": "/etc/passwd"}),
        ("outputs", {"path": "a/./b"}),
        ("outputs", {"path": "git~1/hooks"}),
        ("outputs", {"path": "plots/loss.png"}),
        ("outputs", {"origin": LONG}),
        ("outputs", {"kind": LONG}),
        ("outputs", {"files": -1}),
        ("outputs", {"size": -1}),
        ("changes", {"time": -1}),
        ("changes", {"time": codec.TIME_LIMIT}),
        ("changes", {"name": LONG}),
        ("changes", {"value": b"bytes"}),
        ("metrics", {"count": 0}),
        ("metrics", {"name": "score", "split": ""}),
        ("metrics", {"name": LONG}),
        ("metrics", {"split": LONG}),
        ("samples", {"path": ""}),
        ("samples", {"path": "samples/../../x"}),
        ("samples", {"rows": -1}),
        ("samples", {"key": LONG}),
        ("workers", {"pid": -1}),
        ("workers", {"lost": -1}),
        ("workers", {"started": -1}),
        ("workers", {"ended": codec.TIME_LIMIT}),
        ("workers", {"host": LONG}),
        ("workers", {"shard": LONG}),
    ],
)
def test_an_impossible_part_of_a_run_is_refused(column, changes, good):
    refused(replaced(good, **{column: first(getattr(good, column), **changes)}))


@pytest.mark.parametrize("column", ["sources", "inputs", "outputs", "changes", "metrics", "samples", "workers"])
def test_more_records_than_the_format_allows_are_refused(column, good):
    refused(replaced(good, **{column: getattr(good, column)[:1] * (run.ITEM_LIMIT + 1)}))


def test_two_tables_at_one_place_are_refused(good):
    refused(replaced(good, samples=good.samples * 2))


def test_what_is_true_of_odd_runs_is_taken(good):
    odd = {
        "inputs": first(good.inputs, path=""),
        "name": "x" * run.TEXT_LIMIT,
        "started": codec.TIME_LIMIT - 1,
        "ended": 0,
        "metrics": first(good.metrics, last=float("nan"), least=float("-inf"), step=-5),
        "parent": "",
        "params": {"": {"\U0001f600": [None, False, -(2**63), 2**64 - 1, float("nan")]}},
    }
    for name, value in odd.items():
        data = run.encode(replaced(good, **{name: value}))
        assert run.encode(run.decode(data)) == data


def nested(depth, wrap):
    value = 0
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("column", ["params", "seeds", "environment"])
@pytest.mark.parametrize(
    "value",
    [
        b"\xc4\x00",
        b"\xd6\xff\x00\x00\x00\x01",
        b"\xc7\x0c\xff" + bytes(12),
        b"\xc7\x0c\xff" + b"\xff" * 12,
        b"\xd4\xff\x00",
        b"\xd4\x05\x00",
        b"\x81\x01\x01",
        b"\x81\xc0\x01",
        b"\x82\x01\x01\xa1b\x01",
        b"\x81\x91\x01\x01",
        b"\x81\x80\x01",
        b"\x81\x91\x80\x01",
        b"\x82\xa1b\x01\xa1a\x01",
        b"\x82\xa1a\x01\xa1a\x01",
        b"\xa3\xed\xa0\x80",
        b"\xca\x00\x00\x00\x00",
        b"\xcc\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc1",
        b"\x91" * (run.DEPTH_LIMIT + 1) + b"\x01",
        b"\x81\xa1a" * 100_000 + b"\x01",
    ],
)
def test_documents_hold_nothing_but_texts_numbers_lists_and_maps(column, value, good):
    def written(raw):
        parts = [getattr(good, name) for name in run.Run.__struct_fields__]
        parts[run.Run.__struct_fields__.index(column)] = {"a": msgspec.Raw(raw)}
        return msgspec.msgpack.encode(parts, order="deterministic")

    assert getattr(run.decode(written(b"\x01")), column) == {"a": 1}
    with pytest.raises(FormatError):
        run.decode(written(value))


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}])
def test_nesting_is_taken_as_far_as_the_limit(wrap, good):
    deep = nested(run.DEPTH_LIMIT - 1, wrap)
    assert run.decode(run.encode(replaced(good, params={"a": deep}))).params == {"a": deep}
    refused(replaced(good, params={"a": wrap(deep)}))
    change = first(good.changes, value=wrap(deep))
    assert run.decode(run.encode(replaced(good, changes=change))).changes == change
    refused(replaced(good, changes=first(good.changes, value=wrap(wrap(deep)))))


class Odd(str):
    """A text that is more than one."""

    __slots__ = ()


class Colour(IntEnum):
    """A number that has a name."""

    RED = 1


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800", {"\udcff": 1}, {1: 1}, object(), 1j, b"", Odd("a")])
def test_what_a_program_says_that_cannot_be_written_is_our_error(value, good):
    for changes in ({"params": {"a": value}}, {"params": {"a": [{"b": value}]}}, {"seeds": {"a": value}}):
        with pytest.raises(FormatError):
            run.encode(replaced(good, **changes))
    with pytest.raises(FormatError):
        run.encode(replaced(good, name="\udcff"))


def test_a_whole_number_where_a_broken_one_belongs_becomes_one(good):
    data = run.encode(replaced(good, metrics=first(good.metrics, last=1, least=0, greatest=2)))
    assert [type(each) for each in (run.decode(data).metrics[0].last, run.decode(data).metrics[0].least)] == [float] * 2
    data = run.encode(replaced(good, params={"a": Colour.RED, "b": (1, 2)}))
    assert run.decode(data).params == {"a": 1, "b": [1, 2]}


@pytest.mark.parametrize("column", ["params", "seeds", "environment", "sections"])
def test_a_document_has_a_limit(column, good):
    def filled(size):
        value = msgspec.Raw(msgspec.msgpack.encode("x" * size)) if column == "sections" else "x" * size
        return replaced(good, **{column: {"a": value}})

    most = run.PARAM_LIMIT - 8
    assert run.encode(filled(most))
    refused(filled(most + 1))


def test_changes_have_a_limit(good):
    change = replaced(good.changes[0], value="x" * 2**16)
    assert run.encode(replaced(good, changes=(change,) * 63))
    refused(replaced(good, changes=(change,) * 64))


def test_a_run_has_a_limit(good):
    record = replaced(good.inputs[0], role="x" * 2**15)
    assert run.encode(replaced(good, inputs=(record,) * 510))
    refused(replaced(good, inputs=(record,) * 512))


@pytest.mark.parametrize("column", ["params", "changes", "environment", "sections"])
def test_memory_is_not_taken_for_documents_above_the_limit(column, good):
    size = run.SIZE_LIMIT - 4096
    many = b"\xdd" + size.to_bytes(4, "big") + b"\x90" * size
    parts = [getattr(good, name) for name in run.Run.__struct_fields__]
    at = run.Run.__struct_fields__.index(column)
    parts[at] = msgspec.Raw(b"\x91\x94\xa1a\x01\xc0" + many) if column == "changes" else {"a": msgspec.Raw(many)}
    data = msgspec.msgpack.encode(parts)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="more than the format allows"):
            run.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_an_id_says_when_and_is_drawn_from_all_digits():
    assert run.new_id("20250615-150640", bytes(7)) == "20250615-150640-0000000000"
    assert run.new_id("20250615-150640", b"\xff" * 9) == "20250615-150640-zzzzzzzzzz"
    assert run.new_id("20250615-150640", (33).to_bytes(7, "big")) == "20250615-150640-0000000011"
    drawn = {run.new_id("20250615-150640", (digit << 45).to_bytes(7, "big")) for digit in range(32)}
    assert {each[16] for each in drawn} == set(run.DIGITS)
    assert all(map(run.is_id, drawn))
    assert not run.is_id(ID[:-1])
    assert run.ref_name(ID) == f"runs/{ID}"


def test_snapshots_that_a_run_names_are_those_of_its_sources(good):
    assert run.names_of(good) == [good.sources[0].snapshot]
    assert run.names_of(replaced(good, sources=(), inputs=())) == []


def test_json_can_say_what_is_shown():
    value = {"a": [float("nan"), float("inf"), float("-inf"), 1.5, (2, "x")], "b": None, "c": {"d": True}}
    assert run.shown(value) == {"a": ["nan", "inf", "-inf", 1.5, [2, "x"]], "b": None, "c": {"d": True}}


TAKEN = run.Erased(erasure=bytes(16), files=3, rows=0, before=(ONE,))


@given(
    taken=several(
        st.builds(
            run.Erased,
            erasure=st.binary(min_size=16, max_size=16),
            files=counts,
            rows=counts,
            before=st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple),
        )
    )
)
def test_a_run_says_of_every_erasure_what_it_took_in_their_order(taken, golden):
    found = run.decode(golden("run", "everything").data)
    for each in taken:
        found = run.decode(run.encode(run.with_erased(found, each)))
    assert run.erased_of(found) == taken
    assert "x-note" in found.sections


def test_a_run_from_which_nothing_was_erased_says_so(good):
    assert run.erased_of(good) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"erasure": b""},
        {"erasure": bytes(32)},
        {"files": -1},
        {"rows": -1},
        {"before": (bytes(31),)},
        {"before": (ONE, b"")},
        {"before": (ONE,) * (run.ITEM_LIMIT + 1)},
    ],
)
def test_a_run_that_says_of_an_erasure_what_cannot_be_is_refused(changes, good):
    marks = codec.encode((TAKEN, replaced(TAKEN, **changes)))
    with pytest.raises(FormatError):
        run.erased_of(replaced(good, sections={run.ERASED: msgspec.Raw(marks)}))


@pytest.mark.parametrize("raw", [b"\xc0", b"\xa1a", b"\x91\x01", b"\xdc\x00\x00", b"\xdd\xff\xff\xff\xff", b"\xc1"])
def test_a_section_that_is_no_list_of_erasures_is_refused_when_it_is_looked_at(raw, good):
    with pytest.raises(FormatError):
        run.with_erased(replaced(good, sections={run.ERASED: msgspec.Raw(raw)}), TAKEN)
