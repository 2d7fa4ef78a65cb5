"""Which names of a directory have to be looked at for an erasure."""

import itertools

import pytest

from dvtool import paths
from dvtool.erasure.targets import Matcher, by_path

NAMES = ("a", "b", "c.x", "d")
ALL = ["/".join(parts) for depth in range(1, 4) for parts in itertools.product(NAMES, repeat=depth)]


@pytest.mark.parametrize(
    "patterns",
    [["a"], ["a/b", "a/c.x/d"], ["a/b/", "b/**"], ["a/*.x"], ["**/d", "a/b"], ["b/*/d", "a"], ["**"]],
)
def test_what_is_passed_over_is_neither_matched_nor_leads_to_what_is(patterns):
    matcher = Matcher([by_path(pattern) for pattern in patterns])
    for path in ALL:
        above, name = paths.split(path)
        looked_at = matcher.names_in(above)
        is_meant = matcher.rule_of(path) is not None or matcher.reaches(path)
        assert looked_at is None or (name in looked_at) >= is_meant, path


def test_of_a_directory_with_plain_targets_only_these_are_looked_at():
    matcher = Matcher([by_path("a/b/c.x"), by_path("a/d"), by_path("b/*")])
    assert matcher.names_in("a") == {"b", "d"}
    assert matcher.names_in("a/b") == {"c.x"}
    assert matcher.names_in("d") == set()
    assert matcher.names_in("b") is None
