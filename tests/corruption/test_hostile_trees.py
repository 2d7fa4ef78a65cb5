"""Trees that no dv would write, put into a real store: nothing is written outside, nothing crashes, all is named."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from dvtool.cli import exits
from dvtool.errors import DvError, FormatError, IntegrityError, StorageError
from dvtool.formats.tree import FILE, LONG_FILE, SYMLINK, Entry
from dvtool.repo import Repo
from dvtool.testing.forging import PLANTED, Forger


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
    return Forger(root)


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


def test_a_link_and_a_directory_of_one_name_in_two_nodes_write_nothing_outside(attacker, tmp_path):
    first = attacker.directory(["a"], [attacker.link(b"../..")])
    second = attacker.directory(["a"], [attacker.directory(["precious"], [attacker.file()])])
    attacker.publish(attacker.snapshot(attacker.directory(["data"], [attacker.inner([("a", first), ("b", second)])])))
    for way in ways_out(attacker, tmp_path):
        end(way)
        assert Path(f"{tmp_path}/home/precious").read_bytes() == b"precious\n"


def test_a_link_that_the_worktree_has_is_not_followed(attacker, tmp_path):
    attacker.plant([("precious", attacker.file())])
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
    attacker.publish(
        attacker.snapshot(
            attacker.directory(["data"], [attacker.directory(names, [attacker.link(to) for to in links])])
        )
    )
    Repo.open(attacker.root).archive("evil", f"{tmp_path}/archived")
    Repo.open(attacker.root).checkout("evil")
    for name, target in zip(names, links, strict=True):
        assert os.fsencode(os.readlink(f"{tmp_path}/archived/data/{name}")) == target
        assert os.fsencode(os.readlink(f"{attacker.root}/data/{name}")) == target
    assert Path(f"{tmp_path}/home/precious").read_bytes() == b"precious\n"


@pytest.mark.parametrize("target", [b"a\0b", b"\0", b"\xff\xfe", b""], ids=repr)
def test_a_link_that_no_disk_takes_is_named(attacker, tmp_path, target):
    entry = attacker.link(target) if target else Entry(SYMLINK, 0, bytes(32))
    attacker.publish(attacker.snapshot(attacker.directory(["data"], [attacker.directory(["l"], [entry])])))
    for way in ways_out(attacker, tmp_path):
        with pytest.raises((FormatError, IntegrityError)):
            way()
    [lost] = Repo.fsck(attacker.root).paths
    assert (lost.path, "no path" in lost.why) == (("data/l", True) if target else ("data", False))


def test_names_that_differ_in_case_are_two_names(attacker, tmp_path):
    below = attacker.directory(["precious"], [attacker.file()])
    entries = [attacker.link(b"../.."), below]
    attacker.publish(attacker.snapshot(attacker.directory(["data"], [attacker.directory(["A", "a"], entries)])))
    Repo.open(attacker.root).archive("evil", f"{tmp_path}/archived")
    assert Path(f"{tmp_path}/home/precious").read_bytes() == b"precious\n"
    assert not os.path.lexists(f"{tmp_path}/precious")
    assert Path(f"{tmp_path}/archived/data/a/precious").read_bytes() == PLANTED


@pytest.mark.parametrize("claimed", [0, 1, len(PLANTED) - 1, len(PLANTED) + 1, 2**40, 2**62])
@pytest.mark.parametrize("kind", [FILE, LONG_FILE, SYMLINK])
def test_a_size_that_lies_is_named(attacker, tmp_path, claimed, kind):
    entry = attacker.file()._replace(size=claimed, kind=kind)
    if claimed == 0 and kind == FILE:
        return  # an empty file names no content
    attacker.publish(attacker.snapshot(attacker.directory(["data"], [attacker.directory(["f"], [entry])])))
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
    attacker.publish(attacker.snapshot(attacker.directory(["data"], [entry])))
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
    attacker.publish(attacker.snapshot(top))
    stream = io.BytesIO()
    Repo.open(attacker.root).archive("evil", stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        assert [member.name for member in archive] == ["data", "data/a", "data/b"]


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
    attacker.publish(attacker.snapshot(attacker.directory(["data"], [attacker.doubled(40)])))
    before = everything_below(tmp_path)
    for name, way in ways_to_write(attacker, tmp_path).items():
        with pytest.raises(StorageError) as caught:
            way()
        assert f"{2**40:,}" in caught.value.what or "more files" in caught.value.what, name
        assert everything_below(tmp_path) == before, name
    assert Repo.open(attacker.root).status().clean


def test_a_few_doublings_are_just_files(attacker):
    attacker.publish(attacker.snapshot(attacker.directory(["data"], [attacker.doubled(5)])))
    Repo.open(attacker.root).checkout("evil")
    assert sum(path.read_bytes() == PLANTED for path in Path(f"{attacker.root}/data").rglob("f")) == 32


@pytest.mark.parametrize("confined", [False, True])
def test_files_larger_than_the_disk_are_refused_before_anything_is_written(attacker, tmp_path, confined):
    huge = attacker.file()._replace(size=2**60, kind=LONG_FILE)
    attacker.publish(
        attacker.snapshot(attacker.directory(["data"], [attacker.directory(["a", "huge"], [attacker.file(), huge])]))
    )
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
    attacker.publish(attacker.snapshot(attacker.directory(["data"], [inside]), **(lie if honest else {})))
    before = everything_below(tmp_path)
    for name, way in ways_to_write(attacker, tmp_path).items():
        with pytest.raises((IntegrityError, StorageError)) as caught:
            way()
        if not max(lie.values()) > 2**39:  # such a lie does not fit in the first place
            assert isinstance(caught.value, IntegrityError), name
            assert honest or "data/sub" in caught.value.where, name
        assert everything_below(tmp_path) == before, name
