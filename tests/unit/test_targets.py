"""What an erasure is about: which paths are a subject's, and which ids can be anybody's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.erasure.targets import LIMIT, Targets, by_subject
from dvtool.errors import UsageError
from dvtool.formats.project import Subject
from dvtool.globs import Matcher

subject_ids = st.text("ab*?.[]()|+^$\\{}\u00fc\n -", min_size=1, max_size=4).filter(
    lambda name: name not in {".", ".."}
)


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
