"""A stand-in for Google Cloud Storage: the requests of its JSON interface that clients of stores use, and no others.

It is stricter than the service: a parameter that it does not know is refused, and a reply holds the fields that were
asked for and nothing else.  Generations, versioning, soft deletion, retention and holds behave as the service documents
them.  With ``ignores_preconditions`` it overwrites where it should refuse, as some servers do that speak like it.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dvtool.effects import SystemClock
from dvtool.testing.serving import LoopbackServer, RefusedError, Reply, Request, span_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvtool.effects import Clock

_MICROS: Final = 1_000_000
_PATH: Final = re.compile(r"/(?:(upload|download)/)?storage/v1/b/([^/]+)(?:/(o)(?:/([^/]+))?)?")
_LIST_PARAMETERS: Final = frozenset(
    {"prefix", "delimiter", "startOffset", "maxResults", "pageToken", "versions", "softDeleted", "fields"}
)
_LISTINGS: Final = {"versions": "versions", "softDeleted": "soft-deleted"}
_PARAMETERS: Final = {
    "bucket": frozenset({"fields"}),
    "list": _LIST_PARAMETERS,
    "versions": _LIST_PARAMETERS,
    "soft-deleted": _LIST_PARAMETERS,
    "read": frozenset({"alt", "generation"}),
    "stat": frozenset({"fields", "generation"}),
    "delete": frozenset({"generation", "ifGenerationMatch"}),
    "write": frozenset({"uploadType", "name", "ifGenerationMatch", "fields"}),
    "create": frozenset({"uploadType", "name", "ifGenerationMatch", "fields"}),
    "begin": frozenset({"uploadType", "name", "ifGenerationMatch"}),
    "chunk": frozenset({"uploadType", "upload_id", "ifGenerationMatch"}),
    "abandon": frozenset({"uploadType", "upload_id"}),
}


@dataclass(slots=True, kw_only=True)
class Generation:
    """One version of an object; ``noncurrent`` and ``hard_delete`` are times in microseconds, 0 while it is live."""

    name: str
    number: int
    data: bytes
    created: int
    noncurrent: int = 0
    hard_delete: int = 0
    retained_until: int = 0
    held: bool = False

    def resource(self) -> dict[str, Any]:
        """Return it as the service describes it."""
        found: dict[str, Any] = {
            "kind": "storage#object",
            "name": self.name,
            "generation": str(self.number),
            "size": str(len(self.data)),
            "timeCreated": _time(self.created),
            "updated": _time(self.created),
            "temporaryHold": self.held,
        }
        for key, moment in (
            ("timeDeleted", self.noncurrent),
            ("hardDeleteTime", self.hard_delete),
            ("retentionExpirationTime", self.retained_until),
        ):
            if moment:
                found[key] = _time(moment)
        return found


@dataclass(slots=True, kw_only=True)
class Bucket:
    """A bucket: whether it keeps versions, and for how many seconds it keeps what is deleted, or forbids to delete."""

    versioning: bool = False
    soft_delete: int = 0
    retention: int = 0
    kept: list[Generation] = field(default_factory=list)
    soft_deleted: list[Generation] = field(default_factory=list)
    uploads: dict[str, tuple[str, str | None, bytearray]] = field(default_factory=dict)

    def live(self, name: str) -> Generation | None:
        """Return the live version of an object."""
        return next((each for each in self.kept if each.name == name and not each.noncurrent), None)


class FakeGcs(LoopbackServer):
    """Google Cloud Storage on loopback; make buckets with :meth:`make_bucket`."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        """Hold nothing yet; times are those of ``clock``, by default the machine's."""
        super().__init__()
        self.buckets: dict[str, Bucket] = {}
        self.ignores_preconditions = False
        """Whether objects that are there are written over by who meant to create them."""
        self.denied: frozenset[str] = frozenset()
        """Kinds of requests that this account may not make."""
        self._clock = clock or SystemClock()
        self._number = 0

    def make_bucket(self, name: str, *, versioning: bool = False, soft_delete: int = 0, retention: int = 0) -> Bucket:
        """Make an empty bucket; see :class:`Bucket`."""
        self.buckets[name] = Bucket(versioning=versioning, soft_delete=soft_delete, retention=retention)
        return self.buckets[name]

    def kind_of(self, request: Request) -> str:
        """Return bucket, list, versions, soft-deleted, read, stat, write, create, delete, begin, chunk or abandon."""
        match = _PATH.fullmatch(request.path)
        if match is None:
            return "unknown"
        if match[1] == "upload":
            return _kind_of_upload(request)
        if match[3] is None:
            return "bucket"
        if match[4] is None:
            return next((kind for name, kind in _LISTINGS.items() if name in request.query), "list")
        if request.method == "DELETE":
            return "delete"
        return "read" if request.query.get("alt") == "media" else "stat"

    def answer(self, kind: str, request: Request) -> Reply:
        """Return the reply to a request."""
        unknown = request.query.keys() - _PARAMETERS.get(kind, frozenset())
        if kind == "unknown" or unknown:
            raise RefusedError(400, "invalidParameter", f"unexpected: {', '.join(sorted(unknown)) or request.path}")
        if kind in self.denied:
            raise RefusedError(403, "forbidden", f"the account does not have storage access to {kind}")
        match = _PATH.fullmatch(request.path)
        if match is None or match[2] not in self.buckets:
            raise RefusedError(404, "notFound", "The specified bucket does not exist.")
        bucket = self.buckets[match[2]]
        name = urllib.parse.unquote(match[4] or request.query.get("name", ""))
        match kind:
            case "bucket":
                return _json(_bucket_resource(match[2], bucket), request)
            case "list" | "versions" | "soft-deleted":
                return self._list(bucket, kind, request)
            case "read" | "stat":
                return self._read(bucket, name, kind, request)
            case "delete":
                return self._delete(bucket, name, request)
            case "write" | "create":
                return self._write(bucket, name, request)
            case _:
                return self._upload(bucket, name, kind, request)

    def refusal(self, error: RefusedError, request: Request) -> Reply:
        """Return an error as the service words it."""
        if request.query.get("alt") == "media":
            return Reply(error.status, error.message.encode(), (("Content-Type", "text/html"),))
        told = {"code": error.status, "message": error.message, "errors": [{"reason": error.code}]}
        return Reply(error.status, json.dumps({"error": told}).encode(), (("Content-Type", "application/json"),))

    def _list(self, bucket: Bucket, kind: str, request: Request) -> Reply:
        query = request.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        if kind == "soft-deleted" and not bucket.soft_delete:
            raise RefusedError(400, "invalid", "Soft delete policy is required.")
        found = bucket.soft_deleted if kind == "soft-deleted" else bucket.kept
        if kind == "list":
            found = [each for each in found if not each.noncurrent]
        lowest = query.get("startOffset", "")
        every = sorted(
            (each for each in found if each.name.startswith(prefix) and each.name >= lowest),
            key=lambda each: (each.name, each.number),
        )
        entries = list(_grouped(every, prefix, delimiter))
        start = int(query.get("pageToken") or 0)
        end = start + min(int(query.get("maxResults", 1000)), 1000)
        page = entries[start:end]
        reply: dict[str, Any] = {"kind": "storage#objects"}
        items = [each.resource() for each in page if isinstance(each, Generation)]
        prefixes = [each for each in page if isinstance(each, str)]
        if items:
            reply["items"] = items
        if prefixes:
            reply["prefixes"] = prefixes
        if end < len(entries):
            reply["nextPageToken"] = str(end)
        return _json(reply, request)

    def _read(self, bucket: Bucket, name: str, kind: str, request: Request) -> Reply:
        found = self._find(bucket, name, request.query.get("generation"))
        if kind == "stat":
            return _json(found.resource(), request)
        span = span_of(request.headers.get("range"), len(found.data))
        if span is None:
            return Reply(200, found.data)
        start, end = span
        return Reply(206, found.data[start:end], (("Content-Range", f"bytes {start}-{end - 1}/{len(found.data)}"),))

    def _find(self, bucket: Bucket, name: str, generation: str | None) -> Generation:
        if generation is None:
            found = bucket.live(name)
        else:
            found = next((e for e in bucket.kept if e.name == name and str(e.number) == generation), None)
        if found is None:
            raise RefusedError(404, "notFound", f"No such object: {name}")
        return found

    def _delete(self, bucket: Bucket, name: str, request: Request) -> Reply:
        generation = request.query.get("generation")
        found = self._find(bucket, name, generation)
        if found.held:
            raise RefusedError(403, "forbidden", "Object is under active Temporary hold and cannot be deleted")
        if found.retained_until > self._clock.now():
            raise RefusedError(403, "retentionPolicyNotMet", "Object is subject to bucket's retention policy")
        if bucket.versioning and generation is None:
            found.noncurrent = self._clock.now()
        else:
            self._discard(bucket, found)
        return Reply(204)

    def _discard(self, bucket: Bucket, found: Generation) -> None:
        bucket.kept.remove(found)
        if bucket.soft_delete:
            found.hard_delete = self._clock.now() + bucket.soft_delete * _MICROS
            bucket.soft_deleted.append(found)

    def _write(self, bucket: Bucket, name: str, request: Request) -> Reply:
        match request.query.get("uploadType"):
            case "media":
                data = request.body
            case "multipart":
                name, data = _parts(request)
            case _:
                raise RefusedError(400, "invalidParameter", "uploadType must be media, multipart or resumable")
        made = self._store(bucket, name, data, request.query.get("ifGenerationMatch"))
        return _json(made.resource(), request)

    def _store(self, bucket: Bucket, name: str, data: bytes, match: str | None) -> Generation:
        if not name or len(name.encode()) > 1024:  # noqa: PLR2004 - the service's limit
            raise RefusedError(400, "invalid", "the name of an object has 1 to 1024 bytes")
        live = self._meeting(bucket, name, match)
        now = self._clock.now()
        if live is not None:
            if live.retained_until > now or live.held:
                raise RefusedError(403, "retentionPolicyNotMet", "Object is subject to bucket's retention policy")
            if bucket.versioning:
                live.noncurrent = now
            else:
                self._discard(bucket, live)
        self._number = max(self._number + 1, now)
        until = now + bucket.retention * _MICROS if bucket.retention else 0
        made = Generation(name=name, number=self._number, data=data, created=now, retained_until=until)
        bucket.kept.append(made)
        return made

    def _meeting(self, bucket: Bucket, name: str, match: str | None) -> Generation | None:
        """Return the live version of an object, which is the one that is meant."""
        live = bucket.live(name)
        if match is not None and not self.ignores_preconditions and int(match) != (live.number if live else 0):
            raise RefusedError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
        return live

    def _upload(self, bucket: Bucket, name: str, kind: str, request: Request) -> Reply:
        if kind == "begin":
            self._meeting(bucket, name, request.query.get("ifGenerationMatch"))
            upload = f"upload-{len(bucket.uploads)}-{self._clock.now()}"
            bucket.uploads[upload] = (name, request.query.get("ifGenerationMatch"), bytearray())
            location = f"{self.url}{request.path}?uploadType=resumable&upload_id={upload}"
            return Reply(200, b"", (("Location", location),))
        upload = request.query.get("upload_id", "")
        if upload not in bucket.uploads:
            raise RefusedError(404, "notFound", "there is no such upload")
        if kind == "abandon":
            del bucket.uploads[upload]
            return Reply(499)
        name, match, data = bucket.uploads[upload]
        size = _added(data, request)
        if size is None or len(data) < size:
            return Reply(308, b"", (("Range", f"bytes=0-{len(data) - 1}"),))
        made = self._store(bucket, name, bytes(data), match)
        del bucket.uploads[upload]
        return _json(made.resource(), request)


def _added(data: bytearray, request: Request) -> int | None:
    """Add a chunk, and return the size of the whole if the client tells it."""
    sent = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", request.headers.get("content-range", ""))
    start, end = (int(sent[1]), int(sent[2]) + 1) if sent and sent[1] else (len(data), len(data))
    if sent is None or start != len(data) or end - start != len(request.body):
        raise RefusedError(400, "invalid", "the range of a chunk follows the last one and is as long as the chunk")
    if sent[3] == "*" and len(request.body) % (256 * 1024):
        raise RefusedError(400, "invalid", "all chunks but the last are multiples of 256 KiB")
    data += request.body
    return None if sent[3] == "*" else int(sent[3])


def _kind_of_upload(request: Request) -> str:
    if request.method == "DELETE":
        return "abandon"
    if "upload_id" in request.query:
        return "chunk"
    if request.query.get("uploadType") == "resumable":
        return "begin"
    return "create" if request.query.get("ifGenerationMatch") == "0" else "write"


def _grouped(found: list[Generation], prefix: str, delimiter: str) -> Iterator[Generation | str]:
    last = ""
    for each in found:
        before, split, _ = each.name[len(prefix) :].partition(delimiter) if delimiter else (each.name, "", "")
        if not split:
            yield each
        elif last != prefix + before + split:
            last = prefix + before + split
            yield last


def _parts(request: Request) -> tuple[str, bytes]:
    """Return name and bytes of a body in two parts: JSON, and the object."""
    match = re.fullmatch(r'multipart/related; boundary="([^"]+)"', request.headers.get("content-type", ""))
    if match is None:
        raise RefusedError(400, "invalid", "a body of two parts names its boundary")
    boundary = b"--" + match[1].encode()
    parts = re.fullmatch(
        re.escape(boundary)
        + rb"\r?\n(.*?)\r?\n"
        + re.escape(boundary)
        + rb"\r?\n(.*)\r?\n"
        + re.escape(boundary)
        + b"--",
        request.body.rstrip(b"\r\n") if request.body.endswith(b"--\n") else request.body,
        re.DOTALL,
    )
    if parts is None:
        raise RefusedError(400, "invalid", "the body has not two parts")
    described, data = (re.split(rb"\r?\n\r?\n", part, maxsplit=1)[1] for part in parts.groups())
    return str(json.loads(described)["name"]), data


def _bucket_resource(name: str, bucket: Bucket) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "storage#bucket", "name": name}
    if bucket.versioning:
        found["versioning"] = {"enabled": True}
    found["softDeletePolicy"] = {"retentionDurationSeconds": str(bucket.soft_delete)}
    if bucket.retention:
        found["retentionPolicy"] = {"retentionPeriod": str(bucket.retention)}
    return found


def _json(value: dict[str, Any], request: Request) -> Reply:
    fields = request.query.get("fields")
    chosen = value if fields is None else _selected(value, fields)
    return Reply(200, json.dumps(chosen).encode(), (("Content-Type", "application/json"),))


def _selected(value: dict[str, Any], fields: str) -> dict[str, Any]:
    """Return the fields that ``a,b(c,d)`` names, of one level below the first at most."""
    found: dict[str, Any] = {}
    for name, below in re.findall(r"(\w+)(?:\(([^()]*)\))?", fields):
        if name in value and below:
            wanted = below.split(",")
            found[name] = [{key: each[key] for key in wanted if key in each} for each in value[name]]
        elif name in value:
            found[name] = value[name]
    return found


def _time(micros: int) -> str:
    return dt.datetime.fromtimestamp(micros / _MICROS, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
