"""``dv merge``: brings two histories together, by file, and never decides a conflict by itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from dvtool import advancing, paths
from dvtool.errors import ConflictError, ExistsError, NotFoundError, UsageError
from dvtool.formats import log, tree
from dvtool.history import graph, merging
from dvtool.store.editing import Editor
from dvtool.store.treediff import diff_trees
from dvtool.store.trees import Trees
from dvtool.worktree import apply, recording, staging, stats, switching
from dvtool.worktree.inspect import scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dvtool.formats.snapshot import Snapshot
    from dvtool.formats.tree import Entry
    from dvtool.history.merging import Merge
    from dvtool.store.transaction import Transaction
    from dvtool.workspace import Workspace
    from dvtool.worktree.apply import Plan
    from dvtool.worktree.session import Session


class MergeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a merge came to.

    ``result`` is ``up-to-date`` (the other side is part of this one), ``fast-forward`` (this side was part of the
    other), ``merged`` (a snapshot with two parents was recorded), ``staged`` (with ``--manual``: it waits for
    ``dv commit``) or ``aborted``.  ``decided`` are the conflicts that an option decided, ``conflicts`` those that are
    left to the user, ``copies`` the other side's files put beside them.
    """

    result: str
    snapshot: str
    parents: tuple[str, ...]
    written: int
    removed: int
    decided: tuple[str, ...]
    conflicts: tuple[str, ...]
    copies: tuple[str, ...]


def merge(
    workspace: Workspace,
    revision: str,
    *,
    prefer: str | None = None,
    only: Sequence[str] = (),
    manual: bool = False,
    message: str | None = None,
    author: str | None = None,
) -> MergeResult:
    """Merge a snapshot into HEAD's.

    Args:
        workspace: the worktree.
        revision: the other side.
        prefer: who wins where both sides changed a file: ``"ours"``, ``"theirs"``, or nobody (None).
        only: repository paths at and below which ``prefer`` decides; everywhere when there are none.
        manual: record nothing yet; put the other side's copy of each file in conflict beside ours.
        message: of the snapshot; says what was merged by default.
        author: as for a commit.

    Raises:
        NotFoundError: when the revision does not exist, or a path of ``only`` is not in conflict.
        ConflictError: when files are in conflict and nobody is preferred, when something is staged, or when local
            changes would be lost; nothing has been touched then.
        IntegrityError: when some files are damaged; the others have been written.
    """
    session = workspace.session
    if message is not None:
        recording.check_message(message)
    with workspace.changing():
        session.require_unlocked_refs()
        ours = _head(workspace)
        theirs = workspace.resolve_kept(revision).id
        workspace.require_lock()
        workspace.refuse_merging()
        _refuse_staged(workspace)
        bases = graph.merge_bases(ours, theirs, session.snapshot, session.resolve_superseded)
        if bases == [theirs]:
            return _result("up-to-date", ours, session.snapshot(ours))
        if bases == [ours] and not manual:
            outcome = advancing.fast_forward(workspace, theirs, operation="merge")
            snapshot = session.snapshot(theirs)
            return _result("fast-forward", theirs, snapshot, written=outcome.files, removed=outcome.removed)
        return _Merging(workspace, revision, ours, theirs, bases).run(
            prefer=prefer, only=only, manual=manual, message=message, author=author
        )


def abort(workspace: Workspace, *, force: bool = False) -> MergeResult:
    """Drop a merge under way: stage and worktree become as HEAD has them, edits since then are kept.

    Args:
        workspace: the worktree.
        force: overwrite files that the merge changed and the user changed again.

    Raises:
        NotFoundError: when no merge is under way.
        ConflictError: when edits that are stored nowhere would be lost; nothing has been touched then.
    """
    session = workspace.session
    with workspace.changing():
        session.require_unlocked_refs()
        view = session.stage()
        head = session.head().snapshot
        if not view.merging or head is None:
            raise NotFoundError("no merge is under way", next="begin one: dv merge REV --manual")
        plan = switching.plan_of(diff_trees(session.trees, session.trees, view.tree, session.head_tree()))
        if force:
            apply.clear_the_way(session, plan)
        else:
            switching.refuse_conflicts(session, plan)
            apply.require_stored(session, plan)
        copies = _untouched_copies(session, view.merging[0])
        plan.removals |= copies.keys()
        if plan.judged is not None:
            plan.judged.update(copies)
        outcome = apply.execute(session, plan)
        move = log.MoveRef(name=session.stage_ref, old=view.value, new=None)
        session.store.log.append("merge", lambda _state: [move])
        session.store.refresh()
        apply.record(session, plan, outcome)
        workspace.update_git_ignore(session.stage().roots)
        workspace.after_change()
    apply.raise_damage(outcome.damaged, done="the merge was dropped, and every other file has been written")
    return _result("aborted", head, session.snapshot(head), written=outcome.files, removed=outcome.removed)


class _Merging:
    """One merge of two sides that went apart."""

    def __init__(self, workspace: Workspace, revision: str, ours: bytes, theirs: bytes, bases: list[bytes]) -> None:
        self.workspace = workspace
        self.session = workspace.session
        self.revision = revision
        self.ours = ours
        self.theirs = theirs
        self.bases = bases
        self.mine = self.session.snapshot(ours)
        self.other = workspace.sound_snapshot(theirs)

    def run(
        self, *, prefer: str | None, only: Sequence[str], manual: bool, message: str | None, author: str | None
    ) -> MergeResult:
        who = self.workspace.author(author) if not manual else ""
        decided: set[str] = set()

        def decide(path: str) -> str | None:
            if prefer is None or (only and not paths.covered(path, only)):
                return None
            decided.add(path)
            return prefer

        base_trees = [self.session.snapshot(base).root for base in self.bases]
        found = merging.merge(self.session.trees, base_trees, self.mine.root, self.other.root, decide)
        _refuse_idle(only, decided)
        if found.conflicts and not manual:
            raise self._conflict(found)
        copies = self._copies(found) if manual else {}
        with self.session.store.transaction() as transaction:
            editor = Editor(transaction, self.session.store.secrets.split)
            merged = editor.apply(self.mine.root, found.edits())
            roots = self._roots(editor.trees, merged)
            plan = self._plan(transaction, merged, copies)
            outcome = apply.execute(self.session, plan)
            parents = (self.ours, self.theirs)
            if manual:
                actions = staging.stage_moves(self.session, transaction, merged, roots, (self.theirs,))
                transaction.commit("merge", lambda _state: actions)
                identity, snapshot = self.ours, self.mine
            else:
                self._bring_settings()
                identity, snapshot = recording.make(
                    self.session,
                    transaction,
                    tree=merged,
                    roots=roots,
                    parents=parents,
                    author=who,
                    message=message or self._message(),
                    with_settings=not self.workspace.in_git(),
                )
                actions = recording.moves(self.session, identity)
                transaction.commit("merge", lambda _state: actions)
        apply.record(self.session, plan, outcome)
        self.workspace.update_git_ignore(roots)
        self.workspace.after_change(moved=not manual)
        apply.raise_damage(outcome.damaged, done="the merge was made, and every other file has been written")
        return _result(
            "staged" if manual else "merged",
            identity,
            snapshot,
            written=outcome.files - len(copies),
            removed=outcome.removed,
            decided=decided,
            conflicts=found.conflicts,
            copies=copies,
        )

    def _conflict(self, found: Merge) -> ConflictError:
        count = len(found.conflicts)
        return ConflictError(
            f"{count} file{'s were' if count > 1 else ' was'} changed on both sides; nothing was changed",
            items=tuple(f"{path}: {_how(*sides)}" for path, sides in sorted(found.conflicts.items())),
            why="" if self.bases else "the two have no history in common, or it was expired",
            next="decide with --ours or --theirs, for all of them or for the paths that you name after it; or look at "
            "both versions with --manual",
        )

    def _copies(self, found: Merge) -> dict[str, Entry]:
        copies = {
            path + merging.COPY: other
            for path, (_mine, other) in found.conflicts.items()
            if other is not None and other.kind != tree.ERASED
        }
        there = {path for path in copies if os.path.lexists(f"{self.session.root}/{path}")}
        seen = [(path, stats.of(os.lstat(f"{self.session.root}/{path}"))) for path in sorted(there)]
        # A merge that was stopped has put its copies there already.
        there -= {path for path, entry in apply.contents(self.session, seen).items() if apply.same(entry, copies[path])}
        there |= {path for path in copies if self.session.trees.resolve(self.mine.root, path) is not None}
        if there:
            raise ExistsError(
                "files stand where the other side's copies must go; nothing was changed",
                items=tuple(sorted(there)),
                next="move them away, or decide with --ours or --theirs",
            )
        return copies

    def _roots(self, trees: Trees, merged: bytes) -> tuple[str, ...]:
        """Return the tracked roots of the merge: those of both sides that are still there."""
        together = staging.merged_roots(self.mine.roots, self.other.roots)
        both = set(self.mine.roots) & set(self.other.roots)
        return tuple(root for root in together if root in both or trees.resolve(merged, root) is not None)

    def _plan(self, transaction: Transaction, merged: bytes, copies: dict[str, Entry]) -> Plan:
        session = self.session
        difference = diff_trees(session.trees, Trees(transaction), self.mine.root, merged)
        plan = switching.plan_of(difference)
        plan.writes.update(copies)
        switching.refuse_conflicts(session, plan)
        apply.require_stored(session, plan)
        return plan

    def _bring_settings(self) -> None:
        if not self.workspace.in_git():
            base = self.session.snapshot(self.bases[0]) if self.bases else None
            recording.bring_settings(self.session, self.other, base)

    def _message(self) -> str:
        branch = self.session.head().branch
        return f"merge {self.revision}" + (f" into {branch}" if branch else "")


def _head(workspace: Workspace) -> bytes:
    head = workspace.session.head().snapshot
    if head is None:
        raise UsageError("there is nothing here to merge into", next="go there with 'dv checkout REV'")
    return head


def _refuse_staged(workspace: Workspace) -> None:
    if workspace.session.stage().value is not None:
        raise ConflictError(
            "something is staged, which a merge would mix up with its own changes",
            next="commit it first, or take it back with 'dv restore --staged'",
        )


def _refuse_idle(only: Sequence[str], decided: set[str]) -> None:
    """Refuse paths at which there was nothing to decide: they are misspelt, or meant for another merge."""
    idle = [path for path in only if not any(paths.under(each, {path}) for each in decided)]
    if idle:
        raise NotFoundError(
            "these paths are not in conflict; nothing was changed",
            items=tuple(sorted(idle)),
            next="leave them out: what only one side changed needs no decision",
        )


def _untouched_copies(session: Session, theirs: bytes) -> dict[str, bytes]:
    """Return, with their stat data, the copies that a merge put beside files and that are still as it made them."""
    other = session.snapshot(theirs).root
    wanted: dict[str, Entry] = {}
    for path in scan(session).added_paths():
        stem = path.removesuffix(merging.COPY)
        entry = session.trees.resolve(other, stem) if stem != path else None
        if entry is not None and entry.kind != tree.DIRECTORY:
            wanted[path] = entry
    seen = {path: stats.of(os.lstat(f"{session.root}/{path}")) for path in wanted}
    held = apply.contents(session, seen.items())
    return {path: stats.pack(seen[path]) for path, entry in held.items() if apply.same(entry, wanted[path])}


def _how(mine: Entry | None, other: Entry | None) -> str:
    if mine is None:
        return "removed here, changed there"
    if other is None:
        return "changed here, removed there"
    return "changed here and there"


def _result(
    result: str,
    identity: bytes,
    snapshot: Snapshot,
    *,
    written: int = 0,
    removed: int = 0,
    decided: Iterable[str] = (),
    conflicts: Iterable[str] = (),
    copies: Iterable[str] = (),
) -> MergeResult:
    return MergeResult(
        result=result,
        snapshot=identity.hex(),
        parents=tuple(parent.hex() for parent in snapshot.parents),
        written=written,
        removed=removed,
        decided=tuple(sorted(decided)),
        conflicts=tuple(sorted(conflicts)),
        copies=tuple(sorted(copies)),
    )
