"""The stand-ins for clouds behave as their models do: towards libraries that were not written for them."""

import os

import boto3
import gcsfs.core
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from dvtool.testing.fake_gcs import FakeGcs
from dvtool.testing.fake_s3 import FakeS3
from dvtool.testing.serving import LoopbackServer, Request, every, first
from tests.conftest import moto_client

KEYS = ("a", "a-b", "a/b", "a/c/d", "ab", "b/ä ö&<>", "b/+%25", "c")


@pytest.fixture(params=["stand-in", "moto"])
def s3(request):
    """(client of boto3, name of an empty bucket) of the stand-in and of moto."""
    name = f"bucket-{os.urandom(8).hex()}"
    if request.param == "moto":
        with moto_client(request.getfixturevalue("moto_server")) as client:
            client.create_bucket(Bucket=name)
            yield client, name
        return
    server = request.getfixturevalue("s3_server")
    server.make_bucket(name)
    with moto_client(server.url) as client:
        client.server = server
        yield client, name


@pytest.fixture
def gcs(gcs_server):
    gcs_server.make_bucket("bucket")
    fs = gcsfs.core.GCSFileSystem(
        token="anon", endpoint_url=gcs_server.url, skip_instance_cache=True, use_listings_cache=False
    )
    yield fs
    fs.close_session(None, fs.session)


def version_buckets(client, bucket, status="Enabled"):
    if hasattr(client, "server"):
        client.server.buckets[bucket].versioning = status
    else:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def test_objects_are_written_read_and_deleted(s3):
    client, bucket = s3
    etag = client.put_object(Bucket=bucket, Key="b/ä ö&<>", Body=b"hello")["ETag"]
    assert client.head_object(Bucket=bucket, Key="b/ä ö&<>")["ContentLength"] == 5
    found = client.get_object(Bucket=bucket, Key="b/ä ö&<>", Range="bytes=1-2")
    assert (found["Body"].read(), found["ETag"]) == (b"el", etag)
    assert client.get_object(Bucket=bucket, Key="b/ä ö&<>", Range="bytes=3-99")["Body"].read() == b"lo"
    client.delete_object(Bucket=bucket, Key="b/ä ö&<>")
    client.delete_object(Bucket=bucket, Key="b/ä ö&<>")
    for call, code in ((client.get_object, "NoSuchKey"), (client.head_object, "404")):
        with pytest.raises(ClientError) as caught:
            call(Bucket=bucket, Key="b/ä ö&<>")
        assert caught.value.response["Error"]["Code"] == code


def test_conditions_are_kept(s3):
    client, bucket = s3
    client.put_object(Bucket=bucket, Key="a", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket=bucket, Key="a", Body=b"2", IfNoneMatch="*")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"
    client.delete_object(Bucket=bucket, Key="a")
    client.put_object(Bucket=bucket, Key="a", Body=b"3", IfNoneMatch="*")


@pytest.mark.parametrize("prefix", ["", "a", "a/", "b/", "nothing"])
@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_listings_are_paged_and_grouped(s3, prefix, delimiter, size):
    client, bucket = s3
    for key in KEYS:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    found = []
    following: dict[str, str] = {}
    while True:
        page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter=delimiter, MaxKeys=size, **following)
        found += [(each["Key"], each["Size"]) for each in page.get("Contents", ())]
        found += [(each["Prefix"], None) for each in page.get("CommonPrefixes", ())]
        if not page["IsTruncated"]:
            break
        following = {"ContinuationToken": page["NextContinuationToken"]}
    wanted = {}
    for key in KEYS:
        if key.startswith(prefix):
            before, split, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            wanted[prefix + before + "/" if split else key] = None if split else len(key.encode())
    assert sorted(found) == sorted(wanted.items())


def test_listings_begin_after_a_key(s3):
    client, bucket = s3
    for key in KEYS:
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    page = client.list_objects_v2(Bucket=bucket, StartAfter="a/b", MaxKeys=2)
    assert [each["Key"] for each in page["Contents"]] == ["a/c/d", "ab"]


def test_versions_are_kept_listed_and_deleted(s3):
    client, bucket = s3
    client.put_object(Bucket=bucket, Key="a", Body=b"0")
    version_buckets(client, bucket)
    for number in (1, 2):
        client.put_object(Bucket=bucket, Key="a", Body=str(number).encode())
    client.put_object(Bucket=bucket, Key="ab", Body=b"x")
    client.delete_object(Bucket=bucket, Key="a")
    with pytest.raises(ClientError):
        client.get_object(Bucket=bucket, Key="a")
    found = client.list_object_versions(Bucket=bucket, Prefix="a")
    assert [each["Key"] for each in found["Versions"]] == ["a", "a", "a", "ab"]
    assert [each["IsLatest"] for each in found["DeleteMarkers"]] == [True]
    assert [each["VersionId"] for each in found["Versions"]][2] == "null"
    old = found["Versions"][1]["VersionId"]
    assert client.get_object(Bucket=bucket, Key="a", VersionId=old)["Body"].read() == b"1"
    client.delete_object(Bucket=bucket, Key="a", VersionId=found["DeleteMarkers"][0]["VersionId"])
    assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"2"
    client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a", "VersionId": old}]})
    assert len(client.list_object_versions(Bucket=bucket, Prefix="a")["Versions"]) == 3


def test_uploads_in_parts_are_put_together(s3):
    client, bucket = s3
    upload = client.create_multipart_upload(Bucket=bucket, Key="a")["UploadId"]
    parts = []
    for number in (1, 2):
        sent = client.upload_part(
            Bucket=bucket, Key="a", UploadId=upload, PartNumber=number, Body=bytes([number]) * (5 * 1024 * 1024)
        )
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    [begun] = client.list_multipart_uploads(Bucket=bucket, Prefix="a")["Uploads"]
    assert (begun["Key"], begun["UploadId"]) == ("a", upload)
    client.complete_multipart_upload(Bucket=bucket, Key="a", UploadId=upload, MultipartUpload={"Parts": parts})
    assert client.head_object(Bucket=bucket, Key="a")["ContentLength"] == 10 * 1024 * 1024
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    upload = client.create_multipart_upload(Bucket=bucket, Key="a")["UploadId"]
    client.abort_multipart_upload(Bucket=bucket, Key="a", UploadId=upload)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


def test_what_is_not_understood_is_refused(s3_server, gcs_server):
    for server, path, query in (
        (s3_server, "/bucket", {"list-type": "2", "nonsense": "1"}),
        (s3_server, "/bucket", {"acl": ""}),
        (gcs_server, "/storage/v1/b/bucket/o", {"nonsense": "1"}),
        (gcs_server, "/elsewhere", {}),
    ):
        server.make_bucket("bucket")
        _fault, reply = server.handle(Request("GET", path, query, {}, b""))
        assert reply.status >= 400


def test_gcsfs_writes_lists_and_deletes(gcs):
    gcs.pipe_file("bucket/a/one", b"1")
    gcs.pipe_file("bucket/a/two", b"22")
    gcs.pipe_file("bucket/a/b/three", b"333")
    assert gcs.cat_file("bucket/a/two", start=1, end=2) == b"2"
    assert sorted(gcs.ls("bucket/a", detail=False)) == ["bucket/a/b", "bucket/a/one", "bucket/a/two"]
    assert sorted(gcs.find("bucket")) == ["bucket/a/b/three", "bucket/a/one", "bucket/a/two"]
    with pytest.raises(FileExistsError):
        gcs.pipe_file("bucket/a/one", b"other", mode="create")
    assert gcs.info("bucket/a/two")["size"] == 2
    gcs.rm_file("bucket/a/one")
    assert not gcs.exists("bucket/a/one")


def test_gcsfs_uploads_in_chunks(gcs, gcs_server):
    data = os.urandom(1024 * 1024)
    gcs.pipe_file("bucket/large", data, chunksize=256 * 1024)
    assert gcs.cat_file("bucket/large") == data
    assert gcs_server.counts["chunk"] == 4
    with pytest.raises(FileExistsError):
        gcs.pipe_file("bucket/large", data, chunksize=256 * 1024, mode="create")
    with gcs.open("bucket/file", "wb", block_size=256 * 1024) as file:
        file.write(data)
    assert gcs.cat_file("bucket/file") == data


def test_faults_come_when_they_are_told_to():
    decide = every(3, "cut", "put")
    assert [decide(0, kind) for kind in ("put", "get", "put", "put", "get", "put")] == [
        None,
        None,
        None,
        "cut",
        None,
        None,
    ]
    decide = first(1, "lost")
    assert [decide(0, "get") for _turn in range(3)] == ["lost", None, None]


@pytest.mark.parametrize("kind", [FakeS3, FakeGcs])
def test_a_server_that_was_ended_listens_no_more(kind):
    server = kind()
    assert isinstance(server, LoopbackServer)
    with pytest.raises(RuntimeError):
        assert server.url
    with server:
        url = server.url
    client = boto3.client("s3", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(Exception, match="Could not connect"):
        client.list_buckets()
    client.close()
