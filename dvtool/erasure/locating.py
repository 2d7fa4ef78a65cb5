"""Opens the locator of an erasure for those who still have something that it is about."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from dvtool import ids
from dvtool.erasure import planning
from dvtool.errors import DvError, KeyAccessError
from dvtool.formats import erasure as formats
from dvtool.formats import log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.formats.erasure import Locator
    from dvtool.store.state import State
    from dvtool.store.store import Store


def locator_of(state: State, erasure: bytes, store: Store, keys: Sequence[bytes] = ()) -> tuple[Locator, bytes]:
    """Return what an erasure is about, and the key that opened its locator.

    Args:
        state: that of a store whose log has the locator.
        erasure: its id.
        store: a store that may still have objects which the erasure supersedes, of this or another place.
        keys: keys that are known otherwise.

    Raises:
        KeyAccessError: when none of them opens it, or it is there no more.
    """
    value = state.locators.get(erasure)
    if value is not None:
        blob, wraps = log.located(value)
        for key in [*keys, *_unwrapped(store, wraps, erasure)]:
            with contextlib.suppress(KeyAccessError):
                return formats.open_locator(blob, key, erasure), key
    raise KeyAccessError(
        "it cannot be told any more what this erasure was about",
        where=formats.short(erasure),
        why="its journal is gone, and so is every snapshot that it superseded",
        next="nothing is erased yet: give it up with 'dv erasure abort', and begin again",
    )


def _unwrapped(store: Store, wraps: Sequence[bytes], erasure: bytes) -> list[bytes]:
    """Return the key of a locator by the first object that is still here and opens it; nothing when there is none."""
    for wrapped in wraps:
        nonce = planning.nonce_of(store, wrapped[: ids.ID_SIZE])
        if nonce is not None:
            with contextlib.suppress(DvError):
                return [formats.unwrap(wrapped, nonce, erasure)]
    return []
