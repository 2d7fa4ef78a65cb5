"""``dv fsck --repair``: what there is an intact copy of comes back, damage is kept, and what is missing is said."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from dvtool import digest
from dvtool.cli import exits
from dvtool.effects import SystemEntropy
from dvtool.errors import DvError, KeyAccessError, NotFoundError, StorageError, UsageError
from dvtool.formats import index, log, storeformat
from dvtool.operations.repair import repair
from dvtool.repo import Repo
from dvtool.storage.disk import Disk
from dvtool.storage.local import LocalBackend
from dvtool.store import checkpoints, scrub
from dvtool.testing import damage
from dvtool.testing.faults import Fault, FaultyDisk
from dvtool.worktree.session import Context
from tests.corruption.conftest import look, put

STORE = ("format", "repository key", "log entry", "log key", "key file", "index file", "data pack", "metadata pack")


def mend(root, source=None, disk=None):
    return repair(root, Context(disk=disk or Disk()), source=source)


def everything_below(place):
    return {path.read_bytes() for path in Path(place).rglob("*") if path.is_file() and not path.is_symlink()}


def test_a_sound_store_stays_as_it_is(sample, tmp_path):
    root = sample.copy(tmp_path)
    before = sorted(os.listdir(f"{root}/.dv/store/log"))
    found = mend(root)
    assert found.clean
    assert found.repair.quarantine is None
    assert (found.repair.restored, found.repair.rebuilt, found.repair.copied, found.repair.recovered) == ((), (), 0, 0)
    assert sorted(os.listdir(f"{root}/.dv/store/log")) == before
    assert not os.path.exists(f"{root}/.dv/quarantine")


@pytest.mark.parametrize("way", damage.WHOLE)
@pytest.mark.parametrize("kind", STORE)
def test_any_file_comes_back_from_another_copy(sample, tmp_path, kind, way):
    for path in sample.kinds[kind]:
        root = sample.copy(tmp_path)
        damage.WHOLE[way](f"{root}/{path}")
        broken = Path(f"{root}/{path}").read_bytes() if way != "deleted" else None
        found = mend(root, sample.root)
        name = path.removeprefix(".dv/store/")
        assert found.clean, (path, found)
        assert name in found.repair.restored
        assert Path(f"{root}/{path}").read_bytes() == Path(f"{sample.root}/{path}").read_bytes()
        assert look(root) == sample.healthy
        if broken is None:
            assert found.repair.quarantine is None
        else:
            assert Path(f"{found.repair.quarantine}/{name}").read_bytes() == broken
        assert mend(root).clean


@pytest.mark.parametrize("directory", storeformat.DIRECTORIES)
def test_a_directory_of_the_store_comes_back(sample, tmp_path, directory):
    root = sample.copy(tmp_path)
    place = f"{root}/.dv/store/{directory}"
    shutil.rmtree(place)
    found = mend(root, sample.root)
    assert found.clean, found
    assert os.path.isdir(place)
    assert look(root) == sample.healthy


def test_packs_whose_directory_is_gone_come_back_from_the_worktree(sample, tmp_path):
    root = sample.copy(tmp_path)
    shutil.rmtree(f"{root}/.dv/store/packs")
    found = mend(root)
    assert found.repair.recovered


def test_a_file_in_the_place_of_a_directory_is_named(sample, tmp_path):
    root = sample.copy(tmp_path)
    place = Path(f"{root}/.dv/store/packs")
    os.rename(place, f"{tmp_path}/packs")
    place.write_bytes(b"")
    with pytest.raises(StorageError, match="disk refused") as caught:
        mend(root)
    assert "move it away" in caught.value.next
    place.unlink()
    assert mend(root, sample.root).clean


def test_a_whole_store_comes_back_but_for_one_file(sample, tmp_path):
    """Whatever is left of a store: what it lacks is found out step by step."""
    for kept in ("format", "keys/repo"):
        root = sample.copy(tmp_path)
        for directory, _below, names in os.walk(f"{root}/.dv/store"):
            for name in names:
                path = f"{directory}/{name}"
                if path != f"{root}/.dv/store/{kept}":
                    os.unlink(path)
        assert mend(root, f"{sample.root}/.dv/store").clean
        assert look(root) == sample.healthy


def test_key_files_and_index_files_are_written_anew(sample, tmp_path):
    done = 0
    for kind in ("index file", "key file"):
        for path in sample.kinds[kind]:
            for way in ("flipped", "deleted"):
                root = sample.copy(tmp_path)
                if way == "flipped":
                    damage.flip(f"{root}/{path}", -30)
                else:
                    damage.delete(f"{root}/{path}")
                found = mend(root)
                name = path.removeprefix(".dv/store/")
                if kind == "key file" and name not in found.repair.rebuilt:
                    # The keys of its packs stand nowhere else, as they do where files were merged.
                    assert name in {problem.file for problem in found.problems}
                    continue
                done += 1
                assert found.clean, (path, found)
                assert name in found.repair.rebuilt
                assert (name in found.repair.quarantined) == (way == "flipped")
                assert not os.path.exists(f"{root}/{path}")
                assert look(root) == sample.healthy
                assert Repo.open(root).gc(grace=0).kept.files
                assert mend(root).clean
    assert done >= 2 * len(sample.kinds["index file"])


def test_keys_stand_in_the_files_that_were_merged_as_well(tmp_path):
    """Until those are collected, a lost key file is put together from them."""
    root = f"{tmp_path}/repo"
    os.makedirs(root)
    repo = Repo.init(root)
    for number in range(6):
        put(f"{root}/data/{number}.txt", b"%d" % number)
        repo.add([f"{root}/data"])
        repo.commit(f"number {number}")
    checkpoints.write(repo.workspace.session.store)
    merged = [each for each in repo.workspace.session.store.segments.live() if each.description.packs > 1]
    healthy = look(root)
    for segment in merged:
        os.unlink(f"{root}/.dv/store/{segment.description.keys}")
    found = mend(root)
    assert found.clean
    assert {segment.description.keys for segment in merged} <= set(found.repair.rebuilt)
    assert merged
    assert look(root) == healthy
    assert Repo.open(root).gc(grace=0).kept.files
    assert look(root) == healthy


def test_all_index_files_at_once(sample, tmp_path):
    root = sample.copy(tmp_path)
    shutil.rmtree(f"{root}/.dv/store/index")
    os.mkdir(f"{root}/.dv/store/index")
    found = mend(root)
    assert found.clean
    assert look(root) == sample.healthy


def test_an_index_file_of_which_a_pack_is_lost_too(sample, tmp_path):
    """It is written anew without that pack, so that all others can be read; the files are found in the worktree."""
    for path in sample.kinds["data pack"]:
        root = sample.copy(tmp_path)
        for each in sample.kinds["index file"]:
            damage.delete(f"{root}/{each}")
        damage.delete(f"{root}/{path}")
        found = mend(root)
        assert found.clean, found
        assert look(root) == sample.healthy


@pytest.mark.parametrize("way", [*damage.WHOLE, "flipped", "header"])
def test_data_comes_back_from_the_worktree(sample, tmp_path, way):
    for path in sample.kinds["data pack"]:
        root = sample.copy(tmp_path)
        if way == "flipped":
            damage.flip(f"{root}/{path}", 80)
        elif way == "header":
            damage.flip(f"{root}/{path}", 20)
        else:
            damage.WHOLE[way](f"{root}/{path}")
        found = mend(root)
        assert found.clean, (path, found)
        assert found.repair.recovered + found.repair.copied > 0
        assert not os.path.exists(f"{root}/{path}")
        assert look(root) == sample.healthy


def test_what_is_sound_in_a_damaged_pack_is_moved(sample, tmp_path):
    """Without the worktree's files: all but the frame that was hit."""
    moved = 0
    for path in sample.kinds["data pack"]:
        root = sample.copy(tmp_path)
        shutil.rmtree(f"{root}/data")
        damage.flip(f"{root}/{path}", 80)
        before = {each.path for each in Repo.open(root).ls("HEAD", recursive=True)}
        found = mend(root)
        moved += found.repair.copied
        if found.clean:
            continue  # what was hit is the content of .dvignore, which is still there
        assert len(found.objects) == 1
        assert path.removeprefix(".dv/store/") in {problem.file for problem in found.problems}
        assert {each.path for each in Repo.open(root).ls("HEAD", recursive=True)} == before
        # A later source has the rest; the pack itself, or the content.
        again = mend(root, sample.root)
        assert again.clean
        assert Repo.open(root).gc(grace=0).kept.files
    assert moved


def test_directories_come_back_from_the_worktree(sample, tmp_path):
    """Trees of the newest snapshot follow from the files; older ones and snapshots do not, and are named."""
    recovered = 0
    for path in sample.kinds["metadata pack"]:
        root = sample.copy(tmp_path)
        damage.delete(f"{root}/{path}")
        found = mend(root)
        recovered += found.repair.recovered
        if not found.clean:
            assert path.removeprefix(".dv/store/") in {problem.file for problem in found.problems}
            assert mend(root, sample.root).clean
            assert look(root) == sample.healthy
    assert recovered


def test_files_from_anywhere(sample, tmp_path):
    """A directory of plain files, under other names than theirs."""
    aside = tmp_path / "aside"
    shutil.copytree(f"{sample.root}/data", aside / "renamed" / "below", symlinks=True)
    for path in sample.kinds["data pack"]:
        root = sample.copy(tmp_path)
        shutil.rmtree(f"{root}/data")
        damage.delete(f"{root}/{path}")
        assert mend(root, str(aside)).clean
        for name in ("a.txt", "long.bin", "late.txt"):
            Repo.open(root).restore([f"{root}/data/{name}"])
            assert Path(f"{root}/data/{name}").read_bytes() == Path(f"{sample.root}/data/{name}").read_bytes()


def test_tables_of_the_log_follow_from_its_entries(tmp_path):
    """The newest checkpoint names tables in a pack; without that nothing opens, although all data are there."""
    root = f"{tmp_path}/repo"
    os.makedirs(root)
    put(f"{root}/data/a.txt", b"a")
    repo = Repo.init(root)
    repo.add([f"{root}/data"])
    repo.commit("one")
    put(f"{root}/data/a.txt", b"b")
    repo.commit("two", everything=True)
    for number in range(log.INLINE_LIMIT + 10):
        repo.create_tag(f"t{number:04}")
    before = set(os.listdir(f"{root}/.dv/store/packs"))
    store = repo.workspace.session.store
    store.maintain()
    checkpoints.write(store)
    assert store.refresh().refs.table.root
    healthy = look(root)
    for name in set(os.listdir(f"{root}/.dv/store/packs")) - before:
        os.unlink(f"{root}/.dv/store/packs/{name}")
    with pytest.raises(DvError):
        look(root)
    found = mend(root)
    assert found.clean
    assert any(name.startswith("log/") for name in found.repair.rebuilt)
    assert look(root) == healthy
    assert mend(root).clean


def test_changed_files_are_not_taken_for_what_is_lost(sample, tmp_path):
    for path in sample.kinds["data pack"]:
        root = sample.copy(tmp_path)
        for directory, _below, names in os.walk(f"{root}/data"):
            for name in names:
                if not os.path.islink(f"{directory}/{name}"):
                    put(f"{directory}/{name}", b"something else")
        damage.delete(f"{root}/{path}")
        found = mend(root)
        if found.clean:
            continue  # it held the link alone
        assert found.repair.recovered <= 1
        assert path.removeprefix(".dv/store/") in {problem.file for problem in found.problems}


def test_entries_of_another_course_of_events_are_not_taken(sample, tmp_path):
    """A copy that went its own way has entries of the same numbers, sealed with the same key."""
    root = sample.copy(tmp_path)
    other = f"{tmp_path}/other"
    shutil.copytree(sample.root, other, symlinks=True)
    newest = max(os.listdir(f"{root}/.dv/store/log"))
    for place, word in ((root, b"here"), (other, b"there")):
        os.unlink(f"{place}/.dv/store/log/{newest}")
        os.unlink(f"{place}/.dv/cache/head")
        put(f"{place}/data/staged.txt", word)
        repo = Repo.open(place)
        repo.add([f"{place}/data"])
        repo.commit("another way")
    entries = sorted(os.listdir(f"{root}/.dv/store/log"))
    assert entries == sorted(os.listdir(f"{other}/.dv/store/log"))
    os.unlink(f"{root}/.dv/store/log/{entries[-2]}")
    found = mend(root, other)
    assert not found.clean
    assert found.repair.restored == ()


def test_the_end_of_the_log_comes_back(sample, tmp_path):
    root = sample.copy(tmp_path)
    for name in sorted(os.listdir(f"{root}/.dv/store/log"))[-2:]:
        os.unlink(f"{root}/.dv/store/log/{name}")
    assert not mend(root).clean
    found = mend(root, sample.root)
    assert found.clean
    assert len(found.repair.restored) == 2
    assert look(root) == sample.healthy


def restart(root, source=None):
    return repair(root, Context(), source=source, give_up_entries=True)


def test_any_entry_of_the_log_can_be_given_up(sample, tmp_path):
    """The last resort: the store opens again, all data are there, and what lost its name is told."""
    unnamed = 0
    for way in ("flipped", "deleted"):
        for path in sample.kinds["log entry"]:
            root = sample.copy(tmp_path)
            if way == "flipped":
                damage.flip(f"{root}/{path}", -3)
            else:
                damage.delete(f"{root}/{path}")
            plain = mend(root)
            name = path.removeprefix(".dv/store/")
            if way == "deleted" and plain.clean:
                assert path == max(sample.kinds["log entry"])  # nobody can tell that there was one more
                continue
            assert not plain.clean
            found = restart(root)
            if way == "deleted" and not found.clean:
                assert path == max(sample.kinds["log entry"])
                assert not found.repair.given_up
                os.unlink(f"{root}/.dv/cache/head")  # which remembers it; dv says so
                found = restart(root)
            assert found.clean, (path, found)
            if path != max(sample.kinds["log entry"]) or way == "flipped":
                assert found.repair.given_up == (name,)
            repo = Repo.open(root)
            for identity in found.repair.unnamed:
                unnamed += 1
                repo.create_branch(f"back-{identity[:8]}", identity)
            snapshots = {item.snapshot for branch in repo.branches() for item in repo.log(branch.name)}
            assert len(snapshots) == 4, path
            repo.add([f"{root}/data"])
            repo.commit("on top", allow_empty=True)
            assert mend(root).clean
            assert Repo.open(root).gc(grace=0).kept.files
    assert unnamed


def test_several_entries_are_given_up_at_once(sample, tmp_path):
    for some in (slice(0, 3), slice(2, 20, 2), slice(-4, None), slice(0, None)):
        root = sample.copy(tmp_path)
        lost = sample.kinds["log entry"][some]
        for path in lost:
            damage.zero(f"{root}/{path}")
        found = restart(root)
        assert found.clean, (some, found)
        assert len(found.repair.given_up) == len(lost)
        repo = Repo.open(root)
        for identity in found.repair.unnamed:
            repo.create_branch(f"back-{identity[:8]}", identity)
        for branch in repo.branches():
            for item in repo.log(branch.name):
                assert list(repo.ls(item.snapshot, recursive=True))
        assert mend(root).clean


@pytest.mark.parametrize("fault", Fault)
def test_giving_up_an_entry_can_be_stopped_and_begun_again(sample, tmp_path, fault):
    entries = sample.kinds["log entry"]
    for chosen in (entries[3], entries[-2]):
        root = sample.copy(tmp_path)
        damage.zero(f"{root}/{chosen}")
        counting = FaultyDisk(fault, 10**9)
        assert repair(root, Context(disk=counting), give_up_entries=True).clean
        for k in range(0, counting.calls, 2):
            root = sample.copy(tmp_path)
            damage.zero(f"{root}/{chosen}")
            with contextlib.suppress(DvError):
                repair(root, Context(disk=FaultyDisk(fault, k)), give_up_entries=True)
            assert restart(root).clean, (chosen, k)
            assert len(Repo.open(root).log()) == 4


def forged_index(path):
    """Another index file's beginning, random pages and a checksum that is right: whoever has no key can write that."""
    data = bytearray(Path(path).read_bytes())
    data[index.HEADER_SIZE : -index.TRAILER_SIZE] = os.urandom(len(data) - index.HEADER_SIZE - index.TRAILER_SIZE)
    hasher = digest.SealedHasher()
    hasher.update(bytes(data[: -index.TRAILER_SIZE]))
    data[-index.TRAILER_SIZE :] = hasher.accident()
    damage.replace(path, bytes(data))


def test_a_source_that_somebody_forged_gives_nothing_that_is_believed(sample, tmp_path):
    """Without the key only what vouches for itself is taken: a forged index file is damage again, and made anew."""
    other = f"{tmp_path}/other"
    shutil.copytree(sample.root, other, symlinks=True)
    path = sample.kinds["index file"][0]
    forged_index(f"{other}/{path}")
    backend = LocalBackend(f"{other}/.dv/store", f"{other}/.dv/tmp", entropy=SystemEntropy())
    assert scrub.look(backend, path.removeprefix(".dv/store/"))[1] is None, "the forgery shows without a key"
    root = sample.copy(tmp_path)
    damage.delete(f"{root}/{path}")
    found = mend(root, other)
    assert found.clean
    assert path.removeprefix(".dv/store/") in found.repair.rebuilt
    assert look(root) == sample.healthy


def test_links_in_a_source_lead_nowhere(sample, tmp_path):
    """A directory of files is read as it is: what links in it point to is not taken for its own."""
    outside = tmp_path / "outside"
    shutil.copytree(f"{sample.root}/data", outside, symlinks=True)
    aside = tmp_path / "aside"
    aside.mkdir()
    os.symlink(outside, aside / "data")
    os.mkfifo(aside / "pipe")
    found_elsewhere = 0
    for path in sample.kinds["data pack"]:
        root = sample.copy(tmp_path)
        shutil.rmtree(f"{root}/data")
        damage.delete(f"{root}/{path}")
        found_elsewhere += mend(root, str(aside)).repair.recovered
    assert found_elsewhere <= 1  # the content of .dvignore, which is still in the worktree


def test_strays_are_moved_aside(sample, tmp_path):
    root = sample.copy(tmp_path)
    strays = ["README", "packs/readme", "index/x", "keys/old key", "log/0", f"keys/{'0' * 32}"]
    for name in strays:
        put(f"{root}/.dv/store/{name}", b"not ours")
    os.mkdir(f"{root}/.dv/store/packs/more")
    found = mend(root)
    assert found.clean
    assert set(found.repair.quarantined) == {*strays, "packs/more"}
    assert Path(f"{found.repair.quarantine}/packs/readme").read_bytes() == b"not ours"


def test_wrong_calls(sample, tmp_path):
    root = sample.copy(tmp_path)
    with pytest.raises(NotFoundError):
        mend(root, f"{tmp_path}/nowhere")
    with pytest.raises(UsageError):
        mend(root, f"{root}/data/a.txt")
    for itself in (root, f"{root}/.dv/store"):
        with pytest.raises(UsageError):
            mend(root, itself)
    os.unlink(f"{root}/.dv/store/keys/repo")
    with pytest.raises(KeyAccessError):
        mend(root)
    with pytest.raises(KeyAccessError):
        mend(root, str(tmp_path))


def test_a_copy_of_another_repository_gives_nothing(sample, tmp_path):
    root = sample.copy(tmp_path)
    put(f"{tmp_path}/other/data/a.txt", b"x")
    Repo.init(f"{tmp_path}/other").add([f"{tmp_path}/other/data"])
    for kind in STORE:
        for path in sample.kinds[kind]:
            shutil.rmtree(root)
            root = sample.copy(tmp_path)
            os.unlink(f"{root}/{path}")
            try:
                found = mend(root, f"{tmp_path}/other")
            except KeyAccessError:
                continue
            assert path.removeprefix(".dv/store/") not in found.repair.restored


def stop_everywhere(sample, tmp_path, fault, stride, offset):
    """Stop a repair at its k-th call of the disk; the next one gets through, and no damaged byte is ever lost."""

    def prepare():
        root = sample.copy(tmp_path)
        damage.delete(f"{root}/{sample.kinds['index file'][0]}")
        damage.flip(f"{root}/{sample.kinds['index file'][1]}", -30)
        for path in sample.kinds["data pack"]:
            damage.flip(f"{root}/{path}", 80)
        put(f"{root}/.dv/store/packs/stray", b"not ours")
        return root

    root = prepare()
    counting = FaultyDisk(fault, 10**9)
    assert mend(root, disk=counting).clean
    stopped = 0
    for k in range(offset, counting.calls, stride):
        root = prepare()
        damaged = [f"{root}/{path}" for path in (*sample.kinds["data pack"], sample.kinds["index file"][1])]
        kept = {Path(path).read_bytes() for path in damaged}
        refusal = None
        try:
            mend(root, disk=FaultyDisk(fault, k))
        except DvError as error:
            refusal = error
        if refusal is not None:
            stopped += 1
            assert exits.code_of(refusal) == 30, (k, repr(refusal))
        assert kept <= everything_below(f"{root}/.dv"), k
        found = mend(root)
        assert found.clean, (k, found)
        assert kept <= everything_below(f"{root}/.dv/quarantine"), k
        assert look(root) == sample.healthy, k
    return stopped


@pytest.mark.parametrize("fault", Fault)
def test_a_repair_that_is_stopped_can_be_begun_again(sample, tmp_path, fault):
    assert stop_everywhere(sample, tmp_path, fault, stride=11, offset=fault.value % 11)


@pytest.mark.deep
@pytest.mark.parametrize("fault", Fault)
def test_a_repair_that_is_stopped_anywhere_can_be_begun_again(sample, tmp_path, fault):
    assert stop_everywhere(sample, tmp_path, fault, stride=1, offset=0)
