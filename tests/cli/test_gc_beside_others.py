"""``dv gc`` beside commands that read, add and name what is being collected."""

import os
import shutil

import pytest

from dvtool import ids
from dvtool.errors import ConflictError, IntegrityError, NotFoundError
from dvtool.formats import log
from dvtool.history.keeping import Reliance
from dvtool.repo import Repo
from dvtool.store import checkpoints
from dvtool.store.state import State
from dvtool.store.store import Store
from dvtool.worktree import apply, staging
from dvtool.worktree.session import Context
from tests.cli.collecting import NOTHING, content, doomed_snapshot, forget, gc, store_files
from tests.cli.naming import NAMING


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
        assert transaction.relied.frames
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


def test_a_reader_finds_chunks_that_a_collection_without_grace_has_moved(data):
    for number in range(10):
        data.write(f"data/{number}", f"{number}" * 100)
        data.commit(str(number))
    store = Repo.open(str(data.root)).workspace.session.store
    frames = store.frames()
    chunks = [store.hasher.id(ids.CHUNK, f"{number}".encode() * 100) for number in range(10)]
    assert frames.chunk(chunks[0]) == b"0" * 100
    old = store_files(data, "packs")
    assert gc(data, "--grace", "0")["rewritten"]["files"]
    assert not set(old) & set(store_files(data, "packs"))
    assert [frames.chunk(chunk) for chunk in chunks] == [f"{number}".encode() * 100 for number in range(10)]
