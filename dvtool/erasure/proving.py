"""Looks, by other code than that which erases, whether anything is left of an erasure in a store and beside it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from dvtool import ids, paths
from dvtool.errors import NotFoundError
from dvtool.formats import erasure as formats
from dvtool.formats import log, pack
from dvtool.store import scrub
from dvtool.worktree import index, layout, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dvtool.formats.erasure import Record
    from dvtool.store.state import State
    from dvtool.store.store import Store
    from dvtool.workspace import Workspace

_LOG_KEY: Final = re.compile("log-[0-9a-f]{32}")
_HEX: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
SEARCHED: Final = 1 << 20
"""Bytes of a file outside of the store that are searched for ids: more than any of dv's own has there."""


def verify(workspace: Workspace, erasure: bytes, *, gone: Iterable[bytes] = (), deep: bool = False) -> list[str]:
    """Return what is wrong, in words; nothing when the erasure is whole here.

    Args:
        workspace: the worktree.
        erasure: the id of the erasure.
        gone: ids of contents that went and were kept nowhere, while they are known.
        deep: open every frame of every pack, not only those that lie in packs written since.
    """
    store = workspace.session.store
    state = store.refresh()
    record = formats.decode(store.read_object(ids.ERASURE, state.ref(formats.ref_name(erasure)) or b""))
    old = superseded(state, record)
    problems = [*_listed(store, [*old, *gone]), *_files(store, state), *_entries(store, erasure)]
    problems += _frames(store, deep=deep)
    problems += _raw(workspace, {*old, *gone})
    return problems


def superseded(state: State, record: Record) -> list[bytes]:
    """Return the ids of the snapshots that an erasure superseded."""
    successors = set(record.successors)
    return [old for old, new in state.superseded.items() if new in successors]


def _listed(store: Store, identities: Iterable[bytes]) -> Iterator[str]:
    for identity in identities:
        if store.segments.find(identity) is not None:
            yield f"an index file still lists {identity.hex()[:16]}"


def _files(store: Store, state: State) -> Iterator[str]:
    """Yield the packs, index and key files that are there and that no entry names."""
    named = {name for segment in state.segments for name in (segment.keys, segment.index)}
    for segment in store.segments.live():
        listed = {entry.name for entry in segment.index.directory.packs}
        named |= {pack.file_name(name) for name in listed}
        if set(segment.keys.packs) - listed:
            yield f"a key file holds the key of a pack that went: {segment.description.keys}"
    for directory in ("packs", "index", "keys"):
        for name in store.backend.names(directory):
            path = f"{directory}/{name}"
            if path in named or path == "keys/repo" or name == f"log-{state.label.hex()}":
                continue
            what = "a log key" if _LOG_KEY.fullmatch(name) else "a file"
            yield f"{what} is there that no entry needs: {path}"


def _entries(store: Store, erasure: bytes) -> Iterator[str]:
    """Yield the entries from before the erasure that were not emptied; a later erasure has emptied its own as well."""
    last = store.state.number
    for entry in store.log.entries(last):
        last = entry.number
        steps = [each for each in entry.actions if isinstance(each, log.Erasure)]
        if any((each.erasure, each.phase) == (erasure, log.ERASED) for each in steps):
            break
    for number in range(last - 1, 0, -1):
        if not _is_stub(store, number):
            yield f"entry {number} of the log was not emptied"


def _is_stub(store: Store, number: int) -> bool:
    try:
        return log.is_stub(store.backend.read(log.file_name(number)))
    except NotFoundError:
        return True


def _frames(store: Store, *, deep: bool) -> Iterator[str]:
    for at, segment in enumerate(store.segments.live()):
        if at and not deep:
            return  # what was written anew is listed by the newest
        for position in range(len(segment.index.directory.packs)):
            _size, _count, damage = scrub.frames(store, segment, position)
            if damage is not None:
                yield f"{damage.what}: {damage.file} ({damage.why})"


def _raw(workspace: Workspace, identities: set[bytes]) -> Iterator[str]:
    """Yield the files under ``.dv`` in which an old id stands in the clear: as bytes, or in hexadecimal.

    The store is sealed, so there it would be chance; what is in it is looked at by its form.
    """
    if not identities:
        return
    store = workspace.session.layout.store()
    roots = {workspace.session.root, *places.noted(store).values()}
    own = [layout.Layout(root) for root in sorted(roots) if os.path.isdir(f"{root}/{layout.DIRECTORY}")]
    for place in own:
        yield from _indexed(place, identities)
    indexes = {place.index for place in own}
    for control in sorted({place.control for place in own} | {os.path.dirname(store)}):
        for directory, names, files in os.walk(control):
            names[:] = sorted(name for name in names if f"{directory}/{name}" != store)
            for name in sorted(files):
                path = f"{directory}/{name}"
                if path not in indexes and _holds(path, identities):
                    yield f"{path} holds an id of something that went"


def _indexed(place: layout.Layout, identities: set[bytes]) -> Iterator[str]:
    """Yield the directories of which a worktree's index, as it lies on the disk, lists something that went."""
    found = index.load(place.index)
    for directory in found.directories:
        record = found.record(directory)
        listed = record.ids if record is not None else b""
        if not identities.isdisjoint(listed[at : at + ids.ID_SIZE] for at in range(0, len(listed), ids.ID_SIZE)):
            yield f"the index of worktree {place.root} still lists what was erased from {paths.shown(directory) or '.'}"


def _holds(path: str, identities: set[bytes]) -> bool:
    try:
        with open(path, "rb") as file:
            data = file.read(SEARCHED)
    except OSError:
        return False
    if not identities.isdisjoint(bytes.fromhex(found.decode()) for found in _HEX.findall(data)):
        return True
    return any(identity in data for identity in identities)
