"""A remote in the cloud that fails: every command either succeeds all the same, or says so and can be run again."""

import os
import random
import shutil
from pathlib import Path

import pytest

from dvtool.cli import exits
from dvtool.errors import DvError, StorageError
from dvtool.formats import pack, repokey
from dvtool.repo import Repo
from dvtool.sharing import moving
from dvtool.storage import opening
from dvtool.storage.memory import MemoryBackend
from dvtool.store.store import Store
from dvtool.testing.audit import audit
from dvtool.testing.effects import SeededEntropy, SteppedClock
from dvtool.testing.serving import every
from dvtool.worktree.session import Context

ONCE = ["busy", "broken", "cut", "lost", "half"]
PREFIX = "pre fix/"


def put(path, data):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)


def noise(seed, length):
    return random.Random(seed).randbytes(length)


class Cloud:
    """A bucket, a repository that pushes to it, and clones of it; as they are before each try."""

    def __init__(self, server, base):
        self.server = server
        self.base = str(base)
        self.bucket = server.make_bucket("bucket")
        self.options = {"endpoint_url": server.url, "read_timeout": 0.3, "connect_timeout": 1}
        root = f"{self.base}/now/one"
        for number in range(20):
            put(f"{root}/data/{number}.bin", noise(number, 1000))
        put(f"{root}/data/long.bin", noise(99, 300_000))
        repo = Repo.init(root, self.context("one"))
        repo.add(["data"])
        repo.commit("first")
        repo.add_remote("origin", "s3://bucket/pre fix", options=self.options, protection=repokey.Plain())
        self.settle()
        shutil.copytree(f"{self.base}/now", f"{self.base}/made")

    def context(self, name):
        return Context(cwd=f"{self.base}/now/{name}", tell=lambda _text: None)

    def repo(self, name="one"):
        return Repo.open(f"{self.base}/now/{name}", self.context(name))

    def settle(self):
        """Take what is now for what is before each try."""
        self.kept = {key: list(versions) for key, versions in self.bucket.versions.items()}
        if os.path.lexists(f"{self.base}/before"):
            shutil.rmtree(f"{self.base}/before")
        shutil.copytree(f"{self.base}/now", f"{self.base}/before")
        self.held = self.there()

    def reset(self):
        self.server.fault = lambda _number, _kind: None
        self.server.counts.clear()
        self.bucket.versions = {key: list(versions) for key, versions in self.kept.items()}
        self.bucket.uploads.clear()
        shutil.rmtree(f"{self.base}/now")
        shutil.copytree(f"{self.base}/before", f"{self.base}/now")

    def there(self):
        """The branches of the remote, with what they hold; everything is read and verified, without a request."""
        memory = MemoryBackend()
        live = {key: self.bucket.live(key) for key in self.bucket.versions}
        memory.blobs = {key.removeprefix(PREFIX): found.data for key, found in live.items() if found is not None}
        if "keys/repo" not in memory.blobs:
            return {}
        found = audit(Store(memory, clock=SteppedClock(), entropy=SeededEntropy("there")))
        named = {name: value for name, value in found.refs.items() if not name.startswith("clones/")}
        return {name: found.snapshots[value] for name, value in named.items()}

    def change(self, name="one", number=7):
        """Record another snapshot."""
        put(f"{self.base}/now/{name}/data/{number}.bin", noise(1000 + number, 1500))
        put(f"{self.base}/now/{name}/data/new-{number}.bin", noise(2000 + number, 1500))
        self.repo(name).commit("more", everything=True)

    def clone(self, name="two", **options):
        Repo.clone("s3://bucket/pre fix", f"{self.base}/now/{name}", self.context(""), options=self.options, **options)


@pytest.fixture
def cloud(s3_server, tmp_path, monkeypatch):
    real = opening.open_place

    def patient(*arguments, **options):
        return real(*arguments, **options, sleep=lambda _seconds: None)

    monkeypatch.setattr(opening, "open_place", patient)
    return Cloud(s3_server, tmp_path)


def pushed(cloud):
    cloud.repo().push()


def pushed_and_changed(cloud):
    pushed(cloud)
    cloud.change()


def cloned_and_gone_on(cloud):
    pushed(cloud)
    cloud.clone()
    cloud.change()
    pushed(cloud)


def cloned_lazily(cloud):
    pushed(cloud)
    cloud.clone(lazy=True)


COMMANDS = {
    "first push": (lambda _cloud: None, lambda cloud: cloud.repo().push()),
    "push": (pushed_and_changed, lambda cloud: cloud.repo().push()),
    "fetch": (cloned_and_gone_on, lambda cloud: cloud.repo("two").fetch()),
    "pull": (cloned_and_gone_on, lambda cloud: cloud.repo("two").pull()),
    "clone": (pushed, lambda cloud: cloud.clone()),
    "get": (cloned_lazily, lambda cloud: cloud.repo("two").get(["data"])),
}


FEW = ("push", "pull")
"""Those that are tried in each run; the others, and every request of all of them, in long ones."""


def prepared(cloud, name):
    """Make what the command needs; return what it does, and how many requests it makes."""
    prepare, act = COMMANDS[name]
    prepare(cloud)
    cloud.settle()
    cloud.reset()
    act(cloud)
    count = cloud.server.counts.total()
    after = cloud.there()
    return act, count, after


def again(act, cloud, name):
    """Run a command that was stopped once more; a clone goes on as a pull."""
    if name == "clone" and os.path.isdir(f"{cloud.base}/now/two/.dv"):
        cloud.repo("two").pull()
    else:
        act(cloud)


def sound(cloud, name):
    """Everything here is whole; of a lazy clone, once it has brought what it was to bring."""
    for each in ("one", "two") if name != "get" else ("one",):
        if os.path.isdir(f"{cloud.base}/now/{each}/.dv"):
            audit(cloud.repo(each).workspace.session.store)


def fail_once(cloud, name, faults, stride, offset=0):
    """Let one request fail, and no other."""
    act, count, after = prepared(cloud, name)
    for at, fault in enumerate(faults):
        for k in range(1 + (offset + at) % stride, count + 1, stride):
            cloud.reset()
            cloud.server.fault = lambda number, _kind, k=k, fault=fault: fault if number == k else None
            act(cloud)
            assert cloud.there() == after, (name, fault, k)
            sound(cloud, name)


def fail_from(cloud, name, faults, stride, offset=0):
    """Let all requests fail from one on."""
    act, count, after = prepared(cloud, name)
    for at, fault in enumerate(faults):
        for k in range(1 + (offset + at) % stride, count + 1, stride):
            cloud.reset()
            cloud.server.fault = lambda number, _kind, k=k, fault=fault: fault if number >= k else None
            where = (name, fault, k)
            with pytest.raises(DvError) as caught:
                act(cloud)
            assert exits.code_of(caught.value) == 30, (where, caught.value)
            assert caught.value.next, where
            cloud.server.fault = lambda _number, _kind: None
            assert cloud.there() in (cloud.held, after), where
            sound(cloud, name)
            again(act, cloud, name)
            assert cloud.there() == after, where
            sound(cloud, name)


@pytest.mark.parametrize("name", FEW)
def test_a_request_that_fails_once_is_made_again(cloud, name):
    fail_once(cloud, name, ONCE, 29, len(name))


@pytest.mark.parametrize("name", FEW)
def test_a_remote_that_goes_away_leaves_what_was_or_what_is_to_be(cloud, name):
    fail_from(cloud, name, ["busy", "cut"], 29, len(name))


@pytest.mark.deep
@pytest.mark.parametrize("name", COMMANDS)
def test_whichever_request_fails_once_is_made_again(cloud, name):
    fail_once(cloud, name, ONCE, 1)


@pytest.mark.deep
@pytest.mark.parametrize("name", COMMANDS)
def test_whenever_a_remote_goes_away_it_is_what_it_was_or_what_it_is_to_be(cloud, name):
    fail_from(cloud, name, ["busy", "cut", "lost"], 1)


@pytest.mark.parametrize("name", FEW)
def test_of_requests_that_fail_again_and_again_enough_get_through(cloud, name):
    act, _count, after = prepared(cloud, name)
    cloud.reset()
    cloud.server.fault = every(2, "lost")
    act(cloud)
    assert cloud.there() == after
    sound(cloud, name)


@pytest.mark.deep
def test_a_place_that_says_nothing_is_given_up(cloud):
    pushed_and_changed(cloud)
    cloud.settle()
    cloud.server.fault = lambda _number, _kind: "silent"
    with pytest.raises(StorageError) as caught:
        cloud.repo().push()
    assert caught.value.next


@pytest.mark.parametrize(
    ("denied", "names"),
    [
        ({"put", "create", "begin"}, ["first push", "push"]),
        ({"get", "head"}, ["push", "clone"]),
        ({"list"}, ["fetch", "get"]),
    ],
    ids=["write", "read", "list"],
)
def test_what_is_not_permitted_is_said_and_harmless(cloud, denied, names):
    for name in names:
        cloud.bucket.versions.clear()
        shutil.rmtree(f"{cloud.base}/now")
        shutil.copytree(f"{cloud.base}/made", f"{cloud.base}/now")
        act, _count, after = prepared(cloud, name)
        cloud.reset()
        cloud.server.denied = frozenset(denied)
        with pytest.raises(DvError) as caught:
            act(cloud)
        cloud.server.denied = frozenset()
        assert exits.code_of(caught.value) in {30, 40}, (name, caught.value)
        assert "permi" in f"{caught.value} {caught.value.why}" or "allow" in f"{caught.value}", (name, caught.value)
        assert caught.value.next, name
        assert cloud.there() == cloud.held, name
        sound(cloud, name)
        again(act, cloud, name)
        assert cloud.there() == after, name


def test_who_may_not_delete_can_do_all_but_collect(cloud):
    cloud.server.denied = frozenset({"delete", "delete-many"})
    cloned_and_gone_on(cloud)
    cloud.repo("two").pull()
    cloud.change("two", 9)
    cloud.repo("two").push()
    assert cloud.there()["heads/main"]
    sound(cloud, "pull")


def test_a_bucket_that_is_not_there_is_named(cloud):
    cloud.server.buckets.clear()
    for act in (lambda: cloud.repo().push(), lambda: cloud.repo().fetch(), cloud.clone):
        with pytest.raises(DvError, match="bucket") as caught:
            act()
        assert exits.code_of(caught.value) in {10, 30}
        assert caught.value.next
    assert not os.path.lexists(f"{cloud.base}/now/two")


# ------------------------------------------------------------------------------------- how many requests


def requests(cloud, act):
    cloud.server.counts.clear()
    act()
    return cloud.server.counts.total()


def test_many_small_files_go_by_tens_of_requests(cloud):
    for number in range(2000):
        put(f"{cloud.base}/now/one/data/many/{number}.txt", b"%d" % number * 20)
    cloud.repo().add(["data"])
    cloud.repo().commit("many")
    assert requests(cloud, cloud.repo().push) < 50
    assert requests(cloud, cloud.clone) < 50
    cloud.change()
    assert requests(cloud, cloud.repo().push) < 50
    assert requests(cloud, cloud.repo("two").pull) < 50


def test_a_fetch_of_nothing_new_is_one_request(cloud):
    pushed(cloud)
    cloud.clone()
    for name in ("two", "one"):
        cloud.repo(name).fetch()
        assert requests(cloud, cloud.repo(name).fetch) == 1
    cloud.change()
    cloud.repo().push()
    assert requests(cloud, cloud.repo().fetch) == 1
    cloud.repo("two").pull()
    assert requests(cloud, cloud.repo("two").fetch) == 1


def test_a_finished_pack_is_not_sent_again(cloud, monkeypatch):
    monkeypatch.setattr(moving, "_TARGETS", {pack.DATA: 1000, pack.METADATA: 1000})
    monkeypatch.setattr(pack, "DATA_TARGET", 100_000)
    put(f"{cloud.base}/now/one/data/longer.bin", noise(100, 1_000_000))
    repo = cloud.repo()
    repo.add(["data"])
    repo.commit("longer")

    def no_entry(_number, kind):
        begun = any("/packs/" in key for key in cloud.bucket.versions)  # before that the store itself is made
        return "broken" if kind == "create" and begun else None

    cloud.server.fault = no_entry
    with pytest.raises(StorageError):
        cloud.repo().push()
    cloud.server.fault = lambda _number, _kind: None
    sent = {key: versions[-1] for key, versions in cloud.bucket.versions.items() if "/packs/" in key}
    assert len(sent) > 4
    assert cloud.there() == {}
    cloud.repo().push()
    again = {key: versions[-1] for key, versions in cloud.bucket.versions.items() if "/packs/" in key}
    assert [key for key, version in sent.items() if again[key] is not version] == []
    assert cloud.there()["heads/main"]
