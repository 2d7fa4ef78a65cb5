"""Brings what the worktree holds into the stage's tree: the heart of ``dv add`` and of ``dv commit -a``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from dvtool import ids, paths
from dvtool.formats import log, stage
from dvtool.storage.disk import is_abandoned
from dvtool.store.editing import Editor
from dvtool.worktree import ignore, ingest, materialise, sparse
from dvtool.worktree.index import Row, WorktreeIndex
from dvtool.worktree.ingest import Seen
from dvtool.worktree.inspect import refuse_problems
from dvtool.worktree.scan import Findings, Scanner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from dvtool.formats.tree import Entry
    from dvtool.store.editing import Changes
    from dvtool.store.transaction import Transaction
    from dvtool.worktree.session import Session, StageView


class Staged(msgspec.Struct, kw_only=True):
    """A stage's tree to be, and what it took.

    ``added`` and ``modified`` count files, ``size`` is their bytes.  ``whole`` are the files of new directories,
    ``rows`` those added, modified or only looked at in the others: what the index is to know, by directory.
    """

    tree: bytes
    roots: tuple[str, ...]
    added: int
    modified: int
    size: int
    whole: dict[str, Seen]
    rows: dict[str, dict[str, Row]]
    removed: list[str]
    new_directories: list[str]
    gone_directories: list[str]


def merged_roots(roots: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    """Return tracked roots with ``more`` among them, none below another."""
    together = {*roots, *more}
    return tuple(root for root in sorted(together) if not any(parent in together for parent in paths.parents(root)))


def look(session: Session, tops: Sequence[str], *, force: bool) -> Findings:
    """Return what stat data tell at and below ``tops``; with ``force`` nothing is ignored."""
    rules = ignore.Ignore(b"") if force else session.ignore
    found = Scanner(session.root, session.index(), rules, session.left_out()).scan(merged_roots((), tops))
    remove_leftovers(session.root, found.leftovers)
    return found


def remove_leftovers(root: str, leftovers: Sequence[str]) -> None:
    """Remove unfinished files of a command that was killed; those of a living process stay."""
    for path in leftovers:
        if is_abandoned(f"{root}/{path}", path.rpartition(paths.PARTIAL)[2]):
            materialise.remove_file(root, path)


def forget_damaged(session: Session, tops: Sequence[str], damaged: Iterable[str]) -> set[str]:
    """Have the index forget directories that the store has lost, so that a scan finds all of them in the worktree.

    Args:
        session: the worktree.
        tops: paths that the user named; only what is at or below them is forgotten.
        damaged: directories of the stage that cannot be read.

    Returns:
        those that were forgotten: they are in the worktree, and nothing was left out of them, which it could not tell.
    """
    only = session.worktree.only
    rules = [rule.removeprefix(paths.BACK) for rule in session.worktree.dropped]
    found = set()
    for path in damaged:
        place = f"{session.root}/{path}"
        is_whole = not any(paths.below(rule, path) or paths.below(path, rule) for rule in rules)
        is_whole = is_whole and (not only or paths.covered(path, only))
        if path and paths.covered(path, tops) and is_whole and os.path.isdir(place) and not os.path.islink(place):
            session.index().remove_directory(path)
            found.add(path)
    return found


def bring_in(
    session: Session,
    transaction: Transaction,
    found: Findings,
    roots: tuple[str, ...],
    anew: AbstractSet[str] = frozenset(),
) -> Staged:
    """Read what was found into the transaction and return the tree that follows.

    Args:
        session: the worktree.
        transaction: takes the content.
        found: what to bring in.
        roots: the tracked roots from now on.
        anew: directories of the stage that are damaged, and are made of what was found alone.

    Raises:
        LostTreeError: when another directory to be changed is damaged; it says where.
        UsageError: when a file cannot be read or does not hold still; nothing is staged then.
        StorageError: when the store cannot be written.
    """
    view = session.stage()
    index = session.index()
    known = {path for path, _stat in found.doubtful}
    to_read = ingest.together(ingest.by_directory(known), found.added)
    result = ingest.ingest(session.store, session.root, to_read, transaction, session.context.progress)
    refuse_problems([*found.problems, *result.problems], doing="staged")
    staged = Staged(
        tree=b"",
        roots=roots,
        added=0,
        modified=0,
        size=0,
        whole={},
        rows={},
        removed=sorted({*found.removed, *(path for path in result.vanished if path in known)}),
        new_directories=found.new_directories,
        gone_directories=found.gone_directories,
    )
    edits: Changes = {}
    gone = set(found.gone_directories)
    for path in [*staged.removed, *gone]:
        directory, name = paths.split(path)
        if directory not in gone and path:
            edits.setdefault(directory, {})[name] = None
    for path in found.new_directories:
        edits.setdefault(path, {})
    for directory, seen in result.directories.items():
        if directory not in index:
            staged.whole[directory] = seen
            staged.added += len(seen.names)
            staged.size += sum(seen.sizes)
        else:
            changed = _compare(staged, index, directory, seen)
            if changed:
                edits.setdefault(directory, {}).update(changed)
    whole = {directory: seen.columns() for directory, seen in staged.whole.items()}
    staged.tree = Editor(transaction, session.store.secrets.split).apply(view.tree, edits, whole, anew)
    return staged


def _compare(staged: Staged, index: WorktreeIndex, directory: str, seen: Seen) -> dict[str, Entry]:
    """Return the files of a mirrored directory that were added or modified, and note all that were seen."""
    known = index.rows(directory)
    rows = staged.rows[directory] = {}
    changed: dict[str, Entry] = {}
    for name, entry, stat in seen.rows():
        rows[name] = Row(entry.kind, entry.size, entry.id, stat)
        row = known.get(name)
        if row is not None and row[:3] == entry[:3]:
            continue
        changed[name] = entry
        staged.size += entry.size
        if row is None:
            staged.added += 1
        else:
            staged.modified += 1
    return changed


def stage_moves(
    session: Session,
    transaction: Transaction,
    tree: bytes,
    roots: tuple[str, ...],
    merging: tuple[bytes, ...] = (),
) -> list[log.Action]:
    """Return the action that makes ``tree`` this worktree's stage; none when it is already.

    A stage that equals HEAD has no ref of its own.
    """
    view = session.stage()
    head = session.head().snapshot
    new: bytes | None = None
    recorded = session.snapshot(head) if head is not None else None
    if recorded is None or merging or tree != recorded.root or roots != recorded.roots:
        if view.value is not None and (view.tree, view.roots, view.merging) == (tree, roots, merging):
            return []
        new = put_stage(session, transaction, tree, roots, merging)
    if new == view.value:
        return []
    return [log.MoveRef(name=session.stage_ref, old=view.value, new=new)]


def put_stage(
    session: Session,
    transaction: Transaction,
    tree: bytes,
    roots: tuple[str, ...],
    merging: tuple[bytes, ...] = (),
) -> bytes:
    """Store a stage and return its id; a nonce makes each one new.

    What the stage before it says in sections that this dv does not know, it says as well.
    """
    before = session.stage().value
    sections = stage.decode(session.store.read_object(ids.STAGE, before)).sections if before is not None else {}
    nonce = session.context.entropy.bytes(stage.NONCE_SIZE)
    value = stage.Stage(tree=tree, roots=roots, merging=merging, nonce=nonce, sections=sections)
    return transaction.put_object(ids.STAGE, stage.encode(value))


def update_index(session: Session, before: StageView, staged: Staged) -> None:
    """Tell the index what was just staged, with the stat data seen while reading, and that it is there."""
    sparse.came_back(session, _files(staged))
    index = session.opened_index  # session.index() would bring it up to the new tree first, without stat data
    if index is None:
        return
    for path in sorted(staged.gone_directories, reverse=True):
        index.remove_directory(path)
    for path in staged.removed:
        directory, name = paths.split(path)
        if directory in index:
            index.set(directory, name, None)
    for path in staged.new_directories:
        index.add_directory(path)
    for directory, seen in staged.whole.items():
        index.add_directory(directory)
        if index.rows(directory):
            staged.rows[directory] = {name: Row(*entry[:3], stat) for name, entry, stat in seen.rows()}
        else:
            index.fill(directory, seen.record())
    for directory, rows in staged.rows.items():
        for name, row in rows.items():
            index.set(directory, name, row)
    if "" not in index:
        index.add_directory("")
    if before.tree != staged.tree:
        index.changed = True
    index.tree = staged.tree


def _files(staged: Staged) -> Iterator[str]:
    """Yield the paths of everything that was read in the worktree."""
    for directory, seen in staged.whole.items():
        yield from (paths.join(directory, name) for name in seen.names)
    for directory, rows in staged.rows.items():
        yield from (paths.join(directory, name) for name in rows)
