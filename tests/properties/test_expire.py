"""Expiries beside writers and collectors, in schedules decided by seeds, and over histories of any shape.

Writers commit to branches of their own, and name old snapshots by tags and runs, which somebody may be expiring just
then.  The collectors wait for no grace and keep nothing for undoing, so what nothing leads to is gone at once.
"""

import functools
import itertools
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvtool import ids
from dvtool.effects import Silence
from dvtool.errors import ConflictError, ErasedError, NotFoundError, StorageError
from dvtool.formats import log, snapshot
from dvtool.formats import run as formats
from dvtool.formats.tree import FILE, Entry
from dvtool.history import expiry, graph, recorded
from dvtool.history.expiry import History, Rule
from dvtool.history.keeping import Reliance
from dvtool.operations import expire, gc
from dvtool.storage.memory import MemoryBackend
from dvtool.store import checkpoints
from dvtool.store.editing import Editor
from dvtool.store.state import State
from dvtool.store.store import Store, first_entry
from dvtool.testing.audit import audit, files, root_of
from dvtool.testing.effects import SeededEntropy, SteppedClock
from dvtool.testing.schedules import Crashed, Schedule, ScheduledBackend
from dvtool.testing.stores import make_store
from tests.cli.running import described, name_of
from tests.properties import test_log

FEW = settings(max_examples=max(20, settings().max_examples // 4), deadline=None)
if TYPE_CHECKING:
    from collections.abc import Callable


def attach(backend, name):
    return Store(backend, clock=SteppedClock(), entropy=SeededEntropy(name))


def put(store, transaction, content, parents, time):
    """Store a snapshot of one file and return its id."""
    entry = Entry(FILE, len(content), transaction.put_chunk(content))
    root = Editor(transaction, store.secrets.split).apply(None, {"": {"file": entry}})
    value = snapshot.Snapshot(
        root=root,
        roots=("file",),
        parents=tuple(parents),
        author="Test",
        time=time,
        message="",
        files=1,
        size=len(content),
        nonce=store.entropy.bytes(snapshot.NONCE_SIZE),
    )
    return transaction.put_object(ids.SNAPSHOT, snapshot.encode(value))


class Run:
    """Writers that commit, tag and record runs, expirers, and collectors."""

    def __init__(self, seed, *, writers=2, expirers=1, collectors=1, rounds=4, crash=0.0, lose=0.0):
        self.seed = seed
        self.schedule = Schedule(seed, crash=crash, lose=lose)
        self.backend = make_store(ScheduledBackend(self.schedule), SeededEntropy(f"make {seed}"))
        first_entry(attach(self.backend, f"{seed} first"), {})
        self.contents: dict[bytes, bytes] = {}
        """By snapshot, what it holds."""
        self.acknowledged: dict[str, set[bytes | None]] = {}
        """By ref, what it may name: one, or several after a reply that was not heard."""
        acts: list[Callable[[], None]] = [functools.partial(self.write, number, rounds) for number in range(writers)]
        acts += [functools.partial(self.expire, number, rounds) for number in range(expirers)]
        acts += [functools.partial(self.collect, number, rounds) for number in range(collectors)]
        self.ends = self.schedule.run(acts)

    def write(self, writer, rounds):
        store = attach(self.backend, f"{self.seed} writer {writer}")
        choice = random.Random(f"{self.seed} {writer}")
        reliance = Reliance(store, Silence())
        for number in range(rounds):
            if choice.random() < 0.6 or not self.contents:
                self.attempt(f"heads/{writer}", functools.partial(self.commit, store, writer, number))
            elif choice.random() < 0.4:
                wanted = choice.choice(sorted(self.contents))
                ref = formats.ref_name(name_of(100 * writer + number))
                self.attempt(ref, functools.partial(self.record, store, reliance, wanted))
            else:
                wanted = choice.choice(sorted(self.contents))
                self.attempt(f"tags/{writer}-{number}", functools.partial(self.tag, store, reliance, wanted))
            reliance.name(())

    def attempt(self, ref, act):
        before = set(self.acknowledged.get(ref, {None}))
        tried: list[bytes] = []
        try:
            act(ref, tried)
        except (ConflictError, ErasedError, NotFoundError):
            self.acknowledged[ref] = before  # refused, so nothing has happened
        except (StorageError, Crashed):
            self.acknowledged[ref] = before | set(tried)  # no answer
        else:
            self.acknowledged[ref] = set(tried)

    def commit(self, store, writer, number, ref, tried):
        content = f"{writer} {number}".encode() * 30
        with store.transaction() as transaction:
            before = store.refresh().ref(ref)
            new = put(store, transaction, content, [before] if before else [], store.clock.now())
            tried.append(new)
            transaction.commit("commit", lambda _state: [log.MoveRef(name=ref, old=before, new=new)])
        self.contents[new] = content

    def tag(self, store, reliance, wanted, ref, tried):
        store.refresh()
        reliance.name([wanted])
        reliance.check(store.state)
        tried.append(wanted)
        store.log.append("tag", lambda _state: [log.MoveRef(name=ref, old=None, new=wanted)])

    def record(self, store, reliance, wanted, ref, tried):
        """Record a run that read a snapshot, which is then kept like one that has a tag."""
        store.refresh()
        reliance.name([wanted])
        reliance.check(store.state)
        number = next(each for each in range(1000) if formats.ref_name(name_of(each)) == ref)
        with store.transaction() as transaction:
            root = Editor(transaction, store.secrets.split).empty()
            value = described(number, store.entropy.bytes(32), root, [formats.Source(snapshot=wanted)])
            new = transaction.put_object(ids.RUN, formats.encode(value))
            tried.append(new)
            transaction.commit("run", lambda _state: [log.MoveRef(name=ref, old=None, new=new)])

    def expire(self, number, rounds):
        store = attach(self.backend, f"{self.seed} expirer {number}")
        for _round in range(rounds):
            try:
                history = History(store)
                rule = Rule(last=1)
                expire.drop(store, history, rule, frozenset(history.plan(rule).going))
            except (ConflictError, StorageError):
                continue

    def collect(self, number, rounds):
        store = attach(self.backend, f"{self.seed} collector {number}")
        for round_number in range(rounds):
            try:
                gc.collect(store, Silence(), dry_run=False, grace=0, retention=0)
                if round_number % 2:
                    checkpoints.write(store)
            except (ConflictError, StorageError):
                continue

    def verify(self):
        assert all(end is None or isinstance(end, Crashed) for end in self.ends), self.ends
        reader = attach(self.backend, "reader")
        found = audit(reader)
        for ref, allowed in self.acknowledged.items():
            assert found.refs.get(ref) in allowed, ref
        for name, value in found.refs.items():
            sources = formats.names_of(recorded.named(reader, name, value)) if name.startswith("runs/") else [value]
            assert all(reader.state.expiry(each) is None for each in sources)
            assert found.snapshots.keys() >= set(sources)
            if value in self.contents:
                assert dict(files(reader, root_of(reader, value)[0])) == {"file": self.contents[value]}
        gc.collect(reader, Silence(), dry_run=False, grace=0, retention=0)
        assert audit(attach(self.backend, "last")).refs == found.refs
        return sum(log.expired(new) is not None for _old, new in reader.state.superseded.items())


@FEW
@given(seed=st.integers(0, 2**32))
def test_beside_an_expiry_nothing_that_is_named_is_lost(seed):
    Run(seed).verify()


@FEW
@given(seed=st.integers(0, 2**32))
def test_beside_two_expiries_nothing_that_is_named_is_lost(seed):
    Run(seed, expirers=2).verify()


@FEW
@given(seed=st.integers(0, 2**32))
def test_nothing_is_lost_when_somebody_crashes_or_hears_no_answer(seed):
    Run(seed, crash=0.005, lose=0.1).verify()


def test_the_schedules_do_expire():
    assert sum(Run(seed, rounds=8).verify() for seed in range(20)) > 20


@pytest.mark.deep
def test_a_thousand_schedules_with_expiries():
    for seed in range(1000):
        Run(seed, expirers=1 + seed % 2, crash=0.005 * (seed % 2), lose=0.1 * (seed % 3)).verify()


found_out = functools.partial(test_log.found_out, run=Run)


# Each rule switched off must be noticed, or the schedules prove nothing.


def test_without_refusing_what_was_expired_a_tag_names_it(monkeypatch):
    assert not found_out(40, rounds=8)
    monkeypatch.setattr(State, "_check_expired", lambda _self, _actions: None)
    monkeypatch.setattr(State, "require_unexpired", lambda _self, _identity: None)
    assert found_out(40, rounds=8)


def test_without_asking_runs_what_they_read_is_expired(monkeypatch):
    monkeypatch.setattr(expiry, "OTHERS", ("stage/", "tags/"))
    assert found_out(40, rounds=8)


def test_without_looking_again_a_tagged_snapshot_is_expired(monkeypatch):
    assert not found_out(40, rounds=8)
    monkeypatch.setattr(State, "_check_expired", lambda _self, _actions: None)
    monkeypatch.setattr(expire, "drop", hasty)
    assert found_out(40, rounds=8)


def hasty(store, history, rule, agreed):
    """Expire what was planned once, whatever happened since."""
    pairs = tuple((identity, log.to_expired(1)) for identity in history.plan(rule).going if identity in agreed)
    store.log.append("expire", lambda _state: [log.Supersede(pairs=pairs)])


# ---------------------------------------------------------------------------------- histories of any shape


@st.composite
def histories(draw):
    """(parents by number, days by number, refs as name to number): parents come before their children."""
    count = draw(st.integers(1, 12))
    parents = [()] + [
        tuple(sorted(draw(st.sets(st.integers(0, number - 1), max_size=2)), reverse=True)) for number in range(1, count)
    ]
    days = [draw(st.integers(0, 9)) for _number in range(count)]
    names = draw(st.lists(st.sampled_from(["heads/a", "heads/b", "tags/x", "tags/y", "worktrees/w"]), unique=True))
    return parents, days, {name: draw(st.integers(0, count - 1)) for name in names}


rules = st.one_of(
    st.builds(lambda last: Rule(last=last), st.integers(1, 5)),
    st.builds(lambda before: Rule(before=before), st.integers(0, 10)),
)


def build(parents, days, refs):
    backend = make_store(MemoryBackend(), SeededEntropy("shapes"))
    store = attach(backend, "shapes")
    first_entry(store, {})
    made: list[bytes] = []
    with store.transaction() as transaction:
        for number, before in enumerate(parents):
            made.append(put(store, transaction, f"{number}".encode(), [made[each] for each in before], days[number]))
        moves: list[log.Action] = [
            log.MoveRef(name=f"heads/lost-{number}", old=None, new=identity) for number, identity in enumerate(made)
        ]
        transaction.commit("make", lambda _state: moves)
    back: list[log.Action] = [log.MoveRef(name=move.name, old=move.new, new=None) for move in moves]  # type: ignore[union-attr]
    back += [log.MoveRef(name=name, old=None, new=made[number]) for name, number in refs.items()]
    store.log.append("name", lambda _state: back)
    store.refresh()
    return store, made


def ancestors(parents, number):
    found = {number}
    for each in parents[number]:
        found |= ancestors(parents, each)
    return found


def expected(parents, days, refs, rule, log_order):
    """The numbers of the snapshots that must stay because of a ref, as the words of the manual have it."""
    stay = set(refs.values())
    for name, tip in refs.items():
        below = ancestors(parents, tip)
        if rule.before is not None:
            stay |= {each for each in below if max(days[old] for old in ancestors(parents, each)) >= rule.before}
        elif not name.startswith("tags/"):
            stay |= set(log_order(tip)[: rule.last])
    return stay


@settings(max_examples=300, deadline=None)
@given(history=histories(), rule=rules)
def test_what_stays_is_what_the_rule_says_and_all_of_it_is_led_to(history, rule):
    parents, days, refs = history
    store, made = build(parents, days, refs)
    number_of = {identity: number for number, identity in enumerate(made)}

    def log_order(tip):
        walk = graph.walk([made[tip]], History(store).read, store.state.standing)
        return [number_of[identity] for identity, _snapshot in walk]

    wanted = expected(parents, days, refs, rule, log_order)
    reached = set(itertools.chain.from_iterable(ancestors(parents, tip) for tip in refs.values()))
    plan = History(store).plan(rule)
    going = [number_of[identity] for identity in plan.going]
    assert {number for number in going if number in reached} == reached - wanted
    assert {number_of[identity] for identity in plan.forgotten} == set(going) - reached
    assert sorted(number_of[each] for keeping in plan.kept for each in keeping.keeps) == sorted(wanted)
    # Ancestors go first: no snapshot comes before one that it descends from.
    assert all(going.index(old) <= at for at, each in enumerate(going) for old in ancestors(parents, each) & set(going))
    assert expire.drop(store, History(store), rule, frozenset(plan.going)) == list(plan.going)
    if rule.before is not None:  # what was between two that stay can have held one of them back in the order of the log
        assert History(store).plan(rule).going == ()
    gc.collect(store, Silence(), dry_run=False, grace=0, retention=0)
    store.refresh()
    found = audit(store).snapshots
    assert {number_of[identity] for identity in found} == wanted
    assert found == {made[number]: {"file": f"{number}".encode()} for number in wanted}
