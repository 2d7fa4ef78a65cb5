"""Content is found in directories, the first path of each, whether or not they are still in memory."""

import pytest

from dvtool import ids
from dvtool.digest import IdHasher
from dvtool.formats.tree import ERASED, FILE, Entry
from dvtool.runs import contents
from dvtool.runs.contents import Directories, Finder
from dvtool.store.editing import Changes, Editor, Scratch
from dvtool.store.trees import Trees

A, B, C = (bytes([number]) * ids.ID_SIZE for number in range(1, 4))
GONE = bytes(ids.ID_SIZE)


class Nothing:
    """A store without objects."""

    def read_object(self, kind, identity):
        raise AssertionError(f"{kind} {identity.hex()} is not in memory")


@pytest.fixture
def scratch():
    return Counting(Nothing(), IdHasher(bytes(32)))


class Counting(Scratch):
    """Counts how often objects are read."""

    reads = 0

    def read_object(self, kind, identity):
        self.reads += 1
        return super().read_object(kind, identity)


@pytest.fixture
def root(scratch):
    tally = ((bytes(range(16)), 1),)
    files: Changes = {
        "": {"z": Entry(FILE, 1, A)},
        "a/deep": {"x": Entry(FILE, 1, B), "y": Entry(FILE, 1, A)},
        "b": {"w": Entry(FILE, 1, B), "gone": Entry(ERASED, 0, GONE, 0, tally)},
    }
    return Editor(scratch, bytes(32)).apply(None, files)


def test_each_content_is_found_at_its_first_path(scratch, root):
    directories = Directories(Trees(scratch))
    assert Finder(directories, {A, B, C}).below(root) == {A: "a/deep/y", B: "a/deep/x"}
    assert Finder(directories, {A}).below(root) == {A: "a/deep/y"}
    assert Finder(directories, {C}).below(root) == {}


def test_what_was_erased_is_not_found(scratch, root):
    assert Finder(Directories(Trees(scratch)), {GONE}).below(root) == {}


def test_the_second_question_reads_only_where_something_is(scratch, root, monkeypatch):
    monkeypatch.setattr("dvtool.store.trees._NODES_KEPT", 0)
    directories = Directories(Trees(scratch))
    Finder(directories, {C}).below(root)
    before = scratch.reads
    Finder(directories, {C, GONE}).below(root)
    assert scratch.reads == before


def test_without_room_the_answers_are_the_same(scratch, root, monkeypatch):
    monkeypatch.setattr(contents, "KEPT", 40)
    directories = Directories(Trees(scratch))
    for _ in range(2):
        assert Finder(directories, {A, B}).below(root) == {A: "a/deep/y", B: "a/deep/x"}
