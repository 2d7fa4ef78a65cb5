"""A disk that refuses at the k-th call, for every k: a clear error, nothing lost, and the next run works."""

import inspect

import pytest

from dvtool.cli import exits
from dvtool.errors import DvError
from dvtool.storage.disk import Disk
from dvtool.testing.faults import Fault, FaultyDisk
from dvtool.testing.recording import RecordingDisk

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
    # What a full or broken disk cannot refuse is the cache of a command that changes nothing else.
    assert fail_everywhere(world, name, fault, stride=1) > 0 or name in {"restore", "get"}


@pytest.mark.parametrize("kind", [RecordingDisk, FaultyDisk])
def test_no_way_to_the_disk_is_forgotten(kind):
    built_on_others = {"write"}
    calls = {each for each, _ in inspect.getmembers(Disk, inspect.isfunction) if not each.startswith("_")}
    assert calls - built_on_others - set(vars(kind)) == set()
