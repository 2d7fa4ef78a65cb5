import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import paths
from dvtool.errors import FormatError
from dvtool.formats import codec, manifest, nodes, tree

ONE = bytes(31) + b"\1"
ERASURE = bytes(15) + b"\1"
OTHER = bytes(15) + b"\2"

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=12).filter(
    lambda name: name not in {".", ".."} and not paths.is_reserved(name)
)
tallies = st.dictionaries(st.binary(min_size=16, max_size=16), st.integers(1, 1000), max_size=2).map(
    lambda tally: tuple(sorted(tally.items()))
)
identities = st.binary(min_size=32, max_size=32)
sizes = st.integers(0, 2**50)
short_files = st.builds(
    tree.Entry,
    st.sampled_from([tree.FILE, tree.EXECUTABLE]),
    st.integers(0, manifest.CHUNK_LIMIT),
    identities,
    st.just(1),
    st.just(()),
)
# Links and long files always have content.
long_files = st.builds(
    tree.Entry, st.sampled_from(sorted(tree.LONG)), st.integers(1, 2**50), identities, st.just(1), st.just(())
)
links = st.builds(
    tree.Entry, st.just(tree.SYMLINK), st.integers(1, tree.SYMLINK_LIMIT), identities, st.just(1), st.just(())
)
files = short_files | long_files | links
directories = st.builds(tree.Entry, st.just(tree.DIRECTORY), sizes, identities, st.integers(0, 2**40), tallies)
erased = st.builds(tree.Entry, st.just(tree.ERASED), st.just(0), st.just(bytes(32)), st.just(0), tallies.filter(bool))
contents = st.dictionaries(names, files | directories | erased, max_size=30)


def leaf(**changes):
    """The bytes of a leaf of one file `a`, with some of its columns replaced."""
    good = tree.decode(tree.encode_leaf(["a"], [tree.Entry(tree.FILE, 1, ONE)])[0])
    return codec.encode(msgspec.structs.replace(good, **changes))


def named(*all_names):
    """The bytes of a leaf of files of these names."""
    return tree.encode_leaf(all_names, [tree.Entry(tree.FILE, 1, ONE)] * len(all_names))[0]


def inner(**changes):
    """The bytes of a node over two others, with some of its columns replaced."""
    totals = [tree.Totals(entries=300, files=300, size=5), tree.Totals(entries=2, files=1, size=7)]
    good = tree.decode(tree.encode_inner(1, ["m", "z"], [ONE, ONE], totals))
    return codec.encode(msgspec.structs.replace(good, **changes))


def test_golden_bytes_say_what_they_said(vector, plain):
    assert plain(tree.decode(vector.data)) == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    assert codec.encode(tree.decode(vector.data)) == vector.data


@given(contents=contents, here=tallies)
def test_a_leaf_comes_back_as_it_went_in(contents, here):
    ordered = sorted(contents)
    data, totals = tree.encode_leaf(ordered, [contents[name] for name in ordered], here)
    node = tree.decode(data)
    assert isinstance(node, tree.Leaf)
    assert tree.names_of(node) == ordered
    assert tree.entries_of(node) == [contents[name] for name in ordered]
    assert (node.here, node.totals) == (here, totals)


@given(
    children=st.lists(st.builds(tree.Totals, files=sizes, size=sizes, erased=tallies), min_size=1, max_size=6),
    level=st.integers(1, 7),
    extra=st.integers(0, 1000),
)
def test_an_inner_node_comes_back_as_it_went_in(children, level, extra):
    least = nodes.TREE_SHAPE.minimum**level
    children = [msgspec.structs.replace(each, entries=least + extra) for each in children[1:]] + [
        msgspec.structs.replace(children[0], entries=1 + extra)
    ]
    lasts = [f"name {i}" for i in range(len(children))]
    node = tree.decode(tree.encode_inner(level, lasts, [ONE] * len(children), children))
    assert isinstance(node, tree.Inner)
    assert (tree.names_of(node), node.level, node.children) == (lasts, level, children)
    assert node.totals == tree.sum_totals(children)


@given(parts=st.lists(tallies, max_size=4))
def test_merged_tallies_count_every_erasure_once(parts):
    merged = dict(tree.merge_tallies(parts))
    assert merged == {
        erasure: sum(count for part in parts for each, count in part if each == erasure)
        for part in parts
        for erasure, _count in part
    }


def test_unknown_sections_are_kept(golden):
    node = tree.decode(golden("tree", "sections").data)
    assert isinstance(node, tree.Leaf)
    data, _totals = tree.encode_leaf(tree.names_of(node), tree.entries_of(node), node.here, node.sections)
    assert data == golden("tree", "sections").data


@pytest.mark.parametrize(
    "forbidden",
    [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "../escape",
        ".git",
        ".GIT",
        ".gIt",
        ".git.",
        ".git ",
        ".git. .",
        "git~1",
        "GIT~1",
        ".g\u200cit",
        "\ufeff.git",
        ".gi\u202et",
        ".dv",
        ".DV",
        ".dv ",
        "dv~1",
        ".d\u200bv".replace("\u200b", "\u200d"),
        "x" * 256,
        "\u00fc" * 128,
        "\U0001f600" * 64,
    ],
)
def test_a_forbidden_name_is_refused(forbidden):
    for all_names in ([forbidden], sorted([forbidden, "0", "zz"])):
        with pytest.raises(FormatError):
            tree.decode(named(*all_names))


@pytest.mark.parametrize(
    "harmless",
    [
        ".gitignore",
        ".github",
        "git",
        "x.git",
        "git~2",
        "...",
        ".dvignore",
        "x.dv",
        "~1",
        "a b",
        "a\nb",
        "a\\b",
        "x" * 255,
        "\u00fc" * 127,
        "\U0001f600" * 63,
        "\u200c",
    ],
)
def test_a_name_that_only_looks_forbidden_is_taken(harmless):
    assert tree.names_of(tree.decode(named(harmless))) == [harmless]


@pytest.mark.parametrize("unsorted", [("b", "a"), ("a", "a"), ("a", "B"), ("\U0001f600", "\uff5e")])
def test_names_out_of_order_are_refused(unsorted):
    with pytest.raises(FormatError, match="sorted"):
        tree.decode(named(*unsorted))


TOTALS = tree.Totals(entries=1, files=1, size=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"names": "a\0b"},
        {"names": ""},
        {"names": "a\0"},
        {"kinds": b""},
        {"kinds": b"ff"},
        {"kinds": b"?"},
        {"kinds": b"\0"},
        {"kinds": b"d"},
        {"sizes": []},
        {"sizes": [1, 1]},
        {"sizes": [2]},
        {"sizes": [-1], "totals": tree.Totals(entries=1, files=1, size=-1)},
        {"sizes": [2**63], "totals": tree.Totals(entries=1, files=1, size=2**63)},
        {"sizes": [2**64 - 1]},
        {"ids": b""},
        {"ids": bytes(31)},
        {"ids": bytes(64)},
        {"counts": [1]},
        {"counts": [-1], "kinds": b"d", "totals": tree.Totals(entries=1, files=-1, size=1)},
        {"counts": [2**63], "kinds": b"d", "totals": tree.Totals(entries=1, files=2**63, size=1)},
        {"totals": tree.Totals()},
        {"totals": tree.Totals(entries=2, files=1, size=1)},
        {"totals": tree.Totals(entries=1, files=2, size=1)},
        {"totals": tree.Totals(entries=1, files=1, size=2)},
        {"totals": tree.Totals(entries=1, files=1, size=1, erased=((ERASURE, 1),))},
        {"here": ((ERASURE, 1),)},
    ],
)
def test_a_leaf_whose_columns_do_not_add_up_is_refused(changes):
    tree.decode(leaf())
    with pytest.raises(FormatError):
        tree.decode(leaf(**changes))


def test_names_without_entries_are_refused():
    empty = tree.decode(tree.encode_leaf([], [])[0])
    with pytest.raises(FormatError):
        tree.decode(codec.encode(msgspec.structs.replace(empty, names="a")))


@pytest.mark.parametrize(
    "tally",
    [
        ((ERASURE, 0),),
        ((ERASURE, -1),),
        ((b"short", 1),),
        ((b"", 1),),
        ((bytes(32), 1),),
        ((OTHER, 1), (ERASURE, 1)),
        ((ERASURE, 1), (ERASURE, 1)),
    ],
)
def test_an_impossible_tally_is_refused(tally):
    good = tree.Entry(tree.DIRECTORY, 0, ONE, 0, ((ERASURE, 1),))
    tree.decode(tree.encode_leaf(["a"], [good])[0])
    with pytest.raises(FormatError):
        tree.decode(tree.encode_leaf(["a"], [good._replace(erased=tally)])[0])
    with pytest.raises(FormatError):
        tree.decode(tree.encode_leaf([], [], tally)[0])
    with pytest.raises(FormatError):
        tree.decode(tree.encode_inner(1, ["a"], [ONE], [tree.Totals(erased=tally)]))


GONE = tree.Entry(tree.ERASED, 0, bytes(32), 0, ((ERASURE, 1),))


@pytest.mark.parametrize("change", [{"size": 1}, {"id": ONE}, {"erased": ()}], ids=["size", "id", "no tally"])
def test_an_erased_entry_that_keeps_something_or_names_no_erasure_is_refused(change):
    tree.decode(tree.encode_leaf(["a", "b"], [GONE, GONE])[0])
    for entries in ([GONE._replace(**change), GONE], [GONE, GONE._replace(**change)]):
        with pytest.raises(FormatError, match="erased"):
            tree.decode(tree.encode_leaf(["a", "b"], entries)[0])


def test_a_tally_of_nothing_is_no_second_form_of_none():
    totals = tree.Totals(entries=1, files=0, size=1)
    tree.decode(leaf(kinds=b"d", counts=[0], totals=totals))
    with pytest.raises(FormatError, match="nothing was erased"):
        tree.decode(leaf(kinds=b"d", counts=[0], tallies=[(0, ())], totals=totals))


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (tree.SYMLINK, tree.SYMLINK_LIMIT),
        (tree.FILE, manifest.CHUNK_LIMIT),
        (tree.EXECUTABLE, manifest.CHUNK_LIMIT),
    ],
)
def test_what_is_one_chunk_is_not_longer_than_a_chunk(kind, limit):
    other = tree.Entry(tree.LONG_FILE, 2**40, ONE)
    tree.decode(tree.encode_leaf(["a", "b"], [tree.Entry(kind, limit, ONE), other])[0])
    with pytest.raises(FormatError, match="longer"):
        tree.decode(tree.encode_leaf(["a", "b"], [tree.Entry(kind, limit + 1, ONE), other])[0])


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("level", [1, 2])
def test_children_of_impossible_length_are_refused(position, level):
    least, most = nodes.TREE_SHAPE.minimum**level, nodes.TREE_SHAPE.maximum**level
    good = [tree.Totals(entries=least), tree.Totals(entries=1)]
    tree.decode(tree.encode_inner(level, ["m", "z"], [ONE, ONE], good))
    for impossible in (0, most + 1, *([least - 1] if position == 0 else [])):
        children = list(good)
        children[position] = tree.Totals(entries=impossible)
        with pytest.raises(FormatError, match="does not cut"):
            tree.decode(tree.encode_inner(level, ["m", "z"], [ONE, ONE], children))


@pytest.mark.parametrize("positions", [[1], [-1], [0, 0], [2**40]])
def test_tallies_of_entries_that_are_not_there_are_refused(positions):
    held = [(position, ((ERASURE, 1),)) for position in positions]
    sums = tree.merge_tallies([tally for _position, tally in held])
    totals = tree.Totals(entries=1, files=0, size=1, erased=sums)
    with pytest.raises(FormatError):
        tree.decode(leaf(kinds=b"d", counts=[0], tallies=held, totals=totals))


def test_a_tally_of_a_file_is_refused():
    totals = tree.Totals(entries=1, files=1, size=1, erased=((ERASURE, 1),))
    with pytest.raises(FormatError):
        tree.decode(leaf(tallies=[(0, ((ERASURE, 1),))], totals=totals))


@pytest.mark.parametrize(
    "changes",
    [
        {"level": 0},
        {"level": -1},
        {"level": nodes.MAX_LEVEL + 1},
        {"names": "m"},
        {"names": "z\0m"},
        {"names": "m\0m"},
        {"names": "m\0.git"},
        {"names": "..\0z"},
        {"names": "", "ids": b"", "children": [], "totals": tree.Totals()},
        {"ids": ONE},
        {"ids": bytes(63)},
        {"children": [tree.Totals()]},
        {"totals": tree.Totals(entries=302, files=301, size=11)},
        {"totals": tree.Totals(entries=302, files=300, size=12)},
        {"totals": tree.Totals(entries=301, files=301, size=12)},
        {"totals": tree.Totals(entries=302, files=301, size=12, erased=((ERASURE, 1),))},
        {
            "children": [tree.Totals(entries=3, files=3, size=-1), tree.Totals(entries=2, files=1, size=7)],
            "totals": tree.Totals(entries=5, files=4, size=6),
        },
        {
            "children": [tree.Totals(size=2**62), tree.Totals(size=2**62)],
            "totals": tree.Totals(size=2**63),
        },
    ],
)
def test_an_inner_node_that_does_not_add_up_is_refused(changes):
    tree.decode(inner())
    with pytest.raises(FormatError):
        tree.decode(inner(**changes))


def test_a_node_of_more_entries_than_the_format_allows_is_refused():
    limit = nodes.TREE_SHAPE.maximum
    many = [f"{i:08}" for i in range(limit + 1)]
    assert len(tree.names_of(tree.decode(named(*many[:limit])))) == limit
    with pytest.raises(FormatError):
        tree.decode(named(*many))
    with pytest.raises(FormatError):
        tree.decode(tree.encode_inner(1, many, [ONE] * len(many), [TOTALS] * len(many)))


def test_a_node_of_an_unknown_sort_is_refused():
    with pytest.raises(FormatError):
        tree.decode(msgspec.msgpack.encode([2, "a"]))
