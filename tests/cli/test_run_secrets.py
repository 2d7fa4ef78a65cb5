"""Nothing that looks like a secret is in a run, or in the journal that it is made of."""

import os
import subprocess
import sys

import pytest

from dvtool import ids
from dvtool.formats import run
from dvtool.testing.audit import audit
from tests.cli.running import store_of

LETTERS = "q7Zp2Xv9Lw4Rk8Tn3Mb6Hd1Jc5Gf0Ys"
PLANTED = {
    "github": "ghp_" + LETTERS,
    "aws": "AKIA" + "Q7ZP2XV9LW4RK8TN",
    "openai": "sk-proj-" + LETTERS[::-1],
    "password": "correct-horse-7-battery",
    "variable": "Wd9!kq#Zx71/pl",
    "url": "p4ssw0rd-in-a-url",
    "key": "MIIEpQIBAAKCAQEA7sq8Zp2Xv9",
}
PEM = f"-----BEGIN PRIVATE KEY-----\n{PLANTED['key']}\n-----END PRIVATE KEY-----\n"
PROGRAM = """
import os, shutil, sys, dvtool
exec(open("plants.txt").read())
print(everything); print(everything.replace("\\n", " "), file=sys.stderr)
sys.stdout.write("x" * 70_000 + everything)
with dvtool.run(sys.argv[1]) as found:
    found.params(password=planted["password"], nested={"token": [planted["variable"]]}, text=everything)
    found.params({everything: 1})
    found.seeds(token=planted["password"])
    found.note(everything)
    found.say_named("", planted["github"], "")
    sys.stdout.flush()
    shutil.copytree(os.environ["DV_RUN"], "../journal")
    if len(sys.argv) > 4: raise ValueError(everything)
"""
EVERYTHING = f"""
{PLANTED["github"]} password={PLANTED["password"]} {PLANTED["aws"]}
OPENAI_API_KEY: {PLANTED["openai"]} got {PLANTED["variable"]}.
https://me:{PLANTED["url"]}@example.org/x
{PEM}"""


def planted_in(content):
    return sorted(name for name, secret in PLANTED.items() if secret.encode() in content)


def everything_of(dv):
    store = store_of(dv)
    found = {}
    for name, value in store.refresh().ref_names("runs/"):
        found[name] = store.read_object(ids.RUN, value)
        found |= {f"{name}/{path}": content for path, content in audit(store).snapshots[value].items()}
    return found


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_that_was_planted_is_recorded(beside_git, tmp_path, own, fails):
    dv = beside_git
    dv.git("remote", "add", "origin", f"https://me:{PLANTED['url']}@example.org/x.git")
    dv.write("settings.py", "A = 1\n")
    dv.git("add", "-A")
    dv.git("commit", "-q", "-m", "settings")
    dv.write("settings.py", f"A = 1\nPASSWORD = '{PLANTED['password']}'\nB = '''{EVERYTHING}'''\n")
    dv.write("new.sh", f"export API_KEY={PLANTED['openai']}\n{EVERYTHING}")
    dv.write("my-credentials.yaml", f"login: |\n    {PLANTED['password']}\n")
    dv.write("plants.txt", f"planted = {PLANTED!r}\neverything = {EVERYTHING!r}\n")
    dv.write("program.py", PROGRAM)
    words = [sys.executable, "program.py", "name", "--password", PLANTED["password"], *([EVERYTHING] if fails else [])]
    recorded = [sys.executable, "-m", "dvtool.cli.main", "run"]
    before = [] if own else [*recorded, "-p", f"db.password={PLANTED['password']}", "-p", f"x={EVERYTHING}", "--"]
    variables = {**os.environ, "SERVICE_TOKEN": PLANTED["variable"], "XLA_FLAGS": PLANTED["variable"]}
    found = subprocess.run([*before, *words], cwd=dv.root, env=variables, capture_output=True, check=False)
    assert found.returncode == (1 if fails else 0), found.stderr.decode()
    stored = everything_of(dv)
    assert {name: planted_in(content) for name, content in stored.items() if planted_in(content)} == {}
    (object_,) = (run.decode(content) for name, content in stored.items() if name.count("/") == 1)
    assert object_.status == ("failed" if fails else "done")
    assert any(path.endswith("record/patch.diff") and b"A = 1" in content for path, content in stored.items())
    assert any(path.endswith("record/untracked/new.sh") and b"export" in content for path, content in stored.items())
    assert not any("my-credentials" in path for path in stored)
    journal = [place.read_bytes() for place in (tmp_path / "journal").rglob("*") if place.is_file()]
    assert journal
    assert [planted_in(content) for content in journal if planted_in(content)] == []
