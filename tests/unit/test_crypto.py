import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.crypto import NONCE_SIZE, TAG_SIZE, Sealer, is_signed, sign, verifying_key
from dvtool.errors import IntegrityError

KEY = bytes(range(32))

numbers = st.integers(0, 2**32 - 1)


def test_it_is_the_published_cipher():
    # Test cases 13 and 14 of the GCM specification: AES-256, everything nought.
    sealer = Sealer(bytes(32))
    assert sealer.seal(0, b"", b"").hex() == "530f8afbc74536b9a963b4f1c4cb738b"
    assert sealer.seal(0, bytes(16), b"").hex() == ("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919")


def test_nonces_count_in_little_endian():
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = bytes.fromhex("040302010000000000000000")
    assert len(nonce) == NONCE_SIZE
    assert Sealer(KEY).seal(0x01020304, b"data", b"with") == AESGCM(KEY).encrypt(nonce, b"data", b"with")


@given(number=numbers, data=st.binary(max_size=200), associated=st.binary(max_size=80))
def test_what_is_sealed_opens(number, data, associated):
    sealer = Sealer(KEY)
    sealed = sealer.seal(number, data, associated)
    assert len(sealed) == len(data) + TAG_SIZE
    assert sealer.open(number, sealed, associated) == data
    assert sealer.open(number, memoryview(sealed), associated) == data


@given(number=numbers, data=st.binary(max_size=200), associated=st.binary(max_size=80))
def test_sealing_into_a_buffer_gives_the_same_bytes(number, data, associated):
    buffer = bytearray(len(data) + TAG_SIZE + 10)
    out = memoryview(buffer)[5 : 5 + len(data) + TAG_SIZE]
    Sealer(KEY).seal_into(number, data, associated, out)
    assert bytes(out) == Sealer(KEY).seal(number, data, associated)
    assert bytes(buffer[:5]) == bytes(5) == bytes(buffer[-5:])


@given(
    data=st.binary(max_size=40),
    associated=st.binary(max_size=40),
    at=st.integers(0, 10_000),
    bit=st.integers(0, 7),
)
def test_a_flipped_bit_does_not_open(data, associated, at, bit):
    sealed = bytearray(Sealer(KEY).seal(3, data, associated))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(IntegrityError):
        Sealer(KEY).open(3, bytes(sealed), associated)


def test_another_number_key_or_context_does_not_open():
    sealed = Sealer(KEY).seal(3, b"data", b"context")
    for sealer, number, associated in (
        (Sealer(KEY), 4, b"context"),
        (Sealer(bytes(32)), 3, b"context"),
        (Sealer(KEY), 3, b""),
        (Sealer(KEY), 3, b"contexts"),
    ):
        with pytest.raises(IntegrityError):
            sealer.open(number, sealed, associated)


@pytest.mark.parametrize("length", [0, 1, TAG_SIZE - 1, TAG_SIZE])
def test_bytes_too_short_for_a_tag_do_not_open(length):
    with pytest.raises(IntegrityError):
        Sealer(KEY).open(0, bytes(length), b"")


def test_the_error_shows_neither_key_nor_content():
    with pytest.raises(IntegrityError) as raised:
        Sealer(KEY).open(0, b"some sealed content of a frame", b"")
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert KEY.hex() not in str(raised.value)


SIGNED = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]
"""Tests 1 to 3 of RFC 8032, section 7.1: private key, public key, message, signature."""


@pytest.mark.parametrize(("private", "public", "data", "signature"), SIGNED)
def test_signatures_are_the_published_ones(private, public, data, signature):
    private, public, data, signature = map(bytes.fromhex, (private, public, data, signature))
    assert verifying_key(private) == public
    assert sign(private, data) == signature
    assert is_signed(public, signature, data)


@given(private=st.binary(min_size=32, max_size=32), data=st.binary(max_size=100), at=st.integers(0, 511))
def test_a_signature_is_of_one_key_and_one_text(private, data, at):
    public, signature = verifying_key(private), sign(private, data)
    assert is_signed(public, signature, data)
    assert not is_signed(public, signature, data + b"\0")
    flipped = bytearray(signature)
    flipped[at // 8] ^= 1 << at % 8
    assert not is_signed(public, bytes(flipped), data)
    assert not is_signed(verifying_key(bytes(31) + b"\1"), signature, data) or private == bytes(31) + b"\1"


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), b"\xff" * 32])
def test_what_is_no_key_has_signed_nothing(public):
    assert not is_signed(public, sign(KEY, b"data"), b"data")


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65)])
def test_what_is_no_signature_signs_nothing(signature):
    assert not is_signed(verifying_key(KEY), signature, b"data")
