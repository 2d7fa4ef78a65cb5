"""What ``dv erase`` refuses to begin, with nothing changed."""

import json

import pytest

from dvtool.erasure import steps
from dvtool.errors import StorageError
from dvtool.formats import erasure as formats
from dvtool.repo import Repo
from dvtool.store import erasing
from tests.cli.erasing import P17, erase, listed
from tests.cli.running import store_of

BAD = {
    "nothing": ([], 2, "nothing is named"),
    "never stored": (["data/people/p99"], 10, "ever stored"),
    "one of two never stored": ([P17, "data/people/p99"], 10, "ever stored"),
    "everything": (["data"], 2, "--all"),
    "everything by a pattern": (["**"], 2, "--all"),
    "outside": (["../x"], 2, "outside"),
    "its own": ([".dv"], 2, "never data"),
    "empty": ([""], 2, "names nothing"),
    "subject of no file": (["--subject", "p99"], 10, "ever stored"),
    "no id of a subject": (["--subject", "a/b"], 2, "id of no subject"),
    "author of nothing": (["--author-of", "nobody@example.org"], 10, "ever stored"),
}


@pytest.mark.parametrize(("words", "code", "said"), BAD.values(), ids=BAD)
def test_a_target_that_makes_no_sense_changes_nothing(people, words, code, said):
    before = store_of(people).refresh().number
    error = people("erase", *words, "--yes", "--json", code=code).error
    assert said in json.dumps(error)
    assert store_of(people).refresh().number == before
    assert (people.root / P17).exists()


@pytest.mark.parametrize("held", [[P17], ["data/people/*/note.txt"], ["data"], ["--subject", "p17"]], ids=" ".join)
@pytest.mark.parametrize("asked", [[P17], ["--subject", "p17"]], ids=" ".join)
def test_what_is_held_is_not_erased(people, held, asked):
    people("hold", "add", *held, "--ground", "case 12/2026")
    before = store_of(people).refresh().number
    error = erase(people, *asked, code=12).error
    assert error["why"] == "case 12/2026"
    assert store_of(people).refresh().number == before
    told = people("erase", *asked, "--plan", "--json").json["holds"]
    assert {each["ground"] for each in told} == {"case 12/2026"}
    assert "held, so it cannot be erased" in people("erase", *asked, "--plan").text
    people("hold", "release", *held)
    erase(people, *asked)


def test_a_hold_on_others_is_no_matter(people):
    people("hold", "add", "data/people/p18", "--ground", "case 13/2026")
    erase(people, P17)
    assert len(people("hold", "list", "--json").json) == 1
    assert people("fsck", "--json").json["clean"]


def test_everything_goes_if_that_is_said(people):
    erase(people, "data", "--all")
    assert listed(people) == []
    assert people("fsck", "--json").json["clean"]
    people.write("data/again.txt", "again\n")
    people("add", "data")
    people.commit("again")
    assert listed(people) == ["data/again.txt"]


@pytest.mark.parametrize("text", ["", "\n \n", "\xff"])
def test_a_list_of_no_targets_is_refused(people, text):
    targets = people.root.parent / "targets"
    targets.write_bytes(text.encode("latin-1"))
    erase(people, "--targets-from", str(targets), code=2)
    erase(people, "--targets-from", str(targets) + "-not-there", code=2)


def test_a_target_given_both_ways_is_refused(people):
    targets = people.root.parent / "targets"
    targets.write_text(f"{P17}\n")
    assert erase(people, P17, "--targets-from", str(targets), code=2).error["items"] == [P17]


def test_a_rule_must_hold_a_subject(people):
    people.write("dv.toml", '[[subject]]\npaths = "data/people/**"\n')
    erase(people, "--subject", "p17", code=21)
    people.write("dv.toml", "")
    erase(people, "--subject", "p17", code=2)


def test_what_was_erased_already_is_not_there_any_more(people):
    erase(people, P17)
    assert "erased already" in erase(people, P17, code=10).error["what"]


def everything(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


@pytest.mark.parametrize("pending", [False, True], ids=["erase", "resume"])
def test_with_a_wrong_passphrase_nothing_is_erased_and_nothing_changes(people, monkeypatch, pending):
    people.write("phrase", "correct horse")
    people("key", "protect", "--passphrase-file", "phrase")
    monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
    if pending:
        with monkeypatch.context() as patch:
            patch.setattr(erasing, "destroy", failing)
            erase(people, P17, code=30)
    before = everything(people.root)
    for phrase in ("wrong horse", None):
        if phrase is None:
            monkeypatch.delenv("DV_PASSPHRASE")
        else:
            monkeypatch.setenv("DV_PASSPHRASE", phrase)
        words = ("erasure", "resume", "--json") if pending else ("erase", P17, "--yes", "--json")
        assert people(*words, code=40).error["kind"] == "keys"
        assert everything(people.root) == before
    monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
    if pending:
        people("erasure", "resume", "--json")
    else:
        erase(people, P17)
    assert not (people.root / P17).exists()


def failing(_store):
    raise StorageError("the disk does not answer")


def test_with_the_key_of_another_repository_nothing_is_erased(people, tmp_path):
    other = Repo.init(str(tmp_path / "other"))
    key = people.root / ".dv/store/keys/repo"
    own = key.read_bytes()
    key.chmod(0o600)
    key.write_bytes((tmp_path / "other/.dv/store/keys/repo").read_bytes())
    assert other.root
    before = everything(people.root)
    erase(people, P17, code=40)
    assert everything(people.root) == before
    key.write_bytes(own)
    erase(people, P17)


def test_more_than_one_record_can_tell_is_refused_before_anything_is_announced(people, monkeypatch):
    """Its certificate comes last: it must not turn out then that there is no room for it."""
    number = store_of(people).refresh().number
    with monkeypatch.context() as patch:
        patch.setattr(steps, "ROOM", formats.SIZE_LIMIT - 500)
        for words in (("--plan",), ("--yes",)):
            error = people("erase", P17, *words, "--json", code=2).error
            assert "too much is to be erased at once" in error["what"]
            assert "dv expire" in error["next"]
        assert store_of(people).refresh().number == number
    erase(people, P17)
