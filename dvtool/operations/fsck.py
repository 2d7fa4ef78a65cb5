"""``dv fsck``: proves that a store holds what it should, and changes nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from dvtool.checking import Check
from dvtool.errors import UsageError
from dvtool.sharing.examining import RemoteCheck
from dvtool.worktree import layout

if TYPE_CHECKING:
    from dvtool.checking import Report
    from dvtool.workspace import Workspace
    from dvtool.worktree.session import Context


def fsck(directory: str, context: Context, *, quick: bool = False, max_bytes: int | None = None) -> Report:
    """Check the store of the repository that holds a directory; it need not open.

    Args:
        directory: where to look for the repository.
        context: where to report.
        quick: read files and hold them against their checksums only, which needs no key.
        max_bytes: read packs of about so many bytes, those first whose last check is longest ago.

    Raises:
        NotFoundError: when there is no repository, or no store in it.
        KeyAccessError: when the key is missing or wrong; a quick check needs none.
        UsageError: when the budget is negative.
    """
    _require_budget(max_bytes)
    return Check(layout.find(directory), context, max_bytes).run(quick=quick)


def fsck_remote(workspace: Workspace, name: str, *, quick: bool = False, max_bytes: int | None = None) -> Report:
    """Check the store of a remote, which need not open.

    Args:
        workspace: the worktree.
        name: which remote.
        quick: read files and hold them against their checksums only, which needs none of the remote's keys.
        max_bytes: read packs of about so many bytes, those first whose last check is longest ago.

    Raises:
        NotFoundError: when there is no such remote, or no store there.
        StorageError: when it does not answer: nothing is known then.
        ConflictError: when it is the store of another repository.
        KeyAccessError: when its key is missing or wrong; a quick check needs none.
        UsageError: when the budget is negative.
    """
    _require_budget(max_bytes)
    with contextlib.closing(RemoteCheck(workspace, name, max_bytes)) as check:
        return check.run(quick=quick)


def _require_budget(max_bytes: int | None) -> None:
    if max_bytes is not None and max_bytes < 0:
        raise UsageError("a budget cannot be negative", next="give the number of bytes to read at most")
