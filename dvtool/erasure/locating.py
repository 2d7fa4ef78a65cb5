"""Opens the locator of an erasure for those who still have something that it is about."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from dvtool import ids
from dvtool.erasure import planning
from dvtool.erasure.drawing import Draw
from dvtool.errors import DvError, KeyAccessError
from dvtool.formats import erasure as formats
from dvtool.formats import log, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dvtool.formats.erasure import Locator
    from dvtool.store.state import State
    from dvtool.store.store import Store

STEPS: Final = 64
"""Erasures that a snapshot went through at most; what leads further leads in a circle."""


def locator_of(
    state: State,
    erasure: bytes,
    store: Store,
    keys: Sequence[bytes] = (),
    erased: Mapping[bytes, bytes] | None = None,
) -> tuple[Locator, bytes]:
    """Return what an erasure is about, and the key that opened its locator.

    Args:
        state: that of a store whose log has the locator.
        erasure: its id.
        store: a store that may still have objects which the erasure supersedes, of this or another place.
        keys: keys that are known otherwise.
        erased: the keys, by their ids, of other erasures that ``store`` had: what they made of a snapshot tells then
            what it was.

    Raises:
        KeyAccessError: when none of them opens it, or it is there no more.
    """
    value = state.locators.get(erasure)
    if value is not None:
        blob, wraps = log.located(value)
        for key in [*keys, *_unwrapped(store, wraps, erasure, erased or {})]:
            with contextlib.suppress(KeyAccessError):
                return formats.open_locator(blob, key, erasure), key
    raise KeyAccessError(
        "it cannot be told any more what this erasure was about",
        where=formats.short(erasure),
        why="its journal is gone, and so is every snapshot that it superseded",
        next="nothing is erased yet: give it up with 'dv erasure abort', and begin again",
    )


def _unwrapped(store: Store, wraps: Sequence[bytes], erasure: bytes, erased: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Yield the key of a locator by the first object that is still here and opens it; nothing when there is none."""
    former = _Former(store, erased)
    for wrapped in wraps:
        identity = wrapped[: ids.ID_SIZE]
        nonce = planning.nonce_of(store, identity) or former.nonce_of(identity)
        if nonce is not None:
            with contextlib.suppress(DvError):
                yield formats.unwrap(wrapped, nonce, erasure)
                return


class _Former:
    """Finds the nonces of snapshots that were superseded here, by erasures whose keys are known."""

    def __init__(self, store: Store, erased: Mapping[bytes, bytes]) -> None:
        self._store = store
        self._draws: dict[bytes, Draw] = {}
        """By the snapshots that erasures made, how they drew."""
        for erasure, key in erased.items():
            with contextlib.suppress(DvError):
                record = formats.decode(
                    store.read_object(ids.ERASURE, store.state.ref(formats.ref_name(erasure)) or b"")
                )
                self._draws |= dict.fromkeys(record.successors, Draw(key))

    def nonce_of(self, identity: bytes) -> bytes | None:
        if not self._draws:
            return None
        draws: list[Draw] = []
        for _step in range(STEPS):
            successor = self._store.state.superseded.get(identity)
            if successor is None:
                break
            draw = self._draws.get(successor)
            if draw is None:
                return None
            draws.append(draw)
            identity = successor
        if not draws:
            return None
        try:
            found = snapshot.decode(self._store.read_object(ids.SNAPSHOT, identity))
        except DvError:
            return None
        nonce = found.nonce
        for draw in draws:  # a mask that is put over what it masked shows what was below
            nonce = draw.nonce(nonce, found.parents, found.time)
        return nonce
