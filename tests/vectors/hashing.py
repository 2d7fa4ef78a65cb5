"""Golden vectors of hashes and derived keys, of cuts in content, and of cuts into nodes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from dvtool import digest, ids
from dvtool.formats import nodes, repokey, storeformat
from dvtool.store.chunker import Chunker
from dvtool.store.keys import Secrets
from tests.vectors.vector import KEY, Vector, fill, identity, plain

if TYPE_CHECKING:
    from collections.abc import Iterator


def digests() -> Iterator[Vector]:
    """Yield vectors of ids, derived keys and checksums."""
    content = b"the same bytes"
    hasher = digest.IdHasher(KEY)
    yield Vector(
        format="digest",
        name="ids",
        about="One content under the key of each kind has one id for each kind.",
        inputs={"id_key": KEY.hex(), "content": content.hex()},
        value={name: hasher.id(kind, content).hex() for kind, name in ids.KIND_NAMES.items() if kind <= ids.TABLE},
    )
    yield Vector(
        format="digest",
        name="id-of-a-clone",
        about="The same content as a clone record.",
        inputs={"id_key": KEY.hex(), "content": content.hex()},
        value={ids.KIND_NAMES[ids.CLONE]: hasher.id(ids.CLONE, content).hex()},
    )
    yield Vector(
        format="digest",
        name="id-of-a-hold",
        about="The same content as a hold.",
        inputs={"id_key": KEY.hex(), "content": content.hex()},
        value={ids.KIND_NAMES[ids.HOLD]: hasher.id(ids.HOLD, content).hex()},
    )
    secrets = Secrets(repokey.Opened(secret=KEY, wrapping=KEY))
    yield Vector(
        format="digest",
        name="secrets",
        about="What follows from a repository secret.",
        inputs={"secret": KEY.hex()},
        value={
            "id_key": secrets.id_key.hex(),
            "wrap": secrets.wrap.current.hex(),
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


SOURCES = (digests, chunkers, splits)
