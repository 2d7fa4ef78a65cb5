"""Where a remote is: names, URLs, settings that travel, and keys at another place."""

import os
import shutil

import pytest

from dvtool.formats import project
from tests.cli.calling import Dv
from tests.cli.sharing import change, clone, files, pushed, there, travelling, tree_of


def test_a_remote_is_renamed_with_its_branches(one, two):
    two("remote", "rename", "origin", "upstream")
    assert [name for name in travelling(two) if name.startswith("remotes/")] == ["remotes/upstream/main"]
    theirs = pushed(one, "theirs")
    two("pull")
    assert two.status()["snapshot"] == theirs
    two("fetch", "origin", code=10)


def test_a_lazy_clone_finds_its_data_at_a_remote_that_was_renamed(one, two):
    lazy = clone(one, "lazy", "--lazy")
    lazy("remote", "rename", "origin", "upstream")
    assert lazy("cat", "main:data/b.txt").text == "bb\n"
    lazy("get", "data")
    assert files(lazy) == files(one)


def test_a_remote_that_is_removed_takes_its_branches_along(one, two):
    two("remote", "remove", "origin")
    assert [name for name in travelling(two) if name.startswith("remotes/")] == []
    two("pull", code=10)
    two("remote", "add", "origin", "../remote")
    two("fetch")
    assert travelling(two)["remotes/origin/main"] == two.status()["snapshot"]


def test_a_remote_that_moved_is_found_at_its_new_url(one, two):
    os.rename(one.root.parent / "remote", one.root.parent / "moved")
    two("fetch", code=10)
    two("push", code=10)
    assert not (one.root.parent / "remote").exists()
    two("remote", "set-url", "origin", "../moved")
    assert two("fetch", "--json").json["refs"] == []
    made = change(two, "mine")
    two("push")
    one("remote", "set-url", "origin", "../moved")
    one("pull")
    assert one.status()["snapshot"] == made


def test_several_remotes_hold_the_same(one, two):
    two("remote", "add", "backup", "../backup", "--plain-keys")
    two("push", "backup")
    assert there(two, "backup") == there(two, "origin")
    shutil.rmtree(one.root.parent / "remote")
    three = clone(one, "three", url="../backup")
    assert files(three) == files(one)


def test_a_file_url_means_the_directory(one, tmp_path):
    place = tmp_path / "ein ort"
    one("remote", "set-url", "origin", f"file://{tmp_path}/ein%20ort", code=0)
    one("remote", "remove", "origin")
    one("remote", "add", "origin", f"file://{tmp_path}/ein%20ort", "--plain-keys")
    one("push")
    assert sorted(os.listdir(place)) == ["acks", "format", "index", "keys", "log", "packs", "tmp"]
    two = clone(one, "two", url=f"file://{tmp_path}/ein%20ort")
    assert files(two) == files(one)
    two("fetch")


def test_a_relative_url_means_the_same_from_everywhere(one, two):
    change(one, "more")
    one("push", at="data/sub")
    two("pull", at="data/sub")
    assert two.read("data/a.txt") == "more"


def test_after_git_clone_one_pull_is_all_it_takes(one, tmp_path):
    one("push")
    there_ = tmp_path / "two"
    there_.mkdir()
    shutil.copy(one.root / "dv.toml", there_ / "dv.toml")
    two = Dv(there_, one._capture)
    two("status", code=10)
    found = two("pull", "--json").json
    assert found["snapshot"] == one.status()["snapshot"]
    assert files(two) == files(one)
    assert two.status()["clean"]
    made = pushed(one, "more")
    assert two("pull", "--json").json["snapshot"] == made


def test_after_git_clone_files_that_are_in_the_way_are_kept(one, tmp_path):
    one("push")
    there_ = tmp_path / "two"
    there_.mkdir()
    shutil.copy(one.root / "dv.toml", there_ / "dv.toml")
    two = Dv(there_, one._capture)
    two.write("data/a.txt", "mine")
    two("pull", code=12)
    assert two.read("data/a.txt") == "mine"
    two.write("data/a.txt", "a\n")
    two("pull")
    assert files(two) == files(one)


def test_a_dv_toml_that_names_no_remote_founds_nothing(empty):
    empty.write("dv.toml", "")
    empty("pull", code=10)
    assert not (empty.root / ".dv").exists()


def test_a_clone_takes_the_settings_and_keeps_its_remote(one, tmp_path):
    one.write("dv.toml", one.read("dv.toml") + '\n[splits]\ntrain = ["data/sub"]\n')
    pushed(one, "settings")
    shutil.move(tmp_path / "remote", tmp_path / "elsewhere")
    two = clone(one, "two", url="../elsewhere")
    assert "data/sub" in two.read("dv.toml")
    assert two("remote", "list", "--json").json[0]["url"] == str(tmp_path / "elsewhere")
    two("fetch")


def test_a_clone_keeps_the_place_of_the_key_that_was_given(data, tmp_path):
    data("remote", "add", "origin", str(tmp_path / "remote"), "--plain-keys")
    data.write("data/more.txt", "more\n")
    data.commit("with a dv.toml that names no place of a key")
    data("push")
    (tmp_path / "guarded/keys").mkdir(parents=True)
    shutil.move(tmp_path / "remote/keys/repo", tmp_path / "guarded/keys/repo")
    two = clone(data, "two", "--keys", str(tmp_path / "guarded"))
    [item] = two("remote", "list", "--json").json
    assert item["keys"] == str(tmp_path / "guarded")
    two("remote", "set-url", "origin", str(tmp_path / "remote"))  # forgets what was seen, so the key is read again
    two("fetch")


def test_a_clone_keeps_the_options_that_were_given_and_a_single_writer(data, s3_server):
    s3_server.make_bucket("bucket")
    data("remote", "add", "origin", "s3://bucket", "--option", f"endpoint_url={s3_server.url}", "--plain-keys")
    data("push")
    text = data.read("dv.toml")
    data.write("dv.toml", text.replace(s3_server.url, "http://127.0.0.1:9") + "single-writer = true\n")
    if "[remote.origin.options]" in text:
        data.write("dv.toml", text.replace("[remote.origin.options]", "single-writer = true\n[remote.origin.options]"))
        data.write("dv.toml", data.read("dv.toml").replace(s3_server.url, "http://127.0.0.1:9"))
    data.write("data/more.txt", "more\n")
    data.commit("elsewhere")
    data.write("dv.toml", text)
    data("push")
    done = data("clone", "s3://bucket", "../two", "--option", f"endpoint_url={s3_server.url}")
    assert "dv.toml named another place" in done.told
    two = Dv(data.root.parent / "two", data._capture)
    found = project.decode((two.root / "dv.toml").read_bytes()).remotes["origin"]
    assert found.options == {"endpoint_url": s3_server.url}
    assert found.single_writer is True
    two("fetch")


@pytest.fixture
def moved(one, tmp_path):
    """A clone whose dv.toml is that of its snapshot; the next one, pushed since, names a copy of the remote."""
    pushed(one, "settings")
    two = clone(one, "settled")
    good = one.read("dv.toml")
    assert two.read("dv.toml") == good
    one.write("dv.toml", good.replace(str(tmp_path / "remote"), str(tmp_path / "evil")))
    change(one, "elsewhere")
    one.write("dv.toml", good)
    one("push")
    shutil.copytree(tmp_path / "remote", tmp_path / "evil")
    return two


def test_settings_that_are_pulled_lead_nowhere_else_unnoticed(moved, tmp_path):
    two = moved
    told = two("pull").told
    assert "names another place as 'origin'" in told
    assert str(tmp_path / "evil") in told
    memory = (two.root / ".dv/remotes/origin").read_bytes()
    change(two, "mine")
    before = tree_of(tmp_path / "evil")
    for command in (["fetch"], ["pull"], ["push"], ["fsck", "--remote", "origin"], ["gc", "--remote", "origin"]):
        error = two(*command, "--json", code=12).error
        assert "names another place as 'origin'" in error["what"]
        assert str(tmp_path / "evil") in error["why"]
        assert str(tmp_path / "remote") in error["why"]
        assert f"dv remote set-url origin {tmp_path / 'evil'}" in error["next"]
    assert tree_of(tmp_path / "evil") == before
    assert (two.root / ".dv/remotes/origin").read_bytes() == memory
    two.write("dv.toml", two.read("dv.toml").replace("evil", "remote"))
    two("push")


def test_another_place_in_the_settings_is_used_when_that_is_said(moved, tmp_path):
    two = moved
    two("pull")
    two("fetch", code=12)
    two("remote", "set-url", "origin", str(tmp_path / "evil"))
    two("fetch")
    pushed(two, "mine")


@pytest.mark.parametrize("line", ['keys = "/elsewhere"', 'options = {endpoint_url = "http://127.0.0.1:9"}'])
def test_another_place_of_the_key_or_endpoint_is_refused(two, line):
    two.write("dv.toml", two.read("dv.toml").replace("[remote.origin]", f"[remote.origin]\n{line}"))
    assert "another place" in two("fetch", "--json", code=12).error["what"]


def test_what_is_remembered_goes_with_a_name_that_is_given_anew(one, two, tmp_path):
    two("remote", "rename", "origin", "other")
    two("remote", "add", "origin", str(tmp_path / "new"), "--plain-keys")
    two("push", "origin")
    two("remote", "remove", "origin")
    two("remote", "add", "origin", str(tmp_path / "remote"))
    two("fetch", "origin")
    two("fetch", "other")


def test_settings_that_cannot_be_read_keep_nobody_from_cloning(one, tmp_path):
    good = one.read("dv.toml")
    one.write("dv.toml", good + "\n[nonsense]\nx = 1\n")
    change(one, "broken")
    one.write("dv.toml", good)
    one("push")
    two = clone(one, "two")
    assert files(two) == files(one)
    two("fetch")


def test_the_key_is_kept_at_another_place(data, tmp_path):
    data("remote", "add", "origin", "../remote", "--keys", f"{tmp_path}/the keys")
    data("push")
    assert os.listdir(tmp_path / "the keys/keys") == ["repo"]
    assert not (tmp_path / "remote/keys/repo").exists()
    data.write("data/a.txt", "more")
    data.commit("more")
    data("push")
    assert data("fetch", "--json").json["refs"] == []
    data("remote", "set-url", "origin", "../remote")  # forgets what was seen, so the key is read again
    data("fetch")


def test_after_git_clone_the_key_is_found_at_its_other_place(data, tmp_path):
    data("remote", "add", "origin", str(tmp_path / "remote"), "--keys", str(tmp_path / "keys"))
    data("push")
    (tmp_path / "two").mkdir()
    shutil.copy(data.root / "dv.toml", tmp_path / "two/dv.toml")
    two = Dv(tmp_path / "two", data._capture)
    two("pull")
    assert files(two) == files(data)


def test_a_place_that_holds_something_else_is_left_alone(one, tmp_path):
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote/format").write_text("of something else")
    one("push", code=21)
    assert sorted(os.listdir(tmp_path / "remote")) == ["format"]
    assert (tmp_path / "remote/format").read_text() == "of something else"


def test_a_file_where_the_remote_should_be_is_named(one, tmp_path):
    (tmp_path / "remote").write_text("a file")
    for words in (["push"], ["fetch"], ["clone", "../remote", "../other"]):
        assert "remote" in one(*words, "--json", code=30).error["where"]
    assert (tmp_path / "remote").read_text() == "a file"
