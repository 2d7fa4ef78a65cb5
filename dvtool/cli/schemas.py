"""What ``--json`` prints, command by command, as JSON Schema in ``docs/json``.

::

    python -m dvtool.cli.schemas            # write the files
    python -m dvtool.cli.schemas --check    # exit with 1 when one of them differs
"""

from __future__ import annotations

import inspect
import os
import sys
from typing import Any, Final

import click
import msgspec

from dvtool.checking import Report
from dvtool.cli.output import ErrorDocument
from dvtool.history.describe import SnapshotItem
from dvtool.history.oplog import OperationItem
from dvtool.operations.add import AddResult
from dvtool.operations.check import Leakage, Splits
from dvtool.operations.checkout import CheckoutResult
from dvtool.operations.clone import CloneResult
from dvtool.operations.clones import CloneItem
from dvtool.operations.config import Setting
from dvtool.operations.diff import Diff
from dvtool.operations.doctor import Diagnosis
from dvtool.operations.erase import EraseResult
from dvtool.operations.erasure import DecisionItem, ErasureDetails, ErasureItem, VerifyResult
from dvtool.operations.expire import ExpireResult
from dvtool.operations.fetch import PullResult
from dvtool.operations.gc import GcResult
from dvtool.operations.hold import HoldItem
from dvtool.operations.keys import IdentityItem, KeyBackup, KeyChange, KeyRotation, KeyState
from dvtool.operations.ls import ListItem, Usage
from dvtool.operations.merge import MergeResult
from dvtool.operations.move import MoveResult
from dvtool.operations.prune import PruneResult
from dvtool.operations.push import PushResult
from dvtool.operations.refs import RefItem
from dvtool.operations.remote_check import RemoteReport
from dvtool.operations.remotes import RemoteItem
from dvtool.operations.remove import RemoveResult
from dvtool.operations.restore import RestoreResult
from dvtool.operations.runs import RunFetched, RunRemoved, RunsDiff, RunShown
from dvtool.operations.show import Shown
from dvtool.operations.sparse import SparseResult
from dvtool.operations.status import Status
from dvtool.operations.undo import UndoResult
from dvtool.operations.upgrade import UpgradeResult
from dvtool.operations.worktrees import WorktreeItem
from dvtool.runs.describing import RunItem
from dvtool.runs.lineage import Graph
from dvtool.sharing.fetching import FetchResult
from dvtool.worktree.recording import CommitResult

DIRECTORY: Final = os.path.join("docs", "json")
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


DOCUMENTS: Final[dict[str, Any]] = {
    "add": AddResult,
    "rm": RemoveResult,
    "mv": MoveResult,
    "status": Status,
    "commit": CommitResult,
    "log": list[SnapshotItem],
    "show": Shown,
    "ls": list[ListItem],
    "du": list[Usage],
    "diff": Diff,
    "checkout": CheckoutResult,
    "restore": RestoreResult,
    "get": SparseResult,
    "drop": SparseResult,
    "branch": list[RefItem] | RefItem,
    "tag": list[RefItem] | RefItem,
    "merge": MergeResult,
    "runs list": list[RunItem],
    "runs show": RunShown,
    "runs diff": RunsDiff,
    "runs fetch": RunFetched,
    "runs rm": list[RunRemoved],
    "lineage": Graph,
    "check leakage": Leakage,
    "check splits": Splits,
    "remote add": RemoteItem,
    "remote list": list[RemoteItem],
    "remote check": RemoteReport,
    "remote remove": RemoteItem,
    "remote rename": RemoteItem,
    "remote set-url": RemoteItem,
    "push": PushResult,
    "fetch": FetchResult,
    "pull": PullResult,
    "clone": CloneResult,
    "undo": UndoResult,
    "oplog": list[OperationItem],
    "worktree add": WorktreeItem,
    "worktree list": list[WorktreeItem],
    "worktree remove": WorktreeItem,
    "config": list[Setting] | Setting,
    "key protect": KeyChange,
    "key identity": IdentityItem,
    "key recipients add": KeyChange,
    "key recipients remove": KeyChange,
    "key recipients list": KeyState,
    "key export": KeyBackup,
    "key import": KeyState,
    "key rotate": KeyRotation,
    "hold add": list[HoldItem],
    "hold list": list[HoldItem],
    "hold release": list[HoldItem],
    "fsck": Report,
    "gc": GcResult,
    "erase": EraseResult,
    "erasure list": list[ErasureItem],
    "erasure show": ErasureDetails,
    "erasure verify": VerifyResult,
    "erasure resume": ErasureItem,
    "erasure decide": DecisionItem,
    "erasure clones": list[CloneItem],
    "erasure forget-clone": list[CloneItem],
    "expire": ExpireResult,
    "cache prune": PruneResult,
    "upgrade": UpgradeResult,
    "doctor": Diagnosis,
}
"""The type of the document that each command prints; a command that makes one and lists many has both."""


def file_name(command: str) -> str:
    """Return the name of a command's schema file: ``worktree-add.json`` for ``worktree add``."""
    return command.replace(" ", "-") + ".json"


def schema(document: Any, *, title: str, description: str) -> dict[str, Any]:  # noqa: ANN401 - a type, perhaps a union
    """Return the JSON Schema (2020-12) of a type."""
    found = msgspec.json.schema(document)
    for definition in found.get("$defs", {}).values():
        # Python 3.13 takes the indentation out of docstrings, earlier ones leave it in.
        definition["description"] = inspect.cleandoc(definition["description"])
    return {"$schema": DIALECT, "title": title, "description": description, **found}


def files() -> dict[str, bytes]:
    """Return every schema file by its name."""
    found = {
        file_name(command): schema(document, title=f"dv {command}", description=f"What 'dv {command} --json' prints.")
        for command, document in DOCUMENTS.items()
    }
    found["error.json"] = schema(
        ErrorDocument,
        title="dv errors",
        description="The last line on stderr when a command with --json fails.",
    )
    return {name: _encoded(document) for name, document in sorted(found.items())}


def _encoded(document: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def differing(directory: str) -> list[str]:
    """Return the names of files in ``directory`` that are missing, differ, or belong to no command."""
    wanted = files()
    there = set(os.listdir(directory)) if os.path.isdir(directory) else set()
    found = there - wanted.keys()
    for name, data in wanted.items():
        if name not in there:
            found.add(name)
            continue
        with open(os.path.join(directory, name), "rb") as file:
            if file.read() != data:
                found.add(name)
    return sorted(found)


@click.command("schemas")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when a file differs.")
@click.argument("directory", default=DIRECTORY)
def main(*, check: bool, directory: str) -> None:
    """Write the JSON schemas of all commands to DIRECTORY."""
    if check:
        names = differing(directory)
        if names:
            click.echo(f"{directory}: not what the program prints: {', '.join(names)}", err=True)
            click.echo("renew them: python -m dvtool.cli.schemas", err=True)
            sys.exit(1)
        return
    os.makedirs(directory, exist_ok=True)
    for name, data in files().items():
        with open(os.path.join(directory, name), "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main()
