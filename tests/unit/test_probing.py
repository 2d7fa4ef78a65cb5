"""What a place can do is seen by doing it, and nothing of the probe is left."""

import os

import pytest

from dvtool.effects import SystemClock, SystemEntropy
from dvtool.storage.backend import Abilities, close
from dvtool.storage.local import LocalBackend
from dvtool.storage.memory import MemoryBackend
from dvtool.storage.opening import open_place
from dvtool.storage.probing import examine
from dvtool.testing.conformance import DIRECTORIES
from dvtool.testing.effects import SeededEntropy
from dvtool.testing.fake_gcs import FakeGcs
from dvtool.testing.fake_s3 import FakeS3
from dvtool.testing.serving import every

SECOND = 1_000_000


class Fast:
    """A clock that is ahead of the one here."""

    def __init__(self, ahead):
        self.ahead = ahead

    def now(self):
        return SystemClock().now() + self.ahead


def probed(backend):
    return examine(backend, clock=SystemClock(), entropy=SystemEntropy())


def opened(url, server, **options):
    return open_place(
        url, {"endpoint_url": server.url, **options}, entropy=SeededEntropy(), sleep=lambda _seconds: None
    )


@pytest.fixture
def s3(s3_server):
    backend = opened("s3://bucket", s3_server)
    yield backend
    close(backend)


@pytest.fixture
def gcs(gcs_server):
    backend = opened("gs://bucket", gcs_server, anon=True)
    yield backend
    close(backend)


def all_yes(found):
    return {found.reachable, found.reading, found.listing, found.writing, found.deleting, found.exclusive} == {"yes"}


def test_a_directory_and_memory_can_do_everything(tmp_path):
    for name in DIRECTORIES:
        os.makedirs(f"{tmp_path}/{name}")
    local = LocalBackend(str(tmp_path), f"{tmp_path}/scratch", entropy=SystemEntropy())
    found = probed(local)
    assert all_yes(found)
    assert (found.versioning, found.soft_delete, found.lock, found.skew) == ("off", "off", "off", 0)
    assert os.listdir(f"{tmp_path}/acks") == []
    assert all_yes(probed(MemoryBackend()))


def test_a_bucket_can_do_everything(s3, s3_server, gcs, gcs_server):
    s3_bucket = s3_server.make_bucket("bucket", versioning="Enabled", lock_days=0)
    gcs_bucket = gcs_server.make_bucket("bucket", versioning=True, soft_delete=7 * 86400)
    found = probed(s3)
    assert all_yes(found)
    assert (found.versioning, found.soft_delete, found.lock, found.skew) == ("on", "off", "off", 0)
    assert s3_bucket.versions == {}
    found = probed(gcs)
    assert all_yes(found)
    assert (found.versioning, found.soft_delete, found.lock, found.skew) == ("on", "7 days", "off", 0)
    assert gcs_bucket.kept == []


def test_a_bucket_of_moto_can_do_everything(moto_bucket):
    url, options = moto_bucket
    backend = open_place(url, options, entropy=SeededEntropy())
    assert all_yes(probed(backend))
    close(backend)


def test_a_place_that_writes_over_is_found_out(s3, s3_server, gcs, gcs_server):
    for backend, server in ((s3, s3_server), (gcs, gcs_server)):
        bucket = server.make_bucket("bucket")
        server.ignores_preconditions = True
        assert probed(backend).exclusive == "no: a second creation wrote over the first"
        assert not (bucket.versions if isinstance(bucket, type(s3_server.make_bucket("x"))) else bucket.kept)


def test_a_place_that_looks_before_it_writes_is_found_out():
    class Looking(MemoryBackend):
        def __init__(self):
            super().__init__()
            self.abilities = Abilities(exclusive=False)

    assert probed(Looking()).exclusive.startswith("no: a second creation was refused, but")


@pytest.mark.parametrize("denied", ["get", "list", "create", "delete", "versioning", "lock"])
def test_what_is_denied_is_a_finding(s3, s3_server, denied):
    s3_server.make_bucket("bucket")
    s3_server.denied = frozenset({denied})
    found = probed(s3)
    told = {
        "get": found.reading,
        "list": found.listing,
        "create": found.writing,
        "delete": found.deleting,
        "versioning": found.versioning,
        "lock": found.lock,
    }[denied]
    assert told.startswith(("no: ", "unknown: "))
    assert "AccessDenied" in told
    if denied == "create":
        assert found.exclusive.startswith("unknown: not tried")
        assert found.skew is None


def test_who_may_not_see_a_bucket_of_google_does_not_know_what_it_keeps(gcs, gcs_server):
    gcs_server.make_bucket("bucket", soft_delete=86400)
    gcs_server.denied = frozenset({"bucket"})
    found = probed(gcs)
    assert all_yes(found)
    assert found.versioning.startswith("unknown: ")
    assert found.soft_delete.startswith("unknown: ")


def test_a_place_that_is_not_there_is_a_finding(s3, s3_server):
    found = probed(s3)
    assert found.writing == "no: the bucket does not exist; where: " + found.writing.partition("where: ")[2]
    s3_server.make_bucket("bucket")
    s3_server.fault = every(1, "broken")
    assert probed(s3).reachable.startswith("no: the place did not answer")


def test_a_lost_reply_is_no_finding(s3, s3_server):
    s3_server.make_bucket("bucket")
    s3_server.fault = every(2, "lost")
    assert all_yes(probed(s3))


@pytest.mark.parametrize("ahead", [0, 3600 * SECOND, -3600 * SECOND])
def test_a_clock_that_is_wrong_is_found_out(ahead):
    for server, url, options in (
        (FakeS3(clock=Fast(ahead)), "s3://bucket", {}),
        (FakeGcs(clock=Fast(ahead)), "gs://bucket", {"anon": True}),
    ):
        with server:
            server.make_bucket("bucket")
            backend = opened(url, server, **options)
            skew = probed(backend).skew
            close(backend)
        assert skew is not None
        assert abs(skew - ahead) < 3 * SECOND
        assert (skew == 0) == (ahead == 0)
