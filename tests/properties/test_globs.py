"""Patterns of paths cover what a plain definition of them says, whatever they look like, and in little time."""

import time

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dvtool import globs

LETTERS = "ab]-!^"
names = st.text(LETTERS + "*[?", min_size=1, max_size=5).filter(lambda name: name not in {".", ".."})
plain_paths = st.lists(names, min_size=1, max_size=5).map("/".join)
pieces = st.one_of(
    st.sampled_from(["*", "?", "[ab]", "[!a]", "[^b]", "[a-b]", "[]a]", "[!]]", "[", "[a", "[a-]", "[b-a]", "-", "]"]),
    st.sampled_from(LETTERS),
)
parts = st.lists(pieces, min_size=1, max_size=5).map("".join) | st.just("**")
patterns = st.lists(parts, min_size=1, max_size=5).map("/".join)


def means(pattern, path):
    """Whether the parts of a pattern are those of a path."""
    if not pattern or not path:
        return not path and all(part == "**" for part in pattern)
    if pattern[0] == "**":
        return means(pattern[1:], path) or means(pattern, path[1:])
    return fits(pattern[0], path[0]) and means(pattern[1:], path[1:])


def fits(part, name):
    """Whether one part means a name."""
    if not part:
        return not name
    if part[0] == "*":
        return any(fits(part[1:], name[at:]) for at in range(len(name) + 1))
    if not name:
        return False
    if part[0] == "?":
        return fits(part[1:], name[1:])
    if part[0] == "[":
        start = 2 if part[1:2] in {"!", "^"} else 1
        end = part.find("]", start + 1)
        if end > 0:
            return (name[0] in listed(part[start:end])) == (start == 1) and fits(part[end + 1 :], name[1:])
    return part[0] == name[0] and fits(part[1:], name[1:])


def listed(text):
    """The letters of a set."""
    if len(text) > 2 and text[1] == "-":
        return {*map(chr, range(ord(text[0]), ord(text[2]) + 1)), *listed(text[3:])}
    return {text[0], *listed(text[1:])} if text else set()


def above(path):
    """A path and every directory above it, the root included."""
    found = path.split("/") if path else []
    return [found[:length] for length in range(len(found) + 1)]


@settings(max_examples=400)
@given(pattern=patterns, path=plain_paths)
@example(pattern="**", path="a")
@example(pattern="a/**", path="a")
@example(pattern="**/a", path="a")
@example(pattern="a/**/**/b", path="a/b")
@example(pattern="*a*a*", path="aba")
def test_a_pattern_covers_what_its_definition_says(pattern, path):
    wanted = any(means(pattern.split("/"), each) or "/".join(each) == pattern for each in above(path))
    assert globs.covers(pattern, path) == wanted


@given(found=st.lists(patterns | plain_paths | st.just(""), max_size=5), path=plain_paths)
def test_several_cover_what_one_of_them_does(found, path):
    assert globs.Patterns(found).cover(path) == any(globs.covers(pattern, path) for pattern in found)


@given(path=plain_paths, below=plain_paths, other=plain_paths)
def test_what_is_quoted_means_itself(path, below, other):
    quoted = "/".join(map(globs.quoted, path.split("/")))
    assert globs.covers(quoted, path)
    assert globs.covers(quoted, f"{path}/{below}")
    assume(other not in {path, quoted} and not other.startswith((f"{path}/", f"{quoted}/")))
    assert not globs.covers(quoted, other)


@given(path=plain_paths, below=plain_paths)
def test_a_path_covers_itself_and_all_below_whatever_is_in_its_name(path, below):
    assert globs.covers(path, path)
    assert globs.covers(path, f"{path}/{below}")
    assert globs.covers("", path)


@given(pattern=patterns, path=plain_paths)
def test_all_that_a_pattern_means_lies_in_its_directory(pattern, path):
    top = globs.literal(pattern)
    if any(means(pattern.split("/"), each) for each in above(path)):
        assert not top or path == top or path.startswith(f"{top}/")


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("data", "data", True),
        ("data", "data/a/b", True),
        ("data", "database", False),
        ("data/a", "data", False),
        ("data/*.csv", "data/a.csv", True),
        ("data/*.csv", "data/a.csv/part", True),
        ("data/*.csv", "data/sub/a.csv", False),
        ("data/**/*.csv", "data/a.csv", True),
        ("data/**/*.csv", "data/x/y/a.csv", True),
        ("**/secret", "a/secret/b", True),
        ("a**b", "a/b", False),
        ("a**b", "axxb", True),
        ("*", ".hidden", True),
        ("Data", "data", False),
        ("x[", "x[", True),
        ("data/a[1].txt", "data/a[1].txt", True),
        ("data/a[1].txt", "data/a1.txt", True),
        ("data/[0-9]", "data/7/x", True),
        ("data/[!0-9]", "data/7", False),
        ("**", "", True),
        ("*", "", False),
        ("", "", True),
    ],
)
def test_a_pattern_means_what_it_says(pattern, path, covered):
    assert globs.covers(pattern, path) == covered


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/".join(["**", "a"] * 300 + ["b"]), "/".join("a" * 1000)),
        ("*a" * 1000 + "b", "a" * 255),
        ("[!b]*" * 500 + "c", "a" * 255),
        ("**/" * 1300 + "b", "/".join("a" * 1000)),
    ],
)
def test_no_pattern_takes_long(pattern, path):
    started = time.monotonic()
    assert not globs.covers(pattern, path)
    assert time.monotonic() - started < 5
