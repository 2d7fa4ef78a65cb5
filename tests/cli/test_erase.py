"""``dv erase`` and ``dv erasure``, as people use them."""

import json
import os
import signal
import subprocess
import sys

import pytest

from dvtool.erasure import certificate
from dvtool.errors import StorageError
from dvtool.formats import lock
from dvtool.repo import Repo
from dvtool.runs.journals import is_going
from dvtool.storage.disk import Disk
from dvtool.store import erasing
from dvtool.testing import attacker
from dvtool.testing.canary import Wanted
from dvtool.worktree.session import Context
from tests.cli.erasing import P17, SECRET, erase, listed, snapshots
from tests.cli.recorded import until
from tests.cli.running import python, store_of


def test_a_directory_is_gone_from_every_version(people):
    before = snapshots(people)
    found = erase(people, P17).json
    after = snapshots(people)
    assert found["files"] == 4
    assert (found["contents"], found["snapshots"]) == (3, 2)
    assert found["paths"] == [f"{P17}/deep/scan.txt", f"{P17}/note.txt"]
    assert not (people.root / P17).exists()
    for message, old in before.items():
        new = after[message]
        held = message in {"people", "more"}
        assert (new["snapshot"] == old["snapshot"]) is not held
        assert [new[key] for key in ("author", "time", "message")] == [
            old[key] for key in ("author", "time", "message")
        ]
        assert new["erased"]["files"] == (2 if held else 0)
        assert not any(P17 in path for path in listed(people, new["snapshot"]))
        if held:
            assert found["superseded"][old["snapshot"]] == new["snapshot"]
            shown = people("show", old["snapshot"], "--json").json
            assert shown["superseded_by"] == new["snapshot"]
            assert shown["erasures"] == [found["erasure"]]
    assert people.status()["clean"] is True
    assert people("fsck", "--json").json["clean"]
    assert people("erasure", "verify", found["erasure"], "--deep", "--json").json["clean"]


def test_what_differs_is_said_to_be_erased_and_not_removed(people):
    first = snapshots(people)["people"]["snapshot"]
    people.write("data/people/p19/x.txt", "of a third\n")
    people.commit("third")
    erasure = erase(people, "data/people/p19").json["erasure"]
    found = people("diff", first, "HEAD", "--json").json
    assert found["removed"] == []
    assert [(each["path"], each["erasure"], each["files"]) for each in found["erased"]] == [("data/people", erasure, 1)]


def test_a_subject_is_erased_by_the_rules_for_paths(people):
    found = erase(people, "--subject", "p17", "--request", "R-1", "--ground", "Art. 17").json
    assert found["files"] == 4
    assert [path for path in listed(people) if "p17" in path] == []
    certified = json.loads(people("erasure", "certificate", found["erasure"]).text)
    assert (certified["request"], certified["ground"]) == ("R-1", "Art. 17")
    assert certificate.is_genuine(people("erasure", "certificate", found["erasure"]).text.encode())
    assert "p17" not in json.dumps(certified)


def test_rows_that_a_rule_names_are_outstanding(people):
    people.write(
        "dv.toml",
        '[[subject]]\npaths = "data/people/{subject}/**"\n[[subject]]\ntables = "data/*.csv"\ncolumn = "who"\n',
    )
    assert "rows of data/*.csv, by who" in people("erase", "--subject", "p17", "--plan", "--json").json["mentions"]
    assert any("rows of tables" in each for each in erase(people, "--subject", "p17").json["outstanding"])


class Refusing(Disk):
    """Does not let files of one name go."""

    def unlink(self, path):
        if path.endswith("/note.txt") and "p17" in path:
            raise StorageError("the disk refuses", why="Operation not permitted")
        super().unlink(path)


def test_a_file_that_stays_is_told_and_in_no_certificate(people):
    told: list[str] = []
    context = Context(disk=Refusing(), cwd=str(people.root), tell=told.append)
    done = Repo.open(str(people.root), context).erase([P17])
    assert any("could not be removed" in each for each in done.outstanding)
    assert any(f"{P17}/note.txt" in each for each in told)
    assert (people.root / P17 / "note.txt").exists()
    certified = people("erasure", "certificate").text
    assert "could not be removed" in certified
    assert "p17" not in certified


def test_a_worktree_that_is_not_found_is_outstanding(people):
    people("worktree", "add", "../other", "HEAD")
    os.rename(people.root.parent / "other", people.root.parent / "moved")
    done = erase(people, P17)
    assert any("a worktree could not be opened" in each for each in done.json["outstanding"])
    assert str(people.root.parent) in done.told
    assert str(people.root.parent) not in people("erasure", "certificate").text


@pytest.mark.parametrize("odd", ["p*", "p[17]", "p?", "{x}", "ä b", "p17.*", "-p", "#p"])
def test_a_subject_means_itself_whatever_is_in_its_id(people, odd):
    people.write(f"data/people/{odd}/x.txt", "odd\n")
    people.commit("odd")
    found = erase(people, f"--subject={odd}").json
    assert found["paths"] == [f"data/people/{odd}/x.txt"]
    assert (people.root / P17).exists()


def test_many_targets_are_read_from_a_list(people):
    targets = people.root.parent / "targets"
    targets.write_text(f"subject:p17\n\n{people.root}/data/people/p18/new.txt\n")
    found = erase(people, "--targets-from", str(targets)).json
    assert f"{P17}/note.txt" in found["paths"]
    assert "data/people/p18/new.txt" in found["paths"]
    assert len(people("erasure", "list", "--json").json) == 1


def test_of_targets_that_lie_in_each_other_none_is_said_to_match_nothing(people):
    found = people("erase", P17, f"{P17}/note.txt", "data/people/*/deep", "--plan", "--json").json
    assert found["paths"] == [f"{P17}/deep/scan.txt", f"{P17}/note.txt"]
    error = people("erase", P17, f"{P17}/none.txt", "--plan", "--json", code=10).error
    assert error["items"] == [f"{P17}/none.txt"]


def test_a_pattern_of_letters_means_these_and_itself(people):
    for name in ("scan1.txt", "scan2.txt", "scan[12].txt"):
        people.write(f"{P17}/{name}", f"{name}\n")
    people.commit("scans")
    found = people("erase", f"{P17}/scan[12].txt", "--plan", "--json").json
    assert found["paths"] == [f"{P17}/scan1.txt", f"{P17}/scan2.txt", f"{P17}/scan[12].txt"]
    found = people("erase", f"{P17}/scan[[]12].txt", "--plan", "--json").json
    assert found["paths"] == [f"{P17}/scan[12].txt"]


def test_a_plan_changes_nothing(people):
    before = store_of(people).refresh().number
    found = people("erase", P17, "--plan", "--json").json
    assert (found["plan"], found["erasure"], found["files"]) == (True, None, 4)
    assert set(found["worktree"]) == {f"{P17}/deep/scan.txt", f"{P17}/note.txt"}
    assert store_of(people).refresh().number == before
    assert (people.root / P17).exists()
    assert "would be erased" in people("erase", P17, "--plan").text


def files_of_store(dv):
    store = dv.root / ".dv/store"
    return {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_neither_a_plan_nor_a_refusal_writes_however_many_index_files_there_are(people):
    for number in range(18):
        people.write(f"data/n{number}.txt", SECRET if number == 9 else f"{number}\n")
        people.commit(f"number {number}")
    assert len(list((people.root / ".dv/store/index").iterdir())) > 16
    before = files_of_store(people)
    people("erase", P17, "--plan")
    people("erase", P17, "--json", code=2)
    people("erase", P17, "--yes", code=2)  # nobody said what becomes of copies
    people("erase", "data/none", "--yes", code=10)
    people("hold", "list")
    assert files_of_store(people) == before
    erase(people, P17, "--copies", "keep")
    assert people("fsck", "--json").json["clean"]


def test_a_plan_stores_no_run_and_says_which_it_does_not_count(people):
    script = (
        f"import time; print(open('{P17}/note.txt').read(), flush=True); open('ready', 'w').close(); time.sleep(60)"
    )
    words = [sys.executable, "-m", "dvtool.cli.main", "run", "--in", P17, "--", sys.executable, "-c", script]
    process = subprocess.Popen(words, cwd=people.root, start_new_session=True, stdout=subprocess.DEVNULL)
    until((people.root / "ready").exists)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    [journal] = (people.root / ".dv/runs").iterdir()
    until(lambda: not is_going(str(journal)))  # what it had started ends a little later
    (people.root / "ready").unlink()
    before = files_of_store(people)
    done = people("erase", P17, "--plan", "--json")
    assert files_of_store(people) == before
    assert "has ended and is not stored yet, so the plan does not count it" in done.told
    assert len(erase(people, P17).json["runs"]) == len(done.json["runs"]) + (done.json["runs"] == [])


def test_nobody_who_was_not_asked_has_agreed(people):
    assert "--yes" in people("erase", P17, "--json", code=2).error["next"]
    assert (people.root / P17).exists()


def test_a_stale_plan_is_refused(people):
    repo = Repo.open(str(people.root))
    agreed = repo.erase([P17], plan=True)
    people.write(f"{P17}/late.txt", "late\n")
    people.commit("late")
    with pytest.raises(Exception, match="stale"):
        Repo.open(str(people.root)).erase([P17], agreed=agreed)
    assert (people.root / P17).exists()


def test_what_becomes_of_copies_must_be_said(people):
    people.write("data/copy.txt", SECRET + "more\n")
    people.commit("copied")
    error = people("erase", P17, "--yes", "--json", code=2).error
    assert "data/copy.txt: identical" in error["items"]
    assert (people.root / P17).exists()
    kept = people("erase", P17, "--plan", "--json").json["copies"]
    assert [(each["path"], each["identical"]) for each in kept] == [("data/copy.txt", True)]
    found = erase(people, P17, "--copies", "keep").json
    assert "data/copy.txt" in listed(people)
    assert found["files"] > 0
    assert people("erasure", "verify", found["erasure"], "--deep", "--json").json["clean"]


def test_copies_are_erased_wherever_they_are(people):
    people.write("data/copy.txt", SECRET + "more\n")
    people.commit("copied")
    found = erase(people, P17, "--copies", "erase").json
    assert "data/copy.txt" in found["paths"]
    assert "data/copy.txt" not in listed(people)
    assert not (people.root / "data/copy.txt").exists()
    assert people.status()["clean"] is True


def test_every_path_of_a_copy_is_told_before_it_goes(people):
    """Directories that are equal are looked at once, wherever they lie."""
    for place in ("data/one", "data/two/deep", "data/three"):
        people.write(f"{place}/here/copy.txt", SECRET + "more\n")
        people.write(f"{place}/other.txt", "something else\n")
    people.write("data/here/copy.txt", SECRET + "more\n")
    people.commit("copied")
    wanted = [f"data/{place}/copy.txt" for place in ("here", "one/here", "three/here", "two/deep/here")]
    told = people("erase", P17, "--plan", "--json").json
    assert [each["path"] for each in told["copies"]] == wanted
    told = people("erase", P17, "--copies", "erase", "--plan", "--json").json
    assert set(told["paths"]) == {*wanted, f"{P17}/deep/scan.txt", f"{P17}/note.txt"}
    assert set(wanted) <= set(told["worktree"])
    done = erase(people, P17, "--copies", "erase").json
    assert (done["paths"], done["files"], done["copies"]) == (told["paths"], told["files"], [])
    assert not set(wanted) & set(listed(people))
    assert not any((people.root / path).exists() for path in wanted)


def test_a_copy_goes_in_each_of_its_versions(people):
    for text in (SECRET, "something else\n", SECRET + "more\n"):
        people.write("data/copy.txt", text)
        people.commit("another version")
    done = erase(people, P17, "--copies", "erase").json
    assert done["copies"] == []
    versions = [each["snapshot"] for each in people("log", "--json").json]
    assert ["data/copy.txt" in listed(people, each) for each in versions[:3]] == [False, True, False]


def test_what_a_run_read_is_told_as_a_copy_once(people):
    people.write("data/copy.txt", SECRET + "more\n")
    people.commit("copied")
    python(people, "open('data/copy.txt').read()", "--in", "data")
    told = people("erase", P17, "--plan", "--json").json
    assert [each["path"] for each in told["copies"]] == ["data/copy.txt"]


def test_a_copy_of_a_part_is_told_with_the_bytes_in_common(data):
    text = "".join(f"line {number} of something long\n" for number in range(40_000))
    data.write("data/whole.txt", text)
    data.write("data/part.txt", text[:600_000] + "and something else\n")
    data.commit("long")
    copies = data("erase", "data/whole.txt", "--plan", "--json").json["copies"]
    assert [(each["path"], each["identical"]) for each in copies] == [("data/part.txt", False)]
    assert 0 < copies[0]["common"] < 600_000


def test_names_may_be_kept(people):
    found = erase(people, P17, "--keep-path").json
    kinds = {each["path"]: each["kind"] for each in people("ls", "-r", "--json").json}
    assert kinds[f"{P17}/note.txt"] == kinds[f"{P17}/deep/scan.txt"] == "erased"
    assert people("cat", f"HEAD:{P17}/note.txt", code=41).told
    assert people.status()["clean"] is True
    assert people("erasure", "verify", found["erasure"], "--deep", "--json").json["clean"]
    erase(people, P17, code=0)
    assert not any(P17 in path for path in listed(people))


def test_what_is_staged_is_erased_and_the_rest_of_the_stage_stays(people):
    people.write(f"{P17}/staged.txt", "staged\n")
    people.write("data/people/p18/staged.txt", "staged too\n")
    people("add", "data")
    erase(people, P17)
    assert people.staged() == {"added": ["data/people/p18/staged.txt"]}


def test_a_tracked_file_is_tracked_no_more(data):
    data.write("alone.txt", "somebody's\n")
    data("add", "alone.txt")
    data.commit("alone")
    erase(data, "alone.txt")
    assert data.status()["clean"] is True
    assert data("show", "--json").json["roots"] == ["data"]


def test_every_worktree_of_the_store_is_cleaned(people):
    people("worktree", "add", "../other", "HEAD")
    people("worktree", "add", "../behind", "HEAD~1")
    erase(people, P17)
    for name in ("other", "behind"):
        place = people.root.parent / name
        assert not (place / P17).exists()
        assert (place / "data/people/p18/note.txt").exists()
        done = subprocess.run(
            [sys.executable, "-m", "dvtool.cli.main", "status", "--json"], cwd=place, capture_output=True, check=True
        )
        assert json.loads(done.stdout)["clean"] is True


def test_a_hard_link_is_told(people):
    os.link(people.root / P17 / "note.txt", people.root.parent / "elsewhere")
    found = erase(people, P17).json
    assert found["linked"] == [f"{P17}/note.txt"]


def test_a_lock_file_names_what_stands_now(people):
    subprocess.run(["git", "init", "-q"], cwd=people.root, check=True)
    people.write("data/people/p18/x.txt", "x\n")
    people.commit("beside git")
    old = lock.decode((people.root / "dv.lock").read_bytes()).snapshot
    erase(people, P17)
    new = lock.decode((people.root / "dv.lock").read_bytes()).snapshot
    assert new == people.status()["snapshot"] != old
    assert people.status()["lock"]["matches"] is True
    assert people("show", old, "--json").json["snapshot"] == new


def test_an_author_is_erased_and_the_data_stays(people):
    people.write("data/b2.txt", "b2\n")
    people("commit", "-a", "-m", "by another", "--author", "Bob B. <Bob@Example.org>")
    found = erase(people, "--author-of", "bob@example.org").json
    assert (found["files"], found["snapshots"]) == (0, 1)
    authors = {each["message"]: each["author"] for each in people("log", "--json").json}
    assert authors.pop("by another") == "erased"
    assert all(author == "Test Author <test@example.org>" for author in authors.values())
    assert "data/b2.txt" in listed(people)


OFFICER = "Petra P. <Petra@Example.org>"
NAMED = Wanted(words=("Petra P.", "Petra@Example.org"))


def test_an_author_goes_from_holds_which_hold_on(people, monkeypatch):
    people("hold", "add", "data/people/p18", "--ground", "case 13/2026")
    with monkeypatch.context() as patch:
        patch.setenv("DV_AUTHOR", OFFICER)
        people("hold", "add", P17, "--ground", "case 12/2026")
    before = people("hold", "list", "--json").json
    told = people("erase", "--author-of", "petra@example.org", "--plan", "--json").json
    assert told["refs"] == [f"holds/{before[1]['id']}"]
    assert (told["snapshots"], told["files"]) == (0, 0)
    assert "from 1 hold" in people("erase", "--author-of", "petra@example.org", "--plan").text
    done = erase(people, "--author-of", "petra@example.org").json
    after = people("hold", "list", "--json").json
    assert [each.pop("author") for each in before] == ["Test Author <test@example.org>", OFFICER]
    assert [each.pop("author") for each in after] == ["Test Author <test@example.org>", "erased"]
    assert before == after
    assert attacker.search(str(people.root), NAMED) == ()
    assert erase(people, P17, code=12).error["why"] == "case 12/2026"
    people("erase", "--author-of", "petra@example.org", "--yes", code=10)
    assert people("erasure", "verify", done["erasure"], "--deep", "--json").json["clean"]
    assert people("fsck", "--json").json["clean"]


def test_an_author_goes_from_decisions_and_from_their_certificate(people, monkeypatch):
    python(people, f"open('m', 'w').write('m ' + open('{P17}/note.txt').read())", "--name", "m", "--out", "m")
    first = erase(people, P17, "--request", "R-1").json["erasure"]
    with monkeypatch.context() as patch:
        patch.setenv("DV_AUTHOR", OFFICER)
        people("erasure", "decide", first, "m", "keep", "--note", "see DPIA 7")
    before = people("erasure", "show", first, "--json").json["decisions"]
    assert before[0]["author"] == OFFICER
    assert attacker.search(str(people.root), NAMED)
    key = people.root / ".dv/clone-key"
    key.unlink()
    people("erase", "--author-of", "petra@example.org", "--plan")
    assert not key.exists()  # a plan signs nothing
    second = erase(people, "--author-of", "petra@example.org").json
    assert second["refs"] == [f"erasures/{first}"]
    after = people("erasure", "show", first, "--json").json["decisions"]
    assert after == [{**before[0], "author": "erased"}]
    signed = people("erasure", "certificate", first).text
    assert certificate.is_genuine(signed.encode())
    document = json.loads(signed)
    assert (document["models"][0]["author"], document["request"]) == ("erased", "R-1")
    assert attacker.search(str(people.root), NAMED) == ()
    assert people("erasure", "verify", second["erasure"], "--deep", "--json").json["clean"]


def test_texts_are_told_and_taken_out_on_request(people):
    people.write("data/people/p18/y.txt", "y\n")
    people.commit(f"about {P17} and others")
    told = people("erase", P17, "--plan", "--json").json["mentions"]
    assert len(told) == 1
    assert told[0].startswith("the message of snapshot")
    erase(people, P17, "--redact-text")
    assert snapshots(people)["about [erased] and others"]


def test_code_that_was_not_committed_is_told_and_taken_out_on_request(people):
    people.git("init", "-q")
    people.write("train.py", "PLACES = []\n")
    people.git("add", "train.py")
    people.git("commit", "-q", "-m", "code")
    people.write("train.py", f"PLACES = ['{P17}']\n")
    identity = python(people, "pass")
    assert attacker.search(str(people.root), Wanted(words=(P17,)), rows=["chunks"])
    assert f"the code of run {identity}" in people("erase", P17, "--plan", "--json").json["mentions"]
    erase(people, P17, "--redact-text")
    assert attacker.search(str(people.root), Wanted(words=(P17,)), rows=["chunks", "objects"]) == ()
    assert "was taken out of the patch" in people("runs", "show", identity).text


def test_an_undo_does_not_pass_an_erasure(people):
    erase(people, P17)
    people("undo", code=10)
    people.write("data/after.txt", "after\n")
    people.commit("after")
    people("undo")
    assert people("log", "-n", "1", "--json").json[0]["message"] == "more"


def test_a_snapshot_that_nothing_leads_to_is_told_and_goes(people):
    people.write("data/lost.txt", "lost\n")
    people.commit("lost")
    lost = people.status()["snapshot"]
    people("undo")
    people("restore", "--staged", "data")
    (people.root / "data/lost.txt").unlink()
    assert people("erase", P17, "--plan", "--json").json["forgotten"] == [lost]
    erase(people, P17)
    people("show", lost, code=10)


# ---------------------------------------------------------------------------------------------------------- stopped


def stop(dv, monkeypatch, owner, name):
    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupt)
        dv("erase", P17, "--yes", code=130)


def test_an_erasure_that_was_announced_is_told_and_finished_or_given_up(people, monkeypatch):
    stop(people, monkeypatch, erasing, "commit")
    assert "dv erasure resume" in people("status").text
    people.write("data/people/p18/x.txt", "x\n")
    assert "dv erasure resume" in people("commit", "-a", "-m", "x", "--json", code=12).error["next"]
    assert "is pending" in people("erase", "data/a.txt", "--yes", "--json", code=12).error["what"]
    (pending,) = people("erasure", "list", "--json").json
    assert (pending["state"], pending["files"]) == ("announced", None)
    people("erasure", "verify", pending["id"], code=12)
    people("erasure", "certificate", pending["id"], code=10)
    assert "nothing is erased" in people("erasure", "abort").text
    people("erasure", "abort", code=10)
    people.commit("x")
    assert (people.root / P17).exists()
    stop(people, monkeypatch, erasing, "commit")
    assert people("erasure", "resume", "--json").json["state"] == "finished"
    assert not (people.root / P17).exists()


def test_an_erasure_that_was_committed_can_only_be_finished(people, monkeypatch):
    stop(people, monkeypatch, erasing, "destroy")
    assert people.status()["pending_erasures"] != []
    assert "committed" in people("erasure", "abort", code=12).told
    (pending,) = people("erasure", "list", "--json").json
    assert pending["state"] == "committed"
    assert "finished" in people("erasure", "resume").text
    assert people("erasure", "verify", pending["id"], "--deep", "--json").json["clean"]
    people("erasure", "resume", code=10)
    people("erasure", "resume", pending["id"], code=12)
    people("erasure", "show", "E-0000", code=10)
    people("erasure", "show", "nonsense", code=2)


# ------------------------------------------------------------------------------------------------------ experiments


def test_a_run_keeps_what_it_was_and_says_what_is_missing(people):
    script = (
        f"print('reading {P17}/note.txt'); print('and others'); import glob, json\n"
        "text = ''.join(open(f).read() for f in sorted(glob.glob('data/people/**/*.txt', recursive=True)))\n"
        "json.dump(len(text), open('model.json', 'w'))\n"
        "import dvtool; run = dvtool.run(); run.log(step=1, loss=0.25)\n"
        f"run.log_samples({{'path': ['{P17}/note.txt', 'data/people/p18/note.txt'], 'label': [1, 0]}})"
    )
    old = people.status()["snapshot"]
    identity = python(
        people, script, "--in", "data/people=train", "--out", "model.json", "-p", "lr=0.5", "-p", "seed=1"
    )
    before = people("runs", "show", identity, "--json").json
    found = erase(people, P17).json
    assert found["runs"] == [identity]
    assert [(each["run"], each["direct"]) for each in found["models"]] == [(identity, True)]
    after = people("runs", "show", identity, "--json").json
    for key in ("params", "metrics", "environment", "status", "started", "outputs"):
        assert after[key] == before[key], key
    assert after["inputs"][0]["files"] == before["inputs"][0]["files"]
    assert after["inputs"][0]["snapshot"] == found["superseded"][old]
    assert "files that it read were erased" in json.dumps(after["reproducible"])
    assert people("runs", "logs", identity).text == "[erased]\nand others\n"
    assert [each["rows"] for each in after["samples"]] == [1]
    assert people("runs", "fetch", identity, "-o", "back").out
    decided = people("erasure", "decide", found["erasure"], identity, "keep", "--note", "one of many", "--json").json
    assert (decided["decision"], decided["note"]) == ("keep", "one of many")
    shown = people("erasure", "show", found["erasure"], "--json").json
    assert shown["outstanding"] == []
    assert shown["decisions"][0]["decision"] == "keep"
    text = people("erasure", "certificate", found["erasure"]).text
    assert json.loads(text)["models"][0]["decision"] == "keep"
    assert certificate.is_genuine(text.encode())


def test_models_of_models_are_named(people):
    first = python(people, f"open('m1', 'w').write('m1 ' + open('{P17}/note.txt').read())", "--out", "m1")
    second = python(people, "open('m2', 'w').write('m2 ' + open('m1').read())", "--out", "m2")
    other = python(people, "open('m3', 'w').write(open('data/people/p18/note.txt').read())", "--out", "m3")
    found = erase(people, P17).json
    assert {each["run"]: each["direct"] for each in found["models"]} == {first: True, second: False}
    assert other not in found["runs"]
    people("erasure", "decide", found["erasure"], other, "keep", code=10)
    people("erasure", "decide", found["erasure"], second, "burn", code=2)


def test_the_same_data_is_the_same_data_afterwards(people):
    words = ["--in", "data/people", "-p", "seed=1"]
    one, two = python(people, "pass", *words), python(people, "pass", *words)
    people.write("data/people/p18/z.txt", "z\n")
    people.commit("another state")
    three = python(people, "pass", *words)
    erase(people, P17)
    assert people("runs", "diff", one, two, "--json").json["same"]["data"] is True
    assert people("runs", "diff", one, three, "--json").json["same"]["data"] is False


def test_lineage_goes_on_after_an_erasure(people):
    first = python(
        people, "open('m1', 'w').write(open('data/people/p18/note.txt').read() * 9)", "--out", "m1", "--in", "data"
    )
    second = python(people, "open('m2', 'w').write(open('m1').read())", "--out", "m2")
    erase(people, P17)
    labels = {each["id"] for each in people("lineage", second, "--up", "--json").json["nodes"]}
    assert first in labels
    assert people("lineage", "data/people/p18/note.txt", "--down", "--json").json["edges"]


def test_a_run_that_goes_on_is_waited_for(people):
    process = subprocess.Popen(
        [sys.executable, "-m", "dvtool.cli.main", "run", "--", "sh", "-c", "touch ready; sleep 60"], cwd=people.root
    )
    try:
        until((people.root / "ready").exists)
        assert "goes on" in erase(people, P17, code=12).error["what"]
        assert people.status()["pending_erasures"] == []
    finally:
        process.terminate()
        process.wait()
    (people.root / "ready").unlink()
    erase(people, P17)


# ---------------------------------------------------------------------------------------------------------- remotes


def test_what_was_erased_does_not_come_back_from_a_remote(people):
    people("remote", "add", "origin", "../remote", "--plain-keys")
    people("push")
    remote = people.root.parent / "remote"
    remote.rename(people.root.parent / "away")
    found = erase(people, P17).json
    assert found["remotes"] == ["origin"]
    assert any("remote origin: it was not reached" in each for each in found["outstanding"])
    (people.root.parent / "away").rename(remote)
    for words in (["fetch"], ["pull"], ["push"]):
        assert "erased here" in people(*words, "--json", code=12).error["what"]
    assert not any(P17 in path for path in listed(people))
    (here, origin) = people("erasure", "verify", found["erasure"], "--deep", "--json", code=1).json["places"]
    assert here["clean"]
    assert origin["problems"] == ["nothing of this erasure is done there yet"]
    assert "late uploads" in people("erasure", "resume", "--json").json["outstanding"][0]
    for words in (["fetch"], ["pull"], ["push"]):
        people(*words)
    assert people("erasure", "verify", found["erasure"], "--deep", "--json").json["clean"]
    assert "at remote origin" in people("erasure", "verify").text
    assert "remote origin: not done" in people("erasure", "show").text
    people("remote", "add", "fresh", "../fresh", "--plain-keys")
    people("push", "fresh")
    people("fetch", "fresh")
    three = people.root.parent / "three"
    people("clone", "../fresh", "../three")
    assert (three / "data/people/p18/note.txt").exists()
    assert not (three / P17).exists()
