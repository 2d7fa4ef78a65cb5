"""``dv lineage`` and ``dv check``: what leads from what to what, and what must not."""

import subprocess
import sys

import pytest
from msgspec import structs

from dvtool import ids
from dvtool.formats import log, run
from dvtool.formats.tree import FILE, Entry
from dvtool.store.editing import Changes, Editor
from tests.cli.running import TIME, copied, described, name_of, prepared, python, source, store_of
from tests.cli.sharing import clone, person


def copy(source, target):
    """A program that makes one file of another."""
    return f"data = open({source!r}).read(); open({target!r}, 'w').write({target!r} + ' of ' + data)"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Two models that are made of a file each, and an ensemble that is made of both.  Copied for each test."""
    data = prepared(tmp_path_factory.mktemp("lineage"))
    data.write("dv.toml", '[splits]\ntrain = ["data/a.txt"]\ntest = ["data/sub"]\n')
    first = python(data, copy("data/a.txt", "one.bin"), "--name", "one", "--out", "one.bin", "--stage", "train")
    second = python(
        data, copy("data/b.txt", "two.bin"), "--name", "two", "--out", "two.bin", "--in", "data/b.txt=train"
    )
    both = "open('both.bin', 'w').write(open('one.bin').read() + open('two.bin').read())"
    ensemble = python(data, both, "--name", "both", "--out", "both.bin", "--stage", "eval")
    return data, first, second, ensemble


@pytest.fixture
def chain(template, tmp_path, capsysbinary):
    dv, *runs = template
    return copied(dv, tmp_path, capsysbinary), *runs


def forged(dv, number, *, read=None, made=None, sources=(), **fields):
    """Store a run that read and made what it says, whatever that is; return its id."""
    store = store_of(dv)
    with store.transaction() as transaction:
        changes: Changes = {run.OUTPUTS: {}}
        for top, files in ((run.INPUTS, read or {}), (run.OUTPUTS, made or {})):
            for path, text in files.items():
                directory, _, name = f"{top}/{path}".rpartition("/")
                entry = Entry(FILE, len(text), transaction.put_chunk(text.encode()))
                changes.setdefault(directory, {})[name] = entry
        tree = Editor(transaction, store.secrets.split).apply(None, changes)
        value = described(number, store.entropy.bytes(run.NONCE_SIZE), tree, sources)
        value = structs.replace(value, **fields)
        identity = transaction.put_object(ids.RUN, run.encode(value))
        ref = run.ref_name(value.id)
        transaction.commit("run", lambda state: [log.MoveRef(name=ref, old=state.ref(ref), new=identity)])
    return value.id


def took(path, *, at=0, role="", known="declared"):
    """An input of one file."""
    return run.Input(source=at, path=path, role=role, known=known, files=1, size=1)


def edges(document, *, role=None):
    return {(each["from"], each["to"]) for each in document["edges"] if role is None or each["role"] == role}


def types(document):
    return {node["id"]: node["type"] for node in document["nodes"]}


def test_up_from_a_run_is_all_that_it_was_made_from(chain):
    dv, first, second, ensemble = chain
    found = dv("lineage", "both", "--json").json
    snapshot = dv.status()["snapshot"]
    assert found["direction"] == "up"
    assert found["target"] == ensemble
    assert types(found) == {
        first: "run", second: "run", ensemble: "run", snapshot: "snapshot",
        f"{first}:one.bin": "output", f"{second}:two.bin": "output",
    }  # fmt: skip
    assert {
        (snapshot, first), (first, f"{first}:one.bin"), (f"{first}:one.bin", ensemble),
        (snapshot, second), (second, f"{second}:two.bin"), (f"{second}:two.bin", ensemble),
    } == edges(found)  # fmt: skip


def test_down_from_a_file_is_all_that_was_made_from_its_content(chain):
    dv, first, second, ensemble = chain
    found = dv("lineage", "data/a.txt", "--json").json
    assert found["direction"] == "down"
    assert types(found)[first] == "run"
    assert types(found)[ensemble] == "run"
    assert second not in types(found)
    assert (f"{first}:one.bin", ensemble) in edges(found)
    assert any(each["role"] == "train" and each["to"] == first for each in found["edges"])


def test_content_is_found_wherever_it_lay_and_whatever_it_was_called(chain):
    dv, first, _second, ensemble = chain
    dv.write("data/renamed.txt", "a\n")
    (dv.root / "data/a.txt").unlink()
    dv.commit("renamed")
    found = dv("lineage", "data/renamed.txt", "--json").json
    assert {first, ensemble} <= types(found).keys()
    assert {(each["path"]) for each in found["edges"] if each["role"] == "holds"} == {"data/a.txt", "data/renamed.txt"}


def test_a_file_of_an_earlier_snapshot_is_asked_for_by_revision(chain):
    dv, first, _second, _ensemble = chain
    dv.write("data/a.txt", "another\n")
    dv.commit("changed")
    assert first in types(dv("lineage", "HEAD~1:data/a.txt", "--json").json)
    assert first not in types(dv("lineage", "data/a.txt", "--json").json)


def test_down_from_a_directory_is_what_was_made_from_any_of_its_files(chain):
    dv, first, second, ensemble = chain
    assert {first, second, ensemble} <= types(dv("lineage", "data", "--down", "--json").json).keys()


def test_down_from_a_snapshot_is_who_read_it(chain):
    dv, first, second, ensemble = chain
    found = dv("lineage", "HEAD", "--json").json
    assert {first, second, ensemble} <= types(found).keys()


def test_down_from_a_model_is_what_used_it(chain):
    dv, _first, second, ensemble = chain
    found = dv("lineage", "one:one.bin", "--down", "--json").json
    assert ensemble in types(found)
    assert second not in types(found)


def test_up_from_a_committed_file_is_the_run_that_made_it(chain):
    dv, first, _second, ensemble = chain
    (dv.root / "models").mkdir()
    (dv.root / "both.bin").rename(dv.root / "models/final.bin")
    dv("add", "models")
    dv.commit("final")
    found = dv("lineage", "models/final.bin", "--up", "--json").json
    assert {first, ensemble} <= types(found).keys()
    assert ensemble in types(dv("lineage", "HEAD", "--up", "--json").json)


def test_what_was_committed_in_between_leads_on(chain):
    dv, first, _second, _ensemble = chain
    (dv.root / "models").mkdir()
    (dv.root / "one.bin").rename(dv.root / "models/one.bin")
    dv("add", "models")
    dv.commit("a model")
    user = python(dv, "open('models/one.bin').read()", "--name", "user")
    assert (f"{first}:one.bin", user) in edges(dv("lineage", "user", "--json").json)
    assert user in types(dv("lineage", "data/a.txt", "--json").json)


def test_nothing_leads_backwards_in_time(chain):
    dv, first, _second, _ensemble = chain
    dv.write("data/late.txt", "late\n")
    dv.commit("late")
    python(dv, "open('data/late.txt').read(); open('late.bin', 'w').write('a\\n')", "--out", "late.bin")
    # What came out is what the first run read long before; it was not made from it.
    assert first not in types(dv("lineage", "data/late.txt", "--json").json)


def test_empty_files_connect_nothing(data):
    data.write("data/empty", "")
    data.commit("empty")
    python(data, "open('nothing.bin', 'w')", "--name", "maker", "--out", "nothing.bin", "--in", "data/a.txt")
    user = python(data, "open('data/empty').read()", "--name", "user")
    assert user not in types(data("lineage", "maker", "--down", "--json").json)
    assert data("lineage", "data/empty", "--json").json["edges"] == []


def test_a_removed_run_is_not_led_to(chain):
    dv, first, _second, ensemble = chain
    dv("runs", "rm", "one", "--force")
    found = dv("lineage", "both", "--json").json
    assert first not in {each["from"] for each in found["edges"] if each["role"] == "makes"}
    assert ensemble in types(found)


def test_the_tree_names_each_run_once(chain):
    dv, first, _second, ensemble = chain
    text = dv("lineage", "data/a.txt").text
    assert text.count(f"run {first}") == 1
    assert text.count(f"run {ensemble}") == 1
    assert text.splitlines()[0] == "file data/a.txt"


def test_what_no_run_has_read_says_so(chain):
    dv, _first, _second, _ensemble = chain
    dv.write("data/lonely.txt", "lonely\n")
    dv.commit("lonely")
    assert "in: snapshot" in dv("lineage", "data/lonely.txt").text
    assert "no run is known" in dv("lineage", "data/lonely.txt", "--up").text


@pytest.mark.parametrize(
    ("target", "code"),
    [("nowhere.txt", 10), ("HEAD:nowhere.txt", 10), ("one:nowhere.bin", 10), ("20200101-000000-0000000000", 10)],
)
def test_a_target_that_is_not_there_is_named(chain, target, code):
    dv, _first, _second, _ensemble = chain
    error = dv("lineage", target, "--json", code=code).error
    assert target.rpartition(":")[2] in error["what"]


def test_lineage_travels(tmp_path, capsysbinary):
    one = person(tmp_path, "one", capsysbinary)
    first = python(one, copy("data/a.txt", "one.bin"), "--name", "first", "--out", "one.bin")
    one("push")
    two = clone(one, "two")
    assert first in types(two("lineage", "data/a.txt", "--json").json)
    two("runs", "fetch", "first")
    assert two.read("one.bin") == "one.bin of a\n"


def test_content_on_both_sides_leaks(chain):
    dv, _first, _second, _ensemble = chain
    dv.write("data/sub/again.txt", "a\n")
    dv.commit("leak")
    found = dv("check", "leakage", "train", "test", "--json", code=1).json
    assert found["clean"] is False
    assert found["leaking"] == {"files": 1, "bytes": 2}
    assert found["shared"] == [{"size": 2, "a": ["data/a.txt"], "b": ["data/sub/again.txt"]}]
    assert "data/a.txt = data/sub/again.txt" in dv("check", "leakage", "train", "test", code=1).text


def test_sides_that_share_nothing_are_clean(chain):
    dv, _first, _second, _ensemble = chain
    assert dv("check", "leakage", "train", "test", "--json").json["clean"] is True
    assert dv("check", "leakage", "data/a.txt", "data/b.txt", "--json").json["shared"] == []


def test_a_side_may_be_of_another_snapshot(chain):
    dv, _first, _second, _ensemble = chain
    dv.write("data/sub/again.txt", "a\n")
    dv.commit("leak")
    dv("check", "leakage", "HEAD~1:data/a.txt", "data/sub", code=1)
    dv("check", "leakage", "data/a.txt", "HEAD~1:data/sub")


def test_empty_files_do_not_leak(chain):
    dv, _first, _second, _ensemble = chain
    dv.write("data/empty", "")
    dv.write("data/sub/empty", "")
    dv.commit("empty")
    assert dv("check", "leakage", "data/empty", "data/sub", "--json").json["clean"] is True


@pytest.mark.parametrize("side", ["nowhere", "HEAD:nowhere", "valid"])
def test_a_side_that_is_not_there_is_named(chain, side):
    dv, _first, _second, _ensemble = chain
    assert dv("check", "leakage", "train", side, "--json", code=10).error["kind"] == "not-found"


def test_who_read_what_is_held_out_is_told(chain):
    dv, _first, _second, _ensemble = chain
    assert dv("check", "splits", "--json").json["clean"] is True
    tuner = python(dv, "open('data/sub/c.txt').read()", "--name", "tuner", "--stage", "tune")
    found = dv("check", "splits", "--json", code=1).json
    [test] = [each for each in found["splits"] if each["role"] == "test"]
    assert test["held_out"] is True
    assert test["learning"] == 1
    assert [(each["run"], each["learning"]) for each in test["readers"]] == [(tuner, True)]
    assert "learns or chooses" in dv("check", "splits", code=1).text


def test_without_roles_there_is_nothing_to_check(data):
    error = data("check", "splits", "--json", code=2).error
    assert "[splits]" in error["next"]


def test_roles_may_be_patterns(chain):
    dv, _first, _second, _ensemble = chain
    for fold in ("one", "two"):
        dv.write(f"data/{fold}/train/x.txt", f"{fold}\n")
        dv.write(f"data/{fold}/test/y.txt", "held\n")
    dv.write("data/two/train/z.txt", "held\n")
    dv.write("dv.toml", '[splits]\ntrain = ["data/*/train"]\ntest = ["data/*/test"]\n')
    dv.commit("folds")
    found = dv("check", "leakage", "train", "test", "--json", code=1).json
    assert found["files_a"]["files"] == 3
    assert found["shared"] == [
        {"size": 5, "a": ["data/two/train/z.txt"], "b": ["data/one/test/y.txt", "data/two/test/y.txt"]}
    ]
    tuner = python(dv, "open('data/one/test/y.txt').read()", "--stage", "tune")
    [test] = [each for each in dv("check", "splits", "--json", code=1).json["splits"] if each["role"] == "test"]
    assert [each["run"] for each in test["readers"]] == [tuner]


def test_a_run_that_is_not_there_any_more_is_named_as_removed(chain):
    dv, first, _second, _ensemble = chain
    user = python(dv, "pass", "--in", "one.bin", "--trace", "declared")
    dv("runs", "rm", "one", "--force")
    nodes = {each["id"]: each for each in dv("lineage", user, "--json").json["nodes"]}
    assert nodes[first]["status"] == "removed"


def test_an_output_is_read_by_the_name_of_its_run(chain):
    dv, first, _second, _ensemble = chain
    (dv.root / "one.bin").unlink()
    user = python(dv, "pass", "--in", "one:one.bin=model", "--trace", "declared")
    [read] = dv("runs", "show", user, "--json").json["inputs"]
    assert (read["source"], read["run"], read["path"], read["role"]) == ("run", first, "one.bin", "model")
    assert (f"{first}:one.bin", user) in edges(dv("lineage", user, "--json").json)


def test_data_that_a_command_names_is_not_kept_as_its_code(chain):
    dv, _first, _second, _ensemble = chain
    dv.process("run", "--name", "cat", "--", "cat", "data/a.txt")
    shown = dv("runs", "show", "cat", "--json").json
    assert shown["code"]["script"] == ""
    assert shown["record"] == ["stdout.txt"]


def test_the_command_runs_unrecorded_while_another_holds_the_worktree(chain):
    dv, _first, _second, _ensemble = chain
    lock = dv.root / ".dv/lock"
    holder = f"import fcntl, time; f = open({str(lock)!r}, 'a'); fcntl.flock(f, 2)"
    holder += "; print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE) as held:
        assert held.stdout is not None
        assert held.stdout.readline() == b"held\n"
        done = dv.process(
            "--wait", "0.1", "run", "--", sys.executable, "-c", "print('ran'); raise SystemExit(3)", code=3
        )
        held.kill()
    assert done.out == b"ran\n"
    assert "not recorded" in done.told


def leads(dv, maker, reader):
    """Whether a run leads to another, asked from both ends, which must agree."""
    up = set(types(dv("lineage", reader, "--up", "--json").json))
    down = set(types(dv("lineage", maker, "--down", "--json").json))
    assert (maker in up) == (reader in down)
    return maker in up


def test_a_pipeline_is_made_from_what_a_run_within_it_made(chain):
    dv, *_runs = chain
    inner = f"{sys.executable} -m dvtool.cli.main run --name inner --out feat.bin -- {sys.executable} -c"
    lines = [
        f"""{inner} "open('feat.bin', 'w').write('features of ' + open('data/a.txt').read())" """,
        f"""{sys.executable} -c "open('feat.bin').read()" """,
    ]
    dv.write("pipe.sh", "\n".join(lines))
    dv.write("feat.bin", "of an earlier time")
    dv.process("run", "--name", "outer", "--in", "feat.bin", "--", "sh", "pipe.sh")
    shown = {each["name"]: each for each in dv("runs", "list", "--json").json}
    assert shown["outer"]["started"] < shown["inner"]["started"]
    assert leads(dv, shown["inner"]["id"], shown["outer"]["id"])


def test_a_maker_may_begin_while_its_reader_goes_on_but_not_after_it(chain):
    dv, *_runs = chain
    forged(dv, 1, made={"x": "x"}, started=TIME + 5, ended=TIME + 6)
    during = {"read": {"0/x": "x"}, "sources": [source()], "inputs": (took("x"),)}
    forged(dv, 2, started=TIME, ended=TIME + 9, **during)
    forged(dv, 3, started=TIME, ended=TIME + 4, **during)
    assert leads(dv, name_of(1), name_of(2))
    assert not leads(dv, name_of(1), name_of(3))


def test_what_was_in_a_snapshot_was_not_made_later(chain):
    dv, *_runs = chain
    snapshot = source(dv.status()["snapshot"])
    late = 2 * TIME
    forged(dv, 1, made={"x": "a\n"}, started=late + 5, ended=late + 6)
    forged(
        dv, 2, started=late, ended=late + 9,
        read={"0/data/a.txt": "a\n"}, sources=[snapshot], inputs=(took("data/a.txt"),),
    )  # fmt: skip
    assert not leads(dv, name_of(1), name_of(2))


def test_no_run_leads_to_itself_and_copies_do_not_lead_back(chain):
    dv, *_runs = chain
    # Both go on at once, read the same, and copy it.
    same = {"read": {"0/x": "x"}, "sources": [source()], "inputs": (took("x"),), "made": {"y": "x"}}
    forged(dv, 1, started=TIME, ended=TIME + 9, **same)
    forged(dv, 2, started=TIME + 1, ended=TIME + 9, **same)
    forged(dv, 3, read={"0/y": "y"}, sources=[source(used=name_of(3))], inputs=(took("y"),), made={"y": "y"})
    assert (f"{name_of(1)}:y", name_of(2)) in edges(dv("lineage", name_of(2), "--json").json)
    assert edges(dv("lineage", name_of(1), "--json").json) == {(f"{name_of(1)}:{run.INPUTS}/x", name_of(1))}
    assert edges(dv("lineage", name_of(3), "--json").json) == set()


def test_of_runs_that_made_the_same_the_one_that_is_named_leads_on(chain):
    dv, *_runs = chain
    first, second = (forged(dv, number, made={"x": "x"}) for number in (1, 2))
    late = forged(dv, 3, made={"x": "x"}, started=TIME + 50, ended=TIME + 60)
    for number, maker in ((4, second), (5, late)):
        reader = forged(dv, number, read={"0/x": "x"}, sources=[source(used=maker)], inputs=(took("x"),))
        assert {each for each in (first, second, late) if leads(dv, each, reader)} == {maker}
        assert (f"{maker}:x", reader) in edges(dv("lineage", reader, "--json").json)
        assert reader in types(dv("lineage", f"{maker}:x", "--down", "--json").json)
        assert reader not in types(dv("lineage", f"{first}:x", "--down", "--json").json)
    unnamed = forged(dv, 6, read={"0/x": "x"}, sources=[source()], inputs=(took("x"),))
    assert {each for each in (first, second, late) if leads(dv, each, unnamed)} == {first, second}


def test_a_run_that_is_named_leads_on_whatever_its_outputs_are(chain):
    dv, *_runs = chain
    maker = forged(dv, 1, made={"empty": ""})
    reader = forged(dv, 2, read={"0/empty": ""}, sources=[source(used=maker)], inputs=(took("empty", role="train"),))
    assert leads(dv, maker, reader)
    assert (maker, reader) in edges(dv("lineage", reader, "--json").json, role="train")


def test_down_from_a_snapshot_is_only_what_was_read_from_it(chain):
    dv, *_runs = chain
    before = dv.status()["snapshot"]
    dv.write("data/new.txt", "new\n")
    dv.commit("second")
    both = python(dv, "open('data/new.txt').read()", "--in", "HEAD~1:data/sub")
    old = python(dv, "pass", "--in", "HEAD~1:data/sub", "--trace", "declared")
    found = dv("lineage", "HEAD", "--down", "--json").json
    assert {each["path"] for each in found["edges"] if each["to"] == both} == {"data"}
    assert old not in types(found)
    found = dv("lineage", before, "--down", "--json").json
    assert {each["path"] for each in found["edges"] if each["to"] in {both, old}} == {"data/sub"}


def test_what_no_source_of_a_run_is_for_is_passed_over(chain):
    dv, *_runs = chain
    names = ("99", "abc", "-1", "00", "\u0663", "9" * 200)
    odd = forged(dv, 1, read={f"{name}/a.txt": "a\n" for name in names} | {"0/x": "x"}, sources=[source()])
    assert odd not in types(dv("lineage", "data/a.txt", "--down", "--json").json)
    assert types(dv("lineage", odd, "--json").json) == {odd: "run"}
    dv("check", "splits")


def test_control_characters_of_a_run_are_shown_and_not_obeyed(chain):
    dv, *_runs = chain
    evil = "\x1b[2Jevil"
    odd = forged(
        dv, 1, name=evil, stage="tune", read={"0/x": "a\n"}, sources=[source()],
        inputs=(took(f"data/sub/{evil}", role=evil),),
    )  # fmt: skip
    for text in (
        dv("lineage", odd).text,
        dv("lineage", "data/a.txt", "--down").text,
        dv("check", "splits", code=1).text,
    ):
        assert "\x1b" not in text
        assert "\\x1b[2Jevil" in text


def readers(dv, role, *, code=0):
    document = dv("check", "splits", "--json", code=code).json
    [split] = [each for each in document["splits"] if each["role"] == role]
    return {each["run"]: each for each in split["readers"]}


def test_a_role_does_not_hide_which_split_was_read(chain):
    dv, *_runs = chain
    hidden = python(dv, "pass", "--in", "data/sub=train", "--stage", "train", "--trace", "declared")
    honest = python(dv, "pass", "--in", "data/sub=test", "--trace", "declared")
    test, train = (readers(dv, role, code=1) for role in ("test", "train"))
    assert test[hidden]["learning"] is True
    assert (test[hidden]["contradicts"], train[hidden]["contradicts"]) == (True, True)
    assert test[honest]["contradicts"] is False
    assert honest not in train
    assert "a role that its path does not have" in dv("check", "splits", code=1).text


def test_of_splits_within_each_other_the_nearest_is_read(chain):
    dv, *_runs = chain
    dv.write("dv.toml", '[splits]\ntrain = ["data"]\ntest = ["data/sub"]\n')
    inner = python(dv, "open('data/sub/c.txt').read()", "--stage", "eval")
    whole = python(dv, "pass", "--in", "data", "--trace", "declared", "--stage", "train")
    assert {inner, whole} <= readers(dv, "test", code=1).keys()
    assert inner not in readers(dv, "train", code=1)
    assert whole in readers(dv, "train", code=1)


def test_a_copy_of_a_split_counts_as_the_split(chain):
    dv, *_runs = chain
    dv.write("cache/copy.txt", "ccc\n")
    dv("add", "cache")
    dv.commit("a copy")
    tuner = python(dv, "open('cache/copy.txt').read()", "--stage", "tune")
    found = readers(dv, "test", code=1)[tuner]
    assert (found["known"], found["files"], found["contradicts"]) == (["content"], 1, False)
    both = python(dv, "open('cache/copy.txt').read(); open('data/sub/c.txt').read()")
    assert readers(dv, "test", code=1)[both]["known"] in (["audit"], ["audit", "content"])


def test_small_files_that_are_equal_by_chance_can_be_left_out(chain):
    dv, *_runs = chain
    dv.write("cache/label.txt", "ccc\n")
    dv("add", "cache")
    dv.commit("a label")
    tuner = python(dv, "open('cache/label.txt').read()", "--stage", "tune")
    for size, code in (("4", 1), ("5", 0), ("1KB", 0)):
        assert dv("check", "leakage", "cache", "test", "--min-size", size, "--json", code=code).json["clean"] == (
            not code
        )
        found = dv("check", "splits", "--min-size", size, "--json", code=code).json
        test = next(each for each in found["splits"] if each["role"] == "test")
        assert (tuner in [each["run"] for each in test["readers"]]) == bool(code)
    dv("check", "leakage", "cache", "test", "--min-size", "small", code=2)


def test_links_do_not_leak(chain):
    dv, *_runs = chain
    for directory in ("data/one", "data/two"):
        (dv.root / directory).mkdir()
        dv.write(f"{directory}/file.txt", directory)
        (dv.root / directory / "link").symlink_to("file.txt")
    dv.commit("links")
    found = dv("check", "leakage", "data/one", "data/two", "--json").json
    assert found["clean"] is True
    assert found["files_a"]["files"] == 1


def test_what_is_staged_and_not_compared_is_said(chain):
    dv, *_runs = chain
    assert "staged" not in dv("check", "leakage", "train", "test").told
    dv.write("data/sub/again.txt", "a\n")
    dv("add", "data")
    assert "what is staged and not committed was not compared" in dv("check", "leakage", "train", "test").told
    assert "staged" not in dv("check", "leakage", "HEAD:data/a.txt", "HEAD:data/sub").told
