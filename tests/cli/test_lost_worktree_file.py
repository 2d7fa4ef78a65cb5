"""``.dv/worktree`` is lost: it is made anew where it is beyond doubt which worktree it was, and nowhere else."""

import json
import shutil

import pytest

MISSING = "the worktree file is missing"


def file_of(place):
    return place / ".dv/worktree"


def id_of(place):
    return json.loads(file_of(place).read_bytes())["id"]


@pytest.fixture
def other(data):
    """A second worktree of the store."""
    data("worktree", "add", "-b", "side", "../other")
    return data.root.parent / "other"


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("content", [None, b"junk"])
def test_the_only_worktree_gets_its_file_back_and_loses_nothing(data, cached, content):
    data.write("data/big/one", "1\n")
    data.commit("second")
    data("drop", "data/big")
    (data.root / "data/b.txt").unlink()
    data.write("data/a.txt", "staged\n")
    data("add", "data/a.txt")
    data.write("data/sub/c.txt", "edited\n")
    before = id_of(data.root)
    staged = data.staged()
    file_of(data.root).unlink() if content is None else file_of(data.root).write_bytes(content)
    if not cached:
        shutil.rmtree(data.root / ".dv/cache")
    assert "dv fsck --repair" in data("status", "--json", code=21).error["next"]
    assert data("doctor", code=1).text.count("dv fsck --repair") == 1
    repaired = data("fsck", "--repair", "--json").json
    assert repaired["clean"]
    assert repaired["repair"]["worktree"] == before == id_of(data.root)
    found = data.status()
    # Nobody knows any more what was left out on purpose, so nothing that is missing looks removed.
    assert found["sparse"] == ["data/b.txt", "data/big"]
    assert data.staged() == staged == {"modified": ["data/a.txt"]}
    assert data.unstaged() == {"modified": ["data/sub/c.txt"]}
    data("get", "data/b.txt")
    assert data.read("data/b.txt") == "bb\n"
    kept = list((data.root / ".dv").glob("quarantine/*/worktree"))
    assert [path.read_bytes() for path in kept] == ([] if content is None else [content])
    assert "nothing that could be mended" in data("fsck", "--repair").text


def test_another_worktree_gets_its_own_back(data, other):
    before = id_of(data.root), id_of(other)
    file_of(other).unlink()
    assert "made anew" in data("fsck", "--repair", at="../other").text
    assert (id_of(data.root), id_of(other)) == before
    assert data("status", "--json", at="../other").json["branch"] == "side"
    assert data.status()["branch"] == "main"


@pytest.mark.parametrize("cached", [True, False])
def test_the_one_that_holds_the_store_does_not_take_that_of_another(data, other, cached):
    before = id_of(data.root), id_of(other)
    file_of(data.root).unlink()
    if not cached:
        shutil.rmtree(data.root / ".dv/cache")
    data("status", at="../other")
    assert data("worktree", "list", "--json", at="../other").json[0]["branch"] == "side"
    data("fsck", "--repair")
    assert (id_of(data.root), id_of(other)) == before
    assert data.status()["branch"] == "main"


def refused(dv, at):
    done = dv("fsck", "--repair", at=at, code=20)
    assert "not clear which worktree" in done.told
    assert MISSING in done.text
    assert not file_of(dv.root / at).exists()


def test_a_copy_of_a_worktree_does_not_become_the_original(data, other):
    before = id_of(other)
    shutil.copytree(other, data.root.parent / "copy", symlinks=True)
    file_of(data.root.parent / "copy").unlink()
    refused(data, "../copy")
    assert id_of(other) == before
    assert data("status", "--json", at="../other").json["clean"]


def test_two_that_are_nowhere_else_and_no_memory_are_a_doubt(data, other):
    file_of(data.root).unlink()
    (data.root / ".dv/worktrees").unlink()
    shutil.rmtree(data.root / ".dv/cache")
    refused(data, ".")
    data("status", at="../other")  # which notes where it is
    data("fsck", "--repair")
    assert data.status()["branch"] == "main"
    assert id_of(data.root) != id_of(other)


def test_the_memory_of_the_store_proves_which_it_was(data, other):
    before = id_of(data.root)
    file_of(data.root).unlink()
    (data.root / ".dv/worktrees").unlink()
    data("fsck", "--repair")
    assert id_of(data.root) == before != id_of(other)


def test_the_file_of_a_newer_dv_stays(data):
    content = json.dumps({"version": 3, "id": "0" * 32}).encode()
    file_of(data.root).write_bytes(content)
    data("fsck", "--repair", code=20)
    assert file_of(data.root).read_bytes() == content
