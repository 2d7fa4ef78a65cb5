"""What an erasure is about: paths, patterns of paths, subjects, authors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import globs, paths
from dvtool.errors import UsageError
from dvtool.formats import project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.formats.project import Subject
    from dvtool.globs import Glob

LIMIT: Final = 1024
"""Characters of the id of a subject: more than any name has."""


class Targets(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is to go: ``patterns`` of paths as given, relative to the root; ``subjects`` by id; authors by address."""

    patterns: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()

    def is_empty(self) -> bool:
        """Return whether nothing is named."""
        return not (self.patterns or self.subjects or self.authors)


def by_subject(identity: str, rules: Sequence[Subject]) -> list[Glob]:
    """Return the patterns of the paths of a subject.

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
    return [globs.by_word(pattern, project.SUBJECT, identity, named=f"subject {identity}") for pattern in found]
