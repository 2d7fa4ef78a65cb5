"""Log entries: numbered, create-only records, the one mutable truth of a store (``docs/format/log.md``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool import digest, ids, paths
from dvtool.errors import FormatError
from dvtool.formats import codec

if TYPE_CHECKING:
    from collections.abc import Iterable

STUB: Final = b"DVSTUB\r\n" + bytes(56)
STUB_SIZE: Final = 64
VERSION: Final = 1
WRITE_ID_SIZE: Final = 16
CHECKPOINT_EVERY: Final = 64
INLINE_LIMIT: Final = 256
"""A table of up to this many pairs stands in the checkpoint itself."""

TIME_SIZE: Final = 8
"""Bytes of a time in a table: microseconds, big-endian."""

ERASING: Final = 1
ERASED: Final = 2
ABORTED: Final = 3
FINISHED: Final = 4
PHASES: Final = (ERASING, ERASED, ABORTED, FINISHED)
TAKEN_OVER: Final = bytes(WRITE_ID_SIZE)
"""Stands for the announcing entry of an erasure of another store, of which this one had nothing."""
TABLES: Final = ("refs", "packs", "superseded", "condemned", "dropped", "erasures", "locators")
"""The fields of a checkpoint that are tables."""

UNDOES: Final = "undoes"
"""Section of an entry that takes back what another one did to refs: the number of that entry."""
ORIGIN: Final = "origin"
"""Section that says from which worktree an entry was made: its id."""

ASIDE: Final = "aside"
"""Section of an entry whose packs no ref leads to yet: true."""
TAKES: Final = "takes"
"""Section of an entry that leads to such packs: their names, 32 bytes each, joined."""

LOCAL: Final = frozenset({UNDOES, ORIGIN, ASIDE, TAKES})
"""Sections that belong to their entry alone; of a checkpoint's entry all others go on to the next checkpoint."""
ERASURES: Final = "erasures"
"""Refs below this name are those of erasure records, by the hexadecimal id of the erasure."""
CLONES: Final = "clones"
"""Refs below this name are those of registered clones, by the hexadecimal id of the clone; nil ends a registration."""
HOLDS: Final = "holds"
"""Refs below this name are those of holds, by the hexadecimal id of the hold; nil releases one."""

EXPIRED: Final = b"\0" * 24
"""What stands for an expired snapshot begins so, as no id does, and ends with the time in 8 bytes."""

SYMBOLIC: Final = b"@"
"""First byte of a ref's value that names another ref; any other value is a 32-byte id."""


class AddPacks(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=1):
    """Packs that are part of the store from here on, with the one key file and the one index file that serve them."""

    keys: str
    index: str
    packs: tuple[bytes, ...]
    records: int


class Condemn(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=2):
    """Names (relative to the store) that will be destroyed; nobody may add or rely on them any more."""

    names: tuple[str, ...]


class Drop(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=3):
    """Condemned names that are destroyed after this entry; they never come back."""

    names: tuple[str, ...]


class MoveRef(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=4):
    """A ref that moves from ``old`` to ``new``; None is "does not exist"."""

    name: str
    old: bytes | None
    new: bytes | None


class Supersede(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=5):
    """Snapshots whose data was erased, each with the one that stands for it; or that were expired: :func:`expired`."""

    pairs: tuple[tuple[bytes, bytes], ...]


class Erasure(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=6):
    """A step of an erasure: announced, committed, aborted or finished.

    ``planned`` is the write id of the announcing entry; ``locator`` is sealed, ``wraps`` hold its key once per
    superseded snapshot.  The record of an erasure is an object, which the ref ``erasures/ID`` names.
    """

    erasure: bytes
    phase: int
    planned: bytes
    locator: bytes = b""
    wraps: tuple[bytes, ...] = ()


class Table(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A sorted map: its pairs while they are few, else the id of its root node."""

    count: int
    pairs: tuple[tuple[bytes, bytes], ...] = ()
    root: bytes = b""


class Segment(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A live index file with its key file, and how many records and packs they cover."""

    keys: str
    index: str
    records: int
    packs: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=7):
    """All that a reader must know who starts here (rule 10 of the protocol)."""

    refs: Table
    packs: Table
    superseded: Table
    condemned: Table
    dropped: Table
    erasures: Table
    locators: Table
    segments: tuple[Segment, ...]
    lock: bytes
    writes: tuple[tuple[int, bytes], ...]
    condemn: tuple[str, ...] = ()


Action = AddPacks | Condemn | Drop | MoveRef | Supersede | Erasure | Checkpoint


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One entry.

    ``previous`` is the BLAKE3 of the sealed bytes of the entry before; ``checkpoint`` is the number of the newest
    entry up to this one that holds a checkpoint, 0 when there is none; ``time`` is in microseconds.
    """

    version: int
    store: bytes
    number: int
    previous: bytes
    write: bytes
    time: int
    operation: str
    checkpoint: int
    actions: tuple[Action, ...]
    sections: dict[str, msgspec.Raw] = {}


class _Versioned(msgspec.Struct, frozen=True, array_like=True):
    """What an entry of every version begins with."""

    version: int


_ENTRY: Any = Entry
_LOCATED: Any = tuple[bytes, tuple[bytes, ...]]
_TOPS: Final = frozenset({"heads", "tags", "runs", "remotes", "stage", "worktrees", ERASURES, CLONES, HOLDS})
_BY_NUMBER: Final = frozenset({ERASURES, CLONES, HOLDS})
_NUMBERED: Final = re.compile("[a-z]+/[0-9a-f]{32}")
_FILE: Final = re.compile("packs/[0-9a-f]{64}|index/[0-9a-f]{32}|keys/(?:log-)?[0-9a-f]{32}")


def encode(entry: Entry) -> bytes:
    """Return the payload that is then sealed.

    Raises:
        FormatError: when a reader would refuse it; a store must never hold an entry that nobody can read.
    """
    _check(entry)
    return codec.encode(entry)


def decode(data: bytes) -> Entry:
    """Return the entry that an opened payload encodes.

    Raises:
        FormatError: when it is malformed or of a newer version.
    """
    claimed = codec.decode(_Versioned, data, what="log entry", exact=False).version
    if claimed != VERSION:
        raise FormatError(
            f"a log entry has format version {claimed}", why=f"this dv reads {VERSION}", next="upgrade dv"
        )
    entry: Entry = codec.decode(_ENTRY, data, what="log entry")
    _check(entry)
    return entry


def _check(entry: Entry) -> None:
    if entry.version != VERSION:
        raise FormatError(f"a log entry has format version {entry.version}", next="upgrade dv")
    _check_lengths(ids.SHORT_SIZE, entry.store, entry.write)
    _check_lengths(ids.ID_SIZE, entry.previous)
    if entry.number < 1 or not 0 <= entry.checkpoint <= entry.number or not 0 <= entry.time < codec.TIME_LIMIT:
        raise FormatError("a log entry holds an impossible number or time")
    for action in entry.actions:
        _check_action(action)
    is_aside(entry)
    takes(entry)


def _check_action(action: Action) -> None:
    match action:
        case MoveRef():
            check_ref(action.name)
            for value in (action.old, action.new):
                if value is not None:
                    check_value(value)
        case AddPacks():
            _check_segment(action.keys, action.index, action.records)
            _check_lengths(ids.ID_SIZE, *action.packs)
        case Condemn() | Drop():
            check_files(action.names)
        case Supersede():
            for pair in action.pairs:
                _check_lengths(ids.ID_SIZE, *pair)
                _check_expired(*pair)
        case Erasure():
            _check_erasure(action)
        case Checkpoint():
            _check_checkpoint(action)


def _check_expired(old: bytes, new: bytes) -> None:
    if expired(old) is not None or (expired(new) or 0) >= codec.TIME_LIMIT:
        raise FormatError("the log says of no snapshot that it was expired, or when none can have been")


def _check_erasure(action: Erasure) -> None:
    _check_lengths(ids.SHORT_SIZE, action.erasure, action.planned)
    if action.phase not in PHASES:
        raise FormatError(f"the log holds an erasure in the unknown phase {action.phase}", next="upgrade dv")


def _check_checkpoint(action: Checkpoint) -> None:
    for table in (getattr(action, name) for name in TABLES):
        keys = [key for key, _value in table.pairs]
        if table.root:
            _check_lengths(ids.ID_SIZE, table.root)
        if table.count < 0 or len(keys) != (0 if table.root else table.count) or len(keys) > INLINE_LIMIT:
            raise FormatError("a table of a checkpoint does not add up")
        if keys != sorted(set(keys)):
            raise FormatError("a table of a checkpoint is not sorted and distinct")
    for name in TABLES:
        for key, value in getattr(action, name).pairs:
            check_row(name, key, value)
    for segment in action.segments:
        _check_segment(segment.keys, segment.index, min(segment.records, segment.packs))
    _check_lengths(WRITE_ID_SIZE, *filter(None, [action.lock]), *(write for _number, write in action.writes))
    check_files(action.condemn)


def _check_segment(keys: str, index: str, count: int) -> None:
    check_files((keys, index))
    if not keys.startswith("keys/") or not index.startswith("index/") or count < 0:
        raise FormatError("the log names something that is no index file with its key file")


def _check_lengths(length: int, *values: bytes) -> None:
    if any(len(value) != length for value in values):
        raise FormatError("a log entry holds an id of the wrong length")


def check_row(table: str, key: bytes, value: bytes) -> None:
    """Check a pair of a checkpoint's table, wherever it was read: its names will be trusted, and files destroyed.

    Args:
        table: the name of the table in :class:`Checkpoint`.
        key: the key.
        value: the value.

    Raises:
        FormatError: when no writer puts such a pair into this table.
    """
    try:
        match table:
            case "refs":
                check_ref(key.decode())
                check_value(value)
                good = True
            case "packs":
                is_time = len(value) == TIME_SIZE and int.from_bytes(value, "big") < codec.TIME_LIMIT
                good = len(key) == ids.ID_SIZE and (not value or is_time)
            case "superseded":
                good = len(key) == len(value) == ids.ID_SIZE
                _check_expired(key, value)
            case "condemned":
                check_files((key.decode(),))
                good = len(value) == TIME_SIZE
            case "dropped":
                check_files((key.decode(),))
                good = not value
            case "erasures":
                good = len(key) == ids.SHORT_SIZE
                step(value)
            case _:
                located(value)
                good = len(key) == ids.SHORT_SIZE
    except UnicodeDecodeError:
        good = False
    if not good:
        raise FormatError(f"the table of {table} in a checkpoint holds an impossible pair", where=key[:40].hex())


def to_step(phase: int, planned: bytes) -> bytes:
    """Return the value of a row of the table of erasures."""
    return bytes([phase]) + planned


def step(value: bytes) -> tuple[int, bytes]:
    """Return the phase of an erasure and the write id of the entry that announced it, from a row of the table.

    Raises:
        FormatError: when no writer puts such a value there.
    """
    if len(value) != 1 + WRITE_ID_SIZE or value[0] not in PHASES:
        raise FormatError("the log holds an erasure in an unknown phase", next="upgrade dv")
    return value[0], value[1:]


def to_located(locator: bytes, wraps: tuple[bytes, ...]) -> bytes:
    """Return the value of a row of the table of locators."""
    return codec.encode((locator, wraps))


def located(value: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Return a sealed locator and the wraps of its key, from a row of the table.

    Raises:
        FormatError: when no writer puts such a value there.
    """
    found: tuple[bytes, tuple[bytes, ...]] = codec.decode(_LOCATED, value, what="locator of an erasure")
    return found


def expired(value: bytes) -> int | None:
    """Return when a snapshot was expired (microseconds since 1970), by what stands for it; None when that is an id."""
    return int.from_bytes(value[len(EXPIRED) :], "big") if value.startswith(EXPIRED) else None


def to_expired(time: int) -> bytes:
    """Return what stands for a snapshot that is expired at ``time``, in microseconds since 1970."""
    return EXPIRED + time.to_bytes(ids.ID_SIZE - len(EXPIRED), "big")


def carried(entry: Entry) -> dict[str, msgspec.Raw]:
    """Return the sections of a checkpoint's entry that the next checkpoint must hold as well."""
    return {name: value for name, value in entry.sections.items() if name not in LOCAL}


def check_files(names: tuple[str, ...]) -> None:
    """Check names of files as read from a log: those that may be added, and therefore destroyed.

    Raises:
        FormatError: at the first that is not the name of a pack, index file, key file or log key; ``keys/repo``,
            entries of the log and everything outside the store are not.
    """
    for name in names:
        if not _FILE.fullmatch(name):
            raise FormatError(f"the log holds the impossible file name {paths.brief(name)!r}")


def check_ref(name: str) -> None:
    """Check the name of a ref as read from a store.

    Raises:
        FormatError: when it is not ``heads/…``, ``tags/…`` and so on, could act as a path elsewhere, or is that of an
            erasure record, clone or hold without being named by its id.
    """
    top, _, rest = name.partition("/")
    if top not in _TOPS or not rest or len(name) > 1024:  # noqa: PLR2004
        raise FormatError(f"the log holds the impossible ref {paths.brief(name)!r}")
    if top in _BY_NUMBER and not _NUMBERED.fullmatch(name):
        raise FormatError(f"the log holds the impossible ref {paths.brief(name)!r}")
    if not name.isprintable() or any(part in {"", ".", ".."} or paths.is_reserved(part) for part in rest.split("/")):
        raise FormatError(f"the log holds the impossible ref {paths.brief(name)!r}")


def check_value(value: bytes) -> None:
    """Check the value of a ref.

    Raises:
        FormatError: when it is neither an id nor the name of another ref.
    """
    if value.startswith(SYMBOLIC) and len(value) != ids.ID_SIZE:
        try:
            name = value[1:].decode()
        except UnicodeDecodeError:
            raise FormatError("a ref points to a name that is not UTF-8") from None
        check_ref(name.rstrip("/"))
        if to_symbolic(name.rstrip("/")) != value:
            raise FormatError("a ref points to a name that ends as no name does")
    elif len(value) != ids.ID_SIZE:
        raise FormatError("a ref points to something that is not an id")


def symbolic(value: bytes | None) -> str | None:
    """Return the name of the ref that ``value`` points to, or None when it holds an id."""
    if value is None or len(value) == ids.ID_SIZE or not value.startswith(SYMBOLIC):
        return None
    return value[1:].decode().rstrip("/")


def to_symbolic(name: str) -> bytes:
    """Return the value that points to the ref ``name``; padded so that it never has the length of an id."""
    value = SYMBOLIC + name.encode()
    return value + b"/" if len(value) == ids.ID_SIZE else value


def undoes(entry: Entry) -> int | None:
    """Return the number of the entry that ``entry`` takes back, or None when it takes back none.

    Raises:
        FormatError: when it says something else than an earlier entry.
    """
    said = entry.sections.get(UNDOES)
    if said is None:
        return None
    number = codec.decode(int, bytes(said), what="log entry")
    if not 0 < number < entry.number:
        raise FormatError("a log entry takes back one that does not come before it")
    return number


def origin(entry: Entry) -> str:
    """Return the id of the worktree from which an entry was made; empty when it does not say.

    Raises:
        FormatError: when it is no text.
    """
    said = entry.sections.get(ORIGIN)
    return codec.decode(str, bytes(said), what="log entry") if said is not None else ""


def made_from(worktree: str) -> dict[str, msgspec.Raw]:
    """Return the sections of an entry that is made from a worktree; none for the empty id."""
    return {ORIGIN: msgspec.Raw(codec.encode(worktree))} if worktree else {}


def taking_back(number: int) -> dict[str, msgspec.Raw]:
    """Return the sections of an entry that takes back entry ``number``."""
    return {UNDOES: msgspec.Raw(codec.encode(number))}


def is_aside(entry: Entry) -> bool:
    """Return whether the packs that an entry adds are put aside: no ref leads to them yet.

    Raises:
        FormatError: when it says something else than yes or no.
    """
    said = entry.sections.get(ASIDE)
    return said is not None and codec.decode(bool, bytes(said), what="log entry")


def takes(entry: Entry) -> list[bytes]:
    """Return the names of the packs that were put aside and that refs lead to from this entry on.

    Raises:
        FormatError: when it says something else.
    """
    said = entry.sections.get(TAKES)
    names = codec.decode(bytes, bytes(said), what="log entry") if said is not None else b""
    if len(names) % ids.ID_SIZE:
        raise FormatError("a log entry takes packs whose names have the wrong length")
    return [names[at : at + ids.ID_SIZE] for at in range(0, len(names), ids.ID_SIZE)]


def putting_aside() -> dict[str, msgspec.Raw]:
    """Return the sections of an entry that puts packs aside."""
    return {ASIDE: msgspec.Raw(codec.encode(True))}  # noqa: FBT003 - the value itself


def taking(names: Iterable[bytes]) -> dict[str, msgspec.Raw]:
    """Return the sections of an entry that takes packs which were put aside; none for no packs."""
    joined = b"".join(sorted(names))
    return {TAKES: msgspec.Raw(codec.encode(joined))} if joined else {}


def chain(sealed: bytes) -> bytes:
    """Return the hash by which the next entry names the entry whose sealed bytes these are."""
    return digest.sealed_name(sealed)


def file_name(number: int) -> str:
    """Return where entry ``number`` lies in its store."""
    return f"log/{number:016x}"


def number_of(name: str) -> int | None:
    """Return the number of the entry that a file among those of the log has by its name, or None if it is none."""
    return int(name, 16) if re.fullmatch("[0-9a-f]{16}", name) else None


def is_stub(blob: bytes) -> bool:
    """Return whether these bytes stand for an entry that had to go."""
    return blob == STUB
