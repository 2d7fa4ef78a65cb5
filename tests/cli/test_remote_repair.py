"""``dv fsck --repair`` between a clone and its remote: each is mended with what the other has."""

import os
import random
import shutil
from pathlib import Path

import pytest

from dvtool.formats import pack
from dvtool.history.links import Links
from dvtool.repo import Repo
from dvtool.testing import damage
from dvtool.worktree.session import Context
from tests.cli.calling import Dv
from tests.cli.sharing import DeadError, DyingDisk


@pytest.fixture
def place(tmp_path):
    return tmp_path / "remote"


@pytest.fixture
def once(dv, place):
    """A repository that was pushed to a directory, with packs that are large enough to move as they are."""
    dv.write("data/a.txt", "a\n")
    for number in range(200):
        dv.write(f"data/many/{number:03}.bin", random.Random(number).randbytes(500))
    dv("add", "data")
    dv("commit", "-m", "first")
    dv("remote", "add", "origin", str(place), "--plain-keys")
    dv("push")
    return dv


@pytest.fixture
def shared(once):
    """A repository that was pushed to a directory twice."""
    once.write("data/more.txt", "more\n")
    once.commit("more")
    once("push")
    return once


@pytest.fixture
def clone(shared, place, capsysbinary):
    shared("clone", str(place), str(place.parent / "clone"))
    return Dv(place.parent / "clone", capsysbinary)


def packs(place, content=None):
    found = [path for path in (place / "packs").iterdir() if content is None or path.read_bytes()[9] == content]
    return sorted(found, key=lambda path: path.stat().st_size)


def mend(dv, *options, code=0):
    return dv("fsck", "--remote", "origin", "--repair", "--json", *options, code=code).json


@pytest.mark.parametrize("harm", [damage.empty, os.unlink, lambda path: damage.flip(path, 80), damage.truncate])
def test_packs_of_a_remote_are_sent_again(once, place, harm):
    before = {path.name: path.read_bytes() for path in packs(place)}
    ours = before.keys() & {path.name for path in packs(once.root / ".dv/store")}
    assert len(ours) == 1  # that of the data: small ones were written together on the way
    for path in packs(place):
        harm(str(path)) if harm is not damage.truncate else harm(str(path), 100)
    harmed = {path.name: path.read_bytes() for path in packs(place)}
    found = mend(once)
    assert found["clean"]
    assert found["repair"]["restored"] == sorted(f"packs/{name}" for name in ours)
    assert found["repair"]["recovered"] >= 1  # what was lost of the snapshot and its directories
    assert {path.name: path.read_bytes() for path in packs(place) if path.name in ours} == {
        name: before[name] for name in ours
    }
    if harmed:
        assert {path.name: path.read_bytes() for path in packs(Path(found["repair"]["quarantine"]))} == harmed
    assert mend(once)["repair"]["restored"] == []


def test_killed_at_any_step_the_next_repair_finishes(shared, place, tmp_path):
    for path in [*packs(place), *(place / "index").iterdir()]:
        damage.flip(str(path), 80)
    for path in (place / "keys").iterdir():
        if path.name != "repo" and not path.name.startswith("log-"):
            path.unlink()
    kept = {root: tmp_path / "kept" / root.name for root in (shared.root, place)}
    for root, copy in kept.items():
        shutil.copytree(root, copy, symlinks=True)
    steps = 0
    while True:
        for root, copy in kept.items():
            shutil.rmtree(root)
            shutil.copytree(copy, root, symlinks=True)
        repo = Repo.open(str(shared.root), Context(disk=DyingDisk(steps, place), cwd=str(shared.root)))
        try:
            repo.repair_remote("origin")
        except DeadError:
            pass
        else:
            break
        assert mend(shared)["clean"], steps
        assert shared("fsck", "--remote", "origin", "--full", "--json").json["clean"], steps
        shared("clone", str(place), str(tmp_path / f"clone-{steps}"))
        steps += 1
    assert steps > 8


def test_sound_packs_are_left_alone(once, place):
    times = {path: path.stat().st_mtime_ns for path in packs(place)}
    broken = packs(place)[-1]
    damage.flip(str(broken), 80)
    mend(once)
    assert {path for path in packs(place) if path.stat().st_mtime_ns != times[path]} == {broken}


@pytest.mark.parametrize("directory", ["index", "keys"])
@pytest.mark.parametrize("harm", [damage.empty, os.unlink])
def test_index_and_key_files_of_a_remote_are_written_anew(once, place, directory, harm):
    for path in (place / directory).iterdir():
        if path.name != "repo" and not path.name.startswith("log-"):
            harm(str(path))
    found = mend(once)
    assert found["clean"]
    assert found["repair"]["rebuilt"]
    once("clone", str(place), str(place.parent / "again"))
    assert (place.parent / "again/data/a.txt").read_text() == "a\n"


@pytest.mark.parametrize("harm", [damage.empty, os.unlink])
def test_packs_whose_keys_are_lost_are_given_up_for_what_is_here(shared, place, harm):
    for path in (place / "keys").iterdir():
        if path.name != "repo" and not path.name.startswith("log-"):
            harm(str(path))
    found = mend(shared)
    assert found["clean"]
    assert found["repair"]["recovered"]
    shared("clone", str(place), str(place.parent / "again"))
    assert (place.parent / "again/data/more.txt").read_text() == "more\n"
    shared.write("data/more.txt", "still more\n")
    shared.commit("still more")
    shared("push")
    shared("gc", "--remote", "origin", "--retention", "0", "--grace", "0")
    assert shared("fsck", "--remote", "origin", "--json").json["unreferenced"] == 0


def test_the_format_of_a_remote_is_remembered(shared, place):
    whole = (place / "format").read_bytes()
    (place / "format").unlink()
    assert mend(shared)["repair"]["restored"] == ["format"]
    assert (place / "format").read_bytes() == whole


def test_the_format_of_another_store_is_put_right(shared, place):
    whole = (place / "format").read_bytes()
    (place / "format").write_bytes((shared.root / ".dv/store/format").read_bytes())
    found = shared("fsck", "--remote", "origin", "--json", code=20).json
    assert found["problems"][0]["what"] == "it describes another store"
    assert mend(shared)["clean"]
    assert (place / "format").read_bytes() == whole


def test_a_key_file_can_be_lost_while_nothing_is_remembered(shared, place):
    (lost, *_) = [path for path in (place / "keys").iterdir() if path.name != "repo" and path.name[:4] != "log-"]
    lost.unlink()
    shared("remote", "set-url", "origin", str(place))
    assert mend(shared)["clean"]


def test_lost_objects_of_a_remote_come_from_other_packs(shared, place, clone):
    clone("gc", "--retention", "0", "--grace", "0")
    for number in range(8):
        clone.write(f"data/{number}.txt", f"{number}\n")
        clone.commit(str(number))
    clone("gc", "--retention", "0", "--grace", "0")
    assert not {path.name for path in packs(place)} & {path.name for path in packs(clone.root / ".dv/store")}
    for path in packs(place):
        damage.flip(str(path), 80)
    found = mend(clone)
    assert found["clean"]
    assert found["repair"]["recovered"]
    assert len(found["repair"]["quarantined"])
    assert not found["repair"]["restored"]
    clone("push")
    shared("fetch")
    assert clone("fsck", "--remote", "origin", "--json").json["clean"]


def test_what_nobody_has_stays_as_it_is(shared, place, capsysbinary):
    shared("clone", "--lazy", str(place), str(place.parent / "lazy"))
    lazy = Dv(place.parent / "lazy", capsysbinary)
    (broken, other) = packs(place, pack.DATA)
    damage.flip(str(broken), 80)
    harmed = broken.read_bytes()
    found = mend(lazy, code=20)
    assert not found["clean"]
    assert broken.read_bytes() == harmed
    assert other.exists()
    assert "in a clone that has more" in lazy("fsck", "--remote", "origin", "--repair", code=20).text
    assert mend(shared)["clean"]


def test_strangers_beside_a_store_stay(shared, place):
    (place / "notes.txt").write_text("somebody's")
    (place / "packs/readme").write_text("nobody's")
    found = mend(shared, code=20)
    assert [problem["file"] for problem in found["problems"]] == ["notes.txt"]
    assert found["repair"]["quarantined"] == ["packs/readme"]


def test_a_store_is_mended_from_its_remote(shared, place):
    store = shared.root / ".dv/store"
    shutil.rmtree(shared.root / "data")
    for path in packs(store):
        damage.flip(str(path), 80)
    assert not shared("fsck", "--repair", "--json", code=20).json["clean"]
    found = shared("fsck", "--repair", "--from-remote", "origin", "--json").json
    assert found["clean"]
    shared("restore", ".")
    assert shared.read("data/more.txt") == "more\n"


def test_objects_come_from_other_packs_of_the_remote(shared, place):
    store = shared.root / ".dv/store"
    shared("gc", "--remote", "origin", "--retention", "0", "--grace", "0")
    for number in range(8):
        shared.write(f"data/{number}.txt", f"{number}\n")
        shared.commit(str(number))
        shared("push")
    shared("gc", "--remote", "origin", "--retention", "0", "--grace", "0")
    assert not {path.name for path in packs(place)} & {path.name for path in packs(store)}
    shutil.rmtree(shared.root / "data")
    (lost, *_) = packs(store, pack.DATA)
    lost.unlink()
    found = shared("fsck", "--repair", "--from-remote", "origin", "--json").json
    assert found["clean"]
    assert found["repair"]["recovered"]


def test_a_clone_without_data_gets_lost_data_back(shared, place, capsysbinary):
    shared("clone", "--lazy", str(place), str(place.parent / "lazy"))
    lazy = Dv(place.parent / "lazy", capsysbinary)
    lazy("get", "data")
    (lost, *_) = packs(lazy.root / ".dv/store", pack.DATA)
    lost.unlink()
    shutil.rmtree(lazy.root / "data")
    assert not lazy("fsck", "--json", code=20).json["clean"]
    assert lazy("fsck", "--repair", "--from-remote", "origin", "--json").json["clean"]


def test_a_clone_without_data_gets_its_history_back_and_no_data(shared, place, capsysbinary):
    shared("clone", "--lazy", str(place), str(place.parent / "lazy"))
    lazy = Dv(place.parent / "lazy", capsysbinary)
    absent = lazy("fsck", "--json").json["absent"]
    for path in packs(lazy.root / ".dv/store"):
        path.unlink()
    assert not lazy("fsck", "--json", code=20).json["clean"]
    found = lazy("fsck", "--repair", "--from-remote", "origin", "--json").json
    assert found["clean"]
    assert found["absent"] == absent


def test_wrong_calls(shared, place, tmp_path):
    shared("fsck", "--remote", "origin", "--repair", "--from", ".", code=2)
    shared("fsck", "--remote", "origin", "--repair", "--give-up-entries", code=2)
    shared("fsck", "--from-remote", "origin", code=2)
    shared("fsck", "--repair", "--from-remote", "nowhere", code=10)
    shared("remote", "add", "other", str(tmp_path / "other"), "--plain-keys")
    assert shared("fsck", "--repair", "--from-remote", "other", "--json", code=12).error["kind"] == "conflict"
    assert shared("fsck", "--remote", "other", "--repair", "--json", code=10).error["kind"] == "not-found"
    assert not (tmp_path / "other").exists()


def test_a_lost_history_comes_back_at_once(once, place, monkeypatch):
    for number in range(12):
        once.write("data/a.txt", f"{number}\n")
        once.commit(str(number))
    once("push")
    for path in [*(place / "packs").iterdir(), *(place / "index").iterdir()]:
        path.unlink()
    for path in (place / "keys").iterdir():
        if path.name != "repo" and not path.name.startswith("log-"):
            path.unlink()
    looks = []
    real = Links.follow

    def follow(self):
        looks.append(self)
        real(self)

    monkeypatch.setattr(Links, "follow", follow)
    assert mend(once)["clean"]
    assert len(looks) < 6
    once("clone", str(place), str(place.parent / "again"))
    assert len(once("log", "--json", at="../again").json) == 13
