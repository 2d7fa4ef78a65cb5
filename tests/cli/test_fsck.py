"""``dv fsck`` on the command line."""

import os
import shutil
from pathlib import Path

import pytest

from dvtool.formats import pack
from dvtool.testing import damage


def packs(dv):
    place = dv.root / ".dv/store/packs"
    return sorted(place.iterdir(), key=lambda path: path.stat().st_size)


def test_a_sound_store(data):
    assert data("fsck").text.splitlines()[-1] == "no damage found"
    assert "followed 1 snapshot" in data("fsck", "--full").text
    assert data("fsck", "--quick").text.splitlines()[-1] == "no damage found"


def test_damage_is_20_and_the_report_is_on_stdout(data):
    damage.flip(str(packs(data)[0]), -20)
    done = data("fsck", "--json", code=20)
    assert not done.json["clean"]
    assert done.err == b""
    text = data("fsck", code=20).text
    assert packs(data)[0].name in text
    assert "nothing was changed" in text


def test_files_that_are_hit_are_named_and_others_still_come_out(data):
    for path in packs(data):
        whole = path.read_bytes()
        os.unlink(path)
        hit = {each["path"] for each in data("fsck", "--json", code=20).json["paths"]}
        path.write_bytes(whole)
        if hit >= {"data/a.txt", "data/b.txt"}:
            return
    raise AssertionError("no pack held the files")


def test_it_runs_where_nothing_else_does(data):
    damage.empty(str(data.root / ".dv/store/log/0000000000000001"))
    assert "log/0000000000000001" in data("fsck", code=20).text
    data("status", code=20)


def test_without_a_key(data):
    os.unlink(data.root / ".dv/store/keys/repo")
    assert data("fsck", "--json", code=40).error["kind"] == "keys"
    data("fsck", "--quick")


def test_a_budget(data):
    found = data("fsck", "--max-bytes", "1", "--json").json
    assert found["left"] == found["checked"]["packs"] * (len(packs(data)) - 1)
    assert "left for another time" in data("fsck", "--max-bytes", "1").text


@pytest.mark.parametrize("size", ["0", "1000000", "10MB", "10 MB", "1.5GiB", "2G", "8388607TiB"])
def test_a_budget_may_have_a_unit(data, size):
    data("fsck", "--max-bytes", size)


@pytest.mark.parametrize("size", ["", "B", "-1", "1e9", "10 parsecs", "ten", "9999999TiB", "1.B", "\u0661MB"])
def test_a_budget_that_is_no_size_is_a_wrong_call(data, size):
    assert "--max-bytes" in data("fsck", "--max-bytes", size, "--json", code=2).error["what"]


def test_wrong_calls(data, empty, tmp_path):
    data("fsck", "--quick", "--full", code=2)
    data("fsck", "--max-bytes", "-1", code=2)
    data("-C", str(tmp_path), "fsck", code=10)
    data("fsck", "--repair", "--quick", code=2)
    data("fsck", "--repair", "--max-bytes", "1", code=2)
    data("fsck", "--from", ".", code=2)
    assert data("fsck", "--repair", "--from", "nowhere", code=10).told
    data("-C", str(tmp_path), "fsck", "--repair", code=10)


def test_repair_from_the_worktree(data):
    (holds_files,) = (path for path in packs(data) if path.read_bytes()[9] == pack.DATA)
    damage.flip(str(holds_files), 80)
    broken = holds_files.read_bytes()
    done = data("fsck", "--repair", "--json")
    assert done.json["clean"]
    assert done.json["repair"]["recovered"] == 1
    kept = done.json["repair"]["quarantined"]
    assert kept == [f"packs/{holds_files.name}"]
    assert (Path(done.json["repair"]["quarantine"]) / kept[0]).read_bytes() == broken
    for path in (data.root / ".dv/store/index").iterdir():
        os.unlink(path)
    assert "written anew from the packs" in data("fsck", "--repair").text


def test_repair_from_a_backup(data):
    shutil.copytree(data.root / ".dv/store", data.root / "backup")
    for path in packs(data):
        os.unlink(path)
    assert "nothing was changed" in data("fsck", code=20).text
    assert "still missing" in data("fsck", "--repair", code=20).text
    done = data("fsck", "--repair", "--from", "backup")
    assert "taken from another copy" in done.text
    assert done.text.splitlines()[-1] == "no damage found"
    assert data("fsck", "--json").json["repair"] is None
    assert "nothing that could be mended" in data("fsck", "--repair").text


def test_a_lost_entry_of_the_log_is_given_up_when_that_is_said(data):
    data.write("data/a.txt", "changed")
    snapshot = data.commit("two")
    last = max((data.root / ".dv/store/log").iterdir())
    damage.truncate(str(last), 100)
    assert data("status", "--json", code=20).error["kind"] == "integrity"
    assert "--give-up-entries" in data("fsck", "--repair", code=20).text
    data("fsck", "--give-up-entries", code=2)
    text = data("fsck", "--repair", "--give-up-entries").text
    assert f"log/{last.name}: given up" in text
    assert f"dv branch NAME {snapshot[:12]}" in text
    data("branch", "back", snapshot[:12])
    assert data("log", "back", "--json").json[0]["snapshot"] == snapshot
    assert data("status", "--json").json["branch"] == "main"
