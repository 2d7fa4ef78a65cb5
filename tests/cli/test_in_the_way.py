"""``dv restore`` and ``dv checkout`` where a directory became a file, a file a directory, or either a link."""

import ctypes
import errno
import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

from dvtool.errors import ConflictError
from dvtool.repo import Repo
from dvtool.worktree import apply, scan


def as_file(dv, path):
    dv.write(path, "PRECIOUS")
    return [path]


def as_full_directory(dv, path):
    dv.write(f"{path}/one", "PRECIOUS")
    dv.write(f"{path}/deep/two", "PRECIOUS too")
    dv.write(".dvignore", "ignored\n")
    dv.write(f"{path}/deep/ignored", "PRECIOUS as well")
    return [f"{path}/deep/ignored", f"{path}/deep/two", f"{path}/one"]


def as_link(dv, path):
    outside = dv.root.parent / "outside"
    outside.mkdir()
    (outside / "c.txt").write_text("not ours\n", encoding="utf-8")
    os.symlink(outside, dv.root / path)
    return [path]


def as_pipe(dv, path):
    os.mkfifo(dv.root / path)
    return [path]


SWAPS = {
    "a directory became a file": ("data/sub", as_file),
    "a directory became a link": ("data/sub", as_link),
    "a directory became a pipe": ("data/sub", as_pipe),
    "a root became a file": ("data", as_file),
    "a root became a link": ("data", as_link),
    "a file became a directory": ("data/a.txt", as_full_directory),
    "a file became a link": ("data/a.txt", as_link),
    "a file became a pipe": ("data/a.txt", as_pipe),
}


def changed_on_side(path):
    return f"{path}/c.txt" if path == "data/sub" else "data/sub/c.txt" if path == "data" else path


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.fixture(params=SWAPS)
def swapped(request, data):
    """The path that was swapped, and what content lies there and nowhere else.  Branch ``side`` has it otherwise."""
    path, swap = SWAPS[request.param]
    data("checkout", "-b", "side")
    data.write(changed_on_side(path), "changed\n")
    data.commit("on side")
    data("checkout", "main")
    remove(data.root / path)
    return path, swap(data, path)


def everything(root):
    return {
        str(path.relative_to(root)): (path.is_symlink(), path.is_dir(), path.read_bytes() if path.is_file() else b"")
        for path in sorted(root.rglob("*"))
        if ".dv" not in path.relative_to(root).parts
    }


@pytest.mark.parametrize("command", ["restore", "restore --source", "checkout"])
def test_force_gets_past_it(data, swapped, command):
    path, _lost = swapped
    words = {
        "restore": ["restore", "--force", path],
        "restore --source": ["restore", "--force", "--source", "HEAD", path],
        "checkout": ["checkout", "--force", "main"],
    }[command]
    data(*words)
    assert (data.read("data/a.txt"), data.read("data/b.txt")) == ("a\n", "bb\n")
    assert data.read("data/sub/c.txt") == "ccc\n"
    assert data.status()["clean"]
    outside = data.root.parent / "outside"
    assert not outside.exists() or os.listdir(outside) == ["c.txt"]


def test_restore_without_force_is_12_and_lists_what_would_be_lost(data, swapped):
    path, lost = swapped
    before = everything(data.root)
    assert data("restore", path, "--json", code=12).error["items"] == lost
    assert everything(data.root) == before


def test_checkout_without_force_is_12_and_lists_what_would_be_lost(data, swapped):
    _path, lost = swapped
    before = everything(data.root)
    assert data("checkout", "side", "--json", code=12).error["items"] == lost
    assert everything(data.root) == before
    data("checkout", "--force", "side")
    assert data.status()["clean"]


def test_what_lies_there_and_is_stored_needs_no_force_to_be_restored_over(data):
    shutil.move(data.root / "data/sub", data.root / "aside")
    data.write("data/sub", "ccc\n")  # the content of sub/c.txt
    (data.root / "data/a.txt").unlink()
    data.write("data/a.txt/copy", "bb\n")  # the content of b.txt
    (data.root / "data/a.txt/empty").mkdir()
    assert data("restore", "data/sub", "data/a.txt", "--json").json == {"written": 2, "removed": 2, "staged": 0}
    assert data.status()["clean"]


def test_an_empty_directory_holds_nothing_that_could_be_lost(data):
    (data.root / "data/a.txt").unlink()
    (data.root / "data/a.txt/within").mkdir(parents=True)
    data("restore", "data/a.txt")
    assert data.read("data/a.txt") == "a\n"


@pytest.mark.parametrize("control", [".git", ".dv"])
def test_a_repository_in_the_way_is_not_even_removed_by_force(data, control):
    (data.root / "data/a.txt").unlink()
    data.write(f"data/a.txt/nested/{control}/HEAD", "history")
    for words in (["restore", "data/a.txt"], ["restore", "--force", "data"], ["checkout", "--force"]):
        error = data(*words, "--json", code=12).error
        assert error["where"] == f"data/a.txt/nested/{control}"
    assert data.read(f"data/a.txt/nested/{control}/HEAD") == "history"


def test_names_that_are_not_utf8_can_be_in_the_way(data):
    (data.root / "data/a.txt").unlink()
    (data.root / "data/a.txt").mkdir()
    (data.root / os.fsdecode(b"data/a.txt/\xff")).write_bytes(b"PRECIOUS")
    assert data("restore", "data/a.txt", "--json", code=12).error["items"] == ["data/a.txt/\\xff"]
    data("restore", "--force", "data/a.txt")
    assert data.read("data/a.txt") == "a\n"


def test_what_lies_where_nothing_is_written_stays(data):
    data("drop", "data/sub")
    data.write("data/sub", "PRECIOUS")
    data("checkout", "--force", "main")
    data("restore", "--force", "data/a.txt")
    assert data.read("data/sub") == "PRECIOUS"
    assert data("get", "data/sub", "--json", code=12).error["items"] == ["data/sub"]
    assert data.read("data/sub") == "PRECIOUS"


def test_force_with_only_gets_past_it_too(data):
    data("drop", "data/sub")
    data.write("data/sub", "in the way")
    assert data("checkout", "--only", "data/sub", "--json", code=12).error["items"] == ["data/sub"]
    data("checkout", "--force", "--only", "data/sub")
    assert data.read("data/sub/c.txt") == "ccc\n"
    assert data.status()["clean"]


def test_an_empty_directory_of_the_other_branch_does_not_replace_a_file(data):
    data("checkout", "-b", "side")
    (data.root / "data/hollow").mkdir()
    data.commit("an empty directory")
    data("checkout", "main")
    data.write("data/hollow", "PRECIOUS")
    assert data("checkout", "side", "--json", code=12).error["items"] == ["data/hollow"]
    data("checkout", "--force", "side")
    assert data.status()["clean"]


def test_a_checkout_that_was_stopped_after_a_file_became_a_directory_is_run_again(data):
    data("checkout", "-b", "side")
    data("rm", "data/a.txt")
    data.write("data/a.txt/inside", "new\n")
    data.commit("a directory now")
    data("checkout", "main")
    remove(data.root / "data/a.txt")
    data.write("data/a.txt/inside", "new\n")  # as far as the first run came
    data("checkout", "side")
    assert data.status()["clean"]


def test_what_changes_after_it_was_judged_is_kept(data):
    remove(data.root / "data/sub")
    data.write("data/sub", "ccc\n")
    session = Repo.open(str(data.root)).workspace.session
    plan = apply.nothing()
    tree = session.head_tree()
    assert tree is not None
    entry = session.trees.resolve(tree, "data/sub/c.txt")
    assert entry is not None
    plan.writes = {"data/sub/c.txt": entry}
    assert apply.unstored(session, plan) == []
    assert plan.obstacles == {"data/sub": False}
    data.write("data/sub", "PRECIOUS")
    with pytest.raises(ConflictError):
        apply.execute(session, plan)
    assert data.read("data/sub") == "PRECIOUS"


@pytest.fixture
def either(dv):
    """``data/x`` is a file in the snapshot tagged ``file``, a directory in HEAD."""
    dv.write("data/x", "a file\n")
    dv.write("data/z", "z\n")
    dv("add", "data")
    dv("commit", "-m", "file")
    dv("tag", "file")
    (dv.root / "data/x").unlink()
    dv.write("data/x/c", "below\n")
    dv.commit("directory")
    return dv


def pipe(place):
    os.mkfifo(place)


def a_socket(place):
    with socket.socket(socket.AF_UNIX) as made:
        before = os.getcwd()
        os.chdir(place.parent)  # the path of a socket may be shorter than that of a test
        made.bind(place.name)
        os.chdir(before)


@pytest.mark.parametrize("make", [pipe, a_socket])
@pytest.mark.parametrize(
    "words", [["checkout", "file"], ["restore", "--source", "file", "data"], ["restore", "data"], ["restore", "data/x"]]
)
def test_a_pipe_or_socket_goes_only_by_force(either, make, words):
    shutil.rmtree(either.root / "data/x")
    make(either.root / "data/x")
    assert either(*words, "--json", code=12).error["items"] == ["data/x"]
    assert not (either.root / "data/x").is_file()
    assert (either.root / "data/x").exists()
    either(*words, "--force")
    assert (either.root / "data/x").is_file() == ("file" in words)


def test_what_was_not_there_is_not_counted_as_removed(either):
    shutil.rmtree(either.root / "data/x")
    assert either("checkout", "file", "--json").json["removed"] == 0
    assert either("checkout", "main", "--json").json["removed"] == 1
    (either.root / "data/x/c").unlink()
    done = either("rm", "data/x", "--json").json
    assert (done["removed"], done["deleted"]) == (["data/x/c"], 0)
    assert either("restore", "--source", "file", "data/z", "--json").json["removed"] == 0


def test_a_path_through_a_link_in_a_directorys_place_is_told(data):
    outside = data.root.parent / "outside"
    (data.root / "data").rename(outside)
    (data.root / "data").symlink_to(outside)
    kept = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    for words in (
        ["restore", "data/a.txt"],
        ["restore", "--force", "data/sub"],
        ["checkout", "--only", "data/sub"],
        ["get", "data/sub"],
        ["drop", "data/sub"],
        ["rm", "data/sub"],
        ["add", "data/sub/c.txt"],
        ["mv", "data/a.txt", "data/z.txt"],
    ):
        error = data(*words, "--json", code=12).error
        assert error["where"] == "data", words
        assert "link" in error["what"]
        assert "'dv restore --force data'" in error["next"]
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == kept
    data("restore", "--force", "data")
    assert data.status()["clean"]
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == kept


def test_a_link_inside_the_repository_that_replaced_nothing_is_still_a_way(data):
    (data.root / "way").symlink_to("data")
    data("restore", "way/a.txt")
    assert data("ls", "HEAD", "way/sub", "--json").json


def as_the_owner_only(*_):
    """Give up root's right to write everywhere, which others do not have."""
    libc = ctypes.CDLL(None)
    for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH of capabilities(7)
        libc.prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP of prctl(2)


@pytest.mark.parametrize(
    "words",
    [
        ["rm", "data"],
        ["rm", "data/sub/c.txt", "data/a.txt"],
        ["checkout", "second"],
        ["drop", "data"],
        ["checkout", "--only", "data/a.txt"],
    ],
)
def test_a_directory_that_cannot_be_written_in_stops_a_command_before_it_began(data, words):
    data("tag", "first")
    data.write("data/a.txt", "other\n")
    data.write("data/sub/c.txt", "other\n")
    data.commit("second")
    data("tag", "second")
    data("checkout", "first")
    before = data("oplog", "--json").json
    (data.root / "data/sub").chmod(0o555)
    command = [sys.executable, "-m", "dvtool.cli.main", *words, "--json"]
    done = subprocess.run(
        command, cwd=data.root, preexec_fn=as_the_owner_only, capture_output=True, check=False, timeout=60
    )
    (data.root / "data/sub").chmod(0o755)
    assert done.returncode == 30, done
    assert json.loads(done.stderr.splitlines()[-1])["error"]["items"] == ["data/sub"]
    assert data("oplog", "--json").json == before
    assert data.read("data/a.txt") == "a\n"
    assert data.status()["clean"]
    assert data.status()["sparse"] == []
    data(*words)


def anybody(dv, *words):
    """Call dv as somebody whom the modes of files bind; return its exit code and what it printed, as JSON."""
    command = [sys.executable, "-m", "dvtool.cli.main", *words, "--json"]
    done = subprocess.run(
        command, cwd=dv.root, preexec_fn=as_the_owner_only, capture_output=True, check=False, timeout=60
    )
    return done.returncode, json.loads(done.stdout or done.stderr.splitlines()[-1])


@pytest.fixture(params=[0o000, 0o300, 0o600], ids=oct)
def closed(data, request):
    """Nobody may list data/sub, or nobody look at what is in it."""
    data.write("data/sub/deep/d.txt", "d\n")
    data.write("data/sub/deeper/still/e.txt", "e\n")
    data.commit("deep")
    data("tag", "deep")
    data.write("data/a.txt", "changed\n")
    data.write("data/sub/c.txt", "changed as well\n")
    (data.root / "data/sub").chmod(request.param)
    yield data
    (data.root / "data/sub").chmod(0o755)


def test_what_cannot_be_looked_at_is_named_and_never_taken_for_removed(closed):
    code, found = anybody(closed, "status")
    assert code == 0
    # Below a directory that may be entered and not listed, what may have changed is named, too.
    named = found["unstorable"]
    assert named[0] == "data/sub: it cannot be read: Permission denied"
    assert all(name.startswith("data/sub") and name.endswith(": Permission denied") for name in named)
    assert found["unstaged"]["modified"] == ["data/a.txt"]
    assert {word for word, names in found["unstaged"].items() if names} == {"modified"}
    before = closed("oplog", "--json").json
    for words in (["add", "data"], ["commit", "-a", "-m", "blind"], ["diff"]):
        code, told = anybody(closed, *words)
        assert (code, told["error"]["items"]) == (2, named)
    assert closed("oplog", "--json").json == before
    (closed.root / "data/sub").chmod(0o755)
    assert closed.unstaged() == {"modified": ["data/a.txt", "data/sub/c.txt"]}


@pytest.mark.parametrize(
    "words", [["restore", "data"], ["restore", "--force", "data"], ["checkout", "--force", "deep"]], ids=" ".join
)
def test_what_cannot_be_looked_at_is_not_said_to_be_brought_back(closed, words):
    code, told = anybody(closed, *words)
    assert (code, told["error"]["items"]) == (30, ["data/sub"])
    assert closed.read("data/a.txt") == "changed\n"


@pytest.mark.parametrize("words", [["rm", "data"], ["rm", "--force", "data"], ["drop", "data"]], ids=" ".join)
def test_what_cannot_be_looked_at_is_not_removed_by_halves(closed, words):
    before = {str(path) for path in (closed.root / "data").rglob("*")}
    log = closed("oplog", "--json").json
    code, told = anybody(closed, *words)
    assert code in {12, 30}
    named = [told["error"]["where"], *told["error"]["items"]]
    assert any(name.startswith("data/sub") for name in named)
    assert {str(path) for path in (closed.root / "data").rglob("*")} == before
    assert closed("oplog", "--json").json == log


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_listing_that_breaks_off_is_no_removal(data, monkeypatch, processes):
    for name in ("c", "d", "e"):
        data.write(f"data/sub/{name}.txt", "changed\n")
        data.write(f"data/{name}/{name}.txt", "\n")
    data("add", "data")
    data.write("data/sub/new.txt", "changed again\n")
    monkeypatch.setenv("DV_WORKERS", processes)
    monkeypatch.setattr(scan, "SHARED_WEIGHT", 1)
    listed = os.scandir

    def breaking(place):
        if str(place).endswith("data/sub"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), place)
        return listed(place)

    monkeypatch.setattr(os, "scandir", breaking)
    assert data.status()["unstorable"] == ["data/sub: it cannot be read: Input/output error"]
    assert data.unstaged() == {}
