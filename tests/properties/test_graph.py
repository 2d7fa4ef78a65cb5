"""Laws of walking the history: each snapshot once, children before parents, otherwise newest first, none read early."""

from hypothesis import given
from hypothesis import strategies as st

from dvtool.formats.snapshot import Snapshot
from dvtool.history import graph


def name(number):
    return number.to_bytes(32, "big")


def snapshot(parents, time):
    return Snapshot(
        root=bytes(32),
        roots=(),
        parents=tuple(name(parent) for parent in parents),
        author="",
        time=time,
        message="",
        files=0,
        size=0,
        nonce=bytes(32),
    )


@st.composite
def histories(draw, *, clock):
    """{id: snapshot}, each with parents among those before it; ``clock`` turns a snapshot's number into its time."""
    count = draw(st.integers(1, 30))
    found = {}
    for number in range(count):
        # Mostly the one right before, so that there are long lines with branches, merges and lone roots between.
        near = st.integers(max(0, number - 3), number - 1) if number else st.nothing()
        anywhere = st.integers(0, number - 1) if number else st.nothing()
        parents = draw(st.lists(near | anywhere, max_size=3)) if number and draw(st.integers(0, 9)) else []
        found[name(number)] = snapshot(parents, draw(clock(number)))
    return found


any_time = histories(clock=lambda _number: st.integers(0, 5))
true_time = histories(clock=st.just)


class Reader:
    """Reads snapshots, and remembers which."""

    def __init__(self, history):
        self.history = history
        self.read = []

    def __call__(self, identity):
        assert identity not in self.read, "a snapshot was read twice"
        self.read.append(identity)
        return self.history[identity]


def walked(history, tips):
    return [identity for identity, _found in graph.walk(tips, Reader(history), lambda identity: identity)]


def reachable(history, tips):
    found, pending = set(), list(tips)
    while pending:
        identity = pending.pop()
        if identity not in found:
            found.add(identity)
            pending += history[identity].parents
    return found


def eager(history, tips):
    """The same order by a look at everything first."""
    left = reachable(history, tips)
    order = []
    while left:
        waiting = {parent for identity in left for parent in history[identity].parents}
        first = min(left - waiting, key=lambda identity: (-history[identity].time, identity))
        order.append(first)
        left.remove(first)
    return order


tips_of = st.lists(st.integers(0, 29), min_size=1, max_size=3)


@given(history=any_time, picked=tips_of)
def test_everything_reachable_comes_once(history, picked):
    tips = [name(number % len(history)) for number in picked]
    order = walked(history, tips)
    assert len(order) == len(set(order))
    assert set(order) == reachable(history, tips)


@given(history=any_time, picked=tips_of)
def test_children_come_before_parents_whatever_the_clocks_say(history, picked):
    order = walked(history, [name(number % len(history)) for number in picked])
    place = {identity: at for at, identity in enumerate(order)}
    for identity in order:
        assert all(place[identity] < place[parent] for parent in history[identity].parents)


@given(history=any_time, picked=tips_of)
def test_otherwise_the_newest_comes_first(history, picked):
    tips = [name(number % len(history)) for number in picked]
    assert walked(history, tips) == eager(history, tips)


@given(history=true_time)
def test_under_true_clocks_that_is_newest_first(history):
    order = walked(history, [name(len(history) - 1)])
    assert order == sorted(order, reverse=True)


@given(times=st.lists(st.integers(0, 5), min_size=1, max_size=40), wanted=st.integers(1, 40))
def test_in_a_linear_history_each_snapshot_costs_one_reading(times, wanted):
    history = {name(at): snapshot([at - 1] if at else [], time) for at, time in enumerate(times)}
    reader = Reader(history)
    walk = graph.walk([name(len(times) - 1)], reader, lambda identity: identity)
    got = [found for found, _step in zip(walk, range(wanted), strict=False)]
    # zip asks the walk once more before it looks at the range, so the readings may be one ahead.
    assert len(reader.read) <= len(got) + 1
    assert [identity for identity, _snapshot in got] == [name(at) for at in reversed(range(len(times)))][:wanted]
