"""The fold's own checks: which entries may follow."""

import msgspec
import pytest

from dvtool.errors import ExistsError
from dvtool.formats import log
from dvtool.store import checkpoints
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


ERASURE = b"\1" * 16
PLANNED = b"\2" * 16


def step(store, phase, **locator):
    """Take a step of an erasure, and return the locator that is kept of it then."""
    action = log.Erasure(erasure=ERASURE, phase=phase, planned=PLANNED, **locator)
    store.log.append("erase", lambda _state: [action])
    return store.refresh().locators.get(ERASURE)


@pytest.mark.parametrize("ends", [[log.ABORTED], [log.ERASED, log.FINISHED]], ids=["aborted", "finished"])
def test_a_locator_is_kept_as_long_as_its_erasure_is_not_over(store, ends):
    kept = msgspec.msgpack.encode((b"sealed", (b"one", b"two")))
    assert step(store, log.ERASING, locator=b"sealed", wraps=(b"one", b"two")) == kept
    for phase in ends[:-1]:
        assert step(store, phase) == kept
    assert step(store, ends[-1]) is None
    assert store.refresh().pending() == []


def test_a_locator_that_is_said_again_takes_the_place_of_the_one_before(store):
    step(store, log.ERASING, locator=b"sealed", wraps=(b"one",))
    assert step(store, log.ERASED, locator=b"anew") == msgspec.msgpack.encode((b"anew", ()))
    assert step(store, log.FINISHED, locator=b"for others", wraps=(b"two",)) == msgspec.msgpack.encode(
        (b"for others", (b"two",))
    )


def test_the_locator_of_an_erasure_outlives_a_checkpoint_and_ends_after_it(store, tmp_path):
    kept = step(store, log.ERASING, locator=b"sealed", wraps=(b"one",))
    step(store, log.ERASED)
    checkpoints.write(store)
    again = stores.open_local(f"{tmp_path}/store", clock=SteppedClock(), entropy=SeededEntropy("again"))
    assert again.refresh().checkpoint
    assert again.refresh().locators.get(ERASURE) == kept
    assert step(again, log.FINISHED) is None
    checkpoints.write(again)
    assert again.refresh().locators.items() == []
