import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import FormatError
from dvtool.formats import codec, hold, log

ONE = bytes(31) + b"\1"
GOOD = hold.Hold(id=bytes(16), paths=("a", "b/**"), subject="", ground="why", author="", created=5, until=6, nonce=ONE)

names = st.text("ab*?[]!-", min_size=1, max_size=5)
patterns = st.lists(names, max_size=4).map("/".join)


def changed(**changes):
    """A hold, encoded without a look at what it says."""
    return codec.encode(msgspec.structs.replace(GOOD, **changes))


def test_golden_bytes_say_what_they_said(vector, plain):
    assert plain(hold.decode(vector.data)) == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    assert hold.encode(hold.decode(vector.data)) == vector.data


@given(
    held=st.sets(patterns, min_size=1, max_size=4).map(lambda found: tuple(sorted(found)))
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=9),
    ground=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    author=st.text(st.characters(exclude_categories=["Cs"])),
    times=st.tuples(st.integers(0, 2**40), st.none() | st.integers(1, 2**40)),
    nonce=st.binary(min_size=32, max_size=32),
)
def test_a_hold_comes_back_as_it_went_in(held, ground, author, times, nonce):
    created, length = times
    value = hold.Hold(
        id=nonce[:16],
        paths=held if isinstance(held, tuple) else (),
        subject="" if isinstance(held, tuple) else held,
        ground=ground,
        author=author,
        created=created,
        until=None if length is None else created + length,
        nonce=nonce,
    )
    assert hold.decode(hold.encode(value)) == value


@pytest.mark.parametrize(
    "changes",
    [
        {"id": bytes(15)},
        {"id": bytes(32)},
        {"nonce": b""},
        {"nonce": bytes(33)},
        {"paths": ()},
        {"subject": "x"},
        {"paths": (), "subject": "x\0y"},
        {"ground": ""},
        {"ground": "x" * (hold.TEXT_LIMIT + 1)},
        {"author": "x" * (hold.TEXT_LIMIT + 1)},
        {"paths": (), "subject": "x" * (hold.TEXT_LIMIT + 1)},
        {"created": -1},
        {"created": codec.TIME_LIMIT, "until": None},
        {"until": codec.TIME_LIMIT},
        {"until": 5},
        {"until": -1},
        {"paths": ("b", "a")},
        {"paths": ("a", "a")},
        {"paths": ("/a",)},
        {"paths": ("a/",)},
        {"paths": ("a//b",)},
        {"paths": ("a/../b",)},
        {"paths": (".",)},
        {"paths": ("a\0b",)},
        {"paths": ("x" * (hold.PATTERN_LIMIT + 1),)},
        {"paths": tuple(f"{number:05}" for number in range(hold.ITEM_LIMIT + 1))},
        {"paths": tuple(f"{number:04}" + "x" * 4000 for number in range(1100))},
    ],
)
def test_an_impossible_hold_is_refused(changes):
    assert hold.decode(changed()) == GOOD
    with pytest.raises(FormatError):
        hold.decode(changed(**changes))
    with pytest.raises(FormatError):
        hold.encode(msgspec.structs.replace(GOOD, **changes))


def test_what_has_no_encoding_is_refused_before_it_is_written():
    with pytest.raises(FormatError):
        hold.encode(msgspec.structs.replace(GOOD, ground="\ud800"))


def test_two_equal_holds_differ_in_the_nonce_alone_and_so_in_every_id():
    assert hold.encode(GOOD) != hold.encode(msgspec.structs.replace(GOOD, nonce=bytes(32)))


def test_the_ref_of_a_hold_is_one_that_the_log_takes():
    log.check_ref(hold.ref_name(bytes(range(16))))
