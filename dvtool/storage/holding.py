"""Holds others off at a place that is used from several machines, by a file that only one of them can create.

No machine can tell from afar whether the one that made the file still works, so an old one may be taken over.  How old
it is tells the place's own clock: those of the machines may differ by more than it takes.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, Self

from dvtool.errors import ConflictError, DvError, ExistsError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.effects import Entropy
    from dvtool.storage.backend import Backend

DIRECTORY: Final = "acks"
KEY_CHANGE: Final = f"{DIRECTORY}/key-change"
"""Who changes ``keys/repo`` of a store, or gives it another wrapping secret, holds this."""
MARK_SIZE: Final = 16
"""Random bytes by which a holder knows its own file."""
LONG: Final = 3600 * 1_000_000
"""Microseconds after which a holder counts as gone."""
ATTEMPTS: Final = 3
_MINUTE: Final = 60 * 1_000_000


def time_of(backend: Backend, entropy: Entropy) -> int:
    """Return the time by the place's clock, in microseconds since 1970; 0 where it has none.

    It is asked by writing a small file, which goes again.

    Raises:
        StorageError: when the place refuses.
    """
    name = f"{DIRECTORY}/clock-{entropy.bytes(8).hex()}"
    try:
        with contextlib.suppress(ExistsError):  # the name is random, so it is ours: only the reply was lost
            backend.create(name, b"")
        return backend.modified(name)
    finally:
        _remove(backend, name)


class Hold:
    """Holds others off while in its ``with`` block; not to be entered twice."""

    def __init__(
        self, backend: Backend, name: str, *, entropy: Entropy, tell: Callable[[str], None], doing: str
    ) -> None:
        """Prepare to hold ``name``.

        Args:
            backend: the place.
            name: the file that only one can create.
            entropy: makes what this holder knows its own by.
            tell: hears what goes wrong when the command's work is done, and that an old one was taken over.
            doing: what is held, for errors: ``the key of this remote``.
        """
        self._backend = backend
        self._name = name
        self._entropy = entropy
        self._tell = tell
        self._doing = doing
        self._mark = entropy.bytes(MARK_SIZE)

    def __enter__(self) -> Self:
        """Create the file, or take over an old one.

        Raises:
            ConflictError: when somebody else holds it.
            StorageError: when the place refuses.
        """
        try:
            self._take()
        except BaseException:
            with contextlib.suppress(DvError):  # it may be there although nobody said so
                self._let_go()
            raise
        return self

    def __exit__(self, *_failure: object) -> None:
        """Remove the file if it is still one's own; what was done in the block stands whether that works or not."""
        try:
            self._let_go()
        except DvError as error:
            self._tell(f"warning: {self._name} is left, and holds others off for an hour: {error.finding()}")

    def require(self) -> None:
        """Refuse to go on when another has taken over.

        Raises:
            ConflictError: when the file is not one's own any more.
        """
        if self._read() != self._mark:
            raise ConflictError(
                f"somebody else took over the right to change {self._doing}",
                where=self._name,
                why="this command held it for more than an hour, or the file was removed",
                next="run the command again; nothing was lost",
            )

    def _take(self) -> None:
        for _attempt in range(ATTEMPTS):
            try:
                self._backend.create(self._name, self._mark)
            except ExistsError:
                there = self._read()
                # It may be one's own: a creation whose reply was lost is tried again, and finds it.
                if there != self._mark:
                    self._give_way(there)
                    continue
            # Who took the same old one for left behind at the same moment may have removed this one with it.
            if self._read() == self._mark:
                return
        raise self._held(0)

    def _let_go(self) -> None:
        if self._read() == self._mark:
            _remove(self._backend, self._name)

    def _give_way(self, there: bytes | None) -> None:
        """Remove what another holder left behind.

        Raises:
            ConflictError: when it is not old enough for that, or nobody knows how old it is.
        """
        if there is None:
            return  # it was let go meanwhile
        try:
            written = self._backend.modified(self._name)
        except NotFoundError:
            return
        now = time_of(self._backend, self._entropy) if written else 0
        if not written or not now or now - written < LONG:
            raise self._held(max(0, now - written) if written and now else None)
        if self._read() == there:
            self._tell(f"warning: a command that held {self._name} for {_words(now - written)} is taken for dead")
            _remove(self._backend, self._name)

    def _held(self, age: int | None) -> ConflictError:
        if age is None:
            why, after = "the place does not tell since when", "remove that file there"
        else:
            why = f"for {_words(age)} by the clock of the place"
            after = f"this one takes over in {_words(LONG - age)}, or at once when you remove that file there"
        return ConflictError(
            f"somebody else is changing {self._doing}",
            where=self._name,
            why=why,
            next=f"try again when they are done; if their command was killed, {after}",
        )

    def _read(self) -> bytes | None:
        try:
            return self._backend.read(self._name, 0, MARK_SIZE + 1)
        except NotFoundError:
            return None


def _remove(backend: Backend, name: str) -> None:
    if backend.abilities.versions:
        backend.purge(name)
    else:
        backend.delete(name)


def _words(micros: int) -> str:
    """Return a time in words, rounded up: a minute at least."""
    minutes = max(1, -(-micros // _MINUTE))
    if minutes < 120:  # noqa: PLR2004 - two hours
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"{minutes // 60:,} hours"
