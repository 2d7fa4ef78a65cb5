"""Finds out what a place can really do, by doing it: for ``remote check``, and before a store is made there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.errors import DvError, ExistsError
from dvtool.storage.backend import keeping_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.effects import Clock, Entropy
    from dvtool.storage.backend import Backend

DIRECTORY: Final = "acks"
"""Where probes are written: dv reads nothing from names that it does not know there."""

_ROUND: Final = 1_000_000


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What a place was seen to do.

    The first six are ``yes``, ``no: `` and why, or ``unknown: `` and why; the next three are those of
    :class:`~dvtool.storage.backend.Keeping`.  ``skew`` is how far the clock of the place is ahead of the one here, in
    microseconds, to about a second; None when the place did not tell.
    """

    reachable: str
    reading: str
    listing: str
    writing: str
    deleting: str
    exclusive: str
    versioning: str
    soft_delete: str
    lock: str
    skew: int | None


class _Probe:
    """The steps of a probe, of which each says what came of it."""

    def __init__(self, backend: Backend, name: str, clock: Clock) -> None:
        self._backend = backend
        self._name = name
        self._clock = clock
        self.skew: int | None = None

    def reach(self) -> str:
        """Ask for something that is not there."""
        return _yes(lambda: self._backend.exists(self._name))

    def write(self) -> str:
        """Create a file, and hold the place's time of it against the clock here."""
        before = self._clock.now()

        def create() -> None:
            # After a lost reply a retry finds its own work; whether what is there is its own, the reading tells.
            with contextlib.suppress(ExistsError):
                self._backend.create(self._name, _FIRST)

        found = _yes(create)
        if found == _YES:
            after = self._clock.now()
            with contextlib.suppress(DvError):
                modified = self._backend.modified(self._name)
                # Places tell whole seconds; what lies between the two looks at the clock is no skew.
                early, late = before - _ROUND, after + _ROUND
                self.skew = (modified - after if modified > late else min(0, modified - early)) if modified else None
        return found

    def create_again(self) -> str:
        """Create the same file with other bytes, which must be refused, and look which are there."""
        try:
            self._backend.create(self._name, _SECOND)
        except ExistsError:
            refused = True
        except DvError as error:
            return f"unknown: {error.finding()}"
        else:
            refused = False
        try:
            kept = self._backend.read(self._name)
        except DvError as error:
            return f"unknown: {error.finding()}"
        if refused and kept == _FIRST:
            if self._backend.abilities.exclusive:
                return _YES
            return "no: a second creation was refused, but of two at the same moment both may succeed"
        if kept == _SECOND:
            return "no: a second creation wrote over the first"
        return "no: a second creation was not refused" if not refused else "no: something else was there"

    def read(self) -> str:
        """Read what was written, in part."""

        def read() -> None:
            if self._backend.read(self._name, 1, 4) not in {_FIRST[1:5], _SECOND[1:5]}:
                raise DvError("what was read is not what was written")

        return _yes(read)

    def list(self) -> str:
        """Look for the file in a listing."""

        def listed() -> None:
            last = self._name.rpartition("/")[2]
            before = last[:-1]
            if last not in {each.name for each in self._backend.listed(DIRECTORY, after=before, most=100)}:
                raise DvError("a file that was written is not listed")

        return _yes(listed)

    def remove(self) -> str:
        """Remove the file, with all its versions where that is possible."""

        def remove() -> None:
            purged = self._backend.purge(self._name)
            if self._backend.exists(self._name):
                raise DvError("a file that was deleted is still there", why="; ".join(purged.left))

        return _yes(remove)


_YES: Final = "yes"
_FIRST: Final = b"dv: the first of two writers\n"
_SECOND: Final = b"dv: the second of two writers\n"
_NOT_TRIED: Final = "unknown: not tried, as nothing could be written"


def examine(backend: Backend, *, clock: Clock, entropy: Entropy) -> Findings:
    """Return what the place can do, seen by writing, reading and removing one small file under ``acks/probe-``.

    Nothing is raised for what the place refuses: that is a finding.
    """
    probe = _Probe(backend, f"{DIRECTORY}/probe-{entropy.bytes(12).hex()}", clock)
    reachable = probe.reach()
    writing = probe.write() if backend.abilities.writing else "no: this place can only be read"
    written = writing == _YES
    exclusive = probe.create_again() if written else _NOT_TRIED
    reading = probe.read() if written else _NOT_TRIED
    listing = probe.list() if written else _yes(lambda: next(backend.listed(DIRECTORY, most=1), None))
    deleting = probe.remove() if written else _NOT_TRIED
    try:
        keeping = keeping_of(backend)
        kept = (keeping.versioning, keeping.soft_delete, keeping.lock)
    except DvError as error:
        kept = (f"unknown: {error.finding()}",) * 3
    return Findings(
        reachable=reachable,
        reading=reading,
        listing=listing,
        writing=writing,
        deleting=deleting,
        exclusive=exclusive,
        versioning=kept[0],
        soft_delete=kept[1],
        lock=kept[2],
        skew=probe.skew,
    )


def _yes(action: Callable[[], object]) -> str:
    try:
        action()
    except DvError as error:
        return f"no: {error.finding()}"
    return _YES
