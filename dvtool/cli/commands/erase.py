"""``dv erase``."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared, targets
from dvtool.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dvtool.cli.opening import Settings
    from dvtool.operations.erase import EraseResult

SHOWN = 20
"""Things of one sort that are shown to people; --json lists all."""
AUTHOR = "author:"
SIGNED = {"holds/": "hold", "erasures/": "record of an erasure", "clones/": "record of a clone"}
"""Where authors stand beside snapshots and runs, by the refs that name it."""


@shared.command(
    "erase",
    "dv erase data/images/p17 --plan",
    "dv erase --subject p17 --request DSR-2026-114 --ground 'Art. 17(1)(b) GDPR'",
    "dv erase --targets-from requests.txt --copies keep --yes --json",
    "dv erase 'data/**/p17-*.wav' --keep-path --yes",
)
@click.argument("paths", nargs=-1, metavar="[PATH…]")
@click.option("--subject", "subjects", multiple=True, metavar="ID", help="A person, whose files dv.toml's rules tell.")
@click.option("--author-of", "authors", multiple=True, metavar="EMAIL", help="An author, whose name goes from history.")
@click.option("--targets-from", "source", metavar="FILE|-", help=f"{targets.HELP} Authors are written author:EMAIL.")
@click.option(
    "--copies",
    type=click.Choice(["erase", "keep"]),
    help="What becomes of files that stay and have content in common with what goes.",
)
@click.option("--keep-path", is_flag=True, help="Leave the names of the files, with nothing else of them.")
@click.option("--redact-text", is_flag=True, help="Take the targets out of messages, run names and parameters as well.")
@click.option("--request", metavar="REF", default="", help="The reference of the request, for the certificate.")
@click.option("--ground", metavar="TEXT", default="", help="The ground, for the certificate.")
@click.option("--all", "everything", is_flag=True, help="Allow that nothing is left of a snapshot.")
@click.option("--plan", is_flag=True, help="Say what would go, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared.json_option
@click.pass_obj
def erase_command(
    settings: Settings,
    *,
    paths: Sequence[str],
    subjects: Sequence[str],
    authors: Sequence[str],
    source: str | None,
    copies: str | None,
    keep_path: bool,
    redact_text: bool,
    request: str,
    ground: str,
    everything: bool,
    plan: bool,
    yes: bool,
    json: bool,
) -> None:
    """Take files out of every version: snapshots, stage, runs, worktrees, caches, the log and its keys.

    What goes is gone for good: no command brings it back. Snapshots that held it are superseded by others without
    it, under new ids; the old ids lead there. Runs keep their parameters, metrics, environment and code, and say
    what is missing. A path means all that lies, or ever lay, at or below it; * and ** stand for what they do elsewhere.

    Files that stay and have content in common with what goes may belong to somebody else, so it must be said what
    becomes of them. The same is done at every remote; one that cannot be reached is named as outstanding, and 'dv
    erasure resume' does it later. What a person has copied out, and other clones, are not reached by this.
    """
    repo = opening.open_repo(settings, writes=not plan)
    if source is not None:
        listed = _listed(source, repo.workspace.session.context.cwd)
        given = (paths, subjects, authors)
        _refuse_twice(listed, given)
        paths, subjects, authors = ([*one, *more] for one, more in zip(given, listed, strict=True))
    erase = functools.partial(
        repo.erase,
        paths,
        subjects=subjects,
        authors=authors,
        copies=copies or "",
        keep_path=keep_path,
        redact_text=redact_text,
        everything=everything,
    )
    agreed = erase(plan=True) if plan or not yes else None
    if plan and agreed is not None:
        _show_all(agreed, json=json)
        return
    if agreed is not None:
        _confirm(agreed, json=json)
    _show_all(erase(request=request, ground=ground, agreed=agreed), json=json)


def _listed(source: str, directory: str) -> tuple[list[str], list[str], list[str]]:
    """Return the paths, subjects and authors that a file lists; raises as :func:`~dvtool.cli.targets.read`."""
    found, subjects = targets.read(source, directory)
    authors = [word.removeprefix(AUTHOR) for word in found if word.startswith(AUTHOR)]
    return [word for word in found if not word.startswith(AUTHOR)], subjects, authors


def _refuse_twice(listed: Sequence[Sequence[str]], given: Sequence[Sequence[str]]) -> None:
    twice = sorted({word for more, words in zip(listed, given, strict=True) for word in words if word in more})
    if twice:
        raise UsageError("a target is given both ways", items=tuple(twice), next="leave it out on the command line")


def _confirm(found: EraseResult, *, json: bool) -> None:
    if json or not sys.stdin.isatty():
        raise UsageError(
            f"{output.quantity(found.files, 'file')} would go for good, and nobody was asked",
            next="look at them with --plan, then say --yes",
        )
    _show(found)
    click.confirm("erase this?", abort=True)


def _show_all(found: EraseResult, *, json: bool) -> None:
    if json:
        output.as_json(found)
    else:
        _show(found)


def _show(found: EraseResult) -> None:
    done = found.erasure is not None
    would = "" if done else "would be "
    if found.erasure is not None:
        output.say(f"erasure E-{found.erasure[:8]}")
    runs = f" and {output.quantity(len(found.runs), 'run')}" if found.runs else ""
    places = output.quantity(found.snapshots, "snapshot") + runs
    output.say(
        f"{would}erased: {output.quantity(len(found.paths), 'path')}, {output.quantity(found.contents, 'content')}, "
        f"met {output.quantity(found.files, 'time')} in {places}"
    )
    _list(found.paths)
    if found.worktree:
        output.say(f"{would}removed from worktrees: {output.quantity(len(found.worktree), 'file')}")
    if found.linked:
        output.say("another name of these files (a hard link) stays, wherever it is:")
        _list(found.linked)
    packs = output.quantity(found.packs, "pack")
    output.say(f"{would}destroyed: {packs} of {output.size(found.bytes)}; {found.rewritten:,} of them written anew")
    if found.holds:
        output.say(f"held, so it cannot be erased: {output.quantity(len(found.holds), 'target')}", colour="red")
        _list(f"{each.target}: {each.ground} (hold {each.hold[:8]})" for each in found.holds)
    if found.copies:
        output.say(f"content in common with what goes: {output.quantity(len(found.copies), 'file')} that stay")
        _list(
            f"{each.path}: {'identical' if each.identical else f'{each.common:,} of {each.size:,} bytes'}"
            for each in found.copies
        )
    _show_people(found, done=done)
    if found.forgotten:
        output.say(f"no branch, tag or run leads to these snapshots; they {'went' if done else 'would go'} as well:")
        _list(each[:12] for each in found.forgotten)
    if found.mentions:
        output.say("a target is spoken of in these texts, which stay as they are (--redact-text takes it out):")
        _list(found.mentions)
    if found.remotes:
        output.say(f"{'not reached' if done else 'the same is done at'}: {', '.join(found.remotes)}")
    for each in found.outstanding:
        output.say(f"outstanding: {each}")


def _show_people(found: EraseResult, *, done: bool) -> None:
    """Show where names go, which runs say what is missing, and what was made from it."""
    if found.runs:
        output.say(f"runs that say what is missing: {len(found.runs):,}")
        _list(found.runs)
    for prefix, what in SIGNED.items():
        count = sum(ref.startswith(prefix) for ref in found.refs)
        if count:
            output.say(f"an author's name {'went' if done else 'would go'} from {output.quantity(count, what)}")
    if found.models:
        output.say(
            f"made from it, to be decided about ('dv erasure decide'): {output.quantity(len(found.models), 'run')}"
        )
        _list(
            f"{each.run} {each.name}".rstrip() + ("" if each.direct else " (through another)") for each in found.models
        )


def _list(words: Iterable[str]) -> None:
    listed = list(words)
    for word in listed[:SHOWN]:
        output.say(f"  {output.harmless(word)}")
    if len(listed) > SHOWN:
        output.say(f"  … and {len(listed) - SHOWN:,} more (all of them with --json)")
