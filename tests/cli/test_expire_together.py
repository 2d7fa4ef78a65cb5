"""``dv expire`` of long histories, in several entries, and beside others who write."""

import os
from typing import Any

import pytest

from dvtool import ids
from dvtool.errors import ErasedError
from dvtool.formats import log
from dvtool.formats import snapshot as snapshots
from dvtool.operations import expire as operation
from dvtool.repo import Repo
from dvtool.store import checkpoints
from dvtool.testing.audit import audit
from tests.cli.expiring import DAY, START, collect, commits, expire, held, shown, store_of


def chain(dv, count, day=0):
    """Record a chain of so many snapshots at once, a minute apart, as branch 'long'; return their ids, oldest first."""
    store = store_of(dv)
    head = bytes.fromhex(dv.status()["snapshot"])
    model = snapshots.decode(store.read_object(ids.SNAPSHOT, head))
    made: list[bytes] = []
    with store.transaction() as transaction:
        for number in range(count):
            value = snapshots.Snapshot(
                root=model.root,
                roots=model.roots,
                parents=tuple(made[-1:]),
                author="Test",
                time=START + day * DAY + number * 60_000_000,
                message=f"{number}",
                files=model.files,
                size=model.size,
                nonce=store.entropy.bytes(snapshots.NONCE_SIZE),
            )
            made.append(transaction.put_object(ids.SNAPSHOT, snapshots.encode(value)))
        move = log.MoveRef(name="heads/long", old=None, new=made[-1])
        transaction.commit("import", lambda _state: [move])
    return [identity.hex() for identity in made]


def expiries(dv):
    """How many snapshots each entry of the log expired, newest first."""
    found = []
    for entry in store_of(dv).log.entries():
        pairs = [pair for action in entry.actions if isinstance(action, log.Supersede) for pair in action.pairs]
        found += [len(pairs)] if pairs else []
    return found


def test_many_go_in_several_entries_and_into_a_table_of_nodes(data, monkeypatch):
    made = chain(data, 700)
    monkeypatch.setattr(operation, "BATCH", 300)
    assert expire(data, "--keep-last", "5")["expired"] == 695
    assert expiries(data) == [95, 300, 300]
    assert checkpoints.write(store_of(data))
    state = store_of(data).refresh()
    assert state.superseded.table.count == 695
    assert state.superseded.table.root
    assert shown(data, "long") == made[:694:-1]
    collect(data)
    data("show", made[0], code=41)
    data("show", made[0][:12], code=41)
    assert data("show", "long~4", "--json").json["expired"] == [made[694]]
    assert expire(data, "--keep-last", "1")["expired"] == 4
    assert checkpoints.write(store_of(data))
    collect(data)
    data("show", made[0], code=41)


def test_stopped_between_entries_what_has_not_gone_is_led_to_as_before(data, monkeypatch):
    made = chain(data, 10)
    monkeypatch.setattr(operation, "BATCH", 3)
    repo = Repo.open(str(data.root))
    append, calls = repo.workspace.session.store.log.append, []

    def stops(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return append(*arguments, **options)

    monkeypatch.setattr(repo.workspace.session.store.log, "append", stops)
    with pytest.raises(KeyboardInterrupt):
        repo.expire(keep_last=1)
    assert expiries(data) == [3, 3]
    assert shown(data, "long") == made[:5:-1]
    collect(data)
    assert expire(data, "--keep-last", "1")["snapshots"] == sorted(made[6:9])
    collect(data)
    assert shown(data, "long") == [made[9]]


def losing_the_race(repo, act):
    """Let ``act`` come between the look at the store and the entry of the next thing that ``repo`` does."""
    backend = repo.workspace.session.store.backend
    create = backend.create
    done: list[Any] = []

    def late(name, blob):
        if name.startswith("log/") and not done:
            done.append(act())
        return create(name, blob)

    backend.create = late
    return done


def test_a_tag_that_comes_in_between_keeps_its_snapshot(data):
    made = [*shown(data), *commits(data, 3)]
    repo, other = Repo.open(str(data.root)), Repo.open(str(data.root))
    done = losing_the_race(repo, lambda: other.create_tag("late", made[1]))
    assert repo.expire(keep_last=1).snapshots == tuple(sorted([made[0], made[2]]))
    assert done
    collect(data)
    assert held(data, made[1])


def test_a_commit_that_comes_in_between_takes_nothing_more_along(data):
    made = [*shown(data), *commits(data, 2)]
    repo, other = Repo.open(str(data.root)), Repo.open(str(data.root))
    losing_the_race(repo, lambda: other.commit("late", allow_empty=True))
    assert repo.expire(keep_last=1).snapshots == tuple(sorted(made[:2]))
    assert len(shown(data)) == 2


@pytest.mark.parametrize(
    "name_it",
    [
        lambda repo, lost: repo.create_tag("late", lost),
        lambda repo, lost: repo.create_branch("late", lost),
        lambda repo, lost: repo.checkout(lost),
        lambda repo, lost: repo.merge(lost, prefer="ours"),
    ],
    ids=["tag", "branch", "checkout", "merge"],
)
def test_who_comes_too_late_to_name_a_snapshot_is_refused(data, name_it):
    data("checkout", "-b", "side")
    lost = commits(data, 2)[0]
    data("checkout", "main")
    repo, other = Repo.open(str(data.root)), Repo.open(str(data.root))
    done = losing_the_race(repo, lambda: other.expire(keep_last=1))
    with pytest.raises(ErasedError):
        name_it(repo, lost)
    assert lost in done[0].snapshots
    audit(store_of(data))
    data.write("data/new", "new")
    data.commit("goes on")


def test_an_undo_that_comes_too_late_is_refused(data):
    commits(data, 2)
    repo, other = Repo.open(str(data.root)), Repo.open(str(data.root))
    losing_the_race(repo, lambda: other.expire(keep_last=1))
    with pytest.raises(ErasedError, match="cannot be taken back"):
        repo.undo()


def test_what_a_ref_names_is_expired_by_no_entry(data):
    store = store_of(data)
    head = bytes.fromhex(data.status()["snapshot"])
    pair = (head, log.to_expired(START))
    with pytest.raises(Exception, match="names a snapshot that was to be expired"):
        store.log.append("expire", lambda _state: [log.Supersede(pairs=(pair,))])


def test_a_missing_snapshot_keeps_everything(data):
    made = commits(data, 3)
    store = store_of(data)
    segment, location = store.locate(ids.SNAPSHOT, bytes.fromhex(made[0]))
    os.unlink(data.root / ".dv/store" / segment.pack(location.pack).file)
    assert data("expire", "--keep-last", "1", "--yes", "--json", code=20).error["where"]
    assert expiries(data) == []


def test_what_only_undo_led_to_and_is_gone_already_is_in_nobodys_way(data):
    made = commits(data, 3)
    data("undo")
    data("gc", "--retention", "0", "--grace", "0")
    assert expire(data, "--keep-last", "1")["expired"] == 2
    collect(data)
    assert shown(data) == [made[1]]


def test_while_an_erasure_is_under_way_nothing_is_expired(data):
    commits(data, 2)
    erasing = log.Erasure(erasure=b"e" * 16, phase=log.ERASING, planned=b"p" * 16)
    store_of(data).log.append("erase", lambda _state: [erasing])
    data("expire", "--keep-last", "1", "--yes", code=12)
    assert len(shown(data)) == 3


def test_without_a_snapshot_there_is_nothing_to_expire(dv):
    found = expire(dv, "--keep-last", "1")
    assert (found["expired"], found["kept"], found["refs"]) == (0, 0, [])


def test_the_operation_log_has_it(data):
    commits(data, 2)
    expire(data, "--keep-last", "1")
    assert data("oplog", "--json").json[0]["operation"] == "expire"
