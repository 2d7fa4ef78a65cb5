"""Files of a worktree for tests: written, listed, and read back from the store."""

import os
import random
import time
from pathlib import Path

from dvtool.repo import Repo
from dvtool.testing.audit import audit

OLD = time.time() - 3600
"""Long enough ago for stat data to be believed."""


def put(path, data, *, old=True):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if old:
        os.utime(path, (OLD, OLD))


def reopen(repo):
    return Repo.open(repo.root)


def listed(repo, revision="HEAD"):
    return {item.path: item for item in repo.ls(revision, recursive=True) if item.kind != "dir"}


def fill(repo, count=60):
    chance = random.Random(9)
    for number in range(count):
        put(f"{repo.root}/data/f{number:03}", chance.randbytes(chance.randrange(60_000)))
    put(f"{repo.root}/data/long", chance.randbytes(700_000))
    put(f"{repo.root}/data/empty", b"")
    os.symlink("f001", f"{repo.root}/data/link")
    return {path.name: path.read_bytes() for path in Path(f"{repo.root}/data").iterdir() if not path.is_symlink()}


def stored(repo, revision="HEAD"):
    found = audit(reopen(repo).workspace.session.store)
    identity = repo.workspace.resolve(revision).id
    return {path.removeprefix("data/"): data for path, data in found.snapshots[identity].items()}
