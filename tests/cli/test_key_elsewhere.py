"""Remotes whose key is kept at another place: only who reads both places reads the data."""

import shutil

import pytest

from dvtool.errors import UsageError
from dvtool.repo import Repo
from tests.cli.calling import Dv

KEY = "keys/repo"


@pytest.fixture
def place(tmp_path):
    return tmp_path / "remote"


@pytest.fixture
def guarded(tmp_path):
    return tmp_path / "guarded"


@pytest.fixture
def shared(data, place, guarded):
    """A repository that was pushed, with its key at another place."""
    data("remote", "add", "origin", str(place), "--keys", str(guarded))
    data("push")
    return data


@pytest.fixture
def clone(shared, place, guarded, capsysbinary):
    shared("clone", str(place), str(place.parent / "clone"), "--keys", str(guarded))
    return Dv(place.parent / "clone", capsysbinary)


def test_the_key_lies_there_alone(shared, place, guarded):
    assert [path.relative_to(guarded).as_posix() for path in guarded.rglob("*") if path.is_file()] == [KEY]
    assert not (place / KEY).exists()
    assert sorted(path.name for path in place.iterdir() if path.name != "tmp") == [
        "acks",
        "format",
        "index",
        "keys",
        "log",
        "packs",
    ]


RELATIVE = """\
[remote.origin]
url = "../remote"
keys = "./../guarded"
"""


def test_a_relative_place_begins_where_dv_toml_lies(shared, place, guarded, capsysbinary):
    shared.write("dv.toml", RELATIVE)
    (listed,) = shared("remote", "list", "--json", at="data").json
    assert (listed["url"], listed["keys"]) == (str(place), str(guarded))
    shared.write("data/c.txt")
    shared.commit()
    shared("push", at="data")
    shared("fetch", at="data")
    assert not (shared.root / "remote").exists()
    # A directory with nothing but the same file, as Git would bring it.
    other = Dv(place.parent / "other", capsysbinary)
    other.write("dv.toml", RELATIVE)
    other.write("data/mine.txt", "mine\n")
    other("pull", at="data")
    assert other.read("data/a.txt") == "a\n"
    assert other.read("dv.toml") == RELATIVE
    other("remote", "check", at="data")


def test_clones_push_and_fetch(shared, clone):
    assert clone.read("data/a.txt") == "a\n"
    clone.write("data/new.txt", "new\n")
    clone.commit("second")
    clone("push")
    shared("pull")
    assert shared.read("data/new.txt") == "new\n"
    clone("fsck", "--remote", "origin")
    assert clone("remote", "check", "--json").json["safe"]
    shared("gc", "--remote", "origin")


def test_without_the_other_place_nothing_is_cloned(shared, place, tmp_path):
    error = shared("clone", str(place), str(tmp_path / "other"), "--json", code=40).error
    assert "--keys URL" in error["next"]


def test_a_key_at_the_place_of_the_data_counts_for_nothing(shared, clone, place, guarded, tmp_path):
    (place / KEY).write_bytes(b"put there by somebody else")
    shared.write("data/new.txt", "new\n")
    shared.commit("second")
    shared("push")
    clone("pull")
    shared("clone", str(place), str(tmp_path / "other"), "--keys", str(guarded))
    assert (place / KEY).read_bytes() == b"put there by somebody else"


def test_it_is_sealed_anew_where_it_lies(shared, clone, place, guarded, monkeypatch):
    shared.write("phrase", "correct horse\n")
    before = (guarded / KEY).read_bytes()
    assert shared("key", "protect", "--remote", "origin", "--passphrase-file", "phrase").code == 0
    assert (guarded / KEY).read_bytes() != before
    assert not (place / KEY).exists()
    shared("clone", str(place), str(place.parent / "other"), "--keys", str(guarded), code=40)
    monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
    shared("clone", str(place), str(place.parent / "other"), "--keys", str(guarded))


def test_a_check_says_that_it_is_missing(shared, guarded):
    (guarded / KEY).unlink()
    [problem] = shared("fsck", "--remote", "origin", "--json", code=20).json["problems"]
    assert problem["file"] == KEY


def test_a_lost_place_of_the_key_keeps_nobody_from_working_who_has_been_there(shared, clone, guarded):
    shutil.rmtree(guarded)
    shared.write("data/new.txt", "new\n")
    shared.commit("second")
    shared("push")
    clone("pull")
    assert clone.read("data/new.txt") == "new\n"


def test_options_are_for_places_of_one_kind(data, s3_server, guarded):
    s3_server.make_bucket("bucket")
    s3_server.make_bucket("keys")
    options = ["--option", f"endpoint_url={s3_server.url}"]
    data("remote", "add", "origin", "s3://bucket/birds", "--keys", str(guarded), *options)
    data("push")
    assert (guarded / KEY).exists()
    data("remote", "add", "both", "s3://bucket/bees", "--keys", "s3://keys/bees", *options)
    data("push", "both")
    assert list(s3_server.buckets["keys"].versions) == ["bees/keys/repo"]
    assert not [key for key in s3_server.buckets["bucket"].versions if key.endswith(KEY)]
    with pytest.raises(UsageError):
        Repo.open(str(data.root)).add_remote("none", "s3://bucket/x", keys="s3://", options={})


def test_content_is_brought_from_there(shared, place, guarded, capsysbinary):
    shared("clone", "--lazy", str(place), str(place.parent / "light"), "--keys", str(guarded))
    light = Dv(place.parent / "light", capsysbinary)
    assert light("cat", "main:data/a.txt").text == "a\n"
    light("get", "data")
    assert light.read("data/sub/c.txt") == "ccc\n"
