"""What is purged cannot come back, and what a place does not let go is reported: why, and until when."""

import datetime as dt

import pytest

from dvtool.errors import StorageError
from dvtool.storage.backend import close
from dvtool.storage.opening import open_place
from dvtool.testing.effects import SeededEntropy
from dvtool.testing.serving import every
from tests.conftest import moto_client

KEY = "packs/a"
NEIGHBOURS = ("packs/ab", "packs/a-", "packs/a.b", "packs/A", "packs/")
"""Keys that begin as it does, or nearly."""
DAY = 86400
MICROS = 1_000_000


@pytest.fixture
def opened():
    """Opens places, and closes them at the end."""
    made = []

    def open_one(url, options):
        made.append(open_place(url, options, entropy=SeededEntropy(), sleep=lambda _seconds: None))
        return made[-1]

    yield open_one
    for each in made:
        close(each)


@pytest.fixture
def moto(moto_bucket, opened):
    """(backend, name of its bucket, client of boto3)."""
    url, options = moto_bucket
    with moto_client(options["endpoint_url"]) as client:
        yield opened(url, options), url.removeprefix("s3://"), client


@pytest.fixture
def s3(s3_server, opened):
    return opened("s3://bucket", {"endpoint_url": s3_server.url})


@pytest.fixture
def gcs(gcs_server, opened):
    return opened("gs://bucket", {"endpoint_url": gcs_server.url, "anon": True})


def write_often(backend, count=3):
    for key in (KEY, *NEIGHBOURS):
        for number in range(count):
            backend.put(key, f"{key} {number}".encode())
    backend.delete(KEY)
    backend.put(KEY, b"again")
    backend.delete(KEY)


def versions_in_moto(client, bucket):
    found = client.list_object_versions(Bucket=bucket)
    return sorted(each["Key"] for each in (*found.get("Versions", ()), *found.get("DeleteMarkers", ())))


def test_versions_and_delete_markers_go(moto):
    backend, bucket, client = moto
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    write_often(backend)
    purged = backend.purge(KEY)
    assert purged.versions == 6
    assert purged.left == ()
    assert versions_in_moto(client, bucket) == sorted(3 * list(NEIGHBOURS))
    assert backend.purge(KEY).versions == 0


def test_versions_of_a_bucket_that_stopped_versioning_go(moto):
    backend, bucket, client = moto
    backend.put(KEY, b"before")
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    backend.put(KEY, b"while")
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    backend.put(KEY, b"after")
    assert backend.purge(KEY).left == ()
    assert versions_in_moto(client, bucket) == []


def test_uploads_that_were_begun_go(moto):
    backend, bucket, client = moto
    for key in (KEY, KEY, "packs/ab"):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x")
    assert backend.purge(KEY).left == ()
    assert [each["Key"] for each in client.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["packs/ab"]


def test_more_versions_than_one_page_tells_go(s3, s3_server):
    bucket = s3_server.make_bucket("bucket", versioning="Enabled")
    for _number in range(1100):
        s3_server._store(bucket, KEY, b"x")
        s3_server._store(bucket, "packs/ab", b"y")
    assert s3.purge(KEY).versions == 1100
    assert list(bucket.versions) == ["packs/ab"]
    assert len(bucket.versions["packs/ab"]) == 1100


def test_more_generations_than_one_page_tells_go(gcs, gcs_server):
    bucket = gcs_server.make_bucket("bucket", versioning=True)
    for _number in range(1100):
        gcs_server._store(bucket, KEY, b"x", None)
        gcs_server._store(bucket, "packs/ab", b"y", None)
    assert gcs.purge(KEY).versions == 1100
    assert {each.name for each in bucket.kept} == {"packs/ab"}


def test_generations_go(gcs, gcs_server):
    bucket = gcs_server.make_bucket("bucket", versioning=True)
    write_often(gcs)
    purged = gcs.purge(KEY)
    assert (purged.versions, purged.left, purged.until) == (4, (), None)
    assert {each.name for each in bucket.kept} == set(NEIGHBOURS)


@pytest.mark.parametrize("fault", ["busy", "cut", "lost", "half"])
def test_a_bad_network_keeps_nothing(s3, s3_server, gcs, gcs_server, fault):
    s3_bucket = s3_server.make_bucket("bucket", versioning="Enabled")
    gcs_bucket = gcs_server.make_bucket("bucket", versioning=True)
    for backend, server in ((s3, s3_server), (gcs, gcs_server)):
        write_often(backend)
        server.fault = every(3, fault)
        assert backend.purge(KEY).left == ()
        server.fault = lambda _number, _kind: None
    assert sorted(s3_bucket.versions) == sorted(NEIGHBOURS)
    assert {each.name for each in gcs_bucket.kept} == set(NEIGHBOURS)


def test_a_lock_is_reported_with_its_end(s3, s3_server):
    bucket = s3_server.make_bucket("bucket", versioning="Enabled", lock_days=30)
    s3.put(KEY, b"x")
    s3.delete(KEY)
    purged = s3.purge(KEY)
    [version] = bucket.versions[KEY]
    assert purged.versions == 1, "the delete marker goes"
    assert purged.until is not None
    assert abs(purged.until - version.retained_until) < MICROS
    [why] = purged.left
    assert why.startswith("an object lock protects it until 20")


def test_a_lock_of_moto_is_reported_with_its_end(moto_server, opened):
    with moto_client(moto_server) as client:
        client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        until = dt.datetime.now(dt.UTC) + dt.timedelta(days=30)
        client.put_object(
            Bucket="locked", Key=KEY, Body=b"x", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until
        )
        backend = opened("s3://locked", {"endpoint_url": moto_server})
        purged = backend.purge(KEY)
        assert "object lock" in purged.left[0]
        assert purged.until is not None
        assert abs(purged.until - until.timestamp() * MICROS) < 2 * MICROS
        assert backend.keeping().lock == "possible for single files"


def test_a_legal_hold_has_no_end(s3, s3_server):
    bucket = s3_server.make_bucket("bucket", versioning="Enabled")
    s3.put(KEY, b"x")
    bucket.versions[KEY][0].held = True
    purged = s3.purge(KEY)
    assert (purged.versions, purged.left, purged.until) == (0, ("a legal hold protects it",), None)


def test_who_may_not_ask_for_versions_is_told_so(s3, s3_server):
    bucket = s3_server.make_bucket("bucket", versioning="Enabled")
    write_often(s3)
    s3.put(KEY, b"live")
    s3_server.denied = frozenset({"versions"})
    purged = s3.purge(KEY)
    assert purged.versions == 1
    assert purged.left == ("older versions could not be looked for: s3:ListBucketVersions is denied",)
    assert bucket.live(KEY) is None


def test_where_no_versions_are_kept_nobody_needs_to_ask_for_them(s3, s3_server):
    s3_server.make_bucket("bucket")
    s3.put(KEY, b"x")
    s3_server.denied = frozenset({"versions"})
    purged = s3.purge(KEY)
    assert (purged.versions, purged.left) == (1, ())


def test_who_may_not_ask_for_uploads_is_told_so(s3, s3_server):
    s3_server.make_bucket("bucket")
    s3.put(KEY, b"x")
    s3_server.denied = frozenset({"uploads"})
    assert s3.purge(KEY).left == (
        "unfinished uploads could not be looked for: s3:ListBucketMultipartUploads is denied",
    )


def test_a_place_that_cannot_be_asked_is_an_error(s3, s3_server, gcs, gcs_server):
    s3_server.make_bucket("bucket")
    gcs_server.make_bucket("bucket")
    for backend, server in ((s3, s3_server), (gcs, gcs_server)):
        backend.put(KEY, b"x")
        server.fault = every(1, "broken")
        with pytest.raises(StorageError):
            backend.purge(KEY)


def test_soft_deletion_is_reported_with_its_end(gcs, gcs_server):
    bucket = gcs_server.make_bucket("bucket", versioning=True, soft_delete=7 * DAY)
    gcs.put(KEY, b"x")
    gcs.put(KEY, b"y")
    purged = gcs.purge(KEY)
    assert purged.versions == 2
    assert purged.left[0].startswith("soft deletion keeps it until 20")
    last = max(each.hard_delete for each in bucket.soft_deleted)
    assert purged.until is not None
    assert abs(purged.until - last) < MICROS
    again = gcs.purge(KEY)
    assert again.versions == 0
    assert again.until == purged.until, "what was purged before is still kept"


def test_retention_is_reported_with_its_end(gcs, gcs_server):
    bucket = gcs_server.make_bucket("bucket", retention=30 * DAY)
    gcs.put(KEY, b"x")
    purged = gcs.purge(KEY)
    assert purged.versions == 0
    assert purged.left[0].startswith("a retention policy protects it until 20")
    assert purged.until is not None
    assert abs(purged.until - bucket.kept[0].retained_until) < MICROS


def test_a_hold_has_no_end(gcs, gcs_server):
    bucket = gcs_server.make_bucket("bucket")
    gcs.put(KEY, b"x")
    bucket.kept[0].held = True
    purged = gcs.purge(KEY)
    assert (purged.versions, purged.left, purged.until) == (0, ("a hold protects it",), None)


def test_who_may_not_ask_for_what_is_soft_deleted_is_told_so(gcs, gcs_server):
    gcs_server.make_bucket("bucket", soft_delete=7 * DAY)
    gcs.put(KEY, b"x")
    gcs_server.denied = frozenset({"soft-deleted"})
    purged = gcs.purge(KEY)
    assert purged.versions == 1
    assert purged.left == ("whether soft deletion keeps it could not be looked for: permission denied",)


def write_over(backend):
    for number in range(3):
        backend.put(KEY, f"{number}".encode())
        backend.put("packs/ab", f"{number}".encode())


def test_older_versions_go_and_the_latest_stays(moto):
    backend, bucket, client = moto
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    write_over(backend)
    backend.delete(KEY)
    backend.put(KEY, b"live")
    purged = backend.purge(KEY, older=True)
    assert (purged.versions, purged.left) == (4, ())
    assert versions_in_moto(client, bucket) == [KEY, *3 * ["packs/ab"]]
    assert backend.read(KEY) == b"live"
    assert backend.purge(KEY, older=True).versions == 0


def test_older_versions_go_where_versioning_was_stopped(moto):
    backend, bucket, client = moto
    backend.put(KEY, b"before")
    for status in ("Enabled", "Suspended"):
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        backend.put(KEY, status.encode())
    assert backend.purge(KEY, older=True).left == ()
    assert versions_in_moto(client, bucket) == [KEY]
    assert backend.read(KEY) == b"Suspended"


def test_before_a_delete_marker_everything_is_older(s3, s3_server):
    bucket = s3_server.make_bucket("bucket", versioning="Enabled")
    write_over(s3)
    s3.delete(KEY)
    assert s3.purge(KEY, older=True).versions == 3
    assert [each.marker for each in bucket.versions[KEY]] == [True]
    assert not s3.exists(KEY)


def test_more_older_versions_than_one_page_tells_go(s3, s3_server, gcs, gcs_server):
    at_s3 = s3_server.make_bucket("bucket", versioning="Enabled")
    at_gcs = gcs_server.make_bucket("bucket", versioning=True)
    for number in range(1100):
        s3_server._store(at_s3, KEY, f"{number}".encode())
        gcs_server._store(at_gcs, KEY, f"{number}".encode(), None)
    for backend in (s3, gcs):
        assert backend.purge(KEY, older=True).versions == 1099
        assert backend.read(KEY) == b"1099"


def test_uploads_that_were_begun_may_yet_become_the_latest(moto):
    backend, bucket, client = moto
    client.create_multipart_upload(Bucket=bucket, Key=KEY)
    assert backend.purge(KEY, older=True).left == ()
    assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1


def test_a_version_of_which_nothing_is_said_stays(s3, s3_server, monkeypatch):
    bucket = s3_server.make_bucket("bucket", versioning="Enabled")
    write_over(s3)
    client = s3.inner._client
    call = client._call

    def silent(method, parameters):
        found = call(method, parameters)
        for each in found.get("Versions", ()):
            each.pop("IsLatest", None)
        return found

    monkeypatch.setattr(client, "_call", silent)
    assert s3.purge(KEY, older=True).versions == 0
    assert len(bucket.versions[KEY]) == 3


def test_who_may_not_ask_for_older_versions_keeps_the_file(s3, s3_server):
    bucket = s3_server.make_bucket("bucket", versioning="Enabled")
    write_over(s3)
    s3_server.denied = frozenset({"versions"})
    purged = s3.purge(KEY, older=True)
    assert (purged.versions, len(purged.left)) == (0, 1)
    assert bucket.live(KEY) is not None


def test_a_lock_on_older_versions_is_reported_with_its_end(s3, s3_server):
    s3_server.make_bucket("bucket", versioning="Enabled", lock_days=30)
    write_over(s3)
    purged = s3.purge(KEY, older=True)
    assert purged.versions == 0
    assert purged.left[0].startswith("an object lock protects it until 20")
    assert s3.read(KEY) == b"2"


def test_noncurrent_generations_go_and_the_current_one_stays(gcs, gcs_server):
    bucket = gcs_server.make_bucket("bucket", versioning=True)
    write_over(gcs)
    purged = gcs.purge(KEY, older=True)
    assert (purged.versions, purged.left) == (2, ())
    assert [each.data for each in bucket.kept if each.name == KEY] == [b"2"]
    assert gcs.purge(KEY, older=True).versions == 0


def test_what_soft_deletion_keeps_of_older_bytes_is_reported(gcs, gcs_server):
    gcs_server.make_bucket("bucket", soft_delete=7 * DAY)
    write_over(gcs)
    purged = gcs.purge(KEY, older=True)
    assert purged.versions == 0
    assert purged.left[0].startswith("soft deletion keeps it until 20")
    assert gcs.read(KEY) == b"2"


@pytest.mark.parametrize("fault", ["busy", "cut", "lost", "half"])
def test_a_bad_network_keeps_nothing_older_and_loses_nothing_newer(s3, s3_server, gcs, gcs_server, fault):
    s3_server.make_bucket("bucket", versioning="Enabled")
    gcs_server.make_bucket("bucket", versioning=True)
    for backend, server in ((s3, s3_server), (gcs, gcs_server)):
        write_over(backend)
        server.fault = every(3, fault)
        assert backend.purge(KEY, older=True).left == ()
        server.fault = lambda _number, _kind: None
        assert backend.read(KEY) == b"2"
        assert backend.purge(KEY, older=True).versions == 0
