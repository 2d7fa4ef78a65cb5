"""What dv asks of Git: which files it tracks, who the user is, what ``dv.lock`` said, and the managed ignore block."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from dvtool import paths
from dvtool.errors import ConflictError, FormatError, NotFoundError
from dvtool.storage.disk import as_ours, read_regular, temporary_name, word_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from dvtool.storage.disk import Disk

BEGIN: Final = "# >>> managed by dv: data that Git must not take >>>"
END: Final = "# <<< managed by dv <<<"
OWN: Final = frozenset({".gitignore", ".gitattributes"})
"""Names in the worktree's root that are Git's beside Git, tracked yet or not: they say what Git is to do there."""


def is_repository(directory: str) -> bool:
    """Return whether there is a Git repository in a directory, by Git's own rule: an empty ``.git`` is none."""
    place = f"{directory}/.git"
    return os.path.lexists(f"{place}/HEAD") or (os.path.lexists(place) and not os.path.isdir(place))


def find(root: str) -> str | None:
    """Return the top of the Git worktree that ``root`` lies in, or None; loads nothing."""
    current = root
    while not is_repository(current):
        parent = os.path.dirname(current)
        if parent == current:
            return None
        current = parent
    return current


def nested(root: str, directories: Iterable[str]) -> list[str]:
    """Return which of ``directories``, and of those above them, hold a Git repository of their own below ``root``."""
    looked_at = {""}
    found = []
    for path in directories:
        current = path
        while current not in looked_at:
            looked_at.add(current)
            if is_repository(f"{root}/{current}"):
                found.append(current)
            current = paths.split(current)[0]
    return sorted(found)


def tracked(root: str, files: Collection[str]) -> list[str]:
    """Return those of ``files`` (paths below ``root``) that Git tracks, sorted.

    Raises:
        FormatError: when Git's repository cannot be read.
    """
    known = set(all_tracked(root, {path.rpartition("/")[0] for path in files}))
    return sorted(known.intersection(files)) if known else []


def all_tracked(root: str, directories: Iterable[str]) -> Iterator[str]:
    """Yield every path below ``root`` that Git tracks: in the repository around, and in those at ``directories``.

    Raises:
        FormatError: when Git's repository cannot be read.
    """
    top = find(root)
    if top is not None:
        prefix = os.path.relpath(root, top)
        prefix = "" if prefix == "." else prefix + "/"
        for path in _listed(top):
            if path.startswith(prefix):
                yield path[len(prefix) :]
    for directory in nested(root, directories):
        for path in _listed(f"{root}/{directory}"):
            yield f"{directory}/{path}"


def _listed(top: str) -> list[str]:
    """Return the paths in the index of a Git repository.

    Not every repository is one for the library: it knows neither SHA-256 nor an index in parts.  Git is asked then.
    """
    import pygit2

    try:
        return [entry.path for entry in pygit2.Repository(top).index]
    except (pygit2.GitError, OSError) as error:
        return os.fsdecode(_ask(top, str(error), "ls-files", "-z")).split("\0")[:-1]


def _ask(top: str, reason: str, *words: str) -> bytes:
    """Return what the program ``git`` prints.

    Raises:
        FormatError: when it fails, or is not installed; ``reason`` is why it was asked.
    """
    import subprocess

    elsewhere = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"}
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    command = ["git", "-C", top, "-c", "core.fsmonitor=false", *words]
    try:
        done = subprocess.run(command, check=False, capture_output=True, env=environment, stdin=subprocess.DEVNULL)
    except OSError:
        raise _unreadable(top, f"{reason}; and there is no program 'git' to ask") from None
    if done.returncode:
        raise _unreadable(top, done.stderr.decode("utf-8", "replace").strip() or reason)
    return done.stdout


def _unreadable(top: str, why: str) -> FormatError:
    return FormatError(
        "Git's repository cannot be read, so which files are Git's is not known",
        where=f"{top}/.git",
        why=" ".join(why.split()),
        next="run 'git status' there, and mend what it names; commands that need no Git work meanwhile",
    )


def identity(root: str) -> str | None:
    """Return ``Name <email>`` of Git's configuration, or None when it has none."""
    import pygit2

    top = find(root)
    try:
        config = pygit2.Repository(top).config if top is not None else pygit2.Config.get_global_config()
    except (pygit2.GitError, OSError):
        config = None
    try:
        config = config or pygit2.Config.get_global_config()
        return f"{config['user.name']} <{config['user.email']}>"
    except (KeyError, OSError, pygit2.GitError):
        return None


def lock_at(root: str, revision: str) -> bytes:
    """Return the bytes of ``dv.lock`` at a Git revision.

    Raises:
        NotFoundError: when there is no Git repository, no such revision, or no lock in it.
        FormatError: when Git's repository cannot be read.
    """
    import pygit2

    top = find(root)
    if top is None:
        raise NotFoundError("there is no Git repository here", where=root, next="name a dv revision instead")
    inside = paths.join("" if root == top else os.path.relpath(root, top), "dv.lock")
    try:
        repository = pygit2.Repository(top)
    except (pygit2.GitError, OSError) as error:
        _ask(top, str(error), "rev-parse", "--git-dir")
        try:
            found = _ask(top, "", "rev-parse", "--verify", "--end-of-options", revision + "^{commit}")
            return _ask(top, "", "cat-file", "blob", f"{found.decode().strip()}:{inside}")
        except FormatError as refused:
            raise _no_lock(revision, refused.why) from None
    try:
        tree = repository.revparse_single(revision).peel(pygit2.Commit).tree
        return tree[inside].peel(pygit2.Blob).data
    except (KeyError, ValueError, TypeError) as error:
        raise _no_lock(revision, str(error)) from None
    except (pygit2.GitError, OSError) as error:
        raise _unreadable(top, str(error)) from None


def _no_lock(revision: str, why: str) -> NotFoundError:
    return NotFoundError(
        f"Git's {revision!r} names no data",
        why=f"there is no such revision, or it has no dv.lock ({why})",
        next="run 'git log -- dv.lock' to see which commits have one",
    )


def require_file(root: str) -> None:
    """Check that the file with the managed block is a file or missing; Git itself follows no link there.

    Raises:
        ConflictError: when it is something else.
    """
    try:
        mode = os.lstat(f"{root}/.gitignore").st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise ConflictError(
            ".gitignore is no file, so Git cannot be told to leave the data alone; nothing was changed",
            where=".gitignore",
            why=f"it is {word_for(mode)}" + (", which Git does not follow" if stat.S_ISLNK(mode) else ""),
            next="put a file in its place, then run the command again",
        )


def ignore_roots(root: str, roots: Sequence[str], disk: Disk) -> bool:
    """Keep the managed block of ``.gitignore`` in step with the tracked roots; return whether the file changed.

    Lines outside the block stay as they are, byte for byte.

    Raises:
        ConflictError: when it is no file.
        StorageError: when the disk refuses.
    """
    if find(root) is None:
        return False
    require_file(root)
    path = f"{root}/.gitignore"
    try:
        text = read_regular(path)
    except FileNotFoundError:
        text = b""
    except OSError as error:
        raise as_ours(error, path) from None
    lines = ["/.dv/", *(f"/{_escaped(name)}" for name in roots if name)]
    if "" in roots:
        lines += ["/*", *(f"!/{name}" for name in (*sorted(OWN), *sorted(paths.ROOT_FILES)))]
    wanted = with_block(text, [line.encode() for line in lines])
    if wanted == text:
        return False
    temporary = f"{root}/{paths.PARTIAL}{temporary_name()}"
    mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o644
    disk.write(temporary, wanted, mode=mode)
    disk.rename(temporary, path)
    return True


def with_block(text: bytes, lines: Sequence[bytes]) -> bytes:
    """Return ``text`` with the managed block holding ``lines``; every other line stays, byte for byte."""
    newline = b"\r\n" if b"\r\n" in text else b"\n"
    block = [BEGIN.encode(), *lines, END.encode()]
    own = text.splitlines(keepends=True)
    bare = [line.strip() for line in own]
    if END.encode() in bare:
        end = bare.index(END.encode())
        starts = [at for at in range(end) if bare[at] == BEGIN.encode()]
        if starts:
            before, after = b"".join(own[: starts[-1]]), b"".join(own[end + 1 :])
            return before + newline.join(block) + newline + after
    if text and not text.endswith(b"\n"):
        text += newline
    return text + newline.join(block) + newline


def _escaped(path: str) -> str:
    """Return a path as a gitignore pattern that matches it alone."""
    escaped = "".join(f"\\{letter}" if letter in "\\*?[]!# " else letter for letter in path)
    return escaped.replace("\n", "?")
