"""Clones without data: bringing the content of files at the moment when it is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool.errors import NotFoundError
from dvtool.formats import log, tree
from dvtool.history.marking import Marks
from dvtool.sharing import erased, fetching, moving, reaching
from dvtool.storage.mirror import mirror_of
from dvtool.store import manifests
from dvtool.worktree.layout import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.formats.tree import Entry
    from dvtool.store.state import State
    from dvtool.store.store import FrameReader
    from dvtool.workspace import Workspace

OPERATION: Final = "get"
BATCH: Final = 262144
"""Chunks that are looked up together."""


class Frames:
    """Reads chunks in the store here, and at the remote those that are not; nothing is stored, and parts are cached."""

    def __init__(self, workspace: Workspace) -> None:
        """Ask nobody yet."""
        self._workspace = workspace
        self._here = workspace.session.store.frames()
        self._there: FrameReader | None = None

    def chunk(self, identity: bytes) -> bytes:
        """Return a chunk, verified.

        Raises:
            IntegrityError: when it is damaged, or at neither place.
            ConflictError: when others have erased something, which has to be followed first.
            NotFoundError, StorageError: when the remote cannot be reached.
        """
        session = self._workspace.session
        name = session.lazy
        if name is None or session.store.has(identity):
            return self._here.chunk(identity)
        if self._there is None:
            remote = _remote(self._workspace, name)
            erased.refuse_behind(session.store, remote.open(), name)
            mirror = mirror_of(remote.backend)
            if mirror is not None:
                mirror.keeps_parts = True
            self._there = remote.open().frames()
        return self._there.chunk(identity)


def _remote(workspace: Workspace, name: str) -> reaching.Remote:
    try:
        return reaching.reach(workspace, name)
    except NotFoundError as error:
        raise NotFoundError(
            f"data are not here, and the remote {name!r} that has them is not configured",
            next=f"add it again: dv remote add {name} URL",
        ) from error


def note(workspace: Workspace, name: str) -> None:
    """Note that data which is not in the store here lies at the remote ``name``, durably."""
    session = workspace.session
    write_file(session.lazy_note, name.encode() + b"\n", session.context.disk)


def enable(workspace: Workspace, remote: reaching.Remote | None = None) -> None:
    """Have commands in a worktree bring what they are about to read, from ``remote`` if it was reached before."""
    reached = remote

    def on_demand(entries: Iterable[Entry]) -> None:
        nonlocal reached
        reached = bring(workspace, entries, reached)

    workspace.session.bring = on_demand
    workspace.session.frames = lambda: Frames(workspace)


def bring(
    workspace: Workspace, entries: Iterable[Entry], remote: reaching.Remote | None = None
) -> reaching.Remote | None:
    """Bring the content of files that is not in the store here, and store it.

    Args:
        workspace: the worktree.
        entries: the files.
        remote: the one that has the data, if it was reached before.

    Returns:
        the remote, if it was reached.

    Raises:
        NotFoundError: when the remote that had the data is no longer configured.
        IntegrityError: when the remote lacks some of it, or it is damaged there.
        ConflictError: when others have erased something, which has to be followed first.
        StorageError: when the remote cannot be reached.
    """
    session = workspace.session
    name = session.lazy
    if name is None:
        return remote
    here = Marks(session.store, session.context.progress)
    here.rely_on_sound_packs()
    lacking: set[bytes] = set()
    here.lacking = lacking.update
    for chunks in _batches(workspace, entries):
        here.want(chunks)
        if lacking:
            remote = remote or _remote(workspace, name)
            bring_chunks(remote, lacking)
            lacking.clear()
    return remote


def bring_chunks(remote: reaching.Remote, chunks: set[bytes]) -> None:
    """Bring chunks from a remote into the store here; raises as :func:`bring`."""
    erased.refuse_behind(remote.session.store, remote.open(), remote.name)
    remote.open().try_again(lambda: _bring_chunks(remote, chunks))
    fetching.note(remote)


def _bring_chunks(remote: reaching.Remote, chunks: set[bytes]) -> None:
    session = remote.session
    there = Marks(remote.open(), session.context.progress)
    there.read_what_is_there()
    there.lacking = moving.refuse_lacking
    there.want(chunks)
    shipment = moving.Shipment(there, session.store)
    meter = moving.Meter(session.context.progress, "receiving data", files=shipment.files, size=shipment.size)
    with session.store.transaction() as transaction:
        try:
            moving.receive(remote.open(), session.store, shipment, transaction, meter)
        finally:
            meter.finish()

        def nothing_else(_state: State) -> list[log.Action]:
            return []

        transaction.commit(OPERATION, nothing_else)


def _batches(workspace: Workspace, entries: Iterable[Entry]) -> Iterable[set[bytes]]:
    """Yield the chunks of files, many at a time."""
    found: set[bytes] = set()
    for entry in entries:
        if entry.kind in tree.LONG:
            found.update(
                identity for identity, _length in manifests.chunks_of(workspace.session.store, entry.id, entry.size)
            )
        elif entry.size and entry.kind not in {tree.DIRECTORY, tree.ERASED}:
            found.add(entry.id)
        if len(found) >= BATCH:
            yield found
            found = set()
    if found:
        yield found
