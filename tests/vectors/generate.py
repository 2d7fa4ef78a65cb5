"""Makes the golden vectors: bytes that every later version of dv must still read, with what they mean.

Each vector is ``<format>/v<version>/<name>.json``, and ``<name>.bin`` beside it where there are bytes to read.
The JSON has

- ``about``: one sentence on what the vector shows;
- ``inputs``: keys, salts and whatever else a reader needs besides the bytes;
- ``value``: what the bytes say.  Byte strings stand in hexadecimal.

Vectors are append-only.  Without arguments the script writes those that are missing and touches no others;
with ``--check`` it writes nothing and fails if one is missing, differs from what the code makes today, or is
made no more.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from tests.vectors.vector import Vector

HERE = Path(__file__).resolve().parent

GROUPS = ("hashing", "store_files", "objects", "log_payloads", "worktree_files")
"""The modules beside this one; each has its makers of vectors in ``SOURCES``."""


def part(name: str) -> ModuleType:
    """Return the module ``name`` beside this one."""
    checkout = str(HERE.parents[1])
    if checkout not in sys.path:
        # At the end: what makes the bytes is the dvtool that is installed, not the checkout's.
        sys.path.append(checkout)
    return importlib.import_module(f"tests.vectors.{name}")


def vectors() -> Iterator[Vector]:
    """Yield every vector of every group."""
    for group in GROUPS:
        for source in part(group).SOURCES:
            yield from source()


def expected() -> dict[Path, bytes]:
    """Return every file of every vector, as the code makes it today."""
    found: dict[Path, bytes] = {}
    for vector in vectors():
        files = vector.files()
        if found.keys() & files.keys():
            message = f"two vectors are called {vector.format}/{vector.name}"
            raise ValueError(message)
        found |= files
    return found


def faults(files: dict[Path, bytes], *, missing: bool) -> list[str]:
    """Return what is wrong with the files on the disk; ``missing`` says whether a missing one counts."""
    kept = {path for path in HERE.glob("*/v*/*") if path.is_file()}
    found = [f"{path.relative_to(HERE)}: is made no more" for path in sorted(kept - files.keys())]
    for path, data in sorted(files.items()):
        if path not in kept:
            found += [f"{path.relative_to(HERE)}: is missing"] if missing else []
        elif path.read_bytes() != data:
            found.append(f"{path.relative_to(HERE)}: differs from what the code makes today")
    return found


def main() -> int:
    """Write or check the vectors and return the exit code."""
    parser = argparse.ArgumentParser(description="Make or check the golden vectors.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if anything differs")
    check = parser.parse_args().check
    files = expected()
    wrong = faults(files, missing=check)
    for fault in wrong:
        print(fault, file=sys.stderr)
    if wrong:
        print("Vectors never change: a new way of writing is a new version of its format.", file=sys.stderr)
        return 1
    for path, data in files.items():
        if not check and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            print(f"new: {path.relative_to(HERE)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
