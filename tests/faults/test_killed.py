"""kill -9 of real processes, at any moment: all that was acknowledged is there, and a second run works."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dvtool.repo import Repo
from dvtool.testing.audit import audit

SEED = 20_260


def dv(root, *arguments, **options):
    command = [sys.executable, "-m", "dvtool", "-C", root, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **options)


def finish(process, *, codes=(0,)):
    out, err = process.communicate(timeout=120)
    assert process.returncode in codes, (process.args, process.returncode, out, err)
    return out.decode(), err.decode()


def write_files(root, seed, count=60):
    chance = random.Random(seed)
    for number in range(count):
        path = Path(f"{root}/data/d{number % 7}/f{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.randrange(40_000)))


def tree_of(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in Path(root).rglob("data/**/*") if path.is_file()}


def kill_at_random(rounds, place):
    """Kill ``dv add``, ``commit`` and ``checkout`` in turn, each somewhere within the time it takes."""
    chance = random.Random(SEED)
    root = f"{place}/repo"
    os.makedirs(root)
    Repo.init(root)
    write_files(root, 0)
    repo = Repo.open(root)
    repo.add(["data"])
    repo.commit("start")
    repo.create_branch("start")
    started = time.monotonic()
    finish(dv(root, "status"))
    usual = 1.5 * (time.monotonic() - started)
    killed = 0
    commits = 1
    for number in range(rounds):
        write_files(root, number + 1, count=20)
        wanted = tree_of(root)
        for arguments in (["add", "data"], ["commit", "-m", f"round {number}"], ["checkout", "start"]):
            known = audit(Repo.open(root).workspace.session.store)
            process = dv(root, *arguments)
            time.sleep(chance.uniform(0, usual))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            # A machine that was busy may be idle by now: come sooner after a miss, later after a hit.
            hit = process.returncode == -signal.SIGKILL
            usual = min(usual * 1.25, 30.0) if hit else usual / 2
            killed += hit
            now = audit(Repo.open(root).workspace.session.store)
            assert known.snapshots.items() <= now.snapshots.items() or arguments[0] == "commit"
            finish(dv(root, "status"))
            finish(dv(root, *arguments), codes=(0, 1) if arguments[0] == "commit" else (0,))
            if arguments[0] != "checkout":
                assert tree_of(root) == wanted
        finish(dv(root, "checkout", "main"))
        assert tree_of(root) == wanted
        commits += 1
        assert len(Repo.open(root).log()) == commits
    assert killed, "no process was killed before its end: nothing was tested"
    assert not [name for name in os.listdir(f"{root}/.dv/tmp") if name.startswith(f"{process.pid}-")]
    shutil.rmtree(root)


def test_killed_processes_lose_nothing(tmp_path):
    kill_at_random(2, tmp_path)


@pytest.mark.deep
def test_hundreds_of_killed_processes_lose_nothing(tmp_path):
    kill_at_random(70, tmp_path)


def kill_every_command(world, name, rounds):
    """Kill one command again and again, each time at another moment; return how often it was hit before its end.

    Where every round missed, more are tried: a machine may be faster with a command than it was a moment ago.
    """
    place = world(name)
    started = time.monotonic()
    place.run()
    usual = time.monotonic() - started
    place.finish()
    chance = random.Random(f"{SEED} {name}")
    killed = 0
    for number in range(5 * rounds):
        if killed and number >= rounds:
            break
        place.reset()
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                place.run()
            os._exit(0)
        time.sleep(chance.uniform(0, usual))
        os.kill(child, signal.SIGKILL)
        _child, status = os.waitpid(child, 0)
        hit = os.WIFSIGNALED(status)
        usual = min(usual * 1.25, 30.0) if hit else max(usual / 2, 0.001)
        killed += hit
        place.check(where=(name, "killed", number))
        place.check_again(where=(name, "killed", number))
    return killed


@pytest.mark.deep
def test_every_command_killed_at_any_moment_is_done_or_not_done(world, name):
    assert kill_every_command(world, name, 25), "no process was killed before its end: nothing was tested"


@pytest.mark.parametrize("name", ["gc --grace 0", "merge", "checkout --only"])
def test_a_command_killed_at_some_moments_is_done_or_not_done(world, name):
    assert kill_every_command(world, name, 4), "no process was killed before its end: nothing was tested"


def test_a_killed_initialisation_leaves_nothing_in_the_way(tmp_path):
    chance = random.Random(SEED)
    for number in range(4):
        root = f"{tmp_path}/{number}"
        os.makedirs(root)
        process = dv(root, "init")
        time.sleep(chance.uniform(0.02, 0.4))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        finish(dv(root, "init"), codes=(0, 11))
        finish(dv(root, "status"))
