"""Frozen repositories, one for each version of the format: what an older dv wrote is read by this one."""

import tarfile
from pathlib import Path

import pytest

from dvtool.formats import storeformat
from dvtool.formats.repokey import Passphrase
from dvtool.repo import Repo
from dvtool.testing.audit import audit
from tests.repos import make

ARCHIVES = sorted(make.HERE.glob("v*.tar.gz"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.partition(".")[0])
def root(request, tmp_path):
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="tar")
    return tmp_path / "repo"


def written(place, edit=None):
    """The files that the generator writes, by path, as they are on a disk."""
    data = place / "data"
    make.first(data)
    if edit:
        edit(data)
    return files(place)


def files(place):
    return {
        path.relative_to(place).as_posix(): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in sorted((place / "data").rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def held(repo, revision):
    """The files of a snapshot, after every byte of the store has been read."""
    found = audit(repo.workspace.session.store).snapshots[repo.workspace.resolve(revision).id]
    directories = {path for path in found if path.endswith("/")}
    assert directories == {"data/", "data/empty/", "data/many/"}
    return {path: content for path, content in found.items() if path not in directories}


def test_there_is_one_for_the_format_of_today():
    assert f"v{storeformat.VERSION}.tar.gz" in [path.name for path in ARCHIVES]


def test_every_snapshot_holds_what_was_written(root, tmp_path):
    repo = Repo.open(str(root))
    before = written(tmp_path / "before")
    assert held(repo, "v1") == before
    after = written(tmp_path / "after", make.second)
    assert held(repo, "main") == after
    assert held(repo, "side") == after | {"data/counter": f"{make.MANY - 1}\n".encode()}
    assert [item.message for item in repo.log("main")] == ["second", "first"]
    assert len(repo.log("side")) == make.MANY + 2


def test_its_worktree_is_as_it_was_left(root):
    repo = Repo.open(str(root))
    status = repo.status()
    assert status.branch == "main"
    assert status.staged.added == ("data/staged.txt",)
    assert status.sparse == ("data/many",)
    assert status.unstaged.is_empty
    repo.get([str(root / "data" / "many")])
    assert (root / "data" / "many" / "new.txt").read_text() == "new\n"


def test_differences_are_told(root):
    found = Repo.open(str(root)).diff("v1", "main")
    assert [item.path for item in found.added] == ["data/many/new.txt"]
    assert [item.path for item in found.removed] == ["data/many/007.txt"]
    assert [item.path for item in found.modified] == ["data/long.bin"]
    assert [(item.before, item.after) for item in found.renamed] == [("data/short.txt", "data/renamed.txt")]


def test_work_goes_on_in_it(root, tmp_path):
    repo = Repo.open(str(root))
    repo.commit("third", author=make.AUTHOR)
    repo.checkout("v1")
    repo.get([str(root / "data" / "many")])
    assert files(root) == written(tmp_path / "before")
    repo.checkout("main")
    assert Path(root / "data" / "staged.txt").read_text() == "staged\n"
    (root / "data" / "more").write_text("more")
    repo.commit("fourth", everything=True, author=make.AUTHOR)
    assert [item.message for item in Repo.open(str(root)).log()] == ["fourth", "third", "second", "first"]
    audit(Repo.open(str(root)).workspace.session.store)


def test_an_upgrade_ends_with_the_newest_version_and_the_same_content(root, tmp_path):
    before = written(tmp_path / "before")
    result = Repo.open(str(root)).upgrade()
    repo = Repo.open(str(root))
    assert result.after == repo.workspace.session.store.format.version == storeformat.VERSION
    assert result.changed is (result.before != result.after)
    assert held(repo, "v1") == before


def test_its_key_is_sealed_and_rotated(root, monkeypatch):
    monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
    packs = {path.name for path in (root / ".dv/store/packs").iterdir()}
    Repo.open(str(root)).protect_key(Passphrase(text="correct horse"))
    assert Repo.open(str(root)).rotate_key(Passphrase(text="correct horse")).log_keys == 1
    repo = Repo.open(str(root))
    assert packs <= {path.name for path in (root / ".dv/store/packs").iterdir()}
    assert [item.message for item in repo.log("main")] == ["second", "first"]
    audit(repo.workspace.session.store)
    assert Repo.fsck(str(root)).clean
