"""``dv gc``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

from dvtool.cli import opening, output, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.operations.gc import GcResult

UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
LONGEST: Final = 36500 * 86400
"""A hundred years, in seconds: what is longer would not fit the calendar."""


class Duration(click.ParamType[int]):
    """A number of seconds, minutes, hours, days or weeks: ``90s``, ``30m``, ``12h``, ``14d``, ``2w``, ``0``."""

    name = "duration"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return seconds."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]{1,12})([smhdw]?)", value, flags=re.ASCII)
        if found is None or (not found[2] and int(found[1])):
            self.fail(f"{value!r} is no duration: write it as 90s, 30m, 12h, 14d, 2w or 0", param, ctx)
        seconds = int(found[1]) * UNITS[found[2]]
        if seconds > LONGEST:
            self.fail(f"{value!r} is more than a hundred years", param, ctx)
        return seconds


@shared.command("gc", "dv gc --dry-run", "dv gc", "dv gc --grace 2d --json")
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
@shared.json_option
@click.pass_obj
def gc_command(settings: Settings, *, dry_run: bool, grace: int, retention: int, json: bool) -> None:
    """Take out of the store what nothing needs any more, and merge small packs.

    Needed is what branches, tags, and the HEADs and stages of all worktrees lead to, now or within the retention.
    Everything else is condemned first, so that nobody relies on it any more, and deleted by a later call when the
    grace is over. So calling it now and then is enough, and it is safe beside other commands.
    """
    result = opening.open_repo(settings).gc(dry_run=dry_run, grace=grace, retention=retention)
    if json:
        output.as_json(result)
    else:
        _show(result)


def _show(result: GcResult) -> None:
    output.say(
        f"followed {output.quantity(result.snapshots, 'snapshot')} and {output.quantity(result.objects, 'object')}; "
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
    if not (result.rewritten.files or result.condemned.files or result.deleted.files):
        output.say("nothing to collect")
