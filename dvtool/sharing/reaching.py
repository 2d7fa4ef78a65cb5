"""Opens the store of a remote, with what is remembered of it: a look at one where nothing is new is one request.

A remote that has less than was seen of it, or something else, was rolled back or replaced; nothing is built on it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.errors import (
    ConflictError,
    DvError,
    ExistsError,
    IntegrityError,
    NotFoundError,
)
from dvtool.formats import log, storeformat
from dvtool.sharing import configuring
from dvtool.sharing import memory as memories
from dvtool.storage import opening
from dvtool.storage.inventory import Inventory
from dvtool.storage.local import LocalBackend
from dvtool.storage.mirror import Mirror
from dvtool.store import keys
from dvtool.store.store import Known, Store

if TYPE_CHECKING:
    from dvtool.formats.project import Remote as RemoteSettings
    from dvtool.sharing.memory import Memory
    from dvtool.storage.backend import Backend
    from dvtool.workspace import Workspace

FORMAT: Final = "format"


class Remote:
    """One remote: its settings, its place, and its store once it was opened."""

    def __init__(self, workspace: Workspace, name: str, settings: RemoteSettings) -> None:
        """Prepare to reach a remote; nothing is asked yet.

        Raises:
            UsageError: when the URL names no place.
        """
        self.workspace = workspace
        self.session = workspace.session
        self.name = name
        self.settings = settings
        self.backend = self._place()
        found = memories.recall(self.session, name)
        self.memory: Memory | None = found if found is not None and found.url == settings.url else None
        self._store: Store | None = None
        self._format = b""

    @property
    def prefix(self) -> str:
        """What the local names of the remote's branches begin with."""
        return f"remotes/{self.name}/"

    def _place(self) -> Backend:
        context = self.session.context
        place = opening.open_place(
            self.settings.url, self.settings.options, entropy=context.entropy, disk=context.disk, clock=context.clock
        )
        if isinstance(place, LocalBackend):
            return place
        return Mirror(Inventory(place), memories.mirror(self.session, self.name), context.disk)

    def has_news(self) -> bool:
        """Return whether the remote's log has grown since it was last looked at; one request.

        Raises:
            IntegrityError: when the entry that was the last is not there any more.
            NotFoundError, StorageError: when the remote cannot be reached.
        """
        if self.memory is None or not self.memory.number:
            return True
        number = self.memory.number
        before = log.file_name(number - 1).removeprefix("log/")
        found = [each.name for each in self.backend.listed("log", after=before, most=2)]
        if log.file_name(number).removeprefix("log/") not in found:
            self._refuse_missing()
        return len(found) > 1

    def _refuse_missing(self) -> None:
        """Refuse a remote that has lost its newest entries.

        Raises:
            IntegrityError: when it is one.
        """
        self.open()
        raise self._rolled_back("its newest entries are gone")

    def open(self) -> Store:
        """Return the remote's store, folded up to its head.

        Raises:
            NotFoundError: when there is none at this place.
            ConflictError: when it is that of another repository.
            IntegrityError: when it was rolled back or replaced since it was last seen.
            KeyAccessError: when its key cannot be opened.
        """
        if self._store is None:
            store = self._open()
            self._refuse_rollback(store)
            self._store = store
        return self._store

    def _open(self) -> Store:
        session = self.session
        memory = self.memory
        if memory is not None:
            known = Known(
                format=storeformat.decode(memory.format), secrets=session.store.secrets.with_wrap(memory.wrap)
            )
            store = self._new(known)
            store.log.hint(memory.checkpoint)
            self._format = memory.format
            try:
                store.refresh()
            except DvError:
                self._require_same(memory)
                if self._unlock(known.format.repository).wrap == memory.wrap:
                    raise
            else:
                return store
        self._format = self._read_format()
        described = storeformat.decode(self._format)
        if described.repository != session.store.format.repository:
            raise ConflictError(
                "the remote holds another repository",
                where=self.settings.url,
                why="its id is another than that of the repository here",
                next="check the URL: two repositories never share a place",
            )
        store = self._new(Known(format=described, secrets=self._unlock(described.repository)))
        store.refresh()
        return store

    def _unlock(self, repository: bytes) -> keys.Secrets:
        return keys.load_secrets(self.backend, repository)

    def _new(self, known: Known) -> Store:
        context = self.session.context
        return Store(self.backend, clock=context.clock, entropy=context.entropy, disk=context.disk, known=known)

    def _read_format(self) -> bytes:
        """Return the file ``format``.

        Raises:
            NotFoundError: when there is no store; with advice on how to make one.
        """
        try:
            return self.backend.read(FORMAT)
        except NotFoundError:
            raise NotFoundError(
                "there is no store at this place",
                where=self.settings.url,
                next="check the URL with 'dv remote list'; the first 'dv push' makes a store in an empty place",
            ) from None

    def _require_same(self, memory: Memory) -> None:
        """Tell a store that was replaced, or is gone, from one whose log cannot be read.

        Raises:
            IntegrityError: when it is another one.
        """
        if self._read_format() != memory.format:
            raise self._rolled_back("another store stands at its place")

    def _refuse_rollback(self, store: Store) -> None:
        memory = self.memory
        if memory is None:
            return
        state = store.state
        if state.number < memory.number:
            raise self._rolled_back(
                f"its log ends with entry {state.number}, and entry {memory.number} was seen before"
            )
        same = state.number == memory.number and state.head == memory.head
        if not same and store.log.is_forked(memory.number, memory.head):
            raise self._rolled_back(f"entry {memory.number} of its log is another than was seen before")

    def _rolled_back(self, why: str) -> IntegrityError:
        return IntegrityError(
            "the remote was rolled back, or replaced by another course of events",
            where=self.settings.url,
            why=why,
            next=f"ask who keeps it; if it was restored from a backup on purpose, run 'dv remote set-url {self.name} "
            f"{self.settings.url}', which forgets what was seen of it",
        )

    def remember(self) -> None:
        """Remember how far the remote's log goes.

        Raises:
            StorageError: when the disk refuses.
        """
        store = self.open()
        state = store.state
        self.memory = memories.Memory(
            url=self.settings.url,
            format=self._format,
            wrap=store.secrets.wrap,
            number=state.number,
            head=state.head,
            checkpoint=state.checkpoint,
        )
        memories.remember(self.session, self.name, self.memory)

    def may_create(self) -> bool:
        """Return whether a store may be made there: none was ever seen, and nothing lies where it would go.

        Raises:
            StorageError: when the place refuses.
        """
        return self.memory is None and not self.backend.exists(FORMAT)

    def create(self) -> Store:
        """Make a store in the place, which is empty, or go on with one that another command began to make.

        Order: directories, ``format``, the key; what has no key yet is finished by whoever comes next.

        Raises:
            ConflictError: when another repository is there.
            StorageError: when the place refuses.
        """
        session = self.session
        described = msgspec.structs.replace(session.store.format, store=session.context.entropy.bytes(16))
        self.backend.prepare(storeformat.DIRECTORIES)
        try:
            self.backend.create(FORMAT, storeformat.encode(described))
        except ExistsError:
            described = storeformat.decode(self.backend.read(FORMAT))
        if described.repository == session.store.format.repository:
            with contextlib.suppress(ExistsError):
                self._create_key(described.repository)
        return self.open()

    def _create_key(self, repository: bytes) -> None:
        data = self.session.store.backend.read(keys.REPOSITORY_KEY)
        _ = repository
        self.backend.create(keys.REPOSITORY_KEY, data)


def reach(workspace: Workspace, name: str | None = None) -> Remote:
    """Return a remote by its name; raises as :func:`dvtool.sharing.configuring.find` and :class:`Remote`."""
    found, settings = configuring.find(workspace, name)
    return Remote(workspace, found, settings)
