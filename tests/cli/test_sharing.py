"""Sharing through a directory, as two people do it who know nothing of how it works."""

import os
import shutil

import pytest

from dvtool.formats import log, project
from dvtool.repo import Repo
from dvtool.sharing import reaching
from tests.cli.conftest import Dv
from tests.cli.sharing import change, clone, files, person, pushed, sound, there, travelling, tree_of


@pytest.fixture
def one(tmp_path, capsysbinary):
    """A repository with one snapshot, whose remote is not made yet."""
    return person(tmp_path, "one", capsysbinary)


@pytest.fixture
def two(one):
    """A clone of what the first has pushed."""
    one("push")
    return clone(one, "two")


def test_a_clone_is_what_was_pushed(one, two):
    assert files(two) == files(one)
    assert two.status()["snapshot"] == one.status()["snapshot"]
    assert two.status()["clean"]
    assert two.status()["branch"] == "main"
    assert two("log", "--json").json == one("log", "--json").json
    sound(two)


def test_what_one_pushes_another_pulls(one, two):
    made = pushed(one, "changed")
    one.write("data/new/deep.txt", "new")
    (one.root / "data/b.txt").unlink()
    made = one.commit("more")
    one("push")
    found = two("pull", "--json").json
    assert found["result"] == "fast-forward"
    assert found["snapshot"] == made
    assert (found["written"], found["removed"]) == (2, 1)
    assert files(two) == files(one)
    sound(two)


def test_a_pull_of_nothing_new_changes_nothing(one, two):
    before = travelling(two)
    found = two("pull", "--json").json
    assert found["result"] == "up-to-date"
    assert found["fetched"]["refs"] == []
    assert travelling(two) == before


def test_a_pull_leaves_local_changes_that_are_not_in_the_way(one, two):
    pushed(one, "theirs")
    two.write("data/b.txt", "mine")
    two("pull")
    assert two.read("data/a.txt") == "theirs"
    assert two.read("data/b.txt") == "mine"


def test_a_pull_over_local_changes_is_refused_and_touches_nothing(one, two):
    pushed(one, "theirs")
    two.write("data/a.txt", "mine")
    before = two.status()["snapshot"]
    two("pull", code=12)
    assert two.read("data/a.txt") == "mine"
    assert two.status()["snapshot"] == before


def test_diverged_branches_are_brought_together_by_a_merge(one, two):
    pushed(one, "theirs")
    change(two, "mine", "data/b.txt")
    error = two("pull", "--json", code=12).error
    assert "dv merge origin/main" in error["next"]
    error = two("push", "--json", code=12).error
    assert "merge origin/main" in error["next"]
    assert two.read("data/a.txt") == "a\n"
    two("merge", "origin/main")
    two("push")
    one("pull")
    assert files(one) == files(two)
    assert one.read("data/a.txt") == "theirs"
    assert one.read("data/b.txt") == "mine"
    assert there(one)["heads/main"] == one.status()["snapshot"]


def test_a_push_that_is_not_forward_is_refused_and_sends_nothing(one, two):
    made = pushed(one, "theirs")
    change(two, "mine")
    before = sorted(os.listdir(one.root / "../remote/packs"))
    two("push", code=12)
    assert sorted(os.listdir(one.root / "../remote/packs")) == before
    assert there(one)["heads/main"] == made


def test_a_push_of_nothing_new_verifies_what_is_there(one):
    first = one("push", "--json").json
    assert first["created"]
    assert [each["name"] for each in first["refs"]] == ["main"]
    again = one("push", "--json").json
    assert not again["created"]
    assert again["refs"] == []
    assert again["packs"] == 0
    assert again["verified"] == len(os.listdir(one.root / "../remote/packs"))
    assert "verified present" in one("push").text


def test_a_push_of_nothing_new_finds_what_is_missing_there(one):
    one("push")
    packs = one.root.parent / "remote/packs"
    (packs / min(os.listdir(packs))).unlink()
    error = one("push", "--json", code=20).error
    assert "missing" in error["what"]


def test_a_push_of_a_detached_head_is_refused(one):
    one("checkout", one.status()["snapshot"])
    error = one("push", "--json", code=2).error
    assert "detached" in error["why"]
    one("push", "origin", "main")


def test_a_push_before_the_first_snapshot_is_refused(empty):
    empty("init")
    empty("remote", "add", "origin", "../remote", "--plain-keys")
    empty("push", code=2)


def test_where_there_is_no_remote_that_is_said(data):
    for command in ("push", "fetch", "pull"):
        error = data(command, "--json", code=10).error
        assert "dv remote add" in error["next"]
        data(command, "nobody", code=10)


def test_of_several_remotes_without_origin_one_has_to_be_named(data):
    data("remote", "add", "a", "../a", "--plain-keys")
    data("push")
    data("remote", "add", "b", "../b", "--plain-keys")
    for command in ("push", "fetch", "pull"):
        assert data(command, "--json", code=2).error["items"] == ["a", "b"]
    data("push", "b")
    data("fetch", "a")


def test_a_push_that_would_bare_the_key_is_refused(data):
    data("remote", "add", "origin", "../remote")
    error = data("push", "--json", code=2).error
    assert "--plain-keys" in error["next"]
    assert not (data.root / "../remote/keys/repo").exists()


def test_a_clone_into_a_directory_that_is_not_empty_is_refused(one, two):
    before = files(two)
    one("clone", "../remote", "../two", code=11)
    assert files(two) == before
    other = one.root.parent / "other"
    other.mkdir()
    (other / "mine").write_text("mine")
    one("clone", "../remote", "../other", code=11)
    assert os.listdir(other) == ["mine"]


def test_a_clone_into_an_empty_directory_is_made(one):
    one("push")
    (one.root.parent / "other").mkdir()
    assert files(clone(one, "other")) == files(one)


def test_a_clone_of_nothing_leaves_nothing(one):
    error = one("clone", "../nowhere", "../other", "--json", code=10).error
    assert "nowhere" in error["where"]
    assert not (one.root.parent / "other").exists()
    assert not (one.root.parent / "nowhere").exists()


def test_a_clone_inside_a_repository_is_refused(one):
    one("push")
    one("clone", "../remote", "data/inside", code=12)
    assert not (one.root / "data/inside").exists()
    assert one.status()["clean"]


def test_a_clone_of_a_store_without_branches_is_empty(one):
    one("push")
    one("push", "origin", "main", "--delete")
    two = clone(one, "two")
    assert two.status()["snapshot"] is None
    one("push")
    two("pull")
    assert files(two) == files(one)


def test_tags_travel_with_the_branch_that_they_lie_on(one, two):
    one("tag", "v1")
    one("checkout", "-b", "side")
    change(one, "side")
    one("tag", "aside")
    one("checkout", "main")
    found = one("push", "--json").json
    assert [each["name"] for each in found["refs"]] == ["tag v1"]
    two("fetch")
    assert [each["name"] for each in two("tag", "--json").json] == ["v1"]
    one("push", "origin", "side", "aside")
    two("fetch")
    assert [each["name"] for each in two("tag", "--json").json] == ["aside", "v1"]
    assert two("cat", "origin/side:data/a.txt").text == "side"


def test_a_tag_that_is_another_at_the_remote_is_not_moved(one, two):
    one("tag", "v1")
    one("push")
    change(two, "mine")
    two("tag", "v1")
    two("push")  # the branch is theirs to move, and the tag is no part of it
    error = two("push", "origin", "v1", "--json", code=12).error
    assert "v1" in error["what"]
    one("branch", "side")
    one("push", "origin", "side")
    assert "warning: tag 'v1'" in two("fetch").told
    two("push", "origin", "v1", "--force-with-lease")
    assert there(one)["tags/v1"] == two.status()["snapshot"]


@pytest.mark.parametrize(("here", "theirs"), [("v1", "v1/beta"), ("v1/beta", "v1")])
def test_a_tag_in_whose_way_another_is_keeps_nothing_from_coming(one, two, here, theirs):
    two("tag", here)
    one("tag", theirs)
    one("tag", "v2")
    made = pushed(one, "theirs")
    one("push", "origin", theirs, "v2")
    done = two("fetch", "--json")
    assert f"tag '{theirs}' of 'origin' is left out" in done.told
    found = travelling(two)
    assert found["remotes/origin/main"] == made
    assert "tags/v2" in found
    assert f"tags/{theirs}" not in found
    assert two("fetch", "--json").json["refs"] == []
    two("tag", "-d", here)
    two("fetch")
    assert f"tags/{theirs}" in travelling(two)


def test_a_tag_that_names_another_ref_is_left_out(one, two):
    store = reaching.reach(Repo.open(str(one.root)).workspace, "origin").open()
    move = log.MoveRef(name="tags/v1", old=None, new=log.to_symbolic("heads/main"))
    store.log.append("push", lambda _state: [move])
    made = pushed(one, "theirs")
    two("fetch")
    assert travelling(two) == {**travelling(two), "remotes/origin/main": made}
    assert "tags/v1" not in travelling(two)
    sound(two)


def test_branches_and_tags_are_removed_from_a_remote_by_name(one, two):
    one("tag", "v1")
    one("branch", "side")
    one("push", "origin", "side", "v1")
    two("fetch")
    assert "remotes/origin/side" in travelling(two)
    found = one("push", "origin", "--delete", "side", "v1", "--json").json
    assert [(each["name"], each["to"]) for each in found["refs"]] == [("side", None), ("tag v1", None)]
    assert set(there(one)) == {"heads/main"}
    assert "remotes/origin/side" not in travelling(one)
    assert "heads/side" in travelling(one)
    two("fetch")
    assert "remotes/origin/side" not in travelling(two)
    one("push", "origin", "--delete", "side", code=10)
    one("push", "origin", "--delete", code=2)


def test_what_is_not_there_cannot_be_pushed(one):
    one("push", "origin", "nothing", code=10)
    assert not (one.root / "../remote/log").exists() or there(one) == {}


def test_a_branch_is_replaced_only_where_it_was_last_seen(one, two):
    first = one.status()["snapshot"]
    theirs = pushed(two, "theirs")
    mine = change(one, "mine")
    error = one("push", "--force-with-lease", "--json", code=12).error
    assert "dv fetch" in error["next"]
    assert there(one)["heads/main"] == theirs
    one("fetch")
    one("push", "--force-with-lease")
    assert there(one)["heads/main"] == mine
    one("checkout", first)
    two("fetch")
    assert travelling(two)["remotes/origin/main"] == mine
    two("pull", code=12)


def test_a_branch_of_another_name_below_it_is_refused(one):
    one("push")
    one("checkout", "-b", "other")
    one("branch", "-d", "main", "--force")
    one("branch", "main/below")
    one("push", "origin", "main/below", code=11)


def test_a_tag_that_looks_like_a_branch_is_a_tag(one, two):
    one("tag", "heads/main")
    one("tag", "more/heads/x")
    one("push")
    one("push", "origin", "more/heads/x")
    assert [name for name in travelling(one) if name.startswith("remotes/")] == ["remotes/origin/main"]
    two("fetch")
    assert travelling(two) == travelling(one)


def test_several_branches_go_together(one, two):
    one("branch", "a")
    one("checkout", "-b", "b")
    made = change(one, "b")
    found = one("push", "origin", "a", "b", "--json").json
    assert [each["name"] for each in found["refs"]] == ["a", "b"]
    found = two("fetch", "--json").json
    assert [each["name"] for each in found["refs"]] == ["origin/a", "origin/b"]
    two("checkout", "-b", "b", "origin/b")
    assert two.status()["snapshot"] == made
    change(two, "more")
    two("push", "origin", "b")
    one("pull")
    assert one.read("data/a.txt") == "more"


def test_one_branch_that_cannot_move_keeps_all_where_they_are(one, two):
    theirs = pushed(one, "theirs")
    two("branch", "other")
    change(two, "mine")
    two("push", "origin", "main", "other", code=12)
    assert there(one) == {"heads/main": theirs}


def test_what_others_brought_is_fetched_after_a_push_of_another_branch(one, two):
    theirs = pushed(one, "theirs")
    two("branch", "mine")
    two("push", "origin", "mine")
    found = two("fetch", "--json").json
    assert [(each["name"], each["to"]) for each in found["refs"]] == [("origin/main", theirs)]
    assert two("cat", "origin/main:data/a.txt").text == "theirs"


def test_tags_that_others_brought_are_fetched_after_a_push(one, two):
    one("tag", "v1")
    one("push")
    change(two, "mine")
    two("push")
    two("fetch")
    assert "tags/v1" in travelling(two)


def test_what_others_brought_is_fetched_after_data_was(one, two):
    lazy = clone(one, "lazy", "--lazy")
    theirs = pushed(one, "theirs")
    lazy("cat", "main:data/a.txt")
    found = lazy("pull", "--json").json
    assert found["snapshot"] == theirs


def test_a_fetch_brings_again_what_was_taken_back(one, two):
    theirs = pushed(one, "theirs")
    one("tag", "v1")
    one("push")
    two("fetch")
    two("undo")
    assert "tags/v1" not in travelling(two)
    two("fetch")
    assert travelling(two)["remotes/origin/main"] == theirs
    assert travelling(two)["tags/v1"] == theirs


def test_a_pull_can_be_taken_back_and_made_again(one, two):
    before = two.status()["snapshot"]
    theirs = pushed(one, "theirs")
    two("pull")
    two("undo")
    assert two.status()["snapshot"] == before
    two("checkout", "--force", "main")
    two("pull")
    assert two.status()["snapshot"] == theirs
    sound(two)


def test_status_says_how_far_a_branch_is_ahead_and_behind(one, two):
    def apart(dv):
        return dv.status()["ahead"], dv.status()["behind"]

    assert apart(two) == (0, 0)
    pushed(one, "1")
    pushed(one, "2")
    change(two, "mine", "data/b.txt")
    assert apart(two) == (1, 0)
    two("fetch")
    assert apart(two) == (1, 2)
    two("merge", "origin/main")
    assert apart(two) == (2, 0)
    two("push")
    assert apart(two) == (0, 0)


def test_nothing_that_was_fetched_is_collected(one, two):
    theirs = pushed(one, "theirs" * 1000)
    two("fetch")
    two("gc", "--grace", "0", "--retention", "0")
    sound(two)
    shutil.rmtree(one.root.parent / "remote")
    assert two("cat", f"{theirs}:data/a.txt").text == "theirs" * 1000


def test_a_fetch_after_a_collection_brings_what_is_lacking(one, two):
    one("checkout", "-b", "side")
    side = change(one, "side" * 1000)
    one("push", "origin", "side")
    two("fetch")
    one("push", "origin", "--delete", "side")
    two("fetch")
    two("gc", "--grace", "0", "--retention", "0")
    one("push", "origin", "side")
    two("fetch")
    assert two("cat", f"{side}:data/a.txt").text == "side" * 1000
    sound(two)


def test_a_remote_is_renamed_with_its_branches(one, two):
    two("remote", "rename", "origin", "upstream")
    assert [name for name in travelling(two) if name.startswith("remotes/")] == ["remotes/upstream/main"]
    theirs = pushed(one, "theirs")
    two("pull")
    assert two.status()["snapshot"] == theirs
    two("fetch", "origin", code=10)


def test_a_lazy_clone_finds_its_data_at_a_remote_that_was_renamed(one, two):
    lazy = clone(one, "lazy", "--lazy")
    lazy("remote", "rename", "origin", "upstream")
    assert lazy("cat", "main:data/b.txt").text == "bb\n"
    lazy("get", "data")
    assert files(lazy) == files(one)


def test_a_remote_that_is_removed_takes_its_branches_along(one, two):
    two("remote", "remove", "origin")
    assert [name for name in travelling(two) if name.startswith("remotes/")] == []
    two("pull", code=10)
    two("remote", "add", "origin", "../remote")
    two("fetch")
    assert travelling(two)["remotes/origin/main"] == two.status()["snapshot"]


def test_a_remote_that_moved_is_found_at_its_new_url(one, two):
    os.rename(one.root.parent / "remote", one.root.parent / "moved")
    two("fetch", code=10)
    two("push", code=10)
    assert not (one.root.parent / "remote").exists()
    two("remote", "set-url", "origin", "../moved")
    assert two("fetch", "--json").json["refs"] == []
    made = change(two, "mine")
    two("push")
    one("remote", "set-url", "origin", "../moved")
    one("pull")
    assert one.status()["snapshot"] == made


def test_several_remotes_hold_the_same(one, two):
    two("remote", "add", "backup", "../backup", "--plain-keys")
    two("push", "backup")
    assert there(two, "backup") == there(two, "origin")
    shutil.rmtree(one.root.parent / "remote")
    three = clone(one, "three", url="../backup")
    assert files(three) == files(one)


def test_worktrees_of_one_store_share_what_was_fetched(one, two):
    pushed(two, "settings")
    one("pull")
    two("worktree", "add", "../two-more", "-b", "other")
    more = Dv(one.root.parent / "two-more", two._capture)
    theirs = pushed(one, "theirs")
    more("fetch")
    assert travelling(two)["remotes/origin/main"] == theirs
    two("pull")
    assert two.read("data/a.txt") == "theirs"
    change(more, "more", "data/b.txt")
    more("push", "origin", "other")
    assert travelling(two)["remotes/origin/other"] == more.status()["snapshot"]


def test_names_with_spaces_and_other_letters_travel(one, tmp_path):
    one.write("data/ä ö/ü €.txt", "ü")
    one.commit("names")
    one("branch", "größe")
    one("remote", "add", "über-uns", "../ein Ort/mit ü", "--plain-keys")
    one("push", "über-uns", "main", "größe")
    two = clone(one, "zwei ß", url="../ein Ort/mit ü")
    assert files(two) == files(one)
    assert "remotes/origin/größe" in travelling(two)
    change(two, "ß")
    two("push")
    one("pull", "über-uns")
    assert one.read("data/a.txt") == "ß"


def test_a_file_url_means_the_directory(one, tmp_path):
    place = tmp_path / "ein ort"
    one("remote", "set-url", "origin", f"file://{tmp_path}/ein%20ort", code=0)
    one("remote", "remove", "origin")
    one("remote", "add", "origin", f"file://{tmp_path}/ein%20ort", "--plain-keys")
    one("push")
    assert sorted(os.listdir(place)) == ["acks", "format", "index", "keys", "log", "packs", "tmp"]
    two = clone(one, "two", url=f"file://{tmp_path}/ein%20ort")
    assert files(two) == files(one)
    two("fetch")


def test_a_relative_url_means_the_same_from_everywhere(one, two):
    change(one, "more")
    one("push", at="data/sub")
    two("pull", at="data/sub")
    assert two.read("data/a.txt") == "more"


def test_a_clone_under_another_current_directory_is_the_same(one, tmp_path):
    one("push")
    one("-C", str(tmp_path), "clone", "remote", "two", at="data")
    two = Dv(tmp_path / "two", one._capture)
    assert files(two) == files(one)
    change(one, "more")
    one("push")
    two("pull")
    assert two.read("data/a.txt") == "more"


def test_after_git_clone_one_pull_is_all_it_takes(one, tmp_path):
    one("push")
    there_ = tmp_path / "two"
    there_.mkdir()
    shutil.copy(one.root / "dv.toml", there_ / "dv.toml")
    two = Dv(there_, one._capture)
    two("status", code=10)
    found = two("pull", "--json").json
    assert found["snapshot"] == one.status()["snapshot"]
    assert files(two) == files(one)
    assert two.status()["clean"]
    made = pushed(one, "more")
    assert two("pull", "--json").json["snapshot"] == made


def test_after_git_clone_files_that_are_in_the_way_are_kept(one, tmp_path):
    one("push")
    there_ = tmp_path / "two"
    there_.mkdir()
    shutil.copy(one.root / "dv.toml", there_ / "dv.toml")
    two = Dv(there_, one._capture)
    two.write("data/a.txt", "mine")
    two("pull", code=12)
    assert two.read("data/a.txt") == "mine"
    two.write("data/a.txt", "a\n")
    two("pull")
    assert files(two) == files(one)


def test_a_dv_toml_that_names_no_remote_founds_nothing(empty):
    empty.write("dv.toml", "")
    empty("pull", code=10)
    assert not (empty.root / ".dv").exists()


# ------------------------------------------------------------------------------------------ expired


def test_a_history_that_was_expired_is_pushed_to_a_new_place(one, tmp_path):
    for number in range(4):
        change(one, f"{number}")
    one("expire", "--keep-last", "2", "--yes")
    one("push")
    two = clone(one, "two")
    assert len(two("log", "--json").json) == 2
    assert two("log", "--json").json == one("log", "--json").json
    sound(two)


def test_a_history_that_was_expired_here_is_pushed_where_it_still_is(one, two):
    for number in range(4):
        change(one, f"{number}")
    one("push")
    one("expire", "--keep-last", "2", "--yes")
    made = change(one, "more")
    one("push")
    two("pull")
    assert two.status()["snapshot"] == made
    assert len(two("log", "--json").json) == 6
    there(one)
    sound(two)
    sound(one)


def test_what_was_expired_here_is_not_brought_back_by_a_fetch(one, two):
    for number in range(4):
        pushed(one, f"{number}")
    one("expire", "--keep-last", "2", "--yes")
    one("gc", "--grace", "0", "--retention", "0")
    two("pull")
    made = pushed(two, "theirs")
    one("pull")
    assert one.status()["snapshot"] == made
    assert len(one("log", "--json").json) == 3
    sound(one)


def test_a_clone_of_an_expired_history_goes_on(one, two):
    for number in range(4):
        pushed(one, f"{number}")
    one("expire", "--keep-last", "1", "--yes")
    one("gc", "--grace", "0", "--retention", "0")
    one("remote", "add", "fresh", "../fresh", "--plain-keys")
    one("push", "fresh")
    three = clone(one, "three", url="../fresh")
    made = pushed(three, "on")
    two("pull")
    two("remote", "add", "fresh", "../fresh")
    two("fetch", "fresh")
    assert travelling(two)["remotes/fresh/main"] == made
    two("merge", "fresh/main")
    assert two.read("data/a.txt") == "on"
    two("push", "fresh")
    sound(two)


# ------------------------------------------------------------------------------------------ dv.toml


def test_a_clone_takes_the_settings_and_keeps_its_remote(one, tmp_path):
    one.write("dv.toml", one.read("dv.toml") + '\n[splits]\ntrain = ["data/sub"]\n')
    pushed(one, "settings")
    shutil.move(tmp_path / "remote", tmp_path / "elsewhere")
    two = clone(one, "two", url="../elsewhere")
    assert "data/sub" in two.read("dv.toml")
    assert two("remote", "list", "--json").json[0]["url"] == str(tmp_path / "elsewhere")
    two("fetch")


def test_a_clone_keeps_the_place_of_the_key_that_was_given(data, tmp_path):
    data("remote", "add", "origin", str(tmp_path / "remote"), "--plain-keys")
    data.write("data/more.txt", "more\n")
    data.commit("with a dv.toml that names no place of a key")
    data("push")
    (tmp_path / "guarded/keys").mkdir(parents=True)
    shutil.move(tmp_path / "remote/keys/repo", tmp_path / "guarded/keys/repo")
    two = clone(data, "two", "--keys", str(tmp_path / "guarded"))
    [item] = two("remote", "list", "--json").json
    assert item["keys"] == str(tmp_path / "guarded")
    two("remote", "set-url", "origin", str(tmp_path / "remote"))  # forgets what was seen, so the key is read again
    two("fetch")


def test_a_clone_keeps_the_options_that_were_given_and_a_single_writer(data, s3_server):
    s3_server.make_bucket("bucket")
    data("remote", "add", "origin", "s3://bucket", "--option", f"endpoint_url={s3_server.url}", "--plain-keys")
    data("push")
    text = data.read("dv.toml")
    data.write("dv.toml", text.replace(s3_server.url, "http://127.0.0.1:9") + "single-writer = true\n")
    if "[remote.origin.options]" in text:
        data.write("dv.toml", text.replace("[remote.origin.options]", "single-writer = true\n[remote.origin.options]"))
        data.write("dv.toml", data.read("dv.toml").replace(s3_server.url, "http://127.0.0.1:9"))
    data.write("data/more.txt", "more\n")
    data.commit("elsewhere")
    data.write("dv.toml", text)
    data("push")
    done = data("clone", "s3://bucket", "../two", "--option", f"endpoint_url={s3_server.url}")
    assert "dv.toml named another place" in done.told
    two = Dv(data.root.parent / "two", data._capture)
    found = project.decode((two.root / "dv.toml").read_bytes()).remotes["origin"]
    assert found.options == {"endpoint_url": s3_server.url}
    assert found.single_writer is True
    two("fetch")


@pytest.fixture
def moved(one, tmp_path):
    """A clone whose dv.toml is that of its snapshot; the next one, pushed since, names a copy of the remote."""
    pushed(one, "settings")
    two = clone(one, "settled")
    good = one.read("dv.toml")
    assert two.read("dv.toml") == good
    one.write("dv.toml", good.replace(str(tmp_path / "remote"), str(tmp_path / "evil")))
    change(one, "elsewhere")
    one.write("dv.toml", good)
    one("push")
    shutil.copytree(tmp_path / "remote", tmp_path / "evil")
    return two


def test_settings_that_are_pulled_lead_nowhere_else_unnoticed(moved, tmp_path):
    two = moved
    told = two("pull").told
    assert "names another place as 'origin'" in told
    assert str(tmp_path / "evil") in told
    memory = (two.root / ".dv/remotes/origin").read_bytes()
    change(two, "mine")
    before = tree_of(tmp_path / "evil")
    for command in (["fetch"], ["pull"], ["push"], ["fsck", "--remote", "origin"], ["gc", "--remote", "origin"]):
        error = two(*command, "--json", code=12).error
        assert "names another place as 'origin'" in error["what"]
        assert str(tmp_path / "evil") in error["why"]
        assert str(tmp_path / "remote") in error["why"]
        assert f"dv remote set-url origin {tmp_path / 'evil'}" in error["next"]
    assert tree_of(tmp_path / "evil") == before
    assert (two.root / ".dv/remotes/origin").read_bytes() == memory
    two.write("dv.toml", two.read("dv.toml").replace("evil", "remote"))
    two("push")


def test_another_place_in_the_settings_is_used_when_that_is_said(moved, tmp_path):
    two = moved
    two("pull")
    two("fetch", code=12)
    two("remote", "set-url", "origin", str(tmp_path / "evil"))
    two("fetch")
    pushed(two, "mine")


@pytest.mark.parametrize("line", ['keys = "/elsewhere"', 'options = {endpoint_url = "http://127.0.0.1:9"}'])
def test_another_place_of_the_key_or_endpoint_is_refused(two, line):
    two.write("dv.toml", two.read("dv.toml").replace("[remote.origin]", f"[remote.origin]\n{line}"))
    assert "another place" in two("fetch", "--json", code=12).error["what"]


def test_what_is_remembered_goes_with_a_name_that_is_given_anew(one, two, tmp_path):
    two("remote", "rename", "origin", "other")
    two("remote", "add", "origin", str(tmp_path / "new"), "--plain-keys")
    two("push", "origin")
    two("remote", "remove", "origin")
    two("remote", "add", "origin", str(tmp_path / "remote"))
    two("fetch", "origin")
    two("fetch", "other")


def test_settings_that_cannot_be_read_keep_nobody_from_cloning(one, tmp_path):
    good = one.read("dv.toml")
    one.write("dv.toml", good + "\n[nonsense]\nx = 1\n")
    change(one, "broken")
    one.write("dv.toml", good)
    one("push")
    two = clone(one, "two")
    assert files(two) == files(one)
    two("fetch")


# ----------------------------------------------------------------------------------------- odd places


def test_the_key_is_kept_at_another_place(data, tmp_path):
    data("remote", "add", "origin", "../remote", "--keys", f"{tmp_path}/the keys")
    data("push")
    assert os.listdir(tmp_path / "the keys/keys") == ["repo"]
    assert not (tmp_path / "remote/keys/repo").exists()
    data.write("data/a.txt", "more")
    data.commit("more")
    data("push")
    assert data("fetch", "--json").json["refs"] == []
    data("remote", "set-url", "origin", "../remote")  # forgets what was seen, so the key is read again
    data("fetch")


def test_after_git_clone_the_key_is_found_at_its_other_place(data, tmp_path):
    data("remote", "add", "origin", str(tmp_path / "remote"), "--keys", str(tmp_path / "keys"))
    data("push")
    (tmp_path / "two").mkdir()
    shutil.copy(data.root / "dv.toml", tmp_path / "two/dv.toml")
    two = Dv(tmp_path / "two", data._capture)
    two("pull")
    assert files(two) == files(data)


def test_a_branch_that_makes_room_for_others_below_it_does_so_in_clones(one, two):
    one("branch", "topic")
    one("push", "origin", "topic")
    two("fetch")
    one("push", "origin", "--delete", "topic")
    one("branch", "-d", "topic")
    one("branch", "topic/one")
    one("push", "origin", "topic/one")
    two("fetch")
    assert [name for name in travelling(two) if name.startswith("remotes/")] == [
        "remotes/origin/main",
        "remotes/origin/topic/one",
    ]


def test_a_place_that_holds_something_else_is_left_alone(one, tmp_path):
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote/format").write_text("of something else")
    one("push", code=21)
    assert sorted(os.listdir(tmp_path / "remote")) == ["format"]
    assert (tmp_path / "remote/format").read_text() == "of something else"


def test_a_file_where_the_remote_should_be_is_named(one, tmp_path):
    (tmp_path / "remote").write_text("a file")
    for words in (["push"], ["fetch"], ["clone", "../remote", "../other"]):
        assert "remote" in one(*words, "--json", code=30).error["where"]
    assert (tmp_path / "remote").read_text() == "a file"


def test_many_pushes_leave_a_remote_that_is_read_from_its_newest_checkpoint(one, two, monkeypatch):
    monkeypatch.setattr(log, "CHECKPOINT_EVERY", 5)
    for number in range(12):
        one("branch", f"b{number}")
        one("push", "origin", f"b{number}")
    found = two("fetch", "--json").json
    assert len(found["refs"]) == 12
    three = clone(one, "three")
    assert travelling(three).keys() == travelling(two).keys()
    assert three("fetch", "--json").json["refs"] == []
