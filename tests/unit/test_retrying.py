"""Asking again: how often, how long, and only where it helps."""

import pytest

from dvtool.storage.retrying import Patience, Persistence
from dvtool.testing.effects import SeededEntropy


class Passing(Exception):  # noqa: N818 - the kind that is asked again for
    pass


class Clockwork:
    """A clock that sleeping moves on, and each request by ``cost`` seconds."""

    def __init__(self, cost=0.0):
        self.time = 0.0
        self.cost = cost
        self.pauses = []

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.time += seconds

    def request(self, *outcomes):
        """A request that raises or returns one outcome after the other, and the last one from then on."""
        left = list(outcomes)

        def ask():
            self.time += self.cost
            outcome = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return ask


def persistence(clockwork, seed=0, **patience):
    return Persistence(
        entropy=SeededEntropy(seed),
        patience=Patience(**patience),
        sleep=clockwork.sleep,
        now=lambda: clockwork.time,
    )


def passes(error):
    return isinstance(error, Passing)


def test_what_succeeds_is_asked_once():
    clockwork = Clockwork()
    assert persistence(clockwork).again(clockwork.request("done"), passes) == "done"
    assert clockwork.pauses == []


def test_what_passes_is_asked_again_until_it_succeeds():
    clockwork = Clockwork()
    assert persistence(clockwork).again(clockwork.request(Passing(), Passing(), "done"), passes) == "done"
    assert len(clockwork.pauses) == 2


def test_what_does_not_pass_is_raised_at_once():
    clockwork = Clockwork()
    with pytest.raises(ValueError, match="wrong"):
        persistence(clockwork).again(clockwork.request(Passing(), ValueError("wrong")), passes)
    assert len(clockwork.pauses) == 1


def test_tries_are_counted():
    clockwork = Clockwork()
    with pytest.raises(Passing, match="last"):
        persistence(clockwork, tries=4).again(
            clockwork.request(Passing("1"), Passing("2"), Passing("3"), Passing("last")), passes
        )
    assert len(clockwork.pauses) == 3


def test_one_try_is_one_try():
    clockwork = Clockwork()
    with pytest.raises(Passing):
        persistence(clockwork, tries=1).again(clockwork.request(Passing()), passes)
    assert clockwork.pauses == []


def test_pauses_are_random_parts_of_doubled_times_up_to_the_longest():
    clockwork = Clockwork()
    with pytest.raises(Passing):
        persistence(clockwork, tries=12, first=1.0, longest=16.0, total=1e9).again(clockwork.request(Passing()), passes)
    bounds = [1, 2, 4, 8, 16, 16, 16, 16, 16, 16, 16]
    assert len(clockwork.pauses) == len(bounds)
    assert all(0 <= pause < bound for pause, bound in zip(clockwork.pauses, bounds, strict=True))
    assert len(set(clockwork.pauses)) == len(bounds)


def test_the_same_entropy_pauses_the_same():
    runs = []
    for seed in (1, 1, 2):
        clockwork = Clockwork()
        with pytest.raises(Passing):
            persistence(clockwork, seed).again(clockwork.request(Passing()), passes)
        runs.append(clockwork.pauses)
    assert runs[0] == runs[1] != runs[2]


def test_no_try_begins_after_the_total_time():
    clockwork = Clockwork(cost=30.0)
    with pytest.raises(Passing):
        persistence(clockwork, tries=100, total=100.0).again(clockwork.request(Passing()), passes)
    assert clockwork.time < 100 + 30
