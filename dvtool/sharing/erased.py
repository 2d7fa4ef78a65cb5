"""What was erased does not come back: not from a remote that has it still, nor to one from which it is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool.errors import ConflictError
from dvtool.formats import erasure as formats
from dvtool.formats import log

if TYPE_CHECKING:
    from dvtool.store.state import State
    from dvtool.store.store import Store


class FollowedErasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure that others made, and that was followed here.

    ``snapshots`` and ``runs`` were written anew without it, ``files`` counts what went from them, ``worktree`` the
    files that were removed from worktrees.  Where nothing of it was here, it is only ``known`` from now on.
    """

    erasure: str
    short: str
    known: bool
    snapshots: int
    files: int
    runs: int
    worktree: int
    outstanding: tuple[str, ...]


def lacking(here: State, there: State) -> list[bytes]:
    """Return the erasures that one store has committed and another has not, by id.

    Args:
        here: the state of the one that may be behind.
        there: that of the other.
    """
    known = committed(here)
    return [erasure for erasure in committed(there) if erasure not in known]


def committed(state: State) -> dict[bytes, int]:
    """Return the erasures of a store that can only go on, and the phase of each, by id."""
    found = {erasure: log.step(value)[0] for erasure, value in state.erasures.items()}
    return {erasure: phase for erasure, phase in found.items() if phase in {log.ERASED, log.FINISHED}}


def parted(here: Store, there: Store) -> dict[bytes, bytes]:
    """Return the snapshots here for which others stand at a remote that has had the same erasures, with these.

    Args:
        here: the store here.
        there: the remote's.

    Raises:
        IntegrityError: when a map of superseded snapshots leads in a circle.
    """
    ours, theirs = here.state, there.state
    if not committed(ours) or committed(ours).keys() != committed(theirs).keys():
        return {}
    found = {}
    for old in {old for old, _new in ours.superseded.items()} & {old for old, _new in theirs.superseded.items()}:
        stands, other = ours.standing(old), theirs.standing(old)
        if stands is not None and other is not None and ours.standing(other) not in {stands, None}:
            found[stands] = other
    return {old: new for old, new in found.items() if here.has(old) and there.has(new)}


def refuse_behind(here: Store, there: Store, name: str) -> None:
    """Refuse to read from a remote that has an erasure which was not followed here.

    Whoever reads is in the middle of something, and built on snapshots that following would take away.

    Args:
        here: the store here.
        there: the remote's.
        name: what the remote is called.

    Raises:
        ConflictError: when it has one.
    """
    waiting = lacking(here.state, there.state)
    if waiting:
        raise ConflictError(
            f"others have erased something, and this clone has not followed yet ({formats.short(waiting[0])})",
            where=name,
            next=f"run 'dv fetch {name}', which does so; then run the command again",
        )


def refuse_return(here: Store, there: Store, name: str) -> None:
    """Refuse to exchange anything with a remote that has a snapshot whose data was erased here.

    Args:
        here: the store here.
        there: the remote's.
        name: what the remote is called.

    Raises:
        ConflictError: when it has one.
        IntegrityError: when an index file there is damaged.
    """
    state = here.state
    if not state.erasures.items():
        return
    _ = there.state
    for old, new in state.superseded.items():
        if log.expired(new) is None and there.segments.find(old) is not None:
            raise ConflictError(
                f"{name} still has data that was erased here",
                where=f"snapshot {old.hex()[:12]} there",
                why="it would come back, or be left there unseen",
                next="run 'dv erasure resume', which erases it there as well; where that cannot be done, remove the "
                "store at the remote and push to a new one",
            )
