"""The rules of ``.dv/worktree`` that say which tracked paths are left out: what comes back, and what stays away.

A rule outlives what it is about: a path that is removed, or moved elsewhere, keeps it, so that an undo finds the path
as it was.  While the path is not tracked the rule says nothing, and it ends where a file at the path is staged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool import paths
from dvtool.formats.tree import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dvtool.formats.tree import Entry
    from dvtool.worktree.session import Session


def without(rules: Iterable[str], wanted: Sequence[str]) -> set[str]:
    """Return what is left of the rules about dropped paths when those at and below ``wanted`` go."""
    tops = set(wanted)
    return {rule for rule in rules if not paths.under(rule.removeprefix(paths.BACK), tops)}


def came_back(session: Session, there: Iterable[str]) -> None:
    """Record that files lie in the worktree, whatever was dropped there before."""
    rules = set(session.worktree.dropped)
    if not rules:
        return
    back = {path for path in there if paths.under(path, rules)}
    if back:
        rules -= back
        rules |= {paths.BACK + path for path in back if paths.under(path, rules)}
        session.set_sparse(only=session.worktree.only, dropped=tuple(shorter(session, rules)))


def stays_away(session: Session, missing: Iterable[str]) -> None:
    """Record that files are not in the worktree though they are tracked, so that they are not taken for removed."""
    rules = set(session.worktree.dropped)
    for path in missing:
        if not paths.under(path, rules):
            rules.discard(paths.BACK + path)
            rules |= set() if paths.under(path, rules) else {path}
    session.set_sparse(only=session.worktree.only, dropped=tuple(rules))


def shorter(session: Session, rules: set[str]) -> set[str]:
    """Return rules that say the same, with no more exceptions below a dropped directory than half of its files.

    Beyond that it is shorter to name what is still dropped.
    """
    tree_id = session.stage().tree
    exceptions: dict[str, set[str]] = {}
    for rule in rules:
        if rule.startswith(paths.BACK):
            above = next((parent for parent in paths.parents(rule[1:]) if parent in rules), None)
            if above is not None:
                exceptions.setdefault(above, set()).add(rule[1:])
    for above, back in exceptions.items():
        entry = session.trees.resolve(tree_id, above) if tree_id is not None else None
        if entry is None or entry.kind != DIRECTORY or 2 * len(back) <= entry.files:
            continue
        rules = rules - {above} - {paths.BACK + path for path in back}
        rules |= _others(session, entry, above, back)
    return rules


def _others(session: Session, entry: Entry, above: str, back: set[str]) -> set[str]:
    """Return what lies below a directory and neither leads to nor lies in ``back``."""
    leading = {parent for path in back for parent in paths.parents(path)}
    found = set()
    pending = [(above, entry)]
    while pending:
        directory, here = pending.pop()
        for name, below in session.trees.entries(here.id):
            path = paths.join(directory, name)
            if path in back:
                continue
            if path in leading and below.kind == DIRECTORY:
                pending.append((path, below))
            else:
                found.add(path)
    return found
