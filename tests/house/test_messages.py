"""What messages tell people to run exists: the command, its subcommand, and each option."""

import ast
import re

import click
import pytest

from dvtool.cli.catalogue import COMMANDS
from dvtool.cli.program import dv

# Where a call begins within a sentence: in quotes, after a colon, or after another call.
CALL = re.compile(r"(?:'|: |\band |\bthen )dv ([^'\n]*)")

# Stands for what a message fills in when it is printed.
FILLED_IN = "\N{REPLACEMENT CHARACTER}"

NOTHING = click.Command(None)


def text_of(node):
    """The text of a string or f-string, or None; docstrings are no messages."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or FILLED_IN for part in node.values)
    return None


def messages(module):
    """Every string of a module that is not the documentation of something."""
    documentation = {id(node.value) for node in ast.walk(module.syntax) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(module.syntax) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(module.syntax):
        text = text_of(node)
        if text is not None and id(node) not in documentation | inside:
            yield text


def calls(modules):
    """(module, words of a call) of everything that messages or examples tell people to run."""
    for module in modules:
        for text in messages(module):
            found = CALL.findall(text)
            whole = text.startswith("dv ") and "\n" not in text and text.split()[1] in {*COMMANDS, FILLED_IN}
            for words in found + ([text[3:]] if whole else []):
                yield module.name, words.split()


def missing(words):
    """What a call names that does not exist, or None."""
    command: click.Command = dv
    context = click.Context(dv)
    for at, word in enumerate(words):
        if word.startswith(FILLED_IN):
            return None
        if isinstance(command, click.Group) and not word.startswith("-"):
            command = command.get_command(context, word.strip(".,;:)")) or NOTHING
            if command is NOTHING:
                return " ".join(words[: at + 1])
        elif word == "--" or word in {"|", "&&"}:
            return None
        elif re.fullmatch(r"--?[a-z][a-z-]*", word.strip(".,;:)")):
            options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
            if word.strip(".,;:)") not in {*options, "--help"}:
                return " ".join([*words[:at], word])
    return None


def test_messages_name_no_command_and_no_option_that_is_missing(modules):
    found = {(name, wrong) for name, words in calls(modules) if (wrong := missing(words))}
    assert found == set()


def test_many_calls_are_looked_at(modules):
    assert len(list(calls(modules))) > len(COMMANDS)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("status --json", None),
        ("worktree add ../x", None),
        (f"{FILLED_IN} -d x", None),
        ("repro first", "repro"),
        ("worktree prune", "worktree prune"),
        ("status --fast", "status --fast"),
        ("restore --force.", None),
    ],
)
def test_a_call_is_taken_apart(words, wrong):
    assert missing(words.split()) == wrong
