"""``dv expire``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared
from dvtool.cli.times import Moment
from dvtool.errors import UsageError

if TYPE_CHECKING:
    import datetime as dt

    from dvtool.cli.opening import Settings
    from dvtool.operations.expire import ExpireResult


@shared.command(
    "expire",
    "dv expire --keep-last 30 --plan",
    "dv expire --before 2026-01-31",
    "dv expire --before 90d --yes --json",
)
@click.option("--before", type=Moment(), metavar="DATE", help="Drop what was made before this day, time or age.")
@click.option(
    "--keep-last",
    type=click.IntRange(min=1),
    metavar="N",
    help="Drop all but the newest N snapshots of each branch, and of each HEAD that is on none.",
)
@click.option("--plan", is_flag=True, help="Say what would go and what keeps the rest, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared.json_option
@click.pass_obj
def expire_command(
    settings: Settings, *, before: dt.datetime | None, keep_last: int | None, plan: bool, yes: bool, json: bool
) -> None:
    """Drop old snapshots from the history; 'dv gc' then frees the space that only they take.

    What a branch, a tag, or a HEAD names always stays, and so does every snapshot that the rule keeps for one of them.
    The others are gone for good: 'dv undo' does not bring them back. Ids of what stays do not change.

    DATE is a day (2026-01-31, from midnight in UTC), a time (2026-01-31T12:00:00Z) or an age (12h, 90d, 8w). A snapshot
    counts as no older than what it descends from.
    """
    repo = opening.open_repo(settings)
    found = repo.expire(before=before, keep_last=keep_last, plan=True)
    if not plan and found.expired:
        if not yes:
            _confirm(found, json=json)
        found = repo.expire(before=before, keep_last=keep_last, only=found.snapshots)
    if json:
        output.as_json(found)
    else:
        _show(found, would=plan)


def _confirm(found: ExpireResult, *, json: bool) -> None:
    if json or not sys.stdin.isatty():
        raise UsageError(
            f"{output.quantity(found.expired, 'snapshot')} would go for good, and nobody was asked",
            next="look at them with --plan, then say --yes",
        )
    _show(found, would=True)
    click.confirm("drop them?", abort=True)


def _show(found: ExpireResult, *, would: bool) -> None:
    if not found.expired:
        output.say(f"nothing to expire; kept: {output.quantity(found.kept, 'snapshot')}")
        return
    word = "would go" if would else "expired"
    output.say(f"{word}: {output.quantity(found.expired, 'snapshot')}, made from {found.oldest} to {found.newest}")
    if found.unreferenced:
        output.say(f"  only 'dv undo' still led to {found.unreferenced:,} of them")
    output.say(f"{'would stay' if would else 'kept'}: {output.quantity(found.kept, 'snapshot')}")
    keeping = [each for each in found.refs if would and each.kept]
    runs = [each.kept for each in keeping if each.ref.startswith("runs/")]
    for each in keeping:
        if not each.ref.startswith("runs/"):
            output.say(f"  {each.ref} at {each.snapshot[:12]} keeps {each.kept:,}")
    if runs:
        output.say(f"  what {output.quantity(len(runs), 'run')} read keeps {sum(runs):,}")
    if not would:
        output.say("their space is not free yet: run 'dv gc', and again when its grace of 14 days is over")
