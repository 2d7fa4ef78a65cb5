"""``dv expire``: old snapshots go from the history, everything that is kept stays as it is, and gc frees the rest."""

import datetime as dt
import io
import os
import re

import pytest

from dvtool.errors import ErasedError, UsageError
from dvtool.formats import log
from dvtool.repo import Repo
from dvtool.testing.audit import audit
from tests.cli.expiring import START, collect, commits, dated, expire, held, on, shown, store_of, stored
from tests.cli.naming import NAMING


def test_the_newest_of_a_branch_stay_and_the_rest_is_gone(data):
    first = shown(data)
    made = [*first, *commits(data, 5)]
    before = {identity: held(data, identity) for identity in made}
    size = stored(data)[1]
    found = expire(data, "--keep-last", "2")
    assert found["expired"] == 4
    assert found["snapshots"] == sorted(made[:4])
    assert (found["kept"], found["unreferenced"], found["plan"], found["keep_last"], found["before"]) == (
        2,
        0,
        False,
        2,
        None,
    )
    assert found["oldest"] < found["newest"]
    assert shown(data) == made[:3:-1]
    assert [item["expired"] for item in data("log", "--json").json] == [[], [made[3]]]
    assert data("log", "--json").json[1]["parents"] == [made[3]]
    assert f"expired  {made[3][:12]}: what came before was dropped" in data("log").text
    assert "expired" not in data("log", "-n", "1").text
    collect(data)
    assert stored(data)[1] < size / 2
    for identity in made[4:]:
        assert held(data, identity) == before[identity]
        data("checkout", identity)
        assert (data.root / "data/a.txt").read_bytes() == before[identity]["data/a.txt"]
    assert set(audit(store_of(data)).snapshots) == {bytes.fromhex(identity) for identity in made[4:]}


def test_an_expired_snapshot_is_told_from_one_that_never_was(data):
    made = [*shown(data), *commits(data, 3)]
    moment = dt.datetime.now(dt.UTC)
    expire(data, "--keep-last", "1")
    for round_number in range(2):
        for name in (made[0], made[0][:10], made[0][:11], "HEAD~1", "HEAD~3", f"{made[0]}~1", f"{made[1]}:data/a.txt"):
            error = data("show", name, "--json", code=41).error
            assert (error["kind"], error["next"]) == ("erased", "run 'dv log' to see what is kept")
            told = dt.datetime.fromisoformat(re.findall(r"\S+Z$", error["why"])[0])
            assert abs(told - moment) < dt.timedelta(minutes=5)
        for call in (("diff", made[0], "HEAD"), ("log", made[0]), ("ls", made[0]), ("du", made[0])):
            assert "was expired" in data(*call, "--json", code=41).error["what"]
        assert "was expired" in data("cat", f"{made[0]}:data/a.txt", code=41).told
        data("show", "f" * 64, code=10)
        if not round_number:
            collect(data)
    assert "was expired" in data("archive", made[2], "../out", code=41).told


def test_a_prefix_means_what_is_kept_before_what_is_gone(data):
    store = store_of(data)
    head = data.status()["snapshot"]
    twin = bytes.fromhex(head[:8] + "ff" * 28)
    store.log.append("expire", lambda _state: [log.Supersede(pairs=((twin, log.to_expired(START)),))])
    assert data("show", head[:8], "--json").json["snapshot"] == head
    assert "2023-11-14T22:13:20Z" in data("show", head[:8] + "fff", "--json", code=41).error["why"]
    other = bytes.fromhex(head[:8] + "ff" * 27 + "ee")
    store.log.append("expire", lambda _state: [log.Supersede(pairs=((other, log.to_expired(START)),))])
    assert len(data("show", head[:8] + "fff", "--json", code=2).error["items"]) == 2


@pytest.mark.parametrize("call", NAMING, ids=" ".join)
def test_no_ref_moves_to_what_was_expired(data, call):
    lost = shown(data)[0]
    commits(data, 2)
    expire(data, "--keep-last", "1")
    entries = len(os.listdir(data.root / ".dv/store/log"))
    for _round in range(2):
        assert "was expired" in data(*call, lost, "--json", code=41).error["what"]
        assert len(os.listdir(data.root / ".dv/store/log")) == entries
        assert data.status()["clean"]
        collect(data)
        entries = len(os.listdir(data.root / ".dv/store/log"))


def test_a_plan_says_what_would_go_and_changes_nothing(data):
    first = shown(data)[0]
    made = commits(data, 3)
    data("tag", "v1", made[0])
    entries = os.listdir(data.root / ".dv/store/log")
    found = data("expire", "--keep-last", "1", "--plan", "--json").json
    assert found["plan"] is True
    assert found["snapshots"] == sorted([first, made[1]])
    assert [(item["ref"], item["snapshot"], item["kept"]) for item in found["refs"]] == [
        ("heads/main", made[2], 1),
        ("tags/v1", made[0], 1),
    ]
    told = data("expire", "--keep-last", "1", "--plan").text
    assert "would go: 2 snapshots, made from" in told
    assert f"heads/main at {made[2][:12]} keeps 1" in told
    assert f"tags/v1 at {made[0][:12]} keeps 1" in told
    assert sorted(os.listdir(data.root / ".dv/store/log")) == sorted(entries)
    assert len(shown(data)) == 4
    assert expire(data, "--keep-last", "1") == found | {"plan": False}


def test_what_follows_is_said_with_the_command_that_does_it(data):
    commits(data, 2)
    told = data("expire", "--keep-last", "1", "--yes").text
    assert "expired: 2 snapshots" in told
    assert "run 'dv gc'" in told
    assert "nothing to expire; kept: 1 snapshot" in data("expire", "--keep-last", "1", "--yes").text


def test_a_tag_in_the_middle_keeps_its_snapshot_and_none_before_it(data):
    made = [*shown(data), *commits(data, 5)]
    data("tag", "v1", made[2])
    assert expire(data, "--keep-last", "2")["snapshots"] == sorted([made[0], made[1], made[3]])
    assert shown(data, "v1") == [made[2]]
    assert shown(data) == [made[5], made[4]]
    collect(data)
    assert b"1" in held(data, made[2])["data/a.txt"][-1:]
    data("checkout", "v1")
    data("checkout", "main")
    data("tag", "-d", "v1")
    assert expire(data, "--keep-last", "2")["expired"] == 0  # it can be brought back
    data("undo")
    assert shown(data, "v1") == [made[2]]


def merged(data):
    """A history with two sides that were merged, each of three snapshots, and one after that: ids by name."""
    found = {"root": shown(data)[0]}
    data("branch", "side")
    found |= dict(zip(("a1", "a2", "a3"), commits(data, 3), strict=True))
    data("checkout", "side")
    found |= dict(zip(("b1", "b2", "b3"), commits(data, 3, "data/side.txt"), strict=True))
    data("checkout", "main")
    found["merge"] = data("merge", "side", "--json").json["snapshot"]
    found |= dict(zip(("last",), commits(data, 1), strict=True))
    return found


def test_the_newest_are_counted_over_all_parents_in_the_order_of_the_log(data):
    made = merged(data)
    order = shown(data)
    data("branch", "-d", "side")
    for count in (7, 4, 3, 2):
        found = expire(data, "--keep-last", str(count))
        assert found["kept"] == count
        assert shown(data) == order[:count]
        data("fsck")
    assert [item["expired"] for item in data("log", "--json").json] == [[], sorted_as(made, "a3", "b3")]
    collect(data)
    assert held(data, made["last"])
    assert data("diff", made["merge"], "HEAD", "--json").json["modified"]


def sorted_as(made, *names):
    """Ids in the order in which a merge has its parents."""
    return [made[name] for name in names]


def test_a_branch_keeps_what_another_would_let_go(data):
    made = merged(data)
    found = expire(data, "--keep-last", "3")
    assert set(made.values()) - set(found["snapshots"]) == {made[name] for name in ("last", "merge", "b3", "b2", "b1")}
    assert shown(data, "side") == [made["b3"], made["b2"], made["b1"]]
    assert shown(data) == [made["last"], made["merge"], made["b3"], made["b2"], made["b1"]]
    assert data("log", "--json").json[1]["expired"] == [made["a3"]]
    collect(data)


def test_the_heads_of_all_worktrees_keep_what_they_name(data):
    made = [*shown(data), *commits(data, 6)]
    data("worktree", "add", "../detached", made[1])
    data("worktree", "add", "../on-a-branch", made[4], "-b", "other")
    data("checkout", made[3])
    found = expire(data, "--keep-last", "1")
    assert found["snapshots"] == sorted([made[0], made[2], made[5]])
    collect(data)
    for place, left in (("", [made[3]]), ("../detached", [made[1]]), ("../on-a-branch", [made[4], made[3]])):
        status = data("status", "--json", at=place).json
        assert status["snapshot"] == left[0]
        assert status["clean"]
        assert shown(data, at=place) == left
    assert shown(data, "main") == [made[6]]


def test_from_any_worktree(data):
    made = [*shown(data), *commits(data, 2)]
    data("worktree", "add", "../other", "-b", "other")
    commits(data, 1, at="../other")
    assert expire(data, "--keep-last", "1", at="../other")["expired"] == 2
    assert shown(data) == [made[2]]


def test_a_merge_under_way_keeps_its_other_side_and_can_be_ended(data):
    data("branch", "side")
    commits(data, 2)
    data("checkout", "side")
    theirs = commits(data, 2)
    data("checkout", "main")
    data("merge", "side", "--manual")
    data("branch", "-d", "--force", "side")
    found = expire(data, "--keep-last", "1")
    assert theirs[1] not in found["snapshots"]
    assert theirs[0] in found["snapshots"]
    assert [item["ref"].partition("/")[0] for item in found["refs"]] == ["heads", "stage"]
    collect(data)
    assert data.status()["merging"] == [theirs[1]]
    (data.root / "data/a.txt.theirs").unlink()
    ended = data.commit("merged")
    assert data("show", ended, "--json").json["parents"][1] == theirs[1]
    assert shown(data)[0] == ended


def test_what_is_staged_stays_staged(data):
    commits(data, 2)
    data.write("data/staged", "staged")
    data("add", "data")
    expire(data, "--keep-last", "1")
    collect(data)
    assert data.staged() == {"added": ["data/staged"]}
    data("commit", "-m", "staged")


def test_undo_goes_back_to_what_is_kept_and_no_further(data):
    made = [*shown(data), *commits(data, 3)]
    expire(data, "--keep-last", "2")
    for _round in range(2):
        data("undo")
        assert shown(data) == [made[2]]
        for _again in range(2):
            error = data("undo", "--json", code=41).error
            assert "cannot be taken back" in error["what"]
            assert error["where"] == made[1]
        assert shown(data) == [made[2]]
        data("undo", "--redo")
        assert shown(data) == [made[3], made[2]]
        collect(data)


def test_what_undo_took_away_is_spared_as_if_a_branch_named_it(data):
    made = [*shown(data), *commits(data, 4)]
    data("undo")
    data("undo")
    found = expire(data, "--keep-last", "1")
    assert found["unreferenced"] == 1
    assert found["snapshots"] == sorted([made[0], made[1], made[3]])
    data("undo", "--redo", code=41)
    collect(data)
    assert held(data, made[2])


def test_a_deleted_branch_does_not_come_back_with_what_was_expired(data):
    data("checkout", "-b", "side")
    made = commits(data, 3)
    data("checkout", "main")
    data("branch", "-d", "--force", "side")
    found = expire(data, "--keep-last", "1")
    assert found["snapshots"] == sorted(made[:2])
    data("undo")
    assert shown(data, "side") == [made[2]]
    data("branch", "-d", "--force", "side")
    late = on(10_000)
    assert expire(data, "--before", late)["snapshots"] == [made[2]]
    error = data("undo", "--json", code=41).error
    assert error["where"] == made[2]
    size = stored(data)[1]
    collect(data)
    assert stored(data)[1] < size


def test_another_worktree_can_still_undo(data):
    made = [*shown(data), *commits(data, 3)]
    data("worktree", "add", "../other", "-b", "other")
    ours = commits(data, 2, at="../other")
    expire(data, "--keep-last", "2")
    collect(data)
    data("undo", at="../other")
    assert shown(data, at="../other") == [ours[0], made[3], made[2]][: len(shown(data, at="../other"))]
    data("undo", at="../other")
    assert data("status", "--json", at="../other").json["snapshot"] == made[3]


def test_twice_is_once(data):
    made = [*shown(data), *commits(data, 4)]
    expire(data, "--keep-last", "3")
    number = len(os.listdir(data.root / ".dv/store/log"))
    found = expire(data, "--keep-last", "3")
    assert (found["expired"], found["oldest"], found["newest"], found["snapshots"]) == (0, None, None, [])
    assert len(os.listdir(data.root / ".dv/store/log")) == number
    assert expire(data, "--keep-last", "1")["snapshots"] == sorted(made[2:4])
    collect(data)
    more = commits(data, 2)
    assert expire(data, "--keep-last", "1")["snapshots"] == sorted([made[4], more[0]])
    collect(data)
    assert shown(data) == [more[1]]


def test_a_date_parts_the_old_from_the_new(data):
    [first] = shown(data)
    made = dated(data, 0, 10, 20, 30)
    # The first was made now, long after: what descends from it counts as no older.
    assert expire(data, "--before", on(20))["expired"] == 0
    data("checkout", made[3])
    assert first in shown(data)


@pytest.fixture
def old(dv):
    """A repository with snapshots of the days 0, 10, 20 and 30, and their ids."""
    dv.write("data/a.txt", "a")
    dv("add", "data")
    return dv, dated(dv, 0, 10, 20, 30)


@pytest.mark.parametrize(
    ("date", "count"),
    [
        (on(0), 0),
        (on(0.5), 1),
        (on(20), 2),
        ("2023-11-14", 0),
        ("2023-11-15", 1),
        ("2023-11-24T22:13:20.000Z", 1),
        ("2023-11-24T23:13:21+01:00", 2),
        ("2023-12-05 00:00:00z", 3),
        ("90d", 3),
        ("5200w", 0),
        ("1s", 3),
        ("2999-12-31", 3),
        ("0001-01-01", 0),
    ],
)
def test_dates_are_days_times_or_ages(old, date, count):
    dv, made = old
    found = expire(dv, "--before", date)
    assert found["snapshots"] == sorted(made[:count])
    assert found["before"].endswith("Z")
    assert shown(dv) == made[: count - 1 if count else None : -1]
    collect(dv)


def test_under_a_clock_that_jumped_back_nothing_newer_loses_what_leads_to_it(dv):
    dv.write("data/a.txt", "a")
    dv("add", "data")
    made = dated(dv, 0, 30, 10, 40)
    dv("tag", "v1", made[1])
    assert expire(dv, "--before", on(20))["snapshots"] == [made[0]]
    assert shown(dv) == made[:0:-1]


def test_what_only_the_operation_log_leads_to_goes_by_its_date(old):
    dv, made = old
    dv("undo")
    dv("undo")
    found = expire(dv, "--before", on(25))
    assert found["snapshots"] == sorted([made[0], made[2]])
    assert found["unreferenced"] == 1
    found = expire(dv, "--before", on(100))
    assert found["snapshots"] == [made[3]]
    assert found["unreferenced"] == 1
    dv("undo", "--redo", code=41)
    collect(dv)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--before", "90d", "--keep-last", "1"),
        ("--keep-last", "0"),
        ("--keep-last", "-1"),
        ("--keep-last", "many"),
        ("--before", ""),
        ("--before", "yesterday"),
        ("--before", "2026-13-01"),
        ("--before", "2026-02-30"),
        ("--before", "20260101"),
        ("--before", "2026-1-1"),
        ("--before", "2026-01-01T00:00:00"),
        ("--before", "2026-01-01T25:00:00Z"),
        ("--before", "2026-01-01T00:00:00+99:00"),
        ("--before", "90"),
        ("--before", "-90d"),
        ("--before", "99999999999w"),
        ("--before", "\uff12026-01-01"),
        ("--before", "0001-01-01T00:00:00+23:59"),
        ("--before", "9999-12-31T23:59:59-23:59"),
        ("--keep-last", "1", "extra"),
    ],
    ids=" ".join,
)
def test_what_is_no_rule_is_2(data, options):
    commits(data, 2)
    error = data("expire", "--yes", "--json", *options, code=2).error
    assert error["next"]
    assert len(shown(data)) == 3


def test_from_python_the_same_rules_hold(data):
    made = [*shown(data), *commits(data, 2)]
    repo = Repo.open(str(data.root))
    for wrong in (
        {},
        {"keep_last": 0},
        {"keep_last": 1, "before": dt.datetime.now(dt.UTC)},
        {"before": dt.datetime(2026, 1, 1)},  # noqa: DTZ001 - which is what is refused
        {"keep_last": 1, "only": made[0]},
    ):
        with pytest.raises(UsageError):
            repo.expire(**wrong)
    found = repo.expire(keep_last=1, only=[made[0]])
    assert (found.snapshots, found.kept) == ((made[0],), 2)
    assert [item.snapshot for item in repo.log()] == [made[2], made[1]]
    with pytest.raises(ErasedError):
        repo.show(made[0])


def test_what_is_agreed_on_need_not_be_all(data):
    # The newer goes and the older stays; then nothing leads to the older, and it must not look as if it were kept.
    made = [*shown(data), *commits(data, 3)]
    repo = Repo.open(str(data.root))
    found = repo.expire(keep_last=1, only=[made[2]])
    assert found.snapshots == ()
    assert len(shown(data)) == 4


class Terminal(io.StringIO):
    """What somebody types."""

    def isatty(self):
        return True


def test_on_a_terminal_it_asks(data, monkeypatch):
    commits(data, 2)
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    done = data("expire", "--keep-last", "1", code=130)
    assert "would go: 2 snapshots" in done.text
    assert "drop them?" in done.text
    assert len(shown(data)) == 3
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert "expired: 2 snapshots" in data("expire", "--keep-last", "1").text
    assert len(shown(data)) == 1
    monkeypatch.setattr("sys.stdin", Terminal(""))
    assert "nothing to expire" in data("expire", "--keep-last", "1").text


def test_where_nobody_can_be_asked_it_wants_a_yes(data, monkeypatch):
    commits(data, 2)
    assert "--yes" in data("expire", "--keep-last", "1", code=2).told
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    data("expire", "--keep-last", "1", "--json", code=2)
    assert len(shown(data)) == 3
    assert data("expire", "--keep-last", "1", "--plan", "--json").json["expired"] == 2


def test_a_lock_that_names_an_expired_snapshot(beside_git):
    dv = beside_git
    first = dv.status()["snapshot"]
    commits(dv, 2)
    dv.git("add", "-A")
    dv.git("commit", "-q", "-m", "second")
    expire(dv, "--keep-last", "1")
    for _round in range(2):
        assert "was expired" in dv("show", "git:HEAD~1", "--json", code=41).error["what"]
        dv.git("checkout", "-q", "HEAD~1", "--", "dv.lock")
        assert dv.status()["lock"] == {"snapshot": first, "matches": False, "interrupted": False, "problem": None}
        assert "was expired" in dv("checkout", "--lock", "--json", code=41).error["what"]
        dv("checkout", "HEAD")
        assert dv.status()["lock"]["matches"]
        collect(dv)


def test_the_log_of_a_path_begins_where_the_history_does(data):
    made = commits(data, 3, "data/b.txt")
    expire(data, "--keep-last", "2")
    assert shown(data, "HEAD", "data/a.txt") == [made[1]]
    assert shown(data, "HEAD", "data/b.txt") == [made[2], made[1]]


def test_sides_without_their_common_past_are_merged_as_strangers(data):
    data("branch", "side")
    ours = commits(data, 2)
    data("checkout", "side")
    theirs = commits(data, 2, "data/b.txt")
    data("checkout", "main")
    expire(data, "--keep-last", "1")
    collect(data)
    error = data("merge", "side", "--json", code=12).error
    assert "in common" in error["why"]
    done = data("merge", "side", "--ours", "--json").json
    assert done["parents"] == [ours[1], theirs[1]]
    data("branch", "-d", "side")


def test_a_branch_behind_an_expired_snapshot_is_deleted_by_force_only(data):
    data("branch", "old")
    commits(data, 2)
    expire(data, "--keep-last", "1")
    data("branch", "-d", "old", code=12)
    data("branch", "-d", "--force", "old")
