"""What was erased here does not come back from a remote that has it still."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.errors import ConflictError
from dvtool.formats import log

if TYPE_CHECKING:
    from dvtool.store.store import Store


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
                next="erase it there as well: run 'dv erasure resume' with the id of the erasure ('dv erasure list')",
            )
