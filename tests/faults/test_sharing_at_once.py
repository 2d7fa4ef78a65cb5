"""Many processes that push at once, and disks that are full while data comes in."""

import os
import shutil
import subprocess
import sys

import pytest

from dvtool.cli import exits
from dvtool.errors import DvError
from dvtool.formats import repokey
from dvtool.repo import Repo
from dvtool.sharing import reaching
from dvtool.testing.audit import audit
from dvtool.testing.faults import Fault, FaultyDisk
from dvtool.worktree.session import Context
from tests.faults.conftest import noise, put

MANY = 8
NEVER = 10**9


@pytest.fixture
def shared(tmp_path):
    """A repository whose remote is a directory, and the base of all."""
    root = f"{tmp_path}/one"
    put(f"{root}/data/a.txt", b"first words\n" * 40)
    put(f"{root}/data/long.bin", noise(2, 300_000))
    for number in range(5):
        put(f"{root}/data/sub/{number}.bin", noise(number, 1000))
    repo = Repo.init(root)
    repo.add([f"{root}/data"])
    repo.commit("first")
    repo.add_remote("origin", f"{tmp_path}/remote", protection=repokey.Plain())
    repo.push()
    return str(tmp_path)


def clones(base):
    """Clones that have each a snapshot of their own on main."""
    for number in range(MANY):
        Repo.clone(f"{base}/remote", f"{base}/{number}")
        put(f"{base}/{number}/data/{number}.txt", b"%d" % number * 900)
        repo = Repo.open(f"{base}/{number}")
        repo.add([f"{base}/{number}/data"])
        repo.commit(f"{number}")
        repo.create_branch(f"own-{number}")


def at_once(base, arguments):
    """Run ``dv`` in all clones at the same time; return how each ended."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "dvtool.cli.main", *arguments(number)],
            cwd=f"{base}/{number}",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for number in range(MANY)
    ]
    ends = [process.communicate(timeout=120)[0].decode() for process in started]
    return [(process.returncode, said) for process, said in zip(started, ends, strict=True)]


def there(base):
    return audit(reaching.reach(Repo.open(f"{base}/one").workspace, "origin").open()).refs


def heads(base, number):
    return {item.name: item.snapshot for item in Repo.open(f"{base}/{number}").branches()}


def test_of_eight_processes_that_push_to_one_branch_one_wins(shared):
    clones(shared)
    ends = at_once(shared, lambda _number: ["push"])
    assert sorted(code for code, _said in ends) == [0] + [12] * (MANY - 1), ends
    winner = next(number for number, (code, _said) in enumerate(ends) if code == 0)
    assert there(shared)["heads/main"].hex() == heads(shared, winner)["main"]
    assert all("dv merge origin/main" in said for code, said in ends if code)


def test_eight_processes_that_push_to_branches_of_their_own_all_get_in(shared):
    clones(shared)
    ends = at_once(shared, lambda number: ["push", "origin", f"own-{number}"])
    assert [code for code, _said in ends] == [0] * MANY, ends
    found = there(shared)
    for number in range(MANY):
        assert found[f"heads/own-{number}"].hex() == heads(shared, number)[f"own-{number}"]
    at_once(shared, lambda _number: ["fetch"])
    for number in range(MANY):
        refs = Repo.open(f"{shared}/{number}").workspace.session.store.refresh().ref_names("remotes/origin/own")
        assert len(refs) == MANY


def test_eight_first_pushes_make_one_store(shared):
    shutil.rmtree(f"{shared}/remote")
    clones_of_one = [f"{shared}/{number}" for number in range(MANY)]
    for number, root in enumerate(clones_of_one):
        shutil.copytree(f"{shared}/one", root)
        repo = Repo.open(root)
        repo.remove_remote("origin")
        repo.add_remote("origin", f"{shared}/fresh", protection=repokey.Plain())
        repo.create_branch(f"own-{number}")
    ends = at_once(shared, lambda number: ["push", "origin", f"own-{number}"])
    assert [code for code, _said in ends] == [0] * MANY, ends
    Repo.open(f"{shared}/one").set_remote_url("origin", f"{shared}/fresh")
    assert len([name for name in there(shared) if name.startswith("heads/")]) == MANY
    again = at_once(shared, lambda _number: ["fetch"])
    assert [code for code, _said in again] == [0] * MANY, again


# --------------------------------------------------------------------------------------------- full


def full_everywhere(base, prepare, act, whole, *, stride, offset):
    """Let the disk be full from each call on; return how often that was in the way."""
    counting = FaultyDisk(Fault.FULL, NEVER)
    prepare()
    act(counting)
    in_the_way = 0
    for k in range(offset, counting.calls, stride):
        prepare()
        error = refusal(act, FaultyDisk(Fault.FULL, k))
        if error is not None:
            in_the_way += 1
            assert exits.code_of(error) == 30, (k, repr(error))
            assert error.next, k
        if error is not None:
            act_again(base, act)
        whole()
    return in_the_way


def refusal(act, disk):
    try:
        act(disk)
    except DvError as error:
        return error
    return None


def act_again(base, act):
    if os.path.isdir(f"{base}/copy/.dv"):
        Repo.open(f"{base}/copy").pull()
        act_of_get(base)(FaultyDisk(Fault.FULL, NEVER))
    else:
        act(FaultyDisk(Fault.FULL, NEVER))


def act_of_get(base):
    def act(disk):
        Repo.open(f"{base}/copy", Context(disk=disk, cwd=f"{base}/copy")).get(["data"])

    return act


def act_of_clone(base, *, lazy):
    def act(disk):
        Repo.clone(f"{base}/remote", f"{base}/copy", Context(disk=disk, cwd=base), lazy=lazy)

    return act


def gone(base):
    def prepare():
        if os.path.lexists(f"{base}/copy"):
            shutil.rmtree(f"{base}/copy")

    return prepare


def lazily(base):
    def prepare():
        gone(base)()
        shutil.copytree(f"{base}/lazy", f"{base}/copy")

    return prepare


def materialised(base):
    def whole():
        audit(Repo.open(f"{base}/copy").workspace.session.store)
        assert Repo.open(f"{base}/copy").status().clean
        for name in ("a.txt", "long.bin", "sub/3.bin"):
            with open(f"{base}/copy/data/{name}", "rb") as mine, open(f"{base}/one/data/{name}", "rb") as other:
                assert mine.read() == other.read(), name

    return whole


def listed(base):
    def whole():
        assert Repo.open(f"{base}/copy").status().clean
        Repo.open(f"{base}/copy").get(["data"])
        materialised(base)()

    return whole


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.deep)])
def test_a_disk_that_is_full_while_data_comes_into_a_lazy_clone_is_named_and_harmless(shared, stride):
    Repo.clone(f"{shared}/remote", f"{shared}/lazy", lazy=True)
    found = full_everywhere(
        shared, lazily(shared), act_of_get(shared), materialised(shared), stride=stride, offset=2 % stride
    )
    assert found


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.deep)])
def test_a_disk_that_is_full_while_cloning_is_named_and_what_was_begun_goes_on(shared, lazy, stride):
    found = full_everywhere(
        shared, gone(shared), act_of_clone(shared, lazy=lazy), listed(shared), stride=stride, offset=4 % stride
    )
    assert found
