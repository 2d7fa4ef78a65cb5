"""``dv fsck --repair``: mends a store from what is left of it, from other copies, and from files of the same content.

First whole files, by name; then key and index files, which follow from the packs; then objects, by id.  Whatever was
damaged is kept in a quarantine, and the check at the end says what is still missing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids, paths
from dvtool.checking import Check, Repair
from dvtool.errors import (
    ConflictError,
    DvError,
    KeyAccessError,
    NotFoundError,
    StorageError,
    UsageError,
)
from dvtool.formats import hold, index, log, pack, run, snapshot, stage, storeformat
from dvtool.history import recorded
from dvtool.history.describe import rfc3339
from dvtool.history.links import Links
from dvtool.sharing import examining
from dvtool.sharing.recovering import LOST, Recovery, name_segments
from dvtool.store import keys, mending, restoring, scrub
from dvtool.store import store as stores
from dvtool.workspace import Workspace
from dvtool.worktree import adopting, layout, locking, lookalikes
from dvtool.worktree import index as indexes
from dvtool.worktree.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from dvtool.checking import Report
    from dvtool.store.state import State
    from dvtool.store.store import Store
    from dvtool.worktree.session import Context

DIRECTORY: Final = "quarantine"
ROOTS_TRIED: Final = 16
"""Sets of tracked roots for which trees are made of the files that were found."""


def repair(
    directory: str,
    context: Context,
    *,
    source: str | None = None,
    remote: str | None = None,
    give_up_entries: bool = False,
) -> Report:
    """Mend the store of the repository that holds a directory, and check it again.

    Args:
        directory: where to look for the repository; its worktree is one place in which lost content is looked for.
        context: where to report.
        source: a directory to take intact copies from: a backup or another copy of the store, another repository with
            the same key, or plain files.
        remote: a remote to take intact packs and lost objects from; it must have been reached before, and the store
            must open.
        give_up_entries: go on without entries of the log that are lost. What they alone did to branches, tags and
            stages is lost with them; the data that they added are not.

    Raises:
        NotFoundError: when there is no repository, no store in it, or no such source.
        UsageError: when the source is no directory, or this store itself.
        KeyAccessError: when the key is missing or wrong, and the source does not have it.
        ConflictError: when entries are to be given up in a store that knows of an erasure.
        StorageError: when the disk refuses; what was damaged is then still at its place or in the quarantine.
    """
    place = layout.find(directory)
    with locking.WorktreeLock(place.lock, wait=context.wait, tell=context.tell):
        return _Repair(place, context, source, remote).run(give_up_entries=give_up_entries)


class _Repair:
    def __init__(self, place: layout.Layout, context: Context, source: str | None, remote: str | None) -> None:
        self.place = place
        self.context = context
        self.remote = remote
        self.answering: examining.Answering | None = None
        store = place.store()
        beside = os.path.dirname(store)
        self.backend = stores.local_backend(store, entropy=context.entropy, disk=context.disk)
        when = rfc3339(context.clock.now()).replace(":", "").replace("-", "")
        self.quarantine = restoring.Quarantine(self.backend, f"{beside}/{DIRECTORY}/{when}", context.disk)
        self.spares: list[restoring.Spare] = []
        self.files = [place.root]
        if source is not None:
            self._take_source(source)
        self.restorer = restoring.Restorer(
            self.backend,
            self.spares,
            self.quarantine,
            disk=context.disk,
            clock=context.clock,
            entropy=context.entropy,
            unlock=context.unlock,
        )
        self.recovery = Recovery(self._store, self.quarantine, self._look, tell=context.tell)
        self.given_up: list[str] = []
        self.unnamed: list[bytes] = []
        self.runs: list[str] = []
        self.holds: list[str] = []

    def _take_source(self, source: str) -> None:
        """Find out what a source is: a store, a repository, or a directory of files.

        Raises:
            NotFoundError, UsageError: as :func:`repair`.
        """
        where = os.path.realpath(os.path.join(self.context.cwd or os.getcwd(), source))
        if not os.path.lexists(where):
            raise NotFoundError(f"{source!r} does not exist", next="name the directory that holds intact copies")
        if not os.path.isdir(where):
            raise UsageError(f"{source!r} is no directory", next="name the directory that holds intact copies")
        store = where if _is_store(where) else ""
        if _is_store(f"{where}/store"):  # the directory .dv itself
            store = f"{where}/store"
        if not store:
            self.files.append(where)
            if os.path.isdir(f"{where}/{layout.DIRECTORY}"):
                store = layout.Layout(where).store()
        if store and os.path.realpath(store) == os.path.realpath(self.backend.root):
            raise UsageError("a store cannot be mended from itself", where=where, next="name another copy of it")
        if store:
            self.spares.append(restoring.Spare(stores.local_backend(store, entropy=self.context.entropy), store))

    def _reach(self, *, last: bool) -> None:
        """Take the packs and objects of the remote as well, as soon as the store here opens: it knows the key there.

        Raises:
            NotFoundError: when there is no such remote, or no store there.
            ConflictError: when it was never reached from here, or holds another repository.
            StorageError: when it cannot be reached.
        """
        if self.remote is None:
            return
        try:
            workspace = Workspace(Session(self.place, self.context))
        except DvError as error:
            if last:
                self.context.tell(
                    f"warning: the remote was not asked, as the store here does not open: {error.finding()}"
                )
            return
        found, self.answering = examining.reach(workspace, self.remote)
        if found.memory is None or not found.memory.format:
            raise ConflictError(
                f"remote {found.name!r} was never reached from here",
                where=found.settings.url,
                why="what was not seen to be of this repository is not trusted to mend it",
                next="run 'dv fetch' first, if the URL is right",
            )
        found.open()
        self.spares.append(restoring.Spare(found.backend, found.settings.url, only=("packs",), opened=found.open))
        self.remote = None

    def run(self, *, give_up_entries: bool) -> Report:
        """Mend what can be mended and return what is left, with what was done."""
        self._directories()
        self._reach(last=False)
        self._whole_files()
        if give_up_entries:
            self._entries()
        self.recovery.segments()
        self.recovery.tables()
        self._reach(last=True)
        self._whole_files()
        adopted = self._worktree()
        check = Check(self.place, self.context)
        report = check.run(quick=False)
        if not report.clean:
            self.recovery.whole(check, self.restorer, lambda: Check(self.place, self.context))
            report = Check(self.place, self.context).run(quick=False)
        if self.answering is not None and self.answering.failed is not None:
            self.context.tell(f"warning: the remote did not answer to the end: {self.answering.failed.finding()}")
        done = Repair(
            quarantine=self.quarantine.place if self.quarantine.held else None,
            quarantined=tuple(sorted(self.quarantine.held)),
            restored=tuple(sorted(self.restorer.restored)),
            rebuilt=tuple(sorted(self.recovery.rebuilt)),
            copied=self.recovery.copied,
            recovered=self.recovery.recovered,
            given_up=tuple(sorted(self.given_up)),
            unnamed=tuple(sorted(identity.hex() for identity in self.unnamed)),
            runs=tuple(self.runs),
            holds=tuple(self.holds),
            worktree=adopted,
        )
        return msgspec.structs.replace(report, repair=done)

    def _directories(self) -> None:
        """Make the directories of the store that are missing: nothing could be put back into them."""
        store = self.backend.root
        missing = [name for name in storeformat.DIRECTORIES if not os.path.lexists(f"{store}/{name}")]
        for name in missing:
            self.context.disk.make_directory(f"{store}/{name}")
        if missing:
            self.context.disk.sync_directory(store)

    def _worktree(self) -> str | None:
        """Make the worktree file anew if it is lost, and return the id in it; without it no session opens."""
        identity = None
        try:
            identity = adopting.adopt(self.place, self.context, aside=self.quarantine.place)
        except StorageError:
            raise
        except DvError as error:
            self.context.tell(f"warning: {error}")
        if os.path.lexists(f"{self.quarantine.place}/worktree"):
            self.quarantine.held.append("worktree")
        return identity

    def _whole_files(self) -> None:
        """Put back by name what is missing or damaged, as long as that brings more to light.

        Raises:
            KeyAccessError: when there is no key, here or in another copy.
        """
        while self.spares:
            check = Check(self.place, self.context)
            try:
                _names, live = check.surface()
            except KeyAccessError:
                damaged = {"format"} if scrub.look(self.backend, "format")[1] is not None else set()
                if self.restorer.restore({*damaged, keys.REPOSITORY_KEY}):
                    continue
                raise
            wanted = {damage.file for damage in check.damages}
            for name, (segment, position) in live.items():
                size = segment.index.directory.packs[position].size
                file = pack.file_name(name)
                if not self.backend.exists(file) or self.backend.size(file) != size:
                    wanted.add(file)
            further = check.session is None and self.restorer.extend_log()  # it may have been cut off
            if not self.restorer.restore(wanted) and not further:
                return

    def _entries(self) -> None:
        """Go on without entries of the log that are lost: a checkpoint says what is known, stubs stand in their places.

        The checkpoint comes first. Who meets a stub looks for one behind it.
        """
        store = self._store()
        try:
            store.refresh()
            opens = True
        except LOST:
            opens = False
        lost = [log.file_name(number) for number in store.log.bridge()]
        for name in lost:
            self.quarantine.keep(name)
        if not opens:
            adopted = mending.adoptable(store)
            here = f"worktrees/{self.place.read_worktree().id}"

            def add(state: State) -> list[log.Action]:
                head: list[log.Action] = []
                if state.ref(here) is None:
                    head = [log.MoveRef(name=here, old=None, new=log.to_symbolic("heads/main"))]
                return [*adopted, *head]

            # Nobody knows which of them refs led to: nothing is to be overwritten because it lies in one.
            name_segments(store, add, log.putting_aside() if adopted else {})
            self.runs = _name_runs(store, adopted)
            self.holds = _name_holds(store, adopted)
            self.unnamed = _snapshots_of(store, adopted)
        for name in lost:
            self.backend.replace(name, log.STUB)
        self.given_up += lost

    def _store(self, instead: Mapping[str, log.Segment] | None = None) -> Store:
        context = self.context
        return stores.Store(
            self.backend, clock=context.clock, entropy=context.entropy, disk=context.disk, instead=instead
        )

    def _look(self, store: Store, wanted: mending.Wanted, near: AbstractSet[str]) -> None:
        """Look for what is wanted in other stores of this repository, then in files."""
        for spare in self.spares:
            if not wanted.lost:
                return
            try:
                other = spare.opened() if spare.opened is not None else self._other(spare)
                if other.format.repository == store.format.repository:
                    other.refresh()
                    wanted.take_from(other)
            except DvError as error:
                self.context.tell(f"warning: {paths.shown(spare.name)} cannot be read: {error.finding()}")
        roots = list(self._roots(store))
        known = lookalikes.of_index(indexes.load(self.place.index))
        for each in roots:
            lookalikes.plant(store, wanted, known, each)
        for place in self.files:
            if not wanted.lost:
                return
            found = lookalikes.find(store, wanted, place, near, self.context.progress)
            for each in roots:
                if wanted.lost:
                    lookalikes.plant(store, wanted, found, each)

    def _other(self, spare: restoring.Spare) -> Store:
        context = self.context
        return stores.Store(spare.backend, clock=context.clock, entropy=context.entropy, unlock=context.unlock)

    def _roots(self, store: Store) -> Iterator[tuple[str, ...]]:
        """Yield what could be tracked in the worktree: everything, or what snapshots and stages at hand say."""
        said: set[tuple[str, ...]] = {()}
        for name, value in store.state.ref_names(""):
            if name.startswith(("heads/", "stage/", "tags/")) and log.symbolic(value) is None:
                try:
                    if name.startswith("stage/"):
                        said.add(stage.decode(store.read_object(ids.STAGE, value)).roots)
                    else:
                        said.add(snapshot.decode(store.read_object(ids.SNAPSHOT, value)).roots)
                except DvError:
                    continue
            if len(said) > ROOTS_TRIED:
                break
        yield from sorted(said)


def _name_runs(store: Store, adopted: list[log.AddPacks]) -> list[str]:
    """Have refs name the newest objects of runs that adopted files hold, and return the ids of these runs.

    A run says itself what it is called, and how often it was written.
    """
    newest: dict[str, tuple[int, bytes]] = {}
    for identity in _objects_of(store, adopted, ids.RUN):
        try:
            found = recorded.read(store, identity)
        except DvError:
            continue
        newest[found.id] = max(newest.get(found.id, (-1, b"")), (found.revision, identity))
    moves: list[log.Action] = []
    named = []
    for name, (revision, identity) in sorted(newest.items()):
        ref = run.ref_name(name)
        now = store.state.ref(ref)
        if now is None or recorded.revision(store, now) < revision:
            moves.append(log.MoveRef(name=ref, old=now, new=identity))
            named.append(name)
    if moves:
        store.log.append(mending.OPERATION, lambda _state: moves)
        store.refresh()
    return named


def _name_holds(store: Store, adopted: list[log.AddPacks]) -> list[str]:
    """Have refs name the holds that adopted files have, and return their ids.

    One that was released since comes back as well: nobody can tell, and what is kept too long can still be let go.
    """
    moves: list[log.Action] = []
    named = []
    for identity in _objects_of(store, adopted, ids.HOLD):
        try:
            found = hold.decode(store.read_object(ids.HOLD, identity))
        except DvError:
            continue
        ref = hold.ref_name(found.id)
        if store.state.ref(ref) is None and found.id.hex() not in named:
            moves.append(log.MoveRef(name=ref, old=None, new=identity))
            named.append(found.id.hex())
    if moves:
        store.log.append(mending.OPERATION, lambda _state: moves)
        store.refresh()
    return sorted(named)


def _objects_of(store: Store, adopted: list[log.AddPacks], kind: int) -> Iterator[bytes]:
    """Yield the ids of the objects of a kind that adopted files hold."""
    names = {action.index for action in adopted}
    for segment in store.segments.live():
        if segment.description.index in names:
            for record in segment.index.records():
                identity, location = index.unpack(record)
                if location.flags & pack.KIND_MASK == kind:
                    yield identity


def _snapshots_of(store: Store, adopted: list[log.AddPacks]) -> list[bytes]:
    """Return the newest snapshots that adopted files hold and that no ref leads to."""
    found = {
        identity: snapshot.decode(store.read_object(ids.SNAPSHOT, identity)).parents
        for identity in _objects_of(store, adopted, ids.SNAPSHOT)
    }
    links = Links(store)
    links.follow()
    known = {parent for parents in found.values() for parent in parents} | set(links.roots)
    return [identity for identity in found if identity not in known and store.state.expiry(identity) is None]


def _is_store(directory: str) -> bool:
    return os.path.isdir(f"{directory}/packs") and os.path.isdir(f"{directory}/log")
