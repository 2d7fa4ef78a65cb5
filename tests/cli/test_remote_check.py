"""``dv remote check``: what a place can do is tried, and what follows is said before anybody relies on it."""

import shutil

import pytest

from dvtool.errors import StorageError
from dvtool.storage import probing
from dvtool.storage.local import LocalBackend


@pytest.fixture
def place(data):
    found = data.root.parent / "far/away"
    data("remote", "add", "origin", str(found), "--plain-keys")
    return found


def follows(found, about):
    return [each["text"] for each in found["follows"] if each["about"] == about]


@pytest.fixture
def racy(monkeypatch):
    """Directories in which a second creation writes over the first."""
    monkeypatch.setattr(LocalBackend, "create", LocalBackend.replace)


def test_a_place_without_a_store_is_left_as_it_was(data, place):
    found = data("remote", "check", "--json").json
    assert found["safe"]
    assert not found["store"]["there"]
    assert found["place"]["exclusive"] == "yes"
    assert "the first 'dv push' makes it" in follows(found, "store")[0]
    assert not place.parent.exists()


def test_a_place_with_a_store(data, place):
    data("push")
    before = sorted(path for path in place.rglob("*"))
    found = data("remote", "check", "origin", "--json").json
    assert found["store"]["opens"]
    assert found["store"]["version"] == 1
    assert follows(found, "erasure") == ["what is deleted there is gone at once, as far as the place tells"]
    assert sorted(path for path in place.rglob("*")) == before
    assert "exclusive creation: yes" in data("remote", "check").text


def test_a_place_that_cannot_keep_writers_apart_is_refused(data, place, racy):
    found = data("remote", "check", "--json", code=1).json
    assert not found["safe"]
    assert "lose each other's work" in follows(found, "safety")[0]
    error = data("push", "--json", code=12).error
    assert "--single-writer" in error["next"]
    assert not place.exists()


def test_for_a_single_writer_it_will_do(data, place, racy):
    data("remote", "remove", "origin")
    data("remote", "add", "origin", str(place), "--plain-keys", "--single-writer")
    assert data("remote", "check", "--json").json["safe"]
    data("push")


def test_another_repository(data, place):
    data("push")
    (data.root.parent / "other").mkdir()
    data("init", at="../other")
    data("remote", "add", "origin", str(place), "--plain-keys", at="../other")
    found = data("remote", "check", "--json", at="../other", code=1).json
    assert found["store"]["why"] == "the remote holds another repository"


def test_a_store_that_is_gone(data, place):
    data("push")
    shutil.rmtree(place)
    assert not data("remote", "check", "--json", code=1).json["safe"]


def test_what_follows_from_what_a_place_keeps(data, place, monkeypatch):
    def examine(_backend, *, clock, entropy):
        return probing.Findings(
            reachable="yes",
            reading="yes",
            listing="yes",
            writing="yes",
            deleting="no: denied",
            exclusive="yes",
            versioning="suspended",
            soft_delete="7 days",
            lock="unknown: denied",
            skew=-2 * 86_400_000_000,
        )

    monkeypatch.setattr(probing, "examine", examine)
    found = data("remote", "check", "--json").json
    assert len(follows(found, "erasure")) == 4
    assert "collects nothing" in follows(found, "clock")[0]


def test_a_place_that_is_not_reached(data, place, monkeypatch):
    real = LocalBackend.exists

    def exists(self, name):
        if name.startswith("acks/"):
            raise StorageError("it does not answer")
        return real(self, name)

    monkeypatch.setattr(LocalBackend, "exists", exists)
    assert data("remote", "check", "--json", code=30).error["why"] == "it does not answer"


def test_no_remote(data):
    assert data("remote", "check", "--json", code=10).error["kind"] == "not-found"


def test_a_place_where_nothing_can_be_written(data, place):
    place.parent.write_text("a file is in the way")
    found = data("remote", "check", "--json", code=1).json
    assert found["place"]["writing"].startswith("no: ")
    assert any("nothing can be pushed" in text for text in follows(found, "safety"))
    assert place.parent.read_text() == "a file is in the way"
