"""The files beside the store are what their page says: each is read here by the page alone."""

import json
import os
import stat

import msgspec
import pytest
import xxhash

from dvtool import paths
from dvtool.errors import DvError, FormatError, IntegrityError, NotFoundError
from dvtool.formats import sealed
from dvtool.repo import Repo
from dvtool.storage.disk import Disk, temporary_name
from dvtool.worktree import leftovers, settings
from dvtool.worktree.layout import Layout, WorktreeFile


@pytest.fixture
def repo(tmp_path):
    os.makedirs(f"{tmp_path}/repo/data")
    (tmp_path / "repo/data/a").write_text("a", encoding="utf-8")
    (tmp_path / "repo/data/b").write_text("b", encoding="utf-8")
    made = Repo.init(f"{tmp_path}/repo")
    made.add(["data"])
    made.commit("one", author="A <a@example.org>")
    return made


def at(repo, name):
    with open(f"{repo.workspace.session.root}/.dv/{name}", "rb") as file:
        return file.read()


def test_the_directory_is_for_its_owner_alone(repo):
    assert stat.S_IMODE(os.stat(f"{repo.workspace.session.root}/.dv").st_mode) == 0o700


@pytest.mark.parametrize(("dropped", "version"), [((), 1), (("data",), 1), (("/data/a", "data"), 2)])
def test_the_worktree_file_is_as_its_page_says(dropped, version, tmp_path):
    written = WorktreeFile(version=2, id="0" * 32, only=("data",), dropped=dropped).encode()
    value = json.loads(written)
    assert list(value) == ["version", "id", "only", "dropped", "check"]
    assert (value["version"], value["only"], value["dropped"]) == (version, ["data"], list(dropped))
    bare = json.dumps({**value, "check": ""}, separators=(",", ":")).encode()
    assert value["check"] == xxhash.xxh3_128(bare).hexdigest()
    assert written == json.dumps(value, separators=(",", ":")).encode() + b"\n"
    os.mkdir(f"{tmp_path}/.dv")
    place = Layout(str(tmp_path))
    (tmp_path / ".dv/worktree").write_bytes(written)
    assert place.read_worktree().dropped == dropped
    for other in (
        written[:-1],
        written + b"\n",
        written.replace(b":", b": ", 1),
        written.replace(b'"only"', b'"x":1,"only"'),
        written.replace(b'"only":["data"]', b'"only":["date"]'),
        b'{"version":3,"id":"' + b"0" * 32 + b'"}\n',
        b"",
    ):
        (tmp_path / ".dv/worktree").write_bytes(other)
        with pytest.raises((FormatError, IntegrityError)):
            place.read_worktree()


def test_a_further_worktree_points_to_its_store_and_is_noted_beside_it(repo, tmp_path):
    repo.add_worktree(f"{tmp_path}/other", new_branch="other")
    root = repo.workspace.session.root
    pointer = f"{tmp_path}/other/.dv/store"
    with open(pointer, "rb") as file:
        assert file.read() == f"{root}/.dv/store\n".encode()
    places = json.loads(at(repo, "worktrees"))
    assert sorted(places.values()) == sorted([root, f"{tmp_path}/other"])
    for identity, place in places.items():
        assert Layout(place).read_worktree().id == identity
    assert not os.path.exists(f"{tmp_path}/other/.dv/worktrees")
    with open(pointer, "wb") as file:
        file.write(f"{tmp_path}/nowhere\n".encode())
    with pytest.raises(NotFoundError):
        Repo.open(f"{tmp_path}/other")
    assert not os.path.exists(f"{tmp_path}/nowhere")


def test_settings_are_one_object_and_other_keys_stay(repo):
    path = f"{repo.workspace.session.root}/.dv/config"
    with open(path, "wb") as file:
        file.write(b'{"user.later": "kept"}')
    settings.store(path, "user.name", "A", Disk())
    assert at(repo, "config") == b'{\n  "user.later": "kept",\n  "user.name": "A"\n}\n'
    with open(path, "wb") as file:
        file.write(b'["user.name"]')
    with pytest.raises(FormatError):
        settings.load(path)


def test_where_files_are_written_is_noted(repo):
    place = Layout(repo.workspace.session.root)
    leftovers.note(place, ["data", ""], Disk())
    assert at(repo, "writing") == b"\0data\0"
    leftovers.note(place, ["data/sub"], Disk())
    assert at(repo, "writing") == b"\0data\0data/sub\0"
    leftovers.done(place, Disk())
    assert not os.path.exists(place.writing)


def test_unfinished_files_have_the_names_that_the_page_gives():
    process, place, random = temporary_name().split("-")
    assert process == str(os.getpid())
    assert int(place, 16) >= 0
    assert len(random) == 16
    assert int(random, 16) >= 0
    assert paths.is_partial(f".dv-partial-{temporary_name()}")


def test_the_caches_open_in_the_context_that_the_page_gives(repo):
    session = repo.workspace.session
    repo.status()
    Repo.fsck(session.root, max_bytes=1)
    store, key = session.store.format.store, session.store.secrets.cache
    context = store + b"head" + session.worktree.id.encode()
    head = msgspec.msgpack.decode(sealed.open_blob(sealed.CACHE, key, context, at(repo, "cache/head"), what="head"))
    state = session.store.refresh()
    assert head[:3] == [state.checkpoint, state.number, state.head]
    assert head[3] == session.head().snapshot
    assert head[5:] == [["data"], [], ""]
    fsck = msgspec.msgpack.decode(
        sealed.open_blob(sealed.CACHE, key, store + b"fsck", at(repo, "cache/fsck"), what="fsck")
    )
    packs = set(os.listdir(f"{session.root}/.dv/store/packs"))
    assert fsck
    assert set(fsck) <= packs
    with pytest.raises(DvError):
        sealed.open_blob(sealed.CACHE, key, store + b"fsck", at(repo, "cache/head"), what="head")
