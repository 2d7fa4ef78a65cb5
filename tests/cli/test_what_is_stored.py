"""Stored: content, the executable bit, where links point, empty directories; whatever the names are."""

import io
import os
import random
import socket
import tarfile
import unicodedata

import msgspec
import pytest

from dvtool import ids
from dvtool.effects import Silence
from dvtool.formats import log, pack, stage, tree
from dvtool.repo import Repo
from dvtool.worktree.session import Context

NFC = unicodedata.normalize("NFC", "é")
NFD = unicodedata.normalize("NFD", "é")

NAMES = [
    "with space",
    " leading and trailing ",
    "new\nline",
    "tab\there",
    "-dash",
    "--force",
    "quote'\"",
    "back\\slash",
    "*?[]",
    "#hash",
    "~tilde",
    "$HOME",
    "a:b",
    NFC,
    NFD,
    "日本語",
    "\U0001f600",
    "\x01\x7f",
    "x" * 255,
    "...",
    "HEAD",
]


def state(top):
    """Everything below a directory: kind, content and executable bit of each path."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(top):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            key = os.path.relpath(path, top)
            if os.path.islink(path):
                found[key] = ("link", os.readlink(path))
            elif os.path.isdir(path):
                found[key] = ("dir",)
            else:
                with open(path, "rb") as file:
                    found[key] = ("file", file.read(), bool(os.stat(path).st_mode & 0o100))
    return found


@pytest.fixture
def rich(dv):
    """One of everything that can be stored, staged."""
    dv.write("data/a.txt", "a\n")
    dv.write("data/nothing", b"")
    dv.write("data/large", os.urandom(700_000))
    dv.write("data/run.sh", "#!/bin/sh\n").chmod(0o755)
    (dv.root / "data/empty/deeper").mkdir(parents=True)
    (dv.root / "data/link").symlink_to("a.txt")
    (dv.root / "data/dangling").symlink_to("no/such/file")
    (dv.root / "data/up").symlink_to("../..")
    for name in NAMES:
        dv.write(f"data/names/{name}", name)
    dv("add", "data")
    return dv


def test_all_of_it_comes_back(rich):
    before = state(rich.root / "data")
    rich("commit", "-m", "everything")
    rich.process("archive", "HEAD", "../copy")
    assert state(rich.root.parent / "copy" / "data") == before
    rich("checkout", "-b", "without")
    rich("rm", "data")
    rich("commit", "-m", "nothing")
    assert not (rich.root / "data").exists()
    rich("checkout", "main")
    assert state(rich.root / "data") == before
    assert rich.status()["clean"]


def test_every_name_can_be_named(rich):
    rich("commit", "-m", "everything")
    assert {path.removeprefix("data/names/") for path in rich.listed("HEAD", "data/names")} == set(NAMES)
    for name in NAMES:
        assert rich("cat", f"HEAD:data/names/{name}").text == name
        rich.write(f"data/names/{name}", name + "!")
        rich("add", "--", name, at="data/names")
    assert len(rich.staged()["modified"]) == len(NAMES)


def test_nfc_and_nfd_are_two_files(rich):
    rich("commit", "-m", "everything")
    assert NFC != NFD
    assert {f"data/names/{NFC}", f"data/names/{NFD}"} <= set(rich.listed())


def test_a_name_with_a_newline_takes_one_line(rich):
    lines = rich("status").text.splitlines()
    assert any('"data/names/new\\nline"' in line for line in lines)
    rich("commit", "-m", "everything")
    assert '"data/names/new\\nline"' in rich("ls", "-r").text.splitlines()


def test_a_lone_dash_name_wants_the_dashes(rich):
    rich("add", "-dash", at="data/names", code=2)
    rich("add", "--", "-dash", at="data/names")


def test_kinds_in_ls(rich):
    rich("commit", "-m", "everything")
    kinds = {item["path"]: item["kind"] for item in rich("ls", "HEAD", "data", "--json").json}
    assert kinds["data/a.txt"] == kinds["data/run.sh"] == kinds["data/large"] == "file"
    assert kinds["data/link"] == kinds["data/up"] == kinds["data/dangling"] == "symlink"
    assert kinds["data/empty"] == "dir"


def test_ls_lists_one_level_and_with_r_all(rich):
    rich("commit", "-m", "everything")
    assert rich("ls").text == "data/\n"
    assert rich("ls", "HEAD", "data/empty").text == "data/empty/deeper/\n"
    assert rich("ls", "-r", "HEAD", "data/empty").text == "data/empty/deeper/\n"
    assert "data/empty/deeper" in rich.listed()
    assert rich("ls", "data/a.txt").text == "data/a.txt\n"


def test_ls_l_shows_kind_size_and_id(rich):
    rich("commit", "-m", "everything")
    [item] = rich("ls", "HEAD", "data/large", "--json").json
    kind, size, identity, path = rich("ls", "-l", "HEAD", "data/large").text.split()
    assert (kind, size, path) == ("file", "700,000", "data/large")
    assert item["id"].startswith(identity)
    assert item["size"] == 700_000


def test_cat_gives_the_bytes(rich):
    rich("commit", "-m", "everything")
    assert rich.process("cat", "HEAD:data/large").out == (rich.root / "data/large").read_bytes()
    assert rich("cat", "HEAD:data/nothing").out == b""


def test_du_counts_files_and_bytes(data):
    assert data("du", "--json").json == [
        {"path": "", "files": 3, "bytes": 9},
        {"path": "data", "files": 3, "bytes": 9},
    ]
    assert {row["path"]: row["bytes"] for row in data("du", "HEAD", "data", "--json").json} == {
        "data": 9,
        "data/sub": 4,
    }


def test_the_executable_bit_is_content_to_commit(data):
    (data.root / "data/a.txt").chmod(0o755)
    assert data.unstaged() == {"modified": ["data/a.txt"]}
    [item] = data("diff", "--json").json["modified"]
    assert item["mode_from"] != item["mode_to"]
    assert item["id_from"] == item["id_to"]
    data.commit("executable")
    data("checkout", "HEAD~1")
    assert not os.access(data.root / "data/a.txt", os.X_OK)
    data("checkout", "main")
    assert os.access(data.root / "data/a.txt", os.X_OK)


def test_owner_mtime_and_directory_mode_are_not_stored(data):
    os.utime(data.root / "data/a.txt", (1, 1))
    (data.root / "data/sub").chmod(0o700)
    (data.root / "data/a.txt").chmod(0o600)
    assert data.status()["clean"]
    data("commit", "-a", "-m", "nothing", code=1)


def test_an_empty_directory_is_a_change(data):
    (data.root / "data/empty").mkdir()
    document = data("diff", "--json").json
    assert document["added"] == []
    assert "data/empty" in [item["path"] for item in document["directories"]]
    data.commit("an empty directory")
    assert "data/empty" in data.listed()
    data("checkout", "HEAD~1")
    assert not (data.root / "data/empty").exists()
    data("checkout", "main")
    assert (data.root / "data/empty").is_dir()


def test_an_empty_directory_can_be_added_by_name(dv):
    (dv.root / "data/empty").mkdir(parents=True)
    dv("add", "data/empty")
    dv("commit", "-m", "first")
    assert dv.listed() == ["data", "data/empty"]


def test_a_file_may_become_a_link_a_directory_and_a_file_again(data):
    place = data.root / "data/a.txt"
    place.unlink()
    place.symlink_to("b.txt")
    [item] = data("diff", "--json").json["modified"]
    assert (item["kind_from"], item["kind_to"]) == ("file", "symlink")
    data.commit("a link")
    place.unlink()
    data.write("data/a.txt/inside", "x")
    assert data.unstaged() == {"added": ["data/a.txt/inside"], "removed": ["data/a.txt"]}
    data.commit("a directory")
    for revision, kind in (("HEAD~2", "file"), ("main", "dir"), ("main~1", "link"), ("main", "dir")):
        data("checkout", revision)
        assert state(data.root / "data")["a.txt"][0] == kind
        assert data.status()["clean"]


def test_what_cannot_be_stored_is_one_error_that_lists_all_and_nothing_is_staged(data):
    with open(os.fsencode(data.root / "data") + b"/bad-\xff", "wb"):
        pass
    os.mkfifo(data.root / "data/pipe")
    os.symlink(b"to-\xfe", os.fsencode(data.root / "data/badlink"))
    listening = socket.socket(socket.AF_UNIX)
    os.chdir(data.root)
    listening.bind("data/socket")
    listening.close()
    data.write("data/fine.txt")
    for words in (["add", "data"], ["commit", "-a", "-m", "x"]):
        error = data.process(*words, "--json", code=2).error
        named = " ".join(error["items"])
        assert len(error["items"]) == 4, error
        assert all(word in named for word in ("bad-", "pipe", "badlink", "socket"))
        assert [item.split(":")[0] for item in error["items"]] == [
            "data/bad-\\xff",
            "data/badlink",
            "data/pipe",
            "data/socket",
        ]  # as they are, no name in quotes
        assert error["next"]
    assert data.staged() == {}
    assert data.unstaged()["added"][-1] == "data/fine.txt"
    assert data.process("status").code == 0
    told = data.process("add", "data", code=2).told
    assert all(word in told for word in ("pipe", "socket"))


def test_what_dvignore_names_need_not_be_storable(data):
    os.mkfifo(data.root / "data/pipe")
    data.write(".dvignore", "pipe\n")
    data.write("data/new.txt")
    data("add", "data")
    assert data.staged() == {"added": ["data/new.txt"]}


def test_an_argument_that_is_not_utf8_is_2(data):
    assert b"UTF-8" in data.process("add", b"data/\xff", code=2).err


@pytest.mark.parametrize("again", range(5))
def test_an_edit_of_the_same_size_right_after_add_is_seen(dv, again):
    dv.write("data/a.txt", "old\n")
    dv("add", "data")
    dv.write("data/a.txt", "new\n")
    assert dv.unstaged() == {"modified": ["data/a.txt"]}
    dv("commit", "-a", "-m", "first")
    assert dv("cat", "HEAD:data/a.txt").text == "new\n"
    dv.write("data/a.txt", "odd\n")
    assert dv.unstaged() == {"modified": ["data/a.txt"]}


def test_an_edit_of_the_same_size_right_after_checkout_is_seen(data):
    data.write("data/a.txt", "x\n")
    data.commit("second")
    data("checkout", "HEAD~1")
    data.write("data/a.txt", "y\n")
    assert data.unstaged() == {"modified": ["data/a.txt"]}


def test_an_edit_that_puts_the_old_mtime_back_is_seen(data):
    place = data.root / "data/a.txt"
    data.status()
    before = place.stat()
    data.write("data/a.txt", "z\n")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert data.unstaged() == {"modified": ["data/a.txt"]}


def test_a_file_touched_but_not_changed_is_clean(data):
    os.utime(data.root / "data/a.txt")
    assert data.status()["clean"]


def test_add_stores_at_once_and_restore_brings_it_back(data):
    data.write("data/a.txt", "staged\n")
    data("add", "data")
    (data.root / "data/a.txt").unlink()
    data("restore", "data/a.txt")
    assert data.read("data/a.txt") == "staged\n"


def test_archive_to_a_directory_and_to_a_stream(rich):
    rich("commit", "-m", "everything")
    rich("archive", "HEAD:data/empty", "../empty")
    assert state(rich.root.parent / "empty") == {"deeper": ("dir",)}
    first, second = rich.process("archive", "HEAD", "-").out, rich.process("archive", "HEAD", "-").out
    assert first == second
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        members = {member.name: member for member in archive.getmembers()}
        assert members["data/link"].linkname == "a.txt"
        assert members["data/run.sh"].mode == 0o755
        assert members["data/a.txt"].mode == 0o644
        assert members["data/large"].size == 700_000
    (rich.root.parent / "full").mkdir()
    (rich.root.parent / "full" / "x").write_text("x", encoding="utf-8")
    rich("archive", "HEAD", "../full", code=11)
    rich("archive", "HEAD:data/a.txt", "../file", code=2)


def test_nothing_in_the_store_is_in_the_clear(data):
    data.write("data/secret-name.txt", "a sentence that nobody else may read\n" * 100)
    data.commit("a message that nobody else may read")
    for directory, _names, files in os.walk(data.root / ".dv"):
        for name in files:
            if directory == str(data.root / ".dv") and name == "index":
                continue
            with open(os.path.join(directory, name), "rb") as file:
                stored = file.read()
            assert b"nobody else" not in stored, name
            assert b"secret-name" not in stored, name


def test_what_a_newer_dv_says_in_a_stage_survives_an_older_one(data):
    repo = Repo.open(str(data.root))
    (data.root / "data/new").write_bytes(b"new")
    repo.add(["data"])
    session = Repo.open(str(data.root)).workspace.session
    store, ref = session.store, session.stage_ref
    before = session.state.ref(ref)
    said = {"from-the-future": msgspec.Raw(msgspec.msgpack.encode([1, "two"]))}
    with store.transaction() as transaction:
        newer = msgspec.structs.replace(stage.decode(store.read_object(ids.STAGE, before or b"")), sections=said)
        value = transaction.put_object(ids.STAGE, stage.encode(newer))
        transaction.commit("test", lambda _state: [log.MoveRef(name=ref, old=before, new=value)])
    (data.root / "data/newer").write_bytes(b"newer")
    data("add", "data")
    session = Repo.open(str(data.root)).workspace.session
    after = stage.decode(session.store.read_object(ids.STAGE, session.stage().value or b""))
    assert after.tree != newer.tree
    assert {name: bytes(section) for name, section in after.sections.items()} == {
        name: bytes(section) for name, section in said.items()
    }


def trees_stored(dv):
    """The ids of all trees that a store holds."""
    store = Repo.open(str(dv.root)).workspace.session.store
    store.refresh()
    return {
        identity
        for segment in store.segments.live()
        for identity, location in segment.index.between(bytes(32), b"\xff" * 32)
        if location.flags & pack.KIND_MASK == ids.TREE
    }


def trees_staged(dv):
    """The ids of the trees that the stage leads to."""
    session = Repo.open(str(dv.root)).workspace.session
    root = session.stage().tree
    assert root is not None
    return {root, *(entry.id for _path, entry in session.trees.walk(root) if entry.kind == tree.DIRECTORY)}


def test_what_is_added_stores_no_tree_that_nothing_needs(dv):
    dv.write("data/deep/a.txt", "a\n")
    dv("add", "data/deep/a.txt")
    assert trees_stored(dv) == trees_staged(dv)
    assert len(trees_stored(dv)) == 3
    needed = trees_staged(dv)
    for path in ("data/deep/b.txt", "data/c.txt", "more/d.txt"):
        dv.write(path, f"{path}\n")
        dv("add", path)
        needed |= trees_staged(dv)
        assert trees_stored(dv) == needed
    dv("commit", "-m", "first")
    assert trees_stored(dv) == needed


def test_progress_of_one_long_file_moves_while_it_is_written(data):
    class Heard(Silence):
        def __init__(self):
            self.label = ""
            self.total = (0, 0)
            self.sizes = []

        def start(self, label, *, files, size):
            self.label, self.total = label, (files, size)

        def advance(self, *, files, size):
            if self.label == "writing":
                self.sizes.append((files, size))

    size = 20_000_000
    data.write("data/long", random.Random(1).randbytes(size))
    data.commit("long")
    (data.root / "data/long").unlink()
    heard = Heard()
    Repo.open(str(data.root), Context(progress=heard, cwd=str(data.root))).restore(["data/long"])
    assert heard.sizes == sorted(heard.sizes)
    assert len({part for files, part in heard.sizes if files == 0 and 0 < part < size}) > 2
    assert heard.sizes[-1] == heard.total == (1, size)
