"""A store in memory in which somebody's files lie, and everybody who works on it while they are erased, call by call.

Everything is the real code, from the plan to the certificate; only worktrees there are none.  What a schedule comes to
is held against what everybody was told, and against everything that was ever written and that a left key still opens.
"""

import contextlib
import functools
import os
import random
import re
import shutil
import tempfile
from types import SimpleNamespace
from typing import TYPE_CHECKING

from dvtool import ids
from dvtool.effects import Silence
from dvtool.erasure import asking, executing, local, planning, targets
from dvtool.errors import ConflictError, DvError, ErasedError, ExistsError, IntegrityError, NotFoundError, StorageError
from dvtool.formats import index, log, pack, sealed, snapshot, stage
from dvtool.formats.tree import FILE, Entry
from dvtool.history import expiry
from dvtool.history.keeping import Reliance
from dvtool.operations import expire, gc
from dvtool.storage.memory import MemoryBackend
from dvtool.store import checkpoints, erasing, keys
from dvtool.store.editing import Changes, Editor
from dvtool.store.packs import PackReader
from dvtool.store.store import Store, first_entry
from dvtool.store.trees import Trees
from dvtool.testing.audit import audit
from dvtool.testing.effects import SeededEntropy, SteppedClock
from dvtool.testing.faults import Fault, FaultyDisk
from dvtool.testing.schedules import Crashed, Schedule, ScheduledBackend
from dvtool.testing.stores import make_store

PEOPLE = ("quandt", "vanderbeek")
"""Directories of two people, whom two erasures are about; no other file names them."""
if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = b"what nobody may read any more, number %d; "
OTHER = b"what another person wants to be erased as well; " * 20
COMMON = [b"one" * 100, b"two" * 100, b"three" * 100]
"""Few contents, so that writers find those of others stored, or about to go."""
STAGE = "stage/" + "5" * 32
KEY_FILE = re.compile(r"keys/[0-9a-f]{32}")
NEVER = 10**9
FORGOTTEN = b""
"""What is in a ref that was never there."""


def secret(number):
    return SECRET % number * 20


def attach(backend, name):
    return Store(backend, clock=SteppedClock(), entropy=SeededEntropy(name))


def entry_of(transaction, content):
    return Entry(FILE, len(content), transaction.put_chunk(content))


def put(store, transaction, base, changes, parents, *, time=0):
    """Store a snapshot: what is below ``base`` with other contents at some paths of two parts; return its id."""
    found: Changes = {}
    for path, content in changes.items():
        above, _, name = path.rpartition("/")
        found.setdefault(above, {})[name] = entry_of(transaction, content)
    root = Editor(transaction, store.secrets.split).apply(base, found)
    trees = Trees(transaction)
    totals = trees.totals(root)
    value = snapshot.Snapshot(
        root=root,
        roots=tuple(name for name, _entry in trees.entries(root)),
        parents=tuple(parents),
        author="Test",
        time=time or store.clock.now(),
        message="",
        files=totals.files,
        size=totals.size,
        nonce=store.entropy.bytes(snapshot.NONCE_SIZE),
    )
    return transaction.put_object(ids.SNAPSHOT, snapshot.encode(value))


def moved(name, old, new):
    return [log.MoveRef(name=name, old=old, new=new)]


@functools.cache
def world():
    """The files of a store with a history, before anybody works on it, and what each ref leads to."""
    backend = make_store(MemoryBackend(), SeededEntropy("world"))
    store = attach(backend, "world")
    first_entry(store, {})
    head = root = None
    snapshots = []
    for number, changes in enumerate(
        [
            {"data/a": COMMON[0]},
            {"quandt/x": secret(1), "quandt/y": COMMON[2]},
            {"quandt/x": secret(2), "vanderbeek/z": OTHER},
            {"data/b": b"later" * 50},
        ]
    ):
        with store.transaction() as transaction:
            new = put(store, transaction, root, changes, [head] if head else [], time=number + 1)
            transaction.commit("commit", lambda _state, old=head, new=new: moved("heads/main", old, new))
        snapshots.append(new)
        head, root = new, snapshot.decode(store.read_object(ids.SNAPSHOT, new)).root
    with store.transaction() as transaction:
        changes = {"quandt": {"staged": entry_of(transaction, secret(3))}}
        top = Editor(transaction, store.secrets.split).apply(root, changes)
        value = stage.Stage(tree=top, roots=("data", *PEOPLE), merging=(), nonce=bytes(range(32)))
        new = transaction.put_object(ids.STAGE, stage.encode(value))
        named = {STAGE: new, "tags/v1": snapshots[1], "heads/old": snapshots[0]}
        refs = [log.MoveRef(name=name, old=None, new=value) for name, value in named.items()]
        transaction.commit("stage", lambda _state: refs)
    found = audit(store)
    holds = {name: content_of(found, name) for name in found.refs}
    return dict(backend.blobs), holds


def content_of(found, name):
    """What the files are that a ref leads to, without directories; hashable."""
    value = found.refs.get(name)
    if value is None:
        return FORGOTTEN
    return frozenset((path, data) for path, data in found.snapshots[value].items() if not path.endswith("/"))


class WatchedBackend(ScheduledBackend):
    """Remembers everything that was ever written, and when; somebody may have made a copy of it."""

    def __init__(self, schedule, lag):
        super().__init__(schedule)
        self.lag = lag
        """Turns of others that pass at most before somebody gives up waiting for a reply that was lost."""
        self.seen = {}
        self.written = {}
        self.swept = None
        """When the destruction began that was the last to come to its end."""

    def begin_with(self, blobs):
        self.blobs = dict(blobs)
        self.seen = dict(blobs)

    def _note(self, name):
        if name in self.blobs and self.blobs[name] != log.STUB:
            self.seen[name] = self.blobs[name]
            self.written[name] = len(self.schedule.trace)

    def create(self, name, data):
        try:
            super().create(name, data)
        except (ExistsError, StorageError):
            if self.blobs.get(name) == data:
                self._note(name)
                for _turn in range(self.schedule.random.randrange(self.lag) if self.lag else 0):
                    self.schedule.step("wait", name)
            raise
        self._note(name)

    def put(self, name, data):
        super().put(name, data)
        self._note(name)

    def replace(self, name, data):
        super().replace(name, data)
        self._note(name)

    def adopt(self, path, name):
        super().adopt(path, name)
        self._note(name)


def no_worktrees(_workspace):
    return contextlib.nullcontext([])


def noting(destroy):
    """Have a destruction say when it began, once it has come to its end."""

    def noted(store):
        began = len(store.backend.schedule.trace)
        done = destroy(store)
        store.backend.swept = began
        return done

    return noted


class Session(SimpleNamespace):
    """As much of a session as an erasure needs that finds no worktree."""

    @property
    def state(self):
        return self.store.state


def workspace_of(store, root):
    """A workspace below ``root`` with this store, which lies elsewhere; the journal of an erasure is kept there."""
    context = SimpleNamespace(
        disk=FaultyDisk(Fault.FULL, NEVER),
        progress=Silence(),
        clock=store.clock,
        entropy=store.entropy,
        tell=lambda _text: None,
    )
    session = Session(
        store=store,
        root=root,
        head_ref="worktrees/here",
        lazy=None,
        trees=Trees(store),
        layout=SimpleNamespace(store=lambda: f"{root}/.dv/store", control=f"{root}/.dv"),
        context=context,
    )
    return SimpleNamespace(session=session, rely_on=lambda _names: None)


class Run:
    """One schedule.  Who takes part is told by how many there are of each."""

    def __init__(self, seed, *, rounds=3, crash=0.0, lose=0.0, stall=0.0, lag=0, end="resume", **parts):
        self.seed = seed
        self.end = end
        self.schedule = Schedule(seed, crash=crash, lose=lose, stall=stall)
        self.backend = WatchedBackend(self.schedule, lag)
        blobs, holds = world()
        self.backend.begin_with(blobs)
        self.base = tempfile.mkdtemp(prefix="dv-schedule-")
        self.stores = []
        self.targets = {}
        """By erasure, whom it is about."""
        self.holds = {name: {value} for name, value in holds.items()}
        """By ref, what may be in it: one, or several after a reply that was not heard."""
        acts: list[Callable[[], None]] = []
        for kind, count in parts.items():
            act = getattr(self, kind)
            acts += [functools.partial(act, f"{seed} {kind} {number}", number, rounds) for number in range(count)]
        try:
            with quiet():
                self.ends = self.schedule.run(acts)
        except BaseException:
            self.close()
            raise

    def close(self):
        shutil.rmtree(self.base, ignore_errors=True)

    def machine(self, name):
        """Where somebody works who knows nothing of the journals of others."""
        place = f"{self.base}/{name.replace(' ', '-')}"
        os.makedirs(f"{place}/.dv/store", exist_ok=True)
        return place

    def attach(self, name):
        store = attach(self.backend, name)
        self.stores.append(store)
        return store

    # ------------------------------------------------------------------------------------------------- writers

    def attempt(self, ref, content, act):
        """Do something that moves a ref, and note what may be in it then."""
        before = set(self.holds.get(ref, {FORGOTTEN}))
        self.holds[ref] = before | {content}
        try:
            act()
        except (ConflictError, ErasedError):
            self.holds[ref] = before  # refused, so nothing has happened
        except (IntegrityError, NotFoundError, StorageError):
            return  # no answer, or what it was about to read was taken away without a grace
        else:
            self.holds[ref] = {content}

    def writers(self, name, number, rounds):
        """Commits files of few contents to a branch of its own."""
        store = self.attach(name)
        choice = random.Random(name)
        for each in range(rounds):
            changes = {"data/mine": choice.choice(COMMON), "data/new": f"{name} {each}".encode() * 20}
            act = functools.partial(self.commit, store, number, changes)
            self.attempt(f"heads/w{number}", frozenset(changes.items()), act)

    def commit(self, store, number, changes, *, aside=False):
        ref = f"heads/w{number}"
        with store.transaction() as transaction:
            before = store.refresh().ref(ref)
            if aside:
                for content in changes.values():
                    transaction.put_chunk(content)
                transaction.put_aside()
            new = put(store, transaction, None, changes, [before] if before else [])
            transaction.commit("commit", lambda _state: moved(ref, before, new))

    def asides(self, name, number, rounds):
        """Puts packs aside first, by an entry that moves no ref."""
        store = self.attach(name)
        for each in range(rounds):
            changes = {"data/mine": COMMON[each % 3], "data/new": f"{name} {each}".encode() * 20}
            act = functools.partial(self.commit, store, f"a{number}", changes, aside=True)
            self.attempt(f"heads/wa{number}", frozenset(changes.items()), act)

    def stale(self, name, number, rounds):
        """Has uploaded what is erased, long before it comes to its entry; records it no more once it is erased."""
        store = self.attach(name)
        for each in range(rounds):
            content = secret(10 + each)
            ref = f"heads/stale-{number}-{each}"
            self.attempt(
                ref, frozenset({("quandt/again", content)}), functools.partial(self.upload, store, ref, content)
            )

    def wait(self, most):
        """Let others go on for some turns."""
        for _turn in range(self.schedule.random.randrange(most)):
            self.backend.exists("format")

    def slow(self, name, number, rounds):
        """Has uploaded something long before it comes to its entry."""
        store = self.attach(name)
        for each in range(rounds):
            content = f"{name} {each}".encode() * 20
            ref = f"heads/slow-{number}-{each}"
            act = functools.partial(self.deliver, store, ref, content)
            self.attempt(ref, frozenset({("data/slow", content)}), act)

    def deliver(self, store, ref, content):
        with store.transaction() as transaction:
            store.refresh()
            new = put(store, transaction, None, {"data/slow": content}, [])
            added = transaction.write_only()
            self.wait(500)
            store.log.append("commit", lambda _state: [*added, *moved(ref, None, new)])
            store.refresh()

    def upload(self, store, ref, content):
        with store.transaction() as transaction:
            store.refresh()
            require_not_erased(store.state)
            transaction.copy(ids.CHUNK, store.hasher.id(ids.CHUNK, content), content)
            new = put(store, transaction, None, {"quandt/again": content}, [])
            added = transaction.write_only()
            self.wait(200)

            def build(state):
                require_not_erased(state)
                return [*added, *moved(ref, None, new)]

            store.log.append("commit", build)
            store.refresh()

    def sharers(self, name, number, rounds):
        """Records the contents of others, never a copy of its own: what is erased, too, as long as it is stored."""
        store = self.attach(name)
        for each in range(rounds):
            ref = f"heads/shared-{number}-{each}"
            content = secret(1 + each % 2)
            wanted = frozenset({("data/same", content)})
            self.attempt(ref, wanted, functools.partial(self.share, store, ref, content))

    def share(self, store, ref, content):
        with store.transaction() as transaction:
            store.refresh()
            if not store.has(store.hasher.id(ids.CHUNK, content)):
                raise ConflictError("it is not stored any more")
            new = put(store, transaction, None, {"data/same": content}, [])
            self.wait(200)
            transaction.commit("commit", lambda _state: moved(ref, None, new))

    def branches(self, name, number, rounds):
        """Begins branches at whatever main, or the tag, was when it looked, and carries directories over."""
        store = self.attach(name)
        reliance = Reliance(store, Silence())
        choice = random.Random(name)
        for each in range(rounds):
            try:
                base = store.refresh().ref(choice.choice(["heads/main", "tags/v1"]))
                files = dict(audit_files(store, base))
            except DvError:
                continue
            content = f"{name} {each}".encode() * 20
            ref = f"heads/branch-{number}-{each}"
            wanted = frozenset({**files, "data/branch": content}.items())
            self.attempt(ref, wanted, functools.partial(self.branch, store, reliance, ref, base, content))
            reliance.name(())

    def branch(self, store, reliance, ref, base, content):
        reliance.name([base])
        root = snapshot.decode(store.read_object(ids.SNAPSHOT, base)).root
        with store.transaction() as transaction:
            new = put(store, transaction, root, {"data/branch": content}, [base])
            self.wait(200)
            transaction.commit("branch", lambda _state: moved(ref, None, new))

    # -------------------------------------------------------------------------------------------- housekeeping

    def collectors(self, name, _number, rounds):
        store = self.attach(name)
        for _round in range(rounds):
            with contextlib.suppress(ConflictError, StorageError, IntegrityError):
                gc.collect(store, Silence(), dry_run=False, grace=0, retention=0)

    def mergers(self, name, _number, rounds):
        store = self.attach(name)
        for _round in range(2 * rounds):
            with contextlib.suppress(ConflictError, StorageError, IntegrityError):
                checkpoints.write(store)
            self.wait(60)

    def expirers(self, name, _number, rounds):
        store = self.attach(name)
        for _round in range(rounds):
            with contextlib.suppress(ConflictError, StorageError, IntegrityError):
                history = expiry.History(store)
                rule = expiry.Rule(last=1)
                expire.drop(store, history, rule, frozenset(history.plan(rule).going))

    def readers(self, name, number, rounds):
        """Looks at the store now and then, and goes on from where it was, of which it has remembered no keys."""
        store = self.attach(name)
        store.refresh()
        for _round in range(2 * rounds):
            self.wait(150)
            store.log._keys.clear()
            store.refresh()
            assert store.state.ref("heads/main") is not None, number

    # ------------------------------------------------------------------------------------------------- erasers

    def erasers(self, name, number, rounds):
        """Erases a person, under one id until it is done; the second one another person."""
        store = self.attach(name)
        workspace = workspace_of(store, self.machine(name))
        identity = store.entropy.bytes(16)
        self.targets[identity] = PEOPLE[number % 2]
        for _round in range(3 * rounds):
            try:
                if store.refresh().pending():
                    self.wait(200)
                else:
                    self.erase(workspace, identity, PEOPLE[number % 2])
            except (ConflictError, StorageError):
                continue

    def erase(self, workspace, identity, path):
        request = asking.Request(
            erasure=identity, key=identity * 2, targets=targets.Targets(patterns=(path,)), copies="keep"
        )
        plan = planning.plan(workspace.session.store, asking.wish_of(request), Silence())
        if not plan.is_nothing():
            executing.begin(workspace, request, plan)

    def aborters(self, name, _number, rounds):
        store = self.attach(name)
        for _round in range(4 * rounds):
            with contextlib.suppress(ConflictError, StorageError):
                for identity, phase, planned in store.refresh().pending():
                    if phase == log.ERASING:
                        erasing.abort(store, identity, planned)
            self.wait(60)

    def resumers(self, name, _number, rounds):
        workspace = workspace_of(self.attach(name), self.machine(name))
        for _round in range(2 * rounds):
            with contextlib.suppress(DvError):
                for identity, _phase, _planned in workspace.session.store.refresh().pending():
                    executing.resume(workspace, identity)
            self.wait(100)

    # -------------------------------------------------------------------------------------------------- verifying

    def finish(self):
        """Whoever comes next finishes what is pending, or gives it up where nothing is erased yet."""
        machine = f"{self.seed} erasers 0" if self.seed % 3 else "another"
        workspace = workspace_of(attach(self.backend, f"{self.seed} last"), self.machine(machine))
        store = workspace.session.store
        for identity, phase, planned in store.refresh().pending():
            if phase == log.ERASING and self.end == "abort":
                erasing.abort(store, identity, planned)
            else:
                executing.resume(workspace, identity)
        assert not store.refresh().pending()

    def verify(self):
        """Hold what there is against what everybody was told; return how many erasures are finished."""
        try:
            with quiet():
                return self._verify()
        finally:
            self.close()

    def _verify(self):
        assert all(end is None or isinstance(end, Crashed) for end in self.ends), self.ends
        self.finish()
        reader = attach(self.backend, "reader")
        self.compare(reader)
        for store in self.stores:  # whatever it folded last, and whatever was swept behind it since
            state = store.refresh()
            assert (state.head, state.ref_names("")) == (reader.state.head, reader.state.ref_names(""))
            assert state.dropped.items() == reader.state.dropped.items()
            assert state.erasures.items() == reader.state.erasures.items()
        phases = {identity: log.step(value)[0] for identity, value in reader.state.erasures.items()}
        assert set(phases.values()) <= {log.ABORTED, log.FINISHED}
        done = [identity for identity, phase in phases.items() if phase == log.FINISHED]
        if done:
            self.attack(reader, self.backend.swept)
        refs = reader.state.ref_names("")
        gc.collect(reader, Silence(), dry_run=False, grace=0, retention=0)
        last = attach(self.backend, "after a collection")
        self.compare(last)
        assert last.state.ref_names("") == refs
        if done:
            self.attack(last, NEVER)
        return len(done)

    def compare(self, store):
        """Every ref opens in full, and has what its writer was told, without what was erased since."""
        found = audit(store)
        gone = self.erased(store)
        for name, allowed in self.holds.items():
            here = content_of(found, name)
            assert without(here, gone) in {without(each, gone) for each in allowed}, name
            assert here == FORGOTTEN or here == without(here, gone), (name, "has what was erased")

    def erased(self, store):
        """The people who were erased, by the erasures that are finished."""
        steps = store.state.erasures.items()
        return {self.targets[identity] for identity, value in steps if log.step(value)[0] == log.FINISHED}

    def attack(self, store, since):
        """With every key that is left, open everything that was ever written.

        What nobody named may be left of a writer who came too late, ``since`` the destruction began.
        """
        gone = self.erased(store)
        kept = {data for files in audit(store).snapshots.values() for data in files.values()}
        named = {name for segment in store.state.segments for name in (segment.keys, segment.index)}
        for name in [name for name in self.backend.blobs if KEY_FILE.fullmatch(name)]:
            if name not in named and self.backend.written.get(name, 0) >= since:
                continue
            held = keys.read_key_file(self.backend, store.format.store, store.secrets.wrap, name)
            for pack_name, key in held.packs.items():
                frames = frames_of(pack_name, key, self.backend.seen[pack.file_name(pack_name)])
                for person in gone:
                    bad = [data for data in frames if tells(person, data) and data not in kept]
                    assert not bad, (name, pack_name.hex(), bad[0])
        committed = self.committed(store)
        for name, blob in self.backend.seen.items():
            number = log.number_of(name.removeprefix("log/")) if name.startswith("log/") else None
            if number is not None and number < committed:
                label = sealed.label_of(blob, sealed.LOG_ENTRY, what="entry")
                assert keys.log_key_name(label) not in self.backend.blobs, (name, "opens still")
                assert self.backend.blobs[name] == log.STUB, (name, "was not emptied")

    def committed(self, store):
        """The number of the last entry that committed an erasure, among all that ever were."""
        everything = MemoryBackend()
        everything.blobs = {name: blob for name, blob in self.backend.seen.items() if not name.startswith("log/")}
        label = {}
        found = 0
        for name in [name for name in self.backend.seen if name.startswith("log/")]:
            blob = self.backend.seen[name]
            own = sealed.label_of(blob, sealed.LOG_ENTRY, what="entry")
            if own not in label:
                label[own] = keys.read_log_key(everything, store.format.store, store.secrets.wrap, own).key
            context = store.format.store + name.encode()
            entry = log.decode(sealed.open_blob(sealed.LOG_ENTRY, label[own], context, blob, what="entry"))
            if any(isinstance(each, log.Erasure) and each.phase == log.ERASED for each in entry.actions):
                found = max(found, entry.number)
        assert found
        return found


@contextlib.contextmanager
def quiet():
    """There are no worktrees, and destruction says when it began."""
    held, destroy = local.held, erasing.destroy
    local.held, erasing.destroy = no_worktrees, noting(destroy)
    try:
        yield
    finally:
        local.held, erasing.destroy = held, destroy


def require_not_erased(state):
    """Refuse to record once more what was erased: to do so later is nobody's error."""
    if any(log.step(value)[0] in {log.ERASED, log.FINISHED} for _key, value in state.erasures.items()):
        raise ConflictError("it was erased meanwhile")


def without(content, gone):
    if content == FORGOTTEN:
        return content
    return frozenset((path, data) for path, data in content if path.partition("/")[0] not in gone)


def audit_files(store, identity):
    root = snapshot.decode(store.read_object(ids.SNAPSHOT, identity)).root
    for path, entry in Trees(store).walk(root):
        if entry.kind == FILE:
            yield path, store.read_object(ids.CHUNK, entry.id)


def tells(person, data):
    """Whether a frame holds a content of somebody, or the name of their directory."""
    text = SECRET[:20] if person == PEOPLE[0] else OTHER[:20]
    return text in data or person.encode() in data


_FRAMES: dict[tuple[bytes, bytes], list[bytes]] = {}


def frames_of(name, key, blob):
    """What the frames of a pack hold."""
    found = _FRAMES.get((name, key))
    if found is None:
        backend = MemoryBackend()
        backend.blobs[pack.file_name(name)] = blob
        content = pack.decode_header(blob[: pack.HEADER_SIZE]).content
        entry = index.PackEntry(name=name, content=content, size=len(blob), frames=0, raw=0)
        reader = PackReader(backend, entry, key)
        found = _FRAMES[name, key] = list(_opened(reader))
    return found


def _opened(reader):
    footer, offset = reader.footer(), pack.HEADER_SIZE
    for number, (flags, stored, raw) in enumerate(zip(footer.flags, footer.stored, footer.raw, strict=True)):
        location = index.Location(0, number, offset, stored, index.pack_raw_flags(raw, flags))
        identity = footer.ids[number * ids.ID_SIZE : (number + 1) * ids.ID_SIZE]
        yield reader.open(identity, location, reader.sealed(offset, stored))
        offset += stored
