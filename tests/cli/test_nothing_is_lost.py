"""Promise 1 where it is easiest to break: content that lies in the worktree and nowhere else stays."""

import os

import pytest

from dvtool.errors import ConflictError
from dvtool.storage.disk import temporary_name
from dvtool.worktree import apply, materialise


@pytest.fixture
def two_branches(dv):
    """Branch ``main`` with ``f`` and ``keep``; branch ``b`` without ``f``. On main."""
    dv.write("f", "v1")
    dv.write("keep", "k")
    dv("add", "f", "keep")
    dv("commit", "-m", "one")
    dv("checkout", "-b", "b")
    dv("rm", "f")
    dv("commit", "-m", "without f")
    dv("checkout", "main")
    return dv


def test_checkout_keeps_a_file_that_was_taken_out_of_the_stage_and_edited(two_branches):
    dv = two_branches
    dv("rm", "--cached", "f")
    dv.write("f", "PRECIOUS")
    dv("checkout", "b")
    assert dv.read("f") == "PRECIOUS"


def test_checkout_keeps_an_edited_file_that_the_other_branch_lacks(two_branches):
    dv = two_branches
    dv.write("f", "PRECIOUS")
    assert dv("checkout", "b", "--json", code=12).error["items"] == ["f"]
    assert dv.read("f") == "PRECIOUS"


def test_an_ignored_file_in_a_directory_that_must_become_a_file_stops_the_checkout_before_it_begins(dv):
    dv.write("d/a")
    dv.write("e/x", "1")
    dv("add", "d", "e")
    dv("commit", "-m", "one")
    dv("checkout", "-b", "o")
    dv("rm", "d")
    dv.write("d", "now a file")
    dv.write("e/x", "2")
    dv("add", "d", "e")
    dv("commit", "-m", "two")
    dv("checkout", "main")
    dv.write(".dvignore", "d/ig\n")
    dv.write("d/ig", "PRECIOUS")
    assert dv("checkout", "o", "--json", code=12).error["items"] == ["d/ig"]
    assert (dv.read("d/ig"), dv.read("d/a"), dv.read("e/x")) == ("PRECIOUS", "content\n", "1")


def test_ending_a_confinement_keeps_what_was_written_in_the_meantime(dv):
    dv.write("d/a", "v1")
    dv("add", "d")
    dv("commit", "-m", "one")
    dv("drop", "d/a")
    dv.write("d/a", "PRECIOUS")
    dv("checkout", "--only", ".", code=12)
    dv("checkout", "--only", "d", code=12)
    assert dv.read("d/a") == "PRECIOUS"


@pytest.mark.parametrize("command", ["rm", "drop"])
def test_a_link_to_the_root_is_a_link(dv, command):
    dv.write("data/x", "1")
    os.symlink("..", dv.root / "data/self")
    dv("add", "data")
    dv("commit", "-m", "one")
    dv(command, "data/self")
    assert dv.read("data/x") == "1"
    assert not os.path.lexists(dv.root / "data/self")


def test_a_file_root_that_became_a_directory_stays_whole_in_the_next_snapshot(dv):
    dv.write("a", "1")
    dv("add", "a")
    dv("commit", "-m", "one")
    os.unlink(dv.root / "a")
    dv.write("a/b", "2")
    dv("add", "a/b")
    dv.commit()
    dv.commit("again", "--allow-empty")
    assert dv.listed() == ["a", "a/b"]
    assert dv.status()["clean"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_directory_that_became_a_link_is_stored_as_the_link(dv, monkeypatch, tmp_path, workers):
    monkeypatch.setenv("DV_WORKERS", workers)
    dv.write("data/sub/x", "1")
    dv.write("data/sub/y", "2")
    dv("add", "data")
    dv("commit", "-m", "one")
    os.rename(dv.root / "data/sub", tmp_path / "elsewhere")
    (tmp_path / "elsewhere/x").write_text("SECRET")
    os.symlink(tmp_path / "elsewhere", dv.root / "data/sub")
    assert dv.unstaged() == {"added": ["data/sub"], "removed": ["data/sub/x", "data/sub/y"]}
    dv.commit()
    assert dv.listed() == ["data", "data/sub"]


def test_a_directory_above_a_root_that_became_a_link_hides_the_root(dv, tmp_path):
    dv.write("data/x", "1")
    dv("add", "data/x")
    dv("commit", "-m", "one")
    os.rename(dv.root / "data", tmp_path / "elsewhere")
    (tmp_path / "elsewhere/x").write_text("SECRET")
    os.symlink(tmp_path / "elsewhere", dv.root / "data")
    assert dv.unstaged() == {"removed": ["data/x"]}


def test_a_directory_that_became_a_file_is_seen_as_both(dv):
    dv.write("data/sub/x", "1")
    dv.write("data/other", "2")
    dv("add", "data")
    dv("commit", "-m", "one")
    os.unlink(dv.root / "data/sub/x")
    os.rmdir(dv.root / "data/sub")
    dv.write("data/sub", "a file now")
    assert dv.unstaged() == {"added": ["data/sub"], "removed": ["data/sub/x"]}
    dv.commit()
    assert dv.listed() == ["data", "data/other", "data/sub"]


def test_what_was_dropped_is_not_missed_when_its_directory_goes_or_moves(dv):
    for name in ("a", "b"):
        dv.write(f"data/{name}", name)
    dv("add", "data")
    dv("commit", "-m", "one")
    dv("drop", "data/a")
    dv("mv", "data", "new")
    dv.commit()
    assert dv.listed() == ["new", "new/a", "new/b"]
    os.unlink(dv.root / "new/b")
    os.rmdir(dv.root / "new")
    dv.commit("b is gone")
    assert dv.listed() == ["new", "new/a"]
    dv("get", "new/a")
    assert dv.read("new/a") == "a"


def test_a_directory_and_a_file_in_it_are_removed_together(dv):
    for name in ("data/a", "data/b", "o"):
        dv.write(name, name)
    dv("add", "data", "o")
    dv("commit", "-m", "one")
    dv("rm", "data", "data/a")
    dv("commit", "-m", "two")
    assert dv.listed() == ["o"]


def test_a_users_file_with_our_prefix_is_data(dv):
    dv.write("d/.dv-partial-notes", "PRECIOUS")
    dv("add", "d")
    assert dv.read("d/.dv-partial-notes") == "PRECIOUS"
    assert dv.staged() == {"added": ["d/.dv-partial-notes"]}


def test_what_a_killed_command_left_is_removed_and_never_data(dv):
    left = temporary_name().replace(f"{os.getpid()}-", "4194305-", 1)  # no process has this number
    dv.write(f"d/.dv-partial-{left}", "half")
    dv.write("d/x")
    dv("add", "d")
    assert dv.staged() == {"added": ["d/x"]}
    assert os.listdir(dv.root / "d") == ["x"]


def test_a_file_changed_after_it_was_judged_is_neither_overwritten_nor_removed(dv):
    dv.write("d/a", "v1")
    dv.write("d/b", "v1")
    dv("add", "d")
    dv("commit", "-m", "one")
    from dvtool.repo import Repo

    session = Repo.open(str(dv.root)).workspace.session
    plan = apply.nothing()
    tree = session.head_tree()
    assert tree is not None
    entry = session.trees.resolve(tree, "d/b")
    assert entry is not None
    plan.removals = {"d/a"}
    plan.writes = {"d/b": entry}
    apply.examine(session, plan)
    dv.write("d/a", "PRECIOUS")
    dv.write("d/b", "PRECIOUS")
    with pytest.raises(ConflictError):
        materialise.remove_file(str(dv.root), "d/a", plan.judged)
    plan.removals = set()
    with pytest.raises(ConflictError):
        apply.execute(session, plan)
    assert (dv.read("d/a"), dv.read("d/b")) == ("PRECIOUS", "PRECIOUS")
    assert sorted(os.listdir(dv.root / "d")) == ["a", "b"]


def test_the_repository_is_its_owners_alone(dv):
    dv.write("d/a")
    dv("add", "d")
    assert (dv.root / ".dv").stat().st_mode & 0o777 == 0o700
    for above, _directories, names in os.walk(dv.root / ".dv"):
        for name in names:
            place = os.path.join(above, name)
            assert name == "lock" or os.stat(place).st_mode & 0o077 == 0, place


def test_no_file_of_a_store_ever_changes(data):
    def held():
        top = data.root / ".dv/store"
        return {path: path.read_bytes() for path in top.rglob("*") if path.is_file()}

    before = held()
    for number, words in enumerate(
        (
            ("add", "data"),
            ("commit", "-m", "more"),
            ("tag", "v1"),
            ("checkout", "-b", "side"),
            ("rm", "data/b.txt"),
            ("undo",),
            ("gc", "--retention", "0", "--grace", "0"),
        )
    ):
        data.write(f"data/new{number}", f"{number}")
        data(*words)
        after = held()
        assert all(after[path] == content for path, content in before.items() if path in after)
        assert after.keys() - before.keys()
        before = after
