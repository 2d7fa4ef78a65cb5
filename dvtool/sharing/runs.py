"""Which runs travel between two stores, and which of two objects of one run goes before the other.

A run is written anew at times, and counts how often; whoever has the greater count has what is known of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool.errors import DvError, FormatError
from dvtool.formats import log, run
from dvtool.history import graph, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dvtool.formats.run import Run
    from dvtool.formats.snapshot import Snapshot
    from dvtool.store.store import Store

NAMED: Final = 3
"""Runs that are named one by one; of more than so many only the number is said."""


def title(name: str) -> str:
    """Return the name of a run's ref as people say it."""
    return f"run {name.removeprefix(recorded.PREFIX)}"


def say(tell: Callable[[str], None], names: Iterable[str], what: str) -> None:
    """Say of each of some runs, or of all of them together, what there is to say.

    Args:
        tell: takes the words.
        names: their refs.
        what: with ``{}`` in the place of the runs.
    """
    titles = [title(name) for name in sorted(names)]
    for each in titles if len(titles) <= NAMED else [f"{len(titles):,} runs"]:
        tell(what.format(each))


class Choice:
    """Chooses between what two stores have of a run, and remembers what was left as it is, and why."""

    def __init__(self, *, yields: bool = False) -> None:
        """Start with nothing chosen.

        Args:
            yields: of two objects that differ in nothing but in what the same erasures left, which were made apart,
                take the one that comes: so all arrive at the same.
        """
        self._yields = yields
        self.behind: set[str] = set()
        """The runs that were written anew elsewhere, where they were to move to."""
        self.apart: set[str] = set()
        """Those of which there are two objects that were written anew equally often."""
        self.unread: dict[str, DvError] = {}
        """Those that cannot be read, or are no runs."""

    def forward(self, name: str, old: tuple[Store, bytes] | None, new: tuple[Store, bytes]) -> bool:
        """Return whether a ref may move from one object of a run, if it has one, to another; each with its store."""
        for found in (self.behind, self.apart):
            found.discard(name)
        self.unread.pop(name, None)
        try:
            coming = recorded.named(new[0], name, new[1])
            before = recorded.read(*old) if old is not None else None
            if before is None or coming.revision > before.revision or (self._yields and _same_erased(before, coming)):
                return True
        except DvError as error:
            self.unread[name] = error
            return False
        (self.apart if coming.revision == before.revision else self.behind).add(name)
        return False


def _same_erased(one: Run, other: Run) -> bool:
    """Return whether two objects of a run were written anew by erasures alone, and by the same ones."""
    erasures = [{each.erasure for each in run.erased_of(found)} for found in (one, other)]
    return erasures[0] == erasures[1] and one.revision == other.revision == len(erasures[0])


def incoming(here: Store, wanted: Mapping[str, bytes], choice: Choice) -> list[log.MoveRef]:
    """Return how refs of runs here may have to move to what a remote has.

    Of a run that is here as well, and whose other object did not come yet, :func:`settled` decides.
    """
    ours = dict(here.state.ref_names(recorded.PREFIX))
    moves = []
    for name, value in sorted(wanted.items()):
        old = ours.get(name)
        if not name.startswith(recorded.PREFIX) or old == value:
            continue
        if log.symbolic(value) is not None or not run.is_id(name.removeprefix(recorded.PREFIX)):
            choice.unread[name] = FormatError("its name, or what it names, is not that of a run")
        elif old is None or not here.has(value) or choice.forward(name, (here, old), (here, value)):
            moves.append(log.MoveRef(name=name, old=old, new=value))
    return moves


def divided(moves: Iterable[log.MoveRef]) -> tuple[list[bytes], list[bytes]]:
    """Return the snapshots that refs move to, and the runs."""
    tips: list[bytes] = []
    runs: list[bytes] = []
    for move in moves:
        if move.new is not None:
            (runs if move.name.startswith(recorded.PREFIX) else tips).append(move.new)
    return tips, runs


def settled(here: Store, moves: Iterable[log.MoveRef], choice: Choice) -> list[log.MoveRef]:
    """Return those of some moves that lead forward, now that what runs move to is here; others than of runs do."""
    return [
        move
        for move in moves
        if not move.name.startswith(recorded.PREFIX)
        or move.new is None
        or choice.forward(move.name, (here, move.old) if move.old is not None else None, (here, move.new))
    ]


def belonging(
    here: Store,
    tip: bytes,
    candidates: Mapping[str, bytes],
    read: Callable[[bytes], Snapshot],
    choice: Choice,
) -> dict[str, bytes]:
    """Return those of some runs that belong to a branch, and those whose outputs they used.

    A run belongs to it that read a snapshot on its history, or a worktree with changes to one; and so does a run that
    read nothing of which a snapshot is kept.

    Args:
        here: the store.
        tip: the newest snapshot of the branch.
        candidates: by the names of their refs, the runs.
        read: returns a snapshot.
        choice: is told of those that cannot be read.
    """
    runs: dict[str, Run] = {}
    places: dict[str, set[bytes]] = {}
    for name, value in candidates.items():
        try:
            runs[name] = recorded.named(here, name, value)
            places[name] = _places(here, runs[name], read)
        except DvError as error:
            choice.unread[name] = error
    wanted = set().union(*places.values())
    reached = graph.reached([tip], wanted, read, here.state.standing) if wanted else set()
    pending = [name for name, found in places.items() if not found or not found.isdisjoint(reached)]
    chosen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in places and name not in chosen:
            chosen.add(name)
            pending += [run.ref_name(source.run) for source in runs[name].sources if source.run]
    return {name: candidates[name] for name in chosen}


def _places(here: Store, found: Run, read: Callable[[bytes], Snapshot]) -> set[bytes]:
    """Return the snapshots of which one is on the history of a branch that the run belongs to; none if it is on all."""
    places: set[bytes] = set()
    for source in found.sources:
        identity = here.state.standing(source.snapshot) if source.snapshot else None
        if identity is None:
            continue
        parents = graph.standing(read(identity).parents, here.state.standing) if source.dirty else [identity]
        places.update(parents)
        if source.dirty and parents:
            places.add(identity)  # somebody may have made a branch of it
    return places
