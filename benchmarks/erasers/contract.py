"""What an eraser is: a tool that keeps a history, and its command lines to take files out of all of it."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contenders.contract import Slot, Tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure import Script

HERE = Path(__file__).parent
Sizes = dict[str, int]
"""Files of a store that are never written twice: sizes in bytes by name."""


class Eraser(Tool):
    """A tool under measurement. The worktree holds the data set before a history is made."""

    @abstractmethod
    def history(self, slot: Slot, edits: Path) -> Script:
        """Store the data set, then one snapshot for each line of edits, and check out the last."""

    @abstractmethod
    def settle(self, slot: Slot) -> Script:
        """Look at all files of a worktree that was copied, so that no measurement pays for that."""

    @abstractmethod
    def erase(self, slot: Slot, paths: Sequence[str]) -> dict[str, Script]:
        """Erase paths: the parts of that by name, to be run in this order; there may be one alone."""

    @abstractmethod
    def left(self, slot: Slot, path: str) -> str:
        """Return what is still known of a path that was erased; nothing, if all is well."""

    @abstractmethod
    def contents(self, slot: Slot) -> Sizes:
        """Name the files that hold contents and trees."""

    def gone(self, output: str) -> int | None:
        """Return how many bytes of such files went, where the tool says so."""
        _ = output
        return None
