"""``dv gc`` where data lies elsewhere: in clones without data, and at remotes."""

import pytest

from tests.cli.calling import Dv


@pytest.fixture
def shared(data):
    """A repository that was pushed to a directory, ``remote`` beside its files."""
    data("remote", "add", "origin", str(data.root.parent / "remote"), "--plain-keys")
    data("push")
    return data


@pytest.fixture
def lazy(shared, capsysbinary):
    """A clone of it without data."""
    shared("clone", "--lazy", str(shared.root.parent / "remote"), str(shared.root.parent / "lazy"))
    return Dv(shared.root.parent / "lazy", capsysbinary)


def files(place):
    return sorted(path.name for path in place.iterdir())


def test_a_clone_without_data_is_sound(lazy):
    found = lazy("fsck", "--json").json
    assert found["clean"]
    assert found["absent"] == 3
    assert "3 contents" in lazy("fsck").text
    lazy("get", "data/a.txt")
    assert lazy("fsck", "--json").json["absent"] == 2


def test_garbage_of_a_clone_without_data(lazy):
    lazy("get", "data/a.txt")
    for number in range(9):
        lazy.write(f"more/{number}.txt", f"more {number}\n")
        lazy("add", "more")
        lazy("commit", "-m", "more")
    lazy.write("mistake.txt", "mistake\n")
    lazy("add", "mistake.txt")
    lazy("rm", "--cached", "mistake.txt")
    before = files(lazy.root / ".dv/store/packs")
    found = lazy("gc", "--retention", "0", "--grace", "0", "--json").json
    assert found["rewritten"]["files"]
    assert found["deleted"]["files"]
    assert set(files(lazy.root / ".dv/store/packs")).isdisjoint(before)
    assert lazy("fsck", "--json").json["clean"]
    assert lazy("cat", "HEAD:data/a.txt").text == "a\n"
    lazy("get", "data")
    assert lazy.read("data/sub/c.txt") == "ccc\n"
    lazy("push")


def test_a_snapshot_of_a_clone_without_data_can_be_named_though_packs_were_collected(lazy):
    first = lazy("log", "--json").json[0]["snapshot"]
    lazy.write("mistake.txt", "mistake\n")
    lazy("add", "mistake.txt")
    lazy("rm", "--cached", "mistake.txt")
    lazy("gc", "--retention", "0", "--grace", "0")
    lazy.write("more.txt", "more\n")
    lazy("add", "more.txt")
    lazy("commit", "-m", "more")
    lazy("branch", "back", first)
    lazy("checkout", "--force", first)


def test_what_is_missing_beyond_the_data_is_no_promise(lazy):
    for path in (lazy.root / ".dv/store/packs").iterdir():
        path.unlink()
    assert not lazy("fsck", "--json", code=20).json["clean"]
    assert lazy("gc", "--json", code=20).error["kind"] == "integrity"


def test_garbage_of_a_remote(shared):
    place = shared.root.parent / "remote"
    shared("checkout", "-b", "side")
    shared.write("data/side.txt", "side\n")
    shared.commit("side")
    shared("push", "origin", "side")
    shared("push", "origin", "--delete", "side")
    kept = files(place / "packs")
    plan = shared("gc", "--remote", "origin", "--retention", "0", "--dry-run", "--json").json
    assert plan["remote"] == "origin"
    assert plan["condemned"]["files"]
    assert files(place / "packs") == kept
    assert shared("gc", "--remote", "origin", "--retention", "0", "--json").json["condemned"] == plan["condemned"]
    assert files(place / "packs") == kept
    done = shared("gc", "--remote", "origin", "--retention", "0", "--grace", "0", "--json").json
    assert done["deleted"]["files"]
    assert done["left"] == []
    assert len(files(place / "packs")) < len(kept)
    shared("push", "origin", "side")
    shared("clone", str(place), str(shared.root.parent / "again"))
    assert (shared.root.parent / "again/data/a.txt").read_text() == "a\n"


def test_what_branches_of_a_remote_had_is_kept_for_a_while(shared):
    shared("checkout", "-b", "side")
    shared.write("data/side.txt", "side\n")
    shared.commit("side")
    shared("push", "origin", "side")
    shared("push", "origin", "--delete", "side")
    assert "nothing to collect" in shared("gc", "--remote", "origin").text


def test_wrong_calls(data):
    assert data("gc", "--remote", "nowhere", "--json", code=10).error["kind"] == "not-found"
    data("remote", "add", "origin", str(data.root.parent / "remote"), "--plain-keys")
    assert data("gc", "--remote", "origin", "--json", code=10).error["what"] == "there is no store at this place"
