"""Work shared by processes: who does what, who stores what, and what becomes of those that fail."""

import importlib.util
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dvtool import ids
from dvtool.effects import Silence
from dvtool.errors import DvError, StorageError
from dvtool.formats import pack
from dvtool.store.claims import Claims
from dvtool.worktree import workers
from dvtool.worktree.reader import Reader
from tests.unit.files import fill, listed, put, reopen, stored


def test_two_processes_store_what_one_would(repo, parallel, monkeypatch):
    wanted = fill(repo)
    repo.add(["data"])
    repo.commit("files")
    found = stored(reopen(repo))
    assert {name: found[name] for name in wanted} == wanted
    assert found["link"] == b"f001"
    together = {path: item.id for path, item in listed(reopen(repo)).items()}
    monkeypatch.setenv("DV_WORKERS", "1")
    os.unlink(f"{repo.root}/.dv/index")
    assert reopen(repo).status().clean
    assert {path: item.id for path, item in listed(reopen(repo)).items()} == together
    assert os.listdir(f"{repo.root}/.dv/tmp") == []


def test_duplicates_across_processes_are_stored_once(repo, parallel):
    chance = random.Random(11)
    shared = [chance.randbytes(10_000) for _ in range(20)]
    held = {f"f{number:03}": chance.choice(shared) for number in range(200)}
    for name, data in held.items():
        put(f"{repo.root}/data/{name}", data)
    repo.add(["data"])
    repo.commit("files")
    store = reopen(repo).workspace.session.store
    found = [
        identity
        for segment in store.segments.live()
        for identity, location in segment.index.between(bytes(32), b"\xff" * 32)
        if location.flags & pack.KIND_MASK == ids.CHUNK
    ]
    assert len(set(found)) == 20
    assert len(found) <= 23  # two processes that claim in the same instant both store, which is harmless
    size = sum(path.stat().st_size for path in Path(f"{repo.root}/.dv/store/packs").iterdir())
    assert size < 25 * 10_000
    assert {name: data for name, data in stored(repo).items() if name} == held


def test_a_killed_worker_is_named_and_nothing_is_left(repo, parallel, monkeypatch):
    wanted = fill(repo)
    parent = os.getpid()
    real = Reader.one

    def one(self, name, directory):
        if os.getpid() != parent and name == "f050":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, name, directory)

    monkeypatch.setattr(Reader, "one", one)
    with pytest.raises(StorageError, match="killed"):
        repo.add(["data"])
    assert os.listdir(f"{repo.root}/.dv/tmp") == []
    assert reopen(repo).status().staged.is_empty
    monkeypatch.setattr(Reader, "one", real)
    reopen(repo).add(["data"])
    reopen(repo).commit("files")
    assert {name: stored(reopen(repo))[name] for name in wanted} == wanted


@pytest.mark.parametrize("failure", [DvError("on purpose", where="here", why="a test", next="nothing"), KeyError("k")])
def test_what_a_worker_raises_is_raised(repo, parallel, monkeypatch, failure):
    fill(repo)
    parent = os.getpid()

    def one(self, name, directory):
        if os.getpid() == parent:
            raise AssertionError("the parent reads nothing itself")
        raise failure

    monkeypatch.setattr(Reader, "one", one)
    with pytest.raises((DvError, RuntimeError)) as caught:
        repo.add(["data"])
    if isinstance(caught.value, DvError):
        assert (caught.value.what, caught.value.where, caught.value.next) == ("on purpose", "here", "nothing")
    else:
        assert "KeyError" in str(caught.value)
    assert isinstance(caught.value, DvError) == isinstance(failure, DvError)
    assert os.listdir(f"{repo.root}/.dv/tmp") == []


def test_ids_that_look_alike_to_the_claims_are_stored_all_the_same(repo, parallel, monkeypatch):
    wanted = fill(repo, count=30)
    # Every id looks like every other: nobody but the first may store anything, unless somebody looks again.
    monkeypatch.setattr(Claims, "claim", lambda _self, _identity: False)
    repo.add(["data"])
    repo.commit("files")
    assert {name: stored(reopen(repo))[name] for name in wanted} == wanted


@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_work_is_split_in_order_and_evenly(parts):
    weights = [random.Random(parts).randrange(1, 100) for _ in range(200)]
    found = workers.split(range(200), weights, parts)
    assert [item for part in found for item in part] == list(range(200))
    assert len(found) == parts
    sums = [sum(weights[item] for item in part) for part in found]
    assert max(sums) - min(sums) <= 200


def test_nothing_is_split_into_nothing():
    assert workers.split([], [], 4) == []
    assert workers.split(["one"], [5], 4) == [["one"]]


def test_progress_of_workers_adds_up():
    class Heard(Silence):
        files = size = 0

        def advance(self, *, files, size):
            self.files, self.size = files, size

    heard = Heard()

    def work(part, counter):
        for size in part:
            counter.add(size)
        return len(part)

    assert workers.run([[1, 2], [3], [4, 5, 6]], work, int, heard, clean=lambda _process: None) == [2, 1, 3]
    assert (heard.files, heard.size) == (6, 21)


def test_a_process_with_many_open_files_can_share_work():
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(limit, 1200), most), most))
    held: list[int] = []
    try:
        while not held or held[-1] < 1030:  # select() goes up to 1,023
            held.append(os.open(os.devnull, os.O_RDONLY))
        assert workers.run([1, 2], lambda part, _counter: part, int, Silence(), clean=lambda _process: None) == [1, 2]
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


def test_turns_are_given_to_one_process_each():
    turns = workers.Turns(50_000)
    try:
        given = workers.run(
            range(4), lambda _n, _counter: list(turns), list[int], Silence(), clean=lambda _process: None
        )
    finally:
        turns.close()
    assert sorted(turn for mine in given for turn in mine) == list(range(50_000))
    assert all(mine == sorted(mine) for mine in given)


def test_a_worker_that_fails_is_told_before_the_others_are_done():
    def work(number, _counter):
        if number:
            time.sleep(60)
        raise StorageError("on purpose", where="here", next="nothing")

    began = time.monotonic()
    with pytest.raises(StorageError, match="on purpose"):
        workers.run(range(3), work, int, Silence(), clean=lambda _process: None)
    assert time.monotonic() - began < 30


def test_a_child_that_moves_imports_nothing_from_where_it_is(tmp_path):
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'taken')!r}, 'w')")
    before = list(sys.path)

    def work(_number, _counter):
        sys.path[:0] = ["", "."]
        workers.leave_imports()
        os.chdir(tmp_path)
        return int(importlib.util.find_spec("planted") is not None)

    assert workers.run(range(2), work, int, Silence(), clean=lambda _process: None) == [0, 0]
    assert sys.path == before


def test_no_code_is_loaded_from_the_data(repo, tmp_path):
    """Where Python looks for modules in the working directory, that directory is never one of the data."""
    for name in ("zstandard", "pyfastcdc", "nt", "_winapi", "ipaddress", "pathlib"):
        put(f"{repo.root}/data/{name}.py", f"open({str(tmp_path / 'taken')!r}, 'w')".encode())
    fill(repo)
    program = (
        "from dvtool.worktree import ingest, scan; from dvtool.repo import Repo; import os\n"
        "ingest.SHARED_COST = 1; scan.SHARED_WEIGHT = 0; here = os.getcwd()\n"
        "repo = Repo.open('.'); repo.add(['data']); repo.commit('c', author='a <a@b>')\n"
        "os.unlink('data/ipaddress.py'); assert Repo.open('.').status().unstaged.removed\n"
        "assert os.getcwd() == here\n"
    )
    environment = {**os.environ, "DV_WORKERS": "3", "PYTHONPATH": ".:"}
    environment.pop("PYTHONSAFEPATH", None)
    subprocess.run([sys.executable, "-c", program], cwd=repo.root, env=environment, check=True)
    assert not (tmp_path / "taken").exists()
    assert "data/nt.py" in listed(reopen(repo))


def test_a_wild_guess_at_the_number_of_chunks_takes_no_more_memory_than_a_good_one():
    claims = Claims(10**15)
    assert claims.claim(b"x" * 32)
    assert not claims.claim(b"x" * 32)
