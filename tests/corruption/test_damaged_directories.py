"""A damaged directory costs what it holds: other files come out, and what the worktree has below it stays."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from dvtool import ids
from dvtool.errors import IntegrityError
from dvtool.formats.tree import LONG
from dvtool.repo import Repo
from dvtool.store import manifests
from dvtool.testing.damage import flip
from tests.corruption.conftest import put


def build(root):
    """Two snapshots that differ everywhere, tagged ``one`` and ``two``; HEAD is the second."""
    repo = Repo.init(root)
    for number, tag in enumerate(("one", "two")):
        for path in ("data/a.txt", "data/bad/b.txt", "data/bad/deep/c.txt", "data/good/d.txt"):
            put(f"{root}/{path}", f"{path} {tag}\n".encode() * (number + 1))
        put(f"{root}/data/bad/only-{tag}.txt", b"here only\n")
        repo.add(["data"])
        repo.commit(tag)
        repo.create_tag(tag)
        os.unlink(f"{root}/data/bad/only-{tag}.txt")
    put(f"{root}/data/bad/only-two.txt", b"here only\n")
    assert repo.status().clean
    return repo


def break_tree(root, revision, path="data/bad"):
    """Damage the object of one directory, and return what mends it."""
    workspace = Repo.open(root).workspace
    session = workspace.session
    entry = session.trees.resolve(session.snapshot(workspace.resolve(revision).id).root, path)
    assert entry is not None
    segment, location = session.store.locate(ids.TREE, entry.id)
    file = f"{root}/.dv/store/{segment.pack(location.pack).file}"
    flip(file, location.offset + 3)
    return lambda: flip(file, location.offset + 3)


@pytest.fixture
def root(tmp_path):
    build(str(tmp_path / "work"))
    return str(tmp_path / "work")


def text(root, path):
    place = Path(root) / path
    return place.read_text() if place.exists() else None


def refused(action, *named):
    with pytest.raises(IntegrityError) as caught:
        action()
    told = [item.partition(":")[0] for item in caught.value.items]
    assert told == list(named)
    return caught.value


def files_below(root):
    return sorted(
        os.path.relpath(os.path.join(above, name), root)
        for above, _directories, names in os.walk(root)
        for name in names
        if "/.dv" not in above
    )


def test_checkout_of_a_damaged_snapshot_writes_what_it_can_and_wipes_nothing(root):
    mend = break_tree(root, "one")
    before = files_below(f"{root}/data/bad")
    refused(lambda: Repo.open(root).checkout("one"), "data/bad")
    assert text(root, "data/a.txt") == "data/a.txt one\n"
    assert text(root, "data/good/d.txt") == "data/good/d.txt one\n"
    assert files_below(f"{root}/data/bad") == before
    assert text(root, "data/bad/b.txt") == "data/bad/b.txt two\n" * 2
    told: list[str] = []
    repo = Repo.open(root)
    repo.workspace.session.context = type(repo.workspace.session.context)(tell=told.append)
    assert not repo.status().unstaged.modified
    assert any("data/bad" in line for line in told)
    repo.commit("goes on", allow_empty=True, everything=True)
    assert repo.workspace.session.trees.resolve(bytes.fromhex(repo.log(limit=1)[0].root), "data/bad") is not None
    mend()
    Repo.open(root).restore([f"{root}/data"], force=True)
    assert text(root, "data/bad/b.txt") == "data/bad/b.txt one\n"
    assert text(root, "data/bad/deep/c.txt") == "data/bad/deep/c.txt one\n"


def test_a_damaged_snapshot_can_be_left(root):
    break_tree(root, "one")
    refused(lambda: Repo.open(root).checkout("one"), "data/bad")
    Repo.open(root).checkout("two")
    assert text(root, "data/a.txt") == "data/a.txt two\n" * 2
    assert text(root, "data/bad/only-two.txt") == "here only\n"
    assert Repo.open(root).status().clean


@pytest.mark.parametrize("indexed", [True, False])
def test_a_snapshot_that_was_damaged_while_it_was_checked_out_can_be_left(root, indexed):
    break_tree(root, "two")
    if not indexed:
        os.unlink(f"{root}/.dv/index")
    Repo.open(root).checkout("one", force=not indexed)
    assert text(root, "data/a.txt") == "data/a.txt one\n"
    assert text(root, "data/bad/b.txt") == "data/bad/b.txt one\n"


def test_restore_brings_back_what_the_index_knows_though_the_directory_is_damaged(root):
    break_tree(root, "HEAD")
    shutil.rmtree(f"{root}/data")
    Repo.open(root).restore([f"{root}/data"])
    assert text(root, "data/bad/deep/c.txt") == "data/bad/deep/c.txt two\n" * 2
    assert Repo.open(root).status().clean


def test_restore_without_an_index_names_the_directory_and_brings_back_the_rest(root):
    break_tree(root, "HEAD")
    os.unlink(f"{root}/.dv/index")
    shutil.rmtree(f"{root}/data")
    refused(lambda: Repo.open(root).restore([f"{root}/data"]), "data/bad")
    assert files_below(root) == ["data/a.txt", "data/good/d.txt"]
    Repo.open(root).restore([f"{root}/data/good"])
    refused(lambda: Repo.open(root).restore([f"{root}/data/bad"]), "data/bad")
    with pytest.raises(IntegrityError) as caught:
        Repo.open(root).restore([f"{root}/data/bad/b.txt"])
    assert caught.value.where == "data/bad"


def test_restore_of_a_damaged_source_names_the_directory_and_wipes_nothing(root):
    break_tree(root, "one")
    before = files_below(root)
    refused(lambda: Repo.open(root).restore([f"{root}/data"], source="one", force=True), "data/bad")
    assert text(root, "data/a.txt") == "data/a.txt one\n"
    assert text(root, "data/bad/b.txt") == "data/bad/b.txt two\n" * 2
    assert files_below(root) == before


def test_a_new_worktree_has_all_other_files(root, tmp_path):
    break_tree(root, "one")
    refused(lambda: Repo.open(root).add_worktree(str(tmp_path / "other"), "one"), "data/bad")
    assert files_below(str(tmp_path / "other")) == ["data/a.txt", "data/good/d.txt"]


def test_what_cannot_be_got_back_is_not_taken_for_removed(root):
    Repo.open(root).drop([f"{root}/data"])
    mend = break_tree(root, "HEAD")
    refused(lambda: Repo.open(root).get([f"{root}/data"]), "data/bad")
    assert files_below(root) == ["data/a.txt", "data/good/d.txt"]
    assert Repo.open(root).status().clean
    mend()
    Repo.open(root).get([f"{root}/data"])
    assert text(root, "data/bad/b.txt") == "data/bad/b.txt two\n" * 2


def test_an_archive_holds_all_other_files(root, tmp_path):
    break_tree(root, "one")
    refused(lambda: Repo.open(root).archive("one", str(tmp_path / "out")), "data/bad")
    assert files_below(str(tmp_path / "out")) == ["data/a.txt", "data/good/d.txt"]
    stream = io.BytesIO()
    refused(lambda: Repo.open(root).archive("one", stream), "data/bad")
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        assert archive.getnames() == ["data", "data/a.txt", "data/bad", "data/good", "data/good/d.txt"]


@pytest.mark.parametrize("size", [100, 300_000, 17 << 20])
def test_a_tar_stream_with_a_damaged_file_is_whole_without_it(root, tmp_path, size):
    put(f"{root}/data/good/big.bin", os.urandom(size))
    put(f"{root}/data/last.txt", b"last\n")
    repo = Repo.open(root)
    repo.add([f"{root}/data"])
    repo.commit("big")
    session = repo.workspace.session
    entry = session.trees.resolve(bytes.fromhex(repo.log(limit=1)[0].root), "data/good/big.bin")
    assert entry is not None
    identity = entry.id
    if entry.kind in LONG:
        identity = list(manifests.chunks_of(session.store, entry.id, entry.size))[-1][0]
    segment, location = session.store.locate(ids.CHUNK, identity)
    flip(f"{root}/.dv/store/{segment.pack(location.pack).file}", location.offset + 3)
    words = [sys.executable, "-m", "dvtool.cli.main", "archive", "HEAD", "-"]
    done = subprocess.run(words, cwd=root, capture_output=True, check=False, timeout=60)
    assert done.returncode == 20
    assert b"data/good/big.bin" in done.stderr
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        names = archive.getnames()
        assert "data/good/big.bin" not in names
        assert "data/last.txt" in names
        read = [archive.extractfile(name) for name in names]
        assert all(file.read() for file in read if file is not None)
    assert done.stdout.endswith(bytes(1024))


@pytest.mark.parametrize("words", [["ls", "-r", "one"], ["diff", "one", "two"], ["cat", "one:data/bad/b.txt"]])
def test_reads_that_stop_name_the_directory(root, words):
    break_tree(root, "one")
    command = [sys.executable, "-m", "dvtool.cli.main", *words]
    if words[0] != "cat":
        command.append("--json")
    done = subprocess.run(command, cwd=root, capture_output=True, check=False, timeout=60)
    assert done.returncode == 20
    assert b"data/bad" in done.stderr
    if words[0] != "cat":
        assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == 20


def called(root, *words, code=20):
    """Call dv with --json and return the error, or the document."""
    command = [sys.executable, "-m", "dvtool.cli.main", *words, "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False, timeout=60)
    assert done.returncode == code, done
    return json.loads(done.stderr.splitlines()[-1])["error"] if code else json.loads(done.stdout)


@pytest.mark.parametrize(
    "words", [["ls", "one", "data/bad"], ["du", "one", "data/bad"], ["ls", "one", "data/bad/deep"]]
)
def test_a_listing_names_the_directory_as_well_as_the_pack(root, words):
    break_tree(root, "one")
    error = called(root, *words)
    assert error["where"] == "data/bad"
    assert "pack" in error["why"]
    assert "dv fsck --repair" in error["next"]


@pytest.mark.parametrize(
    "words",
    [
        ["commit", "-a", "-m", "edits"],
        ["rm", "data/bad/b.txt"],
        ["rm", "--cached", "data/bad/b.txt"],
        ["mv", "data/a.txt", "data/bad/a.txt"],
        ["mv", "data/bad/b.txt", "data/b.txt"],
        ["merge", "side"],
    ],
    ids=" ".join,
)
def test_a_command_that_must_change_a_damaged_directory_says_which_and_what_to_do(root, words):
    repo = Repo.open(root)
    repo.create_branch("side", "one")
    repo.checkout("side")
    put(f"{root}/data/bad/deep/side.txt", b"side\n")
    repo.add([f"{root}/data"])
    repo.commit("side")
    repo.checkout("two")
    repo.commit("apart", allow_empty=True)
    put(f"{root}/data/bad/b.txt", b"edited\n")
    before = files_below(root)
    if words[0] == "merge":
        Repo.open(root).restore([f"{root}/data/bad/b.txt"], force=True)
        for place in (f"{root}/data/bad/b.txt", f"{root}/data/bad/deep/c.txt"):
            put(place, b"ours\n")
        Repo.open(root).commit("ours", everything=True)
    break_tree(root, "HEAD")
    log = len(Repo.open(root).oplog())
    error = called(root, *words)
    assert error["where"] == "data/bad"
    assert "dv fsck --repair" in error["next"]
    assert len(Repo.open(root).oplog()) == log
    assert files_below(root) == before


@pytest.mark.parametrize("indexed", [True, False])
def test_a_damaged_directory_is_taken_out_and_made_anew_of_the_worktree(root, indexed):
    intact = Repo.open(root).log(limit=1)[0].root
    break_tree(root, "HEAD")
    if not indexed:
        os.unlink(f"{root}/.dv/index")
    before = files_below(root)
    error = called(root, "rm", "data/bad")
    assert [item.partition(":")[0] for item in error["items"]] == ["data/bad"]
    assert "--cached" in error["next"]
    assert files_below(root) == before
    called(root, "rm", "--cached", "data/bad", code=0)
    assert files_below(root) == before
    called(root, "add", "data/bad", code=0)
    assert Repo.open(root).status().clean
    repo = Repo.open(root)
    assert {item.path for item in repo.ls("HEAD", recursive=True)} >= {"data/bad/b.txt", "data/bad/deep/c.txt"}
    assert repo.commit("again", allow_empty=True).root == intact
    assert b"".join(Repo.open(root).cat("HEAD:data/bad/b.txt")) == b"data/bad/b.txt two\n" * 2


@pytest.mark.parametrize("top", ["data", "data/bad"])
@pytest.mark.parametrize("indexed", [True, False])
def test_a_damaged_directory_that_was_edited_is_made_anew_by_add(root, indexed, top):
    break_tree(root, "HEAD")
    if not indexed:
        os.unlink(f"{root}/.dv/index")
    put(f"{root}/data/bad/b.txt", b"edited\n")
    os.unlink(f"{root}/data/bad/only-two.txt")
    error = called(root, "add", "data/good", "data/a.txt", code=0)
    called(root, "add", top, code=0)
    Repo.open(root).commit("mended")
    repo = Repo.open(root)
    assert repo.status().clean
    assert error["roots"] == ["data"]
    assert {item.path: item.size for item in repo.ls("HEAD", "data/bad", recursive=True) if item.kind == "file"} == {
        "data/bad/b.txt": 7,
        "data/bad/deep/c.txt": 48,
    }


def test_what_is_left_out_of_a_damaged_directory_is_not_lost_by_add(root):
    Repo.open(root).drop([f"{root}/data/bad/deep"])
    mend = break_tree(root, "HEAD")
    put(f"{root}/data/bad/b.txt", b"edited\n")
    error = called(root, "add", "data")
    assert error["where"] == "data/bad"
    mend()
    called(root, "add", "data", code=0)
    Repo.open(root).get([f"{root}/data/bad/deep"])
    assert text(root, "data/bad/deep/c.txt") == "data/bad/deep/c.txt two\n" * 2


def test_the_worktree_of_a_damaged_directory_goes_by_force(root):
    break_tree(root, "HEAD")
    called(root, "rm", "--force", "data/bad", code=0)
    Repo.open(root).commit("without")
    assert {item.path for item in Repo.open(root).ls("HEAD", "data")} == {"data/a.txt", "data/good"}
    assert text(root, "data/bad/b.txt") == "data/bad/b.txt two\n" * 2  # what was not known stays
