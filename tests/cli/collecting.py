"""Garbage to be collected, and what is left of it."""

import os
import time

import pytest

from dvtool.repo import Repo
from dvtool.storage.local import LocalBackend
from dvtool.testing.audit import audit
from dvtool.testing.effects import SteppedClock
from dvtool.worktree.session import Context

NOTHING = {"files": 0, "bytes": 0}
DAY = 86_400_000_000


class Later:
    """The machine's clock, some days on."""

    def __init__(self, days):
        self._clock = SteppedClock(start=1_800_000_000_000_000 + days * DAY)

    def now(self):
        return self._clock.now()


def store_files(dv, *directories):
    top = dv.root / ".dv/store"
    return sorted(
        f"{each}/{name}" for each in directories or ("packs", "index", "keys") for name in os.listdir(top / each)
    )


def content(dv):
    """Every snapshot in the store with its files, all of it read and verified; and no file in the way."""
    return audit(Repo.open(str(dv.root)).workspace.session.store).snapshots


def gc(dv, *options):
    return dv("gc", "--json", *options).json


def forget(dv, path, text):
    """Stage a file and take it back, so that only the operation log still knows of it."""
    dv.write(path, text)
    dv("add", "data")
    dv("rm", "--cached", path)
    (dv.root / path).unlink()


def at(dv, days, *, disk=None, tell=lambda _text: None, **options):
    """Collect under a clock that is some days on, as is that of the disk unless ``disk`` says otherwise."""
    context = Context(clock=Later(days), cwd=str(dv.root), tell=tell)
    ahead = Later(days if disk is None else disk).now() - time.time_ns() // 1000
    real = LocalBackend.modified
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalBackend, "modified", lambda self, name: real(self, name) + ahead)
        return Repo.open(str(dv.root), context).gc(**options)


def doomed_snapshot(data):
    """Make a snapshot that nothing leads to, condemn it, and return its id."""
    data("checkout", "-b", "side")
    data.write("data/side", "side" * 1000)
    lost = data.commit("side")
    data("checkout", "main")
    data("branch", "-d", "--force", "side")
    assert gc(data, "--retention", "0")["condemned"]["files"]
    return lost
