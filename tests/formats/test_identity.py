import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import crypto
from dvtool.errors import FormatError
from dvtool.formats import identity
from dvtool.formats.identity import Recipient

PRIVATE = bytes(range(32))


def test_golden_bytes_say_what_they_said(vector, plain):
    if vector.name == "identity":
        assert [each.hex() for each in identity.decode_identities(vector.data)] == [vector.value]
    else:
        assert [plain(each) for each in identity.decode_recipients(vector.data)] == [vector.value]


def test_a_golden_recipient_belongs_to_its_identity(golden):
    kept = golden("identity", "recipient")
    assert identity.recipient_of(kept.input("identity")).key.hex() == kept.value["key"]


@given(key=st.binary(min_size=32, max_size=32), comment=st.sampled_from(["", "Ada", "Ada Lovelace, Paris", "é" * 100]))
def test_a_recipient_comes_back_as_it_went_in(key, comment):
    made = Recipient(key=key, comment=comment)
    line = identity.encode_recipient(made)
    assert identity.decode_recipient(line) == made
    assert identity.decode_recipients(f"# ours\n\n  {line}  \r\n".encode()) == (made,)


@given(key=st.binary(min_size=32, max_size=32))
def test_an_identity_comes_back_and_its_file_shows_the_recipient(key):
    data = identity.encode_identity(key, "me")
    assert identity.decode_identities(data) == (key,)
    assert identity.encode_recipient(identity.recipient_of(key, "me")) in data.decode()


def test_two_identities_agree_upon_a_key():
    other = bytes(32)
    one = crypto.agree(PRIVATE, crypto.public_key(other), b"salt", b"purpose")
    assert one == crypto.agree(other, crypto.public_key(PRIVATE), b"salt", b"purpose")
    assert one != crypto.agree(other, crypto.public_key(PRIVATE), b"salt", b"another purpose")


def test_any_letter_that_was_mistyped_is_noticed():
    line = identity.encode_recipient(identity.recipient_of(PRIVATE))
    for at in range(len(identity.RECIPIENT), len(line)):
        wrong = "A" if line[at] != "A" else "B"
        with pytest.raises(FormatError, match="mistyped"):
            identity.decode_recipient(line[:at] + wrong + line[at + 1 :])


@pytest.mark.parametrize("change", [lambda line: line[:-1], lambda line: line + "A", lambda line: line + "="])
def test_a_line_of_another_length_is_refused(change):
    with pytest.raises(FormatError, match="mistyped"):
        identity.decode_recipient(change(identity.encode_recipient(identity.recipient_of(PRIVATE))))


def test_a_later_version_is_refused():
    line = identity.encode_recipient(identity.recipient_of(PRIVATE)).replace("-1:", "-2:")
    with pytest.raises(FormatError, match="no recipient"):
        identity.decode_recipient(line)


def test_a_private_key_among_recipients_is_refused_and_not_repeated():
    data = identity.encode_identity(PRIVATE)
    with pytest.raises(FormatError, match="private") as caught:
        identity.decode_recipients(data)
    assert data.split(identity.IDENTITY)[1].strip().decode() not in str(caught.value)


def test_a_recipient_where_an_identity_is_wanted_is_refused():
    with pytest.raises(FormatError, match="no identity"):
        identity.decode_identities(identity.encode_recipient(identity.recipient_of(PRIVATE)).encode())


@pytest.mark.parametrize("comment", ["a\nb", "\x1b[2J", "x" * 201, "é" * 101, " a", "\udc80"])
def test_a_comment_that_could_do_harm_is_refused(comment):
    with pytest.raises(FormatError, match="comment"):
        identity.check_comment(comment)


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"\n\n"])
def test_a_file_that_names_nobody_is_refused(data):
    with pytest.raises(FormatError):
        identity.decode_identities(data)
    with pytest.raises(FormatError):
        identity.decode_recipients(data)


def test_too_many_and_too_much_are_refused():
    one = identity.encode_identity(PRIVATE)
    assert len(identity.decode_identities(one * identity.IDENTITIES_LIMIT)) == identity.IDENTITIES_LIMIT
    with pytest.raises(FormatError, match="100"):
        identity.decode_identities(one * (identity.IDENTITIES_LIMIT + 1))
    with pytest.raises(FormatError, match="too long"):
        identity.decode_recipients(b"#" * (identity.FILE_LIMIT + 1))


@given(data=st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_other_bytes_are_refused_with_our_own_error(data):
    for decode in (identity.decode_identities, identity.decode_recipients):
        for prefix in (b"", identity.RECIPIENT, identity.IDENTITY):
            with contextlib.suppress(FormatError):
                decode(prefix + data)
