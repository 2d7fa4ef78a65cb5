"""``dv erasure``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import exits, opening, output, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.operations.clones import CloneItem
    from dvtool.operations.erasure import ErasureDetails, ErasureItem


@click.group(
    "erasure",
    epilog=shared.example("dv erasure list", "dv erasure certificate E-7f3a -o certificate.json", "dv erasure resume"),
)
def erasure_command() -> None:
    """Show erasures, prove them, finish or give up those that were stopped, decide about models."""


@erasure_command.command("list", epilog=shared.example("dv erasure list", "dv erasure list --json"))
@shared.json_option
@click.pass_obj
def list_subcommand(settings: Settings, *, json: bool) -> None:
    """List erasures, the oldest first."""
    found = opening.open_repo(settings).erasures()
    if json:
        output.as_json(found)
        return
    if not found:
        output.say("nothing was erased in this repository")
    for each in found:
        _line(each)


def _line(item: ErasureItem) -> None:
    parts = [output.paint(item.short, "id"), item.state]
    if item.finished or item.committed:
        parts.append(item.finished or item.committed or "")
    if item.files is not None:
        parts.append(f"{output.quantity(item.files, 'file')} of {output.quantity(item.snapshots or 0, 'snapshot')}")
    if item.outstanding:
        parts.append(f"{len(item.outstanding):,} outstanding")
    output.say(", ".join(parts))


@erasure_command.command("show", epilog=shared.example("dv erasure show E-7f3a", "dv erasure show E-7f3a --json"))
@click.argument("erasure", metavar="[ID]", required=False)
@shared.json_option
@click.pass_obj
def show_subcommand(settings: Settings, *, erasure: str | None, json: bool) -> None:
    """Show an erasure, by default the newest: what stands for what, runs, decisions, and what is outstanding."""
    found = opening.open_repo(settings).erasure(erasure)
    if json:
        output.as_json(found)
    else:
        _show(found)


def _show(found: ErasureDetails) -> None:
    _line(found)
    for old, new in sorted(found.superseded.items()):
        output.say(f"  {old[:12]} -> {new[:12]}")
    for run in found.affected:
        output.say(f"  run {run} says what is missing")
    for each in found.decisions:
        name = f" {each.name}" if each.name else ""
        how = "from it" if each.direct else "through another"
        note = f": {each.note}" if each.note else ""
        output.say(output.harmless(f"  run {each.run}{name} made something {how}: {each.decision}{note}"))
    for place in found.places:
        output.say(output.harmless(f"  {place.name}: {'done' if place.done else 'not done'}"))
    for word in found.outstanding:
        output.say(output.harmless(f"  outstanding: {word}"))


@erasure_command.command(
    "verify", epilog=shared.example("dv erasure verify E-7f3a", "dv erasure verify E-7f3a --deep --json")
)
@click.argument("erasure", metavar="[ID]", required=False)
@click.option("--deep", is_flag=True, help="Open every frame of every pack.")
@shared.json_option
@click.pass_obj
def verify_subcommand(settings: Settings, *, erasure: str | None, deep: bool, json: bool) -> int:
    """Look whether anything is left of an erasure, by default the newest, here and at the remotes that can be reached.

    Exit code 1 if there is.
    """
    found = opening.open_repo(settings).verify_erasure(erasure, deep=deep)
    if json:
        output.as_json(found)
    elif found.clean:
        there = [each.name for each in found.places[1:] if each.reached]
        where = f"in this repository{''.join(f', at {each}' for each in there)}"
        output.say(output.harmless(f"nothing is left of erasure E-{found.id[:8]} {where}"))
    else:
        for problem in found.problems:
            output.say(output.harmless(problem), colour="red")
    return exits.DONE if found.clean else exits.DIFFERENT


@erasure_command.command("resume", epilog=shared.example("dv erasure resume", "dv erasure resume E-7f3a --json"))
@click.argument("erasure", metavar="[ID]", required=False)
@shared.json_option
@click.pass_obj
def resume_subcommand(settings: Settings, *, erasure: str | None, json: bool) -> None:
    """Go on with an erasure that was stopped before its end, and with what is outstanding at remotes.

    A remote that could not be reached is erased now, and late uploads are looked for where that is due. With an ID,
    remotes that were done, or were not known at that time, are looked at as well.
    """
    found = opening.open_repo(settings).resume_erasure(erasure)
    if json:
        output.as_json(found)
    else:
        _line(found)


@erasure_command.command("abort", epilog=shared.example("dv erasure abort", "dv erasure abort E-7f3a"))
@click.argument("erasure", metavar="[ID]", required=False)
@click.pass_obj
def abort_subcommand(settings: Settings, *, erasure: str | None) -> None:
    """Give up an erasure of which nothing is done yet."""
    found = opening.open_repo(settings).abort_erasure(erasure)
    output.say(f"gave up erasure E-{found[:8]}: nothing is erased")


@erasure_command.command(
    "certificate",
    epilog=shared.example("dv erasure certificate E-7f3a", "dv erasure certificate E-7f3a -o certificate.json"),
)
@click.argument("erasure", metavar="[ID]", required=False)
@click.option(
    "-o", "target", type=click.Path(dir_okay=False), metavar="FILE", help="Write it there; never over a file."
)
@click.pass_obj
def certificate_subcommand(settings: Settings, *, erasure: str | None, target: str | None) -> None:
    """Print the certificate of an erasure, by default the newest: a JSON document, signed with this clone's key."""
    if target is None:
        output.say(opening.open_repo(settings).erasure_certificate(erasure).decode().rstrip("\n"))
    else:
        opening.open_repo(settings).save_certificate(erasure, target)
        output.say(f"wrote {output.quoted(target)}")


@erasure_command.command(
    "decide",
    epilog=shared.example(
        "dv erasure decide E-7f3a baseline keep --note 'one of 50,000 images'",
        "dv erasure decide E-7f3a ensemble retrain --json",
    ),
)
@click.argument("erasure", metavar="ID")
@click.argument("run", metavar="RUN")
@click.argument("decision", type=click.Choice(["keep", "retrain", "delete"]))
@click.option("--note", metavar="TEXT", default="", help="Why.")
@shared.json_option
@click.pass_obj
def decide_subcommand(settings: Settings, *, erasure: str, run: str, decision: str, note: str, json: bool) -> None:
    """Note what becomes of what a run made from erased data; the certificate says so from then on."""
    found = opening.open_repo(settings).decide_erasure(erasure, run, decision, note=note)
    if json:
        output.as_json(found)
    else:
        output.say(f"run {found.run}: {found.decision}")


@erasure_command.command(
    "clones", epilog=shared.example("dv erasure clones", "dv erasure clones --remote origin --json")
)
@click.option("--remote", metavar="NAME", help="Ask this remote alone; by default all are asked.")
@shared.json_option
@click.pass_obj
def clones_subcommand(settings: Settings, *, remote: str | None, json: bool) -> None:
    """List the clones that remotes know, the oldest first, and which erasures wait for them."""
    found = opening.open_repo(settings).clones(remote)
    if json:
        output.as_json(found)
        return
    if not found:
        output.say("no clone is registered")
    for each in found:
        _clone(each)


def _clone(item: CloneItem) -> None:
    parts = [f"{output.paint(item.id[:12], 'id')} of {item.remote}"]
    parts += [item.name] if item.name else []
    parts += ["this clone"] if item.here else []
    parts.append(f"registered {item.registered}")
    if item.forgotten:
        parts.append(f"forgotten {item.forgotten}" + (f" by {item.author}" if item.author else ""))
    elif item.expires:
        parts.append(f"{'expired' if item.state == 'expired' else 'expires'} {item.expires}")
    if item.waiting:
        parts.append("awaited by " + ", ".join(f"E-{each[:8]}" for each in item.waiting))
    output.say(output.harmless(", ".join(parts)))


@erasure_command.command(
    "forget-clone",
    epilog=shared.example(
        "dv erasure forget-clone 3f2a90c1", "dv erasure forget-clone 3f2a90c1 --remote origin --json"
    ),
)
@click.argument("clone", metavar="CLONE")
@click.option("--remote", metavar="NAME", help="Record it at this remote alone; by default at all that know the clone.")
@shared.json_option
@click.pass_obj
def forget_clone_subcommand(settings: Settings, *, clone: str, remote: str | None, json: bool) -> None:
    """Record that a clone is gone, with your name and the time: no erasure waits for it any more.

    It registers again if it comes back.
    """
    found = opening.open_repo(settings).forget_clone(clone, remote)
    if json:
        output.as_json(found)
        return
    for each in found:
        output.say(f"clone {each.id[:12]} is forgotten at {output.harmless(each.remote)}")
