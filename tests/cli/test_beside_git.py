"""dv beside Git: a file is in one of them, dv.lock is Git's to keep, .gitignore has a managed block."""

import json
import subprocess

import pytest


def lock(dv):
    return json.loads(dv.read("dv.lock"))


def test_files_that_git_tracks_are_listed_and_12(beside_git):
    dv = beside_git
    dv.write("code/a.py")
    dv.write("code/b.py")
    dv.write("code/data.bin")
    dv.git("add", "code/a.py", "code/b.py")
    error = dv("add", "code", "--json", code=12).error
    assert error["items"] == ["code/a.py", "code/b.py"]
    assert "--skip-git" in error["next"]
    assert dv.staged() == {}


def test_skip_git_leaves_them_to_git(beside_git):
    dv = beside_git
    dv.write("code/a.py")
    dv.write("code/data.bin")
    dv.git("add", "code/a.py")
    dv("add", "--skip-git", "code")
    assert dv.staged() == {"added": ["code/data.bin"]}
    dv("commit", "-m", "data only")
    assert "code/a.py" not in dv.listed()
    dv("add", "--skip-git", "code/a.py")
    assert dv.staged() == {}


def test_commit_a_and_status_leave_to_git_what_git_tracks(beside_git):
    dv = beside_git
    dv.write("data/tracked.py")
    dv.git("add", "-f", "data/tracked.py")
    assert dv("status", "--json").json["clean"]
    dv("commit", "-a", "-m", "x", code=1)
    dv.write("data/more")
    dv("commit", "-a", "-m", "x")
    assert "data/tracked.py" not in [item["path"] for item in dv("ls", "-r", "--json").json]


def test_gitignore_gets_a_managed_block_that_names_the_roots(beside_git):
    dv = beside_git
    assert "/.dv/\n/data\n" in dv.read(".gitignore")
    assert dv.git("status", "--short") == ""
    dv.write("labels.csv")
    dv.write("odd [name] #1/x")
    dv("add", "labels.csv", "odd [name] #1")
    assert dv.git("status", "--short").split() == ["M", ".gitignore"]
    dv("rm", "--cached", "labels.csv")
    assert "labels.csv" not in dv.read(".gitignore")


def test_lines_outside_the_block_stay_as_they_are(beside_git):
    dv = beside_git
    mine = dv.read(".gitignore")
    dv.write(".gitignore", f"*.pyc\r\n{mine}# mine, without a newline")
    dv.write("labels.csv")
    dv("add", "labels.csv")
    found = dv.root.joinpath(".gitignore").read_bytes().decode()
    assert found.startswith("*.pyc\r\n")
    assert found.endswith("# mine, without a newline")
    assert "/labels.csv" in found


def test_without_git_there_is_neither_lock_nor_gitignore(data):
    assert not (data.root / "dv.lock").exists()
    assert not (data.root / ".gitignore").exists()
    assert data.status()["lock"] == {"snapshot": None, "matches": True, "interrupted": False, "problem": None}


def test_commit_writes_dv_lock(beside_git):
    dv = beside_git
    assert lock(dv) == {"version": 1, "snapshot": dv.status()["snapshot"], "branch": "main"}
    assert dv.status()["lock"] == {
        "snapshot": dv.status()["snapshot"],
        "matches": True,
        "interrupted": False,
        "problem": None,
    }
    dv.write("data/b.txt")
    dv.commit("second")
    assert lock(dv)["snapshot"] == dv.status()["snapshot"]
    assert dv.git("status", "--short").split() == ["M", "dv.lock"]


def test_a_repository_to_which_git_comes_later_gets_its_lock(data):
    head = data.status()["snapshot"]
    subprocess.run(["git", "init", "-q", data.root], check=True)
    assert "dv.lock is not written yet" in data("status").text
    data.write("data/more", "more")
    told = data("add", "data").told
    assert "dv.lock was not there yet" in told
    assert "stopped" not in told
    assert lock(data)["snapshot"] == head
    assert "dv.lock" not in data("status").text


def test_checkout_writes_dv_lock(beside_git):
    dv = beside_git
    first = lock(dv)["snapshot"]
    dv.write("data/b.txt")
    dv.commit("second")
    dv("checkout", "HEAD~1")
    assert lock(dv) == {"version": 1, "snapshot": first, "branch": None}


def moved_by_git(dv):
    """Make a second version of code and data, then let Git go back to the first; return both ids."""
    first = lock(dv)["snapshot"]
    dv.write("data/b.txt", "b\n")
    second = dv.commit("second")
    dv.git("commit", "-a", "-q", "-m", "data, second version")
    dv.git("checkout", "-q", "HEAD~1")
    return first, second


def test_status_says_that_dv_lock_is_stale(beside_git):
    first, second = moved_by_git(beside_git)
    found = beside_git.status()
    assert found["snapshot"] == second
    assert found["lock"] == {"snapshot": first, "matches": False, "interrupted": False, "problem": None}
    assert "dv checkout --lock" in beside_git("status").text


def test_commit_with_a_stale_lock_is_12(beside_git):
    first, _second = moved_by_git(beside_git)
    beside_git.write("data/c.txt")
    assert "--lock" in beside_git("commit", "-a", "-m", "x", "--json", code=12).error["next"]
    assert lock(beside_git)["snapshot"] == first


def test_no_other_command_takes_a_stale_lock_back(beside_git):
    first, second = moved_by_git(beside_git)
    dv = beside_git
    dv.write("data/c.txt")
    for words in (["add", "data"], ["restore", "--staged", "data"], ["tag", "t"], ["branch", "b"], ["status"]):
        dv(*words)
        assert lock(dv)["snapshot"] == first, words
    dv("mv", "data/b.txt", "data/d.txt")
    dv("rm", "--cached", "data/d.txt")
    assert lock(dv)["snapshot"] == first
    assert dv.status()["snapshot"] == second
    dv("commit", "-m", "x", code=12)


def test_checkout_lock_follows_git(beside_git):
    first, second = moved_by_git(beside_git)
    dv = beside_git
    dv("checkout", "--lock")
    assert dv.status()["snapshot"] == first
    assert dv.status()["lock"]["matches"]
    assert not (dv.root / "data/b.txt").exists()
    assert dv.git("status", "--short") == ""
    dv.git("checkout", "-q", "gm")
    dv("checkout", "--lock")
    assert dv.status()["snapshot"] == second
    assert dv.status()["branch"] == "main"
    assert dv.status()["clean"]


def test_checkout_lock_keeps_local_changes(beside_git):
    _first, second = moved_by_git(beside_git)
    dv = beside_git
    dv.write("data/b.txt", "local\n")
    dv("checkout", "--lock", code=12)
    assert dv.read("data/b.txt") == "local\n"
    assert dv.status()["snapshot"] == second


def test_checkout_lock_wants_a_lock_and_no_revision(data):
    data("checkout", "--lock", code=10)
    data("checkout", "--lock", "main", code=2)


def test_a_lock_with_conflict_markers_is_21(beside_git):
    dv = beside_git
    before = dv.read("dv.lock")
    dv.write("dv.lock", f"<<<<<<< ours\n{before}=======\n{before}>>>>>>> theirs\n")
    assert not dv.status()["lock"]["matches"]
    assert "conflict markers" in dv("commit", "--allow-empty", "-m", "x", "--json", code=21).error["why"]
    dv("checkout", "--lock", code=21)
    dv("checkout", "main")
    assert dv.read("dv.lock") == before


def test_a_lock_that_names_an_unknown_snapshot_is_10(beside_git):
    dv = beside_git
    dv.write("dv.lock", json.dumps({"version": 1, "snapshot": "0" * 64, "branch": "main"}))
    dv("checkout", "--lock", code=10)
    dv("commit", "--allow-empty", "-m", "x", code=12)


def test_a_missing_lock_is_written_again_by_the_next_commit(beside_git):
    dv = beside_git
    (dv.root / "dv.lock").unlink()
    assert dv.status()["lock"] == {"snapshot": None, "matches": True, "interrupted": False, "problem": None}
    dv.commit("second", "--allow-empty")
    assert lock(dv)["snapshot"] == dv.status()["snapshot"]


def test_a_dv_repository_may_lie_below_the_top_of_gits(empty):
    empty.git("init", "-q")
    empty.write("project/data/a.txt", "a\n")
    empty.write("project/code.py")
    empty.git("add", "project/code.py")
    empty("init", at="project")
    empty("add", "code.py", at="project", code=12)
    empty("add", "data", at="project")
    empty("commit", "-m", "first", at="project")
    empty.git("add", "-A")
    assert "project/data/a.txt" not in empty.git("ls-files").split()
    assert "project/dv.lock" in empty.git("ls-files").split()
    empty.git("commit", "-q", "-m", "x")
    assert empty("cat", "git:HEAD:data/a.txt", at="project").text == "a\n"


# ------------------------------------------------------------------------------------ the whole directory


@pytest.fixture
def whole(empty):
    """``dv`` in a Git repository with code that Git tracks, and with everything else tracked by dv."""
    dv = empty
    dv.git("init", "-q")
    dv.write("code/a.py")
    dv.write("code/deep/b.py")
    dv.write(".gitattributes", "*.py text\n")
    dv.write("data/x", "x\n")
    dv.git("add", "code")
    dv("init")
    dv("add", "--skip-git", ".")
    return dv


def test_a_root_that_is_the_whole_directory_leaves_to_git_what_is_gits(whole):
    dv = whole
    assert dv.staged() == {"added": ["data/x"]}
    assert dv.unstaged() == {}
    dv("commit", "-m", "first")
    assert dv.listed() == ["data", "data/x"]
    assert dv.status()["clean"]
    assert dv("diff").text == "no differences\n"
    dv("commit", "-a", "-m", "nothing", code=1)
    dv.git("add", "-A")
    dv.git("commit", "-q", "-m", "code")
    assert dv.git("ls-files").split() == [".gitattributes", ".gitignore", "code/a.py", "code/deep/b.py", "dv.lock"]
    assert dv.status()["clean"]
    dv("doctor")


def test_everything_but_gits_own_is_listed_before_it_is_left_to_git(whole):
    error = whole("add", ".", "--json", code=12).error
    assert error["items"] == ["code/a.py", "code/deep/b.py"]


@pytest.mark.parametrize("name", [".gitignore", ".gitattributes"])
def test_gits_own_files_in_the_root_are_no_data(whole, name):
    whole("add", name, code=2)
    whole("add", name, "--skip-git", "--force", code=2)
    whole.write(f"data/{name}")
    assert whole.unstaged() == {"added": [f"data/{name}"]}


def test_a_name_that_git_would_own_is_data_where_there_is_no_git(data):
    data.write(".gitignore", "*.o\n")
    data("add", ".gitignore")
    assert data.staged() == {"added": [".gitignore"]}


def test_directories_of_git_may_hold_data_too(whole):
    dv = whole
    dv("commit", "-m", "first")
    dv.write("code/deep/y", "y\n")
    (dv.root / "code/deep/hollow/below").mkdir(parents=True)
    assert dv.unstaged() == {
        "added": ["code/deep/y"],
        "directories_added": ["code/deep/hollow", "code/deep/hollow/below"],
    }
    dv.commit("second")
    assert dv.status()["clean"]
    assert dv.listed("HEAD", "code") == ["code/deep", "code/deep/hollow", "code/deep/hollow/below", "code/deep/y"]


# ----------------------------------------------------------------------------------------------- in both


def test_doctor_names_files_that_are_in_git_and_in_dv(beside_git):
    dv = beside_git
    dv.write("data/b.txt")
    dv.commit("second")
    dv("doctor")
    dv.git("add", "-f", "data/a.txt")
    check = next(item for item in dv("doctor", "--json", code=1).json["checks"] if item["name"] == "git")
    assert check["result"] == "failed"
    assert "data/a.txt" in check["found"]
    assert "data/b.txt" not in check["found"]
    dv.git("rm", "-q", "--cached", "data/a.txt")
    dv("doctor")
    dv.git("add", "-f", "data/a.txt")
    dv("rm", "--cached", "data/a.txt")
    dv("doctor")


def test_doctor_names_them_below_the_top_of_gits_too(empty):
    dv = empty
    dv.git("init", "-q")
    dv.write("project/data/a.txt")
    dv.write("data/a.txt")
    dv("init", at="project")
    dv("add", "data", at="project")
    dv.git("add", "-f", "data/a.txt")
    dv("doctor", at="project")
    dv.git("add", "-f", "project/data/a.txt")
    assert "in Git and in dv: data/a.txt" in dv("doctor", at="project", code=1).text


def test_git_never_takes_the_key_even_where_the_managed_block_is_not(empty):
    dv = empty
    dv.git("init", "-q")
    dv.write("code.py", "print()\n")
    dv.git("add", "-A")
    dv.git("commit", "-q", "-m", "before dv")
    dv("init")
    dv.write("data/a.txt", "a\n")
    dv("add", "data")
    dv("commit", "-m", "first")
    dv.git("add", "-A")
    dv.git("commit", "-q", "-m", "with dv")
    dv("worktree", "add", "-b", "side", "../other")
    assert (dv.root.parent / "other/.dv/.gitignore").read_text() == "*\n"
    dv.git("checkout", "-q", "HEAD~1")
    dv.git("add", "-A")
    assert not [line for line in dv.git("ls-files").splitlines() if line.startswith(".dv")]


def test_the_ignore_file_of_dv_itself_comes_back(data):
    (data.root / ".dv/.gitignore").unlink()
    data("add", "data")
    assert data.read(".dv/.gitignore") == "*\n"


def test_no_block_is_written_through_a_link(beside_git, tmp_path):
    dv = beside_git
    outside = tmp_path / "outside"
    outside.write_text("theirs\n")
    (dv.root / ".gitignore").unlink()
    (dv.root / ".gitignore").symlink_to(outside)
    dv.write("more/b.txt")
    error = dv("add", "more", "--json", code=12).error
    assert error["where"] == ".gitignore"
    assert "link" in error["why"]
    assert outside.read_text() == "theirs\n"
    assert dv.status()["clean"]
    dv.git("init", "-q", "../new")
    (tmp_path / "new/.gitignore").symlink_to(outside)
    dv("init", at="../new", code=12)
    assert not (tmp_path / "new/.dv").exists()


def sha256(dv):
    dv.git("init", "-q", "--object-format=sha256")


def in_parts(dv):
    dv.git("init", "-q")
    dv.git("config", "core.splitIndex", "true")


@pytest.mark.parametrize("kind", [sha256, in_parts])
def test_a_repository_that_the_library_does_not_know_is_asked_through_git(empty, kind):
    dv = empty
    kind(dv)
    dv.write("data/code.py", "print()\n")
    dv.write("data/a.txt", "a\n")
    dv.git("add", "data/code.py")
    dv.git("commit", "-q", "-m", "code")
    dv.git("update-index", *(["--split-index"] if kind is in_parts else ["--refresh"]))
    dv("init")
    assert dv("add", "data", "--json", code=12).error["items"] == ["data/code.py"]
    dv("add", "--skip-git", "data")
    dv("commit", "-m", "first")
    assert dv.listed() == ["data", "data/a.txt"]
    assert dv.status()["clean"]
    dv.git("add", "-A")
    dv.git("commit", "-q", "-m", "with data")
    assert dv("cat", "git:HEAD:data/a.txt").text == "a\n"
    dv("ls", "git:HEAD~1", code=10)
    dv("ls", "git:--help", code=10)


def test_a_repository_that_nobody_can_read_is_no_reason_to_take_its_files(empty, monkeypatch):
    dv = empty
    sha256(dv)
    dv("init")
    dv.write("data/a.txt", "a\n")
    monkeypatch.setenv("PATH", "/nowhere")
    error = dv("add", "data", "--json", code=21).error
    assert error["where"].endswith("/.git")
    assert "sha256" in error["why"]
    assert "no program" in error["why"]


def test_a_damaged_index_of_git_is_named_and_stops_only_what_needs_it(beside_git):
    dv = beside_git
    (dv.root / ".git/index").write_bytes(b"DIRC" + bytes(40))
    dv.write("data/new.txt", "new\n")
    error = dv("add", "data", "--json", code=21).error
    assert error["where"].endswith("/.git")
    assert "index" in error["why"]
    assert error["next"]
    dv("log")
    dv("ls", "-r")
    dv("cat", "HEAD:data/a.txt")
    assert "Git's repository cannot be read" in dv("doctor", code=1).text
    dv.write("data/a.txt", "changed\n")
    dv("restore", "--force", "data")
    assert dv.read("data/a.txt") == "a\n"
    dv("checkout", "HEAD")
    (dv.root / "data/new.txt").unlink()
    assert dv.status()["clean"]


def test_damaged_objects_of_git_are_named(beside_git):
    for place in (beside_git.root / ".git/objects").glob("*/*"):
        place.chmod(0o600)
        place.write_bytes(b"damaged")
    error = beside_git("ls", "git:HEAD", "--json", code=21).error
    assert error["where"].endswith("/.git")


def test_an_empty_directory_named_git_is_no_repository(data):
    (data.root / ".git").mkdir()
    data.write("data/new.txt")
    data("add", "data")
    assert not (data.root / ".gitignore").exists()


@pytest.mark.parametrize("around", [True, False])
def test_what_a_repository_inside_a_root_tracks_is_left_to_it_too(empty, around):
    dv = empty
    if around:
        dv.git("init", "-q")
    dv("init")
    dv.write("data/a.txt", "a\n")
    dv.write("data/inner/deep/theirs.txt", "theirs\n")
    dv.git("init", "-q", "data/inner")
    dv.git("-C", "data/inner", "add", "-A")
    dv.write("data/inner/deep/free.txt", "nobody's\n")
    for named in ("data", "data/inner/deep", "data/inner/deep/theirs.txt"):
        error = dv("add", named, "--json", code=12).error
        assert error["items"] == ["data/inner/deep/theirs.txt"]
        assert "data/inner/.git" in error["next"]
    dv("add", "--skip-git", "data")
    dv.commit("first")
    assert dv.listed() == ["data", "data/a.txt", "data/inner", "data/inner/deep", "data/inner/deep/free.txt"]
    assert dv.status()["clean"]
    dv("doctor")
    dv.git("-C", "data/inner", "add", "-A")
    assert "data/inner/deep/free.txt" in dv("doctor", code=1).text


@pytest.mark.parametrize("how", ["git moved", "edited", "malformed", "newer", "unknown snapshot"])
def test_each_advice_about_a_stale_lock_works(beside_git, how):
    dv = beside_git
    first, second = moved_by_git(dv)
    if how != "git moved":
        dv.git("checkout", "-q", "gm")
    text = {
        "edited": dv.read("dv.lock").replace(second, first),
        "malformed": "<<<<<<< HEAD\n",
        "newer": '{"version": 2, "snapshots": []}\n',
        "unknown snapshot": dv.read("dv.lock").replace(second, "ab" * 32),
    }.get(how)
    if text is not None:
        dv.write("dv.lock", text)
    code = 21 if how in {"malformed", "newer"} else 12
    error = dv("commit", "--allow-empty", "-m", "x", "--json", code=code).error
    assert "'dv checkout HEAD'" in error["next"]
    if how in {"malformed", "newer"}:
        assert how in dv("status").text
        assert how in dv.status()["lock"]["problem"]
        assert "another snapshot" not in dv("status").text
    dv("checkout", "HEAD")
    assert lock(dv) == {"version": 1, "snapshot": second, "branch": "main"}
    assert dv.status()["lock"]["matches"]
    dv("commit", "--allow-empty", "-m", "x")


def test_a_directory_named_dv_lock_is_told(beside_git):
    (beside_git.root / "dv.lock").unlink()
    (beside_git.root / "dv.lock").mkdir()
    assert "directory" in beside_git.status()["lock"]["problem"]
    assert "directory" in beside_git("status").text
