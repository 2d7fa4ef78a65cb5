"""Laws of comparing two trees, and of finding renames in what differs."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dvtool import digest, ids, paths
from dvtool.errors import FormatError
from dvtool.formats import nodes, tree
from dvtool.history.renames import find_renames
from dvtool.store.editing import Changes, Editor
from dvtool.store.treediff import diff_trees
from dvtool.store.trees import DEPTH_LIMIT, Trees
from dvtool.testing.objects import RememberedObjects

KEY = bytes(range(32))
DEEP = DEPTH_LIMIT - 1
"""As deep as the format allows, whatever Python itself allows of functions that call themselves."""


@pytest.fixture(scope="module", autouse=True)
def small_nodes():
    """Let the format cut directories into nodes so small that a dozen entries make several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "TREE_SHAPE", nodes.Shape(minimum=2, spread=3, maximum=8))
        yield


def file(number, kind=tree.FILE):
    return tree.Entry(kind, number + 1, digest.sealed_name(str(number).encode()))


def build(objects, files, directories=()):
    changes: Changes = {"": {}}
    for path in directories:
        changes.setdefault(path, {})
    for path, entry in files.items():
        parent, name = paths.split(path)
        changes.setdefault(parent, {})[name] = entry
    return Editor(objects, KEY).apply(None, changes)


def compare(objects, a, b, only=("",)):
    return diff_trees(Trees(objects), Trees(objects), a, b, only)


def everything(objects, root):
    """(files by path, ids of directories by path) of a tree."""
    files, directories = {}, {"": root}
    for path, entry in Trees(objects).walk(root):
        if entry.kind == tree.DIRECTORY:
            directories[path] = entry.id
        else:
            files[path] = entry
    return files, directories


def as_changes(difference):
    """What an editor must do to turn the first of two compared trees into the second."""
    gone = {path for path, (_old, new) in difference.directories.items() if new is None}
    changes: Changes = {"": {}}
    for path in difference.directories.keys() - gone:
        changes.setdefault(path, {})
    for path in sorted(gone):
        parent, name = paths.split(path)
        if parent not in gone:
            changes.setdefault(parent, {})[name] = None
    for path, (_old, new) in difference.files.items():
        parent, name = paths.split(path)
        # A file that became a directory needs no removal of its own.
        if parent not in gone and (new is not None or difference.directories.get(path, (None, None))[1] is None):
            changes.setdefault(parent, {})[name] = new
    return changes


parts = st.sampled_from("abcdef")
entries = st.builds(file, st.integers(0, 4), st.sampled_from(sorted(tree.REGULAR)))


@st.composite
def listings(draw):
    """Files and directories; a name may be a file in one listing and a directory in the next."""
    files, taken = {}, set()
    for path in draw(st.lists(st.lists(parts, min_size=1, max_size=4).map("/".join), max_size=40)):
        above = paths.parents(path)
        if path not in taken and not any(parent in files for parent in above):
            files[path] = draw(entries)
            taken.update(above)
    empty = draw(st.lists(st.lists(parts, min_size=1, max_size=3).map("/".join), max_size=3))
    return files, [
        path for path in empty if path not in files and not any(parent in files for parent in paths.parents(path))
    ]


@given(before=listings(), after=listings())
def test_a_difference_lists_exactly_what_differs(before, after):
    objects = RememberedObjects()
    a, b = build(objects, *before), build(objects, *after)
    difference = compare(objects, a, b)
    for found, (old, new) in zip(
        (difference.files, difference.directories),
        zip(everything(objects, a), everything(objects, b), strict=True),
        strict=True,
    ):
        assert found == {
            path: (old.get(path), new.get(path)) for path in old.keys() | new.keys() if old.get(path) != new.get(path)
        }


@given(before=listings(), after=listings())
def test_a_tree_with_a_difference_applied_is_the_other_tree(before, after):
    objects = RememberedObjects()
    a, b = build(objects, *before), build(objects, *after)
    assert Editor(objects, KEY).apply(a, as_changes(compare(objects, a, b))) == b


@given(before=listings(), after=listings())
def test_a_difference_read_backwards_is_its_mirror(before, after):
    objects = RememberedObjects()
    a, b = build(objects, *before), build(objects, *after)
    there, back = compare(objects, a, b), compare(objects, b, a)
    assert {path: (new, old) for path, (old, new) in there.files.items()} == back.files
    assert {path: (new, old) for path, (old, new) in there.directories.items()} == back.directories


@given(listing=listings())
def test_a_tree_does_not_differ_from_itself_and_nothing_is_read(listing):
    objects = RememberedObjects()
    root = build(objects, *listing)
    objects.reads.clear()
    difference = compare(objects, root, root)
    assert (difference.files, difference.directories, objects.reads) == ({}, {}, [])


@given(listing=listings())
def test_against_nothing_everything_is_new(listing):
    objects = RememberedObjects()
    root = build(objects, *listing)
    files, directories = everything(objects, root)
    difference = compare(objects, None, root)
    assert difference.files == {path: (None, entry) for path, entry in files.items()}
    assert difference.directories == {path: (None, identity) for path, identity in directories.items()}
    assert compare(objects, root, None).files == {path: (entry, None) for path, entry in files.items()}


@given(
    before=listings(),
    after=listings(),
    only=st.sets(st.lists(parts, min_size=1, max_size=3).map("/".join), max_size=3),
)
def test_a_confined_difference_is_part_of_the_whole(before, after, only):
    objects = RememberedObjects()
    a, b = build(objects, *before), build(objects, *after)
    whole, confined = compare(objects, a, b), compare(objects, a, b, tuple(only))
    assert confined.files == {path: pair for path, pair in whole.files.items() if paths.covered(path, only)}
    assert confined.directories == {path: pair for path, pair in whole.directories.items() if paths.covered(path, only)}


@given(listing=listings(), at=st.data())
def test_directories_that_are_equal_are_not_read(listing, at):
    files, empty = listing
    assume(files)
    objects = RememberedObjects()
    a = build(objects, files, empty)
    path = at.draw(st.sampled_from(sorted(files)))
    b = build(objects, files | {path: file(99)}, empty)
    objects.reads.clear()
    compare(objects, a, b)
    read = set(objects.reads)
    on_the_way = {"", *paths.parents(path)}
    differing = {everything(objects, root)[1][each] for root in (a, b) for each in on_the_way}
    equal = {identity for each, identity in everything(objects, a)[1].items() if each not in on_the_way} - differing
    assert not read & equal


def test_nodes_that_are_equal_are_not_read():
    objects = RememberedObjects()
    files = {f"{number:04}": file(number) for number in range(2000)}
    a, b = build(objects, files), build(objects, files | {"1000": file(5000)})
    leaves = {identity for root in (a, b) for _last, identity, _totals in Trees(objects).leaves(root)}
    objects.reads.clear()
    assert compare(objects, a, b).files == {"1000": (file(1000), file(5000))}
    assert len(leaves & set(objects.reads)) <= 6
    assert len(leaves) > 300


@given(listing=listings())
def test_trees_of_two_stores_are_compared_without_mixing_them(listing):
    files, empty = listing
    mine, theirs = RememberedObjects(), RememberedObjects()
    a = build(mine, files, empty)
    b = build(theirs, {path: file(7) for path in files}, empty)
    difference = diff_trees(Trees(mine), Trees(theirs), a, b)
    assert difference.files == {path: (entry, file(7)) for path, entry in files.items() if entry != file(7)}


# ---------------------------------------------------------------------------------------------- depth


def chain(objects, depth, content):
    """A tree of so many directories, one in the other, with one file in the last."""
    current, _totals = tree.encode_leaf(["file"], [file(content)])
    for _ in range(depth):
        identity = objects.put_object(ids.TREE, current)
        totals = tree.decode(current).totals
        entry = tree.Entry(tree.DIRECTORY, totals.size, identity, totals.files)
        current, _totals = tree.encode_leaf(["d"], [entry])
    return objects.put_object(ids.TREE, current)


def test_deep_trees_are_compared():
    objects = RememberedObjects()
    difference = compare(objects, chain(objects, DEEP, 1), chain(objects, DEEP, 2))
    assert list(difference.files) == ["d/" * DEEP + "file"]


def test_deep_trees_are_walked():
    objects = RememberedObjects()
    found = list(Trees(objects).walk(chain(objects, DEEP, 1)))
    assert found[-1] == ("d/" * DEEP + "file", file(1))


@pytest.mark.parametrize("more", [2, 5000])
def test_trees_deeper_than_the_format_allows_are_refused(more):
    objects = RememberedObjects()
    one, two = (chain(objects, DEPTH_LIMIT + more, content) for content in (1, 2))
    with pytest.raises(FormatError):
        compare(objects, one, two)
    with pytest.raises(FormatError):
        list(Trees(objects).walk(one))


# -------------------------------------------------------------------------------------------- renames

places = st.dictionaries(
    st.tuples(st.sampled_from("xyz"), parts).map("/".join),
    st.builds(file, st.integers(0, 3), st.sampled_from(sorted({*tree.REGULAR, tree.SYMLINK}))),
    max_size=10,
)


def movable(entry):
    return entry.kind in tree.REGULAR and entry.size > 0


@given(removed=places, added=places)
def test_a_rename_joins_a_removed_and_an_added_file_of_one_content(removed, added):
    for source, target in find_renames(removed, added):
        assert movable(removed[source])
        assert added[target].kind in tree.REGULAR
        assert removed[source].id == added[target].id


@given(removed=places, added=places)
def test_no_file_is_renamed_twice_and_none_is_left_that_could_be(removed, added):
    pairs = find_renames(removed, added)
    assert len({source for source, _target in pairs}) == len({target for _source, target in pairs}) == len(pairs)
    for identity in {entry.id for entry in removed.values()}:
        sources = sum(entry.id == identity and movable(entry) for entry in removed.values())
        targets = sum(entry.id == identity and entry.kind in tree.REGULAR for entry in added.values())
        paired = sum(removed[source].id == identity for source, _target in pairs)
        assert paired == min(sources, targets)


@given(removed=places, added=places)
def test_files_that_keep_their_name_are_paired_first(removed, added):
    pairs = dict(find_renames(removed, added))
    for source, target in pairs.items():
        if paths.split(source)[1] != paths.split(target)[1]:
            name = paths.split(target)[1]
            rivals = [
                path
                for path, entry in removed.items()
                if movable(entry) and entry.id == added[target].id and paths.split(path)[1] == name
            ]
            assert all(paths.split(pairs[rival])[1] == name for rival in rivals if rival in pairs)
            assert all(rival in pairs for rival in rivals)


@given(removed=places, added=places, order=st.randoms(use_true_random=False))
def test_renames_do_not_depend_on_the_order_in_which_files_are_listed(removed, added, order):
    shuffled = []
    for listing in (removed, added):
        listed = list(listing.items())
        order.shuffle(listed)
        shuffled.append(dict(listed))
    assert find_renames(*shuffled) == find_renames(removed, added)


def test_empty_files_are_not_renamed():
    assert find_renames({"a": file(-1)}, {"b": file(-1)}) == []
    assert find_renames({"a": file(1)}, {"b": file(1)}) == [("a", "b")]
