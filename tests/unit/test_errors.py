"""Errors as data: what leaves a process comes out of it as it was."""

import msgspec
import pytest

from dvtool import errors
from dvtool.effects import Silence
from dvtool.errors import DvError, IntegrityError
from dvtool.formats import codec
from dvtool.worktree import workers

ALL = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, DvError)]


class _OfItsOwnError(IntegrityError):
    """An error that one module alone tells apart."""


def saying(kind):
    return kind("what", where="where", why="why", next="next", items=("one", "two"))


@pytest.mark.parametrize("kind", ALL)
def test_an_error_comes_back_from_its_data(kind):
    error = saying(kind)
    kept = codec.decode(errors.Voices, codec.encode(error.voices()), what="error")
    assert type(kept.error()) is kind
    assert vars(kept.error()) == vars(error)


def test_every_kind_has_one_class():
    assert len({each.kind for each in ALL}) == len(ALL)
    assert set(errors.KINDS.values()) | {DvError} == set(ALL)


@pytest.mark.parametrize("kind", [*ALL, _OfItsOwnError])
def test_an_error_of_a_worker_is_raised_as_it_was(kind):
    def work(part, _counter):
        if part == "bad":
            raise saying(kind)
        return part

    with pytest.raises(DvError) as caught:
        workers.run(["good", "bad"], work, str, Silence(), clean=lambda _process: None)
    assert caught.value.voices() == saying(kind).voices()
    assert isinstance(saying(kind), type(caught.value))


@pytest.mark.parametrize(("text", "told"), [("caf\udce9", "caf\\xe9"), ("\ud800", "\\ud800"), ("é\0\n", "é\0\n")])
def test_what_an_error_says_can_be_encoded(text, told):
    said = DvError(text, where=text, why=text, next=text, items=(text,)).voices()
    assert {said.what, said.where, said.why, said.next, *said.items} == {told}
    assert msgspec.json.decode(msgspec.json.encode(said))["what"] == told
