"""A store that holds nothing yet, in any backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from dvtool.formats import repokey, storeformat
from dvtool.store.keys import REPOSITORY_KEY, new_secret
from dvtool.store.store import new_format

if TYPE_CHECKING:
    from dvtool.effects import Entropy
    from dvtool.storage.backend import Backend

B = TypeVar("B", bound="Backend")


def make_store(backend: B, entropy: Entropy, value: storeformat.StoreFormat | None = None) -> B:
    """Put the two files that make a store into ``backend`` and return it; its log has no entry yet.

    Args:
        backend: where nothing is so far.
        entropy: decides ids and secret.
        value: what its ``format`` file says, where that is to be something special.
    """
    value = value or new_format(entropy)
    backend.put("format", storeformat.encode(value))
    opened = new_secret(entropy)
    backend.put(REPOSITORY_KEY, repokey.encode(value.repository, opened, repokey.Plain(), entropy))
    return backend
