"""What the schedules have found, once each and step by step: who destroys while others collect, rotate or wait."""

import os

import pytest

from dvtool.erasure import asking, executing, journal, planning
from dvtool.erasure.targets import Targets
from dvtool.errors import ConflictError, NotFoundError
from dvtool.formats import log, pack
from dvtool.formats.repokey import Plain, Unlock
from dvtool.store import checkpoints, erasing, keys, rotating
from dvtool.testing.recording import RecordingDisk
from dvtool.testing.volume import Survival
from dvtool.worktree import places
from tests.erasure.conftest import WHO, described, opened
from tests.erasure.test_bad_disks import anew, calls_of, killed


def store_of(base):
    return opened(base).workspace.session.store


def condemned(store, *names):
    store.log.append("gc", lambda _state: [log.Condemn(names=names)])


def test_what_a_collector_condemned_and_an_entry_names_is_left_to_it(base):
    """It condemned a pack before the entry came that names it, and will save what is needed before it drops it."""
    store = store_of(base)
    before = described(base)
    name, _time = store.refresh().packs.items()[0]
    condemned(store, pack.file_name(name))
    erasing.destroy(store)
    assert store.refresh().condemned.get(pack.file_name(name).encode()) is not None
    assert store.state.dropped.get(pack.file_name(name).encode()) is None
    assert described(base) == before
    opened(base).gc(grace=0)
    assert described(base) == before


def test_a_log_key_that_nobody_names_yet_is_condemned_before_it_is_destroyed(base):
    store, other = store_of(base), store_of(base)
    label = keys.write_log_key(other.backend, other.format.store, other.secrets.wrap, other.entropy)
    other.backend.flush()
    erasing.destroy(store)
    assert not store.backend.exists(keys.log_key_name(label))
    with pytest.raises(ConflictError, match="a new log key was condemned"):
        checkpoints.write(other, label=label)
    assert store_of(base).refresh().head == store.state.head


def test_who_still_destroys_for_an_erasure_leaves_the_log_key_of_the_next(base, monkeypatch):
    """The first has fallen behind; another finished its work, and then the next erasure is committed."""
    slow = store_of(base)
    purge = erasing._purge

    def late(*arguments):
        monkeypatch.setattr(erasing, "_purge", purge)
        opened(base).erase([WHO])
        purge(*arguments)

    monkeypatch.setattr(erasing, "_purge", late)
    erasing.destroy(slow)
    head = store_of(base).refresh()
    assert store_of(base).backend.exists(keys.log_key_name(head.label))
    assert [item.state for item in opened(base).erasures()] == ["finished"]
    assert described(base)


def test_a_rotation_does_not_bring_back_a_log_key_that_was_destroyed(base, monkeypatch):
    store = store_of(base)
    old = store.refresh().label
    replace = keys.replace_log_key

    def late(*arguments):
        monkeypatch.setattr(keys, "replace_log_key", replace)
        eraser = store_of(base)
        eraser.refresh()
        erasing.destroy(eraser)
        replace(*arguments)

    monkeypatch.setattr(keys, "replace_log_key", late)
    rotating.rotate(store.backend, Unlock(), Plain(), clock=store.clock, entropy=store.entropy, disk=store.disk)
    assert not store.backend.exists(keys.log_key_name(old))
    assert described(base)


def pending(base):
    return [(phase, identity) for identity, phase, _planned in store_of(base).refresh().pending()]


def stopped_behind_the_commit(template, base):
    """An erasure whose process was killed at the first step of the disk after its commit."""
    total, wanted, _files = calls_of(base)
    for at in range(total - 1, 0, -5):
        anew(template, base)
        assert killed(base, at) == -9
        if [phase for phase, _identity in pending(base)] == [log.ERASED]:
            return wanted
    raise AssertionError("it was never stopped behind its commit")


def test_a_second_erasure_does_not_write_over_the_journal_of_one_that_was_stopped(template, base):
    """It had looked before the first was announced, and waited for the worktree until that one's process was gone."""
    stopped_behind_the_commit(template, base)
    ((_phase, first),) = pending(base)
    repo = opened(base)
    request = asking.Request(erasure=os.urandom(16), key=os.urandom(32), targets=Targets(patterns=("data/a.txt",)))
    plan = planning.plan(repo.workspace.session.store, asking.wish_of(request), repo.workspace.session.context.progress)
    with pytest.raises(ConflictError, match="is pending"):
        executing.begin(repo.workspace, request, plan)
    noted = journal.read(f"{base}/repo/.dv/store")
    assert noted is not None
    assert noted.erasure == first


def test_an_erasure_is_finished_though_nobody_can_tell_what_it_was_about(template, base):
    wanted = stopped_behind_the_commit(template, base)
    os.unlink(places.erasing_of(f"{base}/repo/.dv/store"))
    repo = opened(base)
    with pytest.raises(ConflictError, match="is pending"):
        repo.erase(["data/a.txt"])
    done = repo.resume_erasure()
    assert done.state == "finished"
    assert pending(base) == []
    assert described(base) == wanted
    assert not os.path.lexists(places.erasing_of(f"{base}/repo/.dv/store"))
    assert "could not be told any more" in opened(base).erasure_certificate().decode()


def test_what_was_not_committed_and_cannot_be_told_is_given_up(base, monkeypatch):
    def never(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "commit", never)
        with pytest.raises(KeyboardInterrupt):
            opened(base).erase([WHO])
    before = described(base)
    assert [phase for phase, _identity in pending(base)] == [log.ERASING]
    opened(base).abort_erasure()
    assert described(base) == before
    with pytest.raises(NotFoundError):
        opened(base).resume_erasure()


def test_a_loss_of_power_while_entries_are_emptied_leaves_each_of_them_whole_or_empty(base):
    """And the log is read to its head, and what is left is emptied by the next."""
    store = store_of(base)
    assert checkpoints.write(store)
    state = store.refresh()
    names = [log.file_name(number) for number in range(1, state.checkpoint)]
    before = {name: store.backend.read(name) for name in names}
    wanted = described(base)
    disk = RecordingDisk(base)
    erasing.empty_entries(opened(base, disk).workspace.session.store, state)
    steps = disk.finish()
    assert len(steps) > len(names)
    seen = set()
    for k, volume in disk.moments():
        for survival in Survival:
            image = volume.image(survival, k)
            if hash(image) in seen:
                continue
            seen.add(hash(image))
            volume.write_to(base, survival, k)
            found = store_of(base)
            for name in names:
                assert found.backend.read(name) in {before[name], log.STUB}, (k, survival, name)
            assert found.refresh().head == state.head, (k, survival)
            assert described(base) == wanted, (k, survival)
            erasing.empty_entries(found, found.state)
            assert {found.backend.read(name) for name in names} == {log.STUB}, (k, survival)
    assert len(seen) > len(names)
