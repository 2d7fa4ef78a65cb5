"""How snapshots and entries are put into words and numbers for people and scripts."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.formats import tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.formats.snapshot import Snapshot
    from dvtool.store.state import State

_EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - UTC, which is said by the letter behind it
KIND_WORDS: Final = {
    tree.FILE: "file",
    tree.LONG_FILE: "file",
    tree.EXECUTABLE: "file",
    tree.LONG_EXECUTABLE: "file",
    tree.SYMLINK: "symlink",
    tree.ERASED: "erased",
    tree.DIRECTORY: "dir",
}


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """A number of files, and their bytes."""

    files: int
    bytes: int


def amount(sizes: Iterable[int]) -> Amount:
    """Return how many files there are, and their bytes together."""
    found = list(sizes)
    return Amount(files=len(found), bytes=sum(found))


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What is missing from a snapshot because it was erased."""

    files: int
    rows: int


class SnapshotItem(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot: ids in hex, time in RFC 3339 UTC, totals of files and bytes, runs that used it, refs to it.

    ``expired`` are those of its parents that were expired: what came before it on that side is not kept any more.
    """

    snapshot: str
    parents: tuple[str, ...]
    root: str
    author: str
    time: str
    message: str
    files: int
    bytes: int
    erased: Erased
    runs: tuple[str, ...]
    refs: tuple[str, ...]
    expired: tuple[str, ...]


def snapshot_item(
    identity: bytes,
    snapshot: Snapshot,
    erased: tree.Tally,
    names: dict[bytes, list[str]],
    state: State,
    runs: tuple[str, ...],
) -> SnapshotItem:
    """Return what is said of one snapshot.

    Args:
        identity: its id.
        snapshot: what it holds.
        erased: the tally of its root tree.
        names: refs by snapshot, as :func:`ref_names` returns them.
        state: where the store stands.
        runs: ids of the runs that used it, the newest first.
    """
    return SnapshotItem(
        snapshot=identity.hex(),
        parents=tuple(parent.hex() for parent in snapshot.parents),
        root=snapshot.root.hex(),
        author=snapshot.author,
        time=rfc3339(snapshot.time),
        message=snapshot.message,
        files=snapshot.files,
        bytes=snapshot.size,
        erased=Erased(files=sum(count for _erasure, count in erased), rows=0),
        runs=runs,
        refs=tuple(names.get(identity, ())),
        expired=tuple(parent.hex() for parent in snapshot.parents if state.expiry(parent) is not None),
    )


def ref_names(state: State, head: bytes | None, branch: str | None) -> dict[bytes, list[str]]:
    """Return the branches and tags that point to each snapshot, HEAD first."""
    found: dict[bytes, list[str]] = {}
    if head is not None:
        found[head] = [f"HEAD -> {branch}" if branch else "HEAD"]
    for prefix, label in (("heads/", ""), ("tags/", "tag: "), ("remotes/", "")):
        for name, value in state.ref_names(prefix):
            short = name.removeprefix(prefix)
            if not (prefix == "heads/" and short == branch):
                found.setdefault(value, []).append(label + short)
    return found


def rfc3339(microseconds: int) -> str:
    """Return a time (microseconds since 1970) as RFC 3339 in UTC with microseconds."""
    moment = _EPOCH + dt.timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="microseconds") + "Z"
