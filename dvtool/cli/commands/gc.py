"""``dv gc``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared
from dvtool.cli.times import Duration

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.operations.gc import GcResult


SHOWN = 40
"""Files that are shown to people; --json lists all."""


@shared.command("gc", "dv gc --dry-run", "dv gc", "dv gc --grace 2d --json", "dv gc --remote origin --dry-run")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option(
    "--grace",
    type=Duration(),
    default="14d",
    show_default=True,
    metavar="TIME",
    help="How long what was found useless stays before it is deleted. With 0 it goes now, which is safe only while no "
    "other process uses the store.",
)
@click.option(
    "--retention",
    type=Duration(),
    default="90d",
    show_default=True,
    metavar="TIME",
    help="How long 'dv undo' can bring back what branches, tags, HEAD and stage had.",
)
@click.option("--remote", metavar="NAME", help="Collect the garbage of this remote, by what its own log needs.")
@shared.json_option
@click.pass_obj
def gc_command(
    settings: Settings, *, dry_run: bool, grace: int, retention: int, remote: str | None, json: bool
) -> None:
    """Take out of the store what nothing needs any more, and merge small packs.

    Needed is what branches, tags, and the HEADs and stages of all worktrees lead to, now or within the retention.
    Everything else is condemned first, so that nobody relies on it any more, and deleted by a later call when the
    grace is over. So calling it now and then is enough, and it is safe beside other commands.

    At a remote that keeps versions of deleted files, those go as well; what it does not let go of is listed.
    """
    result = opening.open_repo(settings).gc(dry_run=dry_run, grace=grace, retention=retention, remote=remote)
    if json:
        output.as_json(result)
    else:
        _show(result)


def _show(result: GcResult) -> None:
    shared.say_followed(result.followed)
    runs = f", {output.quantity(result.runs, 'run')}" if result.runs else ""
    output.say(
        f"followed {output.quantity(result.snapshots, 'snapshot')}{runs} "
        f"and {output.quantity(result.objects, 'object')}; "
        f"{output.amount(result.kept, 'pack')} stay as they are"
    )
    would = "would be " if result.dry_run else ""
    if result.rewritten.files:
        output.say(f"  {would}written anew without garbage, or merged: {output.amount(result.rewritten, 'pack')}")
    if result.condemned.files:
        output.say(
            f"  {would}condemned, to be deleted when the grace is over: {output.amount(result.condemned, 'file')}"
        )
    if result.waiting.files:
        output.say(
            f"  condemned earlier, the first of them due at {result.due}: {output.amount(result.waiting, 'file')}"
        )
    if result.deleted.files:
        output.say(f"  {would}deleted: {output.amount(result.deleted, 'file')}")
    if result.uploads:
        output.say(f"  given up: {output.quantity(result.uploads, 'unfinished upload')}")
    for each in result.left[:SHOWN]:
        until = f" (until {each.until})" if each.until is not None else ""
        output.say(f"  {each.file} is kept by the place: {'; '.join(each.why)}{until}", colour="removed")
    if len(result.left) > SHOWN:
        output.say(f"  … and {len(result.left) - SHOWN:,} more (all of them with --json)", colour="removed")
    if not (result.left or result.uploads or result.rewritten.files or result.condemned.files or result.deleted.files):
        output.say("nothing to collect")
