"""Which code is in a worktree: Git's commit and branch, and what was not committed.

Git itself is asked, and told to run no program that the repository's configuration names.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from typing import Final

import msgspec

from dvtool.git.beside import find

PATCH_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a patch that are kept; a larger one is no change of code."""
FILE_LIMIT: Final = 512 * 1024
UNTRACKED_LIMIT: Final = 4 * 1024 * 1024
"""Bytes that files which Git does not track may have, each and together, to be kept."""
NAMED: Final = 1000
"""Files that Git does not track which are named, kept or not."""
SOURCES: Final = frozenset(
    {
        "bash", "c", "cc", "cfg", "cpp", "cu", "cuh", "f90", "go", "h", "hpp", "ini", "java", "jl", "js", "kt", "lua",
        "m", "mk", "nf", "pl", "py", "pyi", "pyx", "r", "rb", "rs", "scala", "sh", "smk", "sql", "swift", "toml", "ts",
        "yaml", "yml", "zsh",
    }
)  # fmt: skip
"""Endings of files that are source code or settings; what else Git does not track may be data, and is only named."""
NAMES: Final = frozenset({"makefile", "dockerfile", "snakefile", "justfile"})
OURS: Final = frozenset({"dv.lock"})
"""Files beside Git that say nothing which a run does not say itself."""
SETTINGS: Final = frozenset({"cfg", "ini", "toml", "yaml", "yml", "sh"})
SECRET: Final = re.compile(
    r"secret|credential|passw|token|private|(?:^|[^a-z])(?:auth|keys?)(?:[^a-z]|$)", re.IGNORECASE
)
"""Names of settings that hold what nobody should keep."""
_SAFE: Final = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")
_SECONDS: Final = 20


class CodeState(msgspec.Struct, frozen=True, kw_only=True):
    """The code of a worktree: commit and branch (empty: none), the remote's URL, and what was not committed.

    ``patch`` is what differs from the commit, None when it is too large or could not be had; ``untracked`` has the
    content of new source files by path from the top, None for those that are only named; ``why`` says what went wrong.
    """

    top: str
    commit: str
    branch: str
    remote: str
    patch: bytes | None
    untracked: dict[str, bytes | None]
    why: str


def look(directory: str) -> CodeState | None:
    """Return the state of the code in the Git worktree around a directory; None where there is none.

    Nothing is raised: a repository that cannot be read has no state, and the reason is told.
    """
    top = find(directory)
    if top is None:
        return None
    try:
        return _look(top)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        why = f"Git could not be asked about the code: {_reason(error)}"
        return CodeState(top=top, commit="", branch="", remote="", patch=None, untracked={}, why=why)


def _reason(error: Exception) -> str:
    told = getattr(error, "stderr", b"") or b""
    return told.decode("utf-8", "replace").strip().splitlines()[0] if told.strip() else str(error)


def _git(top: str, *arguments: str, limit: int | None = None) -> bytes:
    """Return what Git prints.

    Raises:
        OSError, subprocess.SubprocessError: when it cannot be run, or fails.
        ValueError: when it prints more than ``limit`` bytes.
    """
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(
        ["git", *_SAFE, *arguments], cwd=top, check=True, capture_output=True, timeout=_SECONDS, env=environment
    )
    if limit is not None and len(done.stdout) > limit:
        message = f"it is larger than {limit:,} bytes"
        raise ValueError(message)
    return done.stdout


def _look(top: str) -> CodeState:
    said = _git(top, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all").split(b"\0")
    head: dict[str, str] = {}
    changed = False
    new: list[str] = []
    for line in said:
        text = os.fsdecode(line)
        if text.startswith("# branch."):
            key, _, value = text[len("# branch.") :].partition(" ")
            head[key] = value
        elif text.startswith("? "):
            new.append(text[2:])
        elif text[:2] in {"1 ", "2 ", "u "}:
            changed = True
    commit = head.get("oid", "")
    commit = "" if commit == "(initial)" else commit
    branch = head.get("head", "")
    patch: bytes | None = b""
    why = ""
    if changed:
        base = commit or _git(top, "hash-object", "-t", "tree", "/dev/null").decode().strip()
        try:
            patch = _git(
                top, "diff", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", base, "--", limit=PATCH_LIMIT
            )
        except ValueError as error:
            patch, why = None, f"what was not committed is not kept: {error}"
    return CodeState(
        top=top,
        commit=commit,
        branch="" if branch == "(detached)" else branch,
        remote=_remote(top),
        patch=patch,
        untracked=_untracked(top, new),
        why=why,
    )


def is_program(path: str) -> bool:
    """Return whether a file is a program or settings of one, by its name or its first bytes, and not data."""
    if not os.path.isfile(path):
        return False
    if is_source(path):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def is_source(path: str) -> bool:
    """Return whether a file is source code or settings, by its name."""
    base = os.path.basename(path).lower()
    return base.rpartition(".")[2] in SOURCES or base in NAMES


def _remote(top: str) -> str:
    try:
        return os.fsdecode(_git(top, "config", "--get", "remote.origin.url")).strip()
    except subprocess.SubprocessError:
        return ""


def _untracked(top: str, names: list[str]) -> dict[str, bytes | None]:
    """Return what new files hold, as far as they are source code and there is room."""
    found: dict[str, bytes | None] = {}
    room = UNTRACKED_LIMIT
    for name in sorted(names)[:NAMED]:
        if name in OURS:
            continue
        found[name] = None
        if not is_source(name):
            continue
        base = os.path.basename(name).lower()
        if base.rpartition(".")[2] in SETTINGS and SECRET.search(base):
            continue
        path = f"{top}/{name}"
        try:
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size <= min(FILE_LIMIT, room):
                with open(path, "rb") as file:
                    found[name] = file.read(FILE_LIMIT)
                room -= status.st_size
        except OSError:
            continue
    return found
