"""Every command, stopped at every moment: by the end of its process, and by a loss of power.

The recorded steps of one run are taken up to each k, in each way in which a disk may look afterwards
(:class:`dvtool.testing.volume.Survival`).  The repository then opens, is in the state before or after the command,
has lost nothing, and takes the command again.
"""

import pytest

from dvtool.testing.recording import RecordingDisk
from dvtool.testing.volume import Survival
from tests.faults.conftest import NO_REF

QUICK = (Survival.ALL, Survival.DURABLE, Survival.MIXED)


def stop_everywhere(world, name, survivals, *, stride, seeds=(0,)):
    place = world(name)
    disk = RecordingDisk(place.base)
    place.run(disk)
    steps = disk.finish()
    place.finish()
    assert steps, "the command changed nothing"
    seen = set()
    results = set()
    for k, volume in disk.moments():
        if k % stride and k < len(steps) - 1:
            continue
        for survival in survivals:
            for seed in seeds if survival is Survival.MIXED else (0,):
                image = hash(volume.image(survival, seed))
                if image in seen:
                    continue
                seen.add(image)
                where = (name, k, len(steps), survival.value, seed, str(steps[k - 1])[:200] if k else "start")
                volume.write_to(place.base, survival, seed)
                results.add(place.check(where=where))
                place.check_again(where=where)
    return results


def test_a_command_is_done_or_not_done(world, name):
    results = stop_everywhere(world, name, QUICK, stride=3)
    if name not in NO_REF:
        assert results == {True, False}


@pytest.mark.deep
def test_a_command_is_done_or_not_done_at_every_moment(world, name):
    stop_everywhere(world, name, tuple(Survival), stride=1, seeds=range(6))


def test_the_last_moment_is_what_the_command_left(world, name):
    place = world(name)
    disk = RecordingDisk(place.base)
    place.run(disk)
    disk.finish()
    place.finish()
    *_moments, (_k, volume) = disk.moments()
    volume.write_to(f"{place.base}-rebuilt", Survival.ALL)
    place.base = f"{place.base}-rebuilt" if name != "worktree add" else place.base
    assert place.check(where=name) in {True, False}
    assert place.audit().refs == place.after.refs
