"""Makes the control directory of a new repository, or of a clone of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.formats import log
from dvtool.store import store as stores
from dvtool.worktree import layout
from dvtool.worktree.session import DEFAULT_BRANCH

if TYPE_CHECKING:
    from dvtool.formats.repokey import Opened
    from dvtool.formats.storeformat import StoreFormat
    from dvtool.worktree.session import Context


def make_control(
    directory: str,
    context: Context,
    *,
    described: StoreFormat | None = None,
    opened: Opened | None = None,
    branch: str = DEFAULT_BRANCH,
) -> None:
    """Fill a new control directory: store, first log entry, worktree file.

    Args:
        directory: the control directory, which is there and empty.
        context: the command's.
        described: the repository that is cloned, with a new store id; a new repository by default.
        opened: that repository's secret, and a wrapping secret for the new store.
        branch: the branch that HEAD is on.
    """
    store = stores.create_local(
        f"{directory}/store",
        clock=context.clock,
        entropy=context.entropy,
        disk=context.disk,
        described=described,
        opened=opened,
    )
    worktree = layout.WorktreeFile(version=layout.VERSION, id=context.entropy.bytes(16).hex())
    stores.first_entry(store, {f"worktrees/{worktree.id}": log.to_symbolic(f"heads/{branch}")})
    layout.hide_from_git(directory, context.disk)
    layout.write_file(f"{directory}/worktree", worktree.encode(), context.disk)
