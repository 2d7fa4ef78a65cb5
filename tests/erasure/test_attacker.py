"""Whatever is left of an erased person is found, where it is, by one way of searching and by no other."""

import gzip
import os
import shutil
import subprocess
import sys

import pytest

from dvtool.effects import SystemEntropy
from dvtool.errors import KeyAccessError, NotFoundError, StorageError, UsageError
from dvtool.formats import repokey, storeformat
from dvtool.repo import Repo
from dvtool.testing import attacker
from dvtool.testing.attacker import CHECKLIST, ROWS, search
from dvtool.testing.canary import Wanted
from tests.erasure.planting import (
    NUMBER,
    PATH,
    PLANTS,
    RAW,
    TEXT,
    WORD,
    before,
    build,
    content,
    put,
    retained,
    saved_pack,
)

WORDS = Wanted(words=(WORD,))
NUMBERS = Wanted(words=(NUMBER,))
FILES = Wanted(files=((PATH, TEXT),))
# A stretch of the text: as a word it has no ids that others could find it by.
STRETCH = Wanted(words=(TEXT[10:60].decode(),))
BY = {"word": WORDS, "pack": WORDS, "content": FILES, "number": NUMBERS, "part of the text": STRETCH}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("template") / "work"
    build(root)
    return root


@pytest.fixture
def root(template, tmp_path):
    shutil.copytree(template, tmp_path / "work", symlinks=True)
    return tmp_path / "work"


def saved_of(root):
    return [f"{root.parent}/saved"] if (root.parent / "saved").exists() else []


def others(row):
    return [each for each in ROWS if each != row]


@pytest.mark.parametrize("name", PLANTS)
def test_what_is_left_is_found_in_its_place_and_by_its_row_alone(root, name):
    plant = PLANTS[name]
    wanted = BY[plant.by]
    assert search(str(root), wanted, saved=saved_of(root)) == ()
    plant.plant(root)
    found = search(str(root), wanted, saved=saved_of(root))
    assert found
    assert {each.row for each in found} == {plant.row}
    assert any(plant.place in each.place and plant.inside in each.inside for each in found), found
    assert search(str(root), wanted, saved=saved_of(root), rows=others(plant.row)) == ()


def test_every_row_has_a_plant():
    assert {plant.row for plant in PLANTS.values()} == set(ROWS)


def test_every_place_of_the_checklist_is_searched_by_rows_that_exist():
    assert {row for rows in CHECKLIST.values() for row in rows} == set(ROWS)


def test_nothing_is_found_where_the_canary_never_was(root):
    wanted = Wanted(
        words=(WORD, PATH),
        contents=(os.urandom(300_000), b"a,b\n1,2\n" * 3, b"\0" * 70_000),
        files=((PATH, TEXT), ("data/staged.txt", b"staged, and recorded too\n")),
        ids=(os.urandom(32),),
    )
    assert search(str(root), wanted, saved=[str(root / ".dv/store")]) == ()


def test_a_file_that_is_there_is_found_by_all_that_it_leaves(root):
    data = (root / "data/late.txt").read_bytes()
    found = {each.row for each in search(str(root), Wanted(files=(("data/late.txt", data),), words=("late.txt",)))}
    expected = {"worktree", "names of files", "chunks", "objects", "footers", "index files", "index of the worktree"}
    assert expected | {"directories"} <= found


def test_a_long_file_is_found_by_each_of_its_chunks_and_its_manifest(root):
    data = (root / "data/long.bin").read_bytes()
    found = {each.found.rpartition(" ")[0] for each in search(str(root), Wanted(contents=(data,)), rows=["footers"])}
    assert found == {"id of a chunk of content 1", "id of a manifest of content 1"}


def test_what_remains_is_no_trace_of_what_it_has_in_common_with_the_erased(root):
    data = (root / "data/late.txt").read_bytes()
    assert search(str(root), Wanted(contents=(data,)))
    assert search(str(root), Wanted(contents=(data,), kept=(data,))) == ()


def test_a_directory_that_held_several_files_is_guessed_with_all_of_them(root):
    # As it was, it is retained: the snapshots hold it.
    files = [(f"data/people/{number}.txt", (root / f"data/people/{number}.txt").read_bytes()) for number in range(3)]
    repo = Repo.open(str(root))
    for path, _data in files:
        (root / path).unlink()
    repo.add(["data"])
    found = search(str(root), Wanted(files=tuple(files)), rows=["directories"])
    assert [each for each in found if each.found == "all files together"]


def test_some_of_the_files_of_a_directory_are_guessed_as_well(root):
    # They came one after the other, and what is retained is the directory with two of the three.
    texts = [b"%d of three that belong together\n" % number for number in range(3)]
    files = tuple((f"data/people/q{number}.txt", text) for number, text in enumerate(texts))
    PLANTS["the id of a directory"].plant(root)
    assert search(str(root), Wanted(files=files)) == ()
    two = {f"q{number}.txt": texts[number] for number in (0, 2)}
    retained(lambda root: before(root, "data/people", two)[0], "two")(root)
    found = search(str(root), Wanted(files=files))
    assert [(each.row, each.found) for each in found] == [("directories", "2 files together")]


def test_keys_under_a_wrapping_key_that_is_given_up_are_found(root):
    content(root)
    path = root / ".dv/store/keys/repo"
    repository = storeformat.decode((root / ".dv/store/format").read_bytes()).repository
    known = repokey.decode(path.read_bytes(), repository)
    entropy = SystemEntropy()
    for previous, expected in ((known.wrapping, {"chunks"}), (None, set())):
        value = repokey.Opened(secret=known.secret, wrapping=os.urandom(32), previous=previous)
        path.write_bytes(repokey.encode(repository, value, repokey.Plain(), entropy))
        assert {each.row for each in search(str(root), STRETCH)} == expected


def test_a_key_that_is_sealed_opens_as_for_dv(root, monkeypatch):
    content(root)
    Repo.open(str(root)).protect_key(repokey.Passphrase(text="of my own", memory=repokey.MEMORY_LEAST))
    with pytest.raises(KeyAccessError):
        search(str(root), STRETCH)
    monkeypatch.setenv("DV_PASSPHRASE", "of my own")
    assert {each.row for each in search(str(root), STRETCH)} == {"chunks"}


@pytest.fixture(scope="module")
def ran(template, tmp_path_factory):
    """A repository with a run of which all fingerprints are the program's own."""
    root = tmp_path_factory.mktemp("ran") / "work"
    shutil.copytree(template, root, symlinks=True)
    put(f"{root}/{PATH}", TEXT)
    for words in (
        ["init", "-q"],
        ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", *words], cwd=root, check=True)
    script = f"open('made.txt', 'wb').write({TEXT!r})"
    words = ["run", "--in", "data", "--out", "made.txt", "-p", f"who={WORD}", "--", sys.executable, "-c", script]
    subprocess.run([sys.executable, "-m", "dvtool.cli.main", *words], cwd=root, check=True, capture_output=True)
    return root


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (FILES, "what it read"),
        (Wanted(files=(("made.txt", TEXT),)), "what it made"),
        (WORDS, f"word {WORD!r} as parameter"),
        (Wanted(words=(f"open('made.txt', 'wb').write({TEXT!r})",)), "in its command"),
    ],
)
def test_what_real_runs_retain_is_confirmed(ran, wanted, found):
    # Nothing was erased, so each guess gives what is there: that they agree shows that they are computed as dv does.
    assert [each for each in search(str(ran), wanted, rows=["fingerprints"]) if found in each.found]


def test_the_id_of_the_erased_is_found_as_well(root):
    identity = bytes.fromhex(Repo.open(str(root)).status().snapshot or "")
    put(root / "dv.lock", b"snapshot = " + identity.hex().encode())
    found = search(str(root), Wanted(ids=(identity,)), rows=["notes for Git", "log"])
    assert {(each.row, each.disguise) for each in found} == {("notes for Git", "hex"), ("log", "raw")}


def test_a_saved_pack_whose_key_was_destroyed_is_no_finding(root):
    saved_pack(root, key_file=False)
    assert search(str(root), WORDS, saved=saved_of(root)) == ()


def test_a_saved_pack_that_is_still_part_of_the_store_is_no_finding(root):
    shutil.copytree(root / ".dv/store/packs", root.parent / "saved")
    assert search(str(root), WORDS, saved=saved_of(root)) == ()


def test_what_a_saved_pack_holds_is_told_from_its_frames(root):
    content(root)
    shutil.copytree(root / ".dv/store/packs", root.parent / "saved")
    found = search(str(root), STRETCH, saved=saved_of(root), rows=["saved copies"])
    assert [each.inside.partition(",")[0] for each in found] == ["frame 0"]


def test_a_remote_that_is_a_directory_is_searched_as_the_store_here(root):
    Repo.open(str(root)).add_remote("origin", str(root.parent / "remote"), protection=repokey.Plain())
    content(root)
    repo = Repo.open(str(root))
    repo.commit("with another stage")
    repo.push("origin")
    shutil.copytree(root.parent / "remote", root.parent / "bare")
    put(root.parent / "bare/tmp/x", RAW)
    found = search(str(root), WORDS, stores=[str(root.parent / "bare")])
    assert [(each.row, each.place) for each in found] == [("unfinished files", f"{root.parent}/bare/tmp/x")]


def test_a_list_of_worktrees_that_came_with_a_copy_leads_nowhere_else(root, template):
    put(template / "secret.txt", RAW)
    try:
        assert search(str(root), WORDS) == ()
    finally:
        (template / "secret.txt").unlink()


# ---------------------------------------------------------------------------------------------- wrong calls


@pytest.mark.parametrize(
    "wanted", [Wanted(), Wanted(words=("abc",)), Wanted(ids=(b"1234567",)), Wanted(contents=(b"",))]
)
def test_what_cannot_be_recognised_is_refused(root, wanted):
    with pytest.raises(UsageError):
        search(str(root), wanted)


def test_an_unknown_row_is_refused(root):
    with pytest.raises(UsageError):
        search(str(root), WORDS, rows=["attic"])


def test_a_directory_without_repository_is_refused(tmp_path):
    with pytest.raises(NotFoundError):
        search(str(tmp_path), WORDS)


def test_a_place_of_saved_packs_that_is_not_there_is_refused(root):
    with pytest.raises(UsageError):
        search(str(root), WORDS, saved=[str(root / "nothing")])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_an_error_and_no_clean_bill(root):
    put(root / "locked", RAW)
    (root / "locked").chmod(0)
    with pytest.raises(StorageError):
        search(str(root), WORDS)


# --------------------------------------------------------------------------------------------- command line


def called(*words):
    found = subprocess.run(
        [sys.executable, "-m", "dvtool.testing.attacker", *words], check=False, capture_output=True, timeout=60
    )
    return found.returncode, found.stdout.decode(), found.stderr.decode()


def test_the_command_line_says_nothing_and_ends_with_0_where_nothing_is_left(root):
    code, out, err = called(str(root), "--word", WORD)
    assert (code, out) == (0, "")
    assert err == f"0 found in {len(ROWS)} kinds of places\n"


def test_the_command_line_names_each_place_and_ends_with_1(root, tmp_path):
    put(tmp_path / "words", RAW + b"\n\nsomebody else\n")
    put(tmp_path / "erased", TEXT)
    content(root)
    saved_pack(root)
    code, out, err = called(
        str(root),
        *("--words-from", str(tmp_path / "words")),
        *("--file", PATH, str(tmp_path / "erased")),
        *("--content", str(tmp_path / "erased")),
        *("--saved", str(root.parent / "saved")),
        *("--id", "00" * 32),
    )
    assert code == 1
    assert "content 1 (raw) [chunks]" in out
    assert "a pack that opens" in out
    assert err == f"{len(out.splitlines())} found in {len(ROWS)} kinds of places\n"


def test_the_command_line_ends_with_2_where_it_cannot_search(root, tmp_path):
    put(tmp_path / "latin", b"\xff\xff")
    for words in (
        [str(root)],
        [str(tmp_path), "--word", WORD],
        [str(root), "--content", str(tmp_path / "nothing")],
        [str(root), "--id", "xyz"],
        [str(root), "--words-from", str(tmp_path / "latin")],
        ["--word", WORD],
    ):
        code, out, err = called(*words)
        assert (code, out) == (2, ""), words
        assert "Traceback" not in err
        assert err


def test_main_is_what_the_command_line_calls(root, capsys):
    put(root / "x.gz", gzip.compress(b"about " + RAW, mtime=0))
    assert attacker.main([str(root), "--word", WORD]) == 1
    assert capsys.readouterr().out == f"x.gz, byte 6: word {WORD!r} (raw, gzip) [worktree]\n"
