"""The worktree's index, the scan and the reading of files: what is seen, what is read again, and by whom."""

import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dvtool import ids
from dvtool.effects import Silence
from dvtool.errors import DvError, StorageError, UsageError
from dvtool.formats import pack, tree
from dvtool.formats.worktree_index import UNKNOWN_STAT
from dvtool.repo import Repo
from dvtool.store.claims import Claims
from dvtool.testing.audit import audit, content
from dvtool.worktree import index, ingest, reader, scan, stats, workers
from dvtool.worktree.ignore import Ignore
from dvtool.worktree.index import Row, WorktreeIndex
from dvtool.worktree.reader import Reader

OLD = time.time() - 3600


def put(path, data, *, old=True):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if old:
        os.utime(path, (OLD, OLD))


@pytest.fixture
def repo(tmp_path):
    root = tmp_path / "repo"
    root.mkdir()
    return Repo.init(str(root))


def linked(path, target):
    os.symlink(target, path)
    return path


def emptied(path):
    os.unlink(path)
    return path


def reopen(repo):
    return Repo.open(repo.root)


def listed(repo, revision="HEAD"):
    return {item.path: item for item in repo.ls(revision, recursive=True) if item.kind != "dir"}


def settle(repo):
    """Wait until stat data is old enough to be believed, then let a command remember it."""
    time.sleep(0.15)
    reopen(repo).status()


def reads(repo, monkeypatch):
    """Count the files whose content is read from now on."""
    seen = []
    real = Reader.one

    def one(self, name, directory):
        seen.append(f"{os.readlink(f'/proc/self/fd/{directory}')}/{name}")
        return real(self, name, directory)

    monkeypatch.setattr(Reader, "one", one)
    return seen


# ------------------------------------------------------------------------------------------------ index


def row(seed, stat=b"s" * 40):
    return Row(tree.FILE, seed, bytes([seed % 256]) * 32, stat)


def test_an_index_is_what_was_put_into_it():
    made = WorktreeIndex()
    made.tree = b"t" * 32
    for directory in ("", "a", "a/b", "z"):
        made.add_directory(directory)
        for number in range(5):
            made.set(directory, f"f{number}", row(number))
    read = WorktreeIndex(made.encode())
    assert read.tree == b"t" * 32
    assert read.directories == ["", "a", "a/b", "z"]
    assert read.subdirectories("") == {"a", "z"}
    assert read.rows("a/b") == {f"f{number}": row(number) for number in range(5)}
    assert read.row("a/f3") == row(3)
    assert read.row("a/missing") is None
    assert not read.changed
    assert read.encode() == made.encode()


def test_a_change_touches_its_directory_alone():
    made = WorktreeIndex()
    made.tree = b"t" * 32
    for directory in ("", "a", "b"):
        made.add_directory(directory)
        made.set(directory, "f", row(1))
    read = WorktreeIndex(made.encode())
    read.set("a", "f", row(2))
    read.set("a", "g", row(3))
    read.set("b", "f", None)
    again = WorktreeIndex(read.encode())
    assert again.rows("a") == {"f": row(2), "g": row(3)}
    assert again.rows("b") == {}
    assert again.rows("") == {"f": row(1)}
    assert "b" in again


def test_a_directory_is_forgotten_with_all_below():
    made = WorktreeIndex()
    made.tree = b"t" * 32
    made.add_directory("a/b/c")
    made.set("a/b/c", "f", row(1))
    made.add_directory("z")
    read = WorktreeIndex(made.encode())
    read.remove_directory("a/b")
    again = WorktreeIndex(read.encode())
    assert again.directories == ["", "a", "z"]
    assert again.subdirectories("a") == set()


@pytest.mark.parametrize("data", [b"", b"short", b"DVWTIDX\n" + bytes(200)])
def test_a_bad_index_is_an_empty_one(tmp_path, data):
    (tmp_path / "index").write_bytes(data)
    assert index.load(f"{tmp_path}/index").tree is None
    assert index.load(f"{tmp_path}/missing").tree is None


def test_an_index_is_made_anew(repo):
    for number in range(30):
        put(f"{repo.root}/data/d{number % 3}/f{number}", b"%d" % number)
    repo.add(["data"])
    repo.commit("files")
    settle(repo)
    good = WorktreeIndex(Path(f"{repo.root}/.dv/index").read_bytes())
    os.unlink(f"{repo.root}/.dv/index")
    settle(repo)
    anew = WorktreeIndex(Path(f"{repo.root}/.dv/index").read_bytes())
    assert anew.tree == good.tree
    assert {path: anew.rows(path) for path in anew.directories} == {path: good.rows(path) for path in good.directories}


# ------------------------------------------------------------------------------------------------ scan


def test_what_did_not_change_is_not_read(repo, monkeypatch):
    for number in range(40):
        put(f"{repo.root}/data/d{number % 4}/f{number}", b"%d" % number)
    repo.add(["data"])
    repo.commit("files")
    settle(repo)
    seen = reads(repo, monkeypatch)
    assert reopen(repo).status().clean
    assert reopen(repo).add(["data"]).modified == 0
    assert seen == []
    put(f"{repo.root}/data/d1/f1", b"changed")
    assert reopen(repo).status().unstaged.modified == ("data/d1/f1",)
    assert {os.path.relpath(path, repo.root) for path in seen} <= {"data/d1/f1"}


def test_the_same_size_and_time_do_not_deceive(repo):
    path = f"{repo.root}/data/f"
    put(path, b"one")
    repo.add(["data"])
    repo.commit("one")
    settle(repo)
    put(path, b"two")
    assert os.stat(path).st_mtime == pytest.approx(OLD)
    assert reopen(repo).status().unstaged.modified == ("data/f",)


def test_a_file_written_in_the_moment_of_reading_is_looked_at_again(repo):
    path = f"{repo.root}/data/f"
    for number in range(20):
        put(path, b"%03d" % number, old=False)
        reopen(repo).add(["data"])
        put(path, b"%03d" % (number + 500), old=False)
        assert reopen(repo).status().unstaged.modified == ("data/f",)


def test_recent_stat_data_is_not_believed():
    now = 10**18 + 500_000_000
    found = (5, now - 50_000_001, now - 200_000_001, 7, 0o100644)
    assert stats.trusted(found, now) == UNKNOWN_STAT
    settled = (5, now - 3_000_000_001, now - 3_000_000_001, 7, 0o100644)
    assert stats.trusted(settled, now) == stats.pack(list(settled))
    coarse = (5, 10**18, 10**18, 7, 0o100644)
    assert stats.trusted(coarse, 10**18 + 1_500_000_000) == UNKNOWN_STAT
    future = (5, now + 10**9, now, 7, 0o100644)
    assert stats.trusted(future, now) == UNKNOWN_STAT


@pytest.mark.parametrize("change", ["content", "mode", "link", "directory", "gone", "added"])
def test_each_change_is_seen(repo, change):
    for name in ("f", "g"):
        put(f"{repo.root}/data/sub/{name}", b"content")
    repo.add(["data"])
    repo.commit("files")
    settle(repo)
    path = f"{repo.root}/data/sub/f"
    {
        "content": lambda: put(path, b"other"),
        "mode": lambda: os.chmod(path, 0o744),
        "link": lambda: os.replace(linked(f"{repo.root}/data/sub/new", "g"), path),
        "directory": lambda: put(f"{emptied(path)}/h", b"below"),
        "gone": lambda: os.unlink(path),
        "added": lambda: put(f"{repo.root}/data/sub/new", b"new"),
    }[change]()
    expected = {
        "content": ((), ("data/sub/f",), ()),
        "mode": ((), ("data/sub/f",), ()),
        "link": ((), ("data/sub/f",), ()),
        "directory": (("data/sub/f/h",), (), ("data/sub/f",)),
        "gone": ((), (), ("data/sub/f",)),
        "added": (("data/sub/new",), (), ()),
    }[change]
    found = reopen(repo).status().unstaged
    assert (found.added, found.modified, found.removed) == expected
    assert not reopen(repo).status().clean
    reopen(repo).commit("changed", everything=True)
    assert reopen(repo).status().clean


def test_a_scan_by_several_processes_finds_the_same(repo, monkeypatch):
    chance = random.Random(5)
    for number in range(300):
        put(f"{repo.root}/data/d{number % 23}/e{number % 3}/f{number}", b"%d" % number)
    repo.add(["data"])
    repo.commit("files")
    settle(repo)
    files = sorted(Path(repo.root).rglob("data/**/f*"))
    for path in chance.sample(files, 40):
        path.unlink()
    for path in chance.sample([path for path in files if path.exists()], 40):
        put(path, b"changed")
    for number in range(40):
        put(f"{repo.root}/data/d{number}/new{number}", b"new")
    session = reopen(repo).workspace.session

    def findings():
        return scan.Scanner(repo.root, session.index(), Ignore(b""), None).scan(["data"])

    alone = findings()
    monkeypatch.setattr(scan, "SHARED_WEIGHT", 1)
    monkeypatch.setenv("DV_WORKERS", "3")
    together = findings()
    assert alone.removed
    assert alone.added
    assert sorted(together.doubtful) == sorted(alone.doubtful)
    assert sorted(together.added) == sorted(alone.added)
    assert (together.removed, together.new_directories, together.gone_directories) == (
        alone.removed,
        alone.new_directories,
        alone.gone_directories,
    )


def test_what_cannot_be_stored_is_named_and_nothing_is_staged(repo):
    put(f"{repo.root}/data/f", b"fine")
    os.mkfifo(f"{repo.root}/data/pipe")
    put(f"{repo.root}/data/.GIT/config", b"hostile")
    with pytest.raises(UsageError) as caught:
        repo.add(["data"])
    assert [item.split(":")[0] for item in caught.value.items] == ["data/.GIT", "data/pipe"]
    assert reopen(repo).status().staged.is_empty
    with open(os.fsencode(f"{repo.root}/data/") + b"\xff", "wb"):
        pass
    with pytest.raises(UsageError, match="3 paths"):
        repo.add(["data"])


# ------------------------------------------------------------------------------------------------ reading


@pytest.fixture
def parallel(monkeypatch):
    """Two processes read, however little there is."""
    monkeypatch.setenv("DV_WORKERS", "2")
    monkeypatch.setattr(ingest, "SHARED_COST", 1)


def fill(repo, count=60):
    chance = random.Random(9)
    for number in range(count):
        put(f"{repo.root}/data/f{number:03}", chance.randbytes(chance.randrange(60_000)))
    put(f"{repo.root}/data/long", chance.randbytes(700_000))
    put(f"{repo.root}/data/empty", b"")
    os.symlink("f001", f"{repo.root}/data/link")
    return {path.name: path.read_bytes() for path in Path(f"{repo.root}/data").iterdir() if not path.is_symlink()}


def stored(repo, revision="HEAD"):
    found = audit(reopen(repo).workspace.session.store)
    identity = repo.workspace.resolve(revision).id
    return {path.removeprefix("data/"): data for path, data in found.snapshots[identity].items()}


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


class Meddler:
    """Changes a file while it is read: right after its content was taken, before its status is."""

    def __init__(self, monkeypatch, path, changes):
        self.path = path
        self.changes = list(changes)
        self.real = os.read
        monkeypatch.setattr(os, "read", self.read)

    def read(self, descriptor, count):
        data = self.real(descriptor, count)
        if self.changes and os.path.exists(self.path) and os.path.samestat(os.fstat(descriptor), os.stat(self.path)):
            self.changes.pop(0)(self.path)
        return data


def test_a_file_that_changes_while_it_is_read_is_read_again(repo, monkeypatch):
    path = f"{repo.root}/data/f"
    put(path, b"first")
    Meddler(monkeypatch, path, [lambda p: put(p, b"second version"), lambda p: put(p, b"third")])
    repo.add(["data"])
    repo.commit("c")
    assert stored(reopen(repo))["f"] == b"third"
    assert reopen(repo).status().clean


def test_a_file_that_never_holds_still_is_named_and_nothing_is_staged(repo, monkeypatch):
    path = f"{repo.root}/data/f"
    put(path, b"0")
    put(f"{repo.root}/data/g", b"calm")
    Meddler(monkeypatch, path, [lambda p, n=n: put(p, b"x" * n) for n in range(2, 60)])
    with pytest.raises(UsageError) as caught:
        repo.add(["data"])
    assert caught.value.items == ("data/f: it changes while it is being read",)
    assert reopen(repo).status().staged.is_empty


def test_a_file_that_vanishes_while_it_is_read_is_left_out(repo, monkeypatch):
    path = f"{repo.root}/data/f"
    put(path, b"fleeting")
    put(f"{repo.root}/data/g", b"calm")
    real = Reader.one

    def one(self, name, directory):
        if name == "f" and os.path.exists(path):
            os.unlink(path)
        return real(self, name, directory)

    monkeypatch.setattr(Reader, "one", one)
    repo.add(["data"])
    repo.commit("c")
    assert set(listed(reopen(repo))) == {"data/g"}


def test_a_file_that_becomes_a_link_is_not_followed(repo, monkeypatch, tmp_path):
    path = f"{repo.root}/data/f"
    put(path, b"a file")
    put(f"{tmp_path}/secret", b"secret")
    real = Reader.one

    def one(self, name, directory):
        if not os.path.islink(path):
            os.unlink(path)
            os.symlink(f"{tmp_path}/secret", path)
        return real(self, name, directory)

    monkeypatch.setattr(Reader, "one", one)
    repo.add(["data"])
    repo.commit("c")
    assert stored(reopen(repo))["f"] == f"{tmp_path}/secret".encode()


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 300_000, 4 * 2**20, 4 * 2**20 + 1, 9 * 2**20])
def test_files_of_every_length_come_back(repo, size):
    data = random.Random(size).randbytes(size)
    put(f"{repo.root}/data/f", data)
    repo.add(["data"])
    repo.commit("c")
    workspace = reopen(repo).workspace
    _snapshot, _path, entry = workspace.place("HEAD:data/f")
    assert content(workspace.session.store, entry) == data
    assert size < 300_000 or entry.kind == tree.LONG_FILE


def test_streamed_and_whole_files_are_cut_alike(repo, monkeypatch):
    data = random.Random(3).randbytes(3 * 2**20)
    put(f"{repo.root}/data/whole", data)
    repo.add(["data"])
    monkeypatch.setattr(reader, "WHOLE_LIMIT", 2**20)
    put(f"{repo.root}/data/streamed", data)
    repo.add(["data"])
    repo.commit("c")
    found = listed(reopen(repo))
    assert found["data/whole"].id == found["data/streamed"].id


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


def test_columns_that_take_a_directory_are_its_rows():
    mirrored = WorktreeIndex()
    mirrored.add_directory("a/b")
    rows = {f"f{i}": row(i) for i in range(5)}
    other = WorktreeIndex()
    other.add_directory("a/b")
    for name, value in rows.items():
        other.set("a/b", name, value)
    record = other._fresh("a/b")
    mirrored.fill("a/b", record)
    assert mirrored.rows("a/b") == rows
    mirrored.fill("a/b", record)
    mirrored.set("a/b", "f1", None)
    mirrored.add_directory("a/b/f2")
    assert set(mirrored.rows("a/b")) == {"f0", "f3", "f4"}
    mirrored.fill("a/b", record)
    mirrored.tree = other.tree = bytes(32)
    again = WorktreeIndex(mirrored.encode())
    assert again.rows("a/b") == rows
    assert again.subdirectories("a/b") == {"f2"}


def test_a_directory_is_read_whole_beside_its_subdirectories(repo, parallel):
    wanted = fill(repo)
    put(f"{repo.root}/data/below/deep", b"deep")
    repo.add(["data"])
    repo.commit("c")
    found = stored(repo)
    assert {name: found[name] for name in wanted} == wanted
    assert found["below/deep"] == b"deep"
    assert set(listed(reopen(repo))) == {*(f"data/{name}" for name in wanted), "data/below/deep", "data/link"}
    assert reopen(repo).status().clean


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


class Exchanger:
    """Puts something else in the place of a directory, once, while one of its files is read."""

    def __init__(self, monkeypatch, exchange):
        self.done = False
        real = Reader.one

        def one(reader_, name, directory):
            if name == "f010" and not self.done:
                self.done = True
                exchange()
            return real(reader_, name, directory)

        monkeypatch.setattr(Reader, "one", one)


def test_a_directory_that_is_exchanged_while_it_is_read_loses_no_file(repo, monkeypatch):
    wanted = fill(repo)
    repo.add(["data"])
    repo.commit("c")
    os.utime(f"{repo.root}/data/f000")
    for path in Path(f"{repo.root}/data").iterdir():
        if not path.is_symlink():
            os.utime(path, (OLD - 5, OLD - 5))

    def exchange():
        shutil.copytree(f"{repo.root}/data", f"{repo.root}/new", symlinks=True)
        os.rename(f"{repo.root}/data", f"{repo.root}/old")
        os.rename(f"{repo.root}/new", f"{repo.root}/data")
        shutil.rmtree(f"{repo.root}/old")

    exchanged = Exchanger(monkeypatch, exchange)
    result = reopen(repo).add(["data"])
    assert exchanged.done
    assert result.removed == 0
    found = reopen(repo)
    assert found.status().clean
    assert {name: stored(found)[name] for name in wanted} == wanted


@pytest.mark.parametrize("instead", ["file", "pipe", "link"])
def test_a_directory_that_became_something_else_while_it_was_read_is_named(repo, monkeypatch, tmp_path, instead):
    fill(repo)
    repo.add(["data"])
    repo.commit("c")
    for path in Path(f"{repo.root}/data").iterdir():
        if not path.is_symlink():
            os.utime(path, (OLD - 5, OLD - 5))
    shutil.copytree(f"{repo.root}/data", f"{tmp_path}/elsewhere", symlinks=True)

    def exchange():
        shutil.rmtree(f"{repo.root}/data")
        if instead == "file":
            put(f"{repo.root}/data", b"a file")
        elif instead == "pipe":
            os.mkfifo(f"{repo.root}/data")
        else:
            os.symlink(f"{tmp_path}/elsewhere", f"{repo.root}/data")

    exchanged = Exchanger(monkeypatch, exchange)
    with pytest.raises(UsageError) as caught:
        reopen(repo).add(["data"])
    assert exchanged.done
    assert all("a file or link stands where a directory must be" in item for item in caught.value.items)
    assert reopen(repo).status().staged.is_empty


def test_numbers_that_do_not_fit_are_kept_apart():
    rows = [1, 2, 3, 2**64 - 1, 0o100644, 1, 2, 3, 2**63, 0o100644]
    packed = stats.pack(rows)
    assert len(packed) == 80
    assert packed[24:32] == b"\xff" * 8
    assert packed[:40] != packed[40:]


def test_a_wild_guess_at_the_number_of_chunks_takes_no_more_memory_than_a_good_one():
    claims = Claims(10**15)
    assert claims.claim(b"x" * 32)
    assert not claims.claim(b"x" * 32)
