"""``dv status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import shared, status

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings


@shared.command("status", "dv status", "dv status --json | jq .unstaged.modified")
@shared.json_option
@click.pass_obj
def status_command(settings: Settings, *, json: bool) -> None:
    """Show what would be committed, and what would not."""
    status.show(settings, json=json)
