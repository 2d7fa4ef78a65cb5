"""What a run names is kept, checked and mended like what a tag names, and goes when the run goes."""

import os

import pytest

from dvtool import ids
from dvtool.formats import log
from dvtool.formats import run as formats
from dvtool.history import recorded
from dvtool.testing import damage
from dvtool.testing.audit import audit
from tests.cli.collecting import NOTHING
from tests.cli.expiring import collect, commits, dated, expire, held
from tests.cli.running import dirty_snapshot, name_of, record, removed, runs, source, store_of

LONG = "output\n" * 1_000


def content(dv):
    """What all refs lead to, by object; everything was read and verified."""
    return audit(store_of(dv)).snapshots


def test_a_collection_keeps_what_a_run_needs_and_nothing_more(data):
    head = data.status()["snapshot"]
    dirty = dirty_snapshot(data, head)
    made = record(data, 1, head, source(dirty, dirty=True), made={"model": os.urandom(300_000).hex()})
    before = content(data)
    assert bytes.fromhex(dirty) in before
    assert "outputs/model" in before[bytes.fromhex(made)]
    assert before[bytes.fromhex(made)]["inputs/1/data/a.txt"] == b"not recorded"
    record(data, 2, made={"model": os.urandom(300_000).hex()}, move=False)
    found = data("gc", "--grace", "0", "--retention", "0", "--json").json
    assert (found["snapshots"], found["runs"]) == (2, 1)
    assert found["deleted"]["bytes"] > 300_000
    assert content(data) == before
    assert "2 snapshots, 1 run and" in data("gc").text


def test_when_its_ref_is_gone_a_collection_frees_what_only_a_run_needed(data):
    before = content(data)
    head = data.status()["snapshot"]
    dirty = dirty_snapshot(data, head)
    record(data, 1, source(dirty, dirty=True), made={"model": os.urandom(300_000).hex()})
    removed(data, 1)
    assert data("gc", "--grace", "0", "--json").json["deleted"] == NOTHING  # 'dv undo' would want it
    found = data("gc", "--grace", "0", "--retention", "0", "--json").json
    assert found["deleted"]["bytes"] > 300_000
    assert content(data) == before


def test_an_older_object_of_a_run_is_garbage(data):
    record(data, 1, made={"model": os.urandom(300_000).hex()})
    made = record(data, 1, revision=1)
    assert data("gc", "--grace", "0", "--retention", "0", "--json").json["deleted"]["bytes"] > 300_000
    assert runs(data) == {1: made}
    assert bytes.fromhex(made) in content(data)


def test_undo_passes_over_runs_and_takes_back_their_removal(data):
    first = data.status()["snapshot"]
    data.write("data/a.txt", "changed")
    data.commit()
    made = record(data, 1, first)
    assert data("undo", "--json").json["undone"]["operation"] == "commit"
    assert data.status()["snapshot"] == first
    assert runs(data) == {1: made}
    removed(data, 1)
    assert runs(data) == {}
    assert data("undo", "--json").json["undone"]["operation"] == "run"
    assert runs(data) == {1: made}
    data("undo", "--redo")
    assert runs(data) == {}


def test_the_removal_of_a_run_is_not_taken_back_when_it_is_lost(data):
    record(data, 1, made={"model": os.urandom(300_000).hex()})
    removed(data, 1)
    data("gc", "--grace", "0", "--retention", "0")
    assert "no longer in the store" in data("undo", code=10).told


@pytest.mark.parametrize("rule", ["last", "date"])
def test_an_expiry_keeps_what_runs_name_like_what_tags_name(data, rule):
    made = dated(data, 0, 1, 2, 3)
    record(data, 1, made[1])
    rule = ["--keep-last", "1"] if rule == "last" else ["--before", "2100-01-01"]
    found = expire(data, *rule, "--plan")
    keeps = {each["ref"]: (each["snapshot"], each["kept"]) for each in found["refs"]}
    assert keeps[f"runs/{name_of(1)}"] == (made[1], 1)
    assert "what 1 run read keeps 1" in data("expire", *rule, "--plan").text
    expire(data, *rule)
    collect(data)
    assert held(data, made[1])["data/a.txt"] == b"1 on 1"
    data("show", made[0], code=41)
    data("show", made[2], code=41)


def test_what_a_removed_run_named_can_be_expired(data):
    head = data.status()["snapshot"]
    dirty = dirty_snapshot(data, head)
    record(data, 1, source(dirty, dirty=True))
    assert dirty not in expire(data, "--before", "2100-01-01", "--plan")["snapshots"]
    removed(data, 1)
    commits(data, 2)
    found = expire(data, "--before", "2100-01-01")
    assert dirty in found["snapshots"]
    assert found["unreferenced"] == 1
    collect(data)
    data("undo", code=41)  # the commits come first
    data("fsck")


def test_a_run_whose_snapshot_is_expired_keeps_what_it_read(data):
    first, second = commits(data, 2)
    made = record(data, 1, first)
    store_of(data).log.append(
        "expire", lambda _state: [log.Supersede(pairs=((bytes.fromhex(first), log.to_expired(1_700_000_000_000_000)),))]
    )
    collect(data)
    found = content(data)
    assert bytes.fromhex(first) not in found
    assert found[bytes.fromhex(made)]["inputs/0/data/a.txt"]
    expire(data, "--keep-last", "1")
    assert data.status()["snapshot"] == second


def lost_chunk(dv, content):
    """Damage a content where it lies in its pack."""
    store = store_of(dv)
    identity = store.hasher.id(ids.CHUNK, content)
    place = store.segments.find(identity)
    damage.flip(str(dv.root / ".dv/store" / store.holder(identity)), place[1].offset + 3)


def test_damage_in_what_a_run_read_and_made_is_found_and_named(data):
    head = data.status()["snapshot"]
    record(data, 1, head, made={"model": LONG})
    record(data, 2, made={"model": LONG})
    found = data("fsck", "--json").json
    assert (found["clean"], found["checked"]["runs"], found["checked"]["snapshots"]) == (True, 2, 1)
    assert "and 2 runs" in data("fsck").text
    lost_chunk(data, b"a\n")
    found = data("fsck", "--json", code=20).json
    paths = {each["path"]: (each["snapshots"], each["runs"]) for each in found["paths"]}
    assert paths["data/a.txt"] == ([head], [])
    assert paths["inputs/0/data/a.txt"] == ([], [name_of(1)])
    assert f"(in run {name_of(1)})" in data("fsck", code=20).text
    data("gc", "--grace", "0", code=0)


def test_damage_in_outputs_is_mended_from_plain_files(data):
    record(data, 1, made={"models/a.bin": LONG})
    lost_chunk(data, LONG.encode())
    paths = {each["path"]: each["runs"] for each in data("fsck", "--json", code=20).json["paths"]}
    assert paths == {"outputs/models/a.bin": [name_of(1)]}
    data.write("models/a.bin", LONG)
    assert data("fsck", "--repair", "--json").json["repair"]["recovered"]
    assert content(data)


def test_a_run_that_is_lost_is_named_as_a_run(data):
    made = record(data, 1)
    store = store_of(data)
    holder = store.holder(bytes.fromhex(made))
    damage.delete(str(data.root / ".dv/store" / holder))
    found = data("fsck", "--json", code=20).json
    assert ("run", made) in {(each["kind"], each["id"]) for each in found["objects"]}


def test_a_ref_with_the_name_of_another_run_is_named(data):
    made = bytes.fromhex(record(data, 1))
    move = log.MoveRef(name=formats.ref_name(name_of(2)), old=None, new=made)
    store_of(data).log.append("run", lambda _state: [move])
    found = data("fsck", "--json", code=20).json
    assert [(each["kind"], each["why"]) for each in found["objects"]] == [
        ("run", "a ref names another run than its name says")
    ]


def test_what_only_a_run_names_can_be_stood_on(data):
    """A branch is made of a snapshot that is in no pack but of one that a run keeps."""
    head = data.status()["snapshot"]
    dirty = dirty_snapshot(data, head)
    record(data, 1, source(dirty, dirty=True))
    record(data, 2, made={"model": LONG}, move=False)
    assert data("gc", "--retention", "0", "--json").json["condemned"]["files"]
    data("branch", "again", dirty)
    assert held(data, dirty)["data/a.txt"] == b"not recorded"


def test_runs_whose_entries_are_given_up_have_their_names_back(data):
    """A run says itself what it is called, so the store finds its name again when the log has lost it."""
    head = data.status()["snapshot"]
    record(data, 1, head)
    record(data, 1, head, revision=1)
    dirty = dirty_snapshot(data, head)
    made = {1: record(data, 1, head, revision=2), 2: record(data, 2, source(dirty, dirty=True))}
    number = store_of(data).refresh().number
    for lost in range(number - 5, number + 1):
        damage.zero(str(data.root / ".dv/store/log" / f"{lost:016x}"))
    found = data("fsck", "--repair", "--give-up-entries", "--json").json
    assert found["repair"]["runs"] == [name_of(1), name_of(2)]
    assert dirty not in found["repair"]["unnamed"]
    assert runs(data) == made
    assert held(data, dirty)["data/a.txt"] == b"not recorded"


def test_places_in_a_worktree():
    assert recorded.places("inputs/0/data/a.txt") == ["inputs/0/data/a.txt", "data/a.txt"]
    assert recorded.places("outputs/model") == ["outputs/model", "model"]
    assert recorded.places("data/a.txt") == ["data/a.txt"]
    assert recorded.places("inputs") == ["inputs"]
