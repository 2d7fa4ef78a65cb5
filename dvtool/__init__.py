"""Version control for data sets: snapshots, differences, lineage and provable erasure.

``dvtool.open(path)`` returns a :class:`dvtool.repo.Repo`; everything the command line does is a method of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dvtool.repo import Repo
    from dvtool.tracking import run

__all__ = ["__version__", "init", "open", "run"]


def open(path: str = ".") -> Repo:  # noqa: A001 - the name of the public contract
    """Open the repository that holds ``path``.

    Raises:
        NotFoundError: when neither ``path`` nor a directory above it is one.
    """
    from dvtool.repo import Repo

    return Repo.open(path)


def init(path: str = ".") -> Repo:
    """Make a repository in the directory ``path`` and open it.

    Raises:
        ExistsError: when there is one already.
        ConflictError: when ``path`` lies inside another repository.
    """
    from dvtool.repo import Repo

    return Repo.init(path)


def __getattr__(name: str) -> object:
    """Load what records runs when it is first asked for; ``import dvtool`` does without."""
    if name == "run":
        from dvtool.tracking import run

        return run
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
