"""``dv init``, ``add``, ``rm``, ``mv`` and ``commit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings


FILES = ("file", "files")
DIRECTORIES = ("directory", "directories")


@shared.command("init", "dv init", "dv -C datasets init")
@click.pass_obj
def init_command(settings: Settings) -> None:
    """Make a repository in this directory."""
    from dvtool.repo import Repo

    repo = Repo.init(settings.directory, opening.context(settings))
    output.say(f"made a repository in {repo.root}")
    output.say("keep a copy of .dv/store/keys/repo in a safe place: without it the data cannot be read")


@shared.command("add", "dv add data", "dv add images labels.csv", "dv add --skip-git .")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--skip-git", is_flag=True, help="Leave files that Git tracks to Git.")
@click.option("--force", is_flag=True, help="Add paths that .dvignore excludes.")
@shared.json_option
@click.pass_obj
def add_command(settings: Settings, *, paths: tuple[str, ...], skip_git: bool, force: bool, json: bool) -> None:
    """Stage files, and track the paths named."""
    result = opening.open_repo(settings).add(paths, skip_git=skip_git, force=force)
    if json:
        output.as_json(result)
        return
    said = [
        f"{output.quantity(count, *noun)} {word}"
        for count, noun, word in (
            (result.added, FILES, "added"),
            (result.modified, FILES, "modified"),
            (result.removed, FILES, "removed"),
            (result.directories_added, DIRECTORIES, "added"),
            (result.directories_removed, DIRECTORIES, "removed"),
        )
        if count
    ]
    if not said:
        said = [f"{output.quoted(root)} is tracked as a whole" for root in result.roots_added]
    size = f", {output.size(result.bytes)}" if result.bytes else ""
    output.say(f"staged: {', '.join(said) or 'nothing new'}{size}")


@shared.command("rm", "dv rm data/old", "dv rm --cached labels.csv")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--cached", is_flag=True, help="Keep the files in the worktree.")
@click.option("--force", is_flag=True, help="Remove files whose content is stored nowhere.")
@shared.json_option
@click.pass_obj
def rm_command(settings: Settings, *, paths: tuple[str, ...], cached: bool, force: bool, json: bool) -> None:
    """Stop tracking paths, and remove them from the worktree."""
    result = opening.open_repo(settings).remove(paths, cached=cached, force=force)
    if json:
        output.as_json(result)
        return
    told = [(result.removed, FILES), (result.directories, DIRECTORIES)]
    said = [output.quantity(len(gone), *noun) for gone, noun in told if gone]
    output.say(f"staged the removal of {' and '.join(said) or output.quantity(len(result.roots), 'tracked root')}")


@shared.command("mv", "dv mv data/train data/training", "dv mv labels.csv data/")
@click.argument("source", metavar="A")
@click.argument("target", metavar="B")
@shared.json_option
@click.pass_obj
def mv_command(settings: Settings, *, source: str, target: str, json: bool) -> None:
    """Rename a tracked path in the worktree and in the stage."""
    result = opening.open_repo(settings).move(source, target)
    if json:
        output.as_json(result)
        return
    output.say(f"moved {output.quoted(result.before)} to {output.quoted(result.after)}")


@shared.command("commit", 'dv commit -m "labels corrected"', 'dv commit -a -m "new images"')
@click.option("-m", "message", required=True, metavar="MSG", help="What changed, and why.")
@click.option("-a", "everything", is_flag=True, help="Stage every change below the tracked roots first.")
@click.option("--author", metavar="'NAME <EMAIL>'", help="Who records this.")
@click.option("--allow-empty", is_flag=True, help="Record a snapshot even if nothing changed.")
@shared.json_option
@click.pass_obj
def commit_command(
    settings: Settings, *, message: str, everything: bool, author: str | None, allow_empty: bool, json: bool
) -> None:
    """Record the stage as a snapshot."""
    repo = opening.open_repo(settings)
    result = repo.commit(message, everything=everything, author=author, allow_empty=allow_empty)
    if json:
        output.as_json(result)
        return
    subject = message.strip().splitlines()[0]
    output.say(f"{output.paint(result.snapshot[:12], 'id')} {output.harmless(subject)}")
    output.say(
        f"{output.quantity(result.files, 'file')}, {output.size(result.bytes)}, directory checksum {result.root[:12]}"
    )
