"""``dv branch`` and ``dv tag``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.operations.refs import RefItem


@shared.command("branch", "dv branch", "dv branch cleaning v1.0", "dv branch -m old new", "dv branch -d cleaning")
@click.argument("name", required=False)
@click.argument("revision", required=False, metavar="[REV]")
@click.option("-d", "delete", is_flag=True, help="Remove the branch.")
@click.option("-m", "rename", is_flag=True, help="Rename branch NAME to the second name.")
@click.option("--force", is_flag=True, help="Remove it even if its snapshots are on no other branch.")
@shared.json_option
@click.pass_obj
def branch_command(
    settings: Settings,
    *,
    name: str | None,
    revision: str | None,
    delete: bool,
    rename: bool,
    force: bool,
    json: bool,
) -> None:
    """List branches, or make, rename or remove one."""
    repo = opening.open_repo(settings)
    if name is None:
        if delete or rename:
            raise click.UsageError("name the branch")
        _list(repo.branches(), json=json)
    elif delete:
        if revision is not None or rename:
            raise click.UsageError("-d takes the name of one branch")
        _one(repo.delete_branch(name, force=force), "removed branch", json=json)
    elif rename:
        if revision is None:
            raise click.UsageError("-m takes the old and the new name")
        _one(repo.rename_branch(name, revision), "renamed the branch to", json=json)
    else:
        _one(repo.create_branch(name, revision), "made branch", json=json)


@shared.command("tag", "dv tag", "dv tag v1.0", "dv tag -d v1.0")
@click.argument("name", required=False)
@click.argument("revision", required=False, metavar="[REV]")
@click.option("-d", "delete", is_flag=True, help="Remove the tag.")
@shared.json_option
@click.pass_obj
def tag_command(settings: Settings, *, name: str | None, revision: str | None, delete: bool, json: bool) -> None:
    """List tags, or make or remove one."""
    repo = opening.open_repo(settings)
    if name is None:
        if delete:
            raise click.UsageError("name the tag")
        _list(repo.tags(), json=json)
    elif delete:
        if revision is not None:
            raise click.UsageError("-d takes the name of one tag")
        _one(repo.delete_tag(name), "removed tag", json=json)
    else:
        _one(repo.create_tag(name, revision), "made tag", json=json)


def _list(items: list[RefItem], *, json: bool) -> None:
    if json:
        output.as_json(items)
        return
    for item in items:
        output.say(f"{'*' if item.current else ' '} {item.name}  {output.paint(item.snapshot[:12], 'id')}")


def _one(item: RefItem, words: str, *, json: bool) -> None:
    if json:
        output.as_json(item)
    else:
        output.say(f"{words} {item.name}" + (f" at {item.snapshot[:12]}" if item.snapshot else ""))
