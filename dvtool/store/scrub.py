"""Reads the files of a store and says what is wrong with them; changes nothing.

What lies outside packs is sealed with a checksum, and packs have one too, so that accidents are found without any key.
With keys each frame is opened, and its content held against its id.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import digest, ids
from dvtool.errors import DvError, FormatError, KeyAccessError
from dvtool.formats import index, log, pack, sealed, storeformat
from dvtool.formats.index import Location
from dvtool.store import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dvtool.digest import IdHasher
    from dvtool.effects import View
    from dvtool.storage.backend import Backend
    from dvtool.store.packs import PackReader
    from dvtool.store.segments import Segment
    from dvtool.store.store import Store

    _Look = Callable[[str], tuple[int, "Damage | None"]]

PIECE: Final = 8 * 1024 * 1024
"""Bytes of a pack that are read at once."""
TOP: Final = frozenset({"format", *storeformat.DIRECTORIES})
"""All that lies at the top of a store."""
STRANGER: Final = "this is no file of a store"
_GOOD_PART: Final = 4
"""An index file is read as a whole where one in so many of its records is asked about."""
_NUMBER: Final = re.compile("[0-9a-f]{16}")
_PACK: Final = re.compile("[0-9a-f]{64}")
_RANDOM: Final = re.compile("[0-9a-f]{32}")
_KEY: Final = re.compile("(log-)?[0-9a-f]{32}|repo")


class Damage(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is wrong with one file of a store: its name, what, why, and the ids of the objects lost by it."""

    file: str
    what: str
    why: str = ""
    ids: tuple[bytes, ...] = ()


class Scrubbed(msgspec.Struct, kw_only=True, array_like=True):
    """What was found in some packs: damages, how many packs were read, and the bytes and frames they held."""

    damages: list[Damage]
    packs: int = 0
    size: int = 0
    frames: int = 0


def sealed_files(
    backend: Backend, each: Callable[[_Look, Sequence[str]], Iterable[tuple[int, Damage | None]]] = map
) -> Iterator[tuple[int, Damage | None]]:
    """Read every file of a store but its packs, without any key, and yield (bytes read, what is wrong with it).

    ``each`` returns what a function says of each of some names, in this order; it may ask for several at once.
    """
    yield look(backend, "format")
    numbers: list[int] = []
    for directory in ("log", "keys", "index"):
        names = [f"{directory}/{last}" for last in sorted(backend.names(directory))]
        yield from ((0, Damage(file=name, what=STRANGER)) for name in names if not is_name(name))
        yield from each(
            functools.partial(look, backend), [name for name in names if is_name(name) and name != keys.REPOSITORY_KEY]
        )
        if directory == "log":
            numbers = sorted(filter(None, (log.number_of(name.removeprefix("log/")) for name in names)))
    for before, after in itertools.pairwise([0, *numbers]):
        if after > before + 1:
            why = f"{after - before - 1:,} before entry {after:,}, which is there"
            yield 0, Damage(file=log.file_name(before + 1), what="log entries are missing", why=why)


def is_name(name: str) -> bool:
    """Return whether a store has files of this name."""
    directory, _, last = name.partition("/")
    forms = {"packs": _PACK, "index": _RANDOM, "keys": _KEY, "log": _NUMBER}
    return name == "format" or (directory in forms and forms[directory].fullmatch(last) is not None)


def look(backend: Backend, name: str) -> tuple[int, Damage | None]:
    """Read one file of a store; return (bytes read, what is wrong with it), as far as it tells without a key."""
    directory, _, last = name.partition("/")
    if name == "format":
        return _format(backend)
    if directory == "packs":
        return pack_file(backend, bytes.fromhex(last))
    if directory == "index":
        return _index(backend, name)
    if name == keys.REPOSITORY_KEY:
        return 0, None
    if directory == "log":
        return _blob(backend, name, sealed.LOG_ENTRY)
    return _blob(backend, name, sealed.LOG_KEY if last.startswith("log-") else sealed.KEY_FILE)


def log_keys(store: Store) -> Iterator[Damage]:
    """Open every log key, and yield what is wrong with those that no accident has hit."""
    for name in sorted(store.backend.names("keys")):
        if name.startswith("log-") and _KEY.fullmatch(name):
            try:
                label = bytes.fromhex(name.removeprefix("log-"))
                keys.read_log_key(store.backend, store.format.store, store.secrets.wrap, label)
            except (FormatError, KeyAccessError) as error:
                yield _of(error, f"keys/{name}")
            except DvError:
                continue  # which was found without any key


def pack_names(backend: Backend) -> tuple[list[bytes], list[Damage]]:
    """Return the names of all packs that are there, sorted, and what else lies among them."""
    found, other = [], []
    for name in sorted(backend.names("packs")):
        if _PACK.fullmatch(name):
            found.append(bytes.fromhex(name))
        else:
            other.append(Damage(file=f"packs/{name}", what=STRANGER))
    return found, other


def pack_file(backend: Backend, name: bytes, view: View | None = None) -> tuple[int, Damage | None]:
    """Hold a pack against its checksum and its name, without any key; return its size and what is wrong with it.

    ``view`` are its bytes, where the caller reads them in a way of its own; they are asked for from front to back.
    """
    file = pack.file_name(name)
    try:
        passing = _Passing(view if view is not None else backend.view(file))
        return passing.size, passing.finish(name)
    except DvError as error:
        return 0, _of(error, file)


class _Passing:
    """A pack that is read once, from front to back: hashed on the way, with frames cut out of what was read."""

    def __init__(self, view: View) -> None:
        """Begin at the front."""
        self._view = view
        self.size = len(view)
        self._end = self.size - pack.TRAILER_SIZE
        self._hasher = digest.SealedHasher()
        self._at = self._start = 0
        self._window: bytes | memoryview = b""
        self._failed: DvError | None = None

    def take(self, offset: int, length: int) -> memoryview:
        """Return bytes from ``offset`` on, which never goes back; fewer where the pack ends before.

        Where a piece cannot be read, its frames are read one by one, and some may come out.
        """
        while self._failed is None and self._at < min(offset + length, self._end):
            piece = self._read()
            if not piece:
                break
            kept = memoryview(self._window)[max(0, offset - self._start) :]
            self._start = self._at - len(piece) - len(kept)
            self._window = b"".join((kept, piece)) if kept else piece
        if self._failed is not None:
            return memoryview(self._view[offset : offset + length])
        at = offset - self._start
        return memoryview(self._window)[at : at + length] if at >= 0 else memoryview(b"")

    def finish(self, name: bytes) -> Damage | None:
        """Read the rest, and return what is wrong with the pack as a whole."""
        file = pack.file_name(name)
        if self.size < pack.HEADER_SIZE + pack.TAIL_SIZE:
            return Damage(file=file, what="a pack is truncated", why=f"it has {self.size:,} bytes")
        self._window = b""
        while self._failed is None and self._at < self._end and self._read():
            pass
        if self._failed is not None:
            return _of(self._failed, file)
        trailer = bytes(self._view[self._end : self.size])
        self._hasher.name_only(trailer)
        if self._hasher.accident() != trailer:
            return Damage(file=file, what="a pack is damaged", why="its checksum does not match")
        if self._hasher.name() != name:
            return Damage(file=file, what="a pack is damaged", why="its bytes do not have its name")
        return None

    def _read(self) -> bytes | memoryview:
        """Read and hash the next piece; nothing where that fails, or the pack was cut short meanwhile."""
        try:
            piece = self._view[self._at : min(self._end, self._at + PIECE)]
        except DvError as error:
            self._failed = error
            return b""
        self._hasher.update(piece)
        self._at += len(piece)
        return piece


def frames(store: Store, segment: Segment, position: int, view: View | None = None) -> tuple[int, int, Damage | None]:
    """Read a pack and open every frame of it; return (bytes, frames, what is wrong).

    It is held against the size on record, its checksum and its name, and its footer against the records of the index
    file.  A frame that does not open, or whose content has another id, is lost.

    Args:
        store: the store.
        segment: the index file that lists the pack.
        position: the pack's place in it.
        view: as in :func:`pack_file`.
    """
    entry = segment.index.directory.packs[position]
    file = pack.file_name(entry.name)
    bad = []
    try:
        reader = segment.pack(position)
        footer = reader.footer()
        recorded = _Recorded(segment, len(footer))
        passing = _Passing(view if view is not None else store.backend.view(file))
        size = passing.size
        strays = len(footer) != entry.frames or size != entry.size
        for identity, location in _framed(footer, position):
            try:
                content = reader.open(identity, location, passing.take(location.offset, location.stored))
                if store.hasher.id(location.flags & pack.KIND_MASK, content) != identity:
                    bad.append(identity)
                strays = strays or not recorded.has(identity, location)
            except DvError:
                bad.append(identity)
        damage = passing.finish(entry.name)
    except DvError as error:
        return 0, 0, msgspec.structs.replace(_of(error, file), ids=_recorded(segment, position))
    if bad:
        why = f"{len(bad):,} of {len(footer):,} objects in it are damaged"
        damage = Damage(file=file, what="a pack is damaged", why=why, ids=tuple(sorted(bad)))
    elif strays and damage is None:
        why = "its size, or what its footer lists, is not what its index file says"
        damage = Damage(file=file, what="a pack is damaged", why=why)
    return size, len(footer), damage


def lost(reader: PackReader, view: View, hasher: IdHasher) -> list[bytes]:
    """Open every frame of a pack, and return the ids of those that do not open, or whose content has another id.

    Args:
        reader: reads the pack.
        view: its bytes.
        hasher: makes the ids of the repository.

    Raises:
        IntegrityError: when its footer is damaged.
    """
    found = []
    for identity, location in _framed(reader.footer(), 0):
        try:
            content = reader.open(identity, location, view[location.offset : location.offset + location.stored])
            if hasher.id(location.flags & pack.KIND_MASK, content) != identity:
                found.append(identity)
        except DvError:
            found.append(identity)
    return found


def _framed(footer: pack.Footer, position: int) -> Iterator[tuple[bytes, Location]]:
    """Yield (id, location) of the frames of a pack that stands at a position of an index file's list."""
    offset = pack.HEADER_SIZE
    for number, (flags, stored, raw) in enumerate(zip(footer.flags, footer.stored, footer.raw, strict=True)):
        identity = footer.ids[number * ids.ID_SIZE : (number + 1) * ids.ID_SIZE]
        yield identity, Location(position, number, offset, stored, index.pack_raw_flags(raw, flags))
        offset += stored


class _Recorded:
    """What an index file says of frames: read as a whole where a pack has a good part of it, else looked up."""

    def __init__(self, segment: Segment, frames: int) -> None:
        """Prepare to be asked about so many frames."""
        self._index = segment.index
        self._all: set[bytes] | None = None
        if frames * _GOOD_PART >= len(self._index):
            with contextlib.suppress(DvError):  # what is damaged is then told frame by frame
                self._all = set(self._index.records())

    def has(self, identity: bytes, location: Location) -> bool:
        """Return whether it says of a frame what the pack's footer does."""
        if self._all is not None:
            return index.record(identity, location) in self._all
        return any(found == location for _number, found in self._index.all(identity))


def _recorded(segment: Segment, position: int) -> tuple[bytes, ...]:
    """Return the ids that the index file places in a pack."""
    try:
        found = (index.unpack(record) for record in segment.index.records())
        return tuple(identity for identity, location in found if location.pack == position)
    except DvError:
        return ()


def _format(backend: Backend) -> tuple[int, Damage | None]:
    try:
        data = backend.read("format")
        storeformat.decode(data)
    except DvError as error:
        return 0, _of(error, "format")
    return len(data), None


def _blob(backend: Backend, name: str, kind: int) -> tuple[int, Damage | None]:
    try:
        blob = backend.read(name)
        if not (kind == sealed.LOG_ENTRY and log.is_stub(blob)):
            sealed.label_of(blob, kind, what="a file of the store")
    except DvError as error:
        return 0, _of(error, name)
    return len(blob), None


def _index(backend: Backend, name: str) -> tuple[int, Damage | None]:
    try:
        view = backend.view(name)
        size = len(view)
        if size < index.HEADER_SIZE + index.TAIL_SIZE or bytes(view[: len(index.MAGIC)]) != index.MAGIC:
            return size, Damage(file=name, what="an index file does not begin as one, or is truncated")
        hasher = digest.SealedHasher()
        trailer = _read(view, hasher)
    except DvError as error:
        return 0, _of(error, name)
    if hasher.accident() != trailer:
        return size, Damage(file=name, what="an index file is damaged", why="its checksum does not match")
    return size, None


def _read(view: View, hasher: digest.SealedHasher) -> bytes:
    """Take a file into a hasher, piece by piece, up to its trailer, and return that (16 bytes, as packs have it)."""
    end = len(view) - pack.TRAILER_SIZE
    for at in range(0, end, PIECE):
        hasher.update(view[at : min(end, at + PIECE)])
    return bytes(view[end : len(view)])


def _of(error: DvError, file: str) -> Damage:
    return Damage(file=file, what=error.what, why=error.why)
