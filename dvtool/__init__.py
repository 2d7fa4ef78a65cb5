"""Version control for data sets: snapshots, differences, lineage and provable erasure.

``dvtool.open(path)`` returns a :class:`dvtool.repo.Repo`; everything the command line does is a method of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from dvtool import tracking
    from dvtool.repo import Repo

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


def run(
    name: str = "",
    *,
    group: str = "",
    stage: str = "",
    params: Mapping[str, Any] | None = None,
    inputs: Sequence[str | tuple[str, str]] = (),
    outputs: Sequence[str] = (),
    rank: int | None = None,
    shard: str = "",
    nested: bool = False,
    trace: str = "audit",
    require_clean: bool = False,
    directory: str = ".",
) -> tracking.Run:
    """Begin to record a run, or join the one that this process is part of; see :func:`dvtool.tracking.run`."""
    from dvtool import tracking

    return tracking.run(
        name,
        group=group,
        stage=stage,
        params=params,
        inputs=inputs,
        outputs=outputs,
        rank=rank,
        shard=shard,
        nested=nested,
        trace=trace,
        require_clean=require_clean,
        directory=directory,
    )
