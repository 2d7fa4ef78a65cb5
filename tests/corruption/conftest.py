"""A repository with every kind of file a store has, damaged one file at a time, and everything that reads it."""

import io
import os
import random
import shutil
from pathlib import Path

import pytest

from dvtool.errors import DvError
from dvtool.formats import pack
from dvtool.repo import Repo
from dvtool.store import checkpoints
from dvtool.testing.audit import audit
from dvtool.testing.damage import copy_of


def put(path, data):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)


def build(root, seed=0, *, checkpoint=True):
    """Four snapshots, many packs, a checkpoint in the middle, a tag, a branch, a stage."""
    chance = random.Random(seed)
    os.makedirs(root)
    put(f"{root}/data/a.txt", b"first words\n" * 40)
    put(f"{root}/data/long.bin", chance.randbytes(120_000))
    put(f"{root}/data/sub/c.txt", b"in a directory %d\n" % seed)
    os.symlink("a.txt", f"{root}/data/link")
    put(f"{root}/.dvignore", b"*.tmp\n")
    repo = Repo.init(root)
    repo.add(["data"])
    repo.commit("one")
    repo.create_tag("v1")
    for number in range(2):
        put(f"{root}/data/n{number}.bin", chance.randbytes(900))
        repo.add(["data"])
        repo.commit(f"number {number}")
    if checkpoint:
        checkpoints.write(repo.workspace.session.store)
    put(f"{root}/data/late.txt", b"after the checkpoint\n")
    repo.add(["data"])
    repo.commit("late")
    repo.create_branch("side", "v1")
    put(f"{root}/data/staged.txt", b"staged\n")
    repo.add(["data"])
    return Repo.open(root)


def look(root):
    """Everything that reading commands tell, as one value; a file that cannot be told raises DvError."""
    repo = Repo.open(root)
    found = audit(repo.workspace.session.store)
    stream = io.BytesIO()
    repo.archive("HEAD", stream)
    status = repo.status()
    return (
        sorted(found.refs.items()),
        sorted((identity, sorted(held.items())) for identity, held in found.snapshots.items()),
        stream.getvalue(),
        (status.snapshot, status.branch, status.staged, status.unstaged, status.unstorable),
        [item.snapshot for item in repo.branches()],
        [item.snapshot for item in repo.tags()],
        [item.snapshot for item in repo.log()],
        repo.diff("HEAD~1", "HEAD"),
        [repo.worktrees()[0].branch],
    )


class Sample:
    """One repository as it is when all is well, and copies of it to be damaged."""

    def __init__(self, root):
        self.root = root
        self.healthy = look(root)
        self.kinds = self._kinds()

    def _kinds(self):
        """By kind, the files of a store (relative to the root), each list in a settled order."""
        store = Repo.open(self.root).workspace.session.store
        base = ".dv/store"
        found = {
            "format": [f"{base}/format"],
            "repository key": [f"{base}/keys/repo"],
            "log entry": sorted(f"{base}/log/{name}" for name in os.listdir(f"{self.root}/{base}/log")),
            "log key": sorted(
                f"{base}/keys/{name}" for name in os.listdir(f"{self.root}/{base}/keys") if name.startswith("log-")
            ),
            "key file": sorted(f"{base}/{segment.description.keys}" for segment in store.segments.live()),
            "index file": sorted(f"{base}/{segment.description.index}" for segment in store.segments.live()),
            "data pack": [],
            "metadata pack": [],
            "worktree index": [".dv/index"],
            "cached head": [".dv/cache/head"],
            "worktree file": [".dv/worktree"],
        }
        live = {entry.name for segment in store.segments.live() for entry in segment.index.directory.packs}
        for name in sorted(os.listdir(f"{self.root}/{base}/packs")):
            path = f"{base}/packs/{name}"
            assert bytes.fromhex(name) in live
            content = pack.decode_header(Path(f"{self.root}/{path}").read_bytes()[: pack.HEADER_SIZE]).content
            found["data pack" if content == pack.DATA else "metadata pack"].append(path)
        assert all(found.values()), "a kind of file is missing from the sample"
        return found

    def copy(self, place):
        """Return a fresh copy, to be damaged."""
        target = f"{place}/copy"
        if os.path.lexists(target):
            shutil.rmtree(target)
        return copy_of(self.root, target)

    def outcome(self, root):
        """Return "same", or the error that named the damage; anything else is the worst that can be."""
        try:
            found = look(root)
        except DvError as error:
            return error
        assert found == self.healthy, "damage was read as if it were data"
        return "same"


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    """Two unrelated repositories."""
    place = tmp_path_factory.mktemp("samples")
    os.environ["DV_AUTHOR"] = "Test Author <test@example.org>"
    build(f"{place}/one")
    build(f"{place}/other", seed=1)
    return Sample(f"{place}/one"), Sample(f"{place}/other")


@pytest.fixture
def sample(samples):
    return samples[0]


@pytest.fixture
def other(samples):
    return samples[1]
