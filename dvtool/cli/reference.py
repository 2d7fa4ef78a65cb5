"""The page ``docs/reference/commands.md``, made from the commands themselves.

::

    python -m dvtool.cli.reference docs/reference/commands.md            # write it
    python -m dvtool.cli.reference --check docs/reference/commands.md    # exit with 1 when it differs
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final

import click

from dvtool.cli import exits, schemas
from dvtool.cli.program import dv

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = os.path.join("docs", "reference", "commands.md")

INTRODUCTION: Final = """\
# Commands

Made from the program itself by `python -m dvtool.cli.reference`; `dv COMMAND --help` says the same.

A *revision* is a branch, a tag, `HEAD`, a snapshot id or at least its first four digits, or `git:` with a Git
revision. `REV~2` goes two snapshots back, and `REV:PATH` is a path in a snapshot. Paths on the command line
are relative to the current directory; paths in output, in JSON and in `REV:PATH` are relative to the root of
the repository. A word on the command line that is both a revision and a path is refused.
"""


def page() -> str:
    """Return the whole page."""
    context = click.Context(dv, info_name="dv", help_option_names=["-h", "--help"])
    parts = [INTRODUCTION, *_exit_codes(), *_section(dv, context, level=2, title="Options of every command")]
    for name in dv.list_commands(context):
        parts += _of_command(context, name, level=2)
    return "\n".join(parts).rstrip("\n") + "\n"


def _of_command(parent: click.Context, name: str, *, level: int) -> Iterator[str]:
    group = parent.command
    command = group.get_command(parent, name) if isinstance(group, click.Group) else None
    if command is None:
        return
    context = click.Context(command, info_name=name, parent=parent)
    yield from _section(command, context, level=level, title=context.command_path)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from _of_command(context, below, level=level + 1)


def _section(command: click.Command, context: click.Context, *, level: int, title: str) -> Iterator[str]:
    yield f"{'#' * level} {title}\n"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```\n"
    text, examples = _split(command)
    for paragraph in text:
        yield f"{_escaped(' '.join(paragraph.split()))}\n"
    yield from _options(command, context)
    name = context.command_path.partition(" ")[2]
    if name in schemas.DOCUMENTS:
        yield f"What `--json` prints is described by `docs/json/{schemas.file_name(name)}`.\n"
    if examples:
        yield "```console\n" + "\n".join(f"$ {line}" for line in examples) + "\n```\n"


def _split(command: click.Command) -> tuple[list[str], list[str]]:
    """Return (paragraphs, examples) of a command's help and epilog."""
    paragraphs, examples = [], []
    for block in re.split(r"\n\s*\n", f"{command.help or ''}\n\n{command.epilog or ''}"):
        if "\b" in block:
            examples += [line.strip() for line in block.split("\b", 1)[1].strip().splitlines()[1:]]
        elif block.strip():
            paragraphs.append(block)
    return paragraphs, examples


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    records = [option.get_help_record(context) for option in options]
    yield "| option | meaning |\n|---|---|"
    for names, meaning in [record for record in records if record is not None]:
        yield f"| `{_cell(names)}` | {_cell(_escaped(' '.join(meaning.split())))} |"
    yield ""


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes\n"
    yield "| code | kind | meaning |\n|---|---|---|"
    for code, kind, meaning in exits.table():
        yield f"| {code} | {f'`{kind}`' if kind else ''} | {_cell(_escaped(meaning))} |"
    yield ""
    yield (
        "With `--json`, a command that fails leaves stdout empty, and the last line on stderr is a JSON\n"
        "document that `docs/json/error.json` describes. Its `kind` is the one in the table.\n"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _escaped(text: str) -> str:
    """Return prose with what Markdown would take for HTML or emphasis made harmless."""
    return text.replace("<", "\\<").replace("*", "\\*")


def problem(path: str) -> str:
    """Return why the file at ``path`` is not the page, or nothing when it is."""
    try:
        with open(path, encoding="utf-8") as file:
            found = file.read()
    except OSError as error:
        return error.strerror or str(error)
    if found == page():
        return ""
    pairs = zip(found.splitlines(), page().splitlines(), strict=False)
    at = next((number for number, (old, new) in enumerate(pairs, 1) if old != new), None)
    return f"line {at} is not what the commands say" if at else "its length is not what the commands make"


@click.command("reference")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when the file differs.")
@click.argument("path", default=PAGE)
def main(*, check: bool, path: str) -> None:
    """Write the command reference to PATH."""
    if check:
        why = problem(path)
        if why:
            click.echo(f"{path} is out of date: {why}", err=True)
            click.echo(f"renew it: python -m dvtool.cli.reference {path}", err=True)
            sys.exit(1)
        return
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(page())


if __name__ == "__main__":
    main()
