"""An erasure that is stopped at any moment, by the end of its process or a loss of power, and gone on with."""

import os

import pytest

from dvtool.errors import NotFoundError
from dvtool.repo import Repo
from dvtool.testing.recording import RecordingDisk
from dvtool.testing.volume import Survival
from dvtool.worktree import places
from tests.erasure.conftest import WHO, described, opened, worktree

QUICK = (Survival.ALL, Survival.DURABLE, Survival.MIXED)


def erased(base, disk=None):
    return opened(base, disk).erase([WHO], request="R-1")


def finished(base):
    """Go on from wherever it was stopped, as a user does."""
    repo = opened(base)
    if repo.status().pending_erasures:
        repo.resume_erasure()
    else:
        try:
            repo.erase([WHO], request="R-1")
        except NotFoundError:
            assert [each.state for each in repo.erasures()] == ["finished"]


def check(base, wanted, files, where):
    repo = opened(base)
    assert described(base) == wanted, where
    assert worktree(base) == files, where
    (item,) = repo.erasures()
    assert item.state == "finished", where
    assert repo.verify_erasure(item.id, deep=True).problems == (), where
    assert Repo.fsck(f"{base}/repo").clean, where
    assert not os.path.lexists(places.erasing_of(f"{base}/repo/.dv/store")), where
    assert repo.status().clean is False, where  # what was staged is staged still


def stop_everywhere(base, survivals, *, stride, seeds=(0,)):
    disk = RecordingDisk(base)
    erased(base, disk)
    steps = disk.finish()
    wanted, files = described(base), worktree(base)
    check(base, wanted, files, "the whole")
    seen = set()
    for k, volume in disk.moments():
        if k % stride and k < len(steps) - 1:
            continue
        for survival in survivals:
            for seed in seeds if survival is Survival.MIXED else (0,):
                image = hash(volume.image(survival, seed))
                if image in seen:
                    continue
                seen.add(image)
                where = (k, len(steps), survival.value, seed, str(steps[k - 1])[:200] if k else "start")
                volume.write_to(base, survival, seed)
                finished(base)
                check(base, wanted, files, where)


def test_stopped_at_any_moment_an_erasure_is_finished_by_the_next_call(base):
    stop_everywhere(base, QUICK, stride=7)


@pytest.mark.deep
def test_stopped_at_every_moment_an_erasure_is_finished_by_the_next_call(base):
    stop_everywhere(base, tuple(Survival), stride=1, seeds=range(4))
