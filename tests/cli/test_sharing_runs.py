"""Runs travel: with the branch that they belong to, by name, and the newest object of each wins."""

import os
import time

import pytest

from dvtool import ids
from dvtool.formats import log
from dvtool.formats import run as formats
from dvtool.repo import Repo
from dvtool.sharing import meeting, reaching
from dvtool.storage.local import LocalBackend
from dvtool.testing.audit import audit
from dvtool.testing.counting import CountingReader
from tests.cli.collecting import NOTHING
from tests.cli.expiring import expire, held
from tests.cli.running import dirty_snapshot, name_of, of_refs, record, removed, runs, source, store_of
from tests.cli.sharing import change, clone, pushed, refs, sound, there


def at_remote(dv, name="origin"):
    """The runs at the remote, by number; everything that its refs lead to was read."""
    return of_refs(there(dv, name))


def named(dv, *words):
    """The refs that a push or fetch reports."""
    return [each["name"] for each in dv(*words, "--json").json["refs"]]


def head_of(dv):
    return dv.status()["snapshot"]


def collected(dv, *where):
    return dv("gc", "--grace", "0", "--retention", "0", "--json", *where).json


def test_runs_travel_with_the_branch_that_they_read(one, two):
    head = head_of(one)
    made = {1: record(one, 1, head), 2: record(one, 2)}
    one("checkout", "-b", "other")
    elsewhere = change(one, "other")
    made[3] = record(one, 3, elsewhere)
    one("checkout", "main")
    assert named(one, "push") == [f"run {name_of(1)}", f"run {name_of(2)}"]
    assert at_remote(one) == {1: made[1], 2: made[2]}
    assert named(one, "push", "origin", "other") == ["other"]
    assert named(two, "fetch") == ["origin/other", f"run {name_of(1)}", f"run {name_of(2)}"]
    assert runs(two) == {1: made[1], 2: made[2]}
    audit(store_of(two))
    sound(two)
    one("checkout", "other")
    assert named(one, "push") == [f"run {name_of(3)}"]
    assert f"run {name_of(3)}  new -> {made[3][:12]}" in two("fetch").text
    assert runs(two) == made


def test_a_run_of_a_dirty_worktree_travels_with_what_it_was_changed_from(one, two):
    base = head_of(one)
    dirty = dirty_snapshot(one, base)
    rootless = dirty_snapshot(one, text="before anything")
    pushed(one, "ahead")
    one("checkout", "-b", "other")
    other = dirty_snapshot(one, change(one, "other"), text="not recorded either")
    one("checkout", "main")
    made = {1: record(one, 1, source(dirty, dirty=True)), 2: record(one, 2, source(rootless, dirty=True))}
    record(one, 3, source(other, dirty=True))
    record(one, 4, source(dirty))  # which is on no branch, and was not made for the run
    one("push")
    assert at_remote(one) == made
    two("fetch")
    assert held(two, dirty)["data/a.txt"] == b"not recorded"
    assert runs(two) == made
    collected(two)
    collected(one, "--remote", "origin")
    assert at_remote(one) == made
    assert held(two, dirty)["data/a.txt"] == b"not recorded"


def test_the_runs_whose_outputs_were_used_come_along(one):
    elsewhere = dirty_snapshot(one)
    made = {1: record(one, 1, elsewhere), 2: record(one, 2, elsewhere, source(used=name_of(1)))}
    record(one, 3, elsewhere)
    made[4] = record(one, 4, head_of(one), source(used=name_of(2)))
    one("push")
    assert at_remote(one) == made


def test_a_run_is_pushed_and_removed_by_name(one, two):
    elsewhere = dirty_snapshot(one)
    made = {1: record(one, 1, elsewhere), 2: record(one, 2, elsewhere)}
    assert named(one, "push") == []
    assert named(one, "push", "origin", name_of(1)) == [f"run {name_of(1)}"]
    assert named(one, "push", "origin", f"runs/{name_of(2)}") == [f"run {name_of(2)}"]
    assert at_remote(one) == made
    two("fetch")
    assert f"run {name_of(1)}  {made[1][:12]} -> gone" in one("push", "origin", name_of(1), "--delete").text
    assert at_remote(one) == {2: made[2]}
    one("push", "origin", f"runs/{name_of(2)}", "--delete")
    assert at_remote(one) == {}
    assert collected(one, "--remote", "origin")["deleted"]["files"]
    there(one)
    two("fetch")
    assert runs(one) == runs(two) == made
    assert "no branch, tag or run" in one("push", "origin", name_of(3), code=10).told
    assert "no branch, tag or run" in one("push", "origin", name_of(1), "--delete", code=10).told


def test_the_greater_revision_wins_in_both_directions(one, two):
    record(one, 1, head_of(one))
    one("push")
    two("fetch")
    newer = record(two, 1, head_of(two), revision=1)
    assert named(two, "push") == [f"run {name_of(1)}"]
    record(one, 1, head_of(one), revision=0)
    found = one("push", "--json")
    assert found.json["refs"] == []
    assert f"note: run {name_of(1)} was written anew at origin, and not sent" in found.told
    assert at_remote(one) == {1: newer}
    assert named(one, "push", "origin", name_of(1)) == []
    assert named(one, "fetch") == [f"run {name_of(1)}"]
    assert runs(one) == {1: newer}
    newest = record(one, 1, head_of(one), revision=7)
    assert named(one, "fetch") == []
    assert runs(one) == {1: newest}
    one("push")
    two("fetch")
    assert runs(two) == {1: newest}
    for dv in (one, two):
        collected(dv)
        sound(dv)


def test_of_two_that_were_written_equally_often_ours_stays(one, two):
    record(one, 1, head_of(one), revision=1)
    one("push")
    ours = record(two, 1, head_of(two), revision=1)
    found = two("fetch", "--json")
    assert found.json["refs"] == []
    assert f"warning: run {name_of(1)} here and at 'origin' differ" in found.told
    assert runs(two) == {1: ours}
    assert "differ, written equally often; not sent" in two("push").told
    assert "differ" not in two("fetch").told  # nothing is new at the remote


def test_an_older_object_does_not_come_again_and_again(one, two):
    record(one, 1, head_of(one))
    one("push")
    record(two, 1, head_of(two), revision=1)
    two("fetch")
    packs = len(os.listdir(two.root / ".dv/store/packs"))
    pushed(one, "news")
    two("fetch")
    assert two("fetch", "--json").json["objects"] == 0
    assert len(os.listdir(two.root / ".dv/store/packs")) <= packs + 2


def test_many_runs_are_one_line_and_all_of_them_in_json(one, two):
    for number in range(5):
        record(one, number, head_of(one))
    change(one, "news")
    text = one("push").text
    assert "5 runs\n" in text
    assert "main  " in text
    assert name_of(0) not in text
    assert "5 runs\n" in two("fetch").text
    three = clone(one, "three", "--lazy")
    assert len(runs(three)) == 5
    removed(three, 0)
    record(two, 6, head_of(two))
    two("push", "origin", name_of(6))
    assert named(three, "fetch") == [f"run {name_of(0)}", f"run {name_of(6)}"]  # what was removed comes back as well


def test_clones_bring_runs_and_lazy_ones_leave_the_data_there(one):
    made = {1: record(one, 1, source(dirty_snapshot(one, head_of(one)), dirty=True), made={"model": "m" * 100_000})}
    one("push")
    whole = clone(one, "whole")
    assert runs(whole) == made
    content = audit(store_of(whole)).snapshots[bytes.fromhex(made[1])]
    assert content["outputs/model"] == b"m" * 100_000
    assert content["inputs/0/data/a.txt"] == b"not recorded"
    lazy = clone(one, "lazy", "--lazy")
    assert runs(lazy) == made
    store = store_of(lazy)
    assert not store.has(store.hasher.id(ids.CHUNK, b"m" * 100_000))
    assert not store.has(store.hasher.id(ids.CHUNK, b"not recorded"))
    sound(lazy)
    assert collected(lazy)["runs"] == 1
    again = record(lazy, 1, revision=1)
    lazy("push")
    assert at_remote(one) == {1: again}


def test_a_fetch_without_news_is_one_request_whatever_runs_there_are_here(one, two, monkeypatch):
    record(one, 1, head_of(one))
    one("push")
    two("fetch")
    record(two, 2, head_of(two))
    removed(two, 1)
    asked = []
    for word in ("read", "size", "exists", "listed", "view"):
        real = getattr(LocalBackend, word)

        def noted(self, *arguments, real=real, word=word, **options):
            if str(two.root) not in self.root:
                asked.append(word)
            return real(self, *arguments, **options)

        monkeypatch.setattr(LocalBackend, word, noted)
    assert named(two, "fetch") == []
    assert asked == ["listed"]
    assert runs(two).keys() == {2}


def many(dv, count):
    """Give one object so many names, as if all of them were runs: what a push compares is the refs."""
    store = store_of(dv)
    made = bytes.fromhex(record(dv, 0, head_of(dv)))
    moves = [log.MoveRef(name=formats.ref_name(name_of(1000 + number)), old=None, new=made) for number in range(count)]
    store.log.append("run", lambda _state: moves)
    return moves


def test_where_all_runs_are_equal_a_push_reads_none(one, monkeypatch):
    moves = many(one, 10_000)
    one("push")
    store = reaching.reach(Repo.open(str(one.root)).workspace, "origin").open()
    store.log.append("push", lambda _state: moves)
    one("push")
    repo = Repo.open(str(one.root))
    reader = CountingReader(repo.workspace.session.store.read_object)
    monkeypatch.setattr(repo.workspace.session.store, "read_object", reader)
    began = time.monotonic()
    assert repo.push().refs == ()
    assert time.monotonic() - began < 5  # a few dozen milliseconds, and whatever else the machine does
    assert reader.count(ids.RUN) == 0


def test_what_runs_at_the_target_lead_to_counts_as_known(one, two):
    dirty = dirty_snapshot(one, head_of(one))
    record(one, 1, source(dirty, dirty=True))
    one("push")
    two("fetch")
    one("branch", "again", dirty)
    store, remote = store_of(one), reaching.reach(Repo.open(str(one.root)).workspace, "origin").open()
    assert meeting.Meeting(store, remote, [bytes.fromhex(dirty)], here=store).fresh == {}
    assert one("push", "origin", "again", "--json").json["objects"] == 0
    assert named(two, "fetch") == ["origin/again"]


def test_a_branch_does_not_move_to_what_the_remote_lost_meanwhile(one, two):
    """What the target's refs led to when the push was planned may be led to no more when its entry is written."""
    dirty = dirty_snapshot(one, head_of(one))
    record(one, 1, source(dirty, dirty=True))
    one("push")
    store, remote = store_of(one), reaching.reach(Repo.open(str(one.root)).workspace, "origin").open()
    found = meeting.Meeting(store, remote, [bytes.fromhex(dirty)], here=store)
    assert found.holds(remote.refresh())
    one("push", "origin", name_of(1), "--delete")
    assert not found.holds(remote.refresh())


@pytest.mark.parametrize("where", ["here", "remote"])
def test_a_snapshot_that_was_expired_at_either_side_is_left_out(one, two, where):
    old = head_of(one)
    change(one, "x")
    change(one, "y")
    one("push")
    two("fetch")
    two("merge", "origin/main")
    three = clone(one, "three")
    if where == "here":
        expire(one, "--keep-last", "1")
        collected(one)
        made = {1: record(two, 1, old), 2: record(two, 2, head_of(two))}
        two("push")
        one("fetch")
        assert runs(one) == made
        assert collected(one)["runs"] == 2
        sound(one)
        record(one, 1, old, revision=1)
        one("push")
        one("remote", "add", "short", "../short", "--plain-keys")
        one("push", "short")
        audit(reaching.reach(Repo.open(str(one.root)).workspace, "short").open())
        assert one("fsck", "--remote", "short", "--json").json["clean"]
    else:
        expire(one, "--keep-last", "1")
        one("remote", "add", "short", "../short", "--plain-keys")
        one("push", "short")
        two("remote", "add", "short", "../short")
        made = {1: record(two, 1, old), 2: record(two, 2, source(dirty_snapshot(two, old), dirty=True))}
        two("push", "short")
        assert at_remote(two, "short") == made
        assert two("fsck", "--remote", "short", "--json").json["clean"]
        assert runs(clone(two, "four", url="../short")) == made
    three("fetch")
    sound(three)


def test_runs_that_name_what_was_erased_travel(one, two):
    """Another snapshot stands for the one that was read; whoever gets the run is told."""
    old = head_of(one)
    new = dirty_snapshot(one, text="without it")
    record(one, 1, old)
    move = log.MoveRef(name="heads/main", old=bytes.fromhex(old), new=bytes.fromhex(new))
    pairs = ((bytes.fromhex(old), bytes.fromhex(new)),)
    store_of(one).log.append("erase", lambda _state: [log.Supersede(pairs=pairs), move])
    one("remote", "add", "short", "../short", "--plain-keys")
    one("push", "short")
    assert at_remote(one, "short").keys() == {1}
    assert collected(one, "--remote", "short")["runs"] == 1
    three = clone(one, "three", url="../short")
    assert collected(three)["runs"] == 1
    sound(three)


def test_a_hostile_remote_brings_no_run_under_another_name(one, two):
    made = bytes.fromhex(record(one, 1, head_of(one)))
    one("push")
    store = reaching.reach(Repo.open(str(one.root)).workspace, "origin").open()
    head = bytes.fromhex(head_of(one))
    names = {"runs/x": made, f"runs/{name_of(2)}": made, f"runs/{name_of(3)}": head}
    store.log.append("push", lambda _state: [log.MoveRef(name=name, old=None, new=names[name]) for name in names])
    found = two("fetch")
    assert runs(two) == {1: made.hex()}
    assert found.told.count("is left out") == 3
    assert {name for name in refs(two) if name.startswith("runs/")} == {f"runs/{name_of(1)}"}
    two("fetch")
    sound(two)


def test_a_run_that_cannot_be_read_here_keeps_no_branch_from_being_pushed(one):
    record(one, 1, head_of(one))
    store = store_of(one)
    holder = store.holder(store.refresh().ref(formats.ref_name(name_of(1))))
    store.backend.delete(holder)
    made = change(one, "news")
    found = one("push", "--json")
    assert [each["after" if "after" in each else "to"] for each in found.json["refs"]] == [made]
    assert "was not sent" in found.told
    one("push", "origin", name_of(1), code=20)


def test_a_push_beside_a_collection_of_what_its_run_relies_on(one, two):
    """The outputs of a run that was removed at the remote are still there, condemned; they are sent anew."""
    made = record(one, 1, made={"model": os.urandom(200_000).hex()})
    one("push")
    one("push", "origin", name_of(1), "--delete")
    one("gc", "--remote", "origin", "--retention", "0")
    assert one("push", "--json").json["bytes"] > 200_000
    assert at_remote(one) == {1: made}
    assert collected(one, "--remote", "origin")["deleted"] != NOTHING
    assert at_remote(one) == {1: made}
    two("fetch")
    sound(two)
