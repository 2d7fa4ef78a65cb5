"""Looking after a store in S3: it is checked, collected and looked at by few requests, and versions go as well."""

import tempfile
import time

import boto3
import pytest

from dvtool.formats import log
from dvtool.repo import Repo
from dvtool.sharing import clones, reaching
from dvtool.storage.backend import Purged
from dvtool.storage.cloud import s3
from dvtool.storage.retrying import Persistence
from dvtool.store import erasing


@pytest.fixture
def server(moto_server):
    return moto_server


@pytest.fixture
def bucket(server, request):
    name = request.node.name.replace("_", "-").lower()[:60]
    found = boto3.resource("s3", endpoint_url=server, region_name="us-east-1").create_bucket(Bucket=name)
    found.meta.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    yield found
    found.meta.client.close()


@pytest.fixture
def shared(data, server, bucket):
    options = ["--option", f"endpoint_url={server}", "--option", "region=us-east-1"]
    data("remote", "add", "origin", f"s3://{bucket.name}/some/where", *options, "--plain-keys")
    data("push")
    return data


@pytest.fixture
def requests(monkeypatch):
    """What S3 was asked: operation and key or prefix, whatever way s3fs takes."""
    found = []
    real_call, real_read = s3.S3Client._call, s3.S3Client.read

    def call(self, method, parameters):
        found.append((method, parameters.get("Key") or parameters.get("Prefix")))
        return real_call(self, method, parameters)

    def read(self, key, start, end):
        found.append(("get_object", key))
        return real_read(self, key, start, end)

    monkeypatch.setattr(s3.S3Client, "_call", call)
    monkeypatch.setattr(s3.S3Client, "read", read)
    return found


def looked_at_alone(requests):
    """The packs, index files and key files that were asked for their size: listings tell of all."""
    return [
        key
        for method, key in requests
        if method == "head_object" and not {"packs", "index", "keys"}.isdisjoint(key.split("/"))
    ]


def test_what_a_place_can_do_is_found_out(shared):
    found = shared("remote", "check", "--json").json
    assert found["safe"]
    assert found["place"]["exclusive"] == "yes"
    assert found["place"]["versioning"] == "on"
    assert found["store"] == {"there": True, "opens": True, "version": 1, "entries": 1, "why": ""}
    text = shared("remote", "check", "origin").text
    assert "purge every version" in text


def keys_of(bucket, directory):
    return sorted(each.key for each in bucket.objects.filter(Prefix=f"some/where/{directory}/"))


def test_a_sound_store(shared, bucket, requests):
    found = shared("fsck", "--remote", "origin", "--json").json
    assert found["clean"]
    assert found["checked"]["packs"] == len(keys_of(bucket, "packs"))
    assert not looked_at_alone(requests)
    bucket.put_object(Key="some/where/stranger", Body=b"x")
    (problem,) = shared("fsck", "--remote", "origin", "--quick", "--json", code=20).json["problems"]
    assert problem["file"] == "stranger"


def test_damage_is_found_though_copies_are_kept_here(shared, bucket):
    for directory in ("packs", "index", "keys", "log"):
        for key in keys_of(bucket, directory):
            body = bucket.Object(key).get()["Body"].read()
            bucket.put_object(Key=key, Body=body[:-20] + bytes([body[-20] ^ 1]) + body[-19:])
            found = shared("fsck", "--remote", "origin", "--json", code=20).json
            assert key.removeprefix("some/where/") in {problem["file"] for problem in found["problems"]}
            bucket.put_object(Key=key, Body=body)
    assert shared("fsck", "--remote", "origin", "--json").json["clean"]


def test_a_place_that_does_not_answer_is_not_damaged(shared, monkeypatch):
    real = s3.S3Client.read

    def refuse(self, key, start, end):
        if "/packs/" in key:
            raise ConnectionResetError("gone")
        return real(self, key, start, end)

    monkeypatch.setattr(s3.S3Client, "read", refuse)
    monkeypatch.setattr(Persistence, "again", lambda _self, request, _passing: request())
    assert shared("fsck", "--remote", "origin", "--json", code=30).error["kind"] == "storage"
    assert shared("fsck", "--remote", "origin", "--quick", "--json", code=30).error["kind"] == "storage"


def garbage(shared):
    shared("checkout", "-b", "side")
    for number in range(2):
        shared.write("data/side.txt", f"side {number}\n")
        shared.commit("side")
        shared("push", "origin", "side")
    shared("push", "origin", "--delete", "side")
    shared("checkout", "main")


def test_garbage_goes_with_all_its_versions_and_few_requests(shared, bucket, requests):
    garbage(shared)
    before = set(keys_of(bucket, "packs"))
    requests.clear()
    shared("gc", "--remote", "origin", "--retention", "0", "--dry-run")
    assert not looked_at_alone(requests)
    done = shared("gc", "--remote", "origin", "--retention", "0", "--grace", "0", "--json").json
    assert done["deleted"]["files"] >= 2
    assert done["left"] == []
    gone = before - set(keys_of(bucket, "packs"))
    assert gone
    assert not gone & {each.object_key for each in bucket.object_versions.all()}
    assert shared("fsck", "--remote", "origin", "--json").json["clean"]


def test_what_a_place_does_not_let_go_of_is_said(shared, monkeypatch):
    garbage(shared)
    locked = Purged(versions=0, left=("an object lock protects it",), until=1_900_000_000_000_000)
    monkeypatch.setattr(s3.S3Client, "purge", lambda _self, _key, **_how: locked)
    done = shared("gc", "--remote", "origin", "--retention", "0", "--grace", "0", "--json").json
    assert done["left"][0]["until"].startswith("2030-03-17")
    assert done["deleted"] == {"files": 0, "bytes": 0}
    monkeypatch.undo()


def test_a_budget_and_large_packs(data, server, bucket):
    content = bytes(range(256)) * 40_000
    for number in range(3):
        data.write(f"data/{number}.bin", bytes([number]) + content)
    data.commit("large")
    options = ["--option", f"endpoint_url={server}", "--option", "region=us-east-1"]
    data("remote", "add", "origin", f"s3://{bucket.name}", *options, "--plain-keys")
    data("push")
    assert data("fsck", "--remote", "origin", "--json").json["clean"]
    assert data("fsck", "--remote", "origin", "--max-bytes", "1", "--json").json["left"]
    assert Repo.open(str(data.root)).fsck_remote("origin").clean


def test_a_store_in_s3_is_mended(shared, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sound = {each.key: each.get()["Body"].read() for each in bucket.objects.all()}
    for key in [*keys_of(bucket, "packs"), *keys_of(bucket, "index")]:
        bucket.put_object(Key=key, Body=sound[key][:-20] + bytes([sound[key][-20] ^ 1]) + sound[key][-19:])
    bucket.Object(keys_of(bucket, "packs")[0]).delete()
    bucket.Object("some/where/format").delete()
    found = shared("fsck", "--remote", "origin", "--repair", "--json").json
    assert found["clean"]
    assert "format" in found["repair"]["restored"]
    assert found["repair"]["quarantined"]
    assert shared("fsck", "--remote", "origin", "--json").json["clean"]
    assert not list(tmp_path.glob("dv-check-*"))
    shared.write("data/a.txt", "more\n")
    shared.commit("more")
    shared("push")


def test_lost_data_comes_back_from_s3(shared):
    for path in (shared.root / ".dv/store/packs").iterdir():
        path.unlink()
    for path in (shared.root / "data").rglob("*.txt"):
        path.unlink()
    assert not shared("fsck", "--repair", "--json", code=20).json["clean"]
    assert shared("fsck", "--repair", "--from-remote", "origin", "--json").json["clean"]
    shared("restore", ".")
    assert shared.read("data/a.txt") == "a\n"


def test_uploads_that_never_ended_are_given_up(shared, bucket, monkeypatch):
    client = bucket.meta.client
    for key in ("some/where/packs/" + 64 * "0", "some/where/else", "some/where/packs/" + 64 * "1"):
        client.create_multipart_upload(Bucket=bucket.name, Key=key)
    with monkeypatch.context() as patch:
        patch.setattr(s3, "_micros", lambda _moment: time.time_ns() // 1000)
        assert shared("gc", "--remote", "origin", "--json").json["uploads"] == 0
    # moto has begun all uploads in 2010
    assert "given up: 2 unfinished uploads" in shared("gc", "--remote", "origin").text
    (left,) = client.list_multipart_uploads(Bucket=bucket.name)["Uploads"]
    assert left["Key"] == "some/where/else"


def test_a_place_that_stops_to_answer_is_not_written_to(shared, bucket, monkeypatch):
    for key in keys_of(bucket, "packs"):
        bucket.put_object(Key=key, Body=b"damaged")
    (key,) = keys_of(bucket, "index")
    bucket.Object(key).delete()
    before = {each.object_key: each.id for each in bucket.object_versions.all()}
    left = [40]
    real = s3.S3Client.read

    def read(self, key, start, end):
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionResetError("gone")
        return real(self, key, start, end)

    monkeypatch.setattr(Persistence, "again", lambda _self, request, _passing: request())
    monkeypatch.setattr(s3.S3Client, "read", read)
    for allowed in range(12):
        left[0] = allowed
        shared("fsck", "--remote", "origin", "--repair", "--json", code=30)
        assert {each.object_key: each.id for each in bucket.object_versions.all()} == before
    left[0] = 10_000
    assert shared("fsck", "--remote", "origin", "--repair", "--json").json["clean"]


def test_a_collection_asks_once_for_each_entry(shared, bucket, requests):
    garbage(shared)
    requests.clear()
    shared("gc", "--remote", "origin", "--dry-run")
    asked = [key for method, key in requests if method == "get_object" and "/log/" in key]
    found = set(keys_of(bucket, "log"))
    assert found <= set(asked)
    assert all(asked.count(key) == 1 for key in found)


def erase(store, erasure):
    """Write into a log what an erasure of nothing writes."""
    planned = erasing.announce(store, erasure, b"sealed", ())
    for phase in (log.ERASED, log.FINISHED):
        action = log.Erasure(erasure=erasure, phase=phase, planned=planned, locator=b"sealed")
        store.log.append("erase", lambda _state, action=action: [action])


def test_an_erasure_in_s3_is_acknowledged_once_and_by_few_requests(shared, bucket, requests):
    erasure = b"e" * 16
    remote = reaching.reach(Repo.open(str(shared.root)).workspace, "origin")
    for store in (remote.open(), remote.session.store):
        erase(store, erasure)
    remote.open().refresh()
    requests.clear()
    assert clones.acknowledge(remote, [erasure]) == [erasure]
    own = [key for method, key in requests if method == "put_object"]
    assert own[0].endswith(f"acks/{clones.me(remote.workspace).hex()}/{erasure.hex()}")
    assert "/log/" in own[1]
    assert len(requests) < 12
    assert remote.open().state.locators.get(erasure) is None
    requests.clear()
    assert clones.acknowledge(remote, [erasure]) == []
    assert requests == []
    shared("gc", "--remote", "origin")
    kept = [each.object_key for each in bucket.object_versions.all() if "/acks/" in each.object_key]
    assert kept == [], "no version of it"
