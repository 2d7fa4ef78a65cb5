"""Looks through files for content that a store has lost: read as ``dv add`` would, what is the same has the same id."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dvtool import ids, paths
from dvtool.formats import tree
from dvtool.store.editing import Editor, Scratch
from dvtool.worktree import workers
from dvtool.worktree.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from dvtool.effects import Progress
    from dvtool.store.mending import Wanted
    from dvtool.store.store import Store
    from dvtool.worktree.index import WorktreeIndex

Columns = dict[str, tree.Columns]
"""What the files of each directory hold; a directory without files has empty columns."""


def find(store: Store, wanted: Wanted, place: str, near: AbstractSet[str], progress: Progress) -> Columns:
    """Read the files below a directory until all that is wanted is found, and return what those read hold.

    Args:
        store: whose ids are made.
        wanted: takes what it looks for.
        place: the directory, absolute; links in it are not followed.
        near: directories, as paths below ``place``, to begin with.
        progress: is told how far it has come.

    Raises:
        StorageError: when the store cannot be written.
    """
    found: Columns = {}
    reader = Reader(store, wanted, place, workers.unseen())
    below = sorted(_directories(place), key=lambda each: (each[0] not in near, each[0]))
    progress.start("looking for intact copies", files=sum(len(names) for _directory, names in below), size=0)
    read = 0
    try:
        for directory, names in below:
            if not wanted.lost:
                break
            columns = reader.read(directory, names)
            read += len(names)
            progress.advance(files=read, size=0)
            kept = [at for at, kind in enumerate(columns.kinds) if kind]
            whole = tree.Columns(names=names, kinds=bytes(columns.kinds), sizes=columns.sizes, ids=bytes(columns.ids))
            found[directory] = whole.chosen(kept)
    finally:
        progress.finish()
    return found


def of_index(index: WorktreeIndex) -> Columns:
    """Return what a worktree's index says of its files, those that are not materialised among them."""
    found: Columns = {}
    for directory in index.directories:
        rows = index.rows(directory)
        names = sorted(rows)
        found[directory] = tree.Columns(
            names=names,
            kinds=bytes(rows[name].kind for name in names),
            sizes=[rows[name].size for name in names],
            ids=b"".join(rows[name].id for name in names),
        )
    return found


def plant(store: Store, wanted: Wanted, columns: Columns, roots: Sequence[str]) -> None:
    """Make the trees of files and take those that are wanted; of all files, or only those at and below ``roots``."""
    scratch = Scratch(store, store.hasher)
    chosen = {directory: _below(directory, files, roots) for directory, files in columns.items()} if roots else columns
    whole = {directory: files for directory, files in chosen.items() if files is not None}
    if whole:
        Editor(scratch, store.secrets.split).apply(None, {}, whole)
        for identity in sorted(wanted.lost):
            data = scratch.held(identity)
            if data is not None:
                wanted.take(ids.TREE, identity, data)


def _below(directory: str, files: tree.Columns, roots: Sequence[str]) -> tree.Columns | None:
    """Return the files of a directory that are, or lie below, one of the roots; None when it has nothing to do."""
    if paths.covered(directory, roots):
        return files
    kept = [at for at, name in enumerate(files.names) if paths.join(directory, name) in roots]
    if not kept:
        return None
    return files.chosen(kept)


def _directories(place: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (directory, names of its files, sorted) of all that could be data, but for what cannot be listed."""
    pending = [""]
    while pending:
        directory = pending.pop()
        files = []
        try:
            with os.scandir(f"{place}/{directory}") as found:
                for entry in found:
                    path = paths.join(directory, entry.name)
                    if paths.shown(path) != path or paths.is_reserved(entry.name) or paths.is_partial(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(path)
                    elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                        files.append(entry.name)
        except OSError:
            continue
        yield directory, sorted(files)
