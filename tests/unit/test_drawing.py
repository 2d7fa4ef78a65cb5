"""Nonces and tokens that all who can open a locator arrive at, and nobody else."""

from hypothesis import given
from hypothesis import strategies as st

from dvtool.erasure.drawing import Draw

KEY = bytes(range(32))
KEYS = st.binary(min_size=32, max_size=32)
PARENTS = (bytes([7]) * 32,)
TIME = 1_700_000_000_000_000


def test_what_is_drawn_stays_as_it_was_specified():
    draw = Draw(KEY)
    assert (
        draw.nonce(bytes(range(32, 64)), PARENTS, TIME).hex()
        == "871b5a48a187b980eda6139f31ed2037c525c0841309179b0c5c10792127f578"
    )
    assert (
        draw.nonce(bytes(32), "20261128-061653-akndvybw39").hex()
        == "1ed18a1f3c66c7e6b661743573af40040b4c075bb93253b113b82055b6996a7f"
    )
    assert draw.token(bytes(range(64, 96))).hex() == "bdcad6c2c40cc46bd28243b7aaf2dff863d58b8b6f24145ec0309aa6b09c9b25"


@given(KEYS, KEYS, KEYS)
def test_the_order_of_erasures_does_not_matter(old, first, second):
    one = Draw(second).nonce(Draw(first).nonce(old, PARENTS, TIME), PARENTS, TIME)
    other = Draw(first).nonce(Draw(second).nonce(old, PARENTS, TIME), PARENTS, TIME)
    assert one == other


@given(KEYS)
def test_objects_are_not_masked_alike(key):
    draw = Draw(key)
    zero = bytes(32)
    masks = {draw.nonce(zero, PARENTS, TIME), draw.nonce(zero, PARENTS, TIME + 1), draw.nonce(zero, (), TIME)}
    masks |= {draw.nonce(zero, "20261128-061653-akndvybw39"), draw.token(zero), zero}
    assert len(masks) == 6


@given(KEYS, KEYS)
def test_equal_fingerprints_stay_equal_and_others_differ(one, other):
    draw = Draw(KEY)
    assert (draw.token(one) == draw.token(other)) == (one == other)
