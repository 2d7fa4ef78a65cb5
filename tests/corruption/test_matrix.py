"""The rest of the matrix: files that were doubled under another name, and every file beside the store, damaged.

What is damaged is named, made anew, or a text that its owner might have written; nothing ends as a bug, and nothing
that the store holds is lost by it.  The last test says that no kind of file was forgotten.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dvtool.cli import exits, main
from dvtool.errors import DvError
from dvtool.operations.fsck import fsck
from dvtool.repo import Repo
from dvtool.testing import damage
from dvtool.testing.audit import audit
from dvtool.worktree.session import Context
from tests.corruption.conftest import Sample, build, put
from tests.corruption.test_every_kind import positions

STORED = {
    "format": lambda _path: "format-2",
    "repository key": lambda _path: "keys/" + "ab" * 16,
    "log entry": lambda path: f"log/{int(os.path.basename(path), 16) + 1:016x}",
    "log key": lambda _path: "keys/log-" + "ab" * 16,
    "key file": lambda _path: "keys/" + "cd" * 16,
    "index file": lambda _path: "index/" + "cd" * 16,
    "data pack": lambda _path: "packs/" + "cd" * 32,
    "metadata pack": lambda _path: "packs/" + "ef" * 32,
}
"""Kinds of files of a store, and the other name under which one of them is found again."""

BESIDE = {
    "index": ".dv/index",
    "head": ".dv/cache/head",
    "checks": ".dv/cache/fsck",
    "places": ".dv/worktrees",
    "lock": ".dv/lock",
    "writing": ".dv/writing",
    "worktree": ".dv/worktree",
    "config": ".dv/config",
    "dv.lock": "dv.lock",
    "dv.toml": "dv.toml",
    "ignore": ".dvignore",
    "gitignore": ".gitignore",
    "own gitignore": ".dv/.gitignore",
}
SILENT = ("dv.lock", "gitignore", "own gitignore")
"""What no command here needs; of the first more is said below, the others are read by Git."""
ANEW = ("index", "head", "checks", "places", "lock", "writing")
"""What is made anew, or told by nobody that it was there."""
TOML = b'[splits]\ntrain = ["data/sub"]\n\n[hooks]\nunstored-data = "warn"\n'


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A repository with every kind of file, and another one."""
    place = tmp_path_factory.mktemp("whole")
    made = []
    for number, name in enumerate(("one", "other")):
        root = f"{place}/{name}"
        build(root, number)
        repo = Repo.open(root)
        subprocess.run(["git", "init", "-q", "--template=", root], check=True, timeout=60)
        put(f"{root}/dv.toml", TOML)
        repo = Repo.open(root)
        put(f"{root}/data/staged-2.txt", b"beside Git\n")
        repo.add([f"{root}/data"])
        repo.commit("beside Git")
        put(f"{root}/data/staged-3.txt", b"staged again\n")
        repo.add([f"{root}/data"])
        repo.configure("user.name", f"Ada {name}")
        repo.add_worktree(f"{place}/{name}-2", "side")
        fsck(root, Context())
        made.append(Sample(root))
        put(f"{root}/.dv/writing", b"data\0data/sub\0")
    return made


def commands(root, capture):
    """What all that reads, and a commit, say: exit codes and words; a bug is one whatever was damaged."""
    told = {}
    for words in (
        ["status", "--json"],
        ["ls", "-r"],
        ["config"],
        ["doctor"],
        ["worktree", "list"],
        ["diff", "HEAD~1", "HEAD"],
        ["add", "data"],
        ["commit", "--allow-empty", "-m", "goes on"],
    ):
        capture.readouterr()
        code = main.run(["-C", root, *words])
        sys.stdout.flush()
        out, err = capture.readouterr()
        assert code != exits.BUG, (words, err)
        assert "Traceback" not in err, (words, err)
        told[words[0]] = (code, out + err)
    return told


def held(root):
    """Every snapshot of a store, all of which is read."""
    repo = Repo.open(root)
    audit(repo.workspace.session.store)
    return {item.snapshot for revision in ("main", "side") for item in repo.log(revision)}


def ways(sample, kind):
    path = f"{sample.root}/{BESIDE[kind]}"
    size = os.path.getsize(path)
    return damage.WHOLE | {f"a bit of byte {at}": flipping(at) for at in positions(size, 3)}


def flipping(at):
    return lambda path: damage.flip(path, at, 1 << (at % 8))


def put_a_directory(path):
    os.unlink(path)
    os.mkdir(path)


@pytest.mark.parametrize("kind", BESIDE)
def test_a_damaged_file_beside_the_store_is_named_or_made_anew(whole, tmp_path, capfd, kind):
    sample, other = whole
    found = ways(sample, kind) | {
        "that of another repository": lambda path: damage.copy_over(path, f"{other.root}/{BESIDE[kind]}"),
        "a file of another kind": lambda path: damage.copy_over(path, f"{sample.root}/.dv/store/format"),
        "a directory in its place": put_a_directory,
    }
    before = held(sample.root)
    noticed = 0
    for way, harm in found.items():
        root = sample.copy(tmp_path)
        path = f"{root}/{BESIDE[kind]}"
        harm(path)
        if kind == "lock" and way == "a directory in its place":
            continue  # it keeps commands out, and is told as what it is
        told = commands(root, capfd)
        text = "".join(words for _code, words in told.values())
        failed = {word: code for word, (code, _words) in told.items() if code not in {0, 1}}
        if kind in ANEW and way != "a directory in its place":
            assert not failed, (kind, way, text)
        if failed:
            assert os.path.basename(path) in text or kind in text, (kind, way, failed, text)
            noticed += 1
        # Put right, all is as it was: nothing but this file was lost.
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        shutil.copy2(f"{sample.root}/{BESIDE[kind]}", path)
        if kind == "head":
            os.unlink(path)  # it remembers less than has happened since
        assert before <= held(root), (kind, way)
    assert noticed or kind in {*ANEW, *SILENT}, f"nobody noticed any damage to {kind}"


@pytest.mark.parametrize("way", [*damage.WHOLE, "flipped", "another's"])
def test_a_damaged_lock_file_is_told_and_written_anew(whole, tmp_path, capfd, way):
    sample, other = whole
    root = sample.copy(tmp_path)
    path = f"{root}/dv.lock"
    good = Path(path).read_bytes()
    if way == "flipped":
        damage.flip(path, len(good) // 2)
    elif way == "another's":
        damage.copy_over(path, f"{other.root}/dv.lock")
    else:
        damage.WHOLE[way](path)
    capfd.readouterr()
    code = main.run(["-C", root, "status", "--json"])
    sys.stdout.flush()
    out, err = capfd.readouterr()
    assert code == 0
    lock = json.loads(out)["lock"]
    if way != "truncated by a byte":  # the line feed alone: it says the same
        assert lock["snapshot"] is None or not lock["matches"], (way, out, err)
    assert main.run(["-C", root, "checkout", "HEAD"]) == 0
    assert Path(path).read_bytes().strip() == good.strip()


def is_found(root, name, before):
    """Whether a complete check names a file, or a collection takes it for garbage once it is old enough."""
    if any(problem.file == name for quick in (False, True) for problem in fsck(root, Context(), quick=quick).problems):
        return True
    os.utime(f"{root}/.dv/store/{name}", (1, 1))
    return Repo.open(root).gc(dry_run=True).condemned.files == before + 1


@pytest.mark.parametrize("kind", STORED)
def test_a_file_that_is_there_twice_is_found_and_changes_nothing(whole, tmp_path, kind):
    sample, _other = whole
    root = sample.copy(tmp_path)
    before = Repo.open(root).gc(dry_run=True).condemned.files
    path = sample.kinds[kind][-1]
    name = STORED[kind](path)
    assert not os.path.lexists(f"{root}/.dv/store/{name}")
    shutil.copy2(f"{root}/{path}", f"{root}/.dv/store/{name}")
    outcome = sample.outcome(root)
    if isinstance(outcome, DvError):
        assert kind == "log entry"
        assert name in outcome.where
        return
    assert outcome == "same"
    assert is_found(root, name, before), f"nobody found the second {kind}"


def test_a_pointer_to_a_store_that_is_damaged_is_named(whole, capfd):
    sample, _other = whole
    pointer = f"{sample.root}-2/.dv/store"
    good = Path(pointer).read_bytes()
    chance = random.Random(7)
    harms = dict(damage.WHOLE)
    for _number in range(4):
        at = chance.randrange(len(good) - 1)
        harms[f"byte {at}"] = flipping(at)
    for way, harm in harms.items():
        harm(pointer)
        try:
            if os.path.exists(pointer) and Path(pointer).read_bytes().rstrip(b"\0") == good:
                continue
            capfd.readouterr()
            code = main.run(["-C", f"{sample.root}-2", "status"])
            sys.stdout.flush()
            _out, err = capfd.readouterr()
            if way == "truncated by a byte":
                continue  # the line feed alone
            assert code in {10, 20, 21, 30}, (way, code, err)
            assert ".dv" in err or "store" in err, (way, err)
        finally:
            if os.path.lexists(pointer):
                os.unlink(pointer)
            Path(pointer).write_bytes(good)
    assert main.run(["-C", f"{sample.root}-2", "status"]) == 0


def test_no_kind_of_file_is_forgotten(whole):
    sample, _other = whole
    known = {path for kind in STORED for path in sample.kinds[kind]} | set(BESIDE.values())
    found = set()
    for directory, _below, names in os.walk(f"{sample.root}/.dv"):
        found |= {os.path.relpath(f"{directory}/{name}", sample.root) for name in names}
    found |= {name for name in os.listdir(sample.root) if os.path.isfile(f"{sample.root}/{name}")}
    # A checkpoint merges small index files; the old ones, with their key files, are garbage from then on.
    garbage = {path for path in found if re.fullmatch(r"\.dv/store/(keys|index)/[0-9a-f]{32}", path)}
    assert found - garbage == known - garbage
    assert os.listdir(f"{sample.root}/.dv/store/acks") == []
