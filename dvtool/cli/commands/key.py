"""``dv key``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, passphrase, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.operations.keys import KeyPlace, KeyState
    from dvtool.worktree.session import Context

SAID = {
    "plain": "the key stands in the clear: whoever reads the file has it",
    "passphrase": "the key is sealed by a passphrase",
    "recipients": "the key is sealed for its recipients:",
}


remote_option = click.option("--remote", metavar="NAME", help="The key of this remote instead of this clone's.")


@click.group(
    "key",
    epilog=shared.example(
        "dv key export ../key-backup", "dv key protect", "dv key identity", "dv key recipients add ada.txt"
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
def key_command() -> None:
    """Protect the key of the repository, share it, back it up."""


@key_command.command(
    "protect",
    epilog=shared.example(
        "dv key protect",
        "dv key protect --passphrase-file ~/secret/passphrase",
        "dv key protect --recipient me.txt --recipient ada.txt",
        "dv key protect --plain-keys",
        "dv key protect --remote origin --recipient ada.txt",
    ),
)
@passphrase.options
@remote_option
@shared.json_option
@click.pass_obj
def protect_subcommand(
    settings: Settings,
    *,
    passphrase_file: str | None,
    recipients: tuple[str, ...],
    plain_keys: bool,
    remote: str | None,
    json: bool,
) -> None:
    """Seal the key of this clone, or of a remote, by a passphrase, or for recipients, or put it in the clear again.

    Without options a passphrase is asked for. Nothing but the one file with the key is rewritten. From then on every
    command needs the passphrase (typed, or from DV_PASSPHRASE or DV_PASSPHRASE_FILE) or the identity of a recipient.
    """
    from dvtool.operations import keys

    workspace = opening.open_repo(settings).workspace
    context = workspace.session.context
    protection = passphrase.named(
        context.cwd, passphrase_file=passphrase_file, recipients=recipients, plain_keys=plain_keys
    )
    if remote is not None:
        found = keys.protect_remote(workspace, remote, protection or passphrase.new())
    else:
        found = keys.protect(keys.of_store(workspace), context, protection or passphrase.new())
    _show(found, json=json)


@key_command.command("identity", epilog=shared.example("dv key identity", "dv key identity --comment 'Ada' > ada.txt"))
@click.option("--new", is_flag=True, help="Make one, and fail if there is one already.")
@click.option("--comment", default="", metavar="TEXT", help="What others see beside it, when it is made.")
@shared.json_option
@click.pass_obj
def identity_subcommand(settings: Settings, *, new: bool, comment: str, json: bool) -> None:
    """Print the line by which others make you a recipient; your identity is made if there is none.

    The identity itself is private: $DV_IDENTITY, or ~/.config/dv/identity.
    """
    from dvtool.operations import keys

    found = keys.identity(opening.context(settings), new=new, comment=comment)
    if found.created:
        output.warn(f"made an identity in {output.quoted(found.path)}; keep it to yourself, and keep a copy of it")
    if json:
        output.as_json(found)
    else:
        output.say(found.recipient)


@key_command.group("recipients", epilog=shared.example("dv key recipients list"))
def recipients_group() -> None:
    """Say who can open the key."""


@recipients_group.command(
    "add", epilog=shared.example("dv key recipients add ada.txt", "dv key recipients add --remote origin ada.txt")
)
@click.argument("recipients", nargs=-1, required=True, metavar="FILE...")
@remote_option
@shared.json_option
@click.pass_obj
def add_subcommand(settings: Settings, *, recipients: tuple[str, ...], remote: str | None, json: bool) -> None:
    """Seal the key for the recipients in FILE too, or for one given as its line."""
    from dvtool.operations import keys

    _show(keys.add_recipients(*_place(settings, remote), recipients), json=json)


@recipients_group.command("remove", epilog=shared.example("dv key recipients remove ada.txt", "dv key rotate"))
@click.argument("recipients", nargs=-1, required=True, metavar="RECIPIENT...")
@remote_option
@shared.json_option
@click.pass_obj
def remove_subcommand(settings: Settings, *, recipients: tuple[str, ...], remote: str | None, json: bool) -> None:
    """Seal the key for all but some: files, comments, or the first letters of recipients.

    Who was removed may have kept what the key protects. 'dv key rotate' keeps from them what is added later.
    """
    from dvtool.operations import keys

    found = keys.remove_recipients(*_place(settings, remote), recipients)
    _show(found, json=json)
    if not json:
        command = "dv key rotate" if remote is None else f"dv key rotate --remote {remote}"
        output.say(f"who was removed may have kept the secrets: '{command}' replaces that of this store")


@recipients_group.command("list", epilog=shared.example("dv key recipients list --json"))
@remote_option
@shared.json_option
@click.pass_obj
def list_subcommand(settings: Settings, *, remote: str | None, json: bool) -> None:
    """List the recipients of the key."""
    from dvtool.operations import keys

    _show(keys.state(*_place(settings, remote)), json=json)


@key_command.command(
    "export", epilog=shared.example("dv key export ../key-backup", "dv key export /media/stick/key --plain-keys")
)
@click.argument("target", metavar="FILE")
@passphrase.options
@shared.json_option
@click.pass_obj
def export_subcommand(
    settings: Settings,
    *,
    target: str,
    passphrase_file: str | None,
    recipients: tuple[str, ...],
    plain_keys: bool,
    json: bool,
) -> None:
    """Write a backup of the key to FILE, sealed by a passphrase unless another protection is named."""
    from dvtool.operations import keys

    place, context = _place(settings)
    protection = passphrase.named(
        context.cwd, passphrase_file=passphrase_file, recipients=recipients, plain_keys=plain_keys
    )
    made = keys.export(place, context, target, protection or passphrase.new())
    if json:
        output.as_json(made)
        return
    how = {"plain": "in the clear", "passphrase": "sealed by the passphrase", "recipients": "sealed for the recipients"}
    output.say(f"wrote the key to {output.quoted(target)}, {how[made.protection]}")


@key_command.command("import", epilog=shared.example("dv key import ../key-backup"))
@click.argument("source", metavar="FILE")
@click.option("--force", is_flag=True, help="Replace a key that is whole, if FILE opens the store.")
@shared.json_option
@click.pass_obj
def import_subcommand(settings: Settings, *, source: str, force: bool, json: bool) -> None:
    """Put the key back from a backup, protected as the backup is, where the store's own is lost.

    FILE must be of this repository and open this store, or nothing is changed.
    """
    from dvtool.operations import keys

    context = opening.context(settings)
    _show(keys.bring_back(context.cwd, context, source, force=force), json=json)


@key_command.command(
    "rotate",
    epilog=shared.example(
        "dv key recipients remove bob.txt && dv key rotate",
        "dv key rotate --passphrase-file ~/secret/another",
        "dv key rotate --remote origin --recipient me.txt --recipient ada.txt",
    ),
)
@passphrase.options
@remote_option
@shared.json_option
@click.pass_obj
def rotate_subcommand(
    settings: Settings,
    *,
    passphrase_file: str | None,
    recipients: tuple[str, ...],
    plain_keys: bool,
    remote: str | None,
    json: bool,
) -> None:
    """Replace the secret of this store, or of a remote's, so that who knew it cannot read what is added from now on.

    Keys are sealed anew, data are not. The key stays protected as it is, but one that is sealed by a passphrase needs
    another. Stopped at any moment, the same command finishes it. Backups of the key from before no longer fit.

    Each store has a secret of its own. Other clones read that of a remote again when they next reach it.
    """
    from dvtool.operations import keys

    place, context = _place(settings, remote)
    protection = passphrase.named(
        context.cwd, passphrase_file=passphrase_file, recipients=recipients, plain_keys=plain_keys
    )
    found = keys.rotate(place, context, protection)
    _show(found, json=json)
    if not json:
        files = output.quantity(found.key_files, "key file")
        output.say(f"sealed anew: {files}, {output.quantity(found.log_keys, 'log key')}")
        if remote is None:
            output.say("backups of the key from before do not fit any more: 'dv key export FILE' makes another")
        else:
            output.say("other clones read the new key when they next reach the remote")


def _place(settings: Settings, remote: str | None = None) -> tuple[KeyPlace, Context]:
    from dvtool.operations import keys

    workspace = opening.open_repo(settings).workspace
    place = keys.of_remote(workspace, remote) if remote is not None else keys.of_store(workspace)
    return place, workspace.session.context


def _show(found: KeyState, *, json: bool) -> None:
    if json:
        output.as_json(found)
        return
    output.say(SAID[found.protection])
    for item in found.recipients:
        comment = f" {output.harmless(item.comment)}" if item.comment else ""
        output.say(f"    {item.recipient}{comment}{' (you)' if item.own else ''}")
