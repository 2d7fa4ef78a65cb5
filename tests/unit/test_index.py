"""The worktree's index and its scan: what is seen, and what is looked at again."""

import os
import random
import time
from pathlib import Path

import pytest

from dvtool.errors import UsageError
from dvtool.formats import tree
from dvtool.formats.worktree_index import UNKNOWN_STAT
from dvtool.worktree import index, scan, stats
from dvtool.worktree.ignore import Ignore
from dvtool.worktree.index import Row, WorktreeIndex
from dvtool.worktree.reader import Reader
from tests.unit.files import OLD, put, reopen


def linked(path, target):
    os.symlink(target, path)
    return path


def emptied(path):
    os.unlink(path)
    return path


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


def test_numbers_that_do_not_fit_are_kept_apart():
    rows = [1, 2, 3, 2**64 - 1, 0o100644, 1, 2, 3, 2**63, 0o100644]
    packed = stats.pack(rows)
    assert len(packed) == 80
    assert packed[24:32] == b"\xff" * 8
    assert packed[:40] != packed[40:]
