"""How ``dv`` is called, what it answers, and with which exit code."""

import functools
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dvtool
from dvtool import __version__, errors
from dvtool.cli import exits, reference
from dvtool.operations import doctor

MAIN = [sys.executable, "-m", "dvtool.cli.main"]

CONTRACT = {
    errors.ChecksFailedError: 1,
    errors.UsageError: 2,
    errors.NotFoundError: 10,
    errors.ExistsError: 11,
    errors.ConflictError: 12,
    errors.IntegrityError: 20,
    errors.FormatError: 21,
    errors.StorageError: 30,
    errors.KeyAccessError: 40,
    errors.ErasedError: 41,
    errors.DvError: 70,
}


def on_a_terminal(*arguments, cwd, **environment):
    """Run a command whose stdout and stderr are a terminal; return what it wrote there."""
    leader, follower = pty.openpty()
    variables = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [*MAIN, *arguments],
        cwd=cwd,
        env={**variables, "TERM": "xterm", **environment},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    found = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        found += piece
    os.close(leader)
    assert process.wait(timeout=60) == 0, found
    return found


@pytest.mark.parametrize("words", [[], ["worktree"]], ids=["dv", "dv worktree"])
def test_a_command_that_wants_a_command_shows_its_help(empty, words):
    done = empty.process(*words)
    assert b"Commands:" in done.out
    assert done.err == b""


def test_version(empty):
    assert empty.process("--version").text == f"dv {__version__}\n"


def test_the_package_can_be_run_as_a_module(empty):
    done = subprocess.run(
        [sys.executable, "-m", "dvtool", "--version"], cwd=empty.root, check=True, capture_output=True
    )
    assert done.stdout.decode() == f"dv {__version__}\n"


def test_an_unknown_command_names_the_nearest(empty):
    done = empty.process("stauts", code=2)
    assert "'stauts'" in done.told
    assert "dv status" in done.told


@pytest.mark.parametrize(
    "words",
    [["status", "--nonsense"], ["add"], ["commit"], ["mv", "a"], ["log", "-n", "x"], ["completion", "tcsh"]],
    ids=" ".join,
)
def test_a_wrong_call_is_2_and_points_to_the_help(data, words):
    assert "--help" in data(*words, code=2).told


def test_c_works_as_if_started_in_a_directory(data):
    assert data.process("-C", "data", "ls", "sub").text == "data/sub/c.txt\n"
    data("-C", str(data.root), "status")
    assert "cannot work in" in data("-C", "nowhere", "status", code=2).told


def test_exit_codes_are_those_of_the_contract():
    assert {kind: exits.code_of(kind("failed")) for kind in CONTRACT} == CONTRACT
    assert (exits.DONE, exits.DIFFERENT, exits.BUG, exits.INTERRUPTED, exits.TERMINATED) == (0, 1, 70, 130, 143)


def test_help_and_reference_say_what_each_exit_code_means(empty):
    codes = {str(code) for code in [*CONTRACT.values(), 0, 1, 70, 130, 143]}
    told = empty("--help").text.partition("Exit codes:")[2]
    assert {line.split()[0] for line in told.splitlines() if line[2:3].isdigit()} == codes
    page = reference.page().partition("## Exit codes")[2].partition("## ")[0]
    assert {line.split()[1] for line in page.splitlines() if line.startswith("| ") and line[2].isdigit()} == codes


def test_30_storage_that_refuses(data):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*MAIN, "status", "--json"], cwd=data.root, check=False, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 30
    assert b'"kind":"storage"' in done.stderr.splitlines()[-1]


def test_output_goes_to_terminals_of_any_encoding(data):
    data.write("data/\u00e9\u732b.txt")
    for call in (["status"], ["status", "--json"], ["diff"]):
        environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
        done = data.process(*call, environment=environment)
        assert b"\\xe9\\u732b.txt" in done.out or "\u00e9\u732b.txt".encode() in done.out  # JSON is UTF-8 always


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_nobodys_loss(data, closed):
    data.write("data/more.txt")
    for call in ("status", "status --json", "add data", "commit -m more", "log", "show nothing"):
        words = f'"$0" -m dvtool.cli.main {call} {closed}'
        done = subprocess.run(["sh", "-c", words, sys.executable], cwd=data.root, check=False, capture_output=True)
        assert done.returncode == (10 if "nothing" in call else 0), (call, done)
    assert data.status()["clean"]
    assert "data/more.txt" in data.listed()


def test_70_a_bug_is_a_report_in_a_file_and_no_traceback(empty, tmp_path):
    (tmp_path / "crashing.py").write_text(
        "import click\n\n@click.command('crash')\ndef crash_command():\n    raise ZeroDivisionError('secret')\n",
        encoding="utf-8",
    )
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from dvtool.cli import main;"
        "main.COMMANDS['crash'] = 'crashing'; sys.exit(main.run(sys.argv[2:]))"
    )
    call = [sys.executable, "-c", script, str(tmp_path), "crash"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(call, env=environment, check=False, capture_output=True)
    assert done.returncode == 70
    assert b"Traceback" not in done.stderr
    [report] = tmp_path.glob("dv-report-*")
    assert str(report).encode() in done.stderr
    assert "ZeroDivisionError" in report.read_text(encoding="utf-8")
    done = subprocess.run([*call, "--json"], env=environment, check=False, capture_output=True)
    assert done.returncode == 2  # the command has no such option, which is no bug


@pytest.fixture
def interruptible():
    """Interrupts reach child processes, also where the tests run in the background and ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_130_interrupted(data, interruptible):
    import fcntl

    with (data.root / ".dv" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = subprocess.Popen([*MAIN, "add", "data"], cwd=data.root, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert b"waiting" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert b"Traceback" not in process.stderr.read()
        process.stderr.close()
    assert data.status()["clean"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, exits.INTERRUPTED), (signal.SIGTERM, exits.TERMINATED)], ids=["INT", "TERM"]
)
def test_with_json_a_signal_is_told_in_json(data, interruptible, number, code):
    import fcntl

    with (data.root / ".dv" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [*MAIN, "add", "data", "--json"], cwd=data.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        first = process.stderr.readline()
        assert b"waiting" in first
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == b""
    assert b"Traceback" not in err
    error = json.loads(err.splitlines()[-1])["error"]
    assert (error["code"], error["kind"]) == (code, "interrupted")
    assert error["next"]


def test_a_reader_that_has_enough_is_no_error(data):
    data.write("data/large", b"0123456789abcdef" * 100_000)
    data.commit()
    process = subprocess.Popen(
        [*MAIN, "cat", "HEAD:data/large"], cwd=data.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(16)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=30) == 0


def test_debug_shows_the_traceback(data):
    assert b"Traceback" in data.process("--debug", "show", "nothing", code=10).err
    assert b"Traceback" not in data.process("show", "nothing", code=10).err


def test_no_color(data):
    data.write("data/a.txt", "changed\n")
    assert b"\x1b[" in on_a_terminal("status", cwd=data.root)
    assert b"\x1b[" not in on_a_terminal("status", cwd=data.root, NO_COLOR="1")
    assert b"\x1b[" not in data.process("status", environment={"NO_COLOR": ""}).out


def test_progress_goes_to_stderr_and_only_on_a_terminal(data):
    for number in range(40):
        data.write(f"data/large/{number}", os.urandom(65536))
    assert data.process("add", "data").err == b""


def test_an_error_has_four_voices(data):
    told = data("add", "../elsewhere", code=2).told.splitlines()
    assert told[0].startswith("dv: ")
    assert [line.split(":")[0].strip() for line in told[1:]] == ["where", "why", "next"]
    error = data("add", "../elsewhere", "--json", code=2).error
    assert all(error[voice] for voice in ("what", "where", "why", "next"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["show", "nothing"], 10),
        (["show", "HEAD~9"], 10),
        (["show", "HEAD~x"], 2),
        (["add", "nothing"], 10),
        (["rm", "nothing"], 10),
        (["mv", "nothing", "b"], 10),
        (["mv", "data/a.txt", "data/sub/../b.txt"], 11),
        (["restore", "nothing"], 10),
        (["get", "nothing"], 10),
        (["drop", "nothing"], 10),
        (["commit", "-m", "nothing staged"], 1),
        (["commit", "-m", ""], 2),
        (["checkout", "nothing"], 10),
        (["checkout"], 2),
        (["branch", "main"], 11),
        (["branch", "-d", "nothing"], 10),
        (["branch", "-d", "main"], 12),
        (["branch", "two words"], 2),
        (["tag", "-d", "nothing"], 10),
        (["ls", "HEAD:nothing"], 10),
        (["du", "HEAD", "nothing"], 10),
        (["diff", "nothing"], 10),
        (["config", "user.nam"], 2),
        (["worktree", "add", "-b", "main", "../other"], 11),
        (["worktree", "add", ""], 2),
        (["worktree", "add", "inside"], 12),
        (["config", "user.name"], 10),
        (["worktree", "remove", "../nothing"], 10),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_with_json_an_error_leaves_stdout_empty_and_says_what_to_do_next(data, words, code):
    error = data(*words, "--json", code=code).error
    assert error["what"]
    assert error["next"]


@pytest.mark.parametrize(("place", "code"), [("", 2), ("data", 11), ("data/a.txt", 11), ("data/a.txt/below", 11)])
def test_an_archive_takes_no_place_that_is_taken(data, place, code):
    told = data("archive", "HEAD", place, code=code).told
    assert "name a" in told
    assert ("not empty" in told) == (place == "data")


@pytest.mark.parametrize(
    ("words", "help_of"),
    [
        (["commit", "-m"], "dv commit"),
        (["worktree", "add", "-b"], "dv worktree add"),
        (["-C", ".", "checkout", "--only"], "dv checkout"),
        (["completion"], "dv completion"),
        (["-C"], "dv"),
        (["--wait"], "dv"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_what_is_missing_is_said_on_one_line_with_the_help_of_its_command(data, words, help_of):
    told = data(*words, code=2).told.splitlines()
    assert len(told) == 2
    assert f"'{help_of} --help'" in told[1]


def test_a_command_that_resembles_none_is_answered_without_a_guess(empty):
    assert "did you mean" not in empty("xyzzy", code=2).told
    assert "dv --help" in empty("xyzzy", code=2).told


def test_a_wait_that_is_no_number_is_2(data):
    assert "--wait" in data("--wait", "nan", "status", code=2).told


def test_one_file_is_not_called_files(data):
    assert data("du", "HEAD", "data/sub").text.split()[2:] == ["1", "file", "data/sub"]
    assert "4 B, 1 file\n" in data("show", "HEAD:data/sub").text


@pytest.mark.parametrize("command", ["log", "oplog"])
def test_a_limit_may_be_nothing_or_larger_than_any_history(data, command):
    whole = data(command, "--json").json
    assert data(command, "-n", "0", "--json").json == []
    assert data(command, "-n", "1", "--json").json == whole[:1]
    assert data(command, "-n", "9" * 30, "--json").json == whole
    assert "--help" in data(command, "-n", "-1", "--json", code=2).error["next"]


@pytest.mark.parametrize("words", [["add", "a\0b"], ["-C", "\0", "status"], ["worktree", "add", "\0"]], ids=repr)
def test_an_argument_with_nul_is_2(data, words):
    assert "NUL" in data(*words, "--json", code=2).error["what"]


def test_a_current_directory_that_is_gone_is_10(empty):
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    for words in (["status"], ["init"], ["add", "x"], ["fsck"]):
        done = subprocess.run(
            ["sh", "-c", script, "sh", *MAIN, *words], cwd=empty.root, check=False, capture_output=True
        )
        assert done.returncode == exits.CODES[errors.NotFoundError], done
        assert b"the current directory is gone" in done.stderr


ODD = ["", "\0", "a\0b", "\udcff", "x" * 300, "HEAD:", ":", "~", "git:", "data/", "/data", "\n"]


def refusal(call):
    """The error of ours that a call ends with, or None; any other exception is a finding."""
    try:
        call()
    except errors.DvError as error:
        return error
    return None


def test_from_python_every_wrong_argument_is_an_error_of_ours(data):
    repo = dvtool.open(str(data.root))
    for odd in ODD:
        calls = [
            functools.partial(getattr(repo, name), odd)
            for name in ("show", "cat", "diff", "checkout", "merge", "create_branch", "delete_tag", "remove_worktree")
        ]
        calls += [functools.partial(getattr(repo, name), [odd]) for name in ("remove", "restore", "get", "drop")]
        calls += [
            functools.partial(repo.commit, "m", author=odd, everything=True),
            functools.partial(repo.add_worktree, odd, "nothing"),
            functools.partial(repo.move, odd, "data/x"),
            functools.partial(repo.archive, odd, str(data.root / "data")),
            functools.partial(repo.diff, only=[f"{odd}x"]),
            functools.partial(repo.log, "HEAD", f"{odd}x"),
        ]
        for call in calls:
            error = refusal(call)
            assert error is None or (error.what and error.next), (call, error)
    assert repo.status().snapshot == data.status()["snapshot"]


def test_from_python_one_path_is_no_list_of_letters(data):
    repo = dvtool.open(str(data.root))
    for call in (repo.add, repo.remove, repo.restore, repo.get, repo.drop):
        with pytest.raises(errors.UsageError, match="list"):
            call("data")


def test_what_json_says_may_stand_behind_dashes(data):
    assert "--json" in data.process("add", "--", "--json", code=10).told


def test_completion_prints_a_script_for_each_shell(empty):
    for shell in ("bash", "zsh", "fish"):
        assert "_DV_COMPLETE" in empty("completion", shell).text


def test_completion_completes_commands(empty):
    variables = {"_DV_COMPLETE": "bash_complete", "COMP_WORDS": "dv st", "COMP_CWORD": "1"}
    assert "status" in empty.process(environment=variables).text


def test_the_demo_shows_real_work_and_leaves_a_repository(empty):
    began = time.monotonic()
    done = empty.process("demo", "digits")
    assert time.monotonic() - began < 60
    assert "1,797" in done.text
    assert "23 labels corrected, 12 images removed" in done.text
    found = empty.process("-C", "digits", "status", "--json").json
    assert found["clean"]
    assert found["branch"] == "cleaning"
    assert empty.process("demo", "digits", code=11).out == b""


def test_the_demo_trains_models_and_knows_which_data_made_which(empty):
    done = empty.process("demo", "digits")
    assert "3 files of" in done.text
    runs = {run["name"]: run for run in empty.process("-C", "digits", "runs", "list", "--json").json}
    assert {name: run["status"] for name, run in runs.items()} == dict.fromkeys(
        ("neighbours", "logistic", "ensemble"), "done"
    )
    accuracy = {name: run["metrics"][0]["last"] for name, run in runs.items()}
    assert min(accuracy.values()) > 0.9
    up = empty.process("-C", "digits", "lineage", "ensemble", "--json").json
    assert {node["label"] for node in up["nodes"] if node["type"] == "output"} == {
        "models/neighbours.pkl",
        "models/logistic.pkl",
    }
    # An image that was copied has been seen by both models, one that was moved by nobody but the test.
    for path, seen in (("0/0000.png", set(runs)), ("9/1759.png", {"ensemble"})):
        down = empty.process("-C", "digits", "lineage", f"heldout/{path}", "--json").json
        assert {node["label"] for node in down["nodes"] if node["type"] == "run"} == seen
    leaked = empty.process("-C", "digits", "check", "leakage", "train", "test", "--json", code=1).json
    assert len(leaked["shared"]) == 3
    # Whoever trained on a copy of a test image has read it.
    found = empty.process("-C", "digits", "check", "splits", "--json", code=1).json
    [test] = [each for each in found["splits"] if each["role"] == "test"]
    learners = {each["name"]: each for each in test["readers"] if each["learning"]}
    assert learners.keys() == {"neighbours", "logistic"}
    assert {tuple(each["known"]) for each in learners.values()} == {("content",)}
    # They went to the remote with the branch.
    assert len(empty.process("-C", "digits-clone", "fetch", "--json").out) > 0
    assert len(empty.process("-C", "digits-clone", "runs", "list", "--json").json) == 3


def test_the_demo_takes_no_place_that_is_taken(data, empty):
    data.root.joinpath("../file").write_text("a file\n", encoding="utf-8")
    for place, code in (("../file", 11), ("../file/below", 11), ("", 2), ("data", 11), ("new", 12)):
        assert data("demo", place, code=code).out == b""
    assert not (data.root / "new").exists()


def test_doctor_checks_and_fails_with_1(data, empty, tmp_path):
    checks = {check["name"]: check["result"] for check in data("doctor", "--json").json["checks"]}
    assert {"versions", "chunker", "clock", "file system", "keys", "identity", "log"} <= checks.keys()
    assert set(checks.values()) == {"ok"}
    (data.root / ".dv" / "store" / "keys" / "repo").chmod(0o644)
    found = data("doctor", "--json", code=1).json
    assert not found["healthy"]
    assert [check["name"] for check in found["checks"] if check["result"] == "failed"] == ["keys"]
    assert data("doctor", code=1).text.count("chmod 600") == 1


def test_doctor_works_outside_a_repository(empty):
    assert empty("doctor", "--json").json["healthy"]


def test_doctor_says_once_what_to_do(data, monkeypatch):
    data.write("dv.toml", "[remot.origin]\n")
    data.write(".dvignore", "a[z-a]\n")
    told = data("doctor", code=1).text
    assert told.count("did you mean 'remote'?") == 1
    assert told.count("mend the line") == 1
    found = {check["name"]: check for check in data("doctor", "--json", code=1).json["checks"]}
    for name in ("dv.toml", ".dvignore"):
        assert found[name]["next"]
        assert found[name]["next"] not in found[name]["found"]
    monkeypatch.setattr(doctor, "_project", doctor._ignore)  # two checks that fail for one reason
    lines = data("doctor", code=1).text.splitlines()
    nexts = [line.strip() for line in lines if "next:" in line]
    assert nexts == ["next: mend the line", "next: as for dv.toml"]
    checks = data("doctor", "--json", code=1).json["checks"]
    assert [check["next"] for check in checks if check["result"] == "failed"] == ["mend the line"] * 2


def toml_check(dv, *, code):
    return next(item for item in dv("doctor", "--json", code=code).json["checks"] if item["name"] == "dv.toml")


def test_doctor_checks_dv_toml(data):
    assert toml_check(data, code=0)["result"] == "ok"
    data.write("dv.toml", '[splits]\ntrain = ["data/train"]\n')
    assert toml_check(data, code=0)["found"] == "splits: 1"
    data.write("dv.toml", '[remote.origin]\nurll = "s3://bucket"\n')
    check = toml_check(data, code=1)
    assert check["result"] == "failed"
    assert "remote.origin.urll" in check["found"]
    assert "'url'" in check["next"]
    assert data.status()["clean"]


def test_config_says_what_stands_in_dv_toml(data):
    for words in (["remote.origin.url"], ["splits", "x"], ["--unset", "hooks.stale-lock"]):
        error = data("config", "--json", *words, code=2).error
        assert "dv.toml" in error["why"]
        assert "dv doctor" in error["next"]
