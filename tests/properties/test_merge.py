"""Laws of merging: what one side left alone is the other's to change; what both changed is never decided silently."""

from hypothesis import given
from hypothesis import strategies as st

from dvtool import paths
from dvtool.history import graph, merging
from dvtool.store.editing import Editor
from dvtool.store.trees import Trees
from dvtool.testing.objects import RememberedObjects
from tests.properties.test_diff import KEY, build, everything, listings, small_nodes
from tests.properties.test_graph import any_time, name, reachable

__all__ = ["small_nodes"]


@st.composite
def sides(draw):
    """(base, ours, theirs) as listings, of which the two sides mostly keep what the base has."""
    base = draw(listings())

    def changed():
        files, directories = draw(listings())
        kept = {path: entry for path, entry in base[0].items() if draw(st.integers(0, 3))}
        taken = {above for path in kept for above in paths.parents(path)}
        for path, entry in files.items():
            if path not in taken and not any(above in kept for above in paths.parents(path)):
                kept[path] = entry
                taken.update(paths.parents(path))
        holds = [path for path in (*base[1], *directories) if path not in kept]
        return kept, [path for path in holds if not any(above in kept for above in paths.parents(path))]

    return base, changed(), changed()


class Three:
    """Three trees in one store of objects, and what merging makes of them."""

    def __init__(self, listed):
        self.objects = RememberedObjects()
        self.base, self.ours, self.theirs = (build(self.objects, *each) for each in listed)

    def merge(self, bases, ours, theirs, decision=None):
        return merging.merge(Trees(self.objects), bases, ours, theirs, lambda _path: decision)

    def result(self, found, ours):
        return Editor(self.objects, KEY).apply(ours, found.edits())

    def files(self, root):
        return everything(self.objects, root)[0]


@given(listed=sides())
def test_what_only_the_other_side_changed_is_taken_over(listed):
    three = Three(listed)
    found = three.merge([three.base], three.base, three.theirs)
    assert not found.conflicts
    assert three.result(found, three.base) == three.theirs


@given(listed=sides())
def test_what_only_this_side_changed_stays(listed):
    three = Three(listed)
    found = three.merge([three.base], three.ours, three.base)
    assert not found.conflicts
    assert three.result(found, three.ours) == three.ours


@given(listed=sides())
def test_the_same_change_on_both_sides_is_no_conflict(listed):
    three = Three(listed)
    found = three.merge([three.base], three.ours, three.ours)
    assert (found.taken, found.conflicts, found.edits()) == ({}, {}, {})


@given(listed=sides())
def test_each_file_is_decided_by_who_left_it_alone(listed):
    three = Three(listed)
    before, mine, other = (three.files(root) for root in (three.base, three.ours, three.theirs))
    found = three.merge([three.base], three.ours, three.theirs)
    for path in before.keys() | mine.keys() | other.keys():
        o, a, b = before.get(path), mine.get(path), other.get(path)
        if path in found.conflicts:
            assert found.conflicts[path] == (a, b)
            assert a != b
        elif path in found.taken:
            assert (found.taken[path], a) == (b, o)
        else:
            assert b in {a, o}
    for path in found.conflicts:
        changed_twice = len({before.get(path), mine.get(path), other.get(path)}) == 3
        around = (*before, *mine, *other, *(each for root in listed for each in root[1]))
        beside = any(each != path and (paths.below(each, path) or paths.below(path, each)) for each in around)
        both_made = path not in before and any(path in root[1] for root in listed)
        assert changed_twice or beside or both_made
    merged = three.files(three.result(found, three.ours))
    for path in merged.keys() | mine.keys():
        assert merged.get(path) == (found.taken[path] if path in found.taken else mine.get(path))


@given(listed=sides())
def test_both_sides_see_the_same_conflicts_and_come_to_the_same_files(listed):
    three = Three(listed)
    here = three.merge([three.base], three.ours, three.theirs)
    there = three.merge([three.base], three.theirs, three.ours)
    assert here.conflicts == {path: (mine, other) for path, (other, mine) in there.conflicts.items()}
    if not here.conflicts:
        assert three.files(three.result(here, three.ours)) == three.files(three.result(there, three.theirs))


@given(listed=sides(), decision=st.sampled_from([merging.OURS, merging.THEIRS]))
def test_a_decision_leaves_no_conflict_and_takes_whole_files_of_the_side_that_wins(listed, decision):
    three = Three(listed)
    undecided = three.merge([three.base], three.ours, three.theirs)
    found = three.merge([three.base], three.ours, three.theirs, decision)
    assert not found.conflicts
    merged = three.files(three.result(found, three.ours))
    winner = three.files(three.ours if decision == merging.OURS else three.theirs)
    for path in undecided.conflicts:
        assert merged.get(path) == winner.get(path)
    assert {path for path, entry in undecided.taken.items() if merged.get(path) != entry} == set()


@given(listed=sides())
def test_histories_that_never_met_agree_only_on_what_is_equal(listed):
    three = Three(listed)
    mine, other = three.files(three.ours), three.files(three.theirs)
    found = three.merge([], three.ours, three.theirs)
    both = mine.keys() & other.keys()
    assert {path for path in both if mine[path] != other[path]} <= found.conflicts.keys()
    assert not {path for path in both if mine[path] == other[path]} & found.conflicts.keys()


@given(listed=sides())
def test_bases_that_disagree_decide_nothing(listed):
    three = Three(listed)
    found = three.merge([three.base, three.ours, three.theirs], three.ours, three.theirs)
    mine, other = three.files(three.ours), three.files(three.theirs)
    assert {path for path in mine.keys() | other.keys() if mine.get(path) != other.get(path)} == set(found.conflicts)


# ------------------------------------------------------------------------------------------------- merge bases


@given(history=any_time, picked=st.tuples(st.integers(0, 29), st.integers(0, 29)))
def test_merge_bases_are_the_common_ancestors_that_no_other_descends_from(history, picked):
    ours, theirs = (name(number % len(history)) for number in picked)
    common = reachable(history, [ours]) & reachable(history, [theirs])
    best = {
        each for each in common if not any(each in reachable(history, [other]) for other in common if other != each)
    }
    assert graph.merge_bases(ours, theirs, history.__getitem__, lambda identity: identity) == sorted(best)
