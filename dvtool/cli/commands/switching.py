"""``dv checkout``, ``restore``, ``get`` and ``drop``: what lies in the worktree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings


@shared.command(
    "checkout",
    "dv checkout main",
    "dv checkout -b cleaning v1.0",
    "dv checkout --lock",
    "dv checkout --only data/train",
)
@click.argument("revision", required=False, metavar="[REV|BRANCH]")
@click.option("-b", "new_branch", metavar="NAME", help="Make this branch there, and switch to it.")
@click.option("--lock", "from_lock", is_flag=True, help="Go where dv.lock says.")
@click.option(
    "--only",
    multiple=True,
    metavar="PATH",
    help="Confine the worktree to PATH ('.' ends it); may be repeated.",
)
@click.option("--force", is_flag=True, help="Overwrite local changes, stored or not.")
@shared.json_option
@click.pass_obj
def checkout_command(
    settings: Settings,
    *,
    revision: str | None,
    new_branch: str | None,
    from_lock: bool,
    only: tuple[str, ...],
    force: bool,
    json: bool,
) -> None:
    """Switch the worktree to a branch, or to any snapshot."""
    if revision is None and new_branch is None and not from_lock and not only and not force:
        raise click.UsageError("name a revision, or one of -b, --lock, --only and --force")
    repo = opening.open_repo(settings)
    paths = tuple(repo.workspace.session.relative(path) for path in only)
    result = repo.checkout(revision, new_branch=new_branch, from_lock=from_lock, only=paths, force=force)
    if json:
        output.as_json(result)
        return
    place = f"branch {result.branch}" if result.branch else "detached"
    at = f" at {result.snapshot[:12]}" if result.snapshot else ""
    output.say(f"{place}{at}: {output.quantity(result.written, 'file')} written, {result.removed:,} removed")
    if result.kept:
        output.say(f"kept local changes of {output.quantity(len(result.kept), 'file')}")


@shared.command("restore", "dv restore data/labels.csv", "dv restore --source v1.0 data", "dv restore --staged data")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--source", metavar="REV", help="Take the content from this revision.")
@click.option("--staged", is_flag=True, help="Reset the stage, and leave the worktree alone.")
@click.option("--force", is_flag=True, help="Overwrite content that is stored nowhere.")
@shared.json_option
@click.pass_obj
def restore_command(
    settings: Settings, *, paths: tuple[str, ...], source: str | None, staged: bool, force: bool, json: bool
) -> None:
    """Bring paths back as they were staged or recorded."""
    result = opening.open_repo(settings).restore(paths, source=source, staged=staged, force=force)
    if json:
        output.as_json(result)
    elif staged:
        output.say(f"reset {output.quantity(result.staged, 'file')} in the stage")
    else:
        output.say(f"restored {output.quantity(result.written, 'file')}, removed {result.removed:,}")


@shared.command("get", "dv get data/images", "dv get .")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@shared.json_option
@click.pass_obj
def get_command(settings: Settings, *, paths: tuple[str, ...], json: bool) -> None:
    """Bring paths that were left out back into the worktree."""
    result = opening.open_repo(settings).get(paths)
    if json:
        output.as_json(result)
    else:
        output.say(f"brought back {output.quantity(result.files, 'file')}, {output.size(result.bytes)}")


@shared.command("drop", "dv drop data/images")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@shared.json_option
@click.pass_obj
def drop_command(settings: Settings, *, paths: tuple[str, ...], json: bool) -> None:
    """Remove copies from the worktree that are verified stored; they stay tracked."""
    result = opening.open_repo(settings).drop(paths)
    if json:
        output.as_json(result)
    else:
        output.say(
            f"dropped {output.quantity(result.files, 'file')}, {output.size(result.bytes)}; 'dv get' brings them back"
        )
