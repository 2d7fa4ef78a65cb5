"""``dv push``, ``fetch``, ``pull`` and ``clone``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.operations.push import PushResult
    from dvtool.sharing.fetching import FetchResult, RefChange

RUNS_SHOWN = 3
"""Runs that are named one by one."""


@shared.command(
    "push", "dv push", "dv push origin main v1.0", "dv push origin --delete cleaning", "dv push --force-with-lease"
)
@click.argument("remote", required=False)
@click.argument("refs", nargs=-1, metavar="[REF]...")
@click.option("--delete", is_flag=True, help="Remove these branches, tags and runs from the remote.")
@click.option(
    "--force-with-lease",
    is_flag=True,
    help="Move a branch of the remote back or aside, if it is still where it was when last fetched.",
)
@shared.json_option
@click.pass_obj
def push_command(
    settings: Settings,
    *,
    remote: str | None,
    refs: tuple[str, ...],
    delete: bool,
    force_with_lease: bool,
    json: bool,
) -> None:
    """Send branches, tags and runs to a remote, with everything that they lead to.

    Without REF: the current branch, the tags on its history, and the runs that belong to it. What you push is visible
    there all at once, or not at all; stopped, it goes on where it was when you run it again.
    """
    result = opening.open_repo(settings).push(remote, refs, delete=delete, force_with_lease=force_with_lease)
    if json:
        output.as_json(result)
        return
    shared.say_followed(result.followed)
    if result.created:
        output.say(f"made a store at {result.remote}")
    _refs(result.refs)
    if result.refs:
        output.say(_moved("sent", result))
    else:
        output.say(f"{result.remote} has it all: {output.quantity(result.verified, 'pack')} verified present")


@shared.command("fetch", "dv fetch", "dv fetch origin")
@click.argument("remote", required=False)
@shared.json_option
@click.pass_obj
def fetch_command(settings: Settings, *, remote: str | None, json: bool) -> None:
    """Bring a remote's branches, tags and runs here, with all that they lead to; the worktree stays as it is."""
    result = opening.open_repo(settings).fetch(remote)
    if json:
        output.as_json(result)
    else:
        _fetched(result)


@shared.command("pull", "dv pull", "dv pull origin", "dv pull origin data/train")
@click.argument("remote", required=False)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@shared.json_option
@click.pass_obj
def pull_command(settings: Settings, *, remote: str | None, paths: tuple[str, ...], json: bool) -> None:
    """Fetch, then bring the current branch and the worktree forward to what the remote has.

    With PATH, these paths are also brought into a worktree that leaves them out.
    """
    repo = opening.open_or_found(settings)
    result = repo.pull(remote)
    brought = repo.get(paths) if paths else None
    if json:
        output.as_json(result)
        return
    _fetched(result.fetched)
    at = f"{result.branch} at {result.snapshot[:12]}"
    if result.result == "up-to-date":
        output.say(f"{at}: already up to date")
    else:
        output.say(f"{at}: {output.quantity(result.written, 'file')} written, {result.removed:,} removed")
    if brought is not None:
        output.say(f"brought back {output.quantity(brought.files, 'file')}, {output.size(brought.bytes)}")


@shared.command("clone", "dv clone s3://bucket/data", "dv clone /mnt/backup/data copy", "dv clone s3://b/data --lazy")
@click.argument("url")
@click.argument("directory", required=False, metavar="[DIR]")
@click.option("--lazy", is_flag=True, help="Leave the content of files at the remote until it is wanted.")
@click.option("--keys", metavar="URL", help="Where the repository's key is kept, if not with the data.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option for the file system (endpoint_url, region, profile); never a credential. May be repeated.",
)
@click.option(
    "--expires",
    type=click.IntRange(1),
    metavar="DAYS",
    help="Have erasures at the remote not wait for this clone after so many days (DV_CLONE_EXPIRES).",
)
@shared.json_option
@click.pass_obj
def clone_command(
    settings: Settings,
    *,
    url: str,
    directory: str | None,
    lazy: bool,
    keys: str | None,
    options: tuple[str, ...],
    expires: int | None,
    json: bool,
) -> None:
    """Make a repository out of a remote, in DIR or one named after it."""
    from dvtool.repo import Repo

    place = directory or os.path.basename(url.rstrip("/")).split(":")[-1]
    if not place:
        raise click.UsageError("name the directory for the clone")
    context = opening.context(settings)
    result = Repo.clone(
        url,
        os.path.join(context.cwd, place),
        context,
        lazy=lazy,
        keys=keys,
        options=shared.pairs(options, "--option"),
        expires=expires or 0,
    )
    if json:
        output.as_json(result)
        return
    _fetched(result.fetched)
    at = f", {result.branch} at {result.snapshot[:12]}" if result.snapshot else ", which is empty"
    output.say(f"cloned into {output.quoted(place)}{at}: {output.quantity(result.written, 'file')} written")
    if result.lazy:
        output.say("the content of files stays at the remote: 'dv get PATH' brings it, 'dv cat' and others as needed")


def _refs(changes: tuple[RefChange, ...]) -> None:
    """Say how refs moved; of more than a few runs only how many."""
    runs = sum(change.name.startswith("run ") for change in changes)
    if runs > RUNS_SHOWN:
        output.say(output.quantity(runs, "run"))
        changes = tuple(change for change in changes if not change.name.startswith("run "))
    for change in changes:
        before = output.paint(change.before[:12], "id") if change.before else "new"
        after = output.paint(change.after[:12], "id") if change.after else "gone"
        output.say(f"{output.quoted(change.name)}  {before} -> {after}")


def _fetched(result: FetchResult) -> None:
    shared.say_followed(result.followed)
    _refs(result.refs)
    output.say(_moved("received", result) if result.packs else f"nothing new at {result.remote}")


def _moved(verb: str, result: PushResult | FetchResult) -> str:
    packs = output.quantity(result.packs, "pack")
    return f"{verb} {output.quantity(result.objects, 'object')} in {packs}, {output.size(result.bytes)}"
