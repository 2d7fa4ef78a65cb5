"""Several clones and one remote, in schedules decided by seeds: who was told that it is there finds it there.

The remote lies in memory, and its callers take turns, call by call.  Each clone is a repository on the disk of its own.
"""

import functools
import os
import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvtool.effects import Silence
from dvtool.errors import ConflictError, DvError, StorageError
from dvtool.formats import repokey
from dvtool.formats.run import ref_name
from dvtool.history import recorded
from dvtool.history.marking import Marks
from dvtool.operations import gc, push
from dvtool.repo import Repo
from dvtool.sharing import reaching
from dvtool.storage import opening
from dvtool.storage.backend import Abilities
from dvtool.store import checkpoints
from dvtool.store.store import Known, Store
from dvtool.testing.audit import audit
from dvtool.testing.effects import SeededEntropy, SteppedClock
from dvtool.testing.faults import Fault, FaultyDisk
from dvtool.testing.schedules import Crashed, Schedule, ScheduledBackend
from dvtool.worktree.session import Context
from tests.cli.running import name_of, record

if TYPE_CHECKING:
    from collections.abc import Callable

FEW = settings(max_examples=max(8, settings().max_examples // 8))
NEVER = 10**9
CLONES = 8
SHARED = 50
"""The run that all pushers have, each written anew once more often than by the one before."""
POSITIONS = 4
"""How often the remote of the fetchers changed while one clone after the other looked at it for the last time."""


def context(root):
    """What a command is handed, with a disk that syncs nothing."""
    return Context(disk=FaultyDisk(Fault.FULL, NEVER), cwd=root, tell=lambda _text: None)


def opened(root):
    return Repo.open(root, context(root))


def put(path, data):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)


class Place:
    """Has ``reaching`` find a backend wherever it looks."""

    def __init__(self):
        self.backend = ScheduledBackend(Schedule(0))

    def __call__(self, _url, _options, **_more):
        return self.backend


@pytest.fixture(scope="module")
def place():
    found = Place()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "open_place", found)
        yield found


class World:
    """Clones and what the remote holds, as they are before each schedule."""

    def __init__(self, base, place):
        self.base = str(base)
        self.place = place
        place.backend = ScheduledBackend(Schedule(0))
        os.makedirs(f"{base}/first")
        put(f"{base}/first/data/shared.txt", b"shared\n" * 20)
        first = Repo.init(f"{base}/first", context(f"{base}/first"))
        first.add(["data"])
        first.commit("first", everything=True)
        first.add_remote("origin", "remote", protection=repokey.Plain())
        first.commit("settings", allow_empty=True)
        first.push()
        store = reaching.reach(first.workspace, "origin").open()
        self.known = Known(format=store.format, secrets=store.secrets)

    def settle(self):
        self.blobs = dict(self.place.backend.blobs)

    def clone(self, number):
        root = f"{self.base}/{number}"
        able = self.place.backend.abilities
        self.place.backend.abilities = Abilities(writing=False)  # it registers in the schedules, as the copies there do
        Repo.clone("memory://remote", root, context(root))
        self.place.backend.abilities = able
        return opened(root)

    def begin(self, target, schedule, numbers):
        """Make everything anew below ``target``."""
        if os.path.lexists(target):
            shutil.rmtree(target)
        for number in numbers:
            shutil.copytree(f"{self.base}/{number}", f"{target}/{number}")
        self.place.backend = ScheduledBackend(schedule)
        self.place.backend.blobs = dict(self.blobs)

    def store(self, name):
        """Open the remote's store as another machine does."""
        return Store(self.place.backend, clock=SteppedClock(), entropy=SeededEntropy(name), known=self.known)


@pytest.fixture(scope="module")
def pushers(tmp_path_factory, place):
    """Clones that have each something of their own to push, on main and on a branch.

    What all of them add lies at the remote already, as garbage.
    """
    world = World(tmp_path_factory.mktemp("pushers"), place)
    first = opened(f"{world.base}/first")
    first.checkout(new_branch="gone")
    put(f"{world.base}/first/data/same.txt", b"what everybody adds" * 50)
    first.add(["data"])
    first.commit("gone")
    first.push("origin", ["gone"])
    first.push("origin", ["gone"], delete=True)
    for number in range(CLONES):
        repo = world.clone(number)
        root = f"{world.base}/{number}"
        put(f"{root}/data/{number}.txt", b"%d" % number * 500)
        put(f"{root}/data/same.txt", b"what everybody adds" * 50)
        repo.add(["data"])
        repo.commit(f"{number}")
        repo.create_branch(f"own-{number}")
        record(SimpleNamespace(root=root), number, _tip(repo, "main"))
        record(SimpleNamespace(root=root), SHARED, made={"same": "what everybody adds" * 50}, revision=number)
    world.settle()
    return world


class Pushing:
    """Clones that push at the same time, and collectors and checkpoints at the remote beside them."""

    def __init__(
        self, world, seed, target, *, own, clones=2, collectors=0, keepers=0, merging=False, runs=False, **schedule
    ):
        self.world = world
        self.seed = seed
        self.target = str(target)
        self.own = own
        self.runs = runs
        self.merging = merging
        self.told = {}
        """What each clone was told: the snapshot that is there now, or how it was refused."""
        self.schedule = Schedule(seed, **schedule)
        world.begin(self.target, self.schedule, range(clones))
        repos = [opened(f"{self.target}/{number}") for number in range(clones)]
        acts: list[Callable[[], None]] = []
        acts += [functools.partial(self.push, number, repo) for number, repo in enumerate(repos)]
        acts += [functools.partial(self.collect, number) for number in range(collectors)]
        acts += [functools.partial(self.keep, number) for number in range(keepers)]
        self.ends = self.schedule.run(acts)

    def branch(self, number):
        return f"own-{number}" if self.own else "main"

    def names(self, number):
        """What a clone pushes: its branch, and perhaps the run that it has to itself, and the one that all have."""
        return [self.branch(number), *([name_of(number), name_of(SHARED)] if self.runs else [])]

    def push(self, number, repo):
        branch = self.branch(number)
        for _round in range(10 if self.merging else 1):
            try:
                repo.push("origin", self.names(number))
            except ConflictError as error:
                self.told[number] = error
                if self.merging:
                    repo.fetch()
                    repo.merge(f"origin/{branch}")
                continue
            except (StorageError, Crashed) as error:
                self.told[number] = error
                return
            self.told[number] = _tip(repo, branch)
            return

    def collect(self, number):
        store = self.world.store(f"{self.seed} collector {number}")
        chance = random.Random(f"{self.seed} {number}")
        for _round in range(3):
            try:
                gc.collect(store, Silence(), dry_run=False, grace=chance.choice([0, 0, 3]), retention=0)
            except (ConflictError, StorageError):
                continue

    def keep(self, number):
        store = self.world.store(f"{self.seed} keeper {number}")
        for _round in range(3):
            try:
                checkpoints.write(store)
            except (ConflictError, StorageError):
                continue

    def verify(self):
        assert all(end is None or isinstance(end, Crashed) for end in self.ends), self.ends
        store = self.world.store("reader")
        found = audit(store)
        names = {name: value.hex() for name, value in found.refs.items()}
        done = {number: told for number, told in self.told.items() if isinstance(told, str)}
        reached = {identity.hex() for identity in found.snapshots}
        for number, snapshot in done.items():
            assert snapshot in reached, (number, "was told that it is there")
            if self.own:
                assert names[f"heads/own-{number}"] == snapshot
        if self.runs and done:
            assert all(ref_name(name_of(number)) in names for number in done)
            shared = recorded.read(store, found.refs[ref_name(name_of(SHARED))])
            assert shared.revision >= max(done)
        return done

    def again(self):
        """Whoever was refused, or heard nothing, tries once more, alone."""
        for number, told in sorted(self.told.items()):
            if isinstance(told, str):
                continue
            repo = opened(f"{self.target}/{number}")
            if not self.own:
                repo.fetch()
                repo.merge(f"origin/{self.branch(number)}")
            repo.push("origin", self.names(number))
            self.told[number] = _tip(repo, self.branch(number))
        assert len(self.verify()) == len(self.told)


def _tip(repo, branch):
    return next(item.snapshot for item in repo.branches() if item.name == branch)


@FEW
@given(seed=st.integers(0, 2**32))
def test_of_two_pushers_to_one_branch_one_wins(pushers, tmp_path_factory, seed):
    run = Pushing(pushers, seed, tmp_path_factory.getbasetemp() / "run", own=False)
    assert len(run.verify()) == 1
    run.again()


@FEW
@given(seed=st.integers(0, 2**32))
def test_pushers_to_one_branch_that_merge_all_get_in(pushers, tmp_path_factory, seed):
    run = Pushing(pushers, seed, tmp_path_factory.getbasetemp() / "run", own=False, clones=3, merging=True)
    assert len(run.verify()) == 3


@FEW
@given(seed=st.integers(0, 2**32))
def test_pushers_to_branches_of_their_own_all_get_in(pushers, tmp_path_factory, seed):
    run = Pushing(pushers, seed, tmp_path_factory.getbasetemp() / "run", own=True, clones=3, keepers=1)
    assert len(run.verify()) == 3


def test_of_eight_pushers_to_one_branch_one_wins(pushers, tmp_path):
    for seed in range(3):
        run = Pushing(pushers, seed, tmp_path / "run", own=False, clones=8)
        assert len(run.verify()) == 1


def test_eight_pushers_to_branches_of_their_own_all_get_in(pushers, tmp_path):
    for seed in range(3):
        assert len(Pushing(pushers, seed, tmp_path / "run", own=True, clones=8).verify()) == 8


@FEW
@given(seed=st.integers(0, 2**32))
def test_beside_a_collector_at_the_remote_nothing_pushed_is_lost(pushers, tmp_path_factory, seed):
    run = Pushing(pushers, seed, tmp_path_factory.getbasetemp() / "run", own=True, clones=2, collectors=1, keepers=1)
    run.verify()
    run.again()


@FEW
@given(seed=st.integers(0, 2**32))
def test_of_a_run_that_several_push_the_newest_is_there_in_the_end(pushers, tmp_path_factory, seed):
    target = tmp_path_factory.getbasetemp() / "run"
    run = Pushing(pushers, seed, target, own=True, clones=3, collectors=1, runs=True)
    run.verify()
    run.again()


@FEW
@given(seed=st.integers(0, 2**32))
def test_nothing_pushed_is_lost_when_pushers_stop_and_replies_are_lost(pushers, tmp_path_factory, seed):
    target = tmp_path_factory.getbasetemp() / "run"
    run = Pushing(pushers, seed, target, own=True, clones=3, collectors=1, crash=0.004, lose=0.1, stall=0.01)
    run.verify()
    run.again()


def contents_of(number):
    return {
        f"data/{number}.txt": b"%d\n" % number * 700,
        "data/turns.txt": b"turn %d\n" % number * 300,
        f"data/sub/{number}/deep.txt": b"deep %d" % number,
    }


@pytest.fixture(scope="module")
def fetchers(tmp_path_factory, place):
    """Clones of a remote as it was at several times; branches came and went, so some of it is garbage now."""
    world = World(tmp_path_factory.mktemp("fetchers"), place)
    first = opened(f"{world.base}/first")
    for number in range(POSITIONS):
        for side in (f"side-{number}", "main"):
            if side != "main":
                first.checkout(new_branch=side)
            for path, data in contents_of(number if side == "main" else number + 100).items():
                put(f"{world.base}/first/{path}", data)
            first.add(["data"])
            first.commit(f"{side} {number}")
            first.push("origin", [side])
            first.checkout("main")
        world.clone(number)
        if number % 2:
            first.push("origin", [f"side-{number - 1}"], delete=True)
    first.create_tag("v1")
    for path, data in contents_of(200).items():
        put(f"{world.base}/first/{path}", data)
    first.add(["data"])
    first.commit("last")
    world.settle()
    return world


class Fetching(Pushing):
    """Clones that fetch, from wherever they were, while the remote is collected and goes on."""

    def __init__(self, world, seed, target, *, numbers=range(POSITIONS), collectors=1, **schedule):
        self.world = world
        self.seed = seed
        self.target = str(target)
        self.schedule = Schedule(seed, **schedule)
        world.begin(self.target, self.schedule, [*numbers, "first"])
        self.numbers = list(numbers)
        self.failed = {}
        acts: list[Callable[[], None]] = []
        acts += [functools.partial(self.fetch, number, opened(f"{self.target}/{number}")) for number in numbers]
        acts += [functools.partial(self.collect, number) for number in range(collectors)]
        acts += [functools.partial(self.keep, 0), functools.partial(self.go_on, opened(f"{self.target}/first"))]
        self.ends = self.schedule.run(acts)

    def fetch(self, number, repo):
        for _round in range(2):
            try:
                repo.fetch()
            except StorageError as error:
                self.failed[number] = error

    def go_on(self, repo):
        for names, options in (
            (["main", "v1"], {}),
            ([f"side-{POSITIONS - 1}"], {"delete": True}),
        ):
            try:
                repo.push("origin", names, **options)
            except (ConflictError, StorageError):
                continue

    def verify(self):
        assert all(end is None or isinstance(end, Crashed) for end in self.ends), self.ends
        store = self.world.store("reader")
        heads = {name: value for name, value in audit(store).refs.items() if name.startswith("heads/")}
        for number in self.numbers:
            audit(opened(f"{self.target}/{number}").workspace.session.store)
            repo = opened(f"{self.target}/{number}")
            repo.fetch()
            found = audit(repo.workspace.session.store).refs
            brought = {name: value for name, value in found.items() if name.startswith("remotes/")}
            assert brought == {f"remotes/origin/{name[6:]}": value for name, value in heads.items()}
            assert repo.fetch().refs == ()


@FEW
@given(seed=st.integers(0, 2**32))
def test_from_wherever_a_clone_was_it_fetches_beside_a_collection(fetchers, tmp_path_factory, seed):
    Fetching(fetchers, seed, tmp_path_factory.getbasetemp() / "run", numbers=[seed % POSITIONS]).verify()


@FEW
@given(seed=st.integers(0, 2**32))
def test_all_clones_fetch_beside_two_collections(fetchers, tmp_path_factory, seed):
    Fetching(fetchers, seed, tmp_path_factory.getbasetemp() / "run", collectors=2, stall=0.005).verify()


@FEW
@given(seed=st.integers(0, 2**32))
def test_a_fetch_that_stops_anywhere_is_made_again(fetchers, tmp_path_factory, seed):
    Fetching(fetchers, seed, tmp_path_factory.getbasetemp() / "run", crash=0.01, lose=0.05).verify()


@pytest.mark.deep
def test_two_thousand_schedules_of_pushers(pushers, tmp_path):
    for seed in range(2000):
        own = seed % 3 > 0
        run = Pushing(
            pushers,
            seed,
            tmp_path / "run",
            own=own,
            clones=2 + seed % 3,
            collectors=seed % 2,
            keepers=seed % 4 // 2,
            merging=not own and not seed % 2,
            crash=0.004 * (seed % 5 == 0),
            lose=0.1 * (seed % 7 == 0),
            stall=0.01 * (seed % 4 == 3),
        )
        run.verify()
        run.again()


@pytest.mark.deep
def test_a_thousand_schedules_of_fetchers(fetchers, tmp_path):
    for seed in range(1000):
        Fetching(
            fetchers,
            seed,
            tmp_path / "run",
            numbers=range(seed % POSITIONS, POSITIONS),
            collectors=1 + seed % 2,
            crash=0.005 * (seed % 3 == 0),
            lose=0.05 * (seed % 5 == 0),
            stall=0.005 * (seed % 4 == 3),
        ).verify()


# Each rule switched off must be noticed, or the schedules prove nothing.


def found_out(run, seeds):
    """Whether any of these schedules ends otherwise than it must."""
    for seed in range(seeds):
        try:
            run(seed).verify()
        except (AssertionError, DvError):
            return True
    return False


def test_without_looking_at_what_it_relies_on_a_push_leads_to_nothing(pushers, tmp_path, monkeypatch):
    def run(seed):
        return Pushing(pushers, seed, tmp_path / "run", own=True, clones=3, collectors=2, lose=0.1, stall=0.02)

    needed = push._Pushing._needed
    monkeypatch.setattr(push._Pushing, "_needed", lambda self, *rest: (needed(self, *rest)[0], set()))
    assert found_out(run, 60)


def test_without_beginning_again_a_push_beside_a_collection_fails(pushers, tmp_path, monkeypatch):
    def run(seed):
        return Pushing(pushers, seed, tmp_path / "run", own=True, clones=3, collectors=2, keepers=1, stall=0.02)

    monkeypatch.setattr(Store, "try_again", lambda _self, read: read())
    assert found_out(run, 100)


def test_without_condemned_packs_a_fetch_lacks_what_was_needed_again(fetchers, tmp_path, monkeypatch):
    monkeypatch.setattr(Marks, "read_what_is_there", Marks.rely_on_sound_packs)
    assert found_out(lambda seed: Fetching(fetchers, seed, tmp_path / "run", crash=0.01), 40)
