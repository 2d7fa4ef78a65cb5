"""One small repository, the commands that change it, and what must hold after each moment of each of them."""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dvtool import ids
from dvtool.errors import ChecksFailedError, ConflictError, DvError, ExistsError, NotFoundError
from dvtool.formats import identity as identities
from dvtool.formats import log, pack, repokey
from dvtool.formats.repokey import Recipients
from dvtool.repo import Repo
from dvtool.storage.disk import Disk
from dvtool.store import checkpoints, transaction
from dvtool.testing.audit import audit, files, root_of
from dvtool.worktree.session import Context


def put(path, data):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)


def noise(seed, length):
    return random.Random(seed).randbytes(length)


def build(base):
    """Two snapshots, a branch at the first, a tag at the second."""
    root = f"{base}/repo"
    os.makedirs(root)
    put(f"{root}/data/a.txt", b"first words\n" * 40)
    put(f"{root}/data/b.bin", noise(1, 3000))
    put(f"{root}/data/sub/c.txt", b"in a directory\n")
    put(f"{root}/data/sub/deep/d.txt", b"further down\n")
    put(f"{root}/data/empty", b"")
    os.symlink("a.txt", f"{root}/data/link")
    put(f"{root}/data/long.bin", noise(2, 90_000))
    repo = Repo.init(root)
    repo.add(["data"])
    repo.commit("one")
    repo.create_branch("old")
    put(f"{root}/data/a.txt", b"second words\n" * 50)
    put(f"{root}/data/e.txt", b"new in two\n")
    os.unlink(f"{root}/data/b.bin")
    repo.add(["data"])
    repo.commit("two")
    repo.create_tag("v2")


def nothing(base):
    pass


def edit(base):
    root = f"{base}/repo"
    put(f"{root}/data/a.txt", b"third words\n" * 60)
    put(f"{root}/data/new/f.bin", noise(3, 2000))
    put(f"{root}/data/long.bin", noise(2, 90_000) + b"more")
    os.unlink(f"{root}/data/e.txt")


def edit_and_stage(base):
    edit(base)
    Repo.open(f"{base}/repo").add(["data"])


def lose_some(base):
    edit_and_stage(base)
    os.unlink(f"{base}/repo/data/a.txt")
    shutil.rmtree(f"{base}/repo/data/sub")


def go_apart(base):
    repo = Repo.open(f"{base}/repo")
    repo.checkout("old")
    repo.checkout(new_branch="apart")
    put(f"{base}/repo/data/b.bin", noise(4, 2500))
    put(f"{base}/repo/data/here/g.txt", b"on this side\n")
    os.unlink(f"{base}/repo/data/sub/c.txt")
    repo.commit("apart", everything=True)


def clash(base):
    go_apart(base)
    put(f"{base}/repo/data/a.txt", b"fourth words\n" * 30)
    Repo.open(f"{base}/repo").commit("again", everything=True)


def begin_merge(base):
    clash(base)
    Repo.open(f"{base}/repo").merge("v2", manual=True)


def add_much(repo):
    """Add as if each chunk were so much that it is put aside at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transaction, "SPAN", 1)
        patch.setattr(pack, "DATA_TARGET", 1)
        return repo.add(["data"])


def take_back(base):
    Repo.open(f"{base}/repo").undo()


def leave_out(base):
    Repo.open(f"{base}/repo").drop(["data/sub"])


def second_worktree(base):
    Repo.open(f"{base}/repo").add_worktree(f"{base}/other", "old")


def many_entries(base):
    repo = Repo.open(f"{base}/repo")
    for number in range(5):
        put(f"{base}/repo/data/n{number}", noise(number, 100))
        repo.add(["data"])
        repo.commit(f"number {number}")


def leave_garbage(base):
    many_entries(base)
    repo = Repo.open(f"{base}/repo")
    put(f"{base}/repo/data/given-up", noise(9, 5000))
    repo.add(["data"])
    repo.remove(["data/given-up"])
    store = f"{base}/repo/.dv/store"
    put(f"{store}/packs/{'ab' * 32}", b"left behind")
    # Some are condemned, and due; others are found to be garbage only now.
    repo.gc(retention=0)
    put(f"{base}/repo/data/given-up-later", noise(10, 5000))
    repo.add(["data"])
    repo.remove(["data/given-up-later"])


def many_tags(base):
    many_entries(base)
    repo = Repo.open(f"{base}/repo")
    repo.create_tag("middle", "HEAD~3")


def leave_caches(base):
    Repo.fsck(f"{base}/repo")
    put(f"{base}/repo/.dv/tmp/999999999-0-{'ab' * 8}", b"left behind")


def name_remote(base):
    Repo.open(f"{base}/repo").add_remote("origin", f"{base}/remote", protection=repokey.Plain())


def share(base):
    name_remote(base)
    repo = Repo.open(f"{base}/repo")
    repo.push("origin", ["main", "old", "v2"])


def go_on(base):
    """Let another clone bring something to the remote."""
    share(base)
    other = Repo.open(Repo.clone(f"{base}/remote", f"{base}/colleague").path)
    put(f"{base}/colleague/data/theirs.bin", noise(20, 3000))
    put(f"{base}/colleague/data/a.txt", b"their words\n" * 9)
    other.commit("theirs", everything=True)
    other.push()


def share_and_go_on(base):
    share(base)
    many_entries(base)


def hold_some(base):
    many_entries(base)
    Repo.open(f"{base}/repo").add_hold(["data/sub"], ground="a case")


def back_up(base):
    Repo.open(f"{base}/repo").export_key(f"{base}/backup", FOR_ME)


ME = bytes(range(32))
"""An identity, which the environment names."""
FOR_ME = Recipients(recipients=(identities.recipient_of(ME),))

NO_REF = frozenset(
    {
        "init",
        "drop",
        "get",
        "restore",
        "config",
        "fsck",
        "checkpoint",
        "gc",
        "gc --grace 0",
        "cache prune",
        "expire",
        "remote add",
        "remote set-url",
        "clone",
        "push",
        "push more",
        "fetch",
        "key protect",
        "key rotate",
        "key export",
        "key import",
    }
)
"""Commands that move no ref."""


@dataclass(frozen=True)
class Command:
    """A command: what it does, what lies there before, and what a second run may answer.

    ``again`` are answers that are right once the first run got through, ``at_once`` those that may come earlier.
    """

    act: Callable[..., object]
    prepare: Callable[[str], None] = nothing
    again: tuple[type[DvError], ...] = ()
    at_once: tuple[type[DvError], ...] = ()
    in_place: bool = False


COMMANDS = {
    "init": Command(lambda _repo, base, context: Repo.init(f"{base}/fresh", context), at_once=(ExistsError,)),
    "add": Command(lambda repo, _base, _context: repo.add(["data"]), edit),
    "add much": Command(lambda repo, _base, _context: add_much(repo), edit),
    "commit": Command(lambda repo, _base, _context: repo.commit("three"), edit_and_stage, (ChecksFailedError,)),
    "commit -a": Command(
        lambda repo, _base, _context: repo.commit("three", everything=True), edit, (ChecksFailedError,)
    ),
    "checkout": Command(lambda repo, _base, _context: repo.checkout("old")),
    "checkout --only": Command(lambda repo, _base, _context: repo.checkout("old", only=["data/sub"])),
    "checkout -b": Command(lambda repo, _base, _context: repo.checkout("old", new_branch="side"), again=(ExistsError,)),
    "restore": Command(lambda repo, _base, _context: repo.restore(["data"]), lose_some),
    "restore --staged": Command(lambda repo, _base, _context: repo.restore(["data"], staged=True), edit_and_stage),
    "rm": Command(lambda repo, _base, _context: repo.remove(["data/sub", "data/e.txt"]), again=(NotFoundError,)),
    # A file that has moved while its entry is missing shows as such, and 'dv restore' brings it back.
    "mv": Command(lambda repo, _base, _context: repo.move("data/a.txt", "data/z.txt"), at_once=(NotFoundError,)),
    "branch": Command(lambda repo, _base, _context: repo.create_branch("side"), again=(ExistsError,)),
    "branch -m": Command(lambda repo, _base, _context: repo.rename_branch("old", "aged"), again=(NotFoundError,)),
    "branch -d": Command(lambda repo, _base, _context: repo.delete_branch("old"), again=(NotFoundError,)),
    "tag": Command(lambda repo, _base, _context: repo.create_tag("v1", "old"), again=(ExistsError,)),
    "tag -d": Command(lambda repo, _base, _context: repo.delete_tag("v2"), again=(NotFoundError,)),
    "merge": Command(lambda repo, _base, _context: repo.merge("v2", prefer="theirs"), clash),
    "merge --manual": Command(lambda repo, _base, _context: repo.merge("v2", manual=True), clash, (ConflictError,)),
    "merge --abort": Command(lambda repo, _base, _context: repo.abort_merge(), begin_merge, (NotFoundError,)),
    "undo": Command(lambda repo, _base, _context: repo.undo(redo=True), take_back, again=(NotFoundError,)),
    "drop": Command(lambda repo, _base, _context: repo.drop(["data/sub", "data/long.bin"])),
    "get": Command(lambda repo, _base, _context: repo.get(["data/sub"]), leave_out),
    "worktree add": Command(
        lambda repo, base, _context: repo.add_worktree(f"{base}/other", "old"), at_once=(ExistsError,)
    ),
    "worktree remove": Command(
        lambda repo, base, _context: repo.remove_worktree(f"{base}/other"),
        second_worktree,
        again=(NotFoundError,),
        at_once=(ConflictError,),
        in_place=True,
    ),
    "gc": Command(lambda repo, _base, _context: repo.gc(retention=0), leave_garbage),
    "gc --grace 0": Command(lambda repo, _base, _context: repo.gc(retention=0, grace=0), leave_garbage),
    "expire": Command(lambda repo, _base, _context: repo.expire(keep_last=1), many_tags),
    "cache prune": Command(lambda _repo, base, context: Repo.prune_cache(f"{base}/repo", context), leave_caches),
    # Said twice, it holds twice.
    "hold add": Command(lambda repo, _base, _context: repo.add_hold(["data/sub", "x/**"], ground="a case")),
    "hold release": Command(
        lambda repo, _base, _context: repo.release_holds(["data/sub"]), hold_some, again=(NotFoundError,)
    ),
    "remote add": Command(
        lambda repo, base, _context: repo.add_remote("origin", f"{base}/remote", protection=repokey.Plain()),
        again=(ExistsError,),
        at_once=(ExistsError,),
    ),
    "remote remove": Command(
        lambda repo, _base, _context: repo.remove_remote("origin"), share, again=(NotFoundError,), in_place=True
    ),
    "remote rename": Command(
        lambda repo, _base, _context: repo.rename_remote("origin", "other"),
        share,
        again=(NotFoundError,),
        in_place=True,
    ),
    "remote set-url": Command(
        lambda repo, base, _context: repo.set_remote_url("origin", f"{base}/elsewhere"), share, in_place=True
    ),
    "push": Command(lambda repo, _base, _context: repo.push(), name_remote, in_place=True),
    "push more": Command(lambda repo, _base, _context: repo.push(), share_and_go_on, in_place=True),
    "fetch": Command(lambda repo, _base, _context: repo.fetch(), go_on, in_place=True),
    "pull": Command(lambda repo, _base, _context: repo.pull(), go_on, in_place=True),
    "clone": Command(
        lambda _repo, base, context: Repo.clone(f"{base}/remote", f"{base}/copy", context),
        share,
        at_once=(ExistsError,),
        again=(ExistsError,),
        in_place=True,
    ),
    "key protect": Command(lambda repo, _base, _context: repo.protect_key(FOR_ME)),
    "key rotate": Command(lambda repo, _base, _context: repo.rotate_key(FOR_ME), many_entries),
    "key export": Command(
        lambda repo, base, _context: repo.export_key(f"{base}/another", FOR_ME), at_once=(ExistsError,)
    ),
    "key import": Command(
        lambda _repo, base, context: Repo.import_key(f"{base}/backup", f"{base}/repo", context, force=True), back_up
    ),
    "config": Command(lambda repo, _base, _context: repo.configure("user.name", "Ada")),
    "fsck": Command(lambda _repo, base, context: Repo.fsck(f"{base}/repo", context)),
    "checkpoint": Command(lambda repo, _base, _context: checkpoints.write(repo.workspace.session.store), many_entries),
}


class World:
    """A base directory with the repository, made ready for one command."""

    def __init__(self, template, base, name):
        self.base = os.path.realpath(base)
        self.name = name
        self.command = COMMANDS[name]
        self._template = template
        self.after = None
        self.reset()

    def reset(self):
        if os.path.lexists(self.base):
            shutil.rmtree(self.base)
        shutil.copytree(self._template, self.base, symlinks=True)
        if self.command.in_place:
            self.command.prepare(self.base)
        self.before = self.audit()
        self.kept = worktree_files(self.base)
        if self.name.startswith("remote "):
            self.kept.pop("repo/dv.toml", None)  # which is what these commands are there to change

    def open(self, disk=None):
        return Repo.open(f"{self.base}/repo", Context(disk=disk or Disk(), cwd=f"{self.base}/repo"))

    def run(self, disk=None):
        repo = self.open(disk)
        context = Context(disk=disk or Disk(), cwd=self.base)
        return self.command.act(repo, self.base, context)

    def audit(self):
        return audit(self.open().workspace.session.store)

    def finish(self):
        """Remember the state after the command."""
        self.after = self.audit()

    def check(self, *, where):
        """What must hold at any moment: before or after, everything reads, and nothing of the user's is lost."""
        store = self.open().workspace.session.store
        now = audit(store)
        states = [self.describe(self.before)] + ([self.describe(self.after)] if self.after else [])
        if self.name == "pull" and self.after:
            # Fetching is one thing, and following what was fetched another.
            states.append(states[0] | {name: each for name, each in states[1].items() if name.startswith("remotes")})
        found = self.describe(now)
        assert found in states, where
        for identity, held in self.before.snapshots.items():
            assert dict(files(store, root_of(store, identity)[0])) == held, where
        stored = {data for tree in now.snapshots.values() for data in tree.values()}
        for path, data in self.kept.items():
            is_there = os.path.lexists(f"{self.base}/{path}") and read(f"{self.base}/{path}") == data
            assert is_there or data in stored or store.has(store.hasher.id(ids.CHUNK, data)), (where, path)
        if os.path.isdir(f"{self.base}/fresh/.dv"):
            audit(Repo.open(f"{self.base}/fresh").workspace.session.store)
        return found == states[0]

    def describe(self, found):
        """What a state is, but for the random numbers in it."""
        names = {}
        for name, value in found.refs.items():
            own = name if name in self.before.refs else name.partition("/")[0]
            names[own] = log.symbolic(value) or found.snapshots[value]
        return names

    def check_again(self, *, where):
        """A second run ends as the first would have, or says that all is done."""
        self.open().status()
        refs = dict(self.open().workspace.session.store.refresh().ref_names(""))
        allowed = self.command.at_once + (self.command.again if refs != self.before.refs else ())
        try:
            self.run()
        except allowed:
            pass
        except DvError as error:
            message = f"{where}: a second run says {error}"
            raise AssertionError(message) from error
        self.check(where=(where, "after a second run"))


def read(path):
    return os.fsencode(os.readlink(path)) if os.path.islink(path) else Path(path).read_bytes()


def worktree_files(base):
    """Every file of the user's below ``base``."""
    found = {}
    for directory, names, below in os.walk(base):
        names[:] = [name for name in names if name != ".dv"]
        links = [name for name in names if os.path.islink(f"{directory}/{name}")]
        for name in [*below, *links]:
            path = f"{directory}/{name}"
            found[os.path.relpath(path, base)] = read(path)
    return found


@pytest.fixture(scope="session")
def templates(tmp_path_factory):
    """By command, a base directory that is ready for it; made when first asked for."""
    place = tmp_path_factory.mktemp("templates")
    made = {}

    def template(name):
        prepare = COMMANDS[name].prepare
        key = "nothing" if COMMANDS[name].in_place else prepare.__name__
        if key not in made:
            base = f"{place}/{key}"
            os.makedirs(base)
            build(base)
            if not COMMANDS[name].in_place:
                prepare(base)
            made[key] = base
        return made[key]

    return template


@pytest.fixture
def world(templates, tmp_path, monkeypatch):
    """Return a function that makes the world of one command."""

    def make(name):
        monkeypatch.setenv("DV_AUTHOR", "Test Author <test@example.org>")
        monkeypatch.setenv("DV_IDENTITY", f"{tmp_path}/identity")
        put(f"{tmp_path}/identity", identities.encode_identity(ME))
        os.chmod(f"{tmp_path}/identity", 0o600)
        return World(templates(name), f"{tmp_path}/world", name)

    return make


def pytest_generate_tests(metafunc):
    named = any(mark.args[0] == "name" for mark in metafunc.definition.iter_markers("parametrize"))
    if "name" in metafunc.fixturenames and not named:
        metafunc.parametrize("name", COMMANDS)
