"""``dv log``, ``show``, ``ls``, ``cat``, ``du`` and ``archive``: looking into snapshots."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared
from dvtool.errors import UsageError

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.history.describe import SnapshotItem
    from dvtool.operations.show import Shown
    from dvtool.repo import Repo

RUNS = 5
"""Runs of a snapshot that are named on the terminal."""


def split_words(ctx: click.Context, repo: Repo, words: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Return (revision, repository path) of the words ``[REV] [PATH]``; what stands after ``--`` is a path.

    Raises:
        UsageError: when a lone word is both.
        NotFoundError: when a lone word is neither.
    """
    session = repo.workspace.session
    before, after = shared.around_dashes(ctx, words)
    if len(before) > 2 or len(before) + len(after or ()) > 2 or len(after or ()) > 1:  # noqa: PLR2004 - REV and PATH
        raise UsageError("too many arguments", next="name one revision and one path")
    if len(before) == 1 and after is None:
        return _lone(ctx, repo, before[0])
    named = after[0] if after else before[1] if len(before) > 1 else None
    path = session.relative(named) if named is not None else None
    revision = before[0] if before else None
    if revision is None:
        return None, path
    name, inside = repo.workspace.revisions.split_path(revision)
    if inside is not None and path is not None:
        raise UsageError(
            f"{revision!r} names a path already", next=f"name one: {revision}, or the revision {name or 'HEAD'} alone"
        )
    return (revision, path) if inside is None else (name or "HEAD", inside)


def _lone(ctx: click.Context, repo: Repo, word: str) -> tuple[str | None, str | None]:
    """Return (revision, repository path) of a word that stands alone, and may be either."""
    revisions = repo.workspace.revisions
    name, inside = revisions.split_path(word)
    if inside is not None and revisions.is_revision(name or "HEAD"):
        return name or "HEAD", inside
    as_revision = revisions.is_revision(word)
    path = _as_path(repo, word)
    if as_revision and path is not None:
        raise UsageError(
            f"{word!r} is both a revision and a path",
            next=f"write '{word} --' for the revision, '-- {word}' for the path",
        )
    if path is not None:
        return None, path
    if not as_revision:
        raise repo.workspace.unknown(word, f"dv log -- {word}" if ctx.info_name == "log" else "")
    return word, None


def _as_path(repo: Repo, word: str) -> str | None:
    session = repo.workspace.session
    try:
        path = session.relative(word)
    except UsageError:
        return None
    head = session.head_tree()
    if os.path.lexists(f"{session.root}/{path}"):
        return path
    return path if head is not None and session.trees.resolve(head, path) is not None else None


@shared.command("log", "dv log", "dv log -n 5", "dv log main data/labels.csv --json")
@click.argument("words", nargs=-1, metavar="[REV] [PATH]")
@click.option("-n", "limit", type=click.IntRange(min=0), metavar="N", help="Show at most N snapshots.")
@shared.json_option
@click.pass_context
def log_command(ctx: click.Context, *, words: tuple[str, ...], limit: int | None, json: bool) -> None:
    """Show the history, newest first."""
    repo = opening.open_repo(ctx.obj)
    revision, path = split_words(ctx, repo, words)
    items = repo.log(revision, path or None, limit=limit)
    if json:
        output.as_json(items)
        return
    any_runs = any(item.runs for item in items)
    for at, item in enumerate(items):
        if at:
            output.say()
        show_snapshot(item, unused=any_runs)


def show_snapshot(item: SnapshotItem | Shown, *, unused: bool) -> None:
    """Print one snapshot for people; ``unused`` says whether it is told when no run has used it."""
    refs = f" ({', '.join(item.refs)})" if item.refs else ""
    output.say(f"{output.paint('snapshot ' + item.snapshot, 'id')}{refs}")
    if len(item.parents) > 1:
        output.say(f"merges   {' '.join(parent[:12] for parent in item.parents)}")
    output.say(f"author   {output.harmless(item.author)}")
    output.say(f"time     {item.time}")
    if item.expired:
        before = " ".join(parent[:12] for parent in item.expired)
        output.say(f"expired  {before}: what came before was dropped by 'dv expire'")
    output.say(f"data     {output.quantity(item.files, 'file')}, {output.size(item.bytes)}")
    if item.erased.files or item.erased.rows:
        output.say(f"erased   {output.quantity(item.erased.files, 'file')}, {output.quantity(item.erased.rows, 'row')}")
    if item.runs:
        more = f" and {len(item.runs) - RUNS:,} more" if len(item.runs) > RUNS else ""
        output.say(f"runs     {', '.join(item.runs[:RUNS])}{more}")
    elif unused:
        output.say("runs     no run has used this snapshot")
    output.say()
    for line in item.message.splitlines():
        output.say(f"    {output.harmless(line)}")


@shared.command("show", "dv show", "dv show v1.0", "dv show HEAD:data/labels.csv --json")
@click.argument("revision", default="HEAD", metavar="[REV[:PATH]]")
@shared.json_option
@click.pass_obj
def show_command(settings: Settings, *, revision: str, json: bool) -> None:
    """Show a snapshot, or a path in it."""
    shown = opening.open_repo(settings).show(revision)
    if json:
        output.as_json(shown)
        return
    show_snapshot(shown, unused=True)
    output.say()
    if shown.path:
        output.say(f"{shown.kind:8} {output.quoted(shown.path)}")
        output.say(
            f"size     {output.size(shown.size)}"
            + (f", {output.quantity(shown.files_below, 'file')}" if shown.kind == "dir" else "")
        )
        output.say(f"id       {shown.id}")
    else:
        output.say(f"checksum {shown.id}")
        output.say(f"tracks   {', '.join(output.quoted(root) for root in shown.roots) or 'nothing'}")
    if shown.superseded_by:
        output.say(f"stands for a snapshot whose data was erased; now {shown.superseded_by[:12]}")


@shared.command("ls", "dv ls", "dv ls -r data", "dv ls -l v1.0 data/images")
@click.argument("words", nargs=-1, metavar="[REV] [PATH]")
@click.option("-r", "recursive", is_flag=True, help="List everything below, too.")
@click.option("-l", "long", is_flag=True, help="Show kind, size and id.")
@shared.json_option
@click.pass_context
def ls_command(ctx: click.Context, *, words: tuple[str, ...], recursive: bool, long: bool, json: bool) -> None:
    """List what a snapshot holds."""
    repo = opening.open_repo(ctx.obj)
    revision, path = split_words(ctx, repo, words)
    items = repo.ls(revision, path or "", recursive=recursive, kept=json)
    if json:
        output.as_json(sorted(items, key=lambda item: item.path))
        return
    for item in items:
        name = output.quoted(item.path) + ("/" if item.kind == "dir" else "")
        output.say(f"{item.kind:8} {item.size:>14,} {item.id[:12]} {name}" if long else name)


@shared.command("cat", "dv cat HEAD:data/labels.csv", "dv cat v1.0:labels.csv | head")
@click.argument("place", metavar="REV:PATH")
@click.pass_obj
def cat_command(settings: Settings, *, place: str) -> None:
    """Print the content of a file in a snapshot."""
    pieces = opening.open_repo(settings).cat(place)
    stream = sys.stdout.buffer
    for piece in pieces:
        stream.write(piece)


@shared.command("du", "dv du", "dv du v1.0 data")
@click.argument("words", nargs=-1, metavar="[REV] [PATH]")
@shared.json_option
@click.pass_context
def du_command(ctx: click.Context, *, words: tuple[str, ...], json: bool) -> None:
    """Sum up files and bytes by directory."""
    repo = opening.open_repo(ctx.obj)
    revision, path = split_words(ctx, repo, words)
    rows = repo.du(revision, path or "")
    if json:
        output.as_json(rows)
        return
    for row in rows:
        noun = "file " if row.files == 1 else "files"
        output.say(f"{output.size(row.bytes):>12} {row.files:>12,} {noun}  {output.quoted(row.path)}")


@shared.command("archive", "dv archive v1.0 /tmp/release", "dv archive HEAD:data - | tar -tf -")
@click.argument("revision", metavar="REV[:PATH]")
@click.argument("target", metavar="DIR|-")
@click.pass_obj
def archive_command(settings: Settings, *, revision: str, target: str) -> None:
    """Write a snapshot's files to a new directory, or as a tar stream to stdout."""
    repo = opening.open_repo(settings)
    if target == "-":
        stream = sys.stdout.buffer
        if stream.isatty():
            raise UsageError("a tar stream does not belong on a terminal", next="send it on: dv archive REV - | tar -x")
        repo.archive(revision, stream)
        return
    result = repo.archive(revision, target)
    output.say(f"wrote {output.quantity(result.files, 'file')}, {output.size(result.bytes)} to {target}")
