"""``dv demo``: a morning's work on real data, command by command.

The data are the UCI handwritten digits that scikit-learn carries: 1,797 images of 8 by 8 pixels, with labels.
"""

from __future__ import annotations

import csv
import os
import tempfile
import time
from typing import TYPE_CHECKING

import click

from dvtool.cli import output, shared
from dvtool.errors import ConflictError, DvError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.cli.opening import Settings

MISREAD = 23
"""How many labels the story corrects."""
BLANK = 12
"""How many images the story finds unusable and removes."""


@shared.command("demo", "dv demo", "dv demo /tmp/digits")
@click.argument("directory", required=False, metavar="[DIR]")
@click.pass_obj
def demo_command(settings: Settings, *, directory: str | None) -> None:
    """Show dv at work on 1,797 images of handwritten digits."""
    from dvtool.workspace import free_target
    from dvtool.worktree import layout

    _ = settings
    if directory is not None:
        free_target(directory, what=repr(directory))
        around = layout.enclosing(directory)
        if around is not None:
            raise ConflictError(
                "the demo makes a repository of its own, which cannot lie in another",
                where=around,
                next="name a directory elsewhere, or none",
            )
    target = os.path.realpath(directory or os.path.join(tempfile.mkdtemp(prefix="dv-demo-"), "digits"))
    for name in ("remote", "clone"):
        free_target(f"{target}-{name}", what=f"'{target}-{name}'")
    os.makedirs(target, exist_ok=True)
    began = time.monotonic()
    files = write_digits(target)
    os.chdir(target)
    os.environ.setdefault("DV_AUTHOR", "Demo User <demo@example.org>")
    _tell(f"{files:,} PNG files and labels.csv, from scikit-learn's copy of the UCI digits, are in {target}")

    _tell("Make a repository, stage everything, record a first snapshot.")
    _dv("init")
    _dv("add", "digits", "labels.csv")
    _dv("commit", "-m", "the digits as published")
    _dv("tag", "published")

    _tell(f"Correct {MISREAD} labels and remove {BLANK} unusable images, on a branch of their own.")
    _dv("checkout", "-b", "cleaning")
    _correct_labels()
    _remove_images()
    _dv("status")

    _tell("The difference, exactly: which directories changed their checksum, and which files.")
    _dv("diff")
    _dv("commit", "-a", "-m", f"{MISREAD} labels corrected, {BLANK} images removed")

    _tell("Back in time: the published data, byte for byte; then forward again.")
    _dv("checkout", "published")
    _check(len(os.listdir("digits/0")) > 0)
    _dv("status")
    _dv("checkout", "cleaning")
    _dv("log", "-n", "2")
    _dv("du")

    remote, clone = f"{target}-remote", f"{target}-clone"
    _tell("Share it: push to a remote (here a directory, elsewhere a bucket), sealed; then clone it without its data.")
    _dv("remote", "add", "origin", remote, "--plain-keys")
    _dv("push")
    _dv("clone", "--lazy", remote, clone)
    os.chdir(clone)
    _check(not os.path.exists("digits"))
    _dv("get", "labels.csv", "digits/3")
    _check(len(os.listdir("digits")) == 1)
    _dv("status")
    os.chdir(target)

    stored, raw = _sizes()
    _tell(
        f"Both versions take {output.size(stored)} in the store, sealed (one copy of the data has {output.size(raw)}). "
        f"Everything took {time.monotonic() - began:.1f} s. Look around: cd {target}"
    )


def write_digits(target: str) -> int:
    """Write the digits as ``digits/<label>/<number>.png`` with ``labels.csv`` into a directory; return how many.

    Raises:
        NotFoundError: when scikit-learn or Pillow is not installed.
    """
    try:
        import numpy as np
        from PIL import Image
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise NotFoundError(
            "the demo needs scikit-learn and Pillow", why=str(error), next="pip install 'dvtool[demo]'"
        ) from None
    digits = load_digits()
    rows = []
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = f"digits/{label}/{number:04d}.png"
        os.makedirs(f"{target}/digits/{label}", exist_ok=True)
        image = Image.fromarray((pixels * (255 / 16)).astype(np.uint8))
        image.save(f"{target}/{path}")
        rows.append((path, int(label)))
    with open(f"{target}/labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        writer.writerows(rows)
    return len(rows)


def _correct_labels() -> None:
    with open("labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    for row in rows[1 : 1 + MISREAD * 70 : 70]:
        row[1] = str((int(row[1]) + 1) % 10)
    with open("labels.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _remove_images() -> None:
    for name in sorted(os.listdir("digits/8"))[:BLANK]:
        os.unlink(f"digits/8/{name}")


def _tell(text: str) -> None:
    output.say()
    output.say(f"# {text}")


def _dv(*arguments: str) -> None:
    from dvtool.cli.main import run

    output.say(output.paint(f"$ dv {_shown(arguments)}", "cyan"))
    code = run(arguments)
    if code:  # which said why
        output.warn("dv: the demo stopped there")
        raise click.exceptions.Exit(code)


def _shown(arguments: Sequence[str]) -> str:
    return " ".join(f'"{word}"' if " " in word else word for word in arguments)


def _check(condition: object) -> None:
    if not condition:
        raise DvError("the demo stopped: the data are not what they should be")


def _sizes() -> tuple[int, int]:
    stored = raw = 0
    for directory, _names, files in os.walk("."):
        size = sum(os.path.getsize(os.path.join(directory, name)) for name in files)
        if directory.startswith("./.dv/store"):
            stored += size
        elif not directory.startswith("./.dv"):
            raw += size
    return stored, raw
