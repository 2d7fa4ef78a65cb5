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
    ],
)
def test_credentials_are_refused_and_not_repeated(text):
    error = refused(f"[remote.origin]\n{text}")
    assert "credential" in error.why
    assert not {"AKIA", "word"} & {*error.where.split(), *error.why.split(), *error.next.split()}


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
