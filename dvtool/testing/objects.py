"""Objects in memory, for what reads and edits trees without a store around it."""

from __future__ import annotations

from dvtool import digest


class RememberedObjects:
    """Objects by id, with the ids that were asked for and put, in order.

    Stricter than a store: asking for what was never put is an error of the caller's, and so is asking by another kind.
    """

    def __init__(self, key: bytes = bytes(range(32))) -> None:
        """Start with none; ``key`` is the id key."""
        self.hasher = digest.IdHasher(key)
        self.kept: dict[bytes, bytes] = {}
        self.reads: list[bytes] = []
        self.writes: list[bytes] = []

    def read_object(self, kind: int, identity: bytes) -> bytes:
        """Return an object.

        Raises:
            KeyError: when it was never put.
            ValueError: when it is of another kind.
        """
        self.reads.append(identity)
        data = self.kept[identity]
        if self.hasher.id(kind, data) != identity:
            message = f"{identity.hex()} is no object of kind {kind}"
            raise ValueError(message)
        return data

    def put_object(self, kind: int, data: bytes) -> bytes:
        """Keep an object and return its id."""
        identity = self.hasher.id(kind, data)
        self.writes.append(identity)
        self.kept[identity] = data
        return identity
