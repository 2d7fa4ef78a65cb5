"""The tools that are compared, one module each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contenders.annex import GitAnnex
from benchmarks.contenders.borg import Borg
from benchmarks.contenders.cp import Cp
from benchmarks.contenders.dv import Dv
from benchmarks.contenders.dvc import Dvc
from benchmarks.contenders.git import Git
from benchmarks.contenders.lfs import GitLfs
from benchmarks.contenders.restic import Restic
from benchmarks.contenders.tar import Tar

if TYPE_CHECKING:
    from benchmarks.contenders.contract import Contender

CONTENDERS: dict[str, type[Contender]] = {
    kind.name: kind for kind in (Dv, Tar, Cp, Git, GitLfs, GitAnnex, Dvc, Restic, Borg)
}
"""Every contender by name, in the order of the tables."""

PLAIN = frozenset({"tar", "cp", "plain", "plain-4"})
"""Contenders that are yardsticks rather than peers: they keep no history."""
