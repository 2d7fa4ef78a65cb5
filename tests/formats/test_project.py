from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import FormatError
from dvtool.formats import project


@pytest.fixture
def checkout_page():
    path = Path(__file__).resolve().parents[2] / "docs" / "format" / "project.md"
    return path.read_text(encoding="utf-8")


def refused(text):
    with pytest.raises(FormatError) as raised:
        project.decode(text.encode() if isinstance(text, str) else text)
    assert raised.value.where.startswith("dv.toml")
    assert raised.value.why
    assert raised.value.next
    return raised.value


def test_golden_bytes_say_what_they_said(vector, plain):
    assert plain(project.decode(vector.data)) == vector.value


def test_an_empty_file_says_nothing():
    assert project.decode(b"") == project.decode(b"# a comment\n") == project.Project()


def test_what_the_page_shows_is_read(checkout_page):
    found = project.decode(checkout_page.partition("```toml\n")[2].partition("```")[0].encode())
    assert found.remotes["origin"].url == "s3://bucket/prefix"
    assert found.splits == {"train": ("data/train",), "test": ("data/test",)}
    assert [subject.column for subject in found.subjects] == [None, "user_id"]
    assert found.table == (project.Table(tables="data/users.csv", key=("user_id",)),)
    assert found.hooks.large_file.limit == 10_000_000
    assert found.hooks.large_file.policy == "warn"


@pytest.mark.parametrize(
    ("text", "place", "near"),
    [
        ("remotes = {}", "remotes", "remote"),
        ("[remote.origin]\nurl = 'x'\noption = {}", "remote.origin.option", "options"),
        ("[[subjects]]\npaths = 'a/{subject}'", "subjects", "subject"),
        ("[[subject]]\npath = 'a/{subject}'", "subject[1].path", "paths"),
        ("[[subject]]\npaths = 'a/{subject}'\n[[subject]]\ntable = 'x'", "subject[2].table", "tables"),
        ("[[table]]\ntables = 'a'\nkeys = ['b']", "table[1].keys", "key"),
        ("[hooks]\nlarge-files = 'off'", "hooks.large-files", "large-file"),
        ("[hooks]\nlarge_file = {}", "hooks.large_file", "large-file"),
        ("[hooks.large-file]\nover_size = '1 MB'", "hooks.large-file.over_size", "over"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(text, place, near):
    error = refused(text)
    assert error.where == f"dv.toml, {place}"
    assert repr(near) in error.next


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[remote.origin]", "remote.origin"),
        ("[remote]\norigin = 's3://x'", "remote.origin"),
        ("remote = 1", "remote"),
        ("[remote.origin]\nurl = 1", "remote.origin.url"),
        ("[remote.origin]\nurl = ''", "remote.origin.url"),
        ("[remote.'a/b']\nurl = 'x'", "remote.a/b"),
        ("[remote.'..']\nurl = 'x'", "remote..."),
        ("[splits]\ntrain = 'data'", "splits.train"),
        ("[splits]\ntrain = [1]", "splits.train[0]"),
        ("[splits]\ntrain = ['../x']", "splits.train"),
        ("[splits]\ntrain = ['/x']", "splits.train"),
        ("[splits]\ntrain = ['']", "splits.train"),
        ("[subject]\npaths = 'a/{subject}'", "subject"),
        ("[[subject]]", "subject[1]"),
        ("[[subject]]\npaths = 'a'", "subject[1].paths"),
        ("[[subject]]\npaths = '{subject}/{subject}'", "subject[1].paths"),
        ("[[subject]]\ntables = 'a'", "subject[1]"),
        ("[[subject]]\npaths = '{subject}'\ncolumn = 'a'", "subject[1]"),
        ("subject = [1]", "subject[1]"),
        ("[[table]]\ntables = 'a'\nkey = []", "table[1].key"),
        ("[[table]]\ntables = 'a'\nkey = ['b', 'b']", "table[1].key"),
        ("[hooks]\nstale-lock = 'perhaps'", "hooks.stale-lock"),
        ("hooks = 'off'", "hooks"),
        ("[hooks.large-file]\nover = '10 apples'", "hooks.large-file.over"),
        ("[hooks.large-file]\nover = 10", "hooks.large-file.over"),
        ("[hooks]\nlarge-file = 'block'", "hooks.large-file"),
    ],
)
def test_a_value_that_makes_no_sense_is_named_with_its_place(text, place):
    assert refused(text).where == f"dv.toml, {place}"


@pytest.mark.parametrize(
    "text",
    [
        "url = 's3://bucket'\noptions = { key = 'AKIA' }",
        "url = 's3://bucket'\noptions = { secret = 'x' }",
        "url = 's3://bucket'\noptions = { client_kwargs = { aws_secret_access_key = 'x' } }",
        "url = 'ftp://user:word@host/x'",
        "url = 's3://bucket'\nkeys = 'ftp://user:word@host/x'",
        "url = 'https://word@host/x'",
        "url = 'S3://word@bucket/x'",
        "url = 'gs://:word@bucket/x'",
        "url = 'webdav://word@host/x'",
        "url = 'sftp://user%3Aword@host/x'",
        "url = 's3://AKIA:wo/rd@bucket/x'",
        "url = 'simplecache::https://word@host/x'",
        "url = ' https://word@host/x'",
        "url = 'https:/user:word@host/x'",
        "url = 'https://host/x?sig=word'",
        "url = 's3://bucket'\nkeys = 's3://word@bucket/x'",
        "url = 's3://bucket'\noptions = { endpoint_url = 'https://user:word@host' }",
        "url = 's3://bucket'\noptions = { a = { b = [{ c = 'https://word@host' }] } }",
        *(
            f"url = 'https://host'\noptions = {{ a = [{{ {name} = 'word' }}] }}"
            for name in (
                "auth",
                "Auth",
                "basic_auth",
                "auth-value",
                "pass",
                "userpass",
                "pwd",
                "db_pwd",
                "creds",
                "credential",
                "credentials",
                "cookie",
                "cookies",
                "session_cookie",
                "header",
                "headers",
                "http_headers",
                "bearer",
                "sas",
                "sas_key",
                "account_sas",
                "signature",
            )
        ),
    ],
)
def test_credentials_are_refused_and_not_repeated(text):
    error = refused(f"[remote.origin]\n{text}")
    assert "credential" in error.why
    assert "AKIA" not in str(error)
    assert "word" not in f"{error.what} {error.where} {error.why} {error.next}"


@pytest.mark.parametrize(
    "text",
    [
        "url = 'sftp://someone@host:22/data@2024'",
        "url = 'ftp://someone@host/x'",
        "url = 'smb://someone@host/x'",
        "url = 'abfs://container@account.dfs.core.windows.net/x'",
        "url = 'https://host:8080/a@b'",
        "url = 'https://[::1]:8080/a@b'",
        "url = '/data/what?/a:b@c'",
        "url = 'file:///data/what?/a:b@c'",
        "url = 's3://bucket'\noptions = { kms_key_id = 'alias/x', profile = 'work', passive = true, username = 'x' }",
    ],
)
def test_what_is_no_credential_is_read(text):
    project.decode(f"[remote.origin]\n{text}".encode())


@pytest.mark.parametrize(
    "text", ["a", "[", "a = 1\na = 2", b"\xff", "x = " + "[" * 30_000, "#" * 65_537, "a = 1979-99-99"]
)
def test_what_is_no_toml_is_refused(text):
    assert refused(text).where == "dv.toml"


@pytest.mark.parametrize(
    ("text", "meant"), [("0 B", 0), ("10 MB", 10**7), ("1.5 GiB", 3 * 2**29), ("2KiB", 2048), ("1 TB", 10**12)]
)
def test_sizes_are_what_people_mean(text, meant):
    assert project.size(text) == meant


@pytest.mark.parametrize("text", ["", "10", "MB", "-1 MB", "1e3 MB", "1 iB", "1 PB", "\uff11 MB", "1 mb"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(FormatError):
        project.size(text)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(data):
    try:
        found = project.decode(data)
    except FormatError:
        return
    assert isinstance(found, project.Project)
