"""Golden vectors of the files of a store that are sealed, and of the two that are not."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import msgspec

from dvtool import digest, ids
from dvtool.crypto import Sealer
from dvtool.formats import identity as text
from dvtool.formats import index, pack, repokey, sealed, storeformat, tree
from tests.vectors.vector import ERASURE, KEY, REPOSITORY, SECTIONS, STORE, Vector, fill, identity, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

EMPTY_TREE = tree.encode_leaf([], [])[0]


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
    salt = fill("index salt sections", 32)
    yield Vector(
        format="index",
        name="sections",
        about="An optional section that this version does not know.",
        inputs={"key": KEY.hex(), "store": STORE.hex(), "salt": salt.hex()},
        value={"packs": [], "records": 0, "first": []},
        data=index.encode(STORE, KEY, salt, (), (), SECTIONS),
    )


def blobs() -> Iterator[Vector]:
    """Yield sealed blobs of each kind."""
    label = fill("label", sealed.LABEL_SIZE)
    for name, kind, place, payload in [
        ("log-entry", sealed.LOG_ENTRY, "log/0000000000000001", b"an entry"),
        ("key-file", sealed.KEY_FILE, f"keys/{fill('key file', 16).hex()}", b"some keys"),
        ("log-key", sealed.LOG_KEY, f"keys/log-{label.hex()}", fill("log key", 32)),
        ("cache", sealed.CACHE, "cache", b""),
        ("acknowledgement", sealed.ACKNOWLEDGEMENT, f"acks/{fill('clone', 16).hex()}/{ERASURE.hex()}", b"a time"),
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
    for name, about, kind, context in [
        ("locator", "A blob that is bound to an erasure.", sealed.LOCATOR, ERASURE),
        (
            "locator-key",
            "A blob that is bound to an erasure and to an object that it superseded.",
            sealed.LOCATOR_KEY,
            ERASURE + identity("superseded"),
        ),
    ]:
        salt = fill(f"salt {name}", sealed.SALT_SIZE)
        payload = fill(f"payload {name}", 32)
        yield Vector(
            format="sealed",
            name=name,
            about=about,
            inputs={"longterm": KEY.hex(), "context": context.hex(), "salt": salt.hex()},
            value={"kind": kind, "label": bytes(sealed.LABEL_SIZE).hex(), "payload": payload.hex()},
            data=sealed.seal(kind, KEY, bytes(sealed.LABEL_SIZE), salt, context, payload),
        )


class _Known:
    """Random bytes that everybody knows."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._count = 0

    def bytes(self, count: int) -> bytes:
        self._count += 1
        return fill(f"{self._label} {self._count}", count)


def repository_keys() -> Iterator[Vector]:
    """Yield keys of a repository: one of version 1, which nothing writes any more, and those of version 2."""
    body = b"DVKEY\n\1\0" + REPOSITORY + KEY + digest.derive(KEY, b"key check" + REPOSITORY)[:16]
    yield Vector(
        format="repokey",
        name="plain",
        about="A secret kept in the clear.",
        inputs={"repository": REPOSITORY.hex()},
        value={"secret": KEY.hex()},
        data=body + digest.accident(body),
    )
    opened = repokey.Opened(secret=KEY, wrapping=fill("wrapping secret", 32))
    rotating = msgspec.structs.replace(opened, previous=fill("previous wrapping secret", 32))
    private = [fill(f"identity {number}", 32) for number in range(3)]
    members = tuple(
        text.recipient_of(each, comment) for each, comment in zip(private, ("", "Ada", "Émilie"), strict=True)
    )
    sealed_for = repokey.Recipients(recipients=members)
    least = (repokey.MEMORY_LEAST, repokey.ITERATIONS_LEAST, repokey.LANES_LEAST)
    words = repokey.Passphrase(text="correct horse", memory=least[0], iterations=least[1], lanes=least[2])
    cases: list[tuple[str, str, repokey.Opened, repokey.Protection]] = [
        ("plain", "Both secrets in the clear.", opened, repokey.Plain()),
        ("rotating", "A third secret, which a rotation under way gives up.", rotating, repokey.Plain()),
        ("passphrase", "Sealed by a passphrase.", opened, words),
        ("recipients", "Sealed for three recipients, two with comments.", opened, sealed_for),
    ]
    for name, about, kept, protection in cases:
        inputs = {"repository": REPOSITORY.hex()}
        inputs |= {"passphrase": words.text} if name == "passphrase" else {}
        inputs |= {f"identity {at}": each.hex() for at, each in enumerate(private) if name == "recipients"}
        yield Vector(
            format="repokey",
            name=name,
            about=about,
            inputs=inputs,
            value=plain(kept),
            data=repokey.encode(REPOSITORY, kept, protection, _Known(f"repokey {name}")),
            version=2,
        )


def identities() -> Iterator[Vector]:
    """Yield a recipient's line and the file of an identity."""
    private = fill("identity", 32)
    recipient = text.recipient_of(private, "Ada Lovelace")
    yield Vector(
        format="identity",
        name="recipient",
        about="The line of a recipient, with a comment.",
        inputs={"identity": private.hex()},
        value=plain(recipient),
        data=text.encode_recipient(recipient).encode() + b"\n",
    )
    yield Vector(
        format="identity",
        name="identity",
        about="The file of an identity.",
        inputs={"comment": "Ada Lovelace"},
        value=private.hex(),
        data=text.encode_identity(private, "Ada Lovelace"),
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


SOURCES = (packs, indexes, blobs, repository_keys, identities, store_formats)
