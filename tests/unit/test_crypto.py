import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.crypto import NONCE_SIZE, TAG_SIZE, Sealer
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
