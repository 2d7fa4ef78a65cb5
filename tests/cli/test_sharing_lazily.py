"""Clones that leave the content of files at the remote, and bring it when it is wanted."""

import os
import shutil

import pytest

from tests.cli.calling import Dv
from tests.cli.sharing import change, clone, files, pushed, sound, there


@pytest.fixture
def lazy(one, two):
    """A clone without data, of a history of three snapshots."""
    one.write("data/long.bin", bytes(range(256)) * 2000)
    one.commit("long")
    one("tag", "v1")
    pushed(one, "theirs")
    return clone(one, "lazy", "--lazy")


def test_the_remote_of_a_lazy_clone_is_not_removed_by_mistake(lazy):
    lazy("get", "data/b.txt")
    error = lazy("remote", "remove", "origin", "--json", code=12).error
    assert error["items"] == ["data/a.txt", "data/long.bin", "data/sub/c.txt"]
    assert "3 files" in error["why"]
    assert "--force" in error["next"]
    lazy("get", "data/sub")
    lazy("remote", "remove", "origin", "--force")
    lazy("cat", "main:data/a.txt", code=10)


def test_another_url_of_a_lazy_clone_is_told(lazy, tmp_path):
    shutil.copytree(tmp_path / "remote", tmp_path / "moved")
    assert lazy("remote", "set-url", "origin", str(tmp_path / "remote")).told == ""
    assert "what it lacks" in lazy("remote", "set-url", "origin", str(tmp_path / "moved")).told
    lazy("get", "data")


def packs_of(dv):
    return len(os.listdir(dv.root / ".dv/store/packs"))


def test_a_lazy_clone_lists_and_compares_without_data(one, lazy):
    shutil.move(one.root.parent / "remote", one.root.parent / "away")
    assert files(lazy) == {}
    assert lazy.listed() == one.listed()
    assert lazy.status()["clean"]
    assert lazy.status()["sparse"]
    assert lazy("diff", "v1", "main", "--json").json == one("diff", "v1", "main", "--json").json
    assert lazy("log", "--json").json == one("log", "--json").json
    assert lazy("du", "--json").json == one("du", "--json").json
    lazy("tag", "v2")
    lazy("branch", "side", "v1")


def test_a_lazy_clone_without_its_remote_says_what_it_lacks(one, lazy):
    shutil.move(one.root.parent / "remote", one.root.parent / "away")
    assert "no store" in lazy("cat", "main:data/a.txt", code=10).told
    lazy("remote", "remove", "origin", "--force")
    assert "dv remote add" in lazy("cat", "main:data/a.txt", code=10).told


def test_a_lazy_clone_brings_what_is_read(one, lazy):
    assert lazy("cat", "main:data/a.txt").text == "theirs"
    assert lazy("cat", "v1:data/a.txt").text == "a\n"
    assert files(lazy) == {}
    lazy("get", "data/b.txt")
    assert files(lazy) == {"data/b.txt": "bb\n"}
    lazy("checkout", "main", "--only", "data/sub")
    assert files(lazy)["data/sub/c.txt"] == "ccc\n"
    lazy("restore", "--source", "v1", "data/sub")
    lazy("get", "data")
    assert (lazy.root / "data/long.bin").read_bytes() == (one.root / "data/long.bin").read_bytes()
    lazy("drop", "data")
    assert files(lazy) == {}
    assert lazy.status()["clean"]
    shutil.rmtree(one.root.parent / "remote")
    lazy("get", "data")
    assert lazy.status()["clean"]


def test_a_lazy_clone_makes_an_archive(one, lazy, tmp_path):
    lazy("archive", "HEAD", str(tmp_path / "out"))
    assert (tmp_path / "out/data/a.txt").read_text() == "theirs"


def test_a_lazy_clone_pulls_paths(one, lazy):
    pushed(one, "newer")
    lazy("pull", "origin", "data/a.txt")
    assert files(lazy) == {"data/a.txt": "newer"}
    assert lazy.status()["clean"]


def test_a_lazy_clone_commits_and_pushes(one, two, lazy):
    lazy("get", "data/a.txt")
    made = pushed(lazy, "from lazy")
    two("pull")
    assert two.status()["snapshot"] == made
    assert two.read("data/a.txt") == "from lazy"
    assert two.read("data/b.txt") == "bb\n"
    sound(two)
    assert there(one)["heads/main"] == made


def test_a_lazy_clone_merges(one, two, lazy):
    lazy("get", "data/b.txt")
    change(lazy, "lazy", "data/b.txt")
    pushed(one, "other")
    lazy("pull", code=12)
    lazy("merge", "origin/main")
    lazy("push")
    two("pull")
    assert two.read("data/a.txt") == "other"
    assert two.read("data/b.txt") == "lazy"


def test_a_lazy_clone_is_checked_and_collected(one, lazy):
    lazy("cat", "main:data/a.txt")
    lazy("gc", "--grace", "0", "--retention", "0")
    assert lazy("cat", "main:data/a.txt").text == "theirs"
    lazy("get", "data")
    assert files(lazy) == files(one)


def test_a_lazy_clone_pushes_to_no_other_place_what_it_lacks(one, lazy):
    lazy("remote", "add", "other", "../other", "--plain-keys")
    error = lazy("push", "other", "--json", code=20).error
    assert "dv get" in error["next"]
    assert there(lazy, "other") == {}


def test_a_worktree_of_a_lazy_clone_brings_what_it_needs(one, lazy):
    lazy("worktree", "add", "../beside", "main", "-b", "beside")
    beside = Dv(one.root.parent / "beside", one._capture)
    beside("get", "data")
    assert files(beside)["data/a.txt"] == "theirs"
