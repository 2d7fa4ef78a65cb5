"""Makes the golden vectors: bytes that every later version of dv must still read, with what they mean.

Each vector is ``<format>/v1/<name>.json``, and ``<name>.bin`` beside it where there are bytes to read.
The JSON has

- ``about``: one sentence on what the vector shows;
- ``inputs``: keys, salts and whatever else a reader needs besides the bytes;
- ``value``: what the bytes say.  Byte strings stand in hexadecimal.

Vectors are append-only.  Without arguments the script writes those that are missing and touches no others;
with ``--check`` it writes nothing and fails if one is missing, differs from what the code makes today, or is
made no more.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dvtool import digest, ids
from dvtool.crypto import Sealer
from dvtool.formats import (
    index,
    keyfile,
    lock,
    log,
    manifest,
    nodes,
    pack,
    repokey,
    sealed,
    snapshot,
    stage,
    storeformat,
    table,
    tree,
    worktree_index,
)
from dvtool.store.chunker import Chunker
from dvtool.store.keys import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent

STORE = bytes.fromhex("00112233445566778899aabbccddeeff")
REPOSITORY = bytes.fromhex("ffeeddccbbaa99887766554433221100")
KEY = bytes(range(32))
TIME = 1_750_000_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Vector:
    """One golden vector; ``data`` is None where the value alone is the point."""

    format: str
    name: str
    about: str
    inputs: dict[str, Any]
    value: Any
    data: bytes | None = None

    def files(self) -> dict[Path, bytes]:
        """Return what stands on the disk, by path."""
        directory = HERE / self.format / "v1"
        text = json.dumps({"about": self.about, "inputs": self.inputs, "value": self.value}, indent=1)
        found = {directory / f"{self.name}.json": text.encode() + b"\n"}
        if self.data is not None:
            found[directory / f"{self.name}.bin"] = self.data
        return found


def fill(label: str, length: int) -> bytes:
    """Return ``length`` bytes that look random and are the same for ever: SHAKE-256 of a label."""
    return hashlib.shake_256(label.encode()).digest(length)


def identity(label: str) -> bytes:
    """Return a stand-in for an id."""
    return fill(f"id {label}", ids.ID_SIZE)


def plain(value: object) -> Any:
    """Return a value of a format as JSON can say it."""
    found: Any = value
    match value:
        case bytes() | msgspec.Raw():
            found = bytes(value).hex()
        case msgspec.Struct():
            names = value.__struct_fields__
            tagged = {"type": type(value).__name__} if value.__struct_config__.tag is not None else {}
            found = tagged | {name: plain(getattr(value, name)) for name in names}
        case dict():
            found = {plain(key): plain(each) for key, each in value.items()}
        case tuple() if hasattr(value, "_asdict"):
            found = plain(value._asdict())
        case tuple() | list() | array():
            found = [plain(each) for each in value]
    return found


# ------------------------------------------------------------------------------- hashes, keys, cuts


def digests() -> Iterator[Vector]:
    """Yield vectors of ids, derived keys and checksums."""
    content = b"the same bytes"
    hasher = digest.IdHasher(KEY)
    yield Vector(
        format="digest",
        name="ids",
        about="One content under the key of each kind has one id for each kind.",
        inputs={"id_key": KEY.hex(), "content": content.hex()},
        value={name: hasher.id(kind, content).hex() for kind, name in ids.KIND_NAMES.items()},
    )
    secrets = Secrets(KEY)
    yield Vector(
        format="digest",
        name="secrets",
        about="What follows from a repository secret.",
        inputs={"secret": KEY.hex()},
        value={
            "id_key": secrets.id_key.hex(),
            "wrap": secrets.wrap.hex(),
            "split": secrets.split.hex(),
            "cache": secrets.cache.hex(),
            "seed": secrets.seed,
        },
    )
    yield Vector(
        format="digest",
        name="hashes",
        about="The three hashes over one content.",
        inputs={"key": KEY.hex(), "content": content.hex()},
        value={
            "keyed": digest.keyed(KEY, content).hex(),
            "accident": digest.accident(content).hex(),
            "sealed_name": digest.sealed_name(content).hex(),
        },
    )


def chunkers() -> Iterator[Vector]:
    """Yield the gear table and cut points, enough to replace the library that cuts."""
    constants = importlib.import_module("pyfastcdc.py.constants")
    yield Vector(
        format="chunker",
        name="gear",
        about="The gear table and the masks by number of bits, before a seed is applied.",
        inputs={},
        value={
            "gear": [f"{word:016x}" for word in constants.GEAR],
            "masks": [f"{word:016x}" for word in constants.MASKS],
        },
    )
    seed = 0x1234_5678_9ABC_DEF1
    kinds = [
        (
            "random",
            "Data without structure, in the sizes of a store.",
            "random",
            1 << 20,
            seed,
            (16, 64, 256),
        ),
        (
            "random-largest-seed",
            "The same data under the largest seed.",
            "random",
            1 << 20,
            2**63 - 1,
            (16, 64, 256),
        ),
        ("random-small", "Small chunks, to meet many cuts.", "random", 1 << 18, seed, (1, 4, 16)),
        ("at-the-minimum", "As long as the minimum: one chunk.", "short", 16384, seed, (16, 64, 256)),
        ("above-the-minimum", "One byte longer than the minimum.", "short", 16385, seed, (16, 64, 256)),
        ("zeros", "No place to cut: chunks of the maximum.", "", 600_000, seed, (16, 64, 256)),
        ("empty", "Nothing at all: no chunk.", "", 0, seed, (16, 64, 256)),
    ]
    for name, about, label, length, number, kibibytes in kinds:
        minimum, average, maximum = (size * 1024 for size in kibibytes)
        sizes = storeformat.Chunking(minimum=minimum, average=average, maximum=maximum)
        data = fill(label, length) if label else bytes(length)
        yield Vector(
            format="chunker",
            name=name,
            about=about,
            inputs={
                "shake256": label or None,
                "length": length,
                "seed": number,
                "minimum": minimum,
                "average": average,
                "maximum": maximum,
            },
            value=[end for _start, end in Chunker(sizes, number).cut(data)],
        )


def splits() -> Iterator[Vector]:
    """Yield where sequences are cut into nodes."""
    count = 10_000
    names = [f"file-{number:05d}" for number in range(count)]
    for level in (0, 1):
        yield Vector(
            format="nodes",
            name=f"tree-level-{level}",
            about="The ends of the nodes over names file-00000 to file-09999 of a directory.",
            inputs={"key": KEY.hex(), "count": count, "level": level, "shape": plain(nodes.TREE_SHAPE)},
            value=nodes.cut(count, nodes.TREE_SHAPE, nodes.name_marks(KEY, names, level)),
        )
    chunks = fill("chunks", count * ids.ID_SIZE)
    yield Vector(
        format="nodes",
        name="manifest",
        about="The ends of the nodes over 10,000 chunks whose ids, joined, are SHAKE-256 of the label.",
        inputs={"shake256": "chunks", "count": count, "shape": plain(nodes.MANIFEST_SHAPE)},
        value=nodes.cut(count, nodes.MANIFEST_SHAPE, lambda i: chunks[i * 32 : i * 32 + 32]),
    )
    equal = identity("equal chunks")
    yield Vector(
        format="nodes",
        name="manifest-of-equal-chunks",
        about="Equal chunks whose mark is no end: nodes of the maximum.",
        inputs={"id": equal.hex(), "count": 2500, "shape": plain(nodes.MANIFEST_SHAPE)},
        value=nodes.cut(2500, nodes.MANIFEST_SHAPE, lambda _i: equal),
    )


# ------------------------------------------------------------------------------------------ envelopes


def packs() -> Iterator[Vector]:
    """Yield packs; the compressed frame is written by hand, so that no library decides its bytes."""
    salt = fill("pack salt", 32)
    hello = b"hello, world"
    run = b"a" * 64
    # Magic, one segment with a one-byte content size, one last block of 64 times one byte.
    zstd = bytes.fromhex("28b52ffd2040030200") + b"a"
    cases = [
        ("data", "Two chunks, the second compressed.", pack.DATA, [(1, hello, hello), (0x81, run, zstd)]),
        ("metadata", "One object: an empty directory.", pack.METADATA, [(ids.TREE, EMPTY_TREE, EMPTY_TREE)]),
        ("empty", "A pack without frames.", pack.DATA, []),
    ]
    hasher = digest.IdHasher(KEY)
    for name, about, content, frames in cases:
        sealer = Sealer(KEY)
        header = pack.encode_header(pack.Header(content=content, store=STORE, salt=salt))
        parts = [header]
        stored = []
        for number, (_flags, _raw, kept) in enumerate(frames):
            parts.append(sealer.seal(number, kept, pack.associated(header, number)))
            stored.append(len(parts[-1]))
        footer = pack.Footer(
            ids=b"".join(hasher.id(flags & pack.KIND_MASK, raw) for flags, raw, _kept in frames),
            flags=bytes(flags for flags, _raw, _kept in frames),
            stored=array("I", stored),
            raw=array("I", [len(raw) for _flags, raw, _kept in frames]),
        )
        number = pack.FOOTER_NUMBER
        parts.append(sealer.seal(number, pack.encode_footer(footer), pack.associated(header, number)))
        parts.append(len(parts[-1]).to_bytes(4, "little"))
        body = b"".join(parts)
        data = body + digest.accident(body)
        yield Vector(
            format="pack",
            name=name,
            about=about,
            inputs={"key": KEY.hex(), "id_key": KEY.hex(), "store": STORE.hex()},
            value={
                "name": digest.sealed_name(data).hex(),
                "content": content,
                "salt": salt.hex(),
                "footer": plain(footer),
                "frames": [raw.hex() for _flags, raw, _kept in frames],
            },
            data=data,
        )


def indexes() -> Iterator[Vector]:
    """Yield index files of no, one and several pages."""
    for name, about, count in [
        ("empty", "No packs, no records, no pages.", 0),
        ("one-page", "Three records in two packs.", 3),
        ("full-page", "Exactly one full page.", index.PAGE_RECORDS),
        ("three-pages", "Two full pages and one of a single record.", 2 * index.PAGE_RECORDS + 1),
    ]:
        entries = tuple(
            index.PackEntry(name=identity(f"pack {number}"), content=1 + number, size=1000 + number, frames=2, raw=900)
            for number in range(2 if count else 0)
        )
        locations = {
            identity(f"object {number}"): index.Location(
                pack=number % 2,
                number=number,
                offset=64 + 100 * number,
                stored=100,
                raw_flags=index.pack_raw_flags(84 + number, ids.CHUNK | pack.COMPRESSED * (number % 2)),
            )
            for number in range(count)
        }
        salt = fill(f"index salt {name}", 32)
        records = [index.record(each, location) for each, location in locations.items()]
        shown = sorted(locations.items())[:3]
        yield Vector(
            format="index",
            name=name,
            about=about,
            inputs={"key": KEY.hex(), "store": STORE.hex(), "salt": salt.hex()},
            value={
                "packs": plain(entries),
                "records": count,
                "first": [
                    {"id": each.hex(), **plain(location), "raw": location.raw, "flags": location.flags}
                    for each, location in shown
                ],
            },
            data=index.encode(STORE, KEY, salt, entries, records),
        )


def blobs() -> Iterator[Vector]:
    """Yield sealed blobs of each kind."""
    label = fill("label", sealed.LABEL_SIZE)
    for name, kind, place, payload in [
        ("log-entry", sealed.LOG_ENTRY, "log/0000000000000001", b"an entry"),
        ("key-file", sealed.KEY_FILE, f"keys/{fill('key file', 16).hex()}", b"some keys"),
        ("log-key", sealed.LOG_KEY, f"keys/log-{label.hex()}", fill("log key", 32)),
        ("cache", sealed.CACHE, "cache", b""),
    ]:
        kind_label = label if kind == sealed.LOG_ENTRY else bytes(sealed.LABEL_SIZE)
        salt = fill(f"salt {name}", sealed.SALT_SIZE)
        yield Vector(
            format="sealed",
            name=name,
            about=f"A blob of kind {kind}, bound to its store and its name.",
            inputs={"longterm": KEY.hex(), "store": STORE.hex(), "place": place, "salt": salt.hex()},
            value={"kind": kind, "label": kind_label.hex(), "payload": payload.hex()},
            data=sealed.seal(kind, KEY, kind_label, salt, STORE + place.encode(), payload),
        )


def repository_keys() -> Iterator[Vector]:
    """Yield the key of a repository."""
    yield Vector(
        format="repokey",
        name="plain",
        about="A secret kept in the clear.",
        inputs={"repository": REPOSITORY.hex()},
        value={"secret": KEY.hex()},
        data=repokey.encode(REPOSITORY, KEY),
    )


def store_formats() -> Iterator[Vector]:
    """Yield format files."""
    for name, about, chunking in [
        ("default", "A store with the usual chunk sizes.", storeformat.Chunking()),
        (
            "small-chunks",
            "A store with the smallest chunk sizes.",
            storeformat.Chunking(minimum=64, average=256, maximum=1024),
        ),
    ]:
        value = storeformat.StoreFormat(version=1, flags=(), chunking=chunking, repository=REPOSITORY, store=STORE)
        data = storeformat.encode(value)
        yield Vector(format="storeformat", name=name, about=about, inputs={}, value=plain(value), data=data)


# -------------------------------------------------------------------------------------------- objects

EMPTY_TREE = tree.encode_leaf([], [])[0]
ERASURE = fill("erasure", 16)
SECTIONS = {"x-note": msgspec.Raw(msgspec.msgpack.encode("kept as it is"))}


def trees() -> Iterator[Vector]:
    """Yield tree nodes."""
    erased: tree.Tally = ((ERASURE, 2),)
    every_kind = {
        "data": tree.Entry(tree.DIRECTORY, 3000, identity("tree"), 7, erased),
        "empty": tree.Entry(tree.FILE, 0, identity("nothing")),
        "gone": tree.Entry(tree.ERASED, 40, bytes(32), 0, ((ERASURE, 1),)),
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


def key_files() -> Iterator[Vector]:
    """Yield the payloads of key files."""
    two = {identity(f"pack {i}"): fill(f"key {i}", 32) for i in range(2)}
    for name, about, value in [
        ("two-packs", "The keys of two packs.", keyfile.KeyFile(packs=two, index=fill("index key", 32))),
        ("shredded", "No pack has a key any more.", keyfile.KeyFile(packs={}, index=fill("index key", 32))),
    ]:
        data = keyfile.encode(value)
        yield Vector(format="keyfile", name=name, about=about, inputs={}, value=plain(value), data=data)


def locks() -> Iterator[Vector]:
    """Yield lock files."""
    for name, about, branch in [
        ("branch", "On a branch.", "main"),
        ("detached", "On no branch.", None),
        ("slash", "On a branch with a slash and a letter that is not ASCII.", "team/\u00fcber"),
    ]:
        value = lock.Lock(version=1, snapshot=identity("snapshot").hex(), branch=branch)
        data = lock.encode(value)
        yield Vector(format="lock", name=name, about=about, inputs={}, value=plain(value), data=data)


def entries() -> Iterator[Vector]:
    """Yield the payloads of log entries, one for each action, and the stub."""
    keys = f"keys/{fill('keys', 16).hex()}"
    index_file = f"index/{fill('index', 16).hex()}"
    name_of_pack = identity("pack")
    move = log.MoveRef(name="heads/main", old=None, new=identity("snapshot"))
    few = log.Table(count=1, pairs=((b"heads/main", identity("snapshot")),))
    none = log.Table(count=0)
    many = log.Table(count=1000, root=identity("table"))
    checkpoint = log.Checkpoint(
        refs=few,
        packs=many,
        superseded=none,
        condemned=none,
        dropped=none,
        erasures=none,
        locators=none,
        segments=(log.Segment(keys=keys, index=index_file, records=12, packs=1),),
        lock=b"",
        writes=((1, fill("write 1", 16)), (2, fill("write 2", 16))),
        condemn=(keys, index_file),
    )
    planned = fill("write 7", 16)
    cases: list[tuple[str, str, tuple[log.Action, ...]]] = [
        ("first", "The first entry of a store.", (move,)),
        (
            "add-packs",
            "A pack comes in and a branch moves.",
            (
                log.AddPacks(keys=keys, index=index_file, packs=(name_of_pack,), records=3),
                log.MoveRef(name="heads/main", old=identity("snapshot"), new=identity("next")),
            ),
        ),
        ("condemn", "A pack is condemned.", (log.Condemn(names=(f"packs/{name_of_pack.hex()}",)),)),
        ("drop", "The pack is dropped.", (log.Drop(names=(f"packs/{name_of_pack.hex()}",)),)),
        (
            "symbolic-ref",
            "HEAD of a worktree follows a branch; a tag goes.",
            (
                log.MoveRef(name="worktrees/main", old=None, new=log.to_symbolic("heads/main")),
                log.MoveRef(name="tags/v1", old=identity("snapshot"), new=None),
            ),
        ),
        (
            "supersede",
            "A snapshot is replaced.",
            (log.Supersede(pairs=((identity("old"), identity("new")),)),),
        ),
        ("erasing", "An erasure is announced.", (log.Erasure(erasure=ERASURE, phase=1, planned=planned),)),
        (
            "erased",
            "An erasure is committed.",
            (log.Erasure(erasure=ERASURE, phase=2, planned=planned, locator=b"sealed", wraps=(b"once", b"twice")),),
        ),
        ("checkpoint", "A checkpoint, with a table in nodes and one in place.", (checkpoint,)),
    ]
    for number, (name, about, actions) in enumerate(cases, 1):
        value = log.Entry(
            version=1,
            store=STORE,
            number=number,
            previous=identity(f"entry {number - 1}") if number > 1 else bytes(32),
            write=fill(f"write {number}", 16),
            time=TIME + number,
            operation=name.split("-")[0],
            checkpoint=number if name == "checkpoint" else 0,
            actions=actions,
        )
        data = log.encode(value)
        yield Vector(format="log", name=name, about=about, inputs={}, value=plain(value), data=data)
    yield Vector(
        format="log",
        name="stub",
        about="What stands where an entry had to go.",
        inputs={},
        value={"chain": log.chain(log.STUB).hex(), "file": log.file_name(255)},
        data=log.STUB,
    )


def worktree_indexes() -> Iterator[Vector]:
    """Yield indexes of worktrees."""
    stat = b"".join(number.to_bytes(8, "little") for number in (12, TIME * 1000, TIME * 1000 + 5, 77, 0o100644))
    records = {
        "": worktree_index.Record(names="", kinds=b"", stats=b"", ids=b"", sizes=[], directories="data"),
        "data": worktree_index.Record(
            names="a\0b",
            kinds=bytes([tree.FILE, tree.SYMLINK]),
            stats=stat + worktree_index.UNKNOWN_STAT,
            ids=identity("a") + identity("b"),
            sizes=[12, 3],
            directories="",
        ),
    }
    for name, about, kept in [
        ("empty", "No directory has been seen.", {}),
        ("two-directories", "A file with a stat and a link without one.", records),
    ]:
        encoded = [(path, msgspec.msgpack.encode(record)) for path, record in kept.items()]
        yield Vector(
            format="worktree_index",
            name=name,
            about=about,
            inputs={},
            value={"tree": identity("root").hex(), "records": plain(kept)},
            data=worktree_index.encode(identity("root"), encoded),
        )


SOURCES = (
    digests,
    chunkers,
    splits,
    packs,
    indexes,
    blobs,
    repository_keys,
    store_formats,
    trees,
    manifests,
    tables,
    snapshots,
    key_files,
    locks,
    entries,
    worktree_indexes,
)


def expected() -> dict[Path, bytes]:
    """Return every file of every vector, as the code makes it today."""
    found: dict[Path, bytes] = {}
    for source in SOURCES:
        for vector in source():
            files = vector.files()
            if found.keys() & files.keys():
                message = f"two vectors are called {vector.format}/{vector.name}"
                raise ValueError(message)
            found |= files
    return found


def faults(files: dict[Path, bytes], *, missing: bool) -> list[str]:
    """Return what is wrong with the files on the disk; ``missing`` says whether a missing one counts."""
    kept = {path for path in HERE.glob("*/v*/*") if path.is_file()}
    found = [f"{path.relative_to(HERE)}: is made no more" for path in sorted(kept - files.keys())]
    for path, data in sorted(files.items()):
        if path not in kept:
            found += [f"{path.relative_to(HERE)}: is missing"] if missing else []
        elif path.read_bytes() != data:
            found.append(f"{path.relative_to(HERE)}: differs from what the code makes today")
    return found


def main() -> int:
    """Write or check the vectors and return the exit code."""
    parser = argparse.ArgumentParser(description="Make or check the golden vectors.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if anything differs")
    check = parser.parse_args().check
    files = expected()
    wrong = faults(files, missing=check)
    for fault in wrong:
        print(fault, file=sys.stderr)
    if wrong:
        print("Vectors never change: a new way of writing is a new version of its format.", file=sys.stderr)
        return 1
    for path, data in files.items():
        if not check and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            print(f"new: {path.relative_to(HERE)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
