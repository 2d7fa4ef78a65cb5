"""Makes the frozen repository of this version of the format: ``python tests/repos/make.py``, from the top directory.

A frozen repository is made once, when a version of the format is, and never again: later versions of dv must read what
this one wrote. So an archive that exists is left alone.
"""

from __future__ import annotations

import os
import random
import sys
import tarfile
import tempfile
from pathlib import Path

import dvtool
from dvtool.formats import storeformat
from dvtool.repo import Repo

HERE = Path(__file__).resolve().parent
AUTHOR = "Ada Lovelace <ada@example.org>"
LONG = random.Random(1).randbytes(200_000)
MANY = 70
"""Snapshots on the side branch: enough for a checkpoint of the log."""


def first(data: Path) -> None:
    """Write the files of the first snapshot."""
    (data / "empty").mkdir(parents=True)
    (data / "many").mkdir()
    (data / "nothing").write_bytes(b"")
    (data / "short.txt").write_text("short\n")
    (data / "long.bin").write_bytes(LONG)
    (data / "run.sh").write_text("#!/bin/sh\n")
    (data / "run.sh").chmod(0o755)
    (data / "link").symlink_to("short.txt")
    (data / "\u00fc\u4e2d \U0001f600\n").write_text("a name\n")
    for number in range(300):
        (data / "many" / f"{number:03}.txt").write_text(f"{number}\n" * 20)


def second(data: Path) -> None:
    """Edit them for the second."""
    (data / "long.bin").write_bytes(LONG[:90_000] + b"inserted" + LONG[90_000:])
    (data / "short.txt").rename(data / "renamed.txt")
    (data / "many" / "007.txt").unlink()
    (data / "many" / "new.txt").write_text("new\n")


def make(root: Path) -> None:
    """Make the repository: two snapshots on main, many on a branch, a tag, something staged, something dropped."""
    repo = Repo.init(str(root))
    first(root / "data")
    repo.add([str(root / "data")])
    repo.commit("first", author=AUTHOR)
    repo.create_tag("v1")
    second(root / "data")
    repo.commit("second", everything=True, author=AUTHOR)
    repo.checkout("main", new_branch="side")
    for number in range(MANY):
        (root / "data" / "counter").write_text(f"{number}\n")
        repo.commit(f"side {number}", everything=True, author=AUTHOR)
    repo.checkout("main")
    (root / "data" / "staged.txt").write_text("staged\n")
    repo.add([str(root / "data" / "staged.txt")])
    repo.drop([str(root / "data" / "many")])


def main() -> int:
    """Write the archive of this format, unless it is there."""
    target = HERE / f"v{storeformat.VERSION}.tar.gz"
    if target.exists():
        print(f"{target.name} is there and stays as it is")
        return 0
    with tempfile.TemporaryDirectory() as place:
        root = Path(os.path.realpath(place)) / "repo"
        root.mkdir()
        make(root)
        with tarfile.open(target, "w:gz") as archive:
            archive.add(root, arcname="repo", filter=_plain)
    print(f"{target.name} was made by dv {dvtool.__version__}")
    return 0


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    sys.exit(main())
