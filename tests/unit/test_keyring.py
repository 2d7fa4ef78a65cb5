"""The keys of erasures that some remote has not had yet."""

import os
import stat

import pytest

from dvtool.erasure import journal, keyring
from dvtool.errors import FormatError, StorageError
from dvtool.storage.disk import Disk

ONE, TWO = b"1" * 16, b"2" * 16


@pytest.fixture
def store(tmp_path):
    return f"{tmp_path}/store"


def test_nothing_is_kept_at_first(store):
    assert keyring.keys(store) == {}


def test_a_key_is_kept_until_every_remote_has_had_the_erasure(store):
    keyring.keep(store, ONE, b"k" * 32, ["origin", "backup"], Disk())
    keyring.keep(store, TWO, b"l" * 32, ["origin"], Disk())
    place = f"{os.path.dirname(store)}/erasure-keys"
    assert stat.S_IMODE(os.stat(place).st_mode) == 0o600
    configured = {"origin", "backup"}
    keyring.settle(store, "origin", {ONE}, configured, Disk())
    assert keyring.keys(store) == {ONE: b"k" * 32, TWO: b"l" * 32}
    keyring.settle(store, "origin", {ONE, TWO}, configured, Disk())
    assert keyring.keys(store) == {ONE: b"k" * 32}
    keyring.settle(store, "backup", {ONE}, configured, Disk())
    assert not os.path.lexists(place)


def test_a_remote_that_is_there_no_more_is_not_waited_for(store):
    keyring.keep(store, ONE, b"k" * 32, ["gone"], Disk())
    keyring.settle(store, "origin", set(), {"origin"}, Disk())
    assert keyring.keys(store) == {}


def test_without_remotes_nothing_is_kept(store):
    keyring.keep(store, ONE, b"k" * 32, [], Disk())
    assert not os.path.lexists(f"{os.path.dirname(store)}/erasure-keys")
    keyring.keep(store, ONE, b"k" * 32, ["origin"], Disk())
    keyring.keep(store, ONE, b"k" * 32, [], Disk())
    assert keyring.keys(store) == {}


def test_what_is_malformed_is_refused(store, tmp_path):
    (tmp_path / "erasure-keys").write_bytes(b"\xc1")
    with pytest.raises(FormatError):
        keyring.keys(store)


@pytest.mark.parametrize("reader", [keyring.read, journal.read])
def test_a_pipe_in_its_place_keeps_nobody_waiting(store, reader):
    for name in ("erasure-keys", "erasing"):
        os.mkfifo(f"{os.path.dirname(store)}/{name}")
    with pytest.raises(StorageError, match="refused"):
        reader(store)
