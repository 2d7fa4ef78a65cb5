"""Very much data: packs are put aside on the way, so that memory stays flat and a stopped command is gone on with."""

import os
import random
import subprocess
import sys
import time

import pytest

from dvtool import ids
from dvtool.errors import ConflictError, StorageError
from dvtool.formats import log, pack
from dvtool.repo import Repo
from dvtool.store import checkpoints, transaction
from dvtool.store.transaction import PUT_ASIDE
from dvtool.worktree import ingest
from tests.cli.collecting import NOTHING, at, content, gc, store_files

CHUNK = 300_000
"""More than a chunk of these files has."""
SHORTEST = 16 * 1024
"""No chunk is shorter but the last one of a file; where these are cut depends on the repository's secret."""


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
    assert size > kept * SHORTEST
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
    with monkeypatch.context() as patch:
        patch.setattr(transaction.Transaction, "copy", None)  # nothing is, from where another worker has put it
        Repo.open(str(data.root)).add(["data"])
    assert len(put_aside(opened(data))) > 4
    data.commit("many")
    store = opened(data)
    state = store.refresh()
    assert not [name for name in store_files(data, "packs") if state.aside(name) is not None]
    data("fsck")
    held = next(iter(content(data).values()))
    assert held
    assert sorted(os.listdir(data.root / ".dv/tmp")) == []


@pytest.mark.usefixtures("little")
def test_what_a_command_has_put_aside_is_no_garbage_until_the_grace_is_over(data):
    write_long(data)
    stop_add(data, 20)
    packs = store_files(data, "packs")
    for options in (("--retention", "0"), (), ("--grace", "1h")):
        assert gc(data, *options)["condemned"] == NOTHING
    assert store_files(data, "packs") == packs
    assert at(data, 3, retention=0).condemned.files == len(put_aside(opened(data))) * transaction.SPAN  # a year on


@pytest.mark.usefixtures("little")
def test_what_an_add_took_is_garbage_like_all_else(data):
    write_long(data)
    stop_add(data, 20)
    Repo.open(str(data.root)).add(["data"])
    store = opened(data)
    state = store.refresh()
    names = [name for entry in put_aside(store) for action in entry.actions for name in action.packs]
    assert len(names) > 15
    assert not [name for name in names if state.aside(f"packs/{name.hex()}") is not None]
    data("undo")
    assert gc(data, "--retention", "0")["condemned"]["files"] >= len(names)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_checkpoint_says_what_was_put_aside(data, checkpointed):
    write_long(data)
    stop_add(data, 20)
    if checkpointed:
        assert checkpoints.write(opened(data))
        (data.root / ".dv/cache/head").unlink(missing_ok=True)
    state = opened(data).refresh()
    packs = [
        f"packs/{name.hex()}" for entry in put_aside(opened(data)) for action in entry.actions for name in action.packs
    ]
    times = {state.aside(name) for name in packs}
    assert None not in times
    assert times == {entry.time for entry in put_aside(opened(data))}
    assert opened(data).log.replay().aside(packs[0]) == state.aside(packs[0])
    if checkpointed:
        Repo.open(str(data.root)).add(["data"])
        assert checkpoints.write(opened(data))
        assert {opened(data).refresh().aside(name) for name in packs} == {None}


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("whole", [False, True])
def test_content_that_was_only_put_aside_is_no_reason_to_overwrite_it(data, whole):
    """Nothing leads to it, so no command could bring it back."""
    content = random.Random(2).randbytes(10_000 if not whole else 1_000_000)
    data.write("data/a.txt", content)
    write_long(data, "data/b-long")
    stop_add(data, 30 if whole else 15)
    store = opened(data)
    if not whole:
        assert store.has(store.hasher.id(ids.CHUNK, content))
    assert put_aside(store)
    data("restore", "data/a.txt", code=12)
    assert (data.root / "data/a.txt").read_bytes() == content
    Repo.open(str(data.root)).add(["data"])
    data.commit("taken")
    data.write("data/a.txt", "another")
    data.commit("another")
    data("restore", "--source", "HEAD~1", "data/a.txt")
    data("restore", "data/a.txt")  # what lay there can be brought back by now
    assert data.read("data/a.txt") == "another"


@pytest.mark.usefixtures("little")
def test_who_needs_a_part_of_a_pack_that_was_put_aside_does_not_vouch_for_the_rest(data, monkeypatch):
    monkeypatch.setattr(pack, "DATA_TARGET", 50_000)
    content = random.Random(2).randbytes(10_000)
    data.write("data/a.txt", content)
    data.write("data/aa", b"shared" * 1000)
    write_long(data, "data/long")
    stop_add(data, 25)
    store = opened(data)
    place = store.place(store.hasher.id(ids.CHUNK, content))
    assert place is not None
    assert store.state.aside(place[0]) is not None
    with store.transaction() as work:
        work.put_chunk(b"shared" * 1000)
        assert place[0] in work.relied.frames
        work.commit("test", lambda _state: [])
    data("add", "data/aa")
    assert opened(data).refresh().aside(place[0]) is not None
    data("restore", "data/a.txt", code=12)
    data("rm", "data/a.txt", code=12)
    assert (data.root / "data/a.txt").read_bytes() == content
    data("commit", "-m", "a part")
    assert gc(data, "--grace", "0", "--retention", "0")["deleted"]["files"]
    assert data("cat", "HEAD:data/aa").text == "shared" * 1000
    data("fsck")


def test_a_long_file_is_stored_when_all_of_its_chunks_are(data, monkeypatch):
    """Its list of chunks may still be there, in a pack with others that are needed, when they are gone."""
    repo = Repo.open(str(data.root))
    write_long(data, "data/big", seed=1, length=1_000_000)
    data.commit("first")
    write_long(data, "data/big", seed=2, length=1_000_000)
    write_long(data, "data/other", seed=3, length=1_000_000)
    content = (data.root / "data/big").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(pack, "DATA_TARGET", 1_000_000)
        repo.add(["data"])
    data("restore", "--staged", "data/big")
    data("commit", "-m", "the other one")
    gc(data, "--retention", "0", "--grace", "0")
    data("restore", "data/big", code=12)
    assert (data.root / "data/big").read_bytes() == content


@pytest.mark.usefixtures("little")
def test_what_counts_is_kept_rather_than_what_was_put_aside(data):
    """Two commands stored the same, one of them came to its end: a collection keeps that one's pack."""
    chunk = random.Random(9).randbytes(1000)
    store = opened(data)
    slow = opened(data)
    with slow.transaction() as other:
        other.put_chunk(chunk)
        data.write("data/a.txt", chunk)
        data.commit("done")
        for number in range(8):
            other.put_chunk(bytes([number]) * 500)
    found = opened(data)
    copies = [
        f"packs/{segment.index.directory.packs[location.pack].name.hex()}"
        for segment, location in found.segments.copies(store.hasher.id(ids.CHUNK, chunk))
    ]
    assert [found.refresh().aside(name) is not None for name in copies] == [True, False]
    assert gc(data, "--retention", "0")["condemned"] == NOTHING
    data.write("data/a.txt", "touched")
    data("restore", "--force", "data/a.txt")
    os.utime(data.root / "data/a.txt", (1, 1))
    data("restore", "--source", "HEAD~1", "data/a.txt")


@pytest.mark.usefixtures("little")
def test_what_another_command_moved_meanwhile_is_not_overwritten(data, monkeypatch):
    """Putting aside reads on in the log, so what is known of refs is newer than what the command began with."""
    write_long(data)
    real = transaction.Transaction._put_aside
    store = opened(data)
    done: list[bytes | None] = []

    def late(self):
        real(self)
        if not done:
            done.append(store.refresh().ref("heads/main"))
            other = store.log.entries()
            moved = next(
                move.old
                for entry in other
                for move in entry.actions
                if isinstance(move, log.MoveRef) and move.name == "heads/main"
            )
            store.log.append("test", lambda _state: [log.MoveRef(name="heads/main", old=done[0], new=moved or done[0])])

    data.write("data/more", "more")
    data.commit("more")
    write_long(data, seed=2)
    monkeypatch.setattr(transaction.Transaction, "_put_aside", late)
    with pytest.raises(ConflictError, match="moved by another command"):
        Repo.open(str(data.root)).commit("late", everything=True)
    assert done
    assert opened(data).refresh().ref("heads/main") != done[0]


@pytest.mark.usefixtures("little")
def test_an_erasure_that_begins_in_the_middle_ends_the_command(data, monkeypatch):
    write_long(data)
    real = transaction.Transaction._put_aside
    calls = []

    def late(self):
        calls.append(self)
        if len(calls) == 2:
            erasing = log.Erasure(erasure=b"e" * 16, phase=log.ERASING, planned=b"p" * 16)
            opened(data).log.append("erase", lambda _state: [erasing])
        real(self)

    monkeypatch.setattr(transaction.Transaction, "_put_aside", late)
    with pytest.raises(ConflictError, match="erasure"):
        Repo.open(str(data.root)).add(["data"])
    assert len(calls) == 2
    assert len(put_aside(opened(data))) == 1


@pytest.mark.usefixtures("little")
def test_a_refused_span_is_not_mixed_up_with_the_next(data, monkeypatch):
    store = opened(data)
    chance = random.Random(7)
    real = type(store.log).append
    refused: list[str] = []

    def append(self, operation, build, **options):
        if operation == PUT_ASIDE and not refused:
            refused.append(operation)
            raise ConflictError("not now")
        return real(self, operation, build, **options)

    monkeypatch.setattr(type(store.log), "append", append)
    chunks = []
    with store.transaction() as work:
        for _number in range(30):
            chunks.append(chance.randbytes(100))
            try:
                work.put_chunk(chunks[-1])
            except ConflictError:
                chunks.clear()
        work.commit("test", lambda _state: [])
    assert refused
    found = opened(data)
    for chunk in chunks:
        assert found.read_object(ids.CHUNK, store.hasher.id(ids.CHUNK, chunk)) == chunk


@pytest.mark.usefixtures("little")
def test_what_is_relied_on_takes_a_bit_for_each_frame(data):
    chunks = [bytes([number]) * 100 for number in range(200)]
    store = opened(data)
    with store.transaction() as work:
        for chunk in chunks:
            work.put_chunk(chunk)
        work.commit("first", lambda _state: [])
    with store.transaction() as work:
        for chunk in chunks * 5:
            work.put_chunk(chunk)
        assert sum(map(len, work.relied.frames.values())) <= 200
        assert sum(bits.bit_count() for held in work.relied.frames.values() for bits in held) == 200


def test_workers_end_when_their_parent_was_killed(tmp_path):
    """They hold the worktree's lock, and could append to the log after the command is no more."""
    script = (
        "import os, sys, time\n"
        "from dvtool.effects import Silence\n"
        "from dvtool.worktree import workers\n"
        "import msgspec\n"
        "class Done(msgspec.Struct): pass\n"
        "def work(part, counter):\n"
        "    open(f'{sys.argv[1]}/{os.getpid()}', 'w').close()\n"
        "    for _ in range(3000):\n"
        "        time.sleep(0.01); counter.tell(0)\n"
        "    return Done()\n"
        "workers.run([1, 2], work, Done, Silence(), clean=lambda _process: None)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    wait_until(lambda: len(os.listdir(tmp_path)) == 2)
    children = [int(name) for name in os.listdir(tmp_path)]
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(is_running, children)))


def is_running(process):
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


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
