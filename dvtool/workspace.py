"""A worktree with everything beside it: its session, what revisions mean in it, Git, identity and ``dv.lock``.

This is what a verb is handed; it joins the parts of the floor below, which do not know each other.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import paths
from dvtool.errors import (
    ConflictError,
    ExistsError,
    FormatError,
    IntegrityError,
    NotFoundError,
    StorageError,
    UsageError,
)
from dvtool.formats import lock, log, tree
from dvtool.git import beside
from dvtool.history.keeping import Reliance
from dvtool.history.revisions import Resolved, Revisions
from dvtool.storage.disk import read_regular, word_for
from dvtool.worktree import layout, places, settings, staging
from dvtool.worktree.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dvtool.formats.snapshot import Snapshot
    from dvtool.formats.tree import Entry
    from dvtool.store.state import State
    from dvtool.worktree.inspect import WorktreeChanges
    from dvtool.worktree.scan import Findings
    from dvtool.worktree.session import Context


class Workspace:
    """One opened worktree."""

    def __init__(self, session: Session) -> None:
        """Wrap an opened session."""
        self.session = session
        self._held: set[str] = set()
        session.held_by_git = self.held_by_git
        self._reliance = Reliance(
            session.store, session.context.progress, without_data=lambda: session.lazy is not None
        )

    @classmethod
    def open(cls, path: str, context: Context) -> Workspace:
        """Open the repository that holds ``path``; raises as :class:`~dvtool.worktree.session.Session`."""
        found = cls(Session.open(path, context))
        found.note_place()
        return found

    @property
    def revisions(self) -> Revisions:
        """What revisions mean here and now."""
        return Revisions(self.session.store, self.session.head().snapshot, self._git_snapshot)

    def resolve(self, revision: str) -> Resolved:
        """Return the snapshot that ``revision`` names, telling the user when it stands for an erased one.

        Raises:
            ErasedError: when it was expired.
            NotFoundError: when there is none.
            UsageError: when it is malformed or ambiguous.
        """
        found = self.revisions.resolve(revision)
        if found.superseded is not None:
            self.session.context.tell(
                f"note: data in {found.superseded.hex()[:12]} was erased; {found.id.hex()[:12]} stands for it now"
            )
        return found

    def resolve_kept(self, revision: str) -> Resolved:
        """Return the snapshot that ``revision`` names, for a command that is about to make something refer to it.

        Raises:
            NotFoundError: also when it was collected as garbage, or is being collected.
            UsageError: as :meth:`resolve`.
        """
        found = self.resolve(revision)
        self.rely_on([found.id])
        return found

    def rely_on(self, identities: Iterable[bytes]) -> None:
        """Check that snapshots and stages are kept, now and when this command appends an entry that moves refs.

        Raises:
            ErasedError: when one was expired.
            NotFoundError: when one was collected as garbage, or is being collected.
        """
        self._reliance.name(identities)
        self._reliance.check(self.session.state)

    def snapshot(self, identity: bytes) -> Snapshot:
        """Return a snapshot."""
        return self.session.snapshot(identity)

    def sound_snapshot(self, identity: bytes) -> Snapshot:
        """Return a snapshot whose totals are those of its tree, which is about to be walked.

        Raises:
            IntegrityError: when they are not.
        """
        found = self.snapshot(identity)
        totals = self.session.trees.totals(found.root)
        if (totals.files, totals.size) != (found.files, found.size):
            raise IntegrityError(
                "a snapshot does not hold what it says",
                where=identity.hex(),
                why=f"its tree has {totals.files:,} files of {totals.size:,} bytes, "
                f"not {found.files:,} of {found.size:,}",
                next="the store was not written by dv, or badly: take another copy of it",
            )
        self._refuse_strays(identity, found)
        return found

    def _refuse_strays(self, identity: bytes, found: Snapshot) -> None:
        """Refuse a snapshot with files outside its tracked roots: a checkout would write where nobody asked for it.

        Only directories that lead to roots are looked into; empty ones may be left where a root once was.

        Raises:
            IntegrityError: when there are any.
        """
        leading = {parent for root in found.roots for parent in paths.parents(root)} if found.roots else {""}
        pending = [] if "" in found.roots else [("", found.root)]
        while pending:
            above, directory = pending.pop()
            for name, entry in self.session.trees.entries(directory):
                path = paths.join(above, name)
                if paths.covered(path, found.roots):
                    continue
                if entry.kind == tree.DIRECTORY and path in leading:
                    pending.append((path, entry.id))
                elif entry.kind != tree.DIRECTORY or entry.files:
                    raise IntegrityError(
                        "a snapshot holds files outside its tracked roots",
                        where=f"{identity.hex()}, {path}",
                        next="the store was not written by dv, or badly: take another copy of it",
                    )

    def place(self, revision: str) -> tuple[bytes, str, Entry]:
        """Return (snapshot id, path, entry) of ``REV`` or ``REV:PATH``.

        Raises:
            NotFoundError: when the snapshot or the path in it does not exist.
        """
        name, path = self.revisions.split_path(revision)
        identity = self.resolve(name or "HEAD").id
        where = "" if path in {None, ".", ""} else str(path)
        entry = self.session.trees.resolve(self.sound_snapshot(identity).root, where)
        if entry is None:
            raise NotFoundError(f"{where!r} is not in {name or 'HEAD'}", next="run 'dv ls -r' to see what is")
        return identity, where, entry

    def unknown(self, word: str, call: str = "") -> NotFoundError:
        """Return what is said of a word that is neither a revision nor a path that is there.

        Args:
            word: what was written.
            call: how the command is called for a path that is gone; empty when that would not find it either.

        Raises:
            UsageError: when it is a malformed or ambiguous revision.
        """
        try:
            name, path = self.revisions.split_path(word)
            self.resolve(name) if path is None else self.place(word)
        except NotFoundError as error:
            alone = call and not {"~", ":"}.intersection(word)
            hint = f"{error.next}; for a path that is gone: {call}" if alone else error.next
            return NotFoundError(error.what, where=error.where, next=hint)
        return NotFoundError(f"{word!r} is neither a revision nor a path", next="check the spelling")

    def author(self, given: str | None) -> str:
        """Return who records: the option, ``DV_AUTHOR``, dv's settings, ``GIT_AUTHOR_*``, Git's settings.

        Raises:
            UsageError: when none of them says.
        """
        environment = os.environ
        if given is not None or environment.get("DV_AUTHOR"):
            return _checked_author(given if given is not None else environment["DV_AUTHOR"])
        own = settings.load(self.session.layout.config)
        user = settings.load(settings.user_path())
        name = own.get("user.name") or user.get("user.name")
        email = own.get("user.email") or user.get("user.email")
        if name and email:
            return _checked_author(f"{name} <{email}>")
        if environment.get("GIT_AUTHOR_NAME") and environment.get("GIT_AUTHOR_EMAIL"):
            return _checked_author(f"{environment['GIT_AUTHOR_NAME']} <{environment['GIT_AUTHOR_EMAIL']}>")
        from_git = beside.identity(self.session.root)
        if from_git is None:
            raise UsageError(
                "nobody is named as the author",
                next="say who you are: dv config user.name 'Ada Lovelace' and dv config user.email ada@example.org",
            )
        return _checked_author(from_git)

    def held_by_git(self, files: Iterable[str]) -> set[str]:
        """Return those of ``files`` that are Git's: what it tracks, and its own files, tracked yet or not.

        Repositories below the worktree's root count as the one around it does.  The library that reads Git's index is
        loaded only if there is anything to ask.

        Raises:
            FormatError: when Git's repository cannot be read.
        """
        named = list(files)
        own = set(beside.OWN.intersection(named)) if self.in_git() else set()
        held = own.union(beside.tracked(self.session.root, named)) if len(named) > len(own) else own
        self._held |= held
        return held

    def refuse_git_tracked(self, files: Iterable[str], *, skip: bool) -> set[str]:
        """Return those of ``files`` that are Git's, which are to be left to Git.

        Raises:
            ConflictError: when Git tracks some that are not its own, and they are not to be skipped.
        """
        held = self.held_by_git(files)
        if held - beside.OWN and not skip:
            listed = sorted(held - beside.OWN)
            inner = beside.nested(self.session.root, {paths.split(path)[0] for path in listed})
            or_move = f", or move {inner[0]}/.git away, if its history is not wanted there" if inner else ""
            raise ConflictError(
                f"Git tracks {len(listed)} of these files, and a file is in Git or in dv, never in both",
                items=tuple(listed),
                next=f"take them out of Git with 'git rm --cached', or leave them to Git with --skip-git{or_move}",
            )
        return held

    def without_gits(self, directories: Sequence[str], added: Iterable[str], roots: Iterable[str] = ()) -> list[str]:
        """Return those of new ``directories`` that are not only there for files that were left to Git.

        Args:
            directories: what a scan found that the stage does not have.
            added: the new files that were not left to Git.
            roots: paths that are tracked whatever is in them.
        """
        of_git = {parent for path in self._held for parent in paths.parents(path)}
        ours = {*roots, *(path for path in directories if path not in of_git)}
        ours |= {parent for path in (*added, *ours) for parent in paths.parents(path)} if of_git else set()
        return [path for path in directories if path not in of_git or path in ours]

    def look_everywhere(self, roots: tuple[str, ...]) -> Findings:
        """Return what changed below tracked roots as far as stat data tell, without what is Git's."""
        self.session.index()
        found = staging.look(self.session, roots, force=False)
        found.leave(self.refuse_git_tracked(found.added_paths(), skip=True))
        found.new_directories = self.without_gits(found.new_directories, found.added_paths(), roots)
        return found

    def leave_to_git(self, changes: WorktreeChanges) -> WorktreeChanges:
        """Return changes of the worktree without the directories that are only there for files that are Git's."""
        if self._held:
            roots = self.session.stage().roots
            changes.new_directories = self.without_gits(changes.new_directories, changes.added, roots)
        return changes

    def worktree_places(self) -> dict[str, str]:
        """Return where the worktrees of this store were last, by id; kept beside the store and never sent anywhere."""
        session = self.session
        found = places.noted(session.layout.store())
        holder = places.holder(session.layout.store())
        with contextlib.suppress(FormatError, IntegrityError):  # it may have lost its file, which is its own affair
            found[layout.Layout(holder).read_worktree().id] = holder
        found[session.worktree.id] = session.root
        return found

    def note_place(self) -> None:
        """Note where this worktree is if it was moved; the one that holds the store is where the store is.

        A copy of a worktree that is still at its place changes nothing.
        """
        session = self.session
        identity = session.worktree.id
        store = session.layout.store()
        if store == f"{session.layout.control}/store":
            return
        noted = places.noted(store).get(identity)
        if noted != session.root and (noted is None or not places.is_worktree(noted, identity, store)):
            with contextlib.suppress(StorageError):  # a note, which the next command makes again
                self.remember_worktree_place(identity, session.root)

    def remember_worktree_place(self, identity: str, place: str) -> None:
        """Note, beside the store, where a worktree is."""
        session = self.session
        found = {**self.worktree_places(), identity: place}
        # A place that is not UTF-8 cannot stand in JSON; such a worktree is found only by the commands run in it.
        data = msgspec.json.encode({each: at for each, at in found.items() if paths.shown(at) == at}) + b"\n"
        layout.write_file(places.note_of(session.layout.store()), data, session.context.disk)

    def refuse_taken(self, state: State, branch: str, *, here: bool = False) -> None:
        """Refuse a branch that another worktree (with ``here``: or this one) is on, whether that can be found or not.

        Raises:
            ConflictError: when there is such a worktree.
        """
        wanted = log.to_symbolic(f"heads/{branch}")
        there: dict[str, str] | None = None
        for name, value in state.ref_names("worktrees/"):
            if value != wanted or (name == self.session.head_ref and not here):
                continue
            there = there if there is not None else self.worktree_places()
            identity = name.removeprefix("worktrees/")
            place = there.get(identity)
            missing = place is None or not places.is_worktree(place, identity, self.session.layout.store())
            raise ConflictError(
                f"branch {branch!r} is checked out in another worktree",
                where=place or identity,
                why=MISSING if missing else "",
                next=f"run 'dv status' in it where it is now, or drop it with 'dv worktree remove --force "
                f"{place or identity}'"
                if missing
                else "make a branch of your own with -b, or work there",
            )

    def refuse_merging(self) -> None:
        """Refuse what a merge under way would be lost by.

        Raises:
            ConflictError: when there is one.
        """
        merging = self.session.stage().merging
        if merging:
            raise ConflictError(
                "a merge is under way",
                where=", ".join(parent.hex()[:12] for parent in merging),
                next="record it with 'dv commit', or drop it with 'dv merge --abort'",
            )

    def in_git(self) -> bool:
        """Return whether the repository lies in a Git worktree."""
        return beside.find(self.session.root) is not None

    def read_lock(self) -> lock.Lock | None:
        """Return what ``dv.lock`` says, or None when there is none.

        Raises:
            FormatError: when it is malformed.
        """
        try:
            return lock.decode(read_regular(f"{self.session.root}/dv.lock", lock.SIZE_LIMIT + 1))
        except FileNotFoundError:
            return None
        except OSError as error:
            advice = "move it away, then run 'dv checkout HEAD' to write it anew"
            why = error.strerror or ""
            raise FormatError("dv.lock cannot be read", where="dv.lock", why=why, next=advice) from None

    def lock_matches(self) -> bool:
        """Return whether ``dv.lock`` is missing, or names HEAD's snapshot or one that HEAD's stands for.

        A lock that is only behind, because dv was stopped before it could write the next, matches too.

        Raises:
            FormatError: when it is malformed.
        """
        found = self.read_lock()
        if found is None or self.lock_is_behind():
            return True
        named = self.session.resolve_superseded(bytes.fromhex(found.snapshot))
        return named is not None and named == self.session.head().snapshot

    def lock_is_behind(self) -> bool:
        """Return whether a command was stopped between its log entry and ``dv.lock``, which the next one then writes.

        What Git puts there must not be taken for that, even where it is the same snapshot again.  So the file counts as
        dv's own only if it is the very one that dv wrote or agreed with last, its time of writing included; one that
        dv never wrote is behind if it is missing.
        """
        head = self.session.head().snapshot
        try:
            found = self.read_lock()
        except FormatError:
            return False
        if head is None or (found is not None and found.snapshot == head.hex()):
            return False
        if found is None:
            return not self.session.lock_written and self.in_git()
        return self._lock_mark(found.snapshot) == self.session.lock_written

    def _lock_mark(self, named: str) -> str:
        """Return by what ``dv.lock`` is known again: the snapshot that it names, and when it was written."""
        try:
            return f"{named} {os.stat(f'{self.session.root}/dv.lock').st_mtime_ns}"
        except OSError:
            return ""

    def require_lock(self) -> None:
        """Refuse to record over a ``dv.lock`` that names another snapshot.

        Raises:
            ConflictError: when it does.
        """
        if not self.lock_matches():
            raise ConflictError(
                "dv.lock names another snapshot than HEAD",
                where="dv.lock",
                why="Git moved it (a checkout, a merge or a pull), or it was edited",
                next="run 'dv checkout --lock' to bring the data there, or 'dv checkout HEAD' to stay here and have "
                "dv.lock written anew",
            )

    def write_lock(self) -> None:
        """Write ``dv.lock`` for HEAD as it is now; only beside Git, or where there is one already."""
        head = self.session.head()
        path = f"{self.session.root}/dv.lock"
        if head.snapshot is None:
            self._remove_lock(path)
            return
        if not (self.in_git() or os.path.lexists(path)):
            return
        try:
            found = self.read_lock()
        except FormatError:
            found = None
        if found is None or found.snapshot != head.snapshot.hex():
            value = lock.Lock(version=lock.VERSION, snapshot=head.snapshot.hex(), branch=head.branch)
            layout.write_file(path, lock.encode(value), self.session.context.disk, mode=0o644)
        self.session.lock_written = self._lock_mark(head.snapshot.hex())

    def _remove_lock(self, path: str) -> None:
        """Remove a ``dv.lock`` of dv's own: the first commit was taken back, so there is nothing for it to name."""
        try:
            found = self.read_lock()
        except FormatError:
            return
        if found is not None and self._lock_mark(found.snapshot) == self.session.lock_written:
            self.session.context.disk.unlink(path)
            self.session.lock_written = ""

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the worktree's lock, with the newest state of the store, and finish what a crash kept from ``dv.lock``.

        What is written meanwhile is built on HEAD's snapshot, and refused if that is no longer kept.

        Raises:
            ConflictError: when another command holds the lock for too long, or something that is no file stands where
                dv keeps one of its own in the worktree.
        """
        session = self.session
        with session.lock():
            self._require_own_files()
            layout.hide_from_git(session.layout.control, session.context.disk)
            session.store.refresh()
            self.forget_erasure()
            if self.lock_is_behind():
                was = "behind HEAD, since a command was stopped" if self.read_lock() is not None else "not there yet"
                self.write_lock()
                session.context.tell(f"dv.lock was {was}: it is written now")
            else:
                self._note_lock()
            head = session.head()
            self._reliance.stand_on(session.head_ref, head.snapshot)
            built_on = [
                session.head_ref,
                session.stage_ref,
                *([f"heads/{head.branch}"] if head.branch is not None else []),
            ]
            session.store.log.base = {name: session.state.ref(name) for name in built_on}
            try:
                yield
            finally:
                self._reliance.stand_on(session.head_ref, None)
                session.store.log.base = {}

    def forget_erasure(self) -> None:
        """Remove the journal of an erasure that has come to its end: a command was stopped before it could."""
        note = places.erasing_of(self.session.layout.store())
        if os.path.lexists(note) and not self.session.state.pending():
            self.session.context.disk.unlink(note)

    def _require_own_files(self) -> None:
        """Find what stands where dv would read or write a file of its own, before anything is changed.

        Raises:
            ConflictError: when it is no file.
        """
        if self.in_git():
            beside.require_file(self.session.root)
        for name in sorted(paths.ROOT_FILES):
            try:
                mode = os.stat(f"{self.session.root}/{name}").st_mode
            except OSError:
                continue
            if not stat.S_ISREG(mode):
                raise ConflictError(
                    f"{name} is no file, and nothing was changed",
                    where=name,
                    why=f"it is {word_for(mode)}",
                    next="move it away, then run the command again",
                )

    def _note_lock(self) -> None:
        """Remember a ``dv.lock`` that agrees with HEAD, before HEAD moves: a crash is then told from what Git does."""
        session = self.session
        head = session.head().snapshot
        try:
            found = self.read_lock()
        except FormatError:
            return
        if found is None or head is None or found.snapshot != head.hex():
            return
        mark = self._lock_mark(found.snapshot)
        if mark != session.lock_written:
            session.lock_written = mark
            session.save()

    def update_git_ignore(self, roots: Iterable[str]) -> None:
        """Keep the managed block of ``.gitignore`` in step with the tracked roots."""
        if beside.ignore_roots(self.session.root, sorted(roots), self.session.context.disk):
            self.session.context.tell("updated the managed block of .gitignore: the data stays out of Git")

    def after_change(self, *, moved: bool = False) -> None:
        """Do what follows every change: the caches, a checkpoint when due and, where HEAD ``moved``, ``dv.lock``."""
        if moved:
            self.write_lock()
        if self._reliance is not None:
            self._reliance.name(())
        self.session.store.maintain()
        self.session.save()

    def _git_snapshot(self, revision: str) -> str:
        return lock.decode(beside.lock_at(self.session.root, revision)).snapshot


MISSING: Final = "it is not where it was: it was moved, or removed by hand"
"""Why a worktree cannot be found."""


def _checked_author(author: str) -> str:
    cleaned = " ".join(author.split())
    try:
        cleaned.encode()
    except UnicodeEncodeError:
        raise UsageError("the author is not UTF-8", next="check DV_AUTHOR or --author") from None
    if not cleaned or len(cleaned) > 1000 or "\0" in author:  # noqa: PLR2004 - no name is longer
        raise UsageError("the author is empty or far too long", next="write it as 'Name <email>'")
    return cleaned


def free_target(path: str, *, what: str) -> None:
    """Check that a directory to be made is missing or empty.

    Raises:
        ExistsError: when something is there, or a file stands where a directory above it must be.
        UsageError: when the path is empty.
    """
    if not path or "\0" in path:
        raise UsageError("an empty path names nothing", next="name a new directory")
    place = os.path.abspath(path)
    there = place
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        stands = f"{what} exists already" if there == place else f"{what} cannot be made"
        raise ExistsError(
            stands, where=there, why="a file, or a link to nothing, stands there", next="name another place"
        )
    if there == place and os.listdir(place):
        raise ExistsError(
            f"{what} exists already and is not empty", where=path, next="name a new or an empty directory"
        )
