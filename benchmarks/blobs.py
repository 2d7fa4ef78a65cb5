"""The large single files: random bytes, and a table as text."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PIECE = 1 << 20
COUNTRIES = ("Austria", "Brazil", "Canada", "Denmark", "Egypt", "France", "Ghana", "Hungary")
HEADER = "row,user,country,day,amount,comment\n"
ROWS_PER_PIECE = 1000


def write_random(path: Path, size: int) -> None:
    """Write ``size`` deterministic incompressible bytes (a multiple of 1 MiB is rounded down to)."""
    with path.open("wb") as sink:
        for number in range(size // PIECE):
            sink.write(hashlib.shake_128(f"blob {number}".encode()).digest(PIECE))


def insert_in_middle(path: Path, size: int) -> None:
    """Put ``size`` new bytes into the middle of a file, by a new file that takes its place."""
    fresh = path.with_name(path.name + ".new")
    with path.open("rb") as source, fresh.open("wb") as sink:
        middle = path.stat().st_size // 2
        _copy(source.fileno(), sink.fileno(), middle)
        sink.write(hashlib.shake_128(b"inserted").digest(size))
        sink.flush()
        _copy(source.fileno(), sink.fileno(), path.stat().st_size - middle)
    path.unlink()
    fresh.rename(path)


def _copy(source: int, sink: int, count: int) -> None:
    while count > 0:
        piece = os.read(source, min(count, PIECE))
        os.write(sink, piece)
        count -= len(piece)


def read_through(path: Path) -> None:
    """Read a file once, so that as much of it as fits is in the page cache."""
    with path.open("rb") as source:
        while source.read(PIECE):
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A CSV file of at least ``size`` bytes, and two ways to edit 0.1% of its rows."""

    size: int

    def write(self, path: Path) -> int:
        """Write the table without edits; returns its number of rows."""
        return self._write(path, rows=None, edited=lambda _row: False)

    def write_block_edited(self, path: Path, rows: int) -> None:
        """Write the table with one run of rows in the middle edited."""
        first, count = rows // 2, max(1, rows // 1000)
        self._write(path, rows=rows, edited=lambda row: first <= row < first + count)

    def write_scatter_edited(self, path: Path, rows: int) -> None:
        """Write the table with every thousandth row edited."""
        self._write(path, rows=rows, edited=lambda row: row % 1000 == 500)

    def _write(self, path: Path, *, rows: int | None, edited: Callable[[int], bool]) -> int:
        """Write a new file in the place of an old one, which a tool may have linked."""
        path.unlink(missing_ok=True)
        row = written = 0
        with path.open("w", encoding="ascii", newline="") as sink:
            written += sink.write(HEADER)
            while row < rows if rows is not None else written < self.size:
                noise = hashlib.shake_128(f"table {row}".encode()).hexdigest(16 * ROWS_PER_PIECE)
                stop = row + ROWS_PER_PIECE
                piece = "".join(
                    _row(number, noise[32 * (number - row) :], edited=edited(number)) for number in range(row, stop)
                )
                written += sink.write(piece)
                row = stop
        return row


def _row(number: int, noise: str, *, edited: bool) -> str:
    """One row of about 100 bytes; an edited one has another amount and comment, of another length."""
    country = COUNTRIES[number % len(COUNTRIES)]
    amount = f"{int(noise[16:22], 16) / 100:.2f}" if not edited else f"-{int(noise[22:28], 16)}"
    comment = "order accepted and shipped" if not edited else "order corrected by hand"
    day = f"2024-{number % 12 + 1:02d}-{number % 28 + 1:02d}"
    return f"{number},{noise[:16]},{country},{day},{amount},{comment}\n"
