"""Histories to be expired, and what is left of them."""

import datetime as dt
import os

from dvtool.repo import Repo
from dvtool.testing.audit import audit
from dvtool.testing.effects import SteppedClock
from dvtool.worktree.session import Context

DAY = 86_400_000_000
START = 1_700_000_000_000_000
"""In microseconds: 2023-11-14T22:13:20Z."""


def expire(dv, *options, at=""):
    return dv("expire", "--json", "--yes", *options, at=at).json


def commits(dv, count, path="data/a.txt", at=""):
    """Record so many snapshots and return their ids, oldest first."""
    made = []
    for number in range(count):
        dv.write(f"{at}/{path}" if at else path, os.urandom(3000).hex() + f" {number}")
        made.append(dv("commit", "-a", "-m", f"number {number}", "--json", at=at).json["snapshot"])
    return made


def dated(dv, *days):
    """Record a snapshot on each of these days, counted from a certain one, and return their ids."""
    made = []
    for number, day in enumerate(days):
        dv.write("data/a.txt", f"{number} on {day}")
        context = Context(clock=SteppedClock(start=START + day * DAY), cwd=str(dv.root))
        made.append(Repo.open(str(dv.root), context).commit(f"{day}", everything=True).snapshot)
    return made


def on(day):
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=START + day * DAY)).isoformat()


def shown(dv, *words, at=""):
    return [item["snapshot"] for item in dv("log", "--json", *words, at=at).json]


def store_of(dv):
    return Repo.open(str(dv.root)).workspace.session.store


def stored(dv):
    """How many packs there are, and their bytes."""
    sizes = [path.stat().st_size for path in (dv.root / ".dv/store/packs").iterdir()]
    return len(sizes), sum(sizes)


def held(dv, identity):
    """What a snapshot holds, after every byte of the store was read."""
    found = audit(store_of(dv)).snapshots
    return found[bytes.fromhex(identity)]


def collect(dv):
    """Delete now what nothing needs, and see that the store is sound."""
    found = dv("gc", "--grace", "0", "--json").json
    assert dv("fsck", "--full", "--json").json["clean"]
    assert dv("gc", "--grace", "0", "--json").json["deleted"]["files"] == 0
    return found
