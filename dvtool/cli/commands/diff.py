"""``dv diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import exits, opening, output, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.operations.diff import Diff, DirectoryItem, Pair

LISTED = 1000
"""Changes that are listed one by one; more are summed up by directory."""
DIRECTORIES = 50
"""Directories that are listed for people, those nearest to the root; --json lists all."""


@shared.command(
    "diff",
    "dv diff",
    "dv diff v1.0 main",
    "dv diff --staged --exit-code",
    "dv diff v1.0:train main:train -- train/cats",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[A [B]] [-- PATH...]")
@click.option("--staged", is_flag=True, help="Compare with the stage instead of the worktree.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 when something differs.")
@shared.json_option
@click.pass_context
def diff_command(ctx: click.Context, *, words: tuple[str, ...], staged: bool, exit_code: bool, json: bool) -> int:
    """Show what differs: directories, files and renames.

    Nothing named compares HEAD with the worktree, A compares it with the worktree, A and B with each other.
    Each may be a revision or REV:PATH, which is compared with the same path of worktree or stage.
    """
    from dvtool.operations import diff

    settings: Settings = ctx.obj
    repo = opening.open_repo(settings)
    before, after = shared.around_dashes(ctx, words)
    revisions, found = diff.interpret(repo.workspace, before) if after is None else (list(before), [])
    only = diff.paths_only(repo.workspace, [*found, *(after or ())])
    document = repo.diff(*revisions[:2], staged=staged, only=only)
    if json:
        output.as_json(document)
    else:
        _show(document)
    return exits.DIFFERENT if exit_code and not document.is_empty else exits.DONE


def _show(document: Diff) -> None:
    totals = document.totals
    count = totals.added + totals.removed + totals.modified + totals.renamed
    if document.is_empty:
        output.say("no differences")
        return
    if count > LISTED:
        from dvtool.operations.diff import summary

        checksums = {item.path: item for item in document.directories}
        for directory, added, removed, modified in summary(document, limit=DIRECTORIES):
            counts = f"{output.quoted(directory)}  +{added:,}  -{removed:,}  ~{modified:,}"
            changed = checksums.get("" if directory == "./" else directory.rstrip("/"))
            output.say(f"{counts}  checksum {_change(changed)}" if changed is not None else counts)
    else:
        for item in document.added:
            output.say(f"added    {output.quoted(item.path)} ({output.size(item.size)})", colour="added")
        for item in document.removed:
            output.say(f"removed  {output.quoted(item.path)} ({output.size(item.size)})", colour="removed")
        for change in document.modified:
            detail = f"{output.size(change.size_from)} -> {output.size(change.size_to)}"
            if change.mode_from:
                detail += f", {change.mode_from} -> {change.mode_to}"
            if change.kind_from:
                detail += f", {change.kind_from} -> {change.kind_to}"
            output.say(f"modified {output.quoted(change.path)} ({detail})", colour="modified")
        for rename in document.renamed:
            mode = f" ({rename.mode_from} -> {rename.mode_to})" if rename.mode_from else ""
            moved = f"{output.quoted(rename.before)} -> {output.quoted(rename.after)}"
            output.say(f"renamed  {moved}{mode}", colour="renamed")
    for erased in document.erased:
        where = output.quoted(erased.path)
        output.say(
            f"erased   {output.quantity(erased.files, 'file')} of {where} under {erased.erasure}",
            colour="removed",
        )
    if count <= LISTED:
        _directories(document)
    output.say(
        f"{output.quantity(totals.added, 'file')} added, {totals.removed:,} removed, {totals.modified:,} modified, "
        f"{totals.renamed:,} renamed; {output.quantity(totals.directories, 'directory', 'directories')} changed; "
        f"checksum {_change(document.root)}"
    )


def _directories(document: Diff) -> None:
    """Print the directories whose checksum changed; when there are many, those nearest to the root."""
    nearest = sorted(document.directories, key=lambda item: (item.path.count("/"), bool(item.path)))[:DIRECTORIES]
    for item in sorted(nearest, key=lambda item: item.path):
        output.say(f"checksum {output.quoted(item.path)}/ ({_change(item)})", colour="modified")
    more = len(document.directories) - len(nearest)
    if more:
        output.say(f"checksum … of {more:,} more (all of them with --json)", colour="modified")


def _change(sides: Pair | DirectoryItem) -> str:
    """Return a checksum before and after, shortened."""
    return f"{(sides.before or 'nothing')[:12]} -> {(sides.after or 'nothing')[:12]}"
