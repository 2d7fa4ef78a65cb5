"""Finds out whether a place is safe to keep a store at, and what follows from how it keeps what was deleted."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, Self

from dvtool.errors import ConflictError, StorageError
from dvtool.storage import probing
from dvtool.storage.local import LocalBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.formats.project import Remote as Settings
    from dvtool.storage.backend import Backend
    from dvtool.storage.probing import Findings
    from dvtool.worktree.session import Context

YES: Final = "yes"
OFF: Final = "off"
UNKNOWN: Final = "unknown"


def examine(backend: Backend, context: Context) -> Findings:
    """Return what a place can do, tried with one small file; directories that were made for it go again.

    Nothing is raised for what the place refuses: that is a finding.
    """
    with _Trying(backend, context) as trying:
        return trying.findings()


class _Trying:
    """Makes the directories that a probe needs, and takes them away again unless a store comes to be there."""

    def __init__(self, backend: Backend, context: Context) -> None:
        self._backend = backend
        self._context = context
        self._made: list[str] = []

    def __enter__(self) -> Self:
        if isinstance(self._backend, LocalBackend):
            self._made = list(_missing(self._backend.path(probing.DIRECTORY)))
            with contextlib.suppress(OSError):  # what is tried next fails for the same reason, and that is the finding
                os.makedirs(self._backend.path(probing.DIRECTORY), exist_ok=True)
        return self

    def __exit__(self, *_error: object) -> None:
        self.leave()

    def findings(self) -> Findings:
        return probing.examine(self._backend, clock=self._context.clock, entropy=self._context.entropy)

    def keep(self) -> None:
        """Leave the directories: a store is to be there, perhaps one that others are making at the same time."""
        self._made.clear()

    def leave(self) -> None:
        """Remove the directories that were made, as long as nobody else has put anything there."""
        if self._made and isinstance(self._backend, LocalBackend):
            own = {probing.DIRECTORY, os.path.basename(self._backend.scratch)}
            with contextlib.suppress(OSError):
                if set(os.listdir(self._backend.root)) <= own:
                    for path in (self._backend.scratch, *self._made):
                        _remove_empty(path)


def _remove_empty(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        return  # it is not there, or somebody else has put something into it


def _missing(path: str) -> Iterator[str]:
    """Yield a directory and those above it that are not there, from the bottom up."""
    while not os.path.isdir(path):
        yield path
        path = os.path.dirname(path)


def excludes(found: Findings) -> bool:
    """Return whether the place keeps two writers apart."""
    return found.exclusive == YES


def require_exclusive(backend: Backend, settings: Settings, context: Context, name: str) -> None:
    """Refuse to make a store at a place that cannot keep two writers apart, unless there is to be only one.

    Raises:
        ConflictError: when the place cannot, or does not say.
        StorageError: when nothing can be written there.
    """
    if settings.single_writer is True:
        return
    with _Trying(backend, context) as trying:
        _refuse_unfit(trying.findings(), settings, name)
        trying.keep()


def _refuse_unfit(found: Findings, settings: Settings, name: str) -> None:
    if found.writing != YES:
        raise StorageError(
            "nothing can be written at the remote",
            where=settings.url,
            why=found.writing.removeprefix("no: "),
            next=f"check your access with 'dv remote check {name}', then push again",
        )
    if found.exclusive.startswith(UNKNOWN):
        raise StorageError(
            "whether this place keeps two writers apart could not be found out, and no store was made there",
            where=settings.url,
            why=found.exclusive.removeprefix(f"{UNKNOWN}: "),
            next="push again",
        )
    if not excludes(found):
        raise ConflictError(
            "this place cannot keep two writers apart, and no store was made there",
            where=settings.url,
            why=f"exclusive creation of a file: {found.exclusive}",
            next="use another place; or, if nobody but you will ever write there, add the remote with --single-writer "
            f"(single-writer = true below [remote.{name}] in dv.toml)",
        )
