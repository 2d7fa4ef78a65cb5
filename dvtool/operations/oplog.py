"""``dv oplog``: what was done to the store, newest first."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

from dvtool.history import oplog as operations

if TYPE_CHECKING:
    from dvtool.history.oplog import OperationItem
    from dvtool.workspace import Workspace


def oplog(workspace: Workspace, *, limit: int | None = None) -> list[OperationItem]:
    """Return the operations that the log still tells of, newest first; upkeep that moved no ref is left out.

    Args:
        workspace: the worktree.
        limit: at most so many.
    """
    entries = (entry for entry in workspace.session.store.log.entries() if entry.operation not in operations.UPKEEP)
    most = None if limit is None else min(max(limit, 0), sys.maxsize)
    return [operations.describe(entry) for entry in itertools.islice(entries, most)]
