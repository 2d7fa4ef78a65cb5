"""Certificates: what was erased when, how far, and what is outstanding; signed by the clone that did it.

The signature proves that nobody changed the document since, and by which clone's key it was made; it does not prove
the time.  No path, id of content, or number of bytes stands in it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool import crypto
from dvtool.errors import IntegrityError
from dvtool.formats import erasure as formats
from dvtool.history.describe import rfc3339
from dvtool.storage.disk import as_ours
from dvtool.worktree.layout import write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.formats.erasure import Record
    from dvtool.workspace import Workspace

VERSION: Final = 1
SIGNATURE: Final = "signature"
KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
LISTED: Final = 10_000
"""Snapshots that a certificate lists; how many there are stands in it as well, and the record has all."""
LAW: Final = (
    "Whether a model that was trained on the data must go too is decided case by case (EDPB Opinion 28/2024); "
    "the decisions below are those of the people named."
)


def key_path(store: str) -> str:
    """Return where a clone's signing key lies: beside its store (its directory), never in it."""
    return f"{os.path.dirname(store)}/clone-key"


def signing_key(workspace: Workspace) -> bytes:
    """Return this clone's private signing key, made when it is first wanted.

    Raises:
        StorageError: when the disk refuses.
        IntegrityError: when the file is no key.
    """
    path = key_path(workspace.session.layout.store())
    try:
        with open(path, "rb") as file:
            found = file.read(KEY_SIZE + 1)
    except FileNotFoundError:
        found = workspace.session.context.entropy.bytes(KEY_SIZE)
        write_file(path, found, workspace.session.context.disk)
    except OSError as error:
        raise as_ours(error, path) from None
    if len(found) != KEY_SIZE:
        raise IntegrityError(
            "the signing key of this clone is damaged",
            where=path,
            next="remove it: a new one is made, and certificates from before stay as they are",
        )
    return found


def certified(
    workspace: Workspace, record: Record, reference: str = "", ground: str = "", searched: Sequence[str] = ()
) -> Record:
    """Return a record with its certificate.

    Args:
        workspace: the worktree.
        record: the record; the certificate that it has tells what was given when it was first made.
        reference: that of the request.
        ground: why it was done.
        searched: what the files of the clone were searched for when it was done.
    """
    key = signing_key(workspace)
    earlier = parsed(record.certificate) if record.certificate else {}
    given = (reference or earlier.get("request"), ground or earlier.get("ground"))
    document = _document(record, crypto.verifying_key(key), *given)
    document["searched"] = list(searched) or earlier.get("searched", [])
    document[SIGNATURE] = crypto.sign(key, canonical(document)).hex()
    return msgspec.structs.replace(record, certificate=_written(document))


def drafted(record: Record, reference: str, ground: str) -> Record:
    """Return a record with what its certificate would be, unsigned: as long as the one that is to come."""
    document = _document(record, bytes(KEY_SIZE), reference, ground)
    return msgspec.structs.replace(record, certificate=_written({**document, SIGNATURE: bytes(SIGNATURE_SIZE).hex()}))


def _written(document: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2) + b"\n"


def _document(record: Record, public: bytes, request: str | None, ground: str | None) -> dict[str, Any]:
    return {
        "certificate": "dv erasure",
        "version": VERSION,
        "erasure": record.id.hex(),
        "revision": record.revision,
        "store": record.store.hex(),
        "clone": public.hex(),
        "request": request,
        "ground": ground,
        "started": rfc3339(record.started),
        "committed": rfc3339(record.committed),
        "finished": rfc3339(record.finished),
        "files": record.files,
        "contents": record.contents,
        "copies": record.copies or None,
        "names_kept": record.keep_path,
        "snapshots": record.snapshots,
        "successors": [each.hex() for each in record.successors[:LISTED]],
        "runs": list(record.runs),
        "models": [
            {
                "run": each.run,
                "direct": each.direct,
                "decision": each.decision,
                "note": each.note or None,
                "author": each.author or None,
                "time": rfc3339(each.time) if each.time else None,
            }
            for each in record.decisions
        ],
        "places": [
            {"name": each.name, "done": each.done, "packs": each.packs, "left": list(each.left)}
            for each in record.places
        ],
        "outstanding": outstanding(record),
        "law": LAW,
    }


def outstanding(record: Record) -> list[str]:
    """Return what is not done yet, in words."""
    found = [f"{each.name}: {why}" for each in record.places for why in each.left]
    found += [f"{each.name}: not done" for each in record.places if not each.done and not each.left]
    waiting = [each.run for each in record.decisions if each.decision == formats.OPEN]
    found += [f"run {run}: nobody has decided what becomes of what it made" for run in waiting]
    return found


def parsed(certificate: bytes) -> dict[str, Any]:
    """Return what a certificate says.

    Raises:
        IntegrityError: when it is no JSON object.
    """
    try:
        found = msgspec.json.decode(certificate, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise IntegrityError("the certificate is damaged", why="it is no JSON document") from None
    return found


def canonical(document: dict[str, Any]) -> bytes:
    """Return the bytes that are signed: the document without its signature, as JSON, keys sorted, no spaces."""
    return msgspec.json.encode({name: value for name, value in document.items() if name != SIGNATURE}, order="sorted")


def is_genuine(certificate: bytes) -> bool:
    """Return whether a certificate is as the clone that it names has signed it.

    Raises:
        IntegrityError: when it is no JSON object.
    """
    document = parsed(certificate)
    try:
        public, signature = bytes.fromhex(document["clone"]), bytes.fromhex(document[SIGNATURE])
    except (KeyError, TypeError, ValueError):
        return False
    # What is signed is what is said: each key once, and a signature in one form.
    if _says_twice(certificate) or signature.hex() != document[SIGNATURE]:
        return False
    return crypto.is_signed(public, signature, canonical(document))


def _says_twice(certificate: bytes) -> bool:
    """Return whether a document has a key twice in an object, or else is read by one reader as not by another."""
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len(dict(pairs)) < len(pairs)

    try:
        json.loads(certificate.decode(), object_pairs_hook=look)
    except (ValueError, RecursionError):  # numbers and nesting without end, which no certificate has
        return True
    return found
