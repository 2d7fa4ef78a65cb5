"""The fold's own checks: which entries may follow."""

import pytest

from dvtool.errors import ExistsError
from dvtool.formats import log
from dvtool.store import store as stores
from dvtool.testing.effects import SeededEntropy, SteppedClock


@pytest.fixture
def store(tmp_path):
    clock, entropy = SteppedClock(), SeededEntropy("state")
    made = stores.create_local(f"{tmp_path}/store", clock=clock, entropy=entropy)
    stores.first_entry(made, {})
    return stores.open_local(f"{tmp_path}/store", clock=clock, entropy=entropy)


def move(store, *moves):
    actions = [log.MoveRef(name=name, old=old, new=new) for name, old, new in moves]
    store.log.append("branch", lambda _state: list(actions))


@pytest.mark.parametrize(("first", "second"), [("heads/a", "heads/a/b"), ("heads/a/b/c", "heads/a")])
def test_no_entry_makes_a_ref_below_another(store, first, second):
    move(store, (first, None, bytes(32)))
    number = store.refresh().number
    with pytest.raises(ExistsError):
        move(store, (second, None, bytes(32)))
    with pytest.raises(ExistsError):
        move(store, ("worktrees/w", None, log.to_symbolic(second)))  # the branch that its first commit would make
    with pytest.raises(ExistsError):
        move(store, ("heads/y", None, bytes(32)), ("heads/y/y", None, bytes(32)))
    assert store.refresh().number == number
    move(store, (first, bytes(32), None), (second, None, bytes(32)))
    move(store, ("worktrees/w", None, log.to_symbolic(second)))
    assert store.refresh().ref(second) == bytes(32)


def test_names_that_only_begin_alike_are_free(store):
    move(store, ("heads/a", None, bytes(32)), ("heads/a-b", None, bytes(32)), ("tags/a/b", None, bytes(32)))
    move(store, ("heads/ab", None, bytes(32)))
    assert len(store.refresh().ref_names("heads/")) == 3


def add(store, name, **sections):
    action = log.AddPacks(
        keys=f"keys/{name * 16}", index=f"index/{name * 16}", packs=(bytes.fromhex(name * 32),), records=0
    )
    store.log.append("test", lambda _state: [action], sections=sections)
    return f"packs/{name * 32}"


def test_packs_are_put_aside_until_an_entry_takes_them(store):
    one, other = add(store, "a1", **log.putting_aside()), add(store, "b2", **log.putting_aside())
    sound = add(store, "c3")
    state = store.refresh()
    assert state.aside(one) is not None
    assert state.aside(sound) is None
    store.log.append("test", lambda _state: [], sections=log.taking([bytes.fromhex("a1" * 32)]))
    state = store.refresh()
    assert (state.aside(one), state.aside(sound)) == (None, None)
    assert state.aside(other) is not None


def test_who_takes_what_is_not_there_changes_nothing(store):
    """A foreign log may say so of any name: nothing is made by it that would then count as a pack of the store."""
    one = add(store, "a1", **log.putting_aside())
    store.log.append("test", lambda _state: [log.Condemn(names=(one,))])
    store.log.append("test", lambda _state: [log.Drop(names=(one,))])
    before = store.refresh().packs.items()
    store.log.append("test", lambda _state: [], sections=log.taking([bytes.fromhex("a1" * 32), bytes(32)]))
    state = store.refresh()
    assert state.packs.items() == before
    assert state.aside(one) is None
    assert state.is_doomed(one)
