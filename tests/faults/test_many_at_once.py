"""Several real processes in one store: every acknowledged commit is there, and a worktree has one writer at a time."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dvtool.repo import Repo
from dvtool.testing.audit import audit

WRITER = """
import sys
from pathlib import Path
from dvtool.repo import Repo

root, name, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    repo = Repo.open(root)
    Path(root, "data").mkdir(exist_ok=True)
    Path(root, "data", f"{name}-{number}").write_bytes(f"{name} {number}".encode() * 100)
    # Every writer stores this one too: the same content at the same time must not disturb anybody.
    Path(root, "data", f"shared-{number}").write_bytes(f"shared {number}".encode() * 3000)
    repo.add(["data"])
    snapshot = repo.commit(f"{name} {number}").snapshot
    print("commit", snapshot, flush=True)
    repo.create_tag(f"{name}/{number}")
    print("tag", f"{name}/{number}", snapshot, flush=True)
    repo.create_branch(f"{name}-at-{number}")
    print("branch", f"{name}-at-{number}", snapshot, flush=True)
"""

PATIENT = """
import sys
from pathlib import Path
from dvtool.errors import DvError
from dvtool.repo import Repo

def until_done(act):
    for attempt in range(200):
        try:
            return act(Repo.open(root))
        except DvError as error:
            print("refused", error.what, flush=True)
    raise SystemExit("refused again and again")

root, name, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    Path(root, "data").mkdir(exist_ok=True)
    Path(root, "data", f"{name}-{number}").write_bytes(f"{name} {number}".encode() * 100)
    Path(root, "data", f"given-up").write_bytes(f"{name} gives up {number}".encode() * 2000)
    until_done(lambda repo: repo.add(["data"]))
    until_done(lambda repo: repo.remove(["data/given-up"], force=True))
    Path(root, "data", f"shared-{number % 3}").write_bytes(f"shared {number % 3}".encode() * 3000)
    snapshot = until_done(lambda repo: repo.commit(f"{name} {number}", everything=True)).snapshot
    print("commit", snapshot, flush=True)
    until_done(lambda repo: repo.create_branch(f"{name}-at-{number}"))
    print("branch", f"{name}-at-{number}", snapshot, flush=True)
"""

COLLECTOR = """
import sys, time
from dvtool.errors import DvError
from dvtool.repo import Repo

root, grace, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
from pathlib import Path
deleted = 0
while not Path(stop).exists():
    try:
        found = Repo.open(root).gc(grace=grace, retention=0)
        deleted += found.deleted.files
    except DvError as error:
        print("refused", error.what, flush=True)
print("deleted", deleted, flush=True)
"""

HOLDER = """
import sys
from dvtool.workspace import Workspace
from dvtool.worktree.session import Context

with Workspace.open(sys.argv[1], Context()).session.lock():
    print("held", flush=True)
    sys.stdin.readline()
"""


def python(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def start(root):
    os.makedirs(f"{root}/data")
    Path(f"{root}/data/first").write_bytes(b"first")
    repo = Repo.init(str(root))
    repo.add(["data"])
    repo.commit("first")
    return repo


def write_together(place, writers, rounds):
    repo = start(f"{place}/main")
    for number in range(writers):
        repo.add_worktree(f"{place}/w{number}", new_branch=f"b{number}")
    processes = [python(WRITER, f"{place}/w{number}", f"n{number}", str(rounds)) for number in range(writers)]
    told = []
    for process in processes:
        out, _err = process.communicate(timeout=300)
        assert process.returncode == 0
        told += [line.split() for line in out.splitlines()]
    assert len(told) == 3 * writers * rounds
    store = Repo.open(f"{place}/main").workspace.session.store
    found = audit(store)
    for what, *rest in told:
        if what == "commit":
            assert bytes.fromhex(rest[0]) in found.snapshots
        else:
            name = f"{'tags' if what == 'tag' else 'heads'}/{rest[0]}"
            assert found.refs[name] == bytes.fromhex(rest[1])
    for number in range(writers):
        mine = Repo.open(f"{place}/w{number}")
        assert len(mine.log()) == rounds + 1
        assert mine.status().clean
    numbers = [int(name, 16) for name in os.listdir(f"{place}/main/.dv/store/log")]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    return store.state


def test_no_acknowledged_commit_is_lost(tmp_path):
    write_together(tmp_path, writers=3, rounds=4)


@pytest.mark.deep
def test_no_acknowledged_commit_is_lost_across_checkpoints(tmp_path):
    state = write_together(tmp_path, writers=4, rounds=40)
    assert state.checkpoint > 64


def collect_together(place, writers, collectors, rounds, grace):
    """Writers that try again when refused, collectors that never rest; whatever was acknowledged is there."""
    repo = start(f"{place}/main")
    for number in range(writers):
        repo.add_worktree(f"{place}/w{number}", new_branch=f"b{number}")
    gatherers = [python(COLLECTOR, f"{place}/main", str(grace), f"{place}/stop") for _number in range(collectors)]
    processes = [python(PATIENT, f"{place}/w{number}", f"n{number}", str(rounds)) for number in range(writers)]
    told = []
    for process in processes:
        out, _err = process.communicate(timeout=500)
        assert process.returncode == 0, out[-2000:]
        told += [line.split() for line in out.splitlines()]
    Path(f"{place}/stop").touch()
    deleted = 0
    for process in gatherers:
        out, _err = process.communicate(timeout=120)
        assert process.returncode == 0
        deleted += int(out.split()[-1])
    found = audit(Repo.open(f"{place}/main").workspace.session.store)
    said = [line for line in told if line[0] != "refused"]
    assert len(said) == 2 * writers * rounds
    for what, *rest in said:
        if what == "commit":
            assert bytes.fromhex(rest[0]) in found.snapshots
        else:
            assert found.refs[f"heads/{rest[0]}"] == bytes.fromhex(rest[1])
    for number in range(writers):
        mine = Repo.open(f"{place}/w{number}")
        assert len(mine.log()) == rounds + 1
        assert mine.status().clean
    assert Repo.fsck(f"{place}/main").clean
    return deleted


def test_no_acknowledged_commit_is_lost_beside_collectors(tmp_path):
    assert collect_together(tmp_path, writers=2, collectors=1, rounds=3, grace=1) >= 0


@pytest.mark.deep
@pytest.mark.parametrize("grace", [0, 1])
def test_eight_processes_add_commit_branch_and_collect(tmp_path, grace):
    assert collect_together(tmp_path, writers=6, collectors=2, rounds=20, grace=grace) > 0


def test_a_second_command_in_one_worktree_waits(tmp_path):
    root = f"{tmp_path}/main"
    start(root)
    Path(f"{root}/data/second").write_bytes(b"second")
    holder = python(HOLDER, root)
    assert holder.stdout.readline() == "held\n"
    command = [sys.executable, "-m", "dvtool", "-C", root]
    refused = subprocess.run([*command, "--wait", "0", "add", "data"], check=False, capture_output=True, text=True)
    assert refused.returncode == 12
    assert str(holder.pid) in refused.stderr
    waiting = subprocess.Popen([*command, "add", "data"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.0)
    assert waiting.poll() is None
    assert Repo.open(root).status().staged.is_empty
    holder.communicate("\n", timeout=60)
    _out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert f"process {holder.pid}" in err
    assert Repo.open(root).status().staged.added == ("data/second",)


def test_a_lock_dies_with_its_holder(tmp_path):
    root = f"{tmp_path}/main"
    start(root)
    holder = python(HOLDER, root)
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate()
    Path(f"{root}/data/second").write_bytes(b"second")
    assert Repo.open(root).add(["data"]).added == 1


def test_reading_needs_no_lock(tmp_path):
    root = f"{tmp_path}/main"
    start(root)
    holder = python(HOLDER, root)
    assert holder.stdout.readline() == "held\n"
    for arguments in (["status"], ["log"], ["ls"], ["diff"], ["branch"]):
        subprocess.run(
            [sys.executable, "-m", "dvtool", "-C", root, "--wait", "0", *arguments], check=True, capture_output=True
        )
    holder.communicate("\n", timeout=60)
