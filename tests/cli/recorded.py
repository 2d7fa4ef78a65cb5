"""Runs that are recorded for real, and what is stored of them."""

import signal
import subprocess
import sys
import time

from dvtool import ids
from dvtool.formats import run
from dvtool.testing.audit import audit
from tests.cli.running import store_of

PYTHON = sys.executable


DV = [PYTHON, "-m", "dvtool.cli.main"]


def start(dv, *words, **options):
    """``dv run`` in a process, with interrupts as a shell gives them: who runs tests in the background ignores them."""
    own = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return subprocess.Popen(
            [*DV, "run", *words], cwd=dv.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )
    finally:
        signal.signal(signal.SIGINT, own)


def python(code):
    return ["--", PYTHON, "-c", code]


def stored(dv):
    """All runs that are stored, the oldest first."""
    state = store_of(dv).refresh()
    return [run.decode(store_of(dv).read_object(ids.RUN, value)) for _name, value in sorted(state.ref_names("runs/"))]


def only(dv):
    found = stored(dv)
    assert len(found) == 1
    assert not journals(dv)
    return found[0]


def journals(dv):
    place = dv.root / ".dv/runs"
    return sorted(place.iterdir()) if place.exists() else []


def tree_of(dv):
    """All files of the tree of the one run, by path."""
    store = store_of(dv)
    state = store.refresh()
    ((_name, value),) = list(state.ref_names("runs/"))
    return audit(store).snapshots[value]


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
