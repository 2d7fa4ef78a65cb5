"""``dv demo``: a morning's work on real data, command by command.

The data are the UCI handwritten digits that scikit-learn carries: 1,797 images of 8 by 8 pixels, with labels.
"""

from __future__ import annotations

import csv
import glob
import os
import shutil
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import click

from dvtool.cli import demo_scripts, exits, output, shared
from dvtool.errors import ConflictError, DvError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.cli.opening import Settings

MISREAD = 23
"""How many labels the story corrects."""
BLANK = 12
"""How many images the story finds unusable and removes."""
HELD_OUT = 5
"""Of how many images the story sets one aside for a test."""
LEAKED = 3
"""How many of those it copies instead of moving them."""


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

    _share(target)
    _record_runs()

    stored, raw = _sizes()
    _tell(
        f"All of it takes {output.size(stored)} in the store, sealed (data and models here: {output.size(raw)}). "
        f"Everything took {time.monotonic() - began:.1f} s. Look around: cd {target}"
    )


def _share(target: str) -> None:
    """Push to a directory beside, and clone from there."""
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


def _record_runs() -> None:
    """Train models and ask which data made which."""
    leaked = _hold_out()
    _tell(f"Set every {HELD_OUT}th image aside for a test, and say in dv.toml which directory has which role.")
    _dv("add", "heldout")
    _dv("commit", "-a", "-m", f"every {HELD_OUT}th image is held out")

    _tell("Train two models on the rest. 'dv run' records what they read and made; the programs say how good they are.")
    for kind in ("neighbours", "logistic"):
        made = ("--out", f"models/{kind}.pkl")
        _run("--name", kind, "--stage", "train", "--in", "digits", *made, program=("train.py", kind))

    _tell(
        "An ensemble of both, tried on what was held out. It opens the models as any program would; nobody names them."
    )
    made = ("--out", "models/ensemble.pkl")
    _run("--name", "ensemble", "--stage", "eval", "--in", "heldout", *made, program=("ensemble.py",))

    _tell("Which runs there are, and what differs between two of them.")
    _dv("runs", "list")
    _dv("runs", "diff", "neighbours", "logistic")

    _tell("What is the ensemble made from, all the way up?")
    _dv("lineage", "ensemble")
    _tell("Do the training and the test data overlap, by content?")
    _dv("check", "leakage", "train", "test", wanted=exits.DIFFERENT)
    _tell("They do: these images were copied by mistake, not moved. Which models have seen one of them?")
    _dv("lineage", leaked, "--down")
    _tell("And who has read the test data? Both models have, by the copies: a file is known by its content.")
    _dv("check", "splits", wanted=exits.DIFFERENT)
    _tell("Runs travel with the branch that they belong to.")
    _dv("push")


def _hold_out() -> str:
    """Move some images elsewhere, copy a few of them, and return the path of one that now lies at two places."""
    paths = sorted(glob.glob("digits/*/*.png"))[::HELD_OUT]
    for at, path in enumerate(paths):
        place = path.replace("digits/", "heldout/")
        os.makedirs(os.path.dirname(place), exist_ok=True)
        (shutil.copyfile if at < LEAKED else os.rename)(path, place)
    os.makedirs("models", exist_ok=True)
    with open("dv.toml", "a", encoding="utf-8") as file:
        file.write(demo_scripts.SPLITS)
    for name, text in (("train.py", demo_scripts.TRAIN), ("ensemble.py", demo_scripts.ENSEMBLE)):
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)
    return paths[0].replace("digits/", "heldout/")


def _run(*options: str, program: tuple[str, ...]) -> None:
    """Run a program by the Python that runs this one, which need not be on the path."""
    directory, python = os.path.split(sys.executable)
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = f"{directory}{os.pathsep}{before}"
    try:
        _dv("run", *options, "--", python, *program)
    finally:
        os.environ["PATH"] = before


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


def _dv(*arguments: str, wanted: int = exits.DONE) -> None:
    from dvtool.cli.main import run

    output.say(output.paint(f"$ dv {_shown(arguments)}", "cyan"))
    code = run(arguments)
    if code != wanted:  # which said why
        output.warn("dv: the demo stopped there")
        raise click.exceptions.Exit(code or exits.DIFFERENT)


def _shown(arguments: Sequence[str]) -> str:
    return " ".join(f'"{word}"' if " " in word else word for word in arguments)


def _check(condition: object) -> None:
    if not condition:
        raise DvError("the demo stopped: the data are not what they should be")


def _sizes() -> tuple[int, int]:
    """Return the bytes of the store, and those of data and models in the worktree."""
    found = []
    for tops in ((".dv/store",), ("digits", "heldout", "models")):
        below = [f"{place}/{name}" for top in tops for place, _, names in os.walk(top) for name in names]
        found.append(sum(map(os.path.getsize, below)))
    return found[0], found[1] + os.path.getsize("labels.csv")
