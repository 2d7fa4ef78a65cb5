"""``dv worktree``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings


@click.group(
    "worktree",
    epilog=shared.example("dv worktree add ../review v1.0", "dv worktree list", "dv worktree remove ../review"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
def worktree_command() -> None:
    """Work on several snapshots of one store side by side."""


@worktree_command.command("add", epilog=shared.example("dv worktree add -b fix ../fix main"))
@click.argument("directory", metavar="DIR")
@click.argument("revision", required=False, metavar="[REV]")
@click.option("-b", "new_branch", metavar="NAME", help="Make this branch for it.")
@shared.json_option
@click.pass_obj
def add_subcommand(
    settings: Settings, *, directory: str, revision: str | None, new_branch: str | None, json: bool
) -> None:
    """Make another worktree."""
    made = opening.open_repo(settings).add_worktree(directory, revision, new_branch=new_branch)
    if json:
        output.as_json(made)
    else:
        place = f"branch {made.branch}" if made.branch else "detached"
        output.say(f"made a worktree in {made.path}, {place} at {(made.snapshot or '')[:12]}")


@worktree_command.command("list", epilog=shared.example("dv worktree list --json"))
@shared.json_option
@click.pass_obj
def list_subcommand(settings: Settings, *, json: bool) -> None:
    """List the worktrees of this store."""
    items = opening.open_repo(settings).worktrees()
    if json:
        output.as_json(items)
        return
    for item in items:
        place = item.branch or "detached"
        where = (item.path or item.id) + (" (missing)" if item.gone else "")
        output.say(f"{'*' if item.current else ' '} {where}  {place}  {(item.snapshot or '')[:12]}")


@worktree_command.command("remove", epilog=shared.example("dv worktree remove ../review"))
@click.argument("directory", metavar="DIR")
@click.option("--force", is_flag=True, help="Remove it with the changes it holds, or though it cannot be found.")
@shared.json_option
@click.pass_obj
def remove_subcommand(settings: Settings, *, directory: str, force: bool, json: bool) -> None:
    """Remove another worktree and the files in it that are stored."""
    gone = opening.open_repo(settings).remove_worktree(directory, force=force)
    if json:
        output.as_json(gone)
    else:
        output.say(f"removed the worktree in {gone.path}")
