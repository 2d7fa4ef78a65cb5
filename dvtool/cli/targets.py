"""Targets of a command from a file, so that what names a person is in no shell's history and no list of processes."""

from __future__ import annotations

import os
import sys
from typing import Final

from dvtool.errors import UsageError

SIZE_LIMIT: Final = 16 * 2**20
STDIN: Final = "-"
OF_SUBJECT: Final = "subject:"

HELP: Final = "Read more of them from a file, one path or subject:ID on a line; '-' is standard input."


def read(source: str, directory: str) -> tuple[list[str], list[str]]:
    """Return (paths, ids of subjects) from a file; empty lines count for nothing.

    A path that begins with ``subject:`` is written ``./subject:…``.

    Args:
        source: the file, or ``-`` for standard input.
        directory: what its path is relative to.

    Raises:
        UsageError: when it cannot be read, is far too large, is no text, or names nothing.
    """
    data = _bytes(source, directory)
    if len(data) > SIZE_LIMIT:
        raise _wrong(source, f"it has more than {SIZE_LIMIT:,} bytes", "name directories or patterns instead")
    try:
        lines = [line.removesuffix("\r") for line in data.decode().split("\n")]
    except UnicodeDecodeError:
        raise _wrong(source, "it is not UTF-8", "save it as UTF-8") from None
    if any("\0" in line for line in lines):
        raise _wrong(source, "it holds a NUL", "write one path or subject:ID on each line")
    found = [line for line in lines if line.strip()]
    if not found:
        raise _wrong(source, "it names nothing", "write one path or subject:ID on each line")
    subjects = [line.removeprefix(OF_SUBJECT) for line in found if line.startswith(OF_SUBJECT)]
    return [line for line in found if not line.startswith(OF_SUBJECT)], subjects


def _bytes(source: str, directory: str) -> bytes:
    if source == STDIN:
        return sys.stdin.buffer.read(SIZE_LIMIT + 1)
    from dvtool.storage.disk import read_regular

    try:
        return read_regular(os.path.join(directory, source), SIZE_LIMIT + 1)
    except OSError as error:
        raise _wrong(source, error.strerror or "", "check --targets-from") from None


def _wrong(source: str, why: str, advice: str) -> UsageError:
    where = "standard input" if source == STDIN else source
    return UsageError("the list of targets cannot be used", where=where, why=why, next=advice)
