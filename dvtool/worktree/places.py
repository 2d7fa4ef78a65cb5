"""Where the worktrees of a store are: what is noted beside the store, and whether that still holds."""

from __future__ import annotations

import os

import msgspec

from dvtool.errors import DvError
from dvtool.worktree import layout


def note_of(store: str) -> str:
    """Return the file beside a store (its directory) that says where its worktrees were last."""
    return f"{os.path.dirname(store)}/worktrees"


def erasing_of(store: str) -> str:
    """Return the file beside a store (its directory) by which an erasure is gone on with that was stopped."""
    return f"{os.path.dirname(store)}/erasing"


def erasure_keys_of(store: str) -> str:
    """Return the file beside a store (its directory) with the keys of erasures that a remote has not had yet."""
    return f"{os.path.dirname(store)}/erasure-keys"


def noted(store: str) -> dict[str, str]:
    """Return what is noted, by id of the worktree; nothing when there is no note, or it is malformed."""
    try:
        with open(note_of(store), "rb") as file:
            return msgspec.json.decode(file.read(), type=dict[str, str])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def holder(store: str) -> str:
    """Return the root of the worktree that a store lies in."""
    return os.path.dirname(os.path.dirname(store))


def is_worktree(place: str, identity: str, store: str) -> bool:
    """Return whether the worktree of this id and store is still at a place.

    Another one may have been made there since, or ``store`` be a copy of the one that it belongs to.  One whose files
    cannot be read is taken for the one that was there.
    """
    if not os.path.isdir(f"{place}/{layout.DIRECTORY}"):
        return False
    found = layout.Layout(place)
    try:
        return found.read_worktree().id == identity and os.path.samefile(found.store(), store)
    except (DvError, OSError):
        return True
