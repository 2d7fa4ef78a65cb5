"""``dv upgrade``: brings a store to the version of the format that this dv writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from dvtool.workspace import Workspace


class UpgradeResult(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """The version that a store had, the one that it has now, and whether anything was changed."""

    before: int
    after: int
    changed: bool


def upgrade(workspace: Workspace) -> UpgradeResult:
    """Return which version a store has; a store that opens has the newest, since there is one version so far.

    Whatever has another version was refused when the store was opened: its ``format``, an entry of its log, or the
    worktree's own file.  How a store will be brought from one version to the next stands in
    ``docs/format/storeformat.md``.
    """
    version = workspace.session.store.format.version
    return UpgradeResult(before=version, after=version, changed=False)
