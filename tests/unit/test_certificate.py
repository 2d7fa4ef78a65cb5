"""Certificates of erasures: what they say, and that nobody changes it unnoticed."""

import contextlib
import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import crypto
from dvtool.erasure import certificate
from dvtool.errors import IntegrityError
from dvtool.formats import erasure

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "erasure" / "v1"
KEY = bytes(range(32))
ELSE = bytes(31) + b"\1"


@pytest.fixture
def workspace(repo):
    return repo.workspace


def record():
    return erasure.decode((VECTORS / "everything.bin").read_bytes())


def bare():
    return msgspec.structs.replace(record(), certificate=b"")


def signed(document, key=KEY):
    """A certificate that says this."""
    whole = {**document, "clone": crypto.verifying_key(key).hex()}
    whole[certificate.SIGNATURE] = crypto.sign(key, certificate.canonical(whole)).hex()
    return msgspec.json.format(msgspec.json.encode(whole), indent=2)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
documents = st.dictionaries(st.text(max_size=5), values, max_size=5)


def test_what_is_signed_is_the_document_with_sorted_keys_and_nothing_between(workspace):
    text = certificate.certified(workspace, bare()).certificate
    document = json.loads(text)
    del document["signature"]
    plain = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert certificate.canonical(json.loads(text)) == plain


@given(documents)
def test_the_order_of_keys_and_the_signature_are_no_part_of_what_is_signed(document):
    turned = dict(reversed(document.items()))
    assert certificate.canonical({**turned, "signature": "x"}) == certificate.canonical(document | {"signature": "y"})


@given(documents)
def test_what_a_clone_signed_is_genuine_however_it_is_laid_out(document):
    text = signed(document)
    assert certificate.is_genuine(text)
    again = json.loads(text)
    for options in ({}, {"indent": 1, "sort_keys": True}, {"ensure_ascii": False}):
        assert certificate.is_genuine(json.dumps(again, **options).encode())


def test_a_certificate_in_which_anything_is_changed_is_not_genuine(workspace):
    text = certificate.certified(workspace, bare(), "R-1", "Art. 17").certificate
    document = json.loads(text)
    assert certificate.is_genuine(text)
    for name, value in document.items():
        other = dict(document)
        del other[name]
        assert not certificate.is_genuine(json.dumps(other).encode()), name
        for changed in (None, "", "0", 1, [], not value, f"{value} ", [value]):
            if changed != value or type(changed) is not type(value):
                assert not certificate.is_genuine(json.dumps({**document, name: changed}).encode()), (name, changed)
    assert not certificate.is_genuine(json.dumps({**document, "more": 1}).encode())
    document["places"][0]["done"] = not document["places"][0]["done"]
    assert not certificate.is_genuine(json.dumps(document).encode())


def test_a_certificate_that_says_two_things_is_not_genuine():
    text = signed({"files": 3, "places": [{"name": "here", "done": False}]})
    assert certificate.is_genuine(text)
    assert not certificate.is_genuine(text.replace(b'"files": 3', b'"files": 9, "files": 3'))
    assert not certificate.is_genuine(text.replace(b'"done": false', b'"done": true, "done": false'))
    assert not certificate.is_genuine(text.replace(b'"files": 3', b'"files": 9, "\\u0066iles": 3'))


def test_a_signature_has_one_form():
    text = signed({"files": 3})
    document = json.loads(text)
    for other in (document["signature"].upper(), " " + document["signature"], document["signature"][:-2]):
        assert not certificate.is_genuine(json.dumps({**document, "signature": other}).encode())


def test_the_signature_of_one_clone_is_not_that_of_another():
    document = json.loads(signed({"files": 3}))
    other = json.loads(signed({"files": 3}, ELSE))
    assert not certificate.is_genuine(json.dumps({**document, "signature": other["signature"]}).encode())
    assert not certificate.is_genuine(json.dumps({**document, "clone": other["clone"]}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b"{",
        b"\xff",
        b'{"a": "\xff"}',
        b'{"a": ' * 5000,
        b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=range(10),
)
def test_what_is_no_json_object_is_no_certificate(data):
    with pytest.raises(IntegrityError):
        certificate.is_genuine(data)


@given(documents | st.fixed_dictionaries({"clone": values, "signature": values}))
def test_a_document_that_nobody_signed_is_not_genuine(document):
    assert not certificate.is_genuine(json.dumps(document).encode())


@given(st.binary(max_size=60))
def test_noise_raises_only_our_error(data):
    with contextlib.suppress(IntegrityError):
        assert not certificate.is_genuine(data)


@pytest.mark.parametrize(
    "number", ["123456789012345678901234567890", "-99999999999999999999", "1e300", "18446744073709551615"]
)
def test_numbers_of_any_length_are_no_reason_to_fall(number):
    text = b'{"clone": "00", "signature": "00", "files": ' + number.encode() + b"}"
    assert not certificate.is_genuine(text)


def test_a_certificate_says_what_the_record_does_and_names_nothing_that_is_gone(workspace):
    found = certificate.certified(workspace, bare(), "R-1", "Art. 17 \u00a7 1")
    document = certificate.parsed(found.certificate)
    assert msgspec.structs.replace(found, certificate=b"") == bare()
    assert document["erasure"] == found.id.hex()
    assert document["clone"] == crypto.verifying_key(certificate.signing_key(workspace)).hex()
    assert (document["request"], document["ground"]) == ("R-1", "Art. 17 \u00a7 1")
    assert (document["files"], document["contents"], document["snapshots"]) == (12, 7, 2)
    assert document["finished"] == "2025-06-15T15:06:42.000000Z"
    assert document["successors"] == [each.hex() for each in found.successors]
    assert [each["decision"] for each in document["models"]] == ["open", "retrain"]
    assert document["outstanding"] == certificate.outstanding(found)
    assert not any("size" in name or "byte" in name for name in document)


def test_a_certificate_that_is_made_anew_keeps_request_and_ground(workspace):
    first = certificate.certified(workspace, bare(), "R-1", "Art. 17")
    again = certificate.certified(workspace, msgspec.structs.replace(first, revision=9))
    document = certificate.parsed(again.certificate)
    assert (document["request"], document["ground"], document["revision"]) == ("R-1", "Art. 17", 9)
    assert certificate.is_genuine(again.certificate)


def test_what_is_outstanding_is_what_is_left_what_is_not_done_and_what_nobody_decided():
    places = (
        erasure.Place(name="here", done=True),
        erasure.Place(name="there", done=False),
        erasure.Place(name="far", done=False, left=("locked", "away")),
    )
    found = msgspec.structs.replace(record(), places=places)
    assert certificate.outstanding(found) == [
        "far: locked",
        "far: away",
        "there: not done",
        f"run {found.decisions[0].run}: nobody has decided what becomes of what it made",
    ]
    decided = msgspec.structs.replace(found, places=places[:1], decisions=found.decisions[1:])
    assert certificate.outstanding(decided) == []


def test_a_clone_has_one_key_of_its_own_for_its_owner_only(workspace):
    key = certificate.signing_key(workspace)
    path = certificate.key_path(workspace.session.layout.store())
    assert certificate.signing_key(workspace) == key
    assert Path(path).read_bytes() == key
    assert os.stat(path).st_mode & 0o077 == 0
    assert not path.startswith(workspace.session.layout.store() + "/")


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33)])
def test_a_damaged_key_is_named_and_not_replaced(data, workspace):
    path = Path(certificate.key_path(workspace.session.layout.store()))
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="signing key"):
        certificate.signing_key(workspace)
    assert path.read_bytes() == data
