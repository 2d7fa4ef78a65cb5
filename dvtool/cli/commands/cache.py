"""``dv cache``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings


@click.group(
    "cache",
    epilog=shared.example("dv cache prune --dry-run", "dv cache prune"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
def cache_command() -> None:
    """Look after what dv keeps beside the store only to be faster."""


@cache_command.command("prune", epilog=shared.example("dv cache prune", "dv cache prune --dry-run --json"))
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@shared.json_option
@click.pass_obj
def prune_subcommand(settings: Settings, *, dry_run: bool, json: bool) -> None:
    """Remove caches, which dv makes anew, and what killed commands left unfinished.

    No file of the store is touched, and none of yours. Files of commands that are at work stay, and so do .dv/index
    (without it, all files would be read again) and .dv/cache/head (it notices a store that was rolled back).
    """
    from dvtool.repo import Repo

    found = Repo.prune_cache(settings.directory, opening.context(settings), dry_run=dry_run)
    if json:
        output.as_json(found)
        return
    would = "would be removed" if dry_run else "removed"
    if found.caches.files:
        output.say(f"{would}: {output.amount(found.caches, 'cache')}")
    if found.leftovers.files:
        output.say(f"{would}: {output.amount(found.leftovers, 'unfinished file')}, left by commands that are no more")
    if not (found.caches.files or found.leftovers.files):
        output.say("nothing to remove")
