"""What is kept of a stream: its beginning, its end, no secret, and no matter how much there is."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.capture.redaction import HIDDEN, Redactor
from dvtool.capture.streams import HEAD, LINE, TAIL, Keeper, kept

GAP = b"\n[... what stood here was not kept ...]\n"
KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEowIBAAKCAQEAx1y2z3\n" * 20 + "-----END RSA PRIVATE KEY-----\n"


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "stdout")


def fed(path, pieces, **options):
    keeper = Keeper(path, Redactor({}), **options)
    for piece in pieces:
        keeper.feed(piece)
    keeper.finish()
    return kept(path)


def lines(count, start=0):
    return [f"line {number:09}\n".encode() for number in range(start, start + count)]


def test_nothing_is_kept_of_nothing(path):
    assert fed(path, []) == b""


def test_a_last_line_without_an_end_is_kept(path):
    assert fed(path, [b"one\n", b"two"]) == b"one\ntwo"


@given(st.lists(st.binary(max_size=200).map(lambda data: data.decode("utf-8", "replace").encode()), max_size=30))
def test_what_is_short_is_kept_as_it_was(tmp_path_factory, pieces):
    whole = b"".join(pieces)
    found = fed(str(tmp_path_factory.mktemp("stream") / "stdout"), pieces)
    assert found.decode("utf-8", "replace") == whole.decode("utf-8", "replace")


def test_what_fits_into_head_and_end_has_no_gap(path):
    data = b"".join(lines((HEAD + TAIL) // 15))
    assert fed(path, [data[at : at + 4000] for at in range(0, len(data), 4000)]) == data


def test_of_what_is_long_the_beginning_and_the_end_are_kept(path):
    data = b"".join(lines(400_000))
    found = fed(path, [data[at : at + 65_536] for at in range(0, len(data), 65_536)])
    head, gap, tail = found.partition(GAP)
    assert gap
    assert data.startswith(head)
    assert data.endswith(tail)
    assert HEAD - LINE <= len(head) <= HEAD
    assert TAIL <= len(tail) <= 2 * TAIL
    assert tail.startswith(b"line ")


def test_the_end_so_far_is_there_before_the_stream_ends(path):
    now = [0.0]
    keeper = Keeper(path, Redactor({}), clock=lambda: now[0])
    keeper.feed(b"".join(lines(100_000)))
    now[0] += 10
    keeper.feed(b"the last word\n")
    assert kept(path).endswith(b"the last word\n")


def test_what_comes_faster_than_it_can_be_looked_at_is_thrown_away_unread(path):
    looked = []

    class Counting(Redactor):
        def text(self, text):
            looked.append(len(text))
            return super().text(text)

    keeper = Keeper(path, Counting({}), clock=lambda: 0.0)
    data = b"".join(lines(10_000))
    for _round in range(200):
        keeper.feed(data)
    keeper.finish()
    assert sum(looked) < HEAD + 5 * TAIL


@pytest.mark.parametrize("before", [0, HEAD // 15 + 1000, (HEAD + 8 * TAIL) // 15])
def test_a_key_over_several_lines_is_hidden(path, before):
    pieces = [*lines(before), *(line.encode() + b"\n" for line in KEY.splitlines()), b"after\n"]
    found = fed(path, pieces)
    assert b"MIIEowIBAAKCAQEAx1y2z3" not in found
    assert HIDDEN.encode() in found
    assert found.endswith(b"after\n")


def test_a_key_of_which_the_beginning_is_thrown_away_is_hidden(path):
    begin, *rest = KEY.splitlines()
    body = [line.encode() + b"\n" for line in rest[:-1]] * 40_000
    found = fed(path, [*lines(HEAD // 15 + 10), begin.encode() + b"\n", *body])
    assert b"MIIEowIBAAKCAQEAx1y2z3" not in found


def test_a_long_line_is_looked_at_in_pieces(path):
    assert fed(path, [b"x" * 1000] * (LINE // 1000 + 10)) == b"x" * 1000 * (LINE // 1000 + 10)


def test_a_carriage_return_ends_a_line(path):
    keeper = Keeper(path, Redactor({}))
    keeper.feed(b"10 %\r20 %\r")
    assert kept(path) == b"10 %\r20 %\r"


def test_a_full_disk_costs_what_was_printed_and_nothing_else(path, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "write", full)
    assert fed(path, [b"one\n", b"two\n"]) == b""


def test_what_is_kept_is_for_its_owner_alone(path):
    fed(path, lines(200_000))
    for name in os.listdir(os.path.dirname(path)):
        assert os.stat(f"{os.path.dirname(path)}/{name}").st_mode & 0o077 == 0
