"""What cannot be mended keeps nothing else from being mended, and what is sound is neither blamed nor replaced."""

import os
import random
import shutil
from pathlib import Path

import pytest

from dvtool import checking
from dvtool.errors import DvError, UsageError
from dvtool.formats import log, pack
from dvtool.operations.repair import repair
from dvtool.repo import Repo
from dvtool.store import checkpoints, keys
from dvtool.testing import damage
from dvtool.worktree import layout
from dvtool.worktree.session import Context
from tests.corruption.conftest import look, put


@pytest.fixture
def root(tmp_path):
    """A repository of six commits, each with an index file and packs of its own."""
    place = f"{tmp_path}/repo"
    os.makedirs(place)
    repo = Repo.init(place)
    for number in range(6):
        put(f"{place}/data/{number}.bin", random.Random(number).randbytes(20_000))
        repo.add([f"{place}/data"])
        repo.commit(f"number {number}")
    return place


def mend(root, source=None, **options):
    return repair(root, Context(), source=source, **options)


def segments(root, *, data=False):
    """The live segments of a store, oldest first, with the files of their packs; all, or those that hold data."""
    return [
        (segment.description, [pack.file_name(entry.name) for entry in segment.index.directory.packs])
        for segment in Repo.open(root).workspace.session.store.segments.live()[::-1]
        if not data or any(entry.content == pack.DATA for entry in segment.index.directory.packs)
    ]


def flip_middle(path):
    damage.flip(path, os.path.getsize(path) // 2)


def test_an_index_file_beyond_repair_keeps_no_other_from_being_written_anew(root):
    lost, packs = segments(root, data=True)[1]
    other, _packs = segments(root, data=True)[3]
    for name in packs:
        os.unlink(f"{root}/.dv/store/{name}")
    for each in (lost, other):
        flip_middle(f"{root}/.dv/store/{each.index}")
    found = mend(root)
    assert other.index in found.repair.rebuilt
    assert other.index not in {problem.file for problem in found.problems}


def test_chunks_behind_an_index_file_beyond_repair_are_looked_for(root):
    lost, packs = segments(root, data=True)[1]
    for name in packs:
        os.unlink(f"{root}/.dv/store/{name}")
    flip_middle(f"{root}/.dv/store/{lost.index}")
    content = Path(f"{root}/data/1.bin").read_bytes()
    assert mend(root).repair.recovered
    os.unlink(f"{root}/data/1.bin")
    Repo.open(root).restore([f"{root}/data/1.bin"])
    assert Path(f"{root}/data/1.bin").read_bytes() == content


def test_a_damaged_pack_beside_an_index_file_beyond_repair_ends_in_a_report(root):
    lost, packs = segments(root, data=True)[1]
    _other, others = segments(root, data=True)[3]
    for name in packs:
        os.unlink(f"{root}/.dv/store/{name}")
    flip_middle(f"{root}/.dv/store/{lost.index}")
    for name in others:
        damage.flip(f"{root}/.dv/store/{name}", 100)
    found = mend(root)
    assert not found.clean
    assert found.repair.quarantined


def test_an_entry_that_is_whole_and_another_ends_no_repair(root, tmp_path):
    healthy = look(root)
    backup = shutil.copytree(root, f"{tmp_path}/backup", symlinks=True)
    shutil.copyfile(f"{root}/.dv/store/{log.file_name(3)}", f"{root}/.dv/store/{log.file_name(4)}")
    found = mend(root)
    assert {problem.file for problem in found.problems} >= {log.file_name(4)}
    given = mend(shutil.copytree(root, f"{tmp_path}/copy", symlinks=True), give_up_entries=True)
    assert log.file_name(4) in given.repair.given_up
    assert mend(root, backup).clean
    assert look(root) == healthy


def test_under_another_key_no_entry_is_given_up(root):
    own = Repo.open(root).workspace.session.store
    os.unlink(f"{root}/.dv/store/{keys.REPOSITORY_KEY}")
    os.unlink(f"{root}/.dv/store/{log.file_name(1)}")
    entries = {name: Path(f"{root}/.dv/store/log/{name}").read_bytes() for name in os.listdir(f"{root}/.dv/store/log")}
    keys.create_secret(own.disk, f"{root}/.dv/store/{keys.REPOSITORY_KEY}", own.format.repository, own.entropy)
    with pytest.raises(DvError):
        mend(root, give_up_entries=True)
    assert entries == {
        name: Path(f"{root}/.dv/store/log/{name}").read_bytes() for name in os.listdir(f"{root}/.dv/store/log")
    }


def test_quick_checks_do_not_hold_up_those_with_a_budget(root):
    seen = []
    for _round in range(4):
        Repo.fsck(root, quick=True)
        before = remembered(root)
        assert Repo.fsck(root, max_bytes=1).checked.packs == 1
        now = remembered(root)
        seen += [name for name in now if now[name] != before.get(name)]
    assert len(set(seen)) == 4


def remembered(root):
    """When each pack was checked last, by an unbudgeted look into the memory."""
    check = checking.Check(layout.find(root), Context())
    check._open(quick=False)
    assert check.memory == checking.MEMORY
    return check._recall()


def test_a_sound_key_file_is_not_blamed_for_its_index_file(root, tmp_path):
    backup = shutil.copytree(root, f"{tmp_path}/backup", symlinks=True)
    for description, _packs in segments(root):
        flip_middle(f"{root}/.dv/store/{description.index}")
    damaged = {description.index for description, _packs in segments(backup)}
    assert {problem.file for problem in Repo.fsck(root).problems} == damaged
    found = mend(root, backup)
    assert found.clean
    assert set(found.repair.quarantined) == damaged == set(found.repair.restored)


@pytest.mark.parametrize("source", ["", ".dv", ".dv/store"])
def test_a_backup_may_be_named_by_any_of_its_directories(root, tmp_path, source):
    backup = shutil.copytree(root, f"{tmp_path}/backup", symlinks=True)
    healthy = look(root)
    shutil.rmtree(f"{root}/.dv/store/packs")
    assert mend(root, f"{backup}/{source}").clean
    assert look(root) == healthy


@pytest.mark.parametrize("source", ["", ".dv", ".dv/store"])
def test_no_directory_of_the_store_itself_is_a_source(root, tmp_path, source):
    os.symlink(root, f"{tmp_path}/link")
    for place in (root, f"{tmp_path}/link"):
        with pytest.raises(UsageError, match="from itself"):
            mend(root, f"{place}/{source}")


def test_the_keys_of_packs_that_come_back_later_are_kept(root, tmp_path):
    backup = shutil.copytree(root, f"{tmp_path}/backup", symlinks=True)
    store = Repo.open(root).workspace.session.store
    checkpoints.write(store)
    description, packs = max(segments(root), key=lambda each: len(each[1]))
    assert len(packs) > 3
    shutil.rmtree(f"{root}/data")
    for name in packs[:2]:
        os.unlink(f"{root}/.dv/store/{name}")
    flip_middle(f"{root}/.dv/store/{description.index}")
    found = mend(root)
    assert description.index in found.repair.rebuilt
    held = {name for segment in Repo.open(root).workspace.session.store.segments.live() for name in segment.keys.packs}
    assert {bytes.fromhex(name.removeprefix("packs/")) for name in packs} <= held
    mend(root, backup)


def test_a_worktree_file_that_was_moved_aside_is_reported(root):
    Path(f"{root}/.dv/worktree").write_bytes(b"junk")
    found = mend(root)
    assert found.repair.worktree
    assert "worktree" in found.repair.quarantined
    assert Path(f"{found.repair.quarantine}/worktree").read_bytes() == b"junk"
