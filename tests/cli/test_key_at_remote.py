"""``dv key ... --remote``: a remote's key is sealed anew, and who left can read nothing that is added."""

import os
import shutil
import time

import pytest

from dvtool.formats import identity
from dvtool.repo import Repo
from dvtool.sharing.reaching import reach
from dvtool.store import protecting, rotating
from dvtool.worktree.session import Context
from tests.cli.calling import Dv
from tests.cli.members import BOB, CAROL, LOCK, REPO, add, openable, remembered, remove_bob
from tests.cli.sharing import DeadError, DyingDisk
from tests.conftest import moto_client


def test_who_left_can_neither_fetch_nor_push(ada, bob, place):
    assert openable(place, bob)
    done = remove_bob(ada)
    assert sorted(item["comment"] for item in done["recipients"]) == ["Ada", "Carol"]
    assert done["key_files"] >= 1
    assert done["left"] == []
    add(ada, "secret.txt", "for members only\n")
    ada("push")
    assert openable(place, bob) == set()
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    error = bob("fetch", "--json", code=40).error
    assert error["what"] == "the repository key is not sealed for you"
    assert "replaced since this clone last opened it" in error["why"]
    assert error["where"] == str(place)
    add(bob, "late.txt", "late\n")
    bob("push", "--json", code=40)
    bob("push", "--force-with-lease", code=40)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    ada("fsck", "--remote", "origin", "--json")


def test_who_left_cannot_follow_what_was_not_even_pushed_yet(ada, bob, place):
    """The entries of the rotation alone are news that they cannot open."""
    remove_bob(ada)
    bob("fetch", code=40)
    bob("pull", code=40)
    assert bob.status()["clean"], "what they had they keep"


def test_members_go_on_and_read_the_new_key_by_themselves(ada, carol, place):
    add(carol, "c1.txt", "1\n")
    old = remembered(carol.root).wrap
    remove_bob(ada)
    assert remembered(ada.root).wrap != old
    carol("push")
    assert remembered(carol.root).wrap == remembered(ada.root).wrap
    ada("pull")
    assert ada.read("data/c1.txt") == "1\n"
    add(ada, "a2.txt", "2\n")
    ada("push")
    carol("pull")
    assert carol.read("data/a2.txt") == "2\n"


def test_members_fetch_after_it(ada, carol):
    remove_bob(ada)
    assert carol("fetch", "--json").json["refs"] == []
    add(ada, "new.txt", "new\n")
    ada("push")
    carol("pull")
    assert carol.read("data/new.txt") == "new\n"


def test_the_one_who_rotated_remembers_the_new_key(ada, bob, monkeypatch, tmp_path):
    remove_bob(ada)
    monkeypatch.setenv("DV_IDENTITY", str(tmp_path / "nowhere"))
    add(ada, "new.txt", "new\n")
    ada("push")
    assert remembered(ada.root).previous == b""


def test_a_lazy_clone_brings_content_after_it(ada, clone_of):
    light = clone_of("light", CAROL, "--lazy")
    gone = clone_of("gone", BOB, "--lazy")
    remove_bob(ada)
    assert light("cat", "main:data/a.txt").text == "a\n"
    light("get", "data/sub")
    assert light.read("data/sub/c.txt") == "ccc\n"
    gone("cat", "main:data/a.txt", code=40)
    gone("get", "data", code=40)


def test_whether_there_is_news_needs_no_key(ada, carol):
    workspace = Repo.open(str(carol.root)).workspace
    assert not reach(workspace, "origin").has_news()
    remove_bob(ada)
    assert reach(workspace, "origin").has_news()


def test_killed_at_any_step_members_go_on_and_the_next_rotation_finishes(ada, bob, carol, place, tmp_path):
    ada("key", "recipients", "remove", "--remote", "origin", "Bob")
    roots = (ada.root, carol.root, place)
    for root in roots:
        shutil.copytree(root, tmp_path / "kept" / root.name, symlinks=True)
    steps = 0
    while True:
        for root in roots:
            shutil.rmtree(root)
            shutil.copytree(tmp_path / "kept" / root.name, root, symlinks=True)
        repo = Repo.open(str(ada.root), Context(disk=DyingDisk(steps, place), cwd=str(ada.root)))
        try:
            repo.rotate_key(remote="origin")
        except DeadError:
            pass
        else:
            break
        add(carol, "between.txt", "between\n")
        carol("push")
        ada("pull")
        assert ada.read("data/between.txt") == "between\n"
        assert ada("fsck", "--remote", "origin", "--json").json["clean"], steps
        carol("gc", "--remote", "origin", "--grace", "0")
        if (place / LOCK).exists():
            os.utime(place / LOCK, (1, 1))  # nobody waits an hour in a test
        ada("key", "rotate", "--remote", "origin")
        assert openable(place, bob) == set(), steps
        bob("fetch", code=40)
        carol("fetch")
        assert ada("fsck", "--remote", "origin", "--full", "--json").json["clean"], steps
        steps += 1
    assert steps > 8


def test_a_clone_that_is_made_after_it(ada, place, clone_of):
    remove_bob(ada)
    assert clone_of("carol", CAROL).read("data/a.txt") == "a\n"
    with pytest.raises(AssertionError, match="40"):
        clone_of("bob", BOB)


def test_a_passphrase_has_to_be_another_one(data, place, capsysbinary, monkeypatch, tmp_path):
    data.write("old", "correct horse\n")
    data.write("new", "another horse\n")
    data("remote", "add", "origin", str(place), "--passphrase-file", "old")
    data("push")
    monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
    data("clone", str(place), str(tmp_path / "other"))
    other = Dv(tmp_path / "other", capsysbinary)
    assert "--passphrase-file" in data("key", "rotate", "--remote", "origin", "--json", code=2).error["next"]
    data("key", "rotate", "--remote", "origin", "--passphrase-file", "new")
    assert "the passphrase is wrong" in other("fetch", code=40).told
    monkeypatch.delenv("DV_PASSPHRASE")
    add(data, "new.txt", "new\n")
    data("push")
    other("fetch", code=40)
    monkeypatch.setenv("DV_PASSPHRASE", "another horse")
    other("pull")
    monkeypatch.delenv("DV_PASSPHRASE")
    other("fetch")


def test_what_it_says(ada):
    assert "dv key rotate --remote origin" in ada("key", "recipients", "remove", "--remote", "origin", "Bob").text
    text = ada("key", "rotate", "--remote", "origin").text
    assert "other clones read the new key" in text
    assert "dv key export" not in text


def test_only_one_changes_the_key_at_a_time(ada, place):
    lock = place / LOCK
    lock.write_bytes(b"somebody else's")
    before = (place / REPO).read_bytes()
    for command in (
        ["protect", "--recipient", "ada.txt"],
        ["recipients", "add", "bob.txt"],
        ["recipients", "remove", "Bob"],
        ["rotate"],
    ):
        error = ada("key", *command, "--remote", "origin", "--json", code=12).error
        assert error["where"] == LOCK
        assert "1 minute" in error["why"]
    assert (place / REPO).read_bytes() == before
    ada("key", "recipients", "list", "--remote", "origin")
    hour = time.time() - 3601
    os.utime(lock, (hour, hour))
    done = ada("key", "recipients", "remove", "--remote", "origin", "Bob")
    assert "taken for dead" in done.told
    assert not lock.exists()


def test_who_was_taken_over_stops(ada, place, monkeypatch):
    """A machine that slept for hours goes on where it was, while another has changed the key."""
    run = rotating._Switch._seal_log_keys

    def sleep(self):
        (place / LOCK).write_bytes(b"another's")
        return run(self)

    with monkeypatch.context() as patch:
        patch.setattr(rotating._Switch, "_seal_log_keys", sleep)
        assert "took over" in ada("key", "rotate", "--remote", "origin", "--json", code=12).error["what"]
    assert (place / LOCK).read_bytes() == b"another's", "what is another's stays"
    (place / LOCK).unlink()
    ada("key", "rotate", "--remote", "origin")
    assert ada("fsck", "--remote", "origin", "--json").json["clean"]


@pytest.fixture
def bucket(data, moto_bucket):
    """(repository, client of boto3, name of its bucket, which keeps versions)."""
    url, options = moto_bucket
    data.write("phrase", "correct horse\n")
    data.write("me.txt", data("key", "identity").text)
    with moto_client(options["endpoint_url"]) as client:
        name = url.removeprefix("s3://")
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        flags = [part for item in options.items() for part in ("--option", "=".join(item))]
        data("remote", "add", "origin", url, *flags, "--plain-keys")
        data("push")
        yield data, client, name


def versions(client, name, key):
    found = client.list_object_versions(Bucket=name, Prefix=key)
    return [each["VersionId"] for each in (*found.get("Versions", ()), *found.get("DeleteMarkers", ()))]


def test_earlier_versions_go_with_each_change(bucket, monkeypatch):
    data, client, name = bucket
    for command in (
        ["protect", "--passphrase-file", "phrase"],
        ["protect", "--recipient", "me.txt"],
        ["recipients", "add", identity.encode_recipient(identity.recipient_of(BOB, "Bob"))],
        ["recipients", "remove", "Bob"],
        ["rotate"],
    ):
        monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
        before = versions(client, name, REPO)
        done = data("key", *command, "--remote", "origin", "--json")
        assert done.json["left"] == []
        assert done.told == ""
        [now] = versions(client, name, REPO)
        assert now not in before
        assert versions(client, name, "acks/") == []
    add(data, "new.txt", "new\n")
    data("push")
    assert data("fsck", "--remote", "origin", "--json").json["clean"]


def test_what_could_not_be_purged_is_told(data, s3_server):
    s3_server.make_bucket("bucket", versioning="Enabled")
    data.write("me.txt", data("key", "identity").text)
    data("remote", "add", "origin", "s3://bucket", "--option", f"endpoint_url={s3_server.url}", "--plain-keys")
    data("push")
    s3_server.denied = frozenset({"versions"})
    done = data("key", "protect", "--remote", "origin", "--recipient", "me.txt", "--json")
    [why] = done.json["left"]
    assert "s3:ListBucketVersions is denied" in why
    assert "earlier versions of the key are left" in done.told
    s3_server.denied = frozenset()
    assert data("key", "rotate", "--remote", "origin", "--json").json["left"] == []
    assert len(s3_server.buckets["bucket"].versions[REPO]) == 1


def test_soft_deletion_is_told(data, gcs_server):
    gcs_server.make_bucket("bucket", soft_delete=7 * 86400)
    data.write("me.txt", data("key", "identity").text)
    options = ["--option", f"endpoint_url={gcs_server.url}", "--option", "anon=true"]
    data("remote", "add", "origin", "gs://bucket", *options, "--plain-keys")
    data("push")
    done = data("key", "rotate", "--remote", "origin", "--recipient", "me.txt", "--json")
    assert done.json["left"][0].startswith("soft deletion keeps it until 20")


def test_a_key_that_somebody_wrote_over_meanwhile_is_not_purged(bucket, monkeypatch):
    """What is wanted is an earlier version then."""
    data, client, name = bucket
    change = protecting.change

    def overtaken(*arguments, **options):
        done = change(*arguments, **options)
        client.put_object(Bucket=name, Key=REPO, Body=b"put there by somebody else")
        return done

    before = len(versions(client, name, REPO))
    with monkeypatch.context() as patch:
        patch.setattr(protecting, "change", overtaken)
        data("key", "protect", "--remote", "origin", "--recipient", "me.txt", "--json", code=40)
    assert len(versions(client, name, REPO)) == before + 2


def test_a_key_at_another_place_is_rotated_there(data, tmp_path, capsysbinary):
    data("remote", "add", "origin", str(tmp_path / "remote"), "--keys", str(tmp_path / "guarded"))
    data("push")
    data("clone", str(tmp_path / "remote"), str(tmp_path / "other"), "--keys", str(tmp_path / "guarded"))
    before = (tmp_path / "guarded" / REPO).read_bytes()
    data("key", "rotate", "--remote", "origin")
    assert (tmp_path / "guarded" / REPO).read_bytes() != before
    assert not (tmp_path / "remote" / REPO).exists()
    add(data, "new.txt", "new\n")
    data("push")
    other = Dv(tmp_path / "other", capsysbinary)
    other("pull")
    assert other.read("data/new.txt") == "new\n"
