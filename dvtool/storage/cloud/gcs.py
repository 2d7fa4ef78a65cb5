"""Google Cloud Storage by gcsfs: for its connections and credentials, not as a file system.

Each method is one request of the JSON interface, or one for each page; the library neither tries again nor remembers
listings.  The class of ``gcsfs.core`` is used, because the one that the package exports asks by gRPC of what kind a
bucket is, which takes a minute to fail where only HTTP is served.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import re
from typing import TYPE_CHECKING, Any, Final

from dvtool.errors import UsageError
from dvtool.storage.backend import Abilities, Keeping, Listed, Version
from dvtool.storage.cloud.client import CONNECT_SECONDS, PAGE, PIECE, SILENT_SECONDS, Opened, Remains, Stat, days
from dvtool.storage.cloud.failures import no_bucket, reply_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from dvtool.effects import View
    from dvtool.storage.backend import Purged
    from dvtool.storage.retrying import Persistence

OPTIONS: Final = {
    "anon": bool,
    "endpoint_url": str,
    "project": str,
    "requester_pays": bool,
}
"""What a remote may say of its bucket."""

EMULATOR: Final = "STORAGE_EMULATOR_HOST"
"""The variable by which all of Google's clients are sent to a server that stands in for theirs, without credentials."""

TRUSTED: Final = "DV_TRUSTED_ENDPOINTS"
"""The variable by which a person names the endpoints, apart from Google's, that may see credentials."""

_GOOGLES: Final = re.compile(r"https://([a-z0-9-]+\.)+googleapis\.com(:443)?/?", re.IGNORECASE | re.ASCII)
_OBJECTS: Final = "b/{}/o"
_OBJECT: Final = "b/{}/o/{}"
_NOT_FOUND: Final = 404
_DENIED: Final = frozenset({401, 403})
_BINARY: Final = "application/octet-stream"


class GcsClient:
    """One bucket of Google Cloud Storage."""

    def __init__(self, bucket: str, options: Mapping[str, Any], persistence: Persistence) -> None:
        """Name the bucket, and how often a request is made; nothing is opened yet."""
        self.abilities = Abilities(versions=True)
        self._bucket = bucket
        self._options = dict(options)
        self._opened = Opened(self._open, _close, persistence)

    def read(self, key: str, start: int, end: int) -> bytes:
        """Return a range by one GET."""
        span = f"bytes={start}-{end - 1}"
        try:
            _headers, found = self._opened.ask(
                lambda fs: fs.call("GET", _OBJECT, self._bucket, key, alt="media", headers={"Range": span})
            )
        except Exception as error:
            if reply_of(error).status == 416:  # noqa: PLR2004 - no such range
                return b""
            raise
        return bytes(found)

    def stat(self, key: str) -> Stat:
        """Return length and time by one GET of the metadata."""
        found: dict[str, Any] = self._opened.ask(
            lambda fs: fs.call("GET", _OBJECT, self._bucket, key, fields="size,timeCreated", json_out=True)
        )
        return Stat(int(found["size"]), _micros(found["timeCreated"]))

    def listed(self, prefix: str, after: str, most: int) -> Iterator[Listed]:
        """Yield objects by one request for each thousand; no more is asked for than is wanted."""
        left = most
        fields = "nextPageToken,items(name,size,timeCreated)"
        offset = prefix + after if after else None
        for page in self._pages(prefix, fields, offset=offset, size=min(most + 1, PAGE) if most else PAGE):
            for each in page.get("items", ()):
                name = each["name"][len(prefix) :]
                if name > after:
                    yield Listed(name, int(each["size"]), _micros(each["timeCreated"]))
                    left -= 1
                    if most and not left:
                        return

    def names(self, prefix: str) -> Iterator[str]:
        """Yield names by one request for each thousand."""
        for page in self._pages(prefix, "nextPageToken,prefixes,items(name)"):
            yield from (each["name"][len(prefix) :] for each in page.get("items", ()) if each["name"] != prefix)
            yield from (each[len(prefix) : -1] for each in page.get("prefixes", ()))

    def create(self, key: str, data: bytes) -> None:
        """Write by one request that holds only where there is no generation."""
        self._send(key, lambda: io.BytesIO(data), "0")

    def write(self, key: str, data: bytes) -> None:
        """Write by one request."""
        self._send(key, lambda: io.BytesIO(data), None)

    def send(self, key: str, view: View) -> None:
        """Write by one request, whose body is read piece by piece if it is long."""
        if len(view) > PIECE:
            self.upload(key, view)
        else:
            self.write(key, bytes(view[: len(view)]))

    def upload(self, key: str, view: View) -> None:
        """Write by one request, whose body is read piece by piece; nothing is there before its end."""
        self._send(key, lambda: _pieces(view), None, length=len(view))

    def delete(self, key: str) -> None:
        """Remove by one DELETE."""
        self._delete(key)

    def purge(self, key: str, *, older: bool = False) -> Purged:
        """Remove each generation by its number, look again, and ask what soft deletion keeps.

        With ``older`` only those go that are noncurrent.
        """
        remains = Remains()
        for each in list(self._generations(key, older=older)):
            try:
                self._delete(key, each["generation"])
            except Exception as error:
                if reply_of(error).status not in _DENIED:
                    raise
                remains.leave(*_why_kept(each, reply_of(error).words))
            else:
                remains.versions += 1
        if not remains.report().left and (still := len(list(self._generations(key, older=older)))):
            remains.leave(f"{still} versions are still there", None)
        self._look_for_soft_deleted(key, remains)
        return remains.report()

    def versions(self, prefix: str) -> Iterator[Version]:
        """Yield every generation, noncurrent ones included."""
        for page in self._pages(prefix, "nextPageToken,items(name,timeDeleted)", versions=True):
            for each in page.get("items", ()):
                yield Version(each["name"].removeprefix(prefix), is_latest="timeDeleted" not in each)

    def keeping(self) -> Keeping:
        """Return what the bucket says of itself."""
        fields = "versioning,softDeletePolicy,retentionPolicy,objectRetention"
        try:
            found = self._opened.ask(lambda fs: fs.call("GET", "b/{}", self._bucket, fields=fields, json_out=True))
        except FileNotFoundError:
            raise no_bucket(f"gs://{self._bucket}") from None
        except Exception as error:
            reply = reply_of(error)
            if reply.status not in _DENIED:
                raise
            unknown = f"unknown: {reply.words or 'permission denied'}"
            return Keeping(versioning=unknown, soft_delete=unknown, lock=unknown)
        kept = int(found.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0))
        locked = int(found.get("retentionPolicy", {}).get("retentionPeriod", 0))
        return Keeping(
            versioning="on" if found.get("versioning", {}).get("enabled") else "off",
            soft_delete=days(kept) if kept else "off",
            lock=f"{days(locked)} for all files"
            if locked
            else ("possible for single files" if found.get("objectRetention") else "off"),
        )

    def sweep(self, _prefix: str, _before: int) -> int:
        """Do nothing: an upload that is not gone on with is forgotten by the service after a week."""
        return 0

    def close(self) -> None:
        """Close the connections."""
        self._opened.close()

    def _look_for_soft_deleted(self, key: str, remains: Remains) -> None:
        fields = "nextPageToken,items(name,hardDeleteTime)"
        try:
            found = [
                each
                for page in self._pages(key, fields, deleted=True)
                for each in page.get("items", ())
                if each["name"] == key
            ]
        except Exception as error:
            reply = reply_of(error)
            if reply.status in _DENIED:
                remains.leave("whether soft deletion keeps it could not be looked for: permission denied", None)
            elif reply.passing or reply.status == _NOT_FOUND:
                raise
            return  # a bucket without the policy does not answer
        if found:
            until = max(_micros(each["hardDeleteTime"]) for each in found)
            when = dt.datetime.fromtimestamp(until / 1_000_000, dt.UTC)
            remains.leave(f"soft deletion keeps it until {when:%Y-%m-%d %H:%M} UTC", until)

    def _generations(self, key: str, *, older: bool) -> Iterator[dict[str, Any]]:
        told = "name,generation,timeDeleted,retentionExpirationTime,temporaryHold,eventBasedHold"
        for page in self._pages(key, f"nextPageToken,items({told})", versions=True):
            found = (each for each in page.get("items", ()) if each["name"] == key)
            yield from (each for each in found if not older or "timeDeleted" in each)

    def _pages(
        self,
        prefix: str,
        fields: str,
        *,
        offset: str | None = None,
        size: int = PAGE,
        versions: bool = False,
        deleted: bool = False,
    ) -> Iterator[dict[str, Any]]:
        wanted = {
            "prefix": prefix,
            "delimiter": None if versions or deleted else "/",
            "startOffset": offset,
            "maxResults": size,
            "versions": "true" if versions else None,
            "softDeleted": "true" if deleted else None,
            "fields": fields,
        }
        token: str | None = ""
        while token is not None:
            page = self._page(wanted, token or None)
            yield page
            token = page.get("nextPageToken")

    def _page(self, wanted: dict[str, Any], token: str | None) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._opened.ask(
                lambda fs: fs.call("GET", _OBJECTS, self._bucket, **wanted, pageToken=token, json_out=True)
            )
        except FileNotFoundError:
            raise no_bucket(f"gs://{self._bucket}") from None
        return found

    def _send(self, key: str, body: Callable[[], object], match: str | None, *, length: int | None = None) -> None:
        """Write what a fresh ``body`` for each try holds; ``length`` is told where the body does not know its own."""
        headers = {"Content-Type": _BINARY}
        if length is not None:
            headers["Content-Length"] = str(length)

        def send(fs: Any) -> None:  # noqa: ANN401 - published without types
            fs.call(
                "POST",
                fs.base.replace("/storage/", "/upload/storage/") + _OBJECTS,
                self._bucket,
                uploadType="media",
                name=key,
                ifGenerationMatch=match,
                fields="generation",
                headers=headers,
                data=body(),
            )

        try:
            self._opened.ask(send)
        except FileNotFoundError:
            raise no_bucket(f"gs://{self._bucket}") from None

    def _delete(self, key: str, generation: str | None = None) -> None:
        try:
            self._opened.ask(lambda fs: fs.call("DELETE", _OBJECT, self._bucket, key, generation=generation))
        except FileNotFoundError:
            return

    def _open(self) -> Any:  # noqa: ANN401 - published without types
        from aiohttp import ClientTimeout
        from gcsfs.core import GCSFileSystem

        class Once(GCSFileSystem):  # type: ignore[misc] # published without types
            """Tries once: retrying is the work of one layer, and its own goes on for a minute."""

            _request = getattr(GCSFileSystem._request, "__wrapped__", GCSFileSystem._request)  # noqa: SLF001

        given = dict(self._options)
        unsigned = given.pop("anon", False) or not may_see_credentials(given.get("endpoint_url", ""))
        try:
            return Once(
                token="anon" if unsigned else "google_default",
                session_kwargs={"trust_env": True},  # proxies are named by the environment, as for S3
                requests_timeout=ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS),
                skip_instance_cache=True,
                use_listings_cache=False,
                **given,
            )
        except (TypeError, ValueError) as error:
            raise UsageError(
                "the options of the remote do not fit", why=str(error)[:300], next="correct them in dv.toml"
            ) from None


def may_see_credentials(endpoint: str) -> bool:
    """Return whether credentials are sent to an endpoint: to Google's, and to those that the environment trusts.

    A token of Google's is a bearer token: whoever sees it can use it.  So what a file says is not enough.

    Args:
        endpoint: its URL; empty for that which is taken where none is named, an emulator's if there is one.
    """
    if not endpoint:
        return not os.environ.get(EMULATOR)
    trusted = {each.strip().rstrip("/") for each in os.environ.get(TRUSTED, "").split(",")} - {""}
    return _GOOGLES.fullmatch(endpoint) is not None or endpoint.rstrip("/") in trusted


def _close(fs: Any) -> None:  # noqa: ANN401 - published without types
    fs.close_session(None, fs.session)


async def _pieces(view: View) -> AsyncIterator[bytes]:
    for at in range(0, len(view), PIECE):
        yield bytes(view[at : at + PIECE])


def _why_kept(found: dict[str, Any], words: str) -> tuple[str, int | None]:
    if found.get("temporaryHold") or found.get("eventBasedHold"):
        return "a hold protects it", None
    if "retentionExpirationTime" in found:
        until = found["retentionExpirationTime"]
        return f"a retention policy protects it until {until[:16].replace('T', ' ')} UTC", _micros(until)
    return f"a version could not be deleted: {words or 'permission denied'}", None


def _micros(moment: str) -> int:
    return int(dt.datetime.fromisoformat(moment).timestamp() * 1_000_000)
