"""A remote that is damaged, rolled back, replaced or forged: it is named, and nothing here is lost or half done."""

import os
import re
import shutil
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from dvtool import ids
from dvtool.cli import exits
from dvtool.errors import DvError
from dvtool.formats import index, pack, repokey, storeformat
from dvtool.repo import Repo
from dvtool.store import checkpoints
from dvtool.testing import damage, hostile
from dvtool.testing.audit import audit
from dvtool.testing.forging import forge_index
from dvtool.testing.hostile import HOSTILE, Verdict
from dvtool.testing.volume import signatures
from dvtool.worktree.session import Context
from tests.corruption.conftest import build, put

REFUSED = {10, 20, 21, 40}
"""Not found, integrity, format, no access to keys: what a bad file of a remote can come to."""


def open_repo(root):
    return Repo.open(root, Context(cwd=root, tell=lambda _text: None))


def refs(root):
    return dict(open_repo(root).workspace.session.store.refresh().ref_names(""))


class Shared:
    """A remote, a repository that is ahead of it, and a clone that is behind."""

    def __init__(self, base):
        self.base = base
        build(f"{base}/one")
        repo = open_repo(f"{base}/one")
        repo.commit("staged")
        repo.add_remote("origin", f"{base}/remote", protection=repokey.Plain())
        repo.push("origin", ["main", "v1"])
        Repo.clone(f"{base}/remote", f"{base}/two", Context(cwd=base))
        for number in range(3):
            put(f"{base}/one/data/more-{number}.bin", bytes([number]) * 5000)
            repo.commit(f"more {number}", everything=True)
            repo.push()
        store = self.remote_store()
        checkpoints.write(store)
        put(f"{base}/one/data/last.bin", b"last" * 3000)
        repo.commit("last", everything=True)
        repo.push()
        put(f"{base}/one/data/not-pushed.bin", b"not pushed" * 100)
        repo.commit("not pushed", everything=True)
        self.kinds = self._kinds()

    def remote_store(self):
        from dvtool.sharing import reaching

        return reaching.reach(open_repo(f"{self.base}/one").workspace, "origin").open()

    def _kinds(self):
        """By kind, the files of the remote, relative to it."""
        store = self.remote_store()
        found = {
            "format": ["format"],
            "repository key": ["keys/repo"],
            "log entry": sorted(f"log/{name}" for name in os.listdir(f"{self.base}/remote/log"))[-3:],
            "log key": sorted(
                f"keys/{name}" for name in os.listdir(f"{self.base}/remote/keys") if name.startswith("log-")
            ),
            "key file": sorted(segment.description.keys for segment in store.segments.live()),
            "index file": sorted(segment.description.index for segment in store.segments.live()),
            "data pack": [],
            "metadata pack": [],
        }
        for segment in store.segments.live():
            for entry in segment.index.directory.packs:
                kind = "data pack" if entry.content == pack.DATA else "metadata pack"
                found[kind].append(pack.file_name(entry.name))
        assert all(found.values()), "a kind of file is missing"
        return found

    def copy(self, target):
        """Copy everything; the remote stays where it is, and each case puts its files back."""
        if os.path.lexists(target):
            shutil.rmtree(target)
        for name in ("one", "two"):
            shutil.copytree(f"{self.base}/{name}", f"{target}/{name}", symlinks=True)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return Shared(str(tmp_path_factory.mktemp("shared")))


def act_of(command, target, remote):
    return {
        "fetch": lambda: open_repo(f"{target}/two").fetch(),
        "pull": lambda: open_repo(f"{target}/two").pull(),
        "push": lambda: open_repo(f"{target}/one").push(),
        "clone": lambda: Repo.clone(remote, f"{target}/three", Context(cwd=target)),
    }[command]


def ended(act):
    """How a command ended: None, or its error."""
    try:
        act()
    except DvError as error:
        return error
    return None


def outcome(act, *codes):
    """How a command ended: None, or an error with one of these codes, by default those of bad files."""
    error = ended(act)
    assert error is None or exits.code_of(error) in (codes or REFUSED), repr(error)
    return error


def whole(target):
    """Everything in the repositories here is read and verified."""
    for name in ("one", "two", "three"):
        if os.path.isdir(f"{target}/{name}/.dv"):
            audit(open_repo(f"{target}/{name}").workspace.session.store)


def check(shared, command, target, spoil, mend):
    """Spoil the remote, run a command, mend the remote, run it again; return how the first run ended."""
    remote = f"{shared.base}/remote"
    shared.copy(target)
    before = {name: refs(f"{target}/{name}") for name in ("one", "two")}
    if command == "push":
        shutil.copytree(remote, f"{target}/kept")
    spoil()
    try:
        found = outcome(act_of(command, target, remote))
        whole(target)
        if found is not None:
            after = {name: refs(f"{target}/{name}") for name in ("one", "two")}
            moved = {name for name in ("one", "two") if after[name] != before[name]}
            # A push that got through and then finds something missing has told where the branch is now.
            assert not moved or command == "pull", (moved, found)
    finally:
        mend()
    if found is not None:
        if command == "clone" and os.path.isdir(f"{target}/three/.dv"):
            open_repo(f"{target}/three").pull()
        else:
            act_of(command, target, remote)()
    whole(target)
    if command == "push":
        audit(shared.remote_store())
        shutil.rmtree(remote)
        shutil.move(f"{target}/kept", remote)
    return found


def ways():
    """By name, how a file goes bad; positions are chosen anew for each file."""
    found = dict(damage.WHOLE)
    for part in (0.0, 0.1, 0.5, 0.9, 0.999):

        def flip(path, part=part):
            at = int(os.path.getsize(path) * part)
            damage.flip(path, at, 1 << (at % 8))

        found[f"a bit at {part:.0%}"] = flip
    return found


def cases(shared, stride, offset):
    listed = [
        (kind, file, way)
        for kind, files in shared.kinds.items()
        for file in files
        for way in (*ways(), "swapped", "another's")
    ]
    return listed[offset % stride :: stride]


def damaged(shared, command, target, stride, offset=0):
    noticed = set()
    remote = f"{shared.base}/remote"
    for kind, file, way in cases(shared, stride, offset):
        path = f"{remote}/{file}"
        others = [f"{remote}/{each}" for each in shared.kinds[kind] if each != file]
        if way == "swapped" and not others:
            continue

        def spoil(path=path, way=way, others=others, kind=kind):
            if way == "swapped":
                damage.swap(path, others[0])
            elif way == "another's":
                other = next(iter(shared.kinds["key file" if kind != "key file" else "index file"]))
                damage.copy_over(path, f"{remote}/{other}")
            else:
                ways()[way](path)

        held = Path(path).read_bytes()
        also = {each: Path(each).read_bytes() for each in others}

        def mend(path=path, held=held, also=also):
            put(path, held)
            for each, data in also.items():
                put(each, data)

        try:
            if check(shared, command, target, spoil, mend) is not None:
                noticed.add(kind)
        except BaseException as error:
            error.add_note(f"{command}: {file} ({kind}) {way}")
            raise
    return noticed


@pytest.mark.parametrize("command", ["fetch", "clone", "push"])
def test_a_damaged_file_of_a_remote_is_named_and_harmless(shared, tmp_path, command):
    assert damaged(shared, command, f"{tmp_path}/case", 16, len(command))


@pytest.mark.deep
@pytest.mark.parametrize("command", ["fetch", "pull", "clone", "push"])
def test_every_damage_to_every_file_of_a_remote_is_named_and_harmless(shared, tmp_path, command):
    noticed = damaged(shared, command, f"{tmp_path}/case", 1)
    assert noticed >= {"log entry", "index file", "key file"}


# -------------------------------------------------------------------------- another remote than it was


class Apart:
    """A remote of one's own, to be replaced, and two repositories that know it."""

    def __init__(self, shared, target):
        self.target = str(target)
        self.remote = f"{self.target}/remote"
        shutil.copytree(shared.base, self.target, symlinks=True)
        for name in ("one", "two"):
            open_repo(f"{self.target}/{name}").set_remote_url("origin", self.remote)
            open_repo(f"{self.target}/{name}").fetch()  # so that this is what it remembers
        self.keep()

    def keep(self):
        self.kept = f"{self.target}/kept"
        if os.path.lexists(self.kept):
            shutil.rmtree(self.kept)
        shutil.copytree(self.remote, self.kept)

    def go_on(self):
        """Let the first push another snapshot, which the second sees."""
        open_repo(f"{self.target}/one").push()
        open_repo(f"{self.target}/two").fetch()

    def put(self, directory):
        shutil.rmtree(self.remote)
        shutil.copytree(directory, self.remote)

    def refused(self, *codes):
        """Every command of both refuses with one of these codes; nothing moves, and all goes on when it is back."""
        good = f"{self.target}/good"
        found = []
        for name, command in (("two", "fetch"), ("two", "pull"), ("one", "push")):
            before = refs(f"{self.target}/{name}")
            error = outcome(act_of(command, self.target, self.remote), *codes)
            assert error is not None, command
            assert error.next, command
            assert refs(f"{self.target}/{name}") == before, command
            found.append(error)
        whole(self.target)
        self.put(good)
        act_of("push", self.target, self.remote)()
        act_of("pull", self.target, self.remote)()
        whole(self.target)
        return found

    def note_good(self):
        if os.path.lexists(f"{self.target}/good"):
            shutil.rmtree(f"{self.target}/good")
        shutil.copytree(self.remote, f"{self.target}/good")


@pytest.fixture
def apart(shared, tmp_path):
    return Apart(shared, tmp_path / "apart")


def test_a_remote_that_was_rolled_back_is_noticed(apart):
    apart.go_on()
    apart.note_good()
    put(f"{apart.target}/one/data/again.bin", b"again" * 100)
    open_repo(f"{apart.target}/one").commit("again", everything=True)
    apart.put(apart.kept)
    for error in apart.refused(20):
        assert "rolled back" in error.what
        assert "set-url" in error.next


def test_a_remote_that_took_another_course_is_noticed(apart, tmp_path):
    apart.go_on()
    apart.note_good()
    other = f"{tmp_path}/third"
    apart.put(apart.kept)
    Repo.clone(apart.remote, other, Context(cwd=other))
    for number in range(3):
        put(f"{other}/data/{number}.txt", b"another course\n")
        open_repo(other).add(["data"])
        open_repo(other).commit("other", everything=True)
        open_repo(other).push()
    put(f"{apart.target}/one/data/again.bin", b"again" * 100)
    open_repo(f"{apart.target}/one").commit("again", everything=True)
    for error in apart.refused(20):
        assert "another course" in error.what


def test_a_remote_that_was_rolled_back_on_purpose_is_used_again_when_that_was_said(apart):
    apart.go_on()
    apart.put(apart.kept)
    for name in ("one", "two"):
        open_repo(f"{apart.target}/{name}").set_remote_url("origin", apart.remote)
    assert [change.name for change in open_repo(f"{apart.target}/two").fetch().refs] == ["origin/main"]
    open_repo(f"{apart.target}/one").push()
    open_repo(f"{apart.target}/two").pull()
    whole(apart.target)


@pytest.mark.parametrize("seen", [True, False])
def test_the_store_of_another_repository_is_refused(apart, tmp_path, seen):
    apart.note_good()
    hostile.build(f"{tmp_path}/stranger")
    stranger = open_repo(f"{tmp_path}/stranger")
    stranger.add_remote("origin", f"{tmp_path}/strange", protection=repokey.Plain())
    stranger.push()
    apart.put(f"{tmp_path}/strange")
    if not seen:
        for name in ("one", "two"):
            open_repo(f"{apart.target}/{name}").set_remote_url("origin", apart.remote)
    apart.refused(12, 20)


def test_another_store_of_the_same_repository_in_its_place_is_noticed(apart, tmp_path):
    apart.note_good()
    one = open_repo(f"{apart.target}/one")
    one.add_remote("mirror", f"{tmp_path}/mirror", protection=repokey.Plain())
    one.push("mirror", ["v1"])
    apart.put(f"{tmp_path}/mirror")
    apart.refused(20)


def test_a_store_of_a_newer_format_is_refused(apart):
    apart.note_good()
    path = f"{apart.remote}/format"
    value = storeformat.decode(Path(path).read_bytes())
    put(path, storeformat.encode(msgspec.structs.replace(value, flags=("holograms",))))
    for name in ("one", "two"):
        open_repo(f"{apart.target}/{name}").set_remote_url("origin", apart.remote)
    for error in apart.refused(21):
        assert "holograms" in error.why


def test_the_key_of_another_repository_is_refused(apart, tmp_path):
    apart.note_good()
    hostile.build(f"{tmp_path}/stranger")
    damage.copy_over(f"{apart.remote}/keys/repo", f"{tmp_path}/stranger/.dv/store/keys/repo")
    for name in ("one", "two"):
        open_repo(f"{apart.target}/{name}").set_remote_url("origin", apart.remote)
    apart.refused(40)


# ------------------------------------------------------------------------------------------ forged


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    """A repository that is no attacker's yet, and a clone of it."""
    base = str(tmp_path_factory.mktemp("harmless"))
    hostile.build(f"{base}/attacker")
    Repo.clone(f"{base}/attacker/.dv/store", f"{base}/victim", Context(cwd=base))
    put(f"{base}/victim/data/mine.txt", b"what is mine alone\n")
    open_repo(f"{base}/victim").commit("mine alone", everything=True)
    put(f"{base}/precious", b"precious\n")
    return base


def forged(harmless, target, name):
    """Let somebody with the key put a forged snapshot there, and fetch it; then look at what became of it."""
    shutil.copytree(harmless, target, symlinks=True)
    hostile.forge(f"{target}/attacker", name)
    victim = f"{target}/victim"
    open_repo(victim).set_remote_url("origin", f"{target}/attacker/.dv/store")
    before, around = refs(victim), outside(target)
    error = outcome(lambda: open_repo(victim).fetch(), 20, 21, 30, 41)
    again = outcome(lambda: open_repo(victim).fetch(), 20, 21, 30, 41)
    assert (error is None) == (again is None), name
    after = refs(victim)
    if error is not None:
        assert after == before, name
    brought = "remotes/origin/evil" in after
    if HOSTILE[name].verdict is Verdict.DATA:
        assert brought, name
    if brought:
        error = outcome(lambda: open_repo(victim).checkout("origin/evil"), 10, 20, 21, 30)
        # A remote's map of superseded snapshots does not come along, so a circle in it stays where it is.
        harmless_here = HOSTILE[name].verdict in {Verdict.DATA, Verdict.BESIDE} or HOSTILE[name].told == "in a circle"
        assert error is not None or harmless_here, name
        open_repo(victim).checkout("main", force=True)
    now = outside(target)
    came = now.keys() - around.keys()
    assert {path: each for path, each in now.items() if path not in came} == around, name
    assert all(REGISTERED.fullmatch(path) for path in came), name
    assert {each: value for each, value in refs(victim).items() if each.startswith("heads/")} == {
        each: value for each, value in before.items() if each.startswith("heads/")
    }
    repo = open_repo(victim)
    put(f"{victim}/data/goes-on.txt", b"goes on\n")
    repo.add([f"{victim}/data"])
    repo.commit("goes on")
    assert repo.log()[1].message.startswith("mine alone")
    shutil.rmtree(target)
    return brought


REGISTERED = re.compile("attacker/[.]dv/store/(packs/[0-9a-f]{64}|(index|keys)/[0-9a-f]{32}|log/[0-9a-f]{16})")
"""What a clone writes at a remote when it registers there."""


def outside(target):
    """Everything around the worktree, and what of it is dv's or Git's alone."""
    found = signatures(target)
    inside = ("victim/data", "victim/.dv", "attacker/.dv/store/tmp")
    return {path: each for path, each in found.items() if not path.startswith(inside) and path != "victim"}


def some(names, stride, offset):
    return [name for at, name in enumerate(sorted(names)) if at % stride == offset]


@pytest.mark.parametrize("name", some(HOSTILE, 5, 2))
def test_what_is_forged_at_a_remote_is_refused_or_harmless(harmless, tmp_path, name):
    forged(harmless, f"{tmp_path}/case", name)


@pytest.mark.deep
@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_whatever_is_forged_at_a_remote_is_refused_or_harmless(harmless, tmp_path, name):
    forged(harmless, f"{tmp_path}/case", name)


LIES = [
    {"pack": 2**32 - 1},
    {"number": 2**32 - 1},
    {"offset": 2**32 - 1},
    {"stored": 2**32 - 1},
    {"stored": pack.FRAME_LIMIT},
    {"stored": 0},
    {"raw_flags": index.pack_raw_flags(pack.FRAME_LIMIT, ids.CHUNK | pack.COMPRESSED)},
    {"raw_flags": 2**32 - 1},
    {"size": 2**63},
    {"size": 2**40},
    {"size": -1},
    {"size": 0},
    {"frames": 2**63},
    {"raw": 2**63},
    {"content": 2**63},
]
PEAK = 3 * pack.FRAME_LIMIT
"""Bytes that a fetch may take: a frame as it is stored, its content, and what it knows of the remote."""


def lying(target, lie):
    """Let all index files of the attacker's store lie, in records or in what they say of packs."""
    of_packs = lie.keys() & {"size", "frames", "raw", "content"}
    for segment in open_repo(f"{target}/attacker").workspace.session.store.segments.live():
        if of_packs:
            forge_index(f"{target}/attacker", segment, entry=lambda entry: msgspec.structs.replace(entry, **lie))
        else:
            forge_index(f"{target}/attacker", segment, record=lambda location: location._replace(**lie))


@pytest.mark.parametrize("command", ["fetch", "clone"])
@pytest.mark.parametrize("lie", LIES, ids=str)
def test_index_files_of_a_remote_that_lie_are_not_believed_and_take_no_memory(harmless, tmp_path, lie, command):
    target = f"{tmp_path}/case"
    shutil.copytree(harmless, target, symlinks=True)
    put(f"{target}/attacker/data/more.bin", b"more" * 1000)
    open_repo(f"{target}/attacker").commit("more", everything=True)
    open_repo(f"{target}/victim").set_remote_url("origin", f"{target}/attacker/.dv/store")
    before = refs(f"{target}/victim")
    lying(target, lie)
    acts = {
        "fetch": lambda: open_repo(f"{target}/victim").fetch(),
        "clone": lambda: Repo.clone(f"{target}/attacker/.dv/store", f"{target}/copy", Context(cwd=target)),
    }
    tracemalloc.start()
    try:
        error = outcome(acts[command], 12, 20, 21, 30)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < PEAK, f"{peak:,} bytes"
    if error is not None:
        assert refs(f"{target}/victim") == before
    # A pack that moved whole speaks for itself, whatever the remote's index file said of it.
    name = "copy" if command == "clone" and error is None else "victim"
    audit(open_repo(f"{target}/{name}").workspace.session.store)
