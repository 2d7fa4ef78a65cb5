"""What is left on the disk of a run that was recorded: what it names stays, and secrets do not come in."""

import hashlib
import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from dvtool import digest, ids
from dvtool.formats import run as formats
from dvtool.testing import damage
from tests.cli.running import store_of

SECRETS = {"HF_TOKEN": "an-unusual-secret", "DB_PASSWORD": "correct horse battery"}


def wait_for(condition):
    """Wait until something is so, and return it."""
    until = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def below(directory):
    """The files below a directory, with their content."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def begun(root, *command, **environment):
    """A ``dv run`` that goes on."""
    return subprocess.Popen(
        [sys.executable, "-m", "dvtool.cli.main", "run", "--name", "long", "--", *command],
        cwd=root,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.fixture
def going(data):
    """A run that has printed a secret and goes on: the process of dv."""
    script = 'echo "I use $HF_TOKEN"; echo password=hunter2hunter2; touch ready; sleep 60'
    process = begun(data.root, "sh", "-c", script, **SECRETS)
    try:
        wait_for((data.root / "ready").exists)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_journal_is_its_owners_alone_and_has_no_secret_in_it(data, going):
    journals = data.root / ".dv" / "runs"
    wait_for(lambda: any(b"I use" in text for text in below(journals).values()))
    places = [journals, *journals.rglob("*")]
    assert {stat.S_IMODE(place.stat().st_mode) for place in places if place.is_file()} == {0o600}
    assert {stat.S_IMODE(place.stat().st_mode) for place in places if place.is_dir()} == {0o700}
    for secret in (*SECRETS.values(), "hunter2hunter2"):
        assert [path for path, text in below(journals).items() if secret.encode() in text] == []


def test_a_run_whose_dv_was_killed_is_stored_by_the_next_command(data, going):
    wait_for(lambda: any(b"I use" in text for text in below(data.root / ".dv" / "runs").values()))
    assert data("runs", "show", "long", "--json").json["status"] == "running"
    os.killpg(going.pid, signal.SIGKILL)
    going.wait()
    wait_for(lambda: data("runs", "show", "long", "--json").json["status"] == "killed")
    shown = data("runs", "show", "long", "--json").json
    assert shown["process"]["why"] == "nobody saw it end"
    assert data.process("runs", "logs", "long").text == "I use [redacted]\npassword=[redacted]\n"
    assert list((data.root / ".dv" / "runs").iterdir()) == []


def test_nothing_of_a_run_can_be_read_in_the_store(data):
    words = {"name": "an-odd-name", "param": "an-odd-value", "printed": "an-odd-line", "made": "an-odd-output"}
    command = ["sh", "-c", f"echo {words['printed']}; echo {words['made']} > made.txt"]
    data.process("run", "--name", words["name"], "-p", f"p={words['param']}", "--out", "made.txt", "--", *command)
    shown = data("runs", "show", words["name"], "--json").json
    assert shown["params"] == {"p": words["param"]}
    stored = below(data.root / ".dv").values()
    for word in (*words.values(), shown["id"]):
        assert not any(word.encode() in text for text in stored)


def test_what_a_run_read_and_made_outlives_the_files(data):
    data.write("data/new.csv", "read while it was in no snapshot\n")
    data.process("run", "--name", "copy", "--in", "data", "--out", "made.csv", "--", "cp", "data/new.csv", "made.csv")
    read = (data.root / "data" / "new.csv").read_bytes()
    for path in ("data/new.csv", "made.csv"):
        (data.root / path).unlink()
    data("gc", "--grace", "0")
    data("gc", "--grace", "0")
    data("runs", "fetch", "copy")
    assert (data.root / "made.csv").read_bytes() == read
    snapshot = data("runs", "show", "copy", "--json").json["inputs"][0]["snapshot"]
    assert data.process("cat", f"{snapshot}:data/new.csv").out == read
    assert data("fsck", "--json").json["clean"]


def test_what_was_declared_and_seen_counts_once(data):
    files = sum(1 for path in (data.root / "data").rglob("*") if path.is_file())
    script = "import glob; [open(path, 'rb').read() for path in glob.glob('data/**', recursive=True) if '.' in path]"
    done = data.process("run", "--in", "data", "--", sys.executable, "-c", script)
    known = {each["known"] for each in data("runs", "list", "--json").json[0]["inputs"]}
    assert known == {"declared", "audit"}
    assert f"{files:,} files read" in done.told


def test_a_list_without_unstable_runs_does_not_say_that_there_are_none(data):
    assert "there are no runs yet" in data("runs", "list").text
    data.process("run", "--", "true")
    assert data("runs", "list", "--unstable").text == "no run fits\n"


def test_who_should_not_have_read_a_split_comes_first(data):
    data.write("dv.toml", '[splits]\ntest = ["data"]\n')
    for stage in ("tune", *["eval"] * 25):
        data.process("run", "--stage", stage, "--trace", "declared", "--in", "data", "--", "true")
    lines = data("check", "splits", code=1).text.splitlines()
    assert "tune" in lines[1]
    assert "learns or chooses" in lines[1]
    assert lines[21] == "  … and 6 more (all of them with --json)"


def objects(dv):
    """The objects of all runs, decoded, by their ids."""
    store = store_of(dv)
    found = dict(store.refresh().ref_names("runs/"))
    return {identity: formats.decode(store.read_object(ids.RUN, identity)) for identity in found.values()}


def test_nothing_of_a_run_confirms_a_guess_at_what_was_read(data, tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("is it this one?\n", encoding="utf-8")
    for _ in range(2):
        data.process("run", "--in", str(outside), "--trace", "declared", "--", "true")
    one, two = objects(data).values()
    assert one.nonce != two.nonce
    assert len(one.nonce) == formats.NONCE_SIZE
    # The hash of what lies outside says whether it is the same, and nothing to those without the key.
    assert one.inputs[0].known_as == two.inputs[0].known_as
    content = outside.read_bytes()
    plain = {digest.sealed_name(content), hashlib.sha256(content).digest()}
    assert one.inputs[0].known_as not in plain
    assert store_of(data).hasher.id(ids.CHUNK, content) != one.inputs[0].known_as
    assert one.prints.data == two.prints.data != b""


def test_what_a_run_was_is_known_when_its_files_are_lost(data):
    script = "import dvtool; dvtool.run().log(step=1, loss=0.25)"
    command = [sys.executable, "-c", script]
    data.process("run", "--name", "lossy", "-p", "rate=0.5", "--in", "data", "--", *command)
    before = data("runs", "show", "lossy", "--json").json
    store = store_of(data)
    place = store.segments.find(store.hasher.id(ids.CHUNK, b"a\n"))
    pack = store.holder(store.hasher.id(ids.CHUNK, b"a\n"))
    damage.flip(str(data.root / ".dv/store" / pack), place[1].offset + 3)
    data("fsck", code=20)
    after = data("runs", "show", "lossy", "--json").json
    for part in ("params", "metrics", "inputs", "environment", "code", "process", "command"):
        assert after[part] == before[part]
    assert after["params"] == {"rate": 0.5}
    assert after["metrics"][0]["last"] == 0.25
