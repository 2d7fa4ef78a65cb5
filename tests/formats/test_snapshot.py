import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import paths
from dvtool.errors import FormatError
from dvtool.formats import codec, snapshot

ONE = bytes(31) + b"\1"

parts = st.text("abc\u00fc .", min_size=1, max_size=4).filter(
    lambda part: part not in {".", ".."} and not paths.is_reserved(part)
)
identities = st.binary(min_size=32, max_size=32)
snapshots = st.builds(
    snapshot.Snapshot,
    root=identities,
    roots=st.sets(st.lists(parts, min_size=1, max_size=3).map("/".join), max_size=4).map(
        lambda roots: tuple(
            sorted(root for root in roots if not any(parent in roots for parent in paths.parents(root)))
        )
    ),
    parents=st.lists(identities, max_size=3).map(tuple),
    author=st.text(max_size=20),
    time=st.integers(0, codec.TIME_LIMIT - 1),
    message=st.text(max_size=20),
    files=st.integers(0, 2**63),
    size=st.integers(0, 2**63),
    nonce=identities,
    settings=st.just(()),
    sections=st.just({}),
)


def good():
    return snapshot.Snapshot(
        root=ONE,
        roots=("data", "models"),
        parents=(ONE,),
        author="A",
        time=1,
        message="m",
        files=2,
        size=3,
        nonce=ONE,
        settings=((".dvignore", ONE, 1), ("dv.toml", ONE, 0)),
    )


def changed(**changes):
    return snapshot.encode(msgspec.structs.replace(good(), **changes))


def test_golden_bytes_say_what_they_said(vector, plain):
    assert plain(snapshot.decode(vector.data)) == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    assert snapshot.encode(snapshot.decode(vector.data)) == vector.data


@given(value=snapshots)
def test_a_snapshot_comes_back_as_it_went_in(value):
    assert snapshot.decode(snapshot.encode(value)) == value


@pytest.mark.parametrize(
    "changes",
    [
        {"root": b""},
        {"root": bytes(31)},
        {"root": bytes(33)},
        {"parents": (ONE, b"short")},
        {"parents": (ONE,) * (snapshot.PARENT_LIMIT + 1)},
        {"nonce": b""},
        {"nonce": bytes(31)},
        {"files": -1},
        {"size": -1},
        {"time": -1},
        {"time": codec.TIME_LIMIT},
        {"time": 2**64 - 1},
        {"message": "x" * (snapshot.TEXT_LIMIT + 1)},
        {"author": "x" * (snapshot.TEXT_LIMIT + 1)},
        {"settings": (("../../.bashrc", ONE, 1),)},
        {"settings": (("/etc/passwd", ONE, 1),)},
        {"settings": (("dv.lock", ONE, 1),)},
        {"settings": (("dv.toml", ONE, 1), ("dv.toml", ONE, 1))},
        {"settings": (("dv.toml", b"short", 1),)},
        {"settings": (("dv.toml", ONE, -1),)},
    ],
)
def test_an_impossible_snapshot_is_refused(changes):
    assert snapshot.decode(changed()) == good()
    with pytest.raises(FormatError):
        snapshot.decode(changed(**changes))


@pytest.mark.parametrize(
    "roots",
    [
        ("..",),
        (".",),
        ("a/../b",),
        ("../a",),
        ("/",),
        ("/etc",),
        ("a/",),
        ("a//b",),
        ("a\0b",),
        (".git",),
        ("a/.git",),
        (".GIT/hooks",),
        (".g\u200cit",),
        ("git~1",),
        (".dv",),
        ("a/.DV/store",),
        ("b", "a"),
        ("a", "a"),
        ("a", "a/b"),
        ("a", "a/b/c"),
        ("", "a"),
        ("a-", "a", "a/b"),
        ("dv.toml",),
        ("dv.lock",),
        (".dvignore",),
    ],
)
def test_impossible_tracked_roots_are_refused(roots):
    with pytest.raises(FormatError):
        snapshot.decode(changed(roots=roots))


def test_roots_beside_each_other_are_taken():
    roots = ("a", "a-b", "a.b/c", "ab")
    assert snapshot.decode(changed(roots=roots)).roots == roots


def test_very_many_tracked_roots_cost_little():
    roots = tuple(f"{i:06}/a/b/c" for i in range(50_000))
    data = changed(roots=roots)
    start = time.perf_counter()
    snapshot.decode(data)
    assert time.perf_counter() - start < 5
