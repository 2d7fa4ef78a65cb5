"""Repositories to call ``dv`` in."""

from __future__ import annotations

import pytest

from dvtool.formats import identity
from tests.cli.calling import Dv
from tests.cli.erasing import P17, SECRET
from tests.cli.members import BOB, CAROL, Member
from tests.cli.sharing import clone, person


@pytest.fixture
def empty(tmp_path, capsysbinary):
    """``dv`` in a directory that is no repository."""
    root = tmp_path / "work"
    root.mkdir()
    return Dv(root, capsysbinary)


@pytest.fixture
def dv(empty):
    """``dv`` in a new repository."""
    empty("init")
    return empty


@pytest.fixture
def data(dv):
    """``dv`` in a repository with one snapshot of three files: data/a.txt, data/b.txt and data/sub/c.txt."""
    dv.write("data/a.txt", "a\n")
    dv.write("data/b.txt", "bb\n")
    dv.write("data/sub/c.txt", "ccc\n")
    dv("add", "data")
    dv("commit", "-m", "first")
    return dv


@pytest.fixture
def beside_git(empty):
    """``dv`` in a Git repository, with one snapshot of data/a.txt whose dv.lock Git has committed."""
    empty.git("init", "-q")
    empty("init")
    empty.write("data/a.txt", "a\n")
    empty("add", "data")
    empty("commit", "-m", "first")
    empty.git("add", "-A")
    empty.git("commit", "-q", "-m", "data, first version")
    return empty


@pytest.fixture
def one(tmp_path, capsysbinary):
    """A repository with one snapshot, whose remote is not made yet."""
    return person(tmp_path, "one", capsysbinary)


@pytest.fixture
def two(one):
    """A clone of what the first has pushed."""
    one("push")
    return clone(one, "two")


@pytest.fixture
def place(tmp_path):
    return tmp_path / "remote"


@pytest.fixture
def ada(data, place):
    """Ada's repository, pushed to a directory, whose key is sealed for Ada, Bob and Carol."""
    data.write("ada.txt", data("key", "identity", "--comment", "Ada").text)
    for name, private in (("Bob", BOB), ("Carol", CAROL)):
        data.write(f"{name.lower()}.txt", identity.encode_recipient(identity.recipient_of(private, name)))
    flags = [part for name in ("ada", "bob", "carol") for part in ("--recipient", f"{name}.txt")]
    data("remote", "add", "origin", str(place), *flags)
    data("push")
    return data


@pytest.fixture
def clone_of(ada, place, capsysbinary, monkeypatch, tmp_path):
    def clone(name, private, *options):
        path = tmp_path / f"identity-{name}"
        path.write_bytes(identity.encode_identity(private, name))
        path.chmod(0o600)
        member = Member(ada.root, capsysbinary, monkeypatch, path)
        member("clone", str(place), str(tmp_path / name), *options)
        return Member(tmp_path / name, capsysbinary, monkeypatch, path)

    return clone


@pytest.fixture
def bob(clone_of):
    return clone_of("bob", BOB)


@pytest.fixture
def carol(clone_of):
    return clone_of("carol", CAROL)


@pytest.fixture
def people(data):
    """A repository with files of two people, in two snapshots of three."""
    data.write("dv.toml", '[[subject]]\npaths = "data/people/{subject}/**"\n')
    data.write(f"{P17}/note.txt", SECRET)
    data.write(f"{P17}/deep/scan.txt", "scan of p17\n" * 9000)
    data.write("data/people/p18/note.txt", "of another\n")
    data.commit("people")
    data.write(f"{P17}/note.txt", SECRET + "more\n")
    data.write("data/people/p18/new.txt", "new\n")
    data.commit("more")
    return data
