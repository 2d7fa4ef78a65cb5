"""What the hook in Python processes sees, and that programs do not notice it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dvtool.capture import inject
from dvtool.capture.inject import dv_trace
from dvtool.formats import run
from dvtool.runs import reading
from dvtool.testing.audit import audit
from tests.cli.recorded import only, stored
from tests.cli.running import store_of

PYTHON = sys.executable
HOOKS = Path(inject.__file__).parent


@pytest.fixture
def traced(data):
    """Return what runs code as a run, and returns what of the data set was seen to be read, and the run."""

    def traced(code, *options, environment=None, at="", interpreter=()):
        data.process("run", *options, "--", PYTHON, *interpreter, "-c", code, environment=environment, at=at)
        found = stored(data)[-1]
        store = store_of(data)
        value = store.refresh().ref(run.ref_name(found.id))
        files = audit(store).snapshots[value]
        return sorted(
            path[len("inputs/0/") :] for path in files if path.startswith("inputs/0/") and path[-1] != "/"
        ), found

    return traced


SEEN = {
    "text": "open('data/a.txt').read()",
    "bytes": "open(b'data/a.txt').read()",
    "path": "import pathlib; pathlib.Path('data/a.txt').read_text()",
    "absolute": "import os; open(os.path.abspath('data/a.txt'))",
    "os.open": "import os; os.open('data/a.txt', os.O_RDONLY)",
    "chdir": "import os; os.chdir('data'); open('a.txt')",
    "chdir after the same name": "import os\ntry: open('a.txt')\nexcept OSError: pass\nos.chdir('data'); open('a.txt')",
    "fchdir": "import os; os.fchdir(os.open('data', os.O_RDONLY)); open('a.txt')",
    "dots": "open('data/sub/../a.txt')",
    "thread": "import threading; t = threading.Thread(target=lambda: open('data/a.txt')); t.start(); t.join()",
    "fork": "import os\nif os.fork() == 0:\n    open('data/a.txt'); os._exit(0)\nos.wait()",
    "child": "import subprocess, sys; subprocess.run([sys.executable, '-c', 'open(\"data/a.txt\")'])",
    "read and written over": "text = open('data/a.txt').read(); open('data/a.txt', 'w').write(text + 'x')",
    "appended to by another name": "open('data/a.txt'); open('data/../data/a.txt', 'a')",
    "a link to its directory": "import os; os.symlink('data', 'link'); open('link/a.txt')",
    "a link from outside": "import os; os.symlink(os.getcwd(), '../outside'); open('../outside/data/a.txt')",
    "many times": "for _ in range(100): open('data/a.txt').close()",
    "cleared environment": "import os; os.environ.clear(); open('data/a.txt')",
    # Which of two processes was first nobody knows; an edge too many is looked at, one too few is not.
    "written by a child": "import subprocess, sys\n"
    "subprocess.run([sys.executable, '-c', 'open(\"data/a.txt\", \"a\")']); open('data/a.txt')",
}  # fmt: skip
UNSEEN = {
    "written": "open('data/a.txt', 'w')",
    "written first": "open('data/a.txt', 'w').write('x'); open('data/a.txt').read()",
    "os.open to write": "import os; os.open('data/a.txt', os.O_RDWR)",
    "a descriptor": "open(0)",
    "not there": "import os\ntry: open('data/none.txt')\nexcept OSError: pass\nopen('data/none.txt', 'w')",
    "outside": "open('/etc/hostname', 'rb') if __import__('os').path.exists('/etc/hostname') else 0",
    "nothing": "pass",
}


@pytest.mark.parametrize("code", SEEN.values(), ids=SEEN)
def test_what_is_opened_to_be_read_is_an_input(traced, code):
    found, value = traced(code)
    assert found == ["data/a.txt"]
    assert [(each.path, each.known, each.files) for each in value.inputs] == [("data", "audit", 1)]
    assert value.notes == ()


def test_what_a_link_leads_to_is_an_input(traced):
    found, value = traced("import os; os.symlink('data/a.txt', 'link'); open('link')")
    assert found == ["data/a.txt"]
    assert [each.path for each in value.inputs] == ["data"]


@pytest.mark.parametrize("code", UNSEEN.values(), ids=UNSEEN)
def test_what_is_not_read_is_none(traced, code):
    found, value = traced(code)
    assert found == []
    assert value.inputs == ()
    assert value.notes == ()


def test_names_with_odd_characters_are_seen(data, traced):
    for name in ("tab\there", "line\nhere", "back\\slash", "é"):
        data.write(f"data/{name}", name)
    data("add", "data")
    data.commit()
    found, _value = traced("import os\nfor n in os.listdir('data'):\n    if n != 'sub': open('data/' + n)")
    assert set(found) >= {"data/tab\there", "data/line\nhere", "data/é", "data/a.txt"}


def test_names_that_are_not_utf8_do_no_harm(data, traced):
    place = os.fsencode(data.root) + b"/new-\xff"
    Path(os.fsdecode(place)).write_bytes(b"x")
    _found, value = traced("import os; open(b'new-\\xff')")
    assert any("new-" in each.path for each in value.inputs)


def test_without_the_hook_a_note_says_so(traced):
    found, value = traced("open('data/a.txt')", interpreter=["-I"])
    assert found == []
    assert any("no Python process told" in note for note in value.notes)


def test_only_what_is_said_counts_without_tracing(traced):
    code = "import sys; assert 'dv_trace' not in sys.modules; open('data/a.txt')"
    found, value = traced(code, "--trace", "declared", "--in", "data/b.txt")
    assert found == ["data/b.txt"]
    assert [each.known for each in value.inputs] == ["declared"]


def test_the_users_own_sitecustomize_still_runs(traced, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins\nbuiltins.mine = __file__\n")
    code = (
        f"import sys, sitecustomize\nassert mine == sitecustomize.__file__ == {str(tmp_path / 'sitecustomize.py')!r}\n"
        f"assert {str(HOOKS)!r} not in sys.path\nopen('data/a.txt')"
    )
    found, _value = traced(code, environment={"PYTHONPATH": str(tmp_path)})
    assert found == ["data/a.txt"]


def test_a_users_sitecustomize_that_fails_fails_as_it_would(data, traced, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import no_such_module_at_all\n")
    words = ["-c", "print('went on')"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    plain = subprocess.run([PYTHON, *words], env=environment, capture_output=True, check=False)
    found = data.process("run", "-q", "--", PYTHON, *words, environment={"PYTHONPATH": str(tmp_path)})
    assert (found.code, found.out) == (plain.returncode, plain.stdout)
    assert found.told.count("no_such_module_at_all") == 2 * plain.stderr.count(
        b"no_such_module_at_all"
    )  # dv's own Python too


def test_a_journal_that_refuses_is_no_harm_to_the_program(data, traced):
    code = (
        "import os, resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))\n"
        "held = []\n"
        "try:\n    while True: held.append(os.open('/', os.O_RDONLY))\n"
        "except OSError: pass\n"
        "os.close(held.pop()); print(open('data/a.txt').read())"
    )
    assert data.process("run", "--", PYTHON, "-c", code).out == b"a\n\n"


def test_odd_paths_raise_what_they_would_without(data, traced):
    code = """
import os
class Path:
    def __init__(self, error): self.error = error
    def __fspath__(self): return 'data/a.txt'
    def __hash__(self): raise self.error
    def __eq__(self, other): raise self.error
os.close(os.open(Path(RuntimeError()), os.O_RDONLY)); open(Path(ValueError())).close()
for path in (3.5, None, 'a\\0b', b'\\xff', [], ''):
    try: open(path)
    except (TypeError, ValueError, OSError) as error: print(type(error).__name__)
"""
    wanted = subprocess.run([PYTHON, "-c", code], cwd=data.root, capture_output=True, check=True).stdout
    assert data.process("run", "--", PYTHON, "-c", code).out == wanted


@pytest.mark.parametrize("file", ["dv_trace.py", "sitecustomize.py"])
def test_the_hook_is_understood_by_old_pythons(file):
    text = (HOOKS / file).read_text(encoding="utf-8")
    found = ast.parse(text, feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(found) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(found) if isinstance(node, ast.ImportFrom)}
    assert imported <= {"os", "sys", "_thread", "atexit", "dv_trace", "sitecustomize"}


def test_libraries_that_read_past_the_hook_are_named(traced):
    _found, value = traced("import pyarrow; open('data/a.txt')")
    assert value.environment["loaded"] == ["pyarrow"]
    assert any("pyarrow was loaded" in note for note in value.notes)


SAMPLES = "run.log_samples({'path': ['data/a.txt'], 'label': [1]})"


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("before", "inside", "loaded"),
    [
        ("import pyarrow", "pass", ["pyarrow"]),
        ("pass", "import pyarrow", ["pyarrow"]),
        ("pass", SAMPLES, []),
        ("import pandas", SAMPLES, ["pyarrow"]),
    ],
)
def test_a_library_counts_if_the_program_loaded_it_and_not_if_dv_did(data, own, before, inside, loaded):
    """What pandas may read by pyarrow, it may read however that was loaded."""
    program = [PYTHON, "-c", f"{before}\nimport dvtool\nwith dvtool.run() as run: {inside}"]
    if own:
        subprocess.run(program, cwd=data.root, check=True, timeout=60)
    else:
        data.process("run", "--", *program)
    assert only(data).environment.get("loaded", []) == loaded


def test_a_torn_line_spoils_no_other(tmp_path):
    (tmp_path / "audit-1-x").write_bytes(b"r\t/a\nr\t/bb\tx\nz\nr\nr\t/c\\td\nr\t/cut")
    found = reading.opened(str(tmp_path))
    assert list(found.read) == ["/a", "/c\td"]


def test_the_hook_ends_when_it_is_told_to(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_text("a")
    (root / "b").write_text("b")
    end = dv_trace.begin(str(tmp_path), (f"{root}/",))
    (root / "a").read_text()
    end()
    (root / "b").read_text()
    assert list(reading.opened(str(tmp_path)).read) == [f"{root}/a"]


@pytest.mark.parametrize("declared", [[], ["--in", "model"]], ids=["seen", "declared"])
def test_outputs_of_other_runs_are_known_by_their_content(data, declared):
    """If several made the same, the newest is named."""
    for name in ("first", "second"):
        code = "open('model', 'w').write('m' * 100)"
        data.process("run", "--name", name, "--out", "model", "--", PYTHON, "-c", code)
    data.process("run", "--name", "user", *declared, "--", PYTHON, "-c", "open('model').read()")
    found = {each.name: each for each in stored(data)}
    user, makers = found["user"], {found["user"].sources[each.source].run for each in found["user"].inputs}
    assert user.inputs
    assert makers == {found["second"].id}


TORCH = """
import sys, types
torch = types.ModuleType('torch')
torch.version = types.SimpleNamespace(cuda='12.4')
torch.are_deterministic_algorithms_enabled = lambda: True
torch.backends = types.SimpleNamespace(cudnn=types.SimpleNamespace(benchmark=False, deterministic=True))
torch.get_num_threads = lambda: 3
"""


@pytest.mark.parametrize("own", [False, True])
def test_settings_of_torch_are_those_at_the_end(data, own):
    """A run that a program began itself ends before the program does."""
    use = "import dvtool\nwith dvtool.run(): sys.modules['torch'] = torch" if own else "sys.modules['torch'] = torch"
    words = [PYTHON, "-c", TORCH + use]
    if own:
        subprocess.run(words, cwd=data.root, check=True, timeout=60)
    else:
        data.process("run", "--", *words)
    determinism = only(data).environment["determinism"]
    assert determinism["torch.deterministic"] == "True"
    assert determinism["torch.threads"] == "3"


def test_a_python_without_audit_hooks_says_so(tmp_path):
    script = (
        f"import sys; del sys.addaudithook; sys.path.insert(0, {str(HOOKS)!r}); import dv_trace\n"
        f"dv_trace.begin({str(tmp_path)!r}, ('/etc/',)); open('/etc/passwd').read()"
    )
    subprocess.run([PYTHON, "-c", script], check=True, timeout=60)
    found = reading.opened(str(tmp_path))
    assert len(found.pythons) == 1
    assert list(found.read) == []
    assert found.processes == 0


CLOSING = """
import os, sys
open('data/a.txt').close()
os.closerange(3, 256)
held = [open(f'mine{number}', 'w+') for number in range(40)]
for file in held: file.write('mine'); file.flush()
for _ in range(3): open('data/b.txt').close()
open('data/a.txt', 'a').close()
for file in held: file.seek(0); assert file.read() == 'mine'
"""


def test_a_program_that_closes_all_descriptors_keeps_its_files(data, traced):
    found, value = traced(CLOSING)
    assert {"data/a.txt", "data/b.txt"} <= set(found)
    assert {(data.root / f"mine{number}").read_text() for number in range(40)} == {"mine"}
    # Both files of the process are one process's: what it read first and then wrote over was read.
    assert [(each.path, each.known, each.files) for each in value.inputs] == [("data", "audit", 2)]


def test_ended_the_hook_closes_its_own_file_and_no_other(tmp_path):
    (tmp_path / "a").write_text("a")
    before = len(os.listdir("/proc/self/fd"))
    ends = [dv_trace.begin(str(tmp_path), (f"{tmp_path}/",)) for _ in range(2)]
    assert len(os.listdir("/proc/self/fd")) == before + 2
    ends[0]()
    assert len(os.listdir("/proc/self/fd")) == before + 1
    (file,) = [
        int(name) for name in os.listdir("/proc/self/fd") if "/audit-" in os.path.realpath(f"/proc/self/fd/{name}")
    ]
    mine = os.open(tmp_path / "mine", os.O_RDWR | os.O_CREAT)
    os.dup2(mine, file)
    ends[1]()
    assert os.fstat(file).st_ino == os.fstat(mine).st_ino
    assert os.fstat(file).st_size == 0
    os.close(file)
    os.close(mine)


def test_a_process_gets_one_hook_however_many_runs_it_has(tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(HOOKS)!r}); import dv_trace\n"
        "add = sys.addaudithook; added = []\n"
        "sys.addaudithook = lambda hook: (added.append(hook), add(hook))\n"
        f"for _ in range(5): dv_trace.begin({str(tmp_path)!r}, ('/etc/',))()\n"
        f"dv_trace.begin({str(tmp_path)!r}, ('/etc/',)); open('/etc/passwd').close()\n"
        "assert len(added) == 1"
    )
    subprocess.run([PYTHON, "-c", script], check=True, timeout=60)
    assert list(reading.opened(str(tmp_path)).read) == ["/etc/passwd"]
