"""Identities and recipients as lines of text (``docs/format/identity.md``).

A recipient is a public key for which a repository's key can be sealed, and is given to anybody.  An identity is the
private key that opens it, and is given to nobody.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from dvtool import crypto, digest
from dvtool.errors import FormatError

RECIPIENT: Final = b"dv-recipient-1:"
IDENTITY: Final = b"dv-identity-1:"
KEY_SIZE: Final = 32
CHECK_SIZE: Final = 4
COMMENT_LIMIT: Final = 200
IDENTITIES_LIMIT: Final = 100
FILE_LIMIT: Final = 2**20

_COMMENT_LINE: Final = b"#"


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """A public key (X25519, 32 bytes) and what people call its owner."""

    key: bytes
    comment: str = ""


def recipient_of(identity: bytes, comment: str = "") -> Recipient:
    """Return the recipient whose sealed keys the identity (32 bytes) opens."""
    return Recipient(key=crypto.public_key(identity), comment=comment)


def encode_recipient(recipient: Recipient) -> str:
    """Return the line, without its end, by which a recipient is passed on."""
    line = _encode(RECIPIENT, recipient.key)
    return f"{line} {recipient.comment}" if recipient.comment else line


def encode_identity(identity: bytes, comment: str = "") -> bytes:
    """Return the file that keeps an identity (32 bytes)."""
    shown = encode_recipient(recipient_of(identity, comment))
    return f"# Keep this to yourself. Its recipient, to be given to others:\n# {shown}\n".encode() + (
        _encode(IDENTITY, identity).encode() + b"\n"
    )


def decode_recipient(line: str) -> Recipient:
    """Return the recipient that a line names.

    Raises:
        FormatError: when it is no such line, was mistyped, or its comment is too long or cannot be printed.
    """
    word, _, comment = line.strip().partition(" ")
    return Recipient(key=_decode(RECIPIENT, word.encode("utf-8", "replace")), comment=check_comment(comment.strip()))


def decode_recipients(data: bytes) -> tuple[Recipient, ...]:
    """Return the recipients in a file of such lines, in its order; empty lines and those with ``#`` count for nothing.

    Raises:
        FormatError: as :func:`decode_recipient`; also when there is none, or a private key among them.
    """
    found = []
    for line in _lines(data):
        if line.startswith(IDENTITY):
            raise FormatError(
                "this is a file with an identity, which is private, and not one with recipients",
                next="'dv key identity' prints the line that others are to have",
            )
        try:
            found.append(decode_recipient(line.decode()))
        except UnicodeDecodeError:
            raise FormatError("a file of recipients is not UTF-8") from None
    if not found:
        raise FormatError("there is no recipient in the file", next="'dv key identity' prints the line of each member")
    return tuple(found)


def decode_identities(data: bytes) -> tuple[bytes, ...]:
    """Return the identities (32 bytes each) in a file; empty lines and those that begin with ``#`` count for nothing.

    Raises:
        FormatError: when a line is something else or was mistyped, or there are none or too many.
    """
    found = tuple(_decode(IDENTITY, line) for line in _lines(data))
    if not 1 <= len(found) <= IDENTITIES_LIMIT:
        raise FormatError(
            f"a file of identities holds 1 to {IDENTITIES_LIMIT} of them", why=f"this one has {len(found)}"
        )
    return found


def shown(data: bytes, identity: bytes) -> Recipient:
    """Return the recipient of an identity, with the comment that stands beside it in its file, if one does."""
    for line in data.split(b"\n"):
        try:
            found = decode_recipient(line.removeprefix(_COMMENT_LINE).decode())
        except (FormatError, UnicodeDecodeError):
            continue
        if found.key == crypto.public_key(identity):
            return found
    return recipient_of(identity)


def check_comment(text: str) -> str:
    """Return ``text`` if it can be the comment of a recipient.

    Raises:
        FormatError: when it is too long or cannot be printed on one line.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = COMMENT_LIMIT + 1
    if size > COMMENT_LIMIT or not text.isprintable() or text != text.strip():
        raise FormatError(
            "this cannot be the comment of a recipient",
            why=f"it has more than {COMMENT_LIMIT} bytes, blanks around it, or holds what cannot be printed",
        )
    return text


def _lines(data: bytes) -> list[bytes]:
    if len(data) > FILE_LIMIT:
        raise FormatError(
            "a file of identities or recipients is too long", why=f"at most {FILE_LIMIT:,} bytes are read"
        )
    lines = [line.strip() for line in data.split(b"\n")]
    return [line for line in lines if line and not line.startswith(_COMMENT_LINE)]


def _check(prefix: bytes, key: bytes) -> bytes:
    # Against slips of the hand alone.  It stands in the same line as the key, so it gives nothing away.
    return digest.accident(prefix + key)[:CHECK_SIZE]


def _encode(prefix: bytes, key: bytes) -> str:
    return (prefix + base64.urlsafe_b64encode(key + _check(prefix, key))).decode()


def _decode(prefix: bytes, line: bytes) -> bytes:
    what = "recipient" if prefix == RECIPIENT else "identity"
    advice = f"it is one word that begins with {prefix.decode()}"
    if not line.startswith(prefix):
        # What the line holds instead is not said: it may be a secret at the wrong place.
        raise FormatError(f"this is no {what}", next=advice)
    try:
        body = base64.b64decode(line[len(prefix) :], altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        body = b""
    key = body[:KEY_SIZE]
    # Encoding it again refuses the other ways in which base64 could write the same bytes.
    if len(body) != KEY_SIZE + CHECK_SIZE or _encode(prefix, key).encode() != line:
        raise FormatError(f"this {what} was mistyped, or cut off", next=advice)
    return key
