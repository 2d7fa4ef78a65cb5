"""``dv drop`` while somebody else changes the files, and where they cannot be read; worktrees removed by hand."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from dvtool.errors import ConflictError
from dvtool.repo import Repo
from dvtool.storage.disk import Disk
from dvtool.worktree.session import Context


class Meddler:
    """Progress that does something once, while a phase is under way."""

    def __init__(self, phase, act):
        self.phase = phase
        self.act = act
        self.label = ""
        self.planned = (0, 0)
        self.done = False

    def start(self, label, *, files, size):
        self.label, self.planned = label, (files, size)

    def advance(self, *, files, size):
        assert (files, size) <= self.planned
        if self.label == self.phase and not self.done:
            self.done = True
            self.act()

    def finish(self):
        self.label = ""


class LateDisk(Disk):
    """Does something in the moment in which a file gets its name."""

    def __init__(self, name, act):
        self.name = name
        self.act = act

    def rename(self, source, target):
        super().rename(source, target)
        if target.endswith(self.name):
            self.act()


def edit(root):
    (root / "data/b.txt").write_bytes(b"PRECIOUS")


def edit_without_a_trace_in_size(root):
    (root / "data/b.txt").write_bytes(b"BB\n")


def replace(root):
    (root / "data/aside").write_bytes(b"PRECIOUS")
    os.replace(root / "data/aside", root / "data/b.txt")


def as_directory(root):
    (root / "data/b.txt").unlink()
    (root / "data/b.txt").mkdir()
    (root / "data/b.txt/inside").write_bytes(b"PRECIOUS")


def as_link(root):
    (root / "data/b.txt").unlink()
    os.symlink("a.txt", root / "data/b.txt")


def as_pipe(root):
    (root / "data/b.txt").unlink()
    os.mkfifo(root / "data/b.txt")


def add_a_file(root):
    (root / "data/sub/new.txt").write_bytes(b"PRECIOUS")


ATTACKS = [edit, edit_without_a_trace_in_size, replace, as_directory, as_link, as_pipe, add_a_file]


def lying(root):
    found = {}
    for path in sorted((root / "data").rglob("*")):
        link = path.is_symlink()
        found[str(path)] = os.readlink(path) if link else path.read_bytes() if path.is_file() else path.is_dir()
    return found


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_changed_while_drop_verifies_it_stays(data, attack):
    after = {}

    def act():
        attack(data.root)
        after.update(lying(data.root))

    meddler = Meddler("verifying", act)
    repo = Repo.open(str(data.root), Context(progress=meddler, cwd=str(data.root)))
    with pytest.raises(ConflictError) as caught:
        repo.drop(["data"])
    assert meddler.done
    assert caught.value.items
    assert lying(data.root) == after
    assert data.status()["sparse"] == []


def untouched(path):
    """Return what changes when a file is written or replaced; reading it may move its time of access."""
    stat = path.lstat()
    return stat.st_dev, stat.st_ino, stat.st_mode, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@pytest.mark.parametrize("attack", [edit, edit_without_a_trace_in_size, replace, as_link, as_pipe])
def test_what_is_changed_after_the_last_look_stays(data, attack):
    disk = LateDisk(".dv/worktree", lambda: attack(data.root))
    repo = Repo.open(str(data.root), Context(disk=disk, cwd=str(data.root)))
    with pytest.raises(ConflictError) as caught:
        repo.drop(["data"])
    assert caught.value.where == "data/b.txt"
    kept = data.root / "data/b.txt"
    before = untouched(kept)
    assert os.path.lexists(kept)
    if attack is not as_pipe:
        assert data.unstaged()["modified"] == ["data/b.txt"]
    data("drop", "data", code=12)
    assert untouched(kept) == before
    kept.unlink()
    data("get", "data")
    assert data.read("data/b.txt") == "bb\n"
    assert data.status()["clean"]


@pytest.mark.parametrize("attack", [as_directory, as_link, as_pipe])
def test_what_cannot_be_read_as_the_file_it_was_is_named_and_nothing_goes(data, attack):
    attack(data.root)
    before = lying(data.root)
    items = data("drop", "data", "--json", code=12).error["items"]
    assert any(item.startswith("data/b.txt") for item in items)
    assert lying(data.root) == before
    assert data.status()["sparse"] == []


# Runs dv without the administrator's right to read what its mode forbids (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH).
LIKE_ANYBODY = """
import ctypes, os, sys
for right in (1, 2):
    ctypes.CDLL(None).prctl(24, right, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "dvtool.cli.main", *sys.argv[1:]])
"""


@pytest.mark.parametrize("changed", [False, True])
def test_a_file_that_may_not_be_read_is_named_and_nothing_goes(data, changed):
    locked = data.root / "data/b.txt"
    if changed:
        locked.write_bytes(b"PRECIOUS")
    before = lying(data.root)
    locked.chmod(0)
    words = [sys.executable, "-c", LIKE_ANYBODY, "drop", "data", "--json"]
    found = subprocess.run(words, cwd=data.root, check=False, capture_output=True, timeout=60)
    error = json.loads(found.stderr.splitlines()[-1])["error"]
    assert (found.returncode, error["code"], error["items"]) == (12, 12, ["data/b.txt"])
    locked.chmod(0o644)
    assert lying(data.root) == before
    assert data.status()["sparse"] == []


# ------------------------------------------------------------------------- a worktree removed by hand


@pytest.fixture
def removed(data):
    data("worktree", "add", "-b", "side", "../other")
    data("checkout", "side", code=12)
    shutil.rmtree(data.root.parent / "other")
    return data


def test_a_worktree_removed_by_hand_is_listed_as_missing(removed):
    there = {item["branch"]: item["gone"] for item in removed("worktree", "list", "--json").json}
    assert there == {"main": False, "side": True}
    assert "other (missing)" in removed("worktree", "list").text


def test_the_branch_of_a_worktree_removed_by_hand_is_taken_until_it_is_dropped(removed):
    removed("checkout", "side", code=12)
    removed("worktree", "remove", "--force", "../other")
    removed("checkout", "side")
    assert removed.status()["branch"] == "side"
    removed("checkout", "main")
    removed("worktree", "add", "../third", "side")
    assert removed("status", "--json", at="../third").json["branch"] == "side"


def test_what_the_store_knows_of_a_worktree_removed_by_hand_is_dropped_by_force(removed):
    removed("worktree", "remove", "../other", code=12)
    removed("worktree", "remove", "--force", "../other")
    assert [item["branch"] for item in removed("worktree", "list", "--json").json] == ["main"]
    removed("worktree", "remove", "../other", code=10)


def test_a_worktree_can_be_made_again_where_one_was_removed_by_hand(removed):
    removed("worktree", "add", "../other", "side", code=12)
    removed("worktree", "add", "-b", "again", "../other", "side")
    there = {item["gone"]: item["id"] for item in removed("worktree", "list", "--json").json if not item["current"]}
    assert sorted(there) == [False, True]
    removed("worktree", "remove", "--force", there[True])
    assert removed("status", "--json", at="../other").json["clean"]
    removed("worktree", "remove", there[False])
    assert not (removed.root.parent / "other").exists()
