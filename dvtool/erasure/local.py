"""What this machine keeps beside the store: worktrees, their indexes and caches, what was put aside as damaged.

All of it follows from the store, or is a copy of what is in it, so it is made anew without what was erased.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import globs, ids, paths
from dvtool.errors import ConflictError, DvError
from dvtool.formats import snapshot, stage
from dvtool.formats.tree import DIRECTORY
from dvtool.git import beside
from dvtool.globs import Matcher
from dvtool.runs import journals
from dvtool.storage.disk import as_ours
from dvtool.store.treediff import diff_trees
from dvtool.store.trees import Trees
from dvtool.workspace import Workspace
from dvtool.worktree import ingest, layout, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from dvtool.erasure.planning import Plan
    from dvtool.worktree.session import Session

CACHES: Final = ("cache", "quarantine")
"""Below ``.dv``: what is made anew when it is wanted, and damaged files that were taken out of the store."""


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """What went from one worktree: files; those of which another hard link remains; and what could not be done."""

    root: str
    files: int
    linked: tuple[str, ...]
    left: tuple[str, ...]


def worktrees(workspace: Workspace) -> Iterator[tuple[str, Workspace | None]]:
    """Yield the root of every worktree of the store that is known, and what opens there; this one first.

    Nothing opens where a worktree was, and is not any more.
    """
    session = workspace.session
    yield session.root, workspace
    store = session.layout.store()
    known = places.noted(store)
    for name, _value in session.state.ref_names("worktrees/"):
        identity = name.removeprefix("worktrees/")
        place = known.get(identity, "")
        if name == session.head_ref:
            continue
        if not place or not places.is_worktree(place, identity, store):
            yield place, None
            continue
        try:
            yield place, Workspace.open(place, session.context)
        except DvError:
            yield place, None


@contextlib.contextmanager
def held(workspace: Workspace) -> Iterator[list[tuple[str, Workspace | None]]]:
    """Keep other commands from changing any worktree of the store; gives what :func:`worktrees` does.

    What is erased still lies in the worktrees when the store is without it, and must not be recorded from there.

    Raises:
        ConflictError: when another command changes one for longer than this one waits.
    """
    with contextlib.ExitStack() as stack:
        known = list(worktrees(workspace))
        for _root, other in known:
            if other is not None:
                stack.enter_context(other.session.lock())
        yield known


def refuse_runs(workspace: Workspace) -> None:
    """Refuse to begin while a run goes on that may be reading, or writing down, what is to be erased.

    Raises:
        ConflictError: when one does, or one that has ended could not be stored.
    """
    for root, _other in worktrees(workspace):
        control = f"{root}/{layout.DIRECTORY}"
        for identity in journals.waiting(control) if root else ():
            going = journals.is_going(f"{control}/{journals.DIRECTORY}/{identity}")
            raise ConflictError(
                f"run {identity} goes on" if going else f"run {identity} has ended and is not stored yet",
                where=root,
                why="what it reads and writes down could not be erased from it",
                next="wait until it has ended" if going else "store it: run 'dv runs list' there",
            )


def found(
    workspace: Workspace, matcher: Matcher, once: Iterable[str] = (), contents: AbstractSet[bytes] = frozenset()
) -> tuple[list[str], list[str]]:
    """Return the files in a worktree that go (repository paths, sorted), and those of them with further hard links.

    Args:
        workspace: the worktree.
        matcher: says which paths go.
        once: tracked roots of earlier, below which files may lie as well.
        contents: ids of contents that go wherever they lie.
    """
    session = workspace.session
    files: list[str] = []
    linked: list[str] = []
    roots = {*session.stage().roots, *once}
    head = session.head().snapshot
    roots |= set(session.snapshot(head).roots) if head is not None else set()
    for root in sorted(roots):
        for path, links in _walk(session.root, root, matcher, inside=matcher.covering(root) is not None):
            files.append(path)
            if links > 1:
                linked.append(path)
    files += _copies(session, sorted(roots), contents) if contents else []
    return sorted(set(files)), sorted(set(linked))


def _walk(top: str, path: str, matcher: Matcher, *, inside: bool) -> Iterator[tuple[str, int]]:
    """Yield (path, number of links) of the files at and below a path that are covered."""
    place = f"{top}/{path}" if path else top
    try:
        status = os.lstat(place)
    except OSError:
        return
    if not stat.S_ISDIR(status.st_mode):
        if inside:
            yield path, status.st_nlink
        return
    if not inside and not matcher.reaches(path):
        return
    try:
        names = sorted(os.listdir(place))
    except OSError as error:
        raise as_ours(error, place) from None
    for name in names:
        below = paths.join(path, name)
        if not paths.is_own(below):
            covered = inside or matcher.rule_of(below) is not None
            yield from _walk(top, below, matcher, inside=covered)


def _copies(session: Session, roots: list[str], contents: AbstractSet[bytes]) -> list[str]:
    """Return the files below some roots with one of some contents."""
    everywhere = Matcher([globs.by_path(root or "**") for root in roots])
    listed = [path for root in roots for path, _links in _walk(session.root, root, everywhere, inside=True)]
    read = ingest.ingest(
        session.store, session.root, ingest.by_directory(sorted(set(listed))), None, session.context.progress
    )
    return [
        paths.join(directory, name)
        for directory, seen in read.directories.items()
        for name, entry in seen.columns().entries().items()
        if entry.size and entry.id in contents
    ]


def foresee(worktrees: Iterable[tuple[str, Workspace | None]], plan: Plan) -> None:
    """Bring the indexes of worktrees up to the trees that are about to take the place of those they mirror.

    Afterwards the old trees cannot be read any more, and an index made from nothing knows no file: the next look at
    the worktree would read them all.  Where it fails, that is what happens.
    """
    for _root, other in worktrees:
        if other is None:
            continue
        with contextlib.suppress(DvError):
            session = other.session
            view = session.stage()
            new = _tree_after(session, view.value, plan)
            if new is not None and new != view.tree:
                index = session.index()
                index.follow(diff_trees(session.trees, Trees(plan.objects), view.tree, new), new)


def _tree_after(session: Session, staged: bytes | None, plan: Plan) -> bytes | None:
    """Return the tree of a stage, or of HEAD where nothing is staged, as it will be; None when it stays as it is."""
    if staged is not None:
        found = plan.stages.get(staged)
        return stage.decode(plan.objects.read_object(ids.STAGE, found.new)).tree if found is not None else None
    found = plan.snapshots.get(session.head().snapshot or b"")
    return snapshot.decode(plan.objects.read_object(ids.SNAPSHOT, found.new)).root if found is not None else None


def clean(workspace: Workspace, matcher: Matcher, once: Iterable[str], contents: AbstractSet[bytes]) -> Cleaned:
    """Take what was erased out of one worktree: files, index, caches, leftovers; ``dv.lock`` names what HEAD is now.

    Args:
        workspace: the worktree, whose lock is held, and in whose store the erasure is committed.
        matcher: says which files go.
        once: tracked roots of earlier, below which files may lie as well.
        contents: ids of contents that go wherever they lie.

    Raises:
        StorageError: when the disk refuses.
    """
    session = workspace.session
    session.store.refresh()
    files, linked = found(workspace, matcher, once, contents)
    left = _remove(session, files)
    for name in CACHES:
        shutil.rmtree(f"{session.layout.control}/{name}", ignore_errors=True)
    # No run goes on: what is left are journals that could not be read, and those that were never begun.
    shutil.rmtree(f"{session.layout.control}/{journals.DIRECTORY}", ignore_errors=True)
    for path in _unfinished(session, {*session.stage().roots, *once}):
        session.context.disk.unlink(path)
    session.context.disk.sync_directory(session.layout.control)
    _forget_sparse(workspace, matcher)
    index = session.index()
    session.context.disk.unlink(session.layout.index)  # one that is damaged, or of nothing, is not written anew
    index.changed = True
    workspace.write_lock()
    session.save()
    _rewrite_ignored(workspace)
    return Cleaned(root=session.root, files=len(files) - len(left), linked=tuple(linked), left=tuple(left))


def _unfinished(session: Session, roots: Iterable[str]) -> Iterator[str]:
    """Yield the unfinished files of a worktree and of its store, whoever left them and however long ago.

    A command that goes on may be writing one; it cannot come to its end any more, and says so.
    """
    beside = os.path.join(os.path.dirname(session.layout.store()), "tmp")
    with contextlib.suppress(OSError):
        yield from (f"{beside}/{name}" for name in sorted(os.listdir(beside)))
    places = [session.layout.control, session.root, *(f"{session.root}/{root}" for root in roots if root)]
    for place in places:
        for directory, names, files in os.walk(place):
            yield from (f"{directory}/{name}" for name in files if paths.is_partial(name))
            if place in {session.layout.control, session.root} and "" not in roots:
                names.clear()


def _remove(session: Session, files: list[str]) -> list[str]:
    """Remove files, and directories that are empty then and stored no more, durably; return what stays."""
    root, disk, top = session.root, session.context.disk, session.stage().tree
    left: dict[str, str] = {}
    above: set[str] = set()
    # What the disk refuses once it may do when it is asked again; what it refuses twice is told.
    for again in (files, left):
        for path in list(again):
            try:
                disk.unlink(f"{root}/{path}")
            except DvError as error:
                left[path] = error.why or error.what
                continue
            left.pop(path, None)
            above.update(paths.parents(path))
    for directory in sorted(above - {""}, key=len, reverse=True):
        stored = session.trees.resolve(top, directory) if top is not None else None
        if stored is not None and stored.kind == DIRECTORY:
            continue
        try:
            os.rmdir(f"{root}/{directory}")
        except OSError:
            continue
        above.discard(directory)
    for directory in sorted(above):
        if os.path.isdir(f"{root}/{directory}"):
            disk.sync_directory(f"{root}/{directory}".rstrip("/"))
    return [f"{paths.shown(path)}: {why}" for path, why in left.items()]


def _forget_sparse(workspace: Workspace, matcher: Matcher) -> None:
    """Take erased paths out of what the worktree notes as not brought."""
    session = workspace.session
    only = tuple(path for path in session.worktree.only if matcher.covering(path) is None)
    dropped = tuple(path for path in session.worktree.dropped if matcher.covering(path.removeprefix("/")) is None)
    if (only, dropped) != (session.worktree.only, session.worktree.dropped):
        session.set_sparse(only=only, dropped=dropped)


def _rewrite_ignored(workspace: Workspace) -> None:
    """Have Git's list of what is ignored name only the roots that are left."""
    if workspace.in_git():
        beside.ignore_roots(workspace.session.root, workspace.session.stage().roots, workspace.session.context.disk)
