"""What looks random to everybody but those who can open the locator, for whom it is the same.

So whoever follows an erasure, in another clone or at a remote, arrives at the same new snapshots and runs, and two
erasures that were made apart at the same ones, whichever is followed first.  When nobody is left who can open the
locator, nothing tells it from random bytes any more.
"""

from __future__ import annotations

from dvtool import digest
from dvtool.formats import codec


class Draw:
    """Draws nonces and tokens for one erasure."""

    def __init__(self, key: bytes) -> None:
        """Draw under the key of its locator (32 bytes)."""
        self._nonces = digest.derive(key, b"dv erasure: nonces")
        self._tokens = digest.derive(key, b"dv erasure: tokens")

    def nonce(self, old: bytes, *about: object) -> bytes:
        """Return the nonce of what takes the place of an object.

        Args:
            old: the nonce of that (32 bytes).  It is masked and not replaced, so that the order of erasures does not
                matter.
            about: what an erasure leaves as it is and hardly two objects have in common, as MessagePack can say it:
                two nonces that were masked alike would tell of each other.
        """
        mask = digest.keyed(self._nonces, codec.encode(about))
        return bytes(a ^ b for a, b in zip(old, mask, strict=True))

    def token(self, fingerprint: bytes) -> bytes:
        """Return what stands for a fingerprint (32 bytes): the same for the same one."""
        return digest.keyed(self._tokens, fingerprint)
