"""What the worktree holds that the stage does not: stat data first, content where they leave a doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.errors import UsageError
from dvtool.formats import tree
from dvtool.formats.tree import Entry
from dvtool.formats.worktree_index import UNKNOWN_STAT
from dvtool.worktree import ingest, stats
from dvtool.worktree.index import Row
from dvtool.worktree.scan import Findings, Scanner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.store.editing import Changes, Scratch
    from dvtool.worktree.session import Session
    from dvtool.worktree.stats import Stat


class WorktreeChanges(msgspec.Struct, kw_only=True):
    """Files and directories that differ from the stage.

    ``modified`` and ``added`` map a path to its entry, or to None where the content was not asked for; of
    ``unreadable`` directories nothing is known, see :class:`~dvtool.worktree.scan.Findings`.
    """

    modified: dict[str, Entry | None]
    added: dict[str, Entry | None]
    removed: list[str]
    new_directories: list[str]
    gone_directories: list[str]
    problems: list[tuple[str, str]]
    leftovers: list[str]
    unreadable: list[str]

    @property
    def is_clean(self) -> bool:
        """Return whether nothing differs."""
        return not (
            self.modified
            or self.added
            or self.removed
            or self.new_directories
            or self.gone_directories
            or self.problems
        )


def scan(session: Session, tops: Iterable[str] | None = None, *, new: bool = True) -> Findings:
    """Return what stat data tell about the worktree at and below ``tops`` (all tracked roots by default).

    Without ``new`` nobody asks for new files, and so Git is not asked which of them are its own.
    """
    view = session.stage()
    scanner = Scanner(session.root, session.index(), session.ignore, session.left_out())
    wanted = set(view.roots if tops is None else tops)
    found = scanner.scan([top for top in sorted(wanted) if not any(parent in wanted for parent in paths.parents(top))])
    if found.added and new:
        found.leave(session.held_by_git(found.added_paths()))
    return found


def inspect(
    session: Session, tops: Iterable[str] | None = None, *, contents: bool = False, new: bool = True
) -> WorktreeChanges:
    """Return how the worktree differs from the stage.

    Args:
        session: the worktree.
        tops: where to look; all tracked roots by default.
        contents: whether to make the ids of everything modified and added, which reads those files.
        new: as for :func:`scan`.
    """
    found = scan(session, tops, new=new)
    index = session.index()
    changes = WorktreeChanges(
        modified={},
        added=dict.fromkeys(found.added_paths()),
        removed=found.removed,
        new_directories=found.new_directories,
        gone_directories=found.gone_directories,
        problems=found.problems,
        leftovers=found.leftovers,
        unreadable=found.unreadable,
    )
    doubted: set[str] = set()
    for path, stat in found.doubtful:
        row = index.row(path)
        if row is not None and not contents and is_surely_changed(row, stat):
            changes.modified[path] = None
        else:
            doubted.add(path)
    to_read = ingest.by_directory(doubted)
    if contents:
        to_read = ingest.together(to_read, found.added)
    if not to_read:
        return changes
    result = ingest.ingest(session.store, session.root, to_read, None, session.context.progress)
    changes.problems += result.problems
    for path, entry, seen in result.entries():
        if path not in doubted:
            changes.added[path] = entry
            continue
        row = index.row(path)
        if row is not None and (row.kind, row.size, row.id) == entry[:3]:
            if seen not in {row.stat, UNKNOWN_STAT}:
                directory, name = paths.split(path)
                index.set(directory, name, Row(row.kind, row.size, row.id, seen))
        else:
            changes.modified[path] = entry
    changes.removed += [path for path in result.vanished if path in doubted]
    for path in result.vanished:
        changes.added.pop(path, None)
    return changes


def is_surely_changed(row: Row, found: Stat) -> bool:
    """Return whether a file differs from its row without a look at its content."""
    return row.kind == tree.ERASED or not stats.is_same_kind(row.kind, found[4]) or row.size != found[0]


def virtual_tree(session: Session, changes: WorktreeChanges) -> tuple[bytes | None, Scratch]:
    """Return the tree that the worktree would make, and the objects in memory that it consists of.

    ``changes`` must have been made with ``contents=True``.
    """
    objects = session.scratch()
    view = session.stage()
    edits = to_edits(changes)
    if view.tree is None and not edits:
        return None, objects
    return session.editor(objects).apply(view.tree, edits), objects


def to_edits(changes: WorktreeChanges) -> Changes:
    """Return changes as an editor takes them."""
    edits: Changes = {}
    gone = set(changes.gone_directories)
    for path in changes.removed:
        directory, name = paths.split(path)
        if directory not in gone:
            edits.setdefault(directory, {})[name] = None
    for path in gone:
        directory, name = paths.split(path)
        if directory not in gone:
            edits.setdefault(directory, {})[name] = None
    for path in changes.new_directories:
        edits.setdefault(path, {})
    for group in (changes.modified, changes.added):
        for path, entry in group.items():
            directory, name = paths.split(path)
            edits.setdefault(directory, {})[name] = entry
    return edits


def refuse_problems(problems: list[tuple[str, str]], *, doing: str) -> None:
    """Raise one error that lists everything that cannot be stored.

    Raises:
        UsageError: when there is anything.
    """
    if problems:
        raise UsageError(
            f"{len(problems)} path{'s' if len(problems) > 1 else ''} cannot be stored, so nothing was {doing}",
            items=tuple(f"{path}: {reason}" for path, reason in sorted(problems)),
            next="mend or remove them, or name them in .dvignore",
        )
