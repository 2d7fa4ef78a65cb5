"""Tree nodes: one directory as columns of names, kinds, sizes and ids (``docs/format/tree.md``)."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec

from dvtool import ids, paths
from dvtool.errors import FormatError
from dvtool.formats import codec, manifest, nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

FILE: Final = 0x66
EXECUTABLE: Final = 0x78
LONG_FILE: Final = 0x46
LONG_EXECUTABLE: Final = 0x58
SYMLINK: Final = 0x6C
DIRECTORY: Final = 0x64
ERASED: Final = 0x65

REGULAR: Final = frozenset({FILE, EXECUTABLE, LONG_FILE, LONG_EXECUTABLE})
EXECUTABLES: Final = frozenset({EXECUTABLE, LONG_EXECUTABLE})
LONG: Final = frozenset({LONG_FILE, LONG_EXECUTABLE})

_KINDS: Final = bytes(sorted({*REGULAR, SYMLINK, DIRECTORY, ERASED}))
_SHORT: Final = bytes(sorted({*REGULAR, SYMLINK} - LONG))
"""Kinds whose content is one chunk."""
_TALLIED: Final = frozenset({DIRECTORY, ERASED})

SYMLINK_LIMIT: Final = 4096
SIZE_LIMIT: Final = 2**63 - 1

_LIMITS: Final = {FILE: manifest.CHUNK_LIMIT, EXECUTABLE: manifest.CHUNK_LIMIT, SYMLINK: SYMLINK_LIMIT}
"""The greatest sizes of what is one chunk."""
_NO_ID: Final = bytes(ids.ID_SIZE)
"""Stands for the id of what was erased."""

Tally = tuple[tuple[bytes, int], ...]
"""Erased files by erasure id (16 bytes), sorted: ``((id, files), …)``."""


class Entry(NamedTuple):
    """What a directory says of one name.  A tuple, because a commit makes one for every changed file.

    ``size`` is in bytes; for a directory it is the total below, and ``files`` counts files and links below it.
    ``id`` is that of the chunk (short files, links), manifest (long files) or tree (directories).
    """

    kind: int
    size: int
    id: bytes
    files: int = 1
    erased: Tally = ()


class Totals(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What lies in and below a node; ``size`` is in bytes."""

    entries: int = 0
    files: int = 0
    size: int = 0
    erased: Tally = ()


_MOST: Final = msgspec.Meta(max_length=nodes.TREE_SHAPE.maximum)
"""Checked when the length of a list is read, before its items are."""


class Leaf(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=0):
    """A run of a directory's entries, as columns.

    ``names`` are joined by NUL.  ``counts`` and ``tallies`` belong to the directories among the entries, in order;
    ``tallies`` holds (position among all entries, tally) for those that have one.  ``here`` counts the files erased
    from this directory itself and stands in its first leaf only.
    """

    names: str
    kinds: bytes
    sizes: Annotated[list[int], _MOST]
    ids: bytes
    counts: Annotated[list[int], _MOST]
    tallies: Annotated[list[tuple[int, Tally]], _MOST]
    here: Tally
    totals: Totals
    sections: dict[str, msgspec.Raw] = {}


class Inner(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=1):
    """A run of nodes one level below: the last name in each, their ids and totals."""

    level: int
    names: str
    ids: bytes
    children: Annotated[list[Totals], _MOST]
    totals: Totals
    sections: dict[str, msgspec.Raw] = {}


_NODE: Any = Leaf | Inner


def merge_tallies(tallies: Sequence[Tally]) -> Tally:
    """Return the sum of tallies, sorted by erasure id."""
    found = [tally for tally in tallies if tally]
    if len(found) <= 1:
        return found[0] if found else ()
    sums: dict[bytes, int] = {}
    for tally in found:
        for erasure, count in tally:
            sums[erasure] = sums.get(erasure, 0) + count
    return tuple(sorted(sums.items()))


def sum_totals(children: Sequence[Totals]) -> Totals:
    """Return the totals of several nodes together."""
    return Totals(
        entries=sum(child.entries for child in children),
        files=sum(child.files for child in children),
        size=sum(child.size for child in children),
        erased=merge_tallies([child.erased for child in children]),
    )


def encode_leaf(
    names: Sequence[str],
    entries: Sequence[Entry],
    here: Tally = (),
    sections: dict[str, msgspec.Raw] | None = None,
) -> tuple[bytes, Totals]:
    """Return the bytes of a leaf and its totals; ``names`` are sorted and belong to ``entries``."""
    kinds, sizes, identities, files, tallies = zip(*entries, strict=True) if entries else ((), (), (), (), ())
    totals = Totals(
        entries=len(names),
        files=sum(files),
        size=sum(sizes),
        erased=merge_tallies([here, *filter(None, tallies)]),
    )
    leaf = Leaf(
        names="\0".join(names),
        kinds=bytes(kinds),
        sizes=list(sizes),
        ids=b"".join(identities),
        counts=[count for kind, count in zip(kinds, files, strict=True) if kind == DIRECTORY],
        tallies=[(i, tally) for i, tally in enumerate(tallies) if tally],
        here=here,
        totals=totals,
        sections=sections or {},
    )
    return codec.encode(leaf), totals


def encode_patched(
    leaf: Leaf, changes: Mapping[int, Entry | None], here: Tally, sections: dict[str, msgspec.Raw]
) -> tuple[bytes, Totals]:
    """Return the bytes and totals of a leaf in which some entries differ or are gone, as :func:`encode_leaf` would.

    Args:
        leaf: the leaf as it was.
        changes: the entries that differ, by position, None where one is gone; a directory that does not go stays one,
            and what is none becomes none.
        here: the files erased from the directory itself.
        sections: what else the leaf says.
    """
    names = leaf.names
    kinds, sizes, identities, counts = bytearray(leaf.kinds), leaf.sizes.copy(), bytearray(leaf.ids), leaf.counts.copy()
    tallies = dict(leaf.tallies)
    gone = []
    for at, entry in changes.items():
        tallies.pop(at, None)
        if entry is None:
            gone.append(at)
            continue
        if entry.kind == DIRECTORY:
            counts[leaf.kinds.count(DIRECTORY, 0, at)] = entry.files
        kinds[at], sizes[at] = entry.kind, entry.size
        identities[at * ids.ID_SIZE : (at + 1) * ids.ID_SIZE] = entry.id
        if entry.erased:
            tallies[at] = entry.erased
    listed = sorted(tallies.items())
    if gone:
        gone.sort()
        left = names.split("\0")
        for at in reversed(gone):
            if kinds[at] == DIRECTORY:
                del counts[leaf.kinds.count(DIRECTORY, 0, at)]
            del left[at], kinds[at], sizes[at], identities[at * ids.ID_SIZE : (at + 1) * ids.ID_SIZE]
        names = "\0".join(left)
        listed = [(at - bisect_left(gone, at), tally) for at, tally in listed]
    totals = Totals(
        entries=len(kinds),
        files=len(kinds) - len(counts) - kinds.count(ERASED) + sum(counts),
        size=sum(sizes),
        erased=merge_tallies([here, *(tally for _at, tally in listed)]),
    )
    patched = Leaf(
        names=names,
        kinds=bytes(kinds),
        sizes=sizes,
        ids=bytes(identities),
        counts=counts,
        tallies=listed,
        here=here,
        totals=totals,
        sections=sections,
    )
    return codec.encode(patched), totals


class Columns(msgspec.Struct, kw_only=True):
    """Files and links of one directory, sorted by name, as columns; ``sizes`` in bytes, ``ids`` of 32 bytes each."""

    names: list[str]
    kinds: bytes
    sizes: list[int]
    ids: bytes

    def entries(self) -> dict[str, Entry]:
        """Return the entries, by name."""
        return dict(zip(self.names, map(Entry, self.kinds, self.sizes, ids.split(self.ids)), strict=True))

    def chosen(self, positions: Sequence[int]) -> Columns:
        """Return the columns of the files at some positions, in that order."""
        return Columns(
            names=[self.names[at] for at in positions],
            kinds=bytes(self.kinds[at] for at in positions),
            sizes=[self.sizes[at] for at in positions],
            ids=b"".join(self.ids[at * ids.ID_SIZE : (at + 1) * ids.ID_SIZE] for at in positions),
        )


def encode_files(columns: Columns, start: int, end: int) -> tuple[bytes, Totals]:
    """Return the bytes and totals of the leaf that files ``start`` to ``end`` make, as :func:`encode_leaf` would."""
    sizes = columns.sizes[start:end]
    totals = Totals(entries=end - start, files=end - start, size=sum(sizes))
    leaf = Leaf(
        names="\0".join(columns.names[start:end]),
        kinds=columns.kinds[start:end],
        sizes=sizes,
        ids=columns.ids[start * ids.ID_SIZE : end * ids.ID_SIZE],
        counts=[],
        tallies=[],
        here=(),
        totals=totals,
    )
    return codec.encode(leaf), totals


def encode_inner(level: int, names: Sequence[str], identities: Sequence[bytes], children: Sequence[Totals]) -> bytes:
    """Return the bytes of an inner node over nodes that end with ``names``."""
    return codec.encode(
        Inner(
            level=level,
            names="\0".join(names),
            ids=b"".join(identities),
            children=list(children),
            totals=sum_totals(children),
        )
    )


def decode(data: bytes) -> Leaf | Inner:
    """Return the node that ``data`` encodes, with every count and name checked.

    Raises:
        FormatError: when it is malformed, or says of itself what does not hold.
    """
    node: Leaf | Inner = codec.decode(_NODE, data, what="tree node")
    if isinstance(node, Leaf):
        _check_leaf(node)
    else:
        _check_inner(node)
    return node


class References(NamedTuple):
    """Ids of what a node names: other nodes, manifests, and chunks that are whole files."""

    trees: Collection[bytes]
    manifests: Collection[bytes]
    chunks: set[bytes]


def look(data: bytes) -> Leaf | Inner:
    """Return the node that ``data`` encodes, for who wants its ids: of its names and totals nothing is checked.

    Raises:
        FormatError: when it is malformed, or the columns of its kinds, sizes and ids do not agree.
    """
    node: Leaf | Inner = codec.decode(_NODE, data, what="tree node", exact=False)
    count = len(node.children) if isinstance(node, Inner) else len(node.kinds)
    if len(node.ids) != count * ids.ID_SIZE or (isinstance(node, Leaf) and len(node.sizes) != count):
        raise FormatError("the columns of a tree node differ in length")
    if isinstance(node, Leaf) and node.kinds.translate(None, _KINDS):
        raise FormatError("a tree node holds an entry of unknown kind")
    return node


def references(data: bytes) -> References:
    """Return what a node names; raises as :func:`look`."""
    node = look(data)
    identities = ids.split(node.ids)
    if isinstance(node, Inner):
        return References(identities, (), set())
    return _references(node.kinds, node.sizes, identities)


def references_without(leaf: Leaf, positions: Iterable[int]) -> References:
    """Return what the entries of a leaf name, but for those at some positions; it need only be looked at."""
    kinds, sizes, identities = bytearray(leaf.kinds), leaf.sizes.copy(), list(ids.split(leaf.ids))
    for at in sorted(positions, reverse=True):
        del kinds[at], sizes[at], identities[at]
    return _references(bytes(kinds), sizes, identities)


def _references(kinds: bytes, sizes: Sequence[int], identities: Sequence[bytes]) -> References:
    if kinds.count(DIRECTORY) == len(kinds):
        return References(identities, (), set())
    if 0 not in sizes and not kinds.translate(None, _SHORT):
        return References((), (), set(identities))
    trees = []
    manifests = []
    chunks = set()
    for kind, length, identity in zip(kinds, sizes, identities, strict=True):
        if kind == DIRECTORY:
            trees.append(identity)
        elif kind in LONG:
            manifests.append(identity)
        elif kind != ERASED and length:
            chunks.add(identity)
    return References(trees, manifests, chunks)


def names_of(node: Leaf | Inner) -> list[str]:
    """Return the names of a node, in order."""
    if isinstance(node, Leaf) and not node.kinds:
        return []
    return node.names.split("\0")


def entries_of(leaf: Leaf) -> list[Entry]:
    """Return the entries of a leaf, in the order of its names."""
    found = list(map(Entry, leaf.kinds, leaf.sizes, ids.split(leaf.ids)))
    if leaf.counts or ERASED in leaf.kinds:
        tallies = dict(leaf.tallies)
        counts = iter(leaf.counts)
        for i, entry in enumerate(found):
            if entry.kind == DIRECTORY:
                found[i] = Entry(DIRECTORY, entry.size, entry.id, next(counts), tallies.get(i, ()))
            elif entry.kind == ERASED:
                found[i] = Entry(ERASED, entry.size, entry.id, 0, tallies.get(i, ()))
    return found


def rows_of(leaf: Leaf) -> list[object]:
    """Return, for each entry of a leaf, a value that costs less to make and is equal for equal entries only.

    For a directory, it is taken that its id stands for its totals, as in every tree that is sound.
    """
    if ERASED in leaf.kinds:
        return list(entries_of(leaf))
    return list(zip(leaf.kinds, leaf.sizes, ids.split(leaf.ids), strict=True))


def entry_at(leaf: Leaf, position: int) -> Entry:
    """Return one entry of a leaf without making the others."""
    kind = leaf.kinds[position]
    start = position * ids.ID_SIZE
    size, identity = leaf.sizes[position], leaf.ids[start : start + ids.ID_SIZE]
    if kind not in _TALLIED:
        return Entry(kind, size, identity)
    count = leaf.counts[leaf.kinds.count(DIRECTORY, 0, position)] if kind == DIRECTORY else 0
    return Entry(kind, size, identity, count, dict(leaf.tallies).get(position, ()) if leaf.tallies else ())


def link_target(data: bytes) -> str:
    """Return what a symbolic link points to, from its content.

    Raises:
        FormatError: when no link can point there.
    """
    try:
        target = data.decode()
    except UnicodeDecodeError:
        target = ""
    if not target or "\0" in target:
        raise FormatError("a symbolic link points to something that is no path")
    return target


def _check_leaf(leaf: Leaf) -> None:
    count = len(leaf.kinds)
    names = names_of(leaf)
    if (
        not (count == len(names) == len(leaf.sizes))
        or len(leaf.ids) != count * ids.ID_SIZE
        or (leaf.names and not names)
    ):
        raise FormatError("the columns of a tree node differ in length")
    if count > nodes.TREE_SHAPE.maximum:
        raise FormatError("a tree node holds more entries than the format allows")
    if leaf.kinds.translate(None, _KINDS):
        raise FormatError("a tree node holds an entry of unknown kind")
    if leaf.kinds.count(DIRECTORY) != len(leaf.counts):
        raise FormatError("the columns of a tree node differ in length")
    paths.check_names(names, leaf.names)
    if min(leaf.sizes, default=0) < 0 or sum(leaf.sizes) > SIZE_LIMIT:
        raise FormatError("a tree node holds an impossible size")
    if min(leaf.counts, default=0) < 0 or sum(leaf.counts) > SIZE_LIMIT:
        raise FormatError("a tree node holds an impossible number of files")
    _check_lengths(leaf)
    _check_tallies(leaf)
    files = count - leaf.kinds.count(DIRECTORY) - leaf.kinds.count(ERASED) + sum(leaf.counts)
    claimed = leaf.totals
    erased = merge_tallies([leaf.here, *(tally for _position, tally in leaf.tallies)])
    if (claimed.entries, claimed.files, claimed.size, claimed.erased) != (
        count,
        files,
        sum(leaf.sizes),
        erased,
    ):
        raise FormatError("the totals of a tree node do not add up")


def _check_lengths(leaf: Leaf) -> None:
    """Check sizes against kinds; the loops run only where something could be wrong."""
    pairs = zip(leaf.kinds, leaf.sizes, strict=True)
    if 0 in leaf.sizes and any(not size and kind in {SYMLINK, *LONG} for kind, size in pairs):
        raise FormatError("a tree node holds a link or long file without content")
    for kind, limit in _LIMITS.items():
        if kind in leaf.kinds and max(leaf.sizes) > limit:
            pairs = zip(leaf.kinds, leaf.sizes, strict=True)
            if any(size > limit for found, size in pairs if found == kind):
                raise FormatError("a tree node holds a link or short file longer than the format allows")


def _check_tallies(leaf: Leaf) -> None:
    tallied = [position for position, _tally in leaf.tallies]
    if tallied != sorted(set(tallied)) or (tallied and not 0 <= tallied[0] <= tallied[-1] < len(leaf.kinds)):
        raise FormatError("the tallies of a tree node name entries it does not have")
    if any(leaf.kinds[position] not in _TALLIED for position in tallied):
        raise FormatError("a tree node tallies an entry that is neither a directory nor erased")
    for tally in (leaf.here, *(tally for _position, tally in leaf.tallies)):
        _check_tally(tally)
    if not all(tally for _position, tally in leaf.tallies):
        raise FormatError("a tree node says of an entry that nothing was erased")
    if ERASED in leaf.kinds:
        known = set(tallied)
        for position, kind in enumerate(leaf.kinds):
            start = position * ids.ID_SIZE
            if kind == ERASED and (
                position not in known or leaf.sizes[position] or leaf.ids[start : start + ids.ID_SIZE] != _NO_ID
            ):
                raise FormatError("a tree node keeps something of an erased entry, or does not say what erased it")


def _check_inner(node: Inner) -> None:
    names = names_of(node)
    count = len(node.children)
    if count != len(names) or len(node.ids) != count * ids.ID_SIZE or count == 0:
        raise FormatError("the columns of a tree node differ in length")
    if count > nodes.TREE_SHAPE.maximum or not 1 <= node.level <= nodes.MAX_LEVEL:
        raise FormatError("a tree node is larger or higher than the format allows")
    paths.check_names(names, node.names)
    for child in node.children:
        _check_tally(child.erased)
    # Only the last node of a whole level is cut off by the end of the directory.
    most = nodes.TREE_SHAPE.maximum**node.level
    sizes = [child.entries for child in node.children]
    if min(sizes) < 1 or max(sizes) > most or min(sizes[:-1], default=most) < nodes.TREE_SHAPE.minimum**node.level:
        raise FormatError("a tree node was cut where the format does not cut")
    if min(min(c.entries, c.files, c.size) for c in node.children) < 0 or node.totals != sum_totals(node.children):
        raise FormatError("the totals of a tree node do not add up")
    if max(node.totals.files, node.totals.size) > SIZE_LIMIT:
        raise FormatError("a tree node holds an impossible size")


def _check_tally(tally: Tally) -> None:
    erasures = [erasure for erasure, _files in tally]
    if any(len(erasure) != ids.SHORT_SIZE for erasure in erasures) or any(files < 1 for _erasure, files in tally):
        raise FormatError("a tally of a tree node holds an impossible id or number")
    if erasures != sorted(set(erasures)):
        raise FormatError("a tally of a tree node is not sorted and distinct")
