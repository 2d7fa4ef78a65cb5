"""``dv run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvtool import urls
from dvtool.cli import opening, output, shared

if TYPE_CHECKING:
    from dvtool.cli.opening import Settings
    from dvtool.formats.run import Run


@shared.command(
    "run",
    "dv run -- python train.py --lr 0.1",
    "dv run --name baseline --in data/train=train --in data/test=test --out model.pkl -- python train.py",
    "dv run --group sweep -p lr=0.1 -p layers=[64,64] --stage tune -- ./tune.sh",
    "dv run --require-clean -- make model",
)
@click.option("--name", metavar="N", default="", help="What the run is called; several may have one name.")
@click.option("--group", metavar="G", default="", help="The group that it belongs to, as a sweep or a fold.")
@click.option("--stage", type=click.Choice(["train", "tune", "eval", "prep"]), help="What kind of work it is.")
@click.option("-p", "params", metavar="K=V", multiple=True, help="A parameter; numbers and JSON are understood.")
@click.option(
    "--in", "inputs", metavar="PATH[=ROLE]", multiple=True, help="What it reads; also REV:PATH, RUN:PATH, URL."
)
@click.option("--out", "outputs", metavar="PATH", multiple=True, help="What it makes; stored when it has ended.")
@click.option(
    "--trace",
    type=click.Choice(["declared", "audit"]),
    default="audit",
    show_default=True,
    help="How it is found out what is read: only by --in, or also by a hook in Python.",
)
@click.option("--require-clean", is_flag=True, help="Refuse to run if the worktree has changes that are not recorded.")
@click.option("--no-capture", is_flag=True, help="Leave what it prints alone; for programs that draw.")
@click.option("-q", "--quiet", is_flag=True, help="Do not say which run it was.")
@click.argument("words", nargs=-1, metavar="-- CMD…", type=click.UNPROCESSED)
@click.pass_obj
def run_command(
    settings: Settings,
    *,
    name: str,
    group: str,
    stage: str | None,
    params: tuple[str, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    trace: str,
    require_clean: bool,
    no_capture: bool,
    quiet: bool,
    words: tuple[str, ...],
) -> int:
    """Run a command and record what it read, what it made, how, and with what result.

    The command ends as it would without dv, and dv ends with its exit code. A worktree with changes is recorded first,
    on no branch, for this run alone.
    """
    from dvtool.operations import run as operation
    from dvtool.runs.beginning import NO_RECORD, Request

    request = Request(
        command=words,
        name=name,
        group=group,
        stage=stage or "",
        params=_params(params),
        inputs=tuple(_with_role(word) for word in inputs),
        outputs=tuple((word, "") for word in outputs),
        trace=trace,
        require_clean=require_clean,
    )
    try:
        repo = opening.open_repo(settings)
    except NO_RECORD as error:  # nothing can be recorded, and the command comes first
        result = operation.unrecorded(request, error, output.warn)
    else:
        result = repo.run(request, capture=not no_capture)
    if result.run is not None and not quiet:
        output.warn(_line(result.run))
    return result.exit


def _params(words: tuple[str, ...]) -> dict[str, Any]:
    """Return parameters by name; a dot in a name leads into a group of them."""
    import msgspec

    found: dict[str, Any] = {}
    for key, value in shared.pairs(words, "-p").items():
        typed: Any = value
        if isinstance(value, str):
            try:
                typed = msgspec.json.decode(value)
            except msgspec.DecodeError:
                typed = value
        *groups, last = key.split(".")
        place = found
        for each in groups:
            place = place.setdefault(each, {})
            if not isinstance(place, dict):
                raise click.UsageError(f"-p gives {key!r} a value below another value")
        place[last] = typed
    return found


def _with_role(word: str) -> tuple[str, str]:
    """Return (path, role) of ``PATH=ROLE``; what follows the last ``=`` is a role if it is one word.

    It is none where it is what a URL asks: ``https://host/path?version=1``.
    """
    path, equals, role = word.rpartition("=")
    asked = urls.is_url(path) and "?" in path and "=" not in path.rpartition("?")[2].rpartition("&")[2]
    if equals and path and not asked and role.replace("-", "").replace("_", "").isalnum():
        return path, role
    return word, ""


def _line(run: Run) -> str:
    parts = [f"run {run.id} {run.status}"]
    if run.inputs:
        # What was declared and then seen to be opened stands there twice.
        read: dict[tuple[int, str], int] = {}
        for each in run.inputs:
            read[each.source, each.path] = max(each.files, read.get((each.source, each.path), 0))
        parts.append(output.quantity(sum(read.values()), "file") + " read")
    if run.outputs:
        parts.append(output.quantity(sum(each.files for each in run.outputs), "file") + " made")
    if run.metrics:
        parts.append(output.quantity(len(run.metrics), "metric"))
    return ", ".join(parts)
