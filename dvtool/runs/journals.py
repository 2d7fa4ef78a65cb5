"""Where the journals of runs that go on lie, and who takes part in them."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING, Final

from dvtool.capture import recorder
from dvtool.formats import run

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY: Final = "runs"
"""Below ``.dv``: a directory for each run that goes on, or waits to be stored."""

NEW: Final = "new-"
"""Before the id, in the name of a journal that is being made."""
OLD: Final = 86_400
"""Seconds after which a journal that is still being made is one of a command that was stopped meanwhile."""


def waiting(control: str) -> list[str]:
    """Return the ids of the runs of a worktree (by its ``.dv``) that are not stored yet."""
    try:
        return sorted(name for name in os.listdir(f"{control}/{DIRECTORY}") if run.is_id(name))
    except OSError:
        return []


def sweep(control: str) -> None:
    """Remove what commands left that were stopped while they made a journal."""
    with contextlib.suppress(OSError):
        for name in os.listdir(f"{control}/{DIRECTORY}"):
            place = f"{control}/{DIRECTORY}/{name}"
            if name.startswith(NEW) and time.time() - os.lstat(place).st_mtime > OLD:
                shutil.rmtree(place, ignore_errors=True)


def is_going(directory: str) -> bool:
    """Return whether a process takes part in the run with this journal."""
    try:
        held = recorder.hold(directory, alone=True)
    except OSError:
        return False
    if held is None:
        return True
    os.close(held)
    return False


@contextlib.contextmanager
def alone(directory: str) -> Iterator[bool]:
    """Keep others out of a run while it is stored; False when some still take part in it, or it is gone."""
    try:
        held = recorder.hold(directory, alone=True)
    except OSError:
        held = None
    try:
        yield held is not None
    finally:
        if held is not None:
            os.close(held)


def remove(directory: str) -> None:
    """Remove the journal of a run that is stored."""
    # First what makes it a run: a directory that is left half removed is then nobody's.
    with contextlib.suppress(OSError):
        os.unlink(f"{directory}/{recorder.BEGIN}")
    shutil.rmtree(directory, ignore_errors=True)
