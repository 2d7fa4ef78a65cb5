"""``dv check``: whether splits of the data overlap, and who has read which of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import globs, paths
from dvtool.capture.redaction import Redactor
from dvtool.errors import NotFoundError, UsageError
from dvtool.formats.tree import DIRECTORY, ERASED, SYMLINK
from dvtool.history.describe import Amount, amount
from dvtool.runs import catalogue, contents, sealing
from dvtool.worktree import projects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dvtool.formats import run
    from dvtool.formats.tree import Entry
    from dvtool.runs.catalogue import Listed
    from dvtool.workspace import Workspace

HELD_OUT: Final = ("test", "holdout", "held-out", "eval", "evaluation")
"""Roles of data that nothing may be chosen by."""
LEARNING: Final = ("train", "tune")
"""Stages of work in which something is learnt or chosen."""


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """Content that lies on both sides: the paths at which it does, sorted, and its bytes."""

    size: int
    a: tuple[str, ...]
    b: tuple[str, ...]


class Leakage(msgspec.Struct, frozen=True, kw_only=True):
    """What two sides of the data have in common: files of each, those that lie on both sides, by content."""

    a: str
    b: str
    files_a: Amount
    files_b: Amount
    leaking: Amount
    shared: tuple[Shared, ...]
    clean: bool


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """A run that read a split: its stage, how many files of it, how that is known, and whether it should not have.

    Known by ``content`` is a file that was read at another path and is in the split.  ``contradicts`` says that it was
    read in a role that its path does not have.
    """

    run: str
    name: str
    stage: str | None
    status: str
    files: int
    known: tuple[str, ...]
    learning: bool
    contradicts: bool


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """A role in ``dv.toml``, the paths that have it, the runs that read it, and how often it was read for learning."""

    role: str
    paths: tuple[str, ...]
    held_out: bool
    readers: tuple[Reader, ...]
    learning: int


class Splits(msgspec.Struct, frozen=True, kw_only=True):
    """Who read which split; ``clean`` unless work that learns or chooses read what is held out."""

    splits: tuple[Split, ...]
    clean: bool


def leakage(workspace: Workspace, first: str, second: str, *, smallest: int = 1) -> Leakage:
    """Return which content two sides of the data have in common; empty files and links are no content.

    Args:
        workspace: the worktree.
        first: a role of ``dv.toml``, a path (as HEAD has it), or ``REV:PATH``.
        second: the other side.
        smallest: bytes of the smallest files that count. Small ones, such as labels, may be equal by chance.

    Raises:
        NotFoundError: when there is no such side.
    """
    one, two = _side(workspace, first), _side(workspace, second)
    _tell_of_changes(workspace, (first, second))
    by_content: dict[bytes, tuple[int, list[str], list[str]]] = {}
    for number, side in enumerate((one, two)):
        for path, entry in side:
            if entry.size >= max(1, smallest):
                _size, *sides = by_content.setdefault(entry.id, (entry.size, [], []))
                sides[number].append(path)
    shared = [
        Shared(size=size, a=tuple(sorted(a)), b=tuple(sorted(b))) for size, a, b in by_content.values() if a and b
    ]
    return Leakage(
        a=first,
        b=second,
        files_a=amount(entry.size for _path, entry in one),
        files_b=amount(entry.size for _path, entry in two),
        leaking=amount(each.size for each in shared for _path in each.b),
        shared=tuple(sorted(shared, key=lambda each: (each.a, each.b))),
        clean=not shared,
    )


def _tell_of_changes(workspace: Workspace, words: Iterable[str]) -> None:
    """Say that HEAD was compared where the next snapshot would be another; files are not looked for."""
    session = workspace.session
    names_head = any(workspace.revisions.split_path(word)[1] is None for word in words)
    if names_head and session.stage().tree != session.head_tree():
        session.context.tell("note: what is staged and not committed was not compared; 'dv commit' records it")


def _side(workspace: Workspace, word: str) -> list[tuple[str, Entry]]:
    """Return the files of one side, each once."""
    session = workspace.session
    splits = projects.read(session.root).splits
    found: dict[str, Entry] = {}
    if word in splits and not os.path.lexists(word):
        for pattern in splits[word]:
            below = _below(workspace, globs.literal(pattern), f"role {word!r}")
            found |= {path: entry for path, entry in below if globs.top(pattern, path) is not None}
    else:
        _name, path = workspace.revisions.split_path(word)
        if path is not None:
            snapshot, where, _entry = workspace.place(word)
            found |= dict(_below(workspace, where, word, snapshot=snapshot))
        else:
            found |= dict(_below(workspace, session.relative(word), word))
    found = {path: entry for path, entry in found.items() if entry.kind != SYMLINK}
    if not found:
        raise NotFoundError(f"there are no files in {word!r}", next="check the path, or [splits] in dv.toml")
    return sorted(found.items())


def _below(workspace: Workspace, path: str, what: str, *, snapshot: bytes | None = None) -> Iterator[tuple[str, Entry]]:
    session = workspace.session
    identity = snapshot or session.head().snapshot
    if identity is None:
        raise NotFoundError("there is no snapshot yet", next="make one: 'dv add PATH', then 'dv commit -m MESSAGE'")
    root = session.snapshot(identity).root
    path = path.strip("/")
    entry = session.trees.resolve(root, path) if path else session.trees.directory_entry(root)
    if entry is None:
        raise NotFoundError(
            f"{paths.shown(path)!r} is not in the snapshot", where=what, next="check the spelling; 'dv ls -r' lists all"
        )
    if entry.kind == DIRECTORY:
        yield from contents.files(session.trees, entry.id, path)
    else:
        yield path, entry


def splits(workspace: Workspace, *, smallest: int = 1) -> Splits:
    """Return which runs read which split, and whether any that learns or chooses read what is held out.

    Args:
        workspace: the worktree.
        smallest: bytes of the smallest files that are known again elsewhere by their content.

    Raises:
        UsageError: when ``dv.toml`` gives no roles.
    """
    sealing.seal_waiting(workspace, Redactor(os.environ))
    roles = projects.read(workspace.session.root).splits
    if not roles:
        raise UsageError(
            "dv.toml gives no roles to paths",
            next='add them: a line [splits], and below it lines such as train = ["data/train"]',
        )
    rows = catalogue.everything(workspace)
    copies = _Copies(workspace, roles, max(1, smallest))
    found = []
    for role, tops in sorted(roles.items()):
        is_held_out = role.lower() in HELD_OUT
        readers = [reader for row in rows if (reader := _reader(row, role, roles, copies)) is not None]
        found.append(
            Split(
                role=role,
                paths=tuple(tops),
                held_out=is_held_out,
                readers=tuple(readers),
                learning=sum(reader.learning for reader in readers),
            )
        )
    return Splits(splits=tuple(found), clean=not any(each.held_out and each.learning for each in found))


class _Copies:
    """Finds what runs read at whatever path and is in a split at HEAD."""

    def __init__(self, workspace: Workspace, roles: Mapping[str, Sequence[str]], smallest: int) -> None:
        """Look into the splits, at files of so many bytes and more."""
        self._smallest = smallest
        self._trees = workspace.session.trees
        root = workspace.session.head_tree()
        self._held = {role: set(self._of_split(root, role, roles)) if root is not None else set() for role in roles}
        wanted: set[bytes] = set().union(*self._held.values())
        self._finder = contents.Finder(contents.Directories(self._trees), wanted)

    def _of_split(self, root: bytes, role: str, roles: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        for top in {globs.literal(pattern) for pattern in roles[role]}:
            entry = self._trees.resolve(root, top) if top else self._trees.directory_entry(root)
            if entry is None:
                continue
            below = contents.files(self._trees, entry.id, top) if entry.kind == DIRECTORY else [(top, entry)]
            for path, each in below:
                if (
                    each.size >= self._smallest
                    and each.kind not in {SYMLINK, ERASED}
                    and role in _roles_of(path, roles)
                ):
                    yield each.id

    def read(self, row: Listed, role: str) -> list[tuple[int, str]]:
        """Return where a run read content of a split: the position of a source, and a path in it."""
        held = self._held[role]
        return [
            (number, path)
            for number, directory in contents.parts(self._trees, row.inputs, len(row.run.sources))
            for content, path in self._finder.below(directory).items()
            if content in held
        ]


def _roles_of(path: str, roles: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the roles that a path has: of several that lie above each other, the nearest."""
    found: dict[int, set[str]] = {}
    for role, patterns in roles.items():
        for pattern in patterns:
            top = globs.top(pattern, path)
            if top is not None:
                found.setdefault(len(top), set()).add(role)
    return found[max(found)] if found else set()


def _roles_read(read: run.Input, roles: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the splits that something read lies in, or holds, where it was read as a whole."""
    if read.source < 0:
        return set()
    found = _roles_of(read.path, roles)
    # What a hook saw opened stands under the directory that it lay in, of which other files may not have been read.
    if read.known != "audit":
        found |= {
            role
            for role, patterns in roles.items()
            if any(paths.below(globs.literal(pattern), read.path) for pattern in patterns)
        }
    return found


def _reader(row: Listed, role: str, roles: Mapping[str, Sequence[str]], copies: _Copies) -> Reader | None:
    """Return what a run read of a split: what was declared as it, what lies in its paths or holds them, and copies."""
    met = []
    contradicts = False
    for each in row.run.inputs:
        by_path = _roles_read(each, roles)
        if role in by_path or each.role == role:
            met.append(each)
            contradicts |= bool(each.role and by_path) and (each.role != role or role not in by_path)
    elsewhere = [
        path
        for number, path in copies.read(row, role)
        if not any(each.source == number and paths.below(path, each.path) for each in met)
    ]
    if not met and not elsewhere:
        return None
    return Reader(
        run=row.id,
        name=row.run.name,
        stage=row.run.stage or None,
        status=row.status,
        files=max((each.files for each in met), default=0) + len(elsewhere),
        known=tuple(sorted({each.known for each in met} | ({"content"} if elsewhere else set()))),
        learning=row.run.stage in LEARNING,
        contradicts=contradicts,
    )
