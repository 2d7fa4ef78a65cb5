"""A URL names a place, or says clearly why it does not."""

import functools
import os
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dvtool.errors import DvError, NotFoundError, StorageError, UsageError
from dvtool.storage.backend import UnavailableError, close
from dvtool.storage.cloud.client import WHOLE
from dvtool.storage.cloud.s3 import arguments
from dvtool.storage.local import LocalBackend
from dvtool.storage.opening import open_place
from dvtool.testing.effects import SeededEntropy


def opened(url, options=None, **more):
    return open_place(url, options or {}, entropy=SeededEntropy(), sleep=lambda _seconds: None, **more)


@pytest.mark.parametrize("form", ["{}", "file://{}", "local://{}"])
def test_a_directory_is_opened_as_one(tmp_path, form):
    backend = opened(form.format(tmp_path / "a store"))
    assert isinstance(backend, LocalBackend)
    assert backend.root == f"{tmp_path}/a store"
    assert backend.scratch == f"{tmp_path}/a store/tmp"


def test_a_file_url_is_decoded(tmp_path):
    assert opened(f"file://{tmp_path}/a%20store").root == f"{tmp_path}/a store"


def test_a_relative_path_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert opened("store").root == f"{tmp_path}/store"


def test_a_directory_is_opened_without_fsspec(tmp_path):
    script = (
        "import sys; from dvtool.effects import SystemEntropy; from dvtool.storage.opening import open_place; "
        f"open_place({str(tmp_path)!r}, {{}}, entropy=SystemEntropy()).exists('format'); "
        "assert not {'fsspec', 's3fs', 'gcsfs', 'aiohttp'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("s3://", "no bucket"),
        ("gs:///prefix", "no bucket"),
        ("gs://?versionId=1", "nothing else"),
        ("s3://bucket/prefix?X-Amz-Signature=abc", "nothing else"),
        ("simplecache::s3://bucket/prefix", "nothing else"),
        ("s3:/bucket/prefix", "two slashes"),
        ("gs:bucket", "two slashes"),
        ("file://localhost/store", "by its whole path"),
        ("s3://bucket--use1-az4--x-s3/prefix", "directory bucket"),
        ("s3://bucket/a//b", "no names"),
        ("s3://bucket/../other", "no names"),
        ("s3://key:secret@bucket/prefix", "no credentials"),
        ("sftp://user:secret@host/path", "no credentials"),
        ("nonsense://bucket/prefix", "no file system of this kind"),
        ("memory://a::b", "nothing else"),
    ],
)
def test_a_url_that_names_no_place_is_refused(url, what):
    with pytest.raises(UsageError) as caught:
        opened(url)
    assert what in caught.value.what
    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.parametrize(
    ("options", "what", "next_"),
    [
        ({"endpoint": "http://127.0.0.1"}, "no option 'endpoint'", "endpoint_url"),
        ({"token": "x"}, "no option 'token'", "did you mean"),
        ({"anon": "yes"}, "a value of another kind", "true or false"),
        ({"endpoint_url": 1}, "a value of another kind", "a text"),
    ],
)
def test_an_option_that_is_not_known_is_refused(scheme, options, what, next_):
    with pytest.raises(UsageError) as caught:
        opened(f"{scheme}://bucket", options)
    assert what in caught.value.what
    assert next_ in caught.value.next


def test_a_directory_has_no_options(tmp_path):
    with pytest.raises(UsageError):
        opened(str(tmp_path), {"region": "eu-west-1"})


def test_the_host_of_a_url_is_found():
    backend = opened("ftp://someone@127.0.0.1:9/path/store")
    with pytest.raises(UnavailableError) as caught:
        backend.exists("format")
    assert caught.value.where == "ftp://someone@127.0.0.1:9/path/store/format"


@pytest.mark.parametrize(("url", "extra"), [("s3://bucket", "s3"), ("gs://bucket", "gcs")])
def test_a_missing_package_is_named(url, extra):
    script = (
        "import sys; sys.modules['s3fs'] = sys.modules['gcsfs'] = None\n"
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "from dvtool.effects import SystemEntropy; from dvtool.storage.opening import open_place\n"
        f"open_place({url!r}, {{}}, entropy=SystemEntropy())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert f"pip install 'dvtool[{extra}]'" in done.stderr


def test_the_options_of_s3_become_those_of_its_client():
    given = {"region": "eu-west-1", "addressing_style": "path", "profile": "work", "endpoint_url": "http://127.0.0.1:1"}
    found = arguments(given)
    assert found["client_kwargs"] == {"region_name": "eu-west-1"}
    assert found["config_kwargs"]["s3"] == {"addressing_style": "path"}
    assert found["profile"] == "work"
    assert found["config_kwargs"]["retries"]["total_max_attempts"] == 1
    assert given["addressing_style"] == "path"
    with pytest.raises(UsageError, match="two regions"):
        arguments({"region": "eu-west-1", "region_name": "eu-west-2"})


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_who_listens_nowhere_is_unavailable(scheme):
    options = {"endpoint_url": "http://127.0.0.1:9", "anon": True}
    backend = opened(f"{scheme}://bucket", options)
    try:
        with pytest.raises(UnavailableError) as caught:
            backend.exists("format")
        assert caught.value.where == f"{scheme}://bucket/format"
    finally:
        close(backend)


def test_a_bucket_that_does_not_exist_is_said_so(s3_server, gcs_server):
    for url, options in (
        ("s3://missing/prefix", {"endpoint_url": s3_server.url}),
        ("gs://missing/prefix", {"endpoint_url": gcs_server.url, "anon": True}),
    ):
        backend = opened(url, options)
        for action in (lambda b=backend: b.put("format", b""), lambda b=backend: list(b.names("log"))):
            with pytest.raises(StorageError, match="the bucket does not exist"):
                action()
        close(backend)


def test_without_credentials_the_place_is_not_reached(s3_server, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    backend = opened("s3://bucket", {"endpoint_url": s3_server.url})
    with pytest.raises(StorageError, match="refused to read") as caught:
        backend.read("format")
    assert "no usable credentials" in caught.value.why
    assert "sign in" in caught.value.next
    close(backend)


def test_google_is_not_asked_without_credentials():
    backend = opened("gs://bucket")
    with pytest.raises(StorageError) as caught:
        backend.read("format")
    assert "no usable credentials" in caught.value.why


def test_a_profile_that_is_not_there_is_said_so():
    backend = opened("s3://bucket", {"profile": "nobody"})
    with pytest.raises(StorageError) as caught:
        backend.read("format")
    assert "nobody" in caught.value.why


def test_the_variable_of_googles_emulators_is_heeded(gcs_server, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.url)
    gcs_server.make_bucket("bucket")
    backend = opened("gs://bucket")
    backend.put("format", b"x")
    assert backend.read("format") == b"x"
    close(backend)


def test_what_is_in_memory_is_seen_by_all_of_the_process():
    one, other = opened("memory://shared-by-a-test/store"), opened("memory://shared-by-a-test/store")
    one.put("format", b"x")
    assert other.read("format") == b"x"


def test_a_place_that_can_only_be_read_is_not_written_to():
    backend = opened("http://127.0.0.1:9/store")
    assert not backend.abilities.writing
    with pytest.raises(StorageError, match="only be read"):
        backend.put("format", b"")


def test_a_web_server_that_knows_no_ranges_is_read_in_parts(tmp_path):
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "a").write_bytes(b"hello")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        backend = opened(f"http://127.0.0.1:{server.server_address[1]}")
        assert backend.read("packs/a") == b"hello"
        assert backend.read("packs/a", 1, 3) == b"ell"
        assert backend.read("packs/a", 9, 3) == b""
        assert list(backend.names("packs")) == ["a"]
        assert [(each.name, each.size) for each in backend.listed("packs")] == [("a", 5)]
        assert not backend.exists("packs/b")
        close(backend)
        server.shutdown()


def test_of_a_large_file_that_could_not_be_written_nothing_is_left():
    class Torn:
        def __len__(self):
            return WHOLE + 1

        def __getitem__(self, part):
            if part.start:
                raise StorageError("the disk failed")
            return bytes(part.stop)

    backend = opened("memory://torn/store")
    backend.send(Torn(), "packs/a")
    with pytest.raises(StorageError, match="the disk failed"):
        backend.flush()
    assert not backend.exists("packs/a")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_opens_connections_of_its_own(s3_server):
    s3_server.make_bucket("bucket")
    backend = opened("s3://bucket", {"endpoint_url": s3_server.url})
    backend.send(b"x", "packs/a")
    backend.flush()
    child = os.fork()
    if not child:
        try:
            backend.send(b"y", "packs/b")
            backend.flush()
            os._exit(0 if backend.read("packs/a") == b"x" else 1)
        except BaseException:  # noqa: BLE001 - a child of a test must never go on with the tests
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert backend.read("packs/b") == b"y"
    close(backend)


def test_the_workspace_goes_with_the_backend():
    backend = opened("memory://another/store")
    place = backend.workspace()
    del backend
    assert not os.path.exists(place)


def test_everything_that_is_raised_is_ours(s3_server):
    s3_server.make_bucket("bucket")
    backend = opened("s3://bucket", {"endpoint_url": s3_server.url, "client_kwargs": {"nonsense": 1}})
    with pytest.raises(DvError):
        backend.read("format")
    backend = opened("s3://bucket", {"endpoint_url": s3_server.url})
    with pytest.raises(NotFoundError):
        backend.read("format")
    close(backend)
