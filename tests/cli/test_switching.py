"""``dv checkout``, ``restore``, ``get`` and ``drop``: what lies in the worktree, and what is never lost."""

import os

import pytest


@pytest.fixture
def two(data):
    """Two branches: main (a.txt, b.txt, sub/c.txt) and other, where a.txt is changed, b.txt gone and d.txt new."""
    data("checkout", "-b", "other")
    data.write("data/a.txt", "other\n")
    (data.root / "data/b.txt").unlink()
    data.write("data/d.txt", "d\n")
    data.commit("on other")
    data("checkout", "main")
    return data


# ------------------------------------------------------------------------------------------- checkout


def test_checkout_of_a_branch_attaches(two):
    found = two("checkout", "other", "--json").json
    assert found["branch"] == two.status()["branch"] == "other"
    assert two.read("data/a.txt") == "other\n"
    assert sorted(os.listdir(two.root / "data")) == ["a.txt", "d.txt", "sub"]
    assert two.status()["clean"]


@pytest.mark.parametrize("revision", ["HEAD~1", "v1", "id"])
def test_checkout_of_any_other_revision_detaches(two, revision):
    two("tag", "v1", "other")
    two("checkout", "other")
    wanted = two("log", "v1" if revision == "id" else revision, "--json").json[0]["snapshot"]
    two("checkout", wanted[:16] if revision == "id" else revision)
    found = two.status()
    assert found["branch"] is None
    assert found["snapshot"] == wanted
    assert found["clean"]


def test_a_commit_on_a_detached_head_moves_no_branch(two):
    two("checkout", "other~1")
    before = two("branch", "--json").json
    two.write("data/e.txt")
    made = two.commit("detached")
    assert [(b["name"], b["snapshot"]) for b in two("branch", "--json").json] == [
        (b["name"], b["snapshot"]) for b in before
    ]
    assert two.status()["snapshot"] == made
    two("checkout", "main")
    assert two("show", made, "--json").json["message"] == "detached"
    assert any(move["to"] == made for item in two("oplog", "--json").json for move in item["refs"])


def test_checkout_b_makes_a_branch_and_switches(two):
    two("checkout", "-b", "third", "other")
    assert two.status()["branch"] == "third"
    assert two.read("data/a.txt") == "other\n"
    two("checkout", "-b", "third", code=11)
    two("checkout", "-b", "two words", code=2)


def test_checkout_b_before_the_first_snapshot_names_the_branch(dv):
    dv("checkout", "-b", "start")
    dv.write("data/a.txt")
    dv("add", "data")
    dv("commit", "-m", "first")
    assert [item["name"] for item in dv("branch", "--json").json] == ["start"]


def test_local_changes_that_the_switch_does_not_touch_are_kept(two):
    two.write("data/sub/c.txt", "local\n")
    two.write("data/new.txt", "local\n")
    two.write("data/staged.txt", "staged\n")
    two("add", "data/staged.txt")
    found = two("checkout", "other", "--json").json
    assert set(found["kept"]) >= {"data/staged.txt", "data/sub/c.txt"}
    assert two.read("data/sub/c.txt") == "local\n"
    assert two.read("data/new.txt") == "local\n"
    assert two.staged() == {"added": ["data/staged.txt"]}
    assert two.unstaged() == {"added": ["data/new.txt"], "modified": ["data/sub/c.txt"]}


def test_what_was_not_changed_is_not_reported_as_kept(two):
    assert two("checkout", "-b", "third", "--json").json["kept"] == []
    assert two("checkout", "other", "--json").json["kept"] == []


@pytest.mark.parametrize("path", ["data/a.txt", "data/b.txt", "data/d.txt"], ids=["changed", "gone", "new"])
@pytest.mark.parametrize("staged", [False, True], ids=["unstaged", "staged"])
def test_local_changes_in_the_way_are_12_and_nothing_is_touched(two, path, staged):
    two.write(path, "local\n")
    if staged:
        two("add", path)
    error = two("checkout", "other", "--json", code=12).error
    assert error["items"] == [path]
    assert two.read(path) == "local\n"
    assert two.status()["branch"] == "main"
    assert sorted(os.listdir(two.root / "data")) == sorted({"a.txt", "b.txt", "sub", path.split("/")[1]})


def test_a_local_removal_is_no_loss(two):
    (two.root / "data/sub/c.txt").unlink()
    two("checkout", "other")
    assert two.unstaged() == {"removed": ["data/sub/c.txt"]}


def test_an_untracked_file_in_the_way_is_12(two):
    two("checkout", "other")
    two.write(".dvignore", "b.txt\n")
    two.write("data/b.txt", "ignored, and the only copy\n")
    two("checkout", "main", code=12)
    assert two.read("data/b.txt") == "ignored, and the only copy\n"


def test_an_untracked_directory_in_the_way_of_a_file_is_12(two):
    two("checkout", "other")
    two.write("data/b.txt/inside", "the only copy\n")
    two("checkout", "main", code=12)
    assert two.read("data/b.txt/inside") == "the only copy\n"


def test_a_file_that_equals_what_would_be_written_is_not_in_the_way(two):
    two.write("data/d.txt", "d\n")
    two("checkout", "other")
    assert two.status()["clean"]


def test_force_overwrites(two):
    two.write("data/a.txt", "local\n")
    two("checkout", "--force", "other")
    assert two.read("data/a.txt") == "other\n"
    assert two.status()["clean"]


def test_force_without_a_revision_makes_the_worktree_as_head(two):
    two.write("data/a.txt", "local\n")
    (two.root / "data/b.txt").unlink()
    two("checkout", "--force")
    assert two.status()["clean"]


def test_files_outside_the_roots_stay(two):
    two.write("notes.txt", "mine\n")
    two("checkout", "other")
    two("checkout", "--force", "main")
    assert two.read("notes.txt") == "mine\n"


def test_a_link_to_a_directory_is_replaced_and_not_followed(data, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.txt").write_text("precious\n", encoding="utf-8")
    data("checkout", "-b", "linked")
    data("rm", "data/sub")
    (data.root / "data/sub").symlink_to(outside)
    data.commit("a link")
    data("checkout", "main")
    assert data.read("data/sub/c.txt") == "ccc\n"
    assert (outside / "c.txt").read_text(encoding="utf-8") == "precious\n"
    data("checkout", "linked")
    assert os.listdir(outside) == ["c.txt"]


def test_dv_toml_and_dvignore_travel_with_snapshots_without_git(data):
    data.write(".dvignore", "*.tmp\n")
    data.commit("rules", "--allow-empty")
    data.write(".dvignore", "*.bak\n")
    data.commit("other rules", "--allow-empty")
    data("checkout", "HEAD~1")
    assert data.read(".dvignore") == "*.tmp\n"
    data.write(".dvignore", "edited\n")
    data("checkout", "main")
    assert data.read(".dvignore") == "edited\n"


# -------------------------------------------------------------------------------------------- restore


def test_restore_brings_the_stage_to_the_worktree(data):
    data.write("data/a.txt", "staged\n")
    data("add", "data")
    (data.root / "data/a.txt").unlink()
    (data.root / "data/sub/c.txt").unlink()
    data("restore", "data")
    assert data.read("data/a.txt") == "staged\n"
    assert data.read("data/sub/c.txt") == "ccc\n"
    assert data.unstaged() == {}


def test_restore_source_takes_another_revision_and_leaves_the_stage(data):
    data.write("data/a.txt", "second\n")
    data.commit("second")
    data("restore", "--source", "HEAD~1", "data/a.txt")
    assert data.read("data/a.txt") == "a\n"
    assert data.staged() == {}
    assert data.unstaged() == {"modified": ["data/a.txt"]}


def test_restore_staged_resets_the_stage_and_leaves_the_worktree(data):
    data.write("data/a.txt", "changed\n")
    data.write("data/new.txt")
    (data.root / "data/b.txt").unlink()
    data("add", "data")
    data("restore", "--staged", "data")
    assert data.staged() == {}
    assert data.unstaged() == {
        "added": ["data/new.txt"],
        "modified": ["data/a.txt"],
        "removed": ["data/b.txt"],
    }
    assert data.read("data/a.txt") == "changed\n"


def test_restore_staged_source_stages_what_another_revision_has(data):
    data.write("data/a.txt", "second\n")
    data.commit("second")
    data("restore", "--staged", "--source", "HEAD~1", "data/a.txt")
    assert data.staged() == {"modified": ["data/a.txt"]}
    assert data.read("data/a.txt") == "second\n"


@pytest.mark.parametrize("options", [[], ["--source", "HEAD"]], ids=["stage", "source"])
def test_restore_of_unstored_content_is_12_unless_forced(data, options):
    data.write("data/a.txt", "stored nowhere\n")
    data.write("data/b.txt", "stored nowhere\n")
    error = data("restore", *options, "data", "--json", code=12).error
    assert error["items"] == ["data/a.txt", "data/b.txt"]
    assert data.read("data/a.txt") == "stored nowhere\n"
    data("restore", *options, "--force", "data/a.txt")
    assert data.read("data/a.txt") == "a\n"
    assert data.read("data/b.txt") == "stored nowhere\n"


def test_restore_over_content_that_is_stored_needs_no_force(data):
    data.write("data/a.txt", "second\n")
    data.commit("second")
    data.write("data/a.txt", "a\n")
    data("restore", "data/a.txt")
    assert data.read("data/a.txt") == "second\n"


def test_restore_of_a_path_that_never_was_is_10(data):
    data.write("data/new.txt")
    data("restore", "data/new.txt", code=10)
    data("restore", "--source", "HEAD", "data/new.txt", code=10)
    data("restore", "--source", "nothing", "data/a.txt", code=10)


def test_restore_source_into_a_place_taken_by_an_unstored_file_is_12(data):
    data("rm", "data/a.txt")
    data("commit", "-m", "without a")
    data.write("data/a.txt", "new and stored nowhere\n")
    data("restore", "--source", "HEAD~1", "data/a.txt", code=12)
    assert data.read("data/a.txt") == "new and stored nowhere\n"


# -------------------------------------------------------------------------- drop, get, checkout --only


def test_dropped_paths_are_never_taken_for_removed(data):
    found = data("drop", "data/sub", "--json").json
    assert found == {"files": 1, "bytes": 4}
    assert not (data.root / "data/sub/c.txt").exists()
    status = data.status()
    assert status["clean"]
    assert status["sparse"] == ["data/sub"]
    data("commit", "-a", "-m", "nothing", code=1)
    data.write("data/new.txt")
    data.commit("second")
    assert "data/sub/c.txt" in data.listed()
    assert data("diff", "HEAD~1", "--json").json["removed"] == []


def test_get_brings_them_back(data):
    data("drop", "data")
    assert not (data.root / "data/a.txt").exists()
    assert data("get", "data/a.txt", "--json").json == {"files": 1, "bytes": 2}
    assert data.read("data/a.txt") == "a\n"
    assert not (data.root / "data/b.txt").exists()
    assert data.status()["clean"]
    data("get", ".")
    assert data.read("data/sub/c.txt") == "ccc\n"
    assert data.status()["sparse"] == []


def test_drop_removes_only_what_is_verified_stored(data):
    data.write("data/a.txt", "changed\n")
    assert data("drop", "data", "--json", code=12).error["items"] == ["data/a.txt"]
    data.write("data/a.txt", "a\n")
    data.write("data/new.txt", "stored nowhere\n")
    data("drop", "data", code=12)
    assert sorted(os.listdir(data.root / "data")) == ["a.txt", "b.txt", "new.txt", "sub"]


def test_drop_reads_the_store_before_it_removes(data):
    large = os.urandom(300_000)
    data.write("data/large", large)
    data.commit("second")
    for pack in (data.root / ".dv/store/packs").iterdir():
        if pack.stat().st_size > 200_000:
            damaged = bytearray(pack.read_bytes())
            damaged[150_000] ^= 1
            pack.chmod(0o600)
            pack.write_bytes(damaged)
    data("drop", "data/large", code=20)
    assert (data.root / "data/large").read_bytes() == large


def test_get_never_overwrites_another_file(data):
    data("drop", "data/a.txt")
    data.write("data/a.txt", "another\n")
    data("get", "data/a.txt", code=12)
    assert data.read("data/a.txt") == "another\n"


def test_checkout_keeps_dropped_paths_out(two):
    two("drop", "data/a.txt")
    two("checkout", "other")
    assert not (two.root / "data/a.txt").exists()
    assert two.status()["clean"]
    two("get", "data/a.txt")
    assert two.read("data/a.txt") == "other\n"


def test_checkout_only_confines_the_worktree(data):
    data("checkout", "--only", "data/sub")
    assert [str(path.relative_to(data.root)) for path in data.root.glob("data/**/*.txt")] == ["data/sub/c.txt"]
    status = data.status()
    assert status["clean"]
    assert status["sparse"] == ["data/a.txt", "data/b.txt"]
    data.write("data/sub/new.txt")
    data.commit("in a confined worktree")
    assert {"data/a.txt", "data/sub/new.txt"} <= set(data.listed())
    data("checkout", "--only", ".")
    assert data.read("data/a.txt") == "a\n"
    assert data.status()["sparse"] == []


def test_checkout_only_takes_several_paths(data):
    data("checkout", "main", "--only", "data/sub", "data/a.txt")
    assert sorted(os.listdir(data.root / "data")) == ["a.txt", "sub"]


def test_checkout_only_would_lose_nothing(data):
    data.write("data/a.txt", "changed\n")
    data("checkout", "--only", "data/sub", code=12)
    assert data.read("data/a.txt") == "changed\n"
    assert data.read("data/b.txt") == "bb\n"
    data("checkout", "--only", "nothing", code=10)


def test_checkout_only_leaves_files_that_were_never_added(data):
    data.write("data/never-added.txt", "only copy\n")
    data("checkout", "--only", "data/sub")
    assert data.read("data/never-added.txt") == "only copy\n"


def test_checkout_of_head_keeps_what_is_staged_and_a_merge_under_way(data):
    data("checkout", "-b", "side")
    data.write("data/a.txt", "side\n")
    data.commit("side")
    data("checkout", "main")
    data.write("data/a.txt", "main\n")
    data.commit("main")
    data("merge", "side", "--manual")
    data.write("data/new.txt", "new\n")
    data("add", "data/new.txt")
    before = data.status()
    log = data("oplog", "--json").json
    data("checkout", "HEAD")
    data("checkout", "main")
    assert data.status() == before
    assert data.status()["merging"]
    assert data("oplog", "--json").json == log
