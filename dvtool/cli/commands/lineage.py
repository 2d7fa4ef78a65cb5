"""``dv lineage`` and ``dv check``: what came from what, and whether splits of the data were kept apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvtool.cli import exits, opening, output, shared
from dvtool.cli.sizes import Size

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.operations.check import Reader, Split
    from dvtool.runs.lineage import Edge, Graph, Node

SHOWN = 20
DEPTH = 64
"""Levels of a tree on the terminal."""


@shared.command(
    "lineage",
    "dv lineage first",
    "dv lineage data/train/17.png --down",
    "dv lineage HEAD~3 --down --json",
    "dv lineage first:model.pkl --down",
)
@click.option("--up", "direction", flag_value="up", default=None, help="What it was made from; the default for runs.")
@click.option("--down", "direction", flag_value="down", help="What was made from it; the default for data.")
@shared.json_option
@click.argument("target", metavar="TARGET")
@click.pass_obj
def lineage_command(settings: Settings, *, target: str, direction: str | None, json: bool) -> None:
    """Show what a run, an output, a file, a directory or a snapshot was made from, or what was made from it.

    A file is known by its content: wherever it lay, under whatever name, in any snapshot.
    """
    found = opening.open_repo(settings).lineage(target, direction)
    if json:
        output.as_json(found)
        return
    for line in _tree(found):
        output.say(line)


def _tree(found: Graph) -> list[str]:
    nodes = {node.id: node for node in found.nodes}
    near: dict[str, list[Edge]] = {}
    for edge in found.edges:
        near.setdefault(edge.from_ if found.direction == "down" else edge.to, []).append(edge)
    lines: list[str] = [_label(nodes.get(found.target), found.target)]
    seen: set[str] = set()

    def grow(identity: str, indent: str, depth: int) -> None:
        if identity in seen or depth > DEPTH:
            return
        seen.add(identity)
        edges = near.get(identity, [])
        ends: dict[str, list[Edge]] = {}
        for edge in edges:
            ends.setdefault(edge.to if found.direction == "down" else edge.from_, []).append(edge)
        order = sorted(ends, key=lambda end: (not near.get(end), nodes[end].time or "", nodes[end].label, end))
        quiet = [end for end in order if nodes[end].type == "snapshot" and not near.get(end)]
        shown = [end for end in order if end not in quiet] + quiet[:3]
        for at, end in enumerate(shown):
            last = at == len(shown) - 1 and len(quiet) <= 3  # noqa: PLR2004 - as many as are shown above
            how = ", ".join(sorted({_how(edge) for edge in ends[end]}))
            again = " (see above)" if end in seen and near.get(end) else ""
            lines.append(f"{indent}{'└─ ' if last else '├─ '}{how}: {_label(nodes[end], end)}{again}")
            grow(end, indent + ("   " if last else "│  "), depth + 1)
        if len(quiet) > 3:  # noqa: PLR2004 - as above
            left = output.quantity(len(quiet) - 3, "more snapshot")
            lines.append(f"{indent}└─ and {left} that no run has read it from")

    grow(found.target, "", 0)
    if len(lines) == 1:
        lines.append("no run is known that it was made from" if found.direction == "up" else "no run has read it")
    return lines


def _how(edge: Edge) -> str:
    words = {"makes": "made", "holds": "in"}
    role = words.get(edge.role, edge.role)
    return output.harmless(f"{role} ({edge.known})" if edge.known else role)


def _label(node: Node | None, identity: str) -> str:
    if node is None:
        return output.harmless(identity)
    label = output.harmless(node.label)
    match node.type:
        case "run":
            status = f" ({output.harmless(node.status or '')})" if node.status != "done" else ""
            return f"run {output.paint(output.harmless(node.id), 'id')} {label}{status}"
        case "snapshot":
            return f"snapshot {output.paint(output.harmless(node.id[:12]), 'id')} {label}"
        case _:
            return f"{node.type} {label}"


smallest_option = click.option(
    "--min-size",
    type=Size(),
    metavar="N",
    default=1,
    help="Take no file of fewer bytes for a copy: small ones, such as labels, may be equal by chance (100, 4KiB).",
)


@click.group("check", epilog=shared.example("dv check leakage train test", "dv check splits"))
def check_command() -> None:
    """Check whether splits of the data overlap, and who has read which."""


@check_command.command(
    "leakage",
    epilog=shared.example("dv check leakage train test", "dv check leakage data/train HEAD~3:data/test --json"),
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@smallest_option
@shared.json_option
@click.pass_obj
def leakage_subcommand(settings: Settings, *, first: str, second: str, min_size: int, json: bool) -> int:
    """Find files with the same content on two sides: roles of dv.toml, paths, or REV:PATH. Exit code 1 if there are."""
    found = opening.open_repo(settings).check_leakage(first, second, smallest=min_size)
    if json:
        output.as_json(found)
        return exits.DONE if found.clean else exits.DIFFERENT
    sides = f"{output.amount(found.files_a, 'file')} and {output.amount(found.files_b, 'file')}"
    if found.clean:
        output.say(f"no content is on both sides: {sides} compared")
        return exits.DONE
    for each in found.shared[:SHOWN]:
        output.say(f"{output.quoted(each.a[0])} = {output.quoted(each.b[0])}, {output.size(each.size)}")
    if len(found.shared) > SHOWN:
        output.say(f"… and {len(found.shared) - SHOWN:,} more (all of them with --json)")
    leaking = output.amount(found.leaking, "file")
    output.say(f"{leaking} of {output.harmless(second)} are in {output.harmless(first)} as well")
    return exits.DIFFERENT


@check_command.command("splits", epilog=shared.example("dv check splits", "dv check splits --json"))
@smallest_option
@shared.json_option
@click.pass_obj
def splits_subcommand(settings: Settings, *, min_size: int, json: bool) -> int:
    """Tell which runs read which split. Exit code 1 if work that learns or chooses read what is held out."""
    found = opening.open_repo(settings).check_splits(smallest=min_size)
    if json:
        output.as_json(found)
    else:
        for split in found.splits:
            _say_split(split)
    return exits.DONE if found.clean else exits.DIFFERENT


def _say_split(split: Split) -> None:
    held = " (held out)" if split.held_out else ""
    read = output.quantity(len(split.readers), "run")
    output.say(f"{output.harmless(split.role)}{held}: {', '.join(map(output.quoted, split.paths))}; read by {read}")
    # Those that should not have come first, so that the limit does not hide them.
    for reader in sorted(split.readers, key=lambda each: not each.learning)[:SHOWN]:
        output.say(f"  {_reader(reader, split)}", colour="red" if split.held_out and reader.learning else None)
    if len(split.readers) > SHOWN:
        output.say(f"  … and {len(split.readers) - SHOWN:,} more (all of them with --json)")
    if split.held_out and split.learning:
        output.say(f"  read {output.quantity(split.learning, 'time')} by runs that learn or choose")


def _reader(reader: Reader, split: Split) -> str:
    stage = f" {reader.stage}" if reader.stage else ""
    name = f" {reader.name}" if reader.name else ""
    other = ", in a role that its path does not have" if reader.contradicts else ""
    note = " <- learns or chooses by what is held out" if split.held_out and reader.learning else ""
    files = output.quantity(reader.files, "file")
    known = ", ".join(reader.known)
    return output.harmless(f"{reader.run}{name}{stage}: {files}, known by {known}{other}{note}")
