"""What every backend promises, as one suite; a new backend is one more line in ``KINDS``."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dvtool.effects import SystemEntropy
from dvtool.storage.apart import Apart
from dvtool.storage.backend import close
from dvtool.storage.cloud.backend import CloudBackend
from dvtool.storage.cloud.plain import PlainClient
from dvtool.storage.local import LocalBackend
from dvtool.storage.memory import MemoryBackend
from dvtool.storage.opening import open_place
from dvtool.storage.retrying import Persistence
from dvtool.storage.sending import SendingBackend
from dvtool.testing.conformance import CHECKS, DIRECTORIES, Conformance
from dvtool.testing.schedules import Schedule, ScheduledBackend

ENTROPY = SystemEntropy()


def at_a_directory(request):
    place = request.getfixturevalue("tmp_path")
    for name in DIRECTORIES:
        os.makedirs(f"{place}/store/{name}")
    return place


def local(request):
    place = at_a_directory(request)
    return LocalBackend(f"{place}/store", f"{place}/scratch", entropy=ENTROPY)


def local_by_url(request):
    return open_place(f"file://{at_a_directory(request)}/store", {}, entropy=ENTROPY)


def renaming(request):
    """A file system on which half-written files could be seen: a local one, told to behave as one far away."""
    client = PlainClient("file", f"{request.getfixturevalue('tmp_path')}/store", {}, Persistence(entropy=ENTROPY))
    client.renames = True
    return CloudBackend(client, f"{request.getfixturevalue('tmp_path')}/store", where="file://store")


def in_memory_of_fsspec(request):
    return open_place(f"memory://{os.urandom(8).hex()}/store", {}, entropy=ENTROPY)


def s3_of_moto(request):
    url, options = request.getfixturevalue("moto_bucket")
    return open_place(f"{url}/some/prefix", options, entropy=ENTROPY)


def s3(request):
    server = request.getfixturevalue("s3_server")
    server.make_bucket("bucket")
    return open_place("s3://bucket", {"endpoint_url": server.url}, entropy=ENTROPY)


def gcs(request):
    server = request.getfixturevalue("gcs_server")
    server.make_bucket("bucket")
    return open_place("gs://bucket/some/prefix", {"endpoint_url": server.url, "anon": True}, entropy=ENTROPY)


def s3_with_versions(request):
    server = request.getfixturevalue("s3_server")
    server.make_bucket("bucket", versioning="Enabled")
    return open_place("s3://bucket/some/prefix", {"endpoint_url": server.url}, entropy=ENTROPY)


def gcs_with_versions(request):
    server = request.getfixturevalue("gcs_server")
    server.make_bucket("bucket", versioning=True)
    return open_place("gs://bucket", {"endpoint_url": server.url, "anon": True}, entropy=ENTROPY)


KINDS = {
    "local": local,
    "local-by-url": local_by_url,
    "memory": lambda _request: MemoryBackend(),
    "scheduled": lambda _request: ScheduledBackend(Schedule(0)),
    "sending": lambda _request: SendingBackend(MemoryBackend()),
    "renaming": renaming,
    "fsspec-memory": in_memory_of_fsspec,
    "moto": s3_of_moto,
    "s3": s3,
    "gcs": gcs,
    "s3-versions": s3_with_versions,
    "gcs-versions": gcs_with_versions,
    "apart": lambda _request: Apart(MemoryBackend(), "keys/repo", MemoryBackend()),
}

AT_HAND = ("local", "memory", "scheduled", "sending")
"""Kinds that answer fast enough to be asked hundreds of times."""

VIEWS_LAST = ("local", "local-by-url", "memory", "scheduled", "sending", "apart")


@pytest.fixture
def kind(request):
    return request.param


@pytest.fixture
def backend(request, kind):
    made = KINDS[kind](request)
    yield made
    close(made)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_promise(backend, kind, check):
    if (kind, check) == ("moto", "of_many_creators_one_wins"):
        pytest.skip("moto looks and then writes; the stand-in of our own locks")
    Conformance(backend, views_last=kind in VIEWS_LAST).run(check)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), offset=st.integers(0, 400), length=st.none() | st.integers(0, 400))
@pytest.mark.parametrize("kind", AT_HAND, indirect=True)
def test_a_part_is_a_slice(backend, data, offset, length):
    backend.replace("packs/a", data)
    end = None if length is None else offset + length
    assert backend.read("packs/a", offset, length) == data[offset:end]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), start=st.none() | st.integers(-400, 400), stop=st.none() | st.integers(-400, 400))
@pytest.mark.parametrize("kind", AT_HAND, indirect=True)
def test_a_view_is_sliced_as_the_bytes_are(backend, data, start, stop):
    backend.replace("index/a", data)
    view = backend.view("index/a")
    assert len(view) == len(data)
    assert bytes(view[start:stop]) == data[start:stop]
