import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import FormatError
from dvtool.formats import stage

ONE = bytes(31) + b"\1"
identities = st.binary(min_size=32, max_size=32)


def changed(**changes):
    good = stage.Stage(tree=ONE, roots=("a",), merging=(), nonce=ONE)
    return stage.encode(msgspec.structs.replace(good, **changes))


def test_golden_bytes_say_what_they_said(vector, plain):
    assert plain(stage.decode(vector.data)) == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    assert stage.encode(stage.decode(vector.data)) == vector.data


@given(
    tree=identities,
    roots=st.sets(st.text("abc", min_size=1, max_size=4)).map(lambda roots: tuple(sorted(roots))),
    merging=st.lists(identities, max_size=2).map(tuple),
    nonce=identities,
)
def test_a_stage_comes_back_as_it_went_in(tree, roots, merging, nonce):
    value = stage.Stage(tree=tree, roots=roots, merging=merging, nonce=nonce)
    assert stage.decode(stage.encode(value)) == value


@pytest.mark.parametrize(
    "changes",
    [
        {"tree": b""},
        {"tree": bytes(33)},
        {"merging": (b"short",)},
        {"nonce": b""},
        {"nonce": bytes(33)},
        {"roots": ("..",)},
        {"roots": (".git",)},
        {"roots": ("b", "a")},
        {"roots": ("a", "a/b")},
    ],
)
def test_an_impossible_stage_is_refused(changes):
    stage.decode(changed())
    with pytest.raises(FormatError):
        stage.decode(changed(**changes))
