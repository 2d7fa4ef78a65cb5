"""``dv erasure clones`` and ``forget-clone``: which clones erasures at remotes wait for, and which of them are gone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.errors import DvError, NotFoundError, UsageError
from dvtool.formats import log
from dvtool.history.describe import rfc3339
from dvtool.sharing import clones, configuring, fetching, reaching

if TYPE_CHECKING:
    from dvtool.formats.clone import Registration
    from dvtool.sharing.reaching import Remote
    from dvtool.workspace import Workspace

ACTIVE: Final = "active"
EXPIRED: Final = "expired"
FORGOTTEN: Final = "forgotten"
_PREFIX: Final = re.compile(f"[0-9a-f]{{{ids.SHORTEST_PREFIX},{2 * ids.SHORT_SIZE}}}")


class CloneItem(msgspec.Struct, frozen=True, kw_only=True):
    """A clone as a remote knows it; times in RFC 3339 UTC, None for never.

    ``state`` is ``active``, ``expired`` or ``forgotten``; ``here`` says that it is this clone.  ``waiting`` are the
    erasures there, by id, that wait for it: only those of active ones do.
    """

    remote: str
    id: str
    name: str | None
    state: str
    here: bool
    registered: str
    expires: str | None
    forgotten: str | None
    author: str | None
    waiting: tuple[str, ...]


def list_clones(workspace: Workspace, name: str | None = None) -> list[CloneItem]:
    """Return the clones that a remote knows, by default those of all remotes, the oldest first.

    A remote that cannot be asked is told of, unless it is the only one.

    Raises:
        NotFoundError: when there is no remote, or none of this name.
        DvError: as :meth:`dvtool.sharing.reaching.Remote.open`.
    """
    found: list[CloneItem] = []
    for remote in _reached(workspace, name):
        waits = _waits(remote)
        found += [_item(remote, each, waits) for each in clones.registered(remote.open())]
    return found


def forget(workspace: Workspace, word: str, name: str | None = None) -> list[CloneItem]:
    """Record at a remote, by default at all that know it, that a clone is gone: no erasure waits for it any more.

    Args:
        workspace: the worktree.
        word: the clone's id, or the beginning of it.
        name: the remote.

    Raises:
        NotFoundError: when there is no such clone, or no such remote.
        UsageError: when the word can be no id or means several clones, or nobody is named as who says so.
        ConflictError: when an erasure is under way at a remote.
        DvError: as :meth:`dvtool.sharing.reaching.Remote.open`.
    """
    lowered = word.lower()
    if not _PREFIX.fullmatch(lowered):
        raise UsageError(
            f"{word!r} is no id of a clone",
            why=f"an id is {2 * ids.SHORT_SIZE} hexadecimal digits, or the first {ids.SHORTEST_PREFIX} or more of them",
            next="run 'dv erasure clones' to see them",
        )
    workspace.author(None)
    reached = _reached(workspace, name)
    known = {
        remote.name: [each.id for each in clones.registered(remote.open()) if each.id.hex().startswith(lowered)]
        for remote in reached
    }
    meant = {identity for each in known.values() for identity in each}
    if not meant:
        raise NotFoundError(f"no clone {word!r} is registered", next="run 'dv erasure clones' to see all")
    if len(meant) > 1:
        raise UsageError(
            f"{word!r} can mean several clones",
            items=tuple(sorted(each.hex() for each in meant)),
            next="write more of its id",
        )
    identity = meant.pop()
    found = []
    for remote in reached:
        if known[remote.name]:
            gone = clones.forget(remote, identity)
            remote.open().maintain()
            fetching.note(remote)
            found.append(_item(remote, gone, {}))
    return found


def _reached(workspace: Workspace, name: str | None) -> list[Remote]:
    """Return the remotes that are meant, opened; of several, those that cannot be are told of and left out."""
    known = configuring.remotes(workspace)
    if name is not None or len(known) < 2:  # noqa: PLR2004 - of one there is nothing to leave out
        remote = reaching.reach(workspace, name)
        remote.open()
        return [remote]
    found = []
    failed: DvError | None = None
    for each in sorted(known):
        try:
            remote = reaching.reach(workspace, each)
            remote.open()
        except DvError as error:
            failed = error
            workspace.session.context.tell(f"warning: {each} was not asked: {error.finding()}")
            continue
        found.append(remote)
    if failed is not None and not found:
        raise failed
    return found


def _waits(remote: Remote) -> dict[bytes, list[str]]:
    """Return which erasures wait for which clones: those whose locators the remote keeps."""
    store = remote.open()
    found: dict[bytes, list[str]] = {}
    for identity, value in store.state.erasures.items():
        is_done = log.step(value)[0] in {log.ERASED, log.FINISHED}
        if is_done and store.state.locators.get(identity) is not None:
            for each in clones.waiting(store, identity):
                found.setdefault(each.id, []).append(identity.hex())
    return found


def _item(remote: Remote, found: Registration, waits: dict[bytes, list[str]]) -> CloneItem:
    now = remote.session.context.clock.now()
    return CloneItem(
        remote=remote.name,
        id=found.id.hex(),
        name=found.name or None,
        state=FORGOTTEN if found.forgotten else ACTIVE if found.is_awaited(now) else EXPIRED,
        here=found.id == clones.me(remote.workspace),
        registered=rfc3339(found.registered),
        expires=rfc3339(found.expires) if found.expires else None,
        forgotten=rfc3339(found.forgotten) if found.forgotten else None,
        author=found.author or None,
        waiting=tuple(waits.get(found.id, ())),
    )
