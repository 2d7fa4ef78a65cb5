"""Collectors beside writers, in schedules decided by seeds: nothing acknowledged is lost, and what is lost is noticed.

In most schedules the collectors wait for no grace, and the store has no clock: whatever a writer has put and not yet
named is condemned at once.  So a writer may be refused, and tries again; it must never be told that something is stored
which is not.  In others there are short graces, and clocks that differ by seconds and by years.
"""

import functools
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvtool import ids
from dvtool.effects import Silence
from dvtool.errors import ConflictError, IntegrityError, StorageError
from dvtool.formats import log, stage
from dvtool.formats.tree import FILE, Entry
from dvtool.operations import gc
from dvtool.store import checkpoints
from dvtool.store.editing import Editor
from dvtool.store.relying import Relied
from dvtool.store.state import State
from dvtool.store.store import Store, first_entry
from dvtool.testing.audit import audit, files
from dvtool.testing.effects import SeededEntropy, SteppedClock
from dvtool.testing.schedules import Crashed, Schedule, ScheduledBackend
from dvtool.testing.stores import make_store
from tests.properties import test_log

FEW = settings(max_examples=max(20, settings().max_examples // 4))
if TYPE_CHECKING:
    from collections.abc import Callable

CONTENTS = [b"one" * 100, b"two" * 100, b"three" * 100]
"""Few, so that writers find the content of others stored, or about to be collected."""


SECOND = 1_000_000
SKEWS = [0, 0, 5 * SECOND, -5 * SECOND, 400 * 86400 * SECOND, -400 * 86400 * SECOND]
"""What a machine's clock is ahead of the place's."""
GRACES = [0, 0, 3, 30]
"""Seconds, each of them a call of the backend."""


def attach(backend, name, clock=None):
    return Store(backend, clock=clock or SteppedClock(), entropy=SeededEntropy(name))


class ClockedBackend(ScheduledBackend):
    """A place with a clock, which moves on by a second at each call that writes or reads."""

    def __init__(self, schedule):
        super().__init__(schedule)
        self.written = {}

    def now(self):
        return 1_700_000_000 * SECOND + len(self.schedule.trace) * SECOND

    def modified(self, name):
        super().modified(name)
        return self.written[name]

    def create(self, name, data):
        self.written.setdefault(name, self.now())
        super().create(name, data)

    def put(self, name, data):
        super().put(name, data)
        self.written[name] = self.now()

    def adopt(self, path, name):
        super().adopt(path, name)
        self.written[name] = self.now()


class Skewed:
    """The clock of a machine, which differs from the place's."""

    def __init__(self, backend, skew):
        self.backend = backend
        self.skew = skew

    def now(self):
        return self.backend.now() + self.skew


class Run:
    """Writers that stage and give up trees of few different contents, and collectors that take what is given up."""

    def __init__(
        self,
        seed,
        *,
        writers=3,
        collectors=1,
        rounds=4,
        crash=0.0,
        lose=0.0,
        skewed=False,
        checkpoint=False,
        hasty=False,
        stall=0.0,
    ):
        self.seed = seed
        self.skewed = skewed
        self.checkpoint = checkpoint
        self.hasty = hasty
        self.schedule = Schedule(seed, crash=crash, lose=lose, stall=stall)
        kind = ClockedBackend if skewed else ScheduledBackend
        self.backend = make_store(kind(self.schedule), SeededEntropy(f"make {seed}"))
        first_entry(attach(self.backend, f"{seed} first"), {})
        self.stores = []
        self.holds = {}
        """By writer, the contents that its ref may hold: one, or several after a reply that was not heard."""
        acts: list[Callable[[], None]] = [functools.partial(self.write, number, rounds) for number in range(writers)]
        acts += [functools.partial(self.collect, number, rounds) for number in range(collectors)]
        self.ends = self.schedule.run(acts)

    def attach(self, name):
        """Open the store in a process of its own, which lives on to the end."""
        chance = random.Random(f"{self.seed} {name}")
        clock = Skewed(self.backend, chance.choice(SKEWS)) if self.skewed else None
        store = attach(self.backend, f"{self.seed} {name}", clock)
        self.stores.append(store)
        return store

    def write(self, writer, rounds):
        store = self.attach(f"writer {writer}")
        choice = random.Random(f"{self.seed} {writer}")
        self.holds[writer] = {None}
        for round_number in range(rounds):
            content = choice.choice([*CONTENTS, None])
            before = set(self.holds[writer])
            self.holds[writer].add(content)
            try:
                self.move(store, writer, content)
            except ConflictError:
                self.holds[writer] = before  # refused, so nothing has happened
                continue
            except (StorageError, Crashed):
                continue  # no answer
            except IntegrityError:
                if not self.hasty:
                    raise
                continue  # a table that it was about to read was collected without a grace
            self.holds[writer] = {content}
            if self.checkpoint and round_number % 2:
                try:
                    checkpoints.write(store)
                except (ConflictError, StorageError):
                    continue
                except IntegrityError:
                    if not self.hasty:
                        raise

    def move(self, store, writer, content):
        name = f"heads/{writer}"
        with store.transaction() as transaction:
            new = None
            if content is not None:
                chunk = transaction.put_chunk(content)
                entry = Entry(FILE, len(content), chunk)
                root = Editor(transaction, store.secrets.split).apply(None, {"": {"file": entry}})
                nonce = store.entropy.bytes(stage.NONCE_SIZE)
                value = stage.Stage(tree=root, roots=("file",), merging=(), nonce=nonce)
                new = transaction.put_object(ids.STAGE, stage.encode(value))
            transaction.commit("move", lambda state: [log.MoveRef(name=name, old=state.ref(name), new=new)])

    def collect(self, number, rounds):
        store = self.attach(f"collector {number}")
        chance = random.Random(f"{self.seed} grace {number}")
        for round_number in range(rounds):
            grace = chance.choice(GRACES) if self.skewed else 0
            try:
                gc.collect(
                    store, Silence(), dry_run=False, grace=grace, retention=chance.choice(GRACES) if grace else 0
                )
                if round_number % 2:
                    checkpoints.write(store)
            except (ConflictError, StorageError):
                continue  # others were faster, an answer was not heard, or the clock is wrong; the next round goes on
            except IntegrityError:
                if not self.hasty:
                    raise

    def verify(self):
        assert all(end is None or isinstance(end, Crashed) for end in self.ends), self.ends
        reader = attach(self.backend, "reader")
        found = audit(reader)
        for writer, allowed in self.holds.items():
            value = found.refs.get(f"heads/{writer}")
            held = None
            if value is not None:
                held = dict(files(reader, stage.decode(reader.read_object(ids.STAGE, value)).tree))["file"]
            assert held in allowed
        for store in self.stores:  # whatever it folded last, and whatever of that was collected since
            state = store.refresh()
            assert (state.head, state.ref_names("")) == (reader.state.head, reader.state.ref_names(""))
            assert state.dropped.items() == reader.state.dropped.items()
        gc.collect(reader, Silence(), dry_run=False, grace=0, retention=0)
        assert audit(attach(self.backend, "last")).refs == found.refs
        return len(reader.state.dropped.items())


@FEW
@given(seed=st.integers(0, 2**32))
def test_beside_a_collector_nothing_acknowledged_is_lost(seed):
    Run(seed).verify()


@FEW
@given(seed=st.integers(0, 2**32))
def test_beside_two_collectors_nothing_acknowledged_is_lost(seed):
    Run(seed, writers=2, collectors=2).verify()


@FEW
@given(seed=st.integers(0, 2**32))
def test_nothing_is_lost_when_collectors_and_writers_crash_and_replies_are_lost(seed):
    Run(seed, collectors=2, crash=0.005, lose=0.1).verify()


@FEW
@given(seed=st.integers(0, 2**32))
def test_nothing_is_lost_under_clocks_that_differ(seed):
    Run(seed, writers=2, collectors=2, skewed=True, checkpoint=True).verify()


@FEW
@given(seed=st.integers(0, 2**32))
def test_nothing_is_lost_where_tables_are_collected_under_their_readers(seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "INLINE_LIMIT", 2)  # so that tables are objects, which go with their checkpoints
        Run(seed, writers=2, collectors=2, checkpoint=True, hasty=True).verify()


def test_the_schedules_do_collect():
    assert sum(Run(seed).verify() for seed in range(10)) > 50


@pytest.mark.deep
def test_two_thousand_schedules_with_collectors(monkeypatch):
    for seed in range(2000):
        hasty = seed % 4 == 3
        monkeypatch.setattr(log, "INLINE_LIMIT", 2 if hasty else 256)
        Run(
            seed,
            writers=1 + seed % 3,
            collectors=1 + seed % 2,
            crash=0.005 * (seed % 2),
            lose=0.1 * (seed % 3),
            skewed=seed % 4 in {1, 2},
            checkpoint=seed % 5 > 1,
            hasty=hasty,
        ).verify()


def test_under_clocks_that_differ_the_schedules_do_collect():
    assert sum(Run(seed, writers=2, collectors=2, skewed=True).verify() for seed in range(10)) > 50


found_out = functools.partial(test_log.found_out, run=Run)


# Each rule switched off must be noticed, or the schedules prove nothing.


def test_without_looking_at_what_it_relies_on_a_writer_loses_its_content(monkeypatch):
    # Rule 3.  The writer's entry has to come between a collector's marking and its drop, which is rare.
    assert not found_out(40, collectors=2, stall=0.01)
    monkeypatch.setattr(Relied, "refuse_condemned", lambda _self, _state: None)
    assert found_out(40, collectors=2, stall=0.01)


def test_without_looking_at_what_it_adds_a_writer_loses_its_packs(monkeypatch):
    # Rule 2.  A whole collection has to come between a writer's packs and its entry.
    assert not found_out(40, collectors=2, stall=0.01)
    monkeypatch.setattr(State, "check_addable", lambda _self, _action: None)
    assert found_out(40, collectors=2, stall=0.01)


def test_without_copying_out_what_was_relied_on_before_it_is_lost(monkeypatch):
    # What came between marking and condemning is needed, and lies in a condemned pack alone.
    assert not found_out(40)
    monkeypatch.setattr(gc._Collector, "_copy", lambda *_arguments: None)
    assert found_out(40)


def test_without_marking_again_before_dropping_what_came_between_is_lost(monkeypatch):
    # Rule 3: a collector that drops what it has just condemned does not know what was relied on until then.
    assert not found_out(40)
    plan = gc._Collector._plan

    def hasty(self, **options):
        found = plan(self, **options)
        found.drop |= found.condemn
        found.rescue = []
        return found

    monkeypatch.setattr(gc._Collector, "_plan", hasty)
    monkeypatch.setattr(State, "is_doomed", lambda _self, _name: False)
    assert found_out(40)
