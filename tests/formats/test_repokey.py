import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import digest
from dvtool.errors import DvError, FormatError, KeyAccessError
from dvtool.formats import repokey

REPOSITORY = bytes(15) + b"\1"
SECRET = bytes(range(32))


def with_trailer(body):
    return body + digest.accident(body)


def test_golden_bytes_say_what_they_said(vector):
    assert repokey.decode(vector.data, vector.input("repository")).hex() == vector.value["secret"]


def test_golden_bytes_are_written_again_as_they_were(vector):
    assert repokey.encode(vector.input("repository"), bytes.fromhex(vector.value["secret"])) == vector.data


@given(repository=st.binary(min_size=16, max_size=16), secret=st.binary(min_size=32, max_size=32))
def test_a_secret_comes_back_as_it_went_in(repository, secret):
    data = repokey.encode(repository, secret)
    assert len(data) == repokey.FILE_SIZE
    assert repokey.decode(data, repository) == secret


def test_a_flipped_bit_anywhere_is_noticed():
    good = repokey.encode(REPOSITORY, SECRET)
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1
        with pytest.raises(DvError):
            repokey.decode(bytes(bad), REPOSITORY)


def test_a_changed_secret_is_noticed_even_when_the_checksum_was_made_to_match():
    body = repokey.encode(REPOSITORY, SECRET)[:-16]
    for at in range(len(body)):
        bad = bytearray(body)
        bad[at] ^= 1
        with pytest.raises(DvError):
            repokey.decode(with_trailer(bytes(bad)), REPOSITORY)


def test_no_part_of_a_key_is_a_key():
    good = repokey.encode(REPOSITORY, SECRET)
    for length in range(len(good)):
        with pytest.raises(KeyAccessError):
            repokey.decode(good[:length], REPOSITORY)
    for length in range(len(good) - 16):
        with pytest.raises(DvError):
            repokey.decode(with_trailer(good[:length]), REPOSITORY)
    with pytest.raises(KeyAccessError):
        repokey.decode(good + b"\0", REPOSITORY)


def test_the_key_of_another_repository_is_refused():
    with pytest.raises(KeyAccessError, match="another repository"):
        repokey.decode(repokey.encode(bytes(16), SECRET), REPOSITORY)


@pytest.mark.parametrize(("version", "protection"), [(2, 0), (0, 0), (1, 1), (1, 255)])
@pytest.mark.parametrize("more", [b"", bytes(100)])
def test_a_key_that_is_protected_in_a_way_of_the_future_is_named(version, protection, more):
    body = repokey.encode(REPOSITORY, SECRET)[:-16]
    with pytest.raises(FormatError, match="does not know"):
        repokey.decode(with_trailer(body[:6] + bytes([version, protection]) + body[8:] + more), REPOSITORY)
