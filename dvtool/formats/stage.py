"""The stage: the tree that the next commit will record (``docs/format/stage.md``)."""

from __future__ import annotations

from typing import Final

import msgspec

from dvtool import ids
from dvtool.errors import FormatError
from dvtool.formats import codec, snapshot

NONCE_SIZE: Final = 32


class Stage(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is staged: a root tree, the tracked roots, and the second parent of a merge under way."""

    tree: bytes
    roots: tuple[str, ...]
    merging: tuple[bytes, ...]
    nonce: bytes
    sections: dict[str, msgspec.Raw] = {}


def encode(stage: Stage) -> bytes:
    """Return the bytes of a stage."""
    return codec.encode(stage)


def decode(data: bytes) -> Stage:
    """Return the stage that ``data`` encodes.

    Raises:
        FormatError: when it is malformed.
    """
    stage = codec.decode(Stage, data, what="stage")
    if any(len(identity) != ids.ID_SIZE for identity in (stage.tree, *stage.merging)) or len(stage.nonce) != NONCE_SIZE:
        raise FormatError("a stage holds an id or nonce of the wrong length")
    snapshot.check_roots(stage.roots)
    return stage
