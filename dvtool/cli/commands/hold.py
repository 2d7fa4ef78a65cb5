"""``dv hold``: what must not be erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared, targets
from dvtool.cli.times import Moment

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from dvtool.cli.opening import Settings
    from dvtool.operations.hold import HoldItem
    from dvtool.repo import Repo

RELEASED = "released"
SHOWN = 20
"""Paths of one hold on the terminal; ``--json`` has all."""


@click.group(
    "hold",
    epilog=shared.example(
        "dv hold add data/trial-7 --ground 'case 12/2026' --until 2036-12-31",
        "dv hold list",
        "dv hold release data/trial-7",
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
def hold_command() -> None:
    """Say what must be kept: while a hold is in force, nothing that it covers is to be erased."""


@hold_command.command(
    "add",
    epilog=shared.example(
        "dv hold add data/trial-7 --ground 'case 12/2026' --until 2036-12-31",
        "dv hold add 'data/**/*.dcm' --ground 'retention, medical records'",
        "dv hold add --subject 4711 --ground 'complaint 3/2026'",
        "dv hold add --targets-from - --ground 'case 12/2026' < people.txt",
    ),
)
@click.argument("paths", metavar="PATH", nargs=-1)
@click.option("--subject", "subjects", metavar="ID", multiple=True, help="All data of a person, by dv.toml's rules.")
@click.option("--targets-from", "source", metavar="FILE|-", help=targets.HELP)
@click.option("--ground", metavar="TEXT", required=True, help="Why the data must be kept.")
@click.option("--until", type=Moment(), metavar="DATE", help="The day or time at which the hold is over by itself.")
@shared.json_option
@click.pass_obj
def add_subcommand(
    settings: Settings,
    *,
    paths: tuple[str, ...],
    subjects: tuple[str, ...],
    source: str | None,
    ground: str,
    until: dt.datetime | None,
    json: bool,
) -> None:
    """Hold what lies under PATHs, and the data of subjects.

    A PATH is a file or directory, there or not, or a pattern: '*', '?' and '[a-z]' stand for letters of a name, '**'
    for directories. What covers a directory covers all in it. All paths make one hold, each subject makes one.

    DATE is a day (2036-12-31, from midnight in UTC) or a time (2036-12-31T12:00:00Z). Without it a hold ends when it is
    released.
    """
    repo = opening.open_repo(settings)
    named, people = _targets(repo, paths, subjects, source)
    _show(repo.add_hold(named, subjects=people, ground=ground, until=until), json=json, word="holding")


@hold_command.command("list", epilog=shared.example("dv hold list", "dv hold list --json"))
@shared.json_option
@click.pass_obj
def list_subcommand(settings: Settings, *, json: bool) -> None:
    """List the holds, the oldest first; those that are over are listed until they are released."""
    found = opening.open_repo(settings).holds()
    if not found and not json:
        output.say("there are no holds: 'dv hold add' makes one")
        return
    _show(found, json=json)


@hold_command.command(
    "release",
    epilog=shared.example(
        "dv hold release data/trial-7",
        "dv hold release 3f9c",
        "dv hold release --subject 4711",
        "dv hold release ./3f9c",
    ),
)
@click.argument("names", metavar="ID|PATH", nargs=-1)
@click.option("--subject", "subjects", metavar="ID", multiple=True, help="The holds on the data of a person.")
@click.option("--targets-from", "source", metavar="FILE|-", help=targets.HELP)
@shared.json_option
@click.pass_obj
def release_subcommand(
    settings: Settings, *, names: tuple[str, ...], subjects: tuple[str, ...], source: str | None, json: bool
) -> None:
    """Let go of holds: by the id, or its beginning, or by the PATH or subject that is held.

    All holds on a PATH go, if it is all that they are on; 'dv undo' does not bring them back.
    """
    repo = opening.open_repo(settings)
    named, people = _targets(repo, names, subjects, source)
    _show(repo.release_holds(named, subjects=people), json=json, word=RELEASED)


def _targets(
    repo: Repo, paths: Sequence[str], subjects: Sequence[str], source: str | None
) -> tuple[list[str], list[str]]:
    """Return the paths and the subjects of the call and of the file that it names."""
    more = targets.read(source, repo.workspace.session.context.cwd) if source is not None else ([], [])
    return [*paths, *more[0]], [*subjects, *more[1]]


def _show(found: Sequence[HoldItem], *, json: bool, word: str = "hold") -> None:
    if json:
        output.as_json(found)
        return
    for item in found:
        output.say(f"{word} {output.paint(item.id, 'id')}{'' if word == RELEASED else _end(item)}")
        if item.subject is not None:
            output.say(f"    subject {output.harmless(item.subject)}")
        for path in item.paths[:SHOWN]:
            output.say(f"    {output.quoted(path)}")
        if len(item.paths) > SHOWN:
            output.say(f"    … and {len(item.paths) - SHOWN:,} more (all of them with --json)")
        if item.ground:
            output.say(f"    ground: {output.harmless(item.ground)}")
        if item.created is not None:
            output.say(f"    made {item.created} by {output.harmless(item.author)}")


def _end(item: HoldItem) -> str:
    if item.until is None:
        return ", until it is released"
    return f", over since {item.until}" if item.state == "over" else f", until {item.until}"
