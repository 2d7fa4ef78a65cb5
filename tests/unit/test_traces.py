"""A few words of an erased content are enough to find it again, in whatever disguise it stands in a file."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dvtool.erasure.proving import Sieve
from dvtool.erasure.traces import EACH, SHORTEST, disguised, words_of
from tests.faults.conftest import noise

TEXT = "the diagnosis of number seventeen is nobody\u2019s business, says the one in room n\u00ba 4\n".encode() * 3
FORMS = {
    "as it is": bytes,
    "hexadecimal": lambda content: content.hex().encode(),
    "hexadecimal in capitals": lambda content: content.hex().upper().encode(),
    "Base64": base64.b64encode,
    "Base64 for URLs": base64.urlsafe_b64encode,
    "Base64 in lines": base64.encodebytes,
    "UTF-16": lambda content: content.decode().encode("utf-16-le"),
    "UTF-16 the other way": lambda content: content.decode().encode("utf-16-be"),
}


def sieve_of(*contents):
    words = (word for content in contents for word in words_of(content, EACH))
    return Sieve(dict.fromkeys((text for word in words for text in disguised(word)), "content"))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("before", range(7))
def test_a_content_is_found_in_every_disguise(tmp_path, form, before):
    path = tmp_path / "file"
    for content in (TEXT, "\u8d75\u94b1\u5b59\u674e\u5468\u5434\u90d1\u738b\u51af\u9648".encode() * 20):
        path.write_bytes(b"x" * 100 + form(b"y" * before + content + b"z" * 5) + b"x" * before)
        assert sieve_of(content).found_in(str(path)) == "content"


@pytest.mark.parametrize("form", list(FORMS.values())[:6], ids=list(FORMS)[:6])
def test_so_are_contents_that_are_no_text(tmp_path, form):
    path = tmp_path / "file"
    content = noise(7, 5000)
    path.write_bytes(form(b"." + content))
    assert sieve_of(content).found_in(str(path)) == "content"


def test_a_content_beside_others_is_not_found(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(noise(8, 100_000) + b"number eighteen, of whom nothing is said here, is fine" * 9)
    assert sieve_of(TEXT, noise(7, 5000)).found_in(str(path)) is None


@given(st.binary(max_size=400), st.integers(min_value=1, max_value=EACH))
@example(b"", 1)
@example(bytes(range(32)), 4)
def test_words_stand_in_their_content_and_are_long_enough_to_be_found(content, count):
    words = words_of(content, count)
    assert len(words) <= count
    assert all(word in content and len(word) >= SHORTEST for word in words)
    assert all(len(text) >= SHORTEST for word in words for text in disguised(word))


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 10_000, b"a, b\n" * 2000])
def test_of_what_is_short_or_says_nothing_no_word_is_taken(content):
    assert words_of(content, EACH) == []
