"""Histories that were expired in one place and not in another: what a push or a fetch reports is really there."""

import os

import pytest

from dvtool.formats import pack
from dvtool.operations import push
from dvtool.sharing import moving
from dvtool.storage.local import LocalBackend
from tests.cli.sharing import change, clone, person, pushed, sound, there, travelling


@pytest.fixture
def one(tmp_path, capsysbinary):
    """A repository with one snapshot and its remote."""
    found = person(tmp_path, "one", capsysbinary)
    found("push")
    return found


@pytest.fixture
def two(one):
    """A clone of it."""
    return clone(one, "two")


def collected(dv, *remote):
    dv("gc", "--grace", "0", *remote)


def checked(dv, name):
    """Check every byte of a remote, and that it can be cloned."""
    assert dv("fsck", "--remote", name, "--full", "--json").json["clean"]
    there(dv, name)


def test_what_a_remote_has_expired_does_not_count_as_there(one, two):
    """Another who has not expired it pushes a branch that begins at it, and shares directories with it."""
    middle = change(one, "x", "data/sub/c.txt")
    one("push")
    two("pull")
    pushed(one, "y")
    one("expire", "--keep-last", "1", "--yes")
    one("gc", "--grace", "0", "--retention", "0")
    one("remote", "add", "short", "../short", "--plain-keys")
    one("push", "short")
    two("checkout", "-b", "old", middle)
    change(two, "z")
    two("remote", "add", "short", "../short")
    two("fetch", "short")
    two("push", "short", "old")
    checked(two, "short")
    three = clone(two, "three", url="../short")
    three("checkout", "origin/old")
    assert three.read("data/sub/c.txt") == "x"


def test_an_object_that_is_left_of_a_history_does_not_stand_for_it(one):
    one("checkout", "-b", "trial")
    change(one, "x")
    one("push", "origin", "main", "trial")
    one("push", "origin", "--delete", "trial")
    collected(one, "--remote", "origin")
    change(one, "y")
    one("expire", "--keep-last", "1", "--yes")
    one("tag", "-d", "none", code=10)
    one("push", "origin", "trial")
    checked(one, "origin")
    assert clone(one, "three").status()["snapshot"]


def test_a_history_that_a_remote_has_expired_is_not_sent_again(one, two):
    for number in range(3):
        pushed(one, f"{number}")
    two("pull")
    one("expire", "--keep-last", "1", "--yes")
    one("remote", "add", "short", "../short", "--plain-keys")
    one("push", "short")
    made = change(two, "more")
    two("remote", "add", "short", "../short")
    assert two("push", "short", "--json").json["objects"] == 4, "a snapshot, two directories, a file"
    assert there(two, "short")["heads/main"] == made
    collected(two, "--remote", "short")
    checked(two, "short")


def test_what_another_brought_meanwhile_is_not_expired_under_it(one, two, monkeypatch):
    """One pushes what lies behind an expired history, while another pushes that history."""
    for number in range(3):
        change(one, f"{number}")
    one("push")
    two("pull")
    one("expire", "--keep-last", "1", "--yes")
    for dv in (one, two):
        dv("remote", "add", "fresh", "../fresh", "--plain-keys")
    one("checkout", "-b", "short")
    one("push", "fresh", "short")  # makes the store
    one("push", "fresh", "--delete", "short")
    collected(one, "--remote", "fresh")
    change(one, "more")
    real = push._Pushing._send
    once: list[bool] = []

    def send(self, shipment, transaction):
        real(self, shipment, transaction)
        if not once:
            once.append(True)
            two("push", "fresh", "main")

    monkeypatch.setattr(push._Pushing, "_send", send)
    one("push", "fresh", "short")
    collected(two, "--remote", "fresh")
    checked(two, "fresh")
    sound(two)


def test_a_remote_that_expired_its_history_can_be_cloned(one, two):
    for number in range(3):
        pushed(one, f"{number}")
    one("expire", "--keep-last", "1", "--yes")
    one("remote", "add", "short", "../short", "--plain-keys")
    one("push", "short")
    two("pull")
    change(two, "more")
    two("remote", "add", "short", "../short")
    two("push", "short")
    collected(two, "--remote", "short")
    three = clone(two, "three", url="../short")
    assert three.read("data/a.txt") == "more"
    sound(three)
    assert len(three("log", "--json").json) == 2


@pytest.fixture
def whole(monkeypatch):
    """Let also the small packs of a test move whole, as large ones do."""
    monkeypatch.setattr(moving, "_TARGETS", {pack.DATA: 1000, pack.METADATA: 1000})


@pytest.mark.usefixtures("whole")
def test_a_torn_pack_at_a_remote_is_sent_again(one, tmp_path):
    """A loss of power can leave one of the right name and length in a directory."""
    for number in range(40):
        one.write(f"data/more/{number}", os.urandom(3000).hex())
    one("add", "data")
    one("commit", "-m", "more")
    store = one.root / ".dv/store/packs"
    largest = max(store.iterdir(), key=lambda path: path.stat().st_size)
    assert largest.read_bytes()[9] == pack.DATA
    (tmp_path / "remote/packs" / largest.name).write_bytes(bytes(largest.stat().st_size))
    one("push")
    checked(one, "origin")


@pytest.mark.usefixtures("whole")
def test_a_pack_that_a_stopped_push_left_is_made_durable(one, tmp_path, monkeypatch):
    for number in range(40):
        one.write(f"data/more/{number}", os.urandom(3000).hex())
    one("add", "data")
    one("commit", "-m", "more")
    store = one.root / ".dv/store/packs"
    largest = max(store.iterdir(), key=lambda path: path.stat().st_size)
    (tmp_path / "remote/packs" / largest.name).write_bytes(largest.read_bytes())
    settled: list[str] = []
    real = LocalBackend.settle

    def settle(self, name):
        settled.append(name)
        real(self, name)

    monkeypatch.setattr(LocalBackend, "settle", settle)
    one("push")
    assert settled == [f"packs/{largest.name}"]


def test_a_lazy_clone_fetches_data_from_other_remotes(one, two):
    change(two, "theirs", "data/theirs.txt")
    two("remote", "add", "other", "../other", "--plain-keys")
    two("push", "other")
    lazy = clone(one, "lazy", "--lazy")
    lazy("remote", "add", "other", "../other")
    lazy("fetch", "other")
    assert lazy("cat", "other/main:data/theirs.txt").out == b"theirs"
    assert "remotes/other/main" in travelling(lazy)
