"""Erasures beside everybody else who works on a store, in schedules decided by seeds.

Nothing that was acknowledged is lost, every ref opens in full, what was erased is opened by no key that is left, and
whatever is pending is finished by whoever comes next.  The rules are those of ``docs/format/log.md``.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvtool.errors import DvError, IntegrityError, NotFoundError
from dvtool.formats import log
from dvtool.history.keeping import Reliance
from dvtool.store import checkpoints, erasing
from dvtool.store.log import Log
from dvtool.store.relying import Relied
from dvtool.store.state import EMPTY, Overlay, State
from tests.erasure.scheduling import Run

FEW = settings(max_examples=max(12, settings().max_examples // 4), deadline=None)
SEEDS = st.integers(0, 2**32)
MIXES: list[dict[str, Any]] = [
    {"erasers": 1, "writers": 2, "collectors": 1},
    {"erasers": 2, "mergers": 1, "branches": 1},
    {"erasers": 1, "aborters": 1, "stale": 1, "resumers": 1, "crash": 0.003, "lose": 0.1},
    {"erasers": 2, "asides": 1, "sharers": 1, "mergers": 1, "lose": 0.05, "stall": 0.01},
    {"erasers": 2, "resumers": 2, "stale": 1, "readers": 2, "expirers": 1, "crash": 0.002, "stall": 0.005},
    {"erasers": 1, "resumers": 1, "stale": 1, "sharers": 1, "branches": 1, "collectors": 1, "mergers": 1, "lose": 0.05},
]


@FEW
@given(seed=SEEDS)
def test_beside_an_erasure_and_a_collection_nothing_acknowledged_is_lost(seed):
    Run(seed, rounds=2, **MIXES[0]).verify()


@FEW
@given(seed=SEEDS)
def test_two_people_are_erased_while_keys_are_merged_and_branches_begun(seed):
    Run(seed, rounds=2, **MIXES[1]).verify()


@FEW
@given(seed=SEEDS)
def test_what_is_given_up_or_stopped_is_erased_by_another_or_not_at_all(seed):
    Run(seed, rounds=2, end="abort" if seed % 2 else "resume", **MIXES[2]).verify()


@FEW
@given(seed=SEEDS)
def test_who_shares_a_content_or_puts_packs_aside_is_refused_or_keeps_it(seed):
    Run(seed, rounds=2, **MIXES[3]).verify()


@FEW
@given(seed=SEEDS)
def test_readers_follow_from_wherever_they_were(seed):
    Run(seed, rounds=2, **MIXES[4]).verify()


@FEW
@given(seed=SEEDS)
def test_with_everybody_at_work_what_was_erased_stays_erased(seed):
    Run(seed, rounds=2, **MIXES[5]).verify()


def test_the_schedules_do_erase():
    assert sum(Run(seed, rounds=2, **MIXES[seed % len(MIXES)]).verify() for seed in range(12)) > 10


def test_a_schedule_is_the_same_each_time():
    first, second = Run(7, **MIXES[4]), Run(7, **MIXES[4])
    assert first.schedule.trace == second.schedule.trace
    assert first.backend.blobs.keys() == second.backend.blobs.keys()
    first.close()
    second.close()


@pytest.mark.deep
def test_thousands_of_schedules_with_erasures():
    done = 0
    for seed in range(2_400):
        end = "abort" if seed % 7 == 0 else "resume"
        done += Run(seed, rounds=2 + seed % 2, end=end, **MIXES[seed % len(MIXES)]).verify()
    assert done > 2_000


# Each rule switched off must be noticed, or the schedules prove nothing.


def finds(seeds, **options):
    """The first seed whose schedule notices what is wrong, or None."""
    for seed in seeds:
        run = None
        try:
            run = Run(seed, **options)
            run.verify()
        except (AssertionError, DvError):
            return seed
        finally:
            if run is not None:
                run.close()
    return None


def noticed(monkeypatch, owner, name, instead, *, seeds=60, **options):
    """Hold a mix that finds nothing against the same with a rule switched off."""
    sound = finds(range(2), **options)
    assert sound is None, sound
    monkeypatch.setattr(owner, name, instead)
    return finds(range(seeds), **options) is not None


def at_once(store, *_before):
    """Rule 1 left out: what no entry names is deleted without an entry that says so."""
    state = store.refresh()
    named = erasing._named(state)
    for name in [name for name in erasing._files(store.backend) if name not in named]:
        store.backend.purge(name)
    return store.refresh()


def test_rule_1_what_is_destroyed_without_an_entry_was_somebodys(monkeypatch):
    assert noticed(monkeypatch, erasing, "_condemned", at_once, erasers=1, slow=2)


def test_rule_1_a_log_key_that_is_destroyed_without_an_entry_was_the_next_one(monkeypatch):
    condemned = erasing._condemned

    def and_log_keys(store, *before):
        state = condemned(store, *before)
        label = state.label
        for name in sorted(store.backend.names("keys")):
            if name.startswith("log-") and name != f"log-{label.hex()}":
                store.backend.purge(f"keys/{name}")
        return state

    # One who has fallen behind destroys for an erasure that another finished, while the next one is committed.
    options = {"erasers": 2, "resumers": 2, "stall": 0.02}
    assert noticed(monkeypatch, erasing, "_condemned", and_log_keys, seeds=200, **options)


def test_rule_2_what_was_condemned_is_not_added(monkeypatch):
    assert noticed(monkeypatch, State, "check_addable", lambda *_arguments: None, erasers=1, slow=2)


def test_rule_3_what_was_given_up_is_not_relied_on(monkeypatch):
    assert noticed(monkeypatch, Relied, "refuse_condemned", lambda *_arguments: None, erasers=1, sharers=2)


def test_rule_3_what_was_given_up_is_not_built_on(monkeypatch):
    assert noticed(monkeypatch, Reliance, "check", lambda *_arguments: None, erasers=1, branches=2)


def hasty(store, *_before):
    """Rule 3 left out, by the eraser: whatever is condemned is dropped, needed or not."""
    state = store.refresh()
    names = tuple(name.decode() for name, _time in state.condemned.items())
    if names:
        store.log.append("erase", lambda _state: [log.Drop(names=names)])
    return store.refresh()


def test_rule_3_what_another_has_condemned_may_be_needed(monkeypatch):
    assert noticed(monkeypatch, erasing, "_condemned", hasty, erasers=1, writers=2, collectors=1)


def forgetful(*forgotten):
    """Rule 10 left out: a checkpoint does not say some of what it should."""
    load = State._load

    def loaded(self, checkpoint):
        load(self, checkpoint)
        for name in forgotten:
            setattr(self, name, [] if name == "writes" else Overlay(name, EMPTY, self._reader))

    return loaded


def test_rule_4_who_meets_a_stub_knows_its_entry_by_the_checkpoint(monkeypatch):
    options = {"erasers": 1, "writers": 3, "lose": 0.3, "lag": 800}
    assert noticed(monkeypatch, State, "_load", forgetful("writes"), seeds=150, **options)


@pytest.mark.parametrize("name", ["dropped", "erasures", "superseded", "refs"])
def test_rule_10_a_checkpoint_says_everything(monkeypatch, name):
    options = {"erasers": 1, "slow": 2, "branches": 1, "mergers": 2}
    assert noticed(monkeypatch, State, "_load", forgetful(name), seeds=100, **options)


def test_rule_5_while_an_erasure_is_announced_nobody_else_writes(monkeypatch):
    check = State.check

    def unlocked(self, actions):
        held, self.lock = self.lock, b""
        try:
            check(self, actions)
        finally:
            self.lock = held

    options = {"erasers": 1, "stale": 2, "collectors": 1, "stall": 0.01}
    assert noticed(monkeypatch, State, "check", unlocked, **options)


def test_rule_6_what_was_aborted_is_not_committed(monkeypatch):
    options = {"erasers": 1, "aborters": 2, "stale": 2, "sharers": 1, "stall": 0.01}
    assert noticed(monkeypatch, State, "_check_phase", lambda *_arguments: None, seeds=150, **options)


def test_rule_7_merged_files_are_built_anew_after_a_lost_race(monkeypatch):
    merge = checkpoints._merge
    built: dict[int, object] = {}

    def once(store, segments, without):
        if without:
            return merge(store, segments, without)
        return built.setdefault(id(store), merge(store, segments, without))

    assert noticed(monkeypatch, checkpoints, "_merge", once, erasers=1, mergers=2, writers=1)


def log_keys_first(empty):
    """Rule 8 left out, its second half: log keys go while entries are there that only they open."""

    def emptied(store, state):
        for name in sorted(store.backend.names("keys")):
            if name.startswith("log-") and name != f"log-{state.label.hex()}":
                store.backend.purge(f"keys/{name}")
        for _turn in range(100):
            store.backend.exists("format")
        return empty(store, state)

    return emptied


def test_rule_8_an_entry_without_its_key_counts_as_a_stub(monkeypatch):
    monkeypatch.setattr(erasing, "empty_entries", log_keys_first(erasing.empty_entries))
    key = Log._key

    def strict(self, label):
        try:
            return key(self, label)
        except IntegrityError as error:
            raise NotFoundError(error.what) from None

    assert noticed(monkeypatch, Log, "_key", strict, erasers=2, readers=3, writers=1, seeds=100)


def test_rule_8_the_log_key_goes_after_the_last_stub(monkeypatch):
    assert noticed(monkeypatch, erasing, "empty_entries", lambda *_arguments: 0, erasers=1, seeds=3)


def test_rule_9_until_it_is_finished_anybody_can_complete_it(monkeypatch):
    assert noticed(monkeypatch, State, "pending", lambda _self: [], erasers=2, resumers=1, crash=0.003)
