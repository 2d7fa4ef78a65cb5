"""Checkpoints: where readers start, how tables grow past their inline form, and how index files are merged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import ids
from dvtool.formats import log
from dvtool.repo import Repo
from dvtool.storage.memory import MemoryBackend
from dvtool.store import checkpoints
from dvtool.store.store import Store, first_entry
from dvtool.testing.audit import audit, scrub
from dvtool.testing.effects import SeededEntropy, SteppedClock
from dvtool.testing.stores import make_store

EVERY = log.CHECKPOINT_EVERY


class CountingBackend(MemoryBackend):
    """Counts what is read."""

    def __init__(self):
        super().__init__()
        self.reads = []

    def read(self, name, offset=0, length=None):
        self.reads.append(name)
        return super().read(name, offset, length)


def make():
    store = attach(make_store(CountingBackend(), SeededEntropy("checkpoints")), "first")
    first_entry(store, {})
    return store


def attach(backend, seed="reader"):
    return Store(backend, clock=SteppedClock(), entropy=SeededEntropy(f"attach {seed}"))


def value(number):
    return number.to_bytes(32, "big")


def commit(store, number, *, upkeep=True):
    """One small commit: an object, and a ref to it."""
    with store.transaction() as transaction:
        identity = transaction.put_object(ids.STAGE, b"object %d" % number)
        move = log.MoveRef(name=f"runs/{number:05}", old=None, new=identity)
        transaction.commit("run", lambda _state: [move])
    if upkeep:
        store.maintain()
    return identity


def summary(state):
    tables = ("refs", "packs", "superseded", "condemned", "dropped", "erasures", "locators")
    found = {name: getattr(state, name).items() for name in tables}
    return (state.number, state.head, state.time, state.lock, state.checkpoint, state.segments, state.writes, found)


def test_readers_start_at_the_newest_checkpoint():
    store = make()
    for number in range(3 * EVERY):
        commit(store, number)
    state = store.state
    assert state.checkpoint > 2 * EVERY
    reader = attach(store.backend)
    reader.log.hint(state.checkpoint)
    store.backend.reads.clear()
    assert summary(reader.refresh()) == summary(state)
    entries = [name for name in store.backend.reads if name.startswith("log/")]
    assert len(entries) <= state.number - state.checkpoint + 3


@pytest.mark.parametrize("extra", [-2, -1, 0, 1, 2])
def test_the_boundary_is_where_it_is_said_to_be(extra):
    store = make()
    for number in range(EVERY + extra - 1):
        commit(store, number)
    # One entry made the store, so the last commit is entry EVERY + extra, and a checkpoint follows entry EVERY.
    assert store.state.checkpoint == (EVERY + 1 if extra >= 0 else 0)
    assert summary(attach(store.backend).refresh()) == summary(store.state)
    assert store.state.since_checkpoint == (extra if extra >= 0 else EVERY + extra)


def test_hundreds_of_commits_are_all_there():
    store = make()
    found = [commit(store, number) for number in range(500)]
    for reader in (store, attach(store.backend)):
        assert [reader.refresh().ref(f"runs/{number:05}") for number in range(500)] == found
        assert [reader.read_object(ids.STAGE, identity) for identity in found] == [
            b"object %d" % number for number in range(500)
        ]
    assert len(store.state.segments) < EVERY + 20


def test_index_and_key_files_are_merged_in_levels():
    store = make()
    most = 0
    for number in range(6 * EVERY):
        commit(store, number)
        if store.state.checkpoint == store.state.number:
            most = max(most, len(store.state.segments))
    assert 1 <= most <= 8
    live = {name for segment in store.state.segments for name in (segment.index, segment.keys)}
    condemned = {name.decode() for name, _value in store.state.condemned.items()}
    assert live.isdisjoint(condemned)
    there = {f"index/{name}" for name in store.backend.names("index")}
    there |= {f"keys/{name}" for name in store.backend.names("keys") if name != "repo" and not name.startswith("log-")}
    assert there == live | {name for name in condemned if name.startswith(("index/", "keys/"))}


@given(st.lists(st.integers(1, 10**6), max_size=40))
def test_what_is_not_merged_is_large_enough(records):
    start = checkpoints.first_to_merge(records)
    assert 0 <= start <= len(records)
    if records:
        assert start < len(records)
    if start:
        assert records[start - 1] > 2 * sum(records[start:])


@given(st.lists(st.integers(1, 100), min_size=1, max_size=200), st.integers(1, 64))
def test_there_are_few_segments_whatever_comes(sizes, at_once):
    segments = []
    for at in range(0, len(sizes), at_once):
        segments += sizes[at : at + at_once]
        start = checkpoints.first_to_merge(segments)
        segments[start:] = [sum(segments[start:])]
        assert len(segments) <= sum(segments).bit_length()
    assert sum(segments) == sum(sizes)


def test_small_segments_are_merged_whatever_the_last_is():
    """An add and a commit in turn: the last one is always much smaller than the one before."""
    assert checkpoints.first_to_merge([4, 1] * 32) == 0
    assert checkpoints.first_to_merge([1000, *([4, 1] * 32)]) == 1


@pytest.mark.parametrize("count", [log.INLINE_LIMIT - 1, log.INLINE_LIMIT, log.INLINE_LIMIT + 1, 3000])
def test_a_table_of_refs_moves_out_of_the_checkpoint(count):
    store = make()
    names = [f"runs/{number * 7919 % 100_003:06}" for number in range(count)]
    moves = [log.MoveRef(name=name, old=None, new=value(number)) for number, name in enumerate(names)]
    store.log.append("many", lambda _state: moves)
    checkpoints.write(store)
    reader = attach(store.backend)
    table = reader.refresh().refs.table
    assert table.count == count
    assert bool(table.root) == (count > log.INLINE_LIMIT)
    assert dict(reader.state.ref_names("")) == {name: value(number) for number, name in enumerate(names)}
    for number in range(0, count, 61):
        assert reader.state.ref(names[number]) == value(number)
    for missing in ("runs/", "runs/x", "heads/a", "tags/z", names[0] + "0"):
        assert reader.state.ref(missing) is None
    prefix = "runs/0123"
    assert reader.state.ref_names(prefix) == sorted(
        (name, value(number)) for number, name in enumerate(names) if name.startswith(prefix)
    )


def test_a_large_table_is_changed_without_writing_it_anew():
    store = make()
    moves = [log.MoveRef(name=f"runs/{number:06}", old=None, new=value(number)) for number in range(20_000)]
    store.log.append("many", lambda _state: moves)
    checkpoints.write(store)
    before = sum(map(len, store.backend.blobs.values()))
    store.log.append("one", lambda _state: [log.MoveRef(name="runs/010000", old=value(10_000), new=value(1))])
    checkpoints.write(store)
    after = sum(map(len, store.backend.blobs.values()))
    # The nodes that did not change are in the store already; the index of all nodes is merged, which is small.
    assert after - before < 60_000
    reader = attach(store.backend)
    assert reader.refresh().ref("runs/010000") == value(1)
    assert reader.state.ref("runs/010001") == value(10_001)
    store.backend.reads.clear()
    fresh = attach(store.backend)
    fresh.refresh().ref("runs/019999")
    packs = [name for name in store.backend.reads if name.startswith("packs/")]
    assert len(packs) <= 6


def test_removed_refs_stay_removed_behind_a_checkpoint():
    store = make()
    for number in range(300):
        commit(store, number, upkeep=False)
    checkpoints.write(store)
    gone = [
        log.MoveRef(name=f"runs/{number:05}", old=store.state.ref(f"runs/{number:05}"), new=None)
        for number in range(0, 300, 2)
    ]
    store.log.append("delete", lambda _state: gone)
    checkpoints.write(store)
    names = [name for name, _value in attach(store.backend).refresh().ref_names("runs/")]
    assert names == [f"runs/{number:05}" for number in range(1, 300, 2)]


def test_an_object_added_while_a_checkpoint_was_due_is_kept():
    store = make()
    for number in range(EVERY):
        commit(store, number, upkeep=False)
    late, early = attach(store.backend, "late"), attach(store.backend, "early")
    late.refresh()
    identity = commit(early, 9999, upkeep=False)
    checkpoints.write(late)
    assert attach(store.backend).read_object(ids.STAGE, identity) == b"object 9999"
    assert early.read_object(ids.STAGE, identity) == b"object 9999"


def test_of_two_checkpoints_at_once_one_gives_up():
    store = make()
    for number in range(EVERY):
        commit(store, number, upkeep=False)
    other = attach(store.backend, "other")
    other.refresh()
    real = store.backend.create

    def create(name, data):
        store.backend.create = real
        checkpoints.write(other)
        real(name, data)

    store.backend.create = create
    before = store.state.number
    checkpoints.write(store)
    reader = attach(store.backend)
    assert reader.refresh().number == before + 1
    assert scrub(reader) >= EVERY


def test_readers_that_began_before_a_merge_go_on():
    store = make()
    found = [commit(store, number, upkeep=False) for number in range(EVERY)]
    reader = attach(store.backend)
    assert reader.read_object(ids.STAGE, found[0]) == b"object 0"
    checkpoints.write(store)
    assert [reader.read_object(ids.STAGE, identity) for identity in found] == [
        b"object %d" % number for number in range(EVERY)
    ]


def test_a_wrong_hint_costs_time_and_nothing_else():
    store = make()
    for number in range(2 * EVERY):
        commit(store, number)
    for hint in (0, 1, 2, EVERY, EVERY + 1, EVERY + 2, store.state.number, store.state.number + 1, 10**9):
        reader = attach(store.backend, f"hint {hint}")
        reader.log.hint(hint)
        assert summary(reader.refresh()) == summary(store.state), hint


def test_no_checkpoint_while_an_erasure_is_under_way():
    store = make()
    for number in range(EVERY + 5):
        commit(store, number, upkeep=False)
    erasing = log.Erasure(erasure=b"e" * 16, phase=log.ERASING, planned=b"p" * 16)
    store.log.append("erase", lambda _state: [erasing])
    store.maintain()
    assert store.state.checkpoint == 0


def test_a_repository_of_two_hundred_commits_is_whole(tmp_path):
    repo = Repo.init(str(tmp_path))
    (tmp_path / "data").mkdir()
    for number in range(110):
        (tmp_path / "data" / f"f{number % 10}").write_bytes(b"%d" % number)
        repo.add(["data"])
        repo.commit(f"commit {number}")
        if number % 50 == 49:
            repo = Repo.open(str(tmp_path))
    repo = Repo.open(str(tmp_path))
    store = repo.workspace.session.store
    assert store.state.number > 3 * EVERY
    assert store.state.checkpoint > 3 * EVERY
    found = audit(store)
    assert len(found.snapshots) == 110
    assert [item.message for item in repo.log()] == [f"commit {number}" for number in range(109, -1, -1)]
    assert repo.status().clean
    assert len(store.state.segments) < EVERY
