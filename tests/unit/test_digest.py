import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import digest, ids
from dvtool.formats.repokey import Opened
from dvtool.store.keys import Secrets

KEY = bytes(range(32))
VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "digest" / "v1"


def vector(name):
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def test_ids_are_those_of_the_golden_vector():
    kept = vector("ids")
    hasher = digest.IdHasher(bytes.fromhex(kept["inputs"]["id_key"]))
    content = bytes.fromhex(kept["inputs"]["content"])
    known = kept["value"] | vector("id-of-a-clone")["value"] | vector("id-of-a-hold")["value"]
    assert {name: hasher.id(kind, content).hex() for kind, name in ids.KIND_NAMES.items()} == known


def test_derived_keys_are_those_of_the_golden_vector():
    kept = vector("secrets")
    secret = bytes.fromhex(kept["inputs"]["secret"])
    secrets = Secrets(Opened(secret=secret, wrapping=secret))
    made = {name: getattr(secrets, name) for name in kept["value"]}
    made["wrap"] = secrets.wrap.current
    assert {name: each if name == "seed" else each.hex() for name, each in made.items()} == kept["value"]


def test_hashes_are_those_of_the_golden_vector():
    kept = vector("hashes")
    content = bytes.fromhex(kept["inputs"]["content"])
    assert digest.keyed(bytes.fromhex(kept["inputs"]["key"]), content).hex() == kept["value"]["keyed"]
    assert digest.accident(content).hex() == kept["value"]["accident"]
    assert digest.sealed_name(content).hex() == kept["value"]["sealed_name"]


def test_the_hash_of_nothing_is_the_published_one():
    # The test vectors of the BLAKE3 reference implementation, and of the xxHash specification.
    published_key = b"whats the Elvish word for friend"
    assert digest.sealed_name(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    keyed = "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26"
    assert digest.keyed(published_key, b"").hex() == keyed
    assert digest.derive(published_key, b"").hex() == keyed
    assert digest.accident(b"").hex() == "99aa06d3014798d86001c324468d497f"


@given(data=st.binary(max_size=200))
def test_kinds_never_share_an_id(data):
    hasher = digest.IdHasher(KEY)
    assert len({hasher.id(kind, data) for kind in ids.KIND_NAMES}) == len(ids.KIND_NAMES)


@given(
    data=st.binary(max_size=200),
    keys=st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=2, unique=True),
)
def test_two_repositories_never_share_an_id(data, keys):
    one, two = (digest.IdHasher(key).id(ids.CHUNK, data) for key in keys)
    assert one != two
    assert digest.sealed_name(data) not in {one, two}


@given(data=st.binary(max_size=200))
def test_the_chunk_function_makes_ids_of_chunks(data):
    hasher = digest.IdHasher(KEY)
    assert hasher.chunk_function()(data) == hasher.id(ids.CHUNK, data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_sort_of_buffer_does_not_matter(kind):
    data = kind(b"content")
    hasher = digest.IdHasher(KEY)
    assert hasher.id(ids.CHUNK, data) == hasher.id(ids.CHUNK, b"content")
    assert digest.accident(data) == digest.accident(b"content")
    assert digest.sealed_name(data) == digest.sealed_name(b"content")


@given(pieces=st.lists(st.binary(max_size=50), max_size=6), last=st.binary(max_size=20))
def test_running_hashes_equal_those_of_the_whole(pieces, last):
    hasher = digest.SealedHasher()
    for piece in pieces:
        hasher.update(piece)
    hasher.name_only(last)
    assert hasher.accident() == digest.accident(b"".join(pieces))
    assert hasher.name() == digest.sealed_name(b"".join(pieces) + last)


def test_every_purpose_has_its_own_key():
    purposes = [b"id key", b"wrapping key", b"split key", b"cache key", b"gear seed"]
    made = {digest.derive(KEY, purpose) for purpose in purposes}
    assert len(made) == len(purposes)
    assert all(len(each) == 32 for each in made)


@given(secret=st.binary(min_size=32, max_size=32))
def test_the_seed_fits_a_signed_number_and_is_never_nought(secret):
    assert 0 < Secrets(Opened(secret=secret, wrapping=secret)).seed < 2**63
