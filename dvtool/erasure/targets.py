"""What an erasure is about: paths, globs and subjects, compiled to rules over repository paths.

A rule covers what it matches and all that lies below: ``data/p17``, ``data/p17/`` and ``data/p17/**`` mean the same.
The id of a subject means itself, whatever characters are in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import paths
from dvtool.errors import UsageError
from dvtool.formats import project

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dvtool.formats.project import Subject

LIMIT: Final = 1024
"""Characters of the id of a subject: more than any name has."""
_PIECES: Final = re.compile(r"(\*\*/|\*\*|\*|\?)")
_MEANING: Final = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_ANY_DEPTH: Final = 1 << 30


class Targets(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is to go: ``patterns`` of paths as given, relative to the root; ``subjects`` by id; authors by address."""

    patterns: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()

    def is_empty(self) -> bool:
        """Return whether nothing is named."""
        return not (self.patterns or self.subjects or self.authors)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One target as the trees are searched by it.

    ``named`` is how its user wrote it.  ``literal`` is the path that it is, or the directory that all it can match lies
    in; ``form`` matches whole paths, None for a literal; ``depth`` is the most parts that a match can have.
    """

    named: str
    literal: str
    form: re.Pattern[str] | None
    depth: int


def by_path(pattern: str) -> Rule:
    """Return the rule for a path or glob, relative to the repository's root."""
    return _rule(pattern, "", "", named=pattern)


def by_subject(identity: str, rules: Sequence[Subject]) -> list[Rule]:
    """Return the rules for a subject.

    Args:
        identity: the id of the person, as it stands in paths.
        rules: those of ``dv.toml``.

    Raises:
        UsageError: when the id can be no part of a path, or no rule says where a subject's files are.
    """
    if not identity or len(identity) > LIMIT or identity in {".", ".."} or set(identity) & {"/", "\0"}:
        raise UsageError(
            "this can be the id of no subject",
            where=paths.shown(paths.brief(identity)),
            why="it is empty, too long, or no name that a file or directory can have",
        )
    found = [each.paths for each in rules if each.paths is not None]
    if not found:
        raise UsageError(
            "no rule in dv.toml says where the files of a subject are",
            next=f'add one: [[subject]] and below it paths = "data/{project.SUBJECT}/**"',
        )
    parts = [pattern.partition(project.SUBJECT) for pattern in found]
    return [_rule(before, identity, after, named=f"subject {identity}") for before, _subject, after in parts]


def _rule(before: str, word: str, after: str, *, named: str) -> Rule:
    """Return the rule for a pattern, a word that means itself, and a pattern, one after the other."""
    before = before.lstrip("/")
    if word:
        after = _whole(after)
    else:
        before = _whole(before)
    text = before + word + after
    depth = text.count("/") + 1
    wild = _PIECES.search(before)
    if wild is None:
        wild = _PIECES.search(after)
        if wild is None:
            return Rule(named=named, literal=text, form=None, depth=depth)
        fixed = before + word + after[: wild.start()]
    else:
        fixed = before[: wild.start()]
    return Rule(
        named=named,
        literal=paths.split(fixed)[0],
        form=re.compile(_translated(before) + re.escape(word) + _translated(after), re.DOTALL),
        depth=_ANY_DEPTH if "**" in before + after else depth,
    )


def _whole(pattern: str) -> str:
    """Return a pattern without the end that says "and all below", which is meant anyway."""
    while (shorter := pattern.rstrip("/").removesuffix("/**")) != pattern:
        pattern = shorter
    return pattern


def _translated(pattern: str) -> str:
    return "".join(_MEANING.get(piece, re.escape(piece)) for piece in _PIECES.split(pattern))


class Matcher:
    """Answers, for a path that was reached from the root down, whether a rule covers it."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Take the rules."""
        rules = tuple(dict.fromkeys(rules))
        self.rules = rules
        self._literals = {rule.literal: rule for rule in rules if rule.form is None}
        self._forms = [rule for rule in rules if rule.form is not None]
        self._named: dict[str, set[str]] = {}
        for literal in self._literals:
            way = literal
            while way:
                above, _, name = way.rpartition("/")
                self._named.setdefault(above, set()).add(name)
                way = above
        self._leading = {parent for literal in self._literals for parent in paths.parents(literal)}

    def rule_of(self, path: str) -> Rule | None:
        """Return the first rule that matches a path itself, none of whose directories is matched; None for none."""
        found = self._literals.get(path)
        if found is not None:
            return found
        return next((rule for rule in self._forms if rule.form is not None and rule.form.fullmatch(path)), None)

    def covering(self, path: str) -> Rule | None:
        """Return a rule that matches a path or a directory that it lies in; None for none."""
        ways = [*reversed(paths.parents(path)), path]
        return next((rule for way in ways if way and (rule := self.rule_of(way)) is not None), None)

    def reaches(self, directory: str) -> bool:
        """Return whether something below a directory may be matched; directories of which not are not looked into."""
        return directory in self._leading or self._may_form(directory)

    def names_in(self, directory: str) -> frozenset[str] | set[str] | None:
        """Return the names in a directory that are matched, or below which something may be; None for any name."""
        return None if self._may_form(directory) else self._named.get(directory, frozenset())

    def _may_form(self, directory: str) -> bool:
        """Return whether a pattern may match something below a directory."""
        if not self._forms:
            return False
        depth = directory.count("/") + 1 if directory else 0
        return any(
            rule.depth > depth and (paths.below(rule.literal, directory) or paths.below(directory, rule.literal))
            for rule in self._forms
        )
