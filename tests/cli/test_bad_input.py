"""What is missing, wrong, newer, held or damaged is named, with what to do about it."""

import fcntl
import os
import shutil
import threading

import msgspec
import pytest

from dvtool.formats import storeformat


def store(dv):
    return dv.root / ".dv" / "store"


def flip(path):
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


# ------------------------------------------------------------------------------------------- no repository


@pytest.mark.parametrize("words", [["status"], ["add", "x"], ["log"], ["checkout", "main"], ["ls"]], ids=" ".join)
def test_not_a_repository_is_10(empty, words):
    error = empty(*words, "--json", code=10).error
    assert "dv init" in error["next"]
    assert error["where"] == str(empty.root)


def test_a_repository_is_found_from_any_directory_in_it(data):
    data("status", at="data/sub")


def test_init_twice_is_11(dv):
    dv("init", code=11)


def test_a_nested_repository_is_12(data):
    data("init", at="data", code=12)
    data("-C", "data/sub", "init", code=12)
    assert not (data.root / "data" / ".dv").exists()


def test_inside_dv_itself_is_2(data):
    data("status", at=".dv/store", code=2)


def test_init_says_to_keep_the_key(empty):
    assert "keys/repo" in empty("init").text


# ----------------------------------------------------------------------------------------------- format


def rewrite_format(dv, *, version, flags):
    """Write the store's format file as another version of dv would have."""
    value = storeformat.decode((store(dv) / "format").read_bytes())
    (store(dv) / "format").chmod(0o600)
    changed = msgspec.structs.replace(value, version=version, flags=flags)
    (store(dv) / "format").write_bytes(storeformat.encode(changed))


def test_a_newer_format_is_21(data):
    rewrite_format(data, version=storeformat.VERSION + 1, flags=())
    error = data("status", "--json", code=21).error
    assert "newer" in error["what"]
    assert "upgrade" in error["next"]


def test_an_unknown_feature_is_21_and_named(data):
    rewrite_format(data, version=storeformat.VERSION, flags=("telepathy",))
    assert "telepathy" in data("status", "--json", code=21).error["why"]


def test_a_store_of_another_program_is_21(data):
    (store(data) / "format").chmod(0o600)
    (store(data) / "format").write_bytes(b"something else entirely")
    data("status", code=21)


def test_a_newer_worktree_file_is_21(data):
    place = data.root / ".dv" / "worktree"
    place.write_text(place.read_text(encoding="utf-8").replace('"version":1', '"version":3'), encoding="utf-8")
    assert "newer" in data("status", "--json", code=21).error["what"]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"junk", b"\xff", b"[" * 5000])
def test_a_missing_or_malformed_worktree_file_is_21_and_says_what_it_is_for(data, content):
    place = data.root / ".dv" / "worktree"
    place.unlink()
    if content is not None:
        place.write_bytes(content)
    for words in (["status"], ["log"], ["add", "data"]):
        error = data(*words, "--json", code=21).error
        assert error["what"] == f"the worktree file is {'missing' if content is None else 'malformed'}"
        assert error["where"] == str(place)
        assert "Errno" not in error["why"]
        assert error["why"]
        assert "dv fsck --repair" in error["next"]


@pytest.mark.parametrize("name", ["worktree", "store/format"])
def test_what_the_disk_refuses_to_read_is_30(data, name):
    place = data.root / ".dv" / name
    place.unlink()
    place.mkdir()
    error = data("status", "--json", code=30).error
    assert error["where"] == str(place)
    assert error["why"]
    assert error["next"]


def test_a_dv_directory_that_may_not_be_read_is_30(data):
    # A loop of links refuses everybody, the superuser too.
    store(data).rename(data.root / "elsewhere")
    store(data).symlink_to(store(data))
    for words in (["status"], ["fsck"], ["log"]):
        assert data(*words, "--json", code=30).error["where"].startswith(str(data.root / ".dv"))


# -------------------------------------------------------------------------------------------------- keys


def test_a_missing_key_is_40(data):
    (store(data) / "keys" / "repo").unlink()
    assert "backup" in data("status", "--json", code=40).error["next"]


def test_another_repositorys_key_is_40(data):
    (data.root.parent / "second").mkdir()
    data("init", at="../second")
    shutil.copy(data.root.parent / "second/.dv/store/keys/repo", store(data) / "keys" / "repo")
    assert "another repository" in data("status", "--json", code=40).error["what"]


def test_a_damaged_key_is_40(data):
    flip(store(data) / "keys" / "repo")
    data("cat", "HEAD:data/a.txt", code=40)


def test_an_unreadable_key_is_40(data):
    (store(data) / "keys" / "repo").unlink()
    (store(data) / "keys" / "repo").mkdir()
    assert data("status", "--json", code=40).error["why"]


def test_doctor_reports_a_key_that_does_not_open(data):
    flip(store(data) / "keys" / "repo")
    found = data("doctor", "--json", code=1).json
    assert [check["name"] for check in found["checks"] if check["result"] == "failed"] == ["repository"]


# -------------------------------------------------------------------------------------------------- lock


def test_a_held_lock_is_12_at_once_with_wait_0(data):
    with (data.root / ".dv" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "--wait" in data("--wait", "0", "add", "data", "--json", code=12).error["next"]
        data.status()
        data("log")
    data("--wait", "0", "add", "data")


def test_a_held_lock_is_waited_for(data):
    data.write("data/new.txt")
    with (data.root / ".dv" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        release = threading.Timer(0.3, fcntl.flock, (held, fcntl.LOCK_UN))
        release.start()
        done = data("--wait", "30", "add", "data")
        release.join()
    assert "waiting" in done.told
    assert data.staged() == {"added": ["data/new.txt"]}


def test_a_lock_file_that_nobody_holds_locks_nothing(data):
    (data.root / ".dv" / "lock").write_text("999999", encoding="utf-8")
    data.write("data/new.txt")
    data("--wait", "0", "add", "data")


# ------------------------------------------------------------------------------------------------ caches


@pytest.mark.parametrize("content", [None, b"", b"junk", "flipped"], ids=["gone", "empty", "junk", "flipped"])
def test_a_damaged_index_is_made_again(data, content):
    place = data.root / ".dv" / "index"
    if content == "flipped":
        flip(place)
    elif content is None:
        place.unlink()
    else:
        place.write_bytes(content)
    data.write("data/a.txt", "changed\n")
    assert data.unstaged() == {"modified": ["data/a.txt"]}
    data.commit("second")
    assert data.status()["clean"]


@pytest.mark.parametrize("content", [None, b"junk"], ids=["gone", "junk"])
def test_a_damaged_cache_is_made_again(data, content):
    cache = data.root / ".dv" / "cache"
    if content is None:
        shutil.rmtree(cache)
    else:
        for name in os.listdir(cache):
            (cache / name).write_bytes(content)
    assert data.status()["clean"]
    data.write("data/new.txt")
    data.commit("second")


# ------------------------------------------------------------------------------------------------- damage


@pytest.fixture
def damaged(data):
    """Two files in packs of their own, the pack of data/large damaged; returns (dv, name of the pack)."""
    known = set(os.listdir(store(data) / "packs"))
    data.write("data/large", os.urandom(200_000))
    data("add", "data")
    [name] = [
        name
        for name in set(os.listdir(store(data) / "packs")) - known
        if (store(data) / "packs" / name).stat().st_size > 200_000
    ]
    data("commit", "-m", "second")
    flip(store(data) / "packs" / name)
    return data, name


def test_a_damaged_pack_is_20_and_named(damaged):
    dv, name = damaged
    error = dv("cat", "HEAD:data/large", code=20).told
    assert name in error
    assert "backup" in error


def test_what_lies_in_other_packs_still_comes_out(damaged):
    dv, _name = damaged
    assert dv("cat", "HEAD:data/a.txt").text == "a\n"
    found = dv("archive", "HEAD", "../copy", code=20)
    assert "data/large" in found.told
    assert dv.read("../copy/data/a.txt") == "a\n"
    assert not (dv.root.parent / "copy/data/large").exists()


def test_damage_is_named_with_the_paths_it_hits(damaged):
    dv, name = damaged
    (dv.root / "data/large").unlink()
    (dv.root / "data/b.txt").unlink()
    error = dv("restore", "data", "--json", code=20).error
    [item] = error["items"]
    assert "data/large" in item
    assert name[:16] in item
    assert dv.read("data/b.txt") == "bb\n"
    assert not (dv.root / "data/large").exists()


@pytest.mark.parametrize("how", ["checkout", "merge", "restore", "checkout --only", "get"])
def test_a_file_that_could_not_be_written_is_not_taken_for_removed(damaged, how):
    dv, name = damaged
    dv("tag", "second")
    dv("branch", "behind", "HEAD~1")
    if how == "restore":
        (dv.root / "data/large").unlink()
    elif how in {"checkout --only", "get"}:
        dv("checkout", "--only", "data/sub", "--force")
    else:
        dv("checkout", "behind")
    words = {"checkout": ["second"], "merge": ["second"], "restore": ["data"], "checkout --only": ["."], "get": ["."]}
    error = dv(*how.split(), *words[how], "--json", code=20).error
    assert [item.partition(":")[0] for item in error["items"]] == ["data/large"]
    assert "dv get" in error["next"]
    found = dv.status()
    assert (found["clean"], found["sparse"]) == (True, ["data/large"])
    dv("commit", "-a", "--allow-empty", "-m", "nothing is lost")
    assert "data/large" in dv.listed()
    dv("get", "data/large", code=20)
    assert dv.status()["sparse"] == ["data/large"]
    flip(store(dv) / "packs" / name)
    dv("get", "data/large")
    assert (dv.root / "data/large").stat().st_size == 200_000
    assert dv.status()["sparse"] == []
    assert dv.status()["clean"]


def test_a_missing_pack_is_20_and_named(damaged):
    dv, name = damaged
    (store(dv) / "packs" / name).unlink()
    assert name in dv("cat", "HEAD:data/large", code=20).told


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("cache", [True, False], ids=["cached", "uncached"])
def test_a_damaged_log_entry_is_20_and_named(data, number, cache):
    if not cache:
        shutil.rmtree(data.root / ".dv" / "cache")
    flip(store(data) / "log" / f"{number:016x}")
    error = data("log", "--json", code=20).error
    assert f"{number}" in error["what"] + error["where"]
    assert error["next"]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("cache", [True, False], ids=["cached", "uncached"])
def test_a_missing_log_entry_is_20(data, number, cache):
    if not cache:
        shutil.rmtree(data.root / ".dv" / "cache")
    (store(data) / "log" / f"{number:016x}").unlink()
    error = data("log", "--json", code=20).error
    assert error["next"]


def test_a_store_older_than_it_was_is_20(data):
    (store(data) / "log" / f"{3:016x}").unlink()
    assert data("status", "--json", code=20).error["next"]


@pytest.mark.parametrize("directory", ["index", "keys"])
@pytest.mark.parametrize("how", [flip, os.unlink], ids=["damaged", "missing"])
def test_other_files_of_the_store_are_20_and_named(data, directory, how):
    for name in sorted(set(os.listdir(store(data) / directory)) - {"repo"}):
        place = store(data) / directory / name
        before = place.read_bytes()
        how(place)
        done = data.process("cat", "HEAD:data/a.txt", code=20)
        assert name in done.told
        assert "next:" in done.told
        place.write_bytes(before)
    assert data("cat", "HEAD:data/a.txt").text == "a\n"


def test_a_damaged_format_file_is_20(data):
    flip(store(data) / "format")
    error = data("status", "--json", code=20).error
    assert error["where"].endswith("format")
    assert error["next"]


def test_a_store_that_is_gone_is_named(data):
    store(data).rename(data.root / "elsewhere")
    assert ".dv/store" in data("status", code=10).told


def test_damage_is_never_mended_by_removing_evidence(damaged):
    dv, name = damaged
    before = (store(dv) / "packs" / name).read_bytes()
    dv("cat", "HEAD:data/large", code=20)
    dv("doctor")
    dv.commit("third", "--allow-empty")
    assert (store(dv) / "packs" / name).read_bytes() == before


# ----------------------------------------------------------------------------------------- other promises


def test_41_erased_content_says_that_it_was_erased(data):
    from dvtool.formats import tree
    from dvtool.repo import Repo
    from dvtool.store.editing import Editor
    from dvtool.worktree import staging

    session = Repo.open(str(data.root)).workspace.session
    root = session.head_tree()
    assert root is not None
    entry = session.trees.resolve(root, "data/a.txt")
    assert entry is not None
    gone = tree.Entry(tree.ERASED, 0, bytes(32), 0, ((bytes(16), 1),))
    with session.lock(), session.store.transaction() as transaction:
        editor = Editor(transaction, session.store.secrets.split)
        changed = editor.apply(session.stage().tree, {"data": {"a.txt": gone}})
        actions = staging.stage_moves(session, transaction, changed, ("data",))
        transaction.commit("add", lambda _state: actions)
    data("commit", "-m", "erased")
    data("cat", "HEAD:data/a.txt", code=41)
    kinds = {item["path"]: item["kind"] for item in data("ls", "HEAD", "data", "--json").json}
    assert kinds["data/a.txt"] == "erased"
    assert data("log", "-n", "1", "--json").json[0]["erased"] == {"files": 1, "rows": 0}
