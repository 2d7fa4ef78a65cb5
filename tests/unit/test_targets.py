"""What an erasure is about, held against a plain recursive definition of what a pattern covers."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dvtool import paths
from dvtool.erasure.targets import LIMIT, Matcher, Targets, by_path, by_subject
from dvtool.errors import UsageError
from dvtool.formats.project import Subject

WILD = ("**/", "**", "*", "?")


def tokens(pattern):
    """A pattern as a list: the wild ones as they are, and every other character as a list of itself."""
    found, rest = [], pattern
    while rest:
        wild = next((each for each in WILD if rest.startswith(each)), None)
        found.append(wild or [rest[0]])
        rest = rest[len(wild or rest[0]) :]
    return found


def like(form, path):
    """Whether a list of tokens matches a whole path."""
    if not form:
        return not path
    first, rest = form[0], form[1:]
    if first == "**":
        return any(like(rest, path[at:]) for at in range(len(path) + 1))
    if first == "**/":
        directory, slash, below = path.partition("/")
        return like(rest, path) or bool(directory and slash and like(form, below))
    if first == "*":
        return like(rest, path) or (path[:1] not in {"", "/"} and like(form, path[1:]))
    if first == "?":
        return path[:1] not in {"", "/"} and like(rest, path[1:])
    return path[:1] == first[0] and like(rest, path[1:])


def covers(form, path):
    """Whether the path, or a directory above it, matches."""
    parts = path.split("/")
    return any(like(form, "/".join(parts[:length])) for length in range(1, len(parts) + 1))


def stripped(pattern):
    """A pattern without what says "and all below"."""
    while pattern.endswith(("/", "/**")):
        pattern = pattern[:-1] if pattern.endswith("/") else pattern[:-3]
    return pattern


parts = st.text("ab*?.[]\u00fc\n", min_size=1, max_size=3).filter(lambda name: name not in {".", ".."})
places = st.lists(parts, min_size=1, max_size=4).map("/".join)
pieces = st.sampled_from(["*", "?", "**", "**/", "a", "b", "a/", "/b", "ab", ".", "[ab]", "\u00fc", "\n", "\\"])
patterns = st.lists(pieces, min_size=1, max_size=5).map("".join).filter(lambda text: "//" not in text)
patterns = patterns.map(lambda text: text.strip("/")).filter(bool)


@st.composite
def alike(draw, form):
    """A path that the tokens match, or nearly."""
    made = ""
    for each in form:
        if each == "**":
            made += draw(places | st.just(""))
        elif each == "**/":
            made += draw(places.map(lambda place: place + "/") | st.just(""))
        elif each == "*":
            made += draw(parts | st.just(""))
        elif each == "?":
            made += draw(st.sampled_from("ab\n.*"))
        else:
            made += each[0]
    made += draw(st.sampled_from(["", "", "a", "/a", "/b/a"]))
    found = [part for part in made.split("/") if part not in {"", ".", ".."}]
    return "/".join(found) or "a"


def check(form, rules, path):
    """A matcher says of a path, and of the directories on the way to it, what the definition says."""
    matcher = Matcher(rules)
    assert (matcher.covering(path) is not None) == covers(form, path)
    for way in [*reversed(paths.parents(path)), path]:
        if not way:
            continue
        if like(form, way):
            assert all(matcher.reaches(above) for above in paths.parents(way))
            assert matcher.rule_of(way) is not None
            break
        assert matcher.rule_of(way) is None


@given(patterns, st.data())
@example("a.b", None)
def test_a_pattern_covers_what_it_matches_and_all_below(pattern, data):
    form = tokens(stripped(pattern))
    path = data.draw(alike(form) | places) if data is not None else "axb"
    check(form, [by_path(pattern)], path)


@given(places.filter(lambda place: not set(place) & set("*?")), places)
def test_a_path_without_wild_characters_means_itself(place, path):
    matcher = Matcher([by_path(place)])
    for found in (place, f"{place}/{path}"):
        assert matcher.covering(found) is not None
    for found in (path, f"{place}x", f"x{place}", f"x/{place}"):
        assert (matcher.covering(found) is not None) == (found == place or found.startswith(place + "/"))


@given(patterns, st.sampled_from(["/", "/**", "/**/", "/**/**", "/**/**/"]), st.data())
def test_a_directory_and_all_below_it_mean_the_same(pattern, end, data):
    path = data.draw(alike(tokens(pattern)) | places)
    one, other = Matcher([by_path(pattern)]), Matcher([by_path(pattern + end)])
    assert (one.covering(path) is None) == (other.covering(path) is None)
    assert (Matcher([by_path("/" + pattern)]).covering(path) is None) == (one.covering(path) is None)


@given(st.lists(patterns, max_size=4), st.data())
def test_of_several_rules_each_counts(several, data):
    forms = [tokens(stripped(pattern)) for pattern in several]
    path = data.draw(st.one_of([*map(alike, forms), places]))
    matcher = Matcher(map(by_path, several))
    found = matcher.covering(path)
    assert (found is not None) == any(covers(form, path) for form in forms)
    if found is not None:
        assert covers(tokens(stripped(found.named)), path)
        first = next(way for way in [*reversed(paths.parents(path)), path] if way and matcher.rule_of(way))
        assert all(matcher.reaches(above) for above in paths.parents(first))


@given(places)
def test_without_rules_nothing_is_covered_or_looked_into(path):
    matcher = Matcher([])
    assert matcher.covering(path) is None
    assert not matcher.reaches("")
    assert not matcher.reaches(path)


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
def test_directories_in_which_nothing_can_match_are_not_looked_into(pattern, into, past):
    matcher = Matcher([by_path(pattern)])
    assert all(map(matcher.reaches, into))
    assert not any(map(matcher.reaches, past))


subject_ids = st.text("ab*?.[]()|+^$\\{}\u00fc\n -", min_size=1, max_size=4).filter(
    lambda name: name not in {".", ".."}
)
befores = st.sampled_from(["", "data/", "*/", "**/", "data/p_", "a*", "**", "/data/", "[x]/"])
afters = st.sampled_from(["", "/", "/**", ".csv", "_*.csv", "/*/x", "*", "**", "/**/x", "?"])


@given(subject_ids, befores, afters, st.data())
@example("p.7", "data/", "/**", None)
@example("p*", "data/", "/**", None)
@example("[ab]", "**/", "", None)
@example("**/", "", "", None)
def test_the_id_of_a_subject_means_itself(identity, before, after, data):
    if "/" in identity:
        with pytest.raises(UsageError):
            by_subject(identity, [Subject(paths="{subject}")])
        return
    form = [*tokens(before.lstrip("/")), *([each] for each in identity), *tokens(stripped(after))]
    path = data.draw(alike(form) | places) if data is not None else "data/pxx/a"
    check(form, by_subject(identity, [Subject(paths=before + "{subject}" + after)]), path)


@given(subject_ids, subject_ids)
def test_a_subject_is_no_other_whose_id_begins_alike(identity, more):
    matcher = Matcher(by_subject(identity, [Subject(paths="data/{subject}/**"), Subject(paths="scans/{subject}.dcm")]))
    for path in (f"data/{identity}", f"data/{identity}/a", f"scans/{identity}.dcm"):
        assert matcher.covering(path) is not None
    for path in (f"data/{identity}{more}/a", f"data/x{identity}/a", f"scans/{identity}{more}.dcm", f"other/{identity}"):
        assert matcher.covering(path) is None


@given(subject_ids)
def test_what_a_subject_is_called_is_said_of_its_rules(identity):
    rules = by_subject(identity, [Subject(paths="a/{subject}"), Subject(tables="*.csv", column="id")])
    assert [rule.named for rule in rules] == [f"subject {identity}"]


@pytest.mark.parametrize("identity", ["", ".", "..", "a/b", "/", "a\0b", "x" * (LIMIT + 1), "../../x"])
def test_what_can_be_the_id_of_nobody_is_refused(identity):
    with pytest.raises(UsageError, match="the id of no subject"):
        by_subject(identity, [Subject(paths="data/{subject}/**")])


@pytest.mark.parametrize("rules", [[], [Subject(tables="*.csv", column="id")]])
def test_without_a_rule_for_paths_no_subject_is_found(rules):
    with pytest.raises(UsageError, match=r"no rule in dv\.toml") as raised:
        by_subject("p17", rules)
    assert 'paths = "data/{subject}/**"' in str(raised.value.next)


@pytest.mark.parametrize("named", [{"patterns": ("a",)}, {"subjects": ("a",)}, {"authors": ("a",)}])
def test_targets_are_empty_only_where_nothing_is_named(named):
    assert Targets().is_empty()
    assert not Targets(**named).is_empty()
