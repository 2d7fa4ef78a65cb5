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
