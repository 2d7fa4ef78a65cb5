"""``dv diff``: what differs between two of snapshot, stage, worktree and subtree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from dvtool import paths
from dvtool.errors import ConflictError, ErasedError, NotFoundError, UsageError
from dvtool.formats import tree
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.history.describe import KIND_WORDS
from dvtool.history.renames import find_renames
from dvtool.store.treediff import TreeDiff, diff_trees
from dvtool.store.trees import Trees
from dvtool.worktree.inspect import inspect, refuse_problems, virtual_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.workspace import Workspace

WORKTREE = None
STAGE = "stage"


class Pair(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """Something before and after; None is "not there"."""

    before: str | None
    after: str | None


class FileItem(msgspec.Struct, frozen=True, kw_only=True):
    """A file or link that was added or removed: path, size in bytes, id of its content."""

    path: str
    size: int
    id: str


class ModifiedItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file whose content, executable bit or kind changed; ``mode_*`` and ``kind_*`` stand there if they differ."""

    path: str
    size_from: int
    size_to: int
    id_from: str
    id_to: str
    mode_from: str | None = None
    mode_to: str | None = None
    kind_from: str | None = None
    kind_to: str | None = None


class RenamedItem(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"before": "from", "after": "to"}
):
    """A file that moved, content unchanged; ``mode_*`` stand there if its executable bit changed on the way."""

    before: str
    after: str
    size: int
    id: str
    mode_from: str | None = None
    mode_to: str | None = None


class ErasedItem(msgspec.Struct, frozen=True, kw_only=True):
    """Files or rows that an erasure removed from a directory or file."""

    path: str
    erasure: str
    files: int
    rows: int


class DirectoryItem(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """A directory whose checksum changed; None where it is not there."""

    path: str
    before: str | None
    after: str | None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """How many of each, and the bytes that came and went."""

    added: int
    removed: int
    modified: int
    renamed: int
    erased: int
    directories: int
    bytes_added: int
    bytes_removed: int


class Diff(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """The difference of two states.

    ``from`` and ``to`` are a snapshot id, ``"stage"``, or None: the worktree, and in ``from`` also "no snapshot yet".
    Where ``REV:PATH`` was named, they are the snapshot id with ``:PATH``, and all paths are relative to that directory;
    the stage or the worktree on the other side then stand for the same directory in them.  Which paths are tracked
    roots is not compared: ``dv status`` tells.
    """

    before: str | None
    after: str | None
    root: Pair
    added: tuple[FileItem, ...]
    removed: tuple[FileItem, ...]
    modified: tuple[ModifiedItem, ...]
    renamed: tuple[RenamedItem, ...]
    erased: tuple[ErasedItem, ...]
    directories: tuple[DirectoryItem, ...]
    totals: Totals

    @property
    def is_empty(self) -> bool:
        """Return whether nothing differs."""
        totals = self.totals
        return not (
            self.directories or totals.added or totals.removed or totals.modified or totals.renamed or totals.erased
        )


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two states: its name, its tree (None: nothing there), where that is read, and its repository path."""

    name: str | None
    tree: bytes | None
    trees: Trees
    top: str = ""


def diff(
    workspace: Workspace,
    first: str | None = None,
    second: str | None = None,
    *,
    staged: bool = False,
    only: Sequence[str] = (),
) -> Diff:
    """Return what differs.

    Nothing named: from HEAD to the worktree; ``staged``: from HEAD to the stage; ``first`` alone: from it to the
    worktree; both: from the first to the second.  Each may be ``REV`` or ``REV:PATH``; worktree and stage are compared
    with ``REV:PATH`` by what they have at the same path.

    Args:
        workspace: the worktree.
        first: a revision or subtree.
        second: another.
        staged: compare with the stage instead of the worktree.
        only: repository paths to which the comparison is confined.

    Raises:
        NotFoundError: when a revision does not exist, or a path neither on one of the two sides nor here.
        UsageError: when the arguments exclude each other.
    """
    if staged and second is not None:
        raise UsageError("--staged compares one revision with the stage", next="leave out the second revision")
    before = _side(workspace, first)
    if second is not None:
        after = _side(workspace, second)
    elif staged:
        session = workspace.session
        after = _at(STAGE, session.stage().tree, session.trees, before.top)
    else:
        after = _worktree(workspace, before.top)
    limits = _limits(workspace, before, after, only)
    found = diff_trees(before.trees, after.trees, before.tree, after.tree, limits)
    return assemble(before, after, found)


def _side(workspace: Workspace, revision: str | None) -> Side:
    session = workspace.session
    if revision is None:
        head = session.head().snapshot
        return Side(name=head.hex() if head else None, tree=session.head_tree(), trees=session.trees)
    name, path = workspace.revisions.split_path(revision)
    if path is None:
        identity = workspace.resolve(name).id
        return Side(name=identity.hex(), tree=workspace.snapshot(identity).root, trees=session.trees)
    identity, where, entry = workspace.place(revision)
    if entry.kind != DIRECTORY:
        raise UsageError(f"{where!r} is not a directory", next="compare the directories that hold the files")
    place = f"{identity.hex()}:{where}" if where else identity.hex()
    return Side(name=place, tree=entry.id, trees=session.trees, top=where)


def _worktree(workspace: Workspace, top: str) -> Side:
    session = workspace.session
    changes = workspace.leave_to_git(inspect(session, contents=True))
    refuse_problems(changes.problems, doing="compared")
    made, objects = virtual_tree(session, changes)
    return _at(WORKTREE, made, Trees(objects), top)


def _at(name: str | None, whole: bytes | None, trees: Trees, top: str) -> Side:
    """Return the directory ``top`` of a tree as one of the two sides."""
    entry = trees.resolve(whole, top) if whole is not None and top else None
    if top:
        whole = entry.id if entry is not None and entry.kind == DIRECTORY else None
    return Side(name=name, tree=whole, trees=trees, top=top)


def _limits(workspace: Workspace, before: Side, after: Side, only: Sequence[str]) -> tuple[str, ...]:
    """Return the paths to which a comparison is confined, relative to what is compared.

    Raises:
        NotFoundError: when one exists neither on a side nor here, in worktree or stage.
        UsageError: when one lies outside of the directories that are compared.
    """
    found: list[str] = []
    for path in only:
        inside = _inside(path, before.top, after.top)
        if not inside:
            raise UsageError(
                f"{paths.shown(path)!r} lies outside of what is compared",
                why=f"that is {' and '.join(sorted({repr(paths.shown(side.top)) for side in (before, after)}))}",
                next="name a path in it, or compare whole snapshots",
            )
        sides = [(side.trees, side.tree, below) for side in (before, after) for below in inside]
        sides.append((workspace.session.trees, workspace.session.stage().tree, path))
        is_there = any(whole is not None and trees.resolve(whole, below) for trees, whole, below in sides)
        if not is_there and not os.path.lexists(f"{workspace.session.root}/{path}"):
            raise NotFoundError(
                f"there is no {paths.shown(path)!r} on either side",
                why="neither of the two that are compared has it, nor has the stage or the worktree",
                next="check the spelling; paths are relative to the current directory",
            )
        found += inside
    return tuple(found) or ("",)


def _inside(path: str, *tops: str) -> list[str]:
    """Return a repository path relative to those of ``tops`` that it lies in; "" for one that holds a top."""
    found = {path[len(top) :].lstrip("/") for top in tops if paths.below(path, top)}
    return sorted(found) or [""] * any(paths.below(top, path) for top in tops)


def assemble(before: Side, after: Side, found: TreeDiff) -> Diff:
    """Return the document of a difference: renames found, lists sorted, totals counted."""
    added = {path: new for path, (old, new) in found.files.items() if old is None and new is not None}
    removed = {path: old for path, (old, new) in found.files.items() if new is None and old is not None}
    renames = find_renames(removed, added)
    moved_from = {source for source, _target in renames}
    moved_to = {target for _source, target in renames}
    modified = tuple(
        _modified(path, old, new)
        for path, (old, new) in sorted(found.files.items())
        if old is not None and new is not None
    )
    added_items = tuple(_file(path, added[path]) for path in sorted(added.keys() - moved_to))
    removed_items = tuple(_file(path, removed[path]) for path in sorted(removed.keys() - moved_from))
    renamed = tuple(_renamed(source, target, removed[source], added[target]) for source, target in renames)
    erased = _erased(before, after, found)
    directories = tuple(
        DirectoryItem(path=path, before=_hex(old), after=_hex(new))
        for path, (old, new) in sorted(found.directories.items())
    )
    return Diff(
        before=before.name,
        after=after.name,
        root=Pair(before=_hex(before.tree), after=_hex(after.tree)),
        added=added_items,
        removed=removed_items,
        modified=modified,
        renamed=renamed,
        erased=erased,
        directories=directories,
        totals=Totals(
            added=len(added_items),
            removed=len(removed_items),
            modified=len(modified),
            renamed=len(renamed),
            erased=sum(item.files for item in erased),
            directories=len(directories),
            bytes_added=sum(item.size for item in added_items) + sum(item.size_to for item in modified),
            bytes_removed=sum(item.size for item in removed_items) + sum(item.size_from for item in modified),
        ),
    )


def summary(document: Diff, *, limit: int) -> list[tuple[str, int, int, int]]:
    """Return (directory, added, removed, modified) at the depth at which at most ``limit`` directories are left.

    Renames count as one removed and one added; the directory ends with ``/``.
    """
    changes = [(item.path, 0) for item in document.added] + [(item.path, 1) for item in document.removed]
    changes += [(item.path, 2) for item in document.modified]
    changes += [(item.before, 1) for item in document.renamed] + [(item.after, 0) for item in document.renamed]
    deepest = max((path.count("/") for path, _what in changes), default=0)
    counts: dict[str, list[int]] = {}
    for depth in range(deepest, -1, -1):
        counts = {}
        for path, what in changes:
            parts = path.split("/")[:-1][:depth]
            counts.setdefault("/".join([*parts, ""]), [0, 0, 0])[what] += 1
        if len(counts) <= limit:
            break
    return [(directory or "./", *numbers) for directory, numbers in sorted(counts.items())]  # type: ignore[misc]


def paths_only(workspace: Workspace, arguments: Sequence[str]) -> list[str]:
    """Return the repository paths that command-line arguments mean, for the paths of a comparison."""
    return [workspace.session.relative(argument) for argument in arguments]


def interpret(workspace: Workspace, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (revisions, paths) of the words before ``--``: at most two revisions, then paths.

    Raises:
        UsageError: when a word is both, or there are three revisions.
        NotFoundError: when a word is neither.
    """
    revisions: list[str] = []
    found: list[str] = []
    for word in words:
        as_revision = _is_revision(workspace, word)
        as_path = _is_path(workspace, word)
        if as_revision and as_path:
            raise UsageError(
                f"{word!r} is both a revision and a path",
                next=f"write 'dv diff {word} --' for the revision, 'dv diff -- {word}' for the path",
            )
        if as_path or (found and not as_revision):
            found.append(word)
        elif as_revision and not found and len(revisions) < 2:  # noqa: PLR2004 - two sides
            revisions.append(word)
        elif as_revision:
            raise UsageError("a comparison has two sides", next="name two revisions, then paths after '--'")
        else:
            raise workspace.unknown(word, f"dv diff {' '.join([*revisions, '--', word])}")
    return revisions, found


def _is_revision(workspace: Workspace, word: str) -> bool:
    try:
        name, path = workspace.revisions.split_path(word)
        if path is None:
            workspace.revisions.resolve(name)
        else:
            workspace.place(word)
    except (NotFoundError, UsageError, ConflictError):
        return False
    except ErasedError:
        return True  # one that was, and whoever resolves it says so
    return True


def _is_path(workspace: Workspace, word: str) -> bool:
    session = workspace.session
    try:
        path = session.relative(word)
    except UsageError:
        return False
    return os.path.lexists(f"{session.root}/{path}") or path in session.index() or session.index().row(path) is not None


def _modified(path: str, old: Entry, new: Entry) -> ModifiedItem:
    kinds = (KIND_WORDS[old.kind], KIND_WORDS[new.kind])
    kind_differs = kinds[0] != kinds[1]
    modes = _modes(old, new) if not kind_differs else (None, None)
    return ModifiedItem(
        path=path,
        size_from=old.size,
        size_to=new.size,
        id_from=old.id.hex(),
        id_to=new.id.hex(),
        mode_from=modes[0],
        mode_to=modes[1],
        kind_from=kinds[0] if kind_differs else None,
        kind_to=kinds[1] if kind_differs else None,
    )


def _renamed(source: str, target: str, old: Entry, new: Entry) -> RenamedItem:
    modes = _modes(old, new)
    return RenamedItem(
        before=source, after=target, size=new.size, id=new.id.hex(), mode_from=modes[0], mode_to=modes[1]
    )


def _modes(old: Entry, new: Entry) -> tuple[str, str] | tuple[None, None]:
    """Return what the executable bit was and is, or nothing when it is what it was."""
    was, now = ("executable" if entry.kind in tree.EXECUTABLES else "plain" for entry in (old, new))
    return (was, now) if was != now else (None, None)


def _file(path: str, entry: Entry) -> FileItem:
    return FileItem(path=path, size=entry.size, id=entry.id.hex())


def _erased(before: Side, after: Side, found: TreeDiff) -> tuple[ErasedItem, ...]:
    items = []
    for path, (old, new) in sorted(found.directories.items()):
        was = dict(_tally(before.trees, old))
        for erasure, count in _tally(after.trees, new):
            if count > was.get(erasure, 0):
                items.append(ErasedItem(path=path, erasure=erasure.hex(), files=count - was.get(erasure, 0), rows=0))
    return tuple(items)


def _tally(trees: Trees, identity: bytes | None) -> tree.Tally:
    if identity is None or not trees.totals(identity).erased:
        return ()
    return trees.leaf_at(identity, 0).here


def _hex(identity: bytes | None) -> str | None:
    return identity.hex() if identity is not None else None
