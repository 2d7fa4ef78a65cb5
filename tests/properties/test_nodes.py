"""Laws of node splitting, and of the trees that are edited node by node."""

import json
import random
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dvtool import digest, ids, paths
from dvtool.formats import nodes, tree
from dvtool.store.editing import Changes, Editor
from dvtool.store.trees import Trees
from dvtool.testing.objects import RememberedObjects

KEY = bytes(range(32))
ERASURE = bytes(15) + b"\1"
VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "nodes" / "v1"

# Nodes so small that a few dozen entries make several levels of them.
SMALL = nodes.Shape(minimum=2, spread=3, maximum=8)
REAL = nodes.TREE_SHAPE
SHAPES = [SMALL, nodes.Shape(minimum=1, spread=2, maximum=1), nodes.Shape(minimum=1, spread=4, maximum=5)]


@pytest.fixture(scope="module", autouse=True)
def small_nodes():
    """Let the format cut directories into small nodes; the tests of its real sizes say so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "TREE_SHAPE", SMALL)
        yield


@contextmanager
def real_sizes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "TREE_SHAPE", REAL)
        yield


def file(number):
    return tree.Entry(tree.FILE, number % 100 + 1, digest.sealed_name(str(number).encode()))


def build(objects, files):
    """The tree that holds these files (path -> entry) and nothing else, made at one go."""
    changes: Changes = {"": {}}
    for path, entry in files.items():
        parent, name = paths.split(path)
        changes.setdefault(parent, {})[name] = entry
    return Editor(objects, KEY).apply(None, changes)


def contents(objects, root):
    """Everything in a tree, by path: files as they are, directories by name only."""
    return {path: None if entry.kind == tree.DIRECTORY else entry for path, entry in Trees(objects).walk(root)}


names = st.text("abcdefgh", min_size=1, max_size=2)
flat = st.dictionaries(names, st.integers(0, 5).map(file), max_size=60)
deep = st.dictionaries(
    # Capitals for directories, so that no path is at once a file and the parent of another.
    st.builds(lambda above, name: "/".join([*above, name]), st.lists(st.sampled_from("ABC"), max_size=3), names),
    st.integers(0, 5).map(file),
    max_size=40,
)


# --------------------------------------------------------------------------------------------- cutting

marks = st.lists(st.integers(0, 2**64 - 1).map(lambda number: number.to_bytes(8, "big")), max_size=80)
shapes = st.sampled_from(SHAPES)


@pytest.mark.parametrize("level", [0, 1])
def test_names_are_cut_as_in_the_golden_vector(level):
    kept = json.loads((VECTORS / f"tree-level-{level}.json").read_text(encoding="utf-8"))
    inputs = kept["inputs"]
    shape = nodes.Shape(**inputs["shape"])
    listed = [f"file-{number:05d}" for number in range(inputs["count"])]
    mark = nodes.name_marks(bytes.fromhex(inputs["key"]), listed, inputs["level"])
    assert nodes.cut(inputs["count"], shape, mark) == kept["value"]


def test_chunks_are_cut_as_in_the_golden_vectors():
    import hashlib

    kept = json.loads((VECTORS / "manifest.json").read_text(encoding="utf-8"))
    inputs = kept["inputs"]
    chunks = hashlib.shake_256(inputs["shake256"].encode()).digest(32 * inputs["count"])
    shape = nodes.Shape(**inputs["shape"])
    assert nodes.cut(inputs["count"], shape, lambda i: chunks[32 * i : 32 * i + 32]) == kept["value"]
    kept = json.loads((VECTORS / "manifest-of-equal-chunks.json").read_text(encoding="utf-8"))
    inputs = kept["inputs"]
    equal = bytes.fromhex(inputs["id"])
    assert nodes.cut(inputs["count"], nodes.Shape(**inputs["shape"]), lambda _i: equal) == kept["value"]


@given(marks=marks, shape=shapes)
def test_nodes_cover_the_sequence_within_their_sizes(marks, shape):
    ends = nodes.cut(len(marks), shape, marks.__getitem__)
    assert ends == sorted(set(ends))
    assert (ends[-1] if ends else 0) == len(marks)
    lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert all(shape.minimum <= length <= shape.maximum for length in lengths[:-1])
    assert all(1 <= length <= shape.maximum for length in lengths[-1:])


@given(marks=marks, shape=shapes)
def test_a_node_ends_at_the_first_mark_that_may_end_it(marks, shape):
    start = 0
    for end in nodes.cut(len(marks), shape, marks.__getitem__):
        early = range(start + shape.minimum - 1, end - 1)
        assert not any(int.from_bytes(marks[i], "big") < 2**64 // shape.spread for i in early)
        assert end == len(marks) or nodes.is_natural(end - start, shape, marks[end - 1])
        start = end


@given(marks=marks, shape=shapes)
def test_cuts_after_a_cut_do_not_depend_on_what_is_before_it(marks, shape):
    ends = nodes.cut(len(marks), shape, marks.__getitem__)
    for end in ends:
        rest = [later for later in ends if later > end]
        assert nodes.cut(len(marks), shape, marks.__getitem__, end) == rest
        assert [end + later for later in nodes.cut(len(marks) - end, shape, marks[end:].__getitem__)] == rest


@given(data=st.binary(min_size=24, max_size=24), shape=shapes)
def test_only_the_first_eight_bytes_of_a_mark_count(data, shape):
    for first in (shape.threshold, b"\0" * 8, b"\xff" * 8):
        below = int.from_bytes(first, "big") < 2**64 // shape.spread
        assert (
            nodes.is_natural(
                shape.minimum,
                nodes.Shape(minimum=shape.minimum, spread=shape.spread, maximum=99),
                first + data,
            )
            == below
        )


def test_nodes_hold_as_many_entries_as_the_page_says():
    count = 200_000
    chunks = random.Random(7).randbytes(8 * count)
    for shape in (
        nodes.Shape(minimum=256, spread=768, maximum=4096),
        nodes.MANIFEST_SHAPE,
        nodes.TABLE_SHAPE,
    ):
        ends = nodes.cut(count, shape, lambda i: chunks[8 * i : 8 * i + 8])
        assert 0.85 < count / len(ends) / (shape.minimum + shape.spread) < 1.15


# --------------------------------------------------------------------------------------------- editing


@given(files=deep)
def test_a_tree_holds_what_was_put_into_it(files):
    objects = RememberedObjects()
    root = build(objects, files)
    above = {parent for path in files for parent in paths.parents(path)} - {""}
    assert contents(objects, root) == files | dict.fromkeys(above)
    totals = Trees(objects).totals(root)
    assert (totals.files, totals.size) == (len(files), sum(entry.size for entry in files.values()))


@given(files=deep)
def test_directories_given_as_columns_make_the_same_tree(files):
    objects = RememberedObjects()
    by_directory: dict[str, dict[str, tree.Entry]] = {}
    for path, entry in sorted(files.items()):
        parent, name = paths.split(path)
        by_directory.setdefault(parent, {})[name] = entry
    whole = {
        parent: tree.Columns(
            names=list(entries),
            kinds=bytes([entry.kind for entry in entries.values()]),
            sizes=[entry.size for entry in entries.values()],
            ids=b"".join([entry.id for entry in entries.values()]),
        )
        for parent, entries in by_directory.items()
    }
    assert all(columns.entries() == by_directory[parent] for parent, columns in whole.items())
    assert Editor(objects, KEY).apply(None, {}, whole) == build(objects, files)


@given(before=flat, after=flat)
@example(before={}, after={f"{i:02}": file(i) for i in range(60)})
@example(before={f"{i:02}": file(i) for i in range(60)}, after={})
def test_the_form_does_not_depend_on_history(before, after):
    objects = RememberedObjects()
    changes = {name: after.get(name) for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    edited = Editor(objects, KEY).apply(build(objects, before), {"": changes})
    assert edited == build(objects, after)
    trees = Trees(objects)
    assert list(trees.proven(edited, KEY)) == list(trees.entries(edited))


@given(files=flat, order=st.randoms(use_true_random=False))
def test_the_form_does_not_depend_on_the_order_of_single_edits(files, order):
    objects = RememberedObjects()
    root = build(objects, {})
    listed = list(files.items())
    order.shuffle(listed)
    for name, entry in listed:
        root = Editor(objects, KEY).apply(root, {"": {name: entry}})
    assert root == build(objects, files)


@given(before=deep, after=deep)
def test_what_was_done_is_undone_by_its_inverse(before, after):
    objects = RememberedObjects()
    editor = Editor(objects, KEY)
    # Directories stay when their last file goes; so both sides have the same ones from the start.
    above = {parent for path in before | after for parent in paths.parents(path)}
    start = editor.apply(build(objects, before), {parent: {} for parent in above})
    there: Changes = {}
    back: Changes = {}
    for path in before.keys() | after.keys():
        parent, name = paths.split(path)
        there.setdefault(parent, {})[name] = after.get(path)
        back.setdefault(parent, {})[name] = before.get(path)
    changed = editor.apply(start, there)
    assert contents(objects, changed) == after | dict.fromkeys(above - {""})
    assert editor.apply(changed, back) == start


@given(files=deep, again=st.data())
def test_an_edit_that_changes_nothing_gives_the_same_tree(files, again):
    objects = RememberedObjects()
    root = build(objects, files)
    changes: Changes = {}
    for path in again.draw(st.sets(st.sampled_from(sorted(files)))) if files else ():
        parent, name = paths.split(path)
        changes.setdefault(parent, {})[name] = files[path]
    assert Editor(objects, KEY).apply(root, changes) == root
    assert Editor(objects, KEY).apply(root, {"": {"absent": None}}) == root
    assert Editor(objects, KEY).apply(root, {}) == root


@given(files=flat, parts=st.lists(st.sets(names), max_size=4))
def test_one_edit_or_several_make_the_same_tree(files, parts):
    objects = RememberedObjects()
    at_once: dict[str, tree.Entry | None] = {}
    step_by_step = build(objects, files)
    for number, chosen in enumerate(parts):
        changes = {name: file(number) if name < "d" else None for name in chosen}
        at_once |= changes
        step_by_step = Editor(objects, KEY).apply(step_by_step, {"": changes})
    assert Editor(objects, KEY).apply(build(objects, files), {"": at_once}) == step_by_step


@given(files=flat, name=names)
def test_single_names_are_found_as_in_the_whole_directory(files, name):
    objects = RememberedObjects()
    root = build(objects, files)
    assert Trees(objects).get(root, name) == files.get(name)
    assert dict(Trees(objects).entries(root)) == files


@given(files=flat)
def test_every_node_says_what_is_below_it(files):
    objects = RememberedObjects()
    root = build(objects, files)

    def check(identity):
        node = tree.decode(objects.kept[identity])
        if isinstance(node, tree.Leaf):
            return tree.names_of(node), node.totals
        listed = []
        for i, (last, totals) in enumerate(zip(tree.names_of(node), node.children, strict=True)):
            below, claimed = check(node.ids[32 * i : 32 * i + 32])
            assert (below[-1], claimed) == (last, totals)
            listed += below
        return listed, node.totals

    listed, totals = check(root)
    assert listed == sorted(files)
    assert totals.entries == totals.files == len(files)


def test_an_empty_directory_is_kept():
    objects = RememberedObjects()
    editor = Editor(objects, KEY)
    root = editor.apply(None, {"": {}, "a/b": {}})
    assert contents(objects, root) == {"a": None, "a/b": None}
    assert editor.apply(root, {"a": {"b": None}}) == editor.apply(None, {"a": {}})


def test_a_directory_takes_the_place_of_a_file_and_back():
    objects = RememberedObjects()
    editor = Editor(objects, KEY)
    root = build(objects, {"a": file(1), "b": file(2)})
    changed = editor.apply(root, {"a": {"x": file(3)}})
    assert contents(objects, changed) == {"a": None, "a/x": file(3), "b": file(2)}
    assert editor.apply(changed, {"": {"a": file(1)}}) == root


# -------------------------------------------------------------------------------------- erased tallies


def erased_directory(objects, count):
    """A directory of so many files, in which one more was erased."""
    # An empty directory with a tally, which its files then join.
    root = objects.put_object(ids.TREE, tree.encode_leaf([], [], ((ERASURE, 1),))[0])
    return Editor(objects, KEY).apply(root, {"": {f"{i:03}": file(i) for i in range(count)}})


@given(count=st.integers(0, 60), gone=st.sets(st.integers(0, 59)), new=st.sets(st.integers(0, 99)))
@example(count=60, gone=set(range(20)), new=set())
@example(count=60, gone=set(range(60)), new=set())
def test_what_was_erased_from_a_directory_stays_counted(count, gone, new):
    objects = RememberedObjects()
    root = erased_directory(objects, count)
    assert Trees(objects).totals(root).erased == ((ERASURE, 1),)
    changes = {f"{i:03}": None for i in gone} | {f"{i:03}": file(i + 1) for i in new}
    changed = Editor(objects, KEY).apply(root, {"": changes})
    assert Trees(objects).totals(changed).erased == ((ERASURE, 1),)
    listed = [Trees(objects).leaf(identity).here for _last, identity, _totals in Trees(objects).leaves(changed)]
    assert listed == [((ERASURE, 1),), *[()] * (len(listed) - 1)]


def test_a_tally_survives_when_the_whole_first_node_goes():
    objects = RememberedObjects()
    root = erased_directory(objects, 60)
    first = Trees(objects).leaf(Trees(objects).leaves(root)[0][1])
    changed = Editor(objects, KEY).apply(root, {"": dict.fromkeys(tree.names_of(first))})
    assert Trees(objects).totals(changed).erased == ((ERASURE, 1),)


# ------------------------------------------------------------------------------------- sections of later


def test_sections_of_a_later_version_survive_a_rewrite():
    objects = RememberedObjects()
    sections = {"later": msgspec.Raw(b"\xa4kept")}
    root = objects.put_object(ids.TREE, tree.encode_leaf(["a"], [file(1)], (), sections)[0])
    changed = Editor(objects, KEY).apply(root, {"": {"b": file(2)}})
    assert tree.decode(objects.kept[changed]).sections == sections


# --------------------------------------------------------------------------------- costs at real sizes


@settings(max_examples=5)
@given(at=st.integers(0, 29_999), sort=st.sampled_from(["change", "add", "remove"]))
def test_an_edit_rewrites_few_nodes(at, sort, large_directory):
    objects, root = large_directory
    objects.writes.clear()
    name = f"{at:06}" if sort != "add" else f"{at:06}-new"
    with real_sizes():
        Editor(objects, KEY).apply(root, {"": {name: None if sort == "remove" else file(-1)}})
    # One leaf and the nodes above it; a cut that comes or goes moves its neighbours' leaves.
    assert len(objects.writes) <= 6


@settings(max_examples=5)
@given(at=st.integers(0, 29_999))
def test_a_lookup_reads_one_path_of_nodes(at, large_directory):
    objects, root = large_directory
    objects.reads.clear()
    with real_sizes():
        assert Trees(objects).get(root, f"{at:06}") == file(at)
    assert len(objects.reads) <= 3


def test_a_chain_of_edits_leaves_the_form_as_it_should_be():
    objects = RememberedObjects()
    source = random.Random(11)
    files = {f"{source.randrange(10**6):06}": file(i) for i in range(5_000)}
    with real_sizes():
        root = build(objects, files)
        for number in range(60):
            changes = {f"{source.randrange(10**6):06}": file(number) for _ in range(source.randrange(40))}
            changes |= dict.fromkeys(source.sample(sorted(files), source.randrange(40)))
            root = Editor(objects, KEY).apply(root, {"": dict(changes)})
            files |= {name: entry for name, entry in changes.items() if entry is not None}
            for name in changes.keys() & files.keys():
                if changes[name] is None:
                    del files[name]
        assert root == build(objects, files)


@pytest.fixture(scope="module")
def large_directory(small_nodes):
    """A directory of 30,000 files in nodes of real sizes, and the objects it is in."""
    objects = RememberedObjects()
    with real_sizes():
        return objects, build(objects, {f"{i:06}": file(i) for i in range(30_000)})


counted = st.dictionaries(st.sampled_from([ERASURE, bytes(16), b"\xff" * 16]), st.integers(1, 9), max_size=3)
tallies = counted.map(lambda counts: tuple(sorted(counts.items())))
numbered = st.sampled_from([f"n{number:02}" for number in range(40)])
one_directory = st.dictionaries(numbered, st.integers(0, 9))
some_changes = st.dictionaries(
    st.sampled_from([f"n{number:02}" for number in range(40)]), st.none() | st.integers(0, 9)
)


@given(before=one_directory, changes=some_changes, old=tallies, new=tallies)
@example(before={f"n{number:02}": 1 for number in range(40)}, changes={}, old=(), new=((ERASURE, 1),))
@example(before={"n00": 1}, changes={"n00": None}, old=((ERASURE, 1),), new=((ERASURE, 2),))
def test_what_is_erased_from_a_directory_is_added_to_its_tally_and_changes_nothing_else(before, changes, old, new):
    objects = RememberedObjects()
    editor = Editor(objects, KEY)
    reader = Trees(objects)
    base = editor.edit(None, {name: file(number) for name, number in before.items()}, old)
    entries = {name: None if number is None else file(number) for name, number in changes.items()}
    found = editor.edit(base, entries, new)
    assert reader.totals(base).erased == old
    assert reader.totals(found).erased == tree.merge_tallies([old, new])
    left = {name: entry for name, entry in ({**dict(reader.entries(base)), **entries}).items() if entry is not None}
    assert dict(reader.proven(found, KEY)) == left
    leaves = [reader.leaf_at(found, at) for at in range(len(reader.leaves(found)))]
    assert [leaf.here for leaf in leaves[1:]] == [()] * (len(leaves) - 1)
    assert leaves[0].here == tree.merge_tallies([old, new])
    # One way to say it: however the tally came together, the same directory has the same id.
    whole: dict[str, tree.Entry | None] = dict(left)
    assert editor.edit(None, whole, tree.merge_tallies([old, new])) == found


def test_only_the_first_leaf_and_what_leads_to_it_is_written_for_a_tally():
    objects = RememberedObjects()
    editor = Editor(objects, KEY)
    base = editor.edit(None, {f"n{number:04}": file(number) for number in range(500)})
    objects.writes.clear()
    found = editor.edit(base, {}, ((ERASURE, 1),))
    node, height = Trees(objects).node(found), 1
    assert isinstance(node, tree.Inner)
    height += node.level
    before, after = (Trees(objects).leaves(root) for root in (base, found))
    assert before[1:] == after[1:]
    assert before[0] != after[0]
    assert len(set(objects.writes) - {identity for _last, identity, _totals in before}) >= height


def test_without_changes_and_tally_a_directory_is_itself():
    objects = RememberedObjects()
    editor = Editor(objects, KEY)
    base = editor.edit(None, {"a": file(1)}, ((ERASURE, 1),))
    assert editor.edit(base, {}, ()) == base
    assert editor.edit(None, {}, ()) == editor.empty()
    assert Trees(objects).totals(editor.edit(None, {}, ((ERASURE, 1),))).erased == ((ERASURE, 1),)


def test_a_tally_is_added_beside_sections_that_nobody_knows():
    objects = RememberedObjects()
    editor = Editor(objects, KEY)
    names = [f"n{number}" for number in range(3)]
    sections = {"x-a": msgspec.Raw(b"\xc3")}
    base = objects.put_object(ids.TREE, tree.encode_leaf(names, [file(1)] * 3, (), sections)[0])
    for changes in ({}, {"n0": None}, dict.fromkeys(names)):
        leaf = Trees(objects).leaf_at(editor.edit(base, changes, ((ERASURE, 1),)), 0)
        assert bytes(leaf.sections["x-a"]) == b"\xc3"
        assert leaf.here == ((ERASURE, 1),)
