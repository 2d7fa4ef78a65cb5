"""Patterns of paths mean what a plain definition of them says, whatever they look like, and in few steps."""

from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dvtool import globs
from dvtool.globs import Matcher, by_path, by_word

LETTERS = "ab]-!^"
names = st.text(LETTERS + "*[?\n\u00fc", min_size=1, max_size=5).filter(lambda name: name not in {".", ".."})
plain_paths = st.lists(names, min_size=1, max_size=5).map("/".join)
pieces = st.one_of(
    st.sampled_from(["*", "?", "[ab]", "[!a]", "[^b]", "[a-b]", "[]a]", "[!]]", "[", "[a", "[a-]", "[b-a]", "-", "]"]),
    st.sampled_from(LETTERS),
)
parts = st.lists(pieces, min_size=1, max_size=5).map("".join) | st.just("**")
patterns = st.lists(parts, min_size=1, max_size=5).map("/".join)
SWAPPED = {
    "*": st.sampled_from(["", "a", "ba", "*"]),
    "?": st.sampled_from("ab?"),
    "[": st.sampled_from(["", "[", "a"]),
}
words = st.text(LETTERS + "*[?.\n\u00fc", min_size=1, max_size=4).filter(lambda word: word not in {".", ".."})


def means(pattern, path):
    """Whether the parts of a pattern are those of a path; one that is a tuple holds a word that means itself."""
    if not pattern or not path:
        return not path and all(part == "**" for part in pattern)
    if pattern[0] == "**":
        return means(pattern[1:], path) or means(pattern, path[1:])
    itself = "".join(pattern[0]) if isinstance(pattern[0], tuple) else pattern[0]
    return (itself == path[0] or fits(pattern[0], path[0])) and means(pattern[1:], path[1:])


def fits(part, name):
    """Whether one part means a name; of a part with a word the word means itself."""
    if isinstance(part, tuple):
        before, word, after = part
        starts = [at for at in range(len(name) + 1) if name.startswith(word, at)]
        return any(fits(before, name[:at]) and fits(after, name[at + len(word) :]) for at in starts)
    if not part or part[0] == "*":
        return any(fits(part[1:], name[at:]) for at in range(len(name) + 1)) if part else not name
    if part[0] == "[":
        start = 2 if part[1:2] in {"!", "^"} else 1
        end = part.find("]", start + 1)
        if end > 0:
            is_meant = bool(name) and (name[0] in listed(part[start:end])) == (start == 1)
            return is_meant and fits(part[end + 1 :], name[1:])
    return bool(name) and part[0] in {"?", name[0]} and fits(part[1:], name[1:])


def listed(text):
    """The letters of a set."""
    if len(text) > 2 and text[1] == "-":
        return {*map(chr, range(ord(text[0]), ord(text[2]) + 1)), *listed(text[3:])}
    return {text[0], *listed(text[1:])} if text else set()


def above(path):
    """A path and every directory above it, the root first."""
    found = path.split("/") if path else []
    return [found[:length] for length in range(len(found) + 1)]


def whole(pattern):
    """The parts of a pattern, without those at the end that say "and all below"; but one of them alone is needed."""
    found = pattern.split("/")
    while len(found) > 1 and found[-1] == "**":
        found.pop()
    return found


@st.composite
def alike(draw, form):
    """A path that the parts of a pattern mean, or nearly."""
    made = []
    for part in form:
        if part == "**":
            made += draw(st.lists(names, max_size=2))
        else:
            text = "".join(part) if isinstance(part, tuple) else part
            swap = {
                "*": st.sampled_from(["", "a", "ba"]),
                "?": st.sampled_from("ab"),
                "[": st.sampled_from(["", "[", "a"]),
            }
            made.append("".join(draw(swap[letter] | st.just(letter)) if letter in swap else letter for letter in text))
    made += draw(st.lists(names, max_size=2))
    return "/".join(part for part in made if part not in {"", ".", ".."}) or "a"


def check(form, globs_of, path):
    """A matcher says of a path, and of the directories on the way to it, what the definition says."""
    matcher = Matcher(globs_of)
    assert matcher.covers(path) == any(means(form, each) for each in above(path))
    first = next((way for way in above(path)[1:] if means(form, way)), None)
    assert (matcher.covering(path) is not None) == (first is not None)
    assert matcher.top(path) == ("/".join(first) if first is not None else None)
    for way in above(path)[1:]:
        assert (matcher.rule_of("/".join(way)) is not None) == means(form, way)
        if means(form, way):
            for directory in above("/".join(way))[:-1]:
                assert matcher.reaches("/".join(directory))
                looked_at = matcher.names_in("/".join(directory))
                assert looked_at is None or way[len(directory)] in looked_at
    return matcher


@settings(max_examples=400)
@given(pattern=patterns, data=st.data())
@example(pattern="**", data="a")
@example(pattern="a/**", data="a")
@example(pattern="**/a", data="a")
@example(pattern="a/**/**/b", data="a/b")
@example(pattern="*a*a*", data="aba")
@example(pattern="a.b", data="axb")
def test_a_pattern_means_what_its_definition_says(pattern, data):
    path = data if isinstance(data, str) else data.draw(alike(pattern.split("/")) | plain_paths)
    form = whole(pattern)
    check(form, [by_path(pattern)], path)
    # What stands at the end and means "and all below" changes nothing of what is covered.
    assert Matcher([by_path(pattern)]).covers(path) == any(means(pattern.split("/"), way) for way in above(path))


@given(pattern=patterns, end=st.sampled_from(["/", "/**", "/**/", "/**/**"]), data=st.data())
def test_a_directory_and_all_below_it_mean_the_same(pattern, end, data):
    path = data.draw(alike(pattern.split("/")) | plain_paths)
    for other in (pattern + end, "/" + pattern):
        assert Matcher([by_path(other)]).covers(path) == Matcher([by_path(pattern)]).covers(path)


@given(several=st.lists(patterns | plain_paths, max_size=5), data=st.data())
def test_of_several_each_counts(several, data):
    path = data.draw(st.one_of([plain_paths, *(alike(pattern.split("/")) for pattern in several)]))
    matcher = Matcher(map(by_path, several))
    apart = [Matcher([by_path(pattern)]) for pattern in several]
    assert matcher.covers(path) == any(each.covers(path) for each in apart)
    assert matcher.reaches(path) == any(each.reaches(path) for each in apart)
    assert matcher.top(path) == min(
        (top for each in apart if (top := each.top(path)) is not None), key=len, default=None
    )
    found = matcher.covering(path)
    assert found is None or Matcher([by_path(found.named)]).covering(path) is not None
    wanted = [each.names_in(path) for each in apart]
    assert matcher.names_in(path) == (None if None in wanted else frozenset().union(*filter(None, wanted)))


@given(path=plain_paths, below=plain_paths, other=plain_paths)
def test_a_path_covers_itself_and_all_below_whatever_is_in_its_name(path, below, other):
    matcher = Matcher([by_path(path)])
    assert matcher.covers(path)
    assert matcher.covers(f"{path}/{below}")
    assert Matcher([by_path("")]).covers(path)
    assume(not set(path) & set("*?["))
    assert matcher.covers(other) == (other == path or other.startswith(f"{path}/"))


@given(before=patterns | st.just(""), word=words, after=patterns | st.just(""), data=st.data())
@example(before="data", word="p*", after="**", data="data/pxx/a")
@example(before="data", word="[ab]", after="", data="data/a")
@example(before="", word="**", after="", data="a")
def test_a_word_means_itself_between_two_patterns(before, word, after, data):
    form = [*before.split("/")] if before else []
    form += [("", word, "")]
    form += after.split("/") if after else []
    while form[-1] == "**":
        form.pop()
    path = data if isinstance(data, str) else data.draw(alike(form) | plain_paths)
    pattern = "/".join(filter(None, [before, "{subject}", after]))
    check(form, [by_word(pattern, "{subject}", word)], path)


@given(before=st.lists(pieces, max_size=3), word=words, after=st.lists(pieces, max_size=3), data=st.data())
@example(before=["["], word="a", after=["]"], data="a")
@example(before=["["], word="a", after=["]"], data="[a]")
def test_a_word_means_itself_within_a_name(before, word, after, data):
    form = [("".join(before), word, "".join(after))]
    path = data if isinstance(data, str) else data.draw(alike(form) | plain_paths)
    check(form, [by_word("{subject}".join(map("".join, (before, after))), "{subject}", word)], path)


@given(pattern=patterns, path=plain_paths)
def test_all_that_a_pattern_means_lies_in_its_directory(pattern, path):
    top = globs.literal(pattern)
    if any(means(whole(pattern), each) for each in above(path)):
        assert not top or path == top or path.startswith(f"{top}/")
    if globs.is_plain(pattern):
        assert top == "/".join(whole(pattern))


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
        ("data/a[1]/*.txt", "data/a[1]/b.txt", True),
        ("data/a[1]*.txt", "data/a[1]b.txt", False),
        ("data/a[[]1]*.txt", "data/a[1]b.txt", True),
        ("data/[0-9]", "data/7/x", True),
        ("data/[!0-9]", "data/7", False),
        ("**", "", True),
        ("*", "", False),
        ("", "", True),
    ],
)
def test_a_pattern_means_what_it_says(pattern, path, covered):
    assert Matcher([by_path(pattern)]).covers(path) == covered


@pytest.mark.parametrize(
    ("path", "pattern", "found"),
    [
        ("data/train/a.png", "data/train", "data/train"),
        ("data/train/a.png", "data/train/", "data/train"),
        ("data/train", "data/train", "data/train"),
        ("data/training/a.png", "data/train", None),
        ("data", "data/train", None),
        ("data/x/train/a.png", "data/*/train", "data/x/train"),
        ("data/x/y/train/a.png", "data/*/train", None),
        ("data/x/y/train/a.png", "data/**/train", "data/x/y/train"),
        ("data/train/a.png", "data/**/train", "data/train"),
        ("data/fold1_test.csv", "data/*_test.csv", "data/fold1_test.csv"),
        ("data/fold1_train.csv", "data/*_test.csv", None),
        ("data/fold12.csv", "data/fold?.csv", None),
        ("data/fold1.csv", "data/fold?.csv", "data/fold1.csv"),
        ("data/fold1.csv", "data/fold[0-4].csv", "data/fold1.csv"),
        ("test.csv", "**/test.csv", "test.csv"),
        ("a/b/test.csv", "**/test.csv", "a/b/test.csv"),
        ("a/b/c", "a/**", "a"),
        ("a/b", "**", "a"),
        ("data/a+b(1)/x", "data/a+b(1)", "data/a+b(1)"),
        ("data/a.b/x", "data/a?b", "data/a.b"),
        ("dataXa/x", "data.a/*", None),
    ],
)
def test_the_shortest_path_that_is_meant_is_told(path, pattern, found):
    assert globs.top(pattern, path) == found


@pytest.mark.parametrize(
    ("pattern", "directory"),
    [
        ("data/train", "data/train"),
        ("data/*/train", "data"),
        ("*.csv", ""),
        ("data/fold?.csv", "data"),
        ("data/[ab]/c", "data"),
        ("a/b/**", "a/b"),
    ],
)
def test_the_directory_of_a_pattern_is_what_comes_before_its_first_wild_part(pattern, directory):
    assert globs.literal(pattern) == directory


@pytest.mark.parametrize(
    ("pattern", "into", "past"),
    [
        ("data/p17", ["", "data"], ["data/p17", "data/p18", "dat", "data2", "other"]),
        ("data/*/x", ["", "data", "data/a"], ["data/a/b", "data/a/x/c", "other", "data2"]),
        ("data/*", ["", "data"], ["data/a", "other"]),
        ("data/**/x", ["", "data", "data/a/b/c"], ["other", "database"]),
        ("*", [""], ["a", "a/b"]),
        ("**/x", ["", "a", "a/b/c"], []),
    ],
)
def test_directories_in_which_nothing_can_be_meant_are_not_looked_into(pattern, into, past):
    matcher = Matcher([by_path(pattern)])
    assert all(map(matcher.reaches, into))
    assert not any(map(matcher.reaches, past))


def test_of_a_directory_with_plain_targets_only_these_are_looked_at():
    matcher = Matcher([by_path("a/b/c.x"), by_path("a/d"), by_path("b/*")])
    assert matcher.names_in("a") == frozenset({"b", "d"})
    assert matcher.names_in("a/b") == frozenset({"c.x"})
    assert matcher.names_in("d") == frozenset()
    assert matcher.names_in("b") is None


@given(plain_paths)
def test_without_patterns_nothing_is_covered_or_looked_into(path):
    matcher = Matcher([])
    assert matcher.covering(path) is None
    assert not matcher.covers(path)
    assert not matcher.reaches("")
    assert not matcher.reaches(path)


class Watched:
    """A name that counts how many of its letters are looked at."""

    def __init__(self, name):
        self.name = name
        self.steps = 0

    def __len__(self):
        return len(self.name)

    def __getitem__(self, at):
        self.steps += 1
        return self.name[at]

    def startswith(self, prefix, at):
        self.steps += len(prefix)
        return self.name.startswith(prefix, at)

    def find(self, text, start, end):
        found = self.name.find(text, start, end)
        self.steps += (end if found < 0 else found) - start + len(text)
        return found


@pytest.mark.parametrize(
    "pattern",
    [
        "*a*a*a*a*b",
        "*a" * 1000 + "*b",
        "[!b]*" * 500 + "c",
        "*" * 4096 + "b",
        "*?" * 1000 + "b",
        "*" + "[!c]" * 100 + "b*",
    ],
)
def test_a_hostile_pattern_takes_no_more_steps_than_its_length_times_that_of_the_name(pattern):
    for length in (255, 4000):
        name: Any = Watched("a" * length)
        assert not globs._Part([(pattern, False)]).means(name)
        assert name.steps <= len(pattern) * length


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/".join(["**", "a"] * 300 + ["b"]), "/".join("a" * 1000)),
        ("**/" * 1300 + "b", "/".join("a" * 1000)),
        ("/".join(["**", "?"] * 300 + ["b"]), "/".join("a" * 1000)),
    ],
)
def test_of_a_path_each_part_is_held_once_against_each_part_of_a_hostile_pattern(pattern, path, monkeypatch):
    looked = []
    real = globs._Part.means

    def means(part, name):
        looked.append(name)
        return real(part, name)

    monkeypatch.setattr(globs._Part, "means", means)
    matcher = Matcher([by_path(pattern)])
    assert not matcher.covers(path)
    assert len(looked) <= (pattern.count("/") + 1) * (path.count("/") + 1)
    assert sum(len(key) for key in matcher._states) <= globs._KEPT + len(matcher._row)


def test_steps_that_were_forgotten_are_worked_out_again(monkeypatch):
    monkeypatch.setattr(globs, "_KEPT", 4)
    matcher = Matcher([by_path("**/a/b"), by_path("data/*/c"), by_path("x")])
    for _round in range(3):
        for path in ("q/a/b/z", "data/1/c", "x/y"):
            assert matcher.covers(path)
        for path in ("data/1/d", "a/a/c", "y/x"):
            assert not matcher.covers(path)
