"""The one tree of errors, grouped by what a handler can do about each group.

Every error speaks with four voices: *what* went wrong, *where*, *why*, and what to do *next*.  The mapping to exit
codes lives in ``dvtool.cli.exits`` and nowhere else.
"""

from __future__ import annotations

from typing import Final

import msgspec

MEND: Final = "run 'dv fsck --repair', with --from DIR if there is a backup or another copy of the store"
"""What to do next where a file of a store is damaged or missing."""


class Voices(msgspec.Struct, frozen=True, kw_only=True):
    """What an error says, as data: its kind, its four voices, and the names it is about."""

    kind: str
    what: str
    where: str
    why: str
    next: str
    items: tuple[str, ...]

    def error(self) -> DvError:
        """Return an error that says this, of the class that its kind belongs to."""
        found = KINDS.get(self.kind, DvError)
        return found(self.what, where=self.where, why=self.why, next=self.next, items=self.items)


class DvError(Exception):
    """Base of everything that ``dvtool`` raises on purpose.

    Args:
        what: one sentence that names the failure.
        where: the path, ref, pack or id concerned; empty when there is none.
        why: the cause as far as it is known.
        next: what the reader can do now.
        items: names that belong to the failure (paths, mostly); shown as a list, never cut in JSON.
    """

    kind = "error"

    def __init__(
        self, what: str, *, where: str = "", why: str = "", next: str = "", items: tuple[str, ...] = ()
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.next = next
        self.items = items

    def voices(self) -> Voices:
        """Return what this error says, as data that can leave the process."""
        return Voices(
            kind=self.kind,
            what=_encodable(self.what),
            where=_encodable(self.where),
            why=_encodable(self.why),
            next=_encodable(self.next),
            items=tuple(map(_encodable, self.items)),
        )

    def finding(self) -> str:
        """Return what, where and why as one line, for a place that says by itself what to do next."""
        return "; ".join(
            [self.what, *(f"{of}: {text}" for of, text in (("where", self.where), ("why", self.why)) if text)]
        )

    def __str__(self) -> str:
        """Return the four voices as one line, for logs and uncaught errors."""
        return self.finding() + (f"; next: {self.next}" if self.next else "")


class UsageError(DvError):
    """The call itself is wrong: the caller corrects the arguments and calls again."""

    kind = "usage"


class NotFoundError(DvError):
    """A repository, revision, path or key that was named does not exist."""

    kind = "not-found"


class ExistsError(DvError):
    """What was to be made is there already."""

    kind = "exists"


class ConflictError(DvError):
    """The state of the world forbids it: local changes, a moved ref, a held lock.  The user decides."""

    kind = "conflict"


class IntegrityError(DvError):
    """Stored bytes are not what they claim to be.  Never retried, never hidden."""

    kind = "integrity"


class FormatError(DvError):
    """Bytes that this version cannot read: newer than it knows, or malformed."""

    kind = "format"


class StorageError(DvError):
    """The disk or the network refused; trying again later may help."""

    kind = "storage"


class KeyAccessError(DvError):
    """The keys needed to open a store are missing, wrong or unreadable."""

    kind = "keys"


class ErasedError(DvError):
    """The content asked for was erased, and the erasure is on record."""

    kind = "erased"


class ChecksFailedError(DvError):
    """The work was done and found differences or failed checks; not a fault of the program."""

    kind = "checks"


def _encodable(text: str) -> str:
    """Return a text that can leave the process: bytes of a path that are not UTF-8 as escapes."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a pair, which no path holds
        return text.encode("utf-8", "backslashreplace").decode()


KINDS: Final = {each.kind: each for each in DvError.__subclasses__()}
"""The class of each kind of error; what is derived from one of them is of its kind."""
