"""Repositories in which somebody's files lie, and what must hold when they are erased."""

import os
import shutil

import pytest

from dvtool.formats import log
from dvtool.repo import Repo
from dvtool.storage.disk import Disk
from dvtool.testing.audit import audit
from dvtool.worktree.session import Context
from tests.faults.conftest import noise, put

AUTHOR = "Test Author <test@example.org>"
WHO = "data/images/p17"
SECRET = b"the diagnosis of number seventeen is nobody's business"


def build(base):
    """Snapshots that held the files, one before and one after that did not; a branch, a tag, a stage."""
    root = f"{base}/repo"
    os.makedirs(root)
    put(f"{root}/data/a.txt", b"first words\n" * 40)
    put(f"{root}/data/images/p18/1.bin", noise(1, 3000))
    repo = Repo.init(root)
    repo.add(["data"])
    repo.commit("before")
    repo.create_tag("clean")
    put(f"{root}/{WHO}/note.txt", SECRET)
    put(f"{root}/{WHO}/scan.bin", noise(2, 300_000) + SECRET)
    repo.commit("with", everything=True)
    repo.create_branch("side")
    put(f"{root}/{WHO}/note.txt", SECRET + b", twice")
    put(f"{root}/data/images/p18/2.bin", noise(3, 2000))
    repo.commit("changed", everything=True)
    put(f"{root}/data/images/p18/3.bin", noise(4, 2000))
    put(f"{root}/{WHO}/staged.txt", SECRET + b", staged")
    repo.add(["data"])


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DV_AUTHOR", AUTHOR)
        base = tmp_path_factory.mktemp("erasing")
        build(base)
    return base


@pytest.fixture
def base(template, tmp_path, monkeypatch):
    monkeypatch.setenv("DV_AUTHOR", AUTHOR)
    place = os.path.realpath(tmp_path / "world")
    shutil.copytree(template, place, symlinks=True)
    return place


def opened(base, disk=None):
    return Repo.open(f"{base}/repo", Context(disk=disk or Disk(), cwd=f"{base}/repo"))


def described(base):
    """What refs lead to, but for the random numbers in it."""
    store = opened(base).workspace.session.store
    found = audit(store)
    return {
        name: log.symbolic(value) or found.snapshots[value]
        for name, value in found.refs.items()
        if not name.startswith("erasures/")
    }


def worktree(base):
    found = {}
    for directory, names, files in os.walk(f"{base}/repo"):
        names[:] = [name for name in names if name != ".dv"]
        for name in files:
            path = f"{directory}/{name}"
            with open(path, "rb") as file:
                found[os.path.relpath(path, base)] = file.read()
    return found
