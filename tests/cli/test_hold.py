"""``dv hold``: what must be kept is on record, until it is over or released, and nothing else makes it vanish."""

import datetime as dt
import io
import re
import subprocess
import sys
import types

import msgspec
import pytest

from dvtool import ids
from dvtool.errors import IntegrityError, UsageError
from dvtool.formats import hold, log
from dvtool.history import holds
from dvtool.repo import Repo
from dvtool.store import checkpoints
from dvtool.testing import damage
from dvtool.testing.audit import audit
from dvtool.worktree import projects
from tests.cli.collecting import Later
from tests.cli.expiring import commits
from tests.cli.running import store_of
from tests.cli.sharing import clone

RULES = '[[subject]]\npaths = "data/{subject}/**"\n[[subject]]\ntables = "data/*.csv"\ncolumn = "user"\n'


def add(dv, *words, ground="a case", at=""):
    return dv("hold", "add", *words, "--ground", ground, "--json", at=at).json


def listed(dv):
    return dv("hold", "list", "--json").json


def released(dv, *words):
    return [item["id"] for item in dv("hold", "release", *words, "--json").json]


def entries(dv):
    return store_of(dv).refresh().number


def ref_of(item):
    return f"holds/{item['id']}"


def object_of(dv, item):
    return store_of(dv).refresh().ref(ref_of(item))


# ------------------------------------------------------------------------------------------ adding and listing


def test_a_hold_says_what_is_held_why_by_whom_and_until_when(data):
    [made] = add(data, "data/sub", "data/*.csv", "--until", "2999-12-31", ground=" case 12/2026 ")
    assert re.fullmatch("[0-9a-f]{32}", made["id"])
    assert (made["paths"], made["subject"], made["ground"]) == (["data/*.csv", "data/sub"], None, "case 12/2026")
    assert (made["until"], made["state"]) == ("2999-12-31T00:00:00.000000Z", "active")
    assert made["author"]
    assert abs(dt.datetime.fromisoformat(made["created"]) - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)
    assert listed(data) == [made]
    text = data("hold", "list").text
    assert f"hold {made['id']}, until 2999-12-31" in text
    for word in ("data/sub", "case 12/2026", made["author"]):
        assert word in text


def test_holds_are_listed_the_oldest_first(data):
    made = [*add(data, "z"), *add(data, "data"), *add(data, "a")]
    assert listed(data) == made
    assert "there are no holds" not in data("hold", "list").text


def test_no_hold_is_an_empty_list(data):
    assert listed(data) == []
    assert "there are no holds" in data("hold", "list").text


def test_paths_are_relative_to_where_one_is(data):
    assert add(data, "c.txt", "*.txt", "../b.txt", at="data/sub")[0]["paths"] == [
        "data/b.txt",
        "data/sub/*.txt",
        "data/sub/c.txt",
    ]
    assert add(data, ".", at="data")[0]["paths"] == ["data"]
    assert add(data, str(data.root))[0]["paths"] == [""]
    assert "    .\n" in data("hold", "list").text


def test_all_paths_make_one_hold_and_each_subject_makes_one_in_one_entry(data):
    data.write("dv.toml", RULES)
    before = entries(data)
    made = add(data, "a", "b", "a", "--subject", "4711", "--subject", "0815", "--subject", "4711")
    assert [(item["paths"], item["subject"]) for item in made] == [(["a", "b"], None), ([], "4711"), ([], "0815")]
    assert entries(data) == before + 1
    assert sorted(item["id"] for item in listed(data)) == sorted(item["id"] for item in made)
    assert "subject 4711" in data("hold", "list").text


def test_targets_come_from_a_file_or_from_standard_input(data, monkeypatch):
    data.write("dv.toml", RULES)
    data.write("who.txt", "data/sub\r\n\n./subject:x\nsubject:4711\nsubject: a b \n")
    made = add(data, "more", "--targets-from", "who.txt")
    assert [(item["paths"], item["subject"]) for item in made] == [
        (["data/sub", "more", "subject:x"], None),
        ([], "4711"),
        ([], " a b "),
    ]
    stream = types.SimpleNamespace(buffer=io.BytesIO(b"subject:4711\nmore\ndata/sub\nsubject:x/../subject:x\n"))
    monkeypatch.setattr(sys, "stdin", stream)
    data("hold", "release", "--targets-from", "-", code=10)  # 'x/../…' is of a subject that is not held
    stream.buffer = io.BytesIO(b"subject:4711\nmore\ndata/sub\n./subject:x\n")
    assert set(released(data, "--targets-from", "-")) == {made[0]["id"], made[1]["id"]}  # made at once, in any order
    assert [item["subject"] for item in listed(data)] == [" a b "]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\n", b"a\0b\n"], ids=["empty", "blank", "noise", "nul"])
def test_a_list_of_targets_that_says_nothing_is_2(data, content):
    data.write("who.txt", content)
    for words in (["add", "--ground", "x"], ["release"]):
        error = data("hold", *words, "--targets-from", "who.txt", "--json", code=2).error
        assert error["where"] == "who.txt"
    data("hold", "add", "--ground", "x", "--targets-from", "missing.txt", code=2)
    data("hold", "add", "--ground", "x", "--targets-from", "data", code=2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data"], "ground"),
        (["data", "--ground", ""], "ground"),
        (["data", "--ground", "  "], "ground"),
        (["--ground", "x"], "nothing is named"),
        (["data", "--ground", "x", "--until", "2020-01-01"], "in the past"),
        (["data", "--ground", "x", "--until", "90d"], "in the past"),
        (["data", "--ground", "x", "--until", "soon"], "no date"),
        (["..", "--ground", "x"], "outside the repository"),
        (["/etc/passwd", "--ground", "x"], "outside the repository"),
        (["", "--ground", "x"], "names nothing"),
        ([".dv", "--ground", "x"], "never data"),
        (["data/.git/x", "--ground", "x"], "never data"),
        (["dv.toml", "--ground", "x"], "never data"),
        (["--subject", "4711", "--ground", "x"], "dv.toml does not say"),
        (["--subject", "", "--ground", "x"], "names nobody"),
        (["x" * 5000, "--ground", "x"], "impossible path"),
        (["data", "--ground", "x" * 70_000], "overlong"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else value,
)
def test_what_makes_no_sense_is_2_and_holds_nothing(data, words, told):
    before = entries(data)
    error = data("hold", "add", *words, "--json", code=2).error
    assert told in f"{error['what']} {error['why']}"
    assert entries(data) == before
    assert listed(data) == []


def test_what_was_never_stored_is_held_with_a_note(data):
    done = data("hold", "add", "data/a.txt", "data/s*b", "later", "data/**/*.dcm", "--ground", "x")
    assert "anything at 'later'" in done.told
    assert "anything at 'data/**/*.dcm'" in done.told
    assert done.told.count("note:") == 2
    (data.root / "data/a.txt").unlink()
    data.write("data/x.dcm")
    data.commit()
    data("expire", "--keep-last", "2", "--yes")
    done = data("hold", "add", "data/a.txt", "data/**/*.dcm", ".", "--ground", "x")
    assert done.told == ""


def test_a_note_is_no_reason_to_fail_where_the_history_is_damaged(data):
    commits(data, 1)
    store = store_of(data)
    root = store.refresh().ref("heads/main")
    damage.delete(str(data.root / ".dv/store" / store.holder(root)))
    assert len(add(data, "data/a.txt")) == 1


def test_an_author_is_needed(data, monkeypatch):
    monkeypatch.setenv("DV_AUTHOR", "Carol <carol@example.org>")
    assert add(data, "data")[0]["author"] == "Carol <carol@example.org>"


def test_control_characters_are_shown_and_not_obeyed(data):
    add(data, "a\x1b[2Jb", ground="x\x1b[2J")
    assert "\x1b" not in data("hold", "list").text


def test_from_python(data):
    repo = Repo.open(str(data.root))
    [made] = repo.add_hold(["data"], ground="why", until=dt.datetime(2999, 1, 1, tzinfo=dt.UTC))
    assert repo.holds() == [made]
    assert repo.release_holds([made.id]) == [made]
    with pytest.raises(UsageError):
        repo.add_hold("data", ground="why")
    with pytest.raises(UsageError):
        repo.add_hold(["data"], ground="why", until=dt.datetime(2999, 1, 1))  # noqa: DTZ001 - that is the point
    with pytest.raises(UsageError):
        repo.add_hold(["data"], ground="\ud800")
    with pytest.raises(UsageError):
        repo.release_holds()


# ------------------------------------------------------------------------------------------------- their end


def test_a_hold_is_over_from_the_moment_it_says_and_listed_until_it_is_released(data):
    [made] = add(data, "data", "--until", "2027-01-15T08:00:00.000001Z")  # which Later(0) is a microsecond before
    end = dt.datetime.fromisoformat(made["until"])
    store = store_of(data)
    moment = (end - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    state = store.refresh()
    assert [each.paths for each in holds.standing(store, state, moment - 1)] == [("data",)]
    assert holds.standing(store, state, moment) == []
    assert [each.paths for each in holds.expired(store, state, moment)] == [("data",)]
    repo = Repo.open(str(data.root))
    context = msgspec.structs.replace(repo.workspace.session.context, clock=Later(1), cwd=str(data.root))
    [later] = Repo.open(str(data.root), context).holds()
    assert (later.state, later.id) == ("over", made["id"])
    assert released(data, made["id"]) == [made["id"]]


def test_a_hold_is_released_by_its_id_or_the_beginning_of_it(data):
    one, two = add(data, "a")[0], add(data, "b")[0]
    assert released(data, one["id"][:6].upper()) == [one["id"]]
    assert listed(data) == [two]
    assert f"released {two['id']}\n" in data("hold", "release", two["id"]).text
    assert listed(data) == []


def test_all_holds_on_a_path_are_released_with_it_and_named(data):
    made = [*add(data, "data/sub"), *add(data, "data/sub"), *add(data, "data/*"), *add(data, "data")]
    assert released(data, "data/sub") == [item["id"] for item in made[:2]]
    assert released(data, "data/*") == [made[2]["id"]]
    assert listed(data) == [made[3]]


def test_a_hold_on_more_than_was_named_is_not_released(data):
    [made] = add(data, "a", "b")
    error = data("hold", "release", "a", "--json", code=12).error
    assert error["items"] == [f"{made['id']}: b"]
    assert listed(data) == [made]
    assert released(data, "a", "b") == [made["id"]]
    [made] = add(data, "a", ".")
    assert data("hold", "release", "a", "--json", code=12).error["items"] == [f"{made['id']}: ."]
    assert released(data, "a", made["id"]) == [made["id"]]


def test_a_hold_on_a_subject_is_released_by_the_subject_though_its_rule_is_gone(data):
    data.write("dv.toml", RULES)
    [made] = add(data, "--subject", "4711")
    (data.root / "dv.toml").unlink()
    data("hold", "release", "--subject", "47", code=10)
    assert released(data, "--subject", "4711") == [made["id"]]


def test_what_is_not_held_is_10_and_nothing_is_released(data):
    made = add(data, "a")
    for words in (["b"], ["a", "b"], ["data/a"], ["abcd"], ["0" * 32], ["--subject", "a"], ["*"]):
        assert "there is no hold" in data("hold", "release", *words, "--json", code=10).error["what"]
    assert "nothing is named" in data("hold", "release", "--json", code=2).error["what"]
    data("hold", "release", "../x", code=2)
    assert listed(data) == made


def test_a_word_that_is_an_id_and_a_path_is_2(data):
    [made] = add(data, "a")
    word = made["id"][:8]
    [other] = add(data, word)
    assert f"'./{word}'" in data("hold", "release", word, "--json", code=2).error["next"]
    assert released(data, f"./{word}") == [other["id"]]
    assert released(data, word) == [made["id"]]


def test_a_beginning_of_several_ids_is_2(data):
    store = store_of(data)
    for last in (1, 2):
        keep(store, ident=bytes(15) + bytes([last]))
    error = data("hold", "release", "0000", "--json", code=2).error
    assert error["items"] == ["0" * 31 + "1", "0" * 31 + "2"]


# ------------------------------------------------------------------------- beside what else happens in a store


def test_undo_neither_makes_nor_takes_back_holds(data):
    data.write("data/a.txt", "changed")
    data.commit()
    one, two = add(data, "a")[0], add(data, "b")[0]
    released(data, two["id"])
    assert data("undo", "--json").json["undone"]["operation"] == "commit"
    assert listed(data) == [one]
    data("hold", "release", one["id"])
    data("undo", "--redo")
    assert data.status()["clean"]
    assert listed(data) == []
    assert [item["operation"] for item in data("oplog", "--json").json[:2]] == ["redo", "hold release"]


def test_a_collection_keeps_a_hold_and_frees_a_released_one_at_once(data):
    one, two = add(data, "a")[0], add(data, "b")[0]
    kept, gone = object_of(data, one), object_of(data, two)
    released(data, two["id"])
    data("gc", "--grace", "0")
    assert listed(data) == [one]
    assert store_of(data).has(kept)
    assert not store_of(data).has(gone)
    assert data("fsck", "--json").json["clean"]
    assert audit(store_of(data)).refs[ref_of(one)] == kept


def test_a_checkpoint_keeps_holds(data):
    made = [*add(data, "a"), *add(data, "b")]
    checkpoints.write(store_of(data))
    assert store_of(data).refresh().since_checkpoint == 0
    assert listed(data) == made


def test_holds_do_not_travel(one):
    add(one, "data")
    one("push")
    two = clone(one, "two")
    assert listed(two) == []
    add(two, "data/sub")
    two("push")
    two("fetch")
    one("fetch")
    assert [item["paths"] for item in listed(one)] == [["data"]]
    assert [item["paths"] for item in listed(two)] == [["data/sub"]]
    one("push", "origin", f"holds/{listed(one)[0]['id']}", code=10)


def test_all_worktrees_of_a_store_have_the_same_holds(data):
    made = add(data, "data")
    data("worktree", "add", "../other")
    other = type(data)(data.root.parent / "other", data._capture)
    assert listed(other) == made
    released(other, "data")
    assert listed(data) == []


def test_a_new_key_leaves_holds_as_they_are(data):
    made = add(data, "data")
    data("key", "rotate", "--plain-keys")
    assert listed(data) == made


def test_an_expiry_says_that_it_does_not_ask_holds(data):
    commits(data, 2)
    assert "holds" not in data("expire", "--keep-last", "1", "--plan").told
    add(data, "data")
    assert data("expire", "--keep-last", "1", "--yes").told.count("there are holds") == 1


def test_two_processes_hold_and_release_at_once_and_nothing_is_lost(data):
    program = """
import sys
from dvtool.repo import Repo
for number in range(8):
    repo = Repo.open(sys.argv[1])
    repo.add_hold([f"{sys.argv[2]}/{number}"], ground="x")
    if number % 2:
        repo.release_holds([f"{sys.argv[2]}/{number - 1}"])
"""
    call = [sys.executable, "-c", program, str(data.root)]
    writers = [subprocess.Popen([*call, name]) for name in ("one", "two")]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    wanted = {f"{name}/{number}" for name in ("one", "two") for number in range(8) if number % 2}
    assert {path for item in listed(data) for path in item["paths"]} == wanted
    assert data("fsck", "--json").json["clean"]


# --------------------------------------------------------------------------------------- damaged and invented


def keep(store, data=None, *, ident=bytes(16), kind=ids.HOLD):
    """Have the log name an object as a hold, whatever it is."""
    value = hold.Hold(id=ident, paths=("a",), subject="", ground="x", author="", created=1, until=None, nonce=bytes(32))
    with store.transaction() as transaction:
        identity = transaction.put_object(kind, hold.encode(value) if data is None else data)
        move = log.MoveRef(name=hold.ref_name(ident), old=store.state.ref(hold.ref_name(ident)), new=identity)
        transaction.commit("hold add", lambda _state: [move])
    return identity


def test_a_hold_that_is_lost_stops_every_list_and_is_given_up_by_its_id_alone(data):
    one, two = add(data, "a")[0], add(data, "b")[0]
    store = store_of(data)
    damage.delete(str(data.root / ".dv/store" / store.holder(object_of(data, one))))
    error = data("hold", "list", "--json", code=20).error
    assert error["where"] == ref_of(one)
    assert one["id"] in error["next"]
    with pytest.raises(IntegrityError):
        holds.standing(store_of(data), store_of(data).refresh(), 0)
    found = data("fsck", "--json", code=20).json
    assert [each["kind"] for each in found["objects"]] == ["hold"]
    assert released(data, two["id"]) == [two["id"]]
    data("hold", "release", "a", code=20)
    data("hold", "release", one["id"][:8], code=20)
    assert data("hold", "release", one["id"], "--json").json == [
        {**dict.fromkeys(("created", "until", "subject")), "id": one["id"], "paths": [], "ground": "", "author": ""}
        | {"state": "unreadable"}
    ]
    assert listed(data) == []


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"", ids.HOLD, 21),
        (b"\xc1", ids.HOLD, 21),
        (b"\xdd\xff\xff\xff\xff", ids.HOLD, 21),
        (b"\x91" * 100_000, ids.HOLD, 21),
        (None, ids.CLONE, 20),
        (None, ids.TREE, 20),
    ],
)
def test_what_is_no_hold_is_named_and_never_passed_over(data, content, kind, code):
    keep(store_of(data), content, kind=kind)
    assert data("hold", "list", "--json", code=code).error["where"] == f"holds/{'0' * 32}"
    assert [each["kind"] for each in data("fsck", "--json", code=20).json["objects"]] == ["hold"]
    data("hold", "release", "0" * 32)
    assert listed(data) == []
    data("fsck")


def test_a_ref_with_the_id_of_another_hold_is_named(data):
    [made] = add(data, "a")
    identity = object_of(data, made)
    move = log.MoveRef(name=f"holds/{'0' * 32}", old=None, new=identity)
    store_of(data).log.append("hold add", lambda _state: [move])
    assert data("hold", "list", "--json", code=21).error["where"] == f"holds/{'0' * 32}"
    [found] = data("fsck", "--json", code=20).json["objects"]
    assert (found["kind"], found["why"]) == ("hold", "a ref names another hold than its name says")


def test_holds_whose_entries_are_given_up_have_their_names_back(data):
    made = [*add(data, "a"), *add(data, "b")]
    number = entries(data)
    for lost in (number - 1, number):
        damage.zero(str(data.root / ".dv/store/log" / f"{lost:016x}"))
    found = data("fsck", "--repair", "--give-up-entries", "--json").json
    assert found["repair"]["holds"] == sorted(item["id"] for item in made)
    assert listed(data) == made


def test_the_id_of_a_hold_says_nothing_of_what_is_held(data):
    one, two = add(data, "a")[0], add(data, "a")[0]
    assert object_of(data, one) != object_of(data, two)
    log_files = b"".join(path.read_bytes() for path in (data.root / ".dv/store/log").iterdir())
    assert b"a case" not in log_files


# -------------------------------------------------------------------------------------------- what they cover


def covered(dv, paths, subjects=()):
    store = store_of(dv)
    found = holds.standing(store, store.refresh(), 0)
    rules = projects.read(str(dv.root)).subjects
    return [(each.ground, what) for each, what in holds.covering(found, paths, subjects, rules=rules)]


def test_holds_cover_paths_and_subjects_by_the_rules_of_now(data):
    data.write("dv.toml", RULES)
    add(data, "data/sub", ground="one")
    add(data, "--subject", "47*1", ground="two")
    add(data, "data/*/x", ground="three")
    paths = ["data/47*1/x", "data/4711/x", "data/sub/c.txt", "data/subject", "data/47*1"]
    assert covered(data, paths, ["47*1", "4711"]) == [
        ("one", "data/sub/c.txt"),
        ("two", "subject:47*1"),
        ("two", "data/47*1/x"),
        ("two", "data/47*1"),
        ("three", "data/47*1/x"),
        ("three", "data/4711/x"),
    ]
    data.write("dv.toml", RULES.replace("data/{subject}/**", "elsewhere/{subject}.bin"))
    assert ("two", "elsewhere/47*1.bin") in covered(data, ["elsewhere/47*1.bin", "data/47*1/x"])
    data.write("dv.toml", "")
    assert [what for ground, what in covered(data, paths, ["47*1"]) if ground == "two"] == ["subject:47*1"]
    assert covered(data, []) == []
