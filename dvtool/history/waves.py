"""What is still to be looked at when objects are followed, in pieces that are worth looking up together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dvtool import ids

if TYPE_CHECKING:
    from collections.abc import Collection

REMEMBERED: Final = 262144
"""Ids of each kind that are remembered as met, to pass over them at once."""
WAVE: Final = 4096
"""Objects that are looked up and read together, at least where there are more."""


class Waves:
    """Ids of what is to be looked at, by kinds; what was given before is passed over, as far as it is remembered.

    Most of a large directory that changed a little was met with its earlier versions.
    """

    def __init__(self, roots: dict[int, set[bytes]]) -> None:
        """Begin with some."""
        self._waiting: dict[int, list[set[bytes]]] = {}
        self._met: dict[int, set[bytes]] = {}
        for kind, found in roots.items():
            self.add(kind, found)

    def add(self, kind: int, found: Collection[bytes]) -> None:
        """Add ids of a kind, but for those that were given before."""
        if not found:
            return
        met = self._met.setdefault(kind, set())
        if len(met) > REMEMBERED:
            met.clear()
        fresh = set(found) - met
        met |= fresh
        waves = self._waiting.setdefault(kind, [])
        if waves and len(waves[-1]) < WAVE:
            waves[-1] |= fresh
        elif fresh:
            waves.append(fresh)

    def take(self) -> tuple[int, set[bytes]] | None:
        """Return the next wave: trees last, which come to more when all that leads to them was met."""
        for kind, waves in sorted(self._waiting.items(), key=lambda each: each[0] in {ids.TREE, ids.MANIFEST}):
            if waves:
                return kind, waves.pop()
        return None
