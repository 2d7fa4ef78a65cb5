"""``dv status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import output, shared

if TYPE_CHECKING:
    from dvtool.cli.main import Settings
    from dvtool.operations.status import Paths, Status

SHOWN = 40
"""Paths of one kind that are listed for people; --json lists all."""


@shared.command("status", "dv status", "dv status --json | jq .unstaged.modified")
@shared.json_option
@click.pass_obj
def status_command(settings: Settings, *, json: bool) -> None:
    """Show what would be committed, and what would not."""
    found = shared.open_repo(settings).status()
    if json:
        output.as_json(found)
        return
    _show(found)


def _show(found: Status) -> None:
    place = f"on branch {found.branch}" if found.branch else "detached"
    at = f"at {found.snapshot[:12]}" if found.snapshot else "no snapshot yet"
    output.say(f"{place}, {at}")
    if found.merging:
        output.say(f"merging {', '.join(parent[:12] for parent in found.merging)}: 'dv commit' records the merge")
    if not found.lock.matches:
        output.say("dv.lock names another snapshot: 'dv checkout --lock' brings the data there", colour="removed")
    if found.sparse:
        output.say(f"sparse: {', '.join(output.quoted(path) for path in found.sparse)}")
    for erasure in found.pending_erasures:
        output.say(f"erasure {erasure} is not finished: until it is, nothing can be recorded", colour="removed")
    _list("staged for the next commit", found.staged)
    _list("changed in the worktree, not staged ('dv add' stages it)", found.unstaged)
    if found.unstorable:
        output.say("cannot be stored:")
        for line in found.unstorable[:SHOWN]:
            output.say(f"  {line}", colour="removed")
    if found.clean:
        output.say("nothing to commit, the worktree is clean" if found.snapshot else "nothing staged: 'dv add PATH'")


def _list(title: str, paths: Paths) -> None:
    if paths.is_empty:
        return
    output.say(f"{title}:")
    for word, names in (("added", paths.added), ("modified", paths.modified), ("removed", paths.removed)):
        for name in names[:SHOWN]:
            output.say(f"  {word:9}{output.quoted(name)}", colour=word)
        if len(names) > SHOWN:
            output.say(f"  {word:9}… and {len(names) - SHOWN:,} more", colour=word)
