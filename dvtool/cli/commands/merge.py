"""``dv merge``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.operations.merge import MergeResult


@shared.command(
    "merge",
    "dv merge labelling",
    "dv merge labelling --theirs data/labels.csv",
    "dv merge labelling --manual",
    "dv merge --abort",
)
@click.argument("revision", required=False, metavar="[REV]")
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--ours", is_flag=True, help="Keep this side's version of files in conflict; of PATHs only, if named.")
@click.option("--theirs", is_flag=True, help="Take the other side's version of files in conflict, likewise.")
@click.option("--manual", is_flag=True, help="Put the other side's versions beside them, and leave it to 'dv commit'.")
@click.option("--abort", is_flag=True, help="Drop a merge under way.")
@click.option("--force", is_flag=True, help="With --abort: overwrite edits of what the merge changed.")
@click.option("-m", "message", metavar="MSG", help="What the merge is about.")
@click.option("--author", metavar="'NAME <EMAIL>'", help="Who records this.")
@shared.json_option
@click.pass_obj
def merge_command(
    settings: Settings,
    *,
    revision: str | None,
    paths: tuple[str, ...],
    ours: bool,
    theirs: bool,
    manual: bool,
    abort: bool,
    force: bool,
    message: str | None,
    author: str | None,
    json: bool,
) -> None:
    """Merge another history into this one, file by file.

    What only one side changed is taken over. Files that both sides changed are never merged silently: they are listed,
    and nothing is touched until you decide.
    """
    if abort != (revision is None) or (abort and (ours or theirs or manual or message or author)):
        raise click.UsageError("name a revision to merge, or --abort alone")
    if ours and theirs:
        raise click.UsageError(
            "--ours and --theirs exclude each other: name the paths for one, and add --manual to keep the rest"
        )
    if paths and not (ours or theirs):
        raise click.UsageError("paths go with --ours or --theirs")
    if force and not abort:
        raise click.UsageError("--force goes with --abort")
    repo = opening.open_repo(settings)
    if revision is None:
        result = repo.abort_merge(force=force)
    else:
        only = tuple(repo.workspace.session.relative(path) for path in paths)
        prefer = "ours" if ours else "theirs" if theirs else None
        result = repo.merge(revision, prefer=prefer, only=only, manual=manual, message=message, author=author)
    if json:
        output.as_json(result)
        return
    _show(result)


def _show(result: MergeResult) -> None:
    at = output.paint(result.snapshot[:12], "id")
    counts = f"{output.quantity(result.written, 'file')} written, {result.removed:,} removed"
    if result.result == "up-to-date":
        output.say(f"nothing to merge: {at} has all of it")
    elif result.result == "fast-forward":
        output.say(f"fast-forward to {at}: {counts}")
    elif result.result == "aborted":
        output.say(f"merge dropped, back at {at}: {counts}")
    elif result.result == "merged":
        output.say(f"merged as {at}: {counts}")
        output.say("no run has used this snapshot")
    else:
        output.say(f"merge staged: {counts}; 'dv commit' records it, 'dv merge --abort' drops it")
    for word, paths in (("decided", result.decided), ("conflict", result.conflicts), ("copy", result.copies)):
        for path in paths:
            output.say(f"  {word:9}{output.quoted(path)}", colour="modified")
