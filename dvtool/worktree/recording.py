"""Makes snapshots: what ``dv commit`` and a merge that needs no decision record."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids, paths
from dvtool.errors import UsageError
from dvtool.formats import log, snapshot
from dvtool.formats import tree as tree_format
from dvtool.formats.tree import Entry
from dvtool.storage.disk import read_regular
from dvtool.store.trees import Trees
from dvtool.worktree.layout import write_file
from dvtool.worktree.materialise import Contents

if TYPE_CHECKING:
    from dvtool.formats.snapshot import Snapshot
    from dvtool.store.transaction import Transaction
    from dvtool.worktree.session import Session

SETTINGS: Final = ("dv.toml", ".dvignore")


class CommitResult(msgspec.Struct, frozen=True, kw_only=True):
    """The snapshot that was recorded: ids in hex, totals of files and bytes."""

    snapshot: str
    parents: tuple[str, ...]
    root: str
    files: int
    bytes: int


def check_message(message: str) -> None:
    """Check the message of a snapshot to be.

    Raises:
        UsageError: when it is empty, too long or not UTF-8.
    """
    if not message.strip():
        raise UsageError("the message is empty", next="say what changed with -m MESSAGE")
    if len(message) > snapshot.TEXT_LIMIT:
        raise UsageError(
            "the message is too long", why=f"it may have {snapshot.TEXT_LIMIT} characters", next="shorten it"
        )
    try:
        message.encode()
    except UnicodeEncodeError:
        raise UsageError("the message is not UTF-8", next="write it in UTF-8") from None


def make(
    session: Session,
    transaction: Transaction,
    *,
    tree: bytes,
    roots: tuple[str, ...],
    parents: tuple[bytes, ...],
    author: str,
    message: str,
    with_settings: bool,
) -> tuple[bytes, Snapshot]:
    """Store a snapshot and return its id and what it says; no ref points to it yet.

    Args:
        session: the worktree that it is made from.
        transaction: takes the snapshot, and reads the tree.
        tree: its root.
        roots: the tracked roots.
        parents: ids of the snapshots before it.
        author: who records it.
        message: what changed, checked by :func:`check_message`.
        with_settings: whether ``dv.toml`` and ``.dvignore`` go with it, as they do where no Git keeps them.
    """
    totals = Trees(transaction).totals(tree)
    value = snapshot.Snapshot(
        root=tree,
        roots=roots,
        parents=parents,
        author=author,
        time=session.context.clock.now(),
        message=message,
        files=totals.files,
        size=totals.size,
        nonce=session.context.entropy.bytes(snapshot.NONCE_SIZE),
        settings=_settings(session.root, transaction) if with_settings else (),
    )
    return transaction.put_object(ids.SNAPSHOT, snapshot.encode(value)), value


def moves(session: Session, identity: bytes) -> list[log.Action]:
    """Return the actions that make a snapshot HEAD's, on its branch or detached, with nothing staged any more."""
    head = session.head()
    stage = session.stage().value
    name, old = (f"heads/{head.branch}", head.snapshot) if head.branch is not None else (session.head_ref, head.value)
    found: list[log.Action] = [log.MoveRef(name=name, old=old, new=identity)]
    if stage is not None:
        found.append(log.MoveRef(name=session.stage_ref, old=stage, new=None))
    return found


def describe(identity: bytes, value: Snapshot) -> CommitResult:
    """Return what was recorded, as it is shown."""
    return CommitResult(
        snapshot=identity.hex(),
        parents=tuple(parent.hex() for parent in value.parents),
        root=value.root.hex(),
        files=value.files,
        bytes=value.size,
    )


def bring_settings(session: Session, wanted: Snapshot, previous: Snapshot | None) -> None:
    """Bring ``dv.toml`` and ``.dvignore`` along where no Git does, unless they were edited since ``previous``."""
    before = {name: identity for name, identity, _size in previous.settings} if previous else {}
    for name, identity, size in wanted.settings:
        path = f"{session.root}/{name}"
        if before.get(name) == identity or os.path.islink(path) or name not in paths.ROOT_FILES:
            continue
        if os.path.lexists(path):
            held = session.store.hasher.id(ids.CHUNK, read_regular(path))
            if held != before.get(name):
                continue
        entry = Entry(tree_format.FILE, size, identity)
        session.bring((entry,))
        write_file(path, Contents(session.store).whole(entry), session.context.disk, mode=0o644)


def _settings(root: str, transaction: Transaction) -> tuple[tuple[str, bytes, int], ...]:
    found = []
    for name in SETTINGS:
        path = os.path.join(root, name)
        if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) < snapshot.TEXT_LIMIT:
            data = read_regular(path)
            if data:
                found.append((name, transaction.put_chunk(data), len(data)))
    return tuple(found)
