"""Golden vectors of what lies beside the user's files: `dv.lock`, `dv.toml`, the index of a worktree, journals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from dvtool.formats import journal, lock, project, tree, worktree_index
from tests.vectors.vector import TIME, Vector, identity, plain

if TYPE_CHECKING:
    from collections.abc import Iterator


def locks() -> Iterator[Vector]:
    """Yield lock files."""
    for name, about, branch in [
        ("branch", "On a branch.", "main"),
        ("detached", "On no branch.", None),
        ("slash", "On a branch with a slash and a letter that is not ASCII.", "team/\u00fcber"),
    ]:
        value = lock.Lock(version=1, snapshot=identity("snapshot").hex(), branch=branch)
        data = lock.encode(value)
        yield Vector(format="lock", name=name, about=about, inputs={}, value=plain(value), data=data)


PROJECTS = {
    "nothing": ("A file that says nothing.", ""),
    "everything": (
        "Every key, at least once.",
        """[remote.origin]
url = "s3://bucket/prefix"
options = { endpoint_url = "http://127.0.0.1:9000" }
keys = "s3://other-bucket/prefix"
[splits]
train = ["data/train"]
test = ["data/test", "data/more/*.csv"]
[[subject]]
paths = "data/images/{subject}/**"
[[subject]]
tables = "data/**/*.parquet"
column = "user_id"
[[table]]
tables = "data/users.csv"
key = ["user_id", "day"]
[hooks]
unstored-data = "block"
stale-lock = "warn"
large-file = { over = "10 MB", policy = "off" }
subject-path = "block"
""",
    ),
}


def projects() -> Iterator[Vector]:
    """Yield what people may write into dv.toml."""
    for name, (about, text) in PROJECTS.items():
        data = text.encode()
        value = plain(project.decode(data))
        yield Vector(format="project", name=name, about=about, inputs={}, value=value, data=data)


def worktree_indexes() -> Iterator[Vector]:
    """Yield indexes of worktrees."""
    stat = b"".join(number.to_bytes(8, "little") for number in (12, TIME * 1000, TIME * 1000 + 5, 77, 0o100644))
    records = {
        "": worktree_index.Record(names="", kinds=b"", stats=b"", ids=b"", sizes=[], directories="data"),
        "data": worktree_index.Record(
            names="a\0b",
            kinds=bytes([tree.FILE, tree.SYMLINK]),
            stats=stat + worktree_index.UNKNOWN_STAT,
            ids=identity("a") + identity("b"),
            sizes=[12, 3],
            directories="",
        ),
    }
    for name, about, kept in [
        ("empty", "No directory has been seen.", {}),
        ("two-directories", "A file with a stat and a link without one.", records),
    ]:
        encoded = [(path, msgspec.msgpack.encode(record)) for path, record in kept.items()]
        yield Vector(
            format="worktree_index",
            name=name,
            about=about,
            inputs={},
            value={"tree": identity("root").hex(), "records": plain(kept)},
            data=worktree_index.encode(identity("root"), encoded),
        )


RECORDS: tuple[journal.Record, ...] = (
    journal.Hello(time=TIME, rank=0, shard="0/2", pid=4711, host="node-1"),
    journal.Named(name="baseline", group="", stage="train"),
    journal.Params(time=TIME + 1, step=None, values={"lr": 1e-3, "layers": [64, 32], "data": {"shuffle": True}}),
    journal.Seeds(values={"python": 0, "numpy": [1, 2]}),
    journal.Environment(values={"loaded": ["pyarrow"]}),
    journal.Said(made=False, path="main:data/train", kind="", role="train"),
    journal.Values(time=TIME + 2, split="train", step=0, values={"loss": 2.5, "lr": 1e-3}),
    journal.Values(time=TIME + 3, split="", step=None, values={"loss": math.nan, "speed": math.inf}),
    journal.System(time=TIME + 4, values={"cpu": 0.5}),
    journal.Table(name="predictions", file="table-1.parquet", key="image", rows=1000),
    journal.Said(made=True, path="/data/models/best.bin", kind="model", role=""),
    journal.Note(text="caf\u00e9"),
    journal.Bye(time=TIME + 5, lost=2, why="ValueError: no"),
)
"""A record of every kind."""


def journals() -> Iterator[Vector]:
    """Yield the files of one process, and those of how a run began and ended."""
    whole = journal.header() + b"".join(map(journal.encode, RECORDS))
    cut = whole[:-3]
    for name, about, data in [
        ("nothing-said", "A process that has not said anything.", journal.header()),
        ("every-record", "A record of every kind.", whole),
        ("cut", "The process ended while it wrote its last record.", cut),
        ("not-begun", "The process ended while it wrote the header.", journal.header()[:5]),
    ]:
        records, rest = journal.decode(data)
        value = {"records": plain(records), "rest": rest}
        yield Vector(format="journal", name=name, about=about, inputs={}, value=value, data=data)
    begin = journal.Begin(
        version=journal.VERSION,
        id="20250615-150640-0123456789",
        started=TIME,
        name="baseline",
        group="",
        stage="train",
        parent="20250615-150000-zyxwvtsrqp",
        author="A. Author <author@example.org>",
        command=("python", "train.py"),
        directory="models",
        snapshot=identity("snapshot"),
        dirty=True,
        inputs=(("data", "train", "declared"), ("v1:words", "", "dv")),
        outputs=(("/data/models", "model"),),
        params={"lr": 1e-3},
        code={"commit": "5c7fbd9a3b1f4de0a4e1f8a4f2d3c4b5a6978877", "patch": "none"},
        environment={"memory": 32 << 30},
        trace="audit",
        notes=("a note",),
    )
    yield Vector(
        format="journal",
        name="begin",
        about="The file `begin`.",
        inputs={},
        value=plain(begin),
        data=journal.encode_begin(begin),
    )
    for name, about, end in [
        ("end", "The file `end` of a command that went well.", _end(code=0, signal=None, cpu=1.25, memory=512 << 20)),
        ("end-signal", "The file `end` of a command that a signal ended.", _end(code=None, signal=9)),
    ]:
        data = journal.encode_end(end)
        yield Vector(format="journal", name=name, about=about, inputs={}, value=plain(end), data=data)


def _end(*, code: int | None, signal: int | None, cpu: float | None = None, memory: int | None = None) -> journal.End:
    return journal.End(time=TIME + 9, code=code, signal=signal, why="", cpu=cpu, memory=memory)


SOURCES = (locks, projects, worktree_indexes, journals)
