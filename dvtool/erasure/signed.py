"""What people have put their names to beside snapshots and runs: holds, decisions, and that a clone is gone.

Whose name is to go is taken out of all of them.  The hold holds on, and the decision stands, with ground and time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool import ids
from dvtool.formats import clone, hold, log
from dvtool.formats import erasure as formats
from dvtool.history import holds

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.formats.erasure import Record
    from dvtool.store.store import Store

PREFIXES = (f"{log.HOLDS}/", f"{log.ERASURES}/", f"{log.CLONES}/")
"""What the names of refs begin with that name such."""


def rewritten(
    store: Store, name: str, identity: bytes, author: Callable[[str], str], certified: Callable[[Record], Record]
) -> tuple[int, bytes] | None:
    """Return the kind and the bytes of a hold, or of a record, without a name; None where it is not in it.

    Args:
        store: the store.
        name: the ref that names it.
        identity: its id.
        author: returns what stands in the place of an author.
        certified: returns a record with a new certificate, which names those who decided as well.

    Raises:
        IntegrityError, FormatError: when it is missing or damaged.
    """
    nonce = store.entropy.bytes
    if name.startswith(f"{log.HOLDS}/"):
        held = holds.named(store, name, identity)
        by = author(held.author)
        if by == held.author:
            return None
        return ids.HOLD, hold.encode(msgspec.structs.replace(held, author=by, nonce=nonce(hold.NONCE_SIZE)))
    if name.startswith(f"{log.CLONES}/"):
        gone = clone.check_name(name, clone.decode(store.read_object(ids.CLONE, identity)))
        by = author(gone.author) if gone.author else ""
        if by == gone.author:
            return None
        return ids.CLONE, clone.encode(msgspec.structs.replace(gone, author=by, nonce=nonce(clone.NONCE_SIZE)))
    record = formats.decode(store.read_object(ids.ERASURE, identity))
    decisions = tuple(
        msgspec.structs.replace(each, author=author(each.author)) if each.author else each for each in record.decisions
    )
    if decisions == record.decisions:
        return None
    changed = msgspec.structs.replace(
        record, decisions=decisions, revision=record.revision + 1, nonce=nonce(formats.NONCE_SIZE)
    )
    return ids.ERASURE, formats.encode(certified(changed) if record.certificate else changed)
