"""Every hostile store of the kit against every command that reads: refused in our own words, nothing written elsewhere.

What a command wrote outside its worktree is looked for in what lies around it: a file beside the repository, Git's
directory in it, dv's own, and the directories above.
"""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile

import pytest

from dvtool import paths
from dvtool.cli import exits, main
from dvtool.errors import FormatError, IntegrityError, StorageError
from dvtool.repo import Repo
from dvtool.store import listing
from dvtool.testing import hostile
from dvtool.testing.forging import BLOCK, PLANTED, Forger, zstd_frame
from dvtool.testing.hostile import HOSTILE, Verdict
from dvtool.testing.names import FORBIDDEN, ODD
from dvtool.testing.volume import signatures

MEMORY = 8 << 20
"""Bytes of memory that commands in this process take for all there is, so that what counts them counts few."""
LIMIT = 60
"""Seconds after which a command counts as hanging."""
PEAK = 400 << 20
"""Bytes of memory that a process may take at its peak; a frame of the greatest length is in memory a few times."""

LISTS = {
    "ls": ["ls", "-r", "evil"],
    "ls --json": ["ls", "-r", "--json", "evil"],
}
WRITES = {
    "checkout": ["checkout", "evil"],
    "checkout --force": ["checkout", "--force", "evil"],
    "restore": ["restore", "--source", "evil", "--force", "."],
    "archive": ["archive", "evil", "../archived"],
    "tar": ["archive", "evil", "-"],
    "worktree": ["worktree", "add", "../other", "evil"],
}
LOOKS = {
    "status": ["status"],
    "fsck": ["fsck"],
    "fsck --quick": ["fsck", "--quick"],
    "gc": ["gc", "--dry-run"],
    "du": ["du", "evil"],
    "du --json": ["du", "--json", "evil"],
    "cat": ["cat", "evil:data/f"],
    "diff": ["diff", "main", "evil"],
    "diff --json": ["diff", "--json", "main", "evil"],
    "show": ["show", "evil"],
    "show --json": ["show", "--json", "evil"],
    "show path": ["show", "evil:data"],
    "log": ["log", "evil"],
    "log path": ["log", "evil", "data/f"],
    "log --json": ["log", "--json", "evil"],
    "merge": ["merge", "evil", "--theirs"],
    "branch": ["branch"],
    "oplog": ["oplog"],
    "stage": ["restore", "--staged", "--source", "evil", "data"],
}
COMMANDS = LISTS | WRITES | LOOKS

ENDLESS = {
    "directories that double": {"ls", "tar"},
    "empty directories that double": {"ls", "tar"},
    "a file that is larger than any disk": {"tar"},
}
"""What gives out as much as is asked for, and is looked at on its own below."""

MANY = {f"{why} as a {kind}" for why in FORBIDDEN for kind in ("directory", "link")}
"""Stores that differ little from others, and meet few commands."""
FEW = {"checkout", "archive", "fsck"}
SOME = {"ls", "checkout", "restore", "archive", "tar", "worktree", "status", "fsck", "gc", "diff", "log", "merge"}
"""What every other store meets; `make deep` has it meet them all."""

OURS = {"index", "cache", "config", "store", "tmp", "worktree", "worktrees", "lock", "writing", "merge"}
"""All that lies right below ``.dv``."""
STORED = re.compile(
    r"format|keys/(repo|(log-)?[0-9a-f]{32})|packs/[0-9a-f]{64}|index/[0-9a-f]{32}|log/[0-9a-f]{16}|keys|packs|index|log|acks"
)


def git(root, *words):
    subprocess.run(["git", "-C", root, *words], check=True, capture_output=True, timeout=LIMIT)


@pytest.fixture(scope="session")
def harmless(tmp_path_factory):
    """A place with a repository beside Git, and a file beside that, which nobody is to touch."""
    place = tmp_path_factory.mktemp("hostile")
    os.makedirs(f"{place}/home/repo")
    git(f"{place}/home/repo", "init", "-q", "--template=")
    with open(f"{place}/home/precious", "wb") as file:
        file.write(b"precious\n")
    hostile.build(f"{place}/home/repo")
    return str(place)


class Place:
    """A copy of the harmless place, with one hostile store in it."""

    def __init__(self, harmless, base, name):
        self.name = name
        self.kept = f"{base}/kept"
        self.base = f"{base}/here"
        self.root = f"{self.base}/home/repo"
        shutil.copytree(harmless, self.kept, symlinks=True)
        if name == "settings of another length":
            shutil.rmtree(f"{self.kept}/home/repo/.git")  # beside Git, settings of snapshots are not read
        if name is not None:
            hostile.forge(f"{self.kept}/home/repo", name)
        self.reset()

    def reset(self):
        if os.path.lexists(self.base):
            subprocess.run(["rm", "-rf", self.base], check=True)
        shutil.copytree(self.kept, self.base, symlinks=True)
        self.before = signatures(self.base)

    def check(self, where):
        """Nothing changed but below the worktree and in dv's own files; when anything did, begin anew."""
        now = signatures(self.base)
        changed = {path for path in now.keys() | self.before.keys() if now.get(path) != self.before.get(path)}
        for path in sorted(changed):
            inside = path.removeprefix("home/repo/")
            if path.startswith(("home/archived", "home/other")):
                first = path.split("/")[2:3]
                assert first in ([], ["data"], [".dv"], ["dv.lock"]), (where, path)
                continue
            assert inside != path, (where, path)
            own = inside.partition("/")[0]
            assert own in {"data", ".dv", "dv.lock", ".gitignore"}, (where, path)
            if own == ".dv":
                assert inside == ".dv" or inside.split("/")[1] in OURS, (where, path)
                if inside.startswith(".dv/store/"):
                    assert STORED.fullmatch(inside.removeprefix(".dv/store/")), (where, path)
                assert inside not in {".dv/store/keys/repo", ".dv/store/format", ".dv/config"}, (where, path)
            assert os.path.islink(f"{self.base}/{path}") or os.path.realpath(f"{self.base}/{path}").startswith(
                os.path.realpath(self.root)
            ), (where, path)
        if changed:
            self.reset()
        return changed


@pytest.fixture
def place(harmless, tmp_path, monkeypatch):
    """Return a function that makes the place of one hostile store."""
    monkeypatch.setattr(listing, "memory", lambda: MEMORY)
    made = []

    def make(name):
        made.append(Place(harmless, str(tmp_path), name))
        return made[-1]

    yield make
    # Deeper than Python's own way of removing directories reaches.
    subprocess.run(["rm", "-rf", *(each.base for each in made)], check=True)


def hanging(_number, _frame):
    raise AssertionError("a command hangs")


@pytest.fixture
def dv(capfdbinary, monkeypatch):
    """Call the program in this process; (exit code, stdout, stderr)."""

    def call(root, words):
        monkeypatch.chdir(root)
        capfdbinary.readouterr()
        before = signal.signal(signal.SIGALRM, hanging)
        signal.alarm(LIMIT)
        try:
            code = main.run(words)
            sys.stdout.flush()
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
            monkeypatch.chdir("/")
        return code, *capfdbinary.readouterr()

    return call


DAMAGE = {exits.CODES[IntegrityError], exits.CODES[FormatError]}
FULL = exits.CODES[StorageError]


def allowed(verdict, command):
    """The exit codes with which a command may answer to a store."""
    anything = {0, 10, 12, FULL, *DAMAGE}
    if command.startswith("fsck"):
        return {0, 20} if command == "fsck" or verdict is Verdict.STORE else {0}
    if command == "status":
        return DAMAGE if verdict is Verdict.STORE else {0}
    written = {
        Verdict.STORE: DAMAGE,
        Verdict.TREE: {*DAMAGE, FULL},
        Verdict.CONTENT: {*DAMAGE, FULL},
        Verdict.ROOM: {FULL},
        Verdict.BESIDE: anything,
        Verdict.DATA: {0},
    }
    listed = written | {Verdict.CONTENT: anything, Verdict.ROOM: anything, Verdict.TREE: DAMAGE}
    looked = listed | {Verdict.TREE: anything}
    if verdict is Verdict.DATA and command in {"cat", "log path"}:
        return {0, 10}
    return (written if command in WRITES else listed if command in LISTS else looked)[verdict]


def judge(command, code, out, err, name):
    """What holds of every answer."""
    told = err.decode("utf-8", "backslashreplace")
    where = (name, command, code, told[:2000])
    assert code in allowed(HOSTILE[name].verdict, command), where
    assert "Traceback" not in told, where
    assert "\x1b" not in told, where
    if command != "tar":
        assert b"\x1b" not in out, where
    assert len(told) < 4000, where
    if code and code != 1 and "--json" in command:
        assert out == b"", where
        assert json.loads(err.splitlines()[-1])["error"]["code"] == code, where
    elif code not in {0, 1}:
        assert told.strip() or command.startswith("fsck"), where


def meet(place, dv, name, commands):
    found = place(name)
    for command in sorted(set(commands) - ENDLESS.get(name, set())):
        words = COMMANDS[command]
        code, out, err = dv(found.root, words)
        judge(command, code, out, err, name)
        if command == "fsck":
            is_met(name, code, out + err)
        found.check((name, command))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_store_is_met_and_does_no_harm(place, dv, name):
    meet(place, dv, name, FEW if name in MANY else SOME)


@pytest.mark.deep
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_store_does_no_harm_to_any_command(place, dv, name):
    meet(place, dv, name, COMMANDS)


def is_met(name, code, told):
    """A complete check says what is hostile about a store, or finds in order what is valid."""
    craft = HOSTILE[name]
    if craft.verdict is Verdict.DATA or not craft.told:
        assert code == 0, (name, told)
    else:
        assert code == 20, (name, told)
        assert craft.told in told.decode("utf-8", "backslashreplace"), (name, told)


SOUND_BY_THEMSELVES = [name for name, craft in HOSTILE.items() if not craft.told and craft.verdict is Verdict.CONTENT]


@pytest.mark.parametrize("name", SOUND_BY_THEMSELVES)
def test_what_a_check_finds_in_order_is_refused_by_name(place, dv, name):
    found = place(name)
    code, _out, err = dv(found.root, ["checkout", "evil"])
    assert code in {20, 21}
    assert b"data/l" in err or b"outside its tracked roots" in err


@pytest.mark.parametrize("name", [name for name, craft in HOSTILE.items() if craft.verdict is Verdict.DATA])
def test_what_is_odd_and_valid_comes_out_as_it_is(place, dv, name):
    found = place(name)
    wanted = HOSTILE[name].told.split("\0")
    code, out, _err = dv(found.root, ["ls", "-r", "--json", "evil"])
    listed = [item["path"] for item in json.loads(out) if item["kind"] != "dir"]
    assert (code, sorted(listed)) == (0, sorted(wanted))
    assert dv(found.root, ["checkout", "evil"])[0] == 0
    there = [path for path in wanted if os.path.lexists(f"{found.root}/{path}")]
    assert there == wanted
    assert dv(found.root, ["status", "--json"])[0] == 0
    assert dv(found.root, ["checkout", "main"])[0] == 0
    assert [path for path in wanted if os.path.lexists(f"{found.root}/{path}")] == []
    found.check((name, "there and back"))


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a snapshot that is its own ancestor", "log"),
        ("a snapshot that is its own ancestor", "log --json"),
        ("settings of another length", "checkout"),
        ("settings of another length", "worktree"),
    ],
)
def test_what_stands_beside_the_files_is_refused_by_who_follows_it(place, dv, name, command):
    found = place(name)
    code, _out, _err = dv(found.root, COMMANDS[command])
    assert code in DAMAGE
    found.check((name, command))


def test_a_link_that_becomes_a_directory_is_not_followed(place, dv):
    found = place(None)
    forger = Forger(f"{found.kept}/home/repo")
    forger.plant([("way", forger.link(b"../.."))])
    forger.publish(forger.snapshot(forger.below([("way", forger.directory(["precious"], [forger.file()]))])), "next")
    found.reset()
    for words in (["checkout", "evil"], ["checkout", "next"], ["checkout", "evil"]):
        assert dv(found.root, words)[0] == 0
    assert os.path.islink(f"{found.root}/data/way")
    assert dv(found.root, ["restore", "--source", "next", "--force", "data"])[0] == 0
    with open(f"{found.root}/data/way/precious", "rb") as file:
        assert file.read() == PLANTED
    changed = found.check("link and directory")
    assert changed
    assert all(path.startswith("home/repo/") for path in changed)


def test_names_with_control_characters_are_shown_and_not_obeyed(place, dv):
    found = place(None)
    forger = Forger(f"{found.kept}/home/repo")
    gone = forger.directory(["f"], [forger.file()])._replace(id=b"\7" * 32)
    top = forger.below([("\x1b[2J", gone), ("plain", forger.file())])
    forger.publish(forger.snapshot(top, message="\x1b]0;title\a", author="\x1b[31mMallory <m@example.org>"))
    found.reset()
    for words in (
        ["log", "evil"],
        ["show", "evil"],
        ["ls", "evil", "data"],
        ["ls", "-r", "evil"],
        ["checkout", "evil"],
    ):
        _code, out, err = dv(found.root, words)
        assert b"\x1b" not in out + err, words
        assert b"x1b" in out + err, words


MEASURED = """
import resource, sys
from dvtool.cli import main
code = main.run(sys.argv[2:])
with open("/proc/self/status") as file:
    [own] = [int(line.split()[1]) for line in file if line.startswith("VmHWM:")]
with open(sys.argv[1], "w") as file:
    file.write(str(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) << 10))
try:
    sys.stdout.flush()
finally:
    import os
    os._exit(code)
"""
"""Notes the most memory that it and its children took; what the kernel tells a parent counts the parent's own."""


def process(root, *words, limit=None, measured=None, **options):
    command = [sys.executable, *(["-c", MEASURED, measured] if measured else ["-m", "dvtool.cli.main"]), *words]
    if limit is not None:
        command = ["bash", "-c", f'ulimit -v {limit >> 10}; exec "$@"', "dv", *command]
    return subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, **options)


def ended(process, measured):
    """Wait for a process; (exit code, the most memory that it or a child of it took, in bytes)."""
    code = process.wait(timeout=LIMIT)
    with open(measured, encoding="ascii") as file:
        return code, int(file.read())


GIANT = [name for name in HOSTILE if "million" in name or "long name" in name or "than any" in name] + [
    "a frame that inflates to more than it says",
    "a frame that does not say how much it holds",
    "two frames in the place of one",
    "a directory's node that is a bomb",
    "a directory of lists in lists",
]


@pytest.mark.parametrize("name", GIANT)
def test_what_is_giant_takes_little_memory(place, tmp_path, name):
    found = place(name)
    commands = ("checkout", "fsck") if name not in ENDLESS else ("fsck", "gc", "archive")
    for command in commands:
        with open(f"{tmp_path}/told", "wb") as told:
            place_of_peak = f"{tmp_path}/peak"
            running = process(found.root, *COMMANDS[command], measured=place_of_peak, stdout=told, stderr=told)
            code, peak = ended(running, place_of_peak)
        with open(f"{tmp_path}/told", "rb") as file:
            text = file.read().decode("utf-8", "backslashreplace")
        assert code in allowed(HOSTILE[name].verdict, command), (name, command, text)
        assert "Traceback" not in text
        assert peak < PEAK, (name, command, f"{peak:,} bytes")
        found.check((name, command))


NAMED = {f"{why} as a {kind}" for why in FORBIDDEN for kind in ("file", "directory", "link")}


@pytest.mark.deep
@pytest.mark.parametrize("name", sorted(HOSTILE.keys() - NAMED))
def test_a_process_with_little_memory_does_no_harm_either(place, name):
    found = place(name)
    for command in sorted(SOME - ENDLESS.get(name, set())):
        done = process(found.root, *COMMANDS[command], limit=1 << 30, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = done.communicate(timeout=2 * LIMIT)
        judge(command, done.returncode, out, err, name)
        found.check((name, command))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("directories that double", ["ls", "-r", "evil"]),
        ("directories that double", ["archive", "evil", "-"]),
        ("empty directories that double", ["ls", "-r", "evil"]),
        ("empty directories that double", ["archive", "evil", "-"]),
        ("a file that is larger than any disk", ["cat", "evil:data/long"]),
    ],
)
def test_what_has_no_end_comes_piece_by_piece(place, tmp_path, name, words):
    found = place(name)
    running = process(found.root, *words, measured=f"{tmp_path}/peak", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stderr is not None
    taken = 0
    while taken < 20 << 20:
        piece = running.stdout.read(1 << 20)
        assert piece, running.stderr.read()
        taken += len(piece)
    running.stdout.close()
    code, peak = ended(running, f"{tmp_path}/peak")
    assert (code, running.stderr.read()) == (0, b"")
    running.stderr.close()
    assert peak < PEAK // 2, f"{peak:,} bytes"
    found.check((name, words))


def test_a_process_that_gets_no_memory_says_so(place):
    found = place(None)
    with open(f"{found.root}/data/large", "wb") as file:
        file.truncate(1 << 30)
    script = "import sys; from dvtool.cli import main, opening\ndef none(_settings):\n    raise MemoryError\n"
    script += "opening.open_repo = none\nsys.exit(main.run(['ls']))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=found.root, capture_output=True, check=False, timeout=LIMIT
    )
    assert done.returncode == 30
    assert b"not enough memory" in done.stderr


@pytest.mark.deep
def test_a_million_levels_are_refused(place, dv):
    found = place(None)
    forger = Forger(f"{found.kept}/home/repo")
    forger.plant([("d", forger.nested(1_000_000))])
    found.reset()
    # A collection is not among them: it has to read each of them, and takes a minute for that.
    for command in ("ls", "checkout", "archive", "tar", "diff", "du", "fsck", "restore", "worktree", "merge"):
        code, _out, err = dv(found.root, COMMANDS[command])
        assert code in ({0} if command == "du" else DAMAGE), (command, code, err)
        assert len(err) < 4000
        found.check(command)


def test_a_tar_stream_keeps_no_list_of_what_it_wrote(place, dv, monkeypatch):
    found = place("directories that double")
    forger = Forger(f"{found.kept}/home/repo")
    forger.publish(forger.snapshot(forger.below([("d", forger.doubled(6))])), "few")
    found.reset()
    lengths = []

    class Watched(tarfile.TarFile):
        def addfile(self, tarinfo, fileobj=None):
            super().addfile(tarinfo, fileobj)
            lengths.append(len(self.getmembers()))

    monkeypatch.setattr(tarfile, "open", Watched.open)
    stream = io.BytesIO()
    Repo.open(found.root).archive("few", stream)
    assert len(lengths) > 64
    assert max(lengths) == 1
    stream.seek(0)
    with tarfile.TarFile.open(fileobj=stream) as archive:
        assert len(archive.getnames()) == len(lengths)


@pytest.mark.parametrize("holds", [0, 8, BLOCK, BLOCK + 1, 5 * BLOCK])
def test_a_forged_frame_is_what_it_says(holds):
    from dvtool.store.compression import decompress

    assert decompress(zstd_frame(holds, claims=holds), holds) == bytes(holds)


def test_the_harmless_place_is_in_order(place, dv):
    found = place(None)
    for words in (["fsck"], ["status"], ["ls", "-r"], ["checkout", "main"]):
        assert dv(found.root, words)[0] == 0


def test_every_rule_about_names_has_its_hostile_name():
    reserved = {*paths.RESERVED, *paths._SHORT}
    plain = {name.translate(paths._IGNORABLE).lower().rstrip(" .").partition(":")[0] for name in FORBIDDEN.values()}
    assert {name for name in reserved if name not in plain} <= {"dv.lock", "dv~1.loc"} - plain
    assert not any(paths.is_reserved(name) for names in ODD.values() for name in names)
