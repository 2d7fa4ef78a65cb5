"""How much of the history a log reads, and histories that cannot be."""

import pytest

from dvtool import ids
from dvtool.errors import IntegrityError
from dvtool.formats import log, snapshot
from dvtool.history import graph
from dvtool.repo import Repo
from dvtool.testing.counting import CountingReader

LONG = 1000


def value(root, parents, time):
    return snapshot.Snapshot(
        root=root,
        roots=("data",),
        parents=tuple(parents),
        author="Test Author <test@example.org>",
        time=time,
        message=f"at {time}",
        files=1,
        size=1,
        nonce=time.to_bytes(32, "big"),
    )


@pytest.fixture
def long_history(tmp_path):
    """A repository whose branch is a line of 1,000 snapshots above a merge of two."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_text("a", encoding="utf-8")
    repo = Repo.init(str(tmp_path))
    repo.add(["data"])
    repo.commit("first")
    session = repo.workspace.session
    first = session.head().snapshot
    assert first is not None
    root = session.snapshot(first).root
    start = session.snapshot(first).time
    with session.store.transaction() as transaction:

        def put(parents, number):
            data = snapshot.encode(value(root, parents, start + number))
            return transaction.put_object(ids.SNAPSHOT, data)

        tip = put([put([first], 1), put([first], 2)], 3)
        for number in range(LONG - 4):
            tip = put([tip], 4 + number)
        move = log.MoveRef(name="heads/main", old=first, new=tip)
        transaction.commit("commit", lambda _state: [move])
    return Repo.open(str(tmp_path))


def readings(repo, monkeypatch, **options):
    store = repo.workspace.session.store
    reader = CountingReader(store.read_object)
    with monkeypatch.context() as patch:
        patch.setattr(store, "read_object", reader)
        items = repo.log(**options)
    return items, reader.count(ids.SNAPSHOT)


@pytest.mark.parametrize("limit", [0, 1, 2, 10, 500])
def test_a_limited_log_reads_as_many_snapshots_as_it_shows(long_history, monkeypatch, limit):
    items, count = readings(long_history, monkeypatch, limit=limit)
    assert len(items) == limit
    assert count == limit


def test_a_whole_log_reads_each_snapshot_once(long_history, monkeypatch):
    items, count = readings(long_history, monkeypatch)
    assert len(items) == LONG
    assert count == LONG
    times = [item.time for item in items]
    assert times == sorted(times, reverse=True)


def test_a_log_of_a_path_stops_when_it_has_enough(long_history, monkeypatch):
    items, count = readings(long_history, monkeypatch, path="data", limit=1)
    assert [item.message for item in items] == ["first"]
    assert count > LONG
    items, count = readings(long_history, monkeypatch, revision=items[0].snapshot, path="data", limit=1)
    assert (len(items), count) == (1, 1)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_history_in_a_circle_is_named_and_not_walked_for_ever(length):
    names = [bytes([number]) * 32 for number in range(length)]
    history = {each: value(bytes(32), [names[(at + 1) % length]], at) for at, each in enumerate(names)}
    with pytest.raises(IntegrityError, match="circle"):
        list(graph.walk([names[0]], history.__getitem__, lambda identity: identity))


def test_a_circle_beside_a_root_is_named_too():
    tip, root, here, there = (bytes([number]) * 32 for number in range(4))
    history = {
        tip: value(bytes(32), [root, here], 9),
        root: value(bytes(32), [], 1),
        here: value(bytes(32), [there], 5),
        there: value(bytes(32), [here], 4),
    }
    with pytest.raises(IntegrityError, match="circle"):
        list(graph.walk([tip], history.__getitem__, lambda identity: identity))
