"""The log under deterministic schedules: writers that take turns at each call, crash, and lose replies.

The laws are those of ``docs/design``'s protocol: no acknowledged move of a ref is lost, a refused one has no effect,
numbers have no gaps, and every reader adds the log up to the same state from wherever it starts.
"""

import functools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvtool import ids
from dvtool.errors import ConflictError, DvError, ExistsError, IntegrityError, StorageError
from dvtool.formats import log
from dvtool.storage.memory import MemoryBackend
from dvtool.store import checkpoints
from dvtool.store.state import State
from dvtool.store.store import Store, first_entry
from dvtool.store.transaction import Transaction
from dvtool.testing.audit import scrub
from dvtool.testing.effects import SeededEntropy, SteppedClock
from dvtool.testing.schedules import Crashed, Schedule, ScheduledBackend
from dvtool.testing.stores import make_store

ZERO = bytes(32)
FEW = settings(max_examples=max(30, settings().max_examples // 2))
"""A schedule is a whole history, so half as many say as much."""


def make(backend, seed=0):
    """Put a new, empty store into a backend."""
    return make_store(backend, SeededEntropy(f"make {seed}"))


def attach(backend, name):
    return Store(backend, clock=SteppedClock(), entropy=SeededEntropy(name))


def number_of(value):
    return int.from_bytes(value or ZERO, "big")


def value_of(number):
    return number.to_bytes(32, "big")


def counters(store):
    return {name: number_of(value) for name, value in store.refresh().ref_names("heads/")}


class Run:
    """Writers that count: each adds one to a shared counter, a compare-and-swap that must never lose one."""

    def __init__(self, seed, *, writers=3, rounds=4, crash=0.0, lose=0.0, checkpoint=False, stale=False):
        self.schedule = Schedule(seed, crash=crash, lose=lose)
        self.backend = make(ScheduledBackend(self.schedule), seed)
        first_entry(attach(self.backend, f"{seed} first"), {"heads/shared": ZERO})
        self.acknowledged = []
        self.uncertain = []
        self.refused = 0
        self.stale = stale
        self.seed = seed
        self.ends = self.schedule.run(
            [functools.partial(self.write, number, rounds, checkpoint=checkpoint) for number in range(writers)]
        )

    def write(self, writer, rounds, *, checkpoint):
        store = attach(self.backend, f"{self.seed} writer {writer}")
        for round_number in range(rounds):
            content = f"{writer}/{round_number}".encode()
            seen = store.refresh().ref("heads/shared")

            def moves(state, name=f"heads/{writer}-{round_number}", content=content, seen=seen):
                before = seen if self.stale else state.ref("heads/shared")
                return [
                    log.MoveRef(name="heads/shared", old=before, new=value_of(number_of(before) + 1)),
                    log.MoveRef(name=name, old=None, new=store.hasher.id(ids.STAGE, content)),
                ]

            key = (writer, round_number)
            try:
                with store.transaction() as transaction:
                    transaction.put_object(ids.STAGE, content)
                    self.uncertain.append(key)
                    transaction.commit("count", moves)
            except ConflictError:
                self.refused += 1
                self.uncertain.remove(key)
                continue
            except StorageError:
                continue  # no answer: it may or may not have happened
            self.uncertain.remove(key)
            self.acknowledged.append(key)
            if checkpoint and (writer + round_number) % 2:
                try:
                    checkpoints.write(store)
                except StorageError:
                    continue

    def verify(self):
        assert all(end is None or isinstance(end, Crashed) for end in self.ends), self.ends
        reader = attach(self.backend, "reader")
        found = counters(reader)
        done = {tuple(map(int, name[6:].split("-"))) for name in found if name != "heads/shared"}
        assert set(self.acknowledged) <= done
        assert done <= {*self.acknowledged, *self.uncertain}
        # The counter moved once for each entry that is there: nobody wrote twice, nobody overwrote another.
        assert found["heads/shared"] == len(done)
        numbers = sorted(int(name, 16) for name in self.backend.names("log"))
        assert numbers == list(range(1, len(numbers) + 1))
        for writer, round_number in done:
            content = f"{writer}/{round_number}".encode()
            assert reader.read_object(ids.STAGE, reader.hasher.id(ids.STAGE, content)) == content
        assert scrub(reader) >= len(done)
        return reader


@FEW
@given(seed=st.integers(0, 2**32))
def test_no_acknowledged_move_is_lost(seed):
    run = Run(seed)
    run.verify()
    assert len(run.acknowledged) == 12
    assert run.refused == 0


@FEW
@given(seed=st.integers(0, 2**32))
def test_no_acknowledged_move_is_lost_when_replies_are(seed):
    Run(seed, lose=0.3).verify()


@FEW
@given(seed=st.integers(0, 2**32))
def test_no_acknowledged_move_is_lost_when_writers_crash(seed):
    Run(seed, crash=0.02, lose=0.1).verify()


@FEW
@given(seed=st.integers(0, 2**32))
def test_of_two_writers_with_one_expectation_one_is_refused(seed):
    run = Run(seed, stale=True)
    run.verify()
    assert len(run.acknowledged) + run.refused == 12


@FEW
@given(seed=st.integers(0, 2**32))
def test_no_acknowledged_object_is_lost_to_a_checkpoint(seed):
    run = Run(seed, checkpoint=True)
    run.verify()
    assert len(run.acknowledged) == 12


@FEW
@given(seed=st.integers(0, 2**32))
def test_no_acknowledged_object_is_lost_to_a_checkpoint_that_crashes(seed):
    Run(seed, checkpoint=True, crash=0.01, lose=0.1).verify()


@pytest.mark.deep
def test_thousands_of_schedules():
    interleaved = 0
    for seed in range(5_000):
        run = Run(
            seed,
            writers=2 + seed % 3,
            rounds=3,
            checkpoint=seed % 2 == 0,
            crash=0.01 * (seed % 3),
            lose=0.1 * (seed % 2),
        )
        run.verify()
        interleaved += len({writer for writer, _action, _name in run.schedule.trace}) > 1
    assert interleaved == 5_000


def test_a_schedule_is_the_same_each_time():
    first, second = Run(7, crash=0.02, lose=0.2, checkpoint=True), Run(7, crash=0.02, lose=0.2, checkpoint=True)
    assert first.schedule.trace == second.schedule.trace
    assert first.backend.blobs == second.backend.blobs
    assert Run(8).schedule.trace != Run(9).schedule.trace


def found_out(seeds, run=Run, **options):
    """Whether one of the schedules notices what is wrong."""
    for seed in range(seeds):
        try:
            run(seed, **options).verify()
        except (AssertionError, DvError):
            return True
    return False


# The schedules are worth something only if they find each failure again when its rule is switched off.


def test_without_expectations_updates_are_lost(monkeypatch):
    assert not found_out(10, stale=True)
    monkeypatch.setattr(State, "check", lambda _self, _actions: None)
    assert found_out(10, stale=True)


def test_without_reading_back_a_writer_takes_itself_for_refused(monkeypatch):
    assert not found_out(10, lose=0.5)
    monkeypatch.setattr(State, "writes", property(lambda _self: [], lambda _self, _value: None), raising=False)
    assert found_out(10, lose=0.5)


def test_without_exclusive_creation_entries_are_lost(monkeypatch):
    assert not found_out(10)
    monkeypatch.setattr(MemoryBackend, "create", MemoryBackend.put)
    assert found_out(10)


def test_without_the_order_of_writes_refs_lead_to_nothing(monkeypatch):
    assert not found_out(20, crash=0.05)
    write = Transaction.write_only

    def too_late(self, operation, build):
        entry = self.store.log.append(operation, build)
        added = write(self)
        self.store.log.append(operation, lambda _state: added)
        self.store.refresh()
        return entry

    monkeypatch.setattr(Transaction, "commit", too_late)
    assert found_out(20, crash=0.05)


@FEW
@given(seed=st.integers(0, 2**32))
def test_every_reader_adds_up_to_the_same(seed):
    run = Run(seed, checkpoint=True)
    states = []
    for hint in range(1, len(run.backend.blobs)):
        reader = attach(run.backend, f"reader {hint}")
        reader.log.hint(hint)
        state = reader.refresh()
        states.append(
            (state.number, state.head, state.ref_names(""), state.packs.items(), state.segments, state.writes)
        )
    assert all(state == states[0] for state in states)


def raced(backend, build_first, build_second):
    """Let the second writer finish while the first stands right before its exclusive creation."""
    first, second = attach(backend, "first"), attach(backend, "second")
    first.refresh()
    real = backend.create

    def create(name, data):
        backend.create = real
        build_second(second)
        real(name, data)

    backend.create = create
    return build_first(first)


@pytest.fixture
def backend():
    found = make(MemoryBackend())
    first_entry(attach(found, "init"), {"heads/x": ZERO})
    return found


def move(name, old, new):
    return lambda store: store.log.append("move", lambda _state: [log.MoveRef(name=name, old=old, new=new)])


def test_a_lost_race_for_a_number_is_no_conflict(backend):
    entry = raced(backend, move("heads/a", None, value_of(1)), move("heads/b", None, value_of(2)))
    assert entry.number == 3
    assert counters(attach(backend, "r")) == {"heads/a": 1, "heads/b": 2, "heads/x": 0}


def test_a_ref_that_moved_is_a_conflict_and_nothing_happened(backend):
    with pytest.raises(ConflictError):
        raced(backend, move("heads/x", ZERO, value_of(1)), move("heads/x", ZERO, value_of(2)))
    assert counters(attach(backend, "r")) == {"heads/x": 2}
    assert attach(backend, "r").refresh().number == 2


def lose_reply(backend, *, then=lambda: None):
    real = backend.create

    def create(name, data):
        backend.create = real
        real(name, data)
        then()
        raise ExistsError("a file of the store exists already", where=name)

    backend.create = create


def test_a_lost_reply_is_read_back(backend):
    store = attach(backend, "w")
    store.refresh()
    lose_reply(backend)
    entry = move("heads/a", None, value_of(1))(store)
    assert entry.number == 2
    assert attach(backend, "r").refresh().number == 2


def test_after_a_lost_reply_and_a_stub_the_newest_fold_decides(backend):
    # Rule 4: the creation had succeeded, an erasure wrote a checkpoint and stubbed the entry.
    store, eraser = attach(backend, "w"), attach(backend, "e")
    store.refresh()

    def erase():
        checkpoints.write(eraser)
        backend.replace(log.file_name(2), log.STUB)

    lose_reply(backend, then=erase)
    assert move("heads/a", None, value_of(1))(store).number == 2
    reader = attach(backend, "r")
    assert counters(reader) == {"heads/a": 1, "heads/x": 0}
    assert reader.refresh().number == 3
    assert store.refresh().number == 3


def test_a_reader_that_meets_a_stub_starts_from_the_newest_checkpoint(backend):
    reader, writer = attach(backend, "r"), attach(backend, "w")
    reader.refresh()
    move("heads/a", None, value_of(1))(writer)
    move("heads/b", None, value_of(2))(writer)
    checkpoints.write(writer)
    move("heads/c", None, value_of(3))(writer)
    for number in (2, 3):
        backend.replace(log.file_name(number), log.STUB)
    assert (
        counters(reader)
        == counters(attach(backend, "new"))
        == {
            "heads/a": 1,
            "heads/b": 2,
            "heads/c": 3,
            "heads/x": 0,
        }
    )


ERASING = log.Erasure(erasure=b"e" * 16, phase=log.ERASING, planned=b"p" * 16)


@pytest.mark.parametrize(
    "action",
    [
        log.MoveRef(name="heads/a", old=None, new=ZERO),
        log.AddPacks(keys="keys/k", index="index/i", packs=(b"p" * 32,), records=1),
        log.Drop(names=("packs/" + "00" * 32,)),
    ],
    ids=["moves a ref", "adds packs", "drops a pack"],
)
def test_between_erasing_and_its_end_nobody_else_writes(backend, action):
    # Rule 5.
    writer = attach(backend, "w")
    writer.refresh()
    attach(backend, "e").log.append("erase", lambda _state: [ERASING])
    with pytest.raises(ConflictError):
        writer.log.append("move", lambda _state: [action])
    assert attach(backend, "r").refresh().number == 2


def test_after_an_aborted_erasure_everybody_writes(backend):
    eraser = attach(backend, "e")
    eraser.log.append("erase", lambda _state: [ERASING])
    aborted = log.Erasure(erasure=b"e" * 16, phase=log.ABORTED, planned=b"p" * 16)
    eraser.log.append("erase", lambda _state: [aborted])
    move("heads/a", None, value_of(1))(attach(backend, "w"))
    assert counters(attach(backend, "r"))["heads/a"] == 1


def step(erasure, phase):
    return log.Erasure(erasure=erasure * 16, phase=phase, planned=erasure.upper() * 16)


def test_after_the_commit_of_an_erasure_everybody_writes_and_the_next_erasure_waits(backend):
    # Rules 5 and 9: refs stand still until the commit, a second erasure until the end; also behind a checkpoint.
    eraser, writer = attach(backend, "e"), attach(backend, "w")
    for phase in (log.ERASING, log.ERASED):
        eraser.log.append("erase", lambda _state, phase=phase: [step(b"e", phase)])
    move("heads/a", None, value_of(1))(writer)
    checkpoints.write(writer)
    assert writer.state.checkpoint == writer.state.number
    late = attach(backend, "late")
    assert late.refresh().pending() == [(b"e" * 16, log.ERASED, b"E" * 16)]
    with pytest.raises(ConflictError):
        late.log.append("erase", lambda _state: [step(b"f", log.ERASING)])
    forged = log.Erasure(erasure=b"e" * 16, phase=log.FINISHED, planned=b"F" * 16)
    with pytest.raises(ConflictError):
        late.log.append("erase", lambda _state: [forged])
    late.log.append("erase", lambda _state: [step(b"e", log.FINISHED)])
    late.log.append("erase", lambda _state: [step(b"f", log.ERASING)])
    assert attach(backend, "r").refresh().lock == b"F" * 16


@pytest.mark.parametrize("which", ["keys", "index"])
def test_a_dropped_key_or_index_file_ends_its_segment(backend, which):
    store = attach(backend, "w")
    with store.transaction() as transaction:
        identity = transaction.put_object(ids.STAGE, b"gone with its segment")
        transaction.commit("add", lambda _state: [])
    segment = store.state.segments[-1]
    store.log.append("gc", lambda _state: [log.Drop(names=(getattr(segment, which),))])
    for reader in (store, attach(backend, "r")):
        assert segment not in reader.refresh().segments
        assert not reader.has(identity)


def test_what_a_checkpoint_says_besides_survives_those_who_do_not_know_of_it(backend):
    newer = attach(backend, "newer")
    newer.refresh()
    newer.log.origin = "there"
    said = {"from-the-future": msgspec.Raw(msgspec.msgpack.encode({"some": ["thing"]}))}
    append = newer.log.append
    newer.log.append = lambda operation, build, **options: append(
        operation, build, sections=(options.get("sections") or {}) | said
    )
    checkpoints.write(newer)
    older = attach(backend, "older")
    for _ in range(2):
        move("heads/a", older.refresh().ref("heads/a"), value_of(1))(older)
        checkpoints.write(older)
    last = attach(backend, "r")
    assert {name: bytes(value) for name, value in last.refresh().sections.items()} == {
        name: bytes(value) for name, value in said.items()
    }
    assert log.origin(next(last.log.entries())) == ""


@pytest.mark.parametrize("kind", [log.Condemn, log.Drop])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_condemned_name_never_comes_back(backend, kind, checkpoint):
    # Rules 2, 3 and 10: also behind a checkpoint.
    store, collector = attach(backend, "w"), attach(backend, "gc")
    with store.transaction() as transaction:
        transaction.put_object(ids.STAGE, b"late")
        [added] = transaction.write_only()
        names = (f"packs/{added.packs[0].hex()}",)
        collector.log.append("gc", lambda _state: [log.Condemn(names=names)])
        if kind is log.Drop:
            collector.log.append("gc", lambda _state: [log.Drop(names=names)])
        if checkpoint:
            collector.refresh()
            checkpoints.write(collector)
        with pytest.raises(ConflictError):
            store.log.append("add", lambda _state: [added])


@pytest.mark.parametrize("kind", [log.Condemn, log.Drop])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_an_entry_that_adds_what_was_given_up_closes_the_log_for_nobody(backend, monkeypatch, kind, checkpoint):
    # Rule 2 from the other side: who breaks it must not keep others from what is theirs.
    store, collector = attach(backend, "w"), attach(backend, "gc")
    with store.transaction() as transaction:
        late = transaction.put_object(ids.STAGE, b"late")
        [added] = transaction.write_only()
        names = (f"packs/{added.packs[0].hex()}",)
        collector.log.append("gc", lambda _state: [log.Condemn(names=names)])
        if kind is log.Drop:
            collector.log.append("gc", lambda _state: [log.Drop(names=names)])
        with monkeypatch.context() as patch:
            patch.setattr(State, "check", lambda _self, _actions: None)
            broken = store.log.append("add", lambda _state: [added])
    if checkpoint:
        assert checkpoints.write(attach(backend, "c"))
    with store.transaction() as transaction:
        other = transaction.put_object(ids.STAGE, b"other")
        transaction.commit("add", lambda _state: [])
    late_reader = attach(backend, "r")
    for reader in (late_reader, store, collector):
        state = reader.refresh()
        assert reader.read_object(ids.STAGE, other) == b"other"
        assert state.is_doomed(names[0])
        assert (state.packs.get(added.packs[0]) is None) is (kind is log.Drop)
        assert state.segments == late_reader.state.segments
        if kind is log.Drop:
            with pytest.raises(IntegrityError):
                reader.read_object(ids.STAGE, late)
        else:
            assert reader.read_object(ids.STAGE, late) == b"late"
    [(file, why)] = late_reader.log.faults()
    assert file == log.file_name(broken.number)
    assert names[0] in why


def test_an_entry_does_not_rely_on_a_condemned_pack(backend):
    # Rule 3: what is deduplicated against a pack that gc takes for idle must not be lost with it.
    store, collector = attach(backend, "w"), attach(backend, "gc")
    with store.transaction() as transaction:
        identity = transaction.put_object(ids.STAGE, b"idle")
        transaction.commit("add", lambda _state: [])
    pack_name = store.segments.live()[0].index.directory.packs[0].name.hex()

    def rely(store):
        with store.transaction() as transaction:
            assert transaction.put_object(ids.STAGE, b"idle") == identity
            transaction.commit("add", move_to(identity))

    def move_to(identity):
        return lambda _state: [log.MoveRef(name="heads/idle", old=None, new=identity)]

    # Condemned before the transaction begins: stored anew. Condemned in the middle of it: refused.
    with store.transaction() as transaction:
        transaction.put_object(ids.STAGE, b"idle")
        collector.log.append("gc", lambda _state: [log.Condemn(names=(f"packs/{pack_name}",))])
        with pytest.raises(ConflictError):
            transaction.commit("add", move_to(identity))
    rely(store)
    collector.log.append("gc", lambda _state: [log.Drop(names=(f"packs/{pack_name}",))])
    backend.delete(f"packs/{pack_name}")
    assert attach(backend, "r").read_object(ids.STAGE, identity) == b"idle"


def test_a_missing_entry_is_never_taken_for_the_end(backend):
    writer = attach(backend, "w")
    for number in range(6):
        move(f"heads/{number}", None, value_of(number))(writer)
    for gone in range(1, 7):
        blob = backend.blobs.pop(log.file_name(gone))
        for reader in (attach(backend, "r"), attach(backend, "hinted")):
            reader.log.hint(0 if reader.entropy.bytes(1) else 1)
            with pytest.raises(IntegrityError):
                reader.refresh()
        backend.put(log.file_name(gone), blob)
    assert attach(backend, "r").refresh().number == 7


def test_an_entry_in_the_place_of_another_is_refused(backend):
    writer = attach(backend, "w")
    for number in range(3):
        move(f"heads/{number}", None, value_of(number))(writer)
    second, third = log.file_name(2), log.file_name(3)
    backend.blobs[second], backend.blobs[third] = backend.blobs[third], backend.blobs[second]
    with pytest.raises(DvError):
        attach(backend, "r").refresh()


def test_a_forked_log_is_refused(backend):
    fork = MemoryBackend()
    fork.blobs.update(backend.blobs)
    mine, theirs = attach(backend, "mine"), attach(fork, "theirs")
    move("heads/a", None, value_of(1))(mine)
    move("heads/b", None, value_of(2))(theirs)
    move("heads/c", None, value_of(3))(theirs)
    backend.blobs[log.file_name(3)] = fork.blobs[log.file_name(3)]
    with pytest.raises(IntegrityError):
        attach(backend, "r").refresh()
    with pytest.raises(IntegrityError):
        mine.refresh()


def test_time_never_runs_back(backend):
    late = Store(backend, clock=SteppedClock(start=2_000_000_000_000_000), entropy=SeededEntropy("late"))
    early = Store(backend, clock=SteppedClock(start=1_000_000_000_000_000), entropy=SeededEntropy("early"))
    move("heads/a", None, value_of(1))(late)
    move("heads/b", None, value_of(2))(early)
    times = [entry.time for entry in attach(backend, "r").log.entries()]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("where", ["build", "check"])
def test_an_entry_follows_the_state_that_it_was_built_for(backend, where):
    # Looking closer, a writer may fold what others wrote meanwhile; its actions are then for a state that is gone.
    move("heads/a", None, value_of(1))(attach(backend, "first"))
    store, rival = attach(backend, "w"), attach(backend, "rival")
    once = [lambda: move("heads/a", value_of(1), value_of(2))(rival)]

    def meanwhile():
        while once:
            once.pop()()
        store.refresh()

    def build(_state):
        if where == "build":
            meanwhile()
        return [log.MoveRef(name="heads/a", old=value_of(1), new=value_of(3))]

    if where == "check":
        store.log.checks.append(lambda _state: meanwhile())
    with pytest.raises(ConflictError):
        store.log.append("move", build)
    assert counters(attach(backend, "r"))["heads/a"] == 2


def test_an_erasure_of_another_store_is_taken_over_by_one_entry_unless_it_goes_on_here(backend):
    eraser, writer = attach(backend, "e"), attach(backend, "w")
    taken = [log.Erasure(erasure=each * 16, phase=log.FINISHED, planned=log.TAKEN_OVER) for each in (b"e", b"f")]
    writer.log.append("follow", lambda _state: [taken[1]])
    assert writer.refresh().pending() == []
    assert log.step(writer.state.erasures.get(b"f" * 16)) == (log.FINISHED, log.TAKEN_OVER)
    with pytest.raises(ConflictError):
        writer.log.append("follow", lambda _state: [taken[1]])
    for phase in (log.ERASING, log.ERASED):
        eraser.log.append("erase", lambda _state, phase=phase: [step(b"e", phase)])
        with pytest.raises(ConflictError):
            writer.log.append("follow", lambda _state: [taken[0]])
    eraser.log.append("erase", lambda _state: [step(b"e", log.FINISHED)])
    assert attach(backend, "r").refresh().pending() == []
