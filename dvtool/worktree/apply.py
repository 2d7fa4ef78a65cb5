"""Carries out what a command decided to do to the worktree, and tells the index what was written."""

from __future__ import annotations

import os
import stat as stat_module
from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.errors import ConflictError, DvError, IntegrityError
from dvtool.formats import tree
from dvtool.formats.tree import Entry
from dvtool.formats.worktree_index import UNKNOWN_STAT
from dvtool.store import manifests
from dvtool.worktree import ingest, materialise, stats
from dvtool.worktree.index import Row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.worktree.session import Session
    from dvtool.worktree.stats import Stat


class Plan(msgspec.Struct, kw_only=True):
    """What is to happen to the worktree.

    ``writes`` maps a path to its entry; ``removals`` are files; directories are made, or removed if nothing is left
    in them.
    """

    writes: dict[str, Entry]
    removals: set[str]
    new_directories: set[str]
    gone_directories: set[str]


class Outcome(msgspec.Struct, kw_only=True):
    """What happened: stat data (40 bytes) of each file written, and (path, reason) of those that are damaged."""

    stats: dict[str, bytes]
    damaged: list[tuple[str, str]]
    files: int
    size: int


def nothing() -> Plan:
    """Return a plan to do nothing."""
    return Plan(writes={}, removals=set(), new_directories=set(), gone_directories=set())


def require_stored(session: Session, plan: Plan) -> None:
    """Check that what a plan removes or overwrites can be brought back: that the packs which hold it are there, whole.

    One look at each pack, not at each file; ``dv drop``, which removes what nothing else replaces, reads every byte.

    Raises:
        IntegrityError: when a pack is missing or has another size than recorded; lists the files that it holds.
    """
    index = session.index()
    sound: dict[str, bool] = {}
    lost = []
    for path in sorted({*plan.removals, *plan.writes}):
        row = index.row(path)
        if row is None or not row.size or row.kind == tree.ERASED:
            continue
        try:
            files = [session.store.pack_of(identity) for identity in _chunks(session, row)]
        except DvError:
            lost.append(path)
            continue
        for name, size in files:
            if name not in sound:
                sound[name] = session.store.backend.exists(name) and session.store.backend.size(name) == size
        if not all(sound[name] for name, _size in files):
            lost.append(path)
    if lost:
        raise IntegrityError(
            "the stored copies of these files are damaged or gone, so the worktree's are kept; nothing was changed",
            items=tuple(lost),
            next="restore the missing packs from a backup or another copy; --force goes ahead all the same",
        )


def _chunks(session: Session, row: Row) -> list[bytes]:
    if row.kind not in tree.LONG:
        return [row.id]
    return [identity for identity, _length in manifests.chunks_of(session.store, row.id, row.size)]


def execute(session: Session, plan: Plan) -> Outcome:
    """Carry out a plan.  Interrupted, it is finished by running the same command again.

    Raises:
        ConflictError: when something is in the way.
        StorageError: when the disk refuses.
    """
    root = session.root
    left_out = session.left_out()
    for path in sorted(plan.removals):
        materialise.remove_file(root, path)
    for path in sorted(plan.gone_directories, reverse=True):
        materialise.remove_directory(root, path)
    for path in sorted(plan.new_directories):
        if left_out is None or not left_out(path):
            materialise.make_directory(root, path)
    files = [
        (path, entry)
        for path, entry in sorted(plan.writes.items())
        if entry.kind != tree.ERASED and (left_out is None or not left_out(path))
    ]
    written = materialise.write_all(session.store, root, files, session.context.progress)
    found = bytes(written.stats)
    return Outcome(
        stats={path: found[at * 40 : at * 40 + 40] for at, (path, _entry) in enumerate(files)},
        damaged=written.damaged,
        files=len(files) - len(written.damaged),
        size=sum(entry.size for _path, entry in files),
    )


def record(session: Session, plan: Plan, outcome: Outcome) -> None:
    """Tell the index, brought up to the new stage, the stat data of what was written."""
    index = session.index()
    for path, stat in outcome.stats.items():
        entry = plan.writes[path]
        row = index.row(path)
        if row is not None and stat != UNKNOWN_STAT and (row.kind, row.size, row.id) == entry[:3]:
            directory, name = paths.split(path)
            index.set(directory, name, Row(row.kind, row.size, row.id, stat))


def raise_damage(damaged: list[tuple[str, str]], *, done: str) -> None:
    """Raise one error that lists what could not be written.

    Raises:
        IntegrityError: when there is anything.
    """
    if damaged:
        raise IntegrityError(
            f"{len(damaged)} file{'s' if len(damaged) > 1 else ''} could not be written: the store is damaged",
            items=tuple(f"{path}: {reason}" for path, reason in sorted(damaged)),
            why=done,
            next="restore the damaged packs from a backup or another copy, then run 'dv restore' on these paths",
        )


def contents(session: Session, files: Iterable[tuple[str, Stat]]) -> dict[str, Entry]:
    """Return the entries that files of the worktree would have; those that cannot be read are left out."""
    wanted = sorted(files)
    result = ingest.ingest(session.store, session.root, wanted, None, session.context.progress)
    return {path: entry for path, entry, _stat in ingest.entries(result, wanted)}


def obstacles(session: Session, writes: Iterable[str], known: set[str]) -> dict[str, Entry | None]:
    """Return what already lies where new files are to be written and the scan did not see (ignored files, say).

    Args:
        session: the worktree.
        writes: paths to be written that the stage does not have.
        known: paths that the scan saw, and so need no second look.

    Returns:
        By path, the entry of the file that is there; None for a directory or something that cannot be stored.
    """
    present: list[tuple[str, Stat]] = []
    found: dict[str, Entry | None] = {}
    listed: dict[str, set[str]] = {}
    for path in writes:
        parent, name = paths.split(path)
        if parent not in listed:
            try:
                listed[parent] = set(os.listdir(f"{session.root}/{parent}"))
            except OSError:
                listed[parent] = set()
        if path in known or name not in listed[parent]:
            continue
        status = os.lstat(f"{session.root}/{path}")
        if stat_module.S_ISREG(status.st_mode) or stat_module.S_ISLNK(status.st_mode):
            present.append((path, stats.of(status)))
        found[path] = None
    if present:
        found.update(contents(session, present))
    return found


def refuse(conflicts: Iterable[str], *, what: str, advice: str) -> None:
    """Raise one error that lists paths whose content would be lost.

    Raises:
        ConflictError: when there are any.
    """
    items = tuple(sorted(set(conflicts)))
    if items:
        raise ConflictError(what, items=items, next=advice)
