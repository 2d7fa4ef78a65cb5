"""``dv run``: the command ends as it would without, and what is known of it is stored, whatever goes wrong."""

import os
import pty
import resource
import signal
import subprocess

import pytest

from dvtool.formats import run
from tests.cli.recorded import DV, PYTHON, journals, only, python, start, stored, tree_of, until
from tests.cli.running import store_of

ENDINGS = [
    (["sh", "-c", "exit 0"], 0, "done", 0, None),
    (["sh", "-c", "exit 3"], 3, "failed", 3, None),
    (["sh", "-c", "kill -9 $$"], 137, "killed", None, 9),
    (["sh", "-c", "kill -TERM $$"], 143, "killed", None, 15),
    (["/no/such/program"], 127, "failed", 127, None),
    (["./data/a.txt"], 126, "failed", 126, None),
    (["."], 126, "failed", 126, None),
    ([PYTHON, "-c", "raise SystemExit(250)"], 250, "failed", 250, None),
]


@pytest.mark.parametrize(
    ("command", "code", "status", "exit_code", "number"), ENDINGS, ids=lambda value: str(value)[:20]
)
def test_the_exit_code_is_handed_on_and_stored(data, command, code, status, exit_code, number):
    data.process("run", "--", *command, code=code)
    found = only(data)
    assert (found.status, found.ending.code, found.ending.signal) == (status, exit_code, number)
    assert found.command == tuple(command)
    assert bool(found.ending.why) == (code > 125 and code != 250)


def test_a_command_that_is_not_there_is_named(data):
    assert "'/no/such/program' was not found" in data.process("run", "--", "/no/such/program", code=127).told


def test_without_a_command_nothing_is_recorded(data):
    assert "no command" in data.process("run", code=2).told
    assert "no command" in data.process("run", "--name", "x", "--", code=2).told
    assert stored(data) == []


def test_killed_itself_the_run_is_stored_by_the_next_command(data):
    code = (
        "import dvtool, time\nrun = dvtool.run()\nrun.log(loss=0.5, step=1)\n"
        "print('printed', flush=True)\ntime.sleep(60)"
    )
    process = start(data, "--name", "lost", *python(code))
    try:
        assert process.stdout.readline() == b"printed\n"
        until(lambda: b"printed" in b"".join(p.read_bytes() for p in journals(data)[0].glob("stdout*")))
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, check=True).stdout.split()
        process.kill()
        process.wait()
        assert data("runs", "list", "--json").json[0]["status"] == "running"
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        until(lambda: [each["status"] for each in data("runs", "list", "--json").json] == ["killed"])
    finally:
        process.kill()
        process.communicate()
    found = only(data)
    assert (found.status, found.name, found.ending.code) == ("killed", "lost", None)
    assert found.metrics[0].last == 0.5
    assert tree_of(data)["record/stdout.txt"] == b"printed\n"


def test_killed_itself_the_command_is_waited_for(data):
    """What it makes after that is stored, whatever program it is."""
    script = "touch ready; while [ ! -e go ]; do sleep 0.05; done; echo weights > model"
    process = start(data, "--name", "lost", "--no-capture", "--out", "model", "--", "sh", "-c", script)
    try:
        until((data.root / "ready").exists)
        process.kill()
        process.wait()
        assert [each["status"] for each in data("runs", "list", "--json").json] == ["running"]
        (data.root / "go").touch()
        until(lambda: [each["status"] for each in data("runs", "list", "--json").json] == ["killed"])
    finally:
        process.kill()
        process.communicate()
    assert tree_of(data)["outputs/model"] == b"weights\n"


def test_what_outlives_the_command_does_not_keep_its_run_waiting(data):
    done = data.process("run", "--no-capture", "--", "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $! > pid")
    os.kill(int((data.root / "pid").read_text()), signal.SIGKILL)
    assert "goes on" not in done.told
    assert only(data).status == "done"


def test_a_signal_to_dv_reaches_the_command(data):
    code = (
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "print('up', flush=True)\ntime.sleep(60)"
    )
    process = start(data, *python(code))
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 9
    process.communicate()
    assert only(data).ending.code == 9


def test_an_interrupt_that_comes_again_reaches_the_command_where_it_may_not_have_been_typed(data):
    code = (
        "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(9))\n"
        "print('up', flush=True)\ntime.sleep(60)"
    )
    ours, theirs = pty.openpty()
    process = start(data, *python(code), stdin=theirs)
    try:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 9
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
        os.close(theirs)


def test_bytes_pass_unchanged_in_both_directions(data):
    content = bytes(range(256)) * 5_000
    found = subprocess.run([*DV, "run", "--", "cat"], cwd=data.root, input=content, capture_output=True, check=True)
    assert found.stdout == content


def test_a_command_that_prints_much_keeps_head_and_tail(data):
    code = "for i in range(200000): print(f'line {i:09}')"
    assert len(data.process("run", *python(code)).out) == 200_000 * 15
    text = tree_of(data)["record/stdout.txt"]
    assert len(text) < 1_000_000
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == (b"line 000000000", b"line 000199999")
    assert b"[... what stood here was not kept ...]" in lines


def test_a_secret_that_a_long_line_is_cut_at_is_found(data):
    code = (
        "import sys\nsecret = 'ghp_' + 'q7Zp2Xv9Lw4Rk8Tn3Mb6Hd1Jc5Gf0Ys'\n"
        "for size in range(65500, 65560, 7):\n"
        "    sys.stdout.write('x' * size + ' ' + secret + ' ')\n    sys.stdout.flush()\n"
    )
    assert data.process("run", *python(code)).out.count(b"ghp_q7Zp2Xv9") == 9
    assert b"Gf0Ys" not in tree_of(data)["record/stdout.txt"]


def test_what_outlives_the_command_still_prints(data):
    code = "import os, time\nif os.fork() == 0:\n    time.sleep(1.5)\n    print('later', flush=True)\n"
    found = data.process("run", *python(code))
    assert found.out == b"later\n"
    assert only(data).status == "done"


def test_a_process_that_logs_after_the_command_is_waited_for(data):
    code = (
        "import os, time, dvtool\nrun = dvtool.run()\n"
        "if os.fork() == 0:\n    time.sleep(2)\n    run.log(late=1.0)\n    os._exit(0)\n"
    )
    assert "goes on" in data.process("run", *python(code)).told
    until(lambda: (data("runs", "list"), not journals(data))[1])
    assert [metric.name for metric in only(data).metrics] == ["late"]


def in_terminal(dv, *words, size=(33, 77)):
    """Run dv on a terminal of its own and return what it shows."""
    ours, theirs = pty.openpty()
    import termios

    termios.tcsetwinsize(theirs, size)
    process = subprocess.Popen([*DV, "run", *words], cwd=dv.root, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        shown += data
    os.close(ours)
    assert process.wait(20) == 0
    return shown


def test_a_terminal_passes_through(data):
    shown = in_terminal(
        data,
        "-q",
        *python("import os, sys\nprint(sys.stdout.isatty(), sys.stderr.isatty())\nprint(os.get_terminal_size())"),
    )
    assert shown == b"True True\r\nos.terminal_size(columns=77, lines=33)\r\n"
    assert tree_of(data)["record/stdout.txt"].startswith(b"True True\n")


def test_a_full_disk_costs_values_and_not_the_program(data):
    code = (
        "import dvtool, resource\n"
        "with dvtool.run() as run:\n"
        "    run.log(first=1.0)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "    for i in range(5000):\n        run.log(step=i, loss=1.0)\n"
        "    print('went on')\n"
    )
    found = data.process("run", *python(code))
    assert found.text == "went on\n"
    assert found.told.count("values of this run are being lost") == 1
    stored_run = only(data)
    counts = {metric.name: metric.count for metric in stored_run.metrics}
    assert counts["first"] == 1
    assert 100 < counts["loss"] < 5000
    assert any("could not be written" in note for note in stored_run.notes) or stored_run.workers[0].ended == 0


@pytest.mark.parametrize("size", [0, 100, 2_000, 10_000, 100_000])
@pytest.mark.parametrize("text", ["bb\n", "changed\n"])
def test_on_a_full_disk_the_command_runs(data, size, text):
    data.write("data/b.txt", text)
    found = subprocess.run(
        [*DV, "run", "--out", "data", *python("print('y' * 50_000); raise SystemExit(5)")],
        cwd=data.root,
        check=False,
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert found.returncode == 5
    assert found.stdout == b"y" * 50_000 + b"\n"
    data("runs", "list")
    data("fsck")
    data.process("run", "--", "true")
    assert not journals(data)


def test_where_no_journal_can_be_written_the_command_runs(data):
    data.write(".dv/runs", "a file in the way")
    found = data.process("run", "--", "sh", "-c", "echo hello; exit 5", code=5)
    assert found.out == b"hello\n"
    assert "this run is not recorded" in found.told


@pytest.mark.parametrize("place", ["keys/repo", "log", "format"])
def test_where_the_store_does_not_open_the_command_runs(data, place):
    (data.root / ".dv/store" / place).rename(data.root / "aside")
    found = data.process("run", "--", "sh", "-c", "echo hello; exit 5", code=5)
    assert found.out == b"hello\n"
    assert "this run is not recorded" in found.told


def test_a_journal_that_goes_missing_is_no_harm(data):
    code = (
        "import shutil, os, dvtool\nrun = dvtool.run()\nshutil.rmtree(os.environ['DV_RUN'])\n"
        "run.log(a=1)\nrun.finish()\nprint('went on')"
    )
    assert data.process("run", *python(code)).text == "went on\n"


def test_a_journal_that_nobody_can_read_keeps_nobody_waiting(data):
    for name, content in (("begin", b"no journal"), ("end", b"no end")):
        data.write(f".dv/runs/{run.new_id('20260101-000000', name.encode().ljust(7))}/{name}", content)
    data.write(f".dv/runs/{run.new_id('20260101-000001', bytes(7))}", "a file")
    assert "is not stored yet" in data("runs", "list").told
    data.process("run", "--", "sh", "-c", "exit 6", code=6)
    assert [each.ending.code for each in stored(data)] == [6]


def test_journals_that_were_never_finished_are_swept(data):
    fresh, old = (data.write(f".dv/runs/new-{name}/x").parent for name in ("fresh", "old"))
    os.utime(old, (1, 1))
    data("runs", "list")
    assert fresh.exists()
    assert not old.exists()


def test_a_descriptor_that_is_closed_is_no_harm(data):
    code = "import os, sys; os.close(0); os.execv(sys.executable, sys.argv[1:])"
    words = [PYTHON, "-c", code, *DV, "run", "--", "sh", "-c", "exit 8"]
    assert subprocess.run(words, cwd=data.root, check=False, capture_output=True).returncode == 8
    assert only(data).ending.code == 8


def test_nobody_who_reads_is_no_harm(data):
    process = start(data, *python("import time\nfor i in range(500): print(i, flush=True); time.sleep(0.01)"))
    process.stdout.close()
    process.communicate()
    assert process.returncode in {1, 120}
    assert only(data).status == "failed"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_signals_that_are_ignored_stay_so(data, number):
    code = f"import signal; raise SystemExit(signal.getsignal({int(number)}) == signal.SIG_IGN)"
    ignored = subprocess.run(
        [*DV, "run", *python(code)],
        cwd=data.root,
        check=False,
        capture_output=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),
    )
    assert ignored.returncode == 1


def test_two_at_once_do_not_store_each_other(data):
    data.write("data/a.txt", "changed\n")
    processes = [start(data, "--name", f"n{number}", "--", "sleep", "0.3") for number in range(6)]
    assert [process.wait(60) for process in processes] == [0] * 6
    for process in processes:
        process.communicate()
    data("runs", "list")
    assert sorted((each.name, each.status) for each in stored(data)) == [(f"n{number}", "done") for number in range(6)]


def test_a_command_inside_a_run_names_it_too(data):
    inner = [*DV, "run", "--name", "inner", "--", "sh", "-c", "exit 4"]
    data.process("run", "--name", "outer", "--", *inner, code=4)
    found = {each.name: each for each in stored(data)}
    assert found["inner"].parent == found["outer"].id
    assert found["outer"].parent == ""


def test_arguments_that_are_no_text_and_overlong_ones_are_recorded_as_far_as_they_can_be(data):
    data.process("run", "-p", "n=" + "9" * 30, "--", "true", b"\xff\xfe", "x" * 100_000)
    found = only(data)
    assert found.command[:2] == ("true", "\\udcff\\udcfe")
    assert len(found.command[2]) == run.TEXT_LIMIT
    assert found.params["n"] in {1e30, hex(10**30 - 1)}
    assert [note for note in found.notes if "longer than" in note]
    assert "not UTF-8" in data.process("run", "--out", b"\xff", "--", "true", code=2).told


def test_missing_outputs_and_inputs_outside_are_said(data, tmp_path):
    outside = tmp_path / "outside.csv"
    outside.write_text("1\n")
    data.process("run", "--in", f"{outside}=train", "--out", "made", "--out", "missing", "--", "touch", "made")
    found = only(data)
    assert [(each.source, each.path, each.role) for each in found.inputs] == [(run.OUTSIDE, str(outside), "train")]
    assert [(each.path, each.missing) for each in found.outputs] == [("made", False), ("missing", True)]
    assert not any(path.startswith("inputs/") and path != "inputs/" for path in tree_of(data))


URL = "https://ada:secret-word@example.org/iris.csv?token=abcdefgh&v=1"
SHOWN = "https://[redacted]@example.org/iris.csv?token=[redacted]&v=1"
SAID = {
    "by dv run": ["run", "--in", f"{URL}=train", "--", "true"],
    "in a program": [PYTHON, "-c", f"import dvtool\nwith dvtool.run(inputs=[({URL!r}, 'train')]): pass"],
    "while it goes": [PYTHON, "-c", f"import dvtool\nwith dvtool.run() as run: run.input({URL!r}, 'train')"],
}


@pytest.mark.parametrize("words", SAID.values(), ids=SAID)
def test_an_input_may_be_at_a_url_which_is_kept_without_credentials(data, words):
    if words[0] == "run":
        data.process(*words)
    else:
        subprocess.run(words, cwd=data.root, check=True, timeout=60)
    found = only(data)
    assert [(each.source, each.path, each.role) for each in found.inputs] == [(run.OUTSIDE, SHOWN, "train")]
    shown = data("runs", "show", found.id, "--json").json
    assert shown["reproducible"]["state"] == "degraded"
    assert any(SHOWN in reason for reason in shown["reproducible"]["reasons"])
    assert SHOWN in [node["label"] for node in data("lineage", found.id, "--json").json["nodes"]]


def test_an_input_that_is_not_there_starts_nothing(data):
    data.process("run", "--in", "no/such", "--", "touch", "started", code=10)
    assert not (data.root / "started").exists()


def test_outputs_that_are_no_files_do_not_block(data):
    os.mkfifo(data.root / "pipe")
    data.write("out/a", "a")
    os.mkfifo(data.root / "out/pipe")
    data.process("run", "--out", "pipe", "--out", "out", "--", "touch", "pipe", "out/a")
    assert tree_of(data)["outputs/out/a"] == b"a"


def test_a_dirty_worktree_is_recorded_on_no_branch(data):
    before = data.status()
    refs = {name: value for name, value in store_of(data).refresh().ref_names("") if not name.startswith("runs/")}
    data.write("data/a.txt", "changed\n")
    data.process("run", "--require-clean", "--", "touch", "started", code=12)
    assert not (data.root / "started").exists()
    assert stored(data) == []
    data.process("run", "--in", "data/a.txt", "--", "true")
    found = only(data)
    assert found.sources[0].dirty
    assert found.sources[0].snapshot.hex() != before["snapshot"]
    assert tree_of(data)["inputs/0/data/a.txt"] == b"changed\n"
    after = {name: value for name, value in store_of(data).refresh().ref_names("") if not name.startswith("runs/")}
    assert after == refs
    assert data.status()["snapshot"] == before["snapshot"]
    assert data.unstaged() == {"modified": ["data/a.txt"]}


def test_what_a_url_asks_is_no_role(data):
    data.process("run", "--in", "https://example.org/a?v=1", "--in", "https://example.org/a?v=1&w=2=test", "--", "true")
    assert [(each.path, each.role) for each in only(data).inputs] == [
        ("https://example.org/a?v=1", ""),
        ("https://example.org/a?v=1&w=2", "test"),
    ]
