"""Ids that are computed apart from the store are those that the store gives."""

import random

import pytest

from dvtool import ids
from dvtool.effects import SystemEntropy
from dvtool.formats import tree
from dvtool.formats.storeformat import Chunking
from dvtool.formats.tree import Entry
from dvtool.store import manifests
from dvtool.store.chunker import Chunker
from dvtool.store.editing import Editor
from dvtool.store.keys import Secrets, new_secret
from dvtool.testing.canary import Wanted
from dvtool.testing.guessing import Directory, Guesser, Model, Where
from dvtool.testing.objects import RememberedObjects

SIZES = Chunking(algorithm="fastcdc-2020-nc1", minimum=64, average=256, maximum=1024)


@pytest.fixture
def model():
    return Model(Secrets(new_secret(SystemEntropy())), SIZES)


@pytest.fixture
def objects(model):
    return RememberedObjects(model.secrets.id_key)


def taken(model, objects):
    """The model, which has seen everything that was put."""
    for data in objects.kept.values():
        for kind in (ids.TREE, ids.MANIFEST):
            model.take(kind, data, Where("pack", "frame"))


def named(count):
    return {f"file {number}": Entry(tree.FILE, number + 1, number.to_bytes(32, "big")) for number in range(count)}


@pytest.mark.parametrize("count", [0, 1, 255, 256, 700, 5_000])
def test_a_directory_has_the_id_that_the_editor_gives_it(model, objects, count):
    identity = Editor(objects, model.secrets.split).edit(None, dict(named(count)))
    assert model.build(Directory(named(count), ()))[-1] == identity
    taken(model, objects)
    assert model.directory(identity) == Directory(named(count), ())


def test_a_tally_and_directories_count_as_the_editor_counts_them(model, objects):
    editor = Editor(objects, model.secrets.split)
    top = editor.apply(None, {"a/b": dict(named(3)), "": {"x": Entry(tree.FILE, 5, bytes(32))}})
    taken(model, objects)
    value = model.directory(top)
    assert value is not None
    assert model.entry_of(value).id == top
    assert model.entry_of(value).size == editor.trees.totals(top).size
    found = model.resolve(top, "a/b/file 2")
    assert found == named(3)["file 2"]
    assert model.resolve(top, "a/c") is None


@pytest.mark.parametrize("size", [1, 64, 2_000, 300_000, 3_000_000])
def test_a_content_has_the_ids_that_the_store_gives_it(model, objects, size):
    content = random.Random(size).randbytes(size)
    cuts = Chunker(SIZES, model.secrets.seed).cut(content)
    chunks = [objects.put_object(ids.CHUNK, content[start:end]) for start, end in cuts]
    top = manifests.build(chunks, [end - start for start, end in cuts], objects) if len(chunks) > 1 else chunks[0]
    assert model.entry(content).id == top
    assert {identity for what, identity in model.names_of(content) if what != "hash of"} == set(objects.kept)


def test_a_directory_of_many_files_is_guessed_across_its_nodes(model, objects):
    text = b"one of very many"
    editor = Editor(objects, model.secrets.split)
    entries = {**named(3_000), "file 15": Entry(tree.FILE, len(text), model.hasher.id(ids.CHUNK, text))}
    with_it = editor.apply(None, {"data/deep": dict(entries)})
    objects.kept.clear()
    del entries["file 15"]
    editor.apply(None, {"data/deep": dict(entries)})
    taken(model, objects)
    model.retain(with_it, Where("log", "entry"))
    for wanted in (Wanted(files=(("data/deep/file 15", text),)), Wanted(contents=(text,), words=("file 15",))):
        found = list(Guesser(model, wanted).directories())
        assert [guess.where for guess in found] == [Where("log", "entry")]
    assert list(Guesser(model, Wanted(files=(("data/deep/file 16", text),))).directories()) == []


def test_a_directory_is_guessed_as_it_was_before_it_was_tallied(model, objects):
    text = b"what is gone"
    editor = Editor(objects, model.secrets.split)
    gone = Entry(tree.FILE, len(text), model.hasher.id(ids.CHUNK, text))
    with_it = editor.apply(None, {"data": {**named(2), "gone": gone}})
    objects.kept.clear()
    tally = ((bytes(16), 1),)
    below, totals = tree.encode_leaf(list(named(2)), list(named(2).values()), tally)
    identity = objects.put_object(ids.TREE, below)
    entry = Entry(tree.DIRECTORY, totals.size, identity, totals.files, totals.erased)
    objects.put_object(ids.TREE, tree.encode_leaf(["data"], [entry])[0])
    taken(model, objects)
    model.retain(with_it, Where("log", "entry"))
    for wanted in (Wanted(files=(("data/gone", text),)), Wanted(contents=(text,), words=("gone",))):
        assert [guess.where for guess in Guesser(model, wanted).directories()] == [Where("log", "entry")]


def test_a_total_that_is_a_power_of_two_is_a_class(model, objects):
    text = b"x" * 100
    for size, found in ((1_000 + 24 + 100, 1), (1_024, 0)):
        other = Model(model.secrets, SIZES)
        left = size - 100
        below = tree.encode_leaf(["f"], [Entry(tree.FILE, left, bytes(32))])[0]
        entry = Entry(tree.DIRECTORY, size, other.take(ids.TREE, below, Where("pack", "1")))
        other.take(ids.TREE, tree.encode_leaf(["d"], [entry])[0], Where("pack", "2"))
        assert len(list(Guesser(other, Wanted(contents=(text,))).totals())) == found
