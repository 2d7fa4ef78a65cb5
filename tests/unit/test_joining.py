"""Joining segments: the same records as all of them have, in order, in little memory; and no section is lost."""

import tracemalloc
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import IntegrityError
from dvtool.formats import index
from dvtool.store import checkpoints, joining, keys
from tests.unit.test_checkpoints import EVERY, attach, commit, make

STORE = bytes(16)
KEY = bytes(range(32))
NOTE = {"x-note": msgspec.Raw(msgspec.msgpack.encode("kept as it is"))}
OTHER = {"x-note": msgspec.Raw(msgspec.msgpack.encode("something else"))}


def segment(records, packs=1, name="index/one"):
    """Stands for a segment: an index file of these records, and where it lies."""
    entries = [index.PackEntry(name=bytes(32), content=1, size=1, frames=1, raw=1)] * packs
    reader = index.Reader(index.encode(STORE, KEY, bytes(32), entries, records), STORE, KEY)
    return SimpleNamespace(index=reader, description=SimpleNamespace(index=name))


def record(identity, pack, number=0):
    return index.record(identity, index.Location(pack, number, 64, 100, 84))


few_ids = st.integers(0, 5).map(lambda number: bytes(31) + bytes([number]))
inputs = st.lists(
    st.lists(st.tuples(few_ids | st.binary(min_size=32, max_size=32), st.integers(0, 299)), max_size=60), max_size=5
)


@pytest.fixture(scope="module", autouse=True)
def small_pages():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "PAGE_RECORDS", 3)
        patch.setattr(joining, "PAGES_AT_ONCE", 2)
        yield


@given(inputs=inputs)
def test_what_is_joined_is_what_sorting_everything_gives(inputs):
    segments = [segment([record(*each) for each in one], packs=300) for one in inputs]
    everything = sorted(record(identity, pack + 300 * at) for at, one in enumerate(inputs) for identity, pack in one)
    runs = list(joining.merged(segments))
    assert [each for run in runs for each in run] == everything
    pages = list(index.paged(runs))
    assert b"".join(pages) == b"".join(everything)
    assert all(len(page) == 3 * index.RECORD_SIZE for page in pages[:-1])


def test_memory_does_not_follow_the_records(monkeypatch):
    monkeypatch.setattr(index, "PAGE_RECORDS", 256)
    monkeypatch.setattr(joining, "PAGES_AT_ONCE", 16)
    several = [
        segment([record((number * 4 + at).to_bytes(32, "big"), 0) for number in range(30_000)]) for at in range(4)
    ]
    tracemalloc.start()
    try:
        count = sum(len(run) for run in joining.merged(several))
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 120_000
    assert peak < 6 << 20, f"{peak:,} bytes"


def test_records_out_of_order_are_refused(monkeypatch):
    records = [record(bytes([number]) * 32, 0) for number in range(7)]
    bad = segment(records)
    for at, page in enumerate(list(bad.index.pages())):
        crafted = b"".join(reversed(index.split(page))) if at == 1 else page
        pages = dict(enumerate(bad.index.pages())) | {at: crafted}
        monkeypatch.setattr(bad.index, "_read", pages.__getitem__)
        if at == 1:
            with pytest.raises(IntegrityError, match="damaged") as caught:
                list(joining.merged([segment(records), bad]))
            assert "not in order" in caught.value.why
        monkeypatch.undo()


def test_one_object_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(joining, "SAME_ID_LIMIT", 10)
    assert sum(map(len, joining.merged([segment([record(bytes(32), 0, number) for number in range(10)])]))) == 10
    with pytest.raises(IntegrityError, match="damaged") as caught:
        list(joining.merged([segment([record(bytes(32), 0, number) for number in range(100)])]))
    assert "over and over" in caught.value.why


# ---------------------------------------------------------------------------------------- sections


def put_sections(store, of_index, of_keys):
    """Write the newest segment's files anew, with these sections, over the old ones."""
    newest = store.segments.live()[0]
    name = newest.description.keys
    held = msgspec.structs.replace(newest.keys, sections=of_keys)
    directory = newest.index.directory
    data = index.encode(
        store.format.store, held.index, bytes(32), directory.packs, list(newest.index.records()), of_index
    )
    store.backend.blobs.pop(name)
    keys.write_key_file(store.backend, store.format.store, store.secrets.wrap, name, held, store.entropy)
    store.backend.blobs[newest.description.index] = data


def sectioned(monkeypatch, *sections):
    """A store with a checkpoint due, whose first segments have these sections of index and key file."""
    monkeypatch.setattr(index, "PAGE_RECORDS", 256)
    store = make()
    for number in range(EVERY):
        commit(store, number, upkeep=False)
        if number < len(sections):
            put_sections(store, *sections[number])
    fresh = attach(store.backend)
    checkpoints.write(fresh)
    return fresh


def test_sections_of_index_and_key_files_survive_a_merge(monkeypatch):
    more = {"y-more": msgspec.Raw(b"\x07")}
    store = sectioned(monkeypatch, (NOTE, {}), ({}, NOTE), (NOTE | more, more))
    merged = store.segments.live()[-1]
    assert merged.index.directory.sections == NOTE | more
    assert merged.keys.sections == NOTE | more
    assert len(store.state.segments) <= 2


@pytest.mark.parametrize("pair", [((NOTE, {}), (OTHER, {})), (({}, NOTE), ({}, OTHER))], ids=["index", "keys"])
def test_what_holds_different_sections_of_one_name_is_not_merged(monkeypatch, pair):
    store = sectioned(monkeypatch, *pair)
    assert store.state.checkpoint > 0
    assert len(store.state.segments) >= EVERY
    found = [(each.index.directory.sections, each.keys.sections) for each in reversed(store.segments.live())]
    assert found[:2] == list(pair)
    assert not [name for name, _value in store.state.condemned.items() if name.startswith((b"index/", b"keys/"))]
