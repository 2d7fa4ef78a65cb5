"""What ``dv status`` prints; needs no parser, so that it starts quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.cli import opening, output

if TYPE_CHECKING:
    from dvtool.operations.status import Paths, Status

SHOWN = 40
"""Paths of one kind that are listed for people; --json lists all."""


def show(settings: opening.Settings, *, json: bool) -> None:
    """Print the state of the worktree, as words or as one document."""
    found = opening.open_repo(settings).status()
    if json:
        output.as_json(found)
        return
    _show(found)


def _show(found: Status) -> None:
    place = f"on branch {found.branch}" if found.branch else "detached"
    at = f"at {found.snapshot[:12]}" if found.snapshot else "no snapshot yet"
    output.say(f"{place}, {at}")
    if found.ahead or found.behind:
        parts = [f"{count:,} snapshot{'s' if count > 1 else ''} {word}" for count, word in _distances(found) if count]
        output.say(f"{' and '.join(parts)} the remote, as last fetched")
    if found.merging:
        output.say(f"merging {', '.join(parent[:12] for parent in found.merging)}: 'dv commit' records the merge")
    if found.lock.problem is not None:
        output.say(f"{found.lock.problem}: 'dv checkout HEAD' writes it anew", colour="removed")
    elif not found.lock.matches:
        output.say("dv.lock names another snapshot: 'dv checkout --lock' brings the data there", colour="removed")
    if found.lock.interrupted:
        why = "is behind: a command was stopped" if found.lock.snapshot is not None else "is not written yet"
        output.say(f"dv.lock {why}; the next command that changes something writes it")
    if found.sparse:
        more = f" and {len(found.sparse) - SHOWN:,} more" if len(found.sparse) > SHOWN else ""
        named = ", ".join(
            output.quoted(path) if path else "everything that 'dv get' did not bring" for path in found.sparse[:SHOWN]
        )
        output.say(f"sparse: {named}{more}")
    for erasure in found.pending_erasures:
        output.say(f"erasure E-{erasure[:8]} was stopped before its end: run 'dv erasure resume'", colour="removed")
    staged = found.staged
    bare = (
        _bare(staged.roots_added, staged.added, staged.directories_added),
        _bare(staged.roots_removed, staged.removed, staged.directories_removed),
    )
    _list("staged for the next commit", staged, bare)
    _list("changed in the worktree, not staged ('dv add' stages it)", found.unstaged)
    if found.unstorable:
        output.say("cannot be stored, or not even looked at:")
        for line in found.unstorable[:SHOWN]:
            output.say(f"  {line}", colour="removed")
    if found.clean and not (found.merging or found.unstorable):
        output.say("nothing to commit, the worktree is clean" if found.snapshot else "nothing staged: 'dv add PATH'")


def _distances(found: Status) -> tuple[tuple[int, str], tuple[int, str]]:
    return (found.ahead or 0, "ahead of"), (found.behind or 0, "behind")


def _list(title: str, paths: Paths, roots: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())) -> None:
    if paths.is_empty:
        return
    output.say(f"{title}:")
    for word, names, directories, roots_of in (
        ("added", paths.added, paths.directories_added, roots[0]),
        ("modified", paths.modified, (), ()),
        ("removed", paths.removed, paths.directories_removed, roots[1]),
    ):
        lines = [output.quoted(name) for name in names]
        lines += [f"{output.quoted(name)}/ (directory)" for name in directories]
        lines += [f"{output.quoted(name)} (tracked root)" for name in roots_of]
        for line in lines[:SHOWN]:
            output.say(f"  {word:9}{line}", colour=word)
        if len(lines) > SHOWN:
            output.say(f"  {word:9}… and {len(lines) - SHOWN:,} more", colour=word)


def _bare(roots: tuple[str, ...], *told: tuple[str, ...]) -> tuple[str, ...]:
    """Return the roots at and below which no path is listed anyway."""
    listed = [path for paths in told for path in paths]
    return tuple(
        root for root in roots if not any(not root or path == root or path.startswith(root + "/") for path in listed)
    )
