"""Opens the place that a path or URL names, and loads only what that one needs."""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

from dvtool import urls
from dvtool.errors import UsageError
from dvtool.storage.local import LocalBackend
from dvtool.storage.retrying import Persistence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dvtool.effects import Entropy
    from dvtool.storage.backend import Backend
    from dvtool.storage.cloud.client import Client
    from dvtool.storage.disk import Disk

S3: Final = frozenset({"s3", "s3a"})
GCS: Final = frozenset({"gs", "gcs"})
TRUSTED: Final = "DV_TRUSTED_FILESYSTEMS"
"""The variable by which a person names file systems, apart from those that dv knows, that may hold a store."""
UNFINISHED: Final = "tmp"
"""The directory of unfinished files, below a store that lies in a directory."""

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NUMBERS: Final = {int: re.compile(r"[0-9]{1,9}"), float: re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")}
_SIMPLE: Final = frozenset({str, bool, int, float})
_PLACE_ONLY: Final = "a URL of a remote is a place and nothing else"


def open_place(
    url: str,
    options: Mapping[str, Any],
    *,
    entropy: Entropy,
    disk: Disk | None = None,
    scratch: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Backend:
    """Return the backend for the place that ``url`` names; nothing is asked of the place yet.

    Args:
        url: a path or ``file://`` URL of a directory, ``s3://BUCKET/PREFIX``, ``gs://BUCKET/PREFIX``, ``memory://PATH``
            (this process alone), or a URL of another file system of fsspec that :data:`~dvtool.storage.cloud.plain
            .OPTIONS` lists.  Of a directory, unfinished files lie in its ``tmp``.
        options: what dv.toml says of the remote.  Credentials are no options: they come from the environment, the
            cloud's own files, or the machine that dv runs on.
        entropy: for names of unfinished files and pauses between tries.
        disk: changes local files.
        scratch: a local directory for what is on its way to a place that is none; see :class:`CloudBackend`.
        sleep: waits for so many seconds between tries.
        now: a clock in seconds that never goes back.

    Raises:
        UsageError: when the URL names no place or holds a credential, an option is not known, or a package is missing.
    """
    _refuse_credentials(url)
    match = _SCHEME.match(url)
    if match is None and (astray := urls.ALMOST.match(url)):
        if astray[2]:
            raise _wrong(_PLACE_ONLY, url.partition("::")[0] + "::...", "give the URL of the place itself")
        raise _wrong("a URL has two slashes behind its colon", f"{astray[1]}:...", f"write {astray[1]}://...")
    if match is None or match[1].lower() in urls.LOCAL:
        if options:
            raise _wrong("a directory has no options", url, "take the options of the remote away")
        if match and not url.startswith("/", match.end()):
            raise _wrong("a file URL names a directory of this machine by its whole path", url, "write file:///PATH")
        path = os.path.abspath(urllib.parse.unquote(url[match.end() :]) if match else url)
        return LocalBackend(path, f"{path}/{UNFINISHED}", entropy=entropy, disk=disk, shared=True)
    scheme, rest = match[1].lower(), url[match.end() :]
    shown = _checked(scheme, rest)
    persistence = Persistence(entropy=entropy, sleep=sleep, now=now)
    client, prefix = _client(scheme, rest.strip("/") if scheme in S3 | GCS else url, options, shown, persistence)

    from dvtool.storage.cloud.backend import CloudBackend
    from dvtool.storage.sending import SendingBackend

    return SendingBackend(CloudBackend(client, prefix, where=shown, disk=disk, scratch=scratch))


def _client(
    scheme: str, rest: str, options: Mapping[str, Any], shown: str, persistence: Persistence
) -> tuple[Client, str]:
    """Return the client for a URL, and what the keys of the store begin with."""
    bucket, _, prefix = rest.partition("/")
    if scheme in S3:
        _require("s3fs", scheme, "s3")
        from dvtool.storage.cloud import s3

        return s3.S3Client(bucket, _checked_options(options, s3.OPTIONS, shown), persistence), prefix
    if scheme in GCS:
        _require("gcsfs", scheme, "gcs")
        from dvtool.storage.cloud import gcs

        return gcs.GcsClient(bucket, _checked_options(options, gcs.OPTIONS, shown), persistence), prefix
    from dvtool.storage.cloud import plain

    known = plain.OPTIONS.get(scheme)
    if known is None and scheme not in os.environ.get(TRUSTED, "").lower().replace(" ", "").split(","):
        raise _wrong(
            "no store can lie in a file system of this kind",
            f"{scheme}://",
            "give a directory, or a URL such as s3://BUCKET/PREFIX or gs://BUCKET/PREFIX",
            why=f"of those that fsspec has, dv uses {', '.join(sorted(plain.OPTIONS))}, and what {TRUSTED} names",
        )
    root, arguments = plain.resolved(scheme, rest, _checked_options(options, known, shown))
    return plain.PlainClient(scheme, root, arguments, persistence), root


def _checked(scheme: str, rest: str) -> str:
    """Return the URL as errors may name it.

    Raises:
        UsageError: when it names no bucket, or holds what does not belong into it.
    """
    end = re.search(r"\?|::" if scheme in S3 | GCS else r"[?#]|::", rest)
    if end is not None:
        raise _wrong(
            _PLACE_ONLY,
            f"{scheme}://{rest[: end.start()]}",
            "take away what follows the path; what the file system must know goes into options",
        )
    if scheme in S3 | GCS and not rest.partition("/")[0]:
        raise _wrong("the URL names no bucket", f"{scheme}://", f"write {scheme}://BUCKET/PREFIX")
    if any(part in {"", ".", ".."} for part in rest.strip("/").split("/")[1:]):
        raise _wrong("the path of the URL has parts that are no names", f"{scheme}://{rest}", "write it without them")
    return f"{scheme}://{rest.rstrip('/')}"


def _refuse_credentials(url: str) -> None:
    """Refuse a URL that holds a credential, without repeating it."""
    if urls.holds_credential(url):
        match = _SCHEME.match(url)
        authority = re.split(r"[/?#]", url[match.end() :], maxsplit=1)[0] if match else ""
        _user, at, host = authority.rpartition("@")
        raise _wrong(
            "a URL of a remote holds no credentials",
            f"{match[1].lower()}://..." + (f"@{host}" if at else "") if match else "",
            "give them by the environment or the cloud's own settings, and change them if this URL was written down",
        )


def _checked_options(options: Mapping[str, Any], known: Mapping[str, type] | None, shown: str) -> dict[str, Any]:
    """Return options of the kinds that are known and let nothing else through; a table never is one.

    A number may come as a text, as it does from a command line.  Where nothing is known, any simple value may.

    Raises:
        UsageError: when an option is not known, or its value is of another kind.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        kind = known.get(name) if known is not None else type(value) if type(value) in _SIMPLE else str
        if kind is None:
            near = difflib.get_close_matches(name, known or (), n=1, cutoff=0)
            advice = f"did you mean {near[0]!r}?" if near else "take it away: such a remote has no options"
            raise _wrong(f"there is no option {name!r} for such a remote", shown, advice)
        if isinstance(value, str) and urls.holds_credential(value):
            raise _wrong(
                f"the option {name!r} holds a credential",
                shown,
                "give it by the environment or the cloud's own settings",
            )
        pattern = _NUMBERS.get(kind)
        numeric = pattern is not None and type(value) in {int, float, str} and pattern.fullmatch(str(value))
        if not numeric and (pattern is not None or type(value) is not kind):
            words = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}[kind]
            raise _wrong(f"the option {name!r} has a value of another kind", shown, f"give it {words}")
        found[name] = kind(value)
    return found


def _require(package: str, scheme: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise _wrong(
            f"{scheme}:// needs a package that is not installed", f"{scheme}://", f"pip install 'dvtool[{extra}]'"
        )


def _wrong(what: str, where: str, next: str, *, why: str = "") -> UsageError:
    return UsageError(what, where=where, why=why, next=next)
