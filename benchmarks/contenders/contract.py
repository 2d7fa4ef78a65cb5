"""What a contender is: a tool, and its command lines for each measured operation."""

from __future__ import annotations

import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmarks.measure import Script, Step, bytes_below

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.bucket import Place

DATA = "data"
"""Name of the data directory in every worktree."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The directories of one contender in one round; all of them vanish with ``base``."""

    base: Path
    place: Place | None = None
    """The bucket that it has for itself, where one is wanted."""

    @property
    def tree(self) -> Path:
        """The worktree."""
        return self.base / "tree"

    @property
    def data(self) -> Path:
        """The data set in the worktree."""
        return self.tree / DATA

    @property
    def store(self) -> Path:
        """Where tools that keep their store outside the worktree put it."""
        return self.base / "store"

    @property
    def out(self) -> Path:
        """Where tools that don't check out in place put their files."""
        return self.base / "out"

    @property
    def home(self) -> Path:
        """HOME of the tool, so that no user's settings or caches take part."""
        return self.base / "home"

    def make(self) -> None:
        """Create the empty directories."""
        for place in (self.tree, self.store, self.out, self.home):
            place.mkdir(parents=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where tools that are not on PATH were found."""

    dv: Path | None
    dvc: Path | None
    mlflow: Path | None = None
    """The Python that has MLflow; of the next, DVCLive."""
    dvclive: Path | None = None
    filter_repo: Path | None = None


class Tool(ABC):
    """A program under measurement."""

    name: ClassVar[str]
    note: ClassVar[str] = ""
    """What a reader must know about the tool's figures."""

    def __init__(self, found: Found) -> None:
        """Look for the program."""
        self.program = self._locate(found)

    @abstractmethod
    def _locate(self, found: Found) -> str | None:
        """Path of the program, or None if it is not installed."""

    def _command(self) -> str:
        if self.program is None:
            message = f"{self.name} is not installed"
            raise RuntimeError(message)
        return self.program

    def version(self) -> str:
        """First line the tool prints about its version."""
        asked = [self._command(), *self._version_arguments()]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        lines = (done.stdout or done.stderr).splitlines()
        return lines[0].strip() if lines else f"unknown (exit {done.returncode})"

    def _version_arguments(self) -> tuple[str, ...]:
        return ("--version",)

    def environment(self, slot: Slot) -> dict[str, str]:
        """Compose the whole environment of its processes."""
        return {"PATH": os.environ["PATH"], "HOME": str(slot.home), "LANG": "C.UTF-8"}

    @abstractmethod
    def setup(self, slot: Slot) -> Script:
        """Make an empty repository (not timed)."""


class Contender(Tool):
    """A tool that keeps data here. An operation the tool does not have is None."""

    in_place: ClassVar[bool] = True
    """Whether it checks out into the worktree (else into ``Slot.out``)."""

    def checked_out(self, slot: Slot) -> Path:
        """Where the data is after ``switch`` or ``full``."""
        return slot.data if self.in_place else slot.out / DATA

    @abstractmethod
    def first(self, slot: Slot) -> Script:
        """Store all data for the first time."""

    def status(self, slot: Slot) -> Script | None:
        """Find out that nothing changed."""
        _ = slot
        return None

    @abstractmethod
    def change(self, slot: Slot) -> Script:
        """Store the data after an edit."""

    def diff(self, slot: Slot) -> Script | None:
        """Name the paths that differ between the two stored states."""
        _ = slot
        return None

    def switch(self, slot: Slot) -> Script | None:
        """Go from the second stored state to the first."""
        _ = slot
        return None

    @abstractmethod
    def full(self, slot: Slot) -> Script:
        """Bring all files of the second state into an empty place."""

    def verify(self, slot: Slot) -> Script | None:
        """Read, authenticate and compare everything in the store."""
        _ = slot
        return None

    def collect(self, slot: Slot) -> Script | None:
        """Find out what nothing needs any more, and remove nothing."""
        _ = slot
        return None

    @abstractmethod
    def stores(self, slot: Slot) -> tuple[Path, ...]:
        """Files and directories that make up the store."""

    def store_bytes(self, slot: Slot) -> int:
        """Size of the store in bytes (sum of file sizes)."""
        return bytes_below(self.stores(slot))


def on_path(name: str) -> str | None:
    """Find a program on PATH."""
    return shutil.which(name)


def steps(cwd: Path, *commands: tuple[str, ...]) -> Script:
    """Build a script of commands that all start in one directory."""
    return tuple(Step(command, cwd) for command in commands)
