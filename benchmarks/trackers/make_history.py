"""Makes a long history of snapshots and runs through dv as a library: thousands of commands would take an hour.

It is run by path, by a Python that has dv, so that it imports nothing of the benchmark.  The repository has one
snapshot of ``data`` already, in which files lie two directories deep.  Each further snapshot edits a few files.
The runs spread over all snapshots: most read the whole data set, some one directory of it, some the model that a run
before them made; each makes a model.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from dvtool import ids
from dvtool.formats import log, run
from dvtool.formats.tree import FILE, Entry
from dvtool.store.editing import Editor
from dvtool.store.trees import Trees
from dvtool.workspace import Workspace
from dvtool.worktree import recording
from dvtool.worktree.session import Context

if TYPE_CHECKING:
    from dvtool.store.transaction import Transaction

DATA = "data"
EDITED = 3
"""Files that each snapshot edits."""
KEPT = 2
"""The first file is never edited, the second only near the end, so that little comes of it."""
NEAR_THE_END = 10
"""So many snapshots from the end."""
PORTION = 1000
"""Runs that one entry of the log adds."""
AUTHOR = "Bench Mark <bench@example.org>"
START = 1_700_000_000_000_000
MINUTE = 60_000_000
ENVIRONMENT = {
    "python": {"version": "3.11.7", "implementation": "cpython"},
    "packages": [{"name": f"package-{number}", "version": f"1.{number}.0", "origin": "index"} for number in range(100)],
}


class State(NamedTuple):
    """A snapshot with its tree, and what stands there for the data."""

    identity: bytes
    data: Entry


class Made(NamedTuple):
    """A run, and the file that it made."""

    identity: str
    model: Entry


class History:
    """The repository while it grows."""

    def __init__(self, root: str) -> None:
        self.session = Workspace.open(root, Context(cwd=root)).session
        self.store = self.session.store
        head = self.session.head()
        assert head.snapshot is not None
        self.first = head.snapshot
        self.head_ref = f"heads/{head.branch}"
        self.tree = self.session.snapshot(self.first).root
        self.names = sorted(path for path, entry in self.session.trees.walk(self.tree) if entry.kind == FILE)
        self.states = [self._state(self.first, self.tree, self.session.trees)]
        self.made: list[Made] = []

    def _state(self, identity: bytes, tree: bytes, trees: Trees) -> State:
        data = trees.resolve(tree, DATA)
        assert data is not None
        return State(identity, data)

    def snapshots(self, count: int) -> None:
        """Add snapshots until there are so many."""
        with self.store.transaction() as transaction:
            editor = Editor(transaction, self.store.secrets.split)
            tree, last = self.tree, self.first
            for number in range(1, count):
                tree = editor.apply(tree, self._edits(transaction, number, count))
                last, _value = recording.make(
                    self.session, transaction, tree=tree, roots=(DATA,), parents=(last,), author=AUTHOR,
                    message=f"snapshot {number}", with_settings=False,
                )  # fmt: skip
                self.states.append(self._state(last, tree, Trees(transaction)))
            move = log.MoveRef(name=self.head_ref, old=self.first, new=last)
            transaction.commit("commit", lambda _state: [move])

    def _edits(self, transaction: Transaction, number: int, count: int) -> dict[str, dict[str, Entry | None]]:
        edited = self.names[KEPT:]
        chosen = [edited[(number * 7 + each * 331) % len(edited)] for each in range(EDITED)]
        if number == max(1, count - NEAR_THE_END):
            chosen.append(self.names[1])
        changes: dict[str, dict[str, Entry | None]] = {}
        for path in chosen:
            directory, _, name = path.rpartition("/")
            changes.setdefault(directory, {})[name] = self._file(transaction, f"{path} {number}".encode() * 20)
        return changes

    def _file(self, transaction: Transaction, content: bytes) -> Entry:
        return Entry(FILE, len(content), transaction.put_chunk(content))

    def runs(self, count: int) -> None:
        """Add runs, evenly over all snapshots."""
        for start in range(0, count, PORTION):
            with self.store.transaction() as transaction:
                editor = Editor(transaction, self.store.secrets.split)
                moves: list[log.Action] = []
                for number in range(start, min(start + PORTION, count)):
                    value = self._run(transaction, editor, number, self.states[number * len(self.states) // count])
                    identity = transaction.put_object(ids.RUN, run.encode(value))
                    moves.append(log.MoveRef(name=run.ref_name(value.id), old=None, new=identity))
                transaction.commit("run", lambda _state, moves=moves: moves)  # type: ignore[misc]
        self.store.maintain(due=True)  # as it would be long before there are so many runs

    def _run(self, transaction: Transaction, editor: Editor, number: int, state: State) -> run.Run:
        started = START + number * MINUTE
        moment = datetime.fromtimestamp(started / 1_000_000, UTC).strftime("%Y%m%d-%H%M%S")
        path, entry = self._read(editor.trees, number, state)
        above, _, name = path.rpartition("/")
        changes: dict[str, dict[str, Entry | None]] = {f"{run.INPUTS}/0/{above}".rstrip("/"): {name: entry}}
        sources = [run.Source(snapshot=state.identity)]
        inputs = [_input(0, path, entry)]
        if number % 10 == 9:
            source = self.made[number * 2 // 3]
            changes[f"{run.INPUTS}/1"] = {"model.bin": source.model}
            sources.append(run.Source(run=source.identity))
            inputs.append(_input(1, "model.bin", source.model))
        model = self._file(transaction, f"model {number}".encode() * 50)
        changes[run.OUTPUTS] = {"model.bin": model}
        value = run.Run(
            id=run.new_id(moment, self.session.context.entropy.bytes(7)), revision=0,
            nonce=self.session.context.entropy.bytes(run.NONCE_SIZE), tree=editor.apply(None, changes),
            name=f"run {number % 50}", group=f"group {number % 7}", stage="train", parent="", status="done",
            author=AUTHOR, started=started, ended=started + MINUTE // 2,
            command=("python", "train.py", "--lr", str(number % 100 / 1000)), directory=".", sources=tuple(sources),
            inputs=tuple(inputs),
            outputs=(run.Output(path="model.bin", origin="", kind="model", files=1, size=model.size, missing=False),),
            params={"lr": number % 100 / 1000, "epochs": 10, "model": {"depth": number % 9, "kind": "tree"}},
            changes=(), seeds={"numpy": number}, metrics=tuple(_metric(name, number) for name in ("loss", "accuracy")),
            samples=(), workers=(), code=run.Code(commit="0" * 40, branch="main", script="train.py"),
            environment=ENVIRONMENT, prints=run.Prints(), ending=run.Ending(code=0, cpu=12.5, memory=1 << 28), notes=(),
        )  # fmt: skip
        self.made.append(Made(value.id, model))
        return value

    def _read(self, trees: Trees, number: int, state: State) -> tuple[str, Entry]:
        """Return what a run reads: two of three the whole, the others one of its directories."""
        if number % 3:
            return DATA, state.data
        uppers = list(trees.entries(state.data.id))
        upper, found = uppers[number % len(uppers)]
        lowers = list(trees.entries(found.id))
        lower, entry = lowers[number // 3 % len(lowers)]
        return f"{DATA}/{upper}/{lower}", entry


def _input(source: int, path: str, entry: Entry) -> run.Input:
    return run.Input(source=source, path=path, role="train", known="audit", files=entry.files, size=entry.size)


def _metric(name: str, number: int) -> run.Metric:
    value = (number * 7919 % 10_000) / 10_000
    return run.Metric(
        name=name,
        split="val",
        count=100,
        step=99,
        last=value,
        least=value,
        least_step=99,
        greatest=1.0,
        greatest_step=0,
    )


def main(root: str, snapshots: int, runs: int) -> None:
    history = History(root)
    history.snapshots(snapshots)
    history.runs(runs)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
