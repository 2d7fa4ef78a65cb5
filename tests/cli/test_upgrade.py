"""``dv upgrade``: a store of this version needs nothing, and one that is newer is refused."""

import msgspec
import pytest

from dvtool import digest
from dvtool.formats import codec, storeformat
from dvtool.repo import Repo


def with_format(dv, **changes):
    place = dv.root / ".dv/store/format"
    value = storeformat.decode(place.read_bytes())
    place.write_bytes(storeformat.encode(msgspec.structs.replace(value, **changes)))


def files(dv):
    return {path: path.read_bytes() for path in sorted((dv.root / ".dv/store").rglob("*")) if path.is_file()}


def test_a_store_of_this_version_needs_nothing_and_stays_as_it_is(data):
    before = files(data)
    version = storeformat.VERSION
    assert data("upgrade", "--json").json == {"from": version, "to": version, "changed": False}
    assert data("upgrade").text == (
        f"nothing to do: the store has version {version} of the format, the newest that this dv knows\n"
    )
    assert files(data) == before
    assert Repo.open(str(data.root)).upgrade().changed is False


@pytest.mark.parametrize("changes", [{"version": storeformat.VERSION + 1}, {"flags": ("later",)}], ids=str)
def test_a_newer_store_is_refused_in_the_words_of_every_command(data, changes):
    with_format(data, **changes)
    before = files(data)
    error = data("upgrade", "--json", code=21).error
    assert error == data("log", "--json", code=21).error
    assert error["what"] == "this store was made by a newer dv"
    assert error["next"] == "upgrade dv: pip install --upgrade dvtool"
    assert files(data) == before


def test_a_store_whose_format_holds_something_else_is_told_as_newer(data):
    later = storeformat.MAGIC + codec.encode({"version": storeformat.VERSION + 1, "other": ["things"]})
    (data.root / ".dv/store/format").write_bytes(later + digest.accident(later))
    assert "newer dv" in data("upgrade", "--json", code=21).error["what"]


def test_a_version_that_never_was_is_21(data):
    with_format(data, version=0)
    assert "impossible" in data("upgrade", "--json", code=21).error["what"]


def test_outside_of_a_repository_it_is_10(empty):
    empty("upgrade", code=10)
