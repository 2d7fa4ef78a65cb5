"""Patterns of .dvignore: they match what Git's do, and none of them takes for ever."""

import re
import time
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from dvtool.errors import UsageError
from dvtool.worktree.ignore import Ignore, swift

PARTS = st.sampled_from(["a", "b", "*", "**", "?", "/", "/**/", "[ab]", "[!a]", "\\*", ".", "ab", "(", "+", "é"])
PATTERNS = st.tuples(st.sampled_from(["", "!", "/"]), st.lists(PARTS, min_size=1, max_size=9)).map(
    lambda drawn: drawn[0] + "".join(drawn[1])
)
NAMES = st.text("ab*.(", min_size=1, max_size=6)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)


def said(regex, path):
    """What a pattern says of a path: nothing, or whether it is the directory above that is named."""
    found = regex.search(path)
    return None if found is None else bool(found.groupdict().get("ps_d"))


@given(pattern=PATTERNS, paths=st.lists(PATHS, min_size=1, max_size=8), directory=st.booleans())
@settings(max_examples=400)
@example(pattern="**/a/**/b", paths=["a/b/x/b", "a/b/x", "x/a/a/b/c/b", "b/a"], directory=False)
@example(pattern="a*b*a", paths=["aba", "abba", "abab", "aa", "ba", "abXba/x"], directory=True)
@example(pattern="/a/**/*b*a/**/b", paths=["a/ba/b", "a/x/bba/y/b/b", "a/b/b"], directory=False)
def test_a_swift_pattern_says_the_same(pattern, paths, directory):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = GitIgnoreSpec.from_lines([pattern]).patterns
    except ValueError:
        return
    for each in made:
        if each.regex is not None:
            quick = re.compile(swift(each.regex.pattern))
            for path in paths:
                place = path + "/" if directory else path
                assert said(quick, place) == said(each.regex, place), (each.regex.pattern, quick.pattern, place)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 30 + "b", "a" * 255),
        ("*a" * 30 + "b", "/".join(["a" * 255] * 15)),
        ("**a" * 30 + "b", "a" * 255),
        ("*?" * 30 + "b", "a" * 255),
        ("*[a-z]" * 30 + "b", "a" * 255),
        ("**/a/" * 30 + "b", "a/" * 2000 + "c"),
        ("a/" + "**/*a*a/" * 20 + "b", "aaaa/" * 800 + "c"),
        ("/**/*a*a*a" * 9 + "/b", "aaaaaaaa/" * 400 + "c"),
    ],
)
def test_no_pattern_takes_for_ever(pattern, path):
    rules = Ignore(pattern.encode())
    before = time.process_time()
    assert not rules.excludes(path, directory=False)
    assert time.process_time() - before < 5


def test_a_pattern_that_looks_like_a_set_in_a_set_warns_nobody():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Ignore(b"[[a]x\n").excludes("[x", directory=False)


def test_a_malformed_pattern_is_named_with_its_line():
    with pytest.raises(UsageError) as caught:
        Ignore(b"*.tmp\n\n!\n")
    assert caught.value.where == ".dvignore, line 3"
