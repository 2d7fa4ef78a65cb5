"""What the program says of itself (help, reference), and what ``--json`` prints: as the files in docs say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import msgspec
import pytest

from dvtool.cli import reference, schemas
from dvtool.cli.catalogue import COMMANDS
from dvtool.cli.output import ErrorDocument
from dvtool.cli.program import dv as group
from dvtool.formats import identity
from dvtool.store import erasing

CHECKOUT = Path(__file__).resolve().parents[2]

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
HEX_ID = re.compile(r"[0-9a-f]{64}")

KEYS = {
    "status": "snapshot branch clean staged unstaged sparse lock ahead behind pending_erasures",
    "commit": "snapshot parents root files bytes",
    "log": "snapshot parents root author time message files bytes erased runs",
    "show": "snapshot parents root author time message files bytes erased runs superseded_by erasures",
    "ls": "path kind size id",
    "diff": "from to root added removed modified renamed erased directories totals",
}
"""The keys that the contract names; more may be added, none renamed."""


def leaves(command=group, words=()):
    """Every command that can be called, as (words, command)."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from leaves(command.get_command(context, name), (*words, name))
    else:
        yield " ".join(words), command


ALL = dict(leaves())
WITH_JSON = sorted(name for name, command in ALL.items() if any("--json" in each.opts for each in command.params))


@pytest.fixture
def busy(data):
    """A repository in which every list of every document has something in it."""
    data.write("data/moved.txt", "moved along\n")
    data.write("data/tool", "#!/bin/sh\n")
    data("tag", "v1")
    data("hold", "add", "data/sub", "--ground", "a case", "--until", "2999-12-31")
    data("branch", "side")
    data("config", "user.name", "Ada")
    data.commit("second")
    (data.root / "data/a.txt").unlink()
    data.write("data/b.txt", "changed\n")
    data.write("data/new.txt", "new\n")
    (data.root / "data/moved.txt").rename(data.root / "data/sub/moved.txt")
    (data.root / "data/tool").chmod(0o755)
    data.write("ada.txt", identity.encode_recipient(identity.recipient_of(bytes(32), "Ada")))
    data.write("me.txt", data("key", "identity").text)
    data("key", "protect", "--recipient", "me.txt", "--recipient", "ada.txt")
    data("key", "export", "kept", "--recipient", "me.txt")
    data.write("dv.toml", '[splits]\ntrain = ["data/sub"]\ntest = ["data"]\n')
    script = "import dvtool; run = dvtool.run(); run.log(step=1, loss=0.5); run.finish(); open('made', 'w').write('x')"
    out = ["--in", "data/sub=train", "--out", "made", "-p", "lr=0.1"]
    data.process("run", "--name", "first", *out, "--", sys.executable, "-c", script)
    data.process("run", "--name", "second", "--in", "data/sub=test", "--stage", "tune", "--", "true")
    return data


CALLS = [
    ["status"],
    ["log"],
    ["log", "HEAD", "data/a.txt"],
    ["show"],
    ["show", "v1:data/sub"],
    ["ls"],
    ["ls", "-r", "v1"],
    ["du"],
    ["du", "v1", "data"],
    ["diff"],
    ["diff", "--staged"],
    ["diff", "v1", "HEAD"],
    ["branch"],
    ["branch", "another"],
    ["branch", "-m", "side", "aside"],
    ["branch", "-d", "side"],
    ["tag"],
    ["tag", "v2"],
    ["tag", "-d", "v1"],
    ["config"],
    ["config", "user.name"],
    ["runs", "list"],
    ["runs", "show", "first"],
    ["runs", "diff", "first", "second"],
    ["runs", "fetch", "first", "-o", "fetched"],
    ["runs", "rm", "second"],
    ["lineage", "first"],
    ["lineage", "data/sub", "--down"],
    ["check", "leakage", "data/sub", "data/sub"],
    ["check", "splits"],
    ["remote", "add", "another", "../another"],
    ["remote", "list"],
    ["remote", "check"],
    ["remote", "check", "origin"],
    ["remote", "rename", "origin", "first"],
    ["remote", "set-url", "origin", "../elsewhere"],
    ["remote", "remove", "origin"],
    ["push"],
    ["fetch"],
    ["pull"],
    ["clone", "../remote", "../copy"],
    ["undo"],
    ["fsck"],
    ["fsck", "--repair"],
    ["fsck", "--remote", "origin"],
    ["fsck", "--remote", "origin", "--repair"],
    ["gc"],
    ["gc", "--remote", "origin"],
    ["cache", "prune"],
    ["hold", "add", "data", "--ground", "another case"],
    ["hold", "list"],
    ["hold", "release", "data/sub"],
    ["expire", "--keep-last", "1", "--plan"],
    ["expire", "--keep-last", "1", "--yes"],
    ["merge", "side"],
    ["oplog"],
    ["doctor"],
    ["upgrade"],
    ["add", "data"],
    ["rm", "--cached", "data/b.txt"],
    ["mv", "data/sub", "data/lower"],
    ["commit", "-a", "-m", "third"],
    ["checkout", "--force", "v1"],
    ["checkout", "-b", "fresh"],
    ["restore", "--force", "data"],
    ["restore", "--staged", "data"],
    ["drop", "data/sub/c.txt"],
    ["get", "data"],
    ["key", "identity"],
    ["key", "protect", "--plain-keys"],
    ["key", "protect", "--recipient", "me.txt"],
    ["key", "recipients", "list"],
    ["key", "recipients", "add", "ada.txt"],
    ["key", "recipients", "remove", "Ada"],
    ["key", "export", "backup", "--plain-keys"],
    ["key", "import", "--force", "kept"],
    ["key", "rotate"],
    ["worktree", "list"],
    ["worktree", "add", "../other", "v1"],
    ["erase", "data/sub", "--copies", "keep", "--plan"],
    ["erase", "data/sub", "--copies", "keep", "--yes"],
    ["erasure", "list"],
    ["erasure", "show", "ID"],
    ["erasure", "verify", "ID"],
    ["erasure", "decide", "ID", "first", "keep"],
    ["erasure", "clones", "--remote", "origin"],
    ["erasure", "forget-clone", "CLONE", "--remote", "origin"],
]


def called(words):
    """The command that a command line calls: as many words as there are commands of."""
    return next(" ".join(words[:count]) for count in (3, 2, 1) if " ".join(words[:count]) in schemas.DOCUMENTS)


def type_of(words):
    """The type of what a command line prints."""
    return schemas.DOCUMENTS[called(words)]


def hold_exactly(document, expected):
    """Check that a document decodes strictly: the type says every key that is there, and no other."""
    decoded = msgspec.convert(document, expected, strict=True)
    assert json.loads(msgspec.json.encode(decoded)) == document


def test_every_command_that_takes_json_has_a_schema():
    assert sorted(schemas.DOCUMENTS) == WITH_JSON


def test_every_command_with_a_schema_is_called_below():
    assert {*map(called, CALLS), "worktree remove", "erasure resume"} == set(schemas.DOCUMENTS)


@pytest.mark.parametrize("words", CALLS, ids=" ".join)
def test_what_is_printed_decodes_strictly_into_the_type_of_its_schema(busy, words):
    if words[0] in {"remote", "push", "fetch", "pull", "clone"} or "--remote" in words:
        busy("remote", "add", "origin", "../remote", "--plain-keys")
        busy("push", "origin", "main")
    if words[0] in {"erase", "erasure"} and "--plan" not in words:
        busy("hold", "release", "data/sub")
    if words[0] == "erasure":
        erasure = busy("erase", "data/sub", "--copies", "keep", "--yes", "--json").json["erasure"]
        words = [erasure if word == "ID" else word for word in words]
    if "CLONE" in words:
        clone = busy("erasure", "clones", "--json").json[0]["id"]
        words = [clone if word == "CLONE" else word for word in words]
    hold_exactly(busy(*words, "--json", code=int(words[0] == "check")).json, type_of(words))


def test_what_worktree_remove_prints_decodes_strictly(data):
    data("worktree", "add", "../other")
    hold_exactly(data("worktree", "remove", "../other", "--json").json, type_of(["worktree", "remove"]))


def test_what_erasure_resume_prints_decodes_strictly(data, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(erasing, "commit", lambda *_arguments: 1 / 0)
        data("erase", "data/sub", "--yes", code=70)
    hold_exactly(data("erasure", "resume", "--json").json, type_of(["erasure", "resume"]))


def test_what_an_error_says_decodes_strictly(data):
    done = data("show", "nothing", "--json", code=10)
    hold_exactly(json.loads(done.err.splitlines()[-1]), ErrorDocument)


@pytest.mark.parametrize("command", sorted(KEYS))
def test_the_keys_of_the_contract_are_there(busy, command):
    extra = ["-a", "-m", "third"] if command == "commit" else []
    document = busy(command, *extra, "--json").json
    for item in document if isinstance(document, list) else [document]:
        assert set(KEYS[command].split()) - item.keys() == set()


def test_the_keys_inside_a_diff_are_those_of_the_contract(busy):
    document = busy("diff", "--json").json
    assert [set(item) for item in document["added"]] == [{"path", "size", "id"}]
    assert [set(item) for item in document["removed"]] == [{"path", "size", "id"}]
    assert [set(item) for item in document["renamed"]] == [{"from", "to", "size", "id"}]
    [content, mode] = document["modified"]
    assert set(content) == {"path", "size_from", "size_to", "id_from", "id_to"}
    assert set(mode) == {"path", "size_from", "size_to", "id_from", "id_to", "mode_from", "mode_to"}
    assert all(set(item) == {"path", "from", "to"} for item in document["directories"])
    assert set(document["root"]) == {"from", "to"}


def test_a_log_item_counts_what_was_erased(data):
    assert data("log", "--json").json[0]["erased"] == {"files": 0, "rows": 0}


def test_show_describes_a_snapshot_with_the_keys_of_the_log(data):
    [item] = data("log", "--json").json
    shown = data("show", "--json").json
    assert {name: shown[name] for name in KEYS["log"].split()} == {name: item[name] for name in KEYS["log"].split()}
    assert shown["superseded_by"] is None
    assert shown["erasures"] == []


def test_lists_are_sorted(busy):
    for name in ("z.txt", "Z.txt", "é.txt", "zz/a", "z-"):
        busy.write(f"data/{name}", name)
    found = busy.status()
    assert found["unstaged"]["added"] == sorted(found["unstaged"]["added"])
    busy.commit("many")
    for arguments in (["ls", "-r"], ["ls"], ["du"], ["du", "HEAD", "data"]):
        paths = [item["path"] for item in busy(*arguments, "--json").json]
        assert paths == sorted(paths)
    document = busy("diff", "v1", "HEAD", "--json").json
    for key in ("added", "removed", "modified", "directories"):
        paths = [item["path"] for item in document[key]]
        assert paths == sorted(paths)
    busy("branch", "a")
    names = [item["name"] for item in busy("branch", "--json").json]
    assert names == sorted(names)


def test_times_are_rfc3339_in_utc_with_microseconds(data):
    assert TIME.fullmatch(data("log", "--json").json[0]["time"])
    assert TIME.fullmatch(data("oplog", "--json").json[0]["time"])


def test_ids_have_64_hex_digits(data):
    document = data("log", "--json").json[0]
    assert HEX_ID.fullmatch(document["snapshot"])
    assert HEX_ID.fullmatch(document["root"])
    assert HEX_ID.fullmatch(data("ls", "HEAD:data", "--json").json[0]["id"])


def test_the_root_is_the_empty_path_and_no_path_ends_with_a_slash(data):
    assert "" in {item["path"] for item in data("du", "--json").json}
    assert not [path for path in data.listed() if path.endswith("/") or path.startswith("/")]
    data.write("data/a.txt", "changed\n")
    assert [item["path"] for item in data("diff", "--json").json["directories"]] == ["", "data"]


def test_reads_print_one_document_and_nothing_on_stderr(busy):
    for words in (["status"], ["log"], ["ls"], ["diff"], ["doctor"]):
        done = busy.process(*words, "--json")
        assert json.loads(done.out) is not None
        assert done.err == b""


def test_the_schema_files_are_current():
    assert schemas.differing(str(CHECKOUT / "docs" / "json")) == []


def test_schema_files_name_their_dialect_title_and_description():
    for name, data in schemas.files().items():
        document = json.loads(data)
        assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema", name
        assert document["title"].startswith("dv ")
        assert document["description"]


def test_a_schema_file_that_differs_is_named(tmp_path):
    call = [sys.executable, "-m", "dvtool.cli.schemas"]
    subprocess.run([*call, str(tmp_path)], check=True, capture_output=True)
    subprocess.run([*call, "--check", str(tmp_path)], check=True, capture_output=True)
    (tmp_path / "status.json").write_text("{}\n", encoding="utf-8")
    done = subprocess.run([*call, "--check", str(tmp_path)], check=False, capture_output=True)
    assert done.returncode == 1
    assert b"status.json" in done.stderr


def test_the_command_reference_is_current():
    assert reference.problem(str(CHECKOUT / "docs" / "reference" / "commands.md")) == ""


def test_the_command_reference_holds_every_command_and_option():
    page = reference.page()
    for name, command in ALL.items():
        assert f" dv {name}\n" in page
        for option in command.params:
            assert not isinstance(option, click.Option) or option.opts[0] in page
    assert set(COMMANDS) <= {name.partition(" ")[0] for name in ALL}


def test_a_command_reference_that_differs_fails_the_check(tmp_path):
    page = tmp_path / "commands.md"
    call = [sys.executable, "-m", "dvtool.cli.reference"]
    subprocess.run([*call, str(page)], check=True, capture_output=True)
    subprocess.run([*call, "--check", str(page)], check=True, capture_output=True)
    page.write_text(page.read_text(encoding="utf-8").replace("dv add", "dv append"), encoding="utf-8")
    done = subprocess.run([*call, "--check", str(page)], check=False, capture_output=True)
    assert done.returncode == 1
    assert b"out of date" in done.stderr
    assert b"renew it" in done.stderr


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_with_an_example(empty, name):
    for option in ("--help", "-h"):
        text = empty(*name.split(), option).text
        assert text.startswith("Usage: dv ")
        assert "Examples:" in text
        assert f"dv {name}" in text.split("Examples:")[1]


def test_help_of_the_whole_program_lists_every_command(empty):
    text = empty("--help").text
    for name in ALL:
        assert f"  {name.partition(' ')[0]} " in text
