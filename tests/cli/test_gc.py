"""``dv gc``: what nothing needs goes, when the grace is over; everything else stays."""

import os
import shutil
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dvtool import ids
from dvtool.errors import ConflictError, IntegrityError, NotFoundError
from dvtool.formats import log
from dvtool.history.keeping import Reliance
from dvtool.repo import Repo
from dvtool.storage.local import LocalBackend
from dvtool.store import checkpoints
from dvtool.store.state import State
from dvtool.store.store import Store
from dvtool.testing import damage
from dvtool.testing.audit import audit
from dvtool.testing.effects import SteppedClock
from dvtool.worktree import apply, staging
from dvtool.worktree.session import Context
from tests.cli.naming import NAMING

NOTHING = {"files": 0, "bytes": 0}
DAY = 86_400_000_000


class Later:
    """The machine's clock, some days on."""

    def __init__(self, days):
        self._clock = SteppedClock(start=1_800_000_000_000_000 + days * DAY)

    def now(self):
        return self._clock.now()


def store_files(dv, *directories):
    top = dv.root / ".dv/store"
    return sorted(
        f"{each}/{name}" for each in directories or ("packs", "index", "keys") for name in os.listdir(top / each)
    )


def content(dv):
    """Every snapshot in the store with its files, all of it read and verified; and no file in the way."""
    return audit(Repo.open(str(dv.root)).workspace.session.store).snapshots


def gc(dv, *options):
    return dv("gc", "--json", *options).json


def forget(dv, path, text):
    """Stage a file and take it back, so that only the operation log still knows of it."""
    dv.write(path, text)
    dv("add", "data")
    dv("rm", "--cached", path)
    (dv.root / path).unlink()


def at(dv, days, *, disk=None, tell=lambda _text: None, **options):
    """Collect under a clock that is some days on, as is that of the disk unless ``disk`` says otherwise."""
    context = Context(clock=Later(days), cwd=str(dv.root), tell=tell)
    ahead = Later(days if disk is None else disk).now() - time.time_ns() // 1000
    real = LocalBackend.modified
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalBackend, "modified", lambda self, name: real(self, name) + ahead)
        return Repo.open(str(dv.root), context).gc(**options)


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


def doomed_snapshot(data):
    """Make a snapshot that nothing leads to, condemn it, and return its id."""
    data("checkout", "-b", "side")
    data.write("data/side", "side" * 1000)
    lost = data.commit("side")
    data("checkout", "main")
    data("branch", "-d", "--force", "side")
    assert gc(data, "--retention", "0")["condemned"]["files"]
    return lost


@pytest.mark.parametrize("call", NAMING, ids=" ".join)
def test_no_ref_moves_to_what_is_being_collected(data, call):
    lost = doomed_snapshot(data)
    number = len(store_files(data, "log"))
    error = data(*call, lost, "--json", code=10).error
    assert "collected as garbage" in error["why"]
    assert len(store_files(data, "log")) == number
    assert data.status()["clean"]
    assert data("cat", f"{lost}:data/side").text == "side" * 1000  # it can still be taken out
    gc(data, "--retention", "0", "--grace", "0")
    data(*call, lost, code=10)
    data("fsck")


def test_what_refs_lead_to_is_not_held_up_by_what_is_condemned(data):
    first = data.status()["snapshot"]
    data.write("data/more", "more")
    data.commit("more")
    doomed_snapshot(data)
    data("tag", "first", first)
    data("checkout", first)
    data("checkout", "main")


def test_content_that_is_being_collected_is_stored_anew(data):
    doomed_snapshot(data)
    data.write("data/again", "side" * 1000)
    kept = data.commit("again")
    gc(data, "--retention", "0", "--grace", "0")
    assert data("cat", f"{kept}:data/again").text == "side" * 1000
    data("fsck")


def test_an_add_beside_a_collection_that_writes_packs_anew_goes_through(data):
    # The pack that holds what the other command found stored is condemned, and another holds the same.
    for number in range(10):
        data.write(f"data/{number}", f"{number}" * 100)
        data.commit(str(number))
    repo = Repo.open(str(data.root))
    store = repo.workspace.session.store
    collect = Repo.open(str(data.root))
    with store.transaction() as transaction:
        transaction.put_chunk(b"3" * 100)
        assert transaction.relied
        assert collect.gc().rewritten.files
        move = log.MoveRef(name="stage/" + "0" * 32, old=None, new=bytes(32))
        transaction.commit("add", lambda _state: [move])


def test_what_a_condemned_pack_alone_holds_is_saved_before_it_goes(data):
    # A writer that had not seen that its pack was condemned cannot append; one that could would lose nothing either.
    data.write("data/x", "needed" * 100)
    kept = data.commit("x")
    store = Repo.open(str(data.root)).workspace.session.store
    names = tuple(name for name in store_files(data, "packs"))
    store.log.append("test", lambda _state: [log.Condemn(names=names)])
    before = content(data)
    found = gc(data, "--grace", "0")
    assert found["deleted"]["files"] == len(names)
    assert not set(names) & set(store_files(data, "packs"))
    assert content(data) == before
    assert data("cat", f"{kept}:data/x").text == "needed" * 100
    data("fsck")


def test_while_an_erasure_is_under_way_nothing_is_collected(data):
    forget(data, "data/x", "x" * 1000)
    store = Repo.open(str(data.root)).workspace.session.store
    erasing = log.Erasure(erasure=b"e" * 16, phase=log.ERASING, planned=b"p" * 16)
    store.log.append("erase", lambda _state: [erasing])
    before = store_files(data)
    data("gc", "--retention", "0", "--grace", "0", code=12)
    assert set(before) <= set(store_files(data))


def tag(store, numbers, old, new):
    for number in numbers:
        move = log.MoveRef(name=f"tags/t{number:04}", old=old, new=new)
        store.log.append("tag", lambda _state, move=move: [move])


def test_a_reader_that_remembers_a_collected_checkpoint_starts_again(data):
    # Another worktree was not used for long: what the tables of the checkpoint it remembers need is gone.
    data("worktree", "add", "../other", "-b", "other")
    store = Repo.open(str(data.root)).workspace.session.store
    head = bytes.fromhex(data.status()["snapshot"])
    tag(store, range(300), None, head)
    assert checkpoints.write(store)
    data("status", at="../other")
    tag(store, range(20), head, None)
    tag(store, range(1000, 1020), None, head)
    assert checkpoints.write(store)
    gc(data, "--grace", "0", "--retention", "0")
    assert Repo.open(str(data.root / "../other")).workspace.session.store.log.fold().number
    assert data("status", "--json", at="../other").json["branch"] == "other"
    assert len(data("tag", "--json", at="../other").json) == 300


def test_a_process_that_is_at_a_collected_checkpoint_folds_anew(data):
    # It lives on, and what the tables of the checkpoint that it folded from need is gone before it asks for them.
    store = Repo.open(str(data.root)).workspace.session.store
    names = tuple(f"packs/{number:064x}" for number in range(300))
    store.log.append("test", lambda _state: [log.Condemn(names=names)])
    store.log.append("test", lambda _state: [log.Drop(names=names)])
    assert checkpoints.write(store)
    living = Repo.open(str(data.root))
    living.workspace.session.store.refresh()
    data.write("data/more", "more")
    data.commit("more")
    store.log.append("test", lambda _state: [log.Condemn(names=("packs/" + "ff" * 32,))])
    store.log.append("test", lambda _state: [log.Drop(names=("packs/" + "ff" * 32,))])
    assert checkpoints.write(store)
    gc(data, "--grace", "0", "--retention", "0")
    data.write("data/again", "again")
    living.add(["data"])
    assert living.commit("again").snapshot == data.status()["snapshot"]
    data("fsck")


def test_a_living_process_does_not_fold_a_log_that_was_replaced(data):
    living = Repo.open(str(data.root)).workspace.session.store
    living.refresh()
    shutil.copytree(data.root / ".dv/store/log", data.root / "log")
    data("tag", "one")
    living.refresh()
    shutil.rmtree(data.root / ".dv/store/log")
    os.rename(data.root / "log", data.root / ".dv/store/log")
    (data.root / ".dv/cache/head").unlink()
    for number in range(3):
        data("tag", f"other{number}")
    for _again in range(2):
        with pytest.raises(IntegrityError, match="hang together"):
            living.refresh()


def test_an_add_of_many_days_is_not_taken_for_left_behind(data):
    store = Repo.open(str(data.root)).workspace.session.store
    with store.transaction() as transaction:
        chunk = transaction.put_chunk(b"slow" * 1000)
        transaction.adopt(transaction.finish_packs())  # as workers hand theirs over
        for path in (data.root / ".dv/tmp").iterdir():
            os.utime(path, (1_000_000_000, 1_000_000_000))
        value = store.hasher.id(ids.STAGE, b"")
        name = "stage/" + "0" * 32
        done: list[dict[str, object]] = []

        def build(state):
            if not done:
                done.append(gc(data, "--retention", "0"))
            return [log.MoveRef(name=name, old=None, new=value)]

        transaction.commit("add", build)
    assert done[0]["condemned"] == NOTHING
    assert Repo.open(str(data.root)).workspace.session.store.read_object(ids.CHUNK, chunk) == b"slow" * 1000


def lose_head(data):
    """Let another process move HEAD's branch away from its snapshot, which is then condemned."""
    store = Repo.open(str(data.root)).workspace.session.store
    head, before = (bytes.fromhex(each.snapshot) for each in Repo.open(str(data.root)).log()[:2])
    store.log.append("test", lambda _state: [log.MoveRef(name="heads/main", old=head, new=before)])
    assert gc(data, "--retention", "0")["condemned"]["files"]
    return head


@pytest.mark.parametrize("command", ["checkout -b", "add", "rm", "mv"])
def test_what_was_built_on_a_head_that_was_lost_meanwhile_is_refused(data, monkeypatch, command):
    data.write("data/more", "more" * 1000)
    data.write("data/other", "other" * 1000)
    data.commit("more")
    data.write("data/new", "new")
    lost: list[bytes] = []
    module, name = (apply, "execute") if command == "checkout -b" else (staging, "stage_moves")
    real = getattr(module, name)

    def late(*arguments, **options):
        if not lost:
            lost.append(lose_head(data))
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, late)
    repo = Repo.open(str(data.root))
    calls = {
        "checkout -b": lambda: repo.checkout(new_branch="again"),
        "add": lambda: repo.add(["data"]),
        "rm": lambda: repo.remove(["data/more"], cached=True),
        "mv": lambda: repo.move("data/more", "data/moved"),
    }
    with pytest.raises((NotFoundError, ConflictError), match=r"is not kept any more|condemned as garbage"):
        calls[command]()
    assert lost
    gc(data, "--retention", "0", "--grace", "0")
    data("fsck")


def test_a_head_that_moved_and_is_kept_is_built_on(data, monkeypatch):
    # The check is for what is being collected, and in nobody's way otherwise.
    data.write("data/more", "more" * 1000)
    data.commit("more")
    data("tag", "kept")
    store = Repo.open(str(data.root)).workspace.session.store
    store.log.append("test", lambda _state: [log.Condemn(names=("packs/" + "ff" * 32,))])
    real = apply.execute

    def late(*arguments, **options):
        head, before = (bytes.fromhex(each.snapshot) for each in Repo.open(str(data.root)).log()[:2])
        store.log.append("test", lambda _state: [log.MoveRef(name="heads/main", old=head, new=before)])
        return real(*arguments, **options)

    monkeypatch.setattr(apply, "execute", late)
    assert Repo.open(str(data.root)).checkout(new_branch="again").branch == "again"


def test_a_long_history_is_read_once_however_many_entries_are_held_against_it(data, monkeypatch):
    for number in range(20):
        data.commit(str(number), "--allow-empty")
    first = bytes.fromhex(Repo.open(str(data.root)).log()[-1].snapshot)
    forget(data, "data/x", "x" * 1000)
    assert gc(data, "--retention", "0")["condemned"]["files"]
    reads = []
    real = Store.read_object

    def read_object(self, kind, identity):
        reads.append(kind)
        return real(self, kind, identity)

    store = Repo.open(str(data.root)).workspace.session.store
    monkeypatch.setattr(Store, "read_object", read_object)
    reliance = Reliance(store, Context().progress)
    for _number in range(10):
        reliance.name([first])
        reliance.check(store.refresh())
    assert len([kind for kind in reads if kind == ids.SNAPSHOT]) == 21


def test_what_was_added_although_it_was_condemned_is_read_named_and_saved(data, monkeypatch):
    store = Repo.open(str(data.root)).workspace.session.store
    with store.transaction() as transaction:
        chunk = transaction.put_chunk(b"late" * 1000)
        [added] = transaction.write_only()
        assert isinstance(added, log.AddPacks)
        names = (added.keys, added.index, *(f"packs/{name.hex()}" for name in added.packs))
        store.log.append("gc", lambda _state: [log.Condemn(names=names)])
        monkeypatch.setattr(State, "check", lambda _self, _actions: None)
        entry = store.log.append("add", lambda _state: [added])
    monkeypatch.undo()
    data.write("data/late", "late" * 1000)
    kept = data.commit("late")
    assert Repo.open(str(data.root)).workspace.session.store.read_object(ids.CHUNK, chunk) == b"late" * 1000
    report = data("fsck", "--json", code=20).json
    assert [problem["file"] for problem in report["problems"]] == [log.file_name(entry.number)]
    assert "condemned" in report["problems"][0]["why"]
    assert report["paths"] == []
    gc(data, "--retention", "0", "--grace", "0")
    assert data("cat", f"{kept}:data/late").text == "late" * 1000
    assert names[-1] not in store_files(data)


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
