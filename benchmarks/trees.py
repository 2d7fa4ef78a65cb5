"""The data set of many small files: deterministic, unique, incompressible."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES_PER_DIRECTORY = 100


class WrongContentError(Exception):
    """A tool put other files, or other bytes, into the worktree than it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """``files`` files of ``size`` bytes, and an edit that changes, adds and removes some of them."""

    files: int
    size: int
    changed: int = 100
    added: int = 100
    gone: int = 100
    directories: int = 100
    """Directories in each of the upper ones."""

    @property
    def label(self) -> str:
        """The data set in words."""
        size = f"{self.size // 1024} KiB" if self.size % 1024 == 0 else f"{self.size} bytes"
        return f"{self.files:,} files of {size}"

    @property
    def middle(self) -> str:
        """One of the upper directories."""
        return self.path(self.files // 2).split("/", 1)[0]

    def path(self, number: int) -> str:
        """Path of a file below the data directory."""
        directory = number // FILES_PER_DIRECTORY
        upper, lower = divmod(directory, self.directories)
        return f"{upper:04d}/{lower:02d}/{number:08d}.bin"

    def content(self, number: int, version: int) -> bytes:
        """Bytes of a file; ``version`` is 0 before the edit and 1 after it."""
        return hashlib.shake_128(f"{number} {version}".encode()).digest(self.size)

    def _touched(self) -> tuple[range, range, range]:
        """Numbers of the changed, the gone and the added files, spread over the whole tree."""
        if self.changed + self.gone > self.files // 2:
            message = f"{self.files} files are too few to change {self.changed} and remove {self.gone}"
            raise ValueError(message)
        changed = range(0, self.files, self.files // max(1, self.changed))[: self.changed]
        gone = range(1, self.files, self.files // max(1, self.gone))[: self.gone]
        return changed, gone, range(self.files, self.files + self.added)

    def write(self, data: Path) -> None:
        """Create the data set in the directory ``data``, which must not exist."""
        data.mkdir()
        here = None
        for number in range(self.files):
            target = data / self.path(number)
            if number % FILES_PER_DIRECTORY == 0 or here is None:
                here = target.parent
                here.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.content(number, 0))

    def edit(self, data: Path) -> None:
        """Make the edit. Changed files are replaced, not written in place: tools may have linked them."""
        changed, gone, added = self._touched()
        for number in (*changed, *gone):
            (data / self.path(number)).unlink()
        for number in (*changed, *added):
            target = data / self.path(number)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.content(number, 1))

    def names_in_diff(self) -> list[str]:
        """One base name of each kind of edit that a diff of the two states must print."""
        return [self.path(numbers[0]).rsplit("/", 1)[1] for numbers in self._touched() if numbers]

    def check(self, data: Path, *, edited: bool, within: str = "") -> None:
        """Compare all names, and the bytes of every touched file and of one in a hundred others.

        With ``within``, nothing is expected but the files whose paths begin so.

        Raises:
            WrongContentError: the directory does not hold the state asked for.

        """
        changed, gone, added = self._touched()
        missing = set(gone) if edited else set()
        expected = {self.path(number) for number in range(self.files) if number not in missing}
        if edited:
            expected.update(self.path(number) for number in added)
        expected = {path for path in expected if path.startswith(within)}
        found = set(_names(data))
        if found != expected:
            example = min(found ^ expected)
            message = f"{data}: {len(found ^ expected)} names differ, {example} for one"
            raise WrongContentError(message)
        newer = {*changed, *added} if edited else set()
        for number in {*changed, *gone, *range(0, self.files, 100), *newer} - missing:
            path = self.path(number)
            if path.startswith(within) and (data / path).read_bytes() != self.content(number, int(number in newer)):
                message = f"{data}: wrong bytes in {path}"
                raise WrongContentError(message)


def _names(data: Path) -> Iterator[str]:
    for entry in data.rglob("*.bin"):
        yield entry.relative_to(data).as_posix()
