"""Gives a store another wrapping secret, so that who knew the old one can read nothing that is added from then on.

No pack and no index file is written anew, and no id changes.  ``docs/design/rotation.md`` says why the steps come in
this order, and what holds when the command is stopped between any two of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.errors import ConflictError, DvError, KeyAccessError
from dvtool.formats import log, storeformat
from dvtool.formats.repokey import Opened
from dvtool.store import checkpoints, keys, protecting
from dvtool.store.keys import Wrapping
from dvtool.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dvtool.effects import Clock, Entropy
    from dvtool.formats.repokey import Protection, Unlock
    from dvtool.storage.backend import Backend
    from dvtool.storage.disk import Disk
    from dvtool.store.segments import Segment
    from dvtool.store.state import State

OPERATION: Final = "rotate"
_LOG_KEY: Final = re.compile("log-[0-9a-f]{32}")
ATTEMPTS: Final = 20
"""Lost races with other writers before giving up; each one costs writing the key files anew."""


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """How many key files and log keys were sealed anew."""

    key_files: int
    log_keys: int


def rotate(
    backend: Backend,
    unlock: Unlock,
    protection: Protection,
    *,
    clock: Clock,
    entropy: Entropy,
    disk: Disk | None = None,
    hold: Callable[[], None] = lambda: None,
    require: Callable[[Opened], Opened] = lambda opened: opened,
) -> Rotation:
    """Replace the wrapping secret of a store, and seal its keys anew under what follows from the new one.

    A rotation that was stopped is finished first: the secret that it began with may be known by now.

    Args:
        backend: the place of the store; the caller holds others off its ``keys/repo``.
        unlock: opens that as it is.
        protection: how it is protected from the first step on.
        clock: tells the time of entries.
        entropy: makes the secret, and what is used once.
        disk: where tables of a checkpoint are put together.
        hold: makes sure that others are still held off; called before each change that theirs would not go with.
        require: returns what a key protects, or refuses one that is not the repository's.

    Raises:
        KeyAccessError: when the key does not open.
        UsageError: when nobody here could open it as it is to be protected.
        ConflictError: when an erasure is under way, others write all the time, or somebody is not held off any more.
        IntegrityError: when a key file is damaged; the store is whole otherwise, and can be mended first.
        StorageError: when the place refuses. Whatever was done by then holds, and the same call again finishes it.
    """
    form = storeformat.decode(backend.read("format"))

    def open_store(unlock: Unlock) -> Store:
        return Store(backend, clock=clock, entropy=entropy, disk=disk, unlock=unlock)

    def change(unlock: Unlock, wrap: Wrapping, become: Callable[[Opened], Opened]) -> None:
        def checked(opened: Opened) -> Opened:
            return become(_unchanged(require(opened), wrap))

        protecting.change(backend, form.repository, unlock, protection, entropy=entropy, become=checked, hold=hold)

    def finish(unlock: Unlock) -> Rotation:
        store = open_store(unlock)
        done = _Switch(store, hold).run()
        wrap = store.secrets.wrap
        change(unlock, wrap, lambda opened: Opened(secret=opened.secret, wrapping=opened.wrapping))
        return done

    if keys.open_repokey(backend, form.repository, unlock).previous is not None:
        finish(unlock)
        unlock = protecting.opening(protection, unlock)
    store = open_store(unlock)
    _require_ready(store.refresh())
    change(unlock, store.secrets.wrap, lambda opened: _begun(opened, entropy))
    return finish(protecting.opening(protection, unlock))


def _require_ready(state: State) -> None:
    """Refuse to begin where the switch could not be made.

    Raises:
        ConflictError: when an erasure is under way, or the log has no entry yet: whoever appends the first one makes
            a log key for it, and nothing would tell them that theirs is sealed under the wrong secret.
    """
    if state.lock:
        raise ConflictError(
            "an erasure is under way in this store", next="wait for it; if it was stopped, run 'dv erasure resume'"
        )
    if not state.number:
        raise ConflictError("the store is empty", next="put something into it first, or make it anew")


def _unchanged(opened: Opened, wrap: Wrapping) -> Opened:
    """Return what a key protects, if it is still the one with which the store was opened.

    Raises:
        ConflictError: when somebody put another in its place: the secret that the store needs would be lost.
    """
    if keys.Secrets(opened).wrap.current != wrap.current:
        raise ConflictError(
            "the repository key was changed by somebody else meanwhile",
            where=keys.REPOSITORY_KEY,
            next="run the command again",
        )
    return opened


def _begun(opened: Opened, entropy: Entropy) -> Opened:
    """Return the secrets of a store whose wrapping secret is being replaced."""
    made = keys.for_another_store(opened, entropy)
    return Opened(secret=opened.secret, wrapping=made.wrapping, previous=opened.wrapping)


class _Switch:
    """Brings a store, whose key holds the new secret and the old one, under the new one alone."""

    def __init__(self, store: Store, hold: Callable[[], None]) -> None:
        self.store = store
        self.hold = hold
        self.backend = store.backend
        self.id = store.format.store
        self.new = Wrapping(current=store.secrets.wrap.current)
        self.renewed = 0

    def run(self) -> Rotation:
        """Do all that is not done yet; from then on nothing needs the old secret."""
        self._switch()
        again = self._seal_log_keys()
        self._give_up()
        self._require_done()
        return Rotation(key_files=self.renewed, log_keys=again)

    def _switch(self) -> None:
        """Append a checkpoint under a new log key, which names key files that are sealed anew."""
        label = b""
        for _attempt in range(ATTEMPTS):
            if self._is_switched(self.store.refresh()):
                return
            self.hold()
            if not label:
                label = keys.write_log_key(self.backend, self.id, self.new, self.store.entropy)
            # Built anew after each lost race: what it says is for the very entry before (rule 7 of the protocol).
            checkpoints.write(self.store, operation=OPERATION, label=label, renew=self._renew)
        raise ConflictError(
            "the keys could not be replaced while others write all the time",
            next="run the command again when fewer are at work; nothing was lost",
        )

    def _switched(self) -> State:
        """Return the state, of which the newest entry is still under the new secret.

        Who has the old one, and does not keep to the rules, can append an entry under an old log key until those are
        sealed anew.  Then it is not known which key ends where, and what the old secret opens must not go.

        Raises:
            ConflictError: when somebody did.
        """
        state = self.store.refresh()
        if not state.label or not self._is_switched(state):
            raise _unfinished("the newest entries")
        return state

    def _is_switched(self, state: State) -> bool:
        """Return whether the newest log key and all live key files open with the new secret alone."""
        try:
            if state.label:
                keys.read_log_key(self.backend, self.id, self.new, state.label)
            for segment in state.segments:
                keys.read_key_file(self.backend, self.id, self.new, segment.keys)
        except KeyAccessError:
            return False
        return True

    def _renew(self, segments: Sequence[Segment]) -> tuple[list[log.Segment], list[str]]:
        """Put the key files of segments anew; return the segments from here on, and the files given up."""
        kept: list[log.Segment] = []
        given_up: list[str] = []
        for segment in segments:
            named = segment.description
            try:
                keys.read_key_file(self.backend, self.id, self.new, named.keys)
                kept.append(named)
            except KeyAccessError:
                name = f"keys/{self.store.entropy.bytes(16).hex()}"
                keys.write_key_file(self.backend, self.id, self.new, name, segment.keys, self.store.entropy)
                kept.append(msgspec.structs.replace(named, keys=name))
                given_up.append(named.keys)
        self.renewed = len(given_up)
        return kept, given_up

    def _seal_log_keys(self) -> int:
        """Seal the log keys of earlier entries anew, for these entries alone, and return how many there were."""
        state = self._switched()
        last = self.store.log.begins(state.label) - 1
        count = 0
        for label in self._labels():
            if label != state.label and self._seal_log_key(label, last):
                count += 1
        return count

    def _seal_log_key(self, label: bytes, last: int) -> bool:
        wrap = self.store.secrets.wrap
        try:
            found = keys.read_log_key(self.backend, self.id, wrap, label)
        except DvError:
            return False  # destroyed, damaged, or of a secret that nobody has: it opens nothing as it is
        if found.last is not None and self._opens(label):
            return False
        self.hold()
        found = msgspec.structs.replace(found, last=last if found.last is None else min(last, found.last))
        keys.replace_log_key(self.backend, self.id, self.new, label, found, self.store.entropy)
        if self.store.refresh().dropped.get(keys.log_key_name(label).encode()) is not None:
            self.backend.purge(keys.log_key_name(label))  # an erasure destroyed it meanwhile: it must not come back
            return False
        return True

    def _give_up(self) -> None:
        """Drop and delete condemned key files that the old secret opens, without a grace: it is for their sake."""
        state = self._switched()
        live = {segment.keys for segment in state.segments}
        old = [name for name in self._condemned(state) if name not in live and not self._is_new(name)]
        if old:

            def drop(current: State) -> list[log.Action]:
                names = tuple(sorted(name for name in old if current.condemned.get(name.encode()) is not None))
                return [log.Drop(names=names)] if names else []

            self.store.log.append(OPERATION, drop)
            state = self._switched()
        self.hold()
        for last in sorted(self.backend.names("keys")):
            if state.dropped.get(f"keys/{last}".encode()) is not None:
                self.backend.purge(f"keys/{last}")
        self.backend.flush()

    def _condemned(self, state: State) -> Iterator[str]:
        for name, _time in state.condemned.items(b"keys/"):
            if not name.startswith(b"keys/log-") and self.backend.exists(name.decode()):
                yield name.decode()

    def _is_new(self, name: str) -> bool:
        try:
            keys.read_key_file(self.backend, self.id, self.new, name)
        except KeyAccessError:
            return False
        except DvError:
            return True  # damaged or gone: left to the collector
        return True

    def _require_done(self) -> None:
        """Refuse to give the old secret up while something that is needed opens with it alone.

        Raises:
            ConflictError: when there is such a thing.
        """
        state = self.store.refresh()
        wrap = self.store.secrets.wrap
        left = [] if self._is_switched(state) else ["the newest entries"]
        for label in self._labels():
            try:
                keys.read_log_key(self.backend, self.id, wrap, label)
            except DvError:
                continue
            if not self._opens(label):
                left.append(keys.log_key_name(label))
        if left:
            raise _unfinished(left[0])

    def _labels(self) -> Iterator[bytes]:
        for name in sorted(self.backend.names("keys")):
            if _LOG_KEY.fullmatch(name):
                yield bytes.fromhex(name.removeprefix("log-"))

    def _opens(self, label: bytes) -> bool:
        """Return whether the new secret alone opens a log key."""
        try:
            keys.read_log_key(self.backend, self.id, self.new, label)
        except KeyAccessError:
            return False
        return True


def _unfinished(what: str) -> ConflictError:
    return ConflictError(
        "others changed the keys of the store meanwhile",
        why=f"the old secret is still needed for {what}",
        next="run the command again; nothing was lost",
    )
