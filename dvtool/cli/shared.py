"""How commands are declared: their help with examples, and the options that all reads have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvtool.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dvtool.sharing.erased import FollowedErasure

json_option = click.option("--json", "json", is_flag=True, help="Print one JSON document.")


def example(*lines: str) -> str:
    """Return an epilog that shows how a command is called."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


AFTER_DASHES = "dvtool.after_dashes"
"""In ``Context.meta``: how many of the arguments stood after ``--``; missing when it was not written."""


class DashesCommand(click.Command):
    """A command that knows which arguments stood after ``--``, and lets ``--only`` take several paths."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember the arguments after ``--``, which click forgets, and spread ``--only A B`` out."""
        after: list[str] = []
        if "--" in args:
            at = args.index("--")
            after = args[at + 1 :]
            ctx.meta[AFTER_DASHES] = len(after)
            args, after = args[:at], ["--", *after]
        return super().parse_args(ctx, [*_spread(args, "--only"), *after])


def _spread(args: list[str], option: str) -> list[str]:
    """Return arguments in which every word after ``option``, up to the next option, has it before it."""
    found: list[str] = []
    spreading = False
    for word in args:
        if word == option:
            spreading = True
            continue
        if word.startswith("-"):
            spreading = False
        found += [option, word] if spreading else [word]
    if args and args[-1] == option:
        found.append(option)
    return found


def around_dashes(ctx: click.Context, words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Return the words before ``--`` and those after it (None when it was not written)."""
    count = ctx.meta.get(AFTER_DASHES)
    if count is None:
        return words, None
    return words[: len(words) - count], words[len(words) - count :]


def command(name: str, *examples: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Return a decorator that makes a command with examples in its help."""
    return click.command(
        name,
        cls=DashesCommand,
        epilog=example(*examples),
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def pairs(words: tuple[str, ...], option: str) -> dict[str, str | bool]:
    """Return what ``KEY=VALUE`` words of an option say; ``true`` and ``false`` are no texts.

    Raises:
        UsageError: of click's, when one holds no ``=``.
    """
    found: dict[str, str | bool] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{option} takes KEY=VALUE, not {word!r}")
        found[key] = {"true": True, "false": False}.get(value, value)
    return found


def say_followed(erasures: Iterable[FollowedErasure]) -> None:
    """Say which erasures of others were carried out, before anything was exchanged with a remote."""
    for each in erasures:
        if each.known:
            output.say(f"took note of erasure {each.short}: nothing of it was here")
        else:
            files = output.quantity(each.worktree, "file")
            output.say(
                f"followed erasure {each.short}: {output.quantity(each.files, 'file')} erased from "
                f"{output.quantity(each.snapshots, 'snapshot')} and {output.quantity(each.runs, 'run')}, "
                f"{files} removed from worktrees"
            )
        for what in each.outstanding:
            output.say(f"outstanding: {what}", colour="removed")
