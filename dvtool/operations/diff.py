"""``dv diff``: what differs between two of snapshot, stage, worktree and subtree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from dvtool.errors import ConflictError, NotFoundError, UsageError
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


class RenamedItem(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """A file that moved, content unchanged."""

    before: str
    after: str
    size: int
    id: str


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
    """The difference of two states.  ``from`` and ``to`` are a snapshot id, ``"stage"``, or None for the worktree."""

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
    """One of the two states: its name, its tree (None: nothing there) and where the tree is read."""

    name: str | None
    tree: bytes | None
    trees: Trees


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
    worktree; both: from the first to the second.  Each may be ``REV`` or ``REV:PATH``.

    Args:
        workspace: the worktree.
        first: a revision or subtree.
        second: another.
        staged: compare with the stage instead of the worktree.
        only: repository paths to which the comparison is confined.

    Raises:
        NotFoundError: when a revision or path does not exist.
        UsageError: when the arguments exclude each other.
    """
    if staged and second is not None:
        raise UsageError("--staged compares one revision with the stage", next="leave out the second revision")
    before = _side(workspace, first)
    if second is not None:
        after = _side(workspace, second)
    elif staged:
        view = workspace.session.stage()
        after = Side(name=STAGE, tree=view.tree, trees=workspace.session.trees)
    else:
        after = _worktree(workspace, first)
    limits = tuple(only) or ("",)
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
    return Side(name=f"{identity.hex()}:{where}", tree=entry.id, trees=session.trees)


def _worktree(workspace: Workspace, first: str | None) -> Side:
    session = workspace.session
    changes = workspace.leave_to_git(inspect(session, contents=True))
    refuse_problems(changes.problems, doing="compared")
    made, objects = virtual_tree(session, changes)
    trees = Trees(objects)
    where = workspace.revisions.split_path(first)[1] if first else None
    if where and made is not None:
        entry = trees.resolve(made, where)
        made = entry.id if entry is not None and entry.kind == DIRECTORY else None
    return Side(name=WORKTREE, tree=made, trees=trees)


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
    renamed = tuple(
        RenamedItem(before=source, after=target, size=added[target].size, id=added[target].id.hex())
        for source, target in renames
    )
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
            workspace.place(word) if ":" in word and not word.startswith("git:") else workspace.resolve(word)
            raise NotFoundError(f"{word!r} is neither a revision nor a path", next="check the spelling")
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
    modes = tuple("executable" if entry.kind in tree.EXECUTABLES else "plain" for entry in (old, new))
    mode_differs = kinds[0] == kinds[1] and modes[0] != modes[1]
    kind_differs = kinds[0] != kinds[1]
    return ModifiedItem(
        path=path,
        size_from=old.size,
        size_to=new.size,
        id_from=old.id.hex(),
        id_to=new.id.hex(),
        mode_from=modes[0] if mode_differs else None,
        mode_to=modes[1] if mode_differs else None,
        kind_from=kinds[0] if kind_differs else None,
        kind_to=kinds[1] if kind_differs else None,
    )


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
