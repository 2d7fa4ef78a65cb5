"""``dv drop`` and ``dv get`` again and again: what is there, and how long the record of it becomes."""

import json
import random
from pathlib import Path

import pytest

from dvtool.errors import ConflictError
from dvtool.operations import checkout
from dvtool.repo import Repo

NAMES = [f"{top}/{middle}/{number}" for top in ("a", "b") for middle in ("x", "y") for number in range(4)]
PLACES = [
    "data",
    *(f"data/{top}" for top in ("a", "b")),
    *(f"data/{top}/{m}" for top in ("a", "b") for m in ("x", "y")),
]


def record(dv):
    return json.loads((dv.root / ".dv/worktree").read_bytes())


def lying(dv):
    return {str(path.relative_to(dv.root)) for path in (dv.root / "data").rglob("*") if path.is_file()}


@pytest.fixture
def many(dv):
    for number in range(300):
        dv.write(f"data/big/{number:03}", str(number))
    dv("add", "data")
    dv("commit", "-m", "many")
    dv("drop", "data/big")
    return dv


def test_a_file_out_of_a_large_directory_is_one_line_of_the_record(many):
    many("get", "data/big/007")
    assert record(many)["dropped"] == ["/data/big/007", "data/big"]
    many("get", *(f"data/big/{number:03}" for number in range(20)))
    assert len(record(many)["dropped"]) == 21
    assert len(lying(many)) == 20
    assert many.status()["sparse"] == ["data/big"]
    assert many.status()["clean"]


def test_the_record_names_what_is_there_or_what_is_not_whichever_is_less(many):
    longest = 0
    for start in range(0, 300, 30):
        many("get", *(f"data/big/{number:03}" for number in range(start, start + 30)))
        longest = max(longest, len(record(many)["dropped"]))
        assert many.status()["clean"]
    assert longest <= 151
    assert record(many)["dropped"] == []
    assert len(lying(many)) == 300


def test_the_record_is_of_version_1_where_an_older_dv_can_read_it(many):
    assert record(many)["version"] == 1
    many("get", "data/big/007")
    assert record(many)["version"] == 2
    many("drop", "data/big/007")
    assert record(many)["version"] == 1
    assert record(many)["dropped"] == ["data/big"]


def test_what_came_back_is_missed_when_it_goes_and_what_did_not_is_not(many):
    many("get", "data/big/007")
    (many.root / "data/big/007").unlink()
    assert many.unstaged() == {"removed": ["data/big/007"]}
    many("restore", "data/big")
    assert lying(many) == {"data/big/007"}


def test_the_record_follows_a_move_and_a_removal(many):
    many("get", "data/big/007", "data/big/008")
    many("mv", "data/big", "data/large")
    moved = ["/data/large/007", "/data/large/008", "data/large"]
    # What is said of the old place counts again if the move is undone.
    assert record(many)["dropped"] == sorted([*moved, "/data/big/007", "/data/big/008", "data/big"])
    assert many.status()["sparse"] == ["data/large"]
    many("rm", "data/large/007")
    many.commit()
    assert many.status()["clean"]
    assert many.status()["sparse"] == ["data/large"]


@pytest.mark.parametrize(
    "words",
    [
        ("mv", "data/big/003", "data/small"),
        ("mv", "data/big", "data/large"),
        ("rm", "data/big/003"),
        ("rm", "data/big/003", "data/big/004"),
        ("rm", "data/big"),
        ("rm", "--cached", "data"),
    ],
    ids=" ".join,
)
def test_what_was_dropped_is_still_dropped_when_what_was_done_to_it_is_undone(many, words):
    many("get", "data/big/007", "data/big/008")
    many(*words)
    assert many.unstaged() == {}
    many("undo")
    missing = [] if lying(many) == {"data/big/007", "data/big/008"} else ["data/big/007", "data/big/008"]
    found = many.status()
    assert found["sparse"] == ["data/big"]
    assert found["unstaged"]["removed"] == missing
    many("undo", "--redo")
    assert many.unstaged() == {}
    many("undo")
    many("restore", "data")
    many("get", "data/big/003")
    assert {"data/big/003", "data/big/007", "data/big/008"} <= lying(many)


def test_what_is_staged_where_something_was_dropped_is_there(many):
    many.write("data/big/007", "by hand\n")
    many("add", "data")
    assert record(many)["dropped"] == ["/data/big/007", "data/big"]
    many("rm", "data/big")
    many.write("data/big/new", "by hand\n")
    many("commit", "-a", "-m", "another one")
    assert many.status()["sparse"] == []
    (many.root / "data/big/new").unlink()
    assert many.unstaged()["removed"] == ["data/big/new"]


def test_what_is_moved_where_something_was_dropped_is_there(data):
    data("drop", "data/a.txt", "data/sub")
    data("rm", "data/a.txt")
    data("mv", "data/b.txt", "data/a.txt")
    assert data.status()["sparse"] == ["data/sub"]
    data.write("data/sub/mine.txt", "mine\n")
    data("add", "data/sub/mine.txt")
    data("mv", "data/a.txt", "data/sub/a.txt")
    for name in ("mine.txt", "a.txt"):
        (data.root / "data/sub" / name).unlink()
    assert data.unstaged()["removed"] == ["data/sub/a.txt", "data/sub/mine.txt"]


def test_what_was_dropped_and_removed_is_restored_from_a_snapshot(data):
    data("drop", "data/a.txt")
    data("rm", "data/a.txt")
    data("restore", "--source", "HEAD", "data/a.txt")
    assert data.read("data/a.txt") == "a\n"


@pytest.mark.parametrize("seed", range(6))
def test_what_is_there_is_what_was_asked_for_last(dv, seed):
    for name in NAMES:
        dv.write(f"data/{name}", name)
    dv("add", "data")
    dv("commit", "-m", "all")
    chance = random.Random(seed)
    files = {f"data/{name}" for name in NAMES}
    there = set(files)
    for _step in range(25):
        wanted = chance.sample([*PLACES, *sorted(files)], chance.randrange(1, 4))
        below = {file for file in files if any(file == top or file.startswith(f"{top}/") for top in wanted)}
        getting = chance.random() < 0.6
        dv("get" if getting else "drop", *wanted)
        there = there | below if getting else there - below
        assert lying(dv) == there
        session = Repo.open(str(dv.root)).workspace.session
        left_out = session.left_out() or (lambda _path: False)
        assert {file for file in files if not left_out(file)} == there
        assert dv.status()["clean"]


def test_a_record_of_the_first_version_is_read(many):
    many("get", "data/big/007")
    place = Path(many.root / ".dv/worktree")
    session = Repo.open(str(many.root)).workspace.session
    siblings = tuple(f"data/big/{number:03}" for number in range(300) if number != 7)
    session.set_sparse(only=(), dropped=siblings)
    assert json.loads(place.read_bytes())["version"] == 1
    assert many.status()["clean"]
    many("get", "data/big/008")
    assert lying(many) == {"data/big/007", "data/big/008"}
    assert len(record(many)["dropped"]) == 298


def test_sparse_lists_what_is_left_out_however_that_came_about(data):
    data.write("more/x/1", "1\n")
    data.write("more/y/2", "2\n")
    data("add", "more")
    data("commit", "-m", "more")
    data("checkout", "--only", "data/sub", "more/x")
    assert data.status()["sparse"] == ["data/a.txt", "data/b.txt", "more/y"]
    assert "more/y" in data("status").text
    data("drop", "more/x")
    assert data.status()["sparse"] == ["data/a.txt", "data/b.txt", "more/x", "more/y"]
    data("checkout", "--only", ".")
    assert data.status()["sparse"] == []


def test_what_was_dropped_is_moved_in_the_stage_and_stays_dropped(data):
    data("drop", "data/a.txt")
    data("mv", "data/a.txt", "data/moved.txt")
    assert data.status()["sparse"] == ["data/moved.txt"]
    assert data.staged() == {"added": ["data/moved.txt"], "removed": ["data/a.txt"]}
    assert data.unstaged() == {}
    data("commit", "-m", "moved")
    data("get", "data/moved.txt")
    assert data.read("data/moved.txt") == "a\n"
    assert data.status()["clean"]


def test_what_moves_out_of_a_dropped_directory_stays_dropped(data):
    data.write("data/other/d.txt", "d\n")
    data.commit("second")
    data("drop", "data/sub")
    data("mv", "data/sub/c.txt", "data/other/c.txt")
    assert data.unstaged() == {}
    data("drop", "data/other")
    data("mv", "data/other/d.txt", "data/sub")
    assert data.unstaged() == {}
    assert "data/sub/d.txt" in data("diff", "--staged").text
    data("get", "data")
    assert data.read("data/sub/d.txt") == "d\n"
    assert data.read("data/other/c.txt") == "ccc\n"
    assert data.unstaged() == {}


def test_part_of_a_dropped_directory_moves_with_what_was_dropped_of_it(data):
    data.write("data/sub/d.txt", "d\n")
    data.commit("second")
    data("drop", "data")
    data("get", "data/sub/d.txt")
    (data.root / "else").mkdir()
    data("mv", "data/sub", "else/sub")
    assert data.read("else/sub/d.txt") == "d\n"
    assert data.unstaged() == {}


def test_what_was_dropped_is_not_moved_over(data):
    data("drop", "data/b.txt")
    data("mv", "data/a.txt", "data/b.txt", code=11)
    data("drop", "data/sub")
    assert "dv get" in data("mv", "data/a.txt", "data/sub", code=10).told
    assert data.status()["clean"]


def test_what_was_removed_by_hand_is_not_moved(data):
    (data.root / "data/a.txt").unlink()
    assert "dv restore data/a.txt" in data("mv", "data/a.txt", "data/x.txt", code=10).told


def test_a_move_into_itself_says_what_to_do(data):
    error = data("mv", "data", "data/sub/data", "--json", code=2).error
    assert error["why"]
    assert error["next"]


@pytest.mark.parametrize("dropped", [False, True])
def test_a_confinement_whose_last_step_is_refused_leaves_nothing_that_looks_removed(data, monkeypatch, dropped):
    data.write("data/sub/more", "one\n")
    data.write("data/x", "one\n")
    data.write("data/y", "one\n")
    data.commit("one")
    data("branch", "old")
    data.write("data/sub/more", "two\n")
    data.write("data/x", "two\n")
    data.commit("two")
    if dropped:
        data("drop", "data/y")

    def refuse(*_arguments):
        raise ConflictError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(checkout, "_move", refuse)
        with pytest.raises(ConflictError):
            Repo.open(str(data.root)).checkout("old", only=["data/sub"])
    found = data.status()
    assert found["branch"] == "main"
    assert found["unstaged"]["removed"] == []
    assert "data/x" in found["sparse"]
    data("checkout", "old", "--only", "data/sub")
    assert data.read("data/sub/more") == "one\n"
    assert data.status()["clean"]
    data("checkout", "main", "--only", ".")
    assert data.read("data/x") == "two\n"
    assert data.read("data/y") == "one\n"
