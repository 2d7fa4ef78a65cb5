"""An erasure reaches every remote, or says which it did not, and goes on with them later."""

import os
import shutil

import boto3
import pytest

from dvtool.effects import SystemClock
from dvtool.errors import NotFoundError, StorageError
from dvtool.formats import log, repokey
from dvtool.repo import Repo
from dvtool.sharing import reaching
from dvtool.storage.disk import Disk
from dvtool.storage.local import LocalBackend
from dvtool.store import erasing
from dvtool.testing import attacker
from dvtool.testing.audit import audit
from dvtool.testing.canary import Wanted
from dvtool.testing.fake_s3 import FakeS3
from dvtool.worktree.session import Context
from tests.cli.sharing import DeadError, DyingDisk
from tests.erasure.conftest import AUTHOR, SECRET, WHO
from tests.faults.conftest import noise, put

WANTED = Wanted(
    contents=(SECRET, SECRET + b", twice", noise(2, 300_000) + SECRET),
    files=((f"{WHO}/note.txt", SECRET), (f"{WHO}/scan.bin", noise(2, 300_000) + SECRET)),
    words=("images/p17", f"{WHO}/note.txt"),
)
DAY = 24 * 3600 * 1_000_000


class LaterClock:
    """A clock that is some days ahead of that of the machine."""

    def __init__(self, days=0):
        self.ahead = days * DAY

    def now(self):
        return SystemClock().now() + self.ahead


def opened(base, name="repo", *, days=0, disk=None):
    root = f"{base}/{name}"
    return Repo.open(root, Context(disk=disk or Disk(), cwd=root, clock=LaterClock(days)))


class Dying(DyingDisk):
    """Does some steps at a place, and from the next one there on nothing at all."""

    def _step(self, path):
        there = path.startswith(f"{self.place}/")
        if self.steps <= 0 and (there or self.steps < 0):
            self.steps = -1
            raise DeadError
        self.steps -= there


def share(base):
    """Two remotes that have all of it."""
    repo = opened(base)
    repo.commit("staged")
    for name in ("one", "two"):
        repo.add_remote(name, f"../{name}", protection=repokey.Plain())
        repo.push(name, ["main", "side", "clean"])


@pytest.fixture
def base(template, tmp_path, monkeypatch):
    monkeypatch.setenv("DV_AUTHOR", AUTHOR)
    place = os.path.realpath(tmp_path / "world")
    shutil.copytree(template, place, symlinks=True)
    share(place)
    return place


def there(base, name, who="repo"):
    """The branches and tags that a remote has; everything that they lead to is read and verified."""
    store = reaching.reach(opened(base, who).workspace, name).open()
    audit(store)
    return {ref: value for ref, value in store.refresh().ref_names("") if ref.startswith(("heads/", "tags/"))}


def here(base, who="repo"):
    state = opened(base, who).workspace.session.store.refresh()
    return {ref: value for ref, value in state.ref_names("") if ref.startswith(("heads/", "tags/"))}


def places(repo, word=None):
    return {each.name: each for each in repo.erasure(word).places}


def nothing_is_left(base, name, who="repo"):
    found = attacker.search(f"{base}/{who}", WANTED, stores=[f"{base}/{name}"])
    assert found == (), found


def test_every_remote_is_erased_and_arrives_at_the_same_snapshots(base):
    found = opened(base).erase([WHO])
    assert found.remotes == ()
    for name in ("one", "two"):
        assert there(base, name) == here(base)
        nothing_is_left(base, name)
    repo = opened(base)
    for name in ("remote one", "remote two"):
        (left,) = places(repo)[name].left
        assert left.startswith("late uploads")
        assert places(repo)[name].packs
    assert repo.verify_erasure(deep=True).clean
    repo.fetch("one")
    repo.push("two", ["main"])
    Repo.clone(f"{base}/one", f"{base}/three")
    assert not os.path.exists(f"{base}/three/{WHO}")
    assert not os.path.exists(f"{base}/repo/.dv/cache/remotes")


def test_a_remote_that_was_not_reached_is_named_and_done_later(base):
    os.rename(f"{base}/two", f"{base}/away")
    found = opened(base).erase([WHO], request="R-1")
    assert found.remotes == ("two",)
    assert any(each.startswith("remote two: it was not reached") for each in found.outstanding)
    repo = opened(base, days=30)
    assert repo.erasures()[0].outstanding
    assert repo.workspace.session.store.state.locators.items()
    assert not repo.verify_erasure().places[2].reached
    repo.resume_erasure()
    assert not places(repo)["remote two"].done
    os.rename(f"{base}/away", f"{base}/two")
    item = repo.resume_erasure()
    assert all("late uploads" in each for each in item.outstanding)
    nothing_is_left(base, "two")
    assert there(base, "two") == here(base)
    assert b'"request": "R-1"' in repo.erasure_certificate()
    for name in ("one", "two"):
        other = there(base, name)
        assert other == here(base)


def test_of_a_remote_that_was_never_pushed_to_nothing_is_outstanding(base):
    repo = opened(base)
    repo.add_remote("new", "../new", protection=repokey.Plain())
    repo.erase([WHO])
    assert places(opened(base))["remote new"].done
    assert opened(base).verify_erasure().clean
    opened(base).push("new", ["main"])
    nothing_is_left(base, "new")


def test_when_all_is_done_everywhere_the_locator_goes(base):
    opened(base).erase([WHO])
    opened(base).resume_erasure()
    repo = opened(base)
    assert repo.workspace.session.store.state.locators.items()
    assert any("late uploads" in each for each in repo.erasures()[0].outstanding)
    later = opened(base, days=16)
    assert later.resume_erasure().outstanding == ()
    assert all(each.done for each in places(later).values())
    assert not later.workspace.session.store.refresh().locators.items()
    assert opened(base).verify_erasure(deep=True).clean
    with pytest.raises(NotFoundError):
        later.resume_erasure()


def test_late_uploads_are_found_by_the_second_look_and_fresh_ones_are_left_alone(base):
    opened(base).erase([WHO])
    late, fresh = f"{base}/one/packs/{'a' * 64}", f"{base}/one/packs/{'b' * 64}"
    put(late, SECRET)
    opened(base).resume_erasure()
    assert os.path.exists(late)
    put(fresh, SECRET)
    ahead = SystemClock().now() / 1e6 + 16 * 24 * 3600
    os.utime(fresh, (ahead, ahead))
    later = opened(base, days=16)
    later.resume_erasure()
    assert not os.path.exists(late)
    assert os.path.exists(fresh)
    assert all(each.done for each in places(later).values())


def pushed_meanwhile(base, remote="one"):
    """Somebody clones, records more of the same person and of others, and pushes."""
    if not os.path.exists(f"{base}/other"):
        Repo.clone(f"{base}/{remote}", f"{base}/other")
    put(f"{base}/other/{WHO}/later.txt", SECRET + b", later")
    put(f"{base}/other/data/images/p18/9.bin", noise(9, 5000))
    other = opened(base, "other")
    made = other.commit("by another", everything=True)
    other.push("origin", ["main"])
    return made.snapshot


def test_what_others_have_pushed_since_is_erased_as_well(base):
    os.rename(f"{base}/one", f"{base}/away")
    opened(base).erase([WHO])
    os.rename(f"{base}/away", f"{base}/one")
    old = pushed_meanwhile(base)
    repo = opened(base)
    repo.resume_erasure()
    nothing_is_left(base, "one")
    head = there(base, "one")["heads/main"]
    assert head.hex() != old
    repo.pull("one")
    assert os.path.exists(f"{base}/repo/data/images/p18/9.bin")
    assert not os.path.exists(f"{base}/repo/{WHO}")
    assert here(base)["heads/main"] == head


def test_somebody_who_pushes_while_it_begins_loses_nothing(base, monkeypatch):
    """Between the plan and the announcement."""
    Repo.clone(f"{base}/one", f"{base}/other")
    real = erasing.announce

    def announce(store, *arguments):
        if store.backend.exists("packs") or not os.path.exists(f"{base}/pushed"):
            first = reaching.reach(opened(base).workspace, "one").open().format.store
            if store.format.store == first and not os.path.exists(f"{base}/pushed"):
                put(f"{base}/pushed", b"")
                pushed_meanwhile(base)
        return real(store, *arguments)

    monkeypatch.setattr(erasing, "announce", announce)
    opened(base).erase([WHO])
    assert os.path.exists(f"{base}/pushed")
    nothing_is_left(base, "one")
    repo = opened(base)
    repo.pull("one")
    assert os.path.exists(f"{base}/repo/data/images/p18/9.bin")


def test_an_erasure_that_another_left_announced_is_finished_first(base):
    """A clone that died right after its announcement at the remote keeps nobody from erasing there."""
    Repo.clone(f"{base}/one", f"{base}/other")
    disk = Dying(1, f"{base}/one")
    with pytest.raises(DeadError):
        opened(base, "other", disk=disk).erase(["data/images/p18"])
    store = reaching.reach(opened(base).workspace, "one").open()
    ((_other, phase, _planned),) = store.refresh().pending()
    assert phase == log.ERASING
    found = opened(base).erase([WHO])
    assert found.remotes == ()
    nothing_is_left(base, "one")
    assert not reaching.reach(opened(base).workspace, "one").open().refresh().pending()
    tree = there(base, "one")
    assert "heads/main" in tree
    item = opened(base, "other").resume_erasure()
    assert all("late uploads" in each for each in item.outstanding)


def stopped(base, k):
    """Erase, killed at the k-th step at the first remote; return whether it came to its end before."""
    disk = Dying(k, f"{base}/one")
    try:
        opened(base, disk=disk).erase([WHO])
    except DeadError:
        return False
    return True


def stop_at(template, base, ks):
    wanted = None
    for k in ks:
        shutil.rmtree(base)
        shutil.copytree(template, base, symlinks=True)
        share(base)
        ended = stopped(base, k)
        if not ended:
            opened(base).resume_erasure()
        repo = opened(base)
        assert there(base, "one") == here(base), k
        wanted = wanted or {name: len(value) for name, value in here(base).items()}
        assert all("late uploads" in each for each in repo.erasures()[0].outstanding), k
        assert repo.verify_erasure(deep=True).clean, k
        nothing_is_left(base, "one")
        if ended:
            return


def test_killed_at_a_remote_it_is_finished_by_the_next_call(template, base):
    stop_at(template, base, range(0, 200, 7))


@pytest.mark.deep
def test_killed_anywhere_at_a_remote_it_is_finished_by_the_next_call(template, base):
    stop_at(template, base, range(1000))


def test_a_lazy_clone_that_never_held_the_data_erases_it_at_the_remote(base):
    Repo.clone(f"{base}/one", f"{base}/lazy", lazy=True)
    repo = opened(base, "lazy")
    repo.erase([WHO])
    nothing_is_left(base, "one", "lazy")
    assert there(base, "one")["heads/main"] == here(base, "lazy")["heads/main"]
    repo.get(["data"])
    assert sorted(os.listdir(f"{base}/lazy/data/images/p18")) == ["1.bin", "2.bin", "3.bin"]
    assert opened(base, "lazy").verify_erasure(deep=True).clean


def test_two_that_were_made_apart_end_up_at_the_same_remote(base):
    Repo.clone(f"{base}/one", f"{base}/other")
    opened(base).erase([WHO])
    opened(base, "other").erase(["data/images/p18/1.bin"])
    store = reaching.reach(opened(base).workspace, "one").open()
    assert len(store.refresh().erasures.items()) == 2
    nothing_is_left(base, "one")


# ---------------------------------------------------------------------------------------- places that keep versions


@pytest.fixture
def bucket(moto_server):
    name = f"versioned-{os.urandom(8).hex()}"
    found = boto3.resource("s3", endpoint_url=moto_server, region_name="us-east-1").create_bucket(Bucket=name)
    found.meta.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    yield found
    found.meta.client.close()


def share_by_s3(base, url, server):
    repo = opened(base)
    repo.remove_remote("one")
    repo.remove_remote("two")
    options = {"endpoint_url": server, "region": "us-east-1"}
    repo.add_remote("cloud", url, options=options, protection=repokey.Plain())
    repo.push("cloud", ["main", "side", "clean"])


def test_in_a_bucket_every_version_goes(base, bucket, moto_server):
    share_by_s3(base, f"s3://{bucket.name}/at", moto_server)
    client = bucket.meta.client
    packs = {each.key for each in bucket.objects.filter(Prefix="at/packs/")}
    (some, *_rest) = sorted(packs)
    client.delete_object(Bucket=bucket.name, Key=some)  # a version from before is put over it again
    client.copy_object(
        Bucket=bucket.name,
        Key=some,
        CopySource={
            "Bucket": bucket.name,
            "Key": some,
            "VersionId": next(each.id for each in bucket.object_versions.filter(Prefix=some) if each.size),
        },
    )
    client.create_multipart_upload(Bucket=bucket.name, Key=f"at/packs/{'c' * 64}")
    found = opened(base).erase([WHO])
    assert found.remotes == ()
    assert found.outstanding[0].startswith("remote cloud: late uploads")
    versions = [(each.object_key, each.id) for each in bucket.object_versions.all()]
    keys = [key for key, _version in versions]
    assert len(keys) == len(set(keys))
    assert not packs & set(keys)
    assert not client.list_multipart_uploads(Bucket=bucket.name).get("Uploads")
    for key, version in versions:
        body = client.get_object(Bucket=bucket.name, Key=key, VersionId=version)["Body"].read()
        put(f"{base}/copied/{key.removeprefix('at/')}", body)
    nothing_is_left(base, "copied")
    assert opened(base).verify_erasure(deep=True).clean
    assert not os.path.exists(f"{base}/repo/.dv/cache/remotes/cloud")
    assert there(base, "cloud") == here(base)


@pytest.fixture
def locking():
    """(S3 with an object lock of a day, how far its clock is ahead)."""
    clock = LaterClock()
    with FakeS3(clock=clock) as server:
        server.make_bucket("locked", versioning="Enabled", lock_days=1)
        yield server, clock


def test_what_an_object_lock_keeps_is_named_with_its_date_and_goes_when_that_is_over(base, locking):
    server, clock = locking
    share_by_s3(base, "s3://locked", server.url)
    opened(base).erase([WHO])
    left = places(opened(base))["remote cloud"].left
    assert any(each.startswith("packs/") and "an object lock protects it until 2" in each for each in left)
    assert not places(opened(base))["remote cloud"].done
    assert not opened(base).verify_erasure().clean
    opened(base).resume_erasure()
    assert any("object lock" in each for each in places(opened(base))["remote cloud"].left)
    clock.ahead = 2 * DAY
    item = opened(base).resume_erasure()
    (late,) = item.outstanding
    assert "late uploads" in late
    assert opened(base).verify_erasure().clean
    kept = {key for key, found in server.buckets["locked"].versions.items() if len(found) > 1}
    assert not kept


def test_without_the_permission_to_delete_the_certificate_says_so(base, s3_server):
    s3_server.make_bucket("kept", versioning="Enabled")
    share_by_s3(base, "s3://kept", s3_server.url)
    s3_server.denied = frozenset({"delete", "delete-many"})
    found = opened(base).erase([WHO])
    assert any("could not be deleted" in each for each in found.outstanding)
    assert b"could not be deleted" in opened(base).erasure_certificate()
    assert not opened(base).verify_erasure().clean
    s3_server.denied = frozenset()
    (late,) = opened(base).resume_erasure().outstanding
    assert "late uploads" in late
    assert opened(base).verify_erasure().clean


def test_where_nobody_tells_of_older_versions_that_is_said(base, s3_server):
    s3_server.make_bucket("silent", versioning="Enabled")
    share_by_s3(base, "s3://silent", s3_server.url)
    s3_server.denied = frozenset({"versions"})
    opened(base).erase([WHO])
    assert any("older versions could not be looked for" in each for each in places(opened(base))["remote cloud"].left)
    later = opened(base, days=16)
    later.resume_erasure()
    assert not places(later)["remote cloud"].done
    s3_server.denied = frozenset()
    assert later.resume_erasure().outstanding == ()
    assert {len(found) for found in s3_server.buckets["silent"].versions.values()} == {1}


def test_a_bucket_that_stops_to_answer_after_the_commit_is_gone_on_with(base, s3_server, monkeypatch):
    s3_server.make_bucket("busy")
    share_by_s3(base, "s3://busy", s3_server.url)

    def refuse(_store, **_how):
        raise StorageError("the place refused to delete")

    with monkeypatch.context() as patch:
        real = erasing.destroy
        patch.setattr(erasing, "destroy", lambda store, **how: (real if _is_here(store) else refuse)(store, **how))
        found = opened(base).erase([WHO])
    (why,) = found.outstanding
    assert "not everything that was given up is destroyed: the place refused" in why
    (late,) = opened(base).resume_erasure().outstanding
    assert "late uploads" in late
    assert opened(base).verify_erasure(deep=True).clean


def _is_here(store):
    return isinstance(store.backend, LocalBackend)
