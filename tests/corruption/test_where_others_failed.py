"""The ways in which DVC loses or invents data (``docs``: where the incumbents fail), each as a test that dv passes."""

import io
import os
from pathlib import Path

import pytest

from dvtool import ids
from dvtool.cli.main import run
from dvtool.errors import DvError, IntegrityError
from dvtool.formats import tree
from dvtool.repo import Repo
from dvtool.store import manifests
from dvtool.testing import damage


def frames_of(root, path):
    """(pack file, offset, length) of each chunk of a file in HEAD."""
    repo = Repo.open(root)
    store = repo.workspace.session.store
    _snapshot, _path, entry = repo.workspace.place(f"HEAD:{path}")
    chunks = [entry.id]
    if entry.kind in tree.LONG:
        chunks = [chunk for chunk, _length in manifests.chunks_of(store, entry.id, entry.size)]
    found = []
    for chunk in chunks:
        segment, location = store.locate(ids.CHUNK, chunk)
        file = f"{root}/.dv/store/{segment.pack(location.pack).file}"
        found.append((file, location.offset, location.stored))
    return found


def worktree(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(Path(root).rglob("data/**/*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize("path", ["data/a.txt", "data/long.bin"])
def test_a_corrupted_object_does_not_pass_checkout_silently(sample, tmp_path, path):
    root = sample.copy(tmp_path)
    repo = Repo.open(root)
    repo.commit("staged")
    file, offset, length = frames_of(root, path)[-1]
    expected = worktree(root)
    os.unlink(f"{root}/{path}")
    os.unlink(f"{root}/data/late.txt")
    damage.flip(file, offset + length // 2)
    with pytest.raises(IntegrityError) as caught:
        Repo.open(root).restore(["data"])
    assert any(item.startswith(f"{path}: ") for item in caught.value.items)
    # The others still come out, and nothing stands where the damaged one would.
    assert not os.path.lexists(f"{root}/{path}")
    expected.pop(path)
    assert worktree(root) == expected


@pytest.mark.parametrize("arguments", [["cat", "HEAD:data/a.txt"], ["archive", "HEAD", "-"], ["diff", "v1", "HEAD"]])
def test_a_corrupted_object_does_not_pass_reading_silently(sample, tmp_path, monkeypatch, capfdbinary, arguments):
    root = sample.copy(tmp_path)
    for file, offset, length in frames_of(root, "data/a.txt"):
        damage.flip(file, offset + length // 2)
    monkeypatch.chdir(root)
    code = run(arguments)
    shown = capfdbinary.readouterr()
    if arguments[0] == "diff":
        assert code in {0, 20}
        return
    assert code == 20
    assert b"damaged" in shown.err
    assert b"first words" not in shown.out


@pytest.mark.parametrize("command", ["checkout", "restore", "remove", "drop", "worktree"])
def test_a_missing_object_does_not_wipe_the_directory(sample, tmp_path, command):
    root = sample.copy(tmp_path)
    Repo.open(root).commit("staged")
    expected = worktree(root)
    for path in sample.kinds["data pack"]:
        damage.delete(f"{root}/{path}")
    repo = Repo.open(root)
    with pytest.raises(DvError):
        {
            "checkout": lambda: repo.checkout("v1"),
            "restore": lambda: repo.restore(["data"], source="v1"),
            "remove": lambda: repo.remove(["data"]),
            "drop": lambda: repo.drop(["data"]),
            "worktree": lambda: repo.add_worktree(f"{tmp_path}/second", "side"),
        }[command]()
    assert worktree(root) == expected


@pytest.mark.parametrize("command", ["checkout", "restore", "remove", "drop"])
def test_a_missing_tree_does_not_wipe_the_directory(sample, tmp_path, command):
    root = sample.copy(tmp_path)
    expected = worktree(root)
    for path in sample.kinds["metadata pack"]:
        damage.delete(f"{root}/{path}")
    damage.delete(f"{root}/.dv/index")
    with pytest.raises(DvError):
        {
            "checkout": lambda: Repo.open(root).checkout("v1"),
            "restore": lambda: Repo.open(root).restore(["data"], source="v1"),
            "remove": lambda: Repo.open(root).remove(["data"]),
            "drop": lambda: Repo.open(root).drop(["data"]),
        }[command]()
    assert worktree(root) == expected


def test_a_truncated_pack_does_not_wipe_the_directory(sample, tmp_path):
    root = sample.copy(tmp_path)
    Repo.open(root).commit("staged")
    expected = worktree(root)
    for path in sample.kinds["data pack"]:
        damage.truncate(f"{root}/{path}", 100)
    with pytest.raises(DvError):
        Repo.open(root).checkout("v1")
    assert worktree(root) == expected


def test_adding_over_a_missing_object_is_not_up_to_date(sample, tmp_path):
    # The same content added again must not be taken for stored when its pack is gone.
    root = sample.copy(tmp_path)
    data = Path(f"{root}/data/late.txt").read_bytes()
    for file, _offset, _length in frames_of(root, "data/late.txt"):
        damage.delete(file)
    Path(f"{root}/data/again.txt").write_bytes(data)
    repo = Repo.open(root)
    try:
        repo.add(["data/again.txt"])
        repo.commit("again")
    except DvError:
        return
    assert b"".join(Repo.open(root).cat("HEAD:data/again.txt")) == data


def test_an_archive_that_cannot_be_finished_is_no_archive(sample, tmp_path):
    root = sample.copy(tmp_path)
    file, offset, length = frames_of(root, "data/long.bin")[-1]
    damage.flip(file, offset + length // 2)
    with pytest.raises(IntegrityError):
        Repo.open(root).archive("HEAD", io.BytesIO())
    with pytest.raises(IntegrityError) as caught:
        Repo.open(root).archive("HEAD", f"{tmp_path}/out")
    assert [item.partition(": ")[0] for item in caught.value.items] == ["data/long.bin"]
    assert not os.path.lexists(f"{tmp_path}/out/data/long.bin")
    assert Path(f"{tmp_path}/out/data/late.txt").read_bytes() == b"after the checkpoint\n"
