"""Very much data: packs are put aside on the way, so that memory stays flat and a stopped command is gone on with."""

import os
import random

import pytest

from dvtool import ids
from dvtool.errors import ConflictError, StorageError
from dvtool.formats import log, pack
from dvtool.repo import Repo
from dvtool.store import transaction
from dvtool.store.transaction import PUT_ASIDE
from dvtool.worktree import ingest
from tests.cli.collecting import NOTHING, at, content, gc, store_files

CHUNK = 300_000
"""More than a chunk of these files has."""


@pytest.fixture
def little(monkeypatch):
    """Let a pack be full with one chunk, and three packs be what is put aside together."""
    monkeypatch.setattr(transaction, "SPAN", 3)
    monkeypatch.setattr(pack, "DATA_TARGET", 1)


def write_long(data, name="data/long", *, seed=1, length=3_000_000):
    data.write(name, random.Random(seed).randbytes(length))


def opened(data):
    return Repo.open(str(data.root)).workspace.session.store


def put_aside(store):
    return [entry for entry in store.log.entries() if entry.operation == PUT_ASIDE]


class StoppedError(Exception):
    """What ends a command in the middle."""


def stop_after(monkeypatch, count):
    """Let the command end after ``count`` chunks."""
    left = [count]
    real = transaction.Transaction.put_chunk

    def put(self, chunk):
        left[0] -= 1
        if left[0] < 0:
            raise StoppedError
        return real(self, chunk)

    monkeypatch.setattr(transaction.Transaction, "put_chunk", put)


def stop_add(data, count):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, count)
        with pytest.raises(StoppedError):
            Repo.open(str(data.root)).add(["data"])


@pytest.mark.usefixtures("little")
def test_what_was_put_aside_is_part_of_the_snapshot(data):
    write_long(data)
    Repo.open(str(data.root)).add(["data"])
    assert len(put_aside(opened(data))) > 5
    kept = data.commit("long")
    assert data("cat", f"{kept}:data/long").out == (data.root / "data/long").read_bytes()
    data("fsck")
    assert data.status()["clean"]


@pytest.mark.usefixtures("little")
def test_putting_aside_is_no_operation(data):
    write_long(data)
    before = len(data("oplog", "--json").json)
    Repo.open(str(data.root)).add(["data"])
    assert [each["operation"] for each in data("oplog", "--json").json[:-before]] == ["add"]
    data("undo")
    assert not any(data.status()["staged"].values())
    data("undo", "--redo")
    data.commit("long")


@pytest.mark.usefixtures("little")
def test_a_stopped_add_is_gone_on_with(data):
    write_long(data)
    stop_add(data, 20)
    assert not any(data.status()["staged"].values())
    held = opened(data)
    kept = sum(len(action.packs) for entry in put_aside(held) for action in entry.actions)
    assert kept >= 15
    before = set(store_files(data, "packs"))
    size = sum((data.root / ".dv/store" / name).stat().st_size for name in before)
    assert size > 1_000_000
    Repo.open(str(data.root)).add(["data"])
    again = sum((data.root / ".dv/store" / name).stat().st_size for name in set(store_files(data, "packs")) - before)
    assert again < 3_000_000 - size + 2 * CHUNK
    kept = data.commit("long")
    assert data("cat", f"{kept}:data/long").out == (data.root / "data/long").read_bytes()


@pytest.mark.usefixtures("little")
def test_memory_does_not_grow_with_what_is_put_aside(data):
    store = opened(data)
    chance = random.Random(3)
    most = 0
    with store.transaction() as work:
        for _number in range(100):
            work.put_object(ids.MANIFEST, chance.randbytes(100))
            work.put_chunk(chance.randbytes(50))
            most = max(most, len(work._chunks), len(work._finished))
        assert most <= 3
        assert put_aside(store)


def test_of_objects_only_those_of_the_unfinished_pack_are_remembered(data, monkeypatch):
    monkeypatch.setattr(transaction, "SPAN", 3)
    monkeypatch.setattr(pack, "DATA_TARGET", 1)
    monkeypatch.setattr(pack, "METADATA_TARGET", 1000)
    store = opened(data)
    chance = random.Random(3)
    with store.transaction() as work:
        objects = {}
        for _number in range(100):
            thing = chance.randbytes(200)
            objects[work.put_object(ids.MANIFEST, thing)] = thing
            work.put_chunk(chance.randbytes(50))
        assert len(work._pending) < 20
        assert {identity: work.read_object(ids.MANIFEST, identity) for identity in objects} == objects
        work.commit("test", lambda _state: [])


@pytest.mark.usefixtures("little")
def test_the_same_chunk_again_is_not_stored_again(data):
    store = opened(data)
    chunks = [bytes([number]) * 100 for number in range(20)]
    with store.transaction() as work:
        for chunk in chunks * 3:
            work.put_chunk(chunk)
        work.commit("test", lambda _state: [])
    frames = [record for segment in opened(data).segments.live() for record in segment.index.records()]
    identities = {store.hasher.id(ids.CHUNK, chunk) for chunk in chunks}
    assert len([record for record in frames if record[:32] in identities]) == 20


@pytest.mark.usefixtures("little")
def test_workers_put_aside_as_well(data, monkeypatch):
    monkeypatch.setattr(ingest, "SHARED_COST", 1)
    monkeypatch.setenv("DV_WORKERS", "2")
    for number in range(8):
        write_long(data, f"data/{number}", seed=number % 4, length=1_000_000)
    Repo.open(str(data.root)).add(["data"])
    assert len(put_aside(opened(data))) > 4
    data.commit("many")
    data("fsck")
    held = next(iter(content(data).values()))
    assert held
    assert sorted(os.listdir(data.root / ".dv/tmp")) == []


@pytest.mark.usefixtures("little")
def test_what_a_command_has_put_aside_is_not_garbage_for_a_day(data):
    write_long(data)
    stop_add(data, 20)
    packs = store_files(data, "packs")
    for options in (("--retention", "0"), ()):
        assert gc(data, *options)["condemned"] == NOTHING
    assert store_files(data, "packs") == packs
    assert at(data, 3, retention=0).condemned.files == len(put_aside(opened(data))) * transaction.SPAN


@pytest.mark.usefixtures("little")
def test_what_was_put_aside_and_never_needed_goes(data):
    before = store_files(data, "packs")
    write_long(data)
    stop_add(data, 20)
    assert gc(data, "--grace", "0")["deleted"]["files"] == 15
    assert store_files(data, "packs") == before
    data("fsck")


@pytest.mark.usefixtures("little")
def test_a_command_whose_packs_were_collected_meanwhile_says_so(data):
    store = opened(data)
    chance = random.Random(5)
    with store.transaction() as work:
        for _number in range(10):
            work.put_chunk(chance.randbytes(1000))
        gc(data, "--grace", "0")
        move = log.MoveRef(name="stage/" + "0" * 32, old=None, new=bytes(32))
        with pytest.raises(ConflictError, match="condemned as garbage"):
            work.commit("add", lambda _state: [move])
    data("fsck")


@pytest.mark.usefixtures("little")
def test_nothing_is_put_aside_while_an_erasure_is_under_way(data):
    store = opened(data)
    erasing = log.Erasure(erasure=b"e" * 16, phase=log.ERASING, planned=b"p" * 16)
    store.log.append("erase", lambda _state: [erasing])
    write_long(data)
    with pytest.raises(ConflictError):
        Repo.open(str(data.root)).add(["data"])
    assert not put_aside(opened(data))


@pytest.mark.usefixtures("little")
def test_a_disk_that_is_full_in_the_middle_keeps_what_was_put_aside(data, monkeypatch):
    write_long(data)
    real = transaction.Transaction._put_aside
    calls = []

    def full(self):
        calls.append(self)
        if len(calls) == 3:
            raise StorageError("there is no space left")
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(transaction.Transaction, "_put_aside", full)
        with pytest.raises(StorageError):
            Repo.open(str(data.root)).add(["data"])
    assert len(put_aside(opened(data))) == 2
    assert not any(data.status()["staged"].values())
    Repo.open(str(data.root)).add(["data"])
    data.commit("long")
    data("fsck")
