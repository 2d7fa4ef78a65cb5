"""Runs as refs name them: what lies behind a ref, and which snapshots it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool import ids
from dvtool.errors import DvError, FormatError
from dvtool.formats import pack, run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.formats.run import Run
    from dvtool.store.state import State
    from dvtool.store.store import Store

PREFIX: Final = "runs/"
"""What the names of refs begin with that name runs."""


def read(store: Store, identity: bytes) -> Run:
    """Return a run.

    Raises:
        IntegrityError: when it is missing or damaged.
        FormatError: when it is no run, or one that a newer dv wrote.
    """
    return run.decode(store.read_object(ids.RUN, identity))


def named(store: Store, name: str, identity: bytes) -> Run:
    """Return the run that a ref names.

    Raises:
        FormatError: when the ref has the name of another run; raises also as :func:`read`.
    """
    return check_name(name, read(store, identity))


def check_name(name: str, found: Run) -> Run:
    """Return a run that a ref names; raises :class:`FormatError` when the ref has the name of another."""
    if run.ref_name(found.id) != name:
        raise FormatError("a ref names another run than its name says", where=name, why=f"it is {found.id}")
    return found


def revision(store: Store, identity: bytes) -> int:
    """Return how often a run had been written anew when this object of it was; -1 when it cannot be read."""
    try:
        return read(store, identity).revision
    except DvError:
        return -1


def is_run(store: Store, identity: bytes) -> bool:
    """Return whether an object that the store has is a run."""
    place = store.segments.find(identity)
    return place is not None and place[1].flags & pack.KIND_MASK == ids.RUN


def values(state: State) -> list[bytes]:
    """Return what the refs of runs name."""
    return [value for _name, value in state.ref_names(PREFIX)]


def places(path: str) -> list[str]:
    """Return where in a worktree there may be what lies at a path in a tree, which may be the tree of a run."""
    top, _, rest = path.partition("/")
    below = rest.partition("/")[2] if top == run.INPUTS else rest if top == run.OUTPUTS else ""
    return [path, below] if below else [path]


def snapshots(store: Store, identities: Iterable[bytes]) -> list[bytes]:
    """Return the ids of the snapshots that some runs name, each once; raises as :func:`read`."""
    return list(dict.fromkeys(each for identity in identities for each in run.names_of(read(store, identity))))
