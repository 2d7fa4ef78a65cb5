"""Two packs hold the same: while one of them is sound, nothing is lost by damage to the other, and that is named."""

import io
import os
import shutil

import pytest

from dvtool import ids
from dvtool.errors import IntegrityError, StorageError
from dvtool.operations.fsck import fsck
from dvtool.repo import Repo
from dvtool.storage.local import LocalBackend
from dvtool.store import checkpoints
from dvtool.testing import damage
from dvtool.worktree.session import Context
from tests.corruption.conftest import put

COMMITS = 10
WAYS = {
    "missing": os.unlink,
    "zeroed": damage.zero,
    "emptied": damage.empty,
    "cut": lambda path: damage.truncate(path, 100),
}


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """A repository whose packs were just written anew, and the names of both: the old ones are condemned and there."""
    root = str(tmp_path_factory.mktemp("twice") / "work")
    os.makedirs(root)
    repo = Repo.init(root)
    for number in range(COMMITS):
        put(f"{root}/data/{number}.txt", b"%d" % number * 1000)
        repo.add(["data"])
        repo.commit(str(number))
    old = set(os.listdir(f"{root}/.dv/store/packs"))
    assert repo.gc().rewritten.files == len(old)
    new = set(os.listdir(f"{root}/.dv/store/packs")) - old
    assert len(new) == 2
    return root, {"old": sorted(old), "new": sorted(new)}


@pytest.fixture(params=["two index files", "one index file"])
def copied(twice, tmp_path, request):
    root, packs = twice
    place = str(tmp_path / "work")
    shutil.copytree(root, place, symlinks=True)
    if request.param == "one index file":
        checkpoints.write(Repo.open(place).workspace.session.store)
    return place, packs


def contents(root):
    """Everything that the newest snapshot holds, read in the order of packs, and from each older one a file."""
    repo = Repo.open(root)
    stream = io.BytesIO()
    repo.archive("HEAD", stream)
    return stream.getvalue(), [b"".join(repo.cat(f"HEAD~{COMMITS - 1 - at}:data/{at}.txt")) for at in range(COMMITS)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("which", ["old", "new"])
def test_while_one_copy_is_sound_everything_is_read(copied, way, which):
    root, packs = copied
    before = contents(root)
    for name in packs[which]:
        WAYS[way](f"{root}/.dv/store/packs/{name}")
    assert contents(root) == before
    shutil.rmtree(f"{root}/data")
    Repo.open(root).restore(["data"], force=True)
    repo = Repo.open(root)
    assert repo.status().clean
    # What the worktree has is stored, soundly, so it may be overwritten and removed.
    repo.checkout("HEAD~3")
    repo.checkout("main")
    found = fsck(root, Context())
    assert not found.clean
    assert {problem.file for problem in found.problems} == {f"packs/{name}" for name in packs[which]}
    assert (found.objects, found.paths) == ((), ())


def test_with_no_sound_copy_the_newest_is_named(copied):
    root, _packs = copied
    store = Repo.open(root).workspace.session.store
    snapshot = bytes.fromhex(Repo.open(root).log()[0].snapshot)
    for segment, location in list(store.segments.copies(snapshot)):
        damage.flip(f"{root}/.dv/store/{segment.pack(location.pack).file}", location.offset + 3)
    segment, location = store.locate(ids.SNAPSHOT, snapshot)
    with pytest.raises(IntegrityError) as caught:
        Repo.open(root).workspace.session.store.read_object(ids.SNAPSHOT, snapshot)
    assert segment.pack(location.pack).file in caught.value.where
    found = fsck(root, Context())
    assert snapshot.hex() in {each.id for each in found.objects}


def test_what_is_damaged_in_both_is_lost_and_nothing_else(copied):
    root, _packs = copied
    before = contents(root)
    [content] = [bytes.fromhex(item.id) for item in Repo.open(root).ls(recursive=True) if item.path == "data/4.txt"]
    store = Repo.open(root).workspace.session.store
    for segment, location in list(store.segments.copies(content)):
        damage.flip(f"{root}/.dv/store/{segment.pack(location.pack).file}", location.offset + 3)
    found = fsck(root, Context())
    assert {path.path for path in found.paths} == {"data/4.txt"}
    assert len(found.problems) == 2
    repo = Repo.open(root)
    with pytest.raises(IntegrityError):
        b"".join(repo.cat("HEAD:data/4.txt"))
    assert b"".join(repo.cat("HEAD:data/5.txt")) == before[1][5]


@pytest.mark.parametrize("way", ["missing", "emptied", "cut"])
def test_a_collection_saves_the_only_sound_copy_although_it_is_condemned(copied, way):
    root, packs = copied
    before = contents(root)
    for name in packs["new"]:
        WAYS[way](f"{root}/.dv/store/packs/{name}")
    Repo.open(root).gc(grace=0, retention=0)
    assert not {*packs["old"], *packs["new"]} & set(os.listdir(f"{root}/.dv/store/packs"))
    assert contents(root) == before
    assert fsck(root, Context()).clean


def test_a_collection_takes_no_copy_away_while_the_other_is_damaged(copied):
    root, packs = copied
    before = contents(root)
    for name in packs["new"]:
        damage.zero(f"{root}/.dv/store/packs/{name}")
    with pytest.raises(IntegrityError):
        Repo.open(root).gc(grace=0, retention=0)
    assert set(packs["old"]) <= set(os.listdir(f"{root}/.dv/store/packs"))
    assert contents(root) == before


def test_a_disk_that_refuses_one_copy_is_no_obstacle(copied, monkeypatch):
    root, _packs = copied
    before = contents(root)
    store = Repo.open(root).workspace.session.store
    chunks = [bytes.fromhex(item.id) for item in Repo.open(root).ls(recursive=True) if item.kind == "file"]
    newest = {next(store.packs_of(chunk))[0] for chunk in chunks}
    refused = []

    def read(self, name, offset=0, length=None, *, real=LocalBackend.read):
        if name in newest:
            refused.append(name)
            raise StorageError("the disk refused", where=name, why="Input/output error")
        return real(self, name, offset, length)

    monkeypatch.setattr(LocalBackend, "read", read)
    assert contents(root) == before
    assert refused
