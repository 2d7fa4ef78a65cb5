"""Carries out what a command decided to do to the worktree, and tells the index what was written."""

from __future__ import annotations

import os
import stat as stat_module
import time
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import paths
from dvtool.errors import MEND, ConflictError, DvError, FormatError, IntegrityError, StorageError
from dvtool.formats import tree
from dvtool.formats.tree import Entry
from dvtool.formats.worktree_index import STAT_SIZE, UNKNOWN_STAT
from dvtool.store import manifests
from dvtool.worktree import directories, ingest, leftovers, materialise, obstacles, room, sparse, stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dvtool.worktree.index import Row
    from dvtool.worktree.session import Session
    from dvtool.worktree.stats import Stat


WORTH_WAITING: Final = 100
"""Files written from which it pays to wait until their times can be trusted."""


class Plan(msgspec.Struct, kw_only=True):
    """What is to happen to the worktree.

    ``writes`` maps a path to its entry; ``removals`` are files; directories are made, or removed if nothing is left
    in them.  ``obstacles`` lie where something of the plan goes and are removed first: by path, whether it is a
    directory; see :func:`clear_the_way`.  ``judged`` holds the stat data of whatever lay at each path when it was
    decided that it may go: at the moment of writing or removing nothing else may lie there.  None: whatever lies
    there may go (``--force``).
    """

    writes: dict[str, Entry]
    removals: set[str]
    new_directories: set[str]
    gone_directories: set[str]
    obstacles: dict[str, bool] = {}
    judged: dict[str, bytes] | None = None

    @property
    def in_the_way(self) -> set[str]:
        """The obstacles that hold something: files and links, but for what a killed command left unfinished."""
        return {
            path
            for path, is_directory in self.obstacles.items()
            if not is_directory and not paths.is_partial(paths.split(path)[1])
        }


class Outcome(msgspec.Struct, kw_only=True):
    """What happened: the paths of files, the stat data of each (40 bytes), (path, reason) of those that are damaged.

    ``files`` and ``size`` count what was written, ``removed`` the files that were there and are not any more.
    """

    paths: list[str]
    stats: bytes
    damaged: list[tuple[str, str]]
    files: int
    size: int
    removed: int = 0


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
    left_out = session.left_out()
    sound: dict[str, bool] = {}
    lost = []
    why = ""
    for path in sorted({*plan.removals, *plan.writes}):
        row = index.row(path)
        if row is None or not row.size or row.kind == tree.ERASED:
            continue
        if left_out is not None and left_out(path) and not os.path.lexists(f"{session.root}/{path}"):
            continue  # nothing lies there, and its content may be at a remote
        try:
            for identity in _chunks(session, row):
                _require_copy(session, identity, sound)
        except DvError as error:
            why = why or error.what
            lost.append(path)
    if lost:
        raise IntegrityError(
            "the stored copies of these files are damaged or gone, so the worktree's are kept; nothing was changed",
            items=tuple(lost),
            why=why,
            next=f"{MEND}; --force goes ahead all the same",
        )


def _require_copy(session: Session, identity: bytes, sound: dict[str, bool]) -> None:
    """Check that one of the packs that hold a chunk is there, whole; ``sound`` remembers which are.

    Raises:
        IntegrityError: when none of them is, or no index file lists the chunk.
    """
    backend = session.store.backend
    first = ""
    for name, size in session.store.packs_of(identity):
        if name not in sound:
            sound[name] = backend.exists(name) and backend.size(name) == size
        if sound[name]:
            return
        first = first or name
    raise IntegrityError(f"{first} is missing, or has another size than recorded")


def _chunks(session: Session, row: Row) -> list[bytes]:
    if row.kind not in tree.LONG:
        return [row.id]
    return [identity for identity, _length in manifests.chunks_of(session.store, row.id, row.size)]


def execute(session: Session, plan: Plan, *, everywhere: bool = False) -> Outcome:
    """Carry out a plan.  Interrupted, it is finished by running the same command again.

    Args:
        session: the worktree.
        plan: what to do.
        everywhere: write paths that are left out of the worktree, too.

    Raises:
        ConflictError: when something is in the way.
        StorageError: when the disk refuses, or has no room; nothing has been touched in that case.
    """
    root = session.root
    left_out = None if everywhere else session.left_out()
    files = sorted(
        path
        for path, entry in plan.writes.items()
        if entry.kind != tree.ERASED and (left_out is None or not left_out(path))
    )
    session.bring(plan.writes[path] for path in files)
    _require_room(session, plan, files)
    require_writable(root, files, plan.removals | plan.obstacles.keys())
    removed = 0
    counted = plan.in_the_way
    for path in sorted(plan.removals):
        removed += materialise.remove_file(root, path, plan.judged)
    for path, is_directory in sorted(plan.obstacles.items(), reverse=True):
        if is_directory:
            materialise.remove_directory(root, path)
        else:
            removed += materialise.remove_file(root, path, plan.judged) and path in counted
    for path in sorted(plan.gone_directories, reverse=True):
        materialise.remove_directory(root, path)
    for path in sorted(plan.new_directories):
        if left_out is None or not left_out(path):
            directories.make_directory(root, path)
    disk = session.context.disk
    if files:
        leftovers.note(session.layout, {paths.split(path)[0] for path in files}, disk)
    written = materialise.write_all(
        session.store, root, files, plan.writes, session.context.progress, judged=plan.judged
    )
    if files:
        leftovers.done(session.layout, disk)
    return Outcome(
        paths=files,
        stats=bytes(written.stats),
        damaged=written.damaged,
        files=len(files) - len(written.damaged),
        size=sum(plan.writes[path].size for path in files),
        removed=removed,
    )


def require_writable(root: str, written: Iterable[str], removed: Iterable[str]) -> None:
    """Check that the directories in which files come and go let them, before the first one does.

    Raises:
        StorageError: listing those that do not.
    """
    closed: dict[str, bool] = {}

    def is_closed(path: str) -> bool:
        parent = paths.split(path)[0]
        if parent not in closed:
            closed[parent] = _is_closed(f"{root}/{parent}")
        return closed[parent]

    found = {path for path in written if is_closed(path)}
    found |= {path for path in removed if is_closed(path) and _is_there(f"{root}/{path}")}
    if found:
        listed = tuple(sorted({paths.split(path)[0] or "." for path in found}))
        raise StorageError(
            "files in these directories can be neither written nor removed; nothing was changed",
            items=listed,
            why="their permissions do not allow it, or their file system is read-only",
            next="make them writable, then run the command again",
        )


def require_readable(unreadable: Sequence[str]) -> None:
    """Check that nothing kept a scan from looking at what a command is to bring back.

    Raises:
        StorageError: listing the directories that could not be read.
    """
    if unreadable:
        raise StorageError(
            "these directories of the worktree cannot be read; nothing was changed",
            items=tuple(path or "." for path in unreadable),
            why="their permissions do not allow it, or the disk refuses",
            next="make them readable, then run the command again",
        )


def _is_closed(place: str) -> bool:
    """Return whether a place is a directory in which nothing may come or go, or lies in one that may not be entered."""
    try:
        is_directory = stat_module.S_ISDIR(os.stat(place).st_mode)
    except OSError as error:
        return isinstance(error, PermissionError)
    return is_directory and not os.access(place, os.R_OK | os.W_OK | os.X_OK)  # it is opened to be read, too


def _is_there(place: str) -> bool:
    """Return whether something may be at a place: what cannot be looked at may."""
    try:
        os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _require_room(session: Session, plan: Plan, files: list[str]) -> None:
    """Check that files fit on the disk; what they replace is added up only when it matters."""
    size = sum(plan.writes[path].size for path in files)
    if size <= room.free(session.root):
        return
    index = session.index()
    rows = (index.row(path) for path in sorted(plan.removals | plan.writes.keys()))
    size -= sum(row.size for row in rows if row is not None)
    room.require(session.root, files=len(files), size=size)


def record(session: Session, plan: Plan, outcome: Outcome) -> None:
    """Tell the index, brought up to the new stage, the stat data of what was written, and note what was not.

    Files written within the clock's granularity of now could be written once more and look the same, so the last
    ones are waited for: a tenth of a second here saves reading them again.
    """
    index = session.index()
    stays_away(session, outcome)
    if not any(outcome.stats):
        return
    if len(outcome.paths) > WORTH_WAITING:
        time.sleep(stats.FINE_WINDOW / 1e9)
    now = time.time_ns()
    by_directory: dict[str, dict[str, int]] = {}
    for at, path in enumerate(outcome.paths):
        directory, name = paths.split(path)
        by_directory.setdefault(directory, {})[name] = at
    for directory, names in by_directory.items():
        index.restat(directory, _settled(outcome, plan, directory, names, now))


def stays_away(session: Session, outcome: Outcome) -> None:
    """Have files that are tracked and could not be written count as left out, so that nobody takes them for removed."""
    index = session.index()
    sparse.stays_away(
        session,
        [
            path
            for path, _reason in outcome.damaged
            if index.row(path) is not None and not _is_there(f"{session.root}/{path}")
        ],
    )


def _settled(
    outcome: Outcome, plan: Plan, directory: str, names: dict[str, int], now: int
) -> Iterator[tuple[str, Entry, bytes]]:
    """Yield (name, entry, stat data) of the files of a directory whose stat data can be believed."""
    for name, at in names.items():
        stat = outcome.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]
        if stat != UNKNOWN_STAT and stats.is_old(stat, now):
            yield name, plan.writes[paths.join(directory, name)], stat


def raise_damage(damaged: list[tuple[str, str]], *, done: str) -> None:
    """Raise one error that lists what could not be written: files, and directories whose files are not known.

    Raises:
        IntegrityError: when there is anything.
    """
    if damaged:
        listed = sorted(set(damaged))
        raise IntegrityError(
            f"{len(listed)} path{'s' if len(listed) > 1 else ''} could not be written: the store is damaged",
            items=tuple(f"{path}: {reason}" for path, reason in listed),
            why=done,
            next=f"{MEND}; then run 'dv get' on these paths, and 'dv restore' on those that are there in another "
            "version",
        )


def contents(session: Session, files: Iterable[tuple[str, Stat]]) -> dict[str, Entry]:
    """Return the entries that files of the worktree would have; those that cannot be read are left out."""
    wanted = ingest.by_directory(path for path, _stat in files)
    result = ingest.ingest(session.store, session.root, wanted, None, session.context.progress)
    return {path: entry for path, entry, _stat in result.entries()}


def clear_the_way(session: Session, plan: Plan, *, everywhere: bool = False) -> None:
    """Find what lies where something of a plan must go, and have the plan remove it first.

    Args:
        session: the worktree.
        plan: takes the obstacles.
        everywhere: as for :func:`execute`.

    Raises:
        ConflictError: when a whole repository is in the way.
    """
    left_out = None if everywhere else session.left_out()
    wanted = [path for path in plan.writes if left_out is None or not left_out(path)]
    directories = [path for path in plan.new_directories if left_out is None or not left_out(path)]
    found = obstacles.find(session.root, wanted, directories)
    plan.obstacles = {path: is_directory for path, is_directory in found.items() if path not in plan.removals}


def examine(session: Session, plan: Plan, *, everywhere: bool = False) -> dict[str, Entry | None]:
    """Return what lies where a plan will write or remove and is not, by its stat data, what the stage has there.

    This looks at the disk itself, so it sees what no scan reports: ignored files, files of paths that are no longer
    tracked or were left out.  What is in the way of the plan goes with it, see :func:`clear_the_way`.

    Returns:
        By path, the entry of the file that is there; None for a directory, for what cannot be stored or read, and
        for a path whose directory is reached through a link.
    """
    clear_the_way(session, plan, everywhere=everywhere)
    index = session.index()
    present: list[tuple[str, Stat]] = []
    found: dict[str, Entry | None] = {}
    judged = plan.judged = {}
    reached: dict[str, bool | None] = {}
    lying = [path for path, is_directory in plan.obstacles.items() if not is_directory]
    going = plan.removals | plan.obstacles.keys()
    coming_or_going = plan.new_directories | plan.gone_directories
    for path in sorted({*plan.writes, *plan.removals, *lying}):
        parent = paths.split(path)[0]
        if parent not in reached:
            reached[parent] = _reach(session.root, parent)
        if reached[parent] is False:
            continue
        if reached[parent] is None:
            if path in plan.writes and not any(above in going for above in paths.parents(path)):
                found[path] = None
            continue
        try:
            status = os.lstat(f"{session.root}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            found[path] = None
            continue
        seen = stats.of(status)
        row = index.row(path)
        judged[path] = stats.pack(seen)
        if row is not None and judged[path] == row.stat:
            continue
        # A new directory that is there: a command that was stopped has been here, and removing a file does nothing to
        # it.  Of one that goes, what is in it and goes with it is among the obstacles.
        if stat_module.S_ISDIR(status.st_mode) and path in coming_or_going:
            continue
        found[path] = None
        if stat_module.S_ISREG(status.st_mode) or stat_module.S_ISLNK(status.st_mode):
            present.append((path, seen))
    if present:
        found.update(contents(session, present))
    return found


def _reach(root: str, directory: str) -> bool | None:
    """Return whether a directory is there; None when a link or file is on the way."""
    try:
        os.close(directories.open_directory(root, directory, make=False))
    except FileNotFoundError:
        return False
    except ConflictError:
        return None
    return True


def same(entry: Entry | None, other: Entry | Row | None) -> bool:
    """Return whether two entries have the same kind and content."""
    return entry is not None and other is not None and entry[:3] == other[:3]


def unstored(session: Session, plan: Plan) -> list[str]:
    """Return the paths at which a plan would destroy content that no index file lists, or that was only put aside."""
    return [
        path
        for path, entry in examine(session, plan).items()
        if not paths.is_partial(paths.split(path)[1])
        and (
            (entry is None and not plan.obstacles.get(path))
            or (entry is not None and entry.size and not _is_kept(session, path, entry))
        )
    ]


def _is_kept(session: Session, path: str, entry: Entry) -> bool:
    """Return whether content can be brought back: all of it is stored, and something leads to it or did.

    What a command put aside that did not come to its end counts only where it is what the stage has at the path.
    """
    staged = same(entry, session.index().row(path))
    holds = session.store.has if staged else session.store.keeps
    try:
        return holds(entry.id) and (
            entry.kind not in tree.LONG
            or all(holds(chunk) for chunk, _length in manifests.chunks_of(session.store, entry.id, entry.size))
        )
    except (FormatError, IntegrityError):
        return False


def refuse(conflicts: Iterable[str], *, what: str, advice: str) -> None:
    """Raise one error that lists paths whose content would be lost.

    Raises:
        ConflictError: when there are any.
    """
    items = tuple(sorted({paths.shown(path) for path in conflicts}))
    if items:
        raise ConflictError(what, items=items, next=advice)
