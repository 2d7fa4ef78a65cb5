"""A disk that writes down what is done to it, so that every moment of a command can be looked at again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from dvtool.storage.disk import Disk
from dvtool.testing.volume import Step, Volume, differences, signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class RecordingDisk(Disk):
    """Does everything for real below ``base`` and keeps the steps.

    What changes below ``base`` past this disk (files of the worktree, directories made by hand) is noticed before
    each step and kept as a foreign step, taken for durable; so a rebuilt moment is whole.
    """

    def __init__(self, base: str) -> None:
        """Record changes below the directory ``base``, which must exist."""
        self.base = os.path.realpath(base)
        self._seen = signatures(self.base)
        self.before = differences({}, self._seen, self.base)
        self.steps: list[Step] = []

    def open_new(self, path: str) -> int:
        """Record a new, empty file."""
        return self._do(
            Step(action="create", path=self._inside(path), mode=0o600),
            lambda: super(RecordingDisk, self).open_new(path),
        )

    def append(self, descriptor: int, path: str, data: bytes | memoryview) -> None:
        """Record what is written to a file."""
        step = Step(action="append", path=self._inside(path), data=bytes(data))
        self._do(step, lambda: super(RecordingDisk, self).append(descriptor, path, data))

    def append_behind(self, descriptor: int, path: str, data: memoryview) -> Callable[[], None]:
        """Record what is written to a file, at once, so that the order of steps is the same each time."""
        self.append(descriptor, path, data)
        return lambda: None

    def sync(self, path: str) -> None:
        """Record that a file is durable; nothing is really synced, no power is lost here."""
        self._do(Step(action="sync", path=self._inside(path)), lambda: os.stat(path))

    def sync_behind(self, descriptor: int, path: str) -> Callable[[], None]:
        """Record that a file is durable when it is waited for, and not before."""
        os.close(descriptor)
        inside = self._inside(path)
        return lambda: self._do(Step(action="sync", path=inside), lambda: None)

    def sync_directory(self, path: str) -> None:
        """Record that the names in a directory are durable."""
        self._do(Step(action="sync-directory", path=self._inside(path)), lambda: os.stat(path))

    def link(self, source: str, target: str) -> None:
        """Record a second name."""
        step = Step(action="link", path=self._inside(source), target=self._inside(target))
        self._do(step, lambda: super(RecordingDisk, self).link(source, target))

    def rename(self, source: str, target: str) -> None:
        """Record a new name."""
        step = Step(action="rename", path=self._inside(source), target=self._inside(target))
        self._do(step, lambda: super(RecordingDisk, self).rename(source, target))

    def permit(self, path: str, mode: int) -> None:
        """Record nothing: nobody else looks at a moment that is rebuilt."""
        self._notice()
        super().permit(path, mode)
        self._seen = signatures(self.base)

    def touch(self, path: str) -> None:
        """Record nothing: a moment that is rebuilt has times of its own."""
        self._notice()
        super().touch(path)
        self._seen = signatures(self.base)

    def unlink(self, path: str) -> None:
        """Record the end of a name."""
        if os.path.lexists(path):
            step = Step(action="unlink", path=self._inside(path))
            self._do(step, lambda: super(RecordingDisk, self).unlink(path))

    def make_directory(self, path: str) -> None:
        """Record a directory and those above it."""
        step = Step(action="make-directory", path=self._inside(path))
        self._do(step, lambda: super(RecordingDisk, self).make_directory(path))

    def finish(self) -> list[Step]:
        """Take in what happened since the last step, and return all steps."""
        self._notice()
        return self.steps

    def moments(self) -> Iterator[tuple[int, Volume]]:
        """Yield, for each k from 0, the volume after the first k steps; it is the same object, moved on."""
        volume = Volume()
        for step in self.before:
            volume.apply(step)
        yield 0, volume
        for number, step in enumerate(self.steps, 1):
            volume.apply(step)
            yield number, volume

    def _do(self, step: Step, action: Callable[[], T]) -> T:
        self._notice()
        result = action()
        self.steps.append(step)
        self._seen = signatures(self.base)
        return result

    def _notice(self) -> None:
        now = signatures(self.base)
        self.steps += differences(self._seen, now, self.base)
        self._seen = now

    def _inside(self, path: str) -> str:
        absolute = os.path.realpath(os.path.dirname(path)) + "/" + os.path.basename(path)
        absolute = absolute.rstrip("/")
        if absolute == self.base:
            return ""
        if not absolute.startswith(self.base + "/"):
            raise ValueError(f"{path} is not below the recorded {self.base}")
        return absolute[len(self.base) + 1 :]
