"""The tools that take files out of a history, one module each, and the program that makes one for dv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.erasers.dv import ErasingDv
from benchmarks.erasers.filter_repo import FilterRepo

if TYPE_CHECKING:
    from benchmarks.erasers.contract import Eraser

ERASERS: dict[str, type[Eraser]] = {kind.name: kind for kind in (ErasingDv, FilterRepo)}
"""Every one by name, in the order of the tables."""
