"""``dv fsck``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import exits, opening, output, shared
from dvtool.errors import IntegrityError

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.operations.fsck import Report

SHOWN = 40
"""Lines of one kind that are shown to people; --json lists all."""


@shared.command("fsck", "dv fsck", "dv fsck --quick", "dv fsck --max-bytes 100000000000 --json")
@click.option("--quick", is_flag=True, help="Hold files against their checksums only; needs no key.")
@click.option("--full", is_flag=True, help="Open everything, and follow every link (the default).")
@click.option(
    "--max-bytes",
    type=click.IntRange(min=0),
    metavar="N",
    help="Read packs of about N bytes, those first whose last check is longest ago.",
)
@shared.json_option
@click.pass_obj
def fsck_command(settings: Settings, *, quick: bool, full: bool, max_bytes: int | None, json: bool) -> int:
    """Check that the store holds what it should. It changes nothing.

    Damage is named: files, objects, and the paths and snapshots that it hits. The exit code is then 20.
    """
    from dvtool.repo import Repo

    if quick and full:
        raise click.UsageError("--quick and --full exclude each other")
    found = Repo.fsck(settings.directory, opening.context(settings), quick=quick, max_bytes=max_bytes)
    if json:
        output.as_json(found)
    else:
        _show(found)
    return exits.DONE if found.clean else exits.CODES[IntegrityError]


def _show(found: Report) -> None:
    checked = found.checked
    output.say(f"checked {output.quantity(checked.files, 'file')} of the store, {output.size(checked.bytes)}")
    if found.mode == "full":
        output.say(
            f"opened {output.quantity(checked.frames, 'object')} and followed "
            f"{output.quantity(checked.snapshots, 'snapshot')}"
        )
    if found.left:
        output.say(f"{output.quantity(found.left, 'pack')} were left for another time")
    for problem in found.problems[:SHOWN]:
        why = f": {problem.why}" if problem.why else ""
        output.say(f"  {problem.file}: {problem.what}{why}", colour="removed")
    for lost in found.objects[:SHOWN]:
        output.say(f"  {lost.kind} {lost.id[:16]}: {lost.why}", colour="removed")
    for path in found.paths[:SHOWN]:
        where = ", ".join(snapshot[:12] for snapshot in path.snapshots[:3])
        more = f" and {len(path.snapshots) - 3:,} more" if len(path.snapshots) > 3 else ""  # noqa: PLR2004 - as above
        output.say(f"  {output.quoted(path.path)}: {path.why} (in {where}{more})", colour="removed")
    hidden = sum(max(0, len(each) - SHOWN) for each in (found.problems, found.objects, found.paths))
    if hidden:
        output.say(f"  … and {hidden:,} more (all of them with --json)")
    if found.clean:
        output.say("no damage found")
    else:
        output.say("damage was found; nothing was changed, and what lies elsewhere still comes out", colour="removed")
