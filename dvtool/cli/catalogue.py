"""All commands, in the order of a day's work."""

from __future__ import annotations

from typing import Final

COMMANDS: Final = {
    "init": "dvtool.cli.commands.basics",
    "add": "dvtool.cli.commands.basics",
    "rm": "dvtool.cli.commands.basics",
    "mv": "dvtool.cli.commands.basics",
    "status": "dvtool.cli.commands.status",
    "commit": "dvtool.cli.commands.basics",
    "log": "dvtool.cli.commands.reading",
    "show": "dvtool.cli.commands.reading",
    "ls": "dvtool.cli.commands.reading",
    "cat": "dvtool.cli.commands.reading",
    "du": "dvtool.cli.commands.reading",
    "diff": "dvtool.cli.commands.diff",
    "checkout": "dvtool.cli.commands.switching",
    "restore": "dvtool.cli.commands.switching",
    "get": "dvtool.cli.commands.switching",
    "drop": "dvtool.cli.commands.switching",
    "branch": "dvtool.cli.commands.refs",
    "tag": "dvtool.cli.commands.refs",
    "merge": "dvtool.cli.commands.merge",
    "remote": "dvtool.cli.commands.remote",
    "push": "dvtool.cli.commands.sharing",
    "fetch": "dvtool.cli.commands.sharing",
    "pull": "dvtool.cli.commands.sharing",
    "clone": "dvtool.cli.commands.sharing",
    "undo": "dvtool.cli.commands.upkeep",
    "oplog": "dvtool.cli.commands.upkeep",
    "archive": "dvtool.cli.commands.reading",
    "worktree": "dvtool.cli.commands.worktree",
    "config": "dvtool.cli.commands.upkeep",
    "key": "dvtool.cli.commands.key",
    "expire": "dvtool.cli.commands.expire",
    "fsck": "dvtool.cli.commands.fsck",
    "gc": "dvtool.cli.commands.gc",
    "cache": "dvtool.cli.commands.cache",
    "doctor": "dvtool.cli.commands.upkeep",
    "upgrade": "dvtool.cli.commands.upkeep",
    "completion": "dvtool.cli.commands.upkeep",
    "demo": "dvtool.cli.demo",
}
"""Command by command, the module that has it as ``<name>_command``; loaded when it is called."""
