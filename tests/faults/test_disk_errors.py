"""A disk that refuses at the k-th call, for every k, and signals without end: a clear error, and nothing lost."""

import inspect
import os
import signal

import pytest

from dvtool.cli import exits
from dvtool.cli.catalogue import COMMANDS
from dvtool.errors import DvError
from dvtool.storage.disk import Disk
from dvtool.testing.faults import Fault, FaultyDisk
from dvtool.testing.recording import RecordingDisk
from tests.faults.conftest import COMMANDS as FAULTED
from tests.faults.conftest import put

NEVER = 10**9


def refused(place, disk):
    """The error that a command ends with on this disk, None when it needed nothing that failed."""
    try:
        place.run(disk)
    except DvError as error:
        return error
    return None


def fail_everywhere(world, name, fault, *, stride, offset=0):
    place = world(name)
    counting = FaultyDisk(fault, NEVER)
    place.run(counting)
    place.finish()
    assert counting.calls > 0 or name == "restore", "the command changed nothing"
    failed = 0
    for k in range(offset % stride, counting.calls, stride):
        place.reset()
        disk = FaultyDisk(fault, k)
        where = (name, fault.name, k, counting.calls)
        refusal = refused(place, disk)
        if refusal is not None:
            failed += 1
            assert exits.code_of(refusal) == 30, f"{where}: {refusal!r} does not say that the disk refused"
            assert refusal.what
            assert refusal.next
        place.check(where=where)
        place.check_again(where=where)
    return failed


@pytest.mark.parametrize("fault", Fault)
def test_a_refusing_disk_is_named_and_harmless(world, name, fault):
    fail_everywhere(world, name, fault, stride=5, offset=len(name) + fault.value)


@pytest.mark.deep
@pytest.mark.parametrize("fault", Fault)
def test_a_refusing_disk_is_named_and_harmless_at_every_call(world, name, fault):
    # What a full or broken disk cannot refuse is the cache of a command that changes nothing else; and a full one
    # refuses nobody who only removes.
    harmless = name in {"restore", "get", "fsck"} or (name == "cache prune" and fault is Fault.FULL)
    assert fail_everywhere(world, name, fault, stride=1) > 0 or harmless


def test_every_command_that_changes_a_disk_is_tried():
    # The rest reads, asks, or is made of these; a command that is new must be put here or there.
    reading = {"status", "log", "show", "ls", "cat", "du", "diff", "oplog", "doctor", "completion", "upgrade"}
    reading |= {"lineage", "check"}
    elsewhere = {"archive": "tests/cli", "demo": "tests/cli", "run": "tests/cli", "runs": "tests/cli"}
    elsewhere |= {"erase": "tests/erasure", "erasure": "tests/erasure"}
    tried = {name.partition(" ")[0] for name in FAULTED}
    assert set(COMMANDS) - reading - set(elsewhere) <= tried
    assert not tried & reading


def storm(world, name, *, every):
    """Run a command while signals arrive all the time, and return how many it was interrupted by."""
    place = world(name)
    arrived = []
    before = signal.signal(signal.SIGALRM, lambda number, _frame: arrived.append(number))
    signal.siginterrupt(signal.SIGALRM, True)
    signal.setitimer(signal.ITIMER_REAL, every, every)
    try:
        place.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    place.finish()
    place.check(where=(name, "signals"))
    place.check_again(where=(name, "signals"))
    return len(arrived)


def test_a_command_under_a_storm_of_signals_is_done(world, name):
    assert storm(world, name, every=0.0005) > 0


def test_archiving_on_a_disk_that_refuses_says_so(world):
    place = world("branch")
    target = f"{place.base}/full"
    os.makedirs(target)
    os.chmod(target, 0o500)
    repo = place.open()
    if os.access(target, os.W_OK):  # for the administrator no directory is closed, but a file is no directory
        os.rmdir(target)
        put(target, b"in the way")
    with pytest.raises(DvError) as caught:
        repo.archive("HEAD", f"{target}/archived")
    assert exits.code_of(caught.value) in {11, 30}
    place.check(where="archive")


@pytest.mark.parametrize("kind", [RecordingDisk, FaultyDisk])
def test_no_way_to_the_disk_is_forgotten(kind):
    built_on_others = {"write"}
    calls = {each for each, _ in inspect.getmembers(Disk, inspect.isfunction) if not each.startswith("_")}
    assert calls - built_on_others - set(vars(kind)) == set()
