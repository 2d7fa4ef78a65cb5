"""Transactions: all or nothing, and no file left behind."""

import os
import random

import pytest

from dvtool import ids
from dvtool.errors import ConflictError, FormatError, StorageError
from dvtool.formats import index, log, pack
from dvtool.storage.disk import Disk
from dvtool.storage.local import LocalBackend
from dvtool.store import packs
from dvtool.store import store as stores
from dvtool.store.claims import Claims
from dvtool.testing.effects import SeededEntropy, SteppedClock
from dvtool.testing.faults import Fault, FaultyDisk


@pytest.fixture
def store(tmp_path):
    clock, entropy = SteppedClock(), SeededEntropy("transaction")
    made = stores.create_local(f"{tmp_path}/store", clock=clock, entropy=entropy)
    stores.first_entry(made, {"heads/x": bytes(32)})
    return stores.open_local(f"{tmp_path}/store", clock=clock, entropy=entropy)


def files(store):
    return sorted(
        os.path.join(directory, name) for directory, _names, below in os.walk(store.backend.root) for name in below
    )


def unfinished(store):
    return os.listdir(store.backend.workspace())


def move(new, old=None, name="heads/a"):
    return lambda _state: [log.MoveRef(name=name, old=old, new=new)]


def test_before_the_entry_nothing_has_happened(store):
    with store.transaction() as transaction:
        identity = transaction.put_object(ids.STAGE, b"thing")
        assert transaction.read_object(ids.STAGE, identity) == b"thing"
        transaction.write_only()
        assert not store.has(identity)
    assert not stores.open_local(store.backend.root, clock=store.clock, entropy=store.entropy).has(identity)


def test_an_abandoned_transaction_leaves_no_file(store):
    before = files(store)
    with store.transaction() as transaction:
        transaction.put_object(ids.STAGE, b"thing")
        transaction.put_chunk(b"chunk")
        assert unfinished(store)
    assert files(store) == before
    assert unfinished(store) == []


def test_what_no_frame_can_hold_is_refused_before_it_is_sealed(store, monkeypatch):
    monkeypatch.setattr(pack, "FRAME_LIMIT", 1000)
    before = files(store)
    with store.transaction() as transaction:
        fits = transaction.put_object(ids.STAGE, bytes(1000))
        transaction.put_chunk(bytes(1000))
        with pytest.raises(FormatError, match="stage is too long"):
            transaction.put_object(ids.STAGE, bytes(1001))
        with pytest.raises(FormatError, match="chunk is too long"):
            transaction.put_chunk(bytes(1001))
        assert transaction.read_object(ids.STAGE, fits) == bytes(1000)
    assert files(store) == before


def test_the_length_of_a_frame_fits_its_field():
    assert index.pack_raw_flags(pack.FRAME_LIMIT, 0) >> 27 == 0


def test_an_exception_abandons(store):
    before = files(store)

    class StopError(Exception):
        pass

    def work():
        with store.transaction() as transaction:
            transaction.put_chunk(b"chunk")
            raise StopError

    with pytest.raises(StopError):
        work()
    assert files(store) == before
    assert unfinished(store) == []


def test_a_refused_entry_changes_no_ref(store):
    with store.transaction() as transaction:
        identity = transaction.put_object(ids.STAGE, b"thing")
        with pytest.raises(ConflictError):
            transaction.commit("add", move(identity, old=b"x" * 32))
    assert store.refresh().ref("heads/a") is None
    assert not store.has(identity)
    assert unfinished(store) == []


def test_what_was_refused_can_be_stored_again(store):
    for old in (b"x" * 32, None):
        with store.transaction() as transaction:
            identity = transaction.put_object(ids.STAGE, b"thing")
            try:
                transaction.commit("add", move(identity, old=old))
            except ConflictError:
                assert old is not None
    assert store.read_object(ids.STAGE, identity) == b"thing"


def test_packs_are_closed_at_their_size(store, monkeypatch):
    monkeypatch.setattr(pack, "DATA_TARGET", 100_000)
    contents = [SeededEntropy(number).bytes(30_000) for number in range(20)]
    with store.transaction() as transaction:
        found = [transaction.put_chunk(data) for data in contents]
        entry = transaction.commit("add", lambda _state: [])
    [added] = entry.actions
    assert len(added.packs) == 5
    assert [store.read_object(ids.CHUNK, identity) for identity in found] == contents
    for name in added.packs:
        assert store.backend.size(pack.file_name(name)) < 140_000


@pytest.mark.parametrize("seed", range(3))
def test_a_pack_longer_than_its_buffers_reads_as_it_was_written(store, seed):
    chance = random.Random(seed)
    # Frames of every length up to several buffers, so that pieces end at every place of a block.
    lengths = [chance.choice([1, 100, 5_000, 70_000, 300_000, 5_000_000, 9_000_000]) for _ in range(40)]
    contents = [chance.randbytes(length) for length in lengths]
    with store.transaction() as transaction:
        found = [transaction.put_chunk(data) for data in contents]
        transaction.commit("add", lambda _state: [])
    again = stores.open_local(store.backend.root, clock=store.clock, entropy=store.entropy)
    assert [again.read_object(ids.CHUNK, identity) for identity in found] == contents
    assert unfinished(store) == []


def test_two_packs_written_at_once_do_not_share_their_buffers(store):
    with store.transaction() as first, store.transaction() as second:
        one = [first.put_chunk(bytes([number]) * 900_000 + b"one" * 30_000) for number in range(30)]
        two = [second.put_chunk(bytes([number]) * 900_000 + b"two" * 30_000) for number in range(30)]
        first.commit("add", lambda _state: [])
        second.commit("add", lambda _state: [])
    assert [store.read_object(ids.CHUNK, identity)[-3:] for identity in one] == [b"one"] * 30
    assert [store.read_object(ids.CHUNK, identity)[-3:] for identity in two] == [b"two"] * 30


def test_packs_of_others_are_taken_over(store):
    with store.transaction() as worker:
        identity = worker.put_chunk(b"from a worker" * 100)
        finished = worker.finish_packs()
        assert len(unfinished(store)) == 1
    with store.transaction() as transaction:
        assert not transaction.stores(identity)
        transaction.adopt(finished)
        assert transaction.stores(identity)
        transaction.commit("add", lambda _state: [])
    assert store.read_object(ids.CHUNK, identity) == b"from a worker" * 100
    assert unfinished(store) == []


def test_adopted_and_abandoned_packs_are_removed(store):
    with store.transaction() as worker:
        worker.put_chunk(b"from a worker" * 100)
        finished = worker.finish_packs()
    with store.transaction() as transaction:
        transaction.adopt(finished)
    assert unfinished(store) == []


def test_a_chunk_is_stored_by_the_one_who_claims_it(store):
    claims = Claims(100)
    with store.transaction(claims) as first, store.transaction(claims) as second:
        identity = first.put_chunk(b"shared" * 50)
        assert second.put_chunk(b"shared" * 50) == identity
        assert second.skipped == {identity}
        assert first.skipped == set()
        assert len(first.finish_packs()) == 1
        assert second.finish_packs() == []


def test_claims_are_exact_while_there_is_room():
    claims = Claims(1000)
    entropy = SeededEntropy("claims")
    found = [entropy.bytes(32) for _ in range(1000)]
    assert all(claims.claim(identity) for identity in found)
    assert not any(claims.claim(identity) for identity in found)


def test_a_crowded_table_answers_store_it():
    claims = Claims(1)
    taken = sum(claims.claim((number << 16).to_bytes(8, "little") + bytes(24)) for number in range(1, 100))
    assert taken == 99
    assert claims.claim((99 << 16).to_bytes(8, "little") + bytes(24))


def test_compressed_and_plain_frames_read_alike(store):
    plain, dull = SeededEntropy("x").bytes(50_000), b"dull " * 10_000
    with store.transaction() as transaction:
        found = [transaction.put_chunk(plain), transaction.put_chunk(dull)]
        transaction.commit("add", lambda _state: [])
    locations = [store.locate(ids.CHUNK, identity)[1] for identity in found]
    assert [bool(location.flags & pack.COMPRESSED) for location in locations] == [False, True]
    assert locations[1].stored < 1000
    assert [store.read_object(ids.CHUNK, identity) for identity in found] == [plain, dull]


@pytest.mark.parametrize("fault", Fault)
def test_a_disk_that_refuses_at_any_call_leaves_the_store_as_it_was(store, fault):
    k = 0
    while True:
        disk = FaultyDisk(fault, k)
        clock, entropy = SteppedClock(), SeededEntropy(f"{fault} {k}")
        backend = LocalBackend(store.backend.root, store.backend.scratch, entropy=entropy, disk=disk)
        broken = stores.Store(backend, clock=clock, entropy=entropy, disk=disk)
        content = f"{fault.name} {k}".encode() * 500
        name = f"heads/{fault.name}-{k}"
        reported = False
        try:
            with broken.transaction() as transaction:
                identity = transaction.put_chunk(content)
                transaction.commit("add", move(b"y" * 32, name=name))
        except StorageError:
            reported = True
        now = stores.open_local(store.backend.root, clock=clock, entropy=entropy)
        if now.refresh().ref(name) is not None:
            assert now.read_object(ids.CHUNK, identity) == content
        else:
            assert reported
        if not disk.failed:
            break
        assert reported
        k += 1
    assert k > 10


class LateDisk(Disk):
    """Writes a piece only when it is waited for the second time; the first wait is interrupted."""

    def __init__(self):
        self.events = []

    def append_behind(self, descriptor, _path, data):
        def wait():
            self.events.append("wait")
            if self.events.count("wait") == 1:
                raise KeyboardInterrupt
            os.fstat(descriptor)  # still ours
            assert all(buffer.obj is not data.obj for buffer in packs._buffers)

        return wait


def test_an_interrupted_wait_is_waited_for_again_before_anything_is_given_up(store):
    disk = LateDisk()
    store.disk = disk
    with pytest.raises(KeyboardInterrupt):
        pour(store)
    assert disk.events == ["wait", "wait"]
    assert unfinished(store) == []


class SilentDisk(Disk):
    """Loses a piece without a word."""

    def append_behind(self, *_arguments):
        return lambda: None


def pour(store):
    """Store enough for several pieces."""
    chance = random.Random(1)
    with store.transaction() as transaction:
        for _ in range(100):
            transaction.put_chunk(chance.randbytes(200_000))
        transaction.commit("add", lambda _state: [])


def test_a_pack_that_is_shorter_than_what_was_written_is_never_finished(store):
    store.disk = SilentDisk()
    with pytest.raises(StorageError, match="took less"):
        pour(store)
    assert unfinished(store) == []


def test_whatever_goes_wrong_in_a_writing_thread_is_raised(store, monkeypatch):
    real = os.write
    refused: list[int] = []

    def write(descriptor, data):
        if len(data) > 2**20 and not refused:
            refused.append(1)
            raise MemoryError
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(MemoryError):
        pour(store)
    assert refused
    assert unfinished(store) == []
