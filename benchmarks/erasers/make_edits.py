"""Makes snapshots of edits through dv as a library: a thousand commands would take many minutes.

It is run by path, by a Python that has dv, so that it imports nothing of the benchmark.  The repository has one
snapshot already.  Each line of the edits is one more: a JSON object that has, by path, the file's bytes in base 64, or
null for a file that goes.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import TYPE_CHECKING

from dvtool.formats import log
from dvtool.formats.tree import FILE, Entry
from dvtool.store.editing import Editor
from dvtool.workspace import Workspace
from dvtool.worktree import recording
from dvtool.worktree.session import Context

if TYPE_CHECKING:
    from dvtool.store.editing import Changes
    from dvtool.store.transaction import Transaction

AUTHOR = "Bench Mark <bench@example.org>"


def main(root: str, edits: str) -> None:
    session = Workspace.open(root, Context(cwd=root)).session
    store, head = session.store, session.head()
    assert head.snapshot is not None
    last, before = head.snapshot, session.snapshot(head.snapshot)
    tree = before.root
    with open(edits, encoding="ascii") as lines:
        for number, line in enumerate(lines, 1):
            with store.transaction() as transaction:
                tree = Editor(transaction, store.secrets.split).apply(tree, _changes(transaction, json.loads(line)))
                new, _value = recording.make(
                    session, transaction, tree=tree, roots=before.roots, parents=(last,), author=AUTHOR,
                    message=f"snapshot {number}", with_settings=False,
                )  # fmt: skip
                moves: list[log.Action] = [log.MoveRef(name=f"heads/{head.branch}", old=last, new=new)]
                transaction.commit("commit", lambda _state, moves=moves: moves)  # type: ignore[misc]
            store.maintain()  # as each command does
            last = new


def _changes(transaction: Transaction, edits: dict[str, str | None]) -> Changes:
    changes: Changes = {}
    for path, content in edits.items():
        directory, _, name = path.rpartition("/")
        data = None if content is None else base64.b64decode(content)
        entry = None if data is None else Entry(FILE, len(data), transaction.put_chunk(data))
        changes.setdefault(directory, {})[name] = entry
    return changes


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
