"""``dv diff``, ``commit`` and ``log``."""

import os
import subprocess

import pytest


def paths(items):
    return [item["path"] for item in items]


# ----------------------------------------------------------------------------------------------- diff


def test_none_compares_head_with_the_worktree_and_the_worktree_is_null(data):
    head = data.status()["snapshot"]
    data.write("data/a.txt", "changed\n")
    data("add", "data")
    data.write("data/b.txt", "changed, not staged\n")
    document = data("diff", "--json").json
    assert (document["from"], document["to"]) == (head, None)
    assert paths(document["modified"]) == ["data/a.txt", "data/b.txt"]


def test_staged_compares_head_with_the_stage(data):
    head = data.status()["snapshot"]
    data.write("data/a.txt", "changed\n")
    data("add", "data")
    data.write("data/b.txt", "changed, not staged\n")
    document = data("diff", "--staged", "--json").json
    assert (document["from"], document["to"]) == (head, "stage")
    assert paths(document["modified"]) == ["data/a.txt"]


def test_a_compares_a_with_the_worktree(data):
    first = data.status()["snapshot"]
    data.write("data/new.txt")
    data.commit("second")
    data.write("data/newer.txt")
    document = data("diff", "HEAD~1", "--json").json
    assert (document["from"], document["to"]) == (first, None)
    assert paths(document["added"]) == ["data/new.txt", "data/newer.txt"]


def test_a_b_compares_two_snapshots(data):
    first = data.status()["snapshot"]
    data.write("data/new.txt")
    (data.root / "data/b.txt").unlink()
    second = data.commit("second")
    document = data("diff", "HEAD~1", "HEAD", "--json").json
    assert (document["from"], document["to"]) == (first, second)
    assert paths(document["added"]) == ["data/new.txt"]
    assert paths(document["removed"]) == ["data/b.txt"]
    back = data("diff", "HEAD", "HEAD~1", "--json").json
    assert paths(back["added"]) == ["data/b.txt"]
    assert back["root"] == {"from": document["root"]["to"], "to": document["root"]["from"]}


def test_before_the_first_snapshot_everything_is_added(dv):
    dv.write("data/a.txt")
    dv("add", "data")
    document = dv("diff", "--staged", "--json").json
    assert (document["from"], document["to"]) == (None, "stage")
    assert paths(document["added"]) == ["data/a.txt"]


def test_renames_have_equal_content_and_are_not_repeated(data):
    data.write("data/moved.txt", "moved along\n")
    data.commit("second")
    (data.root / "data/moved.txt").rename(data.root / "data/sub/elsewhere.txt")
    document = data("diff", "--json").json
    [item] = document["renamed"]
    assert (item["from"], item["to"], item["size"]) == ("data/moved.txt", "data/sub/elsewhere.txt", 12)
    assert document["added"] == document["removed"] == []


def test_renames_prefer_the_same_base_name_then_path_order(data):
    for name in ("one/x", "one/y", "one/z"):
        data.write(f"data/{name}", "equal\n")
    data.commit("second")
    for name in ("one/x", "one/y", "one/z"):
        (data.root / "data" / name).unlink()
    for name in ("two/a", "two/b", "two/y"):
        data.write(f"data/{name}", "equal\n")
    found = {item["from"]: item["to"] for item in data("diff", "--json").json["renamed"]}
    assert found == {"data/one/x": "data/two/a", "data/one/y": "data/two/y", "data/one/z": "data/two/b"}


def test_empty_files_and_links_are_not_renamed(data):
    data.write("data/empty", b"")
    (data.root / "data/link").symlink_to("a.txt")
    data.commit("second")
    (data.root / "data/empty").rename(data.root / "data/sub/empty")
    (data.root / "data/link").rename(data.root / "data/sub/link")
    document = data("diff", "--json").json
    assert document["renamed"] == []
    assert paths(document["added"]) == ["data/sub/empty", "data/sub/link"]
    assert paths(document["removed"]) == ["data/empty", "data/link"]


def test_directories_carry_their_checksums(data):
    data.write("data/sub/c.txt", "changed\n")
    document = data("diff", "--json").json
    assert paths(document["directories"]) == ["", "data", "data/sub"]
    assert all(item["from"] != item["to"] for item in document["directories"])
    assert document["directories"][0]["from"] == document["root"]["from"]
    data.write("data/sub/c.txt", "ccc\n")
    assert data("diff", "--json").json["directories"] == []


def test_people_see_files_and_the_checksums_of_directories(data):
    data.write("data/sub/c.txt", "changed\n")
    (data.root / "data/empty").mkdir()
    document = data("diff", "--json").json
    short = {item["path"]: (item["from"], item["to"]) for item in document["directories"]}
    lines = data("diff").text.splitlines()
    assert lines[0] == "modified data/sub/c.txt (4 B -> 8 B)"
    assert lines[1:-1] == [
        f"checksum {path or '.'}/ ({(before or 'nothing')[:12]} -> {after[:12]})"
        for path, (before, after) in sorted(short.items())
    ]
    assert set(short) == {"", "data", "data/empty", "data/sub"}
    assert lines[-1].startswith("0 files added, 0 removed, 1 modified, 0 renamed; 4 directories changed; checksum ")
    assert lines[-1].endswith(lines[1].removeprefix("checksum ./ (").removesuffix(")"))
    data("add", "data")
    assert data("diff", "--staged").text.splitlines() == lines
    assert data("diff", "HEAD").text.splitlines() == lines


def test_of_many_directories_those_nearest_to_the_root_are_shown(data):
    for number in range(60):
        data.write(f"data/d{number}/deep/x")
    lines = data("diff").text.splitlines()
    shown = [line for line in lines if line.startswith("checksum ") and "->" in line]
    assert [line.split()[1] for line in shown[:2]] == ["./", "data/"]
    assert len(shown) == 50
    assert not any("deep" in line for line in shown)
    assert "checksum … of 72 more (all of them with --json)" in lines


def test_thousands_of_changes_are_summed_up_by_directory_with_its_checksum(data):
    for number in range(1100):
        data.write(f"data/many/{number % 2}/{number}", str(number))
    data.write("data/a.txt", "changed\n")
    document = data("diff", "--json").json
    of = {item["path"]: item for item in document["directories"]}
    lines = data("diff").text.splitlines()
    assert lines[:-1] == [
        f"data/  +0  -0  ~1  checksum {of['data']['from'][:12]} -> {of['data']['to'][:12]}",
        f"data/many/0/  +550  -0  ~0  checksum nothing -> {of['data/many/0']['to'][:12]}",
        f"data/many/1/  +550  -0  ~0  checksum nothing -> {of['data/many/1']['to'][:12]}",
    ]
    assert "1,100 files added" in lines[-1]


def test_a_diff_can_be_confined_to_paths(data):
    data.write("data/a.txt", "changed\n")
    data.write("data/sub/c.txt", "changed\n")
    assert paths(data.process("diff", "--json", "--", "data/sub").json["modified"]) == ["data/sub/c.txt"]
    assert paths(data.process("diff", "--json", "--", "sub", at="data").json["modified"]) == ["data/sub/c.txt"]
    assert paths(data("diff", "--json", "data/a.txt").json["modified"]) == ["data/a.txt"]


def test_a_diff_of_two_directories(data):
    data.write("data/other/c.txt", "changed\n")
    data.commit("second")
    document = data("diff", "HEAD:data/sub", "HEAD:data/other", "--json").json
    assert paths(document["modified"]) == ["c.txt"]


@pytest.mark.parametrize("words", [["HEAD:data/sub"], ["--staged", "HEAD:data/sub"]], ids=" ".join)
def test_worktree_and_stage_are_compared_with_a_directory_by_what_they_have_there(data, words):
    assert data("diff", "--exit-code", *words).text == "no differences\n"
    data.write("data/a.txt", "outside of it\n")
    data.write("data/sub/c.txt", "changed\n")
    data("add", "data")
    document = data("diff", "--json", *words).json
    assert paths(document["modified"]) == ["c.txt"]
    assert document["added"] == document["removed"] == []
    assert document["from"] == data("show", "--json").json["snapshot"] + ":data/sub"
    assert document["to"] == ("stage" if "--staged" in words else None)
    (data.root / "data/sub/c.txt").unlink()
    data("rm", "data/sub")
    assert paths(data("diff", "--json", *words).json["removed"]) == ["c.txt"]


def test_paths_behind_dashes_confine_a_diff_of_directories_too(data):
    data.write("data/sub/d.txt", "d\n")
    data.write("data/other/c.txt", "changed\n")
    data.commit("second")

    def changed(*words):
        document = data("diff", "--json", *words).json
        return paths(document["modified"]), paths(document["removed"])

    sides = ("HEAD:data/sub", "HEAD:data/other", "--")
    assert changed(*sides) == (["c.txt"], ["d.txt"])
    assert changed(*sides, "data/sub/c.txt") == (["c.txt"], [])
    assert changed(*sides, "data/other/c.txt") == (["c.txt"], [])
    assert changed(*sides, "data/sub/d.txt") == ([], ["d.txt"])
    assert changed(*sides, "data") == (["c.txt"], ["d.txt"])
    assert "lies outside" in data("diff", *sides, "data/a.txt", code=2).told


@pytest.mark.parametrize("words", [[], ["--staged"], ["HEAD"], ["HEAD", "HEAD"], ["HEAD:data"]], ids=" ".join)
def test_a_path_that_neither_side_has_is_10(data, words):
    for path in ("data/nothing", "data/a.txt/below"):
        assert path in data("diff", *words, "--json", "--", "data", path, code=10).error["what"]


def test_a_path_that_one_side_or_the_worktree_has_is_no_typing_error(data):
    (data.root / "data/a.txt").unlink()
    data.commit("second")
    data.write("untracked.txt")
    data.write("data/new.txt")
    assert paths(data("diff", "HEAD~1", "HEAD", "--json", "--", "data/a.txt").json["removed"]) == ["data/a.txt"]
    assert data("diff", "--", "untracked.txt").text == "no differences\n"
    assert data("diff", "--staged", "--", "data/new.txt").text == "no differences\n"
    data("drop", "data/b.txt")
    assert data("diff", "--", "data/b.txt").text == "no differences\n"
    assert "dv diff HEAD -- data/a.txt" in data("diff", "HEAD", "data/a.txt", code=10).told


def test_a_file_that_moved_and_became_executable_says_both(data):
    (data.root / "data/a.txt").rename(data.root / "data/tool")
    (data.root / "data/tool").chmod(0o755)
    [item] = data("diff", "--json").json["renamed"]
    assert (item["from"], item["to"]) == ("data/a.txt", "data/tool")
    assert (item["mode_from"], item["mode_to"]) == ("plain", "executable")
    assert "renamed  data/a.txt -> data/tool (plain -> executable)\n" in data("diff").text


def test_exit_code_says_whether_something_differs(data):
    assert data("diff", "--exit-code").text == "no differences\n"
    data.write("data/a.txt", "changed\n")
    data("diff")
    data("diff", "--exit-code", code=1)
    data("diff", "--exit-code", "--json", code=1)
    data("diff", "--staged", "--exit-code")
    data("diff", "HEAD", "HEAD", "--exit-code")


def test_an_empty_directory_alone_is_a_difference_in_every_view(data):
    (data.root / "data/empty").mkdir()
    data("diff", "--exit-code", code=1)
    found = data.status()
    assert not found["clean"]
    assert not any(found[where][word] for where in ("staged", "unstaged") for word in ("added", "modified", "removed"))
    assert found["unstaged"]["directories_added"] == ["data/empty"]
    assert "data/empty/ (directory)" in data("status").text
    data("add", "data")
    assert not data.status()["clean"]
    data("diff", "--staged", "--exit-code", code=1)
    data("commit", "-m", "an empty directory")
    assert data.status()["clean"]
    data("diff", "--exit-code")


def test_what_cannot_be_stored_is_not_called_clean(data):
    os.mkfifo(data.root / "data/pipe")
    assert data.status()["clean"]
    assert "clean" not in data("status").text


def test_totals_add_up(data):
    data.write("data/a.txt", "12345\n")
    data.write("data/new.txt", "1234567\n")
    (data.root / "data/b.txt").unlink()
    totals = data("diff", "--json").json["totals"]
    assert (totals["added"], totals["removed"], totals["modified"], totals["renamed"]) == (1, 1, 1, 0)
    assert totals["bytes_added"] - totals["bytes_removed"] == (8 + 6) - (3 + 2)


def test_a_diff_takes_two_sides_at_most(data):
    data("diff", "HEAD", "HEAD", "HEAD", code=2)
    data("diff", "HEAD", "HEAD", "--staged", code=2)


# --------------------------------------------------------------------------------------------- commit


def test_commit_records_the_stage_and_nothing_else(data):
    data.write("data/a.txt", "staged\n")
    data("add", "data")
    data.write("data/a.txt", "later\n")
    found = data("commit", "-m", "second", "--json").json
    assert data("cat", "HEAD:data/a.txt").text == "staged\n"
    assert data.unstaged() == {"modified": ["data/a.txt"]}
    assert found["files"] == 3
    assert found["bytes"] == sum(map(len, ("staged\n", "bb\n", "ccc\n")))


def test_commit_names_its_parents(data):
    first = data.status()["snapshot"]
    found = data("commit", "--allow-empty", "-m", "second", "--json").json
    assert found["parents"] == [first]
    assert found["snapshot"] != first
    assert found["root"] == data("log", "--json").json[1]["root"]


def test_commit_with_nothing_staged_is_1_unless_allowed(data):
    data("commit", "-m", "nothing", code=1)
    data("commit", "-a", "-m", "nothing", code=1)
    data("commit", "--allow-empty", "-m", "nothing")
    assert len(data("log", "--json").json) == 2


def test_an_empty_message_is_2(data):
    data("commit", "--allow-empty", "-m", " \n", code=2)


def test_the_first_branch_is_main(data):
    assert data.status()["branch"] == "main"
    assert [item["name"] for item in data("branch", "--json").json] == ["main"]


def test_equal_data_have_equal_checksums_and_different_ids(data):
    again = data("commit", "--allow-empty", "-m", "again", "--json").json
    first, second = data("log", "--json").json
    assert first["root"] == second["root"] == again["root"]
    assert first["snapshot"] != second["snapshot"]


def author(dv, *options):
    dv("commit", "--allow-empty", "-m", "by whom", *options)
    return dv("log", "-n", "1", "--json").json[0]["author"]


def test_the_author_is_looked_for_in_the_order_of_the_contract(data, monkeypatch):
    (data.root / ".git").mkdir()
    subprocess.run(["git", "init", "-q"], cwd=data.root, check=True, capture_output=True)
    monkeypatch.delenv("DV_AUTHOR")
    data("commit", "--allow-empty", "-m", "nobody", code=2)
    data.git("config", "user.name", "From Git")
    data.git("config", "user.email", "git@example.org")
    assert author(data) == "From Git <git@example.org>"
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Variable")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "variable@example.org")
    assert author(data) == "Variable <variable@example.org>"
    data("config", "--user", "user.name", "User")
    data("config", "--user", "user.email", "user@example.org")
    assert author(data) == "User <user@example.org>"
    data("config", "user.name", "Worktree")
    assert author(data) == "Worktree <user@example.org>"
    monkeypatch.setenv("DV_AUTHOR", "Env <env@example.org>")
    assert author(data) == "Env <env@example.org>"
    assert author(data, "--author", "Option <option@example.org>") == "Option <option@example.org>"


def test_an_author_that_is_given_and_blank_is_2(data):
    for blank in ("", "  "):
        data("commit", "--allow-empty", "-m", "x", "--author", blank, code=2)


@pytest.mark.parametrize("value", ["", " ", "a\nb", "\x1b[31m"])
def test_a_setting_that_is_blank_or_cannot_be_printed_is_2(data, value):
    assert "--unset user.name" in data("config", "user.name", value, "--json", code=2).error["next"]
    assert data("config", "--json").json == []


def test_nobody_named_says_how_to_name_somebody(data, monkeypatch):
    monkeypatch.delenv("DV_AUTHOR")
    assert "dv config user.name" in data("commit", "--allow-empty", "-m", "x", code=2).told


# ------------------------------------------------------------------------------------------------ log


def test_log_is_newest_first(data):
    for message in ("second", "third"):
        data.commit(message, "--allow-empty")
    assert [item["message"] for item in data("log", "--json").json] == ["third", "second", "first"]
    assert [item["message"] for item in data("log", "-n", "2", "--json").json] == ["third", "second"]
    assert [item["message"] for item in data("log", "HEAD~1", "--json").json] == ["second", "first"]


def test_log_of_a_path_shows_what_changed_it(data):
    data.write("data/a.txt", "changed\n")
    data.commit("a changed")
    data.write("data/b.txt", "changed\n")
    data.commit("b changed")
    (data.root / "data/a.txt").unlink()
    data.commit("a removed")

    def messages(*words):
        return [item["message"] for item in data("log", "--json", *words).json]

    assert messages("HEAD", "data/a.txt") == ["a removed", "a changed", "first"]
    assert messages("data/b.txt") == ["b changed", "first"]
    assert messages("HEAD", "data/sub") == ["first"]
    assert data("log", "--json", "b.txt", at="data").json == data("log", "--json", "data/b.txt").json


def test_a_path_that_never_was_is_10(data):
    for words in (["HEAD", "nothing"], ["--", "nothing"], ["HEAD", "--", "data/a.txt/below"]):
        assert "check the spelling" in data("log", "--json", *words, code=10).error["next"]
    data.write("data/new.txt")
    assert data("log", "--json", "--", "data/new.txt").json == []
    data("add", "data")
    (data.root / "data/new.txt").unlink()
    assert data("log", "--json", "--", "data/new.txt").json == []


def test_a_path_that_never_was_is_10_before_the_first_snapshot_too(dv):
    dv.write("data/a.txt")
    assert dv("log", "--json", "data").json == []
    dv("log", "--", "nothing", code=10)


def test_a_lone_path_that_is_gone_is_pointed_to_the_dashes(data):
    (data.root / "data/a.txt").unlink()
    data.commit("a removed")
    assert "dv log -- data/a.txt" in data("log", "data/a.txt", code=10).told
    assert [item["message"] for item in data("log", "--json", "--", "data/a.txt").json] == ["a removed", "first"]
    assert "--" not in data("log", "HEAD~9", code=10).told


def test_log_shows_refs_and_the_message_whole(data):
    data("tag", "v1")
    text = data("log").text
    assert "HEAD -> main" in text
    assert "tag: v1" in text
    data.commit("subject\n\nbody", "--allow-empty")
    assert "    subject\n    \n    body" in data("log", "-n", "1").text.replace("\n\n", "\n    \n")


def test_a_message_keeps_its_unicode(data):
    data.commit("Äpfel 日本 \U0001f600", "--allow-empty")
    assert data("log", "-n", "1", "--json").json[0]["message"] == "Äpfel 日本 \U0001f600"


# ---------------------------------------------------------------------------------------------- oplog


def test_oplog_tells_what_was_done_newest_first(data):
    data("tag", "v1")
    items = data("oplog", "--json").json
    assert [item["operation"] for item in items] == ["tag", "commit", "add", "init"]
    assert [item["number"] for item in items] == sorted((item["number"] for item in items), reverse=True)
    [move] = items[0]["refs"]
    assert (move["ref"], move["from"]) == ("tags/v1", None)
    assert len(data("oplog", "-n", "1", "--json").json) == 1


# --------------------------------------------------------------------------------------------- config


def test_config_shows_sets_and_unsets(data):
    data("config", "user.name", "Ada")
    data("config", "--user", "user.name", "Everywhere")
    data("config", "--user", "user.email", "ada@example.org")
    assert data("config", "user.name").text == "Ada\n"
    assert [(s["key"], s["value"], s["origin"]) for s in data("config", "--json").json] == [
        ("user.email", "ada@example.org", "user"),
        ("user.name", "Ada", "worktree"),
    ]
    data("config", "--unset", "user.name")
    assert data("config", "user.name").text == "Everywhere\n"
    assert "user.name" in data("config", "user.nmae", code=2).told


def test_config_prints_one_document_for_what_it_changed(data):
    assert data("config", "--json", "user.name", "Ada").json == {
        "key": "user.name",
        "value": "Ada",
        "origin": "worktree",
    }
    found = data("config", "--json", "--user", "user.name", "Eve").json
    assert found == {"key": "user.name", "value": "Eve", "origin": "user"}
    found = data("config", "--json", "--unset", "user.name").json
    assert found == {"key": "user.name", "value": None, "origin": "worktree"}
    assert data("config", "user.name", "Ada").out == b""


def test_config_works_outside_a_repository(empty):
    empty("config", "--user", "user.name", "Ada")
    assert empty("config", "user.name").text == "Ada\n"


@pytest.mark.parametrize("words", [["--unset"], ["--unset", "user.name", "Ada"]], ids=" ".join)
def test_config_unset_wants_a_key_and_no_value(data, words):
    data("config", *words, code=2)
    assert not os.path.exists(data.root / ".dv" / "config")
