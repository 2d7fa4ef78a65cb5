"""Golden vectors of the objects that packs hold, before they are sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool.formats import manifest, snapshot, stage, table, tree
from tests.vectors.vector import ERASURE, SECTIONS, TIME, Vector, fill, identity, plain

if TYPE_CHECKING:
    from collections.abc import Iterator


def trees() -> Iterator[Vector]:
    """Yield tree nodes."""
    erased: tree.Tally = ((ERASURE, 2),)
    every_kind = {
        "data": tree.Entry(tree.DIRECTORY, 3000, identity("tree"), 7, erased),
        "empty": tree.Entry(tree.FILE, 0, identity("nothing")),
        "gone": tree.Entry(tree.ERASED, 0, bytes(32), 0, ((ERASURE, 1),)),
        "huge.bin": tree.Entry(tree.LONG_FILE, 5 << 30, identity("manifest")),
        "link": tree.Entry(tree.SYMLINK, 6, identity("target")),
        "long-tool": tree.Entry(tree.LONG_EXECUTABLE, 1 << 20, identity("long tool")),
        "plain.txt": tree.Entry(tree.FILE, 12, identity("plain")),
        "tool": tree.Entry(tree.EXECUTABLE, 99, identity("tool")),
        "\u00fcber.txt": tree.Entry(tree.FILE, 1, identity("one byte")),
    }
    file = tree.Entry(tree.FILE, 1, identity("one byte"))
    leaves = [
        ("empty", "The empty directory.", {}, (), None),
        ("one-file", "One file.", {"a": file}, (), None),
        ("every-kind", "An entry of every kind, with tallies.", every_kind, ((ERASURE, 3),), None),
        (
            "sections",
            "A node with an optional section that this version does not know.",
            {"a": file},
            (),
            SECTIONS,
        ),
    ]
    for name, about, entries, here, sections in leaves:
        data, _totals = tree.encode_leaf(list(entries), list(entries.values()), here, sections)
        yield Vector(format="tree", name=name, about=about, inputs={}, value=plain(tree.decode(data)), data=data)
    totals = [
        tree.Totals(entries=300, files=299, size=70_000, erased=erased),
        tree.Totals(entries=5, files=12, size=9, erased=((bytes(16), 1), (ERASURE, 1))),
    ]
    data = tree.encode_inner(1, ["m", "z"], [identity("left"), identity("right")], totals)
    yield Vector(
        format="tree",
        name="inner",
        about="A node over two others.",
        inputs={},
        value=plain(tree.decode(data)),
        data=data,
    )


def manifests() -> Iterator[Vector]:
    """Yield manifest nodes."""
    for name, about, level, lengths in [
        ("two-chunks", "The shortest manifest there is.", 0, [65536, 1]),
        ("longest-chunk", "A chunk as long as the format allows.", 0, [manifest.CHUNK_LIMIT, 7]),
        ("inner", "A node over three others.", 1, [1 << 30, 1 << 40, 5]),
    ]:
        data = manifest.encode(level, [identity(f"chunk {i}") for i in range(len(lengths))], lengths)
        value = plain(manifest.decode(data))
        yield Vector(format="manifest", name=name, about=about, inputs={}, value=value, data=data)


def tables() -> Iterator[Vector]:
    """Yield table nodes."""
    for name, about, level, pairs in [
        ("empty", "A table without pairs.", 0, {}),
        ("refs", "Two refs.", 0, {b"heads/main": identity("snapshot"), b"worktrees/main": b"@heads/main"}),
        ("inner", "A node over two others.", 1, {b"heads/m": identity("left"), b"tags/z": identity("right")}),
    ]:
        data = table.encode(level, list(pairs), list(pairs.values()))
        value = plain(table.decode(data))
        yield Vector(format="table", name=name, about=about, inputs={}, value=value, data=data)


def snapshots() -> Iterator[Vector]:
    """Yield snapshots and stages."""
    first = snapshot.Snapshot(
        root=identity("root"),
        roots=("data",),
        parents=(),
        author="A. Author <author@example.org>",
        time=TIME,
        message="First \u2713\n",
        files=7,
        size=3000,
        nonce=fill("nonce", 32),
    )
    merged = msgspec.structs.replace(
        first,
        roots=("data", "models/best.bin"),
        parents=(identity("ours"), identity("theirs")),
        message="",
        settings=((".dvignore", identity("ignore"), 12), ("dv.toml", identity("settings"), 300)),
        sections=SECTIONS,
    )
    everything = msgspec.structs.replace(first, roots=("",), author="", time=0, files=0, size=0)
    for name, about, value in [
        ("first", "A snapshot without parents.", first),
        ("merged", "Two parents, kept settings and an optional section.", merged),
        ("whole-repository", "The repository itself is the tracked root.", everything),
    ]:
        data = snapshot.encode(value)
        yield Vector(format="snapshot", name=name, about=about, inputs={}, value=plain(value), data=data)
    for name, about, roots, merging in [
        ("nothing-tracked", "Before the first `add`.", (), ()),
        ("typical", "Two tracked roots.", ("data", "models"), ()),
        ("merging", "A merge under way.", ("data",), (identity("theirs"),)),
    ]:
        staged = stage.Stage(tree=identity("root"), roots=roots, merging=merging, nonce=fill("stage nonce", 32))
        data = stage.encode(staged)
        yield Vector(format="stage", name=name, about=about, inputs={}, value=plain(staged), data=data)


SOURCES = (trees, manifests, tables, snapshots)
