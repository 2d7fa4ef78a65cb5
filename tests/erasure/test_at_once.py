"""An erasure and other commands at the same moment: they come before it and are included, or are refused, or wait."""

import os
import subprocess
import sys

import pytest

from dvtool.erasure import executing, local
from dvtool.errors import ConflictError
from dvtool.repo import Repo
from dvtool.store import erasing
from tests.erasure.conftest import SECRET, WHO, described, opened
from tests.faults.conftest import put

DV = [sys.executable, "-m", "dvtool.cli.main"]


@pytest.fixture
def two(base):
    """A second worktree of the same store, in which the person's files lie as well."""
    opened(base).add_worktree(f"{base}/other", "side")
    return base


def held(base):
    """Whatever holds the secret: refs with their paths, and files in worktrees."""
    found = [
        (name, path)
        for name, files in described(base).items()
        if not isinstance(files, str)
        for path, data in files.items()
        if SECRET in data or WHO in path
    ]
    return found + [(top, WHO) for top in ("repo", "other") if os.path.isdir(f"{base}/{top}/{WHO}")]


def before_announcing(monkeypatch, act):
    real = erasing.announce

    def announce(*arguments):
        act()
        return real(*arguments)

    monkeypatch.setattr(erasing, "announce", announce)


def before_committing(monkeypatch, act):
    real = erasing.commit

    def commit(*arguments):
        act()
        return real(*arguments)

    monkeypatch.setattr(erasing, "commit", commit)


def test_what_is_recorded_before_the_announcement_is_included(base, monkeypatch):
    made = []

    def record():
        store = Repo.open(f"{base}/repo").workspace.session.store
        tag = store.state.ref("tags/clean")
        head = store.state.ref("heads/side")
        assert tag != head
        opened(base).create_tag("late", "side")
        made.append(True)

    before_announcing(monkeypatch, record)
    opened(base).erase([WHO])
    assert made
    assert held(base) == []
    assert "tags/late" in described(base)


def test_copies_that_come_in_between_are_asked_about(two, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(local, "held", local_free)

        def copy():
            put(f"{two}/other/data/copy.txt", SECRET)
            other = Repo.open(f"{two}/other")
            other.commit("a copy", everything=True)

        before_announcing(patch, copy)
        with pytest.raises(ConflictError, match="nobody was asked"):
            opened(two).erase([WHO])
    repo = opened(two)
    assert repo.status().pending_erasures == ()
    assert repo.erasures() == []
    repo.erase([WHO], copies="erase")
    assert held(two) == []


class local_free:  # noqa: N801 - stands in for a function
    """Holds no locks, so that another command can come in between."""

    def __init__(self, workspace):
        self.workspace = workspace

    def __enter__(self):
        return list(local.worktrees(self.workspace))

    def __exit__(self, *_failure):
        pass


@pytest.mark.parametrize(
    "words", [["tag", "late"], ["branch", "late"], ["gc"], ["checkout", "-b", "late"]], ids=" ".join
)
def test_nobody_else_writes_between_announcement_and_commit(base, monkeypatch, words):
    codes = []

    def other():
        codes.append(
            subprocess.run(
                [*DV, "--wait", "0", *words], cwd=f"{base}/repo", capture_output=True, check=False
            ).returncode
        )

    before_committing(monkeypatch, other)
    opened(base).erase([WHO])
    # A collection that finds nothing to do writes nothing, so nothing refuses it.
    assert codes in ([12], [0]) if words == ["gc"] else codes == [12]
    assert held(base) == []


def test_what_waits_for_a_worktree_does_not_bring_the_files_back(two, monkeypatch):
    """Another worktree still has the files when the store is without them; nobody records them from there."""
    started = []

    def other():
        put(f"{two}/other/data/more.txt", b"more\n")
        started.append(
            subprocess.Popen([*DV, "--wait", "60", "commit", "-a", "-m", "with whatever lies here"], cwd=f"{two}/other")
        )

    before_committing(monkeypatch, other)
    opened(two).erase([WHO])
    assert started[0].wait(timeout=60) == 0
    assert held(two) == []
    assert "data/more.txt" in described(two)["heads/side"]


def test_a_run_that_begins_meanwhile_is_not_recorded_or_reads_nothing_of_it(base, monkeypatch):
    def other():
        done = subprocess.run(
            [*DV, "--wait", "0", "run", "--name", "meanwhile", "--in", "data", "--", "true"],
            cwd=f"{base}/repo",
            check=True,
        )
        assert done.returncode == 0

    before_committing(monkeypatch, other)
    opened(base).erase([WHO])
    assert held(base) == []
    assert [each.name for each in opened(base).runs()] in ([], ["meanwhile"])


def test_a_hold_that_comes_in_between_is_honoured(base, monkeypatch):
    with monkeypatch.context() as patch:
        before_announcing(patch, lambda: opened(base).add_hold([WHO], ground="case 1"))
        with pytest.raises(ConflictError, match="held"):
            opened(base).erase([WHO])
    assert opened(base).status().pending_erasures == ()
    assert opened(base).erasures() == []
    assert os.path.isdir(f"{base}/repo/{WHO}")


def test_two_erasures_do_not_cross(base, monkeypatch):
    ended = []

    def other():
        ended.append(
            subprocess.run(
                [*DV, "--wait", "0", "erase", "data/images/p18", "--yes"],
                cwd=f"{base}/repo",
                capture_output=True,
                check=False,
            ).returncode
        )

    before_committing(monkeypatch, other)
    opened(base).erase([WHO])
    assert ended == [12]
    assert held(base) == []
    opened(base).erase(["data/images/p18"])
    assert [each.state for each in opened(base).erasures()] == ["finished", "finished"]


def test_an_erasure_that_fails_before_its_commit_is_given_up(base, monkeypatch):
    before = described(base)

    def fail():
        raise ConflictError("something else")

    with monkeypatch.context() as patch:
        before_committing(patch, fail)
        with pytest.raises(ConflictError, match="something else"):
            opened(base).erase([WHO])
    assert described(base) == before
    assert opened(base).status().pending_erasures == ()
    opened(base).erase([WHO])
    assert held(base) == []


def test_an_erasure_that_was_announced_can_be_given_up(base, monkeypatch):
    def die():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        before_committing(patch, die)
        with pytest.raises(KeyboardInterrupt):
            opened(base).erase([WHO])
    repo = opened(base)
    (pending,) = repo.status().pending_erasures
    with pytest.raises(ConflictError):
        repo.commit("meanwhile")
    assert repo.abort_erasure() == pending
    repo.commit("afterwards")
    assert WHO + "/staged.txt" in described(base)["heads/main"]


def test_whoever_has_an_old_snapshot_can_finish_what_another_began(base, monkeypatch):
    """The journal is gone with the machine that had it; the locator opens with the nonce of what is superseded."""

    def die():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        before_committing(patch, die)
        with pytest.raises(KeyboardInterrupt):
            opened(base).erase([WHO])
    os.unlink(f"{base}/repo/.dv/erasing")
    opened(base).resume_erasure()
    assert held(base) == []
    assert executing.HERE in str(opened(base).erasure(opened(base).erasures()[0].id).places)
