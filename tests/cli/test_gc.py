"""``dv gc``: what nothing needs goes, when the grace is over; everything else stays."""

import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dvtool import ids
from dvtool.errors import ConflictError, NotFoundError
from dvtool.formats import log
from dvtool.repo import Repo
from dvtool.store import checkpoints
from dvtool.testing import damage
from dvtool.worktree.session import Context
from tests.cli.collecting import DAY, NOTHING, Later, at, content, doomed_snapshot, forget, gc, store_files


def test_nothing_to_collect(data):
    before = store_files(data)
    found = gc(data)
    assert (found["snapshots"], found["condemned"], found["deleted"], found["rewritten"]) == (1, *[NOTHING] * 3)
    assert found["kept"]["files"] == len(store_files(data, "packs"))
    assert "nothing to collect" in data("gc").text
    assert store_files(data) == before


def test_what_was_staged_and_given_up_stays_for_undo_and_goes_after_the_retention(data):
    before = content(data)
    forget(data, "data/big", os.urandom(300_000).hex())
    assert gc(data)["condemned"] == NOTHING
    size = sum(path.stat().st_size for path in (data.root / ".dv/store/packs").iterdir())
    found = gc(data, "--retention", "0")
    assert found["condemned"]["bytes"] > 300_000
    assert store_files(data, "packs")
    assert sum(path.stat().st_size for path in (data.root / ".dv/store/packs").iterdir()) == size
    found = gc(data, "--retention", "0", "--grace", "0")
    assert found["deleted"]["bytes"] > 300_000
    assert sum(path.stat().st_size for path in (data.root / ".dv/store/packs").iterdir()) < size - 300_000
    assert content(data) == before
    data("fsck")
    data("undo", code=10)


def test_a_thousand_commits_end_in_few_packs(data):
    repo = Repo.open(str(data.root))
    for number in range(60):
        (data.root / "data" / f"n{number}").write_text(str(number))
        repo.add(["data"])
        repo.commit(str(number))
    before = content(data)
    assert len(store_files(data, "packs")) > 100
    found = gc(data)
    assert found["rewritten"]["files"] > 100
    assert found["condemned"] == found["rewritten"]
    assert content(data) == before
    again = gc(data)
    assert (again["rewritten"], again["condemned"]) == (NOTHING, NOTHING)
    assert again["waiting"] == {key: found["waiting"][key] + found["condemned"][key] for key in NOTHING}
    assert again["due"] is not None
    gc(data, "--grace", "0")
    assert len(store_files(data, "packs")) <= 4
    assert len(store_files(data)) <= 12
    assert content(data) == before
    data("fsck")
    assert data.status()["clean"]


def test_a_pack_of_which_much_is_garbage_is_written_anew(data):
    data.write("data/kept", os.urandom(1_000_000))
    data.write("data/gone", os.urandom(3_000_000))
    data("add", "data")
    data("rm", "--cached", "data/gone")
    (data.root / "data/gone").unlink()
    kept = data.commit("kept", "--allow-empty")
    assert gc(data)["rewritten"] == NOTHING
    before = content(data)
    found = gc(data, "--retention", "0", "--grace", "0")
    assert found["rewritten"]["files"] == 1
    assert sum(path.stat().st_size for path in (data.root / ".dv/store/packs").iterdir()) < 1_100_000
    assert content(data) == before
    assert len(data("cat", f"{kept}:data/kept").out) == 1_000_000
    data("fsck")


def test_a_dry_run_changes_nothing_and_says_what_the_run_does(data):
    for number in range(10):
        forget(data, "data/x", f"x{number}" * 1000)
        data.write("data/kept", f"kept {number}")
        data.commit(str(number))
    (data.root / ".dv/store/packs" / ("ab" * 32)).write_bytes(b"left behind")
    for options in (("--retention", "0"), (), ("--retention", "0", "--grace", "0"), ("--grace", "0")):
        before, entries = store_files(data), store_files(data, "log")
        said = gc(data, "--dry-run", *options)
        assert (store_files(data), store_files(data, "log")) == (before, entries)
        done = gc(data, *options)
        assert said == done | {"dry_run": True}
    assert gc(data, "--grace", "0")["deleted"] == NOTHING
    data("fsck")


def test_the_grace_is_waited_for(data):
    forget(data, "data/x", "x" * 1000)
    first = at(data, 100, retention=0)
    assert first.condemned.files
    assert at(data, 110, retention=0).deleted.files == 0
    assert at(data, 113, retention=0).waiting == first.condemned
    files = store_files(data, "packs")
    last = at(data, 115, retention=0)
    assert last.deleted == first.condemned
    assert len(store_files(data, "packs")) == len(files) - first.condemned.files


def test_without_a_grace_nothing_waits_for_a_clock_that_is_behind(data):
    forget(data, "data/x", "x" * 1000)
    left = data.root / ".dv/store/packs" / ("12" * 32)
    left.write_bytes(b"left behind")
    dry = at(data, -400, grace=0, retention=0, dry_run=True)
    files = store_files(data, "packs")
    found = at(data, -400, grace=0, retention=0)
    assert found.deleted == dry.deleted
    assert found.deleted.files == len(files) - len(store_files(data, "packs")) >= 2
    assert not left.exists()
    assert at(data, -400, grace=0, retention=0).deleted.files == 0
    data("fsck")


def test_an_entry_under_a_time_to_come_shortens_no_grace(data):
    forget(data, "data/x", "x" * 1000)
    first = at(data, 100, retention=0)
    assert first.condemned.files
    told: list[str] = []
    ahead = Repo.open(str(data.root), Context(clock=Later(500), cwd=str(data.root), tell=told.append))
    ahead.create_tag("from-the-future")
    assert at(data, 105, retention=0, tell=told.append).deleted.files == 0
    [warning] = told
    assert "395 days ahead" in warning
    assert at(data, 115, retention=0).deleted == first.condemned
    # What is condemned under that time waits for it, unless nothing is to wait.
    forget(data, "data/y", "y" * 1000)
    late = at(data, 116, retention=0)
    assert late.condemned.files
    waiting = at(data, 400, retention=0)
    assert waiting.deleted.files == 0
    assert waiting.waiting.files == late.waiting.files + late.condemned.files
    assert at(data, 401, grace=0, retention=0, tell=told.append).deleted == waiting.waiting
    assert len(told) == 1


def test_a_clock_that_is_ahead_of_the_disks_is_refused(data):
    forget(data, "data/x", "x" * 1000)
    at(data, 100, retention=0)
    before = store_files(data), store_files(data, "log", "acks")
    with pytest.raises(ConflictError, match="401 days ahead"):
        at(data, 501, disk=100, retention=0)
    assert (store_files(data), store_files(data, "log", "acks")) == before
    # One that is behind only waits longer; and with nothing to wait for, no clock is asked.
    assert at(data, -300, disk=100, retention=0).deleted.files == 0
    assert at(data, 501, disk=100, retention=0, grace=0).deleted.files


def test_a_grace_that_ends_after_the_last_year_is_waited_for(data):
    forget(data, "data/x", "x" * 1000)
    last = (253_402_300_800_000_000 - 1_800_000_000_000_000) // DAY - 1
    assert at(data, last, retention=0).condemned.files
    assert at(data, last, retention=0).due == "9999-12-31T23:59:59.999999Z"


def test_what_was_left_behind_by_a_killed_command_goes(data):
    left = [
        data.root / ".dv/store" / name for name in ("packs/" + "12" * 32, "index/" + "34" * 16, "keys/" + "56" * 16)
    ]
    for place in left:
        place.write_bytes(b"left behind")
    other = data.root / ".dv/store/packs/notes.txt"
    other.write_bytes(b"not ours")
    assert gc(data)["condemned"] == NOTHING  # perhaps its command is at work still
    for place in left:
        os.utime(place, (1_000_000_000, 1_000_000_000))
    assert gc(data)["condemned"]["files"] == 3
    assert all(place.exists() for place in left)
    assert gc(data, "--grace", "0")["deleted"]["files"] == 3
    assert not any(place.exists() for place in left)
    assert other.exists()
    assert gc(data, "--grace", "0")["deleted"] == NOTHING


def test_keys_of_the_log_and_the_repository_stay(data):
    keys = {name for name in os.listdir(data.root / ".dv/store/keys") if name == "repo" or name.startswith("log-")}
    assert len(keys) == 2
    gc(data, "--grace", "0", "--retention", "0")
    assert keys <= set(os.listdir(data.root / ".dv/store/keys"))


def test_a_damaged_store_is_20_and_stays_as_it_is(data):
    forget(data, "data/x", "x" * 1000)
    store = Repo.open(str(data.root)).workspace.session.store
    snapshot = Repo.open(str(data.root)).log()[0].snapshot
    segment, location = store.locate(ids.SNAPSHOT, bytes.fromhex(snapshot))
    damage.flip(str(data.root / ".dv/store" / segment.pack(location.pack).file), location.offset + 8)
    before = store_files(data)
    error = data("gc", "--retention", "0", "--grace", "0", "--json", code=20).error
    assert error["next"]
    assert store_files(data) == before


def test_a_missing_chunk_keeps_everything(data):
    store = Repo.open(str(data.root)).workspace.session.store
    before = store_files(data)
    victim = next(name for name in before if name.startswith("index/"))
    os.rename(data.root / ".dv/store" / victim, data.root / "away")
    data("gc", "--grace", "0", code=20)
    os.rename(data.root / "away", data.root / ".dv/store" / victim)
    assert store_files(data) == before
    assert store.refresh().number


@pytest.mark.parametrize("value", ["-1", "14", "d", "", "1y", "99999999999w", "1 d", "\uff11d"])
def test_what_is_no_duration_is_2(data, value):
    told = data("gc", "--grace", value, code=2).told
    assert "duration" in told or "hundred years" in told


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(["commit", "forget", "gc", "now"]), st.integers(0, 3)), max_size=8))
def test_a_collection_never_changes_what_comes_out(empty, steps):
    shutil.rmtree(empty.root)
    empty.root.mkdir()
    empty("init")
    empty.write("data/a", "a")
    empty("add", "data")
    empty("commit", "-m", "first")
    for number, (step, name) in enumerate(steps):
        if step == "commit":
            empty.write(f"data/{name}", f"{number}")
            empty.commit(str(number), "--allow-empty")
        elif step == "forget":
            forget(empty, "data/forgotten", f"{number}" * 50)
        else:
            before = content(empty)
            refs = Repo.open(str(empty.root)).workspace.session.state.refs.items()
            said = gc(empty, "--dry-run", "--retention", "0", *(["--grace", "0"] if step == "now" else []))
            done = gc(empty, "--retention", "0", *(["--grace", "0"] if step == "now" else []))
            assert done | {"dry_run": True} == said
            assert content(empty) == before
            assert Repo.open(str(empty.root)).workspace.session.state.refs.items() == refs


def test_a_sound_copy_is_kept_where_a_newer_one_is_missing(data):
    for number in range(10):
        data.write(f"data/{number}", f"{number}" * 100)
        data.commit(str(number))
    old = set(store_files(data, "packs"))
    assert gc(data)["rewritten"]["files"]
    before = content(data)
    for name in set(store_files(data, "packs")) - old:
        os.unlink(data.root / ".dv/store" / name)
    data("fsck", code=20)
    data("gc", "--grace", "0")
    assert content(data) == before
    data("fsck")


def test_a_missing_pack_that_is_needed_keeps_everything(data):
    name = max(store_files(data, "packs"), key=lambda each: (data.root / ".dv/store" / each).stat().st_size)
    os.unlink(data.root / ".dv/store" / name)
    before = store_files(data)
    data("gc", "--grace", "0", "--retention", "0", code=20)
    assert store_files(data) == before


def test_a_missing_log_entry_does_not_end_the_retention(data):
    forget(data, "data/x", "x" * 1000)
    store = Repo.open(str(data.root)).workspace.session.store
    checkpoints.write(store)
    data("status")
    number = store.refresh().number
    os.unlink(data.root / ".dv/store" / log.file_name(number - 1))
    before = store_files(data)
    data("gc", "--grace", "0", code=20)
    assert store_files(data) == before


@pytest.mark.parametrize("which", ["packs", "index", "keys"])
def test_nothing_is_deleted_through_a_link(data, tmp_path, which):
    victim = tmp_path / "victim"
    victim.mkdir()
    name = "ab" * (32 if which == "packs" else 16)
    (victim / name).write_bytes(b"another's")
    os.utime(victim / name, (1_000_000_000, 1_000_000_000))
    place = data.root / ".dv/store" / which
    for each in place.iterdir():
        shutil.copy2(each, victim)
    shutil.rmtree(place)
    place.symlink_to(victim)
    before = sorted(os.listdir(victim))
    data("gc", "--grace", "0", code=20)
    assert set(before) <= set(os.listdir(victim))


def test_a_directory_among_the_packs_is_named_and_keeps_nothing_else_from_going(data):
    odd = data.root / ".dv/store/packs" / ("ab" * 32)
    odd.mkdir()
    os.utime(odd, (1_000_000_000, 1_000_000_000))
    forget(data, "data/x", "x" * 100_000)
    size = sum(path.stat().st_size for path in odd.parent.iterdir() if path.is_file())
    data("gc", "--grace", "0", "--retention", "0", code=30)
    data("gc", "--grace", "0", "--retention", "0", code=30)
    assert odd.is_dir()
    assert len(store_files(data, "packs")) < 5
    assert sum(path.stat().st_size for path in odd.parent.iterdir() if path.is_file()) < size


def test_a_snapshot_that_was_looked_at_is_in_nobodys_way(data):
    lost = doomed_snapshot(data)
    repo = Repo.open(str(data.root))
    assert repo.diff("HEAD", lost).added
    with pytest.raises(NotFoundError):
        repo.create_tag("again", lost)
    data.write("data/more", "more")
    repo.add(["data"])
    repo.commit("more")
    repo.create_tag("v1")
    assert repo.gc(grace=0, retention=0).deleted.files


def test_after_packs_were_written_anew_nothing_is_stored_twice(data):
    for number in range(10):
        data.write(f"data/{number}", f"{number}" * 100)
        data.commit(str(number))
    assert gc(data)["rewritten"]["files"]
    store = Repo.open(str(data.root)).workspace.session.store
    checkpoints.write(store)  # both copies are listed by one index file from here on
    with store.transaction() as transaction:
        for number in range(10):
            transaction.put_chunk(f"{number}".encode() * 100)
        assert transaction.write_only() == []
