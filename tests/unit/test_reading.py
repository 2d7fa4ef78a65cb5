"""The reading of files: what is read again, and what becomes of files that do not hold still."""

import os
import random
import shutil
from pathlib import Path

import pytest

from dvtool.errors import UsageError
from dvtool.formats import tree
from dvtool.testing.audit import content
from dvtool.worktree import reader
from dvtool.worktree.reader import Reader
from tests.unit.files import OLD, fill, listed, put, reopen, stored


class Meddler:
    """Changes a file while it is read: right after its content was taken, before its status is."""

    def __init__(self, monkeypatch, path, changes):
        self.path = path
        self.changes = list(changes)
        self.real = os.read
        monkeypatch.setattr(os, "read", self.read)

    def read(self, descriptor, count):
        data = self.real(descriptor, count)
        if self.changes and os.path.exists(self.path) and os.path.samestat(os.fstat(descriptor), os.stat(self.path)):
            self.changes.pop(0)(self.path)
        return data


def test_a_file_that_changes_while_it_is_read_is_read_again(repo, monkeypatch):
    path = f"{repo.root}/data/f"
    put(path, b"first")
    Meddler(monkeypatch, path, [lambda p: put(p, b"second version"), lambda p: put(p, b"third")])
    repo.add(["data"])
    repo.commit("c")
    assert stored(reopen(repo))["f"] == b"third"
    assert reopen(repo).status().clean


def test_a_file_that_never_holds_still_is_named_and_nothing_is_staged(repo, monkeypatch):
    path = f"{repo.root}/data/f"
    put(path, b"0")
    put(f"{repo.root}/data/g", b"calm")
    Meddler(monkeypatch, path, [lambda p, n=n: put(p, b"x" * n) for n in range(2, 60)])
    with pytest.raises(UsageError) as caught:
        repo.add(["data"])
    assert caught.value.items == ("data/f: it changes while it is being read",)
    assert reopen(repo).status().staged.is_empty


def test_a_file_that_vanishes_while_it_is_read_is_left_out(repo, monkeypatch):
    path = f"{repo.root}/data/f"
    put(path, b"fleeting")
    put(f"{repo.root}/data/g", b"calm")
    real = Reader.one

    def one(self, name, directory):
        if name == "f" and os.path.exists(path):
            os.unlink(path)
        return real(self, name, directory)

    monkeypatch.setattr(Reader, "one", one)
    repo.add(["data"])
    repo.commit("c")
    assert set(listed(reopen(repo))) == {"data/g"}


def test_a_file_that_becomes_a_link_is_not_followed(repo, monkeypatch, tmp_path):
    path = f"{repo.root}/data/f"
    put(path, b"a file")
    put(f"{tmp_path}/secret", b"secret")
    real = Reader.one

    def one(self, name, directory):
        if not os.path.islink(path):
            os.unlink(path)
            os.symlink(f"{tmp_path}/secret", path)
        return real(self, name, directory)

    monkeypatch.setattr(Reader, "one", one)
    repo.add(["data"])
    repo.commit("c")
    assert stored(reopen(repo))["f"] == f"{tmp_path}/secret".encode()


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 300_000, 4 * 2**20, 4 * 2**20 + 1, 9 * 2**20])
def test_files_of_every_length_come_back(repo, size):
    data = random.Random(size).randbytes(size)
    put(f"{repo.root}/data/f", data)
    repo.add(["data"])
    repo.commit("c")
    workspace = reopen(repo).workspace
    _snapshot, _path, entry = workspace.place("HEAD:data/f")
    assert content(workspace.session.store, entry) == data
    assert size < 300_000 or entry.kind == tree.LONG_FILE


def test_streamed_and_whole_files_are_cut_alike(repo, monkeypatch):
    data = random.Random(3).randbytes(3 * 2**20)
    put(f"{repo.root}/data/whole", data)
    repo.add(["data"])
    monkeypatch.setattr(reader, "WHOLE_LIMIT", 2**20)
    put(f"{repo.root}/data/streamed", data)
    repo.add(["data"])
    repo.commit("c")
    found = listed(reopen(repo))
    assert found["data/whole"].id == found["data/streamed"].id


def test_a_directory_is_read_whole_beside_its_subdirectories(repo, parallel):
    wanted = fill(repo)
    put(f"{repo.root}/data/below/deep", b"deep")
    repo.add(["data"])
    repo.commit("c")
    found = stored(repo)
    assert {name: found[name] for name in wanted} == wanted
    assert found["below/deep"] == b"deep"
    assert set(listed(reopen(repo))) == {*(f"data/{name}" for name in wanted), "data/below/deep", "data/link"}
    assert reopen(repo).status().clean


class Exchanger:
    """Puts something else in the place of a directory, once, while one of its files is read."""

    def __init__(self, monkeypatch, exchange):
        self.done = False
        real = Reader.one

        def one(reader_, name, directory):
            if name == "f010" and not self.done:
                self.done = True
                exchange()
            return real(reader_, name, directory)

        monkeypatch.setattr(Reader, "one", one)


def test_a_directory_that_is_exchanged_while_it_is_read_loses_no_file(repo, monkeypatch):
    wanted = fill(repo)
    repo.add(["data"])
    repo.commit("c")
    os.utime(f"{repo.root}/data/f000")
    for path in Path(f"{repo.root}/data").iterdir():
        if not path.is_symlink():
            os.utime(path, (OLD - 5, OLD - 5))

    def exchange():
        shutil.copytree(f"{repo.root}/data", f"{repo.root}/new", symlinks=True)
        os.rename(f"{repo.root}/data", f"{repo.root}/old")
        os.rename(f"{repo.root}/new", f"{repo.root}/data")
        shutil.rmtree(f"{repo.root}/old")

    exchanged = Exchanger(monkeypatch, exchange)
    result = reopen(repo).add(["data"])
    assert exchanged.done
    assert result.removed == 0
    found = reopen(repo)
    assert found.status().clean
    assert {name: stored(found)[name] for name in wanted} == wanted


@pytest.mark.parametrize("instead", ["file", "pipe", "link"])
def test_a_directory_that_became_something_else_while_it_was_read_is_named(repo, monkeypatch, tmp_path, instead):
    fill(repo)
    repo.add(["data"])
    repo.commit("c")
    for path in Path(f"{repo.root}/data").iterdir():
        if not path.is_symlink():
            os.utime(path, (OLD - 5, OLD - 5))
    shutil.copytree(f"{repo.root}/data", f"{tmp_path}/elsewhere", symlinks=True)

    def exchange():
        shutil.rmtree(f"{repo.root}/data")
        if instead == "file":
            put(f"{repo.root}/data", b"a file")
        elif instead == "pipe":
            os.mkfifo(f"{repo.root}/data")
        else:
            os.symlink(f"{tmp_path}/elsewhere", f"{repo.root}/data")

    exchanged = Exchanger(monkeypatch, exchange)
    with pytest.raises(UsageError) as caught:
        reopen(repo).add(["data"])
    assert exchanged.done
    assert all("a file or link stands where a directory must be" in item for item in caught.value.items)
    assert reopen(repo).status().staged.is_empty
