"""A model of a file system that knows what would survive a loss of power.

What POSIX promises, and no more: a file's bytes survive once the file was synced, a name once its directory was.
Between the two anything may be there, so :class:`Survival` names the ways in which a real disk has been seen to
look after the lights went out.
"""

from __future__ import annotations

import enum
import os
import random
import shutil
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the disk.

    ``action`` is ``create``, ``append``, ``sync``, ``sync-directory``, ``link``, ``rename``, ``unlink``,
    ``make-directory``, or ``foreign`` for what happened past the recorded disk.  Paths are relative to the base.
    ``target`` is the second name of a link or rename; of a foreign step it is ``file``, ``link``, ``directory``,
    ``mode`` or ``gone``, with the bytes (or the link's target) in ``data``.
    """

    action: str
    path: str
    target: str = ""
    data: bytes = b""
    mode: int = 0o644


class Survival(enum.Enum):
    """How the disk looks after the steps up to a point."""

    ALL = "all"
    """Everything happened: the process died, the machine did not."""
    DURABLE = "durable"
    """Only what was synced: names without a sync of their directory are as before, bytes without one are gone."""
    NAMES = "names"
    """Names are all there, bytes that were not synced are gone (files are empty, or as last synced)."""
    TORN = "torn"
    """Names are all there; of bytes that were not synced the first half is."""
    MIXED = "mixed"
    """Each unsynced name and each unsynced half of a file by the toss of a seeded coin."""


class _File:
    __slots__ = ("durable", "link", "mode", "volatile")

    def __init__(self, data: bytes, *, mode: int, link: bool = False, durable: bool) -> None:
        self.volatile = data
        self.durable: bytes | None = data if durable else None
        self.mode = mode
        self.link = link


class _Directory:
    __slots__ = ("durable", "volatile")

    def __init__(self) -> None:
        self.volatile: dict[str, _Node] = {}
        self.durable: dict[str, _Node] = {}


_Node = _File | _Directory


class Volume:
    """Directories and files below one base, in memory."""

    def __init__(self) -> None:
        """Start with an empty base that is durable."""
        self._root = _Directory()

    def apply(self, step: Step) -> None:
        """Let one step happen."""
        match step.action:
            case "create":
                parent, name = self._parent(step.path)
                parent.volatile[name] = _File(b"", mode=step.mode, durable=False)
            case "append":
                file = self._file(step.path)
                file.volatile += step.data
            case "sync":
                node = self._node(step.path)
                if isinstance(node, _File):
                    node.durable = node.volatile
                else:
                    node.durable = dict(node.volatile)
            case "sync-directory":
                directory = self._directory(step.path)
                directory.durable = dict(directory.volatile)
            case "link":
                parent, name = self._parent(step.target)
                parent.volatile[name] = self._node(step.path)
            case "rename":
                source, old = self._parent(step.path)
                target, new = self._parent(step.target)
                target.volatile[new] = source.volatile.pop(old)
            case "unlink":
                parent, name = self._parent(step.path)
                parent.volatile.pop(name, None)
            case "make-directory":
                self._make(step.path)
            case "foreign":
                self._foreign(step)
            case other:
                raise ValueError(other)

    def write_to(self, base: str, survival: Survival, seed: int = 0) -> None:
        """Make the directory ``base`` look as this volume would after a crash; what was there is removed."""
        if os.path.lexists(base):
            shutil.rmtree(base)
        os.makedirs(base)
        for path, node, data in self._survivors(survival, seed):
            place = f"{base}/{path}"
            if isinstance(node, _Directory):
                os.mkdir(place)
            elif node.link:
                os.symlink(os.fsdecode(data), place)
            else:
                with open(place, "xb") as file:
                    file.write(data)
                os.chmod(place, node.mode)

    def image(self, survival: Survival, seed: int = 0) -> tuple[tuple[str, bytes | None], ...]:
        """Return (path, bytes; None for a directory) of what would be there, so that equal states are known."""
        return tuple(
            (path, None if isinstance(node, _Directory) else data)
            for path, node, data in self._survivors(survival, seed)
        )

    def _survivors(self, survival: Survival, seed: int) -> Iterator[tuple[str, _Node, bytes]]:
        coin = random.Random(seed)  # noqa: S311 - a schedule of faults, wanted again exactly as it was
        yield from _below(self._root, "", survival, coin)

    def _foreign(self, step: Step) -> None:
        if step.target == "directory":
            self._make(step.path, durable=True)
            return
        if step.target == "mode":
            node = self._node(step.path)
            if isinstance(node, _File):
                node.mode = step.mode
            return
        parent, name = self._parent(step.path)
        parent.volatile.pop(name, None)
        parent.durable.pop(name, None)
        if step.target != "gone":
            made = _File(step.data, mode=step.mode, link=step.target == "link", durable=True)
            parent.volatile[name] = parent.durable[name] = made

    def _make(self, path: str, *, durable: bool = False) -> None:
        current = self._root
        for part in _parts(path):
            below = current.volatile.get(part)
            if below is None:
                below = current.volatile[part] = _Directory()
                if durable:
                    current.durable[part] = below
            if not isinstance(below, _Directory):
                raise NotADirectoryError(path)
            current = below

    def _parent(self, path: str) -> tuple[_Directory, str]:
        parent, _, name = path.rpartition("/")
        return self._directory(parent), name

    def _node(self, path: str) -> _Node:
        current: _Node = self._root
        for part in _parts(path):
            if not isinstance(current, _Directory):
                raise NotADirectoryError(path)
            current = current.volatile[part]
        return current

    def _directory(self, path: str) -> _Directory:
        node = self._node(path)
        if not isinstance(node, _Directory):
            raise NotADirectoryError(path)
        return node

    def _file(self, path: str) -> _File:
        node = self._node(path)
        if not isinstance(node, _File):
            raise IsADirectoryError(path)
        return node


def _parts(path: str) -> list[str]:
    return path.split("/") if path else []


def _below(
    directory: _Directory, prefix: str, survival: Survival, coin: random.Random
) -> Iterator[tuple[str, _Node, bytes]]:
    names = sorted(directory.volatile.keys() | directory.durable.keys())
    for name in names:
        now, then = directory.volatile.get(name), directory.durable.get(name)
        if survival is Survival.DURABLE or (survival is Survival.MIXED and now is not then and coin.random() < 0.5):  # noqa: PLR2004
            node = then
        else:
            node = now
        if node is None:
            continue
        path = f"{prefix}{name}"
        if isinstance(node, _Directory):
            yield path, node, b""
            yield from _below(node, path + "/", survival, coin)
        else:
            yield path, node, _bytes_of(node, survival, coin)


def _bytes_of(node: _File, survival: Survival, coin: random.Random) -> bytes:
    if survival is Survival.ALL or node.durable == node.volatile:
        return node.volatile
    kept = node.durable or b""
    if survival is Survival.TORN or (survival is Survival.MIXED and coin.random() < 0.5):  # noqa: PLR2004
        return node.volatile[: max(len(kept), len(node.volatile) // 2)]
    return kept


Signature = tuple[int, int, int, int, int]
"""Mode, size, mtime, ctime (nanoseconds), inode."""


def signatures(base: str) -> dict[str, Signature]:
    """Return, by relative path, what tells one state of a file below ``base`` from another."""
    found: dict[str, Signature] = {}
    pending = [""]
    while pending:
        directory = pending.pop()
        with os.scandir(f"{base}/{directory}" if directory else base) as entries:
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                    found[path] = (status.st_mode, 0, 0, 0, status.st_ino)
                else:
                    found[path] = (
                        status.st_mode,
                        status.st_size,
                        status.st_mtime_ns,
                        status.st_ctime_ns,
                        status.st_ino,
                    )
    return found


def differences(before: dict[str, Signature], after: dict[str, Signature], base: str) -> list[Step]:
    """Return the foreign steps that lead from one state below ``base`` to the one that is there now."""
    steps = [
        Step(action="foreign", path=path, target="gone") for path in sorted(before.keys() - after.keys(), reverse=True)
    ]
    for path in sorted(path for path, signature in after.items() if before.get(path) != signature):
        place = f"{base}/{path}"
        mode = after[path][0] & 0o777
        known = before.get(path)
        if known is not None and known[1:3] + known[4:] == after[path][1:3] + after[path][4:]:
            steps.append(Step(action="foreign", path=path, target="mode", mode=mode))
        elif os.path.islink(place):
            data = os.fsencode(os.readlink(place))
            steps.append(Step(action="foreign", path=path, target="link", data=data))
        elif os.path.isdir(place):
            steps.append(Step(action="foreign", path=path, target="directory"))
        else:
            with open(place, "rb") as file:
                steps.append(Step(action="foreign", path=path, target="file", data=file.read(), mode=mode))
    return steps
