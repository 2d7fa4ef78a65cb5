"""What a process killed in the middle leaves unfinished is never data, and is gone after the next command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dvtool import paths
from dvtool.errors import NotFoundError
from dvtool.repo import Repo
from dvtool.storage import disk

# Runs dv until it is about to give a finished file its own name, and ends there as by kill -9.
UNTIL = """
import os, signal, sys
from dvtool.cli import main

def until(step):
    def run(source, target, **places):
        if sys.argv[1] in str(target):
            os.kill(os.getpid(), signal.SIGKILL)
        return step(source, target, **places)
    return run

os.rename, os.replace, os.link = until(os.rename), until(os.replace), until(os.link)
main.run(sys.argv[2:])
"""


def killed(root, moment, *arguments):
    found = subprocess.run([sys.executable, "-c", UNTIL, moment, *arguments], cwd=root, check=False, timeout=60)
    assert found.returncode == -signal.SIGKILL, f"{arguments} never came to {moment}"


def leftovers(base):
    return [
        str(path.relative_to(base))
        for path in Path(base).rglob("*")
        if paths.is_partial(path.name) or path.parent.name == "tmp" or path.name == "writing"
    ]


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "repo"
    (root / "data/sub").mkdir(parents=True)
    (root / "data/a.txt").write_bytes(b"one\n")
    (root / "data/sub/b.txt").write_bytes(b"in a directory\n")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    repo = Repo.init(str(root))
    repo.add([str(root / "data")])
    repo.commit("one")
    (root / "data/a.txt").write_bytes(b"two\n")
    (root / "data/sub/b.txt").unlink()
    repo.add([str(root / "data")])
    repo.commit("two")
    return root


def untracked(root):
    Repo.open(str(root)).remove([str(root / "data")])


def left_out(root):
    Repo.open(str(root)).drop([str(root / "data")])


def edited(root):
    (root / "data/a.txt").write_bytes(b"three\n")
    (root / "more").mkdir()
    (root / "more/c.txt").write_bytes(b"new\n")


def nothing(root):
    pass


KILLED = {
    "a file of a checkout": (nothing, "a.txt", ["checkout", "HEAD~1"], "data/.dv-partial"),
    "a file of a restore": (nothing, "b.txt", ["restore", "--source", "HEAD~1", "data"], "data/sub/.dv-partial"),
    "a file in no tracked root": (
        untracked,
        "b.txt",
        ["restore", "--source", "HEAD~1", "data/sub"],
        "data/sub/.dv-par",
    ),
    "a file that is got back": (left_out, "a.txt", ["get", "data"], "data/.dv-partial"),
    "the note of where files come": (nothing, ".dv/writing", ["checkout", "HEAD~1"], ".dv/.dv-partial"),
    "the record of what is left out": (nothing, ".dv/worktree", ["drop", "data"], ".dv/.dv-partial"),
    "the index": (edited, ".dv/index", ["add", "data"], ".dv/.dv-partial"),
    "the cached head": (edited, "cache/head", ["add", "data"], ".dv/cache/.dv-partial"),
    "dv.lock": (nothing, "dv.lock", ["checkout", "HEAD~1"], ".dv-partial"),
    "the block in .gitignore": (edited, ".gitignore", ["add", "more"], ".dv-partial"),
    "a pack": (edited, "packs/", ["add", "data"], ".dv/tmp/"),
    "an entry": (edited, "log/", ["add", "data"], ".dv/tmp/"),
}


@pytest.mark.parametrize("case", KILLED)
def test_what_is_left_is_never_data_and_goes_with_the_next_command(root, case):
    prepare, moment, arguments, place = KILLED[case]
    prepare(root)
    killed(root, moment, *arguments)
    left = leftovers(root)
    assert any(path.startswith(place) for path in left), left
    status = Repo.open(str(root)).status()
    assert not [path for path in (*status.unstaged.added, *status.unstorable) if "partial" in path]
    Repo.open(str(root)).commit("the next command", allow_empty=True)
    assert leftovers(root) == []
    Repo.open(str(root)).commit("and all", everything=True, allow_empty=True)
    assert not [item.path for item in Repo.open(str(root)).ls("HEAD", recursive=True) if "partial" in item.path]


def test_what_a_killed_initialisation_left_goes_with_the_next(tmp_path):
    killed(tmp_path, "/.dv", "init")
    assert [name for name in os.listdir(tmp_path) if paths.is_partial(name)]
    Repo.init(str(tmp_path))
    assert os.listdir(tmp_path) == [".dv"]


def test_what_a_killed_making_or_removal_of_a_worktree_left_goes_with_the_next(root, tmp_path):
    killed(root, "other/.dv", "worktree", "add", "../other", "HEAD~1")
    assert [name for name in os.listdir(tmp_path / "other") if paths.is_partial(name)]
    Repo.open(str(root)).add_worktree(str(tmp_path / "other"), "HEAD~1")
    script = UNTIL.replace(
        "os.rename, os.replace", "import shutil; shutil.rmtree = lambda path: until(None)(path, path)\n#"
    )
    words = [sys.executable, "-c", script, "partial", "worktree", "remove", "../other"]
    assert subprocess.run(words, cwd=root, check=False, timeout=60).returncode == -signal.SIGKILL
    assert [name for name in os.listdir(tmp_path / "other") if paths.is_partial(name)]
    with pytest.raises(NotFoundError):  # the store knew before the files went
        Repo.open(str(root)).remove_worktree(str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_a_file_of_a_living_process_stays_until_its_number_belongs_to_another(root):
    own = root / f".dv/tmp/{disk.temporary_name()}"
    own.parent.mkdir(exist_ok=True)
    own.write_bytes(b"mine")
    Repo.open(str(root)).commit("next", allow_empty=True)
    assert own.exists()
    process = subprocess.Popen(["sleep", "60"])
    try:
        theirs = own.with_name(own.name.replace(f"{os.getpid()}-", f"{process.pid}-", 1))
        own.rename(theirs)
        assert not disk.is_abandoned(str(theirs), theirs.name)
        os.utime(theirs, (0, time.time() - 2 * disk.ABANDONED_AFTER))
        assert disk.is_abandoned(str(theirs), theirs.name)
        os.utime(theirs, (0, time.time()))
        Repo.open(str(root)).commit("next", allow_empty=True)
        assert theirs.exists()
    finally:
        process.kill()
        process.wait()
    Repo.open(str(root)).commit("next", allow_empty=True)
    assert not theirs.exists()


def test_what_is_left_cannot_be_added_by_name(root):
    left = root / f"data/{paths.PARTIAL}{disk.temporary_name()}"
    left.write_bytes(b"half")
    with pytest.raises(Exception, match="never data"):
        Repo.open(str(root)).add([str(left)])
