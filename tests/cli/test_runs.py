"""``dv runs``: lists, comparisons, what comes back, and what goes."""

import json
import os

import msgspec
import pytest

from dvtool import ids, paths
from dvtool.capture import recorder
from dvtool.formats import journal, log, run
from dvtool.formats.tree import FILE, Entry
from dvtool.repo import Repo
from dvtool.runs import catalogue
from dvtool.store.editing import Editor
from tests.cli.calling import Dv
from tests.cli.running import copied, prepared, python


def listed(dv, *options):
    return [item["id"] for item in dv("runs", "list", "--json", *options).json]


MAKING = "open('model.bin', 'w').write('weights of the first')\n"


def logging(**values):
    """A program that logs one value of each of some metrics, for the split ``val``."""
    said = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return f"import dvtool\nwith dvtool.run(trace='declared') as run:\n    run.log(step=1, split='val', {said})\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A repository with two runs of one group; the first reads one file and makes another.  Copied for each test."""
    dv = prepared(tmp_path_factory.mktemp("runs"))
    first = python(
        dv, logging(loss=0.5) + MAKING, "--name", "first", "--group", "sweep", "-p", "lr=0.1", "-p", "opt.name=adam",
        "--stage", "train", "--in", "data/a.txt=train", "--out", "model.bin",
    )  # fmt: skip
    second = python(
        dv, logging(loss=0.25, f1=0.9), "--name", "second", "--group", "sweep", "-p", "lr=0.01", "--in", "data/sub"
    )
    return dv, first, second


@pytest.fixture
def two(template, tmp_path, capsysbinary):
    dv, first, second = template
    return copied(dv, tmp_path, capsysbinary), first, second


def test_runs_are_listed_newest_first(two):
    dv, first, second = two
    assert listed(dv) == [second, first]
    assert listed(dv, "-n", "1") == [second]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--name", "fir*"], ["first"]),
        (["--group", "sweep"], ["second", "first"]),
        (["--group", "other"], []),
        (["--stage", "train"], ["first"]),
        (["--status", "done"], ["second", "first"]),
        (["--status", "failed"], []),
        (["--param", "lr>0.05"], ["first"]),
        (["--param", "lr = 0.01"], ["second"]),
        (["--param", "opt.name=adam"], ["first"]),
        (["--param", "opt.name!=adam"], []),
        (["--param", "missing=1"], []),
        (["--metric", "loss<0.3"], ["second"]),
        (["--metric", "val/loss<=0.5"], ["second", "first"]),
        (["--metric", "loss@val>=0.5"], ["first"]),
        (["--metric", "train/loss<1"], []),
        (["--metric", "f1>0.8", "--param", "lr<1"], ["second"]),
        (["--input", "data/a.txt"], ["first"]),
        (["--input", "data"], ["second", "first"]),
        (["--input", "data/sub/c.txt"], ["second"]),
        (["--input", "data/sub/"], ["second"]),
        (["--input", "./data/../data/a.txt"], ["first"]),
        (["--sort", "loss"], ["second", "first"]),
        (["--sort", "-loss"], ["first", "second"]),
        (["--sort", "-lr"], ["first", "second"]),
    ],
)
def test_runs_are_chosen_by_what_is_said_of_them(two, options, found):
    dv, _first, _second = two
    assert [item["name"] for item in dv("runs", "list", "--json", *options).json] == found


def test_runs_are_chosen_by_the_snapshot_that_they_read(two):
    dv, first, second = two
    snapshot = dv.status()["snapshot"]
    assert listed(dv, "--input", snapshot[:12]) == [second, first]
    assert listed(dv, "--input", "0123456789ab") == []


@pytest.mark.parametrize("condition", ["loss", "<0.3", "", "loss~3"])
def test_a_condition_that_makes_no_sense_is_refused(two, condition):
    dv, _first, _second = two
    assert "condition" in dv("runs", "list", "--metric", condition, "--json", code=2).error["what"]


def test_a_run_is_found_by_its_id_its_beginning_its_end_or_its_name(two):
    dv, first, _second = two
    for word in (first, first[:-2], first.rpartition("-")[2], first.rpartition("-")[2][:6], "first"):
        assert dv("runs", "show", word, "--json").json["id"] == first


def test_an_ambiguous_word_lists_what_it_can_mean(two):
    dv, first, second = two
    error = dv("runs", "show", first[:8], "--json", code=2).error
    assert error["items"] == sorted([first, second])


def test_of_runs_with_one_name_the_newest_is_meant(two):
    dv, _first, _second = two
    third = python(dv, "pass", "--name", "first", "--trace", "declared")
    assert dv("runs", "show", "first", "--json").json["id"] == third


@pytest.mark.parametrize("word", ["nothing", "20200101-000000-0000000000", "zzzz"])
def test_a_run_that_is_not_there_is_named(two, word):
    dv, _first, _second = two
    assert word in dv("runs", "show", word, "--json", code=10).error["what"]


def test_show_has_the_keys_of_the_contract(two):
    dv, _first, _second = two
    shown = dv("runs", "show", "first", "--json").json
    wanted = {"id", "name", "params", "metrics", "environment", "code", "inputs", "outputs", "status", "reproducible"}
    assert wanted <= shown.keys()
    assert shown["params"] == {"lr": 0.1, "opt.name": "adam"}
    [metric] = shown["metrics"]
    assert (metric["split"], metric["name"], metric["last"]) == ("val", "loss", 0.5)
    [read] = [each for each in shown["inputs"] if each["known"] == "declared"]
    assert (read["path"], read["role"], read["source"], read["files"]) == ("data/a.txt", "train", "snapshot", 1)
    assert [each["path"] for each in shown["outputs"]] == ["model.bin"]
    assert shown["process"]["exit"] == 0


def test_log_and_show_name_the_runs_of_a_snapshot(two):
    dv, first, second = two
    before = dv("log", "--json").json[0]["snapshot"]
    dv.write("data/new.txt", "new\n")
    after = dv.commit("more")
    runs = {item["snapshot"]: item["runs"] for item in dv("log", "--json").json}
    assert runs == {before: [second, first], after: []}
    assert dv("show", before, "--json").json["runs"] == [second, first]
    assert "no run has used this snapshot" in dv("show").text
    assert first in dv("log").text
    assert "no run has used this snapshot" in dv("log").text


def test_a_difference_says_what_is_the_same_and_what_is_not(two):
    dv, first, second = two
    found = dv("runs", "diff", "first", "second", "--json").json
    assert (found["a"], found["b"]) == (first, second)
    assert found["same"]["data"] is False
    assert found["same"]["params"] is False
    assert found["same"]["code"] is None  # there is no Git that could tell
    assert found["same"]["environment"] is True
    assert found["same"]["seed"] is None
    assert {"name": "lr", "a": 0.1, "b": 0.01} in found["params"]
    assert found["data"] == {"added": ["data/sub/c.txt"], "removed": ["data/a.txt"], "modified": []}
    assert {"name": "val/loss", "a": 0.5, "b": 0.25} in found["metrics"]
    assert {"name": "val/f1", "a": None, "b": 0.9} in found["metrics"]


def test_a_difference_in_data_is_told_file_by_file(data):
    python(data, "pass", "--name", "before", "--in", "data", "--trace", "declared")
    data.write("data/a.txt", "changed\n")
    data.write("data/new.txt", "new\n")
    data.commit("more")
    python(data, "pass", "--name", "after", "--in", "data", "--trace", "declared")
    found = data("runs", "diff", "before", "after", "--json").json
    assert found["data"] == {"added": ["data/new.txt"], "removed": [], "modified": ["data/a.txt"]}
    assert found["same"] == {
        "data": False, "code": None, "params": True, "seed": None, "environment": True, "results": None,
    }  # fmt: skip


def test_the_same_of_everything_and_another_result_is_found(data):
    for value in (0.5, 0.75):
        data.write("result", str(value))
        script = "import dvtool\nwith dvtool.run() as run:\n    run.log(loss=float(open('result').read()))\n"
        python(data, script, "--in", "data", "-p", "seed=1", "--trace", "declared")
    python(data, "pass", "--in", "data", "-p", "seed=1", "--trace", "declared")
    unstable = data("runs", "list", "--unstable", "--json").json
    assert {item["metrics"][0]["last"] for item in unstable} == {0.5, 0.75}


def test_what_a_run_printed_is_kept(data):
    python(data, "import sys; print('to out'); print('to err', file=sys.stderr)", "--name", "talking")
    assert data("runs", "logs", "talking").text == "to out\n"
    assert data("runs", "logs", "talking", "--stderr").text == "to err\n"


def test_where_nothing_was_printed_that_is_said(data):
    python(data, "pass", "--name", "silent", "--trace", "declared")
    assert "nothing was kept" in data("runs", "logs", "silent", code=10).told


def test_what_a_run_made_comes_back(two):
    dv, _first, _second = two
    (dv.root / "model.bin").unlink()
    found = dv("runs", "fetch", "first", "--json").json
    assert found["paths"] == ["model.bin"]
    assert dv.read("model.bin") == "weights of the first"


def test_what_is_in_the_way_is_kept_unless_forced(two):
    dv, _first, _second = two
    dv.write("model.bin", "an hour of work")
    assert dv("runs", "fetch", "first", "--json", code=12).error["items"] == ["model.bin"]
    assert dv.read("model.bin") == "an hour of work"
    dv("runs", "fetch", "first", "--force")
    assert dv.read("model.bin") == "weights of the first"
    dv("runs", "fetch", "first")  # what is there already is not in the way


def test_what_a_run_made_is_written_elsewhere(two):
    dv, _first, _second = two
    dv("runs", "fetch", "first", "-o", "there/it/is")
    assert dv.read("there/it/is/model.bin") == "weights of the first"
    assert dv.read("model.bin") == "weights of the first"


def test_a_link_on_the_way_leads_nowhere(two, tmp_path):
    dv, _first, _second = two
    script = "import os; os.mkdir('made'); open('made/model.bin', 'w').write('in a directory')"
    python(dv, script, "--name", "deep", "--out", "made", "--trace", "declared")
    (dv.root / "made/model.bin").unlink()
    (dv.root / "made").rmdir()
    (tmp_path / "outside").mkdir()
    (dv.root / "made").symlink_to(tmp_path / "outside")
    dv("runs", "fetch", "deep", code=12)
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_run_that_made_nothing_has_nothing_to_fetch(two):
    dv, _first, _second = two
    assert "made nothing" in dv("runs", "fetch", "second", code=10).told


def test_a_run_is_removed_and_comes_back_by_undo(two):
    dv, first, second = two
    assert dv("runs", "rm", "second", "--json").json == [{"id": second, "dependents": []}]
    assert listed(dv) == [first]
    dv("undo")
    assert listed(dv) == [second, first]


def test_a_run_whose_output_was_used_is_not_removed_by_mistake(two):
    dv, first, _second = two
    user = python(dv, "pass", "--in", "model.bin", "--trace", "declared")
    error = dv("runs", "rm", "first", "--json", code=12).error
    assert error["items"] == [f"{first} is used by {user}"]
    assert first in listed(dv)
    dv("runs", "rm", "first", "--force")
    assert first not in listed(dv)
    assert dv("runs", "rm", user, "--json").json[0]["dependents"] == []


def test_a_run_and_all_that_used_it_go_together(two):
    dv, first, _second = two
    user = python(dv, "pass", "--in", "model.bin", "--trace", "declared")
    dv("runs", "rm", first, user)
    assert {first, user}.isdisjoint(listed(dv))


def test_what_only_a_removed_run_kept_is_collected(two):
    dv, first, _second = two
    repo = Repo.open(str(dv.root))
    value = catalogue.read(repo.workspace, first)
    entry = repo.workspace.session.trees.resolve(value.tree, f"{run.OUTPUTS}/model.bin")
    assert entry is not None
    dv("runs", "rm", "first")
    dv("gc", "--grace", "0", "--retention", "0")
    assert Repo.open(str(dv.root)).workspace.session.store.holder(entry.id) is None
    assert dv("fsck", "--json").json["clean"]


def test_lists_are_read_from_the_cache_and_made_anew_without_it(two, monkeypatch):
    dv, _first, _second = two
    before = dv("runs", "list", "--json").json
    reads = []
    real = catalogue._read

    def counting(*arguments):
        reads.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(catalogue, "_read", counting)
    assert dv("runs", "list", "--json").json == before
    assert reads == []
    (dv.root / ".dv/cache/runs").write_bytes(b"no cache")
    assert dv("runs", "list", "--json").json == before
    assert len(reads) == 2


def test_a_cache_that_knows_more_than_the_refs_is_not_believed(two):
    dv, _first, _second = two
    dv("runs", "list")
    stolen = (dv.root / ".dv/cache/runs").read_bytes()
    dv("runs", "rm", "first", "second")
    (dv.root / ".dv/cache/runs").write_bytes(stolen)
    assert dv("runs", "list", "--json").json == []


def test_where_there_are_no_runs_that_is_said(data):
    assert "no runs yet" in data("runs", "list").text
    assert json.loads(data("runs", "list", "--json").out) == []
    assert "no run fits" in data("runs", "list", "--group", "x").text


def test_a_way_that_no_path_may_go_is_none(two):
    dv, first, _second = two
    value = catalogue.read(Repo.open(str(dv.root)).workspace, first)
    for each in value.outputs:
        assert paths.check_path(each.path, what="test") == each.path


def test_a_run_that_somebody_made_up_brings_no_file_but_those_that_it_says(two):
    dv, first, _second = two
    session = Repo.open(str(dv.root)).workspace.session
    value = catalogue.read(Repo.open(str(dv.root)).workspace, first)
    with session.store.transaction() as transaction:
        editor = Editor(transaction, session.store.secrets.split)
        entry = Entry(FILE, 5, transaction.put_chunk(b"evil\n"))
        # Trees hold no dv.toml or dv.lock at all; this would change what dv takes for data.
        tree = editor.apply(value.tree, {run.OUTPUTS: {".dvignore": entry, "unsaid": entry}})
        evil = msgspec.structs.replace(value, tree=tree, revision=value.revision + 1)
        old = session.state.ref(run.ref_name(first))
        made = transaction.put_object(ids.RUN, run.encode(evil))
        transaction.commit("run", lambda _state: [log.MoveRef(name=run.ref_name(first), old=old, new=made)])
    (dv.root / "model.bin").unlink()
    assert dv("runs", "fetch", "first", "--json").json["paths"] == ["model.bin"]
    assert not (dv.root / "unsaid").exists()
    assert not (dv.root / ".dvignore").exists()


def test_what_was_there_before_and_was_not_written_was_not_made(two):
    dv, _first, _second = two
    python(dv, "pass", "--name", "idle", "--out", "model.bin", "--trace", "declared")
    shown = dv("runs", "show", "idle", "--json").json
    assert [(each["path"], each["missing"]) for each in shown["outputs"]] == [("model.bin", True)]
    assert any("was not written" in note for note in shown["notes"])
    assert "made nothing" in dv("runs", "fetch", "idle", code=10).told


def test_two_outputs_of_one_name_are_both_kept(two, tmp_path):
    dv, _first, _second = two
    other = tmp_path / "scratch"
    other.mkdir()
    script = f"open('new.bin', 'w').write('here'); open({str(other / 'new.bin')!r}, 'w').write('there')"
    python(dv, script, "--name", "both", "--out", str(other / "new.bin"), "--out", "new.bin", "--trace", "declared")
    dv("runs", "fetch", "both", "-o", "back")
    found = {path.name: path.read_text() for path in (dv.root / "back").iterdir()}
    assert sorted(found.values()) == ["here", "there"]


def test_what_lies_in_no_snapshot_is_known_by_its_content(two):
    dv, _first, _second = two
    for content in ("one", "two"):
        dv.write("loose.txt", content)
        python(dv, "open('loose.txt').read(); open('data/a.txt').read()", "--name", content, "-p", "seed=1")
    assert dv("runs", "diff", "one", "two", "--json").json["same"]["data"] is False
    shown = dv("runs", "show", "one", "--json").json
    assert ("outside", True) in {(each["source"], each["path"].endswith("/loose.txt")) for each in shown["inputs"]}
    assert shown["reproducible"]["state"] == "degraded"


def test_where_it_is_not_known_what_was_read_nothing_is_called_the_same(two):
    dv, _first, _second = two
    for name in ("one", "two"):
        dv.process("run", "--name", name, "--", "true")
    assert dv("runs", "diff", "one", "two", "--json").json["same"]["data"] is None
    assert dv("runs", "list", "--unstable", "--json").json == []


def test_a_run_that_is_damaged_hides_no_other(two):
    dv, first, second = two
    session = Repo.open(str(dv.root)).workspace.session
    value = catalogue.read(Repo.open(str(dv.root)).workspace, first)
    with session.store.transaction() as transaction:
        lost = msgspec.structs.replace(value, tree=bytes(32), revision=value.revision + 1)
        made = transaction.put_object(ids.RUN, run.encode(lost))
        old = session.state.ref(run.ref_name(first))
        transaction.commit("run", lambda _state: [log.MoveRef(name=run.ref_name(first), old=old, new=made)])
    done = dv("runs", "list", "--json")
    assert [item["id"] for item in done.json] == [second]
    assert f"run {first} cannot be read" in done.told
    dv("runs", "show", first, code=20)
    dv("runs", "rm", first)
    assert "cannot be read" not in dv("runs", "list").told


def test_a_journal_that_nobody_can_read_is_set_aside_once(two):
    dv, _first, second = two
    journal = dv.root / ".dv/runs" / ("0" + second[1:])
    journal.mkdir(parents=True)
    (journal / "begin").write_bytes(b"no journal")
    assert "not stored" in dv("runs", "list").told
    assert dv("runs", "list").told == ""
    assert [each.name for each in (dv.root / ".dv/runs").iterdir()] == [f"broken-{journal.name}"]


def test_a_run_is_stored_though_its_snapshot_was_dropped_meanwhile(two):
    dv, _first, _second = two
    script = (
        "import subprocess, sys; open('data/a.txt').read(); open('data/a.txt', 'w').write('next')\n"
        "dv = [sys.executable, '-m', 'dvtool.cli.main']\n"
        "for words in (['commit', '-a', '-m', 'next'], ['runs', 'rm', 'first', 'second'],\n"
        "              ['expire', '--keep-last', '1', '--yes'], ['gc', '--grace', '0', '--retention', '0']):\n"
        "    subprocess.run([*dv, *words], check=True, stdout=subprocess.DEVNULL)\n"
        "print('worked')"
    )
    identity = python(dv, script, "--name", "long")
    shown = dv("runs", "show", identity, "--json").json
    assert any("dropped while it went on" in note for note in shown["notes"])
    assert dv("runs", "logs", "long").text == "worked\n"
    assert dv("fsck", "--json").json["clean"]


def test_a_worktree_is_not_removed_with_runs_that_are_stored_nowhere_else(two):
    dv, _first, _second = two
    dv("worktree", "add", "../other")
    other = Dv(dv.root.parent / "other", dv._capture)
    python(other, "pass", "--name", "there", "--trace", "declared")
    (other.root / ".dv/runs/20200101-000000-0000000000").mkdir(parents=True)
    held = recorder.hold(str(other.root / ".dv/runs/20200101-000000-0000000000"))
    begin = journal.Begin(
        version=journal.VERSION, id="20200101-000000-0000000000", started=1, name="going", group="", stage="",
        parent="", author="", command=("x",), directory=".", snapshot=b"", dirty=False, inputs=(), outputs=(),
        params={}, code={},
        environment={}, trace="declared", notes=(),
    )  # fmt: skip
    (other.root / ".dv/runs/20200101-000000-0000000000/begin").write_bytes(journal.encode_begin(begin))
    assert dv("worktree", "remove", "../other", "--json", code=12).error["items"] == ["20200101-000000-0000000000"]
    assert held is not None
    os.close(held)
    dv("worktree", "remove", "../other")
    assert {"there", "going"} <= {item["name"] for item in dv("runs", "list", "--json").json}
