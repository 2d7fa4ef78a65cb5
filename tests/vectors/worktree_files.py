"""Golden vectors of what lies beside the user's files: `dv.lock`, `dv.toml` and the index of a worktree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool.formats import lock, project, tree, worktree_index
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


SOURCES = (locks, projects, worktree_indexes)
