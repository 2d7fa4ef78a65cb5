"""What dv asks of Git: which files it tracks, who the user is, what ``dv.lock`` said, and the managed ignore block."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, Final

from dvtool import paths
from dvtool.errors import ConflictError, NotFoundError
from dvtool.storage.disk import as_ours, read_regular, temporary_name, word_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dvtool.storage.disk import Disk

BEGIN: Final = "# >>> managed by dv: data that Git must not take >>>"
END: Final = "# <<< managed by dv <<<"
OWN: Final = frozenset({".gitignore", ".gitattributes"})
"""Names in the worktree's root that are Git's beside Git, tracked yet or not: they say what Git is to do there."""


def find(root: str) -> str | None:
    """Return the top of the Git worktree that ``root`` lies in, or None; loads nothing."""
    current = root
    while True:
        if os.path.lexists(f"{current}/.git"):
            return current
        parent = os.path.dirname(current)
        if parent == current:
            return None
        current = parent


def _open(top: str) -> Any:  # noqa: ANN401 - pygit2's class is named in no module that is loaded without need
    import pygit2

    try:
        return pygit2.Repository(top)
    except pygit2.GitError:
        return None


def tracked(root: str, files: Iterable[str]) -> list[str]:
    """Return those of ``files`` (paths below ``root``) that Git tracks, sorted."""
    known = set(all_tracked(root))
    return sorted(path for path in files if path in known)


def all_tracked(root: str) -> Iterator[str]:
    """Yield every path below ``root`` that stands in Git's index."""
    top = find(root)
    repository = _open(top) if top is not None else None
    if repository is None or top is None:
        return
    prefix = os.path.relpath(root, top)
    prefix = "" if prefix == "." else prefix + "/"
    for entry in repository.index:
        if entry.path.startswith(prefix):
            yield entry.path[len(prefix) :]


def identity(root: str) -> str | None:
    """Return ``Name <email>`` of Git's configuration, or None when it has none."""
    import pygit2

    top = find(root)
    repository = _open(top) if top is not None else None
    try:
        config = repository.config if repository is not None else pygit2.Config.get_global_config()
        return f"{config['user.name']} <{config['user.email']}>"
    except (KeyError, OSError, pygit2.GitError):
        return None


def lock_at(root: str, revision: str) -> bytes:
    """Return the bytes of ``dv.lock`` at a Git revision.

    Raises:
        NotFoundError: when there is no Git repository, no such revision, or no lock in it.
    """
    top = find(root)
    repository = _open(top) if top is not None else None
    if repository is None or top is None:
        raise NotFoundError("there is no Git repository here", where=root, next="name a dv revision instead")
    inside = paths.join("" if root == top else os.path.relpath(root, top), "dv.lock")
    try:
        commit = repository.revparse_single(revision).peel(1)
        data: bytes = (commit.tree / inside).data
    except (KeyError, ValueError, TypeError) as error:
        raise NotFoundError(
            f"Git's {revision!r} names no data",
            why=f"there is no such revision, or it has no dv.lock ({error})",
            next="run 'git log -- dv.lock' to see which commits have one",
        ) from None
    return data


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
