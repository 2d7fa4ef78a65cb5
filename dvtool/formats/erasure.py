"""Erasure records, and the locators by which others find what was erased (``docs/format/erasure.md``).

A record is an object of the store and tells what was done, without a name, path or id of what is gone.  A locator
names it, and is sealed under a key of its own; that key is wrapped once for each object that was superseded, with a key
that follows from the object's old nonce.  So only who still holds an old object can open it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from dvtool import digest, ids
from dvtool.errors import FormatError
from dvtool.formats import codec, sealed
from dvtool.formats.run import is_id as is_run

NONCE_SIZE: Final = 32
KEY_SIZE: Final = 32
TEXT_LIMIT: Final = 2**16
ITEM_LIMIT: Final = 2**20
SIZE_LIMIT: Final = 2**24
LOCATOR_LIMIT: Final = 2**26

OPEN: Final = "open"
DECISIONS: Final = (OPEN, "keep", "retrain", "delete")
"""What becomes of a model that was made from erased data."""
COPIES: Final = ("", "erase", "keep")
"""What became of retained files that share content with an erased one; empty: there were none."""

_MANY: Final = msgspec.Meta(max_length=ITEM_LIMIT)


class Decision(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A run that made something from erased data, directly or not, and what was decided about that.

    ``time`` is in microseconds since 1970 UTC, 0 while it is open.
    """

    run: str
    direct: bool
    decision: str = OPEN
    note: str = ""
    author: str = ""
    time: int = 0


class Place(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A place that the erasure has to reach: what it is called, what was done there, and what is left and why."""

    name: str
    done: bool
    packs: int = 0
    left: Annotated[tuple[str, ...], _MANY] = ()


class Record(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One erasure.

    ``revision`` counts how often the record was written anew; times are in microseconds since 1970 UTC, 0 for what has
    not happened.  ``certificate`` is the signed JSON document, empty until it is made, or once it was removed.
    """

    id: bytes
    revision: int
    nonce: bytes
    store: bytes
    started: int
    committed: int
    finished: int
    copies: str
    keep_path: bool
    snapshots: int
    files: int
    contents: int
    runs: Annotated[tuple[str, ...], _MANY]
    successors: Annotated[tuple[bytes, ...], _MANY]
    decisions: Annotated[tuple[Decision, ...], _MANY]
    places: Annotated[tuple[Place, ...], _MANY]
    certificate: bytes = b""
    sections: dict[str, msgspec.Raw] = {}


class Locator(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What an erasure was about, for those who have to find it again.

    ``patterns``, ``subjects`` and ``authors`` are as they were given, ``rules`` the path rules for subjects at that
    time; ``contents`` are ids of files that went wherever they were, ``roots`` what was tracked where anything went.
    """

    patterns: Annotated[tuple[str, ...], _MANY]
    subjects: Annotated[tuple[str, ...], _MANY]
    authors: Annotated[tuple[str, ...], _MANY]
    rules: Annotated[tuple[str, ...], _MANY]
    contents: Annotated[tuple[bytes, ...], _MANY]
    roots: Annotated[tuple[str, ...], _MANY]
    copies: str
    keep_path: bool
    redact: bool
    sections: dict[str, msgspec.Raw] = {}


_RECORD: Any = Record
_LOCATOR: Any = Locator


def encode(record: Record) -> bytes:
    """Return the bytes of a record.

    Raises:
        FormatError: when a reader would refuse them.
    """
    data = codec.encode_foreign(record, what="erasure record")
    decode(data)
    return data


def decode(data: bytes) -> Record:
    """Return the record that ``data`` encodes.

    Raises:
        FormatError: when it is malformed.
    """
    if len(data) > SIZE_LIMIT:
        raise FormatError("an erasure record is larger than the format allows")
    found: Record = codec.decode(_RECORD, data, what="erasure record")
    lengths = (len(found.id), len(found.store), len(found.nonce))
    if lengths != (ids.SHORT_SIZE, ids.SHORT_SIZE, NONCE_SIZE) or found.revision < 0:
        raise FormatError("an erasure record holds an id, a nonce or a count that cannot be")
    times = (found.started, found.committed, found.finished, *(each.time for each in found.decisions))
    if not all(0 <= time < codec.TIME_LIMIT for time in times):
        raise FormatError("an erasure record holds an impossible time")
    if min(found.snapshots, found.files, found.contents, *(each.packs for each in found.places), 0) < 0:
        raise FormatError("an erasure record holds an impossible number")
    if found.copies not in COPIES or any(each.decision not in DECISIONS for each in found.decisions):
        raise FormatError("an erasure record holds a word that nobody knows", next="upgrade dv if a newer one wrote it")
    if not all(map(is_run, [*found.runs, *(each.run for each in found.decisions)])):
        raise FormatError("an erasure record names a run by no proper id")
    if any(len(each) != ids.ID_SIZE for each in found.successors):
        raise FormatError("an erasure record holds an id of the wrong length")
    texts = [text for each in found.decisions for text in (each.note, each.author)]
    texts += [text for each in found.places for text in (each.name, *each.left)]
    if any(len(text) > TEXT_LIMIT for text in texts):
        raise FormatError("an erasure record holds an overlong text")
    return found


def ref_name(identity: bytes) -> str:
    """Return the ref that names an erasure's record."""
    return f"erasures/{identity.hex()}"


def seal_locator(locator: Locator, key: bytes, erasure: bytes, salt: bytes) -> bytes:
    """Return a locator sealed under a key (32 random bytes, for this locator alone).

    Raises:
        FormatError: when a reader would refuse it.
    """
    payload = codec.encode_foreign(locator, what="locator")
    decode_locator(payload)
    return sealed.seal(sealed.LOCATOR, key, bytes(sealed.LABEL_SIZE), salt, erasure, payload)


def open_locator(blob: bytes, key: bytes, erasure: bytes) -> Locator:
    """Return a locator.

    Raises:
        KeyAccessError: when the key is another's.
        IntegrityError, FormatError: when it is damaged or malformed.
    """
    return decode_locator(sealed.open_blob(sealed.LOCATOR, key, erasure, blob, what="locator"))


def decode_locator(data: bytes) -> Locator:
    """Return the locator that the payload of a blob encodes.

    Raises:
        FormatError: when it is malformed.
    """
    if len(data) > LOCATOR_LIMIT:
        raise FormatError("too much is to be erased at once", next="erase it in several steps")
    found: Locator = codec.decode(_LOCATOR, data, what="locator")
    if found.copies not in COPIES or any(len(each) != ids.ID_SIZE for each in found.contents):
        raise FormatError("a locator holds a word or an id that cannot be")
    return found


def wrap(key: bytes, superseded: bytes, nonce: bytes, erasure: bytes, salt: bytes) -> bytes:
    """Return the key of a locator for whoever still has an object that was superseded.

    Args:
        key: the key of the locator.
        superseded: the id of that object.
        nonce: its nonce, which went with it.
        erasure: the id of the erasure.
        salt: 32 random bytes.
    """
    return superseded + sealed.seal(
        sealed.LOCATOR_KEY, _wrapping(nonce), bytes(sealed.LABEL_SIZE), salt, erasure + superseded, key
    )


def unwrap(wrapped: bytes, nonce: bytes, erasure: bytes) -> bytes:
    """Return the key of a locator.

    Raises:
        KeyAccessError: when the nonce is another's.
        IntegrityError, FormatError: when it is damaged or malformed.
    """
    superseded, blob = wrapped[: ids.ID_SIZE], wrapped[ids.ID_SIZE :]
    key = sealed.open_blob(sealed.LOCATOR_KEY, _wrapping(nonce), erasure + superseded, blob, what="key of a locator")
    if len(key) != KEY_SIZE:
        raise FormatError("the key of a locator has the wrong length")
    return key


def is_for(wrapped: bytes, superseded: bytes) -> bool:
    """Return whether a wrapped key is for those who have this object."""
    return wrapped[: ids.ID_SIZE] == superseded


def _wrapping(nonce: bytes) -> bytes:
    return digest.derive(nonce, b"locator")


def parse_id(text: str) -> str | None:
    """Return the hexadecimal digits, from 4 on, by which an erasure is meant: ``E-7f3a``; None when it is no such."""
    digits = text.lower().removeprefix("e-")
    if ids.SHORTEST_PREFIX <= len(digits) <= 2 * ids.SHORT_SIZE and set(digits) <= set("0123456789abcdef"):
        return digits
    return None


def short(identity: bytes) -> str:
    """Return how people call an erasure."""
    return f"E-{identity.hex()[:8]}"
