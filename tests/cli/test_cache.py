"""``dv cache prune``: what can be made anew goes, and what killed commands left; store, worktree and memory stay."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from dvtool import paths
from dvtool.storage import disk
from dvtool.worktree.locking import WorktreeLock

NOTHING = {"files": 0, "bytes": 0}
DEAD = "9" * 9
"""A process number that no system gives."""


def prune(dv, *options):
    return dv("cache", "prune", "--json", *options).json


def dead_name():
    return disk.temporary_name().replace(f"{os.getpid()}-", f"{DEAD}-", 1)


def everything(dv, *left_out):
    """Every file below the root with its content, but those whose paths begin with one of the names left out."""
    return {
        path: place.read_bytes()
        for place in dv.root.rglob("*")
        if place.is_file() and not (path := str(place.relative_to(dv.root))).startswith(left_out)
    }


@pytest.fixture
def used(data):
    """A repository with a cache, and unfinished files of a dead process in each place where there may be some."""
    data("fsck")
    for directory, prefix in (
        (".dv/tmp", ""),
        (".dv", paths.PARTIAL),
        (".dv/cache", paths.PARTIAL),
        ("", paths.PARTIAL),
    ):
        data.write(f"{directory}/{prefix}{dead_name()}".lstrip("/"), "half")
    data.write(f"data/sub/{paths.PARTIAL}{dead_name()}", "half")
    data.write(".dv/writing", "data/sub\0")
    data.write(f".dv/tmp/{dead_name()}/store/format", "half of a store")
    return data


def test_caches_and_leftovers_go_and_nothing_else(used):
    size = (used.root / ".dv/cache/fsck").stat().st_size
    before = everything(used, ".dv/lock")
    found = prune(used)
    assert found == {
        "dry_run": False,
        "caches": {"files": 1, "bytes": size},
        "leftovers": {"files": 6, "bytes": 5 * 4 + 15},
    }
    after = everything(used, ".dv/lock")
    assert after == {path: data for path, data in before.items() if path in after}
    gone = before.keys() - after.keys()
    assert {path for path in gone if DEAD not in path} == {".dv/cache/fsck", ".dv/writing"}
    assert ".dv/cache/head" in after
    assert ".dv/index" in after
    assert used.status()["clean"]
    assert prune(used) == {"dry_run": False, "caches": NOTHING, "leftovers": NOTHING}
    assert "nothing to remove" in used("cache", "prune").text


def test_a_dry_run_says_the_same_and_changes_nothing(used):
    before = everything(used)
    said = prune(used, "--dry-run")
    assert "would be removed: 1 cache of" in used("cache", "prune", "--dry-run").text
    assert everything(used) == before
    assert prune(used) == said | {"dry_run": False}


def test_what_is_told_names_amounts(used):
    told = used("cache", "prune").text
    assert "removed: 1 cache of" in told
    assert "removed: 6 unfinished files of 35 B" in told


def test_files_of_living_processes_stay(data):
    process = subprocess.Popen(["sleep", "60"])
    try:
        name = disk.temporary_name().replace(f"{os.getpid()}-", f"{process.pid}-", 1)
        places = [data.write(f".dv/tmp/{name}"), data.write(f".dv/cache/{paths.PARTIAL}{name}")]
        assert prune(data)["leftovers"] == NOTHING
        assert all(place.exists() for place in places)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert prune(data)["leftovers"]["files"] == 2
    assert not any(place.exists() for place in places)


def test_a_store_that_was_rolled_back_is_noticed_after_pruning_too(data):
    shutil.copytree(data.root / ".dv/store", data.root / "old")
    data.write("data/more", "more")
    data.commit("more")
    prune(data)
    shutil.rmtree(data.root / ".dv/store")
    (data.root / "old").rename(data.root / ".dv/store")
    data("status", code=20)
    assert prune(data)["caches"] == NOTHING  # it needs no store that opens
    data("status", code=20)


def test_nothing_is_removed_through_a_link(used, tmp_path):
    victim = tmp_path / "victim"
    (used.root / ".dv/cache").rename(victim)
    (used.root / ".dv/cache").symlink_to(victim)
    error = used("cache", "prune", "--json", code=20).error
    assert error["where"].endswith(".dv/cache")
    assert (victim / "fsck").exists()


def test_a_link_among_the_caches_stays(data, tmp_path):
    (tmp_path / "victim").write_text("another's")
    (data.root / ".dv/cache/link").symlink_to(tmp_path / "victim")
    (data.root / ".dv/cache/directory").mkdir()
    assert prune(data)["caches"] == NOTHING
    assert (tmp_path / "victim").read_text() == "another's"


def test_without_caches_there_is_nothing_to_remove(data):
    shutil.rmtree(data.root / ".dv/cache")
    assert prune(data)["caches"] == NOTHING


def test_caches_that_cannot_be_listed_are_30(data):
    shutil.rmtree(data.root / ".dv/cache")
    (data.root / ".dv/cache").write_text("no directory")
    assert data("cache", "prune", "--json", code=30).error["next"]


def test_outside_of_a_repository_it_is_10(empty):
    empty("cache", "prune", code=10)


def test_while_another_command_works_it_waits(used):
    before = everything(used)
    with WorktreeLock(str(used.root / ".dv/lock"), wait=0, tell=print):
        used.write(f".dv/tmp/{dead_name()}", "half")
        began = time.monotonic()
        used("--wait", "0.2", "cache", "prune", code=12)
        assert time.monotonic() - began >= 0.2
        assert prune(used, "--dry-run")["leftovers"]["files"] == 1
    assert (used.root / ".dv/cache/fsck").read_bytes() == before[".dv/cache/fsck"]
    assert prune(used)["leftovers"]["files"] == 1


def test_from_another_worktree_its_own_caches_go(data):
    data("worktree", "add", "../other")
    data("fsck", at="../other")
    own = prune(data)
    assert own["caches"] == NOTHING
    assert data("cache", "prune", "--json", at="../other").json["caches"]["files"] == 1


def test_what_was_read_of_a_remote_is_a_cache(data):
    kept = data.root / ".dv/cache/remotes/origin"
    kept.mkdir(parents=True)
    (kept / "packs-0").write_bytes(b"sealed")
    assert data("cache", "prune", "--json").json["caches"]["files"] >= 1
    assert not (kept / "packs-0").exists()
    data("status")
