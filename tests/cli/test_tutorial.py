"""Every command in the README, the tutorial and the how-to pages runs, and prints what the page says.

In a block marked ``console``, lines that begin with ``$`` are commands and the lines below each are its output.
Ids, times and durations differ each time and count as equal; a line of ``...`` stands for any lines; the test's own
directory is called ``/data``. A command may fail only where the page shows that it does. Blocks marked ``python``
are run where the page's console blocks have led.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "docs/tutorial.md",
    *sorted(path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "docs" / "howto").glob("*.md")),
]

BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIABLE = [
    (re.compile(r"\b[0-9a-f]{32,}\b"), "<long id>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b\d{8}-\d{6}-[0-9a-z]{10}\b"), "<run>"),
    (re.compile(r"\bE-[0-9a-f]{8}\b"), "<erasure>"),
    (re.compile(r"\b\d+\.\d s\b"), "<seconds>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
]
MARK = "-- this is where the output of one command ends --"


@dataclass(slots=True, kw_only=True)
class Step:
    """One command of a page, and the output that the page shows."""

    command: str
    shown: list[str] = field(default_factory=list)
    is_python: bool = False


def blocks(page):
    """The blocks of a page, as (language, lines)."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    return [(match[1], match[2].splitlines()) for match in BLOCK.finditer(text)]


def steps(page):
    """The commands of a page with the output it shows; a Python block has none."""
    found: list[Step] = []
    for language, lines in blocks(page):
        if language == "python":
            found.append(Step(command="\n".join(["python - <<'END'", *lines, "END"]), is_python=True))
            continue
        for line in lines:
            if line.startswith("$ "):
                found.append(Step(command=line[2:]))
            elif line.startswith("> ") and not found[-1].shown:
                found[-1].command += "\n" + line[2:]
            else:
                found[-1].shown.append(line)
    return found


def run(commands, directory, home):
    """Run commands one after the other in one shell; return (output lines, exit code) of each."""
    programs = home / "bin"
    programs.mkdir()
    for name, call in (("dv", "-m dvtool.cli.main"), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    script = "".join(f"{command}\nended=$?; echo; echo '{MARK}'$ended\n" for command in commands)
    names = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in WHO.items()}
    settings = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "init.defaultBranch",
        "GIT_CONFIG_VALUE_0": "main",
    }
    path = f"{programs}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-s"],
        input=script.encode(),
        cwd=directory,
        env={**os.environ, **names, **settings, "PATH": path},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    outputs = done.stdout.decode().replace(str(directory), "/data").split(MARK)
    results = []
    for at in range(len(commands)):
        code = int(outputs[at + 1].split("\n", 1)[0])
        text = outputs[at] if not at else outputs[at].partition("\n")[2]
        results.append((text.removesuffix("\n").splitlines(), code))
    return results


WHO = {"NAME": "Ada Lovelace", "EMAIL": "ada@example.org"}


def blanked(lines):
    """Lines with what differs from run to run taken out."""
    text = "\n".join(line.rstrip() for line in lines).strip("\n")
    for pattern, word in VARIABLE:
        text = pattern.sub(word, text)
    return text


def fits(shown, printed):
    """Whether a page shows what was printed."""
    pattern = ".*".join(re.escape(part) for part in re.split(r"^\.\.\.$", blanked(shown), flags=re.MULTILINE))
    return re.fullmatch(pattern, blanked(printed), re.DOTALL) is not None


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_the_page_prints_what_the_page_says(page, tmp_path, hermetic):
    wanted = steps(page)
    assert wanted, "a page without commands"
    (tmp_path / "here").mkdir()
    results = run([step.command for step in wanted], tmp_path / "here", hermetic)
    for step, (printed, code) in zip(wanted, results, strict=True):
        text = "\n".join(printed)
        fails = any(line.startswith("dv: ") for line in step.shown)
        assert (code != 0) == fails, f"{page}: $ {step.command}\nended with {code}\n{text}"
        assert step.is_python or fits(step.shown, printed), f"{page} should say\n$ {step.command}\n{text}"


def test_the_tutorial_is_in_the_table_of_contents():
    assert "tutorial" in (CHECKOUT / "docs" / "index.md").read_text(encoding="utf-8").splitlines()


def test_a_page_that_shows_something_else_is_noticed():
    assert fits(["made 0123456789ab at 2024-01-01T00:00:00Z"], ["made ba9876543210 at 2025-12-31T23:59:59.5Z"])
    assert fits(["a", "...", "z"], ["a", "b", "c", "z"])
    assert not fits(["a", "...", "z"], ["b", "z"])
    assert not fits(["2 files"], ["3 files"])
    assert not fits([], ["unexpected"])
