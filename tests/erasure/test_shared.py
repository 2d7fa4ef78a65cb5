"""An erasure that is shared out among processes comes to what one process alone comes to."""

import os
import shutil
import time

import pytest

from dvtool import ids
from dvtool.erasure import carrying, planning, proving
from dvtool.formats import snapshot
from dvtool.formats.worktree_index import UNKNOWN_STAT
from dvtool.repo import Repo
from dvtool.worktree.session import Context
from tests.erasure.conftest import SECRET, WHO, described, opened
from tests.faults.conftest import noise, put

ID = bytes(range(16))


@pytest.fixture
def long(base):
    """A longer history: each snapshot edits some files of many directories, and some the person's."""
    root = f"{base}/repo"
    repo = Repo.open(root)
    for number in range(12):
        for place in range(number % 3, 30, 3):
            put(f"{root}/data/many/{place:02}/{number % 4}.bin", noise(number * 100 + place, 1500))
        put(f"{root}/{WHO}/more/{number % 5}.txt", SECRET + b" again %d" % number)
        repo.commit(f"edit {number}", everything=True)
    return base


class Known:
    """Gives the erasure, which asks first, an id that is known; all else is random."""

    def __init__(self):
        self.first = True

    def bytes(self, count):
        if self.first and count == ids.SHORT_SIZE:
            self.first = False
            return ID
        return os.urandom(count)


def erase(base, targets):
    return Repo.open(f"{base}/repo", Context(entropy=Known(), cwd=f"{base}/repo")).erase(targets, copies="keep")


def trees(base):
    """What stands for each superseded snapshot: the ids of its trees, which do not depend on who made them."""
    store = opened(base).workspace.session.store
    state = store.refresh()
    pairs = [(old, state.standing(old)) for old, _new in state.superseded.items()]
    return {old: snapshot.decode(store.read_object(ids.SNAPSHOT, new)).root for old, new in pairs if new is not None}


@pytest.mark.parametrize("targets", [[WHO], ["data/**/1.*"], ["data/many"], ["data/many/*/2.bin", WHO]])
@pytest.mark.parametrize("workers", ["2", "5"])
def test_many_processes_leave_what_one_does(long, tmp_path, monkeypatch, targets, workers):
    alone = f"{tmp_path}/alone"
    shutil.copytree(long, alone, symlinks=True)
    monkeypatch.setenv("DV_WORKERS", "1")
    one = erase(alone, targets)
    monkeypatch.setenv("DV_WORKERS", workers)
    monkeypatch.setattr(planning, "SHARED", 1)
    monkeypatch.setattr(carrying, "SHARED", 1000)
    many = erase(long, targets)
    assert (many.snapshots, many.files, many.contents) == (one.snapshots, one.files, one.contents)
    assert many.snapshots > 5
    assert described(long) == described(alone)
    assert trees(long) == trees(alone)
    assert opened(long).workspace.session.store.refresh().pending() == []
    assert proving.verify(opened(long).workspace, ID, deep=True) == []


def rows(base, paths):
    index = opened(base).workspace.session.index()
    return [index.row(path) for path in paths]


def test_the_index_of_a_worktree_knows_its_files_as_before(long):
    """Else the next look at it would read them all."""
    paths = ("data/a.txt", "data/many/03/1.bin")
    before = rows(long, paths)
    while any(row.stat == UNKNOWN_STAT for row in before):  # what was changed just now is looked at again in any case
        time.sleep(0.05)
        opened(long).status()
        before = rows(long, paths)
    opened(long).erase([WHO], copies="keep")
    assert rows(long, paths) == before
    assert opened(long).status().clean
