"""One file of a place lies at another place, and nothing that stands before either answers for it from memory."""

import pytest

from dvtool.errors import NotFoundError
from dvtool.storage.apart import Apart
from dvtool.storage.disk import Disk
from dvtool.storage.inventory import Inventory
from dvtool.storage.memory import MemoryBackend
from dvtool.storage.mirror import Mirror, mirror_of
from dvtool.storage.wrapping import Wrapper

KEY = "keys/repo"


@pytest.fixture
def below():
    return MemoryBackend()


@pytest.fixture
def elsewhere():
    return MemoryBackend()


@pytest.fixture
def place(below, elsewhere):
    return Apart(below, KEY, elsewhere)


def adopt(place, data):
    path = f"{place.workspace()}/finished"
    with open(path, "xb") as file:
        file.write(data)
    place.adopt(path, KEY)


@pytest.mark.parametrize(
    "write",
    [
        lambda place, data: place.create(KEY, data),
        lambda place, data: place.put(KEY, data),
        lambda place, data: place.replace(KEY, data),
        lambda place, data: place.send(data, KEY),
        adopt,
    ],
)
def test_the_one_file_goes_elsewhere_whichever_way_it_is_written(place, below, elsewhere, write):
    write(place, b"key")
    place.flush()
    assert below.blobs == {}
    assert elsewhere.blobs == {KEY: b"key"}
    assert place.read(KEY) == bytes(place.view(KEY)[:]) == b"key"
    assert place.size(KEY) == 3


def test_what_lies_below_under_its_name_is_never_looked_at(place, below, elsewhere):
    below.put(KEY, b"put there by somebody else")
    assert not place.exists(KEY)
    for ask in (place.read, place.size, place.view, place.modified):
        with pytest.raises(NotFoundError):
            ask(KEY)
    elsewhere.put(KEY, b"key")
    place.delete(KEY)
    assert elsewhere.blobs == {}
    elsewhere.put(KEY, b"key")
    assert place.purge(KEY).versions == 1
    assert below.blobs == {KEY: b"put there by somebody else"}


def test_everything_else_stays_below(place, below, elsewhere):
    place.put("packs/a", b"a")
    place.create("keys/log-a", b"b")
    assert elsewhere.blobs == {}
    assert sorted(below.blobs) == ["keys/log-a", "packs/a"]
    assert list(place.names("keys")) == ["log-a"]


def test_a_mirror_is_found_behind_what_stands_before_it(below, elsewhere, tmp_path):
    mirror = Mirror(Inventory(below), str(tmp_path / "copies"), Disk())
    assert mirror_of(Apart(Wrapper(mirror), KEY, elsewhere)) is mirror
    assert mirror_of(mirror) is mirror
    assert mirror_of(Wrapper(below)) is None
    assert mirror_of(below) is None


def test_a_file_that_is_replaced_is_looked_at_anew_though_its_directory_was_listed(below, tmp_path):
    place = Mirror(Inventory(below), str(tmp_path / "copies"), Disk())
    below.put("keys/repo", b"short")
    below.put("keys/log-a", b"log key")
    assert place.exists("keys/log-a")
    assert place.size(KEY) == 5
    below.put(KEY, b"written over by somebody else")
    assert place.size(KEY) == len(place.read(KEY)) == len(place.view(KEY)) == 29
    below.delete(KEY)
    assert not place.exists(KEY)
    with pytest.raises(NotFoundError):
        place.read(KEY)
