"""``dv runs``: what was recorded, compared, brought back and removed."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from dvtool.cli import opening, output, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.operations.runs import DataChange, Difference, RunsDiff, RunShown
    from dvtool.runs.describing import InputItem, MetricItem, RunItem

SHOWN = 20
"""Lines of one kind on the terminal; ``--json`` has all."""
LOGS = {"stdout": "stdout.txt", "stderr": "stderr.txt"}


@click.group("runs", epilog=shared.example("dv runs list", "dv runs show first", "dv runs diff first second"))
def runs_command() -> None:
    """List, show and compare runs, bring back what they made, and remove them."""


@runs_command.command(
    "list",
    epilog=shared.example(
        "dv runs list -n 10",
        "dv runs list --metric 'val/loss<0.3' --param 'lr>=0.01' --sort val/loss",
        "dv runs list --input data/train --status failed",
        "dv runs list --unstable",
    ),
)
@click.option("--name", metavar="GLOB", default="", help="Runs called so, or whose id begins so.")
@click.option("--group", metavar="GLOB", default="", help="Runs of a group.")
@click.option("--stage", type=click.Choice(["train", "tune", "eval", "prep"]), default=None, help="Runs of a stage.")
@click.option(
    "--status", type=click.Choice(["running", "done", "failed", "killed"]), default=None, help="How they ended."
)
@click.option("--param", "params", metavar="COND", multiple=True, help="A condition on a parameter: 'lr>0.01'.")
@click.option("--metric", "metrics", metavar="COND", multiple=True, help="One on a last value: 'val/loss<0.3'.")
@click.option("--input", "inputs", metavar="WHAT", multiple=True, help="What they read: a path, a snapshot, a run.")
@click.option("--sort", "by", metavar="NAME", default="", help="By a metric or parameter; -NAME turns it round.")
@click.option("--unstable", is_flag=True, help="Only runs with the same of everything, and another result.")
@click.option("-n", "limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")
@shared.json_option
@click.pass_obj
def list_subcommand(
    settings: Settings,
    *,
    name: str,
    group: str,
    stage: str | None,
    status: str | None,
    params: tuple[str, ...],
    metrics: tuple[str, ...],
    inputs: tuple[str, ...],
    by: str,
    unstable: bool,
    limit: int | None,
    json: bool,
) -> None:
    """List runs, the newest first."""
    from dvtool.runs.filters import Wanted

    wanted = Wanted(
        name=name, group=group, stage=stage or "", status=status or "", params=params, metrics=metrics, inputs=inputs
    )
    found = opening.open_repo(settings).runs(wanted, limit=limit, by=by, unstable=unstable)
    if json:
        output.as_json(found)
        return
    if not found:
        output.say(
            "no run fits" if unstable or wanted != Wanted() else "there are no runs yet: 'dv run -- CMD' records one"
        )
    for item in found:
        output.say(_line(item))


def _line(item: RunItem) -> str:
    """Return a run on one line."""
    took = f"{item.seconds:,.1f} s" if item.seconds is not None else "goes on"
    name = f" {output.harmless(item.name)}" if item.name else ""
    colour = {"done": "green", "running": "cyan"}.get(item.status, "red")
    values = ", ".join(_metric(each) for each in item.metrics[:4])
    more = f", … {len(item.metrics) - 4:,} more" if len(item.metrics) > 4 else ""  # noqa: PLR2004 - fits a line
    return f"{output.paint(item.id, 'id')} {output.paint(item.status, colour)}{name}, {took}" + (
        f": {values}{more}" if values else ""
    )


def _metric(each: MetricItem) -> str:
    split = f"{each.split}/" if each.split else ""
    return f"{output.harmless(split + each.name)} {_number(each.last)}"


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@runs_command.command("show", epilog=shared.example("dv runs show first", "dv runs show k3f9 --json"))
@click.argument("run", metavar="RUN")
@shared.json_option
@click.pass_obj
def show_subcommand(settings: Settings, *, run: str, json: bool) -> None:
    """Show all that is known of a run, and whether it can be done again."""
    found = opening.open_repo(settings).show_run(run)
    if json:
        output.as_json(found)
        return
    for line in _shown(found):
        output.say(line)


def _shown(found: RunShown) -> list[str]:
    lines = [f"run {output.paint(found.id, 'id')}" + (f" {output.harmless(found.name)}" if found.name else "")]
    lines.append(f"command  {output.harmless(' '.join(found.command))}")
    ended = f", {found.seconds:,.1f} s" if found.seconds is not None else ""
    why = f": {output.harmless(str(found.process['why']))}" if found.process["why"] else ""
    lines.append(f"status   {found.status}{ended}{why}")
    lines.append(f"started  {found.started}" + (f" by {output.harmless(found.author)}" if found.author else ""))
    lines += [f"group    {output.harmless(found.group)}"] if found.group else []
    lines += [f"stage    {found.stage}"] if found.stage else []
    lines += [f"parent   {found.parent}"] if found.parent else []
    lines += _few("children", list(found.children))
    code = found.code
    if code["commit"]:
        changed = "" if code["patch"] == "none" else f", with changes ({output.harmless(code['patch'])})"
        lines.append(f"code     {output.harmless(code['commit'][:12])} {output.harmless(code['branch'])}{changed}")
    lines += _few("read", [_input(each) for each in found.inputs])
    lines += _few(
        "made",
        [
            f"{output.quoted(each.path)} " + ("missing" if each.missing else output.size(each.bytes))
            for each in found.outputs
        ],
    )
    lines += _few("params", [f"{name} = {value}" for name, value in found.params.items()])
    lines += _few("seeds", [f"{name} = {value}" for name, value in found.seeds.items()])
    lines += _few("metrics", [f"{_metric(each)} ({output.quantity(each.count, 'value')})" for each in found.metrics])
    lines += _few("samples", [f"{each['name']}: {each['rows']:,} rows, by {each['key']}" for each in found.samples])
    lines += _few("kept", list(found.record))
    lines += _few("notes", [output.harmless(note) for note in found.notes])
    lines.append(f"can be done again: {found.reproducible.state}")
    lines += [f"    {output.harmless(reason)}" for reason in found.reproducible.reasons]
    return lines


def _input(each: InputItem) -> str:
    where = {"run": f"run {each.run}", "outside": "not stored", "worktree": "in no snapshot"}
    snapshot = f"snapshot {(each.snapshot or '')[:12]}{' (not on a branch)' if each.dirty else ''}"
    source = where.get(each.source, snapshot)
    role = f" as {each.role}" if each.role else ""
    return f"{output.quoted(each.path)}{role}: {output.quantity(each.files, 'file')}, {source}, {each.known}"


def _few(label: str, rows: list[str]) -> list[str]:
    """Return rows under a label, as many as fit."""
    lines = [f"{label if not at else '':8} {output.harmless(row)}" for at, row in enumerate(rows[:SHOWN])]
    if len(rows) > SHOWN:
        lines.append(f"{'':8} … and {len(rows) - SHOWN:,} more (all of them with --json)")
    return lines


@runs_command.command("diff", epilog=shared.example("dv runs diff first second", "dv runs diff k3f9 q2ab --json"))
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@shared.json_option
@click.pass_obj
def diff_subcommand(settings: Settings, *, first: str, second: str, json: bool) -> None:
    """Tell what differs between two runs: data file by file, code, parameters, seeds, environment, results."""
    found = opening.open_repo(settings).diff_runs(first, second)
    if json:
        output.as_json(found)
        return
    for line in _compared(found):
        output.say(line)


def _compared(found: RunsDiff) -> list[str]:
    words = {True: "the same", False: "differs", None: "not known"}
    lines = [f"{found.a} .. {found.b}"]
    lines += [f"{name:12} {words[same]}" for name, same in found.same.items()]
    lines += _changes("data", found.data)
    lines += _changes("outputs", found.outputs)
    for label in ("code", "params", "seeds", "environment", "metrics"):
        rows: tuple[Difference, ...] = getattr(found, label)
        lines += [f"{label}:"] if rows else []
        lines += [
            f"  {output.harmless(each.name)}: {output.harmless(_number(each.a))} -> {output.harmless(_number(each.b))}"
            for each in rows[:SHOWN]
        ]
        if len(rows) > SHOWN:
            lines.append(f"  … and {len(rows) - SHOWN:,} more (all of them with --json)")
    return lines


def _changes(label: str, change: DataChange) -> list[str]:
    rows = [(word, path) for word in ("added", "removed", "modified") for path in getattr(change, word)]
    lines = [f"{label}:"] if rows else []
    lines += [output.paint(f"  {word:8} {output.quoted(path)}", word) for word, path in rows[:SHOWN]]
    if len(rows) > SHOWN:
        lines.append(f"  … and {len(rows) - SHOWN:,} more (all of them with --json)")
    return lines


@runs_command.command("logs", epilog=shared.example("dv runs logs first", "dv runs logs first --stderr"))
@click.argument("run", metavar="RUN")
@click.option("--stderr", is_flag=True, help="What it printed to stderr, instead of stdout.")
@click.pass_obj
def logs_subcommand(settings: Settings, *, run: str, stderr: bool) -> None:
    """Print what a run printed, as far as it was kept, without what looked like a secret."""
    pieces = opening.open_repo(settings).run_file(run, LOGS["stderr" if stderr else "stdout"])
    if sys.stdout.isatty():
        # What somebody's program printed may be somebody else's: colours pass, what moves or renames windows does not.
        for piece in pieces:
            sys.stdout.write(_calm(piece.decode("utf-8", "replace")))
    else:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
    sys.stdout.flush()


def _calm(text: str) -> str:
    """Return text for a terminal: control characters are shown, but for colours, ends of lines and tabs."""
    parts = re.split(r"(\x1b\[[0-9;]*m|[\n\r\t])", text)
    return "".join(part if at % 2 else output.harmless(part) for at, part in enumerate(parts))


@runs_command.command("fetch", epilog=shared.example("dv runs fetch first", "dv runs fetch first -o models/first"))
@click.argument("run", metavar="RUN")
@click.option("-o", "directory", metavar="DIR", help="Write below DIR, instead of where it was made.")
@click.option("--force", is_flag=True, help="Overwrite files that differ.")
@shared.json_option
@click.pass_obj
def fetch_subcommand(settings: Settings, *, run: str, directory: str | None, force: bool, json: bool) -> None:
    """Bring back what a run made."""
    found = opening.open_repo(settings).fetch_run(run, directory, force=force)
    if json:
        output.as_json(found)
        return
    output.say(f"brought back {output.quantity(found.files, 'file')} of run {found.id}, {output.size(found.bytes)}")
    for path in found.paths[:SHOWN]:
        output.say(f"    {output.quoted(path)}")


@runs_command.command("rm", epilog=shared.example("dv runs rm k3f9", "dv runs rm first --force"))
@click.argument("names", metavar="RUN", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Also if other runs have used what it made.")
@shared.json_option
@click.pass_obj
def rm_subcommand(settings: Settings, *, names: tuple[str, ...], force: bool, json: bool) -> None:
    """Remove runs; what only they kept goes with the next 'dv gc', and 'dv undo' brings them back before."""
    found = opening.open_repo(settings).remove_runs(names, force=force)
    if json:
        output.as_json(found)
        return
    for each in found:
        used = f"; {output.quantity(len(each.dependents), 'run')} had used what it made" if each.dependents else ""
        output.say(f"removed run {each.id}{used}")
