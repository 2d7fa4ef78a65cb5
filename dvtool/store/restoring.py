"""Puts files of a store back by name from other copies, and keeps what was damaged.

Nothing is thrown away: what is damaged is linked into a quarantine before anything takes its place.  Nothing is taken
unverified: a file must open, or have the bytes that its name says.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

from dvtool.errors import DvError
from dvtool.formats import log, repokey, sealed, storeformat
from dvtool.storage import pieces
from dvtool.store import keys, protecting, scrub
from dvtool.store.log import Log, newest_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dvtool.effects import Clock, Entropy
    from dvtool.formats.repokey import Unlock
    from dvtool.storage.backend import Backend
    from dvtool.storage.disk import Disk
    from dvtool.storage.local import LocalBackend
    from dvtool.store.store import Store

PIECE: Final = 8 * 1024 * 1024
"""Bytes of a file that are copied at once."""


class Keeper(Protocol):
    """Keeps what was damaged."""

    def keep(self, name: str) -> None:
        """Keep a file of the store, durably; nothing happens when it is not there."""
        ...

    def take(self, name: str) -> None:
        """Keep a file of the store, and remove it there."""
        ...


class Quarantine:
    """A directory that keeps what was damaged, under the names that it had in the store."""

    def __init__(self, backend: LocalBackend, place: str, disk: Disk) -> None:
        """Name the directory; it is made when there is something to keep."""
        self._backend = backend
        self._disk = disk
        self.place = place
        self.held: list[str] = []

    def keep(self, name: str) -> None:
        """Link a file of the store into the quarantine, durably; nothing happens when it is not there.

        Raises:
            StorageError: when the disk refuses; then nothing may take the file's place.
        """
        source = self._backend.path(name)
        if not os.path.lexists(source) or name in self.held:
            return
        directory = os.path.dirname(f"{self.place}/{name}")
        missing = []
        while not os.path.isdir(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        for each in reversed(missing):
            self._disk.make_directory(each)
            self._disk.sync_directory(os.path.dirname(each))
        if os.path.isdir(source) and not os.path.islink(source):
            self._disk.rename(source, f"{self.place}/{name}")
        else:
            self._disk.link(source, f"{self.place}/{name}")
        self._disk.sync_directory(os.path.dirname(f"{self.place}/{name}"))
        self.held.append(name)

    def take(self, name: str) -> None:
        """Move a file of the store into the quarantine."""
        self.keep(name)
        self._backend.delete(name)


class Spare:
    """Another copy of the store, or of another store of the same repository, from which files are taken by name."""

    def __init__(
        self, backend: Backend, name: str = "", *, only: Collection[str] = (), opened: Callable[[], Store] | None = None
    ) -> None:
        """Take from the store that ``backend`` reads.

        Args:
            backend: its place.
            name: what warnings call it.
            only: the directories from which files are taken; all of them by default.
            opened: opens the store, where its key is not beside it or is known already.
        """
        self.backend = backend
        self.name = name
        self.opened = opened
        self._only = frozenset(only)
        self.taken: set[str] = set()
        """What was taken already: a file that is damaged again would be so a third time."""

    def offers(self, name: str) -> bool:
        """Return whether there is a file of this name that is sound by itself and was not taken before."""
        if self._only and name.partition("/")[0] not in self._only:
            return False
        return name not in self.taken and self.backend.exists(name) and scrub.look(self.backend, name)[1] is None


class Restorer:
    """Puts files back by name: a file of a store has its name for ever, so any copy of the store will do."""

    def __init__(
        self,
        backend: Backend,
        spares: list[Spare],
        quarantine: Keeper,
        *,
        disk: Disk,
        clock: Clock,
        entropy: Entropy,
        unlock: Unlock,
    ) -> None:
        """Mend the store that ``backend`` holds."""
        self._unlock = unlock
        self._backend = backend
        self._disk = disk
        self._spares = spares
        self._quarantine = quarantine
        self._clock = clock
        self._entropy = entropy
        self.restored: list[str] = []

    def restore(self, names: Collection[str]) -> bool:
        """Put back those of the named files that another copy has; return whether there were any.

        Raises:
            StorageError: when the disk refuses.
        """
        order = {"format": 0, keys.REPOSITORY_KEY: 1}
        found = [name for name in sorted(names, key=lambda name: (order.get(name, 2), name)) if self._one(name)]
        self._backend.flush()
        self.restored += found
        return bool(found)

    def extend_log(self) -> bool:
        """Take the entries that another copy has behind the last one that is here; return whether there were any.

        Only for a store of which it is known that its log went further.
        """
        last = number = newest_name(self._backend)
        while self.restore([log.file_name(number + 1)]):
            number += 1
        return number > last

    def _one(self, name: str) -> bool:
        if not scrub.is_name(name):
            return False
        for spare in self._spares:
            if spare.offers(name) and self._fits(spare, name):
                self._quarantine.keep(name)
                view = spare.backend.view(name)
                copied = (bytes(view[at : at + PIECE]) for at in range(0, len(view), PIECE))
                pieces.put(self._backend, self._disk, name, copied)
                spare.taken.add(name)
                return True
        return False

    def _fits(self, spare: Spare, name: str) -> bool:
        """Return whether a file of another copy is this store's as well.

        A pack's name is the hash of its bytes; an index file that is not ours will not open, and is then damage again.
        """
        try:
            if name == "format":
                return self._is_own_format(spare)
            if name == keys.REPOSITORY_KEY:
                return self._is_own_key(spare)
            if name.startswith("keys/"):
                return self._opens(spare, name)
            if name.startswith("log/"):
                label = sealed.label_of(spare.backend.read(name), sealed.LOG_ENTRY, what=name)
                if not self._backend.exists(keys.log_key_name(label)):
                    self.restore([keys.log_key_name(label)])
                secrets = keys.load_secrets(self._backend, self._format().repository, self._unlock)
                own = Log(self._backend, self._format().store, secrets.wrap, clock=self._clock, entropy=self._entropy)
                return own.accepts(int(name.removeprefix("log/"), 16), spare.backend.read(name))
        except DvError:
            return False
        return True

    def _format(self) -> storeformat.StoreFormat:
        return storeformat.decode(self._backend.read("format"))

    def _is_own_format(self, spare: Spare) -> bool:
        """Return whether what another copy says of itself goes with the key that is here, if one is."""
        offered = storeformat.decode(spare.backend.read("format"))
        if self._backend.exists(keys.REPOSITORY_KEY):
            repokey.describe(keys.read_repokey(self._backend), offered.repository)
        return True

    def _is_own_key(self, spare: Spare) -> bool:
        """Return whether the key of another copy is this store's, whose own is lost or another.

        One that is whole and sealed stays, whether it can be opened now or not.  Another store of the same repository
        has a wrapping secret of its own: its key would take the place of what opens this one.
        """
        own = self._format()
        if protecting.is_working(self._backend, own):
            return False
        opened = repokey.decode(keys.read_repokey(spare.backend), own.repository, self._unlock)
        if protecting.require_fit(self._backend, own, opened):
            return True
        return storeformat.decode(spare.backend.read("format")).store == own.store

    def _opens(self, spare: Spare, name: str) -> bool:
        own = self._format()
        secrets = keys.load_secrets(self._backend, own.repository, self._unlock)
        kind = sealed.LOG_KEY if name.startswith("keys/log-") else sealed.KEY_FILE
        secrets.wrap.open(kind, own.store + name.encode(), spare.backend.read(name), what="key file")
        return True
