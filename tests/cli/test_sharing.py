"""Sharing through a directory, as two people do it who know nothing of how it works."""

import os
import shutil

from dvtool.formats import log
from tests.cli.calling import Dv
from tests.cli.sharing import change, clone, files, pushed, sound, there, travelling


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


def test_a_clone_under_another_current_directory_is_the_same(one, tmp_path):
    one("push")
    one("-C", str(tmp_path), "clone", "remote", "two", at="data")
    two = Dv(tmp_path / "two", one._capture)
    assert files(two) == files(one)
    change(one, "more")
    one("push")
    two("pull")
    assert two.read("data/a.txt") == "more"


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
