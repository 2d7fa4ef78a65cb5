"""``dvtool.run``: whatever a program says, closes or forgets, it goes on, and its run is stored."""

import subprocess
import sys

import pytest

from dvtool.runs import reading
from dvtool.tables import series
from tests.cli.recorded import DV, PYTHON, only, python, stored, tree_of

ODD = """
import math, os, dvtool, datetime
class Odd:
    def __getattr__(self, name): return lambda *_: self
    def __repr__(self): raise ValueError
loop = {}
loop["loop"] = [loop, loop]
with dvtool.run("first", stage="eval") as run:
    run.log(nan=math.nan, up=math.inf, down=-math.inf)
    run.log(loss=3.0, step=3); run.log(loss=9.0, step=1); run.log(loss=1.0, step=2)
    run.log(step=2**63, far=1.0); run.log(step="x", near=1.0); run.log(step=10**40, out=1.0)
    run.log(huge=10**400, none=None, odd=Odd(), text="0.5")
    run.log({"n" * 70_000: 1.0, "\\udcff": 2.0, "": 3.0}, split="s" * 70_000)
    run.params(odd=Odd(), loop=loop, big=2**70, when=datetime.date(2026, 1, 2), s={3, 1, 2}, n=None, bad="\\udcff")
    run.params({"p" * 70_000: 1, 5: 6}, step="x"); run.params(text="t" * 3_000_000); run.params(4)
    run.params(many={str(i): "v" * 100 for i in range(20_000)})
    run.seeds(numpy=1, s={"a": [1]})
    run.note("n" * 100_000); run.note(Odd()); run.note(None)
    for i in range(1100): run.note(str(i))
    run.output("\\udcff"); run.output("x" * 300); run.output("o", kind="k" * 100_000)
    run.output(".git/x")
    run.output(".."); run.output(os.sep); run.output(4); run.input(4); run.input("\\udcff"); run.input("no/such")
    run.input("v1:x"); run.input("/dev/null"); run.input("x" * 70_000)
    run.log_samples([{"a": 1}]); run.log_samples([{"path": 1}], name="t/" * 300); run.log_samples(4)
    run.log_samples([{"path": 1}], name="../../x"); run.log_samples([{"path": 1}], name=".git")
    run.say_named("", "g" * 70_000, "no such stage")
with dvtool.run(stage="no such stage", rank="x", shard="s" * 70_000) as run: run.log(b=1.0)
with dvtool.run(rank=2**80) as run: run.log(b=2.0)
print("went on")
"""


@pytest.mark.parametrize("words", [["run", "--", PYTHON, "odd.py"], None], ids=["joined", "own"])
def test_whatever_a_program_says_its_run_is_stored(data, words):
    data.write("odd.py", ODD if words else ODD.replace("with dvtool.run(", "with dvtool.run(nested=True, name=", 0))
    if words:
        assert data.process(*words).text == "went on\n"
    else:
        code = ODD.partition("with dvtool.run(stage=")[0] + "print('went on')\n"
        found = subprocess.run([PYTHON, "-c", code], cwd=data.root, capture_output=True, check=True)
        assert found.stdout == b"went on\n"
    found = only(data)
    assert (found.name, found.stage, found.status) == ("first", "eval", "done")
    metrics = {metric.name: metric for metric in found.metrics}
    assert str(metrics["nan"].last) == "nan"
    assert (metrics["up"].last, metrics["down"].last) == (float("inf"), float("-inf"))
    assert (metrics["loss"].last, metrics["loss"].step, metrics["loss"].count) == (3.0, 3, 3)
    assert metrics["text"].last == 0.5
    assert metrics["far"].step is None
    assert found.params["s"] == [1, 2, 3]
    assert found.params["when"] == "2026-01-02"
    assert found.params["bad"] == "\\udcff"
    assert found.seeds == {"numpy": 1, "s": {"a": [1]}}
    assert len(found.notes) <= 1001
    assert data("fsck").code == 0
    data("runs", "show", found.id)


def test_summaries_are_capped_and_values_are_not(data):
    code = "import dvtool\nwith dvtool.run() as run:\n    run.log({f'm{i}': float(i) for i in range(20_000)})\n"
    data.process("run", *python(code))
    found = only(data)
    assert len(found.metrics) == reading.METRICS_LIMIT
    assert any("all values are in the table" in note for note in found.notes)
    values = series.decode_metrics(tree_of(data)["record/metrics.parquet"])
    assert dict(zip(values.names, values.values, strict=True)) == {f"m{i}": float(i) for i in range(20_000)}


MANY_WORKERS = """
import multiprocessing, os, subprocess, sys, dvtool
def work(number):
    with dvtool.run(rank=number % 2, shard=str(number)) as run:
        run.log({f"w{number}": float(number)}, step=1)
if __name__ == "__main__":
    with dvtool.run() as run:
        run.log(main=1.0)
        for way in ("fork", "spawn"):
            context = multiprocessing.get_context(way)
            workers = [context.Process(target=work, args=(n + (way == "spawn") * 2,)) for n in range(2)]
            for worker in workers: worker.start()
            for worker in workers: worker.join()
        subprocess.run([sys.executable, "-c", "import dvtool; dvtool.run().log(sub=5.0)"], check=True)
        if os.fork() == 0:
            run.log(forked=6.0); os._exit(0)
        os.wait()
        if os.fork() == 0:
            os._exit(0)
        os.wait()
"""


@pytest.mark.parametrize("own", [False, True])
def test_many_processes_log_to_one_run(data, own):
    data.write("work.py", MANY_WORKERS)
    subprocess.run([*([] if own else [*DV, "run", "--"]), PYTHON, "work.py"], cwd=data.root, check=True, timeout=60)
    found = only(data)
    assert {metric.name: metric.last for metric in found.metrics} == {
        "main": 1.0, "w0": 0.0, "w1": 1.0, "w2": 2.0, "w3": 3.0, "sub": 5.0, "forked": 6.0,
    }  # fmt: skip
    assert len(found.workers) == 7
    assert {note for note in found.notes if "as rank" in note} == {
        "2 processes logged as rank 0",
        "2 processes logged as rank 1",
    }


def test_a_run_inside_a_run_names_it(data):
    code = (
        "import dvtool\n"
        "with dvtool.run('outer') as o, dvtool.run('inner', nested=True) as i:\n    o.log(a=1); i.log(b=2)\n"
    )
    data.process("run", *python(code))
    found = {each.name: each for each in stored(data)}
    assert found["inner"].parent == found["outer"].id
    assert [metric.name for metric in found["inner"].metrics] == ["b"]
    assert [metric.name for metric in found["outer"].metrics] == ["a"]


@pytest.mark.parametrize(
    ("ending", "code", "status", "why"),
    [
        ("", 0, "done", None),
        ("raise ValueError('too bad')", 1, "failed", "ValueError: too bad"),
        ("run.finish()", 0, "done", None),
        ("import os; os._exit(0)", 0, "killed", "nobody saw it end"),
    ],
)
def test_a_run_that_a_program_does_not_finish_is_finished_when_it_ends(data, ending, code, status, why):
    script = data.write("script.py", f"import dvtool\nrun = dvtool.run('own')\nrun.log(loss=1)\n{ending}\n")
    done = subprocess.run([sys.executable, script], cwd=data.root, check=False, capture_output=True, timeout=60)
    assert done.returncode == code
    found = data("runs", "show", "own", "--json").json
    assert (found["status"], found["process"]["why"]) == (status, why)
    assert [each["last"] for each in found["metrics"]] == [1.0]


CLOSING = """
import dvtool, os
run = dvtool.run("closing")
run.log(step=1, loss=1.0)
os.closerange(3, 256)
held = [open(f"mine{number}", "w+") for number in range(40)]
for file in held: file.write("mine"); file.flush()
for step in range(2, 5): run.log(step=step, loss=float(step))
if os.fork() == 0:
    os.closerange(3, 6)
    others = [open(f"other{number}", "w") for number in range(3)]
    run.log(forked=1.0); os._exit(0)
os.wait()
run.finish()
for file in held: file.seek(0); assert file.read() == "mine"
"""


@pytest.mark.parametrize("own", [False, True])
def test_a_program_that_closes_all_descriptors_keeps_its_files_and_its_run(data, own):
    data.write("close.py", CLOSING)
    words = [*([] if own else [*DV, "run", "--"]), PYTHON, "close.py"]
    done = subprocess.run(words, cwd=data.root, check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr if own else b"") == (0, b"")
    assert {(data.root / f"mine{number}").read_text() for number in range(40)} == {"mine"}
    assert {(data.root / f"other{number}").read_text() for number in range(3)} == {""}
    found = only(data)
    assert {metric.name: (metric.count, metric.last) for metric in found.metrics} == {
        "loss": (4, 4.0),
        "forked": (1, 1.0),
    }
    assert (found.status, len(found.workers), len({each.pid for each in found.workers})) == ("done", 2, 2)
    assert [each.ended > 0 for each in sorted(found.workers, key=lambda each: each.started)] == [True, False]
    assert not [note for note in found.notes if "journal" in note or "lost" in note]


def test_a_lock_that_was_lost_is_taken_again(data):
    code = (
        "import dvtool, os, sys\nrun = dvtool.run('long', trace='declared')\nos.closerange(3, 256)\n"
        "run.log(loss=1.0)\nprint('up', flush=True)\nsys.stdin.readline()\nrun.finish()\n"
    )
    process = subprocess.Popen(
        [PYTHON, "-c", code], cwd=data.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert [each["status"] for each in data("runs", "list", "--json").json] == ["running"]
        _out, told = process.communicate(b"\n", timeout=20)
    finally:
        process.kill()
    assert (process.returncode, told) == (0, b"")
    assert only(data).status == "done"


def test_many_runs_of_one_process_need_no_more_descriptors_than_one(data):
    code = (
        "import os, resource, dvtool\nresource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n"
        "def count(): return len(os.listdir('/proc/self/fd'))\n"
        "before = count(); during = set()\n"
        "for number in range(60):\n    with dvtool.run(f'n{number}') as run:\n"
        "        run.log(loss=1.0)\n        during.add(count())\n    assert count() <= before + 1, count()\n"
        "assert max(during) <= before + 8, during\n"
    )
    done = subprocess.run([PYTHON, "-c", code], cwd=data.root, check=False, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(stored(data)) == 60


ODD_PLACES = ["HEAD:data", "HEAD:no/such", "HEAD:data\0", "HEAD:/x", "s3://bucket/x", "\0", "data\0x", ":", "v1:x\0"]


@pytest.mark.parametrize("own", [False, True])
def test_whatever_is_said_to_be_read_or_made_the_run_is_stored(data, own):
    code = (
        f"import dvtool\nwith dvtool.run('odd') as run:\n    for place in {ODD_PLACES!r}:\n"
        "        run.input(place, 'train'); run.output(place)\n"
    )
    script = data.write("script.py", code)
    words = [*([] if own else [*DV, "run", "--"]), PYTHON, script]
    done = subprocess.run(words, cwd=data.root, check=True, capture_output=True, timeout=60)
    assert b"Traceback" not in done.stderr
    assert b"no file can have this name" in done.stderr
    assert only(data).status == "done"
    assert data("runs", "list").told == ""
