"""``dv restore`` and ``dv checkout`` where a directory became a file, a file a directory, or either a link."""

import os
import shutil

import pytest

from dvtool.errors import ConflictError
from dvtool.repo import Repo
from dvtool.worktree import apply


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
