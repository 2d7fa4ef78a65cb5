"""A URL names a place, or says clearly why it does not."""

import functools
import importlib
import os
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from dvtool.errors import DvError, IntegrityError, NotFoundError, StorageError, UsageError
from dvtool.storage.backend import SMALL_LIMITS, UnavailableError, close
from dvtool.storage.cloud.client import WHOLE
from dvtool.storage.cloud.gcs import may_see_credentials
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
        ("s3://key:secret/with-a-slash@bucket", "no credentials"),
        ("https://secret@host/path", "no credentials"),
        ("gs://secret@bucket/path", "no credentials"),
        ("webdav://secret@host/path", "no credentials"),
        ("https:/user:secret@host/path", "no credentials"),
        ("https:secret@host/path", "no credentials"),
        ("file://user:secret@host/path", "no credentials"),
        ("https://host:8080/path?sig=abc", "nothing else"),
        ("https://user:secret@host/path?sig=abc", "no credentials"),
        ("https://host/path#abc", "nothing else"),
        ("nonsense://bucket/prefix", "no store can lie in a file system of this kind"),
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


@pytest.mark.parametrize("given", [{"read_timeout": "7"}, {"read_timeout": "7.5", "connect_timeout": 3}])
def test_a_number_may_come_as_a_text(given):
    opened("s3://bucket", given)
    opened("ftp://host/path", {"port": "2222"})


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://bucket", {"read_timeout": "-1"}),
        ("s3://bucket", {"read_timeout": "nan"}),
        ("s3://bucket", {"read_timeout": True}),
        ("ftp://host/path", {"port": "2222.5"}),
        ("ftp://host/path", {"port": -1}),
        ("ftp://host/path", {"port": "\u0662"}),
    ],
)
def test_what_is_no_number_is_refused(url, options):
    with pytest.raises(UsageError) as caught:
        opened(url, options)
    assert "another kind" in caught.value.what
    assert "number" in caught.value.next


ELSEWHERE = [
    "asynclocal",
    "asyncwrapper",
    "blockcache",
    "cached",
    "dask",
    "data",
    "dbfs",
    "dir",
    "dv",
    "dvc",
    "filecache",
    "generic",
    "git",
    "github",
    "hf",
    "jlab",
    "jupyter",
    "lakefs",
    "libarchive",
    "reference",
    "root",
    "simplecache",
    "tar",
    "webdav",
    "zip",
]


@pytest.mark.parametrize("scheme", ELSEWHERE)
def test_what_leads_to_other_places_is_refused_unopened(scheme, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError, match="no store can lie in a file system of this kind") as caught:
        opened(f"{scheme}://host/path", {"fo": "s3://elsewhere", "target_protocol": "file"})
    assert "sftp" in caught.value.why


@pytest.fixture
def mine(monkeypatch):
    """A file system that dv does not know."""
    from fsspec.implementations.memory import MemoryFileSystem

    class Mine(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
        protocol = "mine"
        store: ClassVar[dict[str, Any]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]

        def __init__(self, *, depth: int, **options):
            super().__init__(**options)
            self.depth = depth

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(path.removeprefix("mine://"))

    monkeypatch.setitem(importlib.import_module("fsspec.registry")._registry, "mine", Mine)
    return Mine


def test_a_file_system_that_a_person_names_is_used(mine, monkeypatch):
    with pytest.raises(UsageError, match="no store can lie") as caught:
        opened("mine://host/store", {"depth": 3})
    assert "DV_TRUSTED_FILESYSTEMS" in caught.value.why
    monkeypatch.setenv("DV_TRUSTED_FILESYSTEMS", "webdav, MINE")
    backend = opened("mine://host/store", {"depth": 3})
    backend.put("packs/a", b"x")
    backend.flush()
    assert mine.store["/host/store/packs/a"].getvalue() == b"x"
    for options in [{"depth": {"a": 1}}, {"depth": "sftp://user:secret@host"}]:
        with pytest.raises(UsageError, match=r"kind|credential"):
            opened("mine://host/store", options)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://bucket", {"config_kwargs": {"signature_version": "bearer"}}),
        ("s3://bucket", {"client_kwargs": {"verify": False}}),
        ("s3://bucket", {"s3_additional_kwargs": {}}),
        ("s3://bucket", {"use_ssl": False}),
        ("s3://bucket", {"key": "x"}),
        ("gs://bucket", {"token": "x"}),
        ("http://host/store", {"client_kwargs": {"trust_env": True}}),
        ("http://host/store", {"headers": {"Cookie": "x"}}),
        ("http://host/store", {"ssl": False}),
        ("http://host/store", {"get_client": "x"}),
        ("http://host/store", {"block_size": {"nested": 1}}),
        ("http://host/store", {"block_size": True}),
        ("sftp://host/store", {"key_filename": "/home/someone/.ssh/id"}),
        ("sftp://host/store", {"sock": "x"}),
        ("ftp://host/store", {"tempdir": "/etc"}),
        ("memory://store", {"target_protocol": "file"}),
        ("memory://store", {"cache_storage": "/etc"}),
        ("abfs://container/store", {"account_host": "evil.example.org"}),
        ("abfs://container/store", {"connection_string": "x"}),
        ("hdfs://host/store", {"extra_conf": {}}),
        ("webhdfs://host/store", {"proxy_to": "x"}),
        ("s3://bucket", {"endpoint_url": "https://someone:word@host"}),
    ],
)
def test_an_option_that_could_lead_astray_is_refused(url, options):
    with pytest.raises(UsageError) as caught:
        opened(url, options)
    assert "option" in caught.value.what
    assert caught.value.where
    assert caught.value.next
    assert "word" not in str(caught.value)


def test_the_name_of_an_account_is_no_address(monkeypatch):
    class Azure:
        @staticmethod
        def _strip_protocol(url):
            return url.partition("://")[2]

        @staticmethod
        def _get_kwargs_from_urls(_url):
            return {}

    import fsspec

    monkeypatch.setattr(fsspec, "get_filesystem_class", lambda _protocol: Azure)
    opened("abfs://container/store", {"account_name": "birds2026"})
    for name in ("evil.example.org/", "evil.example.org#", "a", "user@host"):
        with pytest.raises(UsageError, match="no account can have this name"):
            opened("abfs://container/store", {"account_name": name})


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


def headers_of(server, monkeypatch):
    """The headers of all requests that a server is asked from now on."""
    seen = []
    real = server.answer

    def answer(kind, request):
        seen.append(request.headers)
        return real(kind, request)

    monkeypatch.setattr(server, "answer", answer)
    return seen


def test_requests_to_s3_are_signed_without_sending_the_secret(s3_server, monkeypatch, hermetic):
    assert arguments({})["config_kwargs"]["signature_version"] == "s3v4"
    secret = "the-secret-of-a-profile"
    (hermetic / "config").write_text(
        f"[profile work]\naws_access_key_id = AKIA\naws_secret_access_key = {secret}\ns3 =\n  signature_version = s3\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(hermetic / "config"))
    s3_server.make_bucket("bucket")
    seen = headers_of(s3_server, monkeypatch)
    backend = opened("s3://bucket", {"endpoint_url": s3_server.url, "profile": "work"})
    backend.put("format", b"x")
    close(backend)
    assert seen
    for headers in seen:
        assert headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
        assert not any(secret in value for value in headers.values())


def test_how_the_place_encrypts_is_one_option():
    found = arguments({"server_side_encryption": "aws:kms", "kms_key_id": "alias/birds"})
    assert found["s3_additional_kwargs"] == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/birds"}
    assert "kms_key_id" not in found
    assert arguments({})["s3_additional_kwargs"] == {}
    for wrong in ({"server_side_encryption": "none"}, {"kms_key_id": "x"}):
        with pytest.raises(UsageError):
            arguments(wrong)


BEARER = "a-token-that-opens-every-bucket"


@pytest.fixture
def google(monkeypatch):
    """Credentials of Google's that are at hand: a bearer token, without asking anybody."""
    from gcsfs.credentials import GoogleCredentials

    def connect(self, method=None):
        self.method = method
        self.credentials = None if method == "anon" else object()

    def apply(self, out):
        if self.credentials is not None:
            out["Authorization"] = f"Bearer {BEARER}"

    monkeypatch.setattr(GoogleCredentials, "connect", connect)
    monkeypatch.setattr(GoogleCredentials, "apply", apply)


@pytest.fixture
def headers_seen(gcs_server, monkeypatch):
    gcs_server.make_bucket("bucket")
    return headers_of(gcs_server, monkeypatch)


@pytest.mark.parametrize("variable", [None, "STORAGE_EMULATOR_HOST", "DV_TRUSTED_ENDPOINTS"])
def test_a_token_of_googles_goes_to_google_and_to_whom_the_environment_trusts(
    google, gcs_server, headers_seen, monkeypatch, variable
):
    monkeypatch.setenv("DV_TRUSTED_ENDPOINTS", "https://another.example.org, ")
    if variable is not None:
        monkeypatch.setenv(variable, f"https://another.example.org, {gcs_server.url}/")
    backend = opened("gs://bucket", {"endpoint_url": gcs_server.url})
    backend.put("format", b"x")
    assert backend.read("format") == b"x"
    close(backend)
    assert len(headers_seen) == 2
    sent = [BEARER in str(dict(headers)) for headers in headers_seen]
    assert sent == [variable == "DV_TRUSTED_ENDPOINTS"] * 2


def test_which_endpoints_are_googles():
    for endpoint in ("", "https://storage.googleapis.com", "https://storage.me-central2.rep.googleapis.com/"):
        assert may_see_credentials(endpoint)
    for endpoint in (
        "http://storage.googleapis.com",
        "https://storage.googleapis.com.example.org",
        "https://example.org/storage.googleapis.com",
        "https://example.org#.googleapis.com",
        "https://example.org\\.googleapis.com",
        "https://storage.googleapis.com@example.org",
        "https://notgoogleapis.com",
        "storage.googleapis.com",
    ):
        assert not may_see_credentials(endpoint)


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


def test_a_web_server_does_not_hand_over_more_than_a_file_may_have(tmp_path):
    (tmp_path / "format").write_bytes(bytes(SMALL_LIMITS["format"] + 1))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        backend = opened(f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(IntegrityError, match="far too long"):
            backend.read("format")
        close(backend)
        server.shutdown()


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_of_a_file_that_is_far_too_long_only_the_beginning_travels(request, scheme, monkeypatch):
    server = request.getfixturevalue({"s3": "s3_server", "gs": "gcs_server"}[scheme])
    server.make_bucket("bucket")
    monkeypatch.setattr("dvtool.storage.backend.WHOLE_LIMIT", 1000)
    backend = opened(f"{scheme}://bucket", {"endpoint_url": server.url})
    limits = {"format": SMALL_LIMITS["format"], "keys/repo": SMALL_LIMITS["keys/repo"], "log/1": 1000, "keys/a": 1000}
    for name in limits:
        backend.replace(name, bytes(5_000_000))
    seen = headers_of(server, monkeypatch)
    for name, limit in limits.items():
        with pytest.raises(IntegrityError, match="far too long") as caught:
            backend.read(name)
        assert caught.value.where == f"{scheme}://bucket/{name}"
        assert caught.value.why
        assert caught.value.next
        assert seen.pop()["range"] == f"bytes=0-{limit}"
        assert not seen, "one request is enough"
    close(backend)


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
    backend = opened("s3://bucket", {"endpoint_url": "nonsense"})
    with pytest.raises(DvError):
        backend.read("format")
    backend = opened("s3://bucket", {"endpoint_url": s3_server.url})
    with pytest.raises(NotFoundError):
        backend.read("format")
    close(backend)
