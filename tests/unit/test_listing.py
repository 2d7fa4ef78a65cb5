"""What may be listed follows from the memory there is."""

import subprocess
import sys

import pytest

from dvtool import ids
from dvtool.errors import StorageError
from dvtool.formats import tree
from dvtool.store import listing
from dvtool.store.listing import Listing
from dvtool.store.treediff import diff_trees
from dvtool.store.trees import Trees
from dvtool.testing.objects import RememberedObjects

LIMIT = 1000


@pytest.fixture
def little(monkeypatch):
    monkeypatch.setattr(listing, "memory", lambda: 2 * LIMIT * listing.PLANNED_SIZE)


def directory(objects, *entries):
    data, totals = tree.encode_leaf([name for name, _entry in entries], [entry for _name, entry in entries])
    return tree.Entry(tree.DIRECTORY, totals.size, objects.put_object(ids.TREE, data), totals.files)


def doubled(objects, levels, entry):
    for _level in range(levels):
        entry = directory(objects, ("a", entry), ("b", entry))
    return entry


def test_as_many_as_there_is_room_for(little):
    found = Listing()
    for number in range(LIMIT):
        found.keep(str(number))
    with pytest.raises(StorageError, match="than can be listed"):
        found.keep("one more")


def test_what_is_declared_is_refused_before_it_is_listed(little):
    found = Listing()
    found.declare(LIMIT, "a")
    with pytest.raises(StorageError, match="than can be listed") as caught:
        found.declare(1, "x" * 500)
    assert len(caught.value.where) == 80


@pytest.mark.parametrize("with_files", [True, False])
def test_a_walk_and_a_comparison_end_where_memory_does(little, with_files):
    objects = RememberedObjects()
    file = tree.Entry(tree.FILE, 1, bytes(31) + b"\1")
    last = directory(objects, ("f", file)) if with_files else directory(objects)
    few, many = doubled(objects, 5, last), doubled(objects, 30, last)
    trees = Trees(objects)
    assert len(list(trees.walk(few.id))) == 62 + 32 * with_files
    assert len(diff_trees(trees, trees, None, few.id).directories) == 63
    with pytest.raises(StorageError):
        list(trees.walk(many.id))
    for sides in ((None, many.id), (many.id, None), (few.id, many.id)):
        with pytest.raises(StorageError):
            diff_trees(trees, trees, *sides)


def test_a_declared_multitude_is_refused_without_being_read(little):
    objects = RememberedObjects()
    file = tree.Entry(tree.FILE, 1, bytes(31) + b"\1")
    many = doubled(objects, 30, directory(objects, ("f", file)))
    before = directory(objects, ("kept", file))
    after = directory(objects, ("kept", file), ("many", many))
    trees = Trees(objects)
    objects.reads.clear()
    with pytest.raises(StorageError):
        diff_trees(trees, trees, before.id, after.id)
    assert len(objects.reads) == 2


def test_what_is_streamed_is_not_counted(little):
    objects = RememberedObjects()
    many = doubled(objects, 12, directory(objects))
    assert sum(1 for _each in Trees(objects).walk(many.id, kept=False)) == 2**13 - 2


def test_a_confined_process_has_what_it_is_confined_to():
    script = "from dvtool.store.listing import memory; print(memory())"
    command = ["bash", "-c", 'ulimit -v 524288; exec "$@"', "x", sys.executable, "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) <= 512 << 20
    assert listing.memory() > 0
