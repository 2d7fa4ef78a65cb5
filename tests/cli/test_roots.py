"""Tracked roots: what ``dv add`` makes one, and that dv sees nothing outside of them."""

import os
import shutil

import pytest


def roots(dv):
    return dv("show", "--json").json["roots"]


def test_add_makes_a_path_a_root_and_snapshots_record_the_roots(dv):
    dv.write("images/1.png")
    dv.write("labels.csv")
    dv("add", "images", "labels.csv")
    dv("commit", "-m", "first")
    assert roots(dv) == ["images", "labels.csv"]


def test_add_below_a_root_makes_no_new_root(data):
    data.write("data/new/d.txt")
    data("add", "data/new")
    data("commit", "-m", "second")
    assert roots(data) == ["data"]


def test_add_above_a_root_takes_its_place(data):
    data.write("other.txt")
    data("add", ".")
    data("commit", "-m", "everything")
    assert roots(data) == [""]
    assert "other.txt" in data.listed()


def test_what_lies_outside_the_roots_is_not_seen(data):
    data.write("beside.txt")
    data.write("elsewhere/x.txt")
    assert data.status()["clean"]
    assert data("diff", "--json").json["totals"]["added"] == 0
    data("commit", "-a", "-m", "nothing", code=1)
    assert (data.root / "beside.txt").exists()


def test_unstaged_added_are_new_files_below_roots(data):
    data.write("data/new.txt")
    assert data.unstaged() == {"added": ["data/new.txt"]}


def test_commit_a_is_add_of_every_root(data):
    data.write("labels.csv")
    data("add", "labels.csv")
    data("commit", "-m", "second root")
    data.write("data/new.txt")
    data.write("labels.csv", "changed\n")
    (data.root / "data/a.txt").unlink()
    data.commit("all of it")
    assert data.status()["clean"]
    assert data.listed() == ["data", "data/b.txt", "data/new.txt", "data/sub", "data/sub/c.txt", "labels.csv"]


def test_clean_is_lists_that_are_all_empty(data):
    found = data.status()
    assert found["clean"]
    files: dict[str, list[str]] = {"added": [], "modified": [], "removed": []}
    assert found["unstaged"] == files | {"directories_added": [], "directories_removed": []}
    assert found["staged"] == found["unstaged"] | {"roots_added": [], "roots_removed": []}
    data.write("data/new.txt")
    assert not data.status()["clean"]
    data("add", "data")
    assert not data.status()["clean"]


def test_an_empty_directory_is_not_clean_and_shows_where_it_is(data):
    (data.root / "data/empty/deeper").mkdir(parents=True)
    assert data.unstaged() == {"directories_added": ["data/empty", "data/empty/deeper"]}
    assert not data.status()["clean"]
    assert "data/empty/ (directory)" in data("status").text
    data("add", "data")
    assert (data.staged(), data.unstaged()) == ({"directories_added": ["data/empty", "data/empty/deeper"]}, {})
    assert not data.status()["clean"]
    data("commit", "-m", "empty")
    assert data.status()["clean"]
    (data.root / "data/empty/deeper").rmdir()
    assert data.unstaged() == {"directories_removed": ["data/empty/deeper"]}
    data("add", "data")
    assert data.staged() == {"directories_removed": ["data/empty/deeper"]}
    assert "clean" not in data("status").text


def test_directories_that_files_tell_of_are_not_listed(data):
    data.write("data/new/deeper/x")
    (data.root / "data/sub/c.txt").unlink()
    (data.root / "data/sub").rmdir()
    assert data.unstaged() == {"added": ["data/new/deeper/x"], "removed": ["data/sub/c.txt"]}
    data("add", "data")
    assert data.staged() == {"added": ["data/new/deeper/x"], "removed": ["data/sub/c.txt"]}


def test_staged_roots_are_listed(data):
    data.write("labels.csv")
    data("add", "labels.csv")
    assert data.status()["staged"]["roots_added"] == ["labels.csv"]
    assert "tracked root" not in data("status").text
    data.commit("labels")
    data("rm", "--cached", "labels.csv")
    assert data.status()["staged"]["roots_removed"] == ["labels.csv"]
    data("restore", "--staged", "labels.csv")
    data("add", ".")
    assert data.status()["staged"]["roots_added"] == [""]
    assert data.status()["staged"]["roots_removed"] == ["data", "labels.csv"]


def test_a_stage_that_holds_nothing_but_other_roots_is_not_clean(data):
    data("add", ".")
    found = data.status()
    assert not found["clean"]
    assert found["staged"]["roots_added"] == [""]
    assert data.staged() == data.unstaged() == {}
    text = data("status").text
    assert "added    . (tracked root)" in text
    assert "removed  data (tracked root)" in text
    assert "clean" not in text
    data("commit", "-m", "all of it")
    assert data.status()["clean"]


def test_add_of_a_tracked_missing_path_stages_its_removal(data):
    (data.root / "data/a.txt").unlink()
    data("add", "data/a.txt")
    assert data.staged() == {"removed": ["data/a.txt"]}
    assert data.unstaged() == {}


def test_add_of_a_tracked_missing_directory_stages_its_removal(data):
    (data.root / "data/sub/c.txt").unlink()
    (data.root / "data/sub").rmdir()
    data("add", "data/sub")
    assert data.staged() == {"removed": ["data/sub/c.txt"]}


def test_add_of_a_never_seen_path_is_10_and_stages_nothing(data):
    data.write("data/new.txt")
    data("add", "data/new.txt", "data/nothing", code=10)
    assert data.staged() == {}


def test_a_path_outside_the_repository_is_2(data, tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("x", encoding="utf-8")
    for path in ("../outside.txt", str(outside), "/", "data/../../outside.txt"):
        error = data("add", path, "--json", code=2).error
        assert "outside" in error["what"]


def test_a_path_through_a_link_that_leads_outside_is_2(data, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_text("x", encoding="utf-8")
    (data.root / "way").symlink_to(tmp_path / "outside")
    data("add", "way/x", code=2)
    data("add", "way")
    assert data.staged() == {"added": ["way"]}


def test_an_absolute_path_inside_is_the_same_as_a_relative_one(data):
    data.write("data/new.txt")
    data("add", str(data.root / "data" / "new.txt"))
    assert data.staged() == {"added": ["data/new.txt"]}


def test_an_empty_path_is_2(data):
    data("add", "", code=2)


@pytest.mark.parametrize(
    "name", [".dv", ".git", "dv.toml", "dv.lock", ".dvignore", "data/.git", "data/.dv/x", "data/dv.toml"]
)
def test_what_belongs_to_dv_or_git_is_never_data(data, name):
    if name not in {".dv", ".git"} and not name.startswith(".git"):
        data.write(name, "# comment\n")
    if name == ".git":
        (data.root / ".git").mkdir()
    data("add", name, code=2)
    assert data.staged() == {}


def test_adding_everything_leaves_out_what_belongs_to_dv_and_git(data):
    names = ("dv.toml", ".dvignore", "data/.git/config", "data/.dv/x", "data/dv.toml", "data/sub/dv.lock")
    for name in names:
        data.write(name, "# comment\n")
    assert data.status()["clean"]
    data("add", ".")
    data("commit", "-m", "everything")
    assert data.listed() == ["data", "data/a.txt", "data/b.txt", "data/sub", "data/sub/c.txt"]
    assert data.status()["clean"]
    data("diff", "--exit-code")
    data("checkout", "HEAD~1")
    data("checkout", "main")
    data("rm", "data")
    assert all((data.root / name).exists() for name in names)


def test_a_dvignore_that_is_not_in_the_root_is_data(data):
    data.write("data/sub/.dvignore", "*\n")
    data.write("data/sub/new.txt")
    data("add", "data")
    assert data.staged() == {"added": ["data/sub/.dvignore", "data/sub/new.txt"]}


def test_a_path_is_not_moved_to_a_name_that_is_never_data(data):
    for name in ("data/dv.toml", "data/sub/DV.LOCK", "dv.toml"):
        assert "never data" in data("mv", "data/a.txt", name, code=2).told
    assert data.status()["clean"]


def test_names_that_some_disk_would_take_for_git_or_dv_are_refused(data):
    data.write("data/.GIT/config", "x")
    assert "data/.GIT" in data("add", "data", "--json", code=2).error["items"][0]
    shutil.rmtree(data.root / "data/.GIT")
    data.write("data/Dv.Toml", "x")
    assert data("add", "data", "--json", code=2).error["items"] == [
        "data/Dv.Toml: some file systems would take it for dv.toml or dv.lock, which is never data"
    ]


def test_paths_in_arguments_are_relative_to_the_current_directory_in_output_to_the_root(data):
    data.write("data/sub/new.txt")
    data("add", "new.txt", at="data/sub")
    assert data.staged() == {"added": ["data/sub/new.txt"]}
    assert "data/sub/new.txt" in data("status", at="data/sub").text
    assert data("ls", "sub", at="data").text == "data/sub/c.txt\n"
    assert data("ls", ".", at="data/sub").text == "data/sub/c.txt\n"
    assert data("ls", "..", at="data/sub").text == "data/a.txt\ndata/b.txt\ndata/sub/\n"
    data("rm", "--force", "new.txt", at="data/sub")
    assert data.status()["clean"]


# ------------------------------------------------------------------------------------------- ignoring


def test_dvignore_leaves_out_what_it_names(data):
    data.write(".dvignore", "*.tmp\ncache/\n!keep.tmp\n")
    for name in ("x.tmp", "keep.tmp", "cache/y", "sub/z.tmp"):
        data.write(f"data/{name}")
    assert data.unstaged() == {"added": ["data/keep.tmp"]}
    data("add", "data")
    assert data.staged() == {"added": ["data/keep.tmp"]}


def test_a_named_path_that_dvignore_excludes_is_2_unless_forced(data):
    data.write(".dvignore", "*.tmp\ncache/\n")
    data.write("data/x.tmp")
    data.write("data/cache/y")
    assert "--force" in data("add", "data/x.tmp", code=2).told
    data("add", "data/cache/y", code=2)
    data("add", "data/cache", code=2)
    assert data.staged() == {}
    data("add", "--force", "data/x.tmp")
    assert data.staged() == {"added": ["data/x.tmp"]}


def test_what_is_tracked_stays_tracked_when_dvignore_excludes_it_later(data):
    data.write(".dvignore", "a.txt\n")
    assert data.status()["clean"]
    data.write("data/a.txt", "changed\n")
    assert data.unstaged() == {"modified": ["data/a.txt"]}
    data("add", "data/a.txt")
    assert data.staged() == {"modified": ["data/a.txt"]}


def test_gitignore_is_not_consulted(data):
    data.write(".gitignore", "*.bin\n")
    data.write("data/x.bin")
    assert data.unstaged() == {"added": ["data/x.bin"]}


# --------------------------------------------------------------------------------------------- rm, mv


def test_rm_removes_from_the_worktree_and_from_the_next_snapshot(data):
    found = data("rm", "data/sub", "data/a.txt", "--json").json
    assert found["removed"] == ["data/a.txt", "data/sub/c.txt"]
    assert not (data.root / "data/sub").exists()
    data("commit", "-m", "less")
    assert data.listed() == ["data", "data/b.txt"]


def test_rm_of_a_root_makes_it_untracked(data):
    data("rm", "--cached", "data")
    data("commit", "-m", "nothing is tracked")
    assert roots(data) == []
    assert data.read("data/a.txt") == "a\n"
    assert data.status()["clean"]


def test_rm_of_content_not_stored_is_12_unless_cached_or_forced(data):
    data.write("data/a.txt", "stored nowhere\n")
    error = data("rm", "data", "--json", code=12).error
    assert error["items"] == ["data/a.txt"]
    assert sorted(os.listdir(data.root / "data")) == ["a.txt", "b.txt", "sub"]
    data("rm", "--cached", "data/a.txt")
    assert data.read("data/a.txt") == "stored nowhere\n"
    data.write("data/b.txt", "stored nowhere either\n")
    data("rm", "--force", "data/b.txt")
    assert not (data.root / "data/b.txt").exists()


def test_rm_leaves_files_that_were_never_added(data):
    data.write("data/sub/never-added.txt", "only copy\n")
    data("rm", "data")
    assert data.read("data/sub/never-added.txt") == "only copy\n"


def test_rm_of_a_file_that_is_already_gone(data):
    (data.root / "data/a.txt").unlink()
    data("rm", "data/a.txt")
    assert data.staged() == {"removed": ["data/a.txt"]}


def test_mv_moves_in_the_worktree_and_in_the_stage(data):
    found = data("mv", "data/sub", "data/lower", "--json").json
    assert (found["from"], found["to"]) == ("data/sub", "data/lower")
    assert data.read("data/lower/c.txt") == "ccc\n"
    assert data.staged() == {"added": ["data/lower/c.txt"], "removed": ["data/sub/c.txt"]}
    assert data.unstaged() == {}
    document = data("diff", "--json").json
    assert [(item["from"], item["to"]) for item in document["renamed"]] == [("data/sub/c.txt", "data/lower/c.txt")]


def test_mv_into_a_directory(data):
    data("mv", "data/a.txt", "data/sub")
    assert data.read("data/sub/a.txt") == "a\n"
    assert data.unstaged() == {}


def test_mv_keeps_changes_that_are_not_staged(data):
    data.write("data/a.txt", "changed\n")
    data("mv", "data/a.txt", "data/z.txt")
    assert data.read("data/z.txt") == "changed\n"
    assert data.unstaged() == {"modified": ["data/z.txt"]}


def test_mv_refuses_what_would_overwrite_or_make_no_sense(data):
    data("mv", "data/a.txt", "data/b.txt", code=11)
    data("mv", "data", "data/sub/in-itself", code=2)
    data("mv", "data/a.txt", "../out.txt", code=2)
    data("mv", "data/a.txt", ".dv/x", code=2)
    data("mv", "data/a.txt", "missing/x", code=10)
    data("mv", "untracked", "x", code=10)
    assert data.status()["clean"]


def test_mv_of_a_root_moves_the_root(data):
    data("mv", "data", "dataset")
    data("commit", "-m", "renamed")
    assert roots(data) == ["dataset"]
    assert data.status()["clean"]


@pytest.mark.parametrize("pattern", ["[z-a]", "!", "\\"])
def test_a_malformed_pattern_is_named_with_its_line(data, pattern):
    data.write(".dvignore", f"# comment\n*.tmp\n{pattern}\n")
    for words in (["status"], ["add", "data"], ["commit", "-a", "-m", "x"]):
        error = data(*words, "--json", code=2).error
        assert error["where"] == ".dvignore, line 3"
        assert repr(pattern) in error["why"]
        assert error["next"]


def in_the_place_of(dv, name, kind):
    place = dv.root / name
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "link to a pipe":
        os.mkfifo(dv.root / "pipe")
        place.symlink_to("pipe")
    else:
        place.mkdir()


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "directory"])
@pytest.mark.parametrize("name", [".dvignore", "dv.lock", "dv.toml", ".gitignore"])
def test_what_is_no_file_where_dv_keeps_one_stops_a_command_before_it_changes_anything(beside_git, name, kind):
    dv = beside_git
    before = dv("oplog", "--json").json
    dv.write("data/a.txt", "changed\n")
    dv.commit("second")
    head = dv.status()["snapshot"]
    in_the_place_of(dv, name, kind)
    before = dv("oplog", "--json").json
    for words in (["checkout", "HEAD~1"], ["add", "data"], ["commit", "--allow-empty", "-m", "x"]):
        error = dv.process(*words, "--json", code=12)
        assert name in error.told
        assert "link" in error.told or "pipe" in error.told or "directory" in error.told
    assert dv("oplog", "--json").json == before
    assert dv.read("data/a.txt") == "changed\n"
    dv.process("log")
    dv.process("doctor", code=1)
    dv.process("status", code=2 if name == ".dvignore" else 0)
    place = dv.root / name
    place.rmdir() if kind == "directory" else place.unlink()
    dv("checkout", "HEAD~1")
    assert dv.status()["snapshot"] != head


def test_a_pipe_named_dv_toml_keeps_no_new_repository_waiting(data):
    os.mkfifo(data.root / "dv.toml")
    data.process("commit", "--allow-empty", "-m", "x", code=12)
    data.process("doctor", code=1)


def test_add_and_rm_say_what_they_did_where_no_file_tells(dv):
    (dv.root / "data/empty").mkdir(parents=True)
    assert dv("add", "data").text == "staged: 2 directories added\n"
    assert dv("add", "data").text == "staged: nothing new\n"
    assert dv("add", ".").text == "staged: . is tracked as a whole\n"
    found = dv("add", "--json", ".").json
    assert (found["roots"], found["roots_added"], found["roots_removed"]) == ([""], [], [])
    (dv.root / "data/empty").rmdir()
    dv.write("data/file")
    assert dv("add", "data").text == "staged: 1 file added, 1 directory removed, 8 B\n"
    dv.write("data/sub/file")
    (dv.root / "none").mkdir()
    dv("add", ".")
    assert dv("rm", "none").text == "staged the removal of 1 directory\n"
    (dv.root / "none").mkdir()
    dv("add", "none")
    assert dv("rm", "none", "data/sub").text == "staged the removal of 1 file and 1 directory\n"
    assert dv("rm", "--json", "data").json == {
        "removed": ["data/file"],
        "deleted": 1,
        "directories": [],
        "roots": [],
    }
    assert dv("rm", ".").text == "staged the removal of 1 tracked root\n"
