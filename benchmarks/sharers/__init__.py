"""The tools that bring data to other machines by way of S3, one module each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.sharers.dv import SharingDv
from benchmarks.sharers.dvc import SharingDvc
from benchmarks.sharers.plain import Plain, PlainByFour
from benchmarks.sharers.restic import SharingRestic

if TYPE_CHECKING:
    from benchmarks.sharers.contract import Sharer

SHARERS: dict[str, type[Sharer]] = {
    kind.name: kind for kind in (SharingDv, Plain, PlainByFour, SharingDvc, SharingRestic)
}
"""Every one by name, in the order of the tables."""
