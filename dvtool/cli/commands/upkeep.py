"""``dv config``, ``undo``, ``oplog``, ``doctor``, ``upgrade`` and ``completion``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import exits, opening, output, shared
from dvtool.errors import DvError, NotFoundError

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.repo import Repo


@shared.command(
    "config", "dv config", "dv config user.name 'Ada Lovelace'", "dv config --user user.email ada@example.org"
)
@click.argument("key", required=False)
@click.argument("value", required=False)
@click.option("--user", is_flag=True, help="Set it for all worktrees of this user.")
@click.option("--unset", is_flag=True, help="Remove the setting.")
@shared.json_option
@click.pass_obj
def config_command(
    settings: Settings, *, key: str | None, value: str | None, user: bool, unset: bool, json: bool
) -> None:
    """Show or change personal settings."""
    from dvtool.operations import config
    from dvtool.storage.disk import Disk

    if unset and (key is None or value is not None):
        raise click.UsageError("--unset takes the name of one setting")
    repo = None if user else _maybe_repo(settings)
    workspace = repo.workspace if repo is not None else None
    if key is None:
        found = config.show(workspace)
        if json:
            output.as_json(found)
        for setting in [] if json else found:
            output.say(f"{setting.key} = {output.harmless(setting.value or '')}  ({setting.origin})")
    elif value is None and not unset:
        setting = config.get(workspace, key)
        if json:
            output.as_json(setting)
        else:
            output.say(setting.value or "")
    else:
        changed = config.put(workspace, key, None if unset else value, Disk())
        if json:
            output.as_json(changed)


@shared.command("undo", "dv undo", "dv undo --redo", "dv undo --json")
@click.option("--redo", is_flag=True, help="Take back the last undo.")
@shared.json_option
@click.pass_obj
def undo_command(settings: Settings, *, redo: bool, json: bool) -> None:
    """Take back what the last operation did to branches, tags, HEAD and stage.

    Files in the worktree stay as they are. Repeated, it goes further back; it cannot go back behind an erasure.
    """
    result = opening.open_repo(settings).undo(redo=redo)
    if json:
        output.as_json(result)
        return
    item = result.undone
    output.say(f"taken back: operation {item.number}, {item.operation}, of {item.time}")
    for move in item.refs:
        output.say(f"    {move.ref}: {_short(move.after)} -> {_short(move.before)}")
    output.say("files in the worktree are as they were: 'dv status' shows how they differ")


@shared.command("oplog", "dv oplog", "dv oplog -n 10 --json")
@click.option("-n", "limit", type=click.IntRange(min=0), metavar="N", help="Show at most N operations.")
@shared.json_option
@click.pass_obj
def oplog_command(settings: Settings, *, limit: int | None, json: bool) -> None:
    """Show what was done to the store, newest first."""
    items = opening.open_repo(settings).oplog(limit=limit)
    if json:
        output.as_json(items)
        return
    for item in items:
        takes_back = f", takes back {item.undoes}" if item.undoes is not None else ""
        output.say(f"{output.paint(str(item.number), 'id')} {item.time} {item.operation}{takes_back}")
        for move in item.refs:
            output.say(f"    {move.ref}: {_short(move.before)} -> {_short(move.after)}")


@shared.command("doctor", "dv doctor", "dv doctor --json")
@shared.json_option
@click.pass_context
def doctor_command(ctx: click.Context, *, json: bool) -> int:
    """Check versions, fast paths, clock, file system, identity, keys and pending work."""
    from dvtool.operations import doctor

    settings: Settings = ctx.obj
    repo: Repo | None = None
    failure: DvError | None = None
    try:
        repo = opening.open_repo(settings)
    except NotFoundError as error:
        failure = error if "store" in error.what else None
    except DvError as error:
        failure = error
    found = doctor.doctor(repo.workspace if repo is not None else None, failure)
    if json:
        output.as_json(found)
    else:
        said: dict[str, str] = {}
        for check in found.checks:
            colour = {"ok": "added", "warning": "modified", "failed": "removed"}[check.result]
            output.say(f"{output.paint(f'{check.result:8}', colour)} {check.name}: {check.found}")
            if check.next:
                before = said.setdefault(check.next, check.name)
                output.say(f"         next: {check.next if before == check.name else f'as for {before}'}")
    return exits.DONE if found.healthy else exits.DIFFERENT


@shared.command("upgrade", "dv upgrade", "dv upgrade --json")
@shared.json_option
@click.pass_obj
def upgrade_command(settings: Settings, *, json: bool) -> None:
    """Bring the store to the version of the format that this dv writes.

    There is one version so far, so a store either has it, or was made by a newer dv and is refused.
    """
    found = opening.open_repo(settings).upgrade()
    if json:
        output.as_json(found)
    else:
        output.say(f"nothing to do: the store has version {found.after} of the format, the newest that this dv knows")


@shared.command(
    "completion", "dv completion bash >> ~/.bashrc", "dv completion fish > ~/.config/fish/completions/dv.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="SHELL")
def completion_command(*, shell: str) -> None:
    """Print the script that completes dv's commands in bash, zsh or fish."""
    from click.shell_completion import get_completion_class

    from dvtool.cli.program import dv

    found = get_completion_class(shell)
    if found is None:
        raise NotFoundError(f"there is no completion for {shell!r}", next="try bash, zsh or fish")
    output.say(found(dv, {}, "dv", "_DV_COMPLETE").source())


def _maybe_repo(settings: Settings) -> Repo | None:
    try:
        return opening.open_repo(settings)
    except NotFoundError:
        return None


def _short(value: str | None) -> str:
    if value is None:
        return "nothing"
    return value if "/" in value else value[:12]
