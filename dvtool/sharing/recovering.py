"""Mends a store, here or at a remote, from what is left of it and from the objects that others have.

Index files and key files follow from packs, tables from entries, packs from what is sound in them, and single objects
from whoever has them.  Whatever is replaced is kept aside first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from dvtool.errors import ConflictError, DvError, IntegrityError, KeyAccessError, NotFoundError, StorageError
from dvtool.formats import log, pack
from dvtool.history import recorded
from dvtool.history.links import Links
from dvtool.store import checkpoints, collecting, mending, scrub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    import msgspec

    from dvtool.checking import Examination
    from dvtool.storage.backend import Backend
    from dvtool.storage.disk import Disk
    from dvtool.store.restoring import Keeper, Restorer
    from dvtool.store.state import State
    from dvtool.store.store import Store

LOST: Final = (IntegrityError, NotFoundError, KeyAccessError)
"""What a log says that cannot be folded; an entry that is whole and does not open here is as good as damaged."""
ATTEMPTS: Final = 20
"""Lost races of the entry that names new index files with other writers before giving up."""
PIECE: Final = 8 * 1024 * 1024
"""Bytes of a file that are copied at once."""
DIRECTORIES: Final = frozenset({"index", "keys", "log", "packs"})
"""Where nobody but dv has files."""


class Aside:
    """A local directory that keeps copies of what was damaged at another place, under the names that it had there."""

    def __init__(self, backend: Backend, place: str, disk: Disk) -> None:
        """Name the directory; it is made when there is something to keep."""
        self._backend = backend
        self._disk = disk
        self.place = place
        self.held: list[str] = []

    def keep(self, name: str) -> None:
        """Copy a file here, durably; nothing happens when it is not there.

        Raises:
            StorageError: when it cannot be read, or the disk refuses; then nothing may take the file's place.
        """
        if name in self.held:
            return
        try:
            view = self._backend.view(name)
        except NotFoundError:
            return
        path = f"{self.place}/{name}"
        directory = os.path.dirname(path)
        self._disk.make_directory(directory)
        descriptor = self._disk.open_new(path)
        try:
            for at in range(0, len(view), PIECE):
                self._disk.append(descriptor, path, bytes(view[at : at + PIECE]))
        finally:
            os.close(descriptor)
        self._disk.sync(path)
        while len(directory) >= len(os.path.dirname(self.place)):
            self._disk.sync_directory(directory)
            directory = os.path.dirname(directory)
        self.held.append(name)

    def take(self, name: str) -> None:
        """Copy a file here, and remove it at its place."""
        self.keep(name)
        self._backend.delete(name)


class Recovery:
    """The steps by which a store is mended without a second copy of it."""

    def __init__(
        self,
        new_store: Callable[[Mapping[str, log.Segment] | None], Store],
        keeper: Keeper,
        look: Callable[[Store, mending.Wanted, AbstractSet[str]], None],
        *,
        tell: Callable[[str], None],
        known: Callable[[], Mapping[bytes, bytes]] = dict,
        shared: bool = False,
    ) -> None:
        """Prepare to mend a store.

        Args:
            new_store: opens the store anew, with other segments in place of those that are lost.
            keeper: keeps what was damaged.
            look: looks elsewhere for the objects that are wanted; it is told the directories near the damage.
            tell: takes warnings.
            known: returns keys of packs that were learnt elsewhere.
            shared: whether others use the store as well, and may have what nobody has found here: damaged packs that
                should still hold something then stay at their place.
        """
        self._new_store = new_store
        self._keeper = keeper
        self._look = look
        self._tell = tell
        self._known = known
        self._shared = shared
        self.rebuilt: list[str] = []
        """Key files, index files and entries that were written anew."""
        self.copied = 0
        """Sound objects of damaged packs that were moved into new ones."""
        self.recovered = 0
        """Lost objects that were found elsewhere."""

    def whole(self, found: Examination, restorer: Restorer, again: Callable[[], Examination]) -> None:
        """Bring back what a check found damaged: whole files by name first, then what is left of others.

        Args:
            found: a check that has run.
            restorer: restores whole files from another copy.
            again: makes a check that has not run yet, for when files have come back.
        """
        if restorer.restore({damage.file for damage in found.damages}):
            found = again()
            found.run(quick=False)
        self._strays(found)
        try:
            self._objects(found)
        except StorageError:
            raise
        except DvError as error:
            self._tell(f"warning: not all objects could be brought back: {error.finding()}")

    def segments(self) -> None:
        """Write key files and index files anew that are damaged or missing, and have the log name them."""
        try:
            store = self._new_store(None)
        except DvError:
            return
        rebuilt = mending.Rebuilt(
            store.log, store.backend, store.format.store, store.secrets.wrap, store.entropy, known=self._known
        )
        rebuilt.rebuild()
        if not rebuilt.instead:
            return
        for name in rebuilt.left:
            self._keeper.keep(name)
        try:
            store = self._new_store(rebuilt.instead)

            def condemn(state: State) -> list[log.Action]:
                doomed = tuple(sorted(name for name in rebuilt.left if not state.is_doomed(name)))
                return [log.Condemn(names=doomed)] if doomed else []

            name_segments(store, condemn)
        except StorageError:
            raise
        except DvError as error:
            self._tell(f"warning: index files could not be written anew: {error.finding()}")
            return
        for name in rebuilt.left:
            self._keeper.take(name)
        self.rebuilt += rebuilt.left

    def tables(self) -> None:
        """Write a checkpoint anew whose tables are lost: what they said follows from the entries before."""
        try:
            store = self._new_store(None)
        except DvError:
            return
        try:
            store.refresh().read_tables()
        except LOST:
            try:
                store.log.replay()
                name_segments(store, lambda _state: [])
            except StorageError:
                raise
            except DvError as error:
                self._tell(f"warning: the tables of the log could not be made anew: {error.finding()}")
                return
            self.rebuilt.append(log.file_name(store.refresh().number))

    def _strays(self, check: Examination) -> None:
        """Move aside what is no file of a store, and damaged files that nothing names any more.

        What lies beside a store that others use is theirs, and stays.
        """
        if check.store is None:
            return
        needed: set[str] = set()
        for segment in check.store.segments.live():
            needed |= {segment.description.keys, segment.description.index}
        for damage in check.damages:
            directory, _, last = damage.file.partition("/")
            is_unnamed = directory in {"index", "keys"} and not last.startswith("log-") and last != "repo"
            is_stray = damage.what == scrub.STRANGER and not (self._shared and directory not in DIRECTORIES)
            if is_stray or (is_unnamed and damage.file not in needed and damage.what != scrub.STRANGER):
                self._keeper.take(damage.file)

    def _objects(self, check: Examination) -> None:
        """Bring objects of damaged packs, and those that are missing, into new packs as far as they are found."""
        if check.store is None or check.links is None:
            return
        store = check.store
        bad = frozenset(
            damage.file for damage in check.damages if damage.file.startswith("packs/") and scrub.is_name(damage.file)
        )
        near = {place.rpartition("/")[0] for path in check.links.damage() for place in recorded.places(path)}
        missing: AbstractSet[bytes] = check.links.missing
        left: AbstractSet[bytes] = missing
        tried: set[bytes] = set()
        while bad or missing:
            for name in sorted(bad):
                self._keeper.keep(name)
            with store.transaction() as transaction:
                erasures = store.state.erasures.items()
                copied, lost = mending.salvage(store, transaction, bad)
                wanted = mending.Wanted(store, transaction, lost | missing, with_data=not check.promised)
                tried |= wanted.lost
                self._look(store, wanted, near)
                if copied or wanted.found:
                    collecting.record(store, transaction, erasures, operation=mending.OPERATION)
            self.copied += copied
            self.recovered += wanted.found
            # What was found may name more that is missing, which nobody could know of before.
            links = Links(store, frozenset(wanted.lost), promised=check.promised)
            links.follow()
            self._give_up(store, erasures, bad, links.missing)
            missing, left = links.missing - tried, links.missing
            bad = frozenset()
        if self._shared and not left:
            self._forget(store)

    def _forget(self, store: Store) -> None:
        """Go on without index and key files that are lost for good: all that refs lead to lies in others by now.

        The packs that only they listed are condemned, and collected as garbage in their time.
        """
        state = store.refresh()
        packs = {name for name, _aside in state.packs.items()}
        files: set[str] = set()
        for segment in store.segments.live():
            try:
                packs -= {entry.name for entry in segment.index.directory.packs}
            except DvError:
                files |= {segment.description.keys, segment.description.index}
        if not files:
            return
        doomed = {*files, *map(pack.file_name, packs)}

        def condemn(state: State) -> list[log.Action]:
            names = tuple(sorted(name for name in doomed if not state.is_doomed(name)))
            return [log.Condemn(names=names)] if names else []

        def drop(state: State) -> list[log.Action]:
            names = tuple(sorted(name for name in files if state.condemned.get(name.encode()) is not None))
            return [log.Drop(names=names)] if names else []

        for actions in (condemn, drop):
            store.log.append(mending.OPERATION, actions)
            store.refresh()
        for name in sorted(files):
            self._keeper.take(name)
        self.rebuilt += sorted(files)

    def _give_up(
        self, store: Store, erasures: list[tuple[bytes, bytes]], bad: frozenset[str], missing: AbstractSet[bytes]
    ) -> None:
        """Take damaged packs out of the store, and out of the log if nothing that is missing should be in them.

        The others stay on record: so the check names them, and their objects, until somebody brings them back.
        """
        spent = frozenset(
            name
            for name in bad
            if all(identity not in missing for _name, _segment, identity, _at in store.segments.listed({name}))
        )
        if spent:
            with store.transaction() as transaction:
                collecting.record(store, transaction, erasures, condemn=spent, operation=mending.OPERATION)
            with store.transaction() as transaction:
                collecting.record(store, transaction, erasures, drop=spent, operation=mending.OPERATION)
        for name in sorted(spent if self._shared else bad):
            self._keeper.take(name)


def name_segments(
    store: Store, more: Callable[[State], list[log.Action]], sections: Mapping[str, msgspec.Raw] | None = None
) -> None:
    """Append a checkpoint that names the segments there are now, does ``more``, and says ``sections``.

    Raises:
        ConflictError: when an erasure is under way, or others write all the time.
    """
    for _attempt in range(ATTEMPTS):
        if checkpoints.write(store, operation=mending.OPERATION, more=more, merge=False, sections=sections):
            return
    raise ConflictError("others write all the time", next="run it again when fewer are at work")
