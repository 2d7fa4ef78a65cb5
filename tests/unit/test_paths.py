import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import paths
from dvtool.errors import FormatError, UsageError

parts = st.text("ab.\u00fc ", min_size=1, max_size=4)
good_parts = parts.filter(lambda part: part not in {".", ".."} and not paths.is_reserved(part))
good_paths = st.lists(good_parts, max_size=4).map("/".join)

RESERVED = [
    ".git",
    ".GIT",
    ".gIt",
    ".git.",
    ".git ",
    ".git . .",
    "git~1",
    "GIT~1",
    ".g\u200cit",
    ".git\u200d",
    "\u200e.git",
    ".\u202agit",
    ".gi\u206ft",
    "\ufeff.GIT",
    "dv.toml",
    "DV.Toml",
    "dv.lock",
    "dv.lock. ",
    "d\u200dv.lock",
    "dv.toml:stream",
    "a\\dv.toml",
    "DV~1.TOM",
    "dv~1.loc",
    ".dv",
    ".DV",
    ".Dv. ",
    "dv~1",
    ".d\u200fv",
]
HARMLESS = [
    "git",
    ".gitignore",
    ".github",
    "a.git",
    "git~2",
    ".dvignore",
    "dv",
    "dv.tom",
    "dv.toml.bak",
    "xdv.lock",
    "dv.locks",
    "...",
    "~1",
    "\u00fc",
    ".g it",
]


@pytest.mark.parametrize("name", RESERVED)
def test_whatever_some_disk_takes_for_a_reserved_name_is_reserved(name):
    assert paths.is_reserved(name)


@pytest.mark.parametrize("name", HARMLESS)
def test_names_that_only_look_reserved_are_not(name):
    assert not paths.is_reserved(name)


@pytest.mark.parametrize(
    "path",
    ["dv.toml", "dv.lock", ".dvignore", ".git", ".git/config", "a/.dv/store", "a/.GIT", "a/dv.toml", "a/b/DV.lock/c"],
)
def test_own_files_are_never_data(path):
    assert paths.is_own(path)
    with pytest.raises(FormatError):
        paths.check_path(path, what="a test")


@pytest.mark.parametrize("path", ["a/.dvignore", "dv.toml.bak", "a/dv.lock.old", "a", ".gitignore", "a/b.git"])
def test_files_of_a_similar_name_are_data(path):
    assert not paths.is_own(path)
    assert paths.check_path(path, what="a test") == path


# ---------------------------------------------------------------------------- names read from a store


def check(*names):
    paths.check_names(list(names), "\0".join(names))


@given(names=st.sets(good_parts, max_size=20))
def test_harmless_names_in_order_are_taken(names):
    check(*sorted(names))


@given(names=st.lists(good_parts, min_size=2, max_size=6))
def test_names_are_taken_only_in_order_and_once(names):
    if names == sorted(set(names)):
        check(*names)
    else:
        with pytest.raises(FormatError, match="sorted"):
            check(*names)


@pytest.mark.parametrize("name", [*RESERVED, "", ".", "..", "/", "a/b", "/etc", "../x", "x" * 256, "\u00fc" * 128])
def test_a_forbidden_name_is_refused_among_others(name):
    for others in ((), ("0", "zz"), ("0", "\uffee")):
        with pytest.raises(FormatError, match="forbidden"):
            check(*sorted([name, *others]))


@pytest.mark.parametrize("name", [*HARMLESS, "x" * 255, "\u00fc" * 127, "a\nb", "a\\b", "-rf"])
def test_a_harmless_name_is_taken_among_others(name):
    for others in ((), ("0", "zz"), ("0", "\uffee")):
        check(*sorted([name, *others]))


def test_no_names_are_names():
    check()


# -------------------------------------------------------------------------------------- whole paths


@given(path=good_paths)
def test_a_well_formed_path_is_taken(path):
    assert paths.check_path(path, what="a test") == path


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/..",
        "../a",
        "a/./b",
        "a\0b",
        *(f"a/{name}/b" for name in RESERVED),
    ],
)
def test_a_malformed_path_is_refused(path):
    with pytest.raises(FormatError, match="a test holds"):
        paths.check_path(path, what="a test")


@given(path=good_paths)
def test_split_undoes_join(path):
    assert paths.join(*paths.split(path)) == path


@given(path=good_paths.filter(bool))
def test_parents_lead_up_to_the_root(path):
    above = paths.parents(path)
    assert above[-1] == ""
    assert above[0] == paths.split(path)[0]
    assert all(paths.below(path, parent) for parent in above)
    assert paths.parents("") == []


@given(path=good_paths, directory=good_paths)
def test_below_means_equal_or_within(path, directory):
    assert paths.below(path, directory) == (path == directory or directory in paths.parents(path))
    assert paths.below(path, "")


def test_a_sibling_with_the_same_beginning_is_not_below():
    assert not paths.below("data-old/a", "data")
    assert not paths.covered("data-old", ["data", "models"])
    assert paths.covered("models/a", ["data", "models"])
    assert not paths.covered("a", [])


# ------------------------------------------------------------------------------------------- arguments


@pytest.fixture
def root(tmp_path):
    top = tmp_path / "repository"
    (top / "data" / "deep").mkdir(parents=True)
    return str(top.resolve())


def meant(argument, root, cwd=None):
    return paths.from_argument(argument, root=root, cwd=root if cwd is None else cwd)


@pytest.mark.parametrize(
    ("argument", "cwd", "path"),
    [
        (".", "", ""),
        ("./", "", ""),
        ("data", "", "data"),
        ("data/", "", "data"),
        ("./data//deep/", "", "data/deep"),
        (".", "data", "data"),
        ("..", "data", ""),
        ("../..", "data/deep", ""),
        ("deep", "data", "data/deep"),
        ("../new", "data", "new"),
        ("nowhere/at/all", "data", "data/nowhere/at/all"),
        ("\u00fc b", "", "\u00fc b"),
    ],
)
def test_an_argument_means_a_path_of_the_repository(argument, cwd, path, root):
    assert meant(argument, root, os.path.join(root, cwd) if cwd else root) == path
    assert meant(os.path.join(root, cwd, argument), root, "/") == path


@pytest.mark.parametrize("argument", ["..", "../other", "/", "/etc/passwd", "data/../../x"])
def test_an_argument_outside_the_repository_is_refused(argument, root):
    with pytest.raises(UsageError, match="outside"):
        meant(argument, root)


def test_a_directory_beside_the_repository_with_its_name_in_front_is_outside(root):
    with pytest.raises(UsageError, match="outside"):
        meant(root + "-old/a", root)


@pytest.mark.parametrize("argument", ["", "\0", "a\0b"])
def test_an_argument_that_names_nothing_is_refused(argument, root):
    with pytest.raises(UsageError):
        meant(argument, root)


def test_an_argument_that_is_not_text_is_refused(root):
    with pytest.raises(UsageError, match="UTF-8"):
        meant("a\udcff", root)


def test_links_on_the_way_are_followed_and_the_last_is_not(root):
    os.symlink("deep", os.path.join(root, "data", "link"))
    assert meant("data/link", root) == "data/link"
    assert meant("data/link/file", root) == "data/deep/file"


def test_a_link_that_leads_out_is_data_and_what_is_behind_it_is_outside(root, tmp_path):
    (tmp_path / "other").mkdir()
    os.symlink(tmp_path / "other", os.path.join(root, "out"))
    assert meant("out", root) == "out"
    with pytest.raises(UsageError, match="outside"):
        meant("out/file", root)


def test_a_link_to_the_repository_itself_is_data(root):
    os.symlink(root, os.path.join(root, "data", "self"))
    assert meant("data/self", root) == "data/self"


def test_a_repository_reached_through_a_link_is_the_same(root, tmp_path):
    os.symlink(root, tmp_path / "shortcut")
    shortcut = str(tmp_path / "shortcut")
    assert meant("data", root, shortcut) == "data"
    assert meant(".", root, shortcut) == ""
    assert meant(shortcut, root, "/") == ""
    assert meant(shortcut + "/data/deep", root, "/") == "data/deep"
