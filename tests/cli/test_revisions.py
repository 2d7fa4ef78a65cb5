"""REV: a snapshot id or its prefix, a branch, a tag, HEAD, REV~N, git:<rev>; and REV:PATH."""

import itertools

import msgspec
import pytest

from dvtool import ids
from dvtool.formats import log, snapshot
from dvtool.repo import Repo


@pytest.fixture
def history(data):
    """Three snapshots, oldest first, as (dv, ids)."""
    first = data("show", "--json").json["snapshot"]
    data.write("data/a.txt", "second\n")
    second = data.commit("second")
    data.write("data/a.txt", "third\n")
    third = data.commit("third")
    return data, [first, second, third]


def named(dv, revision):
    return dv("log", revision, "-n", "1", "--json").json[0]["snapshot"]


def test_a_whole_id(history):
    dv, ids = history
    assert [named(dv, each) for each in ids] == ids


def test_a_prefix_of_four_digits_or_more(history):
    dv, ids = history
    assert named(dv, ids[0][:12]) == ids[0]
    assert named(dv, ids[0][:12].upper()) == ids[0]
    dv("show", ids[0][:3], code=10)


def test_an_ambiguous_prefix_is_2_and_lists_what_it_could_be(data):
    # Four digits have 65,536 values: that no two of 2,000 ids begin alike happens once in 10^13 times.
    session = Repo.open(str(data.root)).workspace.session
    head = session.head().snapshot
    assert head is not None
    value = session.snapshot(head)
    with session.lock(), session.store.transaction() as transaction:
        found = sorted(
            transaction.put_object(
                ids.SNAPSHOT,
                snapshot.encode(msgspec.structs.replace(value, nonce=number.to_bytes(snapshot.NONCE_SIZE))),
            ).hex()
            for number in range(2000)
        )
        move = log.MoveRef(name="tags/many", old=None, new=bytes.fromhex(found[0]))
        transaction.commit("tag", lambda _state: [move])
    first, second = next(pair for pair in itertools.pairwise(found) if pair[0][:4] == pair[1][:4])
    error = data("show", first[:4], "--json", code=2).error
    assert "ambiguous" in error["what"]
    assert {first, second} <= set(error["items"])
    assert all(item.startswith(first[:4]) for item in error["items"])
    assert named(data, first) == first


def test_hundreds_of_commits_leave_a_store_that_opens(data):
    for number in range(270):
        data("commit", "--allow-empty", "-m", str(number))
    assert len(data("log", "--json").json) == 271
    assert data.process("status", "--json").json["clean"]
    assert data("cat", "HEAD~270:data/a.txt").text == "a\n"


def test_a_branch_and_a_tag(history):
    dv, ids = history
    dv("branch", "early", ids[0])
    dv("tag", "release/1.0", ids[1])
    assert named(dv, "early") == ids[0]
    assert named(dv, "release/1.0") == ids[1]
    assert named(dv, "main") == ids[2]


def test_head_and_steps_back(history):
    dv, ids = history
    assert named(dv, "HEAD") == ids[2]
    assert named(dv, "HEAD~1") == ids[1]
    assert named(dv, "HEAD~") == ids[1]
    assert named(dv, "main~2") == ids[0]
    assert named(dv, f"{ids[2][:10]}~1") == ids[1]
    dv("show", "HEAD~3", code=10)
    dv("show", "HEAD~one", code=2)


def test_head_before_the_first_snapshot(dv):
    assert dv("log", "--json").json == []
    assert "dv commit" in dv("show", "HEAD", code=10).told


def test_git_revisions(beside_git):
    dv = beside_git
    first = dv("show", "--json").json["snapshot"]
    dv.write("data/b.txt", "b\n")
    second = dv.commit("second")
    dv.git("commit", "-a", "-q", "-m", "data, second version")
    dv.git("tag", "paper")
    assert named(dv, "git:HEAD") == second
    assert named(dv, "git:paper") == second
    assert named(dv, "git:gm") == second
    commit = dv.git("rev-parse", "HEAD~1").strip()
    assert named(dv, f"git:{commit}") == first
    assert dv("ls", "git:gm:data").text == "data/a.txt\ndata/b.txt\n"
    assert dv("cat", "git:HEAD:data/b.txt").text == "b\n"


def test_steps_back_in_a_git_revision_are_gits_own(beside_git):
    dv = beside_git
    first = dv("show", "--json").json["snapshot"]
    dv.commit("between, unknown to Git", "--allow-empty")
    dv.write("data/b.txt", "b\n")
    dv.commit("third")
    dv.git("commit", "-a", "-q", "-m", "data, third version")
    assert named(dv, "git:HEAD~1") == first


def test_a_git_revision_without_data(beside_git):
    assert "git log" in beside_git("show", "git:nothing", code=10).told


def test_git_revisions_want_git(data):
    data("show", "git:HEAD", code=10)


def test_rev_path(history):
    dv, ids = history
    assert dv("cat", f"{ids[0]}:data/a.txt").text == "a\n"
    assert dv("cat", "HEAD~1:data/a.txt").text == "second\n"
    assert dv("cat", ":data/a.txt").text == "third\n"
    assert dv("ls", "main:data/sub/").text == "data/sub/c.txt\n"
    assert dv("show", "HEAD:data/sub", "--json").json["kind"] == "dir"


def test_the_path_in_rev_path_is_relative_to_the_root(data):
    assert data("cat", "HEAD:data/a.txt", at="data").text == "a\n"
    data("cat", "HEAD:a.txt", at="data", code=10)


def test_cat_wants_a_file(data):
    data("cat", "HEAD", code=2)
    data("cat", "HEAD:data", code=2)
    data("cat", "HEAD:data/nothing", code=10)


@pytest.fixture
def both(data):
    """`main` is a branch and a file."""
    data.write("main", "a file called main\n")
    data("add", "main")
    data("commit", "-m", "a file called as the branch")
    return data


@pytest.mark.parametrize("command", ["ls", "log", "du", "diff"])
def test_a_lone_positional_that_is_both_is_2_and_points_to_the_dashes(both, command):
    assert "--" in both.process(command, "main", code=2).told


@pytest.mark.parametrize("command", ["ls", "log", "du"])
def test_what_stands_behind_the_dashes_is_a_path(both, command):
    as_path = both.process(command, "--json", "--", "main").json
    assert as_path == both(command, "--json", "HEAD", "main").json
    assert len(as_path) == 1


@pytest.mark.parametrize("command", ["ls", "log", "du"])
def test_what_stands_before_the_dashes_is_a_revision(both, command):
    found = both.process(command, "--json", "main", "--").json
    assert found == both(command, "--json", "HEAD", ".").json
    assert len(found) == 2


def test_in_a_diff_dashes_part_revisions_from_paths(both):
    both.write("main", "changed\n")
    both.write("data/a.txt", "changed\n")
    by_path = both.process("diff", "--json", "--", "main").json
    assert [item["path"] for item in by_path["modified"]] == ["main"]
    by_revision = both.process("diff", "--json", "main", "--").json
    assert [item["path"] for item in by_revision["modified"]] == ["data/a.txt", "main"]
    both_ways = both.process("diff", "--json", "HEAD~1", "--", "data").json
    assert [item["path"] for item in both_ways["modified"]] == ["data/a.txt"]


def test_dashes_mean_the_same_when_dv_is_called_in_a_process_that_runs_on(both):
    both.write("main", "changed\n")
    found = both("diff", "--json", "--", "main").json
    assert [item["path"] for item in found["modified"]] == ["main"]


def test_checkout_takes_no_path_so_nothing_is_ambiguous(both):
    both("checkout", "main")


def test_a_word_that_is_neither_is_10(data):
    for command in ("ls", "log", "du", "diff"):
        data(command, "nothing", code=10)


def test_a_path_is_named_once(data):
    for command in ("ls", "du", "log"):
        assert "already" in data(command, "HEAD:data", "data", code=2).told
        assert data(command, "--json", "HEAD:data/sub", "--").json == data(command, "--json", "HEAD", "data/sub").json


@pytest.mark.parametrize(
    ("place", "hint"), [("HEAD:data", "dv ls HEAD:data"), ("HEAD:.", "dv ls HEAD:."), ("HEAD:", "REV:PATH")]
)
def test_cat_of_no_file_is_2_and_says_what_to_write(data, place, hint):
    assert hint in data("cat", place, code=2).told
