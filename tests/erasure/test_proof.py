"""What is left when something was erased, searched as an attacker would who has every key.

The search finds it again when a step of the erasure is left out, or it would prove nothing.
"""

import os
import shutil
import subprocess
import sys

import pytest

from dvtool.erasure import local, planning, rewriting
from dvtool.erasure import runs as erasing_runs
from dvtool.errors import NotFoundError, UsageError
from dvtool.repo import Repo
from dvtool.store import erasing
from dvtool.testing import attacker
from dvtool.testing.canary import Wanted
from tests.faults.conftest import noise, put

WORD = "Zacharias-Quandt"
TEXT = b"diagnosis of the one who asked to be forgotten, born 1962-04-17, in Aachen\n"
LONG = noise(71, 400_000)
WHO = f"data/people/{WORD}"
DV = [sys.executable, "-m", "dvtool.cli.main"]
PROGRAM = f"""
import dvtool, glob, json
print('reading {WHO}/record.txt')
with dvtool.run('trained', stage='train', inputs=[('data/people', 'train')], outputs=['model.json']) as run:
    sizes = [len(open(path, 'rb').read()) for path in sorted(glob.glob('data/people/*/*'))]
    run.params(lr=0.5, seed=1)
    run.log(step=1, loss=0.25)
    run.log_samples({{'path': sorted(glob.glob('data/people/*/*')), 'label': sizes}})
    json.dump(sum(sizes) % 7, open('model.json', 'w'))
"""


def dv(root, *words, code=0):
    done = subprocess.run([*DV, *words], cwd=root, capture_output=True, check=False)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout.decode()


def build(root):
    """A person in every place that a repository has for them."""
    os.makedirs(root)
    for number in range(9):
        put(f"{root}/data/people/p{number}/record.txt", b"nobody in particular, number %d\n" % number)
    repo = Repo.init(root)
    repo.add(["data"])
    repo.commit("before")
    put(f"{root}/{WHO}/record.txt", TEXT)
    put(f"{root}/{WHO}/scan.bin", LONG)
    repo.commit("with", everything=True)
    repo.create_tag("v1")
    put(f"{root}/{WHO}/record.txt", TEXT + b"and more\n")
    put(f"{root}/data/people/p9/record.txt", b"came later\n")
    repo.commit("later", everything=True)
    repo.create_branch("side")
    for number in range(2):
        dv(root, "run", "--name", f"outer-{number}", "--in", "data/people=train", "--", sys.executable, "-c", PROGRAM)
    # Once recorded, and led to by nothing but the log.
    put(f"{root}/{WHO}/forgotten.txt", TEXT + b"once\n")
    repo = Repo.open(root)
    repo.commit("taken back", everything=True)
    repo.undo()
    repo.add_worktree(f"{os.path.dirname(root)}/other", "v1")
    put(f"{root}/{WHO}/staged.txt", TEXT + b"staged\n")
    Repo.open(root).add(["data"])
    Repo.fsck(root)
    # A damaged file that a repair took out, and what a command that was killed left.
    put(f"{root}/.dv/quarantine/20260101-000000/packs/x", TEXT)
    put(f"{root}/.dv/tmp/999999999-0-{'ab' * 8}", TEXT)
    put(f"{root}/data/.dv-partial-999999999-0-{'ab' * 8}", TEXT)
    put(f"{root}/.dv/writing", b"data\0")
    put(f"{root}/.dv/runs/broken-20260101-000000-0000000000/stdout.txt", TEXT)
    put(f"{root}/.dv/runs/new-20260101-000000-0000000000/stdout.txt", TEXT)


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DV_AUTHOR", "Test Author <test@example.org>")
        base = tmp_path_factory.mktemp("proof")
        build(os.path.realpath(base / "repo"))
    return base


@pytest.fixture
def root(people, tmp_path, monkeypatch):
    """A copy of it; the other worktree is at its own place, and so is the note of where it is."""
    monkeypatch.setenv("DV_AUTHOR", "Test Author <test@example.org>")
    place = os.path.realpath(tmp_path / "base")
    shutil.copytree(people, place, symlinks=True)
    old = os.path.realpath(people)
    for name in (f"{place}/other/.dv/store", f"{place}/repo/.dv/worktrees"):
        with open(name, encoding="utf-8") as file:
            text = file.read()
        with open(name, "w", encoding="utf-8") as file:
            file.write(text.replace(old, place))
    return f"{place}/repo"


def erase(root, **options):
    return Repo.open(root).erase([WHO], redact_text=True, **options)


CONTENTS = (TEXT, TEXT + b"and more\n", TEXT + b"once\n", TEXT + b"staged\n", LONG)
WANTED = Wanted(
    contents=CONTENTS,
    files=((f"{WHO}/record.txt", TEXT + b"and more\n"), (f"{WHO}/scan.bin", LONG)),
    words=(WORD, f"{WHO}/record.txt", "forgotten.txt", "scan.bin"),
)


def found(root, **options):
    return attacker.search(root, WANTED, **options)


def test_it_is_everywhere_before(root):
    rows = {each.row for each in found(root)}
    assert {"worktree", "chunks", "objects", "long files", "index of the worktree", "quarantine"} <= rows


def test_nothing_is_left(root):
    saved = f"{os.path.dirname(root)}/saved"
    shutil.copytree(f"{root}/.dv/store/packs", saved)
    kept = set(os.listdir(saved))
    erase(root, request="DSR-1", ground="Art. 17")
    # Packs that stay hold nothing of it, and of the others no key is left.
    for name in set(os.listdir(f"{root}/.dv/store/packs")) & kept:
        os.unlink(f"{saved}/{name}")
    assert [str(each) for each in found(root, saved=[saved])] == []
    assert Repo.fsck(root).clean


STEPS = {
    "trees are rewritten": (rewriting.Trees, "root", lambda _self, root, *_more: (root, 0)),
    "runs are rewritten": (erasing_runs.Runs, "rewritten", lambda *_arguments: None),
    "what was printed is searched": (erasing_runs.Runs, "_printed", lambda *_arguments: None),
    "samples are filtered": (erasing_runs.Runs, "_sample", lambda *_arguments: None),
    "totals are rounded": (erasing_runs, "_rounded", lambda size: size),
    "fingerprints are replaced": (erasing_runs.Runs, "_token", lambda _self, fingerprint: fingerprint),
    "old packs go": (planning._Planner, "_packs", lambda _self: None),
    "files are destroyed": (erasing, "_purge", lambda *_arguments, **_how: None),
    "worktrees are cleaned": (local, "_remove", lambda *_arguments: []),
    "caches and quarantine go": (local, "CACHES", ()),
    "other worktrees are cleaned": (local, "worktrees", lambda workspace: [(workspace.session.root, workspace)]),
}


@pytest.mark.parametrize(("owner", "name", "instead"), STEPS.values(), ids=STEPS)
def test_a_step_that_is_left_out_is_noticed(root, monkeypatch, owner, name, instead):
    monkeypatch.setattr(owner, name, instead)
    saved = f"{os.path.dirname(root)}/saved"
    shutil.copytree(f"{root}/.dv/store/packs", saved)
    before = set(os.listdir(saved))
    try:
        erase(root)
    except (NotFoundError, UsageError):
        assert name in {"root", "rewritten"}  # a plan that comes to nothing, or leaves copies behind, is refused
        return
    for pack in set(os.listdir(f"{root}/.dv/store/packs")) & before:
        if name not in {"_packs", "_purge"}:
            os.unlink(f"{saved}/{pack}")
    assert found(root, saved=[saved])


@pytest.mark.parametrize("name", ["empty_entries", "_purge"])
def test_what_two_steps_keep_from_being_read_is_noticed_when_one_is_left_out(root, monkeypatch, name):
    """Entries are emptied, and the keys that opened them destroyed; the check that follows names what stayed."""
    monkeypatch.setattr(erasing, name, lambda *_arguments, **_how: 0)
    done = erase(root)
    assert any("of the log was not emptied" in each or "no entry needs" in each for each in done.outstanding)


def test_names_that_are_kept_are_all_that_is_left(root):
    erase(root, keep_path=True)
    left = found(root)
    assert left
    assert all(each.found in {"word", WORD} or "word" in each.found for each in left), left


def test_a_locator_that_stays_opens_for_nobody(root):
    """It stays for the sake of a remote; what would open it went with the snapshots that are superseded."""
    put(f"{root}/dv.toml", b'[remote.origin]\nurl = "../nowhere"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(erasing, "destroy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            erase(root)
    assert "locators" in {each.row for each in found(root)}  # the journal has the key
    Repo.open(root).resume_erasure()
    state = Repo.open(root).workspace.session.store.refresh()
    assert len(list(state.locators.items())) == 1
    assert [str(each) for each in found(root)] == []


def interrupted(*_arguments):
    raise KeyboardInterrupt


def test_a_path_that_was_dropped_is_noted_no_more(root):
    Repo.open(root).add(["data"])
    repo = Repo.open(root)
    repo.commit("all of it")
    repo.drop([WHO])
    assert "notes of dv" in {each.row for each in found(root)}
    erase(root)
    assert [str(each) for each in found(root)] == []


def test_planning_is_what_is_carried_out(root):
    told = Repo.open(root).erase([WHO], plan=True, redact_text=True)
    done = erase(root)
    assert (told.paths, told.superseded.keys(), told.runs) == (done.paths, done.superseded.keys(), done.runs)
    assert planning.NOBODY not in str(told)
