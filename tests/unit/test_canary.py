"""Every disguise in which something is looked for, each found as itself."""

import base64
import bz2
import gzip
import io
import json
import lzma
import random
import unicodedata
import zipfile
import zlib
from urllib.parse import quote

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dvtool.testing.canary import Lookout, Wanted, base64_forms

WORD = "Jürgen Ångström/7"
RAW = WORD.encode()
CONTENT = random.Random(4).randbytes(5_000)
NFD = unicodedata.normalize("NFD", WORD)


def lookout(cut=lambda _content: [0], ids=(), **wanted):
    return Lookout(Wanted(**wanted), ids, cut)


def disguises(data, sealed=False, **wanted):
    return {hit.disguise for hit in lookout(**wanted).look(data, sealed=sealed)}


def zipped(data):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", data * 20)
    return sink.getvalue()


DISGUISES = {
    "raw": RAW,
    "hex": RAW.hex().encode(),
    "HEX": RAW.hex().upper().encode(),
    "base64": base64.b64encode(RAW),
    "UTF-16 LE": WORD.encode("utf-16-le"),
    "UTF-16 BE": WORD.encode("utf-16-be"),
    "Latin-1": WORD.encode("latin-1"),
    "JSON": json.dumps(WORD).encode(),
    "percent": quote(WORD).encode(),
    "NFD": NFD.encode(),
    "raw, zstd": zstandard.compress(RAW * 20),
    "raw, gzip": gzip.compress(RAW),
    "raw, zlib": zlib.compress(RAW),
    "raw, bzip2": bz2.compress(RAW),
    "raw, xz": lzma.compress(RAW),
    "raw, deflate in a zip": zipped(RAW),
    "base64, gzip": gzip.compress(base64.b64encode(RAW)),
    "raw, bzip2 in gzip": gzip.compress(bz2.compress(RAW), 0),
}


@pytest.mark.parametrize("name", DISGUISES)
def test_a_word_is_found_in_each_disguise_and_taken_for_no_other(name):
    found = disguises(DISGUISES[name], words=(WORD,))
    # What is compressed so little that it shows through is found twice, and rightly.
    assert name in found
    assert found <= {name, "raw", "raw, zstd"}


@pytest.mark.parametrize("name", sorted(DISGUISES))
def test_a_word_that_is_not_there_is_found_in_no_disguise(name):
    assert disguises(DISGUISES[name], words=("Jurgen Angstrom",)) == set()


def test_a_word_is_found_whichever_way_it_was_composed():
    assert disguises(RAW, words=(NFD,)) == {"NFC"}


def test_escapes_of_json_may_have_capitals():
    text = json.dumps(WORD)
    for digits in ("00fc", "00c5", "00f6"):
        text = text.replace(digits, digits.upper())
    assert disguises(text.encode(), words=(WORD,)) == {"JSON"}


def test_slashes_may_be_escaped_in_json():
    assert disguises(b"data\\/people\\/7", words=("data/people/7",)) == {"JSON"}


@given(st.binary(min_size=8, max_size=60), st.binary(max_size=9), st.binary(max_size=9))
def test_bytes_are_found_in_base64_whatever_stands_around_them(data, before, behind):
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(before + data + behind)
        assert any(form in whole for form in base64_forms(data))


@pytest.mark.parametrize("what", ["raw", "hex", "HEX", "base64"])
def test_a_content_is_found_by_any_large_part_of_it(what):
    dress = {
        "raw": lambda data: data,
        "hex": lambda data: data.hex().encode(),
        "HEX": lambda data: data.hex().upper().encode(),
        "base64": base64.b64encode,
    }[what]
    for start in range(0, 4_000, 333):
        part = CONTENT[start : start + 700]
        assert what in disguises(b"...." + dress(part), contents=(CONTENT,))


def test_a_text_is_found_in_the_disguises_of_texts():
    text = "".join(random.Random(5).choices("abcdeé fgh", k=900))
    data = text[200:600]
    for name, found in (("UTF-16 LE", data.encode("utf-16-le")), ("JSON", json.dumps(data).encode())):
        assert name in disguises(found, contents=(text.encode(),))


def test_a_content_is_found_by_the_beginnings_of_its_chunks():
    long = random.Random(6).randbytes(400_000)
    start = 123_456
    assert disguises(long[start : start + 64], contents=(long,)) == set()
    found = lookout(cut=lambda _content: [0, start], contents=(long,)).look(long[start : start + 64])
    assert [hit.disguise for hit in found] == ["raw"]


def test_zeros_are_nobodys():
    assert disguises(bytes(1_000), contents=(bytes(200_000) + b"a single byte that tells" + bytes(200_000),)) == set()


def test_what_remains_has_nothing_of_the_erased():
    header = CONTENT[:700]
    erased, kept = header + b"1" + CONTENT[1_000:3_000], header + b"2" + CONTENT[3_000:]
    assert disguises(kept, contents=(erased,)) == {"raw"}
    assert disguises(kept, contents=(erased,), kept=(kept,)) == set()
    assert disguises(erased, contents=(erased,), kept=(kept,)) == {"raw"}


def test_short_words_are_not_looked_for_in_sealed_bytes():
    assert disguises(b"..anna..", words=("anna",)) == {"raw"}
    assert disguises(b"..anna..", words=("anna",), sealed=True) == set()
    assert disguises(b"..joanna..", words=("joanna",), sealed=True) == {"raw"}


def test_an_id_is_found_by_its_first_eight_bytes():
    identity = bytes(range(100, 132))
    made = lookout(ids=[("chunk of content 1", identity)], words=("nothing",))
    assert [hit.found for hit in made.look(b".." + identity[:8])] == ["chunk of content 1 646566676869"]
    assert [hit.disguise for hit in made.look(identity.hex().encode())] == ["hex"]
    assert list(made.look(identity[:7])) == []


def test_where_it_was_found_is_told():
    (hit,) = lookout(words=("someone",)).look(b"0123456789 someone")
    assert (hit.found, hit.disguise, hit.offset) == ("word 'someone'", "raw", 11)


def test_what_is_compressed_is_found_in_the_middle_of_something():
    for pack in (gzip.compress, lambda data: zstandard.compress(data * 20)):
        assert disguises(b"\0" * 99 + pack(RAW) + b"behind", words=(WORD,))


@given(st.binary(max_size=200))
def test_bytes_that_only_begin_as_something_compressed_are_no_error(data):
    for magic in (b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08", b"\x78\x9c", b"BZh", b"\xfd7zXZ\0", b"PK\x03\x04"):
        list(lookout(words=(WORD,)).look(magic + data))
