"""Trees that no dv would write, put into a real store: nothing is written outside, nothing crashes, all is named."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import msgspec
import pytest

from dvtool import ids
from dvtool.cli import exits
from dvtool.errors import DvError, FormatError, IntegrityError, StorageError
from dvtool.formats import log, snapshot, tree
from dvtool.formats.tree import DIRECTORY, FILE, LONG_FILE, SYMLINK, Entry
from dvtool.repo import Repo

PLANTED = b"planted\n"


def raw_leaf(names, entries):
    """A leaf with any names in any order, its totals as they should be."""
    files = sum(entry.files for entry in entries)
    size = sum(entry.size for entry in entries)
    leaf = tree.Leaf(
        names="\0".join(names),
        kinds=bytes(entry.kind for entry in entries),
        sizes=[entry.size for entry in entries],
        ids=b"".join(entry.id for entry in entries),
        counts=[entry.files for entry in entries if entry.kind == DIRECTORY],
        tallies=[],
        here=(),
        totals=tree.Totals(entries=len(names), files=files, size=size),
    )
    return msgspec.msgpack.encode(leaf), files, size


class Attacker:
    """Writes what it likes into a store that has everything else in order."""

    def __init__(self, root):
        self.root = root
        self.store = Repo.open(root).workspace.session.store
        self.transaction = self.store.transaction()

    def file(self, data=PLANTED):
        return Entry(FILE, len(data), self.transaction.put_chunk(data))

    def link(self, target):
        return Entry(SYMLINK, len(target), self.transaction.put_chunk(target))

    def directory(self, names, entries):
        data, files, size = raw_leaf(names, entries)
        return Entry(DIRECTORY, size, self.transaction.put_object(ids.TREE, data), files)

    def publish(self, top, roots=("data",), **changes):
        value = snapshot.Snapshot(
            root=top.id,
            roots=roots,
            parents=(),
            author="Mallory <mallory@example.org>",
            time=1_700_000_000_000_000,
            message="harmless",
            files=top.files,
            size=top.size,
            nonce=bytes(32),
            settings=(),
        )
        data = msgspec.msgpack.encode(msgspec.structs.replace(value, **changes))
        identity = self.transaction.put_object(ids.SNAPSHOT, data)
        move = log.MoveRef(name="heads/evil", old=None, new=identity)
        self.transaction.commit("attack", lambda _state: [move])


def everything_below(place):
    return {
        str(path.relative_to(place)): path.is_symlink() or path.is_dir() or path.read_bytes()
        for path in sorted(Path(place).rglob("*"))
        if ".dv" not in path.parts
    }


@pytest.fixture
def attacker(tmp_path):
    root = f"{tmp_path}/home/repo"
    os.makedirs(f"{root}/data")
    Path(f"{root}/data/mine.txt").write_bytes(b"mine\n")
    Path(f"{tmp_path}/home/precious").write_bytes(b"precious\n")
    repo = Repo.init(root)
    repo.add(["data"])
    repo.commit("mine")
    return Attacker(root)


def end(way):
    """The error that a way out of the store ends with, or None; any other exception is a finding."""
    try:
        way()
    except DvError as error:
        return error
    return None


def ways_out(attacker, place):
    """Three ways in which the branch ``evil`` could come out: into a directory, a tar stream, the worktree."""
    yield lambda: Repo.open(attacker.root).archive("evil", f"{place}/archived")
    yield lambda: Repo.open(attacker.root).archive("evil", io.BytesIO())
    yield lambda: Repo.open(attacker.root).checkout("evil")


def refused(attacker, place):
    """Every way out of the store refuses the branch ``evil``, and nothing has changed anywhere."""
    before = everything_below(place)
    archived = f"{place}/archived"
    ways = {
        "checkout": lambda: Repo.open(attacker.root).checkout("evil"),
        "checkout --force": lambda: Repo.open(attacker.root).checkout("evil", force=True),
        "restore": lambda: Repo.open(attacker.root).restore(["."], source="evil", force=True),
        "archive": lambda: Repo.open(attacker.root).archive("evil", archived),
        "tar": lambda: Repo.open(attacker.root).archive("evil", io.BytesIO()),
        "ls": lambda: list(Repo.open(attacker.root).ls("evil", recursive=True)),
        "diff": lambda: Repo.open(attacker.root).diff("main", "evil"),
        "worktree": lambda: Repo.open(attacker.root).add_worktree(f"{place}/elsewhere", "evil"),
    }
    for name, way in ways.items():
        with pytest.raises(DvError) as caught:
            way()
        assert exits.code_of(caught.value) in {20, 21}, (name, caught.value)
        now = {
            path: held
            for path, held in everything_below(place).items()
            if path.split("/")[0] not in {"archived", "elsewhere"}
        }
        assert now == before, name
    for made in ("archived", "elsewhere"):
        assert not [path for path in Path(f"{place}/{made}").rglob("*") if path.is_file() and ".dv" not in path.parts]
    assert Repo.open(attacker.root).status().clean


BAD_NAMES = {
    "the directory above": "..",
    "this directory": ".",
    "nothing": "",
    "a path that climbs": "../../precious",
    "a path below": "a/b",
    "an absolute path": "/precious",
    "Git's directory": ".git",
    "Git's directory in capitals": ".GIT",
    "dv's directory": ".dv",
    "dv's directory in mixed case": ".Dv",
    "Git's directory for Windows": "git~1",
    "Git's directory with a dot at its end": ".git.",
    "Git's directory with a space at its end": ".git ",
    "Git's directory with a character that HFS+ drops": ".g\u200cit",
    "dv's settings": "dv.toml",
    "dv's lock in capitals": "DV.LOCK",
    "dv's settings for Windows": "dv~1.tom",
    "a name that no disk takes": "x" * 256,
}


@pytest.mark.parametrize("why", BAD_NAMES)
@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_a_forbidden_name_is_refused(attacker, tmp_path, why, kind):
    name = BAD_NAMES[why]
    entry = {
        "file": attacker.file,
        "directory": lambda: attacker.directory(["precious"], [attacker.file()]),
        "link": lambda: attacker.link(b"../../precious"),
    }[kind]()
    attacker.publish(attacker.directory(["data"], [attacker.directory([name], [entry])]))
    refused(attacker, tmp_path)


@pytest.mark.parametrize("name", ["a\0b", "\0"])
def test_a_name_with_nul_is_refused(attacker, tmp_path, name):
    attacker.publish(attacker.directory(["data"], [attacker.directory([name], [attacker.file()])]))
    refused(attacker, tmp_path)


@pytest.mark.parametrize(
    "names", [["b", "a"], ["a", "a"]], ids=["names out of order", "a name twice: first a link, then a directory"]
)
def test_a_directory_out_of_order_is_refused(attacker, tmp_path, names):
    below = attacker.directory(["precious"], [attacker.file()])
    attacker.publish(attacker.directory(["data"], [attacker.directory(names, [attacker.link(b"../.."), below])]))
    refused(attacker, tmp_path)


def inner(attacker, children):
    """An inner node over leaves, each (last name, directory entry)."""
    totals = [tree.Totals(entries=1, files=entry.files, size=entry.size) for _name, entry in children]
    node = tree.Inner(
        level=1,
        names="\0".join(name for name, _entry in children),
        ids=b"".join(entry.id for _name, entry in children),
        children=totals,
        totals=tree.sum_totals(totals),
    )
    identity = attacker.transaction.put_object(ids.TREE, msgspec.msgpack.encode(node))
    return Entry(DIRECTORY, node.totals.size, identity, node.totals.files)


def test_a_link_and_a_directory_of_one_name_in_two_nodes_write_nothing_outside(attacker, tmp_path):
    first = attacker.directory(["a"], [attacker.link(b"../..")])
    second = attacker.directory(["a"], [attacker.directory(["precious"], [attacker.file()])])
    attacker.publish(attacker.directory(["data"], [inner(attacker, [("a", first), ("b", second)])]))
    for way in ways_out(attacker, tmp_path):
        end(way)
        assert Path(f"{tmp_path}/home/precious").read_bytes() == b"precious\n"


def test_a_link_that_the_worktree_has_is_not_followed(attacker, tmp_path):
    attacker.publish(attacker.directory(["data"], [attacker.directory(["precious"], [attacker.file()])]))
    repo = Repo.open(attacker.root)
    repo.remove(["data"])
    os.symlink("..", f"{attacker.root}/data")
    with pytest.raises(DvError):
        repo.checkout("evil")
    assert os.path.islink(f"{attacker.root}/data")
    repo.checkout("evil", force=True)
    assert not os.path.islink(f"{attacker.root}/data")
    assert Path(f"{attacker.root}/data/precious").read_bytes() == PLANTED
    assert Path(f"{tmp_path}/home/precious").read_bytes() == b"precious\n"


def test_a_link_is_data_and_is_written_as_one(attacker, tmp_path):
    links = [b"/etc/passwd", b"../../precious", b"..", b"missing"]
    names = [f"l{number}" for number in range(len(links))]
    attacker.publish(attacker.directory(["data"], [attacker.directory(names, [attacker.link(to) for to in links])]))
    Repo.open(attacker.root).archive("evil", f"{tmp_path}/archived")
    Repo.open(attacker.root).checkout("evil")
    for name, target in zip(names, links, strict=True):
        assert os.fsencode(os.readlink(f"{tmp_path}/archived/data/{name}")) == target
        assert os.fsencode(os.readlink(f"{attacker.root}/data/{name}")) == target
    assert Path(f"{tmp_path}/home/precious").read_bytes() == b"precious\n"


@pytest.mark.parametrize("target", [b"a\0b", b"\0", b"\xff\xfe", b""], ids=repr)
def test_a_link_that_no_disk_takes_is_named(attacker, tmp_path, target):
    entry = attacker.link(target) if target else Entry(SYMLINK, 0, bytes(32))
    attacker.publish(attacker.directory(["data"], [attacker.directory(["l"], [entry])]))
    for way in ways_out(attacker, tmp_path):
        with pytest.raises((FormatError, IntegrityError)):
            way()


def test_names_that_differ_in_case_are_two_names(attacker, tmp_path):
    below = attacker.directory(["precious"], [attacker.file()])
    entries = [attacker.link(b"../.."), below]
    attacker.publish(attacker.directory(["data"], [attacker.directory(["A", "a"], entries)]))
    Repo.open(attacker.root).archive("evil", f"{tmp_path}/archived")
    assert Path(f"{tmp_path}/home/precious").read_bytes() == b"precious\n"
    assert not os.path.lexists(f"{tmp_path}/precious")
    assert Path(f"{tmp_path}/archived/data/a/precious").read_bytes() == PLANTED


@pytest.mark.parametrize("root", ["../..", "/etc", ".git", ".dv/store", "a/../b", "a\0b", "a//b"])
def test_a_forbidden_root_is_refused(attacker, tmp_path, root):
    attacker.publish(attacker.directory(["data"], [attacker.file()]), roots=(root,))
    before = everything_below(tmp_path)
    with pytest.raises(FormatError):
        Repo.open(attacker.root).checkout("evil")
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize("name", ["../precious", ".dv/worktree", "dv.lock", "other"])
def test_a_forbidden_setting_is_refused(attacker, tmp_path, name):
    chunk = attacker.transaction.put_chunk(PLANTED)
    top = attacker.directory(["data"], [attacker.directory(["f"], [attacker.file(b"f")])])
    attacker.publish(top, settings=((name, chunk, len(PLANTED)),))
    before = everything_below(tmp_path)
    with pytest.raises(FormatError):
        Repo.open(attacker.root).checkout("evil")
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize("claimed", [0, 1, len(PLANTED) - 1, len(PLANTED) + 1, 2**40, 2**62])
@pytest.mark.parametrize("kind", [FILE, LONG_FILE, SYMLINK])
def test_a_size_that_lies_is_named(attacker, tmp_path, claimed, kind):
    entry = attacker.file()._replace(size=claimed, kind=kind)
    if claimed == 0 and kind == FILE:
        return  # an empty file names no content
    attacker.publish(attacker.directory(["data"], [attacker.directory(["f"], [entry])]))
    no_room = (StorageError,) if claimed >= 2**40 else ()  # where the disk is smaller than the lie
    for way in ways_out(attacker, tmp_path):
        with pytest.raises((FormatError, IntegrityError, *no_room)):
            way()
    assert not os.path.lexists(f"{tmp_path}/archived/data/f")
    assert not os.path.lexists(f"{attacker.root}/data/f")


@pytest.fixture
def shallow(attacker):
    """Removes what lies deeper than Python's own way of removing directories reaches."""
    yield
    subprocess.run(["rm", "-rf", f"{attacker.root}/data"], check=True)


@pytest.mark.parametrize("depth", [600, 1100, 2500])
def test_directories_in_directories_without_end_crash_nothing(attacker, shallow, depth):
    entry = attacker.directory(["f"], [attacker.file()])
    for _level in range(depth):
        entry = attacker.directory(["d"], [entry])
    attacker.publish(attacker.directory(["data"], [entry]))
    for way in (
        lambda: list(Repo.open(attacker.root).ls("evil", recursive=True)),
        lambda: Repo.open(attacker.root).diff("main", "evil"),
        lambda: Repo.open(attacker.root).archive("evil", io.BytesIO()),
        lambda: Repo.open(attacker.root).checkout("evil"),
        lambda: Repo.open(attacker.root).status(),
        lambda: Repo.open(attacker.root).checkout("main"),
    ):
        assert exits.code_of(end(way) or FormatError("none")) != exits.BUG


def test_a_tar_archive_stays_inside(attacker, tmp_path):
    top = attacker.directory(["data"], [attacker.directory(["a", "b"], [attacker.link(b"/etc"), attacker.file()])])
    attacker.publish(top)
    stream = io.BytesIO()
    Repo.open(attacker.root).archive("evil", stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        assert [member.name for member in archive] == ["data", "data/a", "data/b"]


def doubled(attacker, levels, entry=None):
    """A directory of ``levels`` nodes, each naming the next one twice: 2 to the power of ``levels`` files."""
    entry = entry or attacker.directory(["f"], [attacker.file()])
    for _level in range(levels):
        entry = attacker.directory(["a", "b"], [entry, entry])
    return entry


def ways_to_write(attacker, place):
    def get():
        Repo.open(attacker.root).restore(["data"], source="evil", staged=True)
        Repo.open(attacker.root).get(["data"])

    return {
        "checkout": lambda: Repo.open(attacker.root).checkout("evil"),
        "checkout --force": lambda: Repo.open(attacker.root).checkout("evil", force=True),
        "checkout --only": lambda: Repo.open(attacker.root).checkout("evil", only=["data"]),
        "restore": lambda: Repo.open(attacker.root).restore(["data"], source="evil"),
        "restore --force": lambda: Repo.open(attacker.root).restore(["."], source="evil", force=True),
        "restore --staged and get": get,
        "archive": lambda: Repo.open(attacker.root).archive("evil", f"{place}/archived"),
        "worktree": lambda: Repo.open(attacker.root).add_worktree(f"{place}/elsewhere", "evil"),
    }


def test_directories_that_double_are_refused_before_anything_is_listed_or_written(attacker, tmp_path):
    attacker.publish(attacker.directory(["data"], [doubled(attacker, 40)]))
    before = everything_below(tmp_path)
    for name, way in ways_to_write(attacker, tmp_path).items():
        with pytest.raises(StorageError) as caught:
            way()
        assert f"{2**40:,}" in caught.value.what or "more files" in caught.value.what, name
        assert everything_below(tmp_path) == before, name
    assert Repo.open(attacker.root).status().clean


def test_a_few_doublings_are_just_files(attacker):
    attacker.publish(attacker.directory(["data"], [doubled(attacker, 5)]))
    Repo.open(attacker.root).checkout("evil")
    assert sum(path.read_bytes() == PLANTED for path in Path(f"{attacker.root}/data").rglob("f")) == 32


@pytest.mark.parametrize("confined", [False, True])
def test_files_larger_than_the_disk_are_refused_before_anything_is_written(attacker, tmp_path, confined):
    huge = attacker.file()._replace(size=2**60, kind=LONG_FILE)
    attacker.publish(attacker.directory(["data"], [attacker.directory(["a", "huge"], [attacker.file(), huge])]))
    before = everything_below(tmp_path)
    with pytest.raises(StorageError):
        Repo.open(attacker.root).checkout("evil", only=["data"] if confined else ())
    assert everything_below(tmp_path) == before
    assert Repo.open(attacker.root).status().branch == "main"


@pytest.mark.parametrize(
    "lie",
    [{"files": 0}, {"files": 2}, {"files": 2**40}, {"size": 0}, {"size": len(PLANTED) + 1}, {"size": 2**40}],
    ids=str,
)
@pytest.mark.parametrize("where", ["directory", "snapshot"])
def test_totals_that_lie_are_named(attacker, tmp_path, lie, where):
    below = attacker.directory(["f"], [attacker.file()])
    honest = where == "snapshot"
    inside = attacker.directory(["sub"], [below if honest else below._replace(**lie)])
    attacker.publish(attacker.directory(["data"], [inside]), **(lie if honest else {}))
    before = everything_below(tmp_path)
    for name, way in ways_to_write(attacker, tmp_path).items():
        with pytest.raises((IntegrityError, StorageError)) as caught:
            way()
        if not max(lie.values()) > 2**39:  # such a lie does not fit in the first place
            assert isinstance(caught.value, IntegrityError), name
            assert honest or "data/sub" in caught.value.where, name
        assert everything_below(tmp_path) == before, name
