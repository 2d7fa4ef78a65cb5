"""``dv fsck --remote``: what lies elsewhere is checked as closely as what lies here."""

import os
import shutil

import pytest

from dvtool.formats import pack
from dvtool.testing import damage


@pytest.fixture
def shared(data):
    """A repository that was pushed to a directory, ``remote`` beside its files."""
    data("remote", "add", "origin", str(data.root.parent / "remote"), "--plain-keys")
    data("push")
    return data


@pytest.fixture
def place(shared):
    return shared.root.parent / "remote"


def packs(place, content=None):
    found = [path for path in (place / "packs").iterdir() if content is None or path.read_bytes()[9] == content]
    return sorted(found, key=lambda path: path.stat().st_size)


def report(dv, *options, code=0):
    return dv("fsck", "--remote", "origin", "--json", *options, code=code).json


def test_a_sound_remote(shared, place):
    (place / "tmp").mkdir(exist_ok=True)
    (place / "tmp/unfinished").write_bytes(b"x")
    found = report(shared)
    assert found["clean"]
    assert found["mode"] == "full"
    assert found["checked"]["snapshots"] == 1
    assert found["checked"]["frames"]
    assert report(shared, "--quick")["checked"]["packs"] == len(packs(place))
    assert shared("fsck", "--remote", "origin").text.splitlines()[-1] == "no damage found"


def test_a_damaged_pack_is_named_with_the_paths_that_it_hits(shared, place):
    (holds_files,) = packs(place, pack.DATA)
    damage.flip(str(holds_files), 80)
    found = report(shared, code=20)
    assert [problem["file"] for problem in found["problems"]] == [f"packs/{holds_files.name}"]
    assert len(found["problems"][0]["ids"]) == 1
    assert len(found["paths"]) == 1
    assert report(shared, "--quick", code=20)["problems"][0]["file"] == f"packs/{holds_files.name}"
    assert "dv fsck --remote origin --repair" in shared("fsck", "--remote", "origin", code=20).text
    assert shared("fsck", "--json").json["clean"]


@pytest.mark.parametrize("directory", ["packs", "index", "keys", "log"])
@pytest.mark.parametrize("harm", [damage.empty, os.unlink, lambda path: damage.flip(path, -20)])
def test_every_file_counts(shared, place, directory, harm):
    for path in sorted((place / directory).iterdir()):
        whole = path.read_bytes()
        harm(str(path))
        found = report(shared, code=20)
        assert f"{directory}/{path.name}" in {problem["file"] for problem in found["problems"]}
        path.write_bytes(whole)
    assert report(shared)["clean"]


def test_a_pack_under_a_wrong_name(shared, place):
    first, second = packs(place)[:2]
    shutil.copy(first, second)
    assert report(shared, "--quick", code=20)["problems"][0]["file"] == f"packs/{second.name}"


def test_strangers_are_named(shared, place):
    (place / "notes.txt").write_text("what is this")
    (place / "packs/readme").write_text("what is this")
    found = report(shared, code=20)
    assert [problem["file"] for problem in found["problems"]] == ["notes.txt", "packs/readme"]


def test_copies_that_are_kept_here_do_not_hide_what_is_there(shared, place):
    for path in packs(place):
        os.unlink(path)
    assert len(report(shared, code=20)["problems"]) >= 2


def test_a_budget_comes_round_to_all(shared, place):
    seen = []
    for path in packs(place):
        damage.flip(str(path), -20)
    for _ in packs(place):
        found = report(shared, "--max-bytes", "1", "--quick", code=20)
        assert found["left"] == len(packs(place)) - 1
        seen += [problem["file"] for problem in found["problems"]]
    assert sorted(seen) == sorted(f"packs/{path.name}" for path in packs(place))


def test_quick_needs_no_key_of_the_remote(shared, place):
    shared("remote", "set-url", "origin", str(place))  # which forgets what was seen there
    (place / "keys/repo").unlink()
    assert report(shared, "--quick", code=20)["problems"][0]["file"] == "keys/repo"
    assert shared("fsck", "--remote", "origin", "--json", code=40).error["kind"] == "keys"


def test_no_store_and_no_remote(data, tmp_path):
    assert data("fsck", "--remote", "origin", "--json", code=10).error["kind"] == "not-found"
    data("remote", "add", "origin", str(tmp_path / "nothing"), "--plain-keys")
    assert data("fsck", "--remote", "origin", "--json", code=10).error["what"] == "there is no store at this place"


def test_another_repository(shared, place):
    format_file = place / "format"
    other = shared.root.parent / "other"
    other.mkdir()
    shared("init", at="../other")
    format_file.write_bytes((other / ".dv/store/format").read_bytes())
    shared("remote", "set-url", "origin", str(place))
    assert shared("fsck", "--remote", "origin", "--json", code=12).error["kind"] == "conflict"


def test_a_remote_that_was_rolled_back(shared, place):
    copy = place.parent / "before"
    shutil.copytree(place, copy)
    shared.write("data/a.txt", "changed")
    shared.commit("two")
    shared("push")
    shutil.rmtree(place)
    shutil.copytree(copy, place)
    found = report(shared, code=20)
    assert "rolled back" in found["problems"][0]["what"]
