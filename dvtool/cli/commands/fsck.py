"""``dv fsck``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import exits, opening, output, shared
from dvtool.cli.sizes import Size
from dvtool.errors import IntegrityError

if TYPE_CHECKING:
    from dvtool.checking import Repair, Report
    from dvtool.cli.opening import Settings

SHOWN = 40
"""Lines of one kind that are shown to people; --json lists all."""


@shared.command(
    "fsck",
    "dv fsck",
    "dv fsck --quick",
    "dv fsck --max-bytes 100GB --json",
    "dv fsck --remote origin --quick",
    "dv fsck --repair",
    "dv fsck --repair --from /mnt/backup/data",
    "dv fsck --repair --from-remote origin",
    "dv fsck --remote origin --repair",
)
@click.option("--quick", is_flag=True, help="Hold files against their checksums only; needs no key.")
@click.option("--full", is_flag=True, help="Open everything, and follow every link (the default).")
@click.option(
    "--max-bytes",
    type=Size(),
    metavar="N",
    help="Read packs of about N bytes (or 10MB, 1.5GiB), those first whose last check is longest ago.",
)
@click.option("--remote", metavar="NAME", help="Check the store of this remote instead of the one here.")
@click.option("--repair", is_flag=True, help="Mend what can be mended; damaged files are kept in .dv/quarantine.")
@click.option(
    "--from",
    "source",
    metavar="DIR",
    type=click.Path(),
    help="With --repair: take intact copies from DIR as well, a backup of the store, another repository, or files.",
)
@click.option(
    "--from-remote",
    "source_remote",
    metavar="NAME",
    help="With --repair: take intact packs, and lost objects, from this remote as well.",
)
@click.option(
    "--give-up-entries",
    is_flag=True,
    help="With --repair: go on without entries of the log that are lost. What they did to branches is lost with them.",
)
@shared.json_option
@click.pass_obj
def fsck_command(
    settings: Settings,
    *,
    quick: bool,
    full: bool,
    max_bytes: int | None,
    remote: str | None,
    repair: bool,
    source: str | None,
    source_remote: str | None,
    give_up_entries: bool,
    json: bool,
) -> int:
    """Check that the store holds what it should. It changes nothing unless --repair is given.

    Damage is named: files, objects, and the paths, snapshots and runs that it hits. The exit code is then 20.

    --repair takes whole files and objects from DIR, writes key and index files anew from the packs, moves what is sound
    out of damaged packs, and looks for lost content in the worktree and in DIR. Then it checks again, and says what is
    still missing. With --remote it mends that remote, with the packs and objects that are here.
    """
    from dvtool.repo import Repo

    if quick and full:
        raise click.UsageError("--quick and --full exclude each other")
    if repair and (quick or max_bytes is not None):
        raise click.UsageError("--repair checks everything: leave out --quick and --max-bytes")
    helped = source is not None or source_remote is not None or give_up_entries
    if helped and not repair:
        raise click.UsageError("--from, --from-remote and --give-up-entries go with --repair")
    if helped and remote is not None:
        raise click.UsageError("a remote is mended with what is here: leave out what goes with --repair alone")
    context = opening.context(settings)
    if repair and remote is not None:
        found = opening.open_repo(settings).repair_remote(remote)
    elif repair:
        found = Repo.repair(
            settings.directory, context, source=source, remote=source_remote, give_up_entries=give_up_entries
        )
    elif remote is not None:
        found = opening.open_repo(settings).fsck_remote(remote, quick=quick, max_bytes=max_bytes)
    else:
        found = Repo.fsck(settings.directory, context, quick=quick, max_bytes=max_bytes)
    if json:
        output.as_json(found)
    else:
        _show(found, remote)
    return exits.DONE if found.clean else exits.CODES[IntegrityError]


def _other(remote: str | None) -> str:
    """Return where else there may be something to mend with."""
    if remote is not None:
        return "in a clone that has more"
    return "with --from DIR or --from-remote NAME when there is another copy"


def _show_repair(done: Repair) -> None:
    for name in done.restored:
        output.say(f"  {name}: taken from another copy", colour="added")
    for name in done.rebuilt:
        output.say(f"  {name}: written anew from the packs", colour="added")
    if done.worktree is not None:
        output.say("  .dv/worktree: made anew; what is not here counts as left out: 'dv get' brings it", colour="added")
    if done.copied:
        output.say(f"{output.quantity(done.copied, 'object')} moved out of damaged packs")
    if done.recovered:
        output.say(f"{output.quantity(done.recovered, 'lost object')} found elsewhere and stored again")
    if done.quarantine is not None:
        output.say(f"{output.quantity(len(done.quarantined), 'damaged file')} kept in {output.quoted(done.quarantine)}")
    for name in done.given_up:
        output.say(f"  {name}: given up", colour="removed")
    for identity in done.unnamed:
        output.say(f"snapshot {identity[:12]} has lost its name: bring it back with 'dv branch NAME {identity[:12]}'")
    if done.runs:
        output.say(f"{output.quantity(len(done.runs), 'run')}: the name is back")
    for identity in done.holds:
        output.say(
            f"hold {identity} is back: if it had been released, release it again with 'dv hold release {identity}'"
        )
    mended = (done.restored, done.rebuilt, done.copied, done.recovered, done.quarantined, done.given_up, done.worktree)
    if not any(mended):
        output.say("there was nothing that could be mended")


def _show(found: Report, remote: str | None) -> None:
    if found.repair is not None:
        _show_repair(found.repair)
    checked = found.checked
    output.say(f"checked {output.quantity(checked.files, 'file')} of the store, {output.size(checked.bytes)}")
    if found.mode == "full":
        output.say(
            f"opened {output.quantity(checked.frames, 'object')} and followed "
            f"{output.quantity(checked.snapshots, 'snapshot')}"
            + (f" and {output.quantity(checked.runs, 'run')}" if checked.runs else "")
        )
    if found.absent:
        output.say(f"{output.quantity(found.absent, 'content')} of files lie at the remote, in whole or in part")
    if found.left:
        output.say(f"{output.quantity(found.left, 'pack')} were left for another time")
    for problem in found.problems[:SHOWN]:
        why = f": {problem.why}" if problem.why else ""
        output.say(f"  {problem.file}: {problem.what}{why}", colour="removed")
    for lost in found.objects[:SHOWN]:
        output.say(f"  {lost.kind} {lost.id[:16]}: {lost.why}", colour="removed")
    for path in found.paths[:SHOWN]:
        hit = [*(snapshot[:12] for snapshot in path.snapshots), *(f"run {name}" for name in path.runs)]
        more = f" and {len(hit) - 3:,} more" if len(hit) > 3 else ""  # noqa: PLR2004 - as above
        output.say(f"  {output.quoted(path.path)}: {path.why} (in {', '.join(hit[:3])}{more})", colour="removed")
    hidden = sum(max(0, len(each) - SHOWN) for each in (found.problems, found.objects, found.paths))
    if hidden:
        output.say(f"  … and {hidden:,} more (all of them with --json)")
    if found.clean:
        output.say("no damage found")
    elif found.repair is not None:
        if remote is None and any(problem.file.startswith("log/") for problem in found.problems):
            output.say(
                "if there is no other copy of those log entries, --give-up-entries goes on without them",
                colour="removed",
            )
        output.say(
            f"this is still missing or damaged; run it again {_other(remote)}. "
            "What lies elsewhere comes out all the same",
            colour="removed",
        )
    else:
        output.say(
            "damage was found; nothing was changed, and what lies elsewhere still comes out. "
            f"'dv fsck {f'--remote {remote} ' if remote is not None else ''}--repair' mends what it can",
            colour="removed",
        )
