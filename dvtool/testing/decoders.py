"""Every way in which bytes from elsewhere become values, by name: what fuzzers and property tests hold against them.

A decoder returns a value or raises :class:`~dvtool.errors.DvError`; anything else is a finding.  Where a checksum or a
seal would keep all invented bytes out, there is a second decoder that is handed what lies behind it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from dvtool import digest, ids
from dvtool.crypto import Sealer
from dvtool.errors import DvError, KeyAccessError
from dvtool.formats import (
    clone,
    erasure,
    hold,
    identity,
    index,
    journal,
    keyfile,
    lock,
    log,
    manifest,
    pack,
    project,
    repokey,
    run,
    sealed,
    snapshot,
    stage,
    storeformat,
    table,
    tree,
    worktree_index,
)

if TYPE_CHECKING:
    from collections.abc import Callable

KEY: Final = bytes(range(32))
STORE: Final = bytes(16)


def _with_trailer(decode: Callable[[bytes], object], magic: bytes = b"") -> Callable[[bytes], object]:
    """Return a decoder that is handed bytes whose checksum is right, so that it has to look further."""
    return lambda data: decode(magic + data + digest.accident(magic + data))


def _tree(data: bytes) -> object:
    node = tree.decode(data)
    tree.names_of(node)
    if isinstance(node, tree.Leaf):
        entries = tree.entries_of(node)
        tree.rows_of(node)
        return [tree.entry_at(node, position) for position in range(len(entries))]
    return node


def _manifest(data: bytes) -> object:
    return manifest.ids_of(manifest.decode(data))


def _log(data: bytes) -> object:
    entry = log.decode(data)
    for action in entry.actions:
        if isinstance(action, log.MoveRef):
            log.symbolic(action.old)
            log.symbolic(action.new)
    return entry, log.undoes(entry), log.origin(entry), log.carried(entry)


def _rows(data: bytes) -> object:
    """A row of each table of a checkpoint: one byte says which, one how long the key is."""
    if len(data) > 1:
        cut = 2 + data[1]
        log.check_row(log.TABLES[data[0] % len(log.TABLES)], data[2:cut], data[cut:])
    return None


def _worktree_index(data: bytes) -> object:
    _tree_id, places = worktree_index.decode(data)
    return [worktree_index.decode_record(memoryview(data)[at : at + size]) for at, size in places.values()]


def _index(data: bytes) -> object:
    reader = index.Reader(data, STORE, KEY)
    return [index.unpack(record) for record in reader.records()]


def _index_directory(data: bytes) -> object:
    """An index file without pages, rightly sealed, whose directory is these bytes."""
    header = index.encode(STORE, KEY, bytes(32), [], [])[: index.HEADER_SIZE]
    number = index.DIRECTORY_NUMBER
    end = Sealer(KEY).seal(number, data, header + number.to_bytes(4, "little"))
    body = header + end + len(end).to_bytes(4, "little")
    return _index(body + digest.accident(body))


def _index_page(data: bytes) -> object:
    """An index file, rightly sealed, whose only page is these bytes."""
    size = index.RECORD_SIZE
    page = data[: min(len(data) // size, index.PAGE_RECORDS) * size]
    packs = [index.PackEntry(name=bytes(32), content=pack.DATA, size=0, frames=0, raw=0)]
    reader = index.Reader(b"".join(index.pieces(STORE, KEY, bytes(32), packs, [page] if page else [])), STORE, KEY)
    for record in index.split(page):
        reader.find(record[: ids.ID_SIZE])
        list(reader.all(record[: ids.ID_SIZE]))
    list(reader.between(bytes(ids.ID_SIZE), data[: ids.ID_SIZE]))
    return list(reader.records())


def _journal_record(data: bytes) -> object:
    """A journal whose only record is these bytes, with the right checksum."""
    return journal.decode(journal.header() + journal.framed(data))


def _blob(data: bytes) -> object:
    return sealed.open_blob(sealed.KEY_FILE, KEY, STORE, data, what="it")


def _acknowledgement(data: bytes) -> object:
    """An acknowledgement, rightly sealed, whose payload is these bytes."""
    context = STORE + clone.file_name(STORE, STORE).encode()
    blob = sealed.seal(sealed.ACKNOWLEDGEMENT, KEY, bytes(sealed.LABEL_SIZE), bytes(sealed.SALT_SIZE), context, data)
    return clone.acknowledged(KEY, STORE, STORE, STORE, blob)


def _locator_key(data: bytes) -> object:
    """The key of a locator, rightly sealed, which is these bytes; and the bytes themselves as if it were sealed."""
    with contextlib.suppress(DvError):
        erasure.unwrap(data, KEY, STORE)
    wrapped = erasure.wrap(data, bytes(ids.ID_SIZE), KEY, STORE, bytes(sealed.SALT_SIZE))
    return erasure.unwrap(wrapped, KEY, STORE)


UNLOCK: Final = repokey.Unlock(passphrase=lambda: None, identities=lambda: (KEY,))


def _repokey(data: bytes) -> object:
    return repokey.decode(data, bytes(16), UNLOCK)


def _version_2(kind: int, rest: bytes) -> bytes:
    body = repokey.MAGIC + bytes([repokey.VERSION, kind]) + bytes(16) + rest
    return body + digest.accident(body)


def _repokey_recipients(data: bytes) -> object:
    """A file whose list of recipients is these bytes; it is for somebody else, if it is for anybody."""
    made = _version_2(repokey.RECIPIENTS, len(data).to_bytes(4, "little") + data + bytes(96))
    with contextlib.suppress(KeyAccessError):
        _repokey(made)
    return repokey.describe(made, bytes(16))


def _repokey_secrets(data: bytes) -> object:
    """A file in the clear that keeps these bytes."""
    return _repokey(_version_2(repokey.PLAIN, bytes(4) + data))


OBJECTS: Final[dict[str, Callable[[bytes], object]]] = {
    "erasure": erasure.decode,
    "clone": clone.decode,
    "hold": hold.decode,
    "keyfile": keyfile.decode,
    "log": _log,
    "manifest": _manifest,
    "run": run.decode,
    "snapshot": snapshot.decode,
    "stage": stage.decode,
    "table": table.decode,
    "tree": _tree,
}
"""Decoders of what is one MessagePack value and nothing else."""

DECODERS: Final[dict[str, Callable[[bytes], object]]] = OBJECTS | {
    "clone acknowledgement": _acknowledgement,
    "clone sealed": lambda data: clone.acknowledged(KEY, STORE, STORE, STORE, data),
    "erasure key": _locator_key,
    "erasure locator": erasure.decode_locator,
    "erasure sealed": lambda data: erasure.open_locator(data, KEY, STORE),
    "identity": identity.decode_identities,
    "identity recipient": identity.decode_recipients,
    "index": _index,
    "index directory": _index_directory,
    "index page": _index_page,
    "journal": journal.decode,
    "journal begin": journal.decode_begin,
    "journal end": journal.decode_end,
    "journal record": _journal_record,
    "lock": lock.decode,
    "log row": _rows,
    "pack": pack.decode_header,
    "pack footer": pack.decode_footer,
    "project": project.decode,
    "repokey": _repokey,
    "repokey with its checksum": _with_trailer(_repokey, repokey.MAGIC),
    "repokey recipients": _repokey_recipients,
    "repokey secrets": _repokey_secrets,
    "run erased": run.decode_erased,
    "sealed": _blob,
    "sealed with its checksum": _with_trailer(_blob, sealed.MAGIC + bytes([sealed.KEY_FILE, sealed.VERSION, 0, 0])),
    "storeformat": storeformat.decode,
    "storeformat with its checksum": _with_trailer(storeformat.decode, storeformat.MAGIC),
    "worktree_index": _worktree_index,
    "worktree_index with its checksum": _with_trailer(_worktree_index, worktree_index.MAGIC + b"\x01"),
    "worktree_index glance": lambda data: worktree_index.decode_glance(memoryview(data)),
    "worktree_index record": lambda data: worktree_index.decode_record(memoryview(data)),
}
"""All decoders, by the name of their format in ``docs/format`` and what of it they are handed."""
