"""Holds: which are in force, and what they keep from being erased.

Whoever erases asks :func:`standing` for the state that its entry will follow, and :func:`covering` about its targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool import globs, ids
from dvtool.errors import DvError, FormatError
from dvtool.formats import hold, log, project

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dvtool.formats.hold import Hold
    from dvtool.formats.project import Subject
    from dvtool.globs import Glob
    from dvtool.store.state import State
    from dvtool.store.store import Store

PREFIX: Final = f"{log.HOLDS}/"
"""What the names of refs begin with that name holds."""
OF_SUBJECT: Final = "subject:"
"""What stands before the id of a subject where paths are listed beside it."""


def every(store: Store, state: State) -> list[Hold]:
    """Return all holds that were not released, the oldest first, those that are over among them.

    Raises:
        IntegrityError, FormatError: when one is missing, damaged, or another than its ref says; the error names it.
    """
    found = [named(store, name, value) for name, value in state.ref_names(PREFIX)]
    return sorted(found, key=lambda each: (each.created, each.id))


def standing(store: Store, state: State, now: int) -> list[Hold]:
    """Return the holds that are in force, the oldest first.

    Args:
        store: the store.
        state: where it stands.
        now: microseconds since 1970 UTC.

    Raises:
        IntegrityError, FormatError: as :func:`every`; nobody can tell then what must be kept.
    """
    return [each for each in every(store, state) if not is_over(each, now)]


def expired(store: Store, state: State, now: int) -> list[Hold]:
    """Return the holds that are over and were not released; the rest is as for :func:`standing`."""
    return [each for each in every(store, state) if is_over(each, now)]


def is_over(found: Hold, now: int) -> bool:
    """Return whether a hold has ended by itself."""
    return found.until is not None and found.until <= now


def named(store: Store, name: str, identity: bytes) -> Hold:
    """Return the hold that a ref names; raises as :func:`every`."""
    try:
        return check_name(name, hold.decode(store.read_object(ids.HOLD, identity)))
    except DvError as error:
        own = name.removeprefix(PREFIX)
        raise type(error)(
            f"hold {own} cannot be read, and nobody can tell what must be kept",
            where=name,
            why=error.finding(),
            next=f"run 'dv fsck --repair'; if it cannot be mended, give it up with 'dv hold release {own}'",
        ) from None


def check_name(name: str, found: Hold) -> Hold:
    """Return a hold that a ref names; raises :class:`FormatError` when the ref has the name of another."""
    if hold.ref_name(found.id) != name:
        raise FormatError("a ref names another hold than its name says", where=name, why=f"it is {found.id.hex()}")
    return found


def covering(
    holds: Iterable[Hold], paths: Sequence[str], subjects: Iterable[str], *, rules: Sequence[Subject]
) -> list[tuple[Hold, str]]:
    """Return which holds stand in the way of which targets.

    Args:
        holds: those in force.
        paths: paths from the root, each of one file (of a directory, each of what lies in it).
        subjects: ids of subjects.
        rules: those of ``dv.toml`` as it is now.

    Returns:
        Pairs in the order of ``holds``: the hold, and a path or ``subject:ID`` that it covers.
    """
    ids_asked = list(dict.fromkeys(subjects))
    found: list[tuple[Hold, str]] = []
    for each in holds:
        held = globs.Matcher(patterns_of(each, rules))
        found += [(each, f"{OF_SUBJECT}{one}") for one in ids_asked if each.subject and one == each.subject]
        found += [(each, path) for path in paths if held.covers(path)]
    return found


def patterns_of(found: Hold, rules: Iterable[Subject]) -> list[Glob]:
    """Return the patterns of the paths that a hold covers, by the rules as they are now."""
    if not found.subject:
        return [globs.by_path(pattern) for pattern in found.paths]
    return [globs.by_word(rule.paths, project.SUBJECT, found.subject) for rule in rules if rule.paths is not None]
