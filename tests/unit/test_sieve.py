"""What is searched for after an erasure is found wherever it stands."""

import pytest

from dvtool import digest
from dvtool.erasure.proving import Sieve

IDS = [digest.keyed(bytes(32), bytes([number])) for number in range(5)]
STEP = 24 << 15
"""Bytes that are read at once."""


def sieve_for(identities):
    return Sieve({text: "an id" for each in identities for text in (each, each.hex().encode())})


@pytest.mark.parametrize("form", [bytes, lambda identity: identity.hex().encode()])
@pytest.mark.parametrize("start", [0, STEP - 40, 2 * STEP - 64])
def test_an_id_is_found_at_every_place(tmp_path, form, start):
    path = tmp_path / "file"
    sieve = sieve_for(IDS)
    for at in range(start, start + 70):
        for after in (b"", b"x", b"y" * 100):
            path.write_bytes(b"\0" * at + form(IDS[at % 5]) + after)
            assert sieve.found_in(str(path)) == "an id", at


def test_what_only_begins_like_an_id_is_not_found(tmp_path):
    path = tmp_path / "file"
    for length in range(32):
        path.write_bytes(b"".join(b"." * 24 + each[:length] for each in IDS))
        assert not sieve_for(IDS).found_in(str(path))


def test_a_file_that_is_not_there_holds_nothing(tmp_path):
    assert not sieve_for(IDS).found_in(str(tmp_path / "none"))
