"""Calls ``dv``: in this process where that is enough, as a process of its own where it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dvtool.cli import main

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

VOICES = {"code", "kind", "what", "where", "why", "next", "items"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command left behind."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """What it printed."""
        return self.out.decode()

    @property
    def told(self) -> str:
        """What it said on stderr."""
        return self.err.decode()

    @property
    def json(self) -> Any:
        """The one document it printed."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error in JSON, which is the last line of stderr."""
        document = json.loads(self.err.splitlines()[-1])
        assert list(document) == ["error"]
        assert set(document["error"]) == VOICES
        assert document["error"]["code"] == self.code
        assert self.out == b""
        return document["error"]


class Dv:
    """Calls ``dv`` in a directory of the test's own."""

    def __init__(self, root: Path, capture: pytest.CaptureFixture[bytes] | None) -> None:
        self.root = root
        self._capture = capture

    def __call__(self, *arguments: str, code: int = 0, at: str = "") -> Done:
        """Call the program in this process, in the directory ``at`` below the root; its exit code must be ``code``."""
        assert self._capture is not None, "only processes can be called"
        before = os.getcwd()
        os.chdir(self.root / at)
        self._capture.readouterr()
        try:
            found = main.run(arguments)
        finally:
            os.chdir(before)
        out, err = self._capture.readouterr()
        done = Done(code=found, out=out, err=err)
        assert found == code, f"dv {' '.join(arguments)}: {found} instead of {code}\n{done.text}{done.told}"
        return done

    def process(
        self,
        *arguments: str | bytes,
        code: int = 0,
        at: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """Call the program as a user does; its exit code must be ``code``."""
        found = subprocess.run(
            [sys.executable, "-m", "dvtool.cli.main", *arguments],
            cwd=self.root / at,
            env={**os.environ, **(environment or {})},
            check=False,
            capture_output=True,
            timeout=60,
        )
        done = Done(code=found.returncode, out=found.stdout, err=found.stderr)
        assert done.code == code, f"{arguments}: {done.code} instead of {code}\n{done.text}{done.told}"
        return done

    def write(self, path: str, content: str | bytes = "content\n") -> Path:
        """Write a file below the root."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        return place

    def read(self, path: str) -> str:
        """Return what a file below the root holds."""
        return (self.root / path).read_text(encoding="utf-8")

    def commit(self, message: str = "more", *options: str) -> str:
        """Record all changes below the tracked roots and return the snapshot's id."""
        snapshot: str = self("commit", "-a", "-m", message, "--json", *options).json["snapshot"]
        return snapshot

    def status(self) -> Any:
        """Return what ``dv status`` says."""
        return self("status", "--json").json

    def unstaged(self) -> dict[str, list[str]]:
        """Return the changes that are not staged, empty lists left out."""
        return {word: names for word, names in self.status()["unstaged"].items() if names}

    def staged(self) -> dict[str, list[str]]:
        """Return the files and directories that are staged, empty lists left out."""
        found = self.status()["staged"].items()
        return {word: names for word, names in found if names and not word.startswith("roots")}

    def listed(self, *arguments: str) -> list[str]:
        """Return the paths of everything that a snapshot holds."""
        return [item["path"] for item in self("ls", "-r", "--json", *arguments).json]

    def git(self, *arguments: str) -> str:
        """Call Git as somebody whose name is known."""
        who = ["-c", "user.name=Git User", "-c", "user.email=git@example.org", "-c", "init.defaultBranch=gm"]
        found = subprocess.run(["git", *who, *arguments], cwd=self.root, check=True, capture_output=True, timeout=60)
        return found.stdout.decode()
