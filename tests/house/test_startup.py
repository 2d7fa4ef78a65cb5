"""`dv status` starts without the libraries that only other commands need."""

import re
import subprocess
import sys

import pytest

# Each takes between 60 and 510 ms to import, more than all that `dv status` does in a small repository.
HEAVY = {"fsspec", "numpy", "pathspec", "pyarrow", "pygit2", "rich", "s3fs"}

DV = [sys.executable, "-m", "dvtool.cli.main"]
TRACED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)


@pytest.fixture
def repository(tmp_path):
    """One directory under version control, with one snapshot of it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a\n", encoding="utf-8")
    for arguments in (["init"], ["add", "data"], ["commit", "-m", "first"]):
        subprocess.run([*DV, *arguments], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def traced(directory, command):
    """The top-level names in the import trace of a command."""
    done = subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True)
    names = {name.partition(".")[0] for name in TRACED.findall(done.stderr)}
    assert "dvtool" in names, "the trace shows no import of dvtool, so it proves nothing"
    return names


def imported(directory, *arguments):
    """The top-level names that one dv command imports."""
    command = [sys.executable, "-X", "importtime", *DV[1:], *arguments]
    return traced(directory, command)


def test_status_of_a_clean_tree_imports_nothing_heavy(repository):
    assert imported(repository, "status") & HEAVY == set()


def test_status_of_a_changed_tree_imports_nothing_heavy(repository):
    (repository / "data" / "a.txt").write_text("changed\n", encoding="utf-8")
    (repository / "data" / "b.txt").write_text("new\n", encoding="utf-8")
    assert imported(repository, "status", "--json") & HEAVY == set()


def test_a_plain_status_needs_no_parser(repository):
    assert "click" not in imported(repository, "status")
    assert "click" not in imported(repository, "status", "--json")
    assert "inspect" not in imported(repository, "status"), "typing_extensions was loaded, which needs it"
    assert "click" in imported(repository, "--wait", "1", "status"), "the test above would hold for any command"


def test_importing_the_package_imports_nothing_heavy(tmp_path):
    command = [sys.executable, "-X", "importtime", "-c", "import dvtool"]
    assert traced(tmp_path, command) & HEAVY == set()
