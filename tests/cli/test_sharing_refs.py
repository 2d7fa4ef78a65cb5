"""Branches and tags of a remote: what goes, what comes, and what is in the way."""

import pytest

from dvtool.formats import log
from dvtool.operations import push
from dvtool.repo import Repo
from dvtool.sharing import reaching
from tests.cli.sharing import change, pushed, sound, there, travelling


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


@pytest.mark.parametrize("seen", [False, True])
def test_a_branch_that_moves_while_a_push_is_under_way_is_told_as_one_that_moved_before(one, two, monkeypatch, seen):
    """Whoever loses the race between plan and entry hears what there is to be done, not to try the same again."""
    made = change(two, "two")
    if seen:
        two("branch", "side")
        two("push", "origin", "side")
        one("fetch")
    change(one, "one")
    real = push._Pushing._send
    first = iter([True])

    def send(self, shipment, transaction):
        real(self, shipment, transaction)
        if next(first, False):
            two("push")

    monkeypatch.setattr(push._Pushing, "_send", send)
    assert "dv merge origin/main" in one("push", "--json", code=12).error["next"]
    assert there(one)["heads/main"] == made
    sound(one)


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
