"""``dv merge``: explicit, by file, and never silent about what both sides changed."""

import os

import pytest

from dvtool import ids
from dvtool.repo import Repo


@pytest.fixture
def apart(data):
    """Branch ``theirs`` changed b.txt and added t.txt; main, where we are, changed a.txt and added o.txt."""
    data("checkout", "-b", "theirs")
    data.write("data/b.txt", "theirs\n")
    data.write("data/t.txt", "new there\n")
    data.commit("there")
    data("checkout", "main")
    data.write("data/a.txt", "ours\n")
    data.write("data/o.txt", "new here\n")
    data.commit("here")
    return data


@pytest.fixture
def clash(apart):
    """Both sides changed a.txt, ours removed c.txt which theirs changed, and both added n.txt."""
    apart("checkout", "theirs")
    apart.write("data/a.txt", "theirs too\n")
    apart.write("data/sub/c.txt", "theirs\n")
    apart.write("data/n.txt", "n there\n")
    apart.commit("there again")
    apart("checkout", "main")
    (apart.root / "data/sub/c.txt").unlink()
    apart.write("data/n.txt", "n here\n")
    apart.commit("here again")
    return apart


IN_CONFLICT = ["data/a.txt", "data/n.txt", "data/sub/c.txt"]


def files(dv):
    found = {}
    for directory, _below, names in os.walk(dv.root / "data"):
        for name in names:
            path = os.path.relpath(os.path.join(directory, name), dv.root)
            found[path] = dv.read(path)
    return found


def state(dv):
    return files(dv), dv.status(), dv("oplog", "-n", "1", "--json").json


def test_what_either_side_changed_is_in_the_merge(apart):
    ours = apart.status()["snapshot"]
    found = apart("merge", "theirs", "--json").json
    theirs = next(item["snapshot"] for item in apart("branch", "--json").json if item["name"] == "theirs")
    assert (found["result"], found["parents"], found["written"]) == ("merged", [ours, theirs], 2)
    assert files(apart) == {
        "data/a.txt": "ours\n",
        "data/b.txt": "theirs\n",
        "data/o.txt": "new here\n",
        "data/sub/c.txt": "ccc\n",
        "data/t.txt": "new there\n",
    }
    assert apart.status()["clean"]
    assert apart("log", "-n", "1", "--json").json[0]["message"] == "merge theirs into main"
    assert apart("merge", "theirs", "--json").json["result"] == "up-to-date"
    assert len(apart("log", "--json").json) == 4


def test_a_merged_snapshot_says_that_no_run_has_used_it(apart):
    assert "no run has used this snapshot" in apart("merge", "theirs").text


def test_a_side_that_has_all_of_ours_is_followed(data):
    data("checkout", "-b", "ahead")
    data.write("data/new.txt", "new\n")
    ahead = data.commit("ahead")
    data("checkout", "main")
    found = data("merge", "ahead", "--json").json
    assert (found["result"], found["snapshot"], found["written"]) == ("fast-forward", ahead, 1)
    assert data.status()["branch"] == "main"
    assert data.status()["snapshot"] == ahead
    assert data.status()["clean"]
    assert data.read("data/new.txt") == "new\n"


def test_conflicts_are_listed_and_nothing_is_touched(clash):
    before = state(clash)
    refused = clash("merge", "theirs", "--json", code=12).error
    assert refused["items"] == [
        "data/a.txt: changed here and there",
        "data/n.txt: changed here and there",
        "data/sub/c.txt: removed here, changed there",
    ]
    assert "--manual" in refused["next"]
    assert state(clash) == before


@pytest.mark.parametrize(("option", "a", "n", "c"), [
    ("--ours", "ours\n", "n here\n", None),
    ("--theirs", "theirs too\n", "n there\n", "theirs\n"),
])  # fmt: skip
def test_an_option_decides_every_conflict_and_nothing_else(clash, option, a, n, c):
    found = clash("merge", "theirs", option, "--json").json
    assert (found["decided"], found["conflicts"]) == (IN_CONFLICT, [])
    merged = files(clash)
    assert (merged["data/a.txt"], merged["data/n.txt"], merged.get("data/sub/c.txt")) == (a, n, c)
    assert merged["data/b.txt"] == "theirs\n"
    assert merged["data/o.txt"] == "new here\n"
    assert clash.status()["clean"]


def test_paths_confine_the_decision(clash):
    before = state(clash)
    refused = clash("merge", "theirs", "--theirs", "data/sub", "data/n.txt", "--json", code=12).error
    assert refused["items"] == ["data/a.txt: changed here and there"]
    assert state(clash) == before
    found = clash("merge", "theirs", "--manual", "--theirs", "data/sub", "data/n.txt", "--json").json
    assert (found["decided"], found["conflicts"]) == (["data/n.txt", "data/sub/c.txt"], ["data/a.txt"])
    assert clash.read("data/sub/c.txt") == "theirs\n"


def test_a_path_that_is_not_in_conflict_is_refused(clash):
    before = state(clash)
    refused = clash("merge", "theirs", "--ours", "data/a.txt", "data/b.txt", "data/typo", "--json", code=10).error
    assert refused["items"] == ["data/b.txt", "data/typo"]
    assert state(clash) == before


def test_by_hand_both_versions_lie_side_by_side_until_the_commit(clash):
    found = clash("merge", "theirs", "--manual", "--json").json
    assert (found["result"], found["conflicts"]) == ("staged", IN_CONFLICT)
    assert found["copies"] == ["data/a.txt.theirs", "data/n.txt.theirs", "data/sub/c.txt.theirs"]
    assert (clash.read("data/a.txt"), clash.read("data/a.txt.theirs")) == ("ours\n", "theirs too\n")
    assert clash.read("data/b.txt") == "theirs\n"
    assert len(clash.status()["merging"]) == 1
    assert "merging" in clash("status").text

    refused = clash("commit", "-a", "-m", "too early", "--json", code=12).error
    assert refused["items"] == found["copies"]

    clash.write("data/a.txt", "both\n")
    for copy in found["copies"]:
        (clash.root / copy).unlink()
    made = clash("commit", "-a", "-m", "by hand", "--json").json
    assert len(made["parents"]) == 2
    assert clash.status()["merging"] == []
    assert clash.status()["clean"]
    assert clash("cat", "HEAD:data/a.txt").text == "both\n"


def test_a_merge_by_hand_can_be_dropped(clash):
    before = files(clash)
    head = clash.status()["snapshot"]
    clash("merge", "theirs", "--manual")
    found = clash("merge", "--abort", "--json").json
    assert (found["result"], found["snapshot"]) == ("aborted", head)
    assert files(clash) == before
    assert clash.status()["clean"]
    assert clash.status()["merging"] == []
    clash("merge", "--abort", code=10)


def test_dropping_a_merge_keeps_what_was_written_since(clash):
    clash("merge", "theirs", "--manual")
    clash.write("data/b.txt", "hours of work\n")
    clash.write("data/a.txt.theirs", "edited copy\n")
    refused = clash("merge", "--abort", "--json", code=12).error
    assert refused["items"] == ["data/b.txt"]
    assert clash.read("data/b.txt") == "hours of work\n"
    clash("merge", "--abort", "--force")
    assert clash.read("data/b.txt") == "bb\n"
    assert clash.read("data/a.txt.theirs") == "edited copy\n"


def test_a_copy_takes_nobodys_place(clash):
    clash.write("data/a.txt.theirs", "mine\n")
    before = files(clash)
    refused = clash("merge", "theirs", "--manual", "--json", code=11).error
    assert refused["items"] == ["data/a.txt.theirs"]
    assert files(clash) == before


def test_a_file_of_the_users_own_with_such_a_name_is_recorded(clash):
    clash("merge", "theirs", "--theirs", "--manual")
    clash.write("data/unrelated.theirs", "mine\n")
    clash("commit", "-a", "-m", "merged")
    assert "data/unrelated.theirs" in clash.listed()


def test_local_changes_in_the_way_stop_a_merge_and_others_are_kept(apart):
    apart.write("data/b.txt", "an hour of work\n")
    before = state(apart)
    refused = apart("merge", "theirs", "--json", code=12).error
    assert refused["items"] == ["data/b.txt"]
    assert state(apart) == before
    apart("restore", "--force", "data/b.txt")
    apart.write("data/o.txt", "an hour of work\n")
    apart.write("data/untracked.txt", "another\n")
    apart("merge", "theirs")
    assert apart.read("data/o.txt") == "an hour of work\n"
    assert apart.unstaged() == {"added": ["data/untracked.txt"], "modified": ["data/o.txt"]}


def test_an_untracked_file_in_the_way_stops_a_merge(apart):
    apart.write("data/t.txt", "mine, stored nowhere\n")
    refused = apart("merge", "theirs", "--json", code=12).error
    assert refused["items"] == ["data/t.txt"]
    assert apart.read("data/t.txt") == "mine, stored nowhere\n"


def test_staged_changes_stop_a_merge(apart):
    apart.write("data/o.txt", "staged\n")
    apart("add", "data")
    assert "staged" in apart("merge", "theirs", code=12).told


def test_a_merge_under_way_stops_what_would_lose_it(clash):
    clash("merge", "theirs", "--manual")
    assert "a merge is under way" in clash("merge", "theirs", code=12).told
    assert "a merge is under way" in clash("checkout", "theirs", code=12).told
    assert len(clash.status()["merging"]) == 1


def test_add_rm_and_restore_keep_a_merge_under_way(clash):
    clash("merge", "theirs", "--manual")
    for copy in IN_CONFLICT:
        (clash.root / f"{copy}.theirs").unlink()
    clash.write("data/a.txt", "both\n")
    clash("add", "data")
    clash("rm", "data/o.txt")
    clash("restore", "--staged", "data/o.txt")
    clash("restore", "data/o.txt")
    clash("mv", "data/n.txt", "data/m.txt")
    assert len(clash("commit", "-m", "done", "--json").json["parents"]) == 2


def test_a_detached_head_moves_itself(apart):
    apart("checkout", apart.status()["snapshot"])
    found = apart("merge", "theirs", "--json").json
    assert apart.status()["branch"] is None
    assert apart.status()["snapshot"] == found["snapshot"]


def test_a_directory_and_a_file_of_one_name_are_in_conflict(data):
    data("checkout", "-b", "theirs")
    data.write("data/x/inner.txt", "below\n")
    data.commit("a directory")
    data("checkout", "main")
    data.write("data/x", "a file\n")
    data.commit("a file")
    refused = data("merge", "theirs", "--json", code=12).error
    assert [item.partition(":")[0] for item in refused["items"]] == ["data/x", "data/x/inner.txt"]
    data("merge", "theirs", "--theirs")
    assert data.read("data/x/inner.txt") == "below\n"
    assert data.status()["clean"]


def test_modes_links_and_empty_directories_are_merged_too(data):
    data("checkout", "-b", "theirs")
    os.chmod(data.root / "data/a.txt", 0o744)
    (data.root / "data/link").symlink_to("b.txt")
    (data.root / "data/hollow/deep").mkdir(parents=True)
    (data.root / "data/sub/c.txt").unlink()
    (data.root / "data/sub").rmdir()
    data.commit("there")
    data("checkout", "main")
    data.write("data/b.txt", "here\n")
    data.commit("here")
    data("merge", "theirs")
    assert os.access(data.root / "data/a.txt", os.X_OK)
    assert os.readlink(data.root / "data/link") == "b.txt"
    assert (data.root / "data/hollow/deep").is_dir()
    assert not (data.root / "data/sub").exists()
    assert data.status()["clean"]


def test_roots_of_both_sides_are_tracked(data):
    data("checkout", "-b", "theirs")
    data.write("more/m.txt", "m\n")
    data("add", "more")
    data("commit", "-m", "another root")
    data("checkout", "main")
    data.commit("here", "--allow-empty")
    data("merge", "theirs")
    data.write("more/n.txt", "n\n")
    assert data.unstaged() == {"added": ["more/n.txt"]}


def test_a_merge_can_be_undone(apart):
    before = apart.status()["snapshot"]
    apart("merge", "theirs")
    apart("undo")
    assert apart.status()["snapshot"] == before
    assert apart.unstaged() == {"added": ["data/t.txt"], "modified": ["data/b.txt"]}
    apart("undo", "--redo")
    assert apart.status()["clean"]


def test_what_is_left_out_of_the_worktree_is_merged_all_the_same(apart):
    apart("drop", "data/b.txt")
    apart("merge", "theirs")
    assert not (apart.root / "data/b.txt").exists()
    assert apart.status()["clean"]
    assert apart("cat", "HEAD:data/b.txt").text == "theirs\n"


def test_settings_without_git_come_along(data):
    data.write("dv.toml", '[splits]\ntrain = ["data"]\n')
    data.commit("settings", "--allow-empty")
    data("checkout", "-b", "theirs")
    data.write("dv.toml", '[splits]\ntrain = ["data/sub"]\n')
    data.commit("there", "--allow-empty")
    data("checkout", "main")
    data.write("data/a.txt", "here\n")
    data.commit("here")
    data("merge", "theirs")
    assert "data/sub" in data.read("dv.toml")


def test_the_lock_file_follows_a_merge(beside_git):
    beside_git("checkout", "-b", "theirs")
    beside_git.write("data/t.txt", "t\n")
    beside_git.commit("there")
    beside_git("checkout", "main")
    beside_git.write("data/o.txt", "o\n")
    beside_git.commit("here")
    found = beside_git("merge", "theirs", "--json").json
    assert found["snapshot"] in beside_git.read("dv.lock")
    assert beside_git.status()["lock"]["matches"]


@pytest.mark.parametrize(
    "words",
    [[], ["theirs", "--abort"], ["--abort", "--ours"], ["theirs", "data"], ["theirs", "--ours", "--theirs"],
     ["theirs", "--force"], ["theirs", "-m", " "]],
    ids=" ".join,
)  # fmt: skip
def test_calls_that_make_no_sense(apart, words):
    before = state(apart)
    apart("merge", *words, code=2)
    assert state(apart) == before


def test_what_is_not_there_cannot_be_merged(apart, empty):
    apart("merge", "nothing", code=10)


def test_before_the_first_snapshot_there_is_nothing_to_merge_into(dv):
    dv("merge", "main", code=2)


def test_a_damaged_file_is_named_and_the_others_come(apart):
    """Of what the merge brings, one chunk is damaged."""
    theirs = next(item["snapshot"] for item in apart("branch", "--json").json if item["name"] == "theirs")
    store = Repo.open(str(apart.root)).workspace.session.store
    entry = {item["path"]: item["id"] for item in apart("ls", "-r", theirs, "--json").json}
    segment, location = store.locate(ids.CHUNK, bytes.fromhex(entry["data/t.txt"]))
    path = apart.root / ".dv/store" / segment.pack(location.pack).file
    whole = bytearray(path.read_bytes())
    whole[location.offset] ^= 1
    path.chmod(0o600)
    path.write_bytes(whole)
    refused = apart("merge", "theirs", "--json", code=20).error
    assert [item.partition(":")[0] for item in refused["items"]] == ["data/t.txt"]
    assert apart.read("data/b.txt") == "theirs\n"
    assert len(apart("log", "-n", "1", "--json").json[0]["parents"]) == 2
    assert apart.unstaged() == {}
    assert apart.status()["sparse"] == ["data/t.txt"]
