"""Key files: the data keys of packs and index files, sealed under the wrapping key (``docs/format/keyfile.md``)."""

from __future__ import annotations

import msgspec

from dvtool import ids
from dvtool.crypto import KEY_SIZE
from dvtool.errors import FormatError
from dvtool.formats import codec


class KeyFile(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Data keys (32 bytes each) by pack name, and the key of the one index file that goes with this file."""

    packs: dict[bytes, bytes]
    index: bytes
    sections: dict[str, msgspec.Raw] = {}


# The encoder of the other formats puts maps in order by itself, but only those whose keys are text.
_ENCODER = msgspec.msgpack.Encoder()


def encode(keys: KeyFile) -> bytes:
    """Return the payload that is then sealed."""
    return _ENCODER.encode(
        msgspec.structs.replace(
            keys, packs=dict(sorted(keys.packs.items())), sections=dict(sorted(keys.sections.items()))
        )
    )


def decode(data: bytes) -> KeyFile:
    """Return the keys that an opened key file holds.

    Raises:
        FormatError: when it is malformed, or not written as :func:`encode` does: packs in order, each once.
    """
    keys = codec.decode(KeyFile, data, what="key file", exact=False)
    if encode(keys) != data:
        raise codec.second_encoding("key file")
    if any(len(key) != KEY_SIZE for key in (*keys.packs.values(), keys.index)):
        raise FormatError("a key file holds a key of the wrong length")
    if any(len(name) != ids.ID_SIZE for name in keys.packs):
        raise FormatError("a key file names a pack by a name of the wrong length")
    return keys
