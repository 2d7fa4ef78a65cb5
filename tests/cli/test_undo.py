"""``dv undo``: what an operation did to refs is taken back, and files stay as they are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvtool.formats import log
from dvtool.history import oplog
from tests.formats.test_log import ONE, entry


def refs(dv):
    """Every branch and tag, where HEAD is, and whether anything is staged."""
    found = {item["name"]: item["snapshot"] for item in dv("branch", "--json").json}
    tags = {item["name"]: item["snapshot"] for item in dv("tag", "--json").json}
    status = dv.status()
    return found, tags, status["branch"], status["snapshot"], dv.staged()


def test_a_commit_is_taken_back_to_the_stage(data):
    data.write("data/new.txt", "new\n")
    data("add", "data")
    before = refs(data)
    data("commit", "-m", "second")
    after = refs(data)
    found = data("undo", "--json").json
    assert (found["undone"]["operation"], found["snapshot"], found["branch"]) == ("commit", before[3], "main")
    assert refs(data) == before
    assert data.staged() == {"added": ["data/new.txt"]}
    assert data.read("data/new.txt") == "new\n"
    data("undo", "--redo")
    assert refs(data) == after
    assert data.status()["clean"]


def test_files_stay_as_they_are(data):
    data.write("data/a.txt", "changed\n")
    data.commit("second")
    data("checkout", "-b", "side")
    data("undo")
    assert data.status()["branch"] == "main"
    data("undo")
    assert data.read("data/a.txt") == "changed\n"
    assert data.unstaged() == {"modified": ["data/a.txt"]}


@pytest.mark.parametrize(
    "call",
    [
        ("tag", "v1"),
        ("branch", "side"),
        ("branch", "-m", "main", "trunk"),
        ("branch", "-d", "other"),
        ("tag", "-d", "old"),
        ("checkout", "-b", "side"),
        ("checkout", "old"),
        ("rm", "--cached", "data/a.txt"),
        ("restore", "--staged", "data"),
    ],
    ids=" ".join,
)
def test_each_operation_can_be_taken_back_and_done_again(data, call):
    data("branch", "other")
    data("tag", "old")
    data.write("data/b.txt", "staged\n")
    data("add", "data")
    before = refs(data)
    data(*call)
    after = refs(data)
    assert after != before
    data("undo")
    assert refs(data) == before
    data("undo", "--redo")
    assert refs(data) == after


def test_repeated_it_goes_further_back_and_a_new_operation_ends_the_way_forward(data):
    states = [refs(data)]
    for name in ("one", "two", "three"):
        data("tag", name)
        states.append(refs(data))
    for expected in states[2::-1]:
        data("undo")
        assert refs(data) == expected
    data("undo", "--redo")
    assert refs(data) == states[1]
    data("tag", "four")
    refused = data("undo", "--redo", "--json", code=10).error
    assert refused["what"] == "there is nothing to redo"
    data("undo")
    assert refs(data) == states[1]


def test_all_of_it_and_then_nothing(dv):
    dv("undo", code=10)
    dv.write("data/a.txt")
    dv("add", "data")
    dv("commit", "-m", "first")
    dv("undo")
    assert dv.status()["snapshot"] is None
    dv("undo")
    assert dv.status()["staged"]["added"] == []
    assert "nothing to undo" in dv("undo", code=10).told
    dv("undo", "--redo")
    dv("undo", "--redo")
    assert dv.status()["clean"]
    assert dv.read("data/a.txt") == "content\n"


def test_what_another_worktree_does_is_left_alone(data):
    data("tag", "mine")
    data("worktree", "add", "../other", "-b", "theirs")
    data("-C", "../other", "commit", "--allow-empty", "-m", "theirs")
    data("-C", "../other", "tag", "v1")
    theirs = data("-C", "../other", "status", "--json").json
    moved = data("undo", "--json").json["undone"]
    assert [move["ref"] for move in moved["refs"]] == ["tags/mine"]
    assert data("-C", "../other", "status", "--json").json == theirs
    moved = data("-C", "../other", "undo", "--json").json["undone"]
    assert [move["ref"] for move in moved["refs"]] == ["tags/v1"]


def test_a_branch_that_another_worktree_has_taken_stays(data):
    data("branch", "side")
    data("worktree", "add", "../other", "side")
    refused = data("undo", "--json", code=12).error
    assert "checked out in another worktree" in refused["what"]
    assert {"main", "side"} == set(refs(data)[0])


def test_what_has_moved_again_is_a_conflict(data):
    data("tag", "shared")
    data("worktree", "add", "../other", "-b", "theirs")
    data("-C", "../other", "tag", "-d", "shared")
    before = refs(data)
    refused = data("undo", "--json", code=12).error
    assert refused["where"] == "tags/shared"
    assert refs(data) == before


def test_the_lock_file_follows(beside_git):
    first = beside_git.read("dv.lock")
    beside_git.write("data/a.txt", "more\n")
    beside_git("commit", "-a", "-m", "second")
    assert beside_git.read("dv.lock") != first
    beside_git("undo")
    assert beside_git.read("dv.lock") == first
    assert beside_git.git("status", "--porcelain") == ""
    beside_git("undo")
    assert not (beside_git.root / "dv.lock").exists()
    beside_git("undo", "--redo")
    assert beside_git.read("dv.lock") == first


def test_a_lock_file_of_gits_is_not_written_over(beside_git):
    beside_git.write("data/a.txt", "more\n")
    beside_git("commit", "-a", "-m", "second")
    beside_git.git("commit", "-q", "-a", "-m", "second")
    beside_git.git("checkout", "-q", "HEAD~1")
    before = beside_git.read("dv.lock")
    assert "dv.lock names another snapshot" in beside_git("undo", code=12).told
    assert beside_git.read("dv.lock") == before


def test_the_operation_log_says_what_was_taken_back(data):
    data("tag", "v1")
    number = data("oplog", "-n", "1", "--json").json[0]["number"]
    data("undo")
    last = data("oplog", "-n", "1", "--json").json[0]
    assert (last["operation"], last["undoes"], last["number"]) == ("undo", number, number + 1)
    assert f"takes back {number}" in data("oplog", "-n", "1").text


# ----------------------------------------------------------------------------- which operation it is, as a law


def test_nothing_before_an_erasure_can_be_taken_back():
    mine = log.made_from("me")
    erased = entry(log.Supersede(pairs=((ONE, ONE[::-1]),)), number=8)
    tagged = entry(log.MoveRef(name="tags/a", old=None, new=ONE), number=7, sections=mine)
    assert oplog.latest([tagged], "me", redo=False) == tagged
    assert oplog.latest([erased, tagged], "me", redo=False) is None
    later = entry(log.MoveRef(name="tags/b", old=None, new=ONE), number=9, sections=mine)
    assert oplog.latest([later, erased, tagged], "me", redo=False) == later


@given(st.lists(st.sampled_from(["do", "undo", "redo", "elsewhere", "upkeep"]), max_size=30))
@settings(max_examples=300)
def test_undo_and_redo_are_a_walk_along_what_was_done(steps):
    entries: list[log.Entry] = []  # oldest first
    done: list[int] = []
    ahead: list[int] = []
    owner: dict[int, int] = {}

    def append(operation, name, undoes=None, by="me"):
        sections = log.made_from(by) | (log.taking_back(undoes) if undoes is not None else {})
        number = len(entries) + 1
        move = log.MoveRef(name=name, old=None, new=ONE)
        entries.append(entry(move, number=number, operation=operation, sections=sections))
        return number

    for step in steps:
        if step == "do":
            done.append(append("tag", "tags/a"))
            owner[done[-1]] = done[-1]
            ahead = []
        elif step == "elsewhere":
            append("tag", "tags/a", by="other")
        elif step == "upkeep":
            entries.append(entry(log.Condemn(names=()), number=len(entries) + 1, operation="gc"))
        else:
            redo = step == "redo"
            found = oplog.latest(reversed(entries), "me", redo=redo)
            if not (ahead if redo else done):
                assert found is None
                continue
            assert found is not None
            number = append(step, "tags/a", undoes=found.number)
            # What is taken back by an undo is the operation, or the redo that did it again.
            if redo:
                assert owner[found.number] == ahead[-1]
                done.append(ahead.pop())
            else:
                assert owner[found.number] == done[-1]
                ahead.append(done.pop())
            owner[number] = owner[found.number]
