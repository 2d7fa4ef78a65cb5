"""Which clone this is: kept, moved, copied, and asked for by several at once."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from dvtool.effects import SystemEntropy
from dvtool.storage.disk import Disk
from dvtool.worktree import clones
from dvtool.worktree.clones import Told

STORE = bytes(16)


def made(place, edit=lambda own: own, on="machine"):
    return clones.change(str(place), SystemEntropy(), Disk(), edit, on=on)


def told(own):
    return msgspec.structs.replace(own, days=7).having_told(STORE, Told(record="ab", expires=5, acknowledged=("x y",)))


@pytest.fixture
def place(tmp_path):
    found = tmp_path / "here" / ".dv"
    found.mkdir(parents=True)
    return found


def test_a_clone_has_one_id_and_knows_what_it_has_told(place):
    own = made(place, told)
    assert clones.read(str(place), on="machine") == own
    assert made(place) == own
    assert own.told(STORE).acknowledged == ("x y",)
    assert own.told(b"another store 16") == Told()
    assert os.listdir(place) == ["clone"]


def test_nothing_is_made_by_who_only_looks(place):
    assert clones.read(str(place), on="machine") is None
    assert os.listdir(place) == []


def test_the_file_says_nothing_of_the_machine_or_the_place(place):
    made(place, on="a-machine-id")
    text = (place / "clone").read_text()
    assert "a-machine-id" not in text
    assert "here" not in text


def test_a_directory_that_was_moved_is_the_same_clone(place, tmp_path):
    own = made(place, told)
    os.rename(tmp_path / "here", tmp_path / "there")
    found = clones.read(str(tmp_path / "there" / ".dv"), on="machine")
    assert found is not None
    assert found.id == own.id


def test_a_directory_that_was_put_back_from_a_copy_is_the_same_clone(place, tmp_path):
    own = made(place)
    shutil.copytree(tmp_path / "here", tmp_path / "kept")
    shutil.rmtree(tmp_path / "here")
    shutil.copytree(tmp_path / "kept", tmp_path / "here")
    assert made(place).id == own.id


def test_a_copy_gets_an_id_of_its_own_and_has_told_nobody_anything(place, tmp_path):
    own = made(place, told)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    there = tmp_path / "there" / ".dv"
    assert clones.read(str(there), on="machine") is None
    copy = made(there)
    assert copy.id != own.id
    assert copy.stores == {}
    assert copy.days == 7
    assert made(there) == copy
    assert made(place) == own


def test_the_same_place_on_another_machine_is_another_clone(place):
    own = made(place)
    assert made(place, on="another machine").id != own.id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"version":1}',
        '{"version":2,"id":"%s","place":"%s","directory":"%s"}',
        '{"version":1,"id":"x","place":"%s","directory":"%s"}',
        '{"version":1,"id":"%s","place":"%s","directory":"%s","stores":{"00":{"record":"zz"}}}',
        "\xff",
    ],
)
def test_a_malformed_file_is_that_of_no_clone(place, text):
    own = made(place)
    parts = (own.id, own.place, own.directory)
    filled = text % parts[3 - text.count("%s") :] if "%s" in text else text
    (place / "clone").write_bytes(filled.encode("latin-1"))
    assert clones.read(str(place), on="machine") is None
    assert made(place).id != own.id


def test_of_many_who_ask_at_once_all_get_one_id(place):
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _number: made(place).id, range(64)))
    assert len(set(found)) == 1


def test_what_two_tell_at_once_is_all_remembered(place):
    def tell(number):
        made(place, lambda own: own.having_told(bytes([number]) * 16, Told(expires=number)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tell, range(32)))
    assert {own.expires for own in made(place).stores.values()} == set(range(32))


def test_this_machine_is_known_by_something_that_stays():
    assert clones.machine() == clones.machine() != ""
