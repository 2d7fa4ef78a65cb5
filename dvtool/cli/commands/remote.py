"""``dv remote``: which stores elsewhere there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import exits, opening, output, passphrase, shared
from dvtool.errors import ChecksFailedError

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.operations.remote_check import RemoteReport


@click.group(
    "remote",
    epilog=shared.example("dv remote add origin s3://bucket/data", "dv remote list", "dv remote check origin"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
def remote_command() -> None:
    """Look after remotes: stores elsewhere, to which data is pushed and from which it is fetched."""


@remote_command.command(
    "add",
    epilog=shared.example(
        "dv remote add origin s3://bucket/data",
        "dv remote add backup /mnt/backup/data",
        "dv remote add origin s3://bucket/data --option endpoint_url=http://127.0.0.1:9000",
    ),
)
@click.argument("name")
@click.argument("url")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option for the file system (endpoint_url, region, profile); never a credential. May be repeated.",
)
@shared.json_option
@click.option("--keys", metavar="URL", help="Keep the repository's key at another place, which guards it.")
@passphrase.options
@click.option("--single-writer", is_flag=True, help="Use a place that cannot keep two writers apart; you are the one.")
@click.pass_obj
def add_subcommand(
    settings: Settings,
    *,
    name: str,
    url: str,
    options: tuple[str, ...],
    keys: str | None,
    passphrase_file: str | None,
    recipients: tuple[str, ...],
    plain_keys: bool,
    single_writer: bool,
    json: bool,
) -> None:
    """Write a remote into dv.toml; the first push makes a store there."""
    pairs = shared.pairs(options, "--option")
    repo = opening.open_repo(settings)
    protection = passphrase.named(
        repo.workspace.session.context.cwd,
        passphrase_file=passphrase_file,
        recipients=recipients,
        plain_keys=plain_keys,
    )
    item = repo.add_remote(name, url, options=pairs, keys=keys, protection=protection, single_writer=single_writer)
    if json:
        output.as_json(item)
    else:
        output.say(f"added remote {item.name}: {item.url}")


@remote_command.command("list", epilog=shared.example("dv remote list", "dv remote list --json"))
@shared.json_option
@click.pass_obj
def list_subcommand(settings: Settings, *, json: bool) -> None:
    """List the remotes of dv.toml."""
    items = opening.open_repo(settings).remotes()
    if json:
        output.as_json(items)
        return
    for item in items:
        output.say(f"{item.name}  {item.url}" + ("" if item.seen else "  (not reached yet)"))


@remote_command.command("remove", epilog=shared.example("dv remote remove backup"))
@click.argument("name")
@click.option("--force", is_flag=True, help="Remove it although this lazy clone brings its data from there.")
@shared.json_option
@click.pass_obj
def remove_subcommand(settings: Settings, *, name: str, force: bool, json: bool) -> None:
    """Take a remote out of dv.toml; what lies there stays."""
    item = opening.open_repo(settings).remove_remote(name, force=force)
    if json:
        output.as_json(item)
    else:
        output.say(f"removed remote {item.name}; what lies at {item.url} is untouched")


@remote_command.command("rename", epilog=shared.example("dv remote rename origin old"))
@click.argument("old")
@click.argument("new")
@shared.json_option
@click.pass_obj
def rename_subcommand(settings: Settings, *, old: str, new: str, json: bool) -> None:
    """Give a remote another name, here alone."""
    item = opening.open_repo(settings).rename_remote(old, new)
    if json:
        output.as_json(item)
    else:
        output.say(f"renamed remote {old} to {item.name}")


@remote_command.command("set-url", epilog=shared.example("dv remote set-url origin s3://other-bucket/data"))
@click.argument("name")
@click.argument("url")
@shared.json_option
@click.pass_obj
def set_url_subcommand(settings: Settings, *, name: str, url: str, json: bool) -> None:
    """Give a remote another URL, and forget what was seen at the old one."""
    item = opening.open_repo(settings).set_remote_url(name, url)
    if json:
        output.as_json(item)
    else:
        output.say(f"remote {item.name} is at {item.url} now")


@remote_command.command("check", epilog=shared.example("dv remote check", "dv remote check origin --json"))
@click.argument("name", required=False)
@shared.json_option
@click.pass_obj
def check_subcommand(settings: Settings, *, name: str | None, json: bool) -> int:
    """Find out what a remote can do, and what follows for safety and for erasure.

    One small file is written there, read and removed again. The exit code is 1 when the place is not safe to use, or
    the store there does not open.
    """
    found = opening.open_repo(settings).check_remote(name)
    if json:
        output.as_json(found)
    else:
        _show(found)
    return exits.DONE if found.safe else exits.CODES[ChecksFailedError]


def _show(found: RemoteReport) -> None:
    output.say(f"remote {found.remote}: {found.url}")
    place = found.place
    for what, word in (
        ("reading", place.reading),
        ("listing", place.listing),
        ("writing", place.writing),
        ("deleting", place.deleting),
        ("exclusive creation", place.exclusive),
        ("versioning", place.versioning),
        ("soft delete", place.soft_delete),
        ("object lock", place.lock),
    ):
        output.say(f"  {what + ':':20}{output.harmless(word)}")
    if place.skew is not None:
        output.say(f"  {'clock:':20}{place.skew / 1_000_000:+.0f} s")
    store = found.store
    if store.opens:
        entries = output.quantity(store.entries or 0, "log entry", "log entries")
        output.say(f"  {'store:':20}format {store.version}, opens, {entries}")
    else:
        output.say(f"  {'store:':20}{'does not open' if store.there else 'none'}")
    for each in found.follows:
        output.say(f"{each.about}: {output.harmless(each.text)}", colour="removed" if each.serious else None)
