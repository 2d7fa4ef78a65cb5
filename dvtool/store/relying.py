"""What a transaction does not store because a pack holds it already, and what follows from that for its entry.

An entry may not rely on a condemned pack (rule 3 of the protocol), and it says which of the packs that were put aside
it leads to (ADR 14).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dvtool.errors import ConflictError
from dvtool.formats import log, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

    import msgspec

    from dvtool.digest import IdHasher
    from dvtool.formats import index
    from dvtool.store.segments import Segment, Segments
    from dvtool.store.state import State


class Holder(Protocol):
    """What holds the packs: a store."""

    segments: Segments
    hasher: IdHasher

    @property
    def state(self) -> State:
        """The state as last folded."""
        ...

    def refresh(self) -> State:
        """Fold what is new in the log."""
        ...

    def holder(self, identity: bytes) -> str | None:
        """Return the pack that holds ``identity`` for good."""
        ...


class Relied:
    """The frames of packs that a transaction relies on, and the packs that it put aside itself."""

    def __init__(self, store: Holder) -> None:
        """Start with none."""
        self._store = store
        self.frames: dict[str, bytearray] = {}
        """By pack (its file), one bit for each frame: whether its content was not stored again because it is there."""
        self.aside: set[str] = set()
        """The packs (their files) that the transaction put aside, and that what is committed leads to."""

    def note(self, name: str, number: int) -> None:
        """Note that a frame of the pack ``name`` is relied on."""
        if name in self.aside:
            return
        bits = self.frames.setdefault(name, bytearray())
        if len(bits) <= number >> 3:
            bits.extend(bytes((number >> 3) + 1 - len(bits)))
        bits[number >> 3] |= 1 << (number & 7)

    def add(self, name: str, frames: bytes) -> None:
        """Note what another process relied on: frames of the pack ``name``, as in :attr:`frames`."""
        known = self.frames.setdefault(name, bytearray())
        known.extend(bytes(max(0, len(frames) - len(known))))
        for at, bits in enumerate(frames):
            known[at] |= bits

    def refuse_condemned(self, state: State) -> None:
        """Refuse to rely on a pack that was condemned since (rule 3 of the protocol), unless another holds the same.

        A collector that writes packs anew condemns the old ones in the same entry.
        """
        for name in sorted(self.aside):
            if state.is_doomed(name):
                raise _condemned(name)
        doomed = {name for name in self.frames if state.is_doomed(name)}
        if not doomed:
            return
        self._store.refresh()
        left = {name: bytearray(self.frames[name]) for name in doomed}
        for name, _segment, identity, location in self._relied_on(doomed):
            if self._store.holder(identity) is not None:
                left[name][location.number >> 3] &= ~(1 << (location.number & 7))
        for name in sorted(doomed):
            if any(left[name]):
                raise _condemned(name)

    def _relied_on(self, names: AbstractSet[str]) -> Iterator[tuple[str, Segment, bytes, index.Location]]:
        """Yield the frames of packs that are relied on, as far as index files list them."""
        for name, segment, identity, location in self._store.segments.listed(names):
            bits, number = self.frames[name], location.number
            if number >> 3 < len(bits) and bits[number >> 3] & (1 << (number & 7)):
                yield name, segment, identity, location

    def take(self, copy: Callable[[int, bytes, bytes], None]) -> dict[str, msgspec.Raw]:
        """Take the packs that were put aside and are needed whole; of others store once more what is needed.

        What else lies in those is led to by nothing, and must not count as stored because a part of its pack is.

        Args:
            copy: stores an object or chunk once more, by kind, id and content.

        Returns:
            the sections that say so in the entry.

        Raises:
            ConflictError: when a pack was collected meanwhile.
            IntegrityError: when what is to be stored once more is damaged.
        """
        state = self._store.state
        for name in self.aside:  # one worker found what another one had put aside
            self.frames.pop(name, None)
        aside = {name for name in self.frames if state.aside(name) is not None}
        whole = self._whole(aside)
        partly = aside - whole
        for name, segment, identity, location in self._relied_on(partly):
            kind = location.flags & pack.KIND_MASK
            copy(kind, identity, segment.read(kind, identity, location, self._store.hasher))
            self.frames[name][location.number >> 3] &= ~(1 << (location.number & 7))
        for name in partly:
            if any(self.frames[name]):
                raise _condemned(name)  # it was collected, and is listed no more
            del self.frames[name]
        return log.taking(bytes.fromhex(name.removeprefix("packs/")) for name in self.aside | whole)

    def _whole(self, names: AbstractSet[str]) -> set[str]:
        """Return those of the packs of which every frame is relied on."""
        live = self._store.segments.live() if names else ()
        packs = (entry for segment in live for entry in segment.index.directory.packs)
        counts = {name: entry.frames for entry in packs if (name := pack.file_name(entry.name)) in names}
        return {name for name, count in counts.items() if sum(map(int.bit_count, self.frames[name])) == count}


def _condemned(name: str) -> ConflictError:
    return ConflictError(
        "what this command built on was condemned as garbage meanwhile",
        where=name,
        next="run it again; nothing was lost",
    )
