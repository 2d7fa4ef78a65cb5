"""``dv ls`` lists, ``dv du`` sums up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.formats.tree import DIRECTORY
from dvtool.history.describe import KIND_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.formats.tree import Entry
    from dvtool.workspace import Workspace


class ListItem(msgspec.Struct, frozen=True, kw_only=True):
    """One entry: path, kind (file, dir, symlink, erased), size in bytes (of everything below a directory), id."""

    path: str
    kind: str
    size: int
    id: str
    executable: bool = False


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """How much lies at and below a path."""

    path: str
    files: int
    bytes: int


def ls(
    workspace: Workspace, revision: str | None, path: str, *, recursive: bool = False, kept: bool = False
) -> Iterator[ListItem]:
    """Yield what lies in a directory of a snapshot: one level, or everything below it; a file yields itself.

    Args:
        workspace: the worktree.
        revision: HEAD by default.
        path: repository path.
        recursive: go below directories, too.
        kept: whether the caller keeps all items, so that there must be memory for them.

    Raises:
        NotFoundError: when the revision or the path does not exist.
        IntegrityError: naming the path, when a directory is damaged.
        StorageError: when there are more than memory takes, and they are ``kept``.
    """
    entry, where = _find(workspace, revision, path)
    trees = workspace.session.trees
    if entry.kind != DIRECTORY:
        yield _item(where, entry)
    elif recursive:
        for below, found in trees.walk(entry.id, where, kept=kept):
            yield _item(below, found)
    else:
        for name, found in trees.listing(entry.id, where):
            yield _item(paths.join(where, name), found)


def du(workspace: Workspace, revision: str | None, path: str) -> list[Usage]:
    """Return the totals of a path, then of each directory right below it; nothing further down is read.

    Raises:
        NotFoundError: when the revision or the path does not exist.
        IntegrityError: naming the path, when a directory is damaged.
    """
    entry, where = _find(workspace, revision, path)
    found = []
    if entry.kind == DIRECTORY:
        found = [
            Usage(path=paths.join(where, name), files=below.files, bytes=below.size)
            for name, below in workspace.session.trees.listing(entry.id, where)
            if below.kind == DIRECTORY
        ]
    return [Usage(path=where, files=entry.files, bytes=entry.size), *found]


def _find(workspace: Workspace, revision: str | None, path: str) -> tuple[Entry, str]:
    _identity, where, entry = workspace.place(f"{revision or 'HEAD'}:{path}")
    return entry, where


def _item(path: str, entry: Entry) -> ListItem:
    from_kind = KIND_WORDS[entry.kind]
    return ListItem(
        path=path,
        kind=from_kind,
        size=entry.size,
        id=entry.id.hex(),
        executable=chr(entry.kind) in "xX",
    )
