"""Amazon S3 and what speaks like it, by s3fs: for its connections, credentials and signatures, not as a file system.

Each method is one request, or one for each page or part.  The library neither tries again nor remembers listings.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from dvtool.errors import NotFoundError, UsageError
from dvtool.storage.backend import Abilities, Keeping, Listed, UntoldError, Version
from dvtool.storage.cloud.body import Body
from dvtool.storage.cloud.client import CONNECT_SECONDS, PAGE, PART, SILENT_SECONDS, Opened, Remains, Stat, days
from dvtool.storage.cloud.failures import as_ours, reply_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from dvtool.effects import View
    from dvtool.storage.backend import Purged
    from dvtool.storage.retrying import Persistence

OPTIONS: Final = {
    "addressing_style": str,
    "anon": bool,
    "connect_timeout": float,
    "endpoint_url": str,
    "kms_key_id": str,
    "profile": str,
    "read_timeout": float,
    "region": str,
    "region_name": str,
    "requester_pays": bool,
    "server_side_encryption": str,
}
"""What a remote may say of its bucket.

Nothing that says how requests are signed, by what they are sent, or what goes with them: who writes ``dv.toml`` is not
always who runs dv, and whose credentials are used.
"""

_CONNECTIONS: Final = 32
_SIGNATURE: Final = "s3v4"
"""How requests are signed: by a method that never sends the secret, whatever the other side or a profile asks for."""
_ENCRYPTIONS: Final = ("AES256", "aws:kms", "aws:kms:dsse")
_UNSORTED: Final = "--x-s3"
_DENIED: Final = frozenset({401, 403})
_UNKNOWN_REQUEST: Final = frozenset({405, 501})  # places that keep no versions often have no such request


def arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of s3fs for the options of a remote.

    Raises:
        UsageError: when an option contradicts another, or a place encrypts in no such way.
    """
    given = dict(options)
    client: dict[str, Any] = {}
    config: dict[str, Any] = {"signature_version": _SIGNATURE, "max_pool_connections": _CONNECTIONS}
    regions = {given.pop(name) for name in ("region", "region_name") if name in given}
    if len(regions) > 1:
        raise UsageError("the options of the remote name two regions", next="keep one of region and region_name")
    if regions:
        client["region_name"] = regions.pop()
    if "addressing_style" in given:
        config["s3"] = {"addressing_style": given.pop("addressing_style")}
    config["connect_timeout"] = given.pop("connect_timeout", CONNECT_SECONDS)
    config["read_timeout"] = given.pop("read_timeout", SILENT_SECONDS)
    config["retries"] = {"total_max_attempts": 1, "mode": "standard"}
    if given.get("endpoint_url"):
        # Checksums behind the body are younger than many servers that speak like S3 and refuse them.
        config["request_checksum_calculation"] = "when_required"
        config["response_checksum_validation"] = "when_required"
    encryption = _encryption(given.pop("server_side_encryption", None), given.pop("kms_key_id", None))
    return {**given, "client_kwargs": client, "config_kwargs": config, "s3_additional_kwargs": encryption}


def _encryption(way: str | None, key: str | None) -> dict[str, str]:
    """Return what a writing request says of encryption by the place itself."""
    if way is not None and way not in _ENCRYPTIONS:
        raise UsageError(
            f"there is no server_side_encryption {way!r}", next=f"give it one of {', '.join(_ENCRYPTIONS)}"
        )
    if key is not None and (way or "").partition(":")[0] != "aws":
        raise UsageError(
            "the option kms_key_id names a key that is not used", next="add server_side_encryption = 'aws:kms'"
        )
    told = {"ServerSideEncryption": way, "SSEKMSKeyId": key}
    return {name: value for name, value in told.items() if value is not None}


class S3Client:
    """One bucket of S3."""

    def __init__(self, bucket: str, options: Mapping[str, Any], persistence: Persistence) -> None:
        """Name the bucket, and how often a request is made; nothing is opened yet.

        Raises:
            UsageError: for a directory bucket (S3 Express), and when an option contradicts another.
        """
        if bucket.endswith(_UNSORTED):
            raise UsageError(
                "a directory bucket cannot hold a store",
                where=bucket,
                why="it lists in no order",
                next="take another bucket",
            )
        self.abilities = Abilities(versions=True)
        self._bucket = bucket
        self._arguments = arguments(options)
        self._opened = Opened(self._open, lambda _fs: None, persistence)  # s3fs closes connections when it goes

    def read(self, key: str, start: int, end: int) -> bytes:
        """Return a range by one GET."""
        try:
            found = self._opened.ask(lambda fs: fs.cat_file(f"{self._bucket}/{key}", start=start, end=end))
        except OSError as error:
            if reply_of(error).status == 416 or reply_of(error).code == "InvalidRange":  # noqa: PLR2004 - no such range
                return b""
            raise
        return bytes(found)

    def stat(self, key: str) -> Stat:
        """Return length and time by one HEAD."""
        found = self._call("head_object", {"Key": key})
        return Stat(int(found["ContentLength"]), _micros(found["LastModified"]))

    def listed(self, prefix: str, after: str, most: int) -> Iterator[Listed]:
        """Yield objects by one request for each thousand; no more is asked for than is wanted."""
        left = most
        following: dict[str, Any] = {"StartAfter": prefix + after} if after else {}
        while True:
            size = min(left, PAGE) if most else PAGE
            page = self._call("list_objects_v2", {"Prefix": prefix, "Delimiter": "/", "MaxKeys": size, **following})
            for each in page.get("Contents", ()):
                name = each["Key"][len(prefix) :]
                if name > after:
                    yield Listed(name, int(each["Size"]), _micros(each["LastModified"]))
                    left -= 1
                    if most and not left:
                        return
            if not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": page["NextContinuationToken"]}

    def names(self, prefix: str) -> Iterator[str]:
        """Yield names by one request for each thousand."""
        following: dict[str, Any] = {}
        while True:
            page = self._call("list_objects_v2", {"Prefix": prefix, "Delimiter": "/", **following})
            yield from (each["Key"][len(prefix) :] for each in page.get("Contents", ()) if each["Key"] != prefix)
            yield from (each["Prefix"][len(prefix) : -1] for each in page.get("CommonPrefixes", ()))
            if not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": page["NextContinuationToken"]}

    def create(self, key: str, data: bytes) -> None:
        """Write by a conditional PUT."""
        self._call("put_object", {"Key": key, "Body": data, "IfNoneMatch": "*"})

    def write(self, key: str, data: bytes) -> None:
        """Write by one PUT."""
        self._call("put_object", {"Key": key, "Body": data})

    def send(self, key: str, view: View) -> None:
        """Write by one PUT, whose body is read while it is sent."""
        self._opened.ask(lambda fs: fs.call_s3("put_object", {"Bucket": self._bucket, "Key": key, "Body": Body(view)}))

    def upload(self, key: str, view: View) -> None:
        """Write by a multipart upload, which is abandoned when it fails."""
        upload = self._call("create_multipart_upload", {"Key": key})["UploadId"]
        try:
            parts = []
            for number, at in enumerate(range(0, len(view), PART), 1):
                piece = bytes(view[at : at + PART])
                sent = self._call("upload_part", {"Key": key, "UploadId": upload, "PartNumber": number, "Body": piece})
                parts.append({"PartNumber": number, "ETag": sent["ETag"]})
            self._complete(key, {"UploadId": upload, "MultipartUpload": {"Parts": parts}}, len(view))
        except BaseException:
            with contextlib.suppress(Exception):  # what went wrong first is what is told; a purge abandons it later
                self._abort(key, upload)
            raise

    def _complete(self, key: str, of: dict[str, Any], size: int) -> None:
        try:
            self._call("complete_multipart_upload", {"Key": key, **of})
        except FileNotFoundError:
            # Of a completed upload nothing is known any more: the reply to the first try was lost, perhaps.
            if self.stat(key).size != size:
                raise

    def delete(self, key: str) -> None:
        """Remove by one DELETE."""
        self._call("delete_object", {"Key": key})

    def purge(self, key: str, *, older: bool = False) -> Purged:
        """Remove each version and delete marker by its id, abandon uploads that were begun, and look again.

        With ``older`` the latest of them stays, and so do uploads, which may yet become one.
        """
        remains = Remains()
        if self._purge_versions(key, remains, older=older):
            there = self._versions(key, older=older)
            kept = [version for version in there if not self._is_locked(key, version, remains)]
            if kept:
                remains.leave(f"{len(kept)} versions are still there", None)
        elif not older:
            remains.versions = int(self._remove_only(key))
        if not older:
            self._abandon_uploads(key, remains)
        return remains.report()

    def _abandon_uploads(self, key: str, remains: Remains) -> None:
        try:
            begun = list(self._uploads(key))
            for upload in begun:
                self._abort(key, upload)
            unfinished = len(list(self._uploads(key))) if begun else 0
        except OSError as error:
            if reply_of(error).status in _DENIED:
                remains.leave(
                    "unfinished uploads could not be looked for: s3:ListBucketMultipartUploads is denied", None
                )
            elif reply_of(error).status not in _UNKNOWN_REQUEST:
                raise
        else:
            if unfinished:
                remains.leave(f"{unfinished} unfinished uploads are still there", None)

    def versions(self, prefix: str) -> Iterator[Version]:
        """Yield every version and delete marker; where there is no request that tells, the objects."""
        try:
            for each in self._kept(prefix):
                yield Version(each["Key"].removeprefix(prefix), is_latest=each.get("IsLatest", True))
        except OSError as error:
            reply = reply_of(error)
            if reply.status in _DENIED and self._versioning() != "off":
                raise UntoldError(
                    "older versions could not be looked for", why="s3:ListBucketVersions is denied"
                ) from None
            if reply.status not in _DENIED | _UNKNOWN_REQUEST:
                raise
            yield from (Version(name, is_latest=True) for name in self.names(prefix))

    def keeping(self) -> Keeping:
        """Return what the bucket says of versions and locks."""
        return Keeping(versioning=self._versioning(), lock=self._lock())

    def sweep(self, prefix: str, before: int) -> int:
        """Abort multipart uploads; nothing is looked for where there are none."""
        try:
            old = [each for each in self._begun(prefix) if _micros(each["Initiated"]) < before]
        except OSError as error:
            if reply_of(error).status in _UNKNOWN_REQUEST:
                return 0
            raise
        for each in old:
            self._abort(each["Key"], each["UploadId"])
        return len(old)

    def close(self) -> None:
        """Forget the session; s3fs closes its connections."""
        self._opened.close()

    def _purge_versions(self, key: str, remains: Remains, *, older: bool) -> bool:
        """Remove every version, or every older one, and return whether the place told which there are."""
        try:
            found = list(self._versions(key, older=older))
        except OSError as error:
            reply = reply_of(error)
            if reply.status in _DENIED:
                if self._versioning() != "off":
                    remains.leave("older versions could not be looked for: s3:ListBucketVersions is denied", None)
                return False
            if reply.status in _UNKNOWN_REQUEST:
                return False
            raise
        for version in found:
            try:
                self._call("delete_object", {"Key": key, "VersionId": version})
            except OSError as error:
                reply = reply_of(error)
                if reply.status not in _DENIED:
                    raise
                if not self._is_locked(key, version, remains):
                    remains.leave(f"a version could not be deleted: {reply.words}", None)
            else:
                remains.versions += 1
        return True

    def _remove_only(self, key: str) -> bool:
        try:
            self.stat(key)
        except FileNotFoundError:
            return False
        self.delete(key)
        return True

    def _versions(self, key: str, *, older: bool = False) -> Iterator[str]:
        """Yield the id of each version and delete marker of exactly this key, or of all but the latest.

        One of which the place does not say that it is older counts as the latest: better to leave one too many.
        """
        for each in self._kept(key):
            if each["Key"] == key and not (older and each.get("IsLatest", True)):
                yield each["VersionId"]

    def _kept(self, prefix: str) -> Iterator[dict[str, Any]]:
        following: dict[str, Any] = {}
        while True:
            page = self._call("list_object_versions", {"Prefix": prefix, **following})
            yield from (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            if not page.get("IsTruncated"):
                return
            following = {"KeyMarker": page["NextKeyMarker"]}
            if page.get("NextVersionIdMarker"):
                following["VersionIdMarker"] = page["NextVersionIdMarker"]

    def _uploads(self, key: str) -> Iterator[str]:
        """Yield the uploads to exactly this key."""
        return (each["UploadId"] for each in self._begun(key) if each["Key"] == key)

    def _begun(self, prefix: str) -> Iterator[dict[str, Any]]:
        following: dict[str, Any] = {}
        while True:
            page = self._call("list_multipart_uploads", {"Prefix": prefix, **following})
            yield from page.get("Uploads", ())
            if not page.get("IsTruncated"):
                return
            following = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _abort(self, key: str, upload: str) -> None:
        try:
            self._call("abort_multipart_upload", {"Key": key, "UploadId": upload})
        except OSError as error:
            if not isinstance(as_ours(error, "", ""), NotFoundError):
                raise

    def _is_locked(self, key: str, version: str, remains: Remains) -> bool:
        """Return whether an object lock protects a version, and note until when."""
        found = self._asked("head_object", lambda found: found, {"Key": key, "VersionId": version})
        if not isinstance(found, dict):
            return False
        until = found.get("ObjectLockRetainUntilDate")
        if found.get("ObjectLockLegalHoldStatus") == "ON":
            remains.leave("a legal hold protects it", None)
        elif until is not None:
            remains.leave(f"an object lock protects it until {until:%Y-%m-%d %H:%M} UTC", _micros(until))
        else:
            return False
        return True

    def _versioning(self) -> str:
        status = self._asked("get_bucket_versioning", lambda found: found.get("Status", ""))
        return {"Enabled": "on", "Suspended": "suspended", "": "off"}.get(status, str(status))

    def _lock(self) -> str:
        return str(self._asked("get_object_lock_configuration", _lock_words))

    def _asked(self, method: str, part: Callable[[dict[str, Any]], Any], of: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - a value of S3
        """Return part of a reply; ``off`` when nothing is set, or ``unknown`` and why when it is not told."""
        try:
            return part(self._call(method, of or {}))
        except OSError as error:
            reply = reply_of(error)
            if reply.status == 404 or "NotFound" in reply.code or reply.code.startswith("NoSuch"):  # noqa: PLR2004 - not found
                return "off"
            if reply.passing:
                raise
            if reply.status in _UNKNOWN_REQUEST:
                return "off"
            return f"unknown: {reply.words}"

    def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._opened.ask(lambda fs: fs.call_s3(method, {"Bucket": self._bucket, **parameters}))
        return found

    def _open(self) -> Any:  # noqa: ANN401 - published without types
        from s3fs import S3FileSystem

        try:
            fs = S3FileSystem(skip_instance_cache=True, use_listings_cache=False, **self._arguments)
            fs.retries = 1
            fs.connect()
            known = fs.s3.meta.service_model.operation_model("PutObject").input_shape.members
        except (TypeError, ValueError) as error:
            raise UsageError(
                "the options of the remote do not fit", why=str(error)[:300], next="correct them in dv.toml"
            ) from None
        if "IfNoneMatch" not in known:
            # s3fs leaves out what botocore does not know, so a creation would write over what is there.
            raise UsageError(
                "the installed botocore is too old: it cannot create a file only where none is",
                next="pip install --upgrade 'dvtool[s3]'",
            )
        return fs


def _lock_words(found: dict[str, Any]) -> str:
    configuration = found["ObjectLockConfiguration"]
    if configuration.get("ObjectLockEnabled") != "Enabled":
        return "off"
    rule = configuration.get("Rule", {}).get("DefaultRetention", {})
    period = rule.get("Days", 0) + 365 * rule.get("Years", 0)
    return f"{days(period * 86400)} by default" if period else "possible for single files"


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
