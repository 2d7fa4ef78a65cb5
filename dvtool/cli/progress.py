"""Progress on stderr: one line, drawn again at most ten times a second, and only on a terminal."""

from __future__ import annotations

import sys
import time

from dvtool.cli.output import quantity, size
from dvtool.effects import Silence

INTERVAL = 0.1
PATIENCE = 0.5
"""Seconds before the first line, so that quick commands stay quiet."""


class TerminalProgress:
    """Shows how far long work has come: files, bytes, rate, time left."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._label = ""
        self._files = 0
        self._size = 0
        self._began = 0.0
        self._drawn = 0.0
        self._visible = False

    def start(self, label: str, *, files: int, size: int) -> None:
        """Begin a phase."""
        self._label, self._files, self._size = label, files, size
        self._began = self._drawn = time.monotonic()

    def advance(self, *, files: int, size: int) -> None:
        """Draw the line again when it is time."""
        now = time.monotonic()
        if now - self._began < PATIENCE or now - self._drawn < INTERVAL:
            return
        self._drawn = now
        self._visible = True
        sys.stderr.write("\r\x1b[K" + self._line(files, size, now - self._began))
        sys.stderr.flush()

    def finish(self) -> None:
        """Remove the line."""
        if self._visible:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._visible = False

    def _line(self, files: int, done: int, elapsed: float) -> str:
        parts = [
            f"{self._label}: {files:,} of {quantity(self._files, 'file')}",
            f"{size(done)} of {size(self._size)}",
        ]
        if elapsed > 0:
            parts.append(f"{size(int(done / elapsed))}/s")
        if done and self._size > done:
            parts.append(f"{elapsed * (self._size - done) / done:.0f} s left")
        return ", ".join(parts)


def choose() -> TerminalProgress | Silence:
    """Return progress for this terminal."""
    return TerminalProgress() if sys.stderr.isatty() else Silence()
