import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import FormatError
from dvtool.formats import lock

SNAPSHOT = "0123456789abcdef" * 4

branches = st.lists(st.text("abc-\u00fc\u4e2d", min_size=1, max_size=6), min_size=1, max_size=3).map("/".join)


def text(**changes):
    return json.dumps({"version": 1, "snapshot": SNAPSHOT, "branch": "main"} | changes).encode()


def test_golden_bytes_say_what_they_said(vector, plain):
    assert plain(lock.decode(vector.data)) == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    assert lock.encode(lock.decode(vector.data)) == vector.data


@given(snapshot=st.binary(min_size=32, max_size=32), branch=st.none() | branches)
def test_a_lock_comes_back_as_it_went_in(snapshot, branch):
    value = lock.Lock(version=1, snapshot=snapshot.hex(), branch=branch)
    data = lock.encode(value)
    assert lock.decode(data) == value
    assert json.loads(data) == {"version": 1, "snapshot": snapshot.hex(), "branch": branch}


def test_each_key_has_a_line_of_its_own():
    lines = lock.encode(lock.Lock(version=1, snapshot=SNAPSHOT, branch="main")).splitlines()
    assert [line.split(b'"')[1] for line in lines[1:-1]] == [b"version", b"snapshot", b"branch"]


def test_a_lock_that_was_written_otherwise_is_read_all_the_same():
    assert lock.decode(text()) == lock.Lock(version=1, snapshot=SNAPSHOT, branch="main")
    assert lock.decode(text(later=[1, {"x": None}])) == lock.decode(text())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{" * 1000,
        text(version=0),
        text(version=-1),
        text(version=2),
        text(version=None),
        text(version="1"),
        text(version=1.5),
        text(version=2**70),
        text(snapshot=""),
        text(snapshot=SNAPSHOT[:-1]),
        text(snapshot=SNAPSHOT + "0"),
        text(snapshot=SNAPSHOT.upper()),
        text(snapshot="g" * 64),
        text(snapshot="\uff10" * 64),
        text(snapshot=None),
        text(branch=""),
        text(branch="/"),
        text(branch="a/"),
        text(branch="../main"),
        text(branch="a/../b"),
        text(branch=".git"),
        text(branch="a\x1b[2J"),
        text(branch="a\0b"),
        text(branch="x" * 2000),
        text(branch=1),
        text()[:-1],
        text() + text(),
        text() + b"x",
        b" " * (lock.SIZE_LIMIT + 1),
        text() + b" " * lock.SIZE_LIMIT,
        b'{"x":' + b"[" * 60_000,
        b'{"x":' + b'{"x":' * 12_000,
    ],
)
def test_a_malformed_lock_is_refused(data):
    with pytest.raises(FormatError) as raised:
        lock.decode(data)
    assert raised.value.where == "dv.lock"
    assert raised.value.next


def test_conflict_markers_are_named():
    conflict = text().replace(b'"branch"', b'\n<<<<<<< HEAD\n"branch"')
    with pytest.raises(FormatError) as raised:
        lock.decode(conflict)
    assert "conflict" in raised.value.why


@given(cut=st.data())
def test_no_part_of_a_lock_is_a_lock(cut, golden):
    data = golden("lock", "branch").data.rstrip()
    with pytest.raises(FormatError):
        lock.decode(data[: cut.draw(st.integers(0, len(data) - 1))])
