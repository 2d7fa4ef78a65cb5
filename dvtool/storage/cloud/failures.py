"""What clients of clouds raise, as errors of ours; nothing else leaves the package.

The libraries are told apart by the names of their exceptions and by the status of the reply, so that none of them has
to be imported to be understood.  What they say is repeated without addresses: a signed one opens the file for whoever
reads it in a log.
"""

from __future__ import annotations

import contextlib
import errno
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool.errors import MEND, DvError, ExistsError, NotFoundError, StorageError
from dvtool.storage.backend import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_REASON: Final = 300
"""Characters of a library's or a server's own words that are repeated at most."""

_PASSING_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_PASSING_CODES: Final = frozenset(
    {
        "ConditionalRequestConflict",  # another request about this key is under way; S3 asks to try again
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
_PASSING_NAMES: Final = frozenset(
    {
        "ChecksumError",
        "ClientConnectionError",  # aiohttp: refused, reset, cut
        "ClientPayloadError",
        "ConnectionError",  # Python's, that of requests, and botocore's
        "FSTimeoutError",
        "HTTPClientError",  # botocore
        "IncompleteRead",
        "IncompleteReadError",
        "ProxyError",
        "ResponseParserError",  # botocore: a busy server's reply was no XML
        "TimeoutError",
        "TransportError",  # google.auth: its own server was not reached
    }
)
_CREDENTIAL_NAMES: Final = frozenset(
    {
        "CredentialRetrievalError",
        "GoogleAuthError",
        "NoAuthTokenError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "SSOError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)
_CREDENTIAL_CODES: Final = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired"}
)
_REGION_CODES: Final = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "301"}
)
_NO_BUCKET: Final = "NoSuchBucket"
_UNDERSTOOD: Final = {  # what a file system says without a status
    FileNotFoundError: 404,
    FileExistsError: 412,
    PermissionError: 403,
}
_ERRNO: Final = {errno.ENOENT: 404, errno.EEXIST: 412, errno.EACCES: 403, errno.EPERM: 403, errno.EBUSY: 503}
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]*://\S+|\?\S+", re.IGNORECASE)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What an exception tells: the status (0 when nobody answered), the server's code for it, its words, class names.

    ``names`` are those of the class and of all that it is derived from.
    """

    status: int = 0
    code: str = ""
    message: str = ""
    names: frozenset[str] = frozenset()

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed a moment later."""
        if "CERTIFICATE_VERIFY_FAILED" in self.message:
            return False
        if self.code in _PASSING_CODES or self.status in _PASSING_STATUS:
            return True
        return not self.status and bool(self.names & _PASSING_NAMES)

    @property
    def words(self) -> str:
        """The reason in the server's or the library's words, short and without addresses."""
        parts = [self.code if self.code and not self.code.isdigit() else "", self.message.strip()]
        text = ": ".join(part for part in parts if part) or (f"status {self.status}" if self.status else "")
        return " ".join(_ADDRESS.sub("...", text).split())[:LONGEST_REASON]


def reply_of(error: BaseException) -> Reply:
    """Return what an exception of a client tells."""
    names = frozenset(kind.__name__ for kind in type(error).__mro__)
    response = _response_of(error)
    if response is not None:
        code = str(response["Error"].get("Code", ""))
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if not status and code.isdigit():
            status = int(code)
        return Reply(status=status, code=code, message=str(response["Error"].get("Message", "")), names=names)
    message = _own_words(error)
    if message.startswith("Forbidden:"):  # gcsfs, of which this is an OSError without a number
        return Reply(status=403, message=message.partition("\n")[2], names=names)
    return Reply(status=_status_of(error, names), message=message, names=names)


def _status_of(error: BaseException, names: frozenset[str]) -> int:
    """Return the status that an exception stands for, or 0."""
    for told in (getattr(error, "code", None), getattr(error, "status", None)):  # gcsfs, aiohttp
        if told is not None and str(told).isdigit():
            return int(told)
    for kind, status in _UNDERSTOOD.items():
        if isinstance(error, kind):
            return status
    if "ProxyError" in names:  # gcsfs, for a 502
        return 502
    return _ERRNO.get(error.errno or 0, 0) if isinstance(error, OSError) else 0


def is_passing(error: Exception) -> bool:
    """Return whether the same request may succeed a moment later."""
    return isinstance(error, UnavailableError) or (not isinstance(error, DvError) and reply_of(error).passing)


def _response_of(error: BaseException) -> dict[str, Any] | None:
    """Return botocore's reply, which s3fs puts behind an OSError of its own."""
    seen: BaseException | None = error
    for _depth in range(4):
        if seen is None:
            return None
        response = getattr(seen, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return response
        seen = seen.__cause__
    return None


def _own_words(error: BaseException) -> str:
    message = getattr(error, "message", None)
    try:
        text = message.decode(errors="replace") if isinstance(message, bytes) else str(message or error)
    except Exception:  # noqa: BLE001 - an exception that cannot even be printed is still a failure
        text = ""
    text = text or type(error).__name__
    return re.sub(r", \d{3}$", "", text)  # gcsfs adds the status to the server's words


def no_bucket(where: str) -> StorageError:
    """Return the error that says that there is no such bucket."""
    return StorageError(
        "the bucket does not exist",
        where=where,
        next="make the bucket, or correct the URL of the remote",
    )


def as_ours(error: BaseException, doing: str, where: str) -> DvError:
    """Return the error that says what a place refused.

    Args:
        error: what a client raised.
        doing: what was asked for, to follow on "to": "read", "write", "list".
        where: the place, without credentials.

    Returns:
        NotFoundError when nothing is at a name; ExistsError when something was to be made that is there;
        UnavailableError when trying again may help; StorageError otherwise.
    """
    reply = reply_of(error)
    if reply.code == _NO_BUCKET:
        return no_bucket(where)
    if reply.passing:
        return UnavailableError(
            f"the place did not answer when asked to {doing}",
            where=where,
            why=reply.words,
            next="run the command again; nothing was lost",
        )
    match reply.status:
        case 404 | 410:
            return NotFoundError("a file of the store is missing", where=where, next=MEND)
        case 412:
            return ExistsError("a file of the store exists already", where=where)
        case _:
            return StorageError(
                f"the place refused to {doing}", where=where, why=_why(reply), next=_advice(reply, doing)
            )


def _why(reply: Reply) -> str:
    if reply.names & _CREDENTIAL_NAMES:
        return f"no usable credentials were found: {reply.words}"
    if reply.status in {401, 403} and reply.code not in _CREDENTIAL_CODES | {"RequestTimeTooSkewed"}:
        return f"permission denied: {reply.words}" if reply.words else "permission denied"
    return reply.words


def _advice(reply: Reply, doing: str) -> str:
    if reply.names & _CREDENTIAL_NAMES or reply.code in _CREDENTIAL_CODES or reply.status == 401:  # noqa: PLR2004 - unauthorised
        return "sign in to the cloud anew, or give credentials by the environment or the cloud's own settings"
    if reply.code == "RequestTimeTooSkewed":
        return "set the clock of this machine"
    if reply.code == "400":
        return "look whether the credentials have expired and the region is right: no reason comes with such a reply"
    if reply.code in _REGION_CODES:
        return "name the bucket's region: options = { region = ... } in dv.toml"
    if reply.status == 403:  # noqa: PLR2004 - forbidden
        needed = {"read": "to read files and to list the bucket", "list": "to list the bucket"}.get(
            doing, f"to {doing}"
        )
        return (
            f"check that this account may {needed.removeprefix('to ')}; who may not list a bucket is also told that "
            "missing files are forbidden"
        )
    return "check the URL and the options of the remote"


@contextlib.contextmanager
def translated(doing: str, where: str) -> Iterator[None]:
    """Let nothing out but errors of ours; see :func:`as_ours` for the arguments."""
    try:
        yield
    except DvError:
        raise
    except Exception as error:  # noqa: BLE001 - five libraries with a tree of exceptions each
        raise as_ours(error, doing, where) from None
