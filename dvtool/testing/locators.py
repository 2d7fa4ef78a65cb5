"""Locators of erasures that are left, opened with whatever is left that could: keys in the clear, nonces of objects.

A locator says what was erased.  It stands sealed in the log for those who still hold an object that was superseded,
and must open for nobody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dvtool import digest, ids
from dvtool.errors import DvError
from dvtool.formats import run, sealed, snapshot, stage
from dvtool.testing.loot import Piece, ids_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DECODERS: Final[dict[int, Callable[[bytes], snapshot.Snapshot | stage.Stage | run.Run]]] = {
    ids.SNAPSHOT: snapshot.decode,
    ids.STAGE: stage.decode,
    ids.RUN: run.decode,
}
_LARGEST: Final = 1 << 20
"""Bytes of a file in which a key is looked for: the journal of an erasure is small."""


class _Place(NamedTuple):
    """A locator or the wrap of a key, in a payload, with all that it may be bound to."""

    place: str
    inside: str
    blob: bytes
    erasures: frozenset[bytes]


class Locators:
    """Gathers locators and what could open them, while everything is read that is left."""

    def __init__(self) -> None:
        """Hold none."""
        self._locators: list[_Place] = []
        self._wraps: list[_Place] = []
        self._keys: dict[bytes, str] = {}
        self._nonces: dict[bytes, tuple[bytes, str]] = {}

    def take_payload(self, place: str, inside: str, data: bytes) -> None:
        """Note the locators in a log entry, or in a table of the log."""
        found = list(_texts(data))
        erasures = frozenset(each for each in found if len(each) == ids.SHORT_SIZE)
        for each in found:
            if each.startswith(_begin(sealed.LOCATOR)):
                self._locators.append(_Place(place, inside, each, erasures))
            elif each[ids.ID_SIZE :].startswith(_begin(sealed.LOCATOR_KEY)):
                self._wraps.append(_Place(place, inside, each, erasures))

    def take_object(self, kind: int, identity: bytes, data: bytes, place: str) -> None:
        """Note the nonce of an object by which a key may be wrapped."""
        if kind in _DECODERS:
            try:
                self._nonces[identity] = (_DECODERS[kind](data).nonce, f"the nonce of {place}")
            except DvError:
                return

    def take_file(self, name: str, data: bytes) -> None:
        """Note what could be a key in a file that is not sealed."""
        if len(data) <= _LARGEST:
            for key in ids_in(data):
                self._keys.setdefault(key, name)

    def opened(self) -> Iterator[Piece]:
        """Yield what every locator says that opens."""
        keys = dict(self._keys)
        for each in self._wraps:
            superseded, blob = each.blob[: ids.ID_SIZE], each.blob[ids.ID_SIZE :]
            nonce, origin = self._nonces.get(superseded, (b"", ""))
            for erasure in each.erasures if nonce else ():
                key = _open(sealed.LOCATOR_KEY, digest.derive(nonce, b"locator"), erasure + superseded, blob)
                if key is not None:
                    keys.setdefault(key, origin)
        for each in self._locators:
            for key, origin in keys.items():
                for erasure in each.erasures:
                    payload = _open(sealed.LOCATOR, key, erasure, each.blob)
                    if payload is not None:
                        yield Piece(each.place, f"locator in {each.inside}, key from {origin}", payload)


def _begin(kind: int) -> bytes:
    return sealed.MAGIC + bytes([kind])


def _open(kind: int, key: bytes, context: bytes, blob: bytes) -> bytes | None:
    try:
        return sealed.open_blob(kind, key, context, blob, what="it")
    except DvError:
        return None


def _texts(data: bytes) -> Iterator[bytes]:
    """Yield every byte string in a MessagePack value, and in those that are packed into one of its byte strings."""
    pending: list[object] = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, bytes):
            yield value
            try:
                inner = msgspec.msgpack.decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):
                continue
            if isinstance(inner, list | dict):
                pending.append(inner)
        elif isinstance(value, dict):
            pending += [*value, *value.values()]
        elif isinstance(value, list):
            pending += value
