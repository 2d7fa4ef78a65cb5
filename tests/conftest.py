"""What every test stands on: how hard Hypothesis tries, and an environment that is the same everywhere."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Time limits are left to the run as a whole: on a shared machine a slow example is no finding.
settings.register_profile("default", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples each time, so that a build machine fails for what was changed and for nothing else.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.register_profile("deep", settings.get_profile("default"), max_examples=2_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))

# Variables by which the machine's owner would otherwise take part in the tests.
FOREIGN = ("AWS_", "CLOUDSDK_", "DV_", "FSSPEC_", "GCSFS_", "GIT_", "GOOGLE_", "STORAGE_EMULATOR_", "XDG_")

# Signatures must be made with something, and nobody is to be asked for it.
CLOUDS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_GCE_CHECK": "true",
    "NO_PROXY": "127.0.0.1,localhost",
}


def isolate(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Give this process an empty home, no settings from outside, one author."""
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)
    for name, value in CLOUDS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    monkeypatch.setenv("DV_AUTHOR", "Test Author <test@example.org>")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture(scope="session", autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Isolate what is shared by many tests too: repositories that are made once, and libraries that remember a home."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        isolate(monkeypatch, tmp_path_factory.mktemp("home"))
        yield


@pytest.fixture(autouse=True)
def hermetic(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Isolate one test, whatever others did. Returns its home."""
    home = tmp_path_factory.mktemp("home")
    isolate(monkeypatch, home)
    return home


@pytest.fixture
def s3_server():
    """S3 on loopback that locks, counts and fails as told; see ``FakeS3``."""
    from dvtool.testing.fake_s3 import FakeS3

    with FakeS3() as server:
        yield server


@pytest.fixture
def gcs_server():
    """Google Cloud Storage on loopback; see ``FakeGcs``."""
    from dvtool.testing.fake_gcs import FakeGcs

    with FakeGcs() as server:
        yield server


@pytest.fixture(scope="session")
def moto_server(isolated):
    """The URL of moto's S3, which others wrote to behave like Amazon's."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    if server._server is not None:
        server._server.server_close()


@pytest.fixture
def moto_bucket(moto_server):
    """(URL of a new bucket of moto's, options of a remote there)."""
    name = f"bucket-{os.urandom(8).hex()}"
    with moto_client(moto_server) as client:
        client.create_bucket(Bucket=name)
    return f"s3://{name}", {"endpoint_url": moto_server, "region": "us-east-1"}


@contextlib.contextmanager
def moto_client(url):
    """A client of boto3, to arrange and look at what is in moto."""
    import boto3

    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
    try:
        yield client
    finally:
        client.close()
