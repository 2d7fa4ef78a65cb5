"""Words and JSON on the terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.errors import Voices

if TYPE_CHECKING:
    from dvtool.errors import DvError
    from dvtool.history.describe import Amount

COLOURS: Final = {"added": "green", "removed": "red", "modified": "yellow", "renamed": "cyan", "id": "yellow"}
CODES: Final = {"red": 31, "green": 32, "yellow": 33, "cyan": 36}
"""Select Graphic Rendition parameters of ECMA-48 for the foreground."""
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class CodedVoices(Voices, frozen=True, kw_only=True):
    """What an error says: its kind, its four voices, the names it is about, and the exit code."""

    code: int


class ErrorDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of stderr when a command with ``--json`` fails; stdout is empty then."""

    error: CodedVoices


def as_json(document: object) -> None:
    """Print one document."""
    sys.stdout.flush()  # what was said before it
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def say(text: str = "", *, colour: str | None = None) -> None:
    """Print one line; colours only on a terminal, and not with ``NO_COLOR``."""
    sys.stdout.write((paint(text, colour) if colour else text) + "\n")


def warn(text: str) -> None:
    """Print one line to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def paint(text: str, colour: str) -> str:
    """Return ``text`` in a colour of :data:`COLOURS`, where colours are wanted."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\x1b[{CODES[COLOURS.get(colour, colour)]}m{text}\x1b[0m"


def size(count: int) -> str:
    """Return a number of bytes for people."""
    number = float(count)
    for unit in UNITS:
        if number < 1024 or unit == UNITS[-1]:  # noqa: PLR2004 - the step between the units
            return f"{count} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{count} B"


def quantity(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun, ``1 file`` or ``2,000 files``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def amount(found: Amount, noun: str) -> str:
    """Return a number of files and their bytes, ``2 packs of 1.5 MiB``."""
    return f"{quantity(found.files, noun)} of {size(found.bytes)}"


def harmless(text: str) -> str:
    """Return a text of somebody else's with control characters shown instead of obeyed."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def quoted(path: str) -> str:
    """Return a path on one line: quoted where it holds control characters, untouched otherwise."""
    if path and path.isprintable():
        return path
    return '"' + path.encode("unicode_escape").decode() + '"' if path else "."


def show_error(error: DvError, code: int, *, json: bool) -> None:
    """Print an error to stderr: as words, or as the last line in JSON."""
    if json:
        # An ErrorDocument, with the code in front, where people look for it.
        document = {"error": {"code": code, **msgspec.structs.asdict(error.voices())}}
        sys.stderr.buffer.write(msgspec.json.encode(document) + b"\n")
        return
    lines = [f"dv: {harmless(error.what)}"]
    if error.where:
        lines.append(f"  where: {harmless(error.where)}")
    lines += [f"    {quoted(item)}" for item in error.items[:50]]
    if len(error.items) > 50:  # noqa: PLR2004 - a screenful; --json lists all
        lines.append(f"    … and {len(error.items) - 50:,} more (all of them with --json)")
    if error.why:
        lines.append(f"  why: {harmless(error.why)}")
    if error.next:
        lines.append(f"  next: {harmless(error.next)}")
    warn("\n".join(lines))
