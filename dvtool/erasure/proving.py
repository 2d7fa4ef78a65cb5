"""Looks, by other code than that which erases, whether anything is left of an erasure in a store and beside it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from dvtool import ids
from dvtool.erasure.traces import Traces
from dvtool.formats import erasure as formats
from dvtool.formats import log, pack
from dvtool.storage.backend import UntoldError, versions_of
from dvtool.store import scrub
from dvtool.worktree import layout, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dvtool.formats.erasure import Record
    from dvtool.store.state import State
    from dvtool.store.store import Store
    from dvtool.workspace import Workspace

IDS: Final = 1024
"""Ids of contents that files are searched for at most; index files, for all of them."""
ID: Final = "an id of something that went"
CONTENT: Final = "something of a content that went"
_UNKNOWN: Final = Traces()
_LOG_KEY: Final = re.compile("log-[0-9a-f]{32}")
_WORD: Final = 8
_STRIDE: Final = 24
"""Bytes of a file of which one word is looked at; a text of 32 bytes has a whole one in it, wherever it stands."""
_STEP: Final = _STRIDE << 15
"""Bytes that are read at once: so the strides of a file begin anew with each of them."""


def verify(
    workspace: Workspace, erasure: bytes, *, known: Traces = _UNKNOWN, deep: bool = False, opened: bool = False
) -> list[str]:
    """Return what is wrong, in words; nothing when the erasure is whole here.

    Args:
        workspace: the worktree.
        erasure: the id of the erasure.
        known: what is known of the contents that went, by the command that erases them.
        deep: open every frame of every pack, not only those that lie in packs written since.
        opened: those were just opened in full: see :func:`~dvtool.store.erasing.require_readable`.
    """
    store = workspace.session.store
    problems = verify_store(store, erasure, known=known, deep=deep, opened=opened)
    identities = {*_superseded_by(store, erasure), *known.gone[:IDS]}
    problems += _raw(workspace, Sieve({**_forms(identities), **dict.fromkeys(known.words, CONTENT)}), deep=deep)
    return problems


def verify_store(
    store: Store, erasure: bytes, *, known: Traces = _UNKNOWN, deep: bool = False, opened: bool = False
) -> list[str]:
    """Return what is wrong with one store, here or at a remote, in words; raises and takes what :func:`verify` does."""
    state = store.refresh()
    old = _superseded_by(store, erasure)
    problems = [*_listed(store, [*old, *known.gone]), *_files(store, state), *_entries(store, erasure)]
    problems += _versions(store, state)
    if deep or not opened:
        problems += _frames(store, deep=deep)
    return problems


def _superseded_by(store: Store, erasure: bytes) -> list[bytes]:
    state = store.state
    record = formats.decode(store.read_object(ids.ERASURE, state.ref(formats.ref_name(erasure)) or b""))
    return superseded(state, record)


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
    # No entry is as short as a stub, so the places of all are told by a listing, which at a remote is few requests.
    sizes = {each.name: each.size for each in store.backend.listed("log")}
    for number in range(last - 1, 0, -1):
        name = log.file_name(number)
        if sizes.get(name.removeprefix("log/"), log.STUB_SIZE) != log.STUB_SIZE:
            yield f"entry {number} of the log was not emptied"


def _versions(store: Store, state: State) -> Iterator[str]:
    """Yield the files that went of which a place keeps a version, and entries of which it keeps an older one."""
    try:
        for directory in ("packs", "index", "keys"):
            names = {each.name for each in versions_of(store.backend, directory)}
            for name in sorted(f"{directory}/{each}" for each in names):
                if state.dropped.get(name.encode()) is not None:
                    yield f"a version of a file that went is there still: {name}"
        stubbed = {each.name for each in store.backend.listed("log") if each.size == log.STUB_SIZE}
        older = {each.name for each in versions_of(store.backend, "log") if not each.is_latest}
        for name in sorted(older & stubbed):
            yield f"a version from before it was emptied is there still: log/{name}"
    except UntoldError as error:
        yield f"older versions could not be looked for: {error.why}"


def _frames(store: Store, *, deep: bool) -> Iterator[str]:
    for at, segment in enumerate(store.segments.live()):
        if at and not deep:
            return  # what was written anew is listed by the newest
        for position in range(len(segment.index.directory.packs)):
            _size, _count, damage = scrub.frames(store, segment, position)
            if damage is not None:
                yield f"{damage.what}: {damage.file} ({damage.why})"


def _forms(identities: Iterable[bytes]) -> dict[bytes, str]:
    """Return ids as they may stand in a file: as bytes, or in hexadecimal."""
    return {text: ID for identity in identities for text in (identity, identity.hex().encode())}


def _raw(workspace: Workspace, sieve: Sieve, *, deep: bool) -> Iterator[str]:
    """Yield the files under ``.dv`` in which something that is looked for stands in the clear.

    Packs, which are sealed, are looked into only if it is to be ``deep``.
    """
    store = workspace.session.layout.store()
    roots = {workspace.session.root, *places.noted(store).values()}
    controls = {f"{root}/{layout.DIRECTORY}" for root in roots} | {os.path.dirname(store)}
    for control in sorted(controls):
        for directory, names, files in os.walk(control):
            names[:] = sorted(name for name in names if deep or f"{directory}/{name}" != f"{store}/packs")
            for name in sorted(files):
                path = f"{directory}/{name}"
                what = sieve.found_in(path)
                if what is not None:
                    yield f"{path} holds {what}"


class Sieve:
    """Looks for many texts at once, in time that does not grow with how many they are.

    Of each text every place is known at which a multiple of the stride can fall into it.  So it is enough to look at
    eight bytes of a file in each stride, as a number; only where one is known is the file searched for the texts.
    """

    def __init__(self, texts: Mapping[bytes, str]) -> None:
        """Look for texts of 31 bytes and more, each with what is to be said where it is found."""
        self._texts = texts
        self._buffer = memoryview(bytearray(_STEP))
        self._words: set[int] = set()
        for at in range(_STRIDE):
            self._words.update(memoryview(b"".join([text[at : at + _WORD] for text in self._texts])).cast("Q"))

    def found_in(self, path: str) -> str | None:
        """Return what is said of a text that stands in a file; None for none, and where it cannot be read."""
        try:
            with open(path, "rb", buffering=0) as file:
                buffer = self._buffer
                while count := file.readinto(buffer):
                    while count < _STEP and (more := file.readinto(buffer[count:])):
                        count += more
                    words = buffer[: count - count % _WORD].cast("Q")[:: _STRIDE // _WORD]
                    if not self._words.isdisjoint(words):
                        return self._searched(path)
        except OSError:
            return None
        return None

    def _searched(self, path: str) -> str | None:
        """Return the same, text by text."""
        longest = max(map(len, self._texts))
        with open(path, "rb") as file:
            before = b""
            while block := file.read(_STEP):
                here = before + block
                for text, what in self._texts.items():
                    if text in here:
                        return what
                before = here[-longest:]
        return None
