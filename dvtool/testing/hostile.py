"""Hostile stores: a real store made by dv, and in it what somebody with its key could have put there.

``build(root, name)`` makes one of :data:`HOSTILE` in the repository at ``root``: the branch ``evil`` beside ``main``.
What is hostile about it, and who is the first that must notice, is said beside each.
"""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.formats import log, manifest, nodes, pack, snapshot, tree
from dvtool.formats.tree import DIRECTORY, LONG_FILE, SYMLINK, Entry
from dvtool.repo import Repo
from dvtool.testing.forging import BRANCH, PLANTED, Forger, zstd_frame
from dvtool.testing.names import FORBIDDEN, ODD, TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence

AUTHOR: Final = "Alice <alice@example.org>"
GIANT: Final = pack.FRAME_LIMIT
"""The longest content of one frame, in bytes."""


class Verdict(enum.Enum):
    """Who must refuse a store, at the latest."""

    STORE = "store"
    """Whoever opens it: the log itself says what cannot be."""
    TREE = "tree"
    """Whoever lists the snapshot, and everybody who reads more of it."""
    CONTENT = "content"
    """Whoever writes the snapshot's files somewhere."""
    BESIDE = "beside"
    """Whoever follows what a snapshot says beside its files: its history, or its settings."""
    ROOM = "room"
    """Whoever writes the files, or keeps a list of them: all of it is valid, and no machine has room for it."""
    DATA = "data"
    """Nobody: it is odd and valid, and must come out as it is, with nothing written elsewhere."""


class Hostile(msgspec.Struct, frozen=True, kw_only=True):
    """A way to forge a store.

    ``told`` shows that what is hostile was met: it is a part of what a complete check says of the store.  It is empty
    where each object is in order by itself.  Of :attr:`Verdict.DATA` it is the paths that a listing of the branch
    holds, joined by NUL.
    """

    craft: Callable[[Forger], object]
    verdict: Verdict
    told: str


def build(root: str, name: str | None = None) -> None:
    """Make a repository with one snapshot at ``root``, and in it the hostile store ``name`` of :data:`HOSTILE`.

    Args:
        root: a directory that is missing, or holds no repository.
        name: None leaves it harmless.

    Raises:
        KeyError: when there is no such hostile store.
    """
    os.makedirs(f"{root}/data", exist_ok=True)
    with open(f"{root}/data/mine.txt", "wb") as file:
        file.write(b"mine\n")
    repo = Repo.init(root)
    repo.add(["data"])
    repo.commit("mine", author=AUTHOR)
    if name is not None:
        forge(root, name)


def forge(root: str, name: str) -> None:
    """Put the hostile store ``name`` of :data:`HOSTILE` into a harmless repository."""
    HOSTILE[name].craft(Forger(root))


def _named(name: str, kind: str) -> Callable[[Forger], object]:
    def craft(forger: Forger) -> None:
        entry = forger.link(b"../../precious") if kind == "link" else forger.file()
        forger.plant([(name, forger.directory(["precious"], [entry]) if kind == "directory" else entry)])

    return craft


def _odd(names: Sequence[str]) -> Callable[[Forger], object]:
    return lambda forger: forger.plant([(name, forger.file()) for name in sorted(names)])


def _files(names: Sequence[str]) -> str:
    return "\0".join(f"data/{name}" for name in names)


def _in_directories(forger: Forger) -> None:
    below = forger.directory(["precious"], [forger.file()])
    forger.plant([("A", forger.link(b"../..")), ("a", below)])


def _links(forger: Forger) -> None:
    forger.plant([(f"l{number}", forger.link(target)) for number, target in enumerate(TARGETS)])


def _link_and_directory(forger: Forger) -> None:
    forger.plant([("a", forger.link(b"../..")), ("a", forger.directory(["precious"], [forger.file()]))])


def _in_two_nodes(forger: Forger) -> None:
    first = forger.directory(["a"], [forger.link(b"../..")])
    second = forger.directory(["a"], [forger.directory(["precious"], [forger.file()])])
    top = forger.inner([("a", first), ("b", second)], entries=nodes.TREE_SHAPE.minimum)
    forger.publish(forger.snapshot(forger.directory(["data"], [top])))


def _size(claimed: int, kind: int) -> Callable[[Forger], object]:
    return lambda forger: forger.plant([("f", forger.file()._replace(size=claimed, kind=kind))])


def _link_to(target: bytes) -> Callable[[Forger], object]:
    return lambda forger: forger.plant([("l", forger.link(target))])


def _totals(files: int, size: int) -> Callable[[Forger], object]:
    def craft(forger: Forger) -> None:
        below = forger.directory(["f"], [forger.file()])
        forger.plant([("sub", below._replace(files=files, size=size))])

    return craft


def _snapshot(change: Callable[[Forger, Entry], bytes]) -> Callable[[Forger], object]:
    return lambda forger: forger.publish(change(forger, forger.below([("f", forger.file())])))


def _settings(name: str, size: int | None = None) -> Callable[[Forger], object]:
    def change(forger: Forger, top: Entry) -> bytes:
        chunk = forger.chunk(PLANTED)
        return forger.snapshot(top, settings=((name, chunk, len(PLANTED) if size is None else size),))

    return _snapshot(change)


def _crowd(forger: Forger) -> None:
    count = nodes.TREE_SHAPE.maximum + 1
    forger.plant([(f"{number:06}", forger.file()) for number in range(count)])


def _tower(forger: Forger) -> None:
    found = forger.directory(["a"], [forger.file()])
    for level in range(1, nodes.MAX_LEVEL + 3):
        found = forger.inner([("a", found)], level=level)
    forger.publish(forger.snapshot(forger.directory(["data"], [found])))


def _object(kind: int, data: bytes) -> Callable[[Forger], object]:
    """A directory whose node is any bytes; the pack writer itself refuses none of them."""

    def craft(forger: Forger) -> None:
        identity = forger.put(kind, data)
        forger.plant([("sub", Entry(DIRECTORY, 0, identity, 0))])

    return craft


def _frame(kind: int, size: int, frame: Callable[[], bytes], raw: int) -> Callable[[Forger], object]:
    """A file or directory whose one frame is what a decompressor is handed; its id is that of ``size`` zeros."""

    def craft(forger: Forger) -> None:
        identity = forger.store.hasher.id(kind, bytes(size))
        forger.frame(kind, identity, frame(), raw)
        entry = Entry(tree.FILE, size, identity) if kind == ids.CHUNK else Entry(DIRECTORY, 0, identity, 0)
        forger.plant([("bomb", entry)])

    return craft


def _other_content(forger: Forger) -> None:
    identity = forger.store.hasher.id(ids.CHUNK, b"what was asked for")
    forger.frame(ids.CHUNK, identity, b"something else as long", 22, compressed=False)
    forger.plant([("f", Entry(tree.FILE, 22, identity))])


def _other_kind(forger: Forger) -> None:
    directory = forger.directory(["f"], [forger.file()])
    forger.plant([("f", Entry(tree.FILE, 100, directory.id))])


def _long(lengths: Sequence[int], pieces: Sequence[bytes], size: int | None = None) -> Callable[[Forger], object]:
    return lambda forger: forger.plant([("long", forger.long_file(lengths, pieces, size=size))])


def _zeros(forger: Forger) -> None:
    """A file of zeros as dv cuts it: one chunk, named many times."""
    data = bytes(1 << 21)
    pieces = [data[start:end] for start, end in forger.store.chunker().cut(data)]
    forger.plant([("long", forger.long_file(list(map(len, pieces)), pieces))])


def _missing_chunk(forger: Forger) -> None:
    identity = forger.manifest([forger.chunk(PLANTED), bytes(31) + b"\1"], [len(PLANTED), 5])
    forger.plant([("long", Entry(LONG_FILE, len(PLANTED) + 5, identity))])


def _levels_that_skip(forger: Forger) -> None:
    low = bytes(31)  # ids that begin with zeros may end a node
    below = forger.manifest([low + b"\1", low + b"\2"], [5, 5])
    identity = forger.manifest([below, below], [10, 10], level=3)
    forger.plant([("long", Entry(LONG_FILE, 20, identity))])


def _missing(kind: int) -> Callable[[Forger], object]:
    def craft(forger: Forger) -> None:
        gone = b"\7" * ids.ID_SIZE
        if kind == ids.SNAPSHOT:
            forger.publish(forger.snapshot(forger.below([("f", forger.file())]), parents=(gone,)))
        else:
            entry = Entry(DIRECTORY, 5, gone, 1) if kind == ids.TREE else Entry(tree.FILE, 5, gone)
            forger.plant([("gone", entry)])

    return craft


def _larger_than_any_disk(forger: Forger) -> None:
    """Sixteen million zeros in half a thousand bytes, named a thousand million times by four small nodes."""
    identity = forger.store.hasher.id(ids.CHUNK, bytes(GIANT))
    forger.frame(ids.CHUNK, identity, zstd_frame(GIANT, claims=GIANT), GIANT)
    length, count = GIANT, nodes.MANIFEST_SHAPE.maximum
    for level in range(3):
        identity = forger.manifest([identity] * count, [length] * count, level=level)
        length *= count
    forger.plant([("long", Entry(LONG_FILE, length, identity))])


def _nested(levels: int) -> Callable[[Forger], object]:
    return lambda forger: forger.plant([("d", forger.nested(levels))])


def _circle(steps: int) -> Callable[[Forger], object]:
    """Snapshots that stand for each other: ids come from content, so only the map can lead back."""

    def craft(forger: Forger) -> None:
        found = [forger.snapshot(forger.below([("f", forger.file())]), message=str(step)) for step in range(steps)]
        forger.publish(found[0])
        pairs = tuple(zip(found, [*found[1:], found[0]], strict=True))
        forger.entry(log.Supersede(pairs=pairs))

    return craft


def _ancestor(forger: Forger) -> None:
    top = forger.below([("f", forger.file())])
    first = forger.snapshot(top, message="first")
    second = forger.snapshot(top, message="second", parents=(first,))
    third = forger.snapshot(top, message="third", parents=(second,))
    forger.publish(third)
    forger.entry(log.Supersede(pairs=((first, third),)))


def _entry(*actions: log.Action) -> Callable[[Forger], object]:
    return lambda forger: forger.entry(*actions)


def _no_checkpoint(forger: Forger) -> None:
    forger.entry(log.MoveRef(name="tags/t", old=None, new=bytes(32)), checkpoint=True)


def _checkpoint(change: Callable[[Forger], log.Table]) -> Callable[[Forger], object]:
    """A checkpoint whose table of refs is what ``change`` says."""

    def craft(forger: Forger) -> None:
        crafted = change(forger)
        forger.keep()
        state = forger.store.refresh()
        tables = []
        for name in log.TABLES[1:]:
            pairs = getattr(state, name).items()
            tables.append(log.Table(count=len(pairs), pairs=tuple(pairs)))
        packs, superseded, condemned, dropped, erasures, locators = tables
        forger.entry(
            log.Checkpoint(
                refs=crafted,
                packs=packs,
                superseded=superseded,
                condemned=condemned,
                dropped=dropped,
                erasures=erasures,
                locators=locators,
                segments=tuple(state.segments),
                lock=b"",
                writes=tuple(state.writes),
            ),
            checkpoint=True,
        )

    return craft


def _many_refs(forger: Forger, *, count: int) -> log.Table:
    head = forger.store.state.ref_names("heads/")[0][1]
    pairs = [(f"tags/{number:06}".encode(), head) for number in range(400)]
    return forger.table([pairs[:200], pairs[200:]], count=count)


_STORE, _TREE, _CONTENT, _BESIDE, _ROOM, _DATA = Verdict

_ARRAY: Final = b"\x91"
"""A list of one, in MessagePack: repeated, a list in a list in a list."""


_NOTHINGS: Final = b"\xdd" + (GIANT - 5).to_bytes(4, "big") + b"\xc0" * (GIANT - 5)
"""A list of as many nils as a frame holds."""


def _hostile(craft: Callable[[Forger], object], verdict: Verdict, told: str) -> Hostile:
    return Hostile(craft=craft, verdict=verdict, told=told)


_NAMES: Final = {
    f"{why} as a {kind}": _hostile(_named(name, kind), _TREE, "forbidden name")
    for why, name in FORBIDDEN.items()
    for kind in ("file", "directory", "link")
} | {
    "a name with NUL": _hostile(_named("a\0b", "file"), _TREE, "differ in length"),
    "names out of order": _hostile(
        lambda forger: forger.plant([("b", forger.file()), ("a", forger.file())]), _TREE, "not sorted and distinct"
    ),
    "a link and a directory of one name": _hostile(_link_and_directory, _TREE, "not sorted and distinct"),
    "a link and a directory of one name in two nodes": _hostile(_in_two_nodes, _TREE, "not what the node above"),
}

_VALID: Final = {why: _hostile(_odd(names), _DATA, _files(names)) for why, names in ODD.items()} | {
    "a link and a directory that differ in case": _hostile(_in_directories, _DATA, _files(["A", "a/precious"])),
    "links that lead out": _hostile(_links, _DATA, _files([f"l{number}" for number in range(len(TARGETS))])),
    "the same chunk again and again": _hostile(_zeros, _DATA, _files(["long"])),
}

_SIZES: Final = {
    f"a {word} of {claimed:,} bytes that has {len(PLANTED)}": _hostile(_size(claimed, kind), verdict, told)
    for word, kind, claimed, verdict, told in (
        ("file", tree.FILE, 0, _TREE, "empty file"),
        ("file", tree.FILE, 1, _CONTENT, "not what its directory says"),
        ("file", tree.FILE, GIANT, _CONTENT, "not what its directory says"),
        ("file", tree.FILE, GIANT + 1, _TREE, "longer than the format allows"),
        ("long file", LONG_FILE, len(PLANTED), _CONTENT, "not the manifest"),
        ("long file", LONG_FILE, 2**62, _CONTENT, "not the manifest"),
        ("link", SYMLINK, 4096, _CONTENT, "not what its directory says"),
        ("link", SYMLINK, 4097, _TREE, "longer than the format allows"),
        ("link", SYMLINK, 0, _TREE, "without content"),
    )
}

_TOTALS: Final = {
    "a directory that says it is empty": _hostile(_totals(0, 0), _TREE, "what the directory above it says"),
    "a directory that says it is larger than any disk": _hostile(
        _totals(2**40, 2**62), _TREE, "what the directory above it says"
    ),
    "a snapshot that says it is empty": _hostile(
        _snapshot(lambda forger, top: forger.snapshot(top, files=0, size=0)), _CONTENT, "its tree has"
    ),
    "a snapshot that says it is larger than any disk": _hostile(
        _snapshot(lambda forger, top: forger.snapshot(top, files=2**40, size=2**62)), _CONTENT, "its tree has"
    ),
    "a leaf that is longer than any node": _hostile(_crowd, _TREE, "malformed tree node"),
    "nodes that stand higher than any tree": _hostile(_tower, _TREE, "higher than the format allows"),
    "a directory that is cut where none is cut": _hostile(
        lambda forger: forger.publish(
            forger.snapshot(
                forger.directory(
                    ["data"],
                    [
                        forger.inner(
                            [
                                ("a", forger.directory(["a"], [forger.file()])),
                                ("b", forger.directory(["b"], [forger.file()])),
                            ]
                        )
                    ],
                )
            )
        ),
        _TREE,
        "cut where the format does not cut",
    ),
}

_LINKS: Final = {
    f"a link to {word}": _hostile(_link_to(target), _CONTENT, "points to something that is no path")
    for word, target in (("a name with NUL", b"a\0b"), ("what is not UTF-8", b"\xff\xfe"))
}

_SNAPSHOTS: Final = {
    f"the tracked root {root!r}": _hostile(
        _snapshot(lambda forger, top, root=root: forger.snapshot(top, roots=(root,))),  # type: ignore[misc]
        _TREE,
        "forbidden path",
    )
    for root in ("../..", "/etc", ".git", ".dv/store", "a/../b", "a\0b", "a//b", "dv.toml")
} | {
    "files outside the tracked roots": _hostile(
        _snapshot(lambda forger, top: forger.snapshot(top, roots=("other",))), _CONTENT, ""
    ),
    "settings outside the worktree": _hostile(_settings("../precious"), _TREE, "impossible name"),
    "settings in dv's directory": _hostile(_settings(".dv/worktree"), _TREE, "impossible name"),
    "settings of another length": _hostile(_settings(".dvignore", 2**40), _BESIDE, "settings (.dvignore)"),
    "more parents than any snapshot": _hostile(
        _snapshot(lambda forger, top: forger.snapshot(top, parents=(b"\1" * 32,) * (snapshot.PARENT_LIMIT + 1))),
        _TREE,
        "more parents than the format allows",
    ),
    "a branch that names a directory": _hostile(
        lambda forger: forger.publish(forger.directory(["f"], [forger.file()]).id), _TREE, "malformed"
    ),
}

_MANIFESTS: Final = {
    "a manifest that says less than there is": _hostile(_long([8, 3], [PLANTED, PLANTED]), _CONTENT, "chunks:"),
    "a manifest that says more than there is": _hostile(_long([8, 9], [PLANTED, PLANTED]), _CONTENT, "chunks:"),
    "a manifest whose sum is another": _hostile(_long([8, 8], [PLANTED] * 2, size=17), _CONTENT, "do not add up"),
    "a manifest of negative lengths": _hostile(_long([24, -8], [PLANTED] * 2), _CONTENT, "do not add up"),
    "a manifest of chunks that are too long": _hostile(
        _long([manifest.CHUNK_LIMIT + 1, 8], [PLANTED] * 2), _CONTENT, "longer than the format allows"
    ),
    "a manifest of a single chunk": _hostile(_long([8], [PLANTED]), _CONTENT, "a single chunk"),
    "a manifest of a chunk that is nowhere": _hostile(_missing_chunk, _CONTENT, "missing from the store"),
    "a manifest that skips levels": _hostile(_levels_that_skip, _CONTENT, "where the format does not cut"),
}

_OBJECTS: Final = {
    "a directory that is nowhere": _hostile(_missing(ids.TREE), _TREE, "is missing from the store"),
    "a file that is nowhere": _hostile(_missing(ids.CHUNK), _CONTENT, "missing from the store"),
    "a file that is a directory's node": _hostile(_other_kind, _CONTENT, "not what its directory says"),
    "content of another id": _hostile(_other_content, _CONTENT, "are damaged"),
    "a directory of lists in lists": _hostile(_object(ids.TREE, _ARRAY * (GIANT // 16)), _TREE, "malformed tree node"),
    "a directory of sixteen million nothings": _hostile(
        _object(ids.TREE, _NOTHINGS),
        _TREE,
        "malformed tree node",
    ),
    "a directory of one long name": _hostile(
        lambda forger: forger.plant([("sub", forger.directory(["x" * (GIANT - 200)], [forger.file()]))]),
        _TREE,
        "forbidden name",
    ),
    "directories that double": _hostile(lambda forger: forger.plant([("d", forger.doubled(40))]), _ROOM, ""),
    "empty directories that double": _hostile(
        lambda forger: forger.plant([("d", forger.doubled(40, forger.directory([], [])))]), _ROOM, ""
    ),
    "a file that is larger than any disk": _hostile(_larger_than_any_disk, _ROOM, ""),
    "directories in directories": _hostile(_nested(2500), _TREE, "nested too deep"),
}

_BOMBS: Final = {
    "a frame that inflates to more than it says": _hostile(
        _frame(ids.CHUNK, 8, lambda: zstd_frame(GIANT, claims=8, window=17), 8), _CONTENT, "are damaged"
    ),
    "a frame that says more than its footer": _hostile(
        _frame(ids.CHUNK, 8, lambda: zstd_frame(8, claims=2**62, window=17), 8), _CONTENT, "are damaged"
    ),
    "a frame that does not say how much it holds": _hostile(
        _frame(ids.CHUNK, GIANT, lambda: zstd_frame(GIANT, claims=None), GIANT), _CONTENT, "are damaged"
    ),
    "a frame that holds less than it says": _hostile(
        _frame(ids.CHUNK, GIANT, lambda: zstd_frame(8, claims=GIANT), GIANT), _CONTENT, "are damaged"
    ),
    "a frame that asks for a giant window": _hostile(
        _frame(ids.CHUNK, 8, lambda: zstd_frame(8, claims=8, window=41), 8), _CONTENT, "are damaged"
    ),
    "two frames in the place of one": _hostile(
        _frame(ids.CHUNK, 8, lambda: zstd_frame(8, claims=8) + zstd_frame(GIANT, claims=GIANT), 8),
        _CONTENT,
        "are damaged",
    ),
    "a frame that is no zstd": _hostile(_frame(ids.CHUNK, 8, lambda: b"nothing of the kind", 8), _CONTENT, "damaged"),
    "a frame longer than any": _hostile(
        _frame(ids.CHUNK, 2**27 - 1, lambda: zstd_frame(2**27 - 1, claims=2**27 - 1), 2**27 - 1), _TREE, "damaged"
    ),
    "a directory's node that is a bomb": _hostile(
        _frame(ids.TREE, 64, lambda: zstd_frame(GIANT, claims=64, window=17), 64), _TREE, "are damaged"
    ),
    "a directory's node of sixteen million zeros": _hostile(
        _frame(ids.TREE, GIANT, lambda: zstd_frame(GIANT, claims=GIANT), GIANT), _TREE, "malformed tree node"
    ),
}

_LOGS: Final = {
    "a snapshot that stands for itself": _hostile(_circle(1), _TREE, "in a circle"),
    "snapshots that stand for each other": _hostile(_circle(3), _TREE, "in a circle"),
    "a snapshot that is its own ancestor": _hostile(_ancestor, _BESIDE, "in a circle"),
    "an entry that condemns what is outside": _hostile(
        _entry(log.Condemn(names=("../../precious",))), _STORE, "impossible file name"
    ),
    "an entry that drops the key": _hostile(_entry(log.Drop(names=("keys/repo",))), _STORE, "impossible file name"),
    "an entry that adds packs from outside": _hostile(
        _entry(log.AddPacks(keys="keys/../../x", index="index/../../x", packs=(), records=0)),
        _STORE,
        "impossible file name",
    ),
    "a branch that leads elsewhere": _hostile(
        _entry(log.MoveRef(name="heads/../../x", old=None, new=bytes(32))), _STORE, "impossible ref"
    ),
    "a branch with control characters": _hostile(
        _entry(log.MoveRef(name="heads/\x1b[2J", old=None, new=bytes(32))), _STORE, "impossible ref"
    ),
    "a worktree whose branch is no name": _hostile(
        _entry(log.MoveRef(name="worktrees/other", old=None, new=b"@heads/..")), _STORE, "impossible ref"
    ),
    "an entry that claims to be a checkpoint": _hostile(_no_checkpoint, _STORE, "checkpoint that is none"),
    "a checkpoint with fewer refs than it says": _hostile(
        _checkpoint(lambda forger: _many_refs(forger, count=401)), _STORE, "does not know this worktree"
    ),
    "a checkpoint whose table is nowhere": _hostile(
        _checkpoint(lambda _forger: log.Table(count=400, root=b"\7" * 32)), _STORE, f"table {'07' * 8} is missing"
    ),
}

HOSTILE: Final[dict[str, Hostile]] = {
    **_NAMES,
    **_VALID,
    **_SIZES,
    **_TOTALS,
    **_LINKS,
    **_SNAPSHOTS,
    **_MANIFESTS,
    **_OBJECTS,
    **_BOMBS,
    **_LOGS,
}
"""Every hostile store, by what is hostile about it."""


def main(words: Sequence[str]) -> int:
    """Build one hostile store, or say which there are: ``python -m dvtool.testing.hostile [NAME DIRECTORY]``."""
    if len(words) != 2 or words[0] not in HOSTILE:  # noqa: PLR2004 - a name and a directory
        sys.stdout.write("".join(f"{craft.verdict.value:8} {name}\n" for name, craft in HOSTILE.items()))
        return 2
    name, directory = words
    build(directory, name)
    sys.stdout.write(f"made a hostile store in {directory}: {_WHO[HOSTILE[name].verdict]}\n")
    return 0


_WHO: Final = {
    Verdict.STORE: "whoever opens it must refuse it",
    Verdict.TREE: f"whoever lists the branch {BRANCH!r} must refuse it",
    Verdict.CONTENT: f"whoever writes the files of the branch {BRANCH!r} must refuse it",
    Verdict.BESIDE: f"whoever follows history and settings of the branch {BRANCH!r} must refuse it",
    Verdict.ROOM: f"whoever writes or keeps all that the branch {BRANCH!r} holds must refuse it",
    Verdict.DATA: f"the branch {BRANCH!r} is odd and valid, and must come out as it is",
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
