"""``dv branch``, ``tag`` and ``worktree``."""

import os
import shutil

import pytest

from dvtool.repo import Repo


def names(dv, command):
    return [item["name"] for item in dv(command, "--json").json]


def test_branches_are_made_listed_renamed_and_removed(data):
    head = data.status()["snapshot"]
    assert data("branch", "side", "--json").json == {"name": "side", "snapshot": head, "current": False}
    assert data("branch").text.splitlines()[0] == f"* main  {head[:12]}"
    data("branch", "-m", "side", "aside")
    assert names(data, "branch") == ["aside", "main"]
    data("branch", "-d", "aside")
    assert names(data, "branch") == ["main"]


def test_renaming_the_current_branch_keeps_the_worktree_on_it(data):
    data("branch", "-m", "main", "trunk")
    assert data.status()["branch"] == "trunk"
    data("commit", "--allow-empty", "-m", "second")
    assert names(data, "branch") == ["trunk"]


def test_a_branch_can_start_anywhere(data):
    first = data.status()["snapshot"]
    data.commit("second", "--allow-empty")
    data("branch", "early", "HEAD~1")
    assert {item["name"]: item["snapshot"] for item in data("branch", "--json").json}["early"] == first
    data("branch", "nowhere", "nothing", code=10)


def test_a_branch_moves_with_its_commits_and_a_tag_does_not(data):
    data("tag", "v1")
    first = data.status()["snapshot"]
    second = data.commit("second", "--allow-empty")
    assert data("branch", "--json").json[0]["snapshot"] == second
    assert data("tag", "--json").json[0]["snapshot"] == first


def test_a_branch_with_snapshots_of_its_own_is_not_removed_without_force(data):
    data("checkout", "-b", "side")
    data.commit("only here", "--allow-empty")
    data("checkout", "main")
    data("branch", "-d", "side", code=12)
    data("tag", "kept", "side")
    data("branch", "-d", "side")
    data("checkout", "-b", "side2", "kept")
    data.commit("only here", "--allow-empty")
    data("checkout", "main")
    data("branch", "-d", "--force", "side2")
    assert names(data, "branch") == ["main"]


def test_the_current_branch_is_not_removed(data):
    data("branch", "-d", "main", code=12)
    data("branch", "-d", "--force", "main", code=12)


def test_names_that_exist_are_11(data):
    data("branch", "side")
    data("tag", "v1")
    data("branch", "side", code=11)
    data("tag", "v1", code=11)
    data("branch", "-m", "side", "main", code=11)
    data("branch", "side/below", code=11)


@pytest.mark.parametrize(
    "name", ["", "a b", "HEAD", "a..b/../c", "/a", "a/", "a//b", "-a/", ".a", "a~1", "a:b", "a*", "a.lock", "0" * 64]
)
def test_names_that_could_be_taken_for_something_else_are_2(data, name):
    data("branch", "--", name, code=2)
    data("tag", "--", name, code=2)


@pytest.mark.parametrize(("there", "wanted"), [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a"), ("a", "a/b/c")])
@pytest.mark.parametrize(
    "words",
    [["branch", "{}"], ["checkout", "-b", "{}"], ["branch", "-m", "main", "{}"], ["worktree", "add", "-b", "{}"]],
)
def test_no_branch_lies_below_another(data, tmp_path, there, wanted, words):
    data("branch", there)
    before = data("oplog", "--json").json
    place = [str(tmp_path / "other")] if words[0] == "worktree" else []
    error = data(*[word.format(wanted) for word in words], *place, "--json", code=11).error
    assert repr(there) in error["what"]
    assert data("oplog", "--json").json == before
    assert data.status()["branch"] == "main"
    assert not (tmp_path / "other" / ".dv").exists()


def test_a_branch_that_may_not_be_made_changes_no_file(data):
    data.write("data/a.txt", "changed\n")
    data.commit("second")
    data("branch", "a")
    data("checkout", "-b", "a/b", "HEAD~1", code=11)
    assert data.read("data/a.txt") == "changed\n"
    assert data.status()["clean"]


def test_no_tag_lies_below_another(data):
    data("tag", "v1")
    data("tag", "v1/beta", code=11)
    data("tag", "release/2")
    data("tag", "release", code=11)
    data("branch", "release")
    data("branch", "v1/beta")
    data("tag", "release-2")


def test_a_branch_may_move_below_its_own_name_and_back(data):
    data("branch", "-m", "main", "main/line")
    assert data.status()["branch"] == "main/line"
    data("branch", "-m", "main/line", "main")
    assert data.status()["branch"] == "main"
    data("branch", "other")
    data("branch", "-m", "other", "main/line", code=11)


def test_tags_are_made_listed_and_removed(data):
    data("tag", "v1")
    data("tag", "release/2.0")
    assert names(data, "tag") == ["release/2.0", "v1"]
    assert "tag: v1" in data("log").text
    data("tag", "-d", "v1")
    assert names(data, "tag") == ["release/2.0"]


def test_before_the_first_snapshot_there_is_nothing_to_name(dv):
    dv("branch", "side", code=10)
    dv("tag", "v1", code=10)
    assert dv("branch", "--json").json == dv("tag", "--json").json == []


# ------------------------------------------------------------------------------------------ worktrees


@pytest.fixture
def other(data):
    """A second worktree, beside the first, on a branch of its own."""
    data("worktree", "add", "-b", "side", "../other")
    return data


def test_a_worktree_shares_the_store(other):
    assert other("status", "--json", at="../other").json["branch"] == "side"
    assert other("ls", "-r", at="../other").text == other("ls", "-r").text
    other.write("../other/data/new.txt", "made there\n")
    other("commit", "-a", "-m", "made there", at="../other")
    assert other("cat", "side:data/new.txt").text == "made there\n"
    assert other.status()["clean"]
    assert other.status()["branch"] == "main"


def test_worktrees_are_listed_this_one_marked(other):
    items = other("worktree", "list", "--json").json
    assert {(os.path.basename(item["path"]), item["branch"], item["current"]) for item in items} == {
        ("work", "main", True),
        ("other", "side", False),
    }
    there = other("worktree", "list", "--json", at="../other").json
    assert [item["branch"] for item in there if item["current"]] == ["side"]


def test_a_branch_is_in_one_worktree_at_a_time(other):
    other("checkout", "side", code=12)
    other("checkout", "main", at="../other", code=12)
    other("worktree", "add", "../third", "side", code=12)
    assert not (other.root.parent / "third").exists()
    other("branch", "-d", "side", code=12)


def test_a_worktree_is_made_where_nothing_is(other, tmp_path):
    other("worktree", "add", "../other", code=11)
    other("worktree", "add", "data/inside", code=12)
    other("worktree", "add", "../third", "nothing", code=10)
    assert not (tmp_path / "third").exists()


def test_a_worktree_with_changes_is_not_removed_without_force(other):
    other.write("../other/data/a.txt", "changed\n")
    assert "data/a.txt" in other("worktree", "remove", "../other", code=12).told
    assert other.read("../other/data/a.txt") == "changed\n"
    other("worktree", "remove", "--force", "../other")
    assert [item["current"] for item in other("worktree", "list", "--json").json] == [True]


def test_a_clean_worktree_is_removed_and_its_branch_stays(other):
    other("worktree", "remove", "../other")
    assert not (other.root.parent / "other").exists()
    assert names(other, "branch") == ["main", "side"]


def test_the_worktree_that_holds_the_store_is_not_removed(other):
    other("worktree", "remove", ".", code=2)
    other("worktree", "remove", "../work", code=2, at="../other")
    other("worktree", "remove", "../nothing", code=10)


def test_stages_are_per_worktree(other):
    other.write("data/a.txt", "staged here\n")
    other("add", "data")
    assert other("status", "--json", at="../other").json["clean"]


def test_a_worktree_whose_store_is_gone_says_so(other):
    (other.root / ".dv" / "store").rename(other.root / "elsewhere")
    assert "next:" in other("status", at="../other", code=10).told


def test_a_worktree_without_a_name_costs_nothing(data):
    data("worktree", "add", "", code=2)
    assert data.status()["clean"]


def test_the_branch_that_we_are_on_is_not_given_to_another_worktree(data):
    assert "checked out in another worktree" in data("worktree", "add", "../w", "main", code=12).told


def by_place(dv, **options):
    return {item["path"]: item for item in dv("worktree", "list", "--json", **options).json}


def test_a_moved_worktree_keeps_its_branch_and_is_found_by_the_next_command_in_it(other):
    before, after = (str(other.root.parent / name) for name in ("other", "elsewhere"))
    os.rename(before, after)
    assert by_place(other)[before]["gone"]
    assert "(missing)" in other("worktree", "list").text
    error = other("checkout", "side", "--json", code=12).error
    assert error["where"] == before
    assert "moved" in error["why"]
    assert "--force" in error["next"]
    other("branch", "-d", "--force", "side", code=12)
    other("status", at="../elsewhere")
    assert not by_place(other)[after]["gone"]
    assert before not in by_place(other)
    other("worktree", "remove", "../elsewhere")
    assert not os.path.exists(after)


def test_a_missing_worktree_is_dropped_only_by_force_which_tells_of_its_stage(other):
    place = other.root.parent / "other"
    other.write("../other/data/a.txt", "staged there\n")
    other("add", "data", at="../other")
    os.rename(place, other.root.parent / "elsewhere")
    error = other("worktree", "remove", "../other", "--json", code=12).error
    assert "staged" in error["next"]
    assert other("status", "--json", at="../elsewhere").json["staged"]["modified"] == ["data/a.txt"]
    os.rename(other.root.parent / "elsewhere", place)
    other("status", at="../other")
    os.rename(place, other.root.parent / "elsewhere")
    assert "staged" in other("worktree", "remove", "--force", "../other").told
    assert "does not know" in other("status", at="../elsewhere", code=20).told
    other("checkout", "side")


def test_a_copy_of_a_worktree_does_not_take_its_place(other):
    shutil.copytree(other.root.parent / "other", other.root.parent / "copy")
    other("status", at="../copy")
    assert str(other.root.parent / "other") in by_place(other)


def test_a_copy_of_the_store_removes_no_worktree_of_the_original(other):
    shutil.copytree(other.root, other.root.parent / "copied")
    other("worktree", "remove", "../other", at="../copied", code=12)
    other("worktree", "remove", "--force", "../other", at="../copied")
    assert other("status", "--json", at="../other").json["clean"]
    assert other.read("../other/data/a.txt") == "a\n"


def test_a_new_worktree_has_the_settings_that_are_stored_with_the_snapshot(data):
    data.write(".dvignore", "*.tmp\n")
    data.write("dv.toml", '[splits]\ntrain = ["data"]\n')
    data.commit("with settings", "--allow-empty")
    data("worktree", "add", "-b", "side", "../other")
    assert data.read("../other/.dvignore") == "*.tmp\n"
    assert data.read("../other/dv.toml") == data.read("dv.toml")
    data.write("../other/data/x.tmp")
    assert data("status", "--json", at="../other").json["clean"]


def test_a_store_whose_path_is_not_utf_8_is_found_from_another_worktree(tmp_path):
    place = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.mkdir(place)
    repo = Repo.init(place)
    with open(f"{place}/file", "wb") as file:
        file.write(b"content")
    repo.add(["file"])
    repo.commit("first")
    repo.add_worktree(f"{tmp_path}/other", new_branch="other")
    assert Repo.open(f"{tmp_path}/other").status().branch == "other"


@pytest.mark.parametrize("pointer", [b"", b"\0", b"/nowhere\xff\n", b"/nowhere\0\n"], ids=range(4))
def test_a_pointer_to_no_store_says_where_it_is_written(data, pointer):
    data("worktree", "add", "../other", "-b", "other")
    (data.root / "../other/.dv/store").write_bytes(pointer)
    error = data("status", "--json", at="../other", code=10).error
    assert error["next"]
