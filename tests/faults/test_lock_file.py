"""``dv.lock`` after a kill at each step: the next command writes it, and what Git put there stays."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dvtool.errors import ConflictError
from dvtool.repo import Repo
from dvtool.testing.faults import DyingDisk
from dvtool.worktree.session import Context


def git(root, *arguments):
    who = ["-c", "user.name=Git User", "-c", "user.email=git@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def locked(root):
    path = Path(f"{root}/dv.lock")
    return json.loads(path.read_bytes())["snapshot"] if path.exists() else None


def put(root, text):
    os.makedirs(f"{root}/data", exist_ok=True)
    Path(f"{root}/data/a.txt").write_text(text, encoding="utf-8")


def killed_while(root, at, act):
    """Run a command in a process of its own that dies at its call ``at`` of the disk; return whether it did."""
    child = os.fork()
    if child == 0:
        try:
            act(Repo.open(root, Context(disk=DyingDisk(at), cwd=root)))
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def begin(root):
    os.makedirs(root)
    git(root, "init", "-q", "-b", "master")
    repo = Repo.init(root)
    put(root, "one")
    repo.add(["data"])
    return repo


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Two snapshots, each with a Git commit of its dv.lock, and a third one staged."""
    root = str(tmp_path_factory.mktemp("template") / "repo")
    repo = begin(root)
    for text in ("one", "two", "three"):
        put(root, text)
        repo.add(["data"])
        if text != "three":
            repo.commit(text)
            git(root, "add", "-A")
            git(root, "commit", "-q", "-m", text)
    return root


def moments(template, root, act):
    """Yield at each step at which a command can be killed, with the repository as it was left there."""
    for at in range(1000):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(template, root, symlinks=True)
        if not killed_while(root, at, act):
            return
        yield at
    pytest.fail("the command came to no end")


ACTS = {
    "commit": lambda repo: repo.commit("three"),
    "commit -a": lambda repo: repo.commit("three", everything=True),
    "checkout": lambda repo: repo.checkout("HEAD~1", force=True),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_the_next_command_writes_what_a_kill_kept_from_being_written(template, tmp_path, act):
    root = f"{tmp_path}/repo"
    behind = 0
    for at in moments(template, root, act):
        before = locked(root)
        found = Repo.open(root).status()
        assert found.lock.matches, at
        assert found.lock.interrupted == (before != found.snapshot), at
        behind += found.lock.interrupted
        assert locked(root) == before, "a status wrote dv.lock"
        Repo.open(root).add(["data"])
        assert locked(root) == found.snapshot, at
        assert not Repo.open(root).status().lock.interrupted
        Repo.open(root).commit("more", allow_empty=True)
    assert behind, "no kill fell between the entry and dv.lock: nothing was tested"


def test_a_dv_lock_that_git_brought_is_told_from_a_kill_at_any_step(template, tmp_path):
    root = f"{tmp_path}/repo"
    older = locked(template)
    written = 0
    for at in moments(template, root, ACTS["commit"]):
        moved = Repo.open(root).status().snapshot != older
        written += locked(root) != older
        for bring in (["checkout", "-q", "-f", "HEAD~1"], ["checkout", "-q", "-f", "master"]):
            git(root, *bring)
            from_git = locked(root)
            found = Repo.open(root).status()
            assert found.lock.matches == (found.snapshot == from_git), (at, bring)
            assert not found.lock.interrupted
            Repo.open(root).add(["data"])
            assert locked(root) == from_git, (at, bring)
            if moved or from_git != older:
                with pytest.raises(ConflictError):
                    Repo.open(root).commit("more", allow_empty=True)
    assert written, "no kill fell after dv.lock was written: half of this was not tested"


def test_the_first_dv_lock_is_written_too(tmp_path):
    begin(f"{tmp_path}/template")
    root = f"{tmp_path}/repo"
    behind = 0
    for _at in moments(f"{tmp_path}/template", root, ACTS["commit"]):
        found = Repo.open(root).status()
        behind += found.lock.interrupted
        Repo.open(root).add(["data"])
        assert locked(root) == found.snapshot
    assert behind


def test_a_dv_lock_that_git_took_away_is_not_written_again_by_any_command(template, tmp_path):
    root = f"{tmp_path}/repo"
    shutil.copytree(template, root, symlinks=True)
    os.unlink(f"{root}/dv.lock")
    assert not Repo.open(root).status().lock.interrupted
    Repo.open(root).add(["data"])
    assert locked(root) is None
