"""Keeps what a command prints: its beginning and its end, without what looks like a secret."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dvtool.capture.redaction import Redactor

HEAD: Final = 256 * 1024
"""Bytes that are kept of the beginning of a stream."""
TAIL: Final = 256 * 1024
"""Bytes that are kept of its end, at least; half a megabyte at most."""
LINE: Final = 64 * 1024
"""A longer line is looked at in pieces."""
OVERLAP: Final = 8 * 1024
"""Bytes at the end of such a piece that wait for what follows, because a secret may begin there."""
_KEY_BEGINS: Final = b"PRIVATE KEY-----"


class Keeper:
    """Takes a stream of bytes and keeps its head and tail in files, so that neither is lost with the process."""

    def __init__(self, path: str, redactor: Redactor) -> None:
        """Keep at ``path`` (the head), and at the last two of ``path.1``, ``path.2`` and so on (the tail)."""
        self._path = path
        self._redact = redactor
        self._pending = b""
        self._in_key = False
        self._head = 0
        self._turn = 1
        self._filled = 0
        self._file = -1
        self._failed = False

    def feed(self, data: bytes) -> None:
        """Take what was printed; only whole lines are looked at and kept."""
        self._pending += data
        end = max(self._pending.rfind(b"\n"), self._pending.rfind(b"\r")) + 1
        if not end and len(self._pending) > LINE:
            end = self._cut()
        if end:
            lines, self._pending = self._pending[:end], self._pending[end:]
            self._keep(self._clean(lines))

    def _cut(self) -> int:
        """Return where a line without an end can be cut, so that no secret is cut with it."""
        whole = self._clean(self._pending)
        for back in range(OVERLAP, LINE // 2, OVERLAP // 2):
            end = len(self._pending) - back
            if self._clean(self._pending[:end]) + self._clean(self._pending[end:]) == whole:
                return end
        return len(self._pending) - OVERLAP

    def finish(self) -> None:
        """Keep what is left of a line without an end."""
        if self._pending:
            lines, self._pending = self._pending, b""
            self._keep(self._clean(lines))
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _clean(self, lines: bytes) -> bytes:
        text = lines.decode("utf-8", "replace")
        if not self._in_key and _KEY_BEGINS not in lines:
            return self._redact.text(text).encode()
        found = []
        for line in text.splitlines(keepends=True):
            if "-----BEGIN" in line and "PRIVATE KEY" in line:
                self._in_key = True
                found.append("[redacted]\n")
            elif not self._in_key:
                found.append(self._redact.text(line))
            if "-----END" in line:
                self._in_key = False
        return "".join(found).encode()

    def _keep(self, data: bytes) -> None:
        """Write to the head until it is full, and then to files of the tail, of which the last two stay."""
        if self._failed:
            return
        try:
            if self._head < HEAD:
                part = data[: HEAD - self._head]
                self._append(self._path, part)
                self._head += len(part)
                data = data[len(part) :]
                if self._head >= HEAD:
                    self._close()
            while data:
                part = data[: TAIL - self._filled]
                self._append(f"{self._path}.{self._turn}", part)
                self._filled += len(part)
                data = data[len(part) :]
                if self._filled >= TAIL:
                    self._turn_over()
        except OSError:
            self._failed = True  # a full disk: what the command prints still reaches whoever reads it

    def _turn_over(self) -> None:
        self._close()
        self._turn += 1
        self._filled = 0
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._path}.{self._turn - 2}")

    def _append(self, path: str, data: bytes) -> None:
        if self._file < 0:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def kept(path: str) -> bytes:
    """Return what was kept of a stream; where the middle is missing, a line says so."""
    directory, name = os.path.split(path)
    turns = sorted(
        int(each.removeprefix(f"{name}.")) for each in os.listdir(directory) if re.fullmatch(f"{name}[.][0-9]+", each)
    )
    head = _read(path)
    tail = b"".join(_read(f"{path}.{turn}") for turn in turns)
    if not turns or turns[0] == 1:
        return head + tail
    return head + b"\n[... what stood here was not kept ...]\n" + tail[tail.find(b"\n") + 1 :]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
