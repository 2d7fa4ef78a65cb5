"""Laws of trees without what is erased, held against a plain recursive definition."""

from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dvtool import digest, ids, paths
from dvtool.erasure.rewriting import Trees
from dvtool.errors import IntegrityError
from dvtool.formats import nodes, tree
from dvtool.formats.tree import DIRECTORY, ERASED
from dvtool.globs import Matcher, by_path
from dvtool.store import trees as reading
from dvtool.store.editing import Changes, Editor
from dvtool.testing.objects import RememberedObjects

KEY = bytes(range(32))
ID = b"\1" * 16
EARLIER = b"\2" * 16
REAL = nodes.TREE_SHAPE
NOTHING = RememberedObjects().hasher.id(ids.CHUNK, b"")
KEPT = tree.Entry(ERASED, 0, bytes(32), 0, ((ID, 1),))


@pytest.fixture(scope="module", autouse=True)
def small_nodes():
    """Let the format cut directories into nodes so small that a dozen entries make several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "TREE_SHAPE", nodes.Shape(minimum=2, spread=3, maximum=8))
        yield


def file(number, kind=tree.FILE):
    """A file; number 0 is an empty one, and equal numbers have equal content."""
    if not number:
        return tree.Entry(kind, 0, NOTHING)
    return tree.Entry(kind, number, digest.sealed_name(str(number).encode()))


def gone_before(files):
    return tree.Entry(ERASED, 0, bytes(32), 0, ((EARLIER, files),))


names = st.sampled_from([*"abcdef", "aa", "ab", "a.b", "\u00fc", *"ghijklmnop"])
short = st.builds(file, st.integers(0, 5), st.sampled_from([tree.FILE, tree.EXECUTABLE]))
long = st.builds(file, st.integers(1, 5), st.sampled_from([tree.LONG_FILE, tree.SYMLINK]))
leaves = short | long | st.builds(gone_before, st.integers(1, 3))
directories = st.recursive(
    st.dictionaries(names, leaves, max_size=4),
    lambda inner: st.dictionaries(names, leaves | inner, max_size=12),
    max_leaves=30,
)
patterns = st.lists(
    st.sampled_from(
        [
            "a",
            "b",
            "a/b",
            "a/a/a",
            "c/",
            "d/**",
            "*/a",
            "**/b",
            "**/a/c",
            "?/c",
            "a*",
            "*/*/*",
            "a/**/d",
            "\u00fc",
            "**",
        ]
    ),
    max_size=3,
)
contents = st.sets(st.integers(1, 5), max_size=2)


def build(objects, node):
    """Store a directory that is a mapping of names to entries and mappings."""
    changes: Changes = {"": {}}
    pending = [("", node)]
    while pending:
        path, each = pending.pop()
        changes.setdefault(path, {})
        for name, below in each.items():
            if isinstance(below, dict):
                pending.append((paths.join(path, name), below))
            else:
                changes[path][name] = below
    return Editor(objects, KEY).apply(None, changes)


def plain(objects, root):
    """What :func:`build` made of it, as it was."""
    found: dict[str, Any] = {}
    for path, entry in reading.Trees(objects).walk(root):
        above = found
        *parents, name = path.split("/")
        for part in parents:
            above = above[part]
        above[name] = {} if entry.kind == DIRECTORY else entry
    return found


def without(node, matcher, gone, *, keep=False, path="", inside=False):
    """What is left of a directory, by the letter of what is promised; None when nothing is."""
    left = {}
    for name, each in node.items():
        place = paths.join(path, name)
        covered = inside or matcher.covering(place) is not None
        if isinstance(each, dict):
            below = without(each, matcher, gone, keep=keep, path=place, inside=covered)
            if below is not None:
                left[name] = below
        elif each.kind == ERASED:
            if keep or not covered:
                left[name] = each
        elif covered or (each.size and each.id in gone):
            if keep:
                left[name] = KEPT
        else:
            left[name] = each
    return left if left or (node == left and not inside) else None


def files_of(node, path=""):
    for name, each in node.items():
        if isinstance(each, dict):
            yield from files_of(each, paths.join(path, name))
        elif each.kind != ERASED:
            yield paths.join(path, name), each


class Case:
    """A store with a tree in it, and what rewrites it."""

    def __init__(self, given_patterns=(), numbers=(), *, keep=False, erasure=ID, objects=None):
        self.objects = objects if objects is not None else RememberedObjects()
        self.matcher = Matcher(map(by_path, given_patterns))
        self.gone = frozenset(file(number).id for number in numbers)
        self.met: list[tuple[str, tree.Entry]] = []
        self.keep = keep
        self.trees = Trees(
            self.objects,
            KEY,
            erasure,
            self.matcher,
            contents=self.gone,
            keep_path=keep,
            met=lambda path, entry: self.met.append((path, entry)),
        )

    def totals(self, root):
        return reading.Trees(self.objects).totals(root)

    def expected(self, node):
        return without(node, self.matcher, self.gone, keep=self.keep) or {}


@given(directories, patterns, contents, st.booleans())
@example({"a": {"b": {}}}, ["a/b"], set(), False)
@example({"a": {"b": {}}}, ["a/b"], set(), True)
@example({"a": {"b": gone_before(1)}}, ["a/b"], set(), False)
@example({"a": {"b": gone_before(1)}}, ["a"], set(), True)
@example({"a": {"a": {"a": file(1)}}}, ["a/a/a"], set(), False)
def test_what_is_not_covered_stays_as_it_was_and_what_is_goes(node, given_patterns, numbers, keep):
    case = Case(given_patterns, numbers, keep=keep)
    root = build(case.objects, node)
    new, files = case.trees.root(root)
    assert plain(case.objects, new) == case.expected(node)
    before, after = dict(files_of(node)), dict(files_of(plain(case.objects, new)))
    assert files == len(before) - len(after)
    assert case.totals(new).files == len(after)
    assert after.items() <= before.items()
    assert {path for path in before if case.matcher.covering(path) is not None}.isdisjoint(after)


@given(directories, patterns, contents, st.booleans())
def test_tallies_say_how_many_files_went_and_those_of_others_stay(node, given_patterns, numbers, keep):
    case = Case(given_patterns, numbers, keep=keep)
    root = build(case.objects, node)
    new, files = case.trees.root(root)
    before, after = dict(case.totals(root).erased), dict(case.totals(new).erased)
    assert after.pop(ID, 0) == files
    assert after == before


@given(directories, patterns, contents, st.booleans())
def test_what_is_left_is_cut_as_if_nothing_else_had_ever_been_there(node, given_patterns, numbers, keep):
    case = Case(given_patterns, numbers, keep=keep)
    new, _files = case.trees.root(build(case.objects, node))
    fresh = build(case.objects, case.expected(node))
    reader = reading.Trees(case.objects)
    pending = [(new, fresh)]
    while pending:
        one, other = pending.pop()
        assert [last for last, _id, _totals in reader.leaves(one)] == [
            last for last, _id, _totals in reader.leaves(other)
        ]
        there = dict(reader.entries(other))
        for name, entry in reader.proven(one, KEY):
            if entry.kind == DIRECTORY:
                pending.append((entry.id, there[name].id))
        if not reader.totals(one).erased:
            assert one == other


@given(directories, patterns, contents, st.booleans())
@example({"a": {"b": file(1)}}, ["a"], set(), True)
@example({"a": {"b": file(1)}, "c": {}}, ["a/b", "c"], set(), False)
def test_to_erase_again_what_is_erased_changes_nothing(node, given_patterns, numbers, keep):
    case = Case(given_patterns, numbers, keep=keep)
    new, _files = case.trees.root(build(case.objects, node))
    assert case.trees.root(new) == (new, 0)
    again = Case(given_patterns, numbers, keep=keep, objects=case.objects)
    assert again.trees.root(new) == (new, 0)
    assert again.met == []


@given(directories, patterns, patterns, contents, contents, st.booleans())
def test_the_order_of_two_erasures_does_not_matter_for_what_is_left(node, one, two, some, others, keep):
    objects = RememberedObjects()
    root = build(objects, node)
    found = []
    for order in ([(one, some, ID), (two, others, EARLIER)], [(two, others, EARLIER), (one, some, ID)]):
        new = root
        for given_patterns, numbers, erasure in order:
            case = Case(given_patterns, numbers, keep=keep, erasure=erasure, objects=objects)
            new, _files = case.trees.root(new)
        left = plain(objects, new)
        totals = reading.Trees(objects).totals(new)
        found.append((dict(files_of(left)), sum(count for _id, count in totals.erased)))
    assert found[0] == found[1]


@given(st.lists(directories, min_size=1, max_size=3), patterns, contents, st.booleans())
@example([{"a": {"b": file(1)}}, {"c": {"a": {"b": file(1)}}}], ["a"], {5}, False)
@example([{"c": {"a": {"b": file(1)}}}, {"a": {"b": file(1)}}], ["a"], {5}, False)
@example([{"a": file(1)}, {"c": {"a": file(1)}}], ["a"], {5}, True)
def test_trees_that_have_directories_in_common_are_each_rewritten_as_if_alone(several, given_patterns, numbers, keep):
    together = Case(given_patterns, numbers, keep=keep)
    nested: list[Any] = [*several, *({"c": each} for each in several), *({"a": {"d": each}} for each in several)]
    for node in [*nested, *reversed(nested)]:
        alone = Case(given_patterns, numbers, keep=keep)
        root = build(together.objects, node)
        assert build(alone.objects, node) == root
        assert together.trees.root(root) == alone.trees.root(root)


@given(directories, patterns, st.booleans())
def test_every_file_that_goes_is_told_and_no_other(node, given_patterns, keep):
    case = Case(given_patterns, keep=keep)
    case.trees.root(build(case.objects, node))
    before = dict(files_of(node))
    met = [(path, entry) for path, entry in case.met if entry.kind != tree.ERASED]  # of which only the name goes
    assert dict(met) == {path: each for path, each in before.items() if case.matcher.covering(path) is not None}
    assert len(met) == len(dict(met))


@given(directories, contents)
def test_every_content_that_goes_is_told(node, numbers):
    case = Case((), numbers)
    case.trees.root(build(case.objects, node))
    assert {entry.id for _path, entry in case.met} == {each.id for _path, each in files_of(node)} & case.gone


@given(directories)
def test_rules_that_match_nothing_write_nothing(node):
    case = Case(["nobody/has/this", "nor/*/that"], {9})
    root = build(case.objects, node)
    case.objects.writes.clear()
    assert case.trees.root(root) == (root, 0)
    assert case.objects.writes == []


@given(directories, patterns, st.data())
def test_tracked_directories_stay_unless_they_are_what_is_erased(node, given_patterns, data):
    case = Case(given_patterns)
    root = build(case.objects, node)
    reader = reading.Trees(case.objects)
    below = sorted(path for path, entry in reader.walk(root) if entry.kind == DIRECTORY)
    assume(below)
    tracked = data.draw(st.lists(st.sampled_from(below), unique=True))
    new, files = case.trees.root(root, ("", "nowhere", *tracked))
    assert case.trees.root(root)[1] == files
    for path in tracked:
        assert (reader.resolve(new, path) is not None) == (case.matcher.covering(path) is None)
    assert dict(files_of(plain(case.objects, new))) == dict(files_of(case.expected(node)))
    assert dict(reader.totals(new).erased).get(ID, 0) == files
    assert case.trees.root(new, tuple(tracked)) == (new, 0)


def here(objects, root, path=""):
    """The tally of a directory itself."""
    reader = reading.Trees(objects)
    entry = reader.resolve(root, path)
    assert entry is not None
    return reader.leaf_at(entry.id, 0).here


def test_the_directory_that_held_a_file_says_so_and_one_that_is_emptied_says_it_above():
    node = {"data": {"p17": {"a": file(1), "deep": {"b": file(2)}}, "p18": {"a": file(3), "p17.txt": file(4)}}}
    case = Case(["data/p17", "**/p17.txt"])
    new, files = case.trees.root(build(case.objects, node))
    assert files == 3
    assert here(case.objects, new) == ()
    assert here(case.objects, new, "data") == ((ID, 2),)
    assert here(case.objects, new, "data/p18") == ((ID, 1),)


def test_a_directory_that_is_empty_for_it_goes_and_so_do_those_above():
    node = {"a": {"b": {"c": {"x": file(1)}}}, "d": file(2)}
    case = Case(["**/x"])
    new, files = case.trees.root(build(case.objects, node))
    assert files == 1
    assert plain(case.objects, new) == {"d": file(2)}
    assert here(case.objects, new) == ((ID, 1),)


def test_an_emptied_root_is_an_empty_directory_that_says_what_went():
    case = Case(["a"])
    new, files = case.trees.root(build(case.objects, {"a": {"x": file(1), "y": gone_before(2)}}))
    assert files == 1
    assert plain(case.objects, new) == {}
    assert here(case.objects, new) == ((ID, 1), (EARLIER, 2))


def test_names_that_are_kept_have_nothing_else():
    node = {"p17": {"a": file(1), "b": {"c": file(2, tree.LONG_FILE), "d": {}}, "e": gone_before(2)}}
    case = Case(["p17"], keep=True)
    new, files = case.trees.root(build(case.objects, node))
    assert files == 2
    assert plain(case.objects, new) == {"p17": {"a": KEPT, "b": {"c": KEPT}, "e": gone_before(2)}}
    totals = case.totals(new)
    assert (totals.files, totals.size) == (0, 0)


def test_names_that_an_erasure_kept_go_with_a_later_one_that_keeps_none():
    objects = RememberedObjects()
    root = build(objects, {"p17": {"a": file(1)}, "x": file(2)})
    kept, _files = Case(["p17"], keep=True, erasure=EARLIER, objects=objects).trees.root(root)
    new, files = Case(["p17"], objects=objects).trees.root(kept)
    assert files == 0
    assert plain(objects, new) == {"x": file(2)}
    assert here(objects, new) == ((EARLIER, 1),)


@pytest.mark.parametrize("shape", [REAL, nodes.Shape(minimum=2, spread=3, maximum=8)], ids=["real", "small"])
@pytest.mark.parametrize("keep", [False, True])
def test_a_directory_of_many_nodes_is_written_anew_where_something_went(shape, keep, monkeypatch):
    monkeypatch.setattr(nodes, "TREE_SHAPE", shape)
    node = {"data": {f"p{number:04}": file(1 + number % 7) for number in range(8000)}}
    case = Case(["data/p00*", "data/p1234", "data/p2999"], keep=keep)
    root = build(case.objects, node)
    reader = reading.Trees(case.objects)
    directory = reader.resolve(root, "data")
    assert directory is not None
    assert len(reader.leaves(directory.id)) > 4
    case.objects.writes.clear()
    new, files = case.trees.root(root)
    assert files == 102
    assert plain(case.objects, new) == case.expected(node)
    assert dict(case.totals(new).erased) == {ID: 102}
    rewritten = reader.resolve(new, "data")
    assert rewritten is not None
    assert len(list(reader.proven(rewritten.id, KEY))) == 8000 - (0 if keep else 102)
    before = {identity for _last, identity, _totals in reader.leaves(directory.id)}
    after = {identity for _last, identity, _totals in reader.leaves(rewritten.id)}
    assert before & after
    assert len(case.objects.writes) < len(before)


@pytest.mark.parametrize("pattern", ["a", "**/x", "a/**/x"])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("numbers", [(), (5,)])
def test_directories_nested_as_deep_as_the_format_allows_are_rewritten(pattern, keep, numbers):
    depth = reading.DEPTH_LIMIT - 1
    case = Case([pattern], numbers, keep=keep)
    changes: Changes = {"/".join(["a"] * depth): {"x": file(1), "y": file(2)}}
    root = Editor(case.objects, KEY).apply(None, changes)
    _new, files = case.trees.root(root)
    assert files == (2 if pattern == "a" else 1)


@pytest.mark.parametrize(
    "false", [{"files": 7}, {"size": 9}, {"erased": ((EARLIER, 5),)}], ids=lambda each: next(iter(each))
)
@pytest.mark.parametrize("pattern", ["d", "d/a", "**/a"])
def test_what_a_directory_falsely_says_of_another_does_not_get_into_the_new_history(false, pattern):
    objects = RememberedObjects()
    below = objects.put_object(ids.TREE, tree.encode_leaf(["a", "b"], [file(1), file(2)])[0])
    true = reading.Trees(objects).directory_entry(below)
    lying = true._replace(**false)
    for said, refused in ((true, False), (lying, True)):
        root = objects.put_object(ids.TREE, tree.encode_leaf(["c", "d"], [file(3), said])[0])
        rewriting = Trees(objects, KEY, ID, Matcher([by_path(pattern)]))
        if refused:
            with pytest.raises(IntegrityError, match="does not hold what the directory above it says"):
                rewriting.root(root)
        else:
            new, _files = rewriting.root(root)
            assert new != root


def test_a_directory_that_is_not_looked_into_keeps_what_was_said_of_it():
    objects = RememberedObjects()
    below = objects.put_object(ids.TREE, tree.encode_leaf(["a"], [file(1)])[0])
    said = tree.Entry(DIRECTORY, 99, below, 7, ((EARLIER, 5),))
    root = objects.put_object(ids.TREE, tree.encode_leaf(["c", "d"], [file(3), said])[0])
    new, files = Trees(objects, KEY, ID, Matcher([by_path("c")])).root(root)
    assert files == 1
    assert dict(reading.Trees(objects).entries(new))["d"] == said
