"""``dv doctor``: whether this machine, this repository and this user are fit to work."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import stat
import sys
import time
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.errors import DvError
from dvtool.formats import project
from dvtool.git import beside
from dvtool.storage.disk import read_regular
from dvtool.store import chunker

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.workspace import Workspace

OK: Final = "ok"
WARNING: Final = "warning"
FAILED: Final = "failed"

LIBRARIES: Final = (
    "blake3",
    "xxhash",
    "msgspec",
    "cryptography",
    "zstandard",
    "pyfastcdc",
    "click",
    "pathspec",
    "pygit2",
)
LEAST_FREE: Final = 1 << 30
"""Bytes; below a gibibyte the next commit may fill the disk."""
NAMED: Final = 10
"""Files that a check names; the sentence stays readable."""
PAST: Final = 1_700_000_000
"""Seconds; this version was written long after November 2023, so an earlier clock is wrong."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check: what was looked at, ``ok``, ``warning`` or ``failed``, what was found, what to do."""

    name: str
    result: str
    found: str
    next: str = ""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All checks, and whether none failed."""

    healthy: bool
    checks: tuple[Check, ...]


def doctor(workspace: Workspace | None, failure: DvError | None = None) -> Diagnosis:
    """Look at everything that commands depend on.

    Args:
        workspace: the repository, None when there is none here or it does not open.
        failure: why it does not open, when that was not simply that there is none.
    """
    checks = [_versions(), _chunker(), _clock()]
    if failure is not None:
        checks.append(Check(name="repository", result=FAILED, found=failure.finding(), next=failure.next))
    elif workspace is None:
        checks.append(Check(name="repository", result=WARNING, found="there is none here", next="run 'dv init'"))
    else:
        each: list[tuple[str, Callable[[Workspace], Check]]] = [
            ("file system", _file_system),
            ("space", _space),
            ("keys", _keys),
            ("identity", _identity),
            ("log", _log),
            ("leftovers", _leftovers),
            ("lock file", _lock),
            ("dv.toml", _project),
            (".dvignore", _ignore),
            ("git", _git),
        ]
        for name, check in each:
            try:
                checks.append(check(workspace))
            except DvError as error:
                checks.append(Check(name=name, result=FAILED, found=error.finding(), next=error.next))
            except OSError as error:
                checks.append(Check(name=name, result=FAILED, found=str(error)))
    return Diagnosis(healthy=all(check.result != FAILED for check in checks), checks=tuple(checks))


def _versions() -> Check:
    missing = []
    found = []
    for library in LIBRARIES:
        try:
            found.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(library)
    text = f"Python {platform.python_version()} on {sys.platform}, " + ", ".join(found)
    if missing:
        return Check(name="versions", result=FAILED, found=f"missing: {', '.join(missing)}", next="reinstall dvtool")
    return Check(name="versions", result=OK, found=text)


def _chunker() -> Check:
    if chunker.is_fast():
        return Check(name="chunker", result=OK, found="compiled")
    return Check(
        name="chunker",
        result=FAILED,
        found="pyfastcdc runs in pure Python, about 500 times slower",
        next="pip install --force-reinstall --only-binary :all: pyfastcdc",
    )


def _clock() -> Check:
    now = time.time()
    if now < PAST:
        return Check(name="clock", result=FAILED, found=f"it says {time.ctime(now)}", next="set the machine's clock")
    return Check(name="clock", result=OK, found=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def _file_system(workspace: Workspace) -> Check:
    backend = workspace.session.store.backend
    name = f"acks/doctor-{os.urandom(8).hex()}"
    advice = "keep .dv/store on a local file system, or on one that supports hard links"
    backend.create(name, b"first")
    try:
        try:
            backend.create(name, b"second")
        except DvError:
            kept = backend.read(name) == b"first"
        else:
            kept = False
        if not kept:
            return Check(name="file system", result=FAILED, found="exclusive creation does not exclude", next=advice)
    finally:
        backend.delete(name)
    drift = -(workspace.session.store.drift() or 0) / 1e6
    if abs(drift) > 2:  # noqa: PLR2004 - seconds; the coarsest file system keeps times to two
        found = f"its clock differs from this machine's by {drift:.0f} s"
        return Check(name="file system", result=WARNING, found=found, next="synchronise the clocks")
    return Check(name="file system", result=OK, found="exclusive creation, links and times work")


def _space(workspace: Workspace) -> Check:
    free = shutil.disk_usage(workspace.session.layout.store()).free
    text = f"{free / (1 << 30):.1f} GiB free"
    if free < LEAST_FREE:
        return Check(name="space", result=WARNING, found=text, next="free some space before you add data")
    return Check(name="space", result=OK, found=text)


def _keys(workspace: Workspace) -> Check:
    path = f"{workspace.session.layout.store()}/keys/repo"
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o077:
        return Check(
            name="keys",
            result=FAILED,
            found=f"keys/repo is readable by others (mode {mode:04o})",
            next=f"chmod 600 {path}",
        )
    if workspace.session.store.secrets.wrap.previous is not None:
        return Check(
            name="keys",
            result=WARNING,
            found="a rotation of the secret was stopped, or is under way",
            next="dv key rotate",
        )
    return Check(name="keys", result=OK, found="the repository key opens, and only its owner reads it")


def _identity(workspace: Workspace) -> Check:
    return Check(name="identity", result=OK, found=workspace.author(None))


def _log(workspace: Workspace) -> Check:
    state = workspace.session.store.refresh()
    if state.lock:
        return Check(
            name="log",
            result=WARNING,
            found="an erasure is under way",
            next="wait for it; if it was stopped, run 'dv erasure resume'",
        )
    ahead = state.time / 1e6 - time.time()
    if ahead > 60:  # noqa: PLR2004 - seconds; less is ordinary drift between machines
        found = f"its newest entry is {ahead:.0f} s in the future"
        return Check(name="log", result=WARNING, found=found, next="check this machine's clock")
    return Check(name="log", result=OK, found=f"{state.number} entries, newest checkpoint at {state.checkpoint}")


def _leftovers(workspace: Workspace) -> Check:
    directory = workspace.session.store.backend.workspace()
    names = [name for name in os.listdir(directory) if not os.path.isdir(f"/proc/{name.partition('-')[0]}")]
    if names:
        return Check(
            name="leftovers",
            result=WARNING,
            found=f"{len(names)} unfinished files of commands that were killed, in {directory}",
            next="they hold nothing that was recorded; the next command that changes the worktree removes them",
        )
    return Check(name="leftovers", result=OK, found="none")


def _lock(workspace: Workspace) -> Check:
    if workspace.lock_is_behind():
        return Check(
            name="lock file",
            result=WARNING,
            found="dv.lock is behind HEAD, since a command was stopped before it could write it",
            next="nothing: the next command that changes something writes it",
        )
    if workspace.lock_matches():
        return Check(name="lock file", result=OK, found="dv.lock and HEAD agree, or there is none")
    return Check(
        name="lock file",
        result=WARNING,
        found="dv.lock names another snapshot than HEAD",
        next="dv checkout --lock",
    )


def _project(workspace: Workspace) -> Check:
    try:
        found = project.decode(read_regular(f"{workspace.session.root}/dv.toml", project.SIZE_LIMIT + 1))
    except FileNotFoundError:
        return Check(name="dv.toml", result=OK, found="there is none, which is fine")
    except OSError as error:
        found_there = f"it cannot be read: {error.strerror}"
        return Check(name="dv.toml", result=FAILED, found=found_there, next="move it away, or make it a file")
    counts = [
        (len(found.remotes), "remotes"),
        (len(found.splits), "splits"),
        (len(found.subjects), "subject rules"),
        (len(found.table), "table keys"),
    ]
    said = ", ".join(f"{word}: {count}" for count, word in counts if count)
    return Check(name="dv.toml", result=OK, found=said or "it sets nothing but defaults")


def _ignore(workspace: Workspace) -> Check:
    rules = workspace.session.ignore
    found = "there is none, or it leaves nothing out" if rules.is_empty else "its patterns can be used"
    return Check(name=".dvignore", result=OK, found=found)


def _git(workspace: Workspace) -> Check:
    session = workspace.session
    top = beside.find(session.root)
    if top is not None:
        beside.require_file(session.root)
    index = session.index()
    held = beside.all_tracked(session.root, index.directories)
    both = sorted(path for path in held if index.row(path) is not None)
    if both:
        named = ", ".join(both[:NAMED]) + (f" and {len(both) - NAMED:,} more" if len(both) > NAMED else "")
        return Check(
            name="git",
            result=FAILED,
            found=f"in Git and in dv: {named}",
            next="leave each to one of them: 'git rm --cached PATH' keeps it in dv, 'dv rm --cached PATH' in Git",
        )
    if top is None:
        return Check(name="git", result=OK, found="not in a Git repository, which is fine")
    return Check(name="git", result=OK, found=f"beside {top}; no file is in both")
