"""Keeps what a command prints: its beginning and its end, without what looks like a secret."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

from dvtool.capture.redaction import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.capture.redaction import Redactor

HEAD: Final = 256 * 1024
"""Bytes that are kept of the beginning of a stream."""
TAIL: Final = 256 * 1024
"""Bytes that are kept of its end."""
LINE: Final = 64 * 1024
"""A longer line is looked at in pieces."""
OVERLAP: Final = 8 * 1024
"""Bytes at the end of such a piece that wait for what follows, because a secret may begin there."""
PAUSE: Final = 1.0
"""Seconds between two times that the end so far is looked at for secrets, and written: a command may print faster."""
END: Final = ".end"
CUT: Final = ".cut"
"""What the name of the file with the end of a stream ends with: all of it follows the head, or something is missing."""
_BEGIN_KEY: Final = b"-----BEGIN"
_END_KEY: Final = b"-----END"


class Keeper:
    """Takes a stream of bytes and keeps its head and its end in files, so that neither is lost with the process.

    What is printed fast enough to be thrown away again is not looked at, so that the command is not held up.
    """

    def __init__(self, path: str, redactor: Redactor, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep the head at ``path``, and the end beside it; ``clock`` counts seconds."""
        self._path = path
        self._redact = redactor
        self._clock = clock
        self._head = 0
        self._file = -1
        self._raw = bytearray()
        self._in_key = False
        self._is_cut = False
        self._due = 0.0
        self._failed = False

    def feed(self, data: bytes) -> None:
        """Take what was printed; only whole lines are looked at and kept."""
        if self._failed:
            return
        self._raw += data
        if self._head < HEAD:
            self._take_head(last=False)
        if self._head >= HEAD:
            self._trim()
            if self._clock() >= self._due:
                self._write_end()

    def finish(self) -> None:
        """Keep what is left of a line without an end."""
        if self._failed:
            return
        if self._head < HEAD:
            self._take_head(last=True)
        if self._raw:
            self._write_end()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _take_head(self, *, last: bool) -> None:
        """Write whole lines to the head, until it is full."""
        end = max(self._raw.rfind(b"\n"), self._raw.rfind(b"\r")) + 1
        if last:
            end = len(self._raw)
        elif not end and len(self._raw) > LINE:
            # Between two words, so that no secret is cut, and not at the end, where one may go on.
            end = self._raw.rfind(b" ", 0, len(self._raw) - OVERLAP) + 1 or len(self._raw) - OVERLAP
        room = HEAD - self._head
        if end > room:
            end = self._raw.rfind(b"\n", 0, room) + 1 or room
        if not end:
            return
        lines = bytes(self._raw[:end])
        del self._raw[:end]
        clean, self._in_key = self._clean(lines, in_key=self._in_key)
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            view = memoryview(clean)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            self._failed = True  # a full disk: what the command prints still reaches whoever reads it
        self._head += end

    def _trim(self) -> None:
        """Drop what lies further from the end than is kept, by whole lines."""
        over = len(self._raw) - 2 * TAIL
        if over <= 0:
            return
        over += TAIL
        end = self._raw.find(b"\n", over) + 1 or over
        # A key whose beginning goes is still a key.
        begun, ended = self._raw.rfind(_BEGIN_KEY, 0, end), self._raw.rfind(_END_KEY, 0, end)
        if begun != ended:
            self._in_key = begun > ended
        del self._raw[:end]
        self._is_cut = True

    def _write_end(self) -> None:
        """Write the end so far, in the place of what was written of it before."""
        self._due = self._clock() + PAUSE
        clean, _in_key = self._clean(bytes(self._raw), in_key=self._in_key)
        part = f"{self._path}.part"
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(clean)
            os.rename(part, f"{self._path}{CUT if self._is_cut else END}")
            if self._is_cut:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self._path}{END}")
        except OSError:
            self._failed = True

    def _clean(self, lines: bytes, *, in_key: bool) -> tuple[bytes, bool]:
        """Return lines without secrets, and whether they end in the middle of a private key."""
        text = lines.decode("utf-8", "replace")
        if not in_key and _BEGIN_KEY not in lines:
            return self._redact.text(text).encode(), False
        found = []
        for line in text.splitlines(keepends=True):
            if "-----BEGIN" in line and "PRIVATE KEY" in line:
                in_key = True
                found.append(f"{HIDDEN}\n")
            elif not in_key:
                found.append(self._redact.text(line))
            if "-----END" in line:
                in_key = False
        return "".join(found).encode(), in_key


def kept(path: str) -> bytes:
    """Return what was kept of a stream; where the middle is missing, a line says so."""
    head, end, cut = _read(path), _read(path + END), _read(path + CUT)
    if not cut:
        return head + end
    return head + b"\n[... what stood here was not kept ...]\n" + cut


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
