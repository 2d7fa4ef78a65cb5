"""What people call a snapshot, and which one they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids, paths
from dvtool.errors import ErasedError, NotFoundError, UsageError
from dvtool.formats import log, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.store.store import Store

FULL: Final = 2 * ids.ID_SIZE


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot that was named: its id, what was asked for when that was erased since, and the branch if it is one."""

    id: bytes
    superseded: bytes | None = None
    branch: str | None = None


class Revisions:
    """Resolves revisions in one store, seen from one worktree."""

    def __init__(self, store: Store, head: bytes | None, git: Callable[[str], str]) -> None:
        """Prepare.

        Args:
            store: the store.
            head: HEAD's snapshot, None before the first.
            git: returns the snapshot id (hex) that ``dv.lock`` names at a Git revision.
        """
        self._store = store
        self._head = head
        self._git = git

    def resolve(self, revision: str) -> Resolved:
        """Return the snapshot that ``revision`` names.

        Raises:
            ErasedError: when it was expired.
            NotFoundError: when there is none.
            UsageError: when it is malformed or ambiguous.
        """
        base, steps = _split_steps(revision)
        found = self._base(base, revision)
        current = self._current(found.id)
        if current != found.id:
            found = Resolved(id=current, superseded=found.id, branch=found.branch)
        for _step in range(steps):
            parents = self.snapshot(found.id).parents
            if not parents:
                raise NotFoundError(f"{revision!r} goes back further than the history", next="run 'dv log' to see it")
            found = Resolved(id=self._current(parents[0]))
        return found

    def is_revision(self, text: str) -> bool:
        """Return whether ``text`` names a snapshot."""
        try:
            self.resolve(text)
        except (NotFoundError, UsageError):
            return False
        except ErasedError:
            return True
        return True

    def split_path(self, text: str) -> tuple[str, str | None]:
        """Return (revision, path) of ``REV:PATH``; the path is None when there is no colon."""
        prefix = ""
        if text.startswith("git:"):
            prefix, text = "git:", text[4:]
        revision, colon, path = text.partition(":")
        return prefix + revision, (path.rstrip("/") if colon else None)

    def snapshot(self, identity: bytes) -> snapshot.Snapshot:
        """Return a snapshot."""
        return snapshot.decode(self._store.read_object(ids.SNAPSHOT, identity))

    def _base(self, name: str, revision: str) -> Resolved:
        if not name:
            raise UsageError(f"{revision!r} names no snapshot", next="try HEAD, a branch, a tag or an id")
        if name == "HEAD":
            if self._head is None:
                raise NotFoundError(
                    "there is no snapshot yet", next="make one: 'dv add PATH', then 'dv commit -m MESSAGE'"
                )
            return Resolved(id=self._head)
        if name.startswith("git:"):
            return Resolved(id=self._by_prefix(self._git(name[4:])))
        if len(name) == FULL and set(name.lower()) <= set("0123456789abcdef"):
            return Resolved(id=self._by_prefix(name.lower()))
        state = self._store.state
        for prefix in ("heads/", "tags/", "remotes/"):
            value = state.ref(prefix + name)
            if value is not None and log.symbolic(value) is None:
                return Resolved(id=value, branch=name if prefix == "heads/" else None)
        if len(name) >= 4 and set(name.lower()) <= set("0123456789abcdef"):  # noqa: PLR2004 - the contract's shortest prefix
            return Resolved(id=self._by_prefix(ids.parse_hex_prefix(name)))
        raise NotFoundError(
            f"there is no branch, tag or snapshot {name!r}",
            next="run 'dv log', 'dv branch' or 'dv tag' to see what there is",
        )

    def _by_prefix(self, prefix: str) -> bytes:
        state = self._store.state
        stored = self._store.snapshots_with(prefix)
        matches = [identity for identity in stored if state.expiry(identity) is None]
        if not matches:  # one that is not there any more can still be told from one that never was
            gone = [key for key, _new in state.superseded.items(bytes.fromhex(prefix[: len(prefix) & ~1]))]
            matches = sorted({*stored, *(key for key in gone if key.hex().startswith(prefix))})
        if not matches:
            raise NotFoundError(f"there is no snapshot {prefix}", next="run 'dv log' to see the snapshots")
        if len(matches) > 1:
            raise UsageError(
                f"{prefix!r} is ambiguous",
                items=tuple(match.hex() for match in matches[:20]),
                next="give more digits",
            )
        return matches[0]

    def _current(self, identity: bytes) -> bytes:
        state = self._store.state
        state.require_unexpired(identity)
        return state.standing(identity) or identity


def _split_steps(revision: str) -> tuple[str, int]:
    """Return (base, number of steps back) of ``REV~N``, ``REV~`` and ``REV~~``."""
    base, steps = revision, 0
    if revision.startswith("git:"):
        return revision, 0  # Git has a "~" of its own
    while "~" in base:
        base, _, count = base.rpartition("~")
        if count and not (count.isascii() and count.isdigit() and len(count) < 7):  # noqa: PLR2004 - a million steps
            raise UsageError(
                f"{revision!r} is no revision", why="'~' is followed by the number of steps back", next="write HEAD~1"
            )
        steps += int(count) if count else 1
    return base, steps


def check_name(name: str, *, what: str) -> str:
    """Return ``name`` if a branch or tag may be called so.

    Raises:
        UsageError: when it could be taken for something else, or for a path.
    """
    parts = name.split("/")
    bad = (
        not name
        or not name.isprintable()
        or any(not part or part.startswith((".", "-")) or part.endswith((".", ".lock")) for part in parts)
        or any(paths.is_reserved(part) for part in parts)
        or any(letter in " ~^:?*[\\@" for letter in name)
        or name == "HEAD"
        or len(name.encode()) > 200  # noqa: PLR2004 - well below what file systems and terminals take
        or (len(name) == FULL and set(name.lower()) <= set("0123456789abcdef"))
    )
    if bad:
        raise UsageError(
            f"{name!r} cannot be the name of a {what}",
            why="names are made of letters, digits, '.', '_', '-' and '/', and are not HEAD or a full id",
            next="choose another name",
        )
    return name
