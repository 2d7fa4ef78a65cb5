"""What libraries and servers say, as errors of ours: told apart by what a reader can do, and without secrets."""

import errno

import aiohttp
import botocore.exceptions
import google.auth.exceptions
import pytest
import requests.exceptions
from fsspec.exceptions import FSTimeoutError
from gcsfs.retry import HttpError, validate_response
from s3fs.errors import translate_boto_error

from dvtool.errors import DvError, ExistsError, NotFoundError, StorageError
from dvtool.storage.backend import UnavailableError
from dvtool.storage.cloud.failures import as_ours, is_passing, translated


class Unspeakable(Exception):  # noqa: N818 - it is what it says
    def __str__(self):
        raise AttributeError(self)


SIGNED = "https://bucket.example.org/key?X-Amz-Credential=AKIDSECRET&X-Amz-Signature=deadbeef"


def of_s3(code, status, message="", **more):
    """What s3fs raises for a reply of S3."""
    response = {
        "Error": {"Code": code, "Message": message, **more},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return translate_boto_error(botocore.exceptions.ClientError(response, "Operation"))


def of_gcs(status, message="", *, content=None):
    """What gcsfs raises for a reply of Google's."""
    body = content or f'{{"error": {{"code": {status}, "message": "{message}"}}}}'.encode()
    try:
        validate_response(status, body, "b/bucket/o/key")
    except Exception as error:  # noqa: BLE001 - any of six kinds
        return error
    raise AssertionError(status)


MISSING = [
    of_s3("NoSuchKey", 404),
    of_s3("404", 404, "Not Found"),
    of_s3("NoSuchVersion", 404),
    of_gcs(404),
    FileNotFoundError("packs/a"),
    OSError(errno.ENOENT, "no such file"),
]

THERE = [
    of_s3("PreconditionFailed", 412, Condition="If-None-Match"),
    of_s3("PreconditionFailed", 412),
    of_gcs(412),
    FileExistsError("packs/a"),
]

PASSING = [
    of_s3("SlowDown", 503, "Please reduce your request rate."),
    of_s3("InternalError", 500),
    of_s3("ServiceUnavailable", 503),
    of_s3("RequestTimeout", 400),
    of_s3("OperationAborted", 409),
    of_s3("ConditionalRequestConflict", 409),
    of_s3("502", 502),
    of_s3("429", 429),
    botocore.exceptions.EndpointConnectionError(endpoint_url=SIGNED),
    botocore.exceptions.ConnectTimeoutError(endpoint_url=SIGNED),
    botocore.exceptions.ReadTimeoutError(endpoint_url=SIGNED),
    botocore.exceptions.ConnectionClosedError(endpoint_url=SIGNED),
    botocore.exceptions.HTTPClientError(error=SIGNED),
    botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    botocore.parsers.ResponseParserError("no XML"),
    of_gcs(500),
    of_gcs(502),
    of_gcs(503, content=b"<html>busy</html>"),
    of_gcs(429),
    of_gcs(408),
    HttpError({"code": "503", "message": "busy"}),
    aiohttp.ClientConnectionError("refused"),
    aiohttp.ClientOSError(errno.ECONNRESET, "reset"),
    aiohttp.ServerDisconnectedError(),
    aiohttp.ClientPayloadError("cut"),
    aiohttp.ServerTimeoutError("silent"),
    requests.exceptions.ConnectionError(SIGNED),
    google.auth.exceptions.TransportError("its server was not reached"),
    FSTimeoutError(),
    TimeoutError(),
    ConnectionResetError(errno.ECONNRESET, "reset"),
]

DENIED = [
    of_s3("AccessDenied", 403, "User is not authorized to perform s3:PutObject"),
    of_s3("403", 403, "Forbidden"),
    of_gcs(403, "someone does not have storage.objects.create access"),
    of_gcs(401, "Anonymous caller does not have access"),
    PermissionError(errno.EACCES, "denied"),
]

UNSIGNED = [
    of_s3("ExpiredToken", 400, "The provided token has expired."),
    of_s3("InvalidAccessKeyId", 403),
    of_s3("SignatureDoesNotMatch", 403),
    botocore.exceptions.NoCredentialsError(),
    botocore.exceptions.PartialCredentialsError(provider="env", cred_var="x"),
    botocore.exceptions.ProfileNotFound(profile="x"),
    google.auth.exceptions.DefaultCredentialsError("none"),
    google.auth.exceptions.RefreshError("expired"),
]

REFUSED = [
    of_s3("InvalidRequest", 400),
    of_s3("NotImplemented", 501),
    of_s3("EntityTooLarge", 400),
    of_gcs(400, "bad"),
    of_gcs(400, "invalid argument"),
    ValueError("nonsense"),
    RuntimeError(),
    KeyError("Contents"),
    OSError(errno.ENOSPC, "full"),
    aiohttp.ClientConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED]"),
    Unspeakable(),
    botocore.exceptions.SSLError(endpoint_url=SIGNED, error="[SSL: CERTIFICATE_VERIFY_FAILED]"),
]


def names(errors):
    return [f"{at}-{type(error).__name__}" for at, error in enumerate(errors)]


@pytest.mark.parametrize("error", MISSING, ids=names(MISSING))
def test_what_is_missing_is_not_found(error):
    assert isinstance(as_ours(error, "read", "place"), NotFoundError)
    assert not is_passing(error)


@pytest.mark.parametrize("error", THERE, ids=names(THERE))
def test_what_is_there_exists(error):
    assert isinstance(as_ours(error, "write", "place"), ExistsError)
    assert not is_passing(error)


@pytest.mark.parametrize("error", PASSING, ids=names(PASSING))
def test_what_passes_is_unavailable(error):
    assert is_passing(error)
    assert isinstance(as_ours(error, "read", "place"), UnavailableError)


@pytest.mark.parametrize("error", DENIED, ids=names(DENIED))
def test_what_is_denied_says_for_what_the_permission_is_missing(error):
    found = as_ours(error, "write", "place")
    assert type(found) is StorageError
    assert found.what == "the place refused to write"
    assert found.why.startswith("permission denied")
    assert not is_passing(error)


@pytest.mark.parametrize("error", UNSIGNED, ids=names(UNSIGNED))
def test_what_lacks_credentials_says_where_they_come_from(error):
    found = as_ours(error, "read", "place")
    assert type(found) is StorageError
    assert "credentials" in found.next
    assert not is_passing(error)


@pytest.mark.parametrize("error", REFUSED, ids=names(REFUSED))
def test_everything_else_is_a_refusal_and_is_not_tried_again(error):
    found = as_ours(error, "read", "place")
    assert type(found) is StorageError
    assert found.next
    assert not is_passing(error)


def test_a_missing_bucket_and_a_wrong_region_are_told_apart():
    assert as_ours(of_s3("NoSuchBucket", 404), "read", "s3://b").what == "the bucket does not exist"
    assert "region" in as_ours(of_s3("PermanentRedirect", 301), "read", "s3://b").next
    assert "region" in as_ours(of_s3("AuthorizationHeaderMalformed", 400), "read", "s3://b").next
    assert "expired" in as_ours(of_s3("400", 400, "Bad Request"), "read", "s3://b").next
    assert "clock" in as_ours(of_s3("RequestTimeTooSkewed", 403), "read", "s3://b").next


@pytest.mark.parametrize("error", [*PASSING, *DENIED, *UNSIGNED, *REFUSED])
def test_no_message_holds_an_address_or_a_secret(error):
    text = str(as_ours(error, "read", "s3://bucket/key"))
    assert "AKIDSECRET" not in text
    assert "deadbeef" not in text
    assert "example.org" not in text


@pytest.mark.parametrize("error", [*MISSING, *THERE, *PASSING, *DENIED, *UNSIGNED, *REFUSED])
def test_nothing_escapes(error):
    def fail():
        raise error

    with pytest.raises(DvError) as caught, translated("read", "place"):
        fail()
    assert caught.value.__cause__ is None
    assert caught.value.where == "place"


def test_an_error_of_ours_stays_what_it_is():
    ours = StorageError("something")
    with pytest.raises(StorageError) as caught, translated("read", "place"):
        raise ours
    assert caught.value is ours
