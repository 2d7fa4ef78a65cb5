"""A stand-in for Amazon S3: the requests that clients of stores use, and no others.

It locks, so that of many who create one key at the same moment one wins, and it is stricter than the service: a
parameter that it does not know is refused.  Signatures are not looked at.  With ``ignores_preconditions`` it writes
over what it should refuse to, as some servers do that speak like it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, unescape

from dvtool.effects import SystemClock
from dvtool.testing.serving import LoopbackServer, RefusedError, Reply, Request, span_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dvtool.effects import Clock

_MICROS: Final = 1_000_000
_NULL: Final = "null"
_COMMON: Final = frozenset({"prefix", "delimiter", "encoding-type", "x-id"})
_BY_PARAMETER_OF_BUCKET: Final = {
    "versions": "versions",
    "uploads": "uploads",
    "versioning": "versioning",
    "object-lock": "lock",
    "delete": "delete-many",
    "list-type": "list",
}
_BY_PARAMETER_OF_KEY: Final = {
    "uploads": "begin",
    "uploadId": "upload",
}
_PARAMETERS: Final = {
    "list": _COMMON | {"list-type", "start-after", "max-keys", "continuation-token", "fetch-owner"},
    "versions": _COMMON | {"versions", "max-keys", "key-marker", "version-id-marker"},
    "uploads": _COMMON | {"uploads", "max-uploads", "key-marker", "upload-id-marker"},
    "versioning": frozenset({"versioning"}),
    "lock": frozenset({"object-lock"}),
    "delete-many": frozenset({"delete"}),
    "begin": frozenset({"uploads", "x-id"}),
    "part": frozenset({"uploadId", "partNumber", "x-id"}),
    "complete": frozenset({"uploadId", "x-id"}),
    "abandon": frozenset({"uploadId", "x-id"}),
    "get": frozenset({"x-id", "versionId"}),
    "head": frozenset({"x-id", "versionId"}),
    "put": frozenset({"x-id"}),
    "create": frozenset({"x-id"}),
    "delete": frozenset({"x-id", "versionId"}),
}


@dataclass(slots=True, kw_only=True)
class Version:
    """One version of an object, or a delete marker; ``retained_until`` is in microseconds, 0 when it is not locked."""

    key: str
    identity: str
    data: bytes
    modified: int
    marker: bool = False
    retained_until: int = 0
    held: bool = False

    @property
    def etag(self) -> str:
        """What S3 names its bytes by, in quotes."""
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


@dataclass(slots=True, kw_only=True)
class Upload:
    """A multipart upload that was begun."""

    key: str
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Bucket:
    """A bucket; ``versioning`` is ``Enabled``, ``Suspended`` or empty, ``lock_days`` locks each new version."""

    versioning: str = ""
    lock_days: int = 0
    versions: dict[str, list[Version]] = field(default_factory=dict)
    """The versions of each key, the newest last."""
    uploads: dict[str, Upload] = field(default_factory=dict)

    def live(self, key: str) -> Version | None:
        """Return the newest version, unless it is a delete marker."""
        found = self.versions.get(key)
        return None if not found or found[-1].marker else found[-1]


class FakeS3(LoopbackServer):
    """S3 on loopback; make buckets with :meth:`make_bucket`, and address them by path."""

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

    def make_bucket(self, name: str, *, versioning: str = "", lock_days: int = 0) -> Bucket:
        """Make an empty bucket; see :class:`Bucket`."""
        self.buckets[name] = Bucket(versioning=versioning, lock_days=lock_days)
        return self.buckets[name]

    def kind_of(self, request: Request) -> str:
        """Return get, head, put, create, delete, list, versions, uploads, begin, part, complete, abandon or another."""
        _bucket, key = _split(request)
        named = _BY_PARAMETER_OF_KEY if key else _BY_PARAMETER_OF_BUCKET
        kind = next((kind for name, kind in named.items() if name in request.query), request.method.lower())
        if kind == "upload":
            return {"PUT": "part", "POST": "complete", "DELETE": "abandon"}.get(request.method, "unknown")
        if kind == "put" and request.headers.get("if-none-match") == "*":
            return "create"
        return kind if kind in _PARAMETERS else "unknown"

    def answer(self, kind: str, request: Request) -> Reply:
        """Return the reply to a request."""
        unknown = request.query.keys() - _PARAMETERS.get(kind, frozenset())
        if kind == "unknown" or unknown:
            raise RefusedError(501, "NotImplemented", f"unexpected: {', '.join(sorted(unknown)) or request.path}")
        if kind in self.denied:
            raise RefusedError(403, "AccessDenied", "Access Denied")
        name, key = _split(request)
        if name not in self.buckets:
            raise RefusedError(404, "NoSuchBucket", "The specified bucket does not exist")
        bucket = self.buckets[name]
        listing = {"list": _list, "versions": _versions, "uploads": _uploads}.get(kind)
        if listing is not None:
            return listing(bucket, request)
        of_keys = {"get": self._get, "head": self._get, "put": self._put, "create": self._put, "delete": self._delete}
        if kind in of_keys:
            return of_keys[kind](bucket, key, request)
        if kind == "delete-many":
            return self._delete_many(bucket, request)
        if kind in {"versioning", "lock"}:
            return _told(bucket, kind)
        return self._upload(bucket, key, kind, request)

    def refusal(self, error: RefusedError, request: Request) -> Reply:
        """Return an error as the service words it; to HEAD, only its status."""
        if request.method == "HEAD":
            return Reply(error.status)
        condition = "<Condition>If-None-Match</Condition>" if error.code == "PreconditionFailed" else ""
        body = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>{condition}"
        return _xml("Error", body, status=error.status)

    def _get(self, bucket: Bucket, key: str, request: Request) -> Reply:
        found = self._find(bucket, key, request.query.get("versionId"))
        if found.marker:
            raise RefusedError(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        headers = _headers(found)
        if request.method == "HEAD":
            return Reply(200, b"", headers, len(found.data))
        span = span_of(request.headers.get("range"), len(found.data))
        if span is None:
            return Reply(200, found.data, headers)
        start, end = span
        return Reply(
            206, found.data[start:end], (*headers, ("Content-Range", f"bytes {start}-{end - 1}/{len(found.data)}"))
        )

    def _find(self, bucket: Bucket, key: str, version: str | None) -> Version:
        found = bucket.live(key)
        if version is not None:
            found = next((each for each in bucket.versions.get(key, ()) if each.identity == version), None)
        if found is None:
            raise RefusedError(404, "NoSuchKey", "The specified key does not exist.")
        return found

    def _put(self, bucket: Bucket, key: str, request: Request) -> Reply:
        if request.headers.get("x-amz-content-sha256", "").startswith("STREAMING"):
            raise RefusedError(501, "NotImplemented", "a body in signed pieces")
        self._refuse_existing(bucket, key, request)
        made = self._store(bucket, key, request.body)
        return Reply(200, b"", (("ETag", made.etag),))

    def _refuse_existing(self, bucket: Bucket, key: str, request: Request) -> None:
        wanted = request.headers.get("if-none-match")
        if wanted not in {None, "*"}:
            raise RefusedError(501, "NotImplemented", "If-None-Match names only *")
        if wanted and not self.ignores_preconditions and bucket.live(key) is not None:
            raise RefusedError(
                412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"
            )

    def _store(self, bucket: Bucket, key: str, data: bytes, *, marker: bool = False) -> Version:
        now = self._clock.now()
        kept = bucket.versions.setdefault(key, [])
        if bucket.versioning != "Enabled":
            kept[:] = [each for each in kept if each.identity != _NULL]
        self._number += 1
        identity = f"v{self._number:08d}" if bucket.versioning == "Enabled" else _NULL
        until = now + bucket.lock_days * 86400 * _MICROS if bucket.lock_days and not marker else 0
        made = Version(key=key, identity=identity, data=data, modified=now, marker=marker, retained_until=until)
        kept.append(made)
        return made

    def _delete(self, bucket: Bucket, key: str, request: Request) -> Reply:
        return self._remove(bucket, key, request.query.get("versionId"))

    def _remove(self, bucket: Bucket, key: str, version: str | None) -> Reply:
        if version is None:
            if bucket.versioning:
                self._store(bucket, key, b"", marker=True)
            else:
                bucket.versions.pop(key, None)
            return Reply(204)
        for each in bucket.versions.get(key, ()):
            if each.identity == version:
                if each.held or each.retained_until > self._clock.now():
                    raise RefusedError(403, "AccessDenied", "Access Denied because object protected by object lock.")
                bucket.versions[key].remove(each)
                break
        if not bucket.versions.get(key):
            bucket.versions.pop(key, None)
        return Reply(204)

    def _delete_many(self, bucket: Bucket, request: Request) -> Reply:
        told = []
        for each in re.findall(r"<Object>(.*?)</Object>", request.body.decode(), re.DOTALL):
            key = re.search(r"<Key>(.*?)</Key>", each)
            version = re.search(r"<VersionId>(.*?)</VersionId>", each)
            if key is None:
                raise RefusedError(400, "MalformedXML")
            try:
                self._remove(bucket, unescape(key[1]), version[1] if version else None)
            except RefusedError as error:
                told.append(f"<Error><Key>{key[1]}</Key><Code>{error.code}</Code></Error>")
        return _xml("DeleteResult", "".join(told))

    def _upload(self, bucket: Bucket, key: str, kind: str, request: Request) -> Reply:
        if kind == "begin":
            self._number += 1
            identity = f"u{self._number:08d}"
            bucket.uploads[identity] = Upload(key=key)
            return _xml("InitiateMultipartUploadResult", f"<Key>{escape(key)}</Key><UploadId>{identity}</UploadId>")
        identity = request.query["uploadId"]
        upload = bucket.uploads.get(identity)
        if upload is None or upload.key != key:
            raise RefusedError(404, "NoSuchUpload", "The specified upload does not exist.")
        if kind == "part":
            upload.parts[int(request.query["partNumber"])] = request.body
            return Reply(200, b"", (("ETag", _etag(request.body)),))
        if kind == "complete":
            self._refuse_existing(bucket, key, request)
            named = [int(each) for each in re.findall(r"<PartNumber>(\d+)</PartNumber>", request.body.decode())]
            if not named or named != sorted(upload.parts):
                raise RefusedError(400, "InvalidPart", "One or more of the specified parts could not be found.")
            made = self._store(bucket, key, b"".join(upload.parts[number] for number in named))
            reply = _xml("CompleteMultipartUploadResult", f"<Key>{escape(key)}</Key><ETag>{escape(made.etag)}</ETag>")
        else:
            reply = Reply(204)
        del bucket.uploads[identity]
        return reply


def _headers(found: Version) -> tuple[tuple[str, str], ...]:
    modified = dt.datetime.fromtimestamp(found.modified / _MICROS, dt.UTC)
    headers = [("ETag", found.etag), ("Last-Modified", modified.strftime("%a, %d %b %Y %H:%M:%S GMT"))]
    if found.retained_until:
        headers.append(("x-amz-object-lock-mode", "COMPLIANCE"))
        headers.append(("x-amz-object-lock-retain-until-date", _time(found.retained_until)))
    if found.held:
        headers.append(("x-amz-object-lock-legal-hold", "ON"))
    return tuple(headers)


def _told(bucket: Bucket, kind: str) -> Reply:
    if kind == "versioning":
        return _xml("VersioningConfiguration", f"<Status>{bucket.versioning}</Status>" if bucket.versioning else "")
    if not bucket.lock_days:
        raise RefusedError(404, "ObjectLockConfigurationNotFoundError")
    rule = f"<DefaultRetention><Mode>COMPLIANCE</Mode><Days>{bucket.lock_days}</Days></DefaultRetention>"
    return _xml("ObjectLockConfiguration", f"<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>{rule}</Rule>")


def _split(request: Request) -> tuple[str, str]:
    """Return bucket and key of a path."""
    bucket, _, key = request.path.removeprefix("/").partition("/")
    return bucket, urllib.parse.unquote(key)


def _list(bucket: Bucket, request: Request) -> Reply:
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token") or query.get("start-after", "")
    keys = sorted(key for key in bucket.versions if bucket.live(key) is not None and key.startswith(prefix))
    entries = list(_grouped(keys, prefix, delimiter, after))
    most = min(int(query.get("max-keys", 1000)), 1000)
    parts = []
    for key, is_prefix in entries[:most]:
        found = None if is_prefix else bucket.live(key)
        if found is None:
            parts.append(f"<CommonPrefixes><Prefix>{_encoded(key, query)}</Prefix></CommonPrefixes>")
        else:
            parts.append(
                f"<Contents><Key>{_encoded(key, query)}</Key><LastModified>{_time(found.modified)}</LastModified>"
                f"<ETag>{escape(found.etag)}</ETag><Size>{len(found.data)}</Size></Contents>"
            )
    rest = entries[most - 1][0] if len(entries) > most > 0 else ""
    return _xml("ListBucketResult", f"{_page(query, rest, 'ContinuationToken')}{''.join(parts)}")


def _grouped(keys: Iterable[str], prefix: str, delimiter: str, after: str) -> Iterator[tuple[str, bool]]:
    last = ""
    for key in keys:
        before, split, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        entry = prefix + before + split if split else key
        if entry <= after or entry == last:
            continue
        last = entry
        yield entry, bool(split)


def _versions(bucket: Bucket, request: Request) -> Reply:
    query = request.query
    found = [
        (key, each, each is kept[-1])
        for key, kept in sorted(bucket.versions.items())
        if key.startswith(query.get("prefix", ""))
        for each in reversed(kept)
    ]
    marker = (query.get("key-marker", ""), query.get("version-id-marker", ""))
    names = [(key, each.identity) for key, each, _newest in found]
    start = names.index(marker) + 1 if marker in names else sum(key <= marker[0] for key, _identity in names)
    most = min(int(query.get("max-keys", 1000)), 1000)
    parts = []
    for key, each, newest in found[start : start + most]:
        kind, more = ("DeleteMarker", "") if each.marker else ("Version", f"<Size>{len(each.data)}</Size>")
        parts.append(
            f"<{kind}><Key>{_encoded(key, query)}</Key><VersionId>{each.identity}</VersionId>"
            f"<IsLatest>{str(newest).lower()}</IsLatest><LastModified>{_time(each.modified)}</LastModified>{more}</{kind}>"
        )
    cut = start + most < len(found)
    following = ""
    if cut:
        key, identity = names[start + most - 1]
        following = f"<NextKeyMarker>{_encoded(key, query)}</NextKeyMarker>"
        following += f"<NextVersionIdMarker>{identity}</NextVersionIdMarker>"
    return _xml("ListVersionsResult", f"{_head(query, cut=cut)}{following}{''.join(parts)}")


def _uploads(bucket: Bucket, request: Request) -> Reply:
    query = request.query
    found = sorted(
        (each.key, identity)
        for identity, each in bucket.uploads.items()
        if each.key.startswith(query.get("prefix", ""))
    )
    marker = (query.get("key-marker", ""), query.get("upload-id-marker", ""))
    found = [each for each in found if each > marker]
    most = min(int(query.get("max-uploads", 1000)), 1000)
    parts = [
        f"<Upload><Key>{_encoded(key, query)}</Key><UploadId>{identity}</UploadId></Upload>"
        for key, identity in found[:most]
    ]
    cut = len(found) > most
    following = ""
    if cut:
        key, identity = found[most - 1]
        following = (
            f"<NextKeyMarker>{_encoded(key, query)}</NextKeyMarker><NextUploadIdMarker>{identity}</NextUploadIdMarker>"
        )
    return _xml("ListMultipartUploadsResult", f"{_head(query, cut=cut)}{following}{''.join(parts)}")


def _page(query: dict[str, str], rest: str, name: str) -> str:
    following = f"<Next{name}>{escape(rest)}</Next{name}>" if rest else ""
    return _head(query, cut=bool(rest)) + following


def _head(query: dict[str, str], *, cut: bool) -> str:
    encoding = "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""
    return f"<IsTruncated>{str(cut).lower()}</IsTruncated>{encoding}"


def _encoded(key: str, query: dict[str, str]) -> str:
    return urllib.parse.quote(key) if query.get("encoding-type") == "url" else escape(key)


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _xml(root: str, body: str, *, status: int = 200) -> Reply:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{body}</{root}>'
    return Reply(status, text.encode(), (("Content-Type", "application/xml"),))


def _time(micros: int) -> str:
    return dt.datetime.fromtimestamp(micros / _MICROS, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
