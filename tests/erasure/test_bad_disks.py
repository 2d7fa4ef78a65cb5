"""Disks that are full, broken or read-only while something is erased: nothing half done, and a second try succeeds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dvtool.errors import DvError
from dvtool.testing.faults import DyingDisk, Fault, FaultyDisk
from tests.erasure.conftest import WHO, described, opened, worktree
from tests.erasure.test_stopped import check, erased, finished

NEVER = 10**9
STRIDE = 9


def calls_of(base):
    """How often an erasure calls the disk, and what it comes to."""
    disk = FaultyDisk(Fault.BROKEN, NEVER)
    erased(base, disk)
    return disk.calls, described(base), worktree(base)


def anew(template, base):
    shutil.rmtree(base)
    shutil.copytree(template, base, symlinks=True)


def fail_everywhere(template, base, fault, stride):
    total, wanted, files = calls_of(base)
    before = None
    refused = 0
    for at in range(0, total, stride):
        anew(template, base)
        before = before or described(base)
        disk = FaultyDisk(fault, at)
        try:
            erased(base, disk)
        except DvError:
            refused += 1
        repo = opened(base)
        if not repo.status().pending_erasures and not repo.erasures():
            assert described(base) == before, at
            assert os.path.isdir(f"{base}/repo/{WHO}"), at
        finished(base)
        check(base, wanted, files, at)
    assert refused


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_a_disk_that_refuses_leaves_all_or_what_can_be_finished(template, base, fault):
    fail_everywhere(template, base, fault, STRIDE)


@pytest.mark.deep
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_a_disk_that_refuses_at_any_call_leaves_all_or_what_can_be_finished(template, base, fault):
    fail_everywhere(template, base, fault, 1)


DIE = """
import sys
from dvtool.repo import Repo
from dvtool.testing.faults import DyingDisk
from dvtool.worktree.session import Context
base, at, who = sys.argv[1], int(sys.argv[2]), sys.argv[3]
Repo.open(f"{base}/repo", Context(disk=DyingDisk(at), cwd=f"{base}/repo")).erase([who], request="R-1")
"""


def killed(base, at):
    done = subprocess.run([sys.executable, "-c", DIE, base, str(at), WHO], check=False, capture_output=True)
    return done.returncode


@pytest.mark.parametrize("at", [0, 5, 25, 60, 90, 120, 150, 180])
def test_killed_at_a_call_it_is_finished_by_the_next(template, base, at):
    total, wanted, files = calls_of(base)
    anew(template, base)
    assert issubclass(DyingDisk, FaultyDisk)
    assert killed(base, min(at, total - 1)) == -9
    finished(base)
    check(base, wanted, files, at)


def test_what_is_damaged_keeps_everything_as_it_is(base):
    """A frame that is needed and does not open: nobody could write it anew."""
    for place in Path(f"{base}/repo/.dv/store/packs").iterdir():
        data = bytearray(place.read_bytes())
        for at in range(200, len(data) - 400, 97):
            data[at] ^= 1
        place.chmod(0o644)
        place.write_bytes(data)
    before = opened(base).workspace.session.store.refresh().number
    with pytest.raises(DvError, match="damaged"):
        opened(base).erase([WHO])
    state = opened(base).workspace.session.store.refresh()
    assert state.pending() == []
    assert state.number - before in {0, 2}  # announced, and given up
    assert os.path.isdir(f"{base}/repo/{WHO}")
