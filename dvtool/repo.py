"""The public API: one class, one method for each verb.

::

    import dvtool

    repo = dvtool.open("datasets")
    repo.add(["images"])
    snapshot = repo.commit("first images").snapshot
    changes = repo.diff(f"{snapshot}~1", snapshot)
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any

import msgspec

from dvtool.erasing import ErasingRepo
from dvtool.shared import several
from dvtool.workspace import Workspace
from dvtool.worktree.session import Context

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from dvtool.checking import Report
    from dvtool.history.describe import SnapshotItem
    from dvtool.history.oplog import OperationItem
    from dvtool.operations.add import AddResult
    from dvtool.operations.archive import ArchiveResult
    from dvtool.operations.check import Leakage, Splits
    from dvtool.operations.checkout import CheckoutResult
    from dvtool.operations.clone import CloneResult
    from dvtool.operations.config import Setting
    from dvtool.operations.diff import Diff
    from dvtool.operations.doctor import Diagnosis
    from dvtool.operations.expire import ExpireResult
    from dvtool.operations.gc import GcResult
    from dvtool.operations.hold import HoldItem
    from dvtool.operations.ls import ListItem, Usage
    from dvtool.operations.merge import MergeResult
    from dvtool.operations.move import MoveResult
    from dvtool.operations.prune import PruneResult
    from dvtool.operations.refs import RefItem
    from dvtool.operations.remove import RemoveResult
    from dvtool.operations.restore import RestoreResult
    from dvtool.operations.run import RunResult
    from dvtool.operations.runs import RunFetched, RunRemoved, RunsDiff, RunShown
    from dvtool.operations.show import Shown
    from dvtool.operations.sparse import SparseResult
    from dvtool.operations.status import Status
    from dvtool.operations.undo import UndoResult
    from dvtool.operations.upgrade import UpgradeResult
    from dvtool.operations.worktrees import WorktreeItem
    from dvtool.runs.beginning import Request
    from dvtool.runs.describing import RunItem
    from dvtool.runs.filters import Wanted
    from dvtool.runs.lineage import Graph
    from dvtool.worktree.recording import CommitResult


def _place(directory: str) -> str:
    """Return the absolute path of a directory; one with a NUL in it is left as it is, to be refused with its name."""
    return directory if "\0" in directory else os.path.realpath(directory)


class Repo(ErasingRepo):
    """One repository, seen from one of its worktrees.

    Paths in arguments are relative to the root unless ``context.cwd`` says otherwise; paths in results always are.
    Every method may raise :class:`dvtool.errors.DvError`; its subclasses say what a caller can do about it.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Wrap an opened worktree; use :meth:`open`, :meth:`init` or :meth:`clone`."""
        self._workspace = workspace
        if workspace.session.lazy is not None:
            from dvtool.sharing import lazily

            lazily.enable(workspace)

    @classmethod
    def open(cls, path: str = ".", context: Context | None = None) -> Repo:
        """Open the repository that holds ``path``; arguments are then relative to its root.

        Raises:
            NotFoundError: when neither ``path`` nor a directory above it is a repository.
            FormatError: when a newer dv made it.
            KeyAccessError: when its key is missing, unreadable or wrong.
        """
        workspace = Workspace.open(path, context or Context())
        if context is None:
            workspace.session.context = msgspec.structs.replace(Context(), cwd=workspace.session.root)
        return cls(workspace)

    @classmethod
    def init(cls, path: str = ".", context: Context | None = None) -> Repo:
        """Make a repository in the directory ``path`` and open it.

        Raises:
            ExistsError: when there is one already.
            ConflictError: when it would lie inside another.
        """
        from dvtool.operations.init import init

        return cls.open(init(path, context or Context()), context)

    @property
    def root(self) -> str:
        """The absolute path of the worktree's root."""
        return self._workspace.session.root

    @property
    def workspace(self) -> Workspace:
        """What verbs are handed; for code that builds on single parts."""
        return self._workspace

    def add(self, arguments: Sequence[str], *, skip_git: bool = False, force: bool = False) -> AddResult:
        """Stage files; see :func:`dvtool.operations.add.add`."""
        from dvtool.operations import add

        return add.add(self._workspace, several(arguments), skip_git=skip_git, force=force)

    def remove(self, arguments: Sequence[str], *, cached: bool = False, force: bool = False) -> RemoveResult:
        """Stop tracking paths and remove them; see :func:`dvtool.operations.remove.remove`."""
        from dvtool.operations import remove

        return remove.remove(self._workspace, several(arguments), cached=cached, force=force)

    def move(self, source: str, target: str) -> MoveResult:
        """Rename a tracked path; see :func:`dvtool.operations.move.move`."""
        from dvtool.operations import move

        return move.move(self._workspace, source, target)

    def status(self) -> Status:
        """Return the state of the worktree; see :func:`dvtool.operations.status.status`."""
        from dvtool.operations import status

        return status.status(self._workspace)

    def commit(
        self, message: str, *, everything: bool = False, author: str | None = None, allow_empty: bool = False
    ) -> CommitResult:
        """Record the stage as a snapshot; see :func:`dvtool.operations.commit.commit`."""
        from dvtool.operations import commit

        return commit.commit(self._workspace, message, everything=everything, author=author, allow_empty=allow_empty)

    def log(
        self, revision: str | None = None, path: str | None = None, *, limit: int | None = None
    ) -> list[SnapshotItem]:
        """Return the history, newest first; see :func:`dvtool.operations.log.log`."""
        from dvtool.operations import log

        return log.log(self._workspace, revision, path, limit=limit)

    def show(self, revision: str = "HEAD") -> Shown:
        """Return what a revision or ``REV:PATH`` is; see :func:`dvtool.operations.show.show`."""
        from dvtool.operations import show

        return show.show(self._workspace, revision)

    def ls(
        self, revision: str | None = None, path: str = "", *, recursive: bool = False, kept: bool = False
    ) -> Iterator[ListItem]:
        """Yield what lies in a directory of a snapshot; see :func:`dvtool.operations.ls.ls`."""
        from dvtool.operations import ls

        return ls.ls(self._workspace, revision, path, recursive=recursive, kept=kept)

    def du(self, revision: str | None = None, path: str = "") -> list[Usage]:
        """Return totals by directory; see :func:`dvtool.operations.ls.du`."""
        from dvtool.operations import ls

        return ls.du(self._workspace, revision, path)

    def cat(self, place: str) -> Iterator[bytes]:
        """Yield a file's content; see :func:`dvtool.operations.cat.cat`."""
        from dvtool.operations import cat

        return cat.cat(self._workspace, place)

    def diff(
        self,
        first: str | None = None,
        second: str | None = None,
        *,
        staged: bool = False,
        only: Sequence[str] = (),
    ) -> Diff:
        """Return what differs between two states; see :func:`dvtool.operations.diff.diff`."""
        from dvtool.operations import diff

        return diff.diff(self._workspace, first, second, staged=staged, only=several(only))

    def checkout(
        self,
        revision: str | None = None,
        *,
        new_branch: str | None = None,
        from_lock: bool = False,
        only: Sequence[str] = (),
        force: bool = False,
    ) -> CheckoutResult:
        """Switch the worktree; see :func:`dvtool.operations.checkout.checkout`."""
        from dvtool.operations import checkout

        return checkout.checkout(
            self._workspace, revision, new_branch=new_branch, from_lock=from_lock, only=several(only), force=force
        )

    def merge(
        self,
        revision: str,
        *,
        prefer: str | None = None,
        only: Sequence[str] = (),
        manual: bool = False,
        message: str | None = None,
        author: str | None = None,
    ) -> MergeResult:
        """Merge a snapshot into HEAD's; see :func:`dvtool.operations.merge.merge`."""
        from dvtool.operations import merge

        return merge.merge(
            self._workspace, revision, prefer=prefer, only=several(only), manual=manual, message=message, author=author
        )

    def abort_merge(self, *, force: bool = False) -> MergeResult:
        """Drop a merge under way; see :func:`dvtool.operations.merge.abort`."""
        from dvtool.operations import merge

        return merge.abort(self._workspace, force=force)

    def restore(
        self,
        arguments: Sequence[str],
        *,
        source: str | None = None,
        staged: bool = False,
        force: bool = False,
    ) -> RestoreResult:
        """Bring paths back; see :func:`dvtool.operations.restore.restore`."""
        from dvtool.operations import restore

        return restore.restore(self._workspace, several(arguments), source=source, staged=staged, force=force)

    def get(self, arguments: Sequence[str]) -> SparseResult:
        """Bring paths that were left out back; see :func:`dvtool.operations.sparse.get`."""
        from dvtool.operations import sparse

        return sparse.get(self._workspace, several(arguments))

    def drop(self, arguments: Sequence[str]) -> SparseResult:
        """Take stored copies out of the worktree; see :func:`dvtool.operations.sparse.drop`."""
        from dvtool.operations import sparse

        return sparse.drop(self._workspace, several(arguments))

    def branches(self) -> list[RefItem]:
        """Return the branches, sorted by name."""
        from dvtool.operations import refs

        return refs.branches(self._workspace)

    def tags(self) -> list[RefItem]:
        """Return the tags, sorted by name."""
        from dvtool.operations import refs

        return refs.tags(self._workspace)

    def create_branch(self, name: str, revision: str | None = None) -> RefItem:
        """Make a branch; see :func:`dvtool.operations.refs.create_branch`."""
        from dvtool.operations import refs

        return refs.create_branch(self._workspace, name, revision)

    def delete_branch(self, name: str, *, force: bool = False) -> RefItem:
        """Remove a branch; see :func:`dvtool.operations.refs.delete_branch`."""
        from dvtool.operations import refs

        return refs.delete_branch(self._workspace, name, force=force)

    @classmethod
    def clone(
        cls,
        url: str,
        path: str,
        context: Context | None = None,
        *,
        lazy: bool = False,
        options: Mapping[str, Any] | None = None,
        keys: str | None = None,
        expires: int = 0,
    ) -> CloneResult:
        """Make a repository out of a remote; see :func:`dvtool.operations.clone.clone`."""
        from dvtool.operations import clone

        return clone.clone(url, path, context or Context(), lazy=lazy, options=options, keys_url=keys, expires=expires)

    @classmethod
    def open_or_found(cls, path: str = ".", context: Context | None = None) -> Repo:
        """Open the repository that holds ``path``, or make it where a ``dv.toml`` names its remote.

        See :func:`dvtool.operations.clone.found_here`.
        """
        from dvtool.operations import clone

        return cls(clone.found_here(path, context or Context()))

    def rename_branch(self, old: str, new: str) -> RefItem:
        """Rename a branch; see :func:`dvtool.operations.refs.rename_branch`."""
        from dvtool.operations import refs

        return refs.rename_branch(self._workspace, old, new)

    def create_tag(self, name: str, revision: str | None = None) -> RefItem:
        """Make a tag; see :func:`dvtool.operations.refs.create_tag`."""
        from dvtool.operations import refs

        return refs.create_tag(self._workspace, name, revision)

    def delete_tag(self, name: str) -> RefItem:
        """Remove a tag; see :func:`dvtool.operations.refs.delete_tag`."""
        from dvtool.operations import refs

        return refs.delete_tag(self._workspace, name)

    def archive(self, revision: str, target: str | IO[bytes]) -> ArchiveResult:
        """Write a snapshot's files to a new directory or a stream; see :mod:`dvtool.operations.archive`."""
        from dvtool.operations import archive

        if isinstance(target, str):
            return archive.to_directory(self._workspace, revision, target)
        return archive.to_stream(self._workspace, revision, target)

    def settings(self) -> list[Setting]:
        """Return the personal settings in force; see :func:`dvtool.operations.config.show`."""
        from dvtool.operations import config

        return config.show(self._workspace)

    def configure(self, key: str, value: str | None) -> Setting:
        """Set a setting of this worktree, or remove it; see :func:`dvtool.operations.config.put`."""
        from dvtool.operations import config

        return config.put(self._workspace, key, value, self._workspace.session.context.disk)

    def worktrees(self) -> list[WorktreeItem]:
        """Return the worktrees of this store; see :func:`dvtool.operations.worktrees.list_worktrees`."""
        from dvtool.operations import worktrees

        return worktrees.list_worktrees(self._workspace)

    def add_worktree(
        self, directory: str, revision: str | None = None, *, new_branch: str | None = None
    ) -> WorktreeItem:
        """Make another worktree; see :func:`dvtool.operations.worktrees.add_worktree`."""
        from dvtool.operations import worktrees

        context = msgspec.structs.replace(self._workspace.session.context, cwd=_place(directory))
        return worktrees.add_worktree(self._workspace, directory, revision, new_branch=new_branch, context=context)

    def remove_worktree(self, directory: str, *, force: bool = False) -> WorktreeItem:
        """Remove another worktree; see :func:`dvtool.operations.worktrees.remove_worktree`."""
        from dvtool.operations import worktrees

        context = msgspec.structs.replace(self._workspace.session.context, cwd=_place(directory))
        return worktrees.remove_worktree(self._workspace, directory, force=force, context=context)

    def undo(self, *, redo: bool = False) -> UndoResult:
        """Take back what the last operation did to refs; see :func:`dvtool.operations.undo.undo`."""
        from dvtool.operations import undo

        return undo.undo(self._workspace, redo=redo)

    def oplog(self, *, limit: int | None = None) -> list[OperationItem]:
        """Return what was done to the store; see :func:`dvtool.operations.oplog.oplog`."""
        from dvtool.operations import oplog

        return oplog.oplog(self._workspace, limit=limit)

    def run(self, request: Request, *, capture: bool = True) -> RunResult:
        """Run a command and record it; see :func:`dvtool.operations.run.run`."""
        from dvtool.operations import run

        return run.run(self._workspace, request, capture=capture)

    def store_waiting_runs(self) -> list[str]:
        """Store the runs of this worktree that have ended and are not stored yet; return their ids.

        See :func:`dvtool.runs.sealing.seal_waiting`.
        """
        from dvtool.runs import journals

        if not journals.waiting(self._workspace.session.layout.control):
            return []
        from dvtool.capture.redaction import Redactor
        from dvtool.runs import sealing

        return sealing.seal_waiting(self._workspace, Redactor(os.environ))

    def runs(
        self, wanted: Wanted | None = None, *, limit: int | None = None, by: str = "", unstable: bool = False
    ) -> list[RunItem]:
        """Return recorded runs, the newest first; see :func:`dvtool.operations.runs.list_runs`."""
        from dvtool.operations import runs
        from dvtool.runs.filters import Wanted

        return runs.list_runs(self._workspace, wanted or Wanted(), limit=limit, by=by, unstable=unstable)

    def show_run(self, run: str) -> RunShown:
        """Return all that is known of a run; see :func:`dvtool.operations.runs.show`."""
        from dvtool.operations import runs

        return runs.show(self._workspace, run)

    def diff_runs(self, first: str, second: str) -> RunsDiff:
        """Return what differs between two runs; see :func:`dvtool.operations.runs.diff`."""
        from dvtool.operations import runs

        return runs.diff(self._workspace, first, second)

    def run_file(self, run: str, path: str) -> Iterator[bytes]:
        """Yield a file that was kept of a run; see :func:`dvtool.operations.runs.kept`."""
        from dvtool.operations import runs

        return runs.kept(self._workspace, run, path)

    def fetch_run(self, run: str, directory: str | None = None, *, force: bool = False) -> RunFetched:
        """Bring back what a run made; see :func:`dvtool.operations.runs.fetch`."""
        from dvtool.operations import runs

        return runs.fetch(self._workspace, run, directory=directory, force=force)

    def remove_runs(self, names: Sequence[str], *, force: bool = False) -> list[RunRemoved]:
        """Remove runs; see :func:`dvtool.operations.runs.remove`."""
        from dvtool.operations import runs

        return runs.remove(self._workspace, several(names), force=force)

    def lineage(self, target: str, direction: str | None = None) -> Graph:
        """Return what something was made from, or what from it; see :func:`dvtool.operations.lineage.lineage`."""
        from dvtool.operations import lineage

        return lineage.lineage(self._workspace, target, direction)

    def check_leakage(self, first: str, second: str, *, smallest: int = 1) -> Leakage:
        """Return what two sides of the data have in common; see :func:`dvtool.operations.check.leakage`."""
        from dvtool.operations import check

        return check.leakage(self._workspace, first, second, smallest=smallest)

    def check_splits(self, *, smallest: int = 1) -> Splits:
        """Return which runs read which split; see :func:`dvtool.operations.check.splits`."""
        from dvtool.operations import check

        return check.splits(self._workspace, smallest=smallest)

    def expire(
        self,
        *,
        before: dt.datetime | None = None,
        keep_last: int | None = None,
        plan: bool = False,
        only: Collection[str] | None = None,
    ) -> ExpireResult:
        """Drop old snapshots from the history; see :func:`dvtool.operations.expire.expire`."""
        from dvtool.operations import expire

        return expire.expire(
            self._workspace,
            before=before,
            keep_last=keep_last,
            plan=plan,
            only=several(only) if isinstance(only, str) else only,
        )

    def add_hold(
        self,
        arguments: Sequence[str] = (),
        *,
        subjects: Sequence[str] = (),
        ground: str,
        until: dt.datetime | None = None,
    ) -> list[HoldItem]:
        """Say that data must be kept; see :func:`dvtool.operations.hold.add`."""
        from dvtool.operations import hold

        return hold.add(self._workspace, several(arguments), subjects=several(subjects), ground=ground, until=until)

    def holds(self) -> list[HoldItem]:
        """Return the holds that were not released, the oldest first."""
        from dvtool.operations import hold

        return hold.list_holds(self._workspace)

    def release_holds(self, names: Sequence[str] = (), *, subjects: Sequence[str] = ()) -> list[HoldItem]:
        """Let go of holds; see :func:`dvtool.operations.hold.release`."""
        from dvtool.operations import hold

        return hold.release(self._workspace, several(names), subjects=several(subjects))

    @staticmethod
    def fsck(
        path: str = ".", context: Context | None = None, *, quick: bool = False, max_bytes: int | None = None
    ) -> Report:
        """Check the store of the repository that holds ``path``, which need not open for that.

        See :func:`dvtool.operations.fsck.fsck`.
        """
        from dvtool.operations import fsck

        return fsck.fsck(path, context or Context(), quick=quick, max_bytes=max_bytes)

    @staticmethod
    def repair(
        path: str = ".",
        context: Context | None = None,
        *,
        source: str | None = None,
        remote: str | None = None,
        give_up_entries: bool = False,
    ) -> Report:
        """Mend the store of the repository that holds ``path`` as far as intact copies are found, and check it again.

        See :func:`dvtool.operations.repair.repair`.
        """
        from dvtool.operations import repair

        return repair.repair(path, context or Context(), source=source, remote=remote, give_up_entries=give_up_entries)

    def gc(
        self,
        *,
        dry_run: bool = False,
        grace: int | None = None,
        retention: int | None = None,
        remote: str | None = None,
    ) -> GcResult:
        """Collect garbage; times in seconds, 14 and 90 days by default; see :func:`dvtool.operations.gc.gc`."""
        from dvtool.operations import gc

        return gc.gc(
            self._workspace,
            dry_run=dry_run,
            grace=gc.GRACE if grace is None else grace,
            retention=gc.RETENTION if retention is None else retention,
            remote=remote,
        )

    @staticmethod
    def prune_cache(path: str = ".", context: Context | None = None, *, dry_run: bool = False) -> PruneResult:
        """Remove what dv makes anew by itself in the repository that holds ``path``, which need not open for that.

        See :func:`dvtool.operations.prune.prune`.
        """
        from dvtool.operations import prune

        return prune.prune(path, context or Context(), dry_run=dry_run)

    def doctor(self) -> Diagnosis:
        """Check this machine, repository and user; see :func:`dvtool.operations.doctor.doctor`."""
        from dvtool.operations import doctor

        return doctor.doctor(self._workspace)

    def upgrade(self) -> UpgradeResult:
        """Bring the store to the newest version of the format; see :func:`dvtool.operations.upgrade.upgrade`."""
        from dvtool.operations import upgrade

        return upgrade.upgrade(self._workspace)
