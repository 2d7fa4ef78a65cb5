"""URLs of places: where relative ones begin, and what betrays a credential in one or among its options.

Git and every clone keep ``dv.toml`` for ever, and errors are pasted into reports; so neither may hold one.
"""

from __future__ import annotations

import os
import re
from typing import Final

NAMING_USERS: Final = frozenset(
    {"abfs", "abfss", "adl", "arrow_hdfs", "az", "ftp", "hdfs", "sftp", "smb", "ssh", "webhdfs"}
)
"""Schemes whose URLs may say who signs in, or which container is meant, before an ``@``; never with a password."""
LOCAL: Final = frozenset({"file", "local"})
"""Schemes of directories, in whose paths every character may stand."""
ALMOST: Final = re.compile(r"(?:(s3a?|gcs|gs|https?|file|memory):|[a-z0-9]+(::))")
"""What looks like a URL and is none: slashes are missing behind the scheme, or it is a chain of URLs."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)", re.IGNORECASE)
_PORT: Final = re.compile(r"(\[[0-9a-f:.]*\]|[^:]*)(:[0-9]*)?", re.IGNORECASE)
_SLASHES_FORGOTTEN: Final = re.compile(r"\s*(s3a?|gcs|gs|https?|s?ftp|ssh|smb):/?[^/@][^/]*@", re.IGNORECASE)
_OPTION: Final = re.compile(
    r"key|pwd|(.*[_-])?(auth|sas|pwd)([_-].*)?|.*pass"
    r"|.*(secret|token|passw(or)?d|passphrase|passcode|credential|creds|cookie|header|bearer|signature).*"
    r"|.*(connection_string|authori[sz]ation|authenticat|basic_?auth|http_?auth).*"
    r"|.*(access|account|api|private|shared|signing|sas)_?(key|signature).*|sas.*"
)


def anchored(url: str, directory: str) -> str:
    """Return a URL that means the same from everywhere: a relative path begins at ``directory``.

    What looks like a URL and is none stays as it is, for an error that names it.
    """
    if is_url(url) or ALMOST.match(url):
        return url
    return os.path.normpath(os.path.join(directory, url))


def is_url(word: str) -> bool:
    """Return whether a word names a place by a URL, not by a path."""
    return _SCHEME.match(word) is not None


def holds_credential(url: str) -> bool:
    """Return whether a user name that must not be there, or a password, stands in a URL, or in one inside of it."""
    if _SLASHES_FORGOTTEN.match(url):
        return True
    for found in _AUTHORITY.finditer(url):
        scheme, authority, path = found.groups()
        user, at, _host = authority.rpartition("@")
        if at and (":" in user or "%3a" in user.lower() or scheme.lower() not in NAMING_USERS):
            return True
        if "@" in path and not at and not _PORT.fullmatch(authority):
            return True  # a password with a slash in it
    return False


def holds_query(url: str) -> bool:
    """Return whether something is asked behind the path of a URL; signatures and tokens are handed over there."""
    scheme, slashes, rest = url.partition("://")
    return bool(slashes) and scheme.lower() not in LOCAL and "?" in rest


def names_credential(option: str) -> bool:
    """Return whether secrets are handed over by an option of this name."""
    return _OPTION.fullmatch(option.lower()) is not None
