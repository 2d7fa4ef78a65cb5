"""Laws of leaves in which entries change in place: whoever writes them anew as a whole comes to the same bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dvtool import ids
from dvtool.formats import tree
from dvtool.formats.tree import DIRECTORY, ERASED, FILE, Entry

TALLIES = st.dictionaries(st.sampled_from([bytes([n]) * 16 for n in range(3)]), st.integers(1, 9), max_size=2).map(
    lambda found: tuple(sorted(found.items()))
)
IDENTITIES = st.integers(1, 200).map(lambda n: bytes([n]) * ids.ID_SIZE)


@st.composite
def entries(draw, kinds=(FILE, DIRECTORY, ERASED)):
    kind = draw(st.sampled_from(kinds))
    if kind == ERASED:
        return Entry(ERASED, 0, bytes(ids.ID_SIZE), 0, draw(TALLIES.filter(bool)))
    if kind == DIRECTORY:
        return Entry(DIRECTORY, draw(st.integers(0, 99)), draw(IDENTITIES), draw(st.integers(0, 9)), draw(TALLIES))
    return Entry(FILE, draw(st.integers(1, 99)), draw(IDENTITIES))


@st.composite
def cases(draw):
    names = draw(st.lists(st.sampled_from([f"n{n:02}" for n in range(30)]), unique=True, max_size=12))
    before = {name: draw(entries()) for name in sorted(names)}
    changes: dict[str, Entry | None] = {}
    for name, entry in before.items():
        match draw(st.sampled_from(["stays", "goes", "changes"])):
            case "goes":
                changes[name] = None
            case "changes":
                kept = (DIRECTORY,) if entry.kind == DIRECTORY else (FILE, ERASED)
                changes[name] = draw(entries(kept))
    return before, changes, draw(TALLIES), draw(TALLIES)


@given(cases())
def test_a_patched_leaf_is_the_leaf_written_as_a_whole(case):
    before, changes, here, after = case
    names = list(before)
    leaf = tree.decode(tree.encode_leaf(names, list(before.values()), here)[0])
    assert isinstance(leaf, tree.Leaf)
    left = {name: entry for name, entry in (before | changes).items() if entry is not None}
    whole = tree.encode_leaf(list(left), list(left.values()), after)
    patch = {names.index(name): entry for name, entry in changes.items()}
    assert tree.encode_patched(leaf, patch, after, {}) == whole


@given(cases())
def test_what_a_leaf_names_is_told_without_checking_it(case):
    before, changes, here, _after = case
    names = list(before)
    data = tree.encode_leaf(names, list(before.values()), here)[0]
    positions = [names.index(name) for name in changes]
    left = [entry for name, entry in before.items() if name not in changes]
    leaf = tree.look(data)
    assert isinstance(leaf, tree.Leaf)
    found = tree.references_without(leaf, positions)
    assert set(found.trees) == {entry.id for entry in left if entry.kind == DIRECTORY}
    assert found.chunks == {entry.id for entry in left if entry.kind == FILE}
    everything = tree.references(data)
    assert [set(each) for each in everything] == [set(each) for each in tree.references_without(leaf, [])]
