"""Opens the store of a remote, with what is remembered of it: a look at one where nothing is new is one request.

A remote that has less than was seen of it, or something else, was rolled back or replaced; nothing is built on it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.errors import (
    ConflictError,
    DvError,
    ExistsError,
    FormatError,
    IntegrityError,
    KeyAccessError,
    NotFoundError,
    UsageError,
)
from dvtool.formats import log, repokey, storeformat
from dvtool.sharing import configuring, erased, places, vetting
from dvtool.sharing import memory as memories
from dvtool.storage import opening
from dvtool.storage.inventory import Inventory
from dvtool.storage.local import LocalBackend
from dvtool.storage.mirror import Mirror
from dvtool.store import keys
from dvtool.store.store import Known, Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.formats.project import Remote as RemoteSettings
    from dvtool.formats.repokey import Opened, Protection, Unlock
    from dvtool.sharing.memory import Memory
    from dvtool.storage.backend import Backend
    from dvtool.workspace import Workspace

FORMAT: Final = "format"


class Remote:
    """One remote: its settings, its place, and its store once it was opened."""

    def __init__(
        self,
        workspace: Workspace,
        name: str,
        settings: RemoteSettings,
        *,
        through: Callable[[Backend], Backend] | None = None,
        is_new: bool = False,
    ) -> None:
        """Prepare to reach a remote; nothing is asked yet.

        Args:
            workspace: the worktree.
            name: what it is called here.
            settings: what ``dv.toml`` says of it.
            through: returns the place as it is to be read, instead of one that is helped by copies here.
            is_new: whether whatever is remembered under this name is of another remote.

        Raises:
            UsageError: when the URL names no place.
            ConflictError: when another place was used under this name: what was seen there would not count here.
        """
        self.workspace = workspace
        self.session = workspace.session
        self.name = name
        self.settings = settings
        self.memory: Memory | None = memories.recall(self.session, name) if not is_new else None
        if self.memory is not None:
            require_place(name, settings, self.memory)
        # Unfinished files lie with those of the store here: who takes a lock next removes what a killed command left.
        scratch = os.path.join(os.path.dirname(self.session.layout.store()), opening.UNFINISHED)
        place = places.open_place(settings, self.session.context, scratch)
        self.place = (through or self._with_copies)(place)
        """Where its files lie, but for the key if that is kept apart."""
        self.backend = places.with_key(self.place, settings, self.session.context)
        self._store: Store | None = None
        self._protection = self.memory.protection if self.memory is not None else memories.UNKNOWN
        self._format = b""

    @property
    def prefix(self) -> str:
        """What the local names of the remote's branches begin with."""
        return f"remotes/{self.name}/"

    def _with_copies(self, place: Backend) -> Backend:
        if isinstance(place, LocalBackend):
            return place
        return Mirror(Inventory(place), memories.mirror(self.session, self.name), self.session.context.disk)

    def has_news(self) -> bool:
        """Return whether the remote's log has grown since it was last looked at; one request.

        Raises:
            IntegrityError: when the entry that was the last is not there any more.
            NotFoundError, StorageError: when the remote cannot be reached.
        """
        if self.memory is None or not self.memory.number:
            return True  # it was never looked at
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
        if memory is not None and memory.format:
            # Not with the one that a rotation gives up, if it was seen in the middle of one: that would open for ever
            # what somebody who left puts there.  While it is needed, the key itself is read.
            wrap = keys.Wrapping(current=memory.wrap)
            known = Known(format=storeformat.decode(memory.format), secrets=session.store.secrets.with_wrap(wrap))
            store = self._new(known)
            store.log.hint(memory.checkpoint)
            self._format = memory.format
            try:
                store.refresh()
            except KeyAccessError:
                self._require_same(memory)
                if self._unlock_replaced(known.format.repository).wrap == wrap:
                    raise  # the key is the same: it is something else that is wrong
            except DvError:
                self._require_same(memory)
                raise
            else:
                return store
        return self._open_anew(session.context.unlock)

    def _open_anew(self, unlock: Unlock) -> Store:
        """Open the store with the key as it lies there now; raises as :meth:`open`."""
        session = self.session
        self._format = self._read_format()
        described = storeformat.decode(self._format)
        if described.repository != session.store.format.repository:
            raise ConflictError(
                "the remote holds another repository",
                where=self.settings.url,
                why="its id is another than that of the repository here",
                next="check the URL: two repositories never share a place",
            )
        store = self._new(Known(format=described, secrets=self.unlock(described.repository, unlock)))
        store.refresh()
        self._require_proven(store)
        return store

    def _require_proven(self, store: Store) -> None:
        """Refuse a store with other keys than those that are remembered, unless they open what was seen under those.

        Who can write to the place, and knows the repository's secret because they were a member once, can put keys of
        their own there and go on with the log under them; what they cannot do is open what came after they left.

        Raises:
            KeyAccessError: when the keys do not.
            IntegrityError: when the log was rolled back, or took another course.
        """
        memory = self.memory
        if memory is None or not memory.number or _remembers(memory, store.secrets.wrap):
            return
        self._refuse_rollback(store)
        try:
            store.log.require_course(memory.number, memory.head)
        except (IntegrityError, FormatError, KeyAccessError) as error:
            raise self._unproven(error) from None

    def _unproven(self, error: DvError) -> KeyAccessError:
        return KeyAccessError(
            "the keys at the remote are not those of the store that this clone has seen",
            where=self.settings.url,
            why=f"they were replaced, and the log from the newest entry seen here on does not open with the new ones, "
            f"as it does after 'dv key rotate': {error.what}" + (f" ({error.where})" if error.where else ""),
            next=f"ask who keeps the place, nothing was sent; if all is well there, "
            f"'dv remote set-url {self.name} {self.settings.url}' forgets what was seen of it",
        )

    def unlock_proven(self, repository: bytes) -> keys.Secrets:
        """Return the secrets of a store whose log need not be whole, for who mends it.

        Raises:
            KeyAccessError: as :meth:`unlock`; also when they are others than those that are remembered, and the newest
                entry that was seen does not open with them.
            StorageError: when the place refuses.
        """
        found = self.unlock(repository)
        memory = self.memory
        if memory is not None and memory.number and not _remembers(memory, found.wrap):
            store = self._new(Known(format=storeformat.decode(memory.format), secrets=found))
            try:
                store.log.require_course(memory.number, memory.head, last=memory.number)
            except (IntegrityError, FormatError, KeyAccessError) as error:
                raise self._unproven(error) from None
        return found

    def learn(self, unlock: Unlock, protection: Protection) -> None:
        """Open the store with the key as it lies there now, whatever is remembered of it, and remember that.

        Args:
            unlock: opens it.
            protection: how it was protected from here.

        Raises:
            DvError: as :meth:`open`.
        """
        self.note_protection(protection)
        self.open_with_key(unlock)
        self.remember(brought=b"")

    def open_with_key(self, unlock: Unlock | None = None) -> Store:
        """Open the store with the key as it lies there now, whatever is remembered of it.

        Raises:
            DvError: as :meth:`open`.
        """
        store = self._open_anew(unlock or self.session.context.unlock)
        self._refuse_rollback(store)
        self._store = store
        return store

    def note_protection(self, protection: Protection) -> None:
        """Remember how the key of the store was protected from here.

        Raises:
            StorageError: when the disk refuses.
        """
        self._protection = _kind_of(protection)
        if self.memory is not None:
            self.memory = msgspec.structs.replace(self.memory, protection=self._protection)
            memories.remember(self.session, self.name, self.memory)

    def require_key(self, opened: Opened) -> Opened:
        """Return what the key at the remote protects, if its store opens with it; before anything is built on it.

        Who can write to the place can put back one from before the last rotation, with the recipients of that time.

        Raises:
            KeyAccessError: when it is such a one.
            DvError: as :meth:`open`.
        """
        known = self.open().secrets.wrap
        found = self._require_secret(keys.Secrets(opened)).wrap
        if known.current not in {found.current, found.previous}:
            raise KeyAccessError(
                "the key at the remote is not that of its store",
                where=self.settings.url,
                why="it opens, and the store does not open with it: somebody put back one from before a rotation",
                next="find out who writes there; put the newest version of keys/repo back, or push to a new place",
            )
        return opened

    def require_secret(self, opened: Opened) -> Opened:
        """Return what a key at the remote protects, if it holds the secret of this repository; raises as that."""
        self._require_secret(keys.Secrets(opened))
        return opened

    def _unlock_replaced(self, repository: bytes) -> keys.Secrets:
        """Return the secrets of a store that do not open with what is remembered; raises as :meth:`unlock`."""
        try:
            return self.unlock(repository)
        except KeyAccessError as error:
            error.where = self.settings.url
            error.why = "; ".join(filter(None, ("its keys were replaced since this clone last opened it", error.why)))
            raise

    def unlock(self, repository: bytes, unlock: Unlock | None = None) -> keys.Secrets:
        """Return the secrets of the remote's store, opened by ``unlock`` or as the command opens keys.

        Raises:
            KeyAccessError: when its key does not open, or holds another secret than that of the repository here: who
                put it there would read whatever is sealed under it.  Also when it is another one than was seen, and
                stands in the clear while that one was sealed.
        """
        data = keys.read_repokey(self.backend)
        opened = repokey.decode(data, repository, unlock or self.session.context.unlock)
        found = self._require_secret(keys.Secrets(opened))
        kind = repokey.describe(data, repository).protection
        self._refuse_bare(found, kind)
        self._protection = kind
        return found

    def _refuse_bare(self, found: keys.Secrets, kind: int) -> None:
        memory = self.memory
        if (
            kind == repokey.PLAIN
            and memory is not None
            and memory.protection not in {repokey.PLAIN, memories.UNKNOWN}
            and not _remembers(memory, found.wrap)
        ):
            raise KeyAccessError(
                "the key at the remote was replaced by one that stands in the clear",
                where=self.settings.url,
                why="it was sealed when this clone last opened it: whoever can write there can put such a one in its "
                "place",
                next=f"ask who keeps the place, nothing was sent; if it is meant, "
                f"'dv remote set-url {self.name} {self.settings.url}' forgets what was seen of it",
            )

    def _require_secret(self, found: keys.Secrets) -> keys.Secrets:
        if found.id_key != self.session.store.secrets.id_key:
            raise KeyAccessError(
                "the key at the remote is not that of this repository",
                where=self.settings.url,
                why="it opens, and holds another secret: somebody put it there",
                next="ask who keeps the place; nothing was sent",
            )
        return found

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
                next="check the URL with 'dv remote list'; "
                + (
                    f"if the store is gone for good, 'dv remote set-url {self.name} {self.settings.url}' forgets it"
                    if self.memory is not None and self.memory.number
                    else "the first 'dv push' makes a store in an empty place"
                ),
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
        if memory is None or not memory.number:
            return
        state = store.state
        if state.number < memory.number:
            self._require_same(memory)
            raise self._rolled_back(
                f"its log ends with entry {state.number}, and entry {memory.number} was seen before"
                + self._unerased(store)
            )
        same = state.number == memory.number and state.head == memory.head
        if not same and store.log.is_forked(memory.number, memory.head):
            raise self._rolled_back(
                f"entry {memory.number} of its log is another than was seen before" + self._unerased(store)
            )

    def _unerased(self, store: Store) -> str:
        """Say how many erasures a remote lacks that were made here; an old backup has what they were about."""
        lacking = erased.lacking(store.state, self.session.store.state)
        if not lacking:
            return ""
        what = "an erasure" if len(lacking) == 1 else f"{len(lacking):,} erasures"
        return f"; it lacks {what} known here, so what was erased may be there again"

    def _rolled_back(self, why: str) -> IntegrityError:
        return IntegrityError(
            "the remote was rolled back, or replaced by another course of events",
            where=self.settings.url,
            why=why,
            next=f"ask who keeps it; if it was restored from a backup on purpose, run 'dv remote set-url {self.name} "
            f"{self.settings.url}', which forgets what was seen of it",
        )

    def remember(self, *, brought: bytes) -> None:
        """Remember how far the remote's log goes, and whether what it names was ``brought``; see :class:`Memory`.

        Raises:
            StorageError: when the disk refuses.
        """
        store = self.open()
        state = store.state
        self.memory = memories.Memory(
            place=memories.aim(self.settings),
            format=self._format,
            wrap=store.secrets.wrap.current,
            previous=store.secrets.wrap.previous or b"",
            number=state.number,
            head=state.head,
            checkpoint=state.checkpoint,
            brought=brought,
            protection=self._protection,
        )
        memories.remember(self.session, self.name, self.memory)

    def may_create(self) -> bool:
        """Return whether a store may be made there: none was ever seen, and there is none, or one without its key.

        Raises:
            StorageError: when the place refuses.
        """
        seen = self.memory is not None and self.memory.format
        return not seen and not (self.backend.exists(FORMAT) and self.backend.exists(keys.REPOSITORY_KEY))

    def is_made(self) -> bool:
        """Return whether there is a store at the remote.

        Raises:
            StorageError: when the place refuses.
        """
        return not self.may_create()

    @property
    def pending_key(self) -> bytes:
        """The file ``keys/repo`` that the store is to get when it is made; empty when nobody said how to seal it."""
        return self.memory.key if self.memory is not None else b""

    def protect(self, protection: Protection) -> None:
        """Note how the repository's key is to be kept at a store that is not made yet; the first push makes it.

        The file is sealed now, so that no passphrase has to be kept or asked for again.

        Raises:
            UsageError: when the protection cannot be used.
            KeyAccessError: when the key here does not open.
        """
        session = self.session
        entropy = session.context.entropy
        repository = session.store.format.repository
        own = keys.open_repokey(session.store.backend, repository, session.context.unlock)
        other = keys.for_another_store(own, entropy)
        self._protection = _kind_of(protection)
        self.memory = memories.Memory(
            place=memories.aim(self.settings),
            format=b"",
            wrap=keys.Secrets(other).wrap.current,
            previous=b"",
            number=0,
            head=bytes(32),
            checkpoint=0,
            key=repokey.encode(repository, other, protection, entropy),
            protection=self._protection,
        )
        memories.remember(session, self.name, self.memory)

    def create(self) -> Store:
        """Make a store in the place, which is empty, or go on with one that another command began to make.

        Order: directories, ``format``, the key; what has no key yet is finished by whoever comes next.

        Raises:
            UsageError: when nobody said how the repository's key is to be kept there; it would go out in the clear.
            ConflictError: when another repository is there, or the place cannot keep two writers apart.
            StorageError: when the place refuses.
        """
        session = self.session
        if self.memory is None or not self.memory.key:
            raise UsageError(
                "nobody said how the repository's key is to be kept at the remote",
                where=self.settings.url,
                why="whoever reads it there can read all data of the repository",
                next=f"say it: dv key protect --remote {self.name} with --passphrase-file FILE, --recipient FILE, or "
                "--plain-keys if nobody else can read that place",
            )
        described = msgspec.structs.replace(session.store.format, store=session.context.entropy.bytes(16))
        vetting.require_exclusive(self.place, self.settings, session.context, self.name)
        self.backend.prepare(storeformat.DIRECTORIES)
        try:
            self.backend.create(FORMAT, storeformat.encode(described))
        except ExistsError:
            described = storeformat.decode(self.backend.read(FORMAT))
        if described.repository == session.store.format.repository:
            try:
                self.backend.create(keys.REPOSITORY_KEY, self.memory.key)
                self.memory = msgspec.structs.replace(self.memory, format=storeformat.encode(described), key=b"")
            except ExistsError:
                self.memory = None  # another clone was faster, and its key counts
        return self.open()


def require_place(name: str, settings: RemoteSettings, memory: Memory) -> None:
    """Refuse settings that name another place than the one of which something is remembered.

    Raises:
        ConflictError: when they do.
    """
    wanted, used = memories.aim(settings), memory.place
    if wanted != used:
        raise ConflictError(
            f"dv.toml names another place as {name!r} than this clone has used",
            where=wanted.url,
            why=f"it names {wanted}; this clone has used {used}",
            next=f"if the new one is meant, run 'dv remote set-url {name} {settings.url}', which forgets what was seen "
            "at the other; else put the old one back into dv.toml",
        )


def tell_elsewhere(workspace: Workspace, name: str, memory: Memory | None) -> None:
    """Tell the user when ``dv.toml`` as it is now names another place than was used; nothing is refused.

    Args:
        workspace: the worktree, of which ``dv.toml`` may just have changed.
        name: the remote.
        memory: what is remembered of it.
    """
    try:
        settings = configuring.remotes(workspace).get(name)
        if settings is not None and memory is not None:
            require_place(name, settings, memory)
    except ConflictError as error:
        workspace.session.context.tell(f"warning: {error.what}: {error.why}; {error.next}")
    except DvError:
        return  # whatever reads it next says so


def _remembers(memory: Memory, wrap: keys.Wrapping) -> bool:
    """Return whether keys are the remembered ones and no others, so that nothing opens which did not before."""
    return wrap.current == memory.wrap and wrap.previous in {None, memory.previous or None}


def _kind_of(protection: Protection) -> int:
    match protection:
        case repokey.Plain():
            return repokey.PLAIN
        case repokey.Passphrase():
            return repokey.PASSPHRASE
        case repokey.Recipients():
            return repokey.RECIPIENTS


def reach(workspace: Workspace, name: str | None = None) -> Remote:
    """Return a remote by its name; raises as :func:`dvtool.sharing.configuring.find` and :class:`Remote`."""
    found, settings = configuring.find(workspace, name)
    return Remote(workspace, found, settings)
